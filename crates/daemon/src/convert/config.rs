//! The portable part of a container's settings.

use std::collections::{BTreeMap, BTreeSet};

use api::container::{Config as Wire, EmptyObject, HealthConfig, StringOrList};
use engine::container::{Config, Healthcheck, Rest};

use super::{give_list, keep_list};

/// What the engine is told.
pub fn from_wire(wire: Wire) -> Config {
    let mut rest = Rest::new();
    Config {
        hostname: wire.hostname,
        domainname: wire.domainname,
        user: wire.user,
        attach_stdin: wire.attach_stdin,
        attach_stdout: wire.attach_stdout,
        attach_stderr: wire.attach_stderr,
        exposed_ports: keys(wire.exposed_ports),
        tty: wire.tty,
        open_stdin: wire.open_stdin,
        stdin_once: wire.stdin_once,
        env: wire.env.unwrap_or_default(),
        cmd: wire.cmd.map(|list| list.0),
        entrypoint: wire.entrypoint.map(|list| list.0),
        healthcheck: wire.healthcheck.map(health_from_wire),
        args_escaped: wire.args_escaped,
        image: wire.image,
        volumes: keys(wire.volumes),
        working_dir: wire.working_dir,
        network_disabled: wire.network_disabled,
        mac_address: wire.mac_address,
        on_build: wire
            .on_build
            .map(|list| keep_list(&mut rest, "OnBuild", Some(list))),
        labels: wire.labels.unwrap_or_default(),
        stop_signal: Some(wire.stop_signal).filter(|s| !s.is_empty()),
        stop_timeout: wire.stop_timeout,
        shell: wire
            .shell
            .map(|list| list.0)
            .filter(|list| !list.is_empty()),
        rest,
    }
}

/// What inspect shows.
pub fn to_wire(config: &Config) -> Wire {
    Wire {
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        user: config.user.clone(),
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: set(&config.exposed_ports),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: give_list(&config.rest, "Env", config.env.clone()),
        cmd: config.cmd.clone().map(StringOrList),
        healthcheck: config.healthcheck.as_ref().map(health_to_wire),
        args_escaped: config.args_escaped,
        image: config.image.clone(),
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone().map(StringOrList),
        network_disabled: config.network_disabled,
        mac_address: config.mac_address.clone(),
        on_build: config.on_build.clone(),
        labels: Some(config.labels.clone()),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout,
        shell: config.shell.clone().map(StringOrList),
    }
}

fn keys(map: Option<BTreeMap<String, EmptyObject>>) -> BTreeSet<String> {
    map.unwrap_or_default().into_keys().collect()
}

/// A set as Docker writes it: a map to nothing, `null` when empty.
pub fn set(names: &BTreeSet<String>) -> Option<BTreeMap<String, EmptyObject>> {
    let map: BTreeMap<_, _> = names.iter().map(|n| (n.clone(), EmptyObject {})).collect();
    Some(map).filter(|m| !m.is_empty())
}

fn health_from_wire(wire: HealthConfig) -> Healthcheck {
    Healthcheck {
        test: wire.test,
        interval: wire.interval,
        timeout: wire.timeout,
        start_period: wire.start_period,
        start_interval: wire.start_interval,
        retries: wire.retries,
    }
}

/// A health test for the wire.
pub fn health_to_wire(health: &Healthcheck) -> HealthConfig {
    HealthConfig {
        test: health.test.clone(),
        interval: health.interval,
        timeout: health.timeout,
        start_period: health.start_period,
        start_interval: health.start_interval,
        retries: health.retries,
    }
}

#[cfg(test)]
mod tests {
    use api::gojson::encode;

    use super::*;

    #[test]
    fn settings_survive_the_way_there_and_back() {
        let body = br#"{"Image":"a","Cmd":["sh"],"Env":["A=b"],"ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"Labels":{"a":"<b>"},"StopTimeout":3,"Healthcheck":{"Test":["CMD-SHELL","true"]},"Tty":true}"#;
        let wire = api::container::CreateRequest::decode(body).unwrap().config;
        let back = to_wire(&from_wire(wire.clone()));
        assert_eq!(back, wire);
        let text = String::from_utf8(encode(&back)).unwrap();
        assert!(text.contains(r#""Labels":{"a":"\u003cb\u003e"}"#), "{text}");
    }

    #[test]
    fn missing_settings_print_as_dockerd_prints_them() {
        let text = String::from_utf8(encode(&to_wire(&from_wire(Wire::default())))).unwrap();
        assert_eq!(
            text,
            r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{}}"#
        );
    }
}
