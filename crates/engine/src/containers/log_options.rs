//! Log drivers and their options, in Docker's words.

use std::collections::BTreeMap;
use std::path::Path;

use shim::protocol;

use crate::container::{Config, LogConfig};
use crate::{Error, Result};

/// Size at which a log file is rotated by default; Docker has no bound, which fills disks.
const MAX_SIZE: u64 = 10 * 1000 * 1000;
/// Files kept by default.
const MAX_FILES: u32 = 3;

/// Drivers that exist elsewhere: told apart from misspelled ones.
const OTHERS: [&str; 9] = [
    "awslogs", "fluentd", "gcplogs", "gelf", "journald", "local", "splunk", "syslog", "etwlogs",
];

/// What the options mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogSettings {
    /// Lines are recorded.
    pub(super) recorded: bool,
    max_size_bytes: u64,
    max_files: u32,
    /// What was asked for and has no effect.
    pub(super) warnings: Vec<String>,
}

/// Reads driver and options.
///
/// # Errors
///
/// An unknown driver or option, or a value that makes no sense.
pub(super) fn parse(log: &LogConfig) -> Result<LogSettings> {
    let mut settings = LogSettings {
        recorded: true,
        max_size_bytes: MAX_SIZE,
        max_files: MAX_FILES,
        warnings: Vec::new(),
    };
    match log.driver.as_str() {
        "json-file" => {}
        "none" => {
            settings.recorded = false;
            return Ok(settings);
        }
        other if OTHERS.contains(&other) => {
            return Err(Error::unsupported(format!(
                "log driver {other} is not yet supported"
            )));
        }
        other => {
            return Err(Error::invalid(format!(
                "error looking up logging plugin {other}: plugin \"{other}\" not found"
            )));
        }
    }
    for (key, value) in &log.options {
        let bad = || Error::invalid(format!("invalid value for {key}: {value}"));
        match key.as_str() {
            "max-size" if value == "-1" => settings.max_size_bytes = 0,
            "max-size" => settings.max_size_bytes = bytes(value).ok_or_else(bad)?,
            "max-file" => {
                settings.max_files = value.parse().ok().filter(|n| *n >= 1).ok_or_else(bad)?;
            }
            "mode" if !matches!(value.as_str(), "" | "blocking" | "non-blocking") => {
                return Err(Error::invalid(format!(
                    "logger: logging mode not supported: {value}"
                )));
            }
            "labels" | "env" | "tag" | "max-buffer-size" => {}
            "mode" if value != "non-blocking" => {}
            "compress" if value != "true" => {}
            "mode" | "compress" | "labels-regex" | "env-regex" => settings
                .warnings
                .push(format!("Log option {key}={value} has no effect yet")),
            _ => {
                return Err(Error::invalid(format!(
                    "unknown log opt '{key}' for json-file log driver"
                )));
            }
        }
    }
    Ok(settings)
}

/// The container that a log is of.
pub(super) struct About<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// Its name.
    pub(super) name: &'a str,
    /// The id of its image.
    pub(super) image: &'a str,
    /// Its settings.
    pub(super) config: &'a Config,
}

/// What the supervisor is told.
pub(super) fn for_supervisor(
    log: &LogConfig,
    about: &About<'_>,
    path: Option<&Path>,
) -> Result<protocol::LogConfig> {
    let settings = parse(log)?;
    Ok(match path.filter(|_| settings.recorded) {
        None => protocol::LogConfig::None,
        Some(path) => protocol::LogConfig::JsonFile {
            path: path.to_owned(),
            max_size_bytes: settings.max_size_bytes,
            max_files: settings.max_files,
            attrs: attributes(log, about),
        },
    })
}

/// Labels and variables that the options ask to be written with every line.
fn attributes(log: &LogConfig, about: &About<'_>) -> BTreeMap<String, String> {
    let config = about.config;
    let mut attributes = BTreeMap::new();
    let names = |key: &str| log.options.get(key).map_or("", String::as_str).split(',');
    for name in names("labels") {
        if let Some(value) = config.labels.get(name) {
            attributes.insert(name.to_owned(), value.clone());
        }
    }
    for name in names("env").filter(|n| !n.is_empty()) {
        let value = config
            .env
            .iter()
            .filter_map(|e| e.split_once('='))
            .find(|(key, _)| *key == name);
        if let Some((_, value)) = value {
            attributes.insert(name.to_owned(), value.to_owned());
        }
    }
    if let Some(tag) = log.options.get("tag").and_then(|text| tag(text, about)) {
        attributes.insert("tag".to_owned(), tag);
    }
    attributes
}

/// Fills the fields of a tag in; `None` if it has others than these.
fn tag(text: &str, about: &About<'_>) -> Option<String> {
    let digits = |id: &str| id.strip_prefix("sha256:").unwrap_or(id).to_owned();
    let short = |id: &str| digits(id).chars().take(12).collect::<String>();
    let mut tag = String::new();
    let mut rest = text;
    while let Some((before, field)) = rest.split_once("{{") {
        let (field, after) = field.split_once("}}")?;
        tag.push_str(before);
        tag.push_str(&match field.trim() {
            ".ID" => short(about.id),
            ".FullID" => about.id.to_owned(),
            ".Name" => about.name.to_owned(),
            ".ImageName" => about.config.image.clone(),
            ".ImageID" => short(about.image),
            ".ImageFullID" => about.image.to_owned(),
            ".DaemonName" => "docker".to_owned(),
            _ => return None,
        });
        rest = after;
    }
    tag.push_str(rest);
    Some(tag)
}

/// Reads `10m`: a number and k, m, g or t, in powers of 1024 with `i`, else of 1000 as Docker does here.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(lower.len());
    let number: u64 = lower[..digits].parse().ok()?;
    let unit = lower[digits..].trim_end_matches('b');
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024u64),
        None => (unit, 1000),
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    number.checked_mul(base.checked_pow(power)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(options: &[(&str, &str)]) -> LogConfig {
        LogConfig {
            driver: "json-file".to_owned(),
            options: options
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn sizes_are_bounded_by_default_and_read_as_docker_does() {
        assert_eq!(parse(&log(&[])).unwrap().max_size_bytes, 10_000_000);
        let own = parse(&log(&[("max-size", "10k"), ("max-file", "5")])).unwrap();
        assert_eq!((own.max_size_bytes, own.max_files), (10_000, 5));
        assert_eq!(
            parse(&log(&[("max-size", "-1")])).unwrap().max_size_bytes,
            0
        );
        for (key, value) in [("max-size", "x"), ("max-file", "0"), ("nonsense", "1")] {
            assert!(parse(&log(&[(key, value)])).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let warnings = |options| parse(&log(options)).unwrap().warnings;
        let none = [("mode", "blocking"), ("compress", "false"), ("labels", "a")];
        assert!(warnings(&none).is_empty());
        assert_eq!(
            warnings(&[("mode", "non-blocking"), ("max-buffer-size", "4m")]),
            ["Log option mode=non-blocking has no effect yet"]
        );
        assert_eq!(
            warnings(&[("compress", "true"), ("env-regex", "^A")]).len(),
            2
        );
    }

    #[test]
    fn attributes_are_picked() {
        let config = Config {
            env: vec!["A=1".to_owned(), "B=2".to_owned()],
            labels: [("tier".to_owned(), "web".to_owned())].into(),
            ..Config::default()
        };
        let log = log(&[("labels", "tier,none"), ("env", "B")]);
        let about = About {
            id: "0123456789abcdef",
            name: "web",
            image: "sha256:fedcba9876543210",
            config: &config,
        };
        let attributes = attributes(&log, &about);
        assert_eq!(attributes["tier"], "web");
        assert_eq!(attributes["B"], "2");
        assert_eq!(attributes.len(), 2);
        for (text, filled) in [
            ("plain", Some("plain")),
            ("{{.Name}}/{{ .ID }}", Some("web/0123456789ab")),
            ("{{.ImageID}}", Some("fedcba987654")),
            ("{{.Nonsense}}", None),
            ("{{.Name", None),
        ] {
            assert_eq!(tag(text, &about).as_deref(), filled);
        }
    }
}
