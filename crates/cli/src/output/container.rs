//! Containers in lists.

use serde_json::Value;
use spec::Reference;

use super::{Kind, ellipsis, id, int, label_method, list, pairs, short_id, text};
use crate::clock;
use crate::template::{Val, quote};
use crate::units::{human_duration, human_size3};
use crate::zone::Zone;

/// The columns of `ps`.
pub const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

/// Containers.
pub const KIND: Kind = Kind {
    titles: &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
    ],
    type_name: "*formatter.ContainerContext",
};

/// One container of the API's list as a row.
pub fn row(container: &Value, trunc: bool, zone: &Zone) -> Val {
    let created = int(container, "Created");
    let ago = format!("{} ago", human_duration(clock::now() - created));
    let mounts = list(container, "Mounts");
    let local = mounts
        .iter()
        .filter(|m| text(m, "Driver") == "local")
        .count();
    KIND.row(vec![
        ("ID", id(text(container, "Id"), trunc).into()),
        ("Names", names(container, trunc).into()),
        ("Image", image(container, trunc).into()),
        ("Command", command(container, trunc).into()),
        ("CreatedAt", clock::go_string(created, zone).into()),
        ("RunningFor", ago.into()),
        ("Ports", ports(list(container, "Ports")).into()),
        ("State", text(container, "State").into()),
        ("Status", text(container, "Status").into()),
        ("Size", size(container).into()),
        ("Labels", pairs(container, "Labels").into()),
        ("Label", label_method(container)),
        ("Mounts", mount_names(mounts, trunc).into()),
        ("LocalVolumes", local.to_string().into()),
        ("Networks", networks(container).into()),
        ("Platform", Val::Nil),
    ])
}

fn names(container: &Value, trunc: bool) -> String {
    let names = list(container, "Names").iter().filter_map(Value::as_str);
    let names: Vec<&str> = names
        .map(|name| name.strip_prefix('/').unwrap_or(name))
        .collect();
    // A name with a slash in it is a link of another container's.
    match names.iter().find(|name| !name.contains('/')) {
        Some(own) if trunc => (*own).to_owned(),
        _ => names.join(","),
    }
}

fn image(container: &Value, trunc: bool) -> String {
    let image = text(container, "Image");
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if !trunc {
        return image.to_owned();
    }
    let short = short_id(text(container, "ImageID"));
    if short == short_id(image) {
        return short.to_owned();
    }
    match Reference::parse_bare(image) {
        Ok(reference) => match reference.tag() {
            Some(tag) => format!("{}:{tag}", reference.familiar_repository()),
            None => reference.familiar_repository(),
        },
        Err(_) => image.to_owned(),
    }
}

fn command(container: &Value, trunc: bool) -> String {
    let command = text(container, "Command");
    quote(&if trunc {
        ellipsis(command, 20)
    } else {
        command.to_owned()
    })
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(container: &Value) -> String {
    let (writable, whole) = (int(container, "SizeRw"), int(container, "SizeRootFs"));
    let own = human_size3(writable as f64);
    match whole {
        1.. => format!("{own} (virtual {})", human_size3(whole as f64)),
        _ => own,
    }
}

fn mount_names(mounts: &[Value], trunc: bool) -> String {
    let names = mounts.iter().map(|mount| {
        let name = match text(mount, "Name") {
            "" => text(mount, "Source"),
            name => name,
        };
        if trunc {
            ellipsis(name, 15)
        } else {
            name.to_owned()
        }
    });
    names.collect::<Vec<_>>().join(",")
}

fn networks(container: &Value) -> String {
    let networks = container
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object);
    let names: Vec<&str> = networks
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    names.join(",")
}

/// Ports as `ps` shows them: runs of numbers joined, `0.0.0.0:80-81->80-81/tcp, 90/udp`.
pub fn ports(ports: &[Value]) -> String {
    struct Port<'v> {
        private: i64,
        public: i64,
        ip: &'v str,
        proto: &'v str,
    }
    let mut ports: Vec<Port<'_>> = ports
        .iter()
        .map(|p| Port {
            private: int(p, "PrivatePort"),
            public: int(p, "PublicPort"),
            ip: text(p, "IP"),
            proto: text(p, "Type"),
        })
        .collect();
    ports.sort_by(|a, b| {
        (a.private, a.ip, a.public, a.proto).cmp(&(b.private, b.ip, b.public, b.proto))
    });
    let mut done = Vec::new();
    let mut mapped = Vec::new();
    // Open runs in the order of their making: address, protocol, first and last port.
    let mut runs: Vec<(&str, &str, i64, i64)> = Vec::new();
    for port in &ports {
        if !port.ip.is_empty() && port.public != port.private {
            mapped.push(format!(
                "{}->{}/{}",
                join(port.ip, &port.public.to_string()),
                port.private,
                port.proto
            ));
            continue;
        }
        match runs
            .iter_mut()
            .find(|run| run.0 == port.ip && run.1 == port.proto)
        {
            None => runs.push((port.ip, port.proto, port.private, port.private)),
            Some(run) if port.private == run.3 + 1 => run.3 = port.private,
            Some(run) => {
                done.push(run_text(*run));
                (run.2, run.3) = (port.private, port.private);
            }
        }
    }
    done.extend(runs.into_iter().map(run_text));
    done.extend(mapped);
    done.join(", ")
}

fn run_text((ip, proto, first, last): (&str, &str, i64, i64)) -> String {
    let span = if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    };
    match ip {
        "" => format!("{span}/{proto}"),
        ip => format!("{}->{span}/{proto}", join(ip, &span)),
    }
}

/// `host:port`, with brackets around what has colons.
pub fn join(host: &str, port: &str) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_compacted() {
        let port = |private: i64, public: i64, ip: &str, proto: &str| json!({"PrivatePort": private, "PublicPort": public, "IP": ip, "Type": proto});
        for (list, want) in [
            (vec![], ""),
            (vec![port(80, 0, "", "tcp")], "80/tcp"),
            (
                vec![
                    port(80, 8080, "0.0.0.0", "tcp"),
                    port(80, 8080, "::", "tcp"),
                ],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (
                vec![
                    port(81, 81, "0.0.0.0", "tcp"),
                    port(80, 80, "0.0.0.0", "tcp"),
                ],
                "0.0.0.0:80-81->80-81/tcp",
            ),
            (
                vec![
                    port(80, 0, "", "tcp"),
                    port(81, 0, "", "tcp"),
                    port(90, 0, "", "udp"),
                    port(83, 0, "", "tcp"),
                ],
                "80-81/tcp, 83/tcp, 90/udp",
            ),
        ] {
            assert_eq!(ports(&list), want);
        }
    }

    #[test]
    fn rows() {
        let container = json!({
            "Id": "e65e50fe895586cb1e475fd7727363008357eb00d8903139b309e4a1d45b7143",
            "Names": ["/web/alias", "/web"], "Image": "docker.io/library/alpine:3.20", "ImageID": "sha256:1",
            "Command": "sleep 1000000000000000000", "Created": 0, "State": "running", "Status": "Up 2 minutes (Paused)",
            "SizeRw": 2, "SizeRootFs": 21_500_000, "Labels": {"b": "2", "a": "1"},
            "NetworkSettings": {"Networks": {"bridge": {}}}, "Mounts": [{"Name": "0123456789abcdefg", "Driver": "local"}],
        });
        let row = row(&container, true, &Zone::utc());
        let field = |name: &str| row.get(name).unwrap().print();
        assert_eq!(field("ID"), "e65e50fe8955");
        assert_eq!(field("Names"), "web");
        assert_eq!(field("Image"), "alpine:3.20");
        assert_eq!(field("Command"), "\"sleep 1000000000000…\"");
        assert_eq!(field("Size"), "2B (virtual 21.5MB)");
        assert_eq!(field("Labels"), "a=1,b=2");
        assert_eq!(field("Mounts"), "0123456789abcd…");
        assert_eq!(field("LocalVolumes"), "1");
        assert_eq!(field("Networks"), "bridge");
        assert_eq!(field("CreatedAt"), "1970-01-01 00:00:00 +0000 UTC");
    }
}
