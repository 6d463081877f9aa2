//! Finds plugins by their sockets and spec files.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::PluginFailure;
use crate::http::Address;

/// Largest spec file that is read.
const MAX_SPEC: u64 = 64 * 1024;
/// Plugins of one directory that are looked at.
const MAX_PLUGINS: usize = 256;
/// Longest name.
const MAX_NAME: usize = 200;
/// Endings in the order in which they are tried.
const SPECS: [&str; 2] = ["spec", "json"];

/// A spec file in JSON.
#[derive(Debug, Deserialize)]
struct Spec {
    #[serde(rename = "Addr", alias = "addr", default)]
    address: String,
    #[serde(rename = "TLSConfig", default)]
    tls: Option<serde_json::Value>,
}

/// Names are names of files, so their grammar is also a safety rule.
fn is_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
    name.len() <= MAX_NAME
        && name.bytes().all(plain)
        && name
            .bytes()
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric())
}

/// Where a plugin listens. Sockets come before spec files, as in Docker.
pub(crate) fn find(dirs: &[PathBuf], name: &str) -> Result<Address, PluginFailure> {
    let not_found = || PluginFailure::NotFound {
        plugin: name.to_owned(),
    };
    if !is_name(name) {
        return Err(not_found());
    }
    let candidates = |ending: &'static str| {
        let file = format!("{name}.{ending}");
        dirs.iter()
            .flat_map(move |dir| [dir.join(&file), dir.join(name).join(&file)])
    };
    let is_socket = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
    };
    if let Some(socket) = candidates("sock").find(is_socket) {
        return Ok(Address::Unix(socket));
    }
    let spec = SPECS.iter().find_map(|ending| {
        let path = candidates(ending).find(|path| path.exists())?;
        Some((path, *ending))
    });
    match spec {
        Some((path, ending)) => read(&path, ending == "json").map_err(|what| PluginFailure::Spec {
            path: path.display().to_string(),
            what,
        }),
        None => Err(not_found()),
    }
}

fn read(path: &Path, json: bool) -> Result<Address, String> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err("it is no file".to_owned());
    }
    let mut text = String::new();
    let read = file.take(MAX_SPEC + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_SPEC {
        return Err("it is too large".to_owned());
    }
    if !json {
        return Address::parse(text.trim());
    }
    let spec: Spec = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if spec.tls.is_some_and(|tls| !tls.is_null()) {
        return Err(TLS.to_owned());
    }
    Address::parse(spec.address.trim())
}

/// Refusal of plugins that want TLS.
pub(crate) const TLS: &str =
    "TLS is not supported with plugins: let the plugin listen on a unix socket";

/// Names of all plugins, each once.
pub(crate) fn scan(dirs: &[PathBuf]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for dir in dirs {
        let Ok(entries) = std::fs::read_dir(dir) else {
            continue;
        };
        for entry in entries.flatten().take(MAX_PLUGINS) {
            let Ok(file) = entry.file_name().into_string() else {
                continue;
            };
            let (stem, ending) = file.rsplit_once('.').unwrap_or((&file, ""));
            let name = match ending {
                "sock" | "spec" | "json" => stem,
                // A directory of the plugin's own, whatever dots its name has.
                _ => file.as_str(),
            };
            // What it leads to is found as if it had been named: one rule for both.
            if is_name(name) && !matches!(find(dirs, name), Err(PluginFailure::NotFound { .. })) {
                names.insert(name.to_owned());
            }
        }
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dir: &Path, file: &str, text: &str) {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn sockets_and_specs_are_found_where_docker_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let listen = |file: &str| std::os::unix::net::UnixListener::bind(at.join(file)).unwrap();
        std::fs::create_dir(at.join("own")).unwrap();
        let _sockets = [listen("plain.sock"), listen("own/own.sock")];
        spec(at, "remote.spec", "tcp://127.0.0.1:8080\n");
        spec(
            at,
            "j/j.json",
            r#"{"Name":"other","Addr":"unix:///run/j.sock"}"#,
        );
        spec(at, "plain.spec", "tcp://127.0.0.1:1");
        spec(at, "notes.txt", "");
        spec(at, "file.sock", "not a socket");
        spec(at, "-odd.spec", "unix:///x");
        let dirs = [at.join("missing"), at.to_owned()];
        assert_eq!(scan(&dirs), ["j", "own", "plain", "remote"]);
        let unix = |path: &str| Address::Unix(at.join(path));
        assert_eq!(find(&dirs, "plain").unwrap(), unix("plain.sock"));
        assert_eq!(find(&dirs, "own").unwrap(), unix("own/own.sock"));
        assert_eq!(
            find(&dirs, "j").unwrap(),
            Address::Unix("/run/j.sock".into())
        );
        assert_eq!(
            find(&dirs, "remote").unwrap(),
            Address::Tcp("127.0.0.1:8080".into())
        );
        for name in ["nope", "", "../plain", "a/b", "own/own", ".", "file"] {
            let error = find(&dirs, name).unwrap_err();
            assert_eq!(error.to_string(), format!("plugin {name:?} not found"));
        }
    }

    #[test]
    fn specs_that_make_no_sense_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_owned()];
        for (text, want) in [
            ("", "Unknown protocol"),
            ("/run/x.sock", "Unknown protocol"),
            ("ftp://x", "Unknown protocol"),
            ("unix://relative", "absolute"),
            ("tcp://host", "port"),
            ("https://host:1", "TLS"),
        ] {
            spec(dir.path(), "p.spec", text);
            let error = find(&dirs, "p").unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        spec(
            dir.path(),
            "q.json",
            r#"{"Addr":"tcp://h:1","TLSConfig":{"CAFile":"/x"}}"#,
        );
        assert!(find(&dirs, "q").unwrap_err().to_string().contains("TLS"));
        spec(dir.path(), "big.spec", &"x".repeat(70_000));
        assert!(
            find(&dirs, "big")
                .unwrap_err()
                .to_string()
                .contains("large")
        );
    }
}
