//! An archive is imported or refused; whatever it is, nothing appears beside the store.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use store::{ImportOptions, LoadOptions, Store};

static HOME: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));
static STORE: LazyLock<Store> =
    LazyLock::new(|| Store::open(&HOME.path().join("store")).expect("an empty store"));

fuzz_target!(|bytes: &[u8]| {
    let lease = STORE.lease("fuzz");
    // Only the absence of a panic and of traces is asked for.
    let _ = STORE.import(&lease, &mut &*bytes, &ImportOptions::default(), &|_| {});
    let _ = STORE.load(&lease, &mut &*bytes, &LoadOptions::default(), &|_| {});
    let beside = std::fs::read_dir(HOME.path()).expect("it is ours").count();
    assert_eq!(beside, 1);
});
