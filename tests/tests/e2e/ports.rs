//! Published ports, seen from another host, from the engine's own host and from containers.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use tests::{Case, Host, IMAGE, Neighbour, Own, clients, wait_for};

/// A port of the host that is free now; each test takes its own part of the range.
fn free_ports(case: &Case, count: u16) -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 60).expect("less than 60");
    let neighbour = Neighbour::of(case);
    for _ in 0..200 {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed) % 150;
        let first = 20_000 + own * 200 + offset;
        let free = |port| {
            let engine = neighbour.engine();
            engine.listen(Ipv4Addr::UNSPECIFIED, port).is_ok()
                && engine.run(|| std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok())
        };
        if (first..first + count).all(free) {
            return first;
        }
    }
    panic!("no free ports");
}

/// Starts a web server that tells the address of whoever asks.
#[track_caller]
fn serve(case: &Case, name: &str, args: &[&str]) {
    let script = "mkdir -p /www/cgi-bin; printf '#!/bin/sh\\nprintf \"Content-type: text/plain\\\\r\\\\n\\\\r\\\\n\
         $REMOTE_ADDR\"\\n' > /www/cgi-bin/who; chmod +x /www/cgi-bin/who; echo served > /www/index.html; \
         httpd -f -p 80 -h /www";
    let mut words = vec!["run", "-d", "--name", name];
    words.extend(args);
    words.extend([IMAGE, "sh", "-c", script]);
    case.cmd(&words).ok();
    wait_for("the page is served", Duration::from_secs(20), || {
        case.cmd(&["exec", name, "wget", "-q", "-O", "-", "http://127.0.0.1/"]).stdout == "served\n"
    });
}

clients! {
    fn a_published_port_is_reached_from_everywhere(case) {
        let neighbour = Neighbour::of(case);
        let port = free_ports(case, 1);
        let (name, client) = (case.name("server"), case.name("client"));
        serve(case, &name, &["-p", &format!("{port}:80")]);
        assert_eq!(neighbour.fetches(neighbour.engine_address, port), "served\n");
        let engine = neighbour.engine();
        assert_eq!(engine.fetches(neighbour.engine_address, port), "served\n");
        assert_eq!(engine.fetches(Ipv4Addr::LOCALHOST, port), "served\n");
        // From another container, from one of another network, and from itself.
        let url = format!("http://{}:{port}/", neighbour.engine_address);
        case.sleeper(&client);
        let fetch = |from: &str| case.cmd(&["exec", from, "timeout", "5", "wget", "-q", "-O", "-", &url]).stdout;
        assert_eq!(fetch(&client), "served\n");
        assert_eq!(fetch(&name), "served\n");
        let (net, other) = (case.name("net"), case.name("other"));
        case.cmd(&["network", "create", &net]).ok();
        case.cmd(&["run", "-d", "--name", &other, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        assert_eq!(fetch(&other), "served\n");
        case.cmd(&["port", &name, "80"]).ok().shows(&format!("0.0.0.0:{port}"));
        case.cmd(&["ps", "--format", "{{.Ports}}", "--filter", &format!("name={name}")]).ok()
            .shows(&format!("0.0.0.0:{port}->80/tcp"));
        let ports = case.inspect(&name)["NetworkSettings"]["Ports"]["80/tcp"][0].clone();
        assert_eq!(ports, json!({"HostIp": "0.0.0.0", "HostPort": port.to_string()}));
        case.cmd(&["stop", "-t", "0", &name]).ok();
        assert!(neighbour.is_shut_out(neighbour.engine_address, port));
        assert!(engine.is_shut_out(Ipv4Addr::LOCALHOST, port));
        case.cmd(&["start", &name]).ok();
        assert_eq!(neighbour.fetches(neighbour.engine_address, port), "served\n");
    }

    fn who_asks_is_seen_by_the_container(case) {
        let neighbour = Neighbour::of(case);
        let port = free_ports(case, 1);
        serve(case, &case.name("server"), &["-p", &format!("{port}:80")]);
        neighbour.fetches(neighbour.engine_address, port);
        let to = SocketAddr::new(neighbour.engine_address.into(), port);
        let answer = neighbour.talk(to, "GET /cgi-bin/who HTTP/1.0\r\n\r\n", Duration::from_secs(5));
        let answer = answer.expect("it is served");
        assert!(answer.ends_with(&format!("{}", neighbour.address)) || answer.contains(&format!("{}]", neighbour.address)), "{answer}");
    }

    fn datagrams_are_published(case) {
        let neighbour = Neighbour::of(case);
        let port = free_ports(case, 1);
        let name = case.name("echo");
        let wish = format!("{port}:7/udp");
        case.cmd(&["run", "-d", "--name", &name, "-p", &wish, IMAGE, "sleep", "1000"]).ok();
        let pid = case.inspect(&name)["State"]["Pid"].as_i64().expect("a process");
        let inside = Host::of_process(i32::try_from(pid).expect("a process id"));
        let _echo = inside.echo(7);
        let to = SocketAddr::new(neighbour.engine_address.into(), port);
        assert_eq!(neighbour.asks(to, b"hello"), b"hello");
        // One that comes in pieces.
        let large = vec![7; 20_000];
        assert_eq!(neighbour.asks(to, &large), large);
        case.cmd(&["port", &name]).ok().shows(&format!("7/udp -> 0.0.0.0:{port}"));
    }

    fn a_port_of_one_address_is_not_one_of_the_others(case) {
        let neighbour = Neighbour::of(case);
        let port = free_ports(case, 1);
        let local = case.name("local");
        serve(case, &local, &["-p", &format!("127.0.0.1:{port}:80")]);
        assert_eq!(neighbour.engine().fetches(Ipv4Addr::LOCALHOST, port), "served\n");
        assert!(neighbour.is_shut_out(neighbour.engine_address, port));
        // Not by a forged route either.
        let forged = format!("{}", neighbour.engine_address);
        neighbour.sh(&["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"]);
        neighbour.sh(&["ip", "route", "add", "127.0.0.1/32", "via", &forged, "dev", "eth0"]);
        neighbour.succeeds(&["sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"]);
        assert!(neighbour.is_shut_out(Ipv4Addr::LOCALHOST, port));
        let only = case.name("only");
        let wish = format!("{}:{port}:80", neighbour.engine_address);
        serve(case, &only, &["-p", &wish]);
        assert_eq!(neighbour.fetches(neighbour.engine_address, port), "served\n");
    }

    fn ranges_and_free_ports_are_chosen(case) {
        let first = free_ports(case, 3);
        let name = case.name("ranges");
        let wish = format!("{first}-{}:81-83", first + 2);
        case.cmd(&["run", "-d", "--name", &name, "-p", &wish, "-p", "84", "--expose", "85", IMAGE, "sleep", "1000"]).ok();
        let ports = case.inspect(&name)["NetworkSettings"]["Ports"].clone();
        for offset in 0..3 {
            let port = &ports[format!("{}/tcp", 81 + offset)][0]["HostPort"];
            assert_eq!(*port, json!((first + offset).to_string()), "{ports}");
        }
        let free: u16 = ports["84/tcp"][0]["HostPort"].as_str().expect("a port").parse().expect("a number");
        assert!(free >= 32_768, "{free}");
        assert_eq!(ports["85/tcp"], json!(null), "{ports}");
        let all = case.name("all");
        case.cmd(&["run", "-d", "--name", &all, "-P", "--expose", "86", "--expose", "87/udp", IMAGE, "sleep", "1000"]).ok();
        let ports = case.inspect(&all)["NetworkSettings"]["Ports"].clone();
        for port in ["86/tcp", "87/udp"] {
            assert!(ports[port][0]["HostPort"].is_string(), "{ports}");
        }
    }

    fn a_port_that_is_taken_is_told_and_leaves_nothing(case) {
        let port = free_ports(case, 1);
        let wish = format!("{port}:80");
        let (first, second) = (case.name("first"), case.name("second"));
        case.cmd(&["run", "-d", "--name", &first, "-p", &wish, IMAGE, "sleep", "1000"]).ok();
        let output = case.cmd(&["run", "-d", "--name", &second, "-p", &wish, IMAGE, "sleep", "1000"]).exits(125);
        let output = output.complains("port is already allocated");
        assert!(case.is_reference() || output.stderr.contains(&first), "{output:?}");
        assert_eq!(case.inspect(&second)["State"]["Status"], "created");
        case.cmd(&["rm", "-f", &first]).ok();
        case.cmd(&["start", &second]).ok();
        case.cmd(&["rm", "-f", &second]).ok();
        // One that a program of the host has.
        let neighbour = Neighbour::of(case);
        let held = neighbour.engine().listen(Ipv4Addr::UNSPECIFIED, port).expect("it is free again");
        let output = case.cmd(&["run", "-d", "--name", &second, "-p", &wish, IMAGE, "sleep", "1000"]).exits(125);
        let output = output.complains("address already in use");
        if !case.is_reference() {
            output.complains(&std::process::id().to_string());
        }
        drop(held);
        case.cmd(&["start", &second]).ok();
    }

    fn ports_of_a_container_are_closed_unless_published(case) {
        let neighbour = Neighbour::of(case);
        let name = case.name("server");
        serve(case, &name, &["--expose", "80"]);
        let address = case.inspect(&name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
        let address: Ipv4Addr = address.as_str().expect("an address").parse().expect("an address");
        assert!(neighbour.is_shut_out(address, 80));
        assert_eq!(neighbour.engine().fetches(address, 80), "served\n");
    }

    fn version_6_is_published(case) {
        let neighbour = Neighbour::of(case);
        let port = free_ports(case, 1);
        let net = case.name("six");
        case.cmd(&["network", "create", "--ipv6", &net]).ok();
        let script = "mkdir /www; echo six > /www/index.html; httpd -f -p [::]:80 -h /www";
        case.cmd(&["run", "-d", "--name", &case.name("server"), "--network", &net, "-p", &format!("{port}:80"), IMAGE, "sh", "-c", script]).ok();
        assert_eq!(neighbour.fetches(neighbour.engine_address6, port), "six\n");
        assert_eq!(neighbour.fetches(neighbour.engine_address, port), "six\n");
        assert_eq!(neighbour.engine().fetches(neighbour.engine_address6, port), "six\n");
        case.cmd(&["ps", "--format", "{{.Ports}}", "--filter", &format!("name={}", case.name("server"))]).ok()
            .shows(&format!("[::]:{port}->80/tcp"));
    }

    fn two_thousand_ports_at_once(case) {
        if case.is_reference() {
            return;
        }
        let neighbour = Neighbour::of(case);
        let name = case.name("many");
        // Each client has ports of its own, for they are tried at the same time.
        let first = match case.client() {
            tests::Client::Docker => 12_000,
            tests::Client::Corten => 14_000,
        };
        let wish = format!("{first}-{}:2000-3999", first + 1_999);
        let script = "mkdir /www; echo last > /www/index.html; httpd -f -p 3999 -h /www";
        case.cmd(&["run", "-d", "--name", &name, "-p", &wish, IMAGE, "sh", "-c", script]).ok();
        assert_eq!(neighbour.fetches(neighbour.engine_address, first + 1_999), "last\n");
        case.cmd(&["rm", "-f", &name]).ok();
        assert!(neighbour.is_shut_out(neighbour.engine_address, first + 1_999));
    }

    fn a_network_without_version_6_is_reached_by_it(case) {
        let neighbour = Neighbour::of(case);
        let (port, local, six) = (free_ports(case, 1), free_ports(case, 1), free_ports(case, 1));
        let name = case.name("server");
        serve(case, &name, &["-p", &format!("{port}:80"), "-p", &format!("127.0.0.1:{local}:80"), "-p", &format!("[::1]:{six}:80")]);
        let engine = neighbour.engine();
        let cable = neighbour.engine_address6;
        assert_eq!(engine.fetches(Ipv6Addr::LOCALHOST, port), "served\n");
        assert_eq!(engine.fetches(cable, port), "served\n");
        assert_eq!(neighbour.fetches(cable, port), "served\n");
        assert_eq!(engine.fetches(Ipv6Addr::LOCALHOST, six), "served\n");
        assert!(neighbour.is_shut_out(cable, six));
        assert!(engine.is_shut_out(Ipv4Addr::LOCALHOST, six));
        assert!(engine.is_shut_out(Ipv6Addr::LOCALHOST, local));
        let bound = |port: u16, address: &str| json!({"HostIp": address, "HostPort": port.to_string()});
        let ports = case.inspect(&name)["NetworkSettings"]["Ports"]["80/tcp"].clone();
        let ports = ports.as_array().expect("a list").clone();
        for (port, address) in [(port, "0.0.0.0"), (port, "::"), (local, "127.0.0.1"), (six, "::1")] {
            assert!(ports.contains(&bound(port, address)), "{ports:?}");
        }
        assert_eq!(ports.len(), 4, "{ports:?}");
        let mut lines = case.cmd(&["port", &name, "80"]).ok();
        for line in [format!("0.0.0.0:{port}"), format!("[::]:{port}"), format!("127.0.0.1:{local}"), format!("[::1]:{six}")] {
            lines = lines.shows(&line);
        }
        case.cmd(&["ps", "--format", "{{.Ports}}", "--filter", &format!("name={name}")]).ok()
            .shows(&format!("0.0.0.0:{port}->80/tcp"))
            .shows(&format!("[::]:{port}->80/tcp"))
            .shows(&format!("[::1]:{six}->80/tcp"));
        case.cmd(&["stop", "-t", "0", &name]).ok();
        assert!(neighbour.is_shut_out(cable, port));
        assert!(engine.is_shut_out(Ipv6Addr::LOCALHOST, port));
        case.cmd(&["start", &name]).ok();
        assert_eq!(neighbour.fetches(cable, port), "served\n");
    }

    fn a_network_of_both_versions_is_reached_by_the_host_s_own_address(case) {
        let neighbour = Neighbour::of(case);
        let (port, six) = (free_ports(case, 1), free_ports(case, 1));
        let (net, name) = (case.name("both"), case.name("server"));
        case.cmd(&["network", "create", "--ipv6", &net]).ok();
        serve(case, &name, &["--network", &net, "-p", &format!("{port}:80"), "-p", &format!("[::1]:{six}:80")]);
        let engine = neighbour.engine();
        assert_eq!(engine.fetches(Ipv6Addr::LOCALHOST, port), "served\n");
        assert_eq!(engine.fetches(Ipv6Addr::LOCALHOST, six), "served\n");
        assert_eq!(engine.fetches(Ipv4Addr::LOCALHOST, port), "served\n");
        let cable = neighbour.engine_address6;
        assert_eq!(engine.fetches(cable, port), "served\n");
        assert!(neighbour.is_shut_out(cable, six));
        case.cmd(&["stop", "-t", "0", &name]).ok();
        assert!(engine.is_shut_out(Ipv6Addr::LOCALHOST, port));
        assert!(engine.is_shut_out(Ipv6Addr::LOCALHOST, six));
    }

    fn ports_wait_for_a_way_out_through_a_restart_of_the_daemon(case) {
        let host = Host::new();
        let Some(mut own) = host.run(|| Own::start(case.client(), &[])) else {
            return;
        };
        own.warm_up();
        own.cmd(&["network", "create", "--internal", "inner"]).ok();
        own.cmd(&["run", "-d", "--name", "web", "--network", "inner", "-p", "8080:80", IMAGE, "sleep", "1000"]).ok();
        assert_eq!(own.cmd(&["port", "web"]).ok().stdout, "");
        host.run(|| own.daemon_mut().crash()).expect("it comes again");
        assert_eq!(own.cmd(&["port", "web"]).ok().stdout, "");
        own.cmd(&["network", "connect", "bridge", "web"]).ok();
        own.cmd(&["port", "web", "80"]).ok().shows("0.0.0.0:8080\n");
        own.cmd(&["rm", "-f", "web"]).ok();
        own.cmd(&["network", "rm", "inner"]).ok();
        host.run(|| own.retire());
    }

    fn datagrams_go_from_version_6_to_4(case) {
        let neighbour = Neighbour::of(case);
        let name = case.name("echo");
        case.cmd(&["run", "-d", "--name", &name, "-p", "7/udp", IMAGE, "sleep", "1000"]).ok();
        let ports = case.inspect(&name)["NetworkSettings"]["Ports"]["7/udp"].clone();
        assert_eq!(ports[0]["HostPort"], ports[1]["HostPort"], "{ports}");
        assert_eq!((&ports[0]["HostIp"], &ports[1]["HostIp"]), (&json!("0.0.0.0"), &json!("::")), "{ports}");
        let port = ports[0]["HostPort"].as_str().expect("a port").parse().expect("a number");
        let pid = case.inspect(&name)["State"]["Pid"].as_i64().expect("a process");
        let _echo = Host::of_process(i32::try_from(pid).expect("a process id")).echo(7);
        let to = SocketAddr::new(neighbour.engine_address6.into(), port);
        assert_eq!(neighbour.asks(to, b"from afar"), b"from afar");
        assert_eq!(neighbour.engine().asks(to, b"from here"), b"from here");
        let to = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
        assert_eq!(neighbour.engine().asks(to, b"from within"), b"from within");
        let large = vec![7; 20_000];
        assert_eq!(neighbour.engine().asks(to, &large), large);
    }

    fn a_port_of_version_6_that_is_taken_is_told(case) {
        let neighbour = Neighbour::of(case);
        let port = free_ports(case, 1);
        let theirs = neighbour.engine().listen(Ipv6Addr::LOCALHOST, port).expect("a free port");
        let name = case.name("late");
        let failed = case.cmd(&["run", "-d", "--name", &name, "-p", &format!("{port}:80"), IMAGE, "sleep", "1000"]);
        failed.exits(125).complains("address already in use");
        drop(theirs);
        case.cmd(&["start", &name]).ok();
        case.cmd(&["port", &name]).ok().shows(&format!("80/tcp -> [::]:{port}"));
    }

    fn without_the_relay_there_is_no_port_of_version_6(case) {
        let host = Host::new();
        let Some(mut own) = host.run(|| Own::start(case.client(), &["--userland-proxy=false"])) else {
            return;
        };
        own.warm_up();
        own.cmd(&["run", "-d", "--name", "web", "-p", "8080:80", "-p", "[::1]:8081:80", IMAGE, "sleep", "1000"]).ok();
        assert_eq!(own.cmd(&["port", "web"]).ok().stdout, "80/tcp -> 0.0.0.0:8080\n");
        assert!(own.daemon().processes().iter().all(|process| !process.command.contains("shim relay")));
        host.run(|| own.retire());
    }

    fn relayed_connections_outlive_the_daemon_and_ports_the_relay(case) {
        let host = Host::new();
        let Some(mut own) = host.run(|| Own::start(case.client(), &[])) else {
            return;
        };
        own.warm_up();
        let run = ["run", "-d", "--name", "echo", "-p", "8080:7", IMAGE, "nc", "-ll", "-p", "7", "-e", "cat"];
        own.cmd(&run).ok();
        let to = SocketAddr::new(IpAddr::from(Ipv6Addr::LOCALHOST), 8080);
        let first = echoing(&host, to);
        host.run(|| own.daemon_mut().crash()).expect("it comes again");
        assert!(still_echoes(&first), "a connection of the former daemon");
        let second = echoing(&host, to);
        let relay = |own: &Own| {
            let all = own.daemon().processes();
            let found: Vec<_> = all.into_iter().filter(|process| process.command.contains("shim relay")).collect();
            assert!(found.len() < 2, "there is one at most");
            found.into_iter().next()
        };
        let dead = relay(&own).expect("it carries");
        dead.kill();
        wait_for("another comes", Duration::from_secs(10), || relay(&own).is_some_and(|relay| relay.pid != dead.pid));
        assert!(!still_echoes(&first) && !still_echoes(&second));
        let third = echoing(&host, to);
        // Both die, the daemon first.
        own.daemon_mut().kill9();
        relay(&own).expect("it goes on").kill();
        host.run(|| own.daemon_mut().launch()).expect("it comes again");
        assert!(!still_echoes(&third));
        let fourth = echoing(&host, to);
        own.cmd(&["rm", "-f", "echo"]).ok();
        assert!(!still_echoes(&fourth));
        assert!(host.is_shut_out(Ipv6Addr::LOCALHOST, 8080));
        host.run(|| own.retire());
    }
}

/// A connection to a container that says everything again; waits until it does.
#[track_caller]
fn echoing(host: &Host, to: SocketAddr) -> TcpStream {
    let mut found = None;
    wait_for("it echoes", Duration::from_secs(10), || {
        let stream = host.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)));
        found = stream.ok().filter(still_echoes);
        found.is_some()
    });
    found.expect("it echoes")
}

/// Whether a connection still says everything again.
fn still_echoes(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    let mut stream = stream;
    let mut byte = [0];
    stream.write_all(b"x").and_then(|()| stream.read_exact(&mut byte)).is_ok() && byte == *b"x"
}
