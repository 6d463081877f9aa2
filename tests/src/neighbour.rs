//! A host beside the engine's: a network namespace on a cable (veth) to the engine's namespace.
//!
//! What reaches published ports from outside can only be seen from outside: packets of the engine's
//! own host take another way through the firewall.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Case;

/// How long anything that should come may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long is waited for what should not come.
const SILENCE: Duration = Duration::from_millis(1500);

/// A namespace of this test's, which runs programs and code.
#[derive(Debug)]
pub struct Host {
    netns: OwnedFd,
}

impl Host {
    /// An empty one with its loopback up.
    pub fn new() -> Self {
        let made = sys::netns::create(|_| Ok::<_, sys::Error>(()));
        let (netns, ()) = made.expect("root makes network namespaces");
        let host = Self { netns };
        host.sh(&["ip", "link", "set", "lo", "up"]);
        host
    }

    /// The one that a process is in.
    pub fn of_process(pid: i32) -> Self {
        let path = format!("/proc/{pid}/ns/net");
        let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Self { netns: file.into() }
    }

    /// Runs code in it.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let done = sys::netns::with(&self.netns, || Ok::<_, sys::Error>(f()));
        done.expect("a namespace that is held can be entered")
    }

    /// Runs a program in it and returns what it printed; panics if it fails.
    #[track_caller]
    pub fn sh(&self, words: &[&str]) -> String {
        let output = self.run(|| Command::new(words[0]).args(&words[1..]).output());
        let output = output.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert!(
            output.status.success(),
            "{words:?}: {} {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Whether a program that runs in it succeeds.
    pub fn succeeds(&self, words: &[&str]) -> bool {
        let output = self.run(|| Command::new(words[0]).args(&words[1..]).output());
        output.is_ok_and(|output| output.status.success())
    }

    /// Connects and reads what the other side says until it closes; `line` is sent first.
    pub fn talk(&self, to: SocketAddr, line: &str, patience: Duration) -> io::Result<String> {
        self.run(|| {
            let mut stream = TcpStream::connect_timeout(&to, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(line.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }

    /// What a web server answers to `GET /`, body only; waits until it is there.
    #[track_caller]
    pub fn fetches(&self, address: impl Into<IpAddr>, port: u16) -> String {
        let to = SocketAddr::new(address.into(), port);
        let mut last = None;
        let found = crate::poll(PATIENCE, || {
            match self.talk(to, "GET / HTTP/1.0\r\n\r\n", Duration::from_secs(3)) {
                Ok(answer) if !answer.is_empty() => Some(answer),
                other => {
                    last = Some(other);
                    None
                }
            }
        });
        let answer = found.unwrap_or_else(|| panic!("nothing comes from {to}: {last:?}"));
        let body = answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body);
        body.to_owned()
    }

    /// Whether a connection to a port is not possible, now.
    pub fn is_shut_out(&self, address: impl Into<IpAddr>, port: u16) -> bool {
        let to = SocketAddr::new(address.into(), port);
        self.run(|| TcpStream::connect_timeout(&to, SILENCE)).is_err()
    }

    /// Sends a datagram until an answer comes.
    #[track_caller]
    pub fn asks(&self, to: SocketAddr, text: &[u8]) -> Vec<u8> {
        let unspecified: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let answer = self.run(|| {
            let socket = UdpSocket::bind((unspecified, 0)).expect("a free port");
            socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a time-out");
            crate::poll(PATIENCE, || {
                socket.send_to(text, to).ok()?;
                let mut buffer = vec![0; 65_536];
                let (length, _) = socket.recv_from(&mut buffer).ok()?;
                buffer.truncate(length);
                Some(buffer)
            })
        });
        answer.unwrap_or_else(|| panic!("no datagram comes back from {to}"))
    }

    /// Sends every datagram that comes to a port of it back, until dropped.
    #[track_caller]
    pub fn echo(&self, port: u16) -> Echo {
        let socket = self.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
        let socket = socket.expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !seen.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    // Whoever asked asks again.
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
        Echo {
            stop,
            thread: Some(thread),
        }
    }

    /// Serves one short page at a port of it, until dropped.
    #[track_caller]
    pub fn page(&self, address: impl Into<IpAddr>, port: u16) -> Echo {
        let listener = self.listen(address, port).expect("the port is free");
        let wait = Some(Duration::from_millis(100));
        let kind = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&listener, kind, wait).expect("a listener");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    continue;
                };
                // Whoever asked asks again.
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\noutside\n");
            }
        });
        Echo {
            stop,
            thread: Some(thread),
        }
    }

    /// A listening socket in it.
    pub fn listen(&self, address: impl Into<IpAddr>, port: u16) -> io::Result<TcpListener> {
        let at = SocketAddr::new(address.into(), port);
        self.run(|| TcpListener::bind(at))
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// A service of a test, which ends when dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}

/// A host on a cable to the engine's.
#[derive(Debug)]
pub struct Neighbour {
    host: Host,
    engine: Host,
    link: String,
    /// Its own address.
    pub address: Ipv4Addr,
    /// The engine's address on the cable.
    pub engine_address: Ipv4Addr,
    /// Its own address, version 6.
    pub address6: Ipv6Addr,
    /// The engine's, version 6.
    pub engine_address6: Ipv6Addr,
}

impl Neighbour {
    /// Of the engine that a test talks to.
    pub fn of(case: &Case) -> Self {
        Self::at(case.target().socket())
    }

    /// Of the engine that listens on a socket.
    pub fn at(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the engine listens");
        let peer = rustix::net::sockopt::socket_peercred(&stream).expect("a peer has credentials");
        Self::beside(Host::of_process(peer.pid.as_raw_nonzero().get()))
    }

    /// Of a namespace.
    pub fn beside(engine: Host) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        // Test programs run at the same time; each has a range of addresses by its process id.
        let number =
            (std::process::id() << 4).wrapping_add(COUNTER.fetch_add(1, Ordering::Relaxed));
        let base = 0x0a40_0000 | (number & 0xf_ffff) << 2;
        let (engine_address, address) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        // The base within the first 64 bits: each cable is a subnet of its own.
        let six = |last| Ipv6Addr::from(0xfd99_u128 << 112 | u128::from(base) << 64 | last);
        let (engine_address6, address6) = (six(1), six(2));
        let link = format!("nb{base:08x}");
        let host = Host::new();
        let far = format!("/proc/{}/fd/{}", std::process::id(), host.netns.as_raw_fd());
        engine.sh(&[
            "ip", "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &far,
        ]);
        for (side, name, own) in [
            (&engine, link.as_str(), (engine_address, engine_address6)),
            (&host, "eth0", (address, address6)),
        ] {
            side.sh(&["ip", "addr", "add", &format!("{}/30", own.0), "dev", name]);
            side.sh(&["ip", "addr", "add", &format!("{}/64", own.1), "dev", name, "nodad"]);
            side.sh(&["ip", "link", "set", name, "up"]);
        }
        host.sh(&["ip", "route", "add", "default", "via", &engine_address.to_string()]);
        host.sh(&["ip", "-6", "route", "add", "default", "via", &engine_address6.to_string()]);
        Self {
            host,
            engine,
            link,
            address,
            engine_address,
            address6,
            engine_address6,
        }
    }

    /// The engine's own host.
    pub fn engine(&self) -> &Host {
        &self.engine
    }

    /// Name of the cable's end at the engine's host.
    pub fn link(&self) -> &str {
        &self.link
    }
}

impl std::ops::Deref for Neighbour {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // Goes with the namespace anyway, some moments later.
        self.engine.succeeds(&["ip", "link", "delete", &self.link]);
    }
}
