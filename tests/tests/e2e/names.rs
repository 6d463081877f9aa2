//! Names: what the resolver at 127.0.0.11 answers by itself, what it asks others, what it survives.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tests::{Case, Host, IMAGE, Neighbour, clients};

/// What the name server of these tests says of every name.
const ANSWER: [u8; 4] = [10, 11, 12, 13];
const RESOLVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);

/// A question for the records of one type (1 is A, 28 is AAAA) of a name.
fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a short label"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, kind, 0, 1]);
    message
}

/// The code of an answer, and its number of records.
fn verdict(answer: &[u8]) -> (u8, u16) {
    assert!(answer.len() >= 12 && answer[..2] == [0x12, 0x34], "no answer: {answer:?}");
    (answer[3] & 0xf, u16::from_be_bytes([answer[6], answer[7]]))
}

/// A name server on a host, until dropped.
struct Server {
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn new(host: &Host, address: Ipv4Addr) -> Self {
        let socket = host.run(|| UdpSocket::bind((address, 53))).expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let (asked, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (questions, end): (Arc<Mutex<Vec<_>>>, _) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                questions.lock().expect("no panic").push(buffer[..length].to_vec());
                let mut answer = buffer[..length].to_vec();
                // The question ends with the first empty label, its type and its class.
                let end = 12 + answer[12..].iter().position(|b| *b == 0).unwrap_or(0) + 5;
                let kind = answer[end - 3];
                answer.truncate(end);
                answer[2] = 0x81;
                answer[3] = 0x80;
                answer[6..12].fill(0);
                if kind == 1 {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                    answer.extend(ANSWER);
                }
                // Whoever asked asks again.
                let _ = socket.send_to(&answer, from);
            }
        });
        Self {
            asked,
            stop,
            thread: Some(thread),
        }
    }

    /// How often a name was asked for. What was asked before may come late and twice, but keeps
    /// its name.
    fn asked(&self, name: &str) -> usize {
        let all = self.asked.lock().expect("no panic");
        let end = question(name, 1).len() - 4;
        let name = &question(name, 1)[12..end];
        all.iter().filter(|asked| asked.get(12..end) == Some(name)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}

/// A container's network namespace.
fn inside(case: &Case, name: &str) -> Host {
    let pid = case.inspect(name)["State"]["Pid"].as_i64().expect("a process");
    Host::of_process(i32::try_from(pid).expect("a process id"))
}

/// What the resolver of a container answers.
fn ask(host: &Host, name: &str, kind: u8) -> Vec<u8> {
    host.asks(RESOLVER, &question(name, kind))
}

clients! {
    fn other_names_are_asked_of_the_servers_given(case) {
        let neighbour = Neighbour::of(case);
        let server = Server::new(&neighbour, neighbour.address);
        let (net, name) = (case.name("net"), case.name("asks"));
        case.cmd(&["network", "create", &net]).ok();
        let dns = neighbour.address.to_string();
        let run = ["run", "-d", "--name", &name, "--network", &net, "--dns", &dns, IMAGE, "sleep", "1000"];
        case.cmd(&run).ok();
        let host = inside(case, &name);
        // On a busy machine the first question may find no way out yet.
        tests::wait_for("the server's answer comes", Duration::from_secs(20), || {
            let answer = ask(&host, "somewhere.example", 1);
            verdict(&answer) == (0, 1) && answer.ends_with(&ANSWER)
        });
        assert!(server.asked("somewhere.example") > 0);
        // Of a container there is no question to anybody else, whatever the type.
        assert_eq!(verdict(&ask(&host, &name, 1)), (0, 1));
        assert_eq!(verdict(&ask(&host, &name, 28)), (0, 0), "a name without such an address");
        assert_eq!(server.asked(&name), 0);
        // The default bridge has no resolver of its own.
        let bridge = ["run", "--rm", "--dns", &dns, IMAGE, "cat", "/etc/resolv.conf"];
        case.cmd(&bridge).ok().shows(&format!("nameserver {dns}\n"));
    }

    fn questions_over_tcp_are_answered(case) {
        let (net, name) = (case.name("net"), case.name("asks"));
        case.cmd(&["network", "create", &net]).ok();
        case.cmd(&["run", "-d", "--name", &name, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        let answer = inside(case, &name).run(|| {
            let mut stream = TcpStream::connect_timeout(&RESOLVER, Duration::from_secs(5))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            let message = question(&name, 1);
            let length = u16::try_from(message.len()).expect("a short question");
            stream.write_all(&length.to_be_bytes())?;
            stream.write_all(&message)?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        });
        assert_eq!(verdict(&answer.expect("it answers")), (0, 1));
    }

    fn an_internal_network_asks_nobody(case) {
        let neighbour = Neighbour::of(case);
        let server = Server::new(&neighbour, neighbour.address);
        let (net, name) = (case.name("net"), case.name("asks"));
        case.cmd(&["network", "create", "--internal", &net]).ok();
        let dns = neighbour.address.to_string();
        let run = ["run", "-d", "--name", &name, "--network", &net, "--dns", &dns, IMAGE, "sleep", "1000"];
        case.cmd(&run).ok();
        let host = inside(case, &name);
        assert_eq!(verdict(&ask(&host, &name, 1)), (0, 1));
        let (code, records) = verdict(&ask(&host, "somewhere.example", 1));
        assert!(matches!(code, 2 | 3) && records == 0, "{code} {records}");
        assert_eq!((server.asked("somewhere.example"), server.asked(&name)), (0, 0));
    }

    fn the_resolver_s_settings_are_shown_to_the_container(case) {
        let net = case.name("net");
        case.cmd(&["network", "create", &net]).ok();
        let args = [
            "run", "--rm", "--network", &net, "--dns-search", "one.example", "--dns-search",
            "two.example", "--dns-opt", "timeout:2", IMAGE, "cat", "/etc/resolv.conf",
        ];
        let output = case.cmd(&args).ok().shows("nameserver 127.0.0.11\n");
        output.shows("search one.example two.example\n").shows("options timeout:2 ndots:0\n");
    }

    fn nonsense_does_not_end_the_resolver(case) {
        let (net, name) = (case.name("net"), case.name("asks"));
        case.cmd(&["network", "create", &net]).ok();
        case.cmd(&["run", "-d", "--name", &name, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        let host = inside(case, &name);
        host.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
            let mut looping = question("x", 1);
            looping.truncate(12);
            looping.extend([0xc0, 12, 0, 1, 0, 1]);
            let mut many = question(&name, 1);
            many[4..6].fill(0xff);
            let whole = question(&name, 1);
            let large = vec![0x61; 65_000];
            let mut parts: Vec<&[u8]> = (0..whole.len()).map(|end| &whole[..end]).collect();
            parts.extend([looping.as_slice(), &many, &large, &[0xff; 512], &[0; 12]]);
            for message in parts {
                socket.send_to(message, RESOLVER).expect("it can be sent");
            }
            // A connection that says nothing, and one that promises more than it sends.
            let silent = TcpStream::connect(RESOLVER).expect("it listens");
            let mut liar = TcpStream::connect(RESOLVER).expect("it listens");
            liar.write_all(&[0xff, 0xff, 1, 2, 3]).expect("it can be sent");
            drop((silent, liar));
        });
        assert_eq!(verdict(&ask(&host, &name, 1)), (0, 1));
    }

    fn a_container_may_serve_names_itself(case) {
        let (net, name) = (case.name("net"), case.name("server"));
        case.cmd(&["network", "create", &net]).ok();
        case.cmd(&["run", "-d", "--name", &name, "--network", &net, IMAGE, "sleep", "1000"]).ok();
        let host = inside(case, &name);
        let _echo = host.echo(53);
        let own = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53);
        assert_eq!(host.asks(own, b"mine"), b"mine");
        assert_eq!(verdict(&ask(&host, &name, 1)), (0, 1));
    }
}
