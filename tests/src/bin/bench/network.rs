//! Networks: published ports, what passes through them, and names.
//!
//! What reaches a published port comes from a neighbour: a network namespace on a cable to the
//! engine's own, as from another host.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::http::Connection;
use tests::{Host, IMAGE, Neighbour, poll};

use crate::engine::Engine;
use crate::measure::{self, Measurement, SPOUT, call, create, millis, remove, start};

/// All measurements: name, unit, what does it.
pub(crate) const ALL: &[(&str, &str, Measurement)] = &[
    ("run bridge with a port, spaced", "ms", with_port),
    ("run user network, spaced", "ms", in_user_network),
    ("start with 1,000 ports", "ms", many_ports),
    ("TCP through a published port", "Gbit/s", throughput),
    ("connections through a published port", "1/s", connections),
    ("DNS answer", "us", answer),
    ("DNS answers, 32 at a time", "1/s", answers),
];

/// How long throughput is measured.
const SPELL: Duration = Duration::from_secs(2);
/// A name server answers within this, or never.
const PATIENCE: Duration = Duration::from_secs(5);
const NETWORK: &str = "bench-network";

fn with_port(engine: &Engine) -> Result<Vec<f64>> {
    std::thread::sleep(measure::PAUSE);
    let body = json!({
        "Image": IMAGE, "Cmd": ["true"], "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": ""}]}},
    });
    Ok(vec![measure::life_of(engine, &body)?])
}

fn in_user_network(engine: &Engine) -> Result<Vec<f64>> {
    let network = UserNetwork::new(engine)?;
    std::thread::sleep(measure::PAUSE);
    let body = json!({"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": NETWORK}});
    let time = measure::life_of(engine, &body)?;
    drop(network);
    Ok(vec![time])
}

fn many_ports(engine: &Engine) -> Result<Vec<f64>> {
    let ports = 2000..3000;
    let exposed: serde_json::Map<String, Value> =
        ports.clone().map(|port| (format!("{port}/tcp"), json!({}))).collect();
    let bindings: serde_json::Map<String, Value> = ports
        .map(|port| (format!("{port}/tcp"), json!([{"HostPort": (port + 20_000).to_string()}])))
        .collect();
    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "100000"], "ExposedPorts": exposed,
        "HostConfig": {"PortBindings": bindings},
    });
    let mut connection = Connection::open(&engine.socket)?;
    let id = create(&mut connection, &body)?;
    let begin = Instant::now();
    start(&mut connection, &id)?;
    let time = millis(begin.elapsed());
    remove(&mut connection, &id)?;
    Ok(vec![time])
}

/// A container that takes what comes to a published port, and a host that sends.
struct Sink<'a> {
    engine: &'a Engine,
    id: String,
    neighbour: Neighbour,
    address: SocketAddr,
}

impl<'a> Sink<'a> {
    fn new(engine: &'a Engine) -> Result<Self> {
        const PORT: u16 = 23_999;
        let body = json!({
            "Image": SPOUT, "Cmd": ["/spout", "sink", "80"], "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": PORT.to_string()}]}},
        });
        let mut connection = Connection::open(&engine.socket)?;
        let id = create(&mut connection, &body)?;
        start(&mut connection, &id)?;
        let neighbour = Neighbour::at(&engine.socket);
        let address = SocketAddr::new(neighbour.engine_address.into(), PORT);
        let sink = Self {
            engine,
            id,
            neighbour,
            address,
        };
        let up = poll(Duration::from_secs(10), || {
            let answer = sink.neighbour.run(|| sink.send(Duration::ZERO));
            answer.ok().filter(|sent| *sent > 0)
        });
        up.context("nobody listens at the published port")?;
        Ok(sink)
    }

    /// Sends for some time and returns how many bytes the other side says it got.
    fn send(&self, time: Duration) -> Result<u64> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
        let block = vec![7; 1 << 18];
        let begin = Instant::now();
        stream.write_all(&block[..1])?;
        while begin.elapsed() < time {
            stream.write_all(&block)?;
        }
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.trim().parse()?)
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        if let Ok(mut connection) = Connection::open(&self.engine.socket) {
            // The engine's end removes what this leaves.
            let _ = remove(&mut connection, &self.id);
        }
    }
}

fn throughput(engine: &Engine) -> Result<Vec<f64>> {
    let sink = Sink::new(engine)?;
    let begin = Instant::now();
    let bytes = sink.neighbour.run(|| sink.send(SPELL))?;
    Ok(vec![bytes as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9])
}

fn connections(engine: &Engine) -> Result<Vec<f64>> {
    const COUNT: u32 = 500;
    let sink = Sink::new(engine)?;
    sink.neighbour.run(|| {
        let begin = Instant::now();
        for _ in 0..COUNT {
            ensure!(sink.send(Duration::ZERO)? == 1, "a byte went astray");
        }
        Ok(vec![f64::from(COUNT) / begin.elapsed().as_secs_f64()])
    })
}

/// A network of the benchmark's; goes when dropped.
struct UserNetwork<'a>(&'a Engine);

impl<'a> UserNetwork<'a> {
    fn new(engine: &'a Engine) -> Result<Self> {
        let mut connection = Connection::open(&engine.socket)?;
        call(&mut connection, "POST", "/networks/create", Some(&json!({"Name": NETWORK})))?;
        Ok(Self(engine))
    }
}

impl Drop for UserNetwork<'_> {
    fn drop(&mut self) {
        if let Ok(mut connection) = Connection::open(&self.0.socket) {
            // The engine's end removes what this leaves.
            let _ = call(&mut connection, "DELETE", &format!("/networks/{NETWORK}"), None);
        }
    }
}

/// Asks in a container's network for the name of another one.
fn ask<T: Send>(engine: &Engine, work: impl FnOnce(UdpSocket) -> Result<T> + Send) -> Result<T> {
    let network = UserNetwork::new(engine)?;
    let mut connection = Connection::open(&engine.socket)?;
    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": NETWORK},
        "NetworkingConfig": {"EndpointsConfig": {NETWORK: {"Aliases": ["bench"]}}},
    });
    let id = create(&mut connection, &body)?;
    start(&mut connection, &id)?;
    let about = call(&mut connection, "GET", &format!("/containers/{id}/json"), None)?;
    let pid = about["State"]["Pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let host = Host::of_process(pid.context("a running container has a process")?);
    let done = host.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(127, 0, 0, 11), 53))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        work(socket)
    });
    remove(&mut connection, &id)?;
    drop(network);
    done
}

/// A question for the address of `bench`.
fn question(id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(b"\x05bench\0\0\x01\0\x01");
    message
}

/// Takes an answer, which must have one address.
fn take(socket: &UdpSocket) -> Result<()> {
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer)?;
    if length < 12 || buffer[3] & 0xf != 0 || buffer[6..8] != [0, 1] {
        bail!("no answer with one address: {:?}", &buffer[..length]);
    }
    Ok(())
}

fn answer(engine: &Engine) -> Result<Vec<f64>> {
    ask(engine, |socket| {
        let mut times = Vec::new();
        for id in 0..1000 {
            let begin = Instant::now();
            socket.send(&question(id))?;
            take(&socket)?;
            times.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        Ok(times)
    })
}

fn answers(engine: &Engine) -> Result<Vec<f64>> {
    const TOTAL: u16 = 20_000;
    const WINDOW: u16 = 32;
    ask(engine, |socket| {
        let begin = Instant::now();
        for id in 0..TOTAL {
            socket.send(&question(id))?;
            if id >= WINDOW {
                take(&socket)?;
            }
        }
        for _ in 0..WINDOW {
            take(&socket)?;
        }
        Ok(vec![f64::from(TOTAL) / begin.elapsed().as_secs_f64()])
    })
}
