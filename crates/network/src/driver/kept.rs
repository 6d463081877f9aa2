//! What others keep for us until we tell them otherwise: a file for each, until they have been told.
//!
//! Written before the first of the others' work, so that no crash loses it; what the daemon does not
//! find again when it starts, it gives back then.

use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sys::fs::Durability;

use super::DriverNetwork;
use crate::{EndpointId, Error, Result};

const ENDING: &str = ".json";

/// What is in a file.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// The version that is written and understood.
    const VERSION: u32;
    /// The version of this one.
    fn version(&self) -> u32;
}

/// The files of one kind.
#[derive(Debug)]
pub(super) struct Kept<T> {
    dir: PathBuf,
    of: PhantomData<fn() -> T>,
}

/// Name of an endpoint's file, without its ending.
pub(super) fn key(network: &DriverNetwork, endpoint: EndpointId) -> String {
    format!("{}-{endpoint}", network.id)
}

impl<T: Record> Kept<T> {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            of: PhantomData,
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}{ENDING}"))
    }

    pub(super) fn write(&self, key: &str, record: &T) -> Result<()> {
        let path = self.path(key);
        std::fs::create_dir_all(&self.dir).map_err(Error::file("create", &self.dir))?;
        let text = serde_json::to_vec(record)
            .map_err(|error| Error::file("write", &path)(error.into()))?;
        sys::fs::replace(&path, &text, 0o600, Durability::Synced)
            .map_err(|error| Error::file("write", &path)(error.into()))
    }

    /// One of them; one that cannot be read is put aside for a person to look at.
    pub(super) fn read(&self, key: &str) -> Result<Option<T>> {
        let path = self.path(key);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::file("read", &path))?,
        };
        let what = match serde_json::from_slice::<T>(&text) {
            Ok(record) if record.version() == T::VERSION => return Ok(Some(record)),
            Ok(record) => format!("version {} is not known", record.version()),
            Err(error) => error.to_string(),
        };
        let aside = sys::fs::put_aside(&path)
            .map_err(|error| Error::file("put aside", &path)(error.into()))?;
        tracing::warn!(path = %aside.display(), error = what, "a record of an endpoint was damaged");
        Ok(None)
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
        let start = format!("{}-", network.id);
        let mut keys = self.all();
        keys.retain(|key| key.starts_with(&start));
        keys
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(ENDING).map(str::to_owned))
            .filter(|key| !key.starts_with(sys::fs::TEMPORARY))
            .collect()
    }
}
