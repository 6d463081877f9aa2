//! What the automatic collection removes: a decision over plain values, without clock or disk.
//!
//! Three rules, in this order. What was idle for longer than its kind may be goes. While less space
//! is free than the floor, more goes: partial downloads first (they cost only a download), then
//! content that nothing refers to, each oldest first, until the floor is reached. What an operation
//! holds is no candidate.

use std::time::Duration;

/// How long idle content is kept and how much space has to stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long layers and blobs stay that nothing refers to.
    pub unreferenced_age: Duration,
    /// How long an interrupted download stays for its continuation.
    pub partial_age: Duration,
    /// Space that has to stay free on the store's file system.
    pub floor: Floor,
}

/// Free space to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// No floor.
    None,
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the file system.
    Percent(u8),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            unreferenced_age: Duration::from_secs(60 * 60),
            partial_age: Duration::from_secs(7 * 24 * 60 * 60),
            floor: Floor::Percent(5),
        }
    }
}

impl Floor {
    fn bytes(self, total: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.min(total),
            Self::Percent(percent) => total / 100 * u64::from(percent.min(100)),
        }
    }
}

/// Why something can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A download that was interrupted.
    Partial,
    /// Nothing refers to it.
    Unreferenced,
}

/// Something that can be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate<K> {
    pub(crate) key: K,
    pub(crate) kind: Kind,
    /// Since when nobody used it.
    pub(crate) idle: Duration,
    pub(crate) bytes: u64,
}

/// A file system's space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

/// Chooses what goes, in the order of its going.
pub(crate) fn choose<K: Clone>(
    policy: &Policy,
    space: Space,
    candidates: &[Candidate<K>],
) -> Vec<K> {
    let limit = |kind| match kind {
        Kind::Partial => policy.partial_age,
        Kind::Unreferenced => policy.unreferenced_age,
    };
    let (old, mut young): (Vec<_>, Vec<_>) = candidates
        .iter()
        .partition(|candidate| candidate.idle >= limit(candidate.kind));
    young.sort_by(|a, b| (a.kind, b.idle).cmp(&(b.kind, a.idle)));
    let floor = policy.floor.bytes(space.total);
    let mut free = old
        .iter()
        .fold(space.free, |free, gone| free.saturating_add(gone.bytes));
    let mut chosen: Vec<K> = old
        .into_iter()
        .map(|candidate| candidate.key.clone())
        .collect();
    for candidate in young {
        if free >= floor {
            break;
        }
        free = free.saturating_add(candidate.bytes);
        chosen.push(candidate.key.clone());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn policy(floor: Floor) -> Policy {
        Policy {
            unreferenced_age: Duration::from_secs(HOUR),
            partial_age: Duration::from_secs(10 * HOUR),
            floor,
        }
    }

    fn candidate(key: &'static str, kind: Kind, hours: u64, bytes: u64) -> Candidate<&'static str> {
        Candidate {
            key,
            kind,
            idle: Duration::from_secs(hours * HOUR),
            bytes,
        }
    }

    fn candidates() -> Vec<Candidate<&'static str>> {
        vec![
            candidate("layer-now", Kind::Unreferenced, 0, 10),
            candidate("layer-old", Kind::Unreferenced, 1, 10),
            candidate("partial-1h", Kind::Partial, 1, 10),
            candidate("partial-9h", Kind::Partial, 9, 10),
            candidate("partial-old", Kind::Partial, 11, 10),
        ]
    }

    fn chosen(floor: Floor, free: u64) -> Vec<&'static str> {
        choose(&policy(floor), Space { total: 1000, free }, &candidates())
    }

    #[test]
    fn age_alone_removes_what_is_older_than_its_kind_may_be() {
        assert_eq!(chosen(Floor::None, 0), ["layer-old", "partial-old"]);
        assert_eq!(chosen(Floor::Bytes(500), 500), ["layer-old", "partial-old"]);
    }

    #[test]
    fn below_the_floor_the_cheapest_and_oldest_go_until_it_is_reached() {
        let old = ["layer-old", "partial-old"];
        // What goes by age counts: 480 + 20.
        assert_eq!(chosen(Floor::Bytes(500), 480), old);
        let more = [&old[..], &["partial-9h"]].concat();
        assert_eq!(chosen(Floor::Bytes(500), 471), more);
        assert_eq!(chosen(Floor::Percent(50), 471), more);
        let all = [&old[..], &["partial-9h", "partial-1h", "layer-now"]].concat();
        assert_eq!(chosen(Floor::Percent(50), 0), all);
        assert_eq!(chosen(Floor::Percent(255), 999), [&old[..], &[]].concat());
    }

    #[test]
    fn nothing_goes_without_candidates() {
        let space = Space { total: 10, free: 0 };
        let none: [Candidate<u8>; 0] = [];
        assert!(choose(&policy(Floor::Percent(90)), space, &none).is_empty());
    }
}
