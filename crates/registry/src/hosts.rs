//! What an operator put into files for one registry: certificates and `hosts.toml`.
//!
//! ```text
//! <certs dir>/<host[:port]>/
//! ├── *.crt                   certificates of authorities, besides the system's
//! ├── *.cert + *.key          certificate and key of the client
//! └── hosts.toml              where to go instead, in containerd's form
//! ```
//!
//! The files are read again when something in their directories changed, so nothing needs a
//! restart. Several certs directories add up; the last `hosts.toml` wins.

mod toml_file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::Result;
use crate::origin::invalid;
use crate::tls::Material;

pub(crate) use toml_file::read;

/// Registries whose files are remembered.
const MAX_REMEMBERED: usize = 256;
/// Longest file that is read; a bundle of all public authorities has 220 KB.
const MAX_FILE: u64 = 4 << 20;

/// What a host may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) pull: bool,
    pub(crate) resolve: bool,
    pub(crate) push: bool,
}

impl Capabilities {
    pub(crate) const ALL: Self = Self {
        pull: true,
        resolve: true,
        push: true,
    };
}

/// One host of a `hosts.toml`.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) url: Url,
    pub(crate) capabilities: Capabilities,
    pub(crate) material: Material,
    pub(crate) skip_verify: bool,
    /// The path of the URL is the whole base, no `/v2` is added.
    pub(crate) override_path: bool,
    pub(crate) headers: HeaderMap,
}

/// Everything that files say about one registry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// From `*.crt`, `*.cert`, `*.key`.
    pub(crate) material: Material,
    /// From `hosts.toml`, in order.
    pub(crate) hosts: Option<Hosts>,
}

/// A `hosts.toml`.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    /// Asked in order before the server.
    pub(crate) hosts: Vec<Host>,
    /// The registry itself.
    pub(crate) server: Host,
    /// The file says where the registry is.
    pub(crate) is_server_named: bool,
    /// Token servers elsewhere that may get the registry's credentials. Only we know this key.
    pub(crate) token_hosts: Vec<String>,
}

/// Reads the files of registries and remembers them until they change.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    known: Mutex<HashMap<Key, (Stamp, Arc<Files>)>>,
}

/// Directories and a registry's name.
type Key = (Vec<PathBuf>, String);

/// What tells that something changed: names, lengths and times of all files of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Directory {
    /// The files for a registry (`host[:port]`).
    pub(crate) fn of(&self, directories: &[PathBuf], name: &str) -> Result<Arc<Files>> {
        // A name is a domain, but it comes from outside and becomes a path.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Ok(Arc::default());
        }
        let stamp = Stamp::of(directories, name);
        let key = (directories.to_vec(), name.to_owned());
        let lock = || self.known.lock().expect("nothing panics while it holds");
        if let Some((known, files)) = lock().get(&key)
            && *known == stamp
        {
            return Ok(Arc::clone(files));
        }
        let files = Arc::new(load(directories, name)?);
        let mut known = lock();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(key, (stamp, Arc::clone(&files)));
        Ok(files)
    }
}

impl Stamp {
    fn of(directories: &[PathBuf], name: &str) -> Self {
        let mut all = Vec::new();
        for directory in directories {
            let Ok(entries) = std::fs::read_dir(directory.join(name)) else {
                continue;
            };
            all.extend(entries.flatten().map(|entry| {
                // Through links: the file behind one is what counts.
                let about = std::fs::metadata(entry.path()).ok();
                let length = about.as_ref().map_or(0, std::fs::Metadata::len);
                (entry.path(), length, about.and_then(|a| a.modified().ok()))
            }));
        }
        all.sort();
        Self(all)
    }
}

fn load(directories: &[PathBuf], name: &str) -> Result<Files> {
    let mut files = Files::default();
    for directory in directories {
        let directory = directory.join(name);
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(invalid(format!(
                    "cannot read `{}`: {error}",
                    directory.display()
                )));
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in &paths {
            add(&mut files, path, &paths)?;
        }
        let toml = directory.join("hosts.toml");
        if paths.contains(&toml) {
            files.hosts = Some(read(name, &directory, &text(&toml)?)?);
        }
    }
    Ok(files)
}

fn add(files: &mut Files, path: &Path, all: &[PathBuf]) -> Result<()> {
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("crt") => files.material.add_authorities(&bytes(path)?, path),
        Some("cert") => {
            let key = path.with_extension("key");
            if !all.contains(&key) {
                return Err(invalid(format!(
                    "missing key {} for client certificate {}. CA certificates must use the \
                     extension .crt",
                    name(&key),
                    name(path)
                )));
            }
            files
                .material
                .set_client(&bytes(path)?, &bytes(&key)?, path)
        }
        Some("key") if !all.contains(&path.with_extension("cert")) => Err(invalid(format!(
            "missing client certificate {} for key {}",
            name(&path.with_extension("cert")),
            name(path)
        ))),
        _ => Ok(()),
    }
}

/// Reads a file that an operator named, up to a bound.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| invalid(format!("cannot read `{}`: {error}", path.display()));
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE {
        return Err(invalid(format!("`{}` is too long", path.display())));
    }
    std::fs::read(path).map_err(failed)
}

fn text(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path)?)
        .map_err(|_| invalid(format!("`{}` is not UTF-8", path.display())))
}

/// Makes a header of an operator's texts; values are secrets for all we know.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    let bad = || invalid(format!("`{name}` is not a header that can be sent"));
    let header: HeaderName = name.parse().map_err(|_| bad())?;
    let mut value: HeaderValue = value.parse().map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok((header, value))
}

#[cfg(test)]
mod tests;
