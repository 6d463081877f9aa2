//! Measures `attach`: alone, with spares, spaced and back to back, by one caller and by eight.
//!
//! Runs in a network namespace of its own. Needs root: `cargo run --release --example attach`.

use std::path::Path;
use std::time::{Duration, Instant};

use network::{AttachOptions, Network, NetworkConfig};
use spec::id::ContainerId;

const ROUNDS: usize = 200;

struct Case {
    name: &'static str,
    spares: usize,
    callers: usize,
    pause: Duration,
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
    };
    let cases = [
        case("spaced, no spares", 0, 1, pause),
        case("spaced, 4 spares", 4, 1, pause),
        case("back to back, no spares", 0, 1, zero),
        case("back to back, 4 spares", 4, 1, zero),
        case("8 callers, no spares", 0, 8, zero),
        case("8 callers, 4 spares", 4, 8, zero),
        case("8 callers, 16 spares", 16, 8, zero),
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
    let network = Network::open(NetworkConfig {
        spares: case.spares,
        ..NetworkConfig::new(state, "corten0", "corten")
    })
    .expect("the namespace is empty");
    network.reconcile(&[]);
    std::thread::sleep(Duration::from_millis(100));
    let begin = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..case.callers)
            .map(|caller| {
                let network = &network;
                scope.spawn(move || one_caller(network, caller, case))
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

fn one_caller(network: &Network, caller: usize, case: &Case) -> Vec<Duration> {
    let rounds = ROUNDS / case.callers;
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let mut id = [0; 32];
        id[0] = u8::try_from(caller).expect("few callers");
        id[1] = u8::try_from(round % 256).expect("below 256");
        let id = ContainerId::from_bytes(id);
        let begin = Instant::now();
        let endpoint = network
            .attach(&id, &AttachOptions::default())
            .expect("there are addresses");
        times.push(begin.elapsed());
        drop(endpoint);
        network.detach(&id);
        std::thread::sleep(case.pause);
    }
    times
}
