//! What flags and file together mean: settings of the daemon and of its engine.

mod images;
mod networks;

use std::path::{Path, PathBuf};

use engine::EngineConfig;
use engine::config::AddressPool;
use engine::container::{LogConfig, Ulimit};
use tracing::info;
use tracing::level_filters::LevelFilter;

use crate::config_file::{self, ConfigError};
use crate::flags::{Effect, TABLE, Values};
use crate::listen::Host;

/// Settings that make no sense.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration file cannot be used.
    #[error("unable to configure the Docker daemon with file {path}: {why}")]
    File {
        /// The file.
        path: String,
        /// Why; in the text itself, as dockerd prints it, hence no source.
        why: ConfigError,
    },
    /// A setting that is refused.
    #[error("{0}")]
    Refused(String),
}

/// Under which name the daemon was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `cortend`
    Cortend,
    /// `dockerd`: sockets and files where dockerd has them.
    Dockerd,
}

impl Name {
    /// Reads the program's name.
    pub fn of(program: &str) -> Self {
        if Path::new(program)
            .file_name()
            .is_some_and(|n| n == "dockerd")
        {
            Self::Dockerd
        } else {
            Self::Cortend
        }
    }

    /// The name in texts.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cortend => "cortend",
            Self::Dockerd => "dockerd",
        }
    }

    fn default_file(self) -> PathBuf {
        let dockers = Path::new("/etc/docker/daemon.json");
        match self {
            Self::Dockerd if dockers.exists() => dockers.to_owned(),
            Self::Dockerd | Self::Cortend => PathBuf::from("/etc/corten/daemon.json"),
        }
    }
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Settings of the daemon.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses to listen at.
    pub hosts: Vec<Host>,
    /// Group of unix sockets; `None` picks a default one.
    pub group: Option<String>,
    /// File with the process id; empty for none.
    pub pidfile: PathBuf,
    /// File that was or would be read.
    pub config_file: PathBuf,
    /// Least severe level that is logged.
    pub level: LevelFilter,
    /// Form of log lines.
    pub format: LogFormat,
    /// Containers go on when the daemon ends.
    pub containers_survive: bool,
    /// Settings of the engine.
    pub engine: EngineConfig,
    /// Flags that were given and do nothing here.
    pub without_effect: Vec<&'static str>,
}

impl Settings {
    /// Reads the configuration file, if any, and joins it with the flags.
    pub fn load(name: Name, flags: &Values) -> Result<Self, SettingsError> {
        let named = flags.get("config-file").and_then(|v| v.last());
        let path = named.map_or_else(|| name.default_file(), PathBuf::from);
        let file = |why| SettingsError::File {
            path: path.display().to_string(),
            why,
        };
        let text = match config_file::read(&path).map_err(file)? {
            Some(text) => text,
            None if named.is_some() => {
                let why = "no such file or directory".to_owned();
                return Err(file(ConfigError::Read {
                    path: path.display().to_string(),
                    why,
                }));
            }
            None => Vec::new(),
        };
        let values = config_file::merge(&text, flags).map_err(file)?;
        Self::from_values(name, path.clone(), &Reader(&values))
    }

    fn from_values(
        name: Name,
        config_file: PathBuf,
        values: &Reader<'_>,
    ) -> Result<Self, SettingsError> {
        refuse(values)?;
        let engine = engine_config(values)?;
        let hosts = values
            .list("host")
            .iter()
            .filter_map(|h| h.parse().ok())
            .collect::<Vec<Host>>();
        let default_host = match name {
            Name::Cortend => engine.exec_root.join("corten.sock"),
            Name::Dockerd => PathBuf::from("/var/run/docker.sock"),
        };
        let pidfile = match (values.text("pidfile"), name) {
            (Some(path), _) => PathBuf::from(path),
            (None, Name::Cortend) => engine.exec_root.join("cortend.pid"),
            (None, Name::Dockerd) => PathBuf::from("/var/run/docker.pid"),
        };
        Ok(Self {
            hosts: if hosts.is_empty() {
                vec![Host::Unix(default_host)]
            } else {
                hosts
            },
            group: values.text("group").map(str::to_owned),
            pidfile,
            config_file,
            level: level(values)?,
            format: match values.text("log-format") {
                None | Some("text" | "") => LogFormat::Text,
                Some("json") => LogFormat::Json,
                Some(other) => return refused(format!("invalid log format: {other}")),
            },
            containers_survive: values.flag("live-restore").unwrap_or(true),
            engine,
            without_effect: without_effect(values),
        })
    }

    /// Logs what was accepted without effect.
    pub fn log_without_effect(&self) {
        for flag in &self.without_effect {
            info!(flag, "accepted without effect");
        }
    }
}

/// The level that flags and file ask for.
fn level(values: &Reader<'_>) -> Result<LevelFilter, SettingsError> {
    if values.flag("debug") == Some(true) {
        return Ok(LevelFilter::DEBUG);
    }
    match values.text("log-level").unwrap_or("info") {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" | "" => Ok(LevelFilter::INFO),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "error" | "fatal" | "panic" => Ok(LevelFilter::ERROR),
        other => refused(format!("invalid logging level: {other}")),
    }
}

fn refused<T>(text: String) -> Result<T, SettingsError> {
    Err(SettingsError::Refused(text))
}

/// Refuses settings without which the daemon would be less safe than asked for.
fn refuse(values: &Reader<'_>) -> Result<(), SettingsError> {
    for flag in TABLE.iter() {
        let given = values
            .list(flag.name)
            .iter()
            .any(|v| v != "false" && !v.is_empty());
        if let Effect::Refused(why) = flag.effect
            && given
        {
            return refused(format!("--{}: {why}", flag.name));
        }
    }
    Ok(())
}

fn without_effect(values: &Reader<'_>) -> Vec<&'static str> {
    let given = |name: &str| values.0.contains_key(name);
    TABLE
        .iter()
        .filter(|f| f.effect == Effect::Accepted && given(f.name))
        .map(|f| f.name)
        .collect()
}

/// Values by name.
struct Reader<'v>(&'v Values);

impl<'v> Reader<'v> {
    fn list(&self, name: &str) -> &'v [String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn text(&self, name: &str) -> Option<&'v str> {
        self.list(name).last().map(String::as_str)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).map(|v| v == "true")
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.text(name).filter(|t| !t.is_empty()).map(str::to_owned)
    }

    fn pairs(&self, name: &str) -> impl Iterator<Item = (String, String)> {
        self.list(name).iter().map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        })
    }
}

fn engine_config(values: &Reader<'_>) -> Result<EngineConfig, SettingsError> {
    let data_root = absolute(values.text("data-root").unwrap_or("/var/lib/corten"))?;
    let exec_root = absolute(values.text("exec-root").unwrap_or("/run/corten"))?;
    let mut config = EngineConfig::new(data_root, exec_root);
    config.shim_path = beside("corten-shim");
    config.init_path = values
        .owned("init-path")
        .map_or_else(|| beside("corten-init"), PathBuf::from);
    let dirs = values.list("volume-plugin-dir");
    if !dirs.is_empty() {
        let dirs = dirs.iter().map(|dir| absolute(dir));
        config.volume_plugin_dirs = dirs.collect::<Result<Vec<PathBuf>, _>>()?;
    }
    config.cgroup_parent = values.owned("cgroup-parent");
    config.bridge = values.owned("bridge");
    config.bip = values.owned("bip");
    config.address_pools = pools(values)?;
    config.mtu = networks::mtu(values)?;
    config.firewall = values.flag("iptables").unwrap_or(true);
    config.storage_driver = values.owned("storage-driver");
    config.log = LogConfig {
        driver: values.owned("log-driver").unwrap_or_default(),
        options: values.pairs("log-opt").collect(),
    };
    config.network = networks::network_defaults(values)?;
    // Plugins for networks and for volumes are found in the same places.
    config.network.plugin_dirs = config.volume_plugin_dirs.clone();
    config.dns = networks::servers(values);
    config.dns_search = values.list("dns-search").to_vec();
    config.dns_options = values.list("dns-opt").to_vec();
    config.labels = values.list("label").to_vec();
    config.runtimes = values.pairs("add-runtime").collect();
    if let Some(name) = values.owned("default-runtime") {
        config.default_runtime = name;
    }
    config.init = values.flag("init").unwrap_or(false);
    config.ulimits = values
        .pairs("default-ulimit")
        .map(|(name, limits)| ulimit(name, &limits))
        .collect();
    config.default_shm_size = values
        .text("default-shm-size")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    config.no_new_privileges = values.flag("no-new-privileges").unwrap_or(false);
    if let Some(seconds) = number(values, "shutdown-timeout")? {
        config.stop_timeout = seconds;
    }
    config.images = images::images_config(values)?;
    config.inter_container = values.flag("icc").unwrap_or(true);
    config.debug = values.flag("debug").unwrap_or(false);
    config.experimental = values.flag("experimental").unwrap_or(false);
    Ok(config)
}

fn absolute(path: &str) -> Result<PathBuf, SettingsError> {
    std::path::absolute(path).or_else(|_| refused(format!("invalid path: {path:?}")))
}

/// A program beside this one, or else on the search path.
fn beside(program: &str) -> PathBuf {
    let own = std::env::current_exe().ok();
    let sibling = own.and_then(|exe| Some(exe.parent()?.join(program)));
    sibling
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(program))
}

fn number<T: TryFrom<i64>>(values: &Reader<'_>, name: &str) -> Result<Option<T>, SettingsError> {
    let Some(text) = values.text(name) else {
        return Ok(None);
    };
    match text.parse::<i64>().ok().and_then(|n| T::try_from(n).ok()) {
        Some(n) => Ok(Some(n)),
        None => refused(format!("invalid value for {name}: {text}")),
    }
}

fn pools(values: &Reader<'_>) -> Result<Vec<AddressPool>, SettingsError> {
    let one = |text: &String| match crate::flags::parse_pool(text) {
        Ok((base, size)) => Ok(AddressPool { base, size }),
        Err(why) => refused(why),
    };
    values
        .list("default-address-pool")
        .iter()
        .map(one)
        .collect()
}

/// One limit stands for both.
fn ulimit(name: String, limits: &str) -> Ulimit {
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Ulimit {
        name,
        soft: soft.parse().unwrap_or(0),
        hard: hard.parse().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::parse;

    fn load(line: &str, file: Option<&str>) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let mut args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let path = dir.path().join("daemon.json");
        std::fs::write(&path, file.unwrap_or("")).unwrap();
        args.push(format!("--config-file={}", path.display()));
        let flags = parse("cortend", &args).map_err(|e| e.to_string())?;
        Settings::load(Name::Cortend, &flags).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults() {
        let got = load("", None).unwrap();
        assert_eq!(got.hosts, [Host::Unix("/run/corten/corten.sock".into())]);
        assert_eq!(got.engine.data_root, Path::new("/var/lib/corten"));
        assert_eq!(got.pidfile, Path::new("/run/corten/cortend.pid"));
        assert_eq!(got.level, LevelFilter::INFO);
        assert!(got.containers_survive);
    }

    #[test]
    fn flags_and_file_join() {
        let got = load(
            "--data-root /d --exec-root /e -H unix:///a -H tcp://:9 --userland-proxy=false --containerd=/x",
            Some(r#"{"debug":true,"bip":"10.1.0.1/24","default-ulimits":{"nofile":{"soft":1,"hard":2}},"live-restore":false}"#),
        )
        .unwrap();
        assert_eq!(got.hosts.len(), 2);
        assert_eq!(got.level, LevelFilter::DEBUG);
        assert_eq!(got.engine.bip.as_deref(), Some("10.1.0.1/24"));
        assert_eq!(
            got.engine.ulimits,
            [Ulimit {
                name: "nofile".to_owned(),
                soft: 1,
                hard: 2
            }]
        );
        assert_eq!(got.without_effect, ["containerd"]);
        assert!(!got.engine.network.userland_proxy);
        assert_eq!(got.pidfile, Path::new("/e/cortend.pid"));
        assert!(!got.containers_survive);
    }

    #[test]
    fn images_are_set_from_flags_and_file() {
        let got = load(
            "--icc=false --max-concurrent-downloads 7 --certs-dir /c",
            Some(
                r#"{"registry-mirrors":["https://m"],"insecure-registries":["r:5000"],"max-concurrent-uploads":0,
                "max-download-attempts":2,"layer-blobs":"drop","gc":{"enabled":false,"partial-age":"2h","free-space":"0"}}"#,
            ),
        )
        .unwrap();
        assert!(!got.engine.inter_container);
        let images = got.engine.images;
        assert_eq!(images.registry_mirrors, ["https://m/"]);
        assert_eq!(images.insecure_registries, ["r:5000"]);
        assert_eq!(images.certs_dirs, [Path::new("/c")]);
        assert_eq!(
            (
                images.max_concurrent_downloads,
                images.max_concurrent_uploads,
                images.max_download_attempts
            ),
            (7, 5, 2)
        );
        assert_eq!(images.layer_blobs, engine::config::LayerBlobs::Drop);
        assert!(!images.gc.enabled);
        assert_eq!(images.gc.partial_age, std::time::Duration::from_secs(7200));
        assert_eq!(images.gc.floor, engine::config::Floor::None);
        assert_eq!(
            load("--max-concurrent-downloads=-1", None).unwrap_err(),
            "invalid max concurrent downloads: -1"
        );
        assert!(load("--registry-mirror=m", None).is_err());
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert!(
            load("--tlsverify", None)
                .unwrap_err()
                .contains("TLS is not yet supported")
        );
        assert!(load("--tlsverify=false", None).is_ok());
        assert!(load("--userns-remap=default", None).is_err());
        assert_eq!(
            load("--log-level=foo", None).unwrap_err(),
            "invalid logging level: foo"
        );
        let error = load("", Some(r#"{"foo":1}"#)).unwrap_err();
        assert!(
            error.starts_with("unable to configure the Docker daemon with file /"),
            "{error}"
        );
        assert!(error.ends_with(
            "daemon.json: the following directives don't match any configuration option: foo"
        ));
    }

    #[test]
    fn a_named_file_must_exist() {
        let flags = parse("cortend", &["--config-file=/nonexistent/x.json".to_owned()]).unwrap();
        assert_eq!(
            Settings::load(Name::Cortend, &flags)
                .unwrap_err()
                .to_string(),
            "unable to configure the Docker daemon with file /nonexistent/x.json: open /nonexistent/x.json: no such file or directory"
        );
    }
}
