//! Volumes from the engine to the wire.

use std::collections::BTreeMap;

use api::volume::{Volume as Wire, VolumeUsage as WireUsage};
use engine::volumes::{Volume, VolumeUsage};

use spec::Timestamp;

use super::container::to_i64;

/// A volume as `GET /volumes/{name}` shows it.
pub fn to_wire(volume: &Volume) -> Wire {
    let mut status = volume.status.clone();
    if volume.protected {
        // Docker leaves this to drivers: a volume that cannot be removed says so here.
        let status = status.get_or_insert_with(BTreeMap::new);
        status.insert("protected".to_owned(), true.into());
    }
    Wire {
        created_at: Timestamp::from_unix(volume.created.unix_seconds(), 0).to_string(),
        driver: volume.driver.clone(),
        labels: Some(volume.labels.clone()).filter(|labels| !labels.is_empty()),
        mountpoint: volume.mountpoint.to_string_lossy().into_owned(),
        name: volume.name.to_string(),
        options: volume.options.clone(),
        scope: volume.scope.to_owned(),
        status,
        usage_data: None,
    }
}

/// A volume as `GET /system/df` shows it.
pub fn with_usage(volume: &Volume, usage: VolumeUsage) -> Wire {
    Wire {
        usage_data: Some(WireUsage {
            ref_count: to_i64(usage.users),
            size: to_i64(usage.size),
        }),
        ..to_wire(volume)
    }
}
