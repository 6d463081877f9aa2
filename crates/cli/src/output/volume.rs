//! Volumes in lists.

use serde_json::Value;

use super::{Kind, int, label_method, pairs, text};
use crate::template::Val;
use crate::units::human_size;

/// The columns of `volume ls`.
pub const TABLE: &str = "table {{.Driver}}\t{{.Name}}";
/// The columns of `volume ls --cluster`.
pub const CLUSTER_TABLE: &str =
    "table {{.Name}}\t{{.Group}}\t{{.Driver}}\t{{.Availability}}\t{{.Status}}";
/// The columns of volumes in `system df -v`.
pub const USAGE_TABLE: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";
/// The format that shows nothing but names.
pub const QUIET: &str = "{{.Name}}";

const NOT_KNOWN: &str = "N/A";

/// Volumes.
pub const KIND: Kind = Kind {
    titles: &[
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Availability", "AVAILABILITY"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Name", "VOLUME NAME"),
        ("Group", "GROUP"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
    ],
    type_name: "*formatter.volumeContext",
};

/// One volume of the API's list as a row.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub fn row(volume: &Value) -> Val {
    let usage = volume.get("UsageData").filter(|usage| !usage.is_null());
    let figure = |show: &dyn Fn(&Value) -> String| usage.map_or(NOT_KNOWN.to_owned(), show);
    let links = figure(&|usage| int(usage, "RefCount").to_string());
    let size = figure(&|usage| human_size(int(usage, "Size") as f64));
    let cluster = |path: &str| {
        let spec = volume.get("ClusterVolume").filter(|found| !found.is_null());
        spec.map_or(NOT_KNOWN, |found| {
            found
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        })
    };
    KIND.row(vec![
        ("Name", text(volume, "Name").into()),
        ("Driver", text(volume, "Driver").into()),
        ("Scope", text(volume, "Scope").into()),
        ("Mountpoint", text(volume, "Mountpoint").into()),
        ("Labels", pairs(volume, "Labels").into()),
        ("Label", label_method(volume)),
        ("Links", links.into()),
        ("Size", size.into()),
        ("Group", cluster("/Spec/Group").into()),
        ("Availability", cluster("/Spec/Availability").into()),
        // Nobody here has a cluster that could tell more.
        ("Status", cluster("/Info/VolumeID").into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::render;
    use serde_json::json;

    #[test]
    fn volumes_are_listed_as_docker_lists_them() {
        let volume = json!({"Name": "v", "Driver": "local", "Scope": "local", "Mountpoint": "/m",
            "Labels": {"b": "2", "a": "1"}, "Options": null});
        let rows = [row(&volume)];
        assert_eq!(
            render(&KIND, TABLE, &rows).unwrap(),
            "DRIVER    VOLUME NAME\nlocal     v\n"
        );
        assert_eq!(
            render(&KIND, "json", &rows).unwrap(),
            "{\"Availability\":\"N/A\",\"Driver\":\"local\",\"Group\":\"N/A\",\"Labels\":\"a=1,b=2\",\"Links\":\"N/A\",\"Mountpoint\":\"/m\",\"Name\":\"v\",\"Scope\":\"local\",\"Size\":\"N/A\",\"Status\":\"N/A\"}\n"
        );
        let used = json!({"Name": "v", "UsageData": {"RefCount": 2, "Size": 1500}});
        assert_eq!(
            render(&KIND, "{{.Links}} {{.Size}}", &[row(&used)]).unwrap(),
            "2 1.5kB\n"
        );
    }
}
