//! UDP: flows, addresses, time-outs and limits.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use relay::protocol::Protocol;
use relay::server::Limits;

use crate::harness::*;

/// Asks until there is an answer.
fn asks(client: &UdpSocket, to: SocketAddr, text: &[u8]) -> (Vec<u8>, SocketAddr) {
    client.send_to(text, to).unwrap();
    let mut buffer = vec![0; 65_536];
    let (length, from) = client
        .recv_from(&mut buffer)
        .unwrap_or_else(|e| panic!("{to} does not answer {} bytes: {e}", text.len()));
    buffer.truncate(length);
    (buffer, from)
}

/// Answers everything with itself, on a thread that ends with the test's process.
fn echo() -> SocketAddr {
    let (socket, address) = datagrams("127.0.0.1:0");
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    address
}

#[test]
fn clients_are_told_apart_and_answered_from_where_they_asked() {
    with_relay(PLENTY, |relay| {
        let added = Command::new("ip")
            .args(["addr", "add", "fd00::7/128", "dev", "lo", "nodad"])
            .status();
        assert!(added.unwrap().success());
        // The kernel makes its route in the background.
        wait_until("the address does not come", || {
            let route = Command::new("ip")
                .args(["route", "get", "fd00::7"])
                .output();
            route.unwrap().stdout.starts_with(b"local ")
        });
        let (place, _socket) = relay.opens(Protocol::Udp, echo());
        let (one, _) = datagrams("[::1]:0");
        let (two, _) = datagrams("[::1]:0");
        let second = SocketAddr::new("fd00::7".parse().unwrap(), place.listen.port());
        for to in [at(place), second] {
            assert_eq!(asks(&one, to, b"one"), (b"one".to_vec(), to));
            assert_eq!(asks(&two, to, b"two"), (b"two".to_vec(), to));
        }
        assert_eq!(relay.load().flows, 4);
        // An empty one, and one in pieces.
        assert_eq!(asks(&one, at(place), b"").0, b"");
        let large = vec![9; 60_000];
        assert_eq!(asks(&one, at(place), &large).0, large);
        // The container sees two that ask, not one.
        assert_eq!(relay.load().flows, 4);
    });
}

#[test]
fn a_silent_flow_ends() {
    let limits = Limits {
        silence: Duration::from_millis(100),
        ..PLENTY
    };
    with_relay(limits, |relay| {
        let (place, _socket) = relay.opens(Protocol::Udp, echo());
        let (client, _) = datagrams("[::1]:0");
        asks(&client, at(place), b"x");
        wait_until("the flow stays", || relay.load().flows == 0);
        assert_eq!(asks(&client, at(place), b"again").0, b"again");
    });
}

#[test]
fn a_new_flow_takes_the_place_of_the_most_silent() {
    let limits = Limits { flows: 4, ..PLENTY };
    with_relay(limits, |relay| {
        let (container, target) = datagrams("127.0.0.1:0");
        let (place, _socket) = relay.opens(Protocol::Udp, target);
        let mut buffer = [0; 8];
        let mut flow = |client: &UdpSocket| {
            client.send_to(b"x", at(place)).unwrap();
            container.recv_from(&mut buffer).unwrap().1
        };
        let clients: Vec<_> = (0..3).map(|_| datagrams("[::1]:0").0).collect();
        let (first, second) = (flow(&clients[0]), flow(&clients[1]));
        assert_eq!(flow(&clients[0]), first);
        // Half of all for one port: the second has to go, and the first has just spoken.
        flow(&clients[2]);
        assert_eq!(relay.load().flows, 2);
        assert_eq!(flow(&clients[0]), first);
        assert_ne!(flow(&clients[1]), second);
        assert_eq!(relay.load().flows, 2);
    });
}

#[test]
fn a_container_that_does_not_listen_yet_is_found_when_it_does() {
    with_relay(PLENTY, |relay| {
        let (gone, target) = datagrams("127.0.0.1:0");
        drop(gone);
        let (place, _socket) = relay.opens(Protocol::Udp, target);
        let (client, _) = datagrams("[::1]:0");
        for _ in 0..3 {
            client.send_to(b"nobody", at(place)).unwrap();
        }
        wait_until("no flow is made", || relay.load().flows == 1);
        let (container, _) = datagrams(&target.to_string());
        let mut buffer = [0; 8];
        wait_until("nothing comes", || {
            client.send_to(b"x", at(place)).unwrap();
            container
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            container.recv_from(&mut buffer).is_ok()
        });
    });
}
