//! Getting along with the host: its addresses, its routes, other daemons.

use std::net::Ipv4Addr;
use std::path::Path;

use network::{Audit, Error, Networks, Settings, audit};
use spec::error::{Classify as _, ErrorKind};
use sys::netlink::{Protocol, Socket};

use super::{
    accepted_from, attach, connect_from, gateway, in_host, is_cut_off, listen, open, settings,
    subnet, with_bip,
};

fn other(state: &Path) -> Settings {
    let dir = state.join("other");
    Settings {
        spares: 0,
        ..Settings::new(&dir, &dir, "cr-0011aaff", "corten-0011aaff")
    }
}

/// Makes a bridge with an address, as another program would.
fn occupy(name: &str, address: Ipv4Addr, prefix: u8) {
    let mut socket = Socket::open(Protocol::Route).unwrap();
    socket
        .execute_one(|m| m.add_bridge(name, 1500, [2, 0, 0, 0, 0, 9]))
        .unwrap();
    let index = socket.link(name).unwrap().unwrap().index;
    socket
        .execute_one(|m| m.add_address(index, address.into(), prefix))
        .unwrap();
}

#[test]
fn taken_subnets_are_skipped() {
    in_host(|state| {
        occupy("docker0", Ipv4Addr::new(172, 17, 0, 1), 16);
        occupy("lan", Ipv4Addr::new(192, 0, 2, 7), 24);
        Socket::open(Protocol::Route)
            .unwrap()
            .execute_one(|m| {
                let net = Ipv4Addr::new(172, 18, 4, 0);
                m.add_route(Some((net.into(), 24)), Ipv4Addr::new(192, 0, 2, 1).into());
            })
            .unwrap();
        let networks = open(settings(state));
        assert_eq!(subnet(&networks).to_string(), "172.19.0.0/16");
    });
}

#[test]
fn a_configured_address_that_is_taken_is_refused_and_nothing_is_made() {
    in_host(|state| {
        occupy("lan", Ipv4Addr::new(10, 1, 2, 3), 24);
        let before = audit().unwrap();
        let bip = |text: &str| with_bip(state, text);
        let error = Networks::open(bip("10.1.0.1/16")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("of lan"), "{error}");
        for unusable in ["10.2.0.0/16", "10.2.255.255/16"] {
            let error = Networks::open(bip(unusable)).unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::InvalidArgument,
                "{unusable}: {error}"
            );
        }
        assert_eq!(audit().unwrap(), before);
        assert_eq!(before, Audit::default());
        assert_eq!(
            gateway(&open(bip("10.2.0.9/24"))),
            Ipv4Addr::new(10, 2, 0, 9)
        );
    });
}

#[test]
fn two_daemons_side_by_side() {
    in_host(|state| {
        let first = open(settings(state));
        let second = open(other(state));
        assert!(!subnet(&first).overlaps(&subnet(&second)));
        let (a, b) = (attach(&first, 1), attach(&second, 1));
        let server = listen(&a.netns, 80);
        // Different networks are apart.
        assert!(is_cut_off(&b.netns, a.address, 80));
        assert!(second.strays().unwrap().is_empty() && first.strays().unwrap().is_empty());
        second.destroy().unwrap();
        let c = attach(&first, 2);
        let _stream = connect_from(&c.netns, a.address, 80).expect("the first goes on");
        assert_eq!(accepted_from(&server), c.address);
        let found = audit().unwrap();
        assert_eq!((found.bridges.len(), found.tables.len()), (1, 1));
        assert_eq!(found.addresses, ["corten0 172.17.0.1/16"]);
    });
}

#[test]
fn daemons_that_start_at_once_choose_differently() {
    in_host(|state| {
        let networks: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|i| {
                    scope.spawn(move || {
                        let dir = state.join(i.to_string());
                        let (bridge, table) = (format!("b{i}"), format!("t{i}"));
                        open(Settings {
                            spares: 0,
                            ..Settings::new(&dir, &dir, bridge, table)
                        })
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for (i, one) in networks.iter().enumerate() {
            for two in &networks[..i] {
                assert!(!subnet(one).overlaps(&subnet(two)));
            }
        }
    });
}

#[test]
fn no_pool_left() {
    in_host(|state| {
        occupy("lan", Ipv4Addr::new(172, 16, 0, 1), 12);
        occupy("lan2", Ipv4Addr::new(192, 168, 0, 1), 16);
        occupy("lan3", Ipv4Addr::new(10, 0, 0, 1), 8);
        let error = Networks::open(settings(state)).unwrap_err();
        assert!(matches!(error, Error::PoolsExhausted));
        assert_eq!(audit().unwrap(), Audit::default());
    });
}

#[test]
fn a_name_that_is_taken_or_unusable_is_refused() {
    in_host(|state| {
        for name in ["", "a/b", "this-name-is-too-long", "cvac110002f1234", ".."] {
            let mut settings = settings(state);
            settings.default_bridge.name = name.to_owned();
            let error = Networks::open(settings).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}");
        }
        let mut settings = settings(state);
        settings.default_bridge.name = "lo".to_owned();
        let error = Networks::open(settings).unwrap_err();
        assert!(matches!(error, Error::NotABridge { .. }), "{error}");
    });
}
