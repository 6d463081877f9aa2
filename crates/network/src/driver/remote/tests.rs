//! Network and address plugins on the real kernel, with a plugin of our own. Needs root.

mod plugin;

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};
use spec::error::{Classify as _, ErrorKind};
use sys::netlink::{NewVeth, SetLink};

use self::plugin::{Reply, TestPlugin};
use super::super::testing::{Box as Sandbox, in_host, join, links, network, socket, up};
use super::ipam::PoolQuestion;
use super::*;
use crate::Protocol;

fn remotes(dir: &Path) -> Remotes {
    let settings = PluginSettings {
        dirs: vec![dir.to_owned()],
        long: Duration::from_secs(2),
        short: Duration::from_secs(2),
        probe: Duration::from_secs(1),
        patience: Duration::ZERO,
    };
    Remotes::with(&settings, &dir.join("state"))
}

/// What a good network plugin answers: it makes a pair for each endpoint.
fn good(method: &str, body: &Value) -> Reply {
    let endpoint = body["EndpointID"].as_str().unwrap_or_default();
    let near = format!("pn{}", endpoint.get(..8).unwrap_or_default());
    let far = format!("pf{}", endpoint.get(..8).unwrap_or_default());
    match method.trim_start_matches("NetworkDriver.") {
        "Plugin.Activate" => Reply::Json(json!({"Implements": ["NetworkDriver"]})),
        "GetCapabilities" => Reply::Json(json!({"Scope": "local", "GwAllocChecker": true})),
        "GwAllocCheck" => Reply::Json(json!({"SkipIPv4": true})),
        "CreateEndpoint" => Reply::Json(json!({"Interface": {"MacAddress": "02:00:00:00:00:77"}})),
        "Join" => {
            let here = sys::netns::current().unwrap();
            socket()
                .execute_one(|m| {
                    m.add_veth(&NewVeth {
                        name: &near,
                        master: 0,
                        mtu: 1500,
                        peer_name: &far,
                        peer_address: [2, 0, 0, 0, 0, 0x77],
                        peer_netns: here.as_fd(),
                    });
                })
                .unwrap();
            Reply::Json(json!({
                "InterfaceName": {"SrcName": far, "DstPrefix": "eth"},
                "Gateway": "10.7.0.254",
                "StaticRoutes": [{"Destination": "10.9.0.0/16", "RouteType": 1}],
            }))
        }
        "DeleteEndpoint" => match socket().link(&near).unwrap() {
            Some(link) => {
                socket().execute_one(|m| m.delete_link(link.index)).unwrap();
                Reply::Json(json!({}))
            }
            None => Reply::Json(json!({"Err": "no such endpoint"})),
        },
        "EndpointOperInfo" => Reply::Json(json!({"Value": {PORT_MAP: [
            {"Proto": 6, "Port": 80, "HostIP": "0.0.0.0", "HostPort": 8080}]}})),
        _ => Reply::Json(json!({})),
    }
}

/// A plugin that is good but for one method.
fn but(dir: &Path, bad: &'static str, reply: fn() -> Reply) -> TestPlugin {
    TestPlugin::listen(dir, "p", move |method, body| {
        if method == format!("NetworkDriver.{bad}") {
            reply()
        } else {
            good(method, body)
        }
    })
}

fn leave(driver: &dyn Driver, network: &DriverNetwork, one: &Sandbox) -> Result<()> {
    driver.leave(network, Some(one.netns.as_fd()), &one.endpoint)
}

#[test]
fn a_network_s_whole_life() {
    in_host(|dir| {
        let plugin = TestPlugin::listen(dir, "p", good);
        let remotes = remotes(dir);
        let driver = remotes.network("p");
        let mut net = network(7, "p", &[("color", "red")]);
        driver.check(&mut net.spec).unwrap();
        assert_eq!(driver.skips_gateways(&net.spec).unwrap(), (true, false));
        driver.create(&net).unwrap();
        let id = net.id.to_string();
        let want = json!({"NetworkID": id, "Options": {
            GENERIC: {"color": "red"}, ENABLE_IPV4: true, ENABLE_IPV6: false},
            "IPv4Data": [{"AddressSpace": "LocalDefault", "Pool": "10.7.0.0/24",
                "Gateway": "10.7.0.1/24"}], "IPv6Data": []});
        assert_eq!(plugin.heard("NetworkDriver.CreateNetwork"), want);

        let one = join(&*driver, &net, 2).unwrap();
        let endpoint = one.endpoint.endpoint_id.to_string();
        let heard = plugin.heard("NetworkDriver.CreateEndpoint");
        let interface = json!({"Address": "10.7.0.2/24", "AddressIPv6": "", "MacAddress": ""});
        assert_eq!(
            (&heard["EndpointID"], &heard["Interface"]),
            (&json!(endpoint), &interface)
        );
        let heard = plugin.heard("NetworkDriver.Join");
        assert!(heard["SandboxKey"].as_str().unwrap().starts_with("/proc/"));
        assert_eq!(one.joined.gateway4, Some([10, 7, 0, 254].into()));
        assert_eq!(one.joined.mac.unwrap().to_string(), "02:00:00:00:00:77");
        assert_eq!(one.joined.routes, [("10.9.0.0/16".parse().unwrap(), None)]);
        assert_eq!(one.links(), ["eth0"]);
        // The pair works: the host is at its other end.
        let near = socket().link("pn02020202").unwrap().unwrap().index;
        socket()
            .execute_one(|m| {
                m.add_address(near, [10, 7, 0, 254].into(), 24);
                m.set_link(near, &SetLink { ..up() });
            })
            .unwrap();
        let host = sys::netns::current().unwrap();
        assert!(one.reaches(&host, [10, 7, 0, 254].into()));

        let port = PortRequest {
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: None,
            host_ports: Some((8080, 8080)),
        };
        let published = driver.program(&net, &one.endpoint, &[port]).unwrap();
        assert_eq!((published.len(), published[0].host_port), (1, 8080));
        let heard = plugin.heard("NetworkDriver.ProgramExternalConnectivity");
        let want = json!([{"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080,
            "HostPortEnd": 8080}]);
        assert_eq!(heard["Options"][PORT_MAP], want);
        driver.revoke(&net, &one.endpoint).unwrap();
        leave(&*driver, &net, &one).unwrap();
        assert_eq!((one.links(), links()), (Vec::<String>::new(), vec![]));
        driver.remove(&net).unwrap();
        let calls = plugin.calls();
        let last = [
            "RevokeExternalConnectivity",
            "Leave",
            "DeleteEndpoint",
            "DeleteNetwork",
        ];
        let tail: Vec<_> = calls.iter().rev().take(4).rev().collect();
        assert_eq!(
            tail,
            last.map(|verb| format!("NetworkDriver.{verb}"))
                .iter()
                .collect::<Vec<_>>()
        );
    });
}

#[test]
fn there_is_no_such_plugin() {
    in_host(|dir| {
        let remotes = remotes(dir);
        let mut net = network(7, "nope", &[]);
        let error = remotes.network("nope").check(&mut net.spec).unwrap_err();
        assert_eq!(error.to_string(), "plugin \"nope\" not found");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = remotes.ipam("nope").release_pool("x").unwrap_err();
        assert_eq!(error.to_string(), "plugin \"nope\" not found");
        // One that is there but does something else is no network plugin.
        let _plugin = TestPlugin::listen(dir, "vol", |_, _| {
            Reply::Json(json!({"Implements": ["VolumeDriver"]}))
        });
        let error = remotes.network("vol").check(&mut net.spec).unwrap_err();
        let text = spec::error::chain(&error);
        assert!(
            text.contains("does not implement the requested driver"),
            "{text}"
        );
    });
}

#[test]
fn a_plugin_that_starts_later_is_waited_for_by_nobody() {
    in_host(|dir| {
        let remotes = remotes(dir);
        let driver = remotes.network("p");
        let net = network(7, "p", &[]);
        driver.restore(&net).unwrap();
        assert!(join(&*driver, &net, 2).is_err());
        let _plugin = TestPlugin::listen(dir, "p", good);
        let one = join(&*driver, &net, 2).unwrap();
        assert_eq!(one.links(), ["eth0"]);
        leave(&*driver, &net, &one).unwrap();
    });
}

#[test]
fn refusals_and_lies_leave_nothing_behind() {
    type Case = (&'static str, fn() -> Reply, &'static str);
    let cases: [Case; 9] = [
        (
            "CreateEndpoint",
            || Reply::Json(json!({"Err": "no room"})),
            "remote: no room",
        ),
        (
            "CreateEndpoint",
            || Reply::Status(500, "broken"),
            "NetworkDriver.CreateEndpoint: broken",
        ),
        (
            "CreateEndpoint",
            || Reply::Json(json!({"Interface": {"Address": "10.66.0.9/24"}})),
            "driver modified interface address",
        ),
        ("CreateEndpoint", || Reply::Json(json!(7)), "cannot be used"),
        (
            "Join",
            || Reply::Json(json!({"Err": "not now"})),
            "remote: not now",
        ),
        (
            "Join",
            || Reply::Raw("garbage here\r\n\r\n"),
            "malformed HTTP response",
        ),
        ("Join", || Reply::Die, "EOF"),
        (
            "Join",
            || Reply::Json(json!({"InterfaceName": {"SrcName": "nolink"}})),
            "interface nolink was not found",
        ),
        (
            "Join",
            || Reply::Json(json!({"InterfaceName": {"SrcName": "lo"}})),
            "interface lo was not found",
        ),
    ];
    in_host(|dir| {
        for (method, reply, want) in cases {
            let plugin = but(dir, method, reply);
            let remotes = remotes(dir);
            let net = network(7, "p", &[]);
            let error = join(&*remotes.network("p"), &net, 2).map(drop).unwrap_err();
            let text = spec::error::chain(&error);
            assert!(text.contains(want), "{want}: {text}");
            let calls = plugin.calls();
            let undone = ["NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"];
            assert!(calls.ends_with(&undone.map(str::to_owned)), "{calls:?}");
            assert_eq!(links(), [""; 0], "{want}");
        }
    });
}

#[test]
fn bad_capabilities_are_refused() {
    in_host(|dir| {
        for (told, want) in [
            (json!({"Scope": "galactic"}), "got galactic"),
            (json!({}), "expecting 'local' or 'global'"),
            (
                json!({"Scope": "local", "ConnectivityScope": "x"}),
                "invalid capability",
            ),
        ] {
            let _plugin = TestPlugin::listen(dir, "p", move |method, body| match method {
                "NetworkDriver.GetCapabilities" => Reply::Json(told.clone()),
                _ => good(method, body),
            });
            let error = remotes(dir)
                .network("p")
                .check(&mut network(7, "p", &[]).spec);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(want), "{want}: {error}");
        }
    });
}

#[test]
fn a_plugin_that_hangs_is_given_up() {
    in_host(|dir| {
        let plugin = but(dir, "Join", || Reply::Hang);
        let remotes = remotes(dir);
        let net = network(7, "p", &[]);
        let begun = Instant::now();
        let error = join(&*remotes.network("p"), &net, 2).map(drop).unwrap_err();
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{:?}",
            begun.elapsed()
        );
        let text = spec::error::chain(&error);
        assert!(text.contains("context deadline exceeded"), "{text}");
        assert!(
            plugin
                .calls()
                .contains(&"NetworkDriver.DeleteEndpoint".to_owned())
        );
        assert_eq!(links(), [""; 0]);
    });
}

#[test]
fn a_network_that_a_hanging_plugin_may_have_made_is_taken_back() {
    in_host(|dir| {
        let plugin = but(dir, "CreateNetwork", || Reply::Hang);
        let remotes = remotes(dir);
        assert!(remotes.network("p").create(&network(7, "p", &[])).is_err());
        let last = plugin.calls().pop();
        assert_eq!(last.as_deref(), Some("NetworkDriver.DeleteNetwork"));
    });
}

#[test]
fn a_plugin_that_dies_does_not_keep_its_interface() {
    in_host(|dir| {
        let plugin = TestPlugin::listen(dir, "p", good);
        let remotes = remotes(dir);
        let driver = remotes.network("p");
        let net = network(7, "p", &[]);
        let one = join(&*driver, &net, 2).unwrap();
        assert_eq!(one.links(), ["eth0"]);
        drop(plugin);
        assert!(leave(&*driver, &net, &one).is_err());
        assert_eq!((one.links(), links()), (Vec::<String>::new(), vec![]));
    });
}

#[test]
fn a_restarted_daemon_gives_interfaces_back_too() {
    in_host(|dir| {
        let plugin = TestPlugin::listen(dir, "p", good);
        let net = network(7, "p", &[]);
        let one = join(&*remotes(dir).network("p"), &net, 2).unwrap();
        let again = remotes(dir);
        leave(&*again.network("p"), &net, &one).unwrap();
        assert_eq!((one.links(), links()), (Vec::<String>::new(), vec![]));
        drop(plugin);
    });
}

#[test]
fn what_a_crash_left_with_a_plugin_is_taken_back() {
    in_host(|dir| {
        let plugin = TestPlugin::listen(dir, "p", good);
        let net = network(7, "p", &[]);
        let kept = || remotes(dir).endpoints.of(&net).len();
        let (dead, lives) = {
            let first = remotes(dir);
            let driver = first.network("p");
            let dead = join(&*driver, &net, 2).unwrap();
            (dead, join(&*driver, &net, 3).unwrap())
        };
        assert_eq!(kept(), 2);
        let again = remotes(dir).network("p");
        let live = [(lives.endpoint.endpoint_id, None)];
        // The plugin is down at first: nothing is forgotten.
        drop(plugin);
        again.settle(&net, &live);
        assert_eq!(kept(), 2);
        let plugin = TestPlugin::listen(dir, "p", good);
        again.settle(&net, &live);
        let heard = plugin.heard("NetworkDriver.DeleteEndpoint");
        assert_eq!(heard["EndpointID"], json!(dead.endpoint.endpoint_id));
        assert_eq!((kept(), links()), (1, vec!["pn03030303".to_owned()]));
        leave(&*again, &net, &lives).unwrap();
        assert_eq!((kept(), links()), (0, vec![]));
    });
}

#[test]
fn addresses_of_the_dead_go_back_to_their_plugin() {
    in_host(|dir| {
        let plugin = addresses(dir);
        let pool = ("10.52.0.0/16", "10.52.0.0/16".parse().unwrap());
        let address = remotes(dir)
            .ipam("a")
            .request_address(pool, None, None)
            .unwrap()
            .address();
        let again = remotes(dir).ipam("a");
        again.settle(&[(pool.0.to_owned(), address)]);
        let released = || {
            let all = plugin.calls().into_iter();
            all.filter(|method| method == "IpamDriver.ReleaseAddress")
                .count()
        };
        assert_eq!(released(), 0);
        again.settle(&[("another".to_owned(), address)]);
        assert_eq!(released(), 1);
        let want = json!({"PoolID": "10.52.0.0/16", "Address": "10.52.0.5"});
        assert_eq!(plugin.heard("IpamDriver.ReleaseAddress"), want);
        again.settle(&[]);
        assert_eq!(released(), 1);
    });
}

#[test]
fn methods_that_are_not_mandatory_may_be_missing() {
    in_host(|dir| {
        let _plugin = TestPlugin::listen(dir, "p", |method, body| match method {
            "NetworkDriver.ProgramExternalConnectivity"
            | "NetworkDriver.RevokeExternalConnectivity" => Reply::Status(404, "404"),
            _ => good(method, body),
        });
        let remotes = remotes(dir);
        let driver = remotes.network("p");
        let net = network(7, "p", &[]);
        let one = join(&*driver, &net, 2).unwrap();
        assert_eq!(driver.program(&net, &one.endpoint, &[]).unwrap(), []);
        driver.revoke(&net, &one.endpoint).unwrap();
        leave(&*driver, &net, &one).unwrap();
    });
}

/// An address plugin with pools 10.50.0.0/16, 10.51.0.0/16, …
fn addresses(dir: &Path) -> TestPlugin {
    let given = Mutex::new(50u8);
    TestPlugin::listen(dir, "a", move |method, body| {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        match method.trim_start_matches("IpamDriver.") {
            "Plugin.Activate" => Reply::Json(json!({"Implements": ["IpamDriver"]})),
            "GetCapabilities" => Reply::Json(json!({"RequiresMACAddress": true})),
            "GetDefaultAddressSpaces" => Reply::Json(json!({"LocalDefaultAddressSpace": "here"})),
            "RequestPool" if text("Pool") == "10.99.0.0/16" => {
                Reply::Json(json!({"PoolID": "lie", "Pool": "10.98.0.0/16"}))
            }
            "RequestPool" if !text("Pool").is_empty() => {
                let pool = text("Pool");
                Reply::Json(json!({"PoolID": pool, "Pool": pool,
                    "Data": {"com.docker.network.gateway": "10.60.0.9/16"}}))
            }
            "RequestPool" => {
                let mut given = given.lock().unwrap();
                *given += 1;
                let net = format!("10.{}.0.0/16", *given - 1);
                Reply::Json(json!({"PoolID": net, "Pool": net}))
            }
            "RequestAddress" if text("Address") == "10.52.0.66" => {
                Reply::Json(json!({"Address": "10.52.0.67/16"}))
            }
            "RequestAddress" if text("Address") == "10.52.0.7" => {
                Reply::Json(json!({"Error": "Address already in use"}))
            }
            "RequestAddress" => Reply::Json(json!({"Address": "10.52.0.5/16"})),
            _ => Reply::Json(json!({})),
        }
    })
}

#[test]
fn addresses_come_from_a_plugin() {
    in_host(|dir| {
        let plugin = addresses(dir);
        let ipam = remotes(dir).ipam("a");
        let taken = ["10.50.0.0/24", "10.51.0.0/16"].map(|text| text.parse().unwrap());
        let options = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let question = PoolQuestion {
            subnet: None,
            range: None,
            options: &options,
            v6: false,
            taken: &taken,
        };
        let pool = ipam.request_pool(&question).unwrap();
        assert_eq!(pool.subnet.to_string(), "10.52.0.0/16");
        let heard = plugin.heard("IpamDriver.RequestPool");
        let want = json!({"AddressSpace": "here", "Pool": "", "SubPool": "",
            "Options": {"k": "v"}, "V6": false});
        assert_eq!(heard, want);
        // What overlapped was held while asking on, and given back.
        let released = plugin.calls();
        let count = released
            .iter()
            .filter(|m| *m == "IpamDriver.ReleasePool")
            .count();
        assert_eq!(count, 2);

        let gateway = ipam.request_gateway(&pool, None).unwrap();
        assert_eq!(gateway.to_string(), "10.52.0.5/16");
        let heard = plugin.heard("IpamDriver.RequestAddress");
        let want = json!({"RequestAddressType": "com.docker.network.gateway"});
        assert_eq!(heard["Options"], want);
        let at = (pool.id.as_str(), pool.subnet);
        let mac = "02:00:00:00:00:05".parse().unwrap();
        ipam.request_address(at, None, Some(mac)).unwrap();
        let heard = plugin.heard("IpamDriver.RequestAddress");
        let want = json!({"com.docker.network.endpoint.macaddress": mac});
        assert_eq!(heard["Options"], want);
        let wanted = Some([10, 52, 0, 7].into());
        let error = ipam.request_address(at, wanted, None).unwrap_err();
        assert_eq!(error.to_string(), "remote: Address already in use");
        // It gives another one than was asked for, and gets it back.
        let wanted = Some([10, 52, 0, 66].into());
        assert!(ipam.request_address(at, wanted, None).is_err());
        let heard = plugin.heard("IpamDriver.ReleaseAddress");
        assert_eq!(
            heard,
            json!({"PoolID": "10.52.0.0/16", "Address": "10.52.0.67"})
        );
        ipam.release_address(&pool.id, [10, 52, 0, 5].into())
            .unwrap();
        ipam.release_pool(&pool.id).unwrap();
        assert_eq!(
            plugin.heard("IpamDriver.ReleasePool"),
            json!({"PoolID": "10.52.0.0/16"})
        );
    });
}

#[test]
fn pools_that_were_not_asked_for_are_refused_and_given_back() {
    in_host(|dir| {
        let plugin = addresses(dir);
        let ipam = remotes(dir).ipam("a");
        let options = BTreeMap::new();
        let ask = |subnet: Option<&str>, v6| {
            ipam.request_pool(&PoolQuestion {
                subnet: subnet.map(|text| text.parse().unwrap()),
                range: None,
                options: &options,
                v6,
                taken: &[],
            })
        };
        assert!(ask(Some("10.99.0.0/16"), false).is_err());
        assert_eq!(
            plugin.heard("IpamDriver.ReleasePool"),
            json!({"PoolID": "lie"})
        );
        assert!(ask(None, true).is_err());
        let named = ask(Some("10.60.0.0/16"), false).unwrap();
        assert_eq!(named.gateway, Some([10, 60, 0, 9].into()));
        // The gateway that it names is in no other pool.
        assert!(ask(Some("10.61.0.0/16"), false).is_err());
    });
}
