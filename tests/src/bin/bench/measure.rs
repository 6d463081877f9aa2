//! The measurements: each is one round on one engine and returns one value or several.

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use spec::Digest;
use tests::command::{bin_dir, client_command};
use tests::http::{self, Connection};
use tests::tarball::Tarball;
use tests::{IMAGE, host, image};

use crate::engine::Engine;

/// One round of a measurement.
pub(crate) type Measurement = fn(&Engine) -> Result<Vec<f64>>;

/// All measurements: name, unit, what does it.
pub(crate) const ALL: &[(&str, &str, Measurement)] = &[
    ("run bridge, spaced", "ms", |engine| spaced(engine, "bridge")),
    ("run bridge, back to back", "ms", |engine| packed(engine, "bridge")),
    ("run none, spaced", "ms", |engine| spaced(engine, "none")),
    ("run none, back to back", "ms", |engine| packed(engine, "none")),
    ("exec", "ms", exec),
    ("50 starts by 8 clients", "ms", crowd),
    ("logs written", "MB/s", log_write),
    ("logs read", "MB/s", log_read),
    ("load 200 MB, 16000 files", "ms", load),
    ("ps by the client", "ms", client_call),
    ("memory per container, PSS", "kB", memory),
    ("daemon RSS with 100 containers", "kB", daemon_memory),
];

/// How many rounds of a measurement make sense.
pub(crate) fn rounds(name: &str, wanted: usize) -> usize {
    match name {
        name if name.starts_with("run") && name.ends_with("spaced") => wanted,
        name if name.starts_with("memory") || name.starts_with("daemon") => 1,
        name if name.contains("1 GB") || name.contains("1,000 ports") => 1,
        _ => wanted.min(3),
    }
}

/// The image with the writer of lines in it.
pub(crate) const SPOUT: &str = "e2e/spout:latest";

/// The pause between spaced runs: long enough for the kernel's grace periods to end.
pub(crate) const PAUSE: Duration = Duration::from_millis(150);

/// What a load measurement sends.
const FILES: usize = 16_000;
const FILE_SIZE: usize = 12_500;

/// Loads the images that the measurements need and warms both sides up.
pub(crate) fn prepare(engine: &Engine) -> Result<()> {
    image::ensure(&engine.socket)?;
    let spout =
        std::fs::read(bin_dir().join("spout")).context("the program `spout` is not built")?;
    let archive = Tarball::default().file("spout", 0o755, &spout).finish();
    let path = "/images/create?fromSrc=-&repo=e2e/spout&tag=latest";
    let answer = Connection::open(&engine.socket)?.upload("POST", path, archive.as_slice())?;
    if answer.status != 200 {
        bail!("import of the bench image: {}", answer.text());
    }
    for _ in 0..3 {
        life(engine, "bridge")?;
    }
    Ok(())
}

/// A request that has to succeed.
pub(crate) fn call(
    connection: &mut Connection,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value> {
    let answer = connection.request(method, path, body)?;
    if answer.status >= 400 {
        bail!("{method} {path}: {} {}", answer.status, answer.text());
    }
    Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

pub(crate) fn create(connection: &mut Connection, body: &Value) -> Result<String> {
    let created = call(connection, "POST", "/containers/create", Some(body))?;
    Ok(created["Id"].as_str().context("create gave no id")?.to_owned())
}

pub(crate) fn start(connection: &mut Connection, id: &str) -> Result<()> {
    call(connection, "POST", &format!("/containers/{id}/start"), None).map(drop)
}

pub(crate) fn remove(connection: &mut Connection, id: &str) -> Result<()> {
    call(connection, "DELETE", &format!("/containers/{id}?force=1"), None).map(drop)
}

fn sleeper(network: &str) -> Value {
    json!({"Image": IMAGE, "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": network}})
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// create + start + wait + remove, in milliseconds.
fn life(engine: &Engine, network: &str) -> Result<f64> {
    let body = json!({"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": network}});
    life_of(engine, &body)
}

/// The same of a container of any settings.
pub(crate) fn life_of(engine: &Engine, body: &Value) -> Result<f64> {
    let mut connection = Connection::open(&engine.socket)?;
    let begin = Instant::now();
    let id = create(&mut connection, body)?;
    start(&mut connection, &id)?;
    call(&mut connection, "POST", &format!("/containers/{id}/wait"), None)?;
    call(&mut connection, "DELETE", &format!("/containers/{id}"), None)?;
    Ok(millis(begin.elapsed()))
}

fn spaced(engine: &Engine, network: &str) -> Result<Vec<f64>> {
    std::thread::sleep(PAUSE);
    Ok(vec![life(engine, network)?])
}

fn packed(engine: &Engine, network: &str) -> Result<Vec<f64>> {
    (0..10).map(|_| life(engine, network)).collect()
}

/// exec create + start, with the output read to its end.
fn exec(engine: &Engine) -> Result<Vec<f64>> {
    let mut connection = Connection::open(&engine.socket)?;
    let id = create(&mut connection, &sleeper("none"))?;
    start(&mut connection, &id)?;
    let mut times = Vec::new();
    for _ in 0..10 {
        let begin = Instant::now();
        let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["true"]});
        let made = call(&mut connection, "POST", &format!("/containers/{id}/exec"), Some(&body))?;
        let path = format!("/exec/{}/start", made["Id"].as_str().context("exec gave no id")?);
        let answer = http::request(&engine.socket, "POST", &path, Some(&json!({"Detach": false})))?;
        if answer.status >= 400 {
            bail!("{path}: {}", answer.text());
        }
        times.push(millis(begin.elapsed()));
    }
    remove(&mut connection, &id)?;
    Ok(times)
}

/// Fifty containers created and started by eight clients at once.
fn crowd(engine: &Engine) -> Result<Vec<f64>> {
    const STARTS: usize = 50;
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let worker = || -> Result<Vec<String>> {
        let mut connection = Connection::open(&engine.socket)?;
        let mut ids = Vec::new();
        while next.fetch_add(1, Ordering::Relaxed) < STARTS {
            let id = create(&mut connection, &sleeper("bridge"))?;
            start(&mut connection, &id)?;
            ids.push(id);
        }
        Ok(ids)
    };
    let ids: Result<Vec<Vec<String>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|w| w.join().expect("a worker does not panic")).collect()
    });
    let time = millis(begin.elapsed());
    let mut connection = Connection::open(&engine.socket)?;
    for id in ids?.iter().flatten() {
        remove(&mut connection, id)?;
    }
    Ok(vec![time])
}

/// A container that has written `MEGABYTES` of lines of 100 bytes, and how long that took.
fn spout(engine: &Engine) -> Result<(Connection, String, Duration)> {
    let mut connection = Connection::open(&engine.socket)?;
    let log = json!({"Type": "json-file", "Config": {"max-size": "1g", "max-file": "2"}});
    let body = json!({
        "Image": SPOUT, "Cmd": ["/spout", MEGABYTES.to_string()],
        "HostConfig": {"NetworkMode": "none", "LogConfig": log},
    });
    let id = create(&mut connection, &body)?;
    let begin = Instant::now();
    start(&mut connection, &id)?;
    call(&mut connection, "POST", &format!("/containers/{id}/wait"), None)?;
    Ok((connection, id, begin.elapsed()))
}

/// How much a log measurement writes.
const MEGABYTES: usize = 200;

fn log_write(engine: &Engine) -> Result<Vec<f64>> {
    let (mut connection, id, time) = spout(engine)?;
    remove(&mut connection, &id)?;
    Ok(vec![MEGABYTES as f64 / time.as_secs_f64()])
}

fn log_read(engine: &Engine) -> Result<Vec<f64>> {
    let (mut connection, id, _) = spout(engine)?;
    let begin = Instant::now();
    let path = format!("/containers/{id}/logs?stdout=1&stderr=1");
    let answer = http::request(&engine.socket, "GET", &path, None)?;
    let time = begin.elapsed();
    remove(&mut connection, &id)?;
    Ok(vec![answer.body.len() as f64 / 1e6 / time.as_secs_f64()])
}

/// An archive as `docker save` writes it, with many files.
fn archive() -> std::io::Result<File> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut data = vec![0u8; FILE_SIZE];
    let mut layer = Tarball::default();
    for number in 0..FILES {
        // Not compressible, not the same twice: xorshift is enough for that.
        for word in data.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        if number % 100 == 0 {
            layer = layer.dir(&format!("d{}/", number / 100), 0o755);
        }
        layer = layer.file(&format!("d{}/f{number}", number / 100), 0o644, &data);
    }
    let layer = layer.finish();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", Digest::of(&layer).hex())]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": ["e2e/large:latest"], "Layers": ["layer.tar"]}]);
    let archive = Tarball::default()
        .file("layer.tar", 0o644, &layer)
        .file("config.json", 0o644, config.to_string().as_bytes())
        .file("manifest.json", 0o644, manifest.to_string().as_bytes())
        .finish();
    // Not kept in memory: a large process starts others more slowly, which is measured too.
    let mut file = tempfile::tempfile_in("/dev/shm")?;
    file.write_all(&archive)?;
    Ok(file)
}

fn load(engine: &Engine) -> Result<Vec<f64>> {
    static ARCHIVE: OnceLock<std::io::Result<File>> = OnceLock::new();
    let Ok(file) = ARCHIVE.get_or_init(archive) else {
        bail!("no room for the archive")
    };
    let mut file = file;
    file.rewind()?;
    let begin = Instant::now();
    let mut connection = Connection::open(&engine.socket)?;
    let answer = connection.upload("POST", "/images/load?quiet=1", file)?;
    let time = millis(begin.elapsed());
    if answer.status != 200 || answer.text().contains("\"error\"") {
        bail!("load: {} {}", answer.status, answer.text());
    }
    call(
        &mut Connection::open(&engine.socket)?,
        "DELETE",
        "/images/e2e/large:latest",
        None,
    )?;
    Ok(vec![time])
}

/// What a call of the engine's own client costs, process and all.
fn client_call(engine: &Engine) -> Result<Vec<f64>> {
    let home = tempfile::tempdir()?;
    (0..10)
        .map(|_| {
            let mut command = client_command(engine.client, &engine.socket, home.path());
            command.args(["ps", "--quiet"]);
            let begin = Instant::now();
            let status = command.stdout(std::process::Stdio::null()).status()?;
            let time = millis(begin.elapsed());
            anyhow::ensure!(status.success(), "{command:?}: {status}");
            Ok(time)
        })
        .collect()
}

/// The memory of an engine's own processes, in kB; those in containers do not count.
fn own_memory(engine: &Engine) -> u64 {
    let of_container = |process: &host::Process| process.command.starts_with("sleep ");
    let own = engine.processes().into_iter().filter(|process| !of_container(process));
    own.filter_map(|process| host::memory_kb(process.pid, "Pss:")).sum()
}

fn memory(engine: &Engine) -> Result<Vec<f64>> {
    const COUNT: usize = 20;
    if engine.processes().is_empty() {
        return Ok(Vec::new());
    }
    let before = own_memory(engine);
    let mut connection = Connection::open(&engine.socket)?;
    let mut ids = Vec::new();
    for _ in 0..COUNT {
        let id = create(&mut connection, &sleeper("bridge"))?;
        start(&mut connection, &id)?;
        ids.push(id);
    }
    let after = own_memory(engine);
    for id in ids {
        remove(&mut connection, &id)?;
    }
    Ok(vec![after.saturating_sub(before) as f64 / COUNT as f64])
}

fn daemon_memory(engine: &Engine) -> Result<Vec<f64>> {
    const COUNT: usize = 100;
    let Some(pid) = engine.pid() else {
        return Ok(Vec::new());
    };
    let mut connection = Connection::open(&engine.socket)?;
    let mut ids = Vec::new();
    for _ in 0..COUNT {
        let id = create(&mut connection, &sleeper("none"))?;
        start(&mut connection, &id)?;
        ids.push(id);
    }
    let rss = host::memory_kb(pid, "Rss:");
    for id in ids {
        remove(&mut connection, &id)?;
    }
    Ok(rss.map(|kb| kb as f64).into_iter().collect())
}
