//! Real servers of a distribution, as people run them: nginx, redis and iperf3 from Debian.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tests::http::Connection;
use tests::{Case, Neighbour, clients, poll, wait_for};

/// What nginx has to know when it finds no directories of its package.
const CONFIG: &str = "user root; daemon off; pid /tmp/pid; error_log stderr; events {}
http {
  access_log off;
  client_body_temp_path /tmp/1; proxy_temp_path /tmp/2; fastcgi_temp_path /tmp/3;
  uwsgi_temp_path /tmp/4; scgi_temp_path /tmp/5;
  server { listen 80; location / { return 200 \"$remote_addr\\n\"; } }
}
";

/// Makes the image out of the packages that `cargo xtask test` unpacks; it goes with the test.
fn image(case: &Case) -> String {
    let name = case.name("servers");
    case.owns_images(&name);
    let root = std::env::var_os("CORTEN_E2E_SERVERS");
    let root = PathBuf::from(root.expect("CORTEN_E2E_SERVERS is set by `cargo xtask test`"));
    let extra = case.dir().join("extra");
    std::fs::create_dir_all(&extra).expect("the directory is ours");
    let root_user = "root:x:0:0:root:/:/bin/false\n";
    std::fs::write(extra.join("passwd"), root_user).expect("the directory is ours");
    std::fs::write(extra.join("group"), "root:x:0:\n").expect("the directory is ours");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(root).args(["-c", "."]).arg("-C").arg(&extra);
    let archive =
        tar.args(["passwd", "group", "--transform", r"s,^\(passwd\|group\)$,etc/\1,"]).output();
    let archive = archive.expect("tar is there");
    assert!(archive.status.success(), "{archive:?}");
    let path = format!("/images/create?fromSrc=-&repo={name}&tag=latest");
    let mut connection = Connection::open(case.target().socket()).expect("the engine listens");
    let answer = connection.upload("POST", &path, archive.stdout.as_slice());
    let answer = answer.expect("the engine answers");
    assert!(
        answer.status == 200 && !answer.text().contains("errorDetail"),
        "{}",
        answer.text()
    );
    name
}

/// The port of the host that a container's port is published at.
#[track_caller]
fn published(case: &Case, name: &str, port: &str) -> u16 {
    let ports = case.inspect(name)["NetworkSettings"]["Ports"][port][0]["HostPort"].clone();
    ports.as_str().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{ports}"))
}

clients! {
    fn nginx_sees_who_asks(case) {
        let image = image(case);
        let neighbour = Neighbour::of(case);
        let name = case.name("web");
        let file = case.dir().join("nginx.conf");
        std::fs::write(&file, CONFIG).expect("the directory is ours");
        let bind = format!("{}:/etc/nginx/nginx.conf:ro", file.display());
        let run = [
            "run", "-d", "--name", &name, "-p", "80", "--tmpfs", "/tmp", "-v", &bind, &image, "/usr/sbin/nginx",
        ];
        case.cmd(&run).ok();
        let port = published(case, &name, "80/tcp");
        let seen = neighbour.fetches(neighbour.engine_address, port);
        assert_eq!(seen, format!("{}\n", neighbour.address));
    }

    fn redis_keeps_what_another_container_says(case) {
        let image = image(case);
        let (net, server) = (case.name("net"), case.name("redis"));
        case.cmd(&["network", "create", &net]).ok();
        let run = [
            "run", "-d", "--name", &server, "--network", &net, "--network-alias", "store", &image,
            "/usr/bin/redis-server", "--save", "", "--protected-mode", "no",
        ];
        case.cmd(&run).ok();
        let cli = |words: &[&str]| {
            let mut all = vec!["run", "--rm", "--network", &net, &image, "/usr/bin/redis-cli", "-h", "store"];
            all.extend(words);
            case.cmd(&all)
        };
        wait_for("redis answers", Duration::from_secs(20), || cli(&["ping"]).stdout == "PONG\n");
        cli(&["set", "colour", "red"]).ok().prints("OK");
        cli(&["get", "colour"]).ok().prints("red");
    }

    fn iperf_measures_through_a_published_port(case) {
        let image = image(case);
        let neighbour = Neighbour::of(case);
        let name = case.name("iperf");
        let run = [
            "run", "-d", "--name", &name, "-p", "5201", "--tmpfs", "/tmp", &image, "/usr/bin/iperf3", "-s",
        ];
        case.cmd(&run).ok();
        let port = published(case, &name, "5201/tcp").to_string();
        let root = std::env::var("CORTEN_E2E_SERVERS").expect("it is set");
        let program = format!("{root}/usr/bin/iperf3");
        let libraries = format!("{root}/usr/lib/x86_64-linux-gnu");
        let engine = neighbour.engine_address.to_string();
        let words = [
            "env", &format!("LD_LIBRARY_PATH={libraries}"), &program, "-J", "-c", &engine, "-p", &port, "-n", "20M",
        ];
        let report = poll(Duration::from_secs(20), || {
            let output = neighbour.run(|| Command::new(words[0]).args(&words[1..]).output()).ok()?;
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            report["end"]["sum_received"]["bytes"].as_u64().filter(|bytes| *bytes > 0)
        });
        // What was on the way when the sender ended is not counted.
        assert!(report.expect("iperf3 measures") > 10_000_000);
    }
}
