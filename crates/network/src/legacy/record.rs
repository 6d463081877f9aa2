//! What the state directory keeps of the network: its identity and its place.
//!
//! ```text
//! <state_dir>/network.json   {"version":1,"id":"…64 hex…","created":"…","address":"172.17.0.1/16"}
//! ```
//! Replaced atomically and synced. Addresses of containers are not in it: see
//! [`crate::legacy::addresses`]. Without the file the network is a new one. A file that is no record is put
//! aside and told of, for no network at all would be worse than a new identity; a record of a later
//! version is an error.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use spec::id::NetworkId;
use spec::time::Timestamp;

use crate::{Error, Ipv4Net, Result};

const FILE: &str = "network.json";
const VERSION: u32 = 1;

/// The persistent facts of the default network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// Identity.
    pub id: NetworkId,
    /// When the network was made first.
    pub created: Timestamp,
    /// The bridge's address with the subnet's prefix length; `None` before it was chosen.
    pub address: Option<Ipv4Net>,
}

impl Record {
    /// Reads the record, or makes one with a new identity (not yet saved).
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join(FILE);
        let read = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Self::create(),
            read => read.and_then(|text| Ok(serde_json::from_slice::<Self>(&text)?)),
        };
        let record = match read {
            Ok(record) => record,
            Err(error) => {
                let aside = sys::fs::put_aside(&path).map_err(Error::kernel("put aside"))?;
                let (path, aside) = (path.display(), aside.display());
                tracing::error!(%path, %aside, %error, "the network's record is damaged: made anew");
                return Self::create();
            }
        };
        if record.version != VERSION {
            let rule = format!("`{}` has version {}", path.display(), record.version);
            return Err(Error::InvalidConfig { rule });
        }
        Ok(record)
    }

    fn create() -> Result<Self> {
        let mut id = [0; 32];
        let mut filled = 0;
        while filled < id.len() {
            filled +=
                rustix::rand::getrandom(&mut id[filled..], rustix::rand::GetRandomFlags::empty())
                    .map_err(|e| Error::file("read", "getrandom")(e.into()))?;
        }
        Ok(Self {
            version: VERSION,
            id: NetworkId::from_bytes(id),
            created: SystemTime::now().into(),
            address: None,
        })
    }

    /// Writes the record; synced when it returns.
    pub(crate) fn save(&self, state_dir: &Path) -> Result<()> {
        let path = state_dir.join(FILE);
        let write = || {
            std::fs::create_dir_all(state_dir)?;
            let staged = state_dir.join(format!("{FILE}.new"));
            let mut file = File::create(&staged)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            std::fs::rename(&staged, &path)?;
            File::open(state_dir)?.sync_all()
        };
        write().map_err(Error::file("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_survives_and_damage_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("network");
        let mut record = Record::open(&dir).unwrap();
        record.address = Some("172.17.0.1/16".parse().unwrap());
        record.save(&dir).unwrap();
        assert_eq!(Record::open(&dir).unwrap(), record);
        let names: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
        assert_eq!(names.len(), 1);
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 1]).unwrap();
        assert_ne!(Record::open(&dir).unwrap().id, record.id);
        assert!(!path.exists());
        let names: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
        assert_eq!(names.len(), 1);
        std::fs::write(&path, text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(Record::open(&dir).is_err());
    }
}
