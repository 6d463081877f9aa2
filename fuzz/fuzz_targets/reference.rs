//! A reference that is accepted prints as a reference that is equal to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spec::Reference;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let again: Reference = reference.to_string().parse().expect("its own form is accepted");
        assert_eq!(reference, again);
        // It may be another one (`docker.io/a.b/c`), at Docker too, but it is one.
        let _: Reference = reference.familiar().parse().expect("the short form is accepted");
    }
});
