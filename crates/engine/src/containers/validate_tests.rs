//! Docker's refusals, text by text.

use super::*;
use crate::container::{PortBinding, Resources, Ulimit};

fn facts() -> HostFacts {
    HostFacts {
        cpus: 2,
        blkio_weight: true,
        cgroup_v2: false,
        kernel: (6, 1),
        capabilities: oci::all_capabilities(u64::MAX),
    }
}

fn refusal(edit: impl FnOnce(&mut Config, &mut HostConfig)) -> String {
    let mut config = Config::default();
    let mut host = HostConfig::default();
    edit(&mut config, &mut host);
    let engine = EngineConfig::new("/data", "/run");
    check(&mut config, &mut host, &engine, &facts())
        .unwrap_err()
        .to_string()
}

#[test]
fn limits_out_of_range() {
    let of = |edit: fn(&mut Resources)| refusal(|_, host| edit(&mut host.resources));
    assert_eq!(of(|r| r.memory = 1), "Minimum memory limit allowed is 6MB");
    assert_eq!(of(|r| r.memory = -1), "Minimum memory limit allowed is 6MB");
    assert!(of(|r| r.memory_swap = 1).starts_with("You should always set the Memory limit"));
    assert!(of(|r| r.nano_cpus = 2_000_000_001).starts_with("range of CPUs is from 0.01 to 2.00"));
    assert!(of(|r| r.cpuset_cpus = "7".into()).contains("requested 7, available: 0-1"));
    assert_eq!(
        of(|r| r.cpuset_cpus = "1-0".into()),
        "Invalid value 1-0 for cpuset cpus: invalid format: 1-0"
    );
    assert_eq!(
        of(|r| r.blkio_weight = 5),
        "Range of blkio weight is from 10 to 1000"
    );
    assert!(of(|r| r.cpu_period = 10).starts_with("CPU cfs period"));
    let soft = |r: &mut Resources| {
        r.ulimits = vec![Ulimit {
            name: "nofile".into(),
            soft: 5,
            hard: 3,
        }];
    };
    assert!(of(soft).starts_with("ulimit soft limit"));
    assert!(of(|r| r.cgroup_parent = "/a/../../b".into()).starts_with("invalid cgroup parent"));
}

#[test]
fn wrong_words() {
    assert_eq!(
        refusal(|_, h| h.restart_policy.name = "maybe".into()),
        "invalid restart policy: unknown policy 'maybe'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    );
    assert_eq!(
        refusal(|_, h| h.log.driver = "nonsense".into()),
        "error looking up logging plugin nonsense: plugin \"nonsense\" not found"
    );
    assert_eq!(
        refusal(|_, h| h.oom_score_adj = 2000),
        "Invalid value 2000, range for oom score adj is [-1000, 1000]"
    );
    assert!(refusal(|c, _| c.working_dir = "x".into()).contains("needs to be an absolute path"));
    assert_eq!(
        refusal(|c, _| c.stop_signal = Some("FOO".into())),
        "invalid signal: FOO"
    );
    assert!(refusal(|_, h| h.extra_hosts = vec!["a:b".into()]).contains("add-host"));
    assert!(refusal(|_, h| h.runtime = "mine".into()).contains("runtime name: mine"));
}

#[test]
fn ports_of_the_host_are_read_at_creation() {
    let bind = |host_port: &str| PortBinding {
        host_ip: String::new(),
        host_port: host_port.to_owned(),
    };
    let bindings = [("80/tcp".to_owned(), vec![bind("9-1")])];
    let refused = refusal(|c, h| {
        c.exposed_ports.insert("80/tcp".to_owned());
        h.port_bindings = bindings.into();
    });
    assert_eq!(refused, "invalid port specification: \"9-1\"");
}

#[test]
fn defaults_are_filled_in() {
    let mut config = Config::default();
    let mut host = HostConfig::default();
    host.resources.memory = 64 << 20;
    let engine = EngineConfig::new("/data", "/run");
    assert!(
        check(&mut config, &mut host, &engine, &facts())
            .unwrap()
            .is_empty()
    );
    assert_eq!(host.resources.memory_swap, 128 << 20);
    assert_eq!(host.log.driver, "json-file");
    assert_eq!(
        (host.ipc_mode.as_str(), host.network_mode.as_str()),
        ("private", "default")
    );
    assert_eq!(host.masked_paths.unwrap().len(), 12);
}

#[test]
fn version_2_of_control_groups() {
    let engine = EngineConfig::new("/data", "/run");
    for (cgroup_v2, mode, discarded) in [(false, "host", 1), (true, "private", 2)] {
        let mut config = Config::default();
        let mut host = HostConfig {
            privileged: true,
            ..HostConfig::default()
        };
        host.resources.memory_swappiness = Some(10);
        host.resources.oom_kill_disable = Some(true);
        let facts = HostFacts {
            cgroup_v2,
            ..facts()
        };
        let warnings = check(&mut config, &mut host, &engine, &facts).unwrap();
        assert_eq!(
            (host.cgroupns_mode.as_str(), warnings.len()),
            (mode, discarded)
        );
        assert_eq!(host.resources.memory_swappiness.is_none(), cgroup_v2);
    }
}

#[test]
fn exposed_ports() {
    for good in ["80", "80/tcp", "80-90/udp", "1/SCTP"] {
        assert!(ports::parse(good).is_some(), "{good}");
    }
    for bad in ["", "x", "80/foo", "90-80", "99999", "/tcp"] {
        assert!(ports::parse(bad).is_none(), "{bad}");
    }
}
