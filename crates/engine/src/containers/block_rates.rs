//! Rates of block devices (`--device-read-bps` and its like).

use std::os::unix::fs::MetadataExt;

use serde::Deserialize;
use spec::runtime::{BlockIo, ThrottleDevice};

use crate::container::Resources;
use crate::{Error, Result};

/// The fields of a request that have them.
const FIELDS: [&str; 4] = [
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
];

/// A rate as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(super) struct Asked {
    path: String,
    rate: u64,
}

/// Reads the rates, in the order of the fields.
///
/// # Errors
///
/// They are no list of paths and numbers.
pub(super) fn parse(resources: &Resources) -> Result<[Vec<Asked>; 4]> {
    let mut all: [Vec<Asked>; 4] = Default::default();
    for (field, list) in FIELDS.into_iter().zip(&mut all) {
        if let Some(value) = resources.rest.get(field) {
            *list = Option::<Vec<Asked>>::deserialize(value)
                .map_err(|e| Error::invalid(format!("invalid {field}: {e}")))?
                .unwrap_or_default();
        }
    }
    Ok(all)
}

/// Looks the devices up.
///
/// # Errors
///
/// One does not exist, in Docker's words.
pub(super) fn of(resources: &Resources) -> Result<BlockIo> {
    let find = |asked: Asked| {
        let path = &asked.path;
        let metadata = std::fs::metadata(path)
            .map_err(|_| Error::invalid(format!("stat {path}: no such file or directory")))?;
        let number = metadata.rdev();
        Ok(ThrottleDevice {
            major: i64::from(rustix::fs::major(number)),
            minor: i64::from(rustix::fs::minor(number)),
            rate: asked.rate,
        })
    };
    let [read_bps, write_bps, read_iops, write_iops] =
        parse(resources)?.map(|list| list.into_iter().map(find).collect::<Result<Vec<_>>>());
    Ok(BlockIo {
        throttle_read_bps_device: read_bps?,
        throttle_write_bps_device: write_bps?,
        throttle_read_iops_device: read_iops?,
        throttle_write_iops_device: write_iops?,
        ..BlockIo::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(field: &str, value: serde_json::Value) -> Resources {
        let mut resources = Resources::default();
        resources.rest.insert(field.to_owned(), value);
        resources
    }

    #[test]
    fn devices_become_numbers() {
        let null = asked(
            "BlkioDeviceWriteIOps",
            json!([{"Path": "/dev/null", "Rate": 10}]),
        );
        let found = of(&null).unwrap();
        let expected = ThrottleDevice {
            major: 1,
            minor: 3,
            rate: 10,
        };
        assert_eq!(found.throttle_write_iops_device, [expected]);
        assert!(found.throttle_read_bps_device.is_empty());
        assert_eq!(
            of(&asked("BlkioDeviceReadBps", json!(null))).unwrap(),
            BlockIo::default()
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let nope = asked(
            "BlkioDeviceReadBps",
            json!([{"Path": "/dev/nope", "Rate": 1}]),
        );
        assert_eq!(
            of(&nope).unwrap_err().to_string(),
            "stat /dev/nope: no such file or directory"
        );
        for value in [json!("x"), json!([{"Path": "/dev/null", "Rate": -1}])] {
            assert!(parse(&asked("BlkioDeviceReadBps", value)).is_err());
        }
    }
}
