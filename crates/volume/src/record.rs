//! `volume.json`: what is known of a volume, replaced as a whole and read with suspicion.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use spec::Timestamp;
use sys::fs::Durability;

use crate::error::failed;
use crate::{Result, VolumeName};

/// Format that this build reads and writes.
pub(crate) const VERSION: u32 = 1;
/// File name of the record.
pub(crate) const FILE: &str = "volume.json";
/// Largest record that is read.
const MAX: u64 = 1024 * 1024;

/// What is kept of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) name: VolumeName,
    pub(crate) driver: String,
    pub(crate) created: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// `None` where the caller gave none at all, as the API shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<BTreeMap<String, String>>,
    /// What bounds its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bound: Option<bound::Bound>,
    /// Removal and prune are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) protected: bool,
}

/// Reads a record; the error is a finding in words.
pub(crate) fn read(dir: &Path) -> std::result::Result<Record, String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(dir.join(FILE))
        .map_err(|error| format!("its record cannot be opened: {error}"))?;
    let metadata = file
        .metadata()
        .map_err(|error| format!("its record cannot be read: {error}"))?;
    if !metadata.is_file() || metadata.len() > MAX {
        return Err("its record is not a small file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("its record cannot be read: {error}"))?;
    let mut record: Record =
        serde_json::from_slice(&bytes).map_err(|error| format!("its record is none: {error}"))?;
    if record.version != VERSION {
        return Err(format!(
            "its record has format version {}, this build reads {VERSION}",
            record.version
        ));
    }
    // The directory's name is the volume's: a crash between the two steps of a renaming, or a
    // person with mv, leaves a record that still has the old one.
    let name = dir.file_name().and_then(std::ffi::OsStr::to_str);
    record.name = name
        .and_then(|name| name.parse().ok())
        .ok_or("its directory has a name that no volume can have")?;
    Ok(record)
}

/// Writes a record; durable when it returns.
pub(crate) fn write(dir: &Path, record: &Record) -> Result<()> {
    let mut bytes =
        serde_json::to_vec(record).expect("records have text keys and finite numbers only");
    bytes.push(b'\n');
    sys::fs::replace(&dir.join(FILE), &bytes, 0o600, Durability::Synced).map_err(failed(format!(
        "write the record of volume {}",
        record.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_reads_its_golden_bytes() {
        let golden = r#"{"version":1,"name":"data","driver":"local","created":"2023-11-14T22:13:20Z","labels":{"a":"b"},"options":{"type":"tmpfs"},"protected":true}"#;
        let record: Record = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), golden);
        let least =
            r#"{"version":1,"name":"data","driver":"local","created":"2023-11-14T22:13:20Z"}"#;
        let record: Record = serde_json::from_str(least).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), least);
    }

    #[test]
    fn what_is_no_record_is_a_finding() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        std::fs::create_dir(&dir).unwrap();
        let good =
            r#"{"version":1,"name":"data","driver":"local","created":"2023-11-14T22:13:20Z"}"#;
        std::fs::write(dir.join(FILE), good).unwrap();
        assert!(read(&dir).is_ok());
        for bad in [
            "",
            "{}",
            &good.replace(":1,", ":2,"),
            &good.replace("\"data\"", "\"../x\""),
        ] {
            std::fs::write(dir.join(FILE), bad).unwrap();
            assert!(read(&dir).is_err(), "{bad}");
        }
        std::fs::write(dir.join(FILE), good.replace("\"data\"", "\"other\"")).unwrap();
        assert_eq!(read(&dir).unwrap().name.as_str(), "data");
        std::fs::remove_file(dir.join(FILE)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.join(FILE)).unwrap();
        assert!(read(&dir).unwrap_err().contains("opened"));
        let odd = parent.path().join("-odd");
        std::fs::create_dir(&odd).unwrap();
        std::fs::write(odd.join(FILE), good).unwrap();
        assert!(read(&odd).unwrap_err().contains("no volume can have"));
    }
}
