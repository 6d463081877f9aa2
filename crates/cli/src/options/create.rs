//! From the flags of `run` and `create` to the body of the API's create.

use std::fs;

use serde_json::{Map, Value, json};

use super::kv::{self, Lookup};
use super::network::merged;
use super::volume::Volume;
use super::{capabilities, health, limits, mount, network, ports, resources, validate, volume};
use crate::config::go_text;
use crate::flags::Parsed;

/// What is to be created.
#[derive(Debug, Clone)]
pub struct Create {
    /// The image as the user wrote it.
    pub image: String,
    /// The body.
    pub body: Value,
    /// Which streams are attached: stdin, stdout, stderr.
    pub attach: [bool; 3],
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Whether it goes away when it ends.
    pub auto_remove: bool,
}

impl Create {
    /// Unties all streams, for a container that runs in the background.
    pub fn detach(&mut self) {
        self.attach = [false; 3];
        for key in ["AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"] {
            self.body[key] = false.into();
        }
    }
}

/// Reads the flags; `proxies` are variables that apply unless the user sets them.
///
/// # Errors
///
/// Docker's texts for what does not fit.
pub fn read(flags: &Parsed, proxies: &[(&'static str, String)]) -> Result<Create, String> {
    let (image, command) = flags.args.split_first().ok_or("no image")?;
    let mac = flags.str("mac-address");
    if !mac.is_empty() && !validate::mac(mac) {
        return Err(format!("{mac} is not a valid mac address"));
    }
    let streams: Vec<String> = flags
        .list("attach")
        .iter()
        .map(|s| s.to_lowercase())
        .collect();
    let wants = |name: &str| streams.iter().any(|s| s == name);
    let attach = [
        flags.bool("interactive") || wants("stdin"),
        streams.is_empty() || wants("stdout"),
        streams.is_empty() || wants("stderr"),
    ];
    let mut body = config(flags, image, command, attach, proxies)?;
    let (mode, endpoints) = network::endpoints(flags)?;
    let mut host = host_config(flags, &mode)?;
    let ports = ports::parse(&flags.list("publish"), &flags.list("expose"))?;
    body["ExposedPorts"] = Value::Object(ports.exposed);
    host["PortBindings"] = Value::Object(ports.bindings);
    let (binds, volumes) = volumes(flags)?;
    host["Binds"] = list_or_null(&binds);
    body["Volumes"] = Value::Object(volumes);
    if let Some(mac) = endpoints
        .get(&mode)
        .and_then(|e| e["MacAddress"].as_str())
        .filter(|m| !m.is_empty())
    {
        body["MacAddress"] = mac.into();
    }
    resources::add(flags, &mut host)?;
    body["HostConfig"] = host;
    body["NetworkingConfig"] = json!({"EndpointsConfig": endpoints});
    let auto_remove = flags.bool("rm");
    if auto_remove
        && !matches!(
            body["HostConfig"]["RestartPolicy"]["Name"].as_str(),
            Some("no" | "")
        )
    {
        return Err("conflicting options: cannot specify both --restart and --rm".to_owned());
    }
    Ok(Create {
        image: image.clone(),
        body,
        attach,
        tty: flags.bool("tty"),
        auto_remove,
    })
}

fn config(
    flags: &Parsed,
    image: &str,
    command: &[String],
    attach: [bool; 3],
    proxies: &[(&'static str, String)],
) -> Result<Value, String> {
    let mut env = kv::read(
        &flags.list("env-file"),
        &flags.list("env"),
        Lookup::Environment,
    )?;
    for (name, value) in proxies {
        let set = env.iter().any(|pair| pair.split('=').next() == Some(name));
        if !set {
            env.push(format!("{name}={value}"));
        }
    }
    let labels = kv::read(
        &flags.list("label-file"),
        &flags.list("label"),
        Lookup::Nowhere,
    )?;
    let entrypoint = match (flags.str("entrypoint"), flags.changed("entrypoint")) {
        ("", true) => json!([""]),
        ("", false) => Value::Null,
        (text, _) => json!([text]),
    };
    let mut out = json!({
        "Hostname": flags.str("hostname"),
        "Domainname": flags.str("domainname"),
        "User": flags.str("user"),
        "AttachStdin": attach[0],
        "AttachStdout": attach[1],
        "AttachStderr": attach[2],
        "Tty": flags.bool("tty"),
        "OpenStdin": flags.bool("interactive"),
        "StdinOnce": flags.bool("interactive") && attach[0],
        "Env": list_or_null(&env),
        "Cmd": list_or_null(command),
        "Image": image,
        "WorkingDir": flags.str("workdir"),
        "Entrypoint": entrypoint,
        "Labels": Value::Object(kv::object(&labels)),
    });
    let stop_signal = flags.str("stop-signal");
    if !stop_signal.is_empty() {
        out["StopSignal"] = stop_signal.into();
    }
    if flags.changed("stop-timeout") {
        out["StopTimeout"] = flags.int("stop-timeout").into();
    }
    let health = health::check(flags)?;
    if !health.is_null() {
        out["Healthcheck"] = health;
    }
    let mac = flags.str("mac-address");
    if !mac.is_empty() {
        out["MacAddress"] = mac.into();
    }
    Ok(out)
}

pub(super) fn list_or_null(items: &[String]) -> Value {
    if items.is_empty() {
        Value::Null
    } else {
        json!(items)
    }
}

fn volumes(flags: &Parsed) -> Result<(Vec<String>, Map<String, Value>), String> {
    let (mut binds, mut anonymous) = (Vec::new(), Map::new());
    for text in flags.list("volume") {
        match volume::parse(&text)? {
            Volume::Bind(bind) => binds.push(bind),
            Volume::Anonymous(place) => {
                anonymous.insert(place, json!({}));
            }
        }
    }
    Ok((binds, anonymous))
}

fn host_config(flags: &Parsed, network_mode: &str) -> Result<Value, String> {
    namespaces(flags)?;
    let log_driver = flags.str("log-driver");
    let log_options = flags.list("log-opt");
    if log_driver == "none" && !log_options.is_empty() {
        return Err(format!("invalid logging opts for driver {log_driver}"));
    }
    let storage = flags.list("storage-opt");
    if storage.iter().any(|option| !option.contains('=')) {
        return Err("invalid storage option".to_owned());
    }
    let (security, unmasked) = security(flags)?;
    let hosts = each(flags, "add-host", validate::add_host)?;
    let mounts: Vec<Value> = flags
        .list("mount")
        .iter()
        .map(|m| mount::parse(m))
        .collect::<Result<_, _>>()?;
    let tmpfs = flags.list("tmpfs");
    let tmpfs: Map<String, Value> = tmpfs
        .iter()
        .map(|t| t.split_once(':').unwrap_or((t, "")))
        .map(|(path, options)| (path.to_owned(), options.into()))
        .collect();
    let (cap_add, cap_drop) =
        capabilities::effective(&flags.list("cap-add"), &flags.list("cap-drop"));
    let mut out = json!({
        "ContainerIDFile": flags.str("cidfile"),
        "LogConfig": {"Type": log_driver, "Config": kv::object(&log_options)},
        "NetworkMode": network_mode,
        "RestartPolicy": limits::restart_policy(flags.str("restart"))?,
        "AutoRemove": flags.bool("rm"),
        "VolumeDriver": flags.str("volume-driver"),
        "VolumesFrom": list_or_null(&flags.list("volumes-from")),
        "CapAdd": list_or_null(&cap_add),
        "CapDrop": list_or_null(&cap_drop),
        "CgroupnsMode": flags.str("cgroupns"),
        "Dns": each(flags, "dns", validate::ip)?,
        "DnsOptions": merged(flags, "dns-option", "dns-opt"),
        "DnsSearch": each(flags, "dns-search", validate::domain)?,
        "ExtraHosts": list_or_null(&hosts),
        "GroupAdd": list_or_null(&flags.list("group-add")),
        "IpcMode": flags.str("ipc"),
        "Cgroup": "",
        "Links": list_or_null(&flags.list("link")),
        "OomScoreAdj": flags.int("oom-score-adj"),
        "PidMode": flags.str("pid"),
        "Privileged": flags.bool("privileged"),
        "PublishAllPorts": flags.bool("publish-all"),
        "ReadonlyRootfs": flags.bool("read-only"),
        "SecurityOpt": list_or_null(&security),
        "UTSMode": flags.str("uts"),
        "UsernsMode": flags.str("userns"),
        "ShmSize": resources::size(flags, "shm-size"),
        "Isolation": flags.str("isolation"),
        "ConsoleSize": [0, 0],
    });
    let mut put = |key: &str, value: Value, wanted: bool| {
        if wanted {
            out[key] = value;
        }
    };
    let runtime = flags.str("runtime");
    put("Runtime", runtime.into(), !runtime.is_empty());
    put("Init", flags.bool("init").into(), flags.changed("init"));
    put("Mounts", json!(mounts), !mounts.is_empty());
    put("Tmpfs", Value::Object(tmpfs.clone()), !tmpfs.is_empty());
    let (sysctls, annotations) = (
        kv::object(&flags.list("sysctl")),
        kv::object(&flags.list("annotation")),
    );
    put("Sysctls", json!(sysctls), !sysctls.is_empty());
    put("Annotations", json!(annotations), !annotations.is_empty());
    put(
        "StorageOpt",
        json!(kv::object(&storage)),
        !storage.is_empty(),
    );
    // Null means the daemon's own lists, so only an empty list is worth saying.
    put("MaskedPaths", json!([]), unmasked);
    put("ReadonlyPaths", json!([]), unmasked);
    Ok(out)
}

// The values of a flag in the form that the API wants.
fn each(
    flags: &Parsed,
    name: &str,
    form: fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    flags.list(name).iter().map(|value| form(value)).collect()
}

fn namespaces(flags: &Parsed) -> Result<(), String> {
    let pid = flags.str("pid");
    let of_container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|name| !name.is_empty())
    };
    if !(matches!(pid, "" | "host") || of_container(pid)) {
        return Err("--pid: invalid PID mode".to_owned());
    }
    if !matches!(flags.str("uts"), "" | "host") {
        return Err("--uts: invalid UTS mode".to_owned());
    }
    if !matches!(flags.str("userns"), "" | "host") {
        return Err("--userns: invalid USER mode".to_owned());
    }
    if !matches!(flags.str("cgroupns"), "" | "host" | "private") {
        return Err("--cgroupns: invalid CGROUP mode".to_owned());
    }
    Ok(())
}

// The options for the daemon, and whether the system's paths are to be left open.
fn security(flags: &Parsed) -> Result<(Vec<String>, bool), String> {
    let (mut out, mut unmasked) = (Vec::new(), false);
    for option in flags.list("security-opt") {
        let pair = option.split_once('=').or_else(|| match option.as_str() {
            "no-new-privileges" => None,
            other => other.split_once(':'),
        });
        let is_switch = option == "no-new-privileges" || option.starts_with("no-new-privileges=");
        if !is_switch && pair.is_none_or(|(_, value)| value.is_empty()) {
            return Err(format!("Invalid --security-opt: {option:?}"));
        }
        match pair {
            Some(("systempaths", "unconfined")) if option.contains('=') => unmasked = true,
            Some(("seccomp", file)) if !matches!(file, "unconfined" | "builtin") => {
                out.push(format!("seccomp={}", seccomp_profile(file)?));
            }
            _ => out.push(option),
        }
    }
    Ok((out, unmasked))
}

fn seccomp_profile(file: &str) -> Result<String, String> {
    let bytes = fs::read(file).map_err(|error| {
        format!(
            "opening seccomp profile ({file}) failed: open {file}: {}",
            go_text(&error)
        )
    })?;
    let profile: Value = serde_json::from_slice(&bytes)
        .map_err(|error| format!("compacting json for seccomp profile ({file}) failed: {error}"))?;
    Ok(profile.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Mixing, parse};

    fn create(args: &str) -> Result<Create, String> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        read(
            &parse(super::super::flags::RUN, Mixing::Before, &args).unwrap(),
            &[],
        )
    }

    #[test]
    fn flags_reach_the_body() {
        let all = create("-it -e A=1 -w /w -u 1:2 -h box -m 64m --cpus 1.5 --pids-limit 5 --init --read-only --tmpfs /t:size=1m --network host -l a=b --entrypoint sh -p 8080:80 -v /a:/b -v /c --ulimit nofile=5 --cap-drop ALL --stop-timeout 3 img cmd -x").unwrap();
        let body = &all.body;
        assert_eq!(body["Image"], "img");
        assert_eq!(body["Cmd"], json!(["cmd", "-x"]));
        assert_eq!(body["Entrypoint"], json!(["sh"]));
        assert_eq!(
            (&body["Tty"], &body["OpenStdin"], &body["StdinOnce"]),
            (&json!(true), &json!(true), &json!(true))
        );
        assert_eq!(
            (&body["Env"], &body["Labels"], &body["Hostname"]),
            (&json!(["A=1"]), &json!({"a": "b"}), &json!("box"))
        );
        assert_eq!(body["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(
            (&body["Volumes"], &body["StopTimeout"]),
            (&json!({"/c": {}}), &json!(3))
        );
        let host = &body["HostConfig"];
        assert_eq!(
            (&host["Memory"], &host["NanoCpus"], &host["PidsLimit"]),
            (&json!(67_108_864), &json!(1_500_000_000), &json!(5))
        );
        assert_eq!(
            (&host["Init"], &host["ReadonlyRootfs"], &host["NetworkMode"]),
            (&json!(true), &json!(true), &json!("host"))
        );
        assert_eq!(
            (&host["Tmpfs"], &host["Binds"]),
            (&json!({"/t": "size=1m"}), &json!(["/a:/b"]))
        );
        assert_eq!(
            host["Ulimits"],
            json!([{"Name": "nofile", "Hard": 5, "Soft": 5}])
        );
        assert_eq!(all.attach, [true, true, true]);
    }

    #[test]
    fn defaults() {
        let all = create("img").unwrap();
        let body = &all.body;
        assert_eq!(
            (&body["Cmd"], &body["Env"], &body["Entrypoint"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert_eq!(
            body["HostConfig"]["RestartPolicy"],
            json!({"Name": "no", "MaximumRetryCount": 0})
        );
        assert_eq!(body["HostConfig"]["NetworkMode"], "default");
        assert!(body.get("Healthcheck").is_none() && body["HostConfig"].get("Init").is_none());
        assert_eq!(all.attach, [false, true, true]);
        assert_eq!(
            create("-a stderr img").unwrap().attach,
            [false, false, true]
        );
        assert_eq!(
            create("--entrypoint= img").unwrap().body["Entrypoint"],
            json!([""])
        );
        assert_eq!(
            create("--no-healthcheck img").unwrap().body["Healthcheck"],
            json!({"Test": ["NONE"]})
        );
    }

    #[test]
    fn refusals() {
        for (args, want) in [
            (
                "--rm --restart always img",
                "conflicting options: cannot specify both --restart and --rm",
            ),
            (
                "--memory-swappiness 101 img",
                "invalid value: 101. Valid memory swappiness range is 0-100",
            ),
            ("--pid foo img", "--pid: invalid PID mode"),
            ("--uts foo img", "--uts: invalid UTS mode"),
            ("--security-opt foo img", "Invalid --security-opt: \"foo\""),
            (
                "--no-healthcheck --health-cmd x img",
                "--no-healthcheck conflicts with --health-* options",
            ),
            (
                "--health-interval -1s --health-cmd x img",
                "--health-interval cannot be negative",
            ),
            (
                "--log-driver none --log-opt a=b img",
                "invalid logging opts for driver none",
            ),
            ("--storage-opt x img", "invalid storage option"),
            ("-p x img", "invalid containerPort: x"),
            ("--mac-address x img", "x is not a valid mac address"),
        ] {
            assert_eq!(create(args).unwrap_err(), want, "{args}");
        }
    }

    #[test]
    fn a_detached_container_has_no_streams() {
        let mut all = create("-d -i img").unwrap();
        all.detach();
        assert_eq!(all.attach, [false; 3]);
        assert_eq!(
            (
                &all.body["AttachStdin"],
                &all.body["StdinOnce"],
                &all.body["OpenStdin"]
            ),
            (&json!(false), &json!(false), &json!(true))
        );
    }
}
