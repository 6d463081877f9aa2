//! The default bridge, `none` and `host`.

use std::time::Duration;

use tests::{IMAGE, api, clients, wait_for};

clients! {
    fn bridge_gives_an_address_and_a_route(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let network = case.inspect(&name)["NetworkSettings"]["Networks"]["bridge"].clone();
        let address = network["IPAddress"].as_str().expect("an address").to_owned();
        let gateway = network["Gateway"].as_str().expect("a gateway").to_owned();
        case.cmd(&["exec", &name, "ip", "-o", "-4", "addr", "show", "eth0"])
            .ok()
            .shows(&format!("inet {address}/"));
        case.cmd(&["exec", &name, "ip", "route"]).ok().shows(&format!("default via {gateway}"));
        case.cmd(&["exec", &name, "ls", "/sys/class/net"]).ok().shows("eth0").shows("lo");
        case.cmd(&["exec", &name, "cat", "/etc/hosts"]).ok().shows(&address);
        case.cmd(&["exec", &name, "ping", "-c", "1", "-W", "5", &gateway]).ok();
    }

    fn containers_reach_each_other(case) {
        let (server, client) = (case.name("server"), case.name("client"));
        let script = "mkdir /www; echo served > /www/index.html; httpd -f -p 8080 -h /www";
        case.cmd(&["run", "-d", "--name", &server, IMAGE, "sh", "-c", script]).ok();
        case.sleeper(&client);
        let address =
            case.inspect(&server)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
        let url = format!("http://{}:8080/", address.as_str().expect("an address"));
        wait_for("the page is served", Duration::from_secs(20), || {
            case.cmd(&["exec", &client, "wget", "-q", "-O", "-", &url]).stdout == "served\n"
        });
    }

    fn addresses_differ_and_come_back(case) {
        let address = |name: &str| {
            case.inspect(name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone()
        };
        let (one, two) = (case.name("one"), case.name("two"));
        case.sleeper(&one);
        case.sleeper(&two);
        assert_ne!(address(&one), address(&two));
        case.cmd(&["stop", "-t", "0", &one]).ok();
        assert_eq!(address(&one), "");
    }

    fn network_none_has_only_the_loopback(case) {
        let script = "ls /sys/class/net; ip -o addr show lo | grep -c 127.0.0.1";
        let args = ["run", "--rm", "--network", "none", IMAGE, "sh", "-c", script];
        let output = case.cmd(&args).ok();
        assert_eq!(output.lines()[0], "lo");
        assert_eq!(output.lines().last(), Some(&"1"));
    }

    fn network_host_is_that_of_the_engine(case) {
        let args = [
            "run", "--rm", "--network", "host", IMAGE, "sh", "-c",
            "ls /sys/class/net; readlink /proc/self/ns/net",
        ];
        let output = case.cmd(&args).ok();
        let bridge = case.target().daemon().map_or("docker0".into(), |d| d.names().bridge.clone());
        let output = output.shows(&bridge);
        if let Some(pid) = case.target().daemon().and_then(tests::Daemon::pid) {
            let own = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("it runs");
            output.shows(&own.display().to_string());
        }
    }

    fn network_unknown_is_refused(case) {
        let output = case.cmd(&["run", "--rm", "--network", "no-such-network", IMAGE, "true"]);
        output.exits(125).complains("network no-such-network not found");
    }
}

api! {
    fn the_daemon_reaches_a_container_by_its_address(case) {
        // The reference lives in a network namespace of its own, out of reach of this process.
        if case.is_reference() {
            return;
        }
        let name = case.name("a");
        case.cmd(&[
            "run", "-d", "--name", &name, IMAGE, "sh", "-c",
            "while :; do echo hi | nc -l -p 9000; done",
        ])
        .ok();
        let address =
            case.inspect(&name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
        let address = format!("{}:9000", address.as_str().expect("an address"));
        wait_for("it answers", Duration::from_secs(20), || {
            use std::io::Read;
            let Ok(mut stream) = std::net::TcpStream::connect(&address) else {
                return false;
            };
            let mut text = String::new();
            stream.read_to_string(&mut text).is_ok() && text == "hi\n"
        });
    }
}
