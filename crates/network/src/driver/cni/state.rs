//! What CNI programs were told and answered, until they have taken it back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sys::fs::Durability;

use crate::driver::DriverNetwork;
use crate::{EndpointId, Error, Result};

/// Version of the files.
pub(super) const VERSION: u32 = 1;
const ENDING: &str = ".json";

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Added {
    pub version: u32,
    pub container: String,
    pub interface: String,
    #[serde(default)]
    pub args: String,
    /// What the endpoint asked of programs that can do it.
    #[serde(default)]
    pub runtime: Value,
    /// The configuration as it was: `DEL` gets the same as `ADD`.
    pub list: Value,
    /// What the last program answered; `None` until all have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

/// The files of all endpoints.
#[derive(Debug)]
pub(super) struct State {
    dir: PathBuf,
}

/// Name of an endpoint's file, without its ending.
pub(super) fn key(network: &DriverNetwork, endpoint: EndpointId) -> String {
    format!("{}-{endpoint}", network.id)
}

impl State {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}{ENDING}"))
    }

    pub(super) fn write(&self, key: &str, added: &Added) -> Result<()> {
        let path = self.path(key);
        std::fs::create_dir_all(&self.dir).map_err(Error::file("create", &self.dir))?;
        let text =
            serde_json::to_vec(added).map_err(|error| Error::file("write", &path)(error.into()))?;
        sys::fs::replace(&path, &text, 0o600, Durability::Synced)
            .map_err(|error| Error::file("write", &path)(error.into()))
    }

    /// One endpoint; one that cannot be read is put aside for a person to look at.
    pub(super) fn read(&self, key: &str) -> Result<Option<Added>> {
        let path = self.path(key);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::file("read", &path))?,
        };
        match serde_json::from_slice::<Added>(&text) {
            Ok(added) if added.version == VERSION => Ok(Some(added)),
            other => {
                let what = match other {
                    Ok(added) => format!("version {} is not known", added.version),
                    Err(error) => error.to_string(),
                };
                let aside = sys::fs::put_aside(&path)
                    .map_err(|error| Error::file("put aside", &path)(error.into()))?;
                tracing::warn!(path = %aside.display(), error = what, "a CNI record was damaged");
                Ok(None)
            }
        }
    }

    pub(super) fn remove(&self, key: &str) -> Result<()> {
        let path = self.path(key);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The endpoints of a network.
    pub(super) fn of(&self, network: &DriverNetwork) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let start = format!("{}-", network.id);
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(ENDING).map(str::to_owned))
            .filter(|name| name.starts_with(&start))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_is_still_read() {
        let text = r#"{"version":1,"container":"c","interface":"eth0","args":"K=V",
            "runtime":{"mac":"02:00:00:00:00:01"},"list":{"name":"n"},"result":{"ips":[]}}"#;
        let added: Added = serde_json::from_str(text).unwrap();
        assert_eq!((added.version, added.args.as_str()), (VERSION, "K=V"));
        assert_eq!(added.result, Some(serde_json::json!({"ips": []})));
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().join("cni"));
        state.write("k", &added).unwrap();
        assert_eq!(state.read("k").unwrap(), Some(added));
        std::fs::write(state.path("bad"), "{").unwrap();
        assert_eq!(state.read("bad").unwrap(), None);
        assert!(!state.path("bad").exists());
        state.remove("k").unwrap();
        state.remove("k").unwrap();
        assert_eq!(state.read("k").unwrap(), None);
    }
}
