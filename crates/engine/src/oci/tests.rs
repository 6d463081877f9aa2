//! Golden specifications.

use super::*;
use crate::mounts::{self, Kind};

fn check(name: &str, edit: impl FnOnce(&mut Config, &mut HostConfig, &mut Joined)) {
    let mut config = Config {
        hostname: "0102030405ab".to_owned(),
        env: vec!["A=1".to_owned()],
        ..Config::default()
    };
    let mut host = HostConfig::default();
    let mut joined = Joined::default();
    edit(&mut config, &mut host, &mut joined);
    let files = Files {
        hostname: "/data/hostname".into(),
        hosts: "/data/hosts".into(),
        resolv_conf: "/data/resolv.conf".into(),
        log: None,
    };
    let facts = Facts {
        capabilities: all_capabilities(u64::MAX),
        ..Facts::default()
    };
    let defaults = Defaults {
        init_path: "/usr/bin/corten-init".into(),
        ..Defaults::default()
    };
    let volume = Seen {
        point: Point {
            name: "v".to_owned(),
            ..Point::new(Kind::Volume, "/var/vol")
        },
        source: "/data/volumes/v/_data".to_owned(),
        layers: Vec::new(),
        ids: None,
    };
    let none = std::collections::BTreeSet::new();
    let sources = mounts::Sources {
        host: &host,
        volumes: &none,
        from: Vec::new(),
    };
    let own = mounts::plan(sources)
        .unwrap()
        .into_iter()
        .map(|wanted| Seen {
            source: wanted.point.source.clone(),
            point: wanted.point,
            layers: Vec::new(),
            ids: None,
        });
    let seen: Vec<Seen> = own.chain([volume]).collect();
    let spec = generate(&Input {
        command: vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()],
        config: &config,
        host: &host,
        links: &[],
        files: &files,
        cgroups_path: "/corten/0101".to_owned(),
        joined,
        seen: &seen,
        facts: &facts,
        defaults: &defaults,
    })
    .unwrap();
    let got = serde_json::to_string_pretty(&spec).unwrap() + "\n";
    let path = format!("{}/testdata/oci/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, &got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        got, want,
        "{path}: run with UPDATE_EXPECT=1 and read the difference"
    );
}

#[test]
fn a_plain_container() {
    check("plain", |_, _, _| {});
}

#[test]
fn a_privileged_terminal_on_the_host() {
    check("privileged-host", |config, host, joined| {
        config.tty = true;
        config.user = "www:adm".to_owned();
        config.working_dir = "/srv".to_owned();
        host.privileged = true;
        host.console_size = Some([24, 80]);
        joined.network = Source::Host;
        joined.ipc = Source::Host;
        joined.uts = Source::Host;
        joined.pid = Source::Path("/proc/7/ns/pid".into());
    });
}

#[test]
fn a_limited_container() {
    check("limited", |_, host, _| {
        host.init = Some(true);
        host.readonly_rootfs = true;
        host.cap_drop = vec!["ALL".to_owned()];
        host.cap_add = vec!["net_admin".to_owned()];
        host.security_opt = vec!["no-new-privileges".to_owned()];
        host.binds = vec!["/srv:/data:ro".to_owned()];
        host.tmpfs = [("/tmp".to_owned(), "size=1m".to_owned())].into();
        host.sysctls = [("net.core.somaxconn".to_owned(), "9".to_owned())].into();
        host.shm_size = 1 << 20;
        host.oom_score_adj = 500;
        host.resources.memory = 64 << 20;
        host.resources.memory_swap = 128 << 20;
        host.resources.nano_cpus = 1_500_000_000;
        host.resources.pids_limit = Some(50);
        host.resources.ulimits = vec![Ulimit {
            name: "nofile".to_owned(),
            soft: 64,
            hard: -1,
        }];
    });
}

#[test]
fn foreign_sysctls_are_refused() {
    let own = Joined::default();
    assert!(check_sysctl("net.ipv4.ip_forward", &own).is_ok());
    assert!(check_sysctl("kernel.shmmax", &own).is_ok());
    assert!(check_sysctl("fs.mqueue.msg_max", &own).is_ok());
    for bad in [
        "kernel.panic",
        "vm.swappiness",
        "",
        "net..x",
        "net./../../x",
    ] {
        assert!(check_sysctl(bad, &own).is_err(), "{bad}");
    }
    let host = Joined {
        network: Source::Host,
        ..Joined::default()
    };
    assert!(check_sysctl("net.core.somaxconn", &host).is_err());
}
