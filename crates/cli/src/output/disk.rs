//! Use of disk space.

use serde_json::Value;

use super::{Kind, int, list, text};
use crate::template::Val;
use crate::units::human_size;

/// The columns of `system df`.
pub const TABLE: &str =
    "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
/// The columns of images in `system df -v`.
pub const IMAGES_TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
/// The columns of containers in `system df -v`.
pub const CONTAINERS_TABLE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
/// The columns of the build cache in `system df -v`.
pub const CACHE_TABLE: &str = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

/// Kinds of things on disk.
pub const KIND: Kind = Kind {
    titles: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    type_name: "*formatter.diskUsageImagesContext",
};

/// Records of the build cache.
pub const CACHE: Kind = Kind {
    titles: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
    type_name: "*formatter.buildCacheContext",
};

/// The four rows of `system df`.
pub fn rows(usage: &Value) -> Vec<Val> {
    vec![
        images(usage),
        containers(usage),
        volumes(usage),
        cache(usage),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn row(kind: &str, total: usize, active: usize, size: i64, reclaimable: i64, share: bool) -> Val {
    let free = human_size(reclaimable as f64);
    let free = match (share, size) {
        (true, 1..) => format!("{free} ({}%)", reclaimable.saturating_mul(100) / size),
        _ => free,
    };
    KIND.row(vec![
        ("Type", kind.into()),
        ("TotalCount", total.to_string().into()),
        ("Active", active.to_string().into()),
        ("Size", human_size(size as f64).into()),
        ("Reclaimable", free.into()),
    ])
}

fn images(usage: &Value) -> Val {
    let images = list(usage, "Images");
    let active = images.iter().filter(|i| int(i, "Containers") > 0).count();
    let size = int(usage, "LayersSize");
    let in_use = images.iter().filter(|i| int(i, "Containers") != 0);
    let known = in_use.filter(|i| int(i, "Size") != -1 && int(i, "SharedSize") != -1);
    let used: i64 = known.map(|i| int(i, "Size") - int(i, "SharedSize")).sum();
    row("Images", images.len(), active, size, size - used, true)
}

fn containers(usage: &Value) -> Val {
    let containers = list(usage, "Containers");
    let active = |c: &&Value| matches!(text(c, "State"), "running" | "paused" | "restarting");
    let size: i64 = containers.iter().map(|c| int(c, "SizeRw")).sum();
    let free: i64 = containers
        .iter()
        .filter(|c| !active(c))
        .map(|c| int(c, "SizeRw"))
        .sum();
    let running = containers.iter().filter(active).count();
    row("Containers", containers.len(), running, size, free, true)
}

fn volumes(usage: &Value) -> Val {
    let volumes = list(usage, "Volumes");
    let figure = |v: &Value, key: &str| v.get("UsageData").map_or(0, |data| int(data, key));
    let known = |v: &&Value| figure(v, "Size") != -1;
    let size: i64 = volumes
        .iter()
        .filter(known)
        .map(|v| figure(v, "Size"))
        .sum();
    let idle = |v: &&Value| figure(v, "RefCount") == 0;
    let free: i64 = volumes
        .iter()
        .filter(known)
        .filter(idle)
        .map(|v| figure(v, "Size"))
        .sum();
    let active = volumes.iter().filter(|v| figure(v, "RefCount") > 0).count();
    row("Local Volumes", volumes.len(), active, size, free, true)
}

fn cache(usage: &Value) -> Val {
    let records = list(usage, "BuildCache");
    let flag = |r: &Value, key: &str| r.get(key).and_then(Value::as_bool).unwrap_or_default();
    let active = records.iter().filter(|r| flag(r, "InUse")).count();
    let size = int(usage, "BuilderSize");
    let held = records
        .iter()
        .filter(|r| flag(r, "InUse") && !flag(r, "Shared"));
    let held: i64 = held.map(|r| int(r, "Size")).sum();
    row(
        "Build Cache",
        records.len(),
        active,
        size,
        size - held,
        false,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shares() {
        let usage = json!({
            "LayersSize": 1000, "Images": [{"Containers": 1, "Size": 600, "SharedSize": 100}, {"Containers": 0, "Size": 500, "SharedSize": 100}],
            "Containers": [{"State": "running", "SizeRw": 10}, {"State": "exited", "SizeRw": 30}],
            "Volumes": null, "BuildCache": null,
        });
        let rows = rows(&usage);
        let shown: Vec<String> = rows
            .iter()
            .map(|r| {
                ["Type", "TotalCount", "Active", "Size", "Reclaimable"]
                    .map(|f| r.get(f).unwrap().print())
                    .join("|")
            })
            .collect();
        assert_eq!(
            shown,
            [
                "Images|2|1|1kB|500B (50%)",
                "Containers|2|1|40B|30B (75%)",
                "Local Volumes|0|0|0B|0B",
                "Build Cache|0|0|0B|0B"
            ]
        );
    }
}
