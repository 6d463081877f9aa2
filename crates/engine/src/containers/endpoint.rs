//! A running container's place in its networks, kept beside its task: `endpoint.json`, version 2.
//!
//! Version 1 held the one endpoint that there was.

use std::path::Path;

use network::{Endpoint, Ipv4Net, PublishedPort};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const FILE: &str = "endpoint.json";
const VERSION: u32 = 2;

/// What a run has of its networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its endpoints, `eth0` first; none on the host's network, on none and on another container's.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Its published ports.
    pub(crate) ports: Vec<PublishedPort>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PlaceRecord {
    version: u32,
    endpoints: Vec<Endpoint>,
    ports: Vec<PublishedPort>,
}

/// What version 1 held.
#[derive(Debug, Deserialize)]
struct OldRecord {
    network: String,
    network_id: String,
    endpoint_id: String,
    address: String,
    prefix_len: u8,
    gateway: String,
    mac: String,
}

/// Writes it; not synced, for it lives in memory. An empty place is no file.
pub(super) fn save(run_dir: &Path, place: &Place) -> Result<()> {
    let path = run_dir.join(FILE);
    let what = || format!("failed to write `{}`", path.display());
    if *place == Place::default() {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(what(), e)),
            _ => Ok(()),
        };
    }
    let record = PlaceRecord {
        version: VERSION,
        endpoints: place.endpoints.clone(),
        ports: place.ports.clone(),
    };
    let bytes = serde_json::to_vec(&record).map_err(|source| Error::Decode {
        what: what(),
        source,
    })?;
    if !path.exists() {
        return std::fs::write(&path, bytes).map_err(|e| Error::io(what(), e));
    }
    // It is being read by nobody but a later engine, which must find it whole.
    let durability = sys::fs::Durability::Unsynced;
    sys::fs::replace(&path, &bytes, 0o600, durability).map_err(|source| Error::System {
        what: what(),
        source,
    })
}

/// Reads it; `None` if it is absent or cannot be understood.
pub(super) fn load(run_dir: &Path) -> Option<Place> {
    let bytes = std::fs::read(run_dir.join(FILE)).ok()?;
    if let Ok(record) = serde_json::from_slice::<PlaceRecord>(&bytes) {
        return (record.version == VERSION).then_some(Place {
            endpoints: record.endpoints,
            ports: record.ports,
        });
    }
    let old: OldRecord = serde_json::from_slice(&bytes).ok()?;
    Some(Place {
        endpoints: of_old(&old).into_iter().collect(),
        ports: Vec::new(),
    })
}

fn of_old(old: &OldRecord) -> Option<Endpoint> {
    let address: std::net::Ipv4Addr = old.address.parse().ok()?;
    Some(Endpoint {
        network_id: old.network_id.parse().ok()?,
        network: old.network.clone(),
        driver: "bridge".to_owned(),
        endpoint_id: old.endpoint_id.clone().try_into().ok()?,
        interface: "eth0".to_owned(),
        // Not kept by that version.
        host_interface: String::new(),
        mac: old.mac.parse().ok(),
        ipv4: Ipv4Net::new(address, old.prefix_len).ok(),
        ipv6: None,
        link_local: Vec::new(),
        gateway4: old.gateway.parse().ok(),
        gateway6: None,
        gateway_priority: 0,
        default_on_link: false,
        options: std::collections::BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 wrote it.
    const OLD: &str = r#"{"version":1,"network":"bridge","network_id":"ccf40f9ea4ffc3f2c49c0e1d2a97b8f5a30ab7b4b4c2d7a7e19b5b1f3f7a8b90","endpoint_id":"3aa1f2f7a4b0a1f2f7a4b0a1f2f7a4b0a1f2f7a4b0a1f2f7a4b0a1f2f7a4b0aa","sandbox_key":"","address":"172.17.0.2","prefix_len":16,"gateway":"172.17.0.1","mac":"02:42:ac:11:00:02"}"#;

    #[test]
    fn the_old_version_is_read_and_the_new_one_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), None);
        std::fs::write(dir.path().join(FILE), OLD).unwrap();
        let mut place = load(dir.path()).unwrap();
        let endpoint = &place.endpoints[0];
        assert_eq!(endpoint.ipv4.unwrap().to_string(), "172.17.0.2/16");
        assert_eq!(endpoint.mac.unwrap().to_string(), "02:42:ac:11:00:02");
        place.ports.push(PublishedPort {
            container_port: 80,
            protocol: network::Protocol::Tcp,
            host_ip: "0.0.0.0".parse().unwrap(),
            host_port: 8080,
        });
        save(dir.path(), &place).unwrap();
        assert_eq!(load(dir.path()), Some(place));
        save(dir.path(), &Place::default()).unwrap();
        assert!(!dir.path().join(FILE).exists());
    }

    #[test]
    fn the_written_form_stays() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), OLD).unwrap();
        let place = load(dir.path()).unwrap();
        save(dir.path(), &place).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["version"], 2);
        assert_eq!(value["endpoints"][0]["ipv4"], "172.17.0.2/16");
        assert_eq!(value["endpoints"][0]["mac"], "02:42:ac:11:00:02");
        std::fs::write(
            dir.path().join(FILE),
            text.replace("\"version\":2", "\"version\":3"),
        )
        .unwrap();
        assert_eq!(load(dir.path()), None);
    }
}
