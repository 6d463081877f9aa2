//! `--device` and `--gpus`.

use serde_json::{Value, json};

use super::{clean, csv};

fn is_mode(text: &str) -> bool {
    let mut seen = Vec::new();
    !text.is_empty()
        && text.bytes().all(|b| {
            let fresh = b"rwm".contains(&b) && !seen.contains(&b);
            seen.push(b);
            fresh
        })
}

/// A device of the host: `path[:path in the container][:mode]`.
pub fn mapping(text: &str) -> Result<Value, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let bad = || format!("bad format for path: {text}");
    let (host, inside, mode) = match parts.as_slice() {
        ["", ..] => return Err(bad()),
        [host] => (clean(host), clean(host), "rwm"),
        [host, mode] if is_mode(mode) => (clean(host), clean(host), *mode),
        [host, inside] => ((*host).to_owned(), clean(inside), "rwm"),
        [host, inside, mode] if is_mode(mode) => ((*host).to_owned(), (*inside).to_owned(), *mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(bad()),
    };
    if !inside.starts_with('/') {
        return Err(format!("{inside} is not an absolute path"));
    }
    Ok(json!({"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": mode}))
}

/// Whether this names a device of a vendor's, as `vendor.com/class=name`.
pub fn is_cdi(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let Some((vendor, class)) = kind.split_once('/') else {
        return false;
    };
    let word = |t: &str, extra: &[u8]| {
        t.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && t.bytes()
                .all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
    };
    word(vendor, b"_-.") && word(class, b"_-.") && word(name, b"_-.:")
}

/// `all`, a number, or `device=0,capabilities=utility`.
pub fn gpus(text: &str) -> Result<Value, String> {
    let mut request = json!({"Driver": "", "Count": 0, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {}});
    let mut seen: Vec<String> = Vec::new();
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        if seen.iter().any(|s| s == key) {
            return Err(format!(
                "gpu request key '{key}' can be specified only once"
            ));
        }
        seen.push(key.to_owned());
        let list = |value: &str| -> Vec<String> { value.split(',').map(str::to_owned).collect() };
        match (key, value) {
            (count, None) => {
                seen.push("count".to_owned());
                request["Count"] = gpu_count(count)?.into();
            }
            ("driver", Some(value)) => request["Driver"] = value.into(),
            ("count", Some(value)) => request["Count"] = gpu_count(value)?.into(),
            ("device", Some(value)) => request["DeviceIDs"] = list(value).into(),
            ("capabilities", Some(value)) => {
                let mut all = list(value);
                all.push("gpu".to_owned());
                request["Capabilities"] = json!([all]);
            }
            ("options", Some(value)) => {
                let pairs =
                    csv(value).map_err(|error| format!("failed to read gpu options: {error}"))?;
                request["Options"] = Value::Object(super::kv::object(&pairs));
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !seen.iter().any(|s| s == "count") && request["DeviceIDs"].is_null() {
        request["Count"] = 1.into();
    }
    Ok(request)
}

/// Whether the text asks for GPUs.
pub fn is_gpus(text: &str) -> Result<(), String> {
    gpus(text).map(drop)
}

fn gpu_count(text: &str) -> Result<i64, String> {
    match text {
        "all" => Ok(-1),
        text => text.parse().map_err(|_| {
            format!(
                "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        let show = |text: &str| {
            mapping(text).map(|d| {
                format!(
                    "{} {} {}",
                    d["PathOnHost"], d["PathInContainer"], d["CgroupPermissions"]
                )
                .replace('"', "")
            })
        };
        assert_eq!(show("/dev/a"), Ok("/dev/a /dev/a rwm".to_owned()));
        assert_eq!(show("/dev/a:r"), Ok("/dev/a /dev/a r".to_owned()));
        assert_eq!(show("/dev/a:/dev/b"), Ok("/dev/a /dev/b rwm".to_owned()));
        assert_eq!(show("/dev/a:/dev/b:rw"), Ok("/dev/a /dev/b rw".to_owned()));
        assert_eq!(
            show("/dev/a:/dev/b:rr"),
            Err("bad mode specified: rr".to_owned())
        );
        assert_eq!(
            show("dev/a"),
            Err("dev/a is not an absolute path".to_owned())
        );
        assert_eq!(show(":x"), Err("bad format for path: :x".to_owned()));
        assert!(is_cdi("vendor.com/class=name") && !is_cdi("/dev/a:/dev/b=c"));
    }

    #[test]
    fn gpu_requests() {
        assert_eq!(gpus("all").unwrap()["Count"], -1);
        assert_eq!(gpus("2").unwrap()["Count"], 2);
        let request = gpus("\"device=0,2\",capabilities=utility").unwrap();
        assert_eq!(request["DeviceIDs"], json!(["0", "2"]));
        assert_eq!(request["Capabilities"], json!([["utility", "gpu"]]));
        assert_eq!(request["Count"], 0);
        assert!(gpus("x").unwrap_err().starts_with("invalid count (x)"));
        assert_eq!(
            gpus("foo=1").unwrap_err(),
            "unexpected key 'foo' in 'foo=1'"
        );
    }
}
