//! Networks in lists.

use serde_json::Value;

use super::{Kind, id, label_method, pairs, text};
use crate::clock;
use crate::template::Val;
use crate::zone::Zone;

/// The columns of `network ls`.
pub const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

/// The long form of `network ls --format raw`.
pub const RAW: &str =
    "network_id: {{.ID}}\\nname: {{.Name}}\\ndriver: {{.Driver}}\\nscope: {{.Scope}}\\n";
/// The same with `--quiet`.
pub const QUIET_RAW: &str = "network_id: {{.ID}}";

/// Networks.
pub const KIND: Kind = Kind {
    titles: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    type_name: "*network.networkContext",
};

/// One network of the API's list as a row.
pub fn row(network: &Value, trunc: bool, zone: &Zone) -> Val {
    let flag = |key: &str| network.get(key).and_then(Value::as_bool);
    KIND.row(vec![
        ("ID", id(text(network, "Id"), trunc).into()),
        ("Name", text(network, "Name").into()),
        ("Driver", text(network, "Driver").into()),
        ("Scope", text(network, "Scope").into()),
        (
            "IPv4",
            flag("EnableIPv4").unwrap_or(true).to_string().into(),
        ),
        (
            "IPv6",
            flag("EnableIPv6").unwrap_or(false).to_string().into(),
        ),
        (
            "Internal",
            flag("Internal").unwrap_or(false).to_string().into(),
        ),
        ("Labels", pairs(network, "Labels").into()),
        ("Label", label_method(network)),
        ("CreatedAt", created(text(network, "Created"), zone).into()),
    ])
}

/// A moment of the API as Go prints it.
pub fn created(moment: &str, zone: &Zone) -> String {
    let Some((seconds, nanos)) = clock::parse_rfc3339(moment) else {
        return moment.to_owned();
    };
    let whole = clock::go_string(seconds, zone);
    let fraction = format!("{nanos:09}");
    match fraction.trim_end_matches('0') {
        "" => whole,
        digits => match whole.split_at_checked(19) {
            Some((time, place)) => format!("{time}.{digits}{place}"),
            None => whole,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_fraction() {
        let utc = Zone::utc();
        assert_eq!(
            created("2026-11-21T09:59:08.809658057Z", &utc),
            "2026-11-21 09:59:08.809658057 +0000 UTC"
        );
        assert_eq!(
            created("2026-11-21T09:59:08Z", &utc),
            "2026-11-21 09:59:08 +0000 UTC"
        );
        assert_eq!(created("never", &utc), "never");
    }
}
