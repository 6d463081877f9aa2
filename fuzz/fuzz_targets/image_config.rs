//! A configuration of an image is read or refused, whatever it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spec::image::ImageConfig;

fuzz_target!(|bytes: &[u8]| {
    // Only the absence of a panic is asked for.
    let _ = ImageConfig::from_json(bytes);
});
