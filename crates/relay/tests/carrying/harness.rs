//! A relay on a thread, in a namespace with a loopback, and a daemon that tells it ports.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use helper::Helper;
use helper::client::{Error, Link};
use helper::protocol::Request;
use helper::server::{ServeError, Settings};
use relay::protocol::{Forward, Load, Order, Place, Protocol, Relay, Reply};
use relay::server::{Limits, serve};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

pub const DEADLINE: Duration = Duration::from_secs(20);

/// Enough for everything that is not about limits.
pub const PLENTY: Limits = Limits {
    connections: 100,
    flows: 100,
    silence: Duration::from_secs(90),
};

/// A relay and the daemon at its other side.
pub struct Carrier {
    dir: tempfile::TempDir,
    daemon: Option<Link<Relay>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

/// Runs a test in a namespace of its own, with a relay.
pub fn with_relay(limits: Limits, test: impl FnOnce(&mut Carrier) + Send) {
    sys::netns::create(|_| {
        sys::process::loopback_up()?;
        let mut relay = Carrier::start(limits);
        test(&mut relay);
        relay.stop();
        Ok::<_, sys::Error>(())
    })
    .expect("this test needs root");
}

impl Carrier {
    /// One on a thread of the caller's namespace.
    pub fn start(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let handle = std::fs::File::open(dir.path()).unwrap();
        let settings = Settings {
            listener: sys::fdpass::listen(handle.as_fd(), Relay::SOCKET).unwrap(),
            build: "test".to_owned(),
            say: |text| eprintln!("{text}"),
        };
        let thread = std::thread::spawn(move || serve(settings, limits));
        let mut relay = Self {
            dir,
            daemon: None,
            thread: Some(thread),
        };
        relay.next_daemon();
        relay
    }

    fn stop(&mut self) {
        self.next_daemon();
        assert_eq!(self.call(&Request::Leave).unwrap(), Reply::Done);
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    /// Hangs up and waits for its end.
    pub fn ends(mut self) {
        self.daemon = None;
        self.thread.take().unwrap().join().unwrap().unwrap();
    }

    /// Another daemon comes; the former is gone.
    pub fn next_daemon(&mut self) {
        self.daemon = Some(Link::find(self.dir.path()).unwrap().0);
    }

    pub fn order(&mut self, order: Order) -> Result<Reply, spec::WireError> {
        self.call(&Request::Own(order))
    }

    pub fn call(&mut self, request: &Request<Order>) -> Result<Reply, spec::WireError> {
        self.call_with(request, &[]).map(|(reply, _)| reply)
    }

    pub fn call_with(
        &mut self,
        request: &Request<Order>,
        sockets: &[&OwnedFd],
    ) -> Result<(Reply, Vec<OwnedFd>), spec::WireError> {
        let fds: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        match self.daemon.as_mut().unwrap().call(request, &fds) {
            Ok(answer) => Ok(answer),
            Err(Error::Refused { source, .. }) => Err(source),
            Err(other) => panic!("{other:?}"),
        }
    }

    pub fn load(&mut self) -> Load {
        self.daemon.as_mut().unwrap().about().unwrap().load
    }

    /// Reserves a port of `[::]` and has it lead to a target.
    pub fn opens(&mut self, protocol: Protocol, target: SocketAddr) -> (Place, OwnedFd) {
        let (place, socket) = reserve(protocol);
        self.open(place, target, &socket).unwrap();
        (place, socket)
    }

    pub fn open(
        &mut self,
        place: Place,
        target: SocketAddr,
        socket: &OwnedFd,
    ) -> Result<Reply, spec::WireError> {
        let forward = Forward {
            place,
            target,
            interface: "lo".to_owned(),
        };
        let order = Request::Own(Order::Open(vec![forward]));
        self.call_with(&order, &[socket]).map(|(reply, _)| reply)
    }
}

/// A bound socket as the daemon has it.
///
/// Bound by number: the kernel takes a port that it chose itself back from who stops listening.
pub fn reserve(protocol: Protocol) -> (Place, OwnedFd) {
    let (kind, first) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, 20_000),
        Protocol::Udp => (SocketType::DGRAM, 25_000),
    };
    // Below those that the kernel chooses.
    for number in first..first + 5_000 {
        let socket = socket_with(AddressFamily::INET6, kind, SocketFlags::CLOEXEC, None).unwrap();
        sockopt::set_ipv6_v6only(&socket, true).unwrap();
        if protocol == Protocol::Udp {
            sockopt::set_socket_recv_buffer_size(&socket, 1).unwrap();
        }
        let listen = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), number);
        if bind(&socket, &listen).is_ok() {
            return (Place { protocol, listen }, socket);
        }
    }
    panic!("no free port");
}

/// `[::1]` at a port.
pub fn at(place: Place) -> SocketAddr {
    SocketAddr::new("::1".parse().unwrap(), place.listen.port())
}

/// A container that listens.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A container with a UDP socket.
pub fn datagrams(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Whether an error says that the other side has given up.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
