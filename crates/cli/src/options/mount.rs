//! `--mount type=bind,source=/a,target=/b,readonly`.

use serde_json::{Map, Value, json};

use super::{absolute, csv};
use crate::flags::parse_bool;
use crate::units::ram_in_bytes;

/// Whether the text is a mount.
pub fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

/// Reads a mount into the API's form.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    for field in csv(text)? {
        match field.split_once('=') {
            Some((key, value)) => mount.pair(&field, &key.to_lowercase(), value)?,
            None => mount.word(&field)?,
        }
    }
    mount.finish()
}

#[derive(Default)]
struct Mount {
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    consistency: String,
    bind: Option<Map<String, Value>>,
    volume: Option<Map<String, Value>>,
    image: Option<Map<String, Value>>,
    tmpfs: Option<Map<String, Value>>,
}

fn set(options: &mut Option<Map<String, Value>>, key: &str, value: Value) {
    options
        .get_or_insert_default()
        .insert(key.to_owned(), value);
}

impl Mount {
    fn word(&mut self, field: &str) -> Result<(), String> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => self.read_only = true,
            "volume-nocopy" => set(&mut self.volume, "NoCopy", true.into()),
            "bind-nonrecursive" => set(&mut self.bind, "NonRecursive", true.into()),
            "bind-match-user" => set(&mut self.bind, "MatchUser", true.into()),
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn pair(&mut self, field: &str, key: &str, value: &str) -> Result<(), String> {
        let invalid = || format!("invalid value for {key}: {value}");
        let truth = || parse_bool(value).map_err(|_| invalid());
        match key {
            "type" => self.kind = value.to_lowercase(),
            "source" | "src" => self.source = absolute(value),
            "target" | "dst" | "destination" => self.target = value.to_owned(),
            "readonly" | "ro" => self.read_only = truth()?,
            "consistency" => self.consistency = value.to_lowercase(),
            "bind-propagation" => set(&mut self.bind, "Propagation", value.to_lowercase().into()),
            "bind-nonrecursive" => set(&mut self.bind, "NonRecursive", truth()?.into()),
            "bind-recursive" => match value {
                "enabled" => {}
                "disabled" => set(&mut self.bind, "NonRecursive", true.into()),
                "writable" => set(&mut self.bind, "ReadOnlyNonRecursive", true.into()),
                "readonly" => set(&mut self.bind, "ReadOnlyForceRecursive", true.into()),
                _ => {
                    return Err(format!(
                        "{} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
                        invalid()
                    ));
                }
            },
            "bind-idmap" => set(&mut self.bind, "IDMap", value.into()),
            "bind-match-user" => set(&mut self.bind, "MatchUser", truth()?.into()),
            "volume-subpath" => set(&mut self.volume, "Subpath", value.into()),
            "volume-nocopy" => set(&mut self.volume, "NoCopy", truth()?.into()),
            "volume-label" => self.volume_pair(&["Labels"], value),
            "volume-driver" => self
                .driver()
                .insert("Name".to_owned(), value.into())
                .map_or((), drop),
            "volume-opt" => self.volume_pair(&["DriverConfig", "Options"], value),
            "image-subpath" => set(&mut self.image, "Subpath", value.into()),
            "tmpfs-size" => {
                let size = ram_in_bytes(value).map_err(|_| invalid())?;
                set(&mut self.tmpfs, "SizeBytes", size.into());
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| invalid())?;
                set(&mut self.tmpfs, "Mode", mode.into());
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    fn driver(&mut self) -> &mut Map<String, Value> {
        inner(self.volume.get_or_insert_default(), "DriverConfig")
    }

    fn volume_pair(&mut self, path: &[&str], text: &str) {
        let mut map = self.volume.get_or_insert_default();
        for key in path {
            map = inner(map, key);
        }
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if !key.is_empty() {
            map.insert(key.to_owned(), value.into());
        }
    }

    fn finish(self) -> Result<Value, String> {
        let kind = &self.kind;
        let missing = |what: &str| Err(format!("{what} is required"));
        if kind.is_empty() {
            return missing("type");
        }
        if self.target.is_empty() {
            return missing("target");
        }
        for (options, name) in [
            (&self.volume, "volume"),
            (&self.image, "image"),
            (&self.bind, "bind"),
            (&self.tmpfs, "tmpfs"),
        ] {
            if options.is_some() && kind != name {
                return Err(format!(
                    "cannot mix '{name}-*' options with mount type '{kind}'"
                ));
            }
        }
        let bind = |key: &str| self.bind.as_ref().is_some_and(|b| b.contains_key(key));
        let needs = |what: &str, need: &str| {
            Err(format!(
                "option 'bind-recursive={what}' requires '{need}' to be specified in conjunction"
            ))
        };
        if bind("ReadOnlyNonRecursive") && !self.read_only {
            return needs("writable", "readonly");
        }
        if bind("ReadOnlyForceRecursive") {
            if !self.read_only {
                return needs("readonly", "readonly");
            }
            let propagation = self.bind.as_ref().and_then(|b| b.get("Propagation"));
            if propagation.and_then(Value::as_str) != Some("rprivate") {
                return needs("readonly", "bind-propagation=rprivate");
            }
        }
        let mut out = json!({"Type": kind, "Target": self.target});
        let mut put = |key: &str, value: Value| out[key] = value;
        if !self.source.is_empty() {
            put("Source", self.source.into());
        }
        if self.read_only {
            put("ReadOnly", true.into());
        }
        if !self.consistency.is_empty() {
            put("Consistency", self.consistency.into());
        }
        let options = [
            ("BindOptions", self.bind),
            ("VolumeOptions", self.volume),
            ("ImageOptions", self.image),
            ("TmpfsOptions", self.tmpfs),
        ];
        for (key, options) in options {
            if let Some(mut options) = options {
                if key == "VolumeOptions" {
                    inner(&mut options, "DriverConfig");
                }
                put(key, without_defaults(options));
            }
        }
        Ok(out)
    }
}

/// As Go leaves out what is empty or false; the driver's settings are there all the same.
fn without_defaults(options: Map<String, Value>) -> Value {
    let keep = |(key, value): (String, Value)| match value {
        Value::Bool(false) => None,
        Value::String(text) if text.is_empty() => None,
        Value::Object(map) if map.is_empty() && key != "DriverConfig" => None,
        Value::Object(map) => Some((key, without_defaults(map))),
        value => Some((key, value)),
    };
    Value::Object(options.into_iter().filter_map(keep).collect())
}

fn inner<'m>(map: &'m mut Map<String, Value>, key: &str) -> &'m mut Map<String, Value> {
    let slot = map.entry(key).or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    slot.as_object_mut()
        .expect("the slot was made an object just above")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        for (text, want) in [
            (
                "type=bind,source=/a,target=/b,readonly",
                json!({"Type": "bind", "Target": "/b", "Source": "/a", "ReadOnly": true}),
            ),
            (
                "src=data,dst=/d",
                json!({"Type": "volume", "Target": "/d", "Source": "data"}),
            ),
            (
                "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777",
                json!({"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 1023}}),
            ),
            (
                "type=volume,target=/v,volume-nocopy,volume-label=a=b,volume-opt=o=x,volume-driver=local",
                json!({"Type": "volume", "Target": "/v", "VolumeOptions": {"NoCopy": true, "Labels": {"a": "b"}, "DriverConfig": {"Options": {"o": "x"}, "Name": "local"}}}),
            ),
            (
                "dst=/v,volume-nocopy=false,volume-opt=,volume-subpath=",
                json!({"Type": "volume", "Target": "/v", "VolumeOptions": {"DriverConfig": {}}}),
            ),
            (
                "type=bind,src=/a,dst=/b,bind-propagation=RSLAVE,bind-recursive=disabled",
                json!({"Type": "bind", "Target": "/b", "Source": "/a", "BindOptions": {"Propagation": "rslave", "NonRecursive": true}}),
            ),
            (
                "type=bind,src=/a,dst=/b,bind-idmap=uids=0-1-1;gids=0-1-1",
                json!({"Type": "bind", "Target": "/b", "Source": "/a", "BindOptions": {"IDMap": "uids=0-1-1;gids=0-1-1"}}),
            ),
            (
                "type=bind,src=/a,dst=/b,bind-match-user",
                json!({"Type": "bind", "Target": "/b", "Source": "/a", "BindOptions": {"MatchUser": true}}),
            ),
            (
                "type=bind,\"src=/a,b\",dst=/b",
                json!({"Type": "bind", "Target": "/b", "Source": "/a,b"}),
            ),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn refusals() {
        for (text, want) in [
            ("type=bind,source=/a", "target is required"),
            ("type=,target=/a", "type is required"),
            (
                "foo,target=/a",
                "invalid field 'foo' must be a key=value pair",
            ),
            ("foo=x,target=/a", "unexpected key 'foo' in 'foo=x'"),
            ("target=/a,ro=maybe", "invalid value for ro: maybe"),
            (
                "type=bind,target=/a,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            (
                "target=/a,tmpfs-size=1",
                "cannot mix 'tmpfs-*' options with mount type 'volume'",
            ),
            (
                "type=bind,target=/a,bind-recursive=x",
                "invalid value for bind-recursive: x (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")",
            ),
            (
                "type=bind,target=/a,bind-recursive=writable",
                "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction",
            ),
            (
                "type=tmpfs,target=/a,tmpfs-mode=9",
                "invalid value for tmpfs-mode: 9",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), want, "{text}");
        }
    }
}
