//! Docker's configuration directory: `config.json` and the contexts.

mod file;
mod shape;
mod syntax;

use std::env;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use spec::Digest;

use crate::options::clean;

const FILE: &str = "config.json";

/// The configuration of one user; a missing file is an empty one.
///
/// What Docker does not know in the file is kept as it is.
#[derive(Debug, Clone, Default)]
pub struct Config {
    directory: PathBuf,
    values: Map<String, Value>,
}

impl Config {
    /// Reads the configuration in a directory, by default `$DOCKER_CONFIG` or `~/.docker`.
    ///
    /// What can be used of a damaged file is used; the text is what to warn with.
    pub fn load(directory: Option<&str>) -> (Self, Option<String>) {
        let directory = directory.map_or_else(default_directory, |given| clean(given).into());
        let (values, warning) = match file::read(&directory.join(FILE)) {
            Ok(values) => (values, None),
            Err((values, why)) => (values, Some(format!("WARNING: Error {why}"))),
        };
        (Self { directory, values }, warning)
    }

    /// The directory of the configuration.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Changes the file, keeping what others wrote since it was read.
    ///
    /// # Errors
    ///
    /// A file that cannot be written, or whose damage a change would bury.
    pub fn update(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), String> {
        file::update(&self.directory, FILE, change)
    }

    /// The entries of `auths`: server and fields.
    pub fn auths(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.object("auths")
    }

    /// The file's name, for messages.
    pub fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// An entry of a map of texts.
    pub fn entry(&self, map: &str, key: &str) -> Option<&str> {
        self.values.get(map)?.get(key)?.as_str()
    }

    /// Whether anything is said about credentials.
    pub fn has_credentials(&self) -> bool {
        !self.text("credsStore").is_empty()
            || self.object("credHelpers").next().is_some()
            || self.auths().next().is_some()
    }

    fn object(&self, key: &str) -> impl Iterator<Item = (&String, &Value)> {
        let map = self.values.get(key).and_then(Value::as_object);
        map.into_iter().flatten()
    }

    /// A text of `config.json`; empty where there is none.
    pub fn text(&self, key: &str) -> &str {
        self.values
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The filters that every prune applies.
    pub fn prune_filters(&self) -> Vec<String> {
        let filters = self.values.get("pruneFilters").and_then(Value::as_array);
        filters
            .into_iter()
            .flatten()
            .filter_map(|f| f.as_str().map(str::to_owned))
            .collect()
    }

    /// The headers that every request carries.
    pub fn http_headers(&self) -> Vec<(String, String)> {
        self.object("HttpHeaders")
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect()
    }

    /// The proxy variables for containers on this daemon, both spellings.
    pub fn proxies(&self, host: &str) -> Vec<(&'static str, String)> {
        let all = self.values.get("proxies");
        let Some(proxy) = all.and_then(|p| p.get(host).or_else(|| p.get("default"))) else {
            return Vec::new();
        };
        let names = [
            ("httpProxy", ["HTTP_PROXY", "http_proxy"]),
            ("httpsProxy", ["HTTPS_PROXY", "https_proxy"]),
            ("noProxy", ["NO_PROXY", "no_proxy"]),
            ("ftpProxy", ["FTP_PROXY", "ftp_proxy"]),
            ("allProxy", ["ALL_PROXY", "all_proxy"]),
        ];
        let mut out = Vec::new();
        for (key, spellings) in names {
            if let Some(value) = proxy
                .get(key)
                .and_then(Value::as_str)
                .filter(|v| !v.is_empty())
            {
                out.extend(spellings.map(|name| (name, value.to_owned())));
            }
        }
        out
    }

    /// The address of a context, from its metadata.
    ///
    /// # Errors
    ///
    /// Docker's text for a context that is not there.
    pub fn context_host(&self, name: &str) -> Result<String, String> {
        let missing = || {
            format!(
                "context {name:?}: context not found: open {}: no such file or directory",
                self.meta_file(name).display()
            )
        };
        let bytes = std::fs::read(self.meta_file(name)).map_err(|_| missing())?;
        let meta: Value =
            serde_json::from_slice(&bytes).map_err(|error| format!("context {name:?}: {error}"))?;
        let host = meta
            .pointer("/Endpoints/docker/Host")
            .and_then(Value::as_str);
        host.map(str::to_owned)
            .ok_or_else(|| format!("context {name:?} has no docker endpoint"))
    }

    fn meta_file(&self, name: &str) -> PathBuf {
        let id = Digest::of(name.as_bytes()).hex();
        self.directory
            .join("contexts/meta")
            .join(id)
            .join("meta.json")
    }
}

/// `$DOCKER_CONFIG` or `~/.docker`.
pub fn default_directory() -> PathBuf {
    match env::var_os("DOCKER_CONFIG").filter(|v| !v.is_empty()) {
        Some(directory) => directory.into(),
        None => PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".docker"),
    }
}

/// Name and password of an entry's `auth`; empty where it cannot be read.
pub fn pair(coded: &str) -> (String, String) {
    shape::pair(coded).unwrap_or_default()
}

/// What Go says of a text that is no JSON.
pub fn complaint(text: &[u8], error: &serde_json::Error) -> String {
    syntax::complaint(text).unwrap_or_else(|| error.to_string())
}

// Go's name of the type of a JSON value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The words of an I/O error as Go says them.
pub fn go_text(error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::NotFound => "no such file or directory".to_owned(),
        K::PermissionDenied => "permission denied".to_owned(),
        K::IsADirectory => "is a directory".to_owned(),
        K::NotADirectory => "not a directory".to_owned(),
        K::AlreadyExists => "file exists".to_owned(),
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error ").next().unwrap_or(&text);
            let mut chars = text.chars();
            let first = chars.next().map(|c| c.to_ascii_lowercase());
            first.into_iter().chain(chars).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_as_go_tells_them() {
        let of = |code| go_text(&std::io::Error::from_raw_os_error(code));
        assert_eq!(of(2), "no such file or directory");
        assert_eq!(of(25), "inappropriate ioctl for device");
        assert_eq!(of(28), "no space left on device");
    }

    #[test]
    fn contexts_are_found_by_the_digest_of_their_name() {
        let dir = std::env::temp_dir().join(format!("corten-config-{}", std::process::id()));
        // The digest of "remote", as Docker names the directory.
        let meta = dir.join("contexts/meta").join(Digest::of(b"remote").hex());
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(
            meta.join("meta.json"),
            r#"{"Name":"remote","Endpoints":{"docker":{"Host":"tcp://h:1"}}}"#,
        )
        .unwrap();
        std::fs::write(
            dir.join("config.json"),
            r#"{"currentContext":"remote","psFormat":"{{.ID}}"}"#,
        )
        .unwrap();
        let (config, warning) = Config::load(dir.to_str());
        assert_eq!(warning, None);
        assert_eq!(config.text("currentContext"), "remote");
        assert_eq!(config.context_host("remote"), Ok("tcp://h:1".to_owned()));
        assert!(
            config
                .context_host("nope")
                .unwrap_err()
                .contains("context not found")
        );
        std::fs::write(dir.join("config.json"), "{").unwrap();
        assert!(
            Config::load(dir.to_str())
                .1
                .unwrap()
                .starts_with("WARNING: Error parsing config file")
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
