//! Limits: `--ulimit`, weights and rates of block devices, restart policies.

use serde_json::{Value, json};

use crate::units::ram_in_bytes;

const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `name=soft[:hard]`.
pub fn ulimit(text: &str) -> Result<Value, String> {
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
    };
    let (soft, hard) = match values.split(':').collect::<Vec<_>>().as_slice() {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        _ => {
            return Err(format!(
                "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    if hard != -1 && soft == -1 {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
        ));
    }
    if hard != -1 && soft > hard {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(json!({"Name": name, "Hard": hard, "Soft": soft}))
}

/// Whether the text is a limit.
pub fn is_ulimit(text: &str) -> Result<(), String> {
    ulimit(text).map(drop)
}

fn device(text: &str) -> Result<(&str, &str), String> {
    let parts = text.split_once(':').filter(|(path, _)| !path.is_empty());
    let (path, value) = parts.ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

/// `/dev/x:weight`.
pub fn weight_device(text: &str) -> Result<Value, String> {
    let (path, value) = device(text)?;
    let weight = value
        .parse::<u16>()
        .ok()
        .filter(|w| *w == 0 || (10..=1000).contains(w));
    let weight = weight.ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(json!({"Path": path, "Weight": weight}))
}

/// `/dev/x:rate` in bytes a second.
pub fn bytes_device(text: &str) -> Result<Value, String> {
    let (path, value) = device(text)?;
    let rate = ram_in_bytes(value).map_err(|_| format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"))?;
    Ok(json!({"Path": path, "Rate": rate}))
}

/// `/dev/x:rate` in operations a second.
pub fn operations_device(text: &str) -> Result<Value, String> {
    let (path, value) = device(text)?;
    let rate = value.parse::<u64>().map_err(|_| format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer"))?;
    Ok(json!({"Path": path, "Rate": rate}))
}

/// Whether the text is a weight of a device.
pub fn is_weight_device(text: &str) -> Result<(), String> {
    weight_device(text).map(drop)
}

/// Whether the text is a rate in bytes.
pub fn is_bytes_device(text: &str) -> Result<(), String> {
    bytes_device(text).map(drop)
}

/// Whether the text is a rate in operations.
pub fn is_operations_device(text: &str) -> Result<(), String> {
    operations_device(text).map(drop)
}

/// `no`, `always`, `on-failure:5`.
pub fn restart_policy(text: &str) -> Result<Value, String> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() && text.contains(':') {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let count: i64 = match count {
        "" => 0,
        count => count
            .parse()
            .map_err(|_| "invalid restart policy format: maximum retry count must be an integer")?,
    };
    Ok(json!({"Name": name, "MaximumRetryCount": count}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits() {
        assert_eq!(
            ulimit("nofile=10:20"),
            Ok(json!({"Name": "nofile", "Hard": 20, "Soft": 10}))
        );
        assert_eq!(
            ulimit("core=-1"),
            Ok(json!({"Name": "core", "Hard": -1, "Soft": -1}))
        );
        for (text, want) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("foo=1", "invalid ulimit type: foo"),
            (
                "nofile=2:1",
                "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            (
                "nofile=x",
                "strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(ulimit(text).unwrap_err(), want);
        }
    }

    #[test]
    fn devices_and_policies() {
        assert_eq!(
            bytes_device("/dev/sda:1mb"),
            Ok(json!({"Path": "/dev/sda", "Rate": 1_048_576}))
        );
        assert_eq!(
            operations_device("/dev/sda:5"),
            Ok(json!({"Path": "/dev/sda", "Rate": 5}))
        );
        assert_eq!(
            weight_device("/dev/sda:5").unwrap_err(),
            "invalid weight for device: /dev/sda:5"
        );
        assert_eq!(
            bytes_device("sda:5").unwrap_err(),
            "bad format for device path: sda:5"
        );
        assert_eq!(
            restart_policy("on-failure:3"),
            Ok(json!({"Name": "on-failure", "MaximumRetryCount": 3}))
        );
        assert!(restart_policy(":3").unwrap_err().ends_with("before colon"));
        assert!(
            restart_policy("always:x")
                .unwrap_err()
                .ends_with("must be an integer")
        );
    }
}
