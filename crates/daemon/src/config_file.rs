//! `daemon.json`: keys, their values brought to the form of flags, and conflicts with flags.

use std::path::Path;

use api::gojson::{DecodeError, parse};
use serde_json::{Map, Value};

use crate::flags::{Flag, Kind, Values, by_key};

/// Largest file read; real ones have a few lines.
const MAX_FILE: u64 = 1024 * 1024;
/// Keys of dockerd that are no flags and mean nothing here.
const ACCEPTED_KEYS: &[&str] = &["builder"];

/// A configuration file that cannot be used; the texts are dockerd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("open {path}: {why}")]
    Read {
        /// The file.
        path: String,
        /// The system's words.
        why: String,
    },
    /// It is no JSON object.
    #[error("{0}")]
    Json(#[from] DecodeError),
    /// Keys that nobody knows.
    #[error("the following directives don't match any configuration option: {0}")]
    Unknown(String),
    /// Keys that are flags on the command line too.
    #[error(
        "the following directives are specified both as a flag and in the configuration file: {0}"
    )]
    Conflict(String),
    /// A value of the wrong type or form.
    #[error(
        "invalid JSON: json: cannot unmarshal {found} into Go struct field Config.{key} of type {want}"
    )]
    Type {
        /// The key.
        key: String,
        /// What is there.
        found: &'static str,
        /// What is wanted.
        want: &'static str,
    },
    /// A value that its flag refuses too.
    #[error("invalid value for {key}: {why}")]
    Value {
        /// The key.
        key: String,
        /// Go's words.
        why: String,
    },
}

/// Reads a file; `Ok(None)` when it does not exist.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, ConfigError> {
    let failed = |why: String| ConfigError::Read {
        path: path.display().to_string(),
        why,
    };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > MAX_FILE => Err(failed("file is too large".to_owned())),
        Ok(_) => std::fs::read(path)
            .map(Some)
            .map_err(|e| failed(e.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Adds the file's values to those of the command line.
///
/// # Errors
///
/// Unknown keys, keys given on both sides, values of the wrong form: all named.
pub fn merge(text: &[u8], flags: &Values) -> Result<Values, ConfigError> {
    let mut merged = flags.clone();
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(merged);
    }
    let Value::Object(map) = parse(text)? else {
        return Err(ConfigError::Type {
            key: String::new(),
            found: "value",
            want: "config.Config",
        });
    };
    let map = flatten(map)?;
    let known =
        |key: &str| by_key(key).is_some() || key == "runtimes" || ACCEPTED_KEYS.contains(&key);
    let unknown: Vec<&str> = map
        .keys()
        .map(String::as_str)
        .filter(|k| !known(k))
        .collect();
    if !unknown.is_empty() {
        return Err(ConfigError::Unknown(unknown.join(", ")));
    }
    let mut conflicts = Vec::new();
    for (key, value) in &map {
        let (name, values) = match by_key(key) {
            Some(flag) => (flag.name, values_of(flag, value)?),
            None if key == "runtimes" => ("add-runtime", runtimes(value)?),
            None => continue,
        };
        match flags.get(name) {
            Some(given) => conflicts.push(conflict(key, name, given, &values)),
            None => {
                merged.insert(name, values);
            }
        }
    }
    if conflicts.is_empty() {
        return Ok(merged);
    }
    conflicts.sort();
    Err(ConfigError::Conflict(conflicts.join(", ")))
}

fn conflict(key: &str, name: &str, given: &[String], found: &[String]) -> String {
    let list = by_key(key).is_none_or(|flag| flag.kind.repeats()) || name == "add-runtime";
    let show = |values: &[String]| {
        if list {
            format!("[{}]", values.join(" "))
        } else {
            values.join(" ")
        }
    };
    format!(
        "{key}: (from flag: {}, from file: {})",
        show(given),
        show(found)
    )
}

/// Keys that are nested one level deeper than their flags: Docker's proxies, and `gc`.
fn flatten(mut map: Map<String, Value>) -> Result<Map<String, Value>, ConfigError> {
    if let Some(Value::Object(proxies)) = map.remove("proxies") {
        map.extend(proxies);
    }
    // Before there could be one of each family.
    if let Some(one) = map.remove("host-gateway-ip") {
        map.entry("host-gateway-ips")
            .or_insert(Value::Array(vec![one]));
    }
    match map.remove("gc") {
        None => {}
        Some(Value::Object(keys)) => {
            map.extend(keys.into_iter().map(|(k, v)| (format!("gc-{k}"), v)));
        }
        Some(other) => {
            return Err(ConfigError::Type {
                key: "gc".to_owned(),
                found: kind(&other),
                want: "object",
            });
        }
    }
    Ok(map)
}

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

/// A value as the flag would have been given it.
fn values_of(flag: &Flag, value: &Value) -> Result<Vec<String>, ConfigError> {
    let want = match flag.kind {
        Kind::Bool => "bool",
        Kind::Int => "int",
        Kind::Text | Kind::Bytes | Kind::Choice(_) | Kind::Duration | Kind::Space => "string",
        Kind::Address => "net.IP",
        Kind::Servers => "[]net.IP",
        Kind::Gateways => "[]netip.Addr",
        Kind::DriverOptions => "map[string]map[string]string",
        Kind::List | Kind::Hosts | Kind::Labels | Kind::Pool => "[]string",
        Kind::Map | Kind::Ulimit => "map[string]string",
    };
    let wrong = || ConfigError::Type {
        key: flag.key.to_owned(),
        found: kind(value),
        want,
    };
    let raw: Vec<String> = match (flag.kind, value) {
        (Kind::Bool, Value::Bool(on)) => vec![on.to_string()],
        (Kind::Int, Value::Number(n)) => vec![n.to_string()],
        (
            Kind::Text
            | Kind::Bytes
            | Kind::Choice(_)
            | Kind::Duration
            | Kind::Space
            | Kind::Address,
            Value::String(text),
        ) => vec![text.clone()],
        (Kind::DriverOptions, Value::Object(map)) => driver_options(flag.key, map)?,
        (Kind::Bytes | Kind::Space, Value::Number(n)) => vec![n.to_string()],
        (Kind::Pool, Value::Array(items)) => items
            .iter()
            .map(|i| pool(i).ok_or_else(wrong))
            .collect::<Result<_, _>>()?,
        (
            Kind::List | Kind::Hosts | Kind::Labels | Kind::Servers | Kind::Gateways,
            Value::Array(items),
        ) => items
            .iter()
            .map(|i| i.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect::<Result<_, _>>()?,
        (Kind::Ulimit, Value::Object(map)) => map
            .iter()
            .map(|(name, u)| ulimit(name, u).ok_or_else(wrong))
            .collect::<Result<_, _>>()?,
        // `features` maps to booleans.
        (Kind::Map | Kind::List, Value::Object(map)) => map
            .iter()
            .map(|(k, v)| {
                format!(
                    "{k}={}",
                    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
                )
            })
            .collect(),
        _ => return Err(wrong()),
    };
    let check = |text: &String| {
        flag.kind.check(text).map_err(|why| match flag.kind {
            // Go's types say this themselves while the file is read.
            Kind::Address | Kind::Servers => {
                DecodeError::Type(format!("invalid IP address: {text}")).into()
            }
            Kind::Gateways => DecodeError::Type(why).into(),
            _ => ConfigError::Value {
                key: flag.key.to_owned(),
                why,
            },
        })
    };
    raw.iter().map(check).collect()
}

/// `{"bridge":{"key":"value"}}` as `bridge=key=value`.
fn driver_options(key: &str, map: &Map<String, Value>) -> Result<Vec<String>, ConfigError> {
    let mut out = Vec::new();
    let wrong = |path: String, found: &Value, want| ConfigError::Type {
        key: path,
        found: kind(found),
        want,
    };
    for (driver, options) in map {
        let path = format!("{key}.{driver}");
        let object = options.as_object();
        let object = object.ok_or_else(|| wrong(path.clone(), options, "map[string]string"))?;
        for (name, value) in object {
            let text = value.as_str();
            let text = text.ok_or_else(|| wrong(format!("{path}.{name}"), value, "string"))?;
            out.push(format!("{driver}={name}={text}"));
        }
    }
    Ok(out)
}

fn pool(value: &Value) -> Option<String> {
    let map = value.as_object()?;
    let field = |name: &str| {
        map.iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    };
    Some(format!(
        "base={},size={}",
        field("base")?.as_str()?,
        field("size")?.as_u64()?
    ))
}

fn ulimit(name: &str, value: &Value) -> Option<String> {
    let map = value.as_object()?;
    let field = |name: &str| {
        map.iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(name))
            .and_then(|(_, v)| v.as_i64())
    };
    let name = map
        .iter()
        .find(|(k, _)| k.eq_ignore_ascii_case("name"))
        .and_then(|(_, v)| v.as_str())
        .unwrap_or(name);
    Some(format!("{name}={}:{}", field("soft")?, field("hard")?))
}

fn runtimes(value: &Value) -> Result<Vec<String>, ConfigError> {
    let wrong = || ConfigError::Type {
        key: "runtimes".to_owned(),
        found: kind(value),
        want: "map[string]system.Runtime",
    };
    let map = value.as_object().ok_or_else(wrong)?;
    let one = |(name, runtime): (&String, &Value)| {
        let path = runtime
            .get("path")
            .and_then(Value::as_str)
            .ok_or_else(wrong)?;
        Ok(format!("{name}={path}"))
    };
    map.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(list: &[(&'static str, &str)]) -> Values {
        list.iter()
            .map(|(name, value)| (*name, vec![(*value).to_owned()]))
            .collect()
    }

    #[test]
    fn keys_become_flags() {
        let text = br#"{"debug":true,"hosts":["unix:///x"],"log-opts":{"max-size":"1m"},"mtu":1400,
            "default-address-pools":[{"base":"10.0.0.0/8","size":24}],"default-shm-size":"64M",
            "default-ulimits":{"nofile":{"Name":"nofile","Hard":9,"Soft":8}},"runtimes":{"crun":{"path":"/bin/crun"}},
            "proxies":{"http-proxy":"http://p"},"features":{"buildkit":true},"builder":{"gc":{}},
            "gc":{"enabled":false,"free-space":"10%","interval":"5m"},"layer-blobs":"keep",
            "ip":"127.0.0.1","dns":["1.1.1.1"],"host-gateway-ip":"10.0.0.1","firewall":"docker",
            "default-network-opts":{"bridge":{"a":"b","c":"d=e"}}}"#;
        let got = merge(text, &Values::new()).unwrap();
        assert_eq!(got["debug"], ["true"]);
        assert_eq!(got["host"], ["unix:///x"]);
        assert_eq!(got["log-opt"], ["max-size=1m"]);
        assert_eq!(got["mtu"], ["1400"]);
        assert_eq!(got["default-address-pool"], ["base=10.0.0.0/8,size=24"]);
        assert_eq!(got["default-shm-size"], [(64 << 20).to_string()]);
        assert_eq!(got["default-ulimit"], ["nofile=8:9"]);
        assert_eq!(got["add-runtime"], ["crun=/bin/crun"]);
        assert_eq!(got["http-proxy"], ["http://p"]);
        assert_eq!(got["ip"], ["127.0.0.1"]);
        assert_eq!(got["dns"], ["1.1.1.1"]);
        assert_eq!(got["host-gateway-ip"], ["10.0.0.1"]);
        assert_eq!(got["firewall"], ["docker"]);
        assert_eq!(got["default-network-opt"], ["bridge=a=b", "bridge=c=d=e"]);
        assert_eq!(got["gc-enabled"], ["false"]);
        assert_eq!(got["gc-free-space"], ["10%"]);
        assert_eq!(got["gc-interval"], ["5m"]);
        assert_eq!(got["layer-blobs"], ["keep"]);
        assert_eq!(merge(b" \n", &Values::new()), Ok(Values::new()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            (
                r#"{"foo":1,"bar":{}}"#,
                "the following directives don't match any configuration option: foo, bar",
            ),
            (
                r#"{"debug":"yes"}"#,
                "invalid JSON: json: cannot unmarshal string into Go struct field Config.debug of type bool",
            ),
            (
                r#"{"hosts":["foo://x"]}"#,
                "invalid value for hosts: invalid bind address (foo://x): unsupported proto 'foo'",
            ),
            (
                r#"{"gc":{"interval":"5"}}"#,
                "invalid value for gc-interval: time: invalid duration \"5\"",
            ),
            (
                r#"{"gc":{"nope":1}}"#,
                "the following directives don't match any configuration option: gc-nope",
            ),
            (
                r#"{"layer-blobs":"all"}"#,
                "invalid value for layer-blobs: \"all\" is none of auto, keep, drop",
            ),
            (r#"{"ip":"x"}"#, "invalid JSON: invalid IP address: x"),
            (r#"{"dns":["x"]}"#, "invalid JSON: invalid IP address: x"),
            (
                r#"{"host-gateway-ips":["x"]}"#,
                "invalid JSON: ParseAddr(\"x\"): unable to parse IP",
            ),
            (
                r#"{"default-network-opts":5}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field Config.default-network-opts of type map[string]map[string]string",
            ),
            (
                r#"{"default-network-opts":{"bridge":"x"}}"#,
                "invalid JSON: json: cannot unmarshal string into Go struct field Config.default-network-opts.bridge of type map[string]string",
            ),
            (
                r#"{"default-network-opts":{"bridge":{"a":5}}}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field Config.default-network-opts.bridge.a of type string",
            ),
            (
                r#"{"firewall":"off"}"#,
                "invalid value for firewall: \"off\" is none of host, docker",
            ),
            ("{} x", "unexpected content after JSON"),
        ] {
            assert_eq!(
                merge(text.as_bytes(), &Values::new())
                    .unwrap_err()
                    .to_string(),
                want
            );
        }
        assert!(
            merge(b"{bad", &Values::new())
                .unwrap_err()
                .to_string()
                .starts_with("invalid JSON: ")
        );
    }

    #[test]
    fn conflicts_with_flags_are_named() {
        let given = flags(&[("debug", "false"), ("label", "x=y")]);
        let error = merge(br#"{"debug":true,"labels":["a=b"]}"#, &given).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the following directives are specified both as a flag and in the configuration file: debug: (from flag: false, from file: true), labels: (from flag: [x=y], from file: [a=b])"
        );
    }
}
