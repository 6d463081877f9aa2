//! Names for containers that were given none: an adjective and the surname of somebody who
//! made machines, programs or proofs.

use spec::ContainerName;

const ADJECTIVES: [&str; 64] = [
    "able", "amber", "ample", "apt", "balmy", "bold", "brave", "breezy", "bright", "brisk", "calm",
    "candid", "cheery", "civil", "clear", "clever", "cosy", "crisp", "curious", "daring", "deft",
    "eager", "earnest", "fair", "fleet", "fluent", "frank", "fresh", "gentle", "glad", "golden",
    "hardy", "hearty", "honest", "humble", "jolly", "keen", "kind", "lively", "lucid", "mellow",
    "merry", "mild", "modest", "neat", "nimble", "noble", "patient", "placid", "plucky", "polite",
    "quick", "quiet", "ready", "serene", "sincere", "steady", "sunny", "swift", "tidy", "upbeat",
    "vivid", "warm", "witty",
];

const SURNAMES: [&str; 64] = [
    "abel",
    "antonelli",
    "babbage",
    "backus",
    "banach",
    "bartik",
    "boole",
    "booth",
    "borg",
    "cantor",
    "cerf",
    "church",
    "clarke",
    "codd",
    "cray",
    "curry",
    "dijkstra",
    "eckert",
    "engelbart",
    "erdos",
    "euler",
    "fermat",
    "floyd",
    "galois",
    "gauss",
    "germain",
    "godel",
    "gosper",
    "gray",
    "hamilton",
    "hamming",
    "hilbert",
    "hoare",
    "hollerith",
    "holberton",
    "hopper",
    "huffman",
    "iverson",
    "karp",
    "kay",
    "kleene",
    "knuth",
    "kowalevski",
    "lamarr",
    "lamport",
    "liskov",
    "lovelace",
    "mauchly",
    "mccarthy",
    "meltzer",
    "milner",
    "minsky",
    "naur",
    "noether",
    "perlis",
    "postel",
    "ritchie",
    "shannon",
    "stallman",
    "thompson",
    "turing",
    "wilkes",
    "wirth",
    "zuse",
];

/// Makes a name of random bits; `attempt` above 0 adds a digit so that a free one is found soon.
pub(super) fn invent(random: u64, attempt: u32) -> ContainerName {
    let pick = |shift: u32| usize::try_from((random >> shift) & 63).unwrap_or(0);
    let mut name = format!("{}_{}", ADJECTIVES[pick(0)], SURNAMES[pick(6)]);
    if attempt > 0 {
        name.push_str(&((random >> 12) % 10u64.pow(attempt.min(9))).to_string());
    }
    name.parse().expect("the words are lower-case letters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_makes_a_valid_name() {
        for i in 0..64u64 {
            let name = invent(i | i << 6, 0);
            assert!(name.as_str().contains('_'));
        }
        assert_eq!(invent(0, 0).as_str(), "able_abel");
        assert_eq!(invent(5 << 12, 1).as_str(), "able_abel5");
    }
}
