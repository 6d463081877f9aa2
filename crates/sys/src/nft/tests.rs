//! The exact bytes of batches, on a little-endian machine as recorded.

use std::net::Ipv4Addr;

use super::batch::{comment, read_comment};
use super::*;

fn hex(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    lines.join("\n")
}

fn masquerade() -> Ruleset {
    let matches = [
        Match::NotOutput("br0".to_owned()),
        Match::Source(Ipv4Addr::new(10, 1, 0, 1), 16),
    ];
    Ruleset {
        family: Family::Ip,
        table: "t".to_owned(),
        sets: Vec::new(),
        chains: vec![Chain {
            name: "post".to_owned(),
            hook: Some(Hook {
                kind: Kind::Nat,
                point: Point::Postrouting,
                priority: 100,
                policy: Policy::Accept,
            }),
            rules: vec![Rule::new("out", &matches, Expression::Masquerade)],
        }],
    }
}

#[test]
fn a_batch_has_these_bytes() {
    let mut batch = masquerade().replacement().finish();
    batch.number_from(1, 0);
    let want = include_str!("../../testdata/nft/masquerade.hex");
    let got = hex(batch.bytes());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/nft/masquerade.hex");
        std::fs::write(path, format!("{got}\n")).unwrap();
    } else {
        assert_eq!(got, want.trim_end());
    }
}

#[test]
fn conditions_become_loads_masks_and_comparisons() {
    let name = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(16, 0);
        bytes
    };
    assert_eq!(
        Match::Input("corten0".to_owned()).expressions(),
        [
            Expression::Load(Load::INPUT, 0),
            Expression::Compare(Compare::Equal, name("corten0")),
        ]
    );
    assert_eq!(
        Match::Destination(Ipv4Addr::new(192, 168, 77, 9), 20).expressions(),
        [
            Expression::Load(Load::Network(16, 4), 0),
            Expression::Mask(vec![255, 255, 240, 0]),
            Expression::Compare(Compare::Equal, vec![192, 168, 64, 0]),
        ]
    );
    let zero = Match::Source(Ipv4Addr::new(1, 2, 3, 4), 0).expressions();
    assert_eq!(zero[2], Expression::Compare(Compare::Equal, vec![0; 4]));
}

#[test]
fn comments_are_cut_at_a_character() {
    assert_eq!(comment(""), None);
    assert_eq!(comment("a"), Some(vec![0, 2, b'a', 0]));
    let long = comment(&"ü".repeat(100)).unwrap();
    assert_eq!(long.len(), 2 + 126 + 1);
    assert_eq!(usize::from(long[1]), 127);
    assert!(std::str::from_utf8(&long[2..]).is_ok());
    assert_eq!(read_comment(&long).unwrap(), "ü".repeat(63));
    for cut in 0..long.len() - 1 {
        assert_eq!(read_comment(&long[..cut]), None, "{cut}");
    }
}
