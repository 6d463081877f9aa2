//! Measures answers from memory: how many a second, and how long each takes at a given rate.
//!
//! `speed SECONDS RATE`: asks one sandbox at that rate from one socket and prints the spread of the
//! waiting times, then as fast as answers come.

use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use helper::Helper;
use helper::client::Link;
use helper::protocol::Request;
use helper::server::Settings;
use resolver::names::{Joined, Member, SandboxNames, Upstreams};
use resolver::protocol::{Order, Part, Resolver};
use resolver::server::serve;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03web\0\0\x01\0\x01";

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let rate: u32 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let handle = std::fs::File::open(dir.path())?;
    let settings = Settings {
        listener: sys::fdpass::listen(handle.as_fd(), Resolver::SOCKET)?,
        build: String::new(),
        say: |_| {},
    };
    let resolv_conf = dir.path().join("resolv.conf");
    let server = std::thread::spawn(move || serve(settings, resolv_conf));
    let (netns, asker) = sys::netns::create::<_, Failure>(|_| {
        sys::process::loopback_up()?;
        let asker = UdpSocket::bind("127.0.0.1:0")?;
        asker.connect("127.0.0.11:53")?;
        Ok(asker)
    })?;
    let (mut daemon, _) = Link::find(dir.path())?;
    tell(&mut daemon, &netns)?;
    paced(&asker, Duration::from_secs(seconds), rate)?;
    flat_out(&asker, Duration::from_secs(seconds))?;
    daemon.call(&Request::Leave, &[])?;
    server.join().map_err(|_| "the server panicked")??;
    Ok(())
}

fn tell(daemon: &mut Link<Resolver>, netns: &OwnedFd) -> Result<(), Failure> {
    let member = |n: u8| Member {
        names: vec![format!("c{n}"), "web".to_owned()],
        ipv4: Some([10, 0, 0, n].into()),
        ipv6: None,
    };
    let network = Order::Network {
        id: "n".to_owned(),
        name: "net".to_owned(),
        members: (0..4).map(|n| (n.to_string(), Some(member(n)))).collect(),
        part: Some(Part {
            first: true,
            last: true,
        }),
    };
    daemon.call(&Request::Own(network), &[])?;
    let sandbox = SandboxNames {
        id: "s".to_owned(),
        networks: vec![Joined {
            network: "n".to_owned(),
            links: std::collections::BTreeMap::new(),
        }],
        upstreams: Upstreams::Own(Vec::new()),
        ndots_set: false,
        forward: false,
    };
    let start = Instant::now();
    let order = Request::Own(Order::Sandbox(sandbox));
    daemon.call(&order, &[netns.as_fd()])?;
    say(&format!("a sandbox is served after {:?}", start.elapsed()));
    Ok(())
}

fn paced(asker: &UdpSocket, time: Duration, rate: u32) -> Result<(), Failure> {
    let mut waits = Vec::new();
    let mut buffer = [0; 512];
    let start = Instant::now();
    let mut next = start;
    while start.elapsed() < time {
        while Instant::now() < next {
            std::hint::spin_loop();
        }
        next += Duration::from_secs(1) / rate;
        let asked = Instant::now();
        asker.send(QUERY)?;
        asker.recv(&mut buffer)?;
        waits.push(asked.elapsed());
    }
    waits.sort_unstable();
    let at = |part: usize| waits[waits.len().saturating_sub(1) * part / 1000];
    say(&format!(
        "{} answers at {rate}/s: median {:?}, 99 % {:?}, 99.9 % {:?}, most {:?}",
        waits.len(),
        at(500),
        at(990),
        at(999),
        at(1000)
    ));
    Ok(())
}

fn flat_out(asker: &UdpSocket, time: Duration) -> Result<(), Failure> {
    const WINDOW: usize = 32;
    let mut buffer = [0; 512];
    for _ in 0..WINDOW {
        asker.send(QUERY)?;
    }
    let start = Instant::now();
    let mut count = 0_u64;
    while start.elapsed() < time {
        asker.recv(&mut buffer)?;
        asker.send(QUERY)?;
        count += 1;
    }
    say(&format!(
        "{} answers a second",
        count / time.as_secs().max(1)
    ));
    Ok(())
}

fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
