//! Docker's configuration directory: `config.json` and the contexts.

use std::env;
use std::path::PathBuf;

use serde_json::Value;
use spec::Digest;

/// The configuration of one user. Read only; a missing file is an empty one.
#[derive(Debug, Clone, Default)]
pub struct Config {
    directory: PathBuf,
    values: Value,
}

impl Config {
    /// Reads the configuration in a directory, by default `$DOCKER_CONFIG` or `~/.docker`.
    ///
    /// # Errors
    ///
    /// The text to warn with when the file is there and is no JSON.
    pub fn load(directory: Option<&str>) -> (Self, Option<String>) {
        let directory = directory.map_or_else(default_directory, PathBuf::from);
        let file = directory.join("config.json");
        let (values, warning) = match std::fs::read(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Value::Null, None),
            Err(error) => (
                Value::Null,
                Some(format!(
                    "WARNING: Error loading config file: open {}: {}",
                    file.display(),
                    go_text(&error)
                )),
            ),
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(values) => (values, None),
                Err(error) => (
                    Value::Null,
                    Some(format!(
                        "WARNING: Error parsing config file ({}): {error}",
                        file.display()
                    )),
                ),
            },
        };
        (Self { directory, values }, warning)
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
        let headers = self.values.get("HttpHeaders").and_then(Value::as_object);
        let pairs = headers.into_iter().flatten();
        pairs
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

/// The words of an I/O error as Go says them.
pub fn go_text(error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::NotFound => "no such file or directory".to_owned(),
        K::PermissionDenied => "permission denied".to_owned(),
        K::IsADirectory => "is a directory".to_owned(),
        K::NotADirectory => "not a directory".to_owned(),
        K::AlreadyExists => "file exists".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
