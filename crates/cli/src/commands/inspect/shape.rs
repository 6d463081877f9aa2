//! The shape of inspected things: their JSON laid out, and as the structs that templates see.

use std::rc::Rc;

use serde_json::Value;

use crate::output::network::created;
use crate::template::Val;
use crate::zone::Zone;

/// Lays JSON out as Go does, keeping every text as it was written; without an indent, in one line.
pub fn layout(raw: &str, indent: Option<&str>) -> String {
    let mut out = String::with_capacity(raw.len() * 2);
    let mut depth = 0_usize;
    let mut chars = raw.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push(c);
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(if indent.is_some() { ": " } else { ":" }),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

// Fields that Docker's structs have and its JSON leaves out when they are empty.
const OF_CONTAINERS: [(&str, &[&str]); 4] = [
    (
        "",
        &[
            "SizeRw",
            "SizeRootFs",
            "ImageManifestDescriptor",
            "GraphDriver",
            "Mounts",
        ],
    ),
    ("State", &["Health", "OOMKilled"]),
    (
        "Config",
        &[
            "Healthcheck",
            "ExposedPorts",
            "Volumes",
            "OnBuild",
            "StopSignal",
            "StopTimeout",
            "Shell",
            "MacAddress",
            "NetworkDisabled",
            "ArgsEscaped",
        ],
    ),
    (
        "HostConfig",
        &[
            "Init",
            "Tmpfs",
            "Sysctls",
            "Annotations",
            "Mounts",
            "StorageOpt",
            "Runtime",
        ],
    ),
];
const OF_NETWORKS: [(&str, &[&str]); 1] = [("", &["Peers", "Services"])];
const OF_IMAGES: [(&str, &[&str]); 2] = [
    (
        "",
        &[
            "RepoTags",
            "RepoDigests",
            "Parent",
            "Comment",
            "Author",
            "DockerVersion",
            "Variant",
            "OsVersion",
            "Created",
            "Container",
        ],
    ),
    (
        "Config",
        &[
            "User",
            "WorkingDir",
            "Env",
            "Cmd",
            "Entrypoint",
            "Labels",
            "Healthcheck",
            "ExposedPorts",
            "Volumes",
            "OnBuild",
            "StopSignal",
            "Shell",
            "ArgsEscaped",
        ],
    ),
];
// Their maps: what else is an object in JSON is a struct.
const MAPS: [&str; 17] = [
    "Labels",
    "Networks",
    "Ports",
    "ExposedPorts",
    "Volumes",
    "PortBindings",
    "Sysctls",
    "Tmpfs",
    "Options",
    "DriverOpts",
    "Annotations",
    "StorageOpt",
    "Containers",
    "Data",
    "AuxiliaryAddresses",
    "Config",
    "Services",
];
// Their lists, which are empty rather than nothing.
const LISTS: [&str; 35] = [
    "Args",
    "Env",
    "Cmd",
    "Entrypoint",
    "OnBuild",
    "Binds",
    "VolumesFrom",
    "CapAdd",
    "CapDrop",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "SecurityOpt",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Ulimits",
    "MaskedPaths",
    "ReadonlyPaths",
    "Mounts",
    "ExecIDs",
    "Aliases",
    "DNSNames",
    "RepoTags",
    "RepoDigests",
    "Layers",
    "Shell",
    "BlkioWeightDevice",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "Test",
    "Peers",
];
const TEXTS: [&str; 12] = [
    "StopSignal",
    "MacAddress",
    "Runtime",
    "Parent",
    "Comment",
    "Author",
    "DockerVersion",
    "Variant",
    "OsVersion",
    "Created",
    "User",
    "WorkingDir",
];

/// The plain value that a template sees when the struct did not do: numbers compare as texts.
pub(super) fn raw(value: &Value) -> Val {
    match value {
        Value::Null => Val::Missing,
        Value::Number(number) => Val::Typed(Rc::new((Val::str(number.to_string()), value.clone()))),
        Value::Array(items) => Val::List(Rc::new(items.iter().map(raw).collect())),
        Value::Object(map) => Val::Map(
            Rc::new(map.iter().map(|(k, v)| (k.clone(), raw(v))).collect()),
            None,
        ),
        other => Val::from(other),
    }
}

/// The struct that a template sees: of a container, or of something else.
pub(super) fn typed(container: bool, value: &Value) -> Val {
    val(
        "",
        value,
        if container {
            &OF_CONTAINERS
        } else {
            &OF_IMAGES
        },
        0,
    )
}

/// The struct of a network: a moment, and pools with all their fields.
pub(super) fn network(value: &Value) -> Val {
    let whole = val("", value, &OF_NETWORKS, 0);
    let Val::Struct(fields) = whole.bare() else {
        return whole;
    };
    let beside = |shown: Val, json: &Value| Val::Typed(Rc::new((shown, json.clone())));
    let field = |(name, field): &(String, Val)| {
        let json = value.get(name).unwrap_or(&Value::Null);
        let field = match name.as_str() {
            "Created" => {
                let moment = created(json.as_str().unwrap_or_default(), &Zone::utc());
                beside(Val::str(moment), json)
            }
            "IPAM" => {
                let part = |key: &str| json.get(key).unwrap_or(&Value::Null);
                let pools = part("Config").as_array().map_or(&[][..], Vec::as_slice);
                let pools = Val::List(Rc::new(pools.iter().map(pool).collect()));
                let parts = vec![
                    ("Driver".to_owned(), Val::from(part("Driver"))),
                    (
                        "Options".to_owned(),
                        val("Options", part("Options"), &[], 2),
                    ),
                    ("Config".to_owned(), beside(pools, part("Config"))),
                ];
                beside(Val::Struct(Rc::new(parts)), json)
            }
            _ => field.clone(),
        };
        (name.clone(), field)
    };
    let fields = fields.iter().map(field).collect();
    beside(Val::Struct(Rc::new(fields)), value)
}

fn pool(json: &Value) -> Val {
    let text = |key: &str| (key.to_owned(), Val::str(crate::output::text(json, key)));
    let aux = json.get("AuxiliaryAddresses").unwrap_or(&Value::Null);
    let fields = vec![
        text("Subnet"),
        text("IPRange"),
        text("Gateway"),
        (
            "AuxAddress".to_owned(),
            val("AuxiliaryAddresses", aux, &[], 2),
        ),
    ];
    Val::Typed(Rc::new((Val::Struct(Rc::new(fields)), json.clone())))
}

fn val(name: &str, value: &Value, optional: &[(&str, &[&str])], depth: usize) -> Val {
    match value {
        Value::Null => zero(name),
        Value::Array(items) => {
            let items = items.iter().map(|item| val("", item, optional, depth + 2));
            Val::List(Rc::new(items.collect()))
        }
        Value::Object(map) => {
            let fields = map
                .iter()
                .map(|(key, v)| (key.clone(), val(key, v, optional, depth + 1)));
            let mut fields: Vec<(String, Val)> = fields.collect();
            if depth <= 1 {
                let missing = optional
                    .iter()
                    .filter(|(place, _)| *place == name)
                    .flat_map(|(_, names)| *names);
                let missing = missing.filter(|name| !map.contains_key(**name));
                fields.extend(missing.map(|name| ((*name).to_owned(), zero(name))));
            }
            let is_map = MAPS.contains(&name) && !(name == "Config" && depth == 1);
            let shown = if is_map {
                Val::Map(Rc::new(fields), None)
            } else {
                Val::Struct(Rc::new(fields))
            };
            // With its JSON kept beside it: zero values are not in the answer.
            Val::Typed(Rc::new((shown, value.clone())))
        }
        other => Val::from(other),
    }
}

fn zero(name: &str) -> Val {
    let nothing = |v: Val, json: Value| Val::Typed(Rc::new((v, json)));
    match name {
        name if MAPS.contains(&name) => nothing(Val::Map(Rc::default(), None), Value::Null),
        name if LISTS.contains(&name) => nothing(Val::List(Rc::default()), Value::Null),
        name if TEXTS.contains(&name) => Val::str(""),
        "OOMKilled" | "NetworkDisabled" | "ArgsEscaped" => Val::Bool(false),
        _ => Val::Nil,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;
    use serde_json::json;

    #[test]
    fn texts_stay_as_written() {
        let raw = r#"{"b":"\u003cx\u003e \" }","a":[1,2.50,{}, [ ]],"c":{"d":null}}"#;
        let want = "{\n    \"b\": \"\\u003cx\\u003e \\\" }\",\n    \"a\": [\n        1,\n        2.50,\n        {},\n        []\n    ],\n    \"c\": {\n        \"d\": null\n    }\n}";
        assert_eq!(layout(raw, Some("    ")), want);
        assert_eq!(
            layout(want, None),
            r#"{"b":"\u003cx\u003e \" }","a":[1,2.50,{},[]],"c":{"d":null}}"#
        );
    }

    #[test]
    fn networks_are_structs() {
        let seen = json!({
            "Name": "n", "Created": "2026-11-21T17:13:23.444860385Z", "EnableIPv6": false, "Containers": {},
            "IPAM": {"Driver": "default", "Options": null, "Config": [{"Subnet": "172.22.0.0/16", "Gateway": "172.22.0.1"}]},
            "ConfigFrom": {"Network": ""}, "Options": {}, "Labels": {},
        });
        for (text, want) in [
            ("{{.IPAM.Config}}", "[{172.22.0.0/16  172.22.0.1 map[]}]"),
            (
                "{{(index .IPAM.Config 0).Subnet}}{{range .IPAM.Config}} {{.IPRange}}{{end}}",
                "172.22.0.0/16 ",
            ),
            ("{{.Created}}", "2026-11-21 17:13:23.444860385 +0000 UTC"),
            (
                "{{.ConfigFrom}} {{.Peers}} {{.Services}} {{.Options}}",
                "{} [] map[] map[]",
            ),
            (
                "{{json .IPAM}} {{json .Created}}",
                r#"{"Driver":"default","Options":null,"Config":[{"Subnet":"172.22.0.0/16","Gateway":"172.22.0.1"}]} "2026-11-21T17:13:23.444860385Z""#,
            ),
        ] {
            let shown = Template::parse(text)
                .unwrap()
                .render(&network(&seen))
                .unwrap();
            assert_eq!(shown, want, "{text}");
        }
    }

    #[test]
    fn templates_see_structs() {
        let container = json!({
            "State": {"Status": "running", "Running": true, "Pid": 7},
            "Config": {"Labels": {"b": "2", "a": "1"}, "Env": null, "Cmd": ["x", "y"]},
            "HostConfig": {"Binds": null, "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
            "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}},
        });
        let fill = |text: &str| {
            let template = Template::parse(text).unwrap();
            template
                .render(&typed(true, &container))
                .unwrap_or_else(|_| {
                    template
                        .clone()
                        .missing_is_error()
                        .render(&raw(&container))
                        .unwrap_or_else(|error| error.to_string())
                })
        };
        for (text, want) in [
            ("{{if .State.Health}}x{{else}}none{{end}}", "none"),
            ("{{.State.Health}}", "<nil>"),
            (
                "{{.HostConfig.Binds}} {{.Config.Env}} {{.HostConfig.PortBindings}}",
                "[] [] map[]",
            ),
            (
                "{{json .HostConfig.Binds}} {{json .State}}",
                "null {\"Status\":\"running\",\"Running\":true,\"Pid\":7}",
            ),
            (
                "{{.Config.Labels}} {{index .Config.Labels \"a\"}}{{index .Config.Labels \"nope\"}}",
                "map[a:1 b:2] 1",
            ),
            ("{{.HostConfig.RestartPolicy}}", "{no 0}"),
            (
                "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
                "8080",
            ),
            (
                "{{range $p, $c := .NetworkSettings.Ports}}{{$p}} {{(index $c 0).HostPort}}{{end}}",
                "80/tcp 8080",
            ),
            ("{{range .Config.Cmd}}[{{.}}]{{end}}", "[x][y]"),
            (
                "{{.HostConfig.Init}} {{.HostConfig.Tmpfs}} {{.Config.StopSignal}}|",
                "<nil> map[] |",
            ),
            (
                "{{eq .State.Pid 7}} {{eq .State.Pid \"7\"}}",
                "template: :1:2: executing \"\" at <eq .State.Pid 7>: error calling eq: incompatible types for comparison",
            ),
            ("{{eq .State.Pid \"7\"}}", "true"),
            (
                "{{.Nope}}",
                "template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"",
            ),
        ] {
            assert_eq!(fill(text), want, "{text}");
        }
    }
}
