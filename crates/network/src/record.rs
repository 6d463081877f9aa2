//! What the state directory keeps of networks: identity, definition, and the subnets in use.
//!
//! ```text
//! <state_dir>/network.json        the default network: {"version":1,"id":"…","created":"…","address":"172.17.0.1/16"}
//! <state_dir>/networks/<id>.json  every other: {"version":1,"id":"…","created":"…","spec":{…},"pools":[…]}
//! ```
//! Replaced atomically and synced. Addresses of containers are not in them: see
//! [`crate::addresses`]. A file that is no record is put aside and told of, for no network at all
//! would be worse than a new identity; a record of a later version is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::id::NetworkId;
use spec::time::Timestamp;
use sys::fs::Durability;

use crate::{Error, Ipv4Net, Ipv6Net, NetworkSpec, PoolSpec, Result};

const DEFAULT: &str = "network.json";
const DIRECTORY: &str = "networks";
const VERSION: u32 = 1;
const MODE: u32 = 0o600;

/// The persistent facts of the default network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DefaultRecord {
    version: u32,
    /// Identity; the private IPv6 prefix of the data root follows from it.
    pub id: NetworkId,
    /// When the network was made first.
    pub created: Timestamp,
    /// The bridge's address with the subnet's prefix length; `None` before it was chosen.
    pub address: Option<Ipv4Net>,
    /// The bridge's IPv6 address, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<Ipv6Net>,
}

impl DefaultRecord {
    /// Reads the record, or makes one with a new identity and saves it.
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        if let Some(record) = read::<Self>(&state_dir.join(DEFAULT))? {
            check_version(record.version, &state_dir.join(DEFAULT))?;
            return Ok(record);
        }
        let record = Self {
            version: VERSION,
            id: random_id()?,
            created: SystemTime::now().into(),
            address: None,
            address6: None,
        };
        record.save(state_dir)?;
        Ok(record)
    }

    /// Writes the record; synced when it returns.
    pub(crate) fn save(&self, state_dir: &Path) -> Result<()> {
        write(state_dir, &state_dir.join(DEFAULT), self)
    }
}

/// The persistent facts of a network that a user made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    version: u32,
    /// Identity.
    pub id: NetworkId,
    /// When it was made.
    pub created: Timestamp,
    /// The definition as Docker shows it.
    pub spec: NetworkSpec,
    /// The subnets in use, gateways filled in.
    #[serde(default)]
    pub pools: Vec<PoolSpec>,
}

impl NetworkRecord {
    /// Makes the record of a new network; not yet saved.
    pub(crate) fn new(spec: NetworkSpec, pools: Vec<PoolSpec>) -> Result<Self> {
        Ok(Self {
            version: VERSION,
            id: random_id()?,
            created: SystemTime::now().into(),
            spec,
            pools,
        })
    }

    /// Reads all records, in order of their ids.
    pub(crate) fn load_all(state_dir: &Path) -> Result<BTreeMap<NetworkId, Self>> {
        let dir = state_dir.join(DIRECTORY);
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(Error::file("read", &dir))?,
        };
        let mut all = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(Error::file("read", &dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let id: Option<NetworkId> = name
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|id| id.parse().ok());
            let Some(id) = id else { continue };
            let Some(record) = read::<Self>(&path)? else {
                continue;
            };
            check_version(record.version, &path)?;
            if record.id == id {
                all.insert(id, record);
            } else {
                tracing::error!(path = %path.display(), "a record with the id of another is ignored");
            }
        }
        Ok(all)
    }

    /// Writes the record; synced when it returns.
    pub(crate) fn save(&self, state_dir: &Path) -> Result<()> {
        write(
            &state_dir.join(DIRECTORY),
            &path_of(state_dir, &self.id),
            self,
        )
    }

    /// Removes the record; synced when it returns.
    pub(crate) fn remove(state_dir: &Path, id: &NetworkId) -> Result<()> {
        let path = path_of(state_dir, id);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            done => done.map_err(Error::file("remove", &path))?,
        }
        let dir = state_dir.join(DIRECTORY);
        let sync = || std::fs::File::open(&dir)?.sync_all();
        sync().map_err(Error::file("sync", &dir))
    }
}

fn path_of(state_dir: &Path, id: &NetworkId) -> PathBuf {
    state_dir.join(DIRECTORY).join(format!("{id}.json"))
}

fn check_version(version: u32, path: &Path) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    let rule = format!("`{}` has version {version}", path.display());
    Err(Error::InvalidConfig { rule })
}

/// Reads a record; one that is damaged is put aside.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let read = match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.and_then(|text| Ok(serde_json::from_slice::<T>(&text)?)),
    };
    match read {
        Ok(record) => Ok(Some(record)),
        Err(error) => {
            let aside = sys::fs::put_aside(path).map_err(Error::kernel("put aside"))?;
            let (path, aside) = (path.display(), aside.display());
            tracing::error!(%path, %aside, %error, "a network's record is damaged: put aside");
            Ok(None)
        }
    }
}

fn write<T: Serialize>(dir: &Path, path: &Path, record: &T) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    let bytes = serde_json::to_vec(record)
        .map_err(std::io::Error::from)
        .map_err(Error::file("write", path))?;
    sys::fs::replace(path, &bytes, MODE, Durability::Synced)
        .map_err(Error::kernel(format!("write `{}`", path.display())))
}

fn random_id() -> Result<NetworkId> {
    let mut id = [0; 32];
    let mut filled = 0;
    while filled < id.len() {
        filled += rustix::rand::getrandom(&mut id[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Error::file("read", "getrandom")(e.into()))?;
    }
    Ok(NetworkId::from_bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_survives_and_damage_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("network");
        let mut record = DefaultRecord::open(&dir).unwrap();
        record.address = Some("172.17.0.1/16".parse().unwrap());
        record.save(&dir).unwrap();
        assert_eq!(DefaultRecord::open(&dir).unwrap(), record);
        let names: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
        assert_eq!(names.len(), 1);
        let path = dir.join(DEFAULT);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 1]).unwrap();
        assert_ne!(DefaultRecord::open(&dir).unwrap().id, record.id);
        let names: Vec<_> = std::fs::read_dir(&dir).unwrap().collect();
        assert_eq!(names.len(), 2);
        std::fs::write(&path, text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(DefaultRecord::open(&dir).is_err());
    }

    #[test]
    fn records_of_the_first_release_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let id = "0f".repeat(32);
        let text = format!(
            r#"{{"version":1,"id":"{id}","created":"2026-01-02T03:04:05.6Z","address":"172.17.0.1/16"}}"#
        );
        std::fs::write(dir.path().join(DEFAULT), text).unwrap();
        let record = DefaultRecord::open(dir.path()).unwrap();
        assert_eq!(record.id.to_string(), id);
        assert_eq!(record.address, Some("172.17.0.1/16".parse().unwrap()));
        assert_eq!(record.address6, None);
    }

    #[test]
    fn networks_come_back_and_strangers_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(NetworkRecord::load_all(dir.path()).unwrap().is_empty());
        let pool = PoolSpec {
            subnet: Some("10.0.0.0/24".parse().unwrap()),
            gateway: Some("10.0.0.1".parse().unwrap()),
            chosen: true,
            ..PoolSpec::default()
        };
        let record = NetworkRecord::new(NetworkSpec::new("web"), vec![pool]).unwrap();
        record.save(dir.path()).unwrap();
        let networks = dir.path().join(DIRECTORY);
        std::fs::write(networks.join("README"), "mine").unwrap();
        std::fs::write(networks.join(format!("{}.json", "0a".repeat(32))), "{").unwrap();
        let all = NetworkRecord::load_all(dir.path()).unwrap();
        let all: Vec<_> = all.into_values().collect();
        assert_eq!(all, std::slice::from_ref(&record));
        NetworkRecord::remove(dir.path(), &record.id).unwrap();
        NetworkRecord::remove(dir.path(), &record.id).unwrap();
        assert!(NetworkRecord::load_all(dir.path()).unwrap().is_empty());
        assert!(networks.join("README").exists());
    }

    #[test]
    fn the_form_on_disk_is_fixed() {
        let mut spec = NetworkSpec::new("web");
        spec.labels.insert("a".to_owned(), "b".to_owned());
        let record = NetworkRecord {
            version: 1,
            id: NetworkId::from_bytes([0x0f; 32]),
            created: "2026-01-02T03:04:05.6Z".parse().unwrap(),
            spec,
            pools: Vec::new(),
        };
        let text = concat!(
            r#"{"version":1,"id":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","#,
            r#""created":"2026-01-02T03:04:05.6Z","spec":{"name":"web","driver":"bridge","#,
            r#""scope":"local","internal":false,"attachable":false,"enable_ipv4":true,"#,
            r#""enable_ipv6":false,"ipam":{"driver":"","options":{},"pools":[]},"options":{},"#,
            r#""labels":{"a":"b"},"config_only":false},"pools":[]}"#
        );
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert_eq!(serde_json::from_str::<NetworkRecord>(text).unwrap(), record);
    }
}
