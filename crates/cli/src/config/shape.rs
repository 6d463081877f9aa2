//! What Docker knows in `config.json`: the keys in the order it writes them, and their types.

use serde_json::{Map, Value};

use crate::base64;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Texts,
    TextMap,
    TextMaps,
    Auths,
    Proxies,
}

const KEYS: [(&str, Shape); 25] = [
    ("auths", Shape::Auths),
    ("HttpHeaders", Shape::TextMap),
    ("psFormat", Shape::Text),
    ("imagesFormat", Shape::Text),
    ("networksFormat", Shape::Text),
    ("pluginsFormat", Shape::Text),
    ("volumesFormat", Shape::Text),
    ("statsFormat", Shape::Text),
    ("detachKeys", Shape::Text),
    ("credsStore", Shape::Text),
    ("credHelpers", Shape::TextMap),
    ("serviceInspectFormat", Shape::Text),
    ("servicesFormat", Shape::Text),
    ("tasksFormat", Shape::Text),
    ("secretFormat", Shape::Text),
    ("configFormat", Shape::Text),
    ("nodesFormat", Shape::Text),
    ("pruneFilters", Shape::Texts),
    ("proxies", Shape::Proxies),
    ("currentContext", Shape::Text),
    ("cliPluginsExtraDirs", Shape::Texts),
    ("plugins", Shape::TextMaps),
    ("aliases", Shape::TextMap),
    ("features", Shape::TextMap),
    ("experimental", Shape::Text),
];

const AUTH_KEYS: [&str; 7] = [
    "username",
    "password",
    "auth",
    "email",
    "serveraddress",
    "identitytoken",
    "registrytoken",
];
const PROXY_KEYS: [&str; 5] = ["httpProxy", "httpsProxy", "noProxy", "ftpProxy", "allProxy"];

/// Gives known keys the spelling and order in which Docker writes them; unknown ones follow.
///
/// Go matches keys whatever their case; of equal ones the last counts.
pub(super) fn normalise(values: Map<String, Value>) -> Map<String, Value> {
    let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    let mut out = spelled(values, &known);
    for (key, keys) in [("auths", &AUTH_KEYS[..]), ("proxies", &PROXY_KEYS[..])] {
        let Some(Value::Object(entries)) = out.get_mut(key) else {
            continue;
        };
        for entry in entries.values_mut() {
            if let Value::Object(fields) = entry {
                *fields = spelled(std::mem::take(fields), keys);
            }
        }
    }
    out
}

fn spelled(mut values: Map<String, Value>, known: &[&str]) -> Map<String, Value> {
    let mut out = Map::new();
    for name in known {
        let same: Vec<String> = values
            .keys()
            .filter(|key| key.eq_ignore_ascii_case(name))
            .cloned()
            .collect();
        for key in same {
            if let Some(value) = values.shift_remove(&key) {
                out.insert((*name).to_owned(), value);
            }
        }
    }
    out.extend(values);
    out
}

/// Leaves out what Docker does not write: known keys without a value, but for the entries.
pub(super) fn drop_empty(values: &mut Map<String, Value>) {
    values.retain(|name, value| {
        let known = KEYS.iter().any(|(key, _)| key == name) && name != "auths";
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        !(known && empty)
    });
}

/// Docker's complaint about a value of the wrong type or an entry that cannot be read.
pub(super) fn complaint(values: &Map<String, Value>) -> Option<String> {
    let typed = KEYS.iter().find_map(|(key, shape)| {
        let value = values.get(*key).filter(|value| !value.is_null())?;
        check(key, *shape, value).err()
    });
    typed.or_else(|| {
        let auths = values.get("auths").and_then(Value::as_object)?;
        let coded = auths
            .values()
            .filter_map(|entry| entry.get("auth")?.as_str());
        coded.filter_map(|text| pair(text).err()).next()
    })
}

/// Name and password of an entry's `auth`.
pub(super) fn pair(coded: &str) -> Result<(String, String), String> {
    if coded.is_empty() {
        return Ok(Default::default());
    }
    let bytes = base64::decode(coded)?;
    let text = String::from_utf8_lossy(&bytes);
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() => {
            Ok((name.to_owned(), password.trim_matches('\0').to_owned()))
        }
        _ => Err("Invalid auth configuration file".to_owned()),
    }
}

fn mismatch(found: &Value, field: &str, want: &str) -> String {
    format!(
        "json: cannot unmarshal {} into Go struct field {field} of type {want}",
        super::kind(found)
    )
}

fn check(key: &str, shape: Shape, value: &Value) -> Result<(), String> {
    let field = format!("ConfigFile.{key}");
    let (whole, inner) = match shape {
        Shape::Text => ("string", ""),
        Shape::Texts => ("[]string", "string"),
        Shape::TextMap => ("map[string]string", "string"),
        Shape::TextMaps => ("map[string]map[string]string", "map[string]string"),
        Shape::Auths => ("map[string]types.AuthConfig", "types.AuthConfig"),
        Shape::Proxies => (
            "map[string]configfile.ProxyConfig",
            "configfile.ProxyConfig",
        ),
    };
    let parts: Vec<&Value> = match (shape, value) {
        (Shape::Text, Value::String(_)) => return Ok(()),
        (Shape::Texts, Value::Array(list)) => list.iter().collect(),
        (Shape::Text | Shape::Texts, _) => return Err(mismatch(value, &field, whole)),
        (_, Value::Object(map)) => map.values().collect(),
        _ => return Err(mismatch(value, &field, whole)),
    };
    for part in parts.into_iter().filter(|part| !part.is_null()) {
        let fields = match (shape, part) {
            (Shape::Texts | Shape::TextMap, Value::String(_)) => continue,
            (Shape::TextMaps | Shape::Auths | Shape::Proxies, Value::Object(fields)) => fields,
            _ => return Err(mismatch(part, &field, inner)),
        };
        let known: &[&str] = match shape {
            Shape::Auths => &AUTH_KEYS,
            Shape::Proxies => &PROXY_KEYS,
            _ => &[],
        };
        for (name, value) in fields {
            if value.is_null() || value.is_string() {
                continue;
            }
            match shape {
                Shape::TextMaps => return Err(mismatch(value, &field, "string")),
                _ if !known.contains(&name.as_str()) => {}
                Shape::Auths => {
                    let field = format!("AuthConfig.{key}.{name}");
                    return Err(mismatch(value, &field, "string"));
                }
                _ => {
                    let field = format!("ProxyConfig.{key}.{name}");
                    return Err(mismatch(value, &field, "string"));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(value: Value) -> String {
        let Value::Object(values) = value else {
            panic!("an object")
        };
        complaint(&normalise(values)).unwrap_or_default()
    }

    #[test]
    fn types_are_told_as_go_tells_them() {
        let prefix = "json: cannot unmarshal ";
        for (value, want) in [
            (
                json!({"auths": []}),
                "array into Go struct field ConfigFile.auths of type map[string]types.AuthConfig",
            ),
            (
                json!({"auths": {"x": 1}}),
                "number into Go struct field ConfigFile.auths of type types.AuthConfig",
            ),
            (
                json!({"auths": {"x": {"AUTH": 1}}}),
                "number into Go struct field AuthConfig.auths.auth of type string",
            ),
            (
                json!({"psFormat": {}}),
                "object into Go struct field ConfigFile.psFormat of type string",
            ),
            (
                json!({"PSFORMAT": true}),
                "bool into Go struct field ConfigFile.psFormat of type string",
            ),
            (
                json!({"credHelpers": {"a": 1}}),
                "number into Go struct field ConfigFile.credHelpers of type string",
            ),
            (
                json!({"pruneFilters": "a"}),
                "string into Go struct field ConfigFile.pruneFilters of type []string",
            ),
            (
                json!({"pruneFilters": [1]}),
                "number into Go struct field ConfigFile.pruneFilters of type string",
            ),
            (
                json!({"plugins": {"a": {"b": 1}}}),
                "number into Go struct field ConfigFile.plugins of type string",
            ),
            (
                json!({"plugins": {"a": 1}}),
                "number into Go struct field ConfigFile.plugins of type map[string]string",
            ),
            (
                json!({"proxies": {"d": {"httpProxy": 3}}}),
                "number into Go struct field ProxyConfig.proxies.httpProxy of type string",
            ),
        ] {
            assert_eq!(told(value), format!("{prefix}{want}"));
        }
        assert_eq!(
            told(json!({"auths": {"x": null}, "other": 1, "psFormat": null})),
            ""
        );
    }

    #[test]
    fn entries_that_cannot_be_read() {
        let entry = |auth: &str| json!({"auths": {"x": {"auth": auth}}});
        assert_eq!(told(entry("!!")), "illegal base64 data at input byte 0");
        assert_eq!(told(entry("YWJj")), "Invalid auth configuration file");
        assert_eq!(told(entry("OmFiYw==")), "Invalid auth configuration file");
        assert_eq!(told(entry("dXNlcjpwYXNz")), "");
        assert_eq!(
            pair("dXNlcjpwOmE=").unwrap(),
            ("user".to_owned(), "p:a".to_owned())
        );
    }

    #[test]
    fn empty_values_are_left_out_unless_they_are_not_ours() {
        let Value::Object(mut values) = json!({"auths": {}, "credsStore": "", "aliases": {}, "pruneFilters": [], "psFormat": "x", "mine": ""})
        else {
            panic!("an object")
        };
        drop_empty(&mut values);
        assert_eq!(
            Value::Object(values),
            json!({"auths": {}, "psFormat": "x", "mine": ""})
        );
    }

    #[test]
    fn known_keys_come_first_in_dockers_order() {
        let Value::Object(values) = json!({"zeta": 1, "PSFormat": "x", "credsstore": "pass", "auths": {"r": {"IdentityToken": "t", "auth": "a"}}})
        else {
            panic!("an object")
        };
        assert_eq!(
            Value::Object(normalise(values)).to_string(),
            r#"{"auths":{"r":{"auth":"a","identitytoken":"t"}},"psFormat":"x","credsStore":"pass","zeta":1}"#
        );
    }
}
