//! The fuzz targets of `fuzz/`, with deterministic mutations instead of coverage: a smoke test
//! that runs everywhere. A failure prints the seed that leads to it.
#![forbid(unsafe_code)]

use spec::Reference;
use spec::image::ImageConfig;
use store::{ImportOptions, LoadOptions, Store};
use tests::tarball::{Kind, Tarball};

/// A small generator: the same seed gives the same mutations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % bound.max(1)
    }

    /// Changes some bytes: flips, removals, repetitions, and the values at which parsers stumble.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const ODD: &[u8] = b"\0\xff/.:@-_ \"{}[]09aZ\x80\n";
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = ODD[self.below(ODD.len())],
                2 if !bytes.is_empty() => {
                    drop(bytes.drain(at..(at + self.below(9)).min(bytes.len())))
                }
                3 => bytes.insert(at, ODD[self.below(ODD.len())]),
                _ => {
                    let end = (at + self.below(64)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
    }
}

/// Calls `check` with mutations of each seed text.
fn each(seeds: &[Vec<u8>], count: u64, mut check: impl FnMut(&[u8])) {
    for (index, seed) in seeds.iter().enumerate() {
        for round in 1..=count {
            let mut random = Random(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index as u64);
            let mut bytes = seed.clone();
            random.mutate(&mut bytes);
            let attempt = std::panic::AssertUnwindSafe(|| check(&bytes));
            let outcome = std::panic::catch_unwind(attempt);
            assert!(outcome.is_ok(), "seed {index}, round {round}");
        }
    }
}

#[test]
fn references_are_refused_or_round_trip() {
    let digest = format!("a@sha256:{}", "0123456789abcdef".repeat(4));
    let seeds = [
        "busybox", "docker.io/library/busybox:1.36", "localhost:5000/a/b_c/d--e:TAG.1-x",
        "[::1]:80/x", &digest,
    ];
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut accepted = 0;
    each(&seeds, 4000, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        if let Ok(reference) = text.parse::<Reference>() {
            accepted += 1;
            let again: Reference = reference.to_string().parse().expect("its own form is accepted");
            assert_eq!(reference, again, "{text}");
            // The short form of `docker.io/a.b/c` names another registry, at Docker too.
            let first = reference.path().split('/').next().unwrap_or_default().to_owned();
            if !first.contains('.') && first != "localhost" {
                let familiar: Reference =
                    reference.familiar().parse().expect("the short form is accepted");
                assert_eq!(reference.repository(), familiar.repository(), "{text}");
            }
        }
    });
    assert!(accepted > 100, "the mutations are too wild to say anything: {accepted}");
}

#[test]
fn configurations_are_read_or_refused() {
    let seed = br#"{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05.6Z",
        "config":{"Cmd":["a","b"],"Entrypoint":"x y","Env":["A=1"],"Labels":{"k":"v"},
        "ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD","x"],"Interval":1000}},
        "history":[{"created_by":"x","empty_layer":true}],
        "rootfs":{"type":"layers","diff_ids":["sha256:00"]}}"#;
    each(&[seed.to_vec()], 8000, |bytes| drop(ImageConfig::from_json(bytes)));
}

#[test]
fn archives_are_imported_or_refused_and_stay_inside() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(&home.path().join("store")).expect("an empty store");
    let plain = Tarball::default()
        .dir("d/", 0o755)
        .file("d/f", 0o644, &[7; 700])
        .symlink("s", "d/f")
        .hardlink("h", "d/f")
        .entry("fifo", Kind::Fifo, 0o600, "", b"")
        .file("d/.wh.x", 0o600, b"")
        .finish();
    let saved = Tarball::default()
        .file("layer.tar", 0o644, &plain)
        .file(
            "c.json",
            0o644,
            br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .file(
            "manifest.json", 0o644,
            br#"[{"Config":"c.json","RepoTags":["a:b"],"Layers":["layer.tar"]}]"#,
        )
        .finish();
    each(&[plain, saved], 150, |bytes| {
        let lease = store.lease("mutations");
        // Only the absence of a panic and of traces is asked for.
        let _ = store.import(&lease, &mut &*bytes, &ImportOptions::default(), &|_| {});
        let _ = store.load(&lease, &mut &*bytes, &LoadOptions::default(), &|_| {});
        let beside = std::fs::read_dir(home.path()).expect("it is ours").count();
        assert_eq!(beside, 1, "something appeared beside the store");
    });
}
