//! A host, containers and other name servers: each a namespace, all in this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use helper::Helper;
use helper::client::Link;
use helper::protocol::Request;
use helper::server::Settings;
use resolver::names::{Joined, Member, SandboxNames, Upstreams};
use resolver::protocol::{Order, Part, Reply, Resolver};
use resolver::server::serve;
use sys::Error;

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A name server in a namespace that is its host's.
pub struct Host {
    pub dir: tempfile::TempDir,
    pub netns: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

/// A namespace with a loopback interface.
pub fn namespace() -> OwnedFd {
    let made = sys::netns::create(|_| sys::process::loopback_up());
    made.expect("this test needs root").0
}

pub fn inside<T: Send>(netns: &OwnedFd, f: impl FnOnce() -> T + Send) -> T {
    sys::netns::with(netns, || Ok::<_, Error>(f())).unwrap()
}

impl Host {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let netns = namespace();
        let handle = File::open(dir.path()).unwrap();
        let settings = Settings {
            listener: sys::fdpass::listen(handle.as_fd(), Resolver::SOCKET).unwrap(),
            build: "test".to_owned(),
            say: |text| eprintln!("{text}"),
        };
        let conf = dir.path().join("resolv.conf");
        let home = netns.try_clone().unwrap();
        let thread = std::thread::spawn(move || inside(&home, || serve(settings, conf).unwrap()));
        Self {
            dir,
            netns,
            thread: Some(thread),
        }
    }

    pub fn resolv_conf(&self, servers: &[&str]) {
        let next: PathBuf = self.dir.path().join("next");
        let lines = servers
            .iter()
            .map(|server| format!("nameserver {server}\n"));
        std::fs::write(&next, lines.collect::<String>()).unwrap();
        std::fs::rename(&next, self.dir.path().join("resolv.conf")).unwrap();
    }

    pub fn daemon(&self) -> Daemon {
        let (link, _) = Link::find(self.dir.path()).unwrap();
        Daemon { link }
    }

    /// Waits until the name server has ended by itself.
    pub fn wait_for_end(&mut self) {
        let thread = self.thread.take().unwrap();
        let deadline = Instant::now() + DEADLINE;
        while !thread.is_finished() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::yield_now();
        }
        thread.join().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.thread.is_none() {
            return;
        }
        // It may be about to end by itself.
        if let Ok((mut link, _)) = Link::<Resolver>::find(self.dir.path()) {
            let _ = link.call(&Request::Leave, &[]);
        }
        self.wait_for_end();
    }
}

/// A daemon's connection.
pub struct Daemon {
    pub link: Link<Resolver>,
}

impl Daemon {
    pub fn order(&mut self, order: Order, fd: Option<&OwnedFd>) -> helper::client::Result<Reply> {
        let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
        let told = self.link.call(&Request::Own(order), &fds);
        told.map(|(reply, _)| reply)
    }

    /// Tells a whole network: identity and names, address and perhaps IPv6 address.
    pub fn network(&mut self, id: &str, name: &str, members: &[(&[&str], &str, Option<&str>)]) {
        let member = |(names, ipv4, ipv6): &(&[&str], &str, Option<&str>)| Member {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ipv4: ipv4.parse().ok(),
            ipv6: ipv6.map(|text| text.parse().unwrap()),
        };
        let members: BTreeMap<_, _> = members
            .iter()
            .map(|m| (m.0[0].to_owned(), Some(member(m))))
            .collect();
        let order = Order::Network {
            id: id.to_owned(),
            name: name.to_owned(),
            members,
            part: Some(Part {
                first: true,
                last: true,
            }),
        };
        assert_eq!(self.order(order, None).unwrap(), Reply::Done);
    }

    pub fn sandbox(&mut self, names: SandboxNames, netns: &OwnedFd) {
        let reply = self.order(Order::Sandbox(names), Some(netns));
        assert_eq!(reply.unwrap(), Reply::Done);
    }
}

pub fn sandbox(id: &str, networks: &[&str]) -> SandboxNames {
    let joined = |network: &&str| Joined {
        network: (*network).to_owned(),
        links: BTreeMap::new(),
    };
    SandboxNames {
        id: id.to_owned(),
        networks: networks.iter().map(joined).collect(),
        upstreams: Upstreams::Host,
        ndots_set: false,
        forward: true,
    }
}

/// A question.
pub fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes
}

/// An answer taken apart: its code, whether it was cut, its data by type.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: u8,
    pub cut: bool,
    pub data: Vec<String>,
}

pub fn read(message: &[u8]) -> Answer {
    let count = u16::from_be_bytes([message[6], message[7]]);
    let name_end = |mut at: usize| loop {
        match message[at] {
            0 => return at + 1,
            length if length & 0xc0 == 0xc0 => return at + 2,
            length => at += 1 + usize::from(length),
        }
    };
    let mut at = if message[5] == 1 {
        name_end(12) + 4
    } else {
        12
    };
    let mut data = Vec::new();
    for _ in 0..count {
        at = name_end(at);
        let kind = u16::from_be_bytes([message[at], message[at + 1]]);
        let length = usize::from(u16::from_be_bytes([message[at + 8], message[at + 9]]));
        let value = &message[at + 10..at + 10 + length];
        data.push(match kind {
            1 => Ipv4Addr::from(<[u8; 4]>::try_from(value).unwrap()).to_string(),
            28 => IpAddr::from(<[u8; 16]>::try_from(value).unwrap()).to_string(),
            12 => {
                let mut labels = Vec::new();
                let mut rest = value;
                while let Some((length, tail)) =
                    rest.split_first().filter(|(length, _)| **length > 0)
                {
                    let (label, next) = tail.split_at(usize::from(*length));
                    labels.push(String::from_utf8(label.to_vec()).unwrap());
                    rest = next;
                }
                labels.join(".")
            }
            other => format!("type {other}, {length} bytes"),
        });
        at += 10 + length;
    }
    Answer {
        code: message[3] & 15,
        cut: message[2] & 2 != 0,
        data,
    }
}

pub const A: u16 = 1;
pub const PTR: u16 = 12;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;

/// A program in a container that asks.
pub struct Asker {
    pub udp: UdpSocket,
    netns: OwnedFd,
}

impl Asker {
    pub fn new(netns: &OwnedFd) -> Self {
        let udp = inside(netns, || {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            // Connected, as the C library does it: answers from other ports are not seen.
            udp.connect("127.0.0.11:53").unwrap();
            udp
        });
        udp.set_read_timeout(Some(DEADLINE)).unwrap();
        Self {
            udp,
            netns: netns.try_clone().unwrap(),
        }
    }

    pub fn raw(&self, message: &[u8]) -> Vec<u8> {
        self.udp.send(message).unwrap();
        self.receive()
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = self.udp.recv(&mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    pub fn ask(&self, name: &str, kind: u16) -> Answer {
        let answer = self.raw(&query(7, name, kind));
        assert_eq!(answer[..2], [0, 7], "the identity comes back");
        read(&answer)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = inside(&self.netns, || TcpStream::connect("127.0.0.11:53").unwrap());
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    pub fn ask_tcp(&self, name: &str, kind: u16) -> Answer {
        let mut stream = self.connect();
        write_frame(&mut stream, &query(7, name, kind));
        read(&read_frame(&mut stream).unwrap())
    }
}

pub fn write_frame(stream: &mut TcpStream, message: &[u8]) {
    let mut bytes = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).unwrap();
}

pub fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    Some(message)
}

/// What another name server does with a question; `None` is silence.
pub type Behaviour = dyn Fn(&[u8], bool) -> Option<Vec<u8>> + Send + Sync;

/// Another name server.
pub struct Upstream {
    pub asked: Arc<AtomicUsize>,
    pub seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Upstream {
    /// Serves UDP and TCP in a namespace until the test process ends.
    pub fn start(netns: &OwnedFd, address: &str, behaviour: Arc<Behaviour>) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let (udp, tcp) = inside(netns, || {
            (
                UdpSocket::bind(address).unwrap(),
                TcpListener::bind(address).unwrap(),
            )
        });
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = {
            let (asked, seen) = (Arc::clone(&asked), Arc::clone(&seen));
            move |message: &[u8]| {
                seen.lock().unwrap().push(message.to_vec());
                asked.fetch_add(1, Ordering::SeqCst);
            }
        };
        let (answer, noted) = (Arc::clone(&behaviour), note.clone());
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                noted(&buffer[..length]);
                if let Some(answer) = answer(&buffer[..length], false) {
                    let _ = udp.send_to(&answer, from);
                }
            }
        });
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().map_while(Result::ok) {
                while let Some(message) = read_frame(&mut stream) {
                    note(&message);
                    match behaviour(&message, true) {
                        Some(answer) => write_frame(&mut stream, &answer),
                        None => break,
                    }
                }
            }
        });
        Self { asked, seen }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until so many questions have come.
    pub fn wait(&self, count: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.asked() < count {
            assert!(Instant::now() < deadline, "{} of {count}", self.asked());
            std::thread::yield_now();
        }
    }
}

/// An answer with one record.
pub fn answer(query: &[u8], code: u8, data: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = query.to_vec();
    bytes[2] |= 0x80;
    bytes[3] = 0x80 | code;
    if let Some(data) = data {
        bytes[7] = 1;
        let kind = if data.len() == 4 { A } else { TXT };
        bytes.extend_from_slice(&[0xc0, 12]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 9]);
        bytes.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(data);
    }
    bytes
}
