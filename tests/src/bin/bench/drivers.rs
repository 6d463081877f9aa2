//! Storage drivers beside each other: the same start with each, on disks that are alike.
//!
//! Every driver has a daemon of its own, on a file system in a file on memory; the other engine has
//! no part in it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tests::http::Connection;
use tests::{Daemon, Disk, IMAGE, image};

use crate::engine::Engine;
use crate::measure::{self, Measurement, PAUSE, call, millis};

/// All measurements: name, unit, what does it.
pub(crate) const ALL: &[(&str, &str, Measurement)] = &[
    ("run with overlay2 on ext4", "ms", |engine| run(engine, "overlay2")),
    ("run with erofs on ext4", "ms", |engine| run(engine, "erofs")),
    ("run with overlay2 on btrfs", "ms", |engine| run(engine, "overlay2 on btrfs")),
    ("run with btrfs on btrfs", "ms", |engine| run(engine, "btrfs")),
    ("start with overlay2 on ext4", "ms", |engine| start(engine, "overlay2")),
    ("start with erofs on ext4", "ms", |engine| start(engine, "erofs")),
    ("start with overlay2 on btrfs", "ms", |engine| {
        start(engine, "overlay2 on btrfs")
    }),
    ("start with btrfs on btrfs", "ms", |engine| start(engine, "btrfs")),
];

/// A daemon with a driver. The disk goes after it.
struct Driven {
    name: &'static str,
    daemon: Daemon,
    _disk: Disk,
}

static ALL_DRIVEN: OnceLock<Mutex<Vec<Driven>>> = OnceLock::new();

fn driven() -> MutexGuard<'static, Vec<Driven>> {
    let all = ALL_DRIVEN.get_or_init(Mutex::default);
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of a driver's daemon in the list; it is started for the first that asks.
fn ensure(all: &mut Vec<Driven>, name: &'static str) -> Result<usize> {
    if let Some(index) = all.iter().position(|known| known.name == name) {
        return Ok(index);
    }
    let disk = match name.ends_with("btrfs") {
        true => Disk::btrfs(1000)?,
        false => Disk::new(1000)?,
    };
    let driver = name.split(' ').next().unwrap_or(name);
    let daemon = Daemon::start_on_with(&disk.path(), &["--storage-driver", driver])?;
    image::ensure(&daemon.socket())?;
    all.push(Driven {
        name,
        daemon,
        _disk: disk,
    });
    Ok(all.len() - 1)
}

/// Creation, start, end and removal.
fn run(engine: &Engine, name: &'static str) -> Result<Vec<f64>> {
    times(engine, name, |times| times.total)
}

/// The start alone.
fn start(engine: &Engine, name: &'static str) -> Result<Vec<f64>> {
    times(engine, name, |times| times.start)
}

fn times(engine: &Engine, name: &'static str, which: fn(Life) -> f64) -> Result<Vec<f64>> {
    if !engine.is_ours() {
        return Ok(Vec::new());
    }
    let mut all = driven();
    let index = ensure(&mut all, name).with_context(|| format!("a daemon with {name}"))?;
    let body = json!({"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}});
    let socket = all[index].daemon.socket();
    // The first one makes what all others share.
    life_at(&socket, &body)?;
    (0..10)
        .map(|_| {
            std::thread::sleep(PAUSE);
            life_at(&socket, &body).map(which)
        })
        .collect()
}

/// How long a container took, and its start alone.
struct Life {
    total: f64,
    start: f64,
}

fn life_at(socket: &Path, body: &Value) -> Result<Life> {
    let mut connection = Connection::open(socket)?;
    let begin = Instant::now();
    let id = measure::create(&mut connection, body)?;
    let created = Instant::now();
    measure::start(&mut connection, &id)?;
    let start = millis(created.elapsed());
    call(&mut connection, "POST", &format!("/containers/{id}/wait"), None)?;
    call(&mut connection, "DELETE", &format!("/containers/{id}"), None)?;
    Ok(Life {
        total: millis(begin.elapsed()),
        start,
    })
}

/// Ends the daemons.
pub(crate) fn end() -> Result<()> {
    for mut one in driven().drain(..) {
        let leaks = one.daemon.retire();
        if !leaks.is_empty() {
            bail!("the daemon with {} left something behind:\n  {}", one.name, leaks.join("\n  "));
        }
    }
    Ok(())
}
