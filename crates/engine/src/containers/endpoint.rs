//! A running container's place in its network, kept beside its task: `endpoint.json`, version 1.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::container::EndpointView;
use crate::{Error, Result};

const FILE: &str = "endpoint.json";

#[derive(Debug, Serialize, Deserialize)]
struct EndpointRecord {
    version: u32,
    network: String,
    network_id: String,
    endpoint_id: String,
    sandbox_key: String,
    address: String,
    prefix_len: u8,
    gateway: String,
    mac: String,
}

/// Writes it; not synced, for it lives in memory.
pub(super) fn save(run_dir: &Path, view: &EndpointView) -> Result<()> {
    let path = run_dir.join(FILE);
    let what = || format!("failed to write `{}`", path.display());
    let record = EndpointRecord {
        version: 1,
        network: view.network.clone(),
        network_id: view.network_id.clone(),
        endpoint_id: view.endpoint_id.clone(),
        sandbox_key: view.sandbox_key.clone(),
        address: view.address.clone(),
        prefix_len: view.prefix_len,
        gateway: view.gateway.clone(),
        mac: view.mac.clone(),
    };
    let bytes = serde_json::to_vec(&record).map_err(|source| Error::Decode {
        what: what(),
        source,
    })?;
    std::fs::write(&path, bytes).map_err(|e| Error::io(what(), e))
}

/// Reads it; `None` if it is absent or cannot be understood.
pub(super) fn load(run_dir: &Path) -> Option<EndpointView> {
    let bytes = std::fs::read(run_dir.join(FILE)).ok()?;
    let record: EndpointRecord = serde_json::from_slice(&bytes).ok()?;
    Some(EndpointView {
        network: record.network,
        network_id: record.network_id,
        endpoint_id: record.endpoint_id,
        sandbox_key: record.sandbox_key,
        address: record.address,
        prefix_len: record.prefix_len,
        gateway: record.gateway,
        mac: record.mac,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), None);
        let view = EndpointView {
            network: "bridge".to_owned(),
            network_id: "a".to_owned(),
            endpoint_id: "b".to_owned(),
            sandbox_key: "c".to_owned(),
            address: "172.17.0.2".to_owned(),
            prefix_len: 16,
            gateway: "172.17.0.1".to_owned(),
            mac: "02:42:ac:11:00:02".to_owned(),
        };
        save(dir.path(), &view).unwrap();
        assert_eq!(load(dir.path()), Some(view));
    }
}
