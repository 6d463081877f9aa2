//! The host's own firewall and ours: each in a network namespace of the test's own.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use tests::{Client, Host, IMAGE, Neighbour, Own, clients, target, wait_for};

const PORT: u16 = 8080;

/// A daemon on a host of its own, and another host beside it.
struct Scene {
    own: Own,
    neighbour: Neighbour,
}

impl Scene {
    fn new(client: Client, flags: &[&str]) -> Option<Self> {
        if target::reference_socket().is_some() {
            return None;
        }
        let host = Host::new();
        let own = host.run(|| {
            Own::start(client, flags).map(|mut own| {
                own.warm_up();
                own
            })
        })?;
        let neighbour = Neighbour::beside(host);
        Some(Self { own, neighbour })
    }

    #[track_caller]
    fn serve(&self, name: &str, args: &[&str]) {
        let mut words = vec!["run", "-d", "--name", name];
        words.extend(args);
        let script = "mkdir -p /www; echo served > /www/index.html; httpd -f -p 80 -h /www";
        words.extend([IMAGE, "sh", "-c", script]);
        self.own.cmd(&words).ok();
        wait_for("the page is served", Duration::from_secs(20), || {
            self.fetch(name, "127.0.0.1") == "served\n"
        });
    }

    fn fetch(&self, from: &str, host: &str) -> String {
        let url = format!("http://{host}/");
        self.own.cmd(&["exec", from, "timeout", "3", "wget", "-q", "-O", "-", &url]).stdout
    }

    fn open(&self) -> bool {
        self.neighbour.fetches(self.neighbour.engine_address, PORT) == "served\n"
    }

    fn shut(&self) -> bool {
        self.neighbour.is_shut_out(self.neighbour.engine_address, PORT)
    }

    fn nft(&self, rule: &str) {
        let words: Vec<&str> = std::iter::once("nft").chain(rule.split(' ')).collect();
        self.neighbour.engine().sh(&words);
    }

    #[track_caller]
    fn inspect(&self, name: &str) -> Value {
        self.own.api("GET", &format!("/containers/{name}/json"), None).json()
    }

    /// Removes everything and audits, as seen from the daemon's own host.
    fn retire(self) {
        let list = self.own.cmd(&["ps", "-aq"]).stdout;
        for id in list.split_whitespace() {
            self.own.cmd(&["rm", "-f", id]).ok();
        }
        let Self { own, neighbour } = self;
        neighbour.engine().run(move || own.retire());
    }
}

clients! {
    fn input_rules_of_the_host_are_obeyed(case) {
        let Some(scene) = Scene::new(case.client(), &[]) else {
            return;
        };
        scene.serve("web", &["-p", "8080:80"]);
        assert!(scene.open());
        scene.nft("add table inet f");
        scene.nft("add chain inet f input { type filter hook input priority 0 ; }");
        scene.nft("add rule inet f input tcp dport 8080 drop");
        assert!(scene.shut(), "a drop rule shuts the port");
        scene.nft("flush chain inet f input");
        assert!(scene.open());
        let allow = format!("add rule inet f input ip saddr {} tcp dport 8080 reject", scene.neighbour.address);
        scene.nft(&allow);
        assert!(scene.shut(), "a rule about who asks is obeyed");
        scene.nft("delete table inet f");
        assert!(scene.open());
        let engine = scene.neighbour.engine();
        for program in ["iptables-legacy", "iptables-nft"] {
            if !engine.succeeds(&[program, "-P", "INPUT", "DROP"]) {
                continue;
            }
            assert!(scene.shut(), "{program} -P INPUT DROP");
            engine.sh(&[program, "-A", "INPUT", "-p", "tcp", "--dport", "8080", "-j", "ACCEPT"]);
            assert!(scene.open(), "{program} accepts the port");
            engine.sh(&[program, "-F", "INPUT"]);
            engine.sh(&[program, "-P", "INPUT", "ACCEPT"]);
        }
        scene.retire();
    }

    fn dockers_way_around_the_host_s_rules_is_an_option(case) {
        let Some(scene) = Scene::new(case.client(), &["--firewall", "docker"]) else {
            return;
        };
        scene.serve("web", &["-p", "8080:80"]);
        assert!(scene.open());
        scene.nft("add table inet f");
        scene.nft("add chain inet f input { type filter hook input priority 0 ; }");
        scene.nft("add rule inet f input tcp dport 8080 drop");
        assert!(scene.open());
        scene.retire();
    }

    fn forwarding_that_is_dropped_by_default_is_no_hindrance(case) {
        let Some(scene) = Scene::new(case.client(), &[]) else {
            return;
        };
        scene.serve("web", &["-p", "8080:80"]);
        let engine = scene.neighbour.engine();
        let address = scene.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
        let address: Ipv4Addr = address.as_str().expect("an address").parse().expect("an address");
        let page = scene.neighbour.page(scene.neighbour.address, 8123);
        let out = format!("{}:8123", scene.neighbour.address);
        let reaches_out = || scene.fetch("web", &out) == "outside\n";
        assert!(reaches_out());
        for program in ["iptables-nft", "iptables-legacy"] {
            if !engine.succeeds(&[program, "-P", "FORWARD", "DROP"]) {
                continue;
            }
            wait_for("containers reach out", Duration::from_secs(20), reaches_out);
            assert!(scene.open(), "{program}");
            assert!(scene.neighbour.is_shut_out(address, 80), "{program}: what is not published stays shut");
            engine.sh(&[program, "-P", "FORWARD", "ACCEPT"]);
        }
        drop(page);
        scene.retire();
    }

    fn rules_that_are_flushed_come_back(case) {
        let Some(scene) = Scene::new(case.client(), &[]) else {
            return;
        };
        scene.serve("web", &["-p", "8080:80"]);
        scene.serve("shut", &["-p", "127.0.0.1:8081:80"]);
        assert!(scene.open());
        let table = format!("table {}", scene.own.daemon().names().table);
        for round in 0..3 {
            scene.nft("flush ruleset");
            wait_for("the rules are back", Duration::from_secs(10), || {
                scene.neighbour.engine().sh(&["nft", "list", "ruleset"]).contains(&scene.own.daemon().names().table)
            });
            assert!(scene.open(), "round {round}: {table}");
            assert!(scene.neighbour.is_shut_out(scene.neighbour.engine_address, 8081));
        }
        scene.retire();
    }

    fn a_bridge_that_is_taken_down_comes_back(case) {
        let Some(scene) = Scene::new(case.client(), &[]) else {
            return;
        };
        scene.serve("web", &["-p", "8080:80"]);
        let bridge = scene.own.daemon().names().bridge.clone();
        scene.neighbour.engine().sh(&["ip", "link", "set", &bridge, "down"]);
        wait_for("the port is reached", Duration::from_secs(10), || scene.open());
        scene.retire();
    }

    fn ports_and_names_outlive_a_daemon_that_is_killed(case) {
        let Some(mut scene) = Scene::new(case.client(), &[]) else {
            return;
        };
        scene.own.cmd(&["network", "create", "net"]).ok();
        scene.serve("web", &["--network", "net", "-p", "8080:80"]);
        scene.own.cmd(&["run", "-d", "--name", "client", "--network", "net", IMAGE, "sleep", "1000"]).ok();
        let before = scene.inspect("web")["NetworkSettings"].clone();
        let pid = scene.inspect("client")["State"]["Pid"].to_string();
        scene.own.daemon_mut().kill9();
        assert!(scene.open());
        // Without a daemon nobody executes anything, but we can look from where the container is.
        let from = ["nsenter", "-t", &pid, "-n", "-m", "timeout", "5", "wget", "-q", "-O", "-", "http://web/"];
        assert_eq!(scene.neighbour.engine().sh(&from), "served\n");
        let Scene { own, neighbour } = &mut scene;
        neighbour.engine().run(|| own.daemon_mut().launch()).expect("it starts again");
        assert!(scene.open());
        assert_eq!(scene.inspect("web")["NetworkSettings"], before);
        assert_eq!(scene.fetch("client", "web"), "served\n");
        let taken = scene.own.cmd(&["run", "--rm", "-p", "8080:80", IMAGE, "true"]).exits(125);
        taken.complains("port is already allocated");
        scene.own.cmd(&["restart", "-t", "0", "web"]).ok();
        assert!(scene.open());
        scene.own.cmd(&["rm", "-f", "web", "client"]).ok();
        scene.own.cmd(&["network", "rm", "net"]).ok();
        scene.retire();
    }

    fn a_small_network_loses_no_address(case) {
        let Some(scene) = Scene::new(case.client(), &[]) else {
            return;
        };
        scene.own.cmd(&["network", "create", "--subnet", "10.90.0.0/29", "small"]).ok();
        let full = |n: u32| {
            for i in 0..n {
                scene.own.cmd(&["run", "-d", "--name", &format!("c{i}"), "--network", "small", IMAGE, "sleep", "1000"]).ok();
            }
        };
        full(5);
        let more = scene.own.cmd(&["run", "--rm", "--network", "small", IMAGE, "true"]).exits(125);
        more.complains("no available IPv4 addresses on this network's address pools");
        for _ in 0..20 {
            scene.own.cmd(&["rm", "-f", "c0", "c1", "c2", "c3", "c4"]).ok();
            full(5);
        }
        scene.own.cmd(&["rm", "-f", "c0", "c1", "c2", "c3", "c4"]).ok();
        scene.own.cmd(&["network", "rm", "small"]).ok();
        scene.retire();
    }

    fn subnets_are_found_for_three_hundred_networks(case) {
        let Some(scene) = Scene::new(case.client(), &["--default-address-pool", "base=10.91.0.0/16,size=24"]) else {
            return;
        };
        // A route of a VPN that comes later is avoided.
        scene.neighbour.engine().sh(&["ip", "link", "add", "vpn", "type", "bridge"]);
        scene.neighbour.engine().sh(&["ip", "link", "set", "vpn", "up"]);
        scene.neighbour.engine().sh(&["ip", "route", "add", "10.91.4.0/22", "dev", "vpn"]);
        let mut subnets = std::collections::BTreeSet::new();
        for i in 0..60 {
            let body = serde_json::json!({"Name": format!("n{i}")});
            let answer = scene.own.api("POST", "/networks/create", Some(&body));
            assert_eq!(answer.status, 201, "{}", answer.text());
            let about = scene.own.api("GET", &format!("/networks/n{i}"), None).json();
            let subnet = about["IPAM"]["Config"][0]["Subnet"].as_str().expect("a subnet").to_owned();
            for part in 4..8 {
                assert_ne!(subnet, format!("10.91.{part}.0/24"));
            }
            assert!(subnets.insert(subnet), "twice");
        }
        scene.own.cmd(&["network", "prune", "-f"]).ok();
        scene.retire();
    }

    fn links_open_what_icc_closes(case) {
        let Some(scene) = Scene::new(case.client(), &["--icc=false"]) else {
            return;
        };
        scene.serve("web", &["--expose", "80"]);
        scene.own.cmd(&["run", "-d", "--name", "stranger", IMAGE, "sleep", "1000"]).ok();
        scene.own.cmd(&["run", "-d", "--name", "friend", "--link", "web:db", IMAGE, "sleep", "1000"]).ok();
        let address = scene.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
        let address = address.as_str().expect("an address");
        assert_eq!(scene.fetch("stranger", address), "");
        assert_eq!(scene.fetch("friend", "db"), "served\n");
        scene.own.cmd(&["exec", "-d", "web", "httpd", "-f", "-p", "81", "-h", "/www"]).ok();
        let other = format!("{address}:81");
        wait_for("the other page is served", Duration::from_secs(10), || {
            scene.fetch("web", "127.0.0.1:81") == "served\n"
        });
        assert_eq!(scene.fetch("friend", &other), "", "only what is exposed is opened");
        scene.own.cmd(&["restart", "-t", "0", "web"]).ok();
        wait_for("the link follows", Duration::from_secs(10), || scene.fetch("friend", "db") == "served\n");
        // What it opened goes with it.
        let address = scene.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
        let address = address.as_str().expect("an address");
        assert_eq!(scene.fetch("friend", address), "served\n");
        scene.own.cmd(&["rm", "--link", "friend/db"]).ok();
        assert_eq!(scene.fetch("friend", address), "");
        scene.retire();
    }

    fn rules_of_others_are_left_alone(case) {
        let host = Host::new();
        host.sh(&["iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT"]);
        host.sh(&["iptables-nft", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP"]);
        host.sh(&["nft", "add", "table", "inet", "mine"]);
        host.sh(&["nft", "add", "chain", "inet", "mine", "c", "{ type filter hook forward priority 5 ; }"]);
        let foreign = |host: &Host| {
            [["ip", "filter"], ["inet", "mine"]].map(|[family, name]| host.sh(&["nft", "list", "table", family, name]))
        };
        let before = foreign(&host);
        let Some(own) = host.run(|| Own::start(case.client(), &[]).map(|mut own| {
            own.warm_up();
            own
        })) else {
            return;
        };
        own.cmd(&["run", "-d", "--name", "web", "-p", "8080:80", IMAGE, "sleep", "1000"]).ok();
        assert_eq!(foreign(&host), before);
        own.cmd(&["rm", "-f", "web"]).ok();
        host.run(|| own.retire());
        assert_eq!(foreign(&host), before);
    }

    fn a_daemon_that_is_killed_while_it_connects_loses_nothing(case) {
        let Some(mut scene) = Scene::new(case.client(), &[]) else {
            return;
        };
        scene.own.cmd(&["network", "create", "--subnet", "10.92.0.0/28", "net"]).ok();
        scene.own.cmd(&["network", "create", "other"]).ok();
        scene.own.cmd(&["run", "-d", "--name", "stays", "--network", "net", IMAGE, "sleep", "1000"]).ok();
        for round in 0..12_u64 {
            let name = format!("c{round}");
            let mut start = scene.own.spawn(&["run", "-d", "--name", &name, "--network", "net", "-p", "8080:80", IMAGE, "sleep", "1000"]);
            let mut connect = scene.own.spawn(&["network", "connect", "other", "stays"]);
            // Not a wait for something: the kill is to come at every moment of what goes on.
            std::thread::sleep(Duration::from_millis(round * 7));
            scene.own.daemon_mut().kill9();
            start.close_stdin();
            connect.close_stdin();
            drop((start.finish(), connect.finish()));
            let Scene { own, neighbour } = &mut scene;
            neighbour.engine().run(|| own.daemon_mut().launch()).expect("it starts again");
            scene.own.cmd(&["network", "disconnect", "-f", "other", "stays"]);
            scene.own.cmd(&["rm", "-f", &name]);
        }
        // 13 addresses: all but those of the network, the gateway and the broadcast.
        for number in 0..12 {
            let name = format!("d{number}");
            scene.own.cmd(&["run", "-d", "--name", &name, "--network", "net", IMAGE, "sleep", "1000"]).ok();
        }
        let run = ["run", "-d", "--name", "port", "-p", "8080:80", IMAGE, "sleep", "1000"];
        scene.own.cmd(&run).ok();
        for name in scene.own.cmd(&["ps", "-aq"]).stdout.split_whitespace() {
            scene.own.cmd(&["rm", "-f", name]).ok();
        }
        scene.own.cmd(&["network", "rm", "net", "other"]).ok();
        scene.retire();
    }
}
