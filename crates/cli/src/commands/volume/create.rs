//! `volume create`

use api::client::Request;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::options::kv;
use crate::output::text;
use crate::tree::Run;
use crate::units::ram_in_bytes;

/// `volume create`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let request = Request::post("/volumes/create").json(&body(&flags)?);
        let made = app.client.json(request).await?;
        app.line(text(&made, "Name"))
    })
}

fn body(flags: &Parsed) -> Result<Value, Failure> {
    let name = match (flags.args.first(), flags.str("name")) {
        (Some(_), given) if !given.is_empty() => {
            return Err(Failure::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        (Some(name), _) => name,
        (None, given) => given,
    };
    let mut body = Map::new();
    let mut put = |key: &str, value: Value, given: bool| {
        if given {
            body.insert(key.to_owned(), value);
        }
    };
    let (options, labels) = (flags.list("opt"), flags.list("label"));
    put("ClusterVolumeSpec", cluster(flags)?, is_cluster(flags));
    put(
        "Driver",
        flags.str("driver").into(),
        !flags.str("driver").is_empty(),
    );
    put(
        "DriverOpts",
        kv::object(&options).into(),
        !options.is_empty(),
    );
    put("Labels", kv::object(&labels).into(), !labels.is_empty());
    put("Name", name.into(), !name.is_empty());
    Ok(body.into())
}

fn is_cluster(flags: &Parsed) -> bool {
    const MARKS: [&str; 7] = [
        "group",
        "scope",
        "sharing",
        "availability",
        "type",
        "limit-bytes",
        "required-bytes",
    ];
    MARKS.iter().any(|name| flags.changed(name))
}

// What a cluster's volume is to be; no daemon without a cluster takes it.
fn cluster(flags: &Parsed) -> Result<Value, Failure> {
    let bytes = |name: &str| match flags.str(name) {
        "" => Ok(0),
        text => ram_in_bytes(text),
    };
    let mut access = json!({"Scope": flags.str("scope"), "Sharing": flags.str("sharing")});
    match flags.str("type") {
        "mount" => access["MountVolume"] = json!({}),
        "block" => access["BlockVolume"] = json!({}),
        _ => {}
    }
    let topologies = |name: &str| -> Value {
        let one = |text: &String| {
            let pairs: Vec<String> = text.split(',').map(str::to_owned).collect();
            json!({"Segments": kv::object(&pairs)})
        };
        flags.list(name).iter().map(one).collect()
    };
    let secret = |(key, secret): (String, Value)| json!({"Key": key, "Secret": secret});
    let secrets = kv::object(&flags.list("secret"));
    Ok(json!({
        "Group": flags.str("group"),
        "AccessMode": access,
        "Availability": flags.str("availability"),
        "CapacityRange": {
            "RequiredBytes": bytes("required-bytes")?,
            "LimitBytes": bytes("limit-bytes")?,
        },
        "AccessibilityRequirements": {
            "Requisite": topologies("topology-required"),
            "Preferred": topologies("topology-preferred"),
        },
        "Secrets": secrets.into_iter().map(secret).collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Mixing, parse};

    fn read(args: &str) -> Result<Value, Failure> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        body(&parse(super::super::CREATE.flags, Mixing::Anywhere, &args).unwrap())
    }

    #[test]
    fn what_is_asked_for() {
        assert_eq!(read("").unwrap(), json!({"Driver": "local"}));
        assert_eq!(
            read("v -o type=tmpfs -o o=size=1m,uid=3 --label a=b --label c").unwrap(),
            json!({"Driver": "local", "DriverOpts": {"type": "tmpfs", "o": "size=1m,uid=3"},
                "Labels": {"a": "b", "c": ""}, "Name": "v"})
        );
        assert_eq!(read("--name v").unwrap()["Name"], "v");
        assert!(
            read("--name v w")
                .unwrap_err()
                .message
                .starts_with("conflicting options")
        );
        let cluster = &read("--type mount --limit-bytes 1k").unwrap()["ClusterVolumeSpec"];
        assert_eq!(cluster["AccessMode"]["MountVolume"], json!({}));
        assert_eq!(cluster["CapacityRange"]["LimitBytes"], 1024);
    }
}
