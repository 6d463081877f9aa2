//! As whom the owners of a bind's files are seen: id-mapped mounts.
//!
//! ```text
//! idmap=1000-0-1                          on disk 1000, in the container 0; users and groups
//! idmap=uids=0-5-10#20-25-1;gids=0-5-10   several ranges; each is disk-container-count
//! matchuser                               the directory's owner is the container's user
//! ```
//!
//! The ranges are Podman's. Ids outside of all ranges are seen as nobody's, and nobody can write
//! files for them.

use serde::{Deserialize, Serialize};
use spec::runtime::IdMapping;
use sys::userns::IdRange;

/// Most ranges of one kind; the kernel's own limit.
const MAX_RANGES: usize = 340;

/// How the owners of a bind are changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Owners {
    /// By these tables.
    Map(IdMap),
    /// The owner and group of the source are the container's user and group, and nobody else is.
    Match,
}

/// Tables of users and groups: `containerID` is on the disk, `hostID` is what is seen, as in the
/// runtime specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdMap {
    /// Users.
    pub(crate) uids: Vec<IdMapping>,
    /// Groups.
    pub(crate) gids: Vec<IdMapping>,
}

impl IdMap {
    /// One user and one group: those on the disk, and as whom they are seen.
    pub(crate) fn one(disk: (u32, u32), seen: (u32, u32)) -> Self {
        let one = |disk, seen| {
            vec![IdMapping {
                container_id: disk,
                host_id: seen,
                size: 1,
            }]
        };
        Self {
            uids: one(disk.0, seen.0),
            gids: one(disk.1, seen.1),
        }
    }

    /// The table of users as the kernel takes it.
    pub(crate) fn uid_ranges(&self) -> Vec<IdRange> {
        self.uids.iter().map(to_kernel).collect()
    }

    /// The table of groups as the kernel takes it.
    pub(crate) fn gid_ranges(&self) -> Vec<IdRange> {
        self.gids.iter().map(to_kernel).collect()
    }

    /// Reads the tables.
    ///
    /// # Errors
    ///
    /// What is wrong with them, without a prefix.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut uids, mut gids) = (None, None);
        if !text.contains('=') {
            let both = ranges(text)?;
            return Ok(Self {
                uids: both.clone(),
                gids: both,
            });
        }
        for part in text.split(';') {
            let (slot, list) = match part.split_once('=') {
                Some(("uids", list)) => (&mut uids, list),
                Some(("gids", list)) => (&mut gids, list),
                _ => return Err(format!("invalid idmap '{text}': unknown part '{part}'")),
            };
            if slot.replace(ranges(list)?).is_some() {
                return Err(format!("invalid idmap '{text}': given twice"));
            }
        }
        match (uids, gids) {
            (Some(uids), Some(gids)) => Ok(Self { uids, gids }),
            _ => Err(format!(
                "invalid idmap '{text}': uids and gids must both be given"
            )),
        }
    }
}

fn to_kernel(mapping: &IdMapping) -> IdRange {
    IdRange {
        inside: mapping.container_id,
        outside: mapping.host_id,
        count: mapping.size,
    }
}

fn ranges(text: &str) -> Result<Vec<IdMapping>, String> {
    let list: Vec<IdMapping> = text.split('#').map(range).collect::<Result<_, _>>()?;
    if list.len() > MAX_RANGES {
        return Err(format!("invalid idmap: more than {MAX_RANGES} ranges"));
    }
    let overlap = |start: fn(&IdMapping) -> u32| {
        let mut spans: Vec<(u32, u32)> = list.iter().map(|r| (start(r), r.size)).collect();
        spans.sort_unstable();
        spans.windows(2).any(|two| two[1].0 - two[0].0 < two[0].1)
    };
    if overlap(|range| range.container_id) || overlap(|range| range.host_id) {
        return Err(format!("invalid idmap '{text}': ranges overlap"));
    }
    Ok(list)
}

fn range(text: &str) -> Result<IdMapping, String> {
    let bad =
        || format!("invalid idmap range '{text}': it must be disk-container-count, three numbers");
    let numbers: Vec<u32> = text
        .split('-')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| bad())?;
    let [disk, seen, size] = numbers[..] else {
        return Err(bad());
    };
    // The last id stands for none.
    let fits = |start: u32| start.checked_add(size).is_some();
    if size == 0 || !fits(disk) || !fits(seen) {
        return Err(bad());
    }
    Ok(IdMapping {
        container_id: disk,
        host_id: seen,
        size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let list = |list: &[IdMapping]| {
            let one = |m: &IdMapping| format!("{}>{}+{}", m.container_id, m.host_id, m.size);
            list.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        IdMap::parse(text).map(|map| format!("{} / {}", list(&map.uids), list(&map.gids)))
    }

    #[test]
    fn ranges_of_users_and_groups() {
        assert_eq!(shown("1000-0-1").unwrap(), "1000>0+1 / 1000>0+1");
        assert_eq!(
            shown("uids=0-5-10#20-25-1;gids=0-100-10").unwrap(),
            "0>5+10 20>25+1 / 0>100+10"
        );
        assert_eq!(
            shown("0-0-4294967295").unwrap(),
            "0>0+4294967295 / 0>0+4294967295"
        );
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_with_words() {
        for (text, want) in [
            ("", "invalid idmap range ''"),
            ("1-2", "invalid idmap range '1-2'"),
            ("1-2-0", "invalid idmap range '1-2-0'"),
            ("1-2-3-4", "invalid idmap range '1-2-3-4'"),
            ("-1-2-3", "invalid idmap range '-1-2-3'"),
            ("1-2-4294967295", "invalid idmap range '1-2-4294967295'"),
            ("uids=0-0-1", "uids and gids must both be given"),
            ("uids=0-0-1;uids=0-0-1", "given twice"),
            ("x=0-0-1", "unknown part 'x=0-0-1'"),
            ("0-0-10#9-20-1", "ranges overlap"),
            ("0-0-10#20-9-1", "ranges overlap"),
        ] {
            let error = shown(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
