//! A manifest or an index is read or refused, whatever it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spec::manifest::{Document, Parsed};

fuzz_target!(|bytes: &[u8]| {
    let document = Document::new("", bytes.to_vec());
    let Ok(Parsed::Index(index)) = document.parse() else {
        return;
    };
    // Choosing takes any platform that a stranger writes.
    for entry in &index.manifests {
        if let Some(platform) = entry.platform() {
            let _ = index.choose(&platform);
        }
    }
});
