//! What daemons say, and what becomes of it when they are gone.

use std::io::{Read, Write};
use std::net::TcpStream;

use helper::protocol::Request;
use relay::protocol::{Answer, Forward, Order, Place, Protocol, Reply};

use crate::harness::*;

#[test]
fn the_next_daemon_gets_the_sockets_and_connections_go_on() {
    with_relay(PLENTY, |relay| {
        let (container, target) = listener();
        let opened: Vec<_> = (0..20)
            .map(|_| relay.opens(Protocol::Tcp, target))
            .collect();
        let (udp, udp_socket) = relay.opens(Protocol::Udp, target);
        let places: Vec<Place> = opened.iter().map(|(place, _)| *place).collect();
        let mut client = TcpStream::connect(at(places[0])).unwrap();
        let (mut server, _) = container.accept().unwrap();
        // The daemon dies, with its sockets.
        drop((opened, udp_socket));
        relay.next_daemon();
        assert_eq!(relay.load().ports, 21);
        let mut found = Vec::new();
        loop {
            let request = Request::Own(Order::Ports { known: found.len() });
            let (reply, sockets) = relay.call_with(&request, &[]).unwrap();
            let Reply::Own(Answer::Ports(some)) = reply else {
                panic!("{reply:?}")
            };
            if some.is_empty() {
                break;
            }
            found.extend(some.into_iter().zip(sockets));
        }
        assert_eq!(found.len(), 21);
        for (place, socket) in &found {
            let bound = rustix::net::getsockname(socket).unwrap();
            assert_eq!(std::net::SocketAddr::try_from(bound).unwrap(), place.listen);
        }
        let (_, socket) = found.iter().find(|(place, _)| *place == places[0]).unwrap();
        relay.open(places[0], target, socket).unwrap();
        assert_eq!(relay.call(&Request::Settle).unwrap(), Reply::Done);
        assert_eq!(relay.load().ports, 1);
        client.write_all(b"still").unwrap();
        let mut text = [0; 5];
        server.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"still");
        assert!(TcpStream::connect(at(places[1])).is_err());
        assert!(!places.contains(&udp));
    });
}

#[test]
fn one_that_retires_ends_with_its_last_connection() {
    sys::netns::create(|_| {
        sys::process::loopback_up()?;
        let mut relay = Carrier::start(PLENTY);
        let (container, target) = listener();
        let (place, socket) = relay.opens(Protocol::Tcp, target);
        let mut client = TcpStream::connect(at(place)).unwrap();
        let (mut server, _) = container.accept().unwrap();
        assert_eq!(relay.order(Order::Retire).unwrap(), Reply::Done);
        assert_eq!((relay.load().ports, relay.load().connections), (0, 1));
        server.write_all(b"bye").unwrap();
        let mut text = [0; 3];
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"bye");
        // The socket listens on, for another relay.
        TcpStream::connect(at(place)).unwrap();
        drop((client, server, socket));
        relay.ends();
        Ok::<_, sys::Error>(())
    })
    .expect("this test needs root");
}

#[test]
fn what_makes_no_sense_is_refused_whole() {
    with_relay(PLENTY, |relay| {
        let (_container, target) = listener();
        let (place, socket) = reserve(Protocol::Tcp);
        let forward = |place| Forward {
            place,
            target,
            interface: String::new(),
        };
        let alone = relay.order(Order::Open(vec![forward(place)]));
        assert!(alone.unwrap_err().message.contains("descriptor"));
        // A socket that cannot listen.
        let (other, datagrams) = reserve(Protocol::Udp);
        let wrong = Place {
            protocol: Protocol::Tcp,
            ..other
        };
        let both = Request::Own(Order::Open(vec![forward(place), forward(wrong)]));
        let refused = relay.call_with(&both, &[&socket, &datagrams]).unwrap_err();
        assert!(refused.message.contains("failed to listen"), "{refused:?}");
        assert_eq!(relay.load().ports, 0);
        assert!(TcpStream::connect(at(place)).is_err());
        relay.open(place, target, &socket).unwrap();
    });
}
