//! Measures opening a sandbox: alone, with spares, spaced and back to back, by one caller and by eight.
//!
//! Runs in a network namespace of its own. Needs root: `cargo run --release --example attach`.

use std::path::Path;
use std::time::{Duration, Instant};

use network::{
    EndpointRequest, NetworkSpec, Networks, PortRequest, Protocol, SandboxRequest, Settings,
};
use spec::id::ContainerId;

const ROUNDS: usize = 200;

struct Case {
    name: &'static str,
    spares: usize,
    callers: usize,
    pause: Duration,
    /// Published ports of each container; these are in a user's network.
    ports: u16,
}

fn main() {
    let state = std::env::temp_dir().join(format!("attach-bench-{}", std::process::id()));
    let pause = Duration::from_millis(10);
    let zero = Duration::ZERO;
    let case = |name, spares, callers, pause| Case {
        name,
        spares,
        callers,
        pause,
        ports: 0,
    };
    let published = |name, spares, ports| Case {
        ports,
        ..case(name, spares, 1, pause)
    };
    let cases = [
        case("spaced, no spares", 0, 1, pause),
        case("spaced, 4 spares", 4, 1, pause),
        case("back to back, no spares", 0, 1, zero),
        case("back to back, 4 spares", 4, 1, zero),
        case("8 callers, no spares", 0, 8, zero),
        case("8 callers, 4 spares", 4, 8, zero),
        case("8 callers, 16 spares", 16, 8, zero),
        published("user's network, 1 port", 4, 1),
        published("user's network, 100 ports", 4, 100),
    ];
    for round in 0..2 {
        for case in &cases {
            let line = sys::netns::create(|_| Ok::<_, sys::Error>(measure(&state, case)));
            println!("{round} {:26} {}", case.name, line.expect("needs root").1);
        }
    }
    let _ = std::fs::remove_dir_all(state);
}

fn measure(state: &Path, case: &Case) -> String {
    let networks = Networks::open(Settings {
        spares: case.spares,
        ..Settings::new(state, state, "corten0", "corten")
    })
    .expect("the namespace is empty");
    networks.reconcile(Vec::new());
    let network = if case.ports == 0 {
        networks.find("bridge").expect("it is always there")
    } else {
        let name = format!("ports{}", case.ports);
        let found = networks.find(&name);
        found.unwrap_or_else(|_| networks.create(NetworkSpec::new(name)).expect("created").id)
    };
    let port = |number| PortRequest {
        container_port: number,
        protocol: Protocol::Tcp,
        host_ip: None,
        host_ports: None,
    };
    let request = SandboxRequest {
        endpoints: vec![EndpointRequest::new(network)],
        ports: (1..=case.ports).map(port).collect(),
        ..SandboxRequest::default()
    };
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..case.callers)
            .map(|caller| {
                let (networks, request) = (&networks, &request);
                scope.spawn(move || one_caller(networks, request, caller, case))
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        threads.into_iter().flat_map(join).collect()
    });
    let total = begin.elapsed();
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
    format!(
        "min {:>6} p50 {:>6} p90 {:>6} max {:>6} µs, {:>5.0} per second",
        at(0),
        at(50),
        at(90),
        at(100),
        times.len() as f64 / total.as_secs_f64()
    )
}

fn one_caller(
    networks: &Networks,
    request: &SandboxRequest,
    caller: usize,
    case: &Case,
) -> Vec<Duration> {
    let rounds = ROUNDS / case.callers;
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let mut id = [0; 32];
        id[0] = u8::try_from(caller).expect("few callers");
        id[1] = u8::try_from(round % 256).expect("below 256");
        let id = ContainerId::from_bytes(id);
        let begin = Instant::now();
        let sandbox = networks
            .open_sandbox(&id, request)
            .expect("there are addresses and ports");
        networks.publish(&id).expect("the kernel takes the rules");
        times.push(begin.elapsed());
        drop(sandbox);
        networks.close_sandbox(&id);
        std::thread::sleep(case.pause);
    }
    times
}
