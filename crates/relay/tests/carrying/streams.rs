//! TCP: bytes, ends, resets, patience and limits.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use relay::protocol::{Order, Protocol, Reply};
use relay::server::Limits;

use crate::harness::*;

/// Bytes that are unlike their neighbours.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at % 251) as u8 ^ (at >> 16) as u8)
        .collect()
}

fn connected(to: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn everything_arrives_and_an_end_is_only_one_side_s() {
    with_relay(PLENTY, |relay| {
        let (container, target) = listener();
        let (place, _socket) = relay.opens(Protocol::Tcp, target);
        let text = pattern(9_000_001);
        let server = std::thread::spawn(move || {
            let (mut stream, from) = container.accept().unwrap();
            assert!(from.is_ipv4());
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            // The client has ended; it still listens.
            stream.write_all(&heard).unwrap();
            heard.len()
        });
        let mut client = connected(at(place));
        let mut writer = client.try_clone().unwrap();
        let said = text.clone();
        let talker = std::thread::spawn(move || {
            writer.write_all(&said).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        talker.join().unwrap();
        assert_eq!(server.join().unwrap(), text.len());
        assert!(answer == text, "{} of {} bytes", answer.len(), text.len());
        wait_until("the connection stays", || relay.load().connections == 0);
    });
}

#[test]
fn a_container_may_end_first() {
    with_relay(PLENTY, |relay| {
        let (container, target) = listener();
        let (place, _socket) = relay.opens(Protocol::Tcp, target);
        let mut client = connected(at(place));
        let (mut server, _) = container.accept().unwrap();
        server.write_all(b"greeting").unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "greeting");
        client.write_all(b"thanks").unwrap();
        drop(client);
        let mut heard = String::new();
        server.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "thanks");
    });
}

#[test]
fn who_does_not_read_stops_the_other() {
    /// More than all buffers on the way.
    const LIMIT: usize = 64 << 20;
    with_relay(PLENTY, |relay| {
        let (container, target) = listener();
        let (place, _socket) = relay.opens(Protocol::Tcp, target);
        let mut client = connected(at(place));
        let (mut server, _) = container.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        let block = pattern(1 << 16);
        let mut said = 0;
        // Blocked for as long as a thousand questions to the relay take.
        let mut blocked = 0;
        while blocked < 1000 {
            match client.write(&block) {
                Ok(length) => (said, blocked) = (said + length, 0),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    relay.load();
                    blocked += 1;
                }
                Err(e) => panic!("{e}"),
            }
            assert!(said < LIMIT, "nobody stops it");
        }
        drop(client);
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).unwrap();
        assert_eq!(heard.len(), said);
    });
}

#[test]
fn a_reset_is_passed_on_and_so_is_a_refusal() {
    with_relay(PLENTY, |relay| {
        let (container, target) = listener();
        let (place, _socket) = relay.opens(Protocol::Tcp, target);
        let client = connected(at(place));
        let (mut server, _) = container.accept().unwrap();
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        let zero = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&client, zero).unwrap();
        drop(client);
        assert!(is_reset(&server.read(&mut [0; 1]).unwrap_err()));
        drop(container);
        let mut client = connected(at(place));
        assert!(is_reset(&client.read(&mut [0; 1]).unwrap_err()));
        wait_until("a connection stays", || relay.load().connections == 0);
    });
}

#[test]
fn more_connections_than_allowed_wait_and_other_ports_do_not() {
    let limits = Limits {
        connections: 4,
        ..PLENTY
    };
    with_relay(limits, |relay| {
        let (container, target) = listener();
        let (one, _one) = relay.opens(Protocol::Tcp, target);
        let (other, _other) = relay.opens(Protocol::Tcp, target);
        let served = |to| {
            let client = connected(at(to));
            let (mut server, _) = container.accept().unwrap();
            server.write_all(b"hello").unwrap();
            (client, server)
        };
        let (mut first, _first) = served(one);
        let (_second, _kept) = served(one);
        let mut third = connected(at(one));
        // The kernel has accepted it, and the relay has not.
        let _elsewhere = served(other);
        assert_eq!(relay.load().connections, 3);
        first.read_exact(&mut [0; 5]).unwrap();
        drop((first, _first));
        let (mut server, _) = container.accept().unwrap();
        server.write_all(b"third").unwrap();
        let mut text = [0; 5];
        third.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"third");
    });
}

#[test]
fn a_closed_port_refuses_ends_its_connections_and_stays_reserved() {
    with_relay(PLENTY, |relay| {
        let (container, target) = listener();
        let (place, socket) = relay.opens(Protocol::Tcp, target);
        let mut client = connected(at(place));
        let (mut server, _) = container.accept().unwrap();
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(relay.order(Order::Close(vec![place])).unwrap(), Reply::Done);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
        drop((client, server));
        let refused = TcpStream::connect(at(place)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // Allowing reuse, as servers do; the ended connection does not keep it, the socket does.
        let taken = std::net::TcpListener::bind(place.listen).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        relay.open(place, target, &socket).unwrap();
        let client = connected(at(place));
        container.accept().unwrap();
        // Another target: what leads to the old one ends.
        let (elsewhere, target) = listener();
        relay.open(place, target, &socket).unwrap();
        let mut old = client;
        assert_eq!(old.read(&mut [0; 1]).unwrap(), 0);
        let _new = connected(at(place));
        elsewhere.accept().unwrap();
    });
}
