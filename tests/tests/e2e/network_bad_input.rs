//! Bad input about networks: Docker's texts and codes, nothing made, nothing left.

use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};
use tests::http::{Connection, Response};
use tests::{Case, IMAGE, api, clients};

const OVERLAP: &str = "invalid pool request: Pool overlaps with other one on this address space";
const IN_USE: &str = "failed to set up container networking: Address already in use";

/// A subnet of 254 hosts that no other test uses: its first three numbers.
fn subnet() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let second = 64 + std::process::id() % 128;
    format!("10.{second}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes a network with these options and returns its name.
fn network(case: &Case, suffix: &str, options: &[&str]) -> String {
    let name = case.name(suffix);
    let args = [&["network", "create"], options, &[name.as_str()]].concat();
    case.cmd(&args).ok();
    name
}

/// Makes a network of a subnet of its own; returns its name and the subnet's first three numbers.
fn with_subnet(case: &Case, suffix: &str) -> (String, String) {
    let net = subnet();
    let name = network(case, suffix, &["--subnet", &format!("{net}.0/24")]);
    (name, net)
}

/// Asserts that a network cannot be made so, and that it was not.
fn refuses(case: &Case, options: &[&str], why: &str) {
    let name = case.name("refused");
    let args = [&["network", "create"], options, &[name.as_str()]].concat();
    case.cmd(&args).exits(1).complains(why);
    case.cmd(&["network", "ls", "--format", "{{.Name}}"]).ok().hides(&name);
}

/// Asserts that a container with these options cannot run.
fn run_refuses(case: &Case, options: &[&str], why: &str) {
    let args = [&["run", "--rm"], options, &[IMAGE, "true"]].concat();
    case.cmd(&args).exits(125).complains(why);
}

/// Sends a body as it is.
fn post(case: &Case, path: &str, body: &str) -> Response {
    let mut connection = Connection::open(case.target().socket()).expect("it listens");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(head.as_bytes()).expect("it reads");
    connection.answer("POST").expect("an answer")
}

clients! {
    fn overlapping_subnets_are_refused(case) {
        let (_, net) = with_subnet(case, "a");
        for other in ["0/24", "0/16", "128/25", "7/32"] {
            let other = match other {
                "0/16" => format!("{}.0.0/16", net.rsplit_once('.').expect("three numbers").0),
                other => format!("{net}.{other}"),
            };
            refuses(case, &["--subnet", &other], OVERLAP);
        }
    }

    fn subnets_that_make_no_sense_are_refused(case) {
        let net = subnet();
        let whole = format!("{net}.0/24");
        let invalid = |what: &str| format!("invalid network config:\n{what}");
        for (options, why) in [
            (&["--subnet", "x"][..], invalid("invalid subnet x: invalid CIDR block notation")),
            (
                &["--subnet", &format!("{net}.7/24")],
                invalid(&format!("invalid subnet {net}.7/24: it should be {whole}")),
            ),
            (
                &["--subnet", &whole, "--ip-range", &format!("{net}.9/25")],
                invalid(&format!("invalid ip-range {net}.9/25: it should be {net}.0/25")),
            ),
            (
                &["--subnet", &format!("{net}.0/25"), "--subnet", &format!("{net}.128/25")],
                "bridge driver doesn't support multiple subnets".to_owned(),
            ),
            (
                &["--subnet", &whole, "--gateway", &format!("{net}.255")],
                format!("failed to allocate gateway ({net}.255): Address already in use"),
            ),
            (
                &["--subnet", &whole, "--aux-address", &format!("a={net}.1")],
                format!("failed to allocate secondary ip address (a:{net}.1): Address already in use"),
            ),
            (&["--gateway", "1.2.3.4"], "every ip-range or gateway must have a corresponding subnet".to_owned()),
            (
                &["--subnet", &whole, "--gateway", "1.2.3.4"],
                "no matching subnet for gateway 1.2.3.4".to_owned(),
            ),
            (&["--ipv4=false"], "IPv4 or IPv6 must be enabled".to_owned()),
        ] {
            refuses(case, options, &why);
        }
    }

    fn an_exhausted_pool_is_told(case) {
        let net = subnet();
        let network = network(case, "a", &["--subnet", &format!("{net}.0/30")]);
        let (first, second) = (case.name("first"), case.name("second"));
        case.cmd(&["run", "-d", "--name", &first, "--network", &network, IMAGE, "sleep", "1000"]).ok();
        let why = format!(
            "failed to set up container networking: no available IPv4 addresses on this network's address pools: {network} ("
        );
        run_refuses(case, &["--network", &network], &why);
        // The address comes back with the container that had it.
        case.cmd(&["rm", "-f", &first]).ok();
        case.cmd(&["run", "--rm", "--name", &second, "--network", &network, IMAGE, "true"]).ok();
    }

    fn addresses_outside_or_in_use_are_refused(case) {
        let (network, net) = with_subnet(case, "a");
        let own = format!("{net}.9");
        let args = ["run", "-d", "--network", &network, "--ip", &own, IMAGE, "sleep", "1000"];
        case.cmd(&args).ok();
        let invalid = |what: &str| {
            format!("invalid config for network {network}: invalid endpoint settings:\n{what}")
        };
        let outside = "no configured subnet or ip-range contain the IP address";
        let unset = "user specified IP address is supported only when connecting to networks with user configured subnets";
        for (options, why) in [
            (["--ip", "1.2.3.4"], invalid(&format!("{outside} 1.2.3.4"))),
            (["--ip", "x"], invalid(&format!("* invalid IPv4 address: x\n* {outside} x"))),
            (["--ip", "::1"], invalid(&format!("* invalid IPv4 address: ::1\n* {outside} ::1"))),
            (["--ip6", "fd00::9"], invalid(unset)),
            (["--ip6", &own], invalid(&format!("* invalid IPv6 address: {own}\n* {unset}"))),
            (["--link-local-ip", "x"], invalid("invalid link-local IP address: x")),
            (["--ip", &own], IN_USE.to_owned()),
            (["--ip", &format!("{net}.1")], IN_USE.to_owned()),
            (["--ip", &format!("{net}.0")], IN_USE.to_owned()),
            (["--ip", &format!("{net}.255")], IN_USE.to_owned()),
        ] {
            let options = [&["--network", &network], &options[..]].concat();
            run_refuses(case, &options, &why);
        }
        // A subnet that was picked for the user has no addresses to wish for.
        let picked = self::network(case, "picked", &[]);
        run_refuses(case, &["--network", &picked, "--ip", "172.31.255.9"], unset);
        run_refuses(case, &["--ip", "172.17.0.9"], "* user specified IP address is supported on user defined networks only");
    }

    fn unknown_networks_are_not_found(case) {
        let (name, nope) = (case.name("c"), case.name("nope"));
        case.sleeper(&name);
        let told = format!("Error response from daemon: network {nope} not found\n");
        for args in [
            &["network", "connect", &nope, &name][..],
            &["network", "disconnect", &nope, &name],
            &["network", "disconnect", "-f", &nope, "nobody"],
            &["network", "rm", &nope],
            &["network", "inspect", &nope],
        ] {
            let output = case.cmd(args).exits(1);
            assert!(output.stderr.starts_with(&told), "{output:?}");
        }
        case.cmd(&["network", "rm", "-f", &nope]).ok().prints("");
        let why = format!("failed to set up container networking: network {nope} not found");
        run_refuses(case, &["--network", &nope], &why);
        // The container may come before its network.
        let created = case.name("created");
        case.cmd(&["create", "--name", &created, "--network", &nope, IMAGE, "true"]).ok();
        case.cmd(&["start", &created]).exits(1).complains(&why);
        case.cmd(&["network", "create", &nope]).ok();
        case.cmd(&["start", "-a", &created]).ok();
    }

    fn a_network_with_containers_stays(case) {
        let (network, _) = with_subnet(case, "n");
        let name = case.name("c");
        case.cmd(&["run", "-d", "--name", &name, "--network", &network, IMAGE, "sleep", "1000"]).ok();
        let endpoint = case.inspect(&name)["NetworkSettings"]["Networks"][&network].clone();
        let short = &endpoint["EndpointID"].as_str().expect("an id")[..12];
        case.cmd(&["network", "rm", &network]).exits(1).complains(&format!(
            "error while removing network: network {network} has active endpoints (name:\"{name}\" id:\"{short}\")\nexit status 1"
        ));
        case.cmd(&["network", "inspect", &network]).ok();
        // One that is stopped has no endpoint.
        case.cmd(&["stop", "-t", "0", &name]).ok();
        case.cmd(&["network", "rm", &network]).ok().prints(&network);
        // It was in that very network, not in one of the name.
        case.cmd(&["network", "create", &network]).ok();
        let id = endpoint["NetworkID"].as_str().expect("an id");
        case.cmd(&["start", &name]).exits(1).complains(&format!("network {id} not found"));
    }

    fn given_networks_stay(case) {
        let told = |name: &str| {
            format!("Error response from daemon: {name} is a pre-defined network and cannot be removed\n")
        };
        let output = case.cmd(&["network", "rm", "bridge", "host", "none"]).exits(1);
        for name in ["bridge", "host", "none"] {
            assert!(output.stderr.contains(&told(name)), "{output:?}");
        }
        assert!(output.stderr.ends_with("exit status 1\n"), "{output:?}");
    }

    fn ports_out_of_range_are_refused(case) {
        for (publish, why) in [
            ("99999:80", "invalid hostPort: 99999"),
            ("80:99999", "invalid containerPort: 99999"),
            ("-1:80", "invalid hostPort: -1"),
            ("80:80/foo", "invalid proto: foo"),
            ("9-8:80", "invalid hostPort: 9-8"),
            ("8000-8001:80-82", "invalid ranges specified for container and host Ports: 80-82 and 8000-8001"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("", "no port specified: <empty>"),
        ] {
            run_refuses(case, &["-p", publish], why);
        }
        // None in particular, as Docker has it.
        let name = case.name("any");
        case.cmd(&["run", "-d", "--name", &name, "-p", "127.0.0.1:0:80", IMAGE, "sleep", "1000"]).ok();
        let port = case.cmd(&["port", &name, "80"]).ok();
        let number = port.text().strip_prefix("127.0.0.1:").and_then(|n| n.parse::<u16>().ok());
        assert!(number.is_some_and(|n| n >= 1024), "{port:?}");
    }

    fn two_of_one_kind_are_refused(case) {
        let (network, _) = with_subnet(case, "n");
        case.cmd(&["network", "create", &network]).exits(1).complains(&format!(
            "Error response from daemon: network with name {network} already exists"
        ));
        run_refuses(
            case,
            &["--network", &network, "--network", &network],
            &format!("network \"{network}\" is specified multiple times"),
        );
        run_refuses(
            case,
            &["--network", &network, "--network", "bridge"],
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        );
        for name in ["bridge", "host", "none", "default"] {
            case.cmd(&["network", "create", name])
                .exits(1)
                .complains(&format!("operation is not permitted on predefined {name} network"));
        }
        refuses(case, &["-d", "host"], "only one instance of \"host\" network is allowed");
        refuses(case, &["-d", "null"], "only one instance of \"null\" network is allowed");
        let bridge = case.target().daemon().map_or("docker0".into(), |d| d.names().bridge.clone());
        let name = format!("com.docker.network.bridge.name={bridge}");
        refuses(case, &["-o", &name], "networks have same bridge name");
    }

    fn names_that_are_none_are_refused(case) {
        case.cmd(&["network", "create", ""]).exits(1).complains("invalid name: name is empty");
        case.cmd(&["network", "create", " "]).exits(1).complains("invalid name: name is empty");
        for args in [
            &["network", "connect", "", "x"][..],
            &["network", "disconnect", " ", "x"],
            &["network", "rm", ""],
            &["network", "inspect", ""],
        ] {
            case.cmd(args).exits(1).complains("invalid network name or ID: value is empty");
        }
        case.cmd(&["network", "connect", "bridge", ""])
            .exits(1)
            .complains("invalid container name or ID: value is empty");
    }

    fn connections_that_make_no_sense_are_refused(case) {
        let (network, net) = with_subnet(case, "n");
        let name = |kind: &str| case.name(kind);
        let (own, host, none, shared) = (name("own"), name("host"), name("none"), name("shared"));
        let start = |name: &str, mode: &str| {
            case.cmd(&["run", "-d", "--name", name, "--network", mode, IMAGE, "sleep", "1000"]).ok();
        };
        start(&own, &network);
        start(&host, "host");
        start(&none, "none");
        start(&shared, &format!("container:{own}"));
        let id = case.inspect(&own)["Id"].as_str().expect("an id").to_owned();
        let other = "container sharing network namespace with another container or host cannot be connected to any other network";
        let private = "container cannot be connected to multiple networks with one of the networks in private (none) mode";
        for (args, why) in [
            (["connect", &network, &own], format!("endpoint with name {own} already exists in network {network}")),
            (
                ["connect", "host", &own],
                "cannot connect container to host network - container must be created in host network mode".to_owned(),
            ),
            (["connect", "none", &own], private.to_owned()),
            (["connect", &network, &host], other.to_owned()),
            (["connect", &network, &shared], other.to_owned()),
            (["connect", &network, &none], private.to_owned()),
            (["connect", &network, "nobody"], "No such container: nobody".to_owned()),
            (["disconnect", &network, "nobody"], "No such container: nobody".to_owned()),
            (["disconnect", "bridge", &own], format!("container {id} is not connected to network bridge")),
            (
                ["disconnect", "host", &host],
                "cannot disconnect container from host network - container was created in host network mode".to_owned(),
            ),
        ] {
            let args = [&["network"], &args[..]].concat();
            case.cmd(&args).exits(1).complains(&format!("Error response from daemon: {why}\n"));
        }
        case.cmd(&["network", "disconnect", "-f", &network, "nobody"])
            .exits(1)
            .complains("endpoint nobody not found");
        let bridged = name("bridged");
        case.sleeper(&bridged);
        for (options, why) in [
            (["--ip", "1.2.3.4"], "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 1.2.3.4"),
            (["--ip", &format!("{net}.0")], "Address already in use"),
            (["--driver-opt", "x"], "invalid key/value pair format in driver options"),
        ] {
            let args = [&["network", "connect"], &options[..], &[&network, &bridged]].concat();
            case.cmd(&args).exits(1).complains(why);
        }
        // None of that left a trace; a dockerd shows the network whose address was taken.
        let networks = case.inspect(&bridged)["NetworkSettings"]["Networks"].clone();
        let count = networks.as_object().map_or(0, serde_json::Map::len);
        assert!(count == 1 || case.is_reference(), "{networks}");
        case.cmd(&["network", "connect", &network, &bridged]).ok();
    }

    fn modes_that_exclude_options_say_so(case) {
        let name = case.name("c");
        case.sleeper(&name);
        let shared = format!("container:{name}");
        for (options, why) in [
            (&["-p", "80:80"][..], "conflicting options: port publishing and the container type network mode"),
            (&["--expose", "80"], "conflicting options: port exposing and the container type network mode"),
            (&["-h", "x"], "conflicting options: hostname and the network mode"),
            (&["--dns", "1.1.1.1"], "conflicting options: dns and the network mode"),
            (
                &["--add-host", "a:1.1.1.1"],
                "conflicting options: custom host-to-IP mapping and the network mode",
            ),
            (
                &["--link", &name],
                "conflicting options: container type network can't be used with links. This would result in undefined behavior",
            ),
        ] {
            let options = [&["--network", &shared], options].concat();
            run_refuses(case, &options, why);
        }
        run_refuses(
            case,
            &["--network", "host", "--link", &name],
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        );
        run_refuses(
            case,
            &["--network", &shared, "--ip", "10.1.2.3"],
            "user specified IP address is supported on user defined networks only",
        );
        run_refuses(
            case,
            &["--network", "container:nobody"],
            "joining network namespace of container: No such container: nobody",
        );
        run_refuses(
            case,
            &["--network-alias", "x"],
            "network-scoped aliases are only supported for user-defined networks",
        );
    }

    fn links_to_nothing_are_refused(case) {
        let name = case.name("c");
        case.cmd(&["create", "--name", &name, IMAGE, "true"]).ok();
        run_refuses(case, &["--link", "nobody"], "could not get container for nobody: No such container: nobody");
        run_refuses(case, &["--link", "a:b:c"], "bad format for links: a:b:c");
        run_refuses(case, &["--link", &format!("{name}:x")], &format!("Cannot link to a non running container: /{name} AS /"));
    }

    fn drivers_and_their_options_are_checked(case) {
        for (options, why) in [
            (&["-d", "overlay"][..], "This node is not a swarm manager."),
            (&["--scope", "swarm"], "cannot create a swarm scoped network when swarm is not active"),
            (&["--ingress"], "Ingress network can only be global scope network"),
            (
                &["-o", "com.docker.network.driver.mtu=x"],
                "failed to parse com.docker.network.driver.mtu value: x (strconv.Atoi: parsing \"x\": invalid syntax)",
            ),
            (&["-o", "com.docker.network.driver.mtu=-5"], "invalid MTU number: -5"),
            (
                &["-o", "com.docker.network.bridge.enable_icc=maybe"],
                "failed to parse com.docker.network.bridge.enable_icc value: maybe (strconv.ParseBool: parsing \"maybe\": invalid syntax)",
            ),
            (
                &["-o", "com.docker.network.bridge.host_binding_ipv4=x"],
                "failed to parse com.docker.network.bridge.host_binding_ipv4 value: x (nil ip)",
            ),
            (
                &["-o", "com.docker.network.bridge.gateway_mode_ipv4=x"],
                "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: x (unknown gateway mode x)",
            ),
            (
                &["-o", "com.docker.network.enable_ipv6=x"],
                "driver-opt \"com.docker.network.enable_ipv6\" is not a valid bool",
            ),
            (
                &["-d", "macvlan", "-o", "macvlan_mode=x"],
                "requested macvlan mode 'x' is not valid, 'bridge' mode is the macvlan driver default",
            ),
            (
                &["-d", "ipvlan", "-o", "ipvlan_mode=x"],
                "requested ipvlan mode 'x' is not valid, 'l2' mode is the ipvlan driver default",
            ),
        ] {
            refuses(case, options, why);
        }
    }

    fn unknown_drivers_are_not_found(case) {
        refuses(case, &["-d", "nope"], "plugin \"nope\" not found");
        refuses(case, &["--ipam-driver", "nope"], "plugin \"nope\" not found");
    }

    fn networks_of_settings_are_only_that(case) {
        let net = subnet();
        let settings = network(case, "settings", &["--config-only", "--subnet", &format!("{net}.0/24")]);
        let from = ["--config-from", settings.as_str()];
        run_refuses(
            case,
            &["--network", &settings],
            "failed to set up container networking: cannot create endpoint on configuration-only network",
        );
        for (options, why) in [
            (
                &["--subnet", "10.255.0.0/24"][..],
                "user specified configurations are not supported if the network depends on a configuration network",
            ),
            (
                &["-o", "a=b"],
                "network driver options are not supported if the network depends on a configuration network",
            ),
            (&["--config-only"], "a configuration network cannot depend on another configuration network"),
        ] {
            refuses(case, &[&from, options].concat(), why);
        }
        refuses(case, &["--config-from", "nope"], "configuration network \"nope\" does not exist");
        refuses(
            case,
            &["--config-only", "--internal"],
            "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
        );
        let user = network(case, "user", &from);
        case.cmd(&["network", "rm", &settings]).exits(1).complains(&format!(
            "error while removing network: configuration network \"{settings}\" is in use"
        ));
        case.cmd(&["network", "rm", &user, &settings]).ok();
    }

    fn filters_are_checked(case) {
        for (args, why) in [
            (&["ls", "--filter", "foo=a"][..], "invalid filter 'foo'"),
            (&["ls", "--filter", "type=a"], "invalid filter: 'type'='a'"),
            (
                &["ls", "--filter", "dangling=x"],
                "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
            ),
            (&["prune", "-f", "--filter", "foo=a"], "invalid filter 'foo'"),
            (&["prune", "-f", "--filter", "dangling=true"], "invalid filter 'dangling'"),
            (
                &["prune", "-f", "--filter", "until=x"],
                "failed to parse value as time or duration: \"x\"",
            ),
        ] {
            let args = [&["network"], args].concat();
            case.cmd(&args).exits(1).complains(&format!("Error response from daemon: {why}"));
        }
    }
}

api! {
    fn broken_json_about_networks_is_400(case) {
        let network = network(case, "n", &[]);
        let routes = [
            ("/networks/create".to_owned(), "network.CreateRequest"),
            (format!("/networks/{network}/connect"), "network.ConnectOptions"),
            (format!("/networks/{network}/disconnect"), "network.DisconnectOptions"),
        ];
        for (route, kind) in &routes {
            for (body, why) in [
                ("{", "invalid JSON: unexpected EOF".to_owned()),
                ("nul", "invalid JSON: unexpected EOF".to_owned()),
                ("[]", format!("invalid JSON: json: cannot unmarshal array into Go value of type {kind}")),
                ("\"x\"", format!("invalid JSON: json: cannot unmarshal string into Go value of type {kind}")),
                ("{} x", "unexpected content after JSON".to_owned()),
            ] {
                let answer = post(case, route, body);
                assert_eq!((answer.status, answer.message()), (400, why), "{route} {body}");
            }
        }
    }

    fn values_of_the_wrong_type_are_400(case) {
        let network = network(case, "n", &[]);
        let connect = format!("/networks/{network}/connect");
        for (route, body, why) in [
            ("/networks/create", r#"{"Name":5}"#, "number into Go struct field CreateRequest.Name of type string"),
            ("/networks/create", r#"{"Name":"x","IPAM":5}"#, "number into Go struct field CreateRequest.IPAM of type network.IPAM"),
            ("/networks/create", r#"{"Name":"x","EnableIPv6":"yes"}"#, "string into Go struct field CreateRequest.EnableIPv6 of type bool"),
            ("/networks/create", r#"{"Name":"x","Options":{"a":1}}"#, "number into Go struct field CreateRequest.Options.a of type string"),
            (&connect, r#"{"Container":[]}"#, "array into Go struct field ConnectOptions.Container of type string"),
            (&connect, r#"{"EndpointConfig":5}"#, "number into Go struct field ConnectOptions.EndpointConfig of type network.EndpointSettings"),
        ] {
            let answer = post(case, route, body);
            let want = format!("invalid JSON: json: cannot unmarshal {why}");
            assert_eq!((answer.status, answer.message()), (400, want), "{route} {body}");
        }
    }

    fn statuses_are_dockers(case) {
        let network = network(case, "n", &[]);
        let id = case.sleeper(&case.name("c"));
        let connect = format!("/networks/{network}/connect");
        let disconnect = format!("/networks/{network}/disconnect");
        assert_eq!(post(case, &connect, &json!({"Container": id}).to_string()).status, 200);
        let own = json!({"Container": id}).to_string();
        for (path, body, status) in [
            ("/networks/create", json!({"Name": network}).to_string(), 409),
            ("/networks/create", json!({"Name": ""}).to_string(), 400),
            ("/networks/create", String::new(), 400),
            ("/networks/create", json!({"Name": "bridge"}).to_string(), 403),
            ("/networks/create", json!({"Name": case.name("x"), "Driver": "overlay"}).to_string(), 403),
            ("/networks/create", json!({"Name": case.name("x"), "ConfigFrom": {"Network": "nope"}}).to_string(), 404),
            ("/networks/create", json!({"Name": case.name("x"), "IPAM": {"Config": [{"Subnet": "x"}]}}).to_string(), 400),
            (&connect, own.clone(), 403),
            (&connect, json!({"Container": "nobody"}).to_string(), 404),
            (&connect, json!({"Container": ""}).to_string(), 400),
            (&connect, json!({"Container": id, "EndpointConfig": {"MacAddress": "zz"}}).to_string(), 400),
            ("/networks/host/connect", own.clone(), 400),
            ("/networks/nope/connect", own.clone(), 404),
            ("/networks/nope/disconnect", own.clone(), 404),
            (&disconnect, own.clone(), 200),
            (&disconnect, own.clone(), 500),
            (&disconnect, json!({"Container": "nobody", "Force": true}).to_string(), 404),
        ] {
            let answer = post(case, path, &body);
            assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        }
        for (method, path, status) in [
            ("DELETE", "/networks/bridge", 403),
            ("DELETE", "/networks/nope", 404),
            ("GET", "/networks/nope", 404),
            ("GET", "/networks/bridge?verbose=x", 400),
            ("GET", "/networks?filters=x", 400),
            ("POST", "/networks/prune?filters=x", 400),
        ] {
            let answer = case.api(method, path, None);
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        }
        assert_eq!(case.api("DELETE", &format!("/networks/{network}"), None).status, 204);
    }

    fn ports_in_a_request_are_checked(case) {
        let create = |host: Value| {
            let body = json!({"Image": IMAGE, "Cmd": ["true"], "HostConfig": host});
            let answer = case.api("POST", "/containers/create", Some(&body));
            (answer.status, answer.message())
        };
        for (port, bound, why) in [
            ("80/tcp", "99999", "99999"),
            ("80/tcp", "x", "x"),
            ("80/tcp", "9-8", "9-8"),
            ("80/tcp", "-1", "-1"),
            ("99999/tcp", "80", "99999"),
            ("80-81/tcp", "80", "80-81"),
        ] {
            assert_eq!(
                create(json!({"PortBindings": {port: [{"HostPort": bound}]}})),
                (400, format!("invalid port specification: {why:?}")),
                "{port} {bound}"
            );
        }
        for (host, why) in [
            (json!({"ExtraHosts": ["x"]}), "bad format for add-host: \"x\""),
            (json!({"ExtraHosts": ["x:y"]}), "invalid IP address in add-host: \"y\""),
            (json!({"NetworkMode": "container:"}), "invalid network mode: invalid container format container:<name|id>"),
        ] {
            assert_eq!(create(host.clone()), (400, why.to_owned()), "{host}");
        }
    }

    fn endpoints_of_a_request_are_checked(case) {
        let (network, _) = with_subnet(case, "n");
        let create = |version: &str, body: Value| {
            let mut whole = json!({"Image": IMAGE, "Cmd": ["true"]});
            for (key, value) in body.as_object().expect("an object") {
                whole[key] = value.clone();
            }
            let answer = case.api("POST", &format!("{version}/containers/create"), Some(&whole));
            (answer.status, answer.message())
        };
        let endpoints = |map: Value| json!({"NetworkingConfig": {"EndpointsConfig": map}});
        for (version, body, why) in [
            (
                "",
                endpoints(json!({&network: {"MacAddress": "zz"}})),
                format!("invalid config for network {network}: invalid MAC address zz"),
            ),
            ("", endpoints(json!({&network: null})), format!("invalid config for network {network}: EndpointsConfig is nil")),
            (
                "",
                endpoints(json!({"bridge": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "1.2.3.4"}}})),
                "invalid config for network bridge: invalid endpoint settings:\n* user specified IP address is supported on user defined networks only\n* network-scoped alias is supported only for containers in user defined networks\n* user specified IP address is supported only when connecting to networks with user configured subnets".to_owned(),
            ),
            (
                "",
                endpoints(json!({&network: {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.ip_forward=1"}}})),
                format!("invalid config for network {network}: invalid endpoint settings:\nunrecognised network interface sysctl 'net.ipv4.ip_forward=1'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"),
            ),
            (
                "",
                json!({"NetworkingConfig": {"EndpointsConfig": []}}),
                "invalid JSON: json: cannot unmarshal array into Go struct field .NetworkingConfig.EndpointsConfig of type map[string]*network.EndpointSettings".to_owned(),
            ),
            (
                "/v1.43",
                json!({"MacAddress": "02:42:ac:11:00:02", "HostConfig": {"NetworkMode": "host"}}),
                "conflicting options: mac-address and the network mode".to_owned(),
            ),
            (
                "",
                json!({"MacAddress": "02:42:ac:11:00:02", "HostConfig": {"NetworkMode": &network}, "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}}),
                "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks".to_owned(),
            ),
        ] {
            assert_eq!(create(version, body.clone()), (400, why), "{version} {body}");
        }
        let (status, text) = create("/v1.43", endpoints(json!({&network: {}, "bridge": {}})));
        assert_eq!(status, 400, "{text}");
        assert!(text.starts_with("Container cannot be created with multiple network endpoints: "), "{text}");
    }
}
