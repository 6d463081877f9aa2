//! Options of the local driver: what is mounted at a volume, decided without doing it.
//!
//! `type`, `device` and `o` are those of mount(8). Words of `o` that mount(2) knows as flags become
//! attributes of the mount, the others are handed to the file system.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Options that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// Not one of `type`, `device`, `o`, `size`.
    #[error("invalid option: {0:?}")]
    Unknown(String),
    /// One of `type`, `device`, `o` wants the others.
    #[error("missing required option: {0:?}")]
    Missing(&'static str),
    /// A size that is none.
    #[error("invalid size: '{0}'")]
    Size(String),
    /// A word of `o` that cannot be honoured.
    #[error("invalid mount option {0:?}: {1}")]
    Word(String, &'static str),
}

/// What holds a volume's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// A directory of the data root; `size` bounds it.
    Directory {
        /// Most bytes it may hold.
        size: Option<u64>,
    },
    /// A host directory seen at the volume.
    Bind {
        /// The host directory.
        source: PathBuf,
        /// With what is mounted below it.
        recursive: bool,
        /// Flags of the mount.
        flags: Flags,
    },
    /// A file system of its own.
    FileSystem {
        /// Its type: `tmpfs`, `nfs`, `ext4`.
        kind: String,
        /// What it is on.
        device: String,
        /// Flags of the mount.
        flags: Flags,
        /// What the file system is told.
        data: Vec<(String, Option<String>)>,
    },
}

/// Flags of a mount, those of `o` that mount(2) knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `ro`.
    pub read_only: bool,
    /// `nosuid`.
    pub no_suid: bool,
    /// `nodev`.
    pub no_dev: bool,
    /// `noexec`.
    pub no_exec: bool,
    /// `noatime`.
    pub no_atime: bool,
    /// `nodiratime`.
    pub no_dir_atime: bool,
}

/// Words of `o` without an effect on a mount that is made once.
const IDLE: [&str; 12] = [
    "defaults", "rw", "suid", "dev", "exec", "atime", "diratime", "relatime", "auto", "noauto",
    "nouser", "async",
];

impl Backing {
    /// Decides from a volume's options.
    ///
    /// # Errors
    ///
    /// [`InvalidOptions`], in Docker's words.
    pub fn of(options: &BTreeMap<String, String>) -> Result<Self, InvalidOptions> {
        if let Some(unknown) = options
            .keys()
            .find(|key| !matches!(key.as_str(), "type" | "device" | "o" | "size"))
        {
            return Err(InvalidOptions::Unknown(unknown.clone()));
        }
        let size = match options.get("size") {
            Some(text) => {
                Some(size_in_bytes(text).ok_or_else(|| InvalidOptions::Size(text.clone()))?)
            }
            None => None,
        };
        let get = |key: &'static str| options.get(key).map(String::as_str);
        let (kind, device) = match (get("type"), get("device"), get("o")) {
            (None, None, None) => return Ok(Self::Directory { size }),
            (_, None, _) => return Err(InvalidOptions::Missing("device")),
            (None, Some(_), _) => return Err(InvalidOptions::Missing("type")),
            (Some(kind), Some(device), _) => (kind, device),
        };
        let words = Words::of(get("o").unwrap_or_default(), kind)?;
        if words.bind {
            return Ok(Self::Bind {
                source: PathBuf::from(device),
                recursive: words.recursive,
                flags: words.flags,
            });
        }
        if words.recursive {
            return Err(InvalidOptions::Word("rbind".into(), "it wants a directory"));
        }
        Ok(Self::FileSystem {
            kind: kind.to_owned(),
            device: device.to_owned(),
            flags: words.flags,
            data: words.data,
        })
    }
}

/// What `o` says.
#[derive(Debug, Default)]
struct Words {
    bind: bool,
    recursive: bool,
    flags: Flags,
    data: Vec<(String, Option<String>)>,
}

impl Words {
    fn of(text: &str, kind: &str) -> Result<Self, InvalidOptions> {
        let mut words = Self::default();
        let all = match kind {
            "cifs" | "smb3" => split_with_passwords(text),
            _ => text.split(',').map(str::to_owned).collect(),
        };
        for word in all.iter().filter(|word| !word.is_empty()) {
            match word.as_str() {
                "bind" => words.bind = true,
                "rbind" => (words.bind, words.recursive) = (true, true),
                "ro" => words.flags.read_only = true,
                "nosuid" => words.flags.no_suid = true,
                "nodev" => words.flags.no_dev = true,
                "noexec" => words.flags.no_exec = true,
                "noatime" => words.flags.no_atime = true,
                "nodiratime" => words.flags.no_dir_atime = true,
                "remount" | "move" => {
                    return Err(InvalidOptions::Word(
                        word.to_owned(),
                        "a volume is mounted, nothing else",
                    ));
                }
                word if IDLE.contains(&word) => {}
                word => words.data.push(match word.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (word.to_owned(), None),
                }),
            }
        }
        Ok(words)
    }
}

/// Splits words at commas; a doubled one in a password is one comma of it.
fn split_with_passwords(text: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        let last = words.last_mut().expect("there is one from the beginning");
        let is_password = last.starts_with("pass=") || last.starts_with("password=");
        match char {
            ',' if is_password && rest.next_if_eq(&',').is_some() => last.push(','),
            ',' => words.push(String::new()),
            char => last.push(char),
        }
    }
    words
}

/// Reads `10m`, `1.5G`, `4096`: units of 1024 as Docker's.
pub fn size_in_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .trim_end();
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit.contains('i') => return None,
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let scale = 1024u64.pow(power);
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(scale).filter(|size| *size > 0);
    }
    let value = digits.parse::<f64>().ok()? * scale as f64;
    // Exact up to 2^53, which is more than any disk has.
    (1.0..9e15).contains(&value).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Backing, InvalidOptions> {
        let map = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Backing::of(&map.collect())
    }

    #[test]
    fn nothing_is_a_directory_and_a_size_bounds_it() {
        assert_eq!(of(&[]), Ok(Backing::Directory { size: None }));
        for (text, want) in [
            ("10m", 10 << 20),
            ("1.5G", 3 << 29),
            ("4096", 4096),
            ("2KiB", 2048),
            ("1tb", 1 << 40),
        ] {
            let size = Some(want);
            assert_eq!(
                of(&[("size", text)]),
                Ok(Backing::Directory { size }),
                "{text}"
            );
        }
        for bad in [
            "",
            "x",
            "-1",
            "0",
            "1q",
            "1ib",
            "99999999999999p",
            "nan",
            "1e400",
        ] {
            let want = InvalidOptions::Size(bad.to_owned());
            assert_eq!(of(&[("size", bad)]), Err(want));
        }
    }

    #[test]
    fn docker_says_what_is_missing_or_unknown() {
        assert_eq!(
            of(&[("foo", "x")]).unwrap_err().to_string(),
            "invalid option: \"foo\""
        );
        for pairs in [
            &[("type", "tmpfs")][..],
            &[("o", "x")],
            &[("o", "x"), ("type", "t")],
        ] {
            assert_eq!(of(pairs), Err(InvalidOptions::Missing("device")));
        }
        assert_eq!(
            of(&[("device", "/d")]),
            Err(InvalidOptions::Missing("type"))
        );
        assert!(of(&[("type", "none"), ("device", "/d"), ("o", "bind,remount")]).is_err());
    }

    #[test]
    fn words_become_flags_or_go_to_the_file_system() {
        let bind = of(&[
            ("type", "none"),
            ("device", "/srv/x"),
            ("o", "rbind,ro,defaults"),
        ]);
        let read_only = Flags {
            read_only: true,
            ..Flags::default()
        };
        assert_eq!(
            bind,
            Ok(Backing::Bind {
                source: "/srv/x".into(),
                recursive: true,
                flags: read_only
            })
        );
        let tmpfs = of(&[
            ("type", "tmpfs"),
            ("device", "tmpfs"),
            ("o", "size=1m,nodev,noswap,uid=1000"),
        ]);
        let flags = Flags {
            no_dev: true,
            ..Flags::default()
        };
        assert_eq!(
            tmpfs,
            Ok(Backing::FileSystem {
                kind: "tmpfs".into(),
                device: "tmpfs".into(),
                flags,
                data: vec![
                    ("size".into(), Some("1m".into())),
                    ("noswap".into(), None),
                    ("uid".into(), Some("1000".into()))
                ]
            })
        );
    }
}
