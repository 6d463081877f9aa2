//! `cargo xtask bench`: what a container costs here, and at a dockerd beside us.
//!
//! Raw HTTP over unix sockets, so that nothing but the engines is measured; rounds alternate
//! between the engines; medians and ratios; all data on memory. Arguments:
//! `[--dockerd PATH|unix:///SOCKET] [--rounds N] [NAME…]`, where NAME selects measurements.
#![forbid(unsafe_code)]

mod drivers;
mod engine;
mod images;
mod measure;
mod network;
mod report;

use anyhow::{Context, Result};

use engine::Engine;
use report::Report;

/// What the command line asks for.
struct Options {
    dockerd: Option<String>,
    rounds: usize,
    names: Vec<String>,
}

impl Options {
    fn from_args() -> Result<Self> {
        let mut options = Self {
            dockerd: None,
            rounds: 15,
            names: Vec::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--dockerd" => options.dockerd = Some(args.next().context("--dockerd PATH")?),
                "--rounds" => options.rounds = args.next().context("--rounds N")?.parse()?,
                _ => options.names.push(arg),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| name.contains(wanted.as_str()))
    }
}

fn main() -> Result<()> {
    let options = Options::from_args()?;
    let mut engines = vec![Engine::ours()?];
    if let Some(dockerd) = &options.dockerd {
        engines.push(Engine::reference(dockerd)?);
    }
    for engine in &engines {
        measure::prepare(engine)?;
    }
    let mut report = Report::new(&engines);
    let all = measure::ALL.iter().chain(network::ALL).chain(images::ALL).chain(drivers::ALL);
    for (name, unit, measurement) in all {
        if options.wants(name) {
            report.begin(name);
            let rounds = measure::rounds(name, options.rounds);
            // Engines take turns, so that whatever else the machine does meets both.
            for _ in 0..rounds {
                for (index, engine) in engines.iter().enumerate() {
                    let values = measurement(engine)
                        .with_context(|| format!("{name} of {}", engine.name))?;
                    report.add(index, values);
                }
            }
            report.end(unit);
        }
    }
    images::end();
    drivers::end()?;
    for engine in engines {
        engine.end()?;
    }
    Ok(())
}
