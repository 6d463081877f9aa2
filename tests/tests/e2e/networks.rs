//! Networks that users make: their addresses, who is in them, and who reaches whom.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Case, IMAGE, clients, wait_for};

/// Serves a text at port 80 of a container in a network; returns once it answers to itself.
#[track_caller]
fn serve(case: &Case, name: &str, args: &[&str], text: &str) {
    let script = format!("mkdir /www; echo {text} > /www/index.html; httpd -f -p 80 -h /www");
    let mut words = vec!["run", "-d", "--name", name];
    words.extend(args);
    words.extend([IMAGE, "sh", "-c", &script]);
    case.cmd(&words).ok();
    wait_for("the page is served", Duration::from_secs(20), || {
        fetch(case, name, "127.0.0.1") == format!("{text}\n")
    });
}

/// What a container gets from a web server, or nothing.
fn fetch(case: &Case, from: &str, host: &str) -> String {
    case.cmd(&["exec", from, "timeout", "3", "wget", "-q", "-O", "-", &format!("http://{host}/")])
        .stdout
}

#[track_caller]
fn network(case: &Case, name: &str) -> Value {
    let answer = case.api("GET", &format!("/networks/{name}"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// A subnet of 256 addresses that no other test of this process uses: three numbers of it.
fn subnet(case: &Case) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(8) + COUNTER.fetch_add(1, Ordering::Relaxed);
    let side = u32::from(case.client() == tests::Client::Corten);
    format!("10.{}.{}", 128 + (number >> 8) % 100, (number & 0xfe) | side)
}

clients! {
    fn a_network_is_made_listed_shown_and_removed(case) {
        let name = case.name("net");
        let id = case.cmd(&["network", "create", "--label", "a=b", &name]).ok().text().to_owned();
        assert_eq!(id.len(), 64, "{id}");
        let about = network(case, &name);
        assert_eq!(about["Id"], json!(id));
        assert_eq!(about["Driver"], "bridge");
        assert_eq!(about["Scope"], "local");
        assert_eq!(about["Labels"], json!({"a": "b"}));
        assert_eq!(about["EnableIPv4"], true);
        assert_eq!(about["EnableIPv6"], false);
        let config = &about["IPAM"]["Config"][0];
        let subnet = config["Subnet"].as_str().expect("a subnet");
        let gateway = config["Gateway"].as_str().expect("a gateway");
        assert!(gateway.ends_with(".1"), "{subnet} {gateway}");
        let listed = ["network", "ls", "--filter", &format!("name={name}"), "--format", "{{.Name}} {{.Driver}} {{.Scope}}"];
        case.cmd(&listed).ok().prints(&format!("{name} bridge local"));
        case.cmd(&["network", "create", &name]).exits(1)
            .complains(&format!("network with name {name} already exists"));
        case.cmd(&["network", "rm", &name]).ok().prints(&name);
        case.cmd(&["network", "inspect", &name]).exits(1).complains("not found");
        case.cmd(&["network", "rm", &name]).exits(1).complains("not found");
    }

    fn names_are_looked_up_in_user_networks_only(case) {
        let net = case.name("net");
        let (server, client, apart) = (case.name("server"), case.name("client"), case.name("apart"));
        case.cmd(&["network", "create", &net]).ok();
        serve(case, &server, &["--network", &net, "--network-alias", "web"], "named");
        case.cmd(&["run", "-d", "--name", &client, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        case.sleeper(&apart);
        let id = case.inspect(&server)["Id"].as_str().expect("an id")[..12].to_owned();
        for name in [server.as_str(), "web", id.as_str(), "WEB"] {
            assert_eq!(fetch(case, &client, name), "named\n", "{name}");
        }
        case.cmd(&["exec", &client, "cat", "/etc/resolv.conf"]).ok().shows("nameserver 127.0.0.11");
        assert_eq!(fetch(case, &apart, &server), "");
        let address = case.inspect(&server)["NetworkSettings"]["Networks"][&net]["IPAddress"].clone();
        let address = address.as_str().expect("an address");
        assert_eq!(fetch(case, &client, address), "named\n");
        assert_eq!(fetch(case, &apart, address), "", "networks are apart");
        // A container is found by its name from itself, and by its address.
        assert_eq!(fetch(case, &server, &server), "named\n");
        let back = case.cmd(&["exec", &client, "nslookup", address]).stdout;
        assert!(back.contains(&format!("{server}.{net}")), "{back}");
    }

    fn names_follow_renames_and_ends(case) {
        let net = case.name("net");
        let (server, renamed, client) = (case.name("server"), case.name("renamed"), case.name("client"));
        case.cmd(&["network", "create", &net]).ok();
        serve(case, &server, &["--network", &net], "one");
        case.cmd(&["run", "-d", "--name", &client, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        case.cmd(&["rename", &server, &renamed]).ok();
        assert_eq!(fetch(case, &client, &renamed), "one\n");
        assert_eq!(fetch(case, &client, &server), "");
        case.cmd(&["stop", "-t", "0", &renamed]).ok();
        assert_eq!(fetch(case, &client, &renamed), "");
        case.cmd(&["start", &renamed]).ok();
        wait_for("it is served again", Duration::from_secs(20), || {
            fetch(case, &client, &renamed) == "one\n"
        });
    }

    fn an_alias_of_several_containers_leads_to_all(case) {
        let net = case.name("net");
        let (one, two, client) = (case.name("one"), case.name("two"), case.name("client"));
        case.cmd(&["network", "create", &net]).ok();
        serve(case, &one, &["--network", &net, "--network-alias", "pool"], "one");
        serve(case, &two, &["--network", &net, "--network-alias", "pool"], "two");
        case.cmd(&["run", "-d", "--name", &client, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        let answer = case.cmd(&["exec", &client, "nslookup", "pool"]).stdout;
        for name in [&one, &two] {
            let address = case.inspect(name)["NetworkSettings"]["Networks"][&net]["IPAddress"].clone();
            assert!(answer.contains(address.as_str().expect("an address")), "{answer}");
        }
    }

    fn a_running_container_enters_and_leaves_networks(case) {
        let (first, second) = (case.name("first"), case.name("second"));
        let (server, client) = (case.name("server"), case.name("client"));
        case.cmd(&["network", "create", &first]).ok();
        case.cmd(&["network", "create", &second]).ok();
        serve(case, &server, &["--network", &first], "entered");
        case.cmd(&["run", "-d", "--name", &client, "--network", &second, IMAGE, "sleep", "1000"]).ok();
        assert_eq!(fetch(case, &client, &server), "");
        case.cmd(&["network", "connect", "--alias", "guest", &second, &server]).ok();
        assert_eq!(fetch(case, &client, &server), "entered\n");
        assert_eq!(fetch(case, &client, "guest"), "entered\n");
        case.cmd(&["exec", &server, "ls", "/sys/class/net"]).ok().shows("eth0").shows("eth1");
        let networks = case.inspect(&server)["NetworkSettings"]["Networks"].clone();
        assert!(networks[&first].is_object() && networks[&second].is_object(), "{networks}");
        let members = network(case, &second)["Containers"].clone();
        assert_eq!(members.as_object().map(serde_json::Map::len), Some(2), "{members}");
        case.cmd(&["network", "connect", &second, &server]).exits(1)
            .complains(&format!("endpoint with name {server} already exists in network {second}"));
        case.cmd(&["network", "disconnect", &second, &server]).ok();
        assert_eq!(fetch(case, &client, &server), "");
        case.cmd(&["exec", &server, "test", "-e", "/sys/class/net/eth1"]).exits(1);
        case.cmd(&["network", "disconnect", &second, &server]).exits(1)
            .complains(&format!("is not connected to network {second}"));
        case.cmd(&["network", "rm", &second]).exits(1).complains("has active endpoints");
    }

    fn a_start_without_its_network_fails_and_keeps_the_exit_code(case) {
        let (net, ran, fresh) = (case.name("net"), case.name("ran"), case.name("fresh"));
        case.cmd(&["network", "create", &net]).ok();
        case.cmd(&["run", "--name", &ran, "--network", &net, IMAGE, "sh", "-c", "exit 3"]).exits(3);
        case.cmd(&["create", "--name", &fresh, "--network", &net, IMAGE, "true"]).ok();
        case.cmd(&["network", "rm", &net]).ok();
        for (name, code) in [(&ran, 3), (&fresh, 128)] {
            case.cmd(&["start", name]).exits(1).complains("not found");
            let state = case.inspect(name)["State"].clone();
            assert_eq!(state["ExitCode"], code, "{state}");
            assert!(state["Error"].as_str().is_some_and(|text| text.contains("not found")), "{state}");
        }
    }

    fn a_stopped_container_enters_networks_for_its_next_start(case) {
        let (net, name) = (case.name("net"), case.name("later"));
        case.cmd(&["network", "create", &net]).ok();
        case.cmd(&["create", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        case.cmd(&["network", "connect", &net, &name]).ok();
        case.cmd(&["network", "disconnect", "bridge", &name]).ok();
        case.cmd(&["start", &name]).ok();
        let networks = case.inspect(&name)["NetworkSettings"]["Networks"].clone();
        assert_eq!(networks.as_object().map(serde_json::Map::len), Some(1), "{networks}");
        assert_ne!(networks[&net]["IPAddress"], "");
        let mac = networks[&net]["MacAddress"].as_str().expect("an address").to_owned();
        case.cmd(&["exec", &name, "cat", "/sys/class/net/eth0/address"]).ok().prints(&mac);
    }

    fn addresses_are_given_as_asked(case) {
        let (net, name) = (case.name("net"), case.name("fixed"));
        let base = subnet(case);
        let create = [
            "network", "create", "--subnet", &format!("{base}.0/24"), "--gateway", &format!("{base}.254"),
            "--ip-range", &format!("{base}.64/26"), "--aux-address", &format!("printer={base}.64"), &net,
        ];
        case.cmd(&create).ok();
        let address = format!("{base}.9");
        let run = [
            "run", "-d", "--name", &name, "--network", &net, "--ip", &address, "--mac-address",
            "02:11:22:33:44:55", IMAGE, "sleep", "1000",
        ];
        case.cmd(&run).ok();
        let about = case.inspect(&name)["NetworkSettings"]["Networks"][&net].clone();
        assert_eq!(about["IPAddress"], json!(address));
        assert_eq!(about["MacAddress"], "02:11:22:33:44:55");
        assert_eq!(about["Gateway"], json!(format!("{base}.254")));
        case.cmd(&["exec", &name, "ip", "route"]).ok().shows(&format!("default via {base}.254"));
        // The next one comes from the range, whose first address is somebody else's.
        let free = case.name("free");
        case.cmd(&["run", "-d", "--name", &free, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        let about = case.inspect(&free)["NetworkSettings"]["Networks"][&net].clone();
        assert_eq!(about["IPAddress"], json!(format!("{base}.65")));
        let taken = ["run", "--rm", "--network", &net, "--ip", &address, IMAGE, "true"];
        case.cmd(&taken).exits(125).complains("Address already in use");
        // It keeps its address when it comes back.
        case.cmd(&["restart", "-t", "0", &name]).ok();
        let about = case.inspect(&name)["NetworkSettings"]["Networks"][&net].clone();
        assert_eq!(about["IPAddress"], json!(address));
    }

    fn an_internal_network_leads_nowhere(case) {
        let (net, name, other) = (case.name("net"), case.name("inside"), case.name("server"));
        case.cmd(&["network", "create", "--internal", &net]).ok();
        assert_eq!(network(case, &net)["Internal"], true);
        serve(case, &other, &["--network", &net], "inner");
        case.cmd(&["run", "-d", "--name", &name, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        assert_eq!(fetch(case, &name, &other), "inner\n");
        let routes = case.cmd(&["exec", &name, "ip", "route"]).ok().stdout;
        assert!(!routes.contains("default"), "{routes}");
        let neighbour = tests::Neighbour::of(case);
        let page = neighbour.page(neighbour.address, 8123);
        let out = format!("{}:8123", neighbour.address);
        let free = case.name("free");
        case.sleeper(&free);
        assert_eq!(fetch(case, &free, &out), "outside\n");
        assert_eq!(fetch(case, &name, &out), "");
        // Even with a route of its own making.
        let gateway = network(case, &net)["IPAM"]["Config"][0]["Gateway"].clone();
        let gateway = gateway.as_str().unwrap_or_default();
        if !gateway.is_empty() {
            let route = ["ip", "route", "add", "default", "via", gateway];
            let pid = case.inspect(&name)["State"]["Pid"].as_i64().expect("a process");
            tests::Host::of_process(i32::try_from(pid).expect("a process id")).succeeds(&route);
            assert_eq!(fetch(case, &name, &out), "");
        }
        drop(page);
    }

    fn version_6_is_given_where_it_is_asked_for(case) {
        let (net, plain) = (case.name("six"), case.name("four"));
        let (server, client, four) = (case.name("server"), case.name("client"), case.name("only4"));
        case.cmd(&["network", "create", "--ipv6", &net]).ok();
        case.cmd(&["network", "create", &plain]).ok();
        let about = network(case, &net);
        assert_eq!(about["EnableIPv6"], true);
        let configs = about["IPAM"]["Config"].as_array().expect("subnets").clone();
        assert!(configs.iter().any(|c| c["Subnet"].as_str().is_some_and(|s| s.starts_with("fd"))), "{configs:?}");
        let script = "mkdir /www; echo six > /www/index.html; httpd -f -p [::]:80 -h /www";
        case.cmd(&["run", "-d", "--name", &server, "--network", &net, IMAGE, "sh", "-c", script]).ok();
        case.cmd(&["run", "-d", "--name", &client, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        let six = case.inspect(&server)["NetworkSettings"]["Networks"][&net]["GlobalIPv6Address"].clone();
        let six = six.as_str().expect("an address").to_owned();
        wait_for("the page is served", Duration::from_secs(20), || {
            fetch(case, &client, &format!("[{six}]")) == "six\n"
        });
        let answer = case.cmd(&["exec", &client, "nslookup", "-type=aaaa", &server]).stdout;
        assert!(answer.contains(&six), "{answer}");
        case.cmd(&["run", "-d", "--name", &four, "--network", &plain, IMAGE, "sleep", "1000"]).ok();
        let addresses = case.cmd(&["exec", &four, "ip", "-6", "addr", "show", "eth0"]).stdout;
        assert!(!addresses.contains("inet6"), "{addresses}");
    }

    fn a_network_of_another_container_is_joined(case) {
        let (net, server) = (case.name("net"), case.name("server"));
        case.cmd(&["network", "create", &net]).ok();
        serve(case, &server, &["--network", &net], "shared");
        let mode = format!("container:{server}");
        let args = ["run", "--rm", "--network", &mode, IMAGE, "wget", "-q", "-O", "-", "http://127.0.0.1/"];
        case.cmd(&args).ok().prints("shared");
        let names = ["run", "--rm", "--network", &mode, IMAGE, "wget", "-q", "-O", "-", &format!("http://{server}/")];
        case.cmd(&names).ok().prints("shared");
        let both = ["run", "--rm", "--network", &mode, "-p", "18080:80", IMAGE, "true"];
        case.cmd(&both).exits(125).complains("conflicting options");
    }

    fn unused_networks_are_pruned(case) {
        let (used, unused) = (case.name("used"), case.name("unused"));
        let label = format!("prune={}", case.name("x"));
        for name in [&used, &unused] {
            case.cmd(&["network", "create", "--label", &label, name]).ok();
        }
        case.cmd(&["run", "-d", "--name", &case.name("user"), "--network", &used, IMAGE, "sleep", "1000"]).ok();
        let filter = format!("label={label}");
        let output = case.cmd(&["network", "prune", "-f", "--filter", &filter]).ok();
        assert_eq!(output.stdout, format!("Deleted Networks:\n{unused}\n\n"));
        case.cmd(&["network", "inspect", &used]).ok();
        case.cmd(&["network", "inspect", &unused]).exits(1);
    }

    fn containers_of_one_network_may_be_kept_apart(case) {
        let (net, server, client) = (case.name("net"), case.name("server"), case.name("client"));
        let option = "com.docker.network.bridge.enable_icc=false";
        case.cmd(&["network", "create", "-o", option, &net]).ok();
        serve(case, &server, &["--network", &net], "apart");
        case.cmd(&["run", "-d", "--name", &client, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        assert_eq!(fetch(case, &client, &server), "");
    }

    fn a_link_gives_names_and_variables(case) {
        let (server, client) = (case.name("server"), case.name("client"));
        serve(case, &server, &["--expose", "80", "-e", "COLOUR=red"], "linked");
        let link = format!("{server}:db");
        case.cmd(&["run", "-d", "--name", &client, "--link", &link, IMAGE, "sleep", "1000"]).ok();
        assert_eq!(fetch(case, &client, "db"), "linked\n");
        assert_eq!(fetch(case, &client, &server), "linked\n");
        let address = case.inspect(&server)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
        let address = address.as_str().expect("an address");
        let env = case.cmd(&["exec", &client, "env"]).ok();
        let env = env.shows(&format!("DB_PORT=tcp://{address}:80"));
        let env = env.shows(&format!("DB_PORT_80_TCP=tcp://{address}:80"));
        let env = env.shows(&format!("DB_PORT_80_TCP_ADDR={address}"));
        let env = env.shows("DB_PORT_80_TCP_PORT=80").shows("DB_PORT_80_TCP_PROTO=tcp");
        env.shows(&format!("DB_NAME=/{client}/db")).shows("DB_ENV_COLOUR=red");
        case.cmd(&["inspect", "-f", "{{.HostConfig.Links}}", &client]).ok()
            .prints(&format!("[/{server}:/{client}/db]"));
        let gone = ["run", "--rm", "--link", &format!("{}:x", case.name("nobody")), IMAGE, "true"];
        case.cmd(&gone).exits(125).complains("could not get container for");
    }

    fn a_container_answers_to_what_its_callers_call_it(case) {
        let (server, client) = (case.name("server"), case.name("client"));
        case.sleeper(&server);
        let link = format!("{server}:db");
        case.cmd(&["run", "-d", "--name", &client, "--link", &link, IMAGE, "sleep", "1000"]).ok();
        let (path, slash) = (format!("{client}/db"), format!("/{client}/db"));
        for path in [&path, &slash] {
            case.cmd(&["inspect", "-f", "{{.Name}}", path]).ok().prints(&format!("/{server}"));
        }
        case.cmd(&["inspect", &format!("{client}/nobody")]).exits(1);
        case.cmd(&["exec", &path, "hostname"]).ok();
        case.cmd(&["logs", &path]).ok();
        case.cmd(&["top", &path]).ok().shows("sleep 1000");
        case.cmd(&["stop", "-t", "0", &path]).ok();
        case.cmd(&["start", &path]).ok().prints(&path);
        assert_eq!(case.inspect(&server)["State"]["Running"], true);
        // Names as inspect shows them, with a slash in front.
        let shown = format!("/{server}");
        assert_eq!(case.cmd(&["exec", &shown, "echo", "inside"]).ok().stdout, "inside\n");
        case.cmd(&["logs", &shown]).ok();
        case.cmd(&["stop", "-t", "0", &shown]).ok();
        assert_eq!(case.inspect(&server)["State"]["Running"], false);
    }

    fn a_link_in_a_user_network_is_an_alias(case) {
        let (net, server, client) = (case.name("net"), case.name("server"), case.name("client"));
        case.cmd(&["network", "create", &net]).ok();
        serve(case, &server, &["--network", &net], "aliased");
        let link = format!("{server}:db");
        let run = ["run", "-d", "--name", &client, "--network", &net, "--link", &link, IMAGE, "sleep", "1000"];
        case.cmd(&run).ok();
        assert_eq!(fetch(case, &client, "db"), "aliased\n");
    }

    fn the_host_is_known_by_name_where_asked(case) {
        let net = case.name("net");
        case.cmd(&["network", "create", &net]).ok();
        for network in ["bridge", &net] {
            let args = [
                "run", "--rm", "--network", network, "--add-host", "host.docker.internal:host-gateway",
                "--add-host", "other=10.1.2.3", IMAGE, "cat", "/etc/hosts",
            ];
            let output = case.cmd(&args).ok().shows(&format!("{}\thost.docker.internal", case.gateway()));
            output.shows("10.1.2.3\tother");
        }
    }

    fn events_tell_of_networks(case) {
        let (net, name) = (case.name("net"), case.name("member"));
        let begun = case.cmd(&["network", "create", &net]).ok().text().to_owned();
        case.cmd(&["run", "-d", "--name", &name, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        case.cmd(&["rm", "-f", &name]).ok();
        case.cmd(&["network", "rm", &net]).ok();
        let filter = format!("network={begun}");
        let args = [
            "events", "--since", "10m", "--until", "0s", "--filter", &filter, "--filter", "type=network",
            "--format", "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}",
        ];
        let expected = ["create", "connect", "disconnect", "destroy"].map(|a| format!("{a} {net} bridge")).join("\n");
        // The engine tells of an end some moments after it has answered.
        wait_for("all are told", Duration::from_secs(10), || {
            case.cmd(&args).ok().text() == expected
        });
    }

    fn the_gateway_is_that_of_the_network_with_priority(case) {
        let (a, b, name) = (case.name("a"), case.name("b"), case.name("two"));
        case.cmd(&["network", "create", &a]).ok();
        case.cmd(&["network", "create", &b]).ok();
        let wish = format!("name={b},gw-priority=1");
        let run = ["run", "-d", "--name", &name, "--network", &a, "--network", &wish, IMAGE, "sleep", "1000"];
        case.cmd(&run).ok();
        let gateway = network(case, &b)["IPAM"]["Config"][0]["Gateway"].clone();
        let route = format!("default via {}", gateway.as_str().expect("a gateway"));
        case.cmd(&["exec", &name, "ip", "route"]).ok().shows(&route);
        assert_eq!(case.inspect(&name)["NetworkSettings"]["Networks"][&b]["GwPriority"], 1);
        // Without it the other one leads out.
        case.cmd(&["network", "disconnect", &b, &name]).ok();
        let gateway = network(case, &a)["IPAM"]["Config"][0]["Gateway"].clone();
        let route = format!("default via {}", gateway.as_str().expect("a gateway"));
        case.cmd(&["exec", &name, "ip", "route"]).ok().shows(&route);
    }

    fn settings_of_an_interface_are_made(case) {
        let (net, name) = (case.name("net"), case.name("tuned"));
        case.cmd(&["network", "create", "-o", "com.docker.network.driver.mtu=1400", &net]).ok();
        let wish = format!(
            "name={net},\"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1\""
        );
        case.cmd(&["run", "-d", "--name", &name, "--network", &wish, IMAGE, "sleep", "1000"]).ok();
        case.cmd(&["exec", &name, "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians"]).ok().prints("1");
        case.cmd(&["exec", &name, "cat", "/sys/class/net/eth0/mtu"]).ok().prints("1400");
    }

    fn macvlan_puts_a_container_on_the_host_s_cable(case) {
        let neighbour = tests::Neighbour::of(case);
        let (net, name) = (case.name("mac"), case.name("on-cable"));
        let base = subnet(case);
        let parent = format!("parent={}", neighbour.link());
        let create = [
            "network", "create", "-d", "macvlan", "--subnet", &format!("{base}.0/24"), "-o", &parent, &net,
        ];
        case.cmd(&create).ok();
        neighbour.sh(&["ip", "addr", "add", &format!("{base}.200/24"), "dev", "eth0"]);
        case.cmd(&["run", "-d", "--name", &name, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        case.cmd(&["exec", &name, "ping", "-c", "1", "-W", "5", &format!("{base}.200")]).ok();
        case.cmd(&["exec", &name, "cat", "/sys/class/net/eth0/mtu"]).ok().prints("1500");
        case.cmd(&["rm", "-f", &name]).ok();
        case.cmd(&["network", "rm", &net]).ok();
        let unknown = ["network", "create", "-d", "macvlan", "-o", "parent=nosuchlink0", &net];
        case.cmd(&unknown).exits(1);
        let mode = ["network", "create", "-d", "macvlan", "-o", "macvlan_mode=sideways", &net];
        case.cmd(&mode).exits(1).complains("sideways");
    }
}
