//! The relay as a process: it outlives its daemon, is found again, and is replaced.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use helper::Helper;
use relay::client::Client;
use relay::protocol::{Forward, Place, Protocol, Relay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::*;

/// Runs a test in a network namespace of its own, with a directory for the socket.
fn isolated(test: impl FnOnce(&Path) + Send) {
    sys::netns::create(|_| {
        sys::process::loopback_up()?;
        let dir = tempfile::tempdir().unwrap();
        test(dir.path());
        Ok::<_, sys::Error>(())
    })
    .expect("this test needs root");
}

fn client(dir: &Path, program: &Path) -> Client {
    Client::open(settings(dir, program)).unwrap()
}

fn reserve(number: u16) -> Arc<OwnedFd> {
    let kind = SocketType::STREAM;
    let socket = socket_with(AddressFamily::INET6, kind, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_ipv6_v6only(&socket, true).unwrap();
    bind(&socket, &place(number).listen).unwrap();
    Arc::new(socket)
}

fn place(number: u16) -> Place {
    Place {
        protocol: Protocol::Tcp,
        listen: SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), number),
    }
}

fn forward(number: u16, container: &TcpListener) -> Forward {
    Forward {
        place: place(number),
        target: container.local_addr().unwrap(),
        interface: "lo".to_owned(),
    }
}

fn container() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A connection through the relay, both ends.
fn connect(number: u16, container: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect((Ipv6Addr::LOCALHOST, number)).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    (client, container.accept().unwrap().0)
}

/// Whether a connection still carries something.
fn carries((client, container): &mut (TcpStream, TcpStream)) -> bool {
    let mut byte = [0];
    let there = client
        .write_all(b"x")
        .and_then(|()| container.read_exact(&mut byte));
    let back = container
        .write_all(b"y")
        .and_then(|()| client.read_exact(&mut byte));
    there.is_ok() && back.is_ok()
}

#[test]
fn it_is_started_for_the_first_port_is_weak_and_ends_with_the_client() {
    isolated(|dir| {
        let client = client(dir, Path::new(PROGRAM));
        client.set("a", Vec::new()).unwrap();
        assert_eq!(about::<Relay>(dir), None, "nobody needs it yet");
        let container = container();
        client
            .set("a", vec![(forward(2000, &container), reserve(2000))])
            .unwrap();
        assert!(carries(&mut connect(2000, &container)));
        let pid = about::<Relay>(dir).unwrap().pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert!(
                status.contains(&format!("{set}:\t0000000000000000")),
                "{status}"
            );
        }
        assert!(status.contains("NoNewPrivs:\t1") && status.contains("Threads:\t1"));
        client.set("a", Vec::new()).unwrap();
        assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, 2000)).is_err());
        drop(client);
        wait_until("it does not end", || is_gone(pid));
        assert!(!dir.join(Relay::SOCKET).exists());
    });
}

#[test]
fn it_outlives_its_daemon_and_gives_the_ports_to_the_next() {
    isolated(|dir| {
        let container = container();
        let first = client(dir, Path::new(PROGRAM));
        let ports = vec![
            (forward(2000, &container), reserve(2000)),
            (forward(2001, &container), reserve(2001)),
        ];
        first.set("a", ports).unwrap();
        let mut kept = connect(2000, &container);
        let before = about::<Relay>(dir).unwrap();
        drop(first);
        assert!(carries(&mut kept));
        assert!(carries(&mut connect(2000, &container)), "a new one");
        assert!(
            TcpListener::bind(place(2000).listen).is_err(),
            "it is kept from others"
        );
        let second = client(dir, Path::new(PROGRAM));
        let socket = second.take(place(2000)).unwrap();
        assert!(second.take(place(2000)).is_none());
        second
            .set("a", vec![(forward(2000, &container), Arc::new(socket))])
            .unwrap();
        second.settle();
        assert!(carries(&mut kept));
        let after = about::<Relay>(dir).unwrap();
        assert_eq!((after.pid, after.load.ports), (before.pid, 1));
        // What nobody has named any more is free.
        TcpListener::bind(place(2001).listen).unwrap();
        second.set("a", Vec::new()).unwrap();
        assert!(!carries(&mut kept));
    });
}

#[test]
fn a_dead_one_is_replaced_and_told_everything() {
    isolated(|dir| {
        let client = client(dir, Path::new(PROGRAM));
        let container = container();
        for number in 2000..2020 {
            let ports = vec![(forward(number, &container), reserve(number))];
            client.set(&number.to_string(), ports).unwrap();
        }
        let dead = about::<Relay>(dir).unwrap().pid;
        kill(dead);
        // The daemon has the sockets: nobody is refused meanwhile.
        for number in 2000..2020 {
            assert!(carries(&mut connect(number, &container)));
        }
        let next = about::<Relay>(dir).unwrap();
        assert_eq!((next.load.ports, next.pid == dead), (20, false));
        // What is said at the moment of its death is not lost either.
        kill(next.pid);
        client
            .set("new", vec![(forward(3000, &container), reserve(3000))])
            .unwrap();
        assert!(carries(&mut connect(3000, &container)));
        assert!(carries(&mut connect(2000, &container)));
        for owner in (2000..2020)
            .map(|n| n.to_string())
            .chain(["new".to_owned()])
        {
            client.set(&owner, Vec::new()).unwrap();
        }
    });
}

#[test]
fn one_of_another_build_keeps_its_connections_and_nothing_else() {
    isolated(|dir| {
        let container = container();
        let first = client(dir, Path::new(PROGRAM));
        first
            .set("a", vec![(forward(2000, &container), reserve(2000))])
            .unwrap();
        let old = about::<Relay>(dir).unwrap().pid;
        let mut kept = connect(2000, &container);
        drop(first);
        let upgraded = upgraded(dir);
        let second = client(dir, &upgraded);
        assert!(
            carries(&mut connect(2000, &container)),
            "the old one goes on"
        );
        let socket = second.take(place(2000)).unwrap();
        second
            .set("a", vec![(forward(2000, &container), Arc::new(socket))])
            .unwrap();
        second.settle();
        let new = about::<Relay>(dir).unwrap();
        assert_ne!(new.pid, old);
        assert!(carries(&mut kept), "its connections stay");
        assert!(carries(&mut connect(2000, &container)));
        drop(kept);
        wait_until("the old one does not end", || is_gone(old));
        second.set("a", Vec::new()).unwrap();
        // And the port is free again.
        drop(second);
        TcpListener::bind(place(2000).listen).unwrap();
    });
}

#[test]
fn what_cannot_be_served_is_told_and_leaves_what_was() {
    isolated(|dir| {
        let container = container();
        let nothing = client(dir, &dir.join("nothing"));
        let wish = || vec![(forward(2000, &container), reserve(2000))];
        let error = nothing.set("a", wish()).unwrap_err();
        assert!(error.to_string().contains("nothing"), "{error}");
        drop(nothing);
        let client = client(dir, Path::new(PROGRAM));
        client.set("a", wish()).unwrap();
        let bad = std::fs::File::open("/dev/null").unwrap();
        let ports = vec![(forward(2001, &container), Arc::new(OwnedFd::from(bad)))];
        client.set("a", ports).unwrap_err();
        assert!(carries(&mut connect(2000, &container)));
        client.set("a", Vec::new()).unwrap();
    });
}
