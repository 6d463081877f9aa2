//! Images: pulled from and pushed to a registry on loopback, loaded, saved, imported, committed.
//!
//! The registry is Debian's, with its storage on memory like the engines' data; each engine has
//! one in its own network namespace, all over the same storage. What an engine does after it has
//! answered is waited for before the next is measured.

use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::command::client_command;
use tests::content::{self, Builder, Compression, Family};
use tests::http::{Connection, Response};
use tests::registry::Options;
use tests::tarball::Tarball;
use tests::{IMAGE, Registry, host, poll};

use crate::engine::Engine;
use crate::measure::{Measurement, call, millis};

/// All measurements: name, unit, what does it.
pub(crate) const ALL: &[(&str, &str, Measurement)] = &[
    ("pull 200 MB, 8 layers, gzip", "MB/s", |engine| pull(engine, "gzip")),
    ("pull 200 MB, 8 layers, zstd", "MB/s", |engine| pull(engine, "zstd")),
    ("pull of what is there", "ms", repull),
    ("push 200 MB, 8 layers", "MB/s", push),
    ("save 200 MB", "ms", save),
    ("load 200 MB, 8 layers", "ms", load),
    ("import 200 MB", "ms", import),
    ("save 200 MB that were loaded", "ms", save_loaded),
    ("commit of 200 MB in 20 files", "ms", commit),
    ("commit of 200 MB in 16,000 files", "ms", |engine| {
        with_files(engine, Step::Commit)
    }),
    ("cp in, 200 MB in 16,000 files", "ms", |engine| with_files(engine, Step::In)),
    ("cp out, 200 MB in 16,000 files", "ms", |engine| with_files(engine, Step::Out)),
    ("diff of 16,000 files", "ms", |engine| with_files(engine, Step::Diff)),
    ("diff of 10 changes on 16,000 files", "ms", diff_of_few),
    ("start with a copy-up of 2,000 files", "ms", copy_up),
    ("peak memory over idle, 1 GB pull", "kB", memory),
];

/// Layers of the image, files in each, and their size: 200 MB.
const LAYERS: usize = 8;
const FILES: usize = 2000;
const FILE_SIZE: usize = 12_500;
const MEGABYTES: f64 = (LAYERS * FILES * FILE_SIZE) as f64 / 1e6;

/// A repository that is pulled, and its tags.
const REPOSITORY: &str = "bench/large";

/// The registry that fills the storage of all others, and those that engines have.
struct Registries {
    origin: Registry,
    of: Vec<(&'static str, Registry)>,
}

static REGISTRIES: OnceLock<Mutex<Option<Registries>>> = OnceLock::new();

fn registries() -> MutexGuard<'static, Option<Registries>> {
    let all = REGISTRIES.get_or_init(|| Mutex::new(Some(Registries::new())));
    all.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Ends the registries.
pub(crate) fn end() {
    if REGISTRIES.get().is_some() {
        drop(registries().take());
    }
}

impl Registries {
    fn new() -> Self {
        let origin = Registry::plain();
        for (tag, how) in [("gzip", Compression::Go), ("zstd", Compression::Zstd)] {
            let mut builder = Builder::new(Family::Oci);
            for layer in 0..LAYERS {
                builder = builder.layer(&archive(layer), how);
            }
            origin.put_image(&format!("{REPOSITORY}:{tag}"), &builder.build());
        }
        Self {
            origin,
            of: Vec::new(),
        }
    }

    fn address(&mut self, engine: &Engine) -> String {
        if let Some((_, registry)) = self.of.iter().find(|(name, _)| *name == engine.name) {
            return registry.address();
        }
        let registry = Registry::start(&Options {
            beside: engine.namespace(),
            storage: Some(self.origin.storage()),
            ..Options::default()
        });
        let address = registry.address();
        self.of.push((engine.name, registry));
        address
    }
}

/// A layer: files as programs are, in directories of a hundred.
fn archive(layer: usize) -> Vec<u8> {
    let mut tar = Tarball::default();
    for number in 0..FILES {
        if number % 100 == 0 {
            tar = tar.dir(&format!("l{layer}d{}/", number / 100), 0o755);
        }
        let data = content::prose(layer * FILES + number, FILE_SIZE);
        tar = tar.file(&format!("l{layer}d{}/f{number}", number / 100), 0o644, &data);
    }
    tar.finish()
}

/// The address of the registry that an engine can reach.
fn registry(engine: &Engine) -> Result<String> {
    let mut all = registries();
    Ok(all.as_mut().context("the registries have ended")?.address(engine))
}

/// A request without a body that has to succeed; errors in the stream count.
fn stream(engine: &Engine, path: &str) -> Result<Response> {
    let headers = [("X-Registry-Auth", "e30=")];
    let answer = Connection::open(&engine.socket)?.exchange("POST", path, &headers, b"")?;
    ensure!(
        answer.status < 400 && !answer.text().contains("\"error\""),
        "POST {path}: {} {}",
        answer.status,
        answer.text()
    );
    Ok(answer)
}

fn remove(engine: &Engine, name: &str) -> Result<()> {
    let path = format!("/images/{name}?force=1");
    call(&mut Connection::open(&engine.socket)?, "DELETE", &path, None).map(drop)
}

/// Waits until the engine does nothing any more, where that can be seen.
fn calm(engine: &Engine) {
    idle_for(engine, Duration::from_millis(400));
}

/// Waits until the engine has also done what it puts off for seconds after a pull.
fn settled(engine: &Engine) {
    idle_for(engine, Duration::from_secs(3));
}

fn idle_for(engine: &Engine, time: Duration) {
    let Some(pid) = engine.pid() else { return };
    let mut last = (host::cpu_ticks(pid), Instant::now());
    poll(Duration::from_secs(60), || {
        let now = host::cpu_ticks(pid);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > time).then_some(())
    });
}

/// Pulls the image of a tag; the time it took.
fn pulled(engine: &Engine, tag: &str) -> Result<Duration> {
    let path = format!("/images/create?fromImage={}/{REPOSITORY}&tag={tag}", registry(engine)?);
    let begin = Instant::now();
    stream(engine, &path)?;
    Ok(begin.elapsed())
}

fn reference(engine: &Engine, tag: &str) -> Result<String> {
    Ok(format!("{}/{REPOSITORY}:{tag}", registry(engine)?))
}

fn pull(engine: &Engine, tag: &str) -> Result<Vec<f64>> {
    calm(engine);
    let time = pulled(engine, tag)?;
    settled(engine);
    remove(engine, &reference(engine, tag)?)?;
    calm(engine);
    Ok(vec![MEGABYTES / time.as_secs_f64()])
}

/// Has the image there, settled, while something is measured.
fn with_image<T>(engine: &Engine, measure: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let name = reference(engine, "gzip")?;
    pulled(engine, "gzip")?;
    settled(engine);
    let value = measure(&name);
    remove(engine, &name)?;
    calm(engine);
    value
}

fn repull(engine: &Engine) -> Result<Vec<f64>> {
    with_image(engine, |_| (0..10).map(|_| Ok(millis(pulled(engine, "gzip")?))).collect())
}

fn push(engine: &Engine) -> Result<Vec<f64>> {
    with_image(engine, |name| {
        // An empty one each time: what is there already is not pushed.
        let registry = Registry::start(&Options {
            beside: engine.namespace(),
            ..Options::default()
        });
        let target = format!("{}/bench/pushed", registry.address());
        stream(engine, &format!("/images/{name}/tag?repo={target}&tag=one"))?;
        let begin = Instant::now();
        stream(engine, &format!("/images/{target}/push?tag=one"))?;
        let time = begin.elapsed();
        remove(engine, &format!("{target}:one"))?;
        Ok(vec![MEGABYTES / time.as_secs_f64()])
    })
}

/// Reads an archive of the image to its end; the bytes when they are wanted.
fn saved(engine: &Engine, name: &str) -> Result<Response> {
    let path = format!("/images/{name}/get");
    let answer = Connection::open(&engine.socket)?.request("GET", &path, None)?;
    ensure!(answer.status == 200, "save: {}", answer.text());
    Ok(answer)
}

fn save(engine: &Engine) -> Result<Vec<f64>> {
    with_image(engine, |name| {
        let begin = Instant::now();
        saved(engine, name)?;
        Ok(vec![millis(begin.elapsed())])
    })
}

fn load(engine: &Engine) -> Result<Vec<f64>> {
    // What a dockerd saved, or would have: uncompressed layers.
    let layers: Vec<Vec<u8>> = (0..LAYERS).map(archive).collect();
    let file = tests::image::saved("bench/loaded:one", &layers);
    calm(engine);
    let begin = Instant::now();
    let mut connection = Connection::open(&engine.socket)?;
    let answer = connection.upload("POST", "/images/load?quiet=1", file.as_slice())?;
    let time = millis(begin.elapsed());
    ensure!(
        answer.status == 200 && !answer.text().contains("\"error\""),
        "{}",
        answer.text()
    );
    calm(engine);
    remove(engine, "bench/loaded:one")?;
    Ok(vec![time])
}

fn import(engine: &Engine) -> Result<Vec<f64>> {
    let archives: Vec<u8> = (0..LAYERS)
        .flat_map(|layer| {
            let mut bytes = archive(layer);
            bytes.truncate(bytes.len() - 1024);
            bytes
        })
        .chain([0; 1024])
        .collect();
    calm(engine);
    let path = "/images/create?fromSrc=-&repo=bench/imported&tag=one";
    let begin = Instant::now();
    let answer = Connection::open(&engine.socket)?.upload("POST", path, archives.as_slice())?;
    let time = millis(begin.elapsed());
    ensure!(
        answer.status == 200 && !answer.text().contains("\"error\""),
        "{}",
        answer.text()
    );
    calm(engine);
    remove(engine, "bench/imported:one")?;
    Ok(vec![time])
}

fn commit(engine: &Engine) -> Result<Vec<f64>> {
    const SCRIPT: &str = "dd if=/dev/urandom of=/block bs=1M count=10 2>/dev/null; i=0; \
                          while [ $i -lt 20 ]; do cat /block >/f$i; i=$((i+1)); done; rm /block";
    let mut connection = Connection::open(&engine.socket)?;
    let body = json!({
        "Image": IMAGE, "Cmd": ["sh", "-c", SCRIPT], "HostConfig": {"NetworkMode": "none"},
    });
    let made = call(&mut connection, "POST", "/containers/create", Some(&body))?;
    let id = made["Id"].as_str().context("create gave no id")?.to_owned();
    call(&mut connection, "POST", &format!("/containers/{id}/start"), None)?;
    call(&mut connection, "POST", &format!("/containers/{id}/wait"), None)?;
    calm(engine);
    let begin = Instant::now();
    let path = format!("/commit?container={id}&repo=bench/committed&tag=one");
    call(&mut connection, "POST", &path, Some(&json!({})))?;
    let time = millis(begin.elapsed());
    calm(engine);
    remove(engine, "bench/committed:one")?;
    call(&mut connection, "DELETE", &format!("/containers/{id}?force=1"), None)?;
    Ok(vec![time])
}

fn save_loaded(engine: &Engine) -> Result<Vec<f64>> {
    let layers: Vec<Vec<u8>> = (0..LAYERS).map(archive).collect();
    let file = tests::image::saved("bench/loaded:two", &layers);
    let mut connection = Connection::open(&engine.socket)?;
    let answer = connection.upload("POST", "/images/load?quiet=1", file.as_slice())?;
    ensure!(answer.status == 200, "{}", answer.text());
    calm(engine);
    let begin = Instant::now();
    saved(engine, "bench/loaded:two")?;
    let time = millis(begin.elapsed());
    remove(engine, "bench/loaded:two")?;
    Ok(vec![time])
}

/// What is measured of a container with many files.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    In,
    Out,
    Diff,
    Commit,
}

/// An archive of files of one size, in directories of a hundred.
fn many(count: usize) -> Vec<u8> {
    let mut all = Tarball::default();
    for number in 0..count {
        if number % 100 == 0 {
            all = all.dir(&format!("d{}/", number / 100), 0o755);
        }
        let data = content::prose(number, FILE_SIZE);
        all = all.file(&format!("d{}/f{number}", number / 100), 0o644, &data);
    }
    all.finish()
}

/// Makes a container that does nothing.
fn idle_container(engine: &Engine, image: &str, binds: &[String]) -> Result<String> {
    let host = json!({"NetworkMode": "none", "Binds": binds});
    let body = json!({"Image": image, "Cmd": ["true"], "HostConfig": host});
    let mut connection = Connection::open(&engine.socket)?;
    let made = call(&mut connection, "POST", "/containers/create", Some(&body))?;
    Ok(made["Id"].as_str().context("create gave no id")?.to_owned())
}

fn delete(engine: &Engine, path: &str) -> Result<()> {
    call(&mut Connection::open(&engine.socket)?, "DELETE", path, None).map(drop)
}

/// Unpacks an archive into the /tmp of a container.
fn put(engine: &Engine, id: &str, archive: &[u8]) -> Result<()> {
    let path = format!("/containers/{id}/archive?path=/tmp");
    let answer = Connection::open(&engine.socket)?.upload("PUT", &path, archive)?;
    ensure!(answer.status == 200, "cp in: {}", answer.text());
    Ok(())
}

/// Has an image with many files in its /tmp while something is measured.
fn with_image_of(
    engine: &Engine,
    count: usize,
    measure: impl FnOnce(&str) -> Result<f64>,
) -> Result<Vec<f64>> {
    let name = format!("bench/many:{count}");
    let id = idle_container(engine, IMAGE, &[])?;
    put(engine, &id, &many(count))?;
    let path = format!("/commit?container={id}&repo=bench/many&tag={count}");
    call(&mut Connection::open(&engine.socket)?, "POST", &path, Some(&json!({})))?;
    delete(engine, &format!("/containers/{id}?force=1"))?;
    settled(engine);
    let time = measure(&name)?;
    remove(engine, &name)?;
    calm(engine);
    Ok(vec![time])
}

fn diff_of_few(engine: &Engine) -> Result<Vec<f64>> {
    with_image_of(engine, LAYERS * FILES, |image| {
        let id = idle_container(engine, image, &[])?;
        put(engine, &id, &many(10))?;
        calm(engine);
        let begin = Instant::now();
        let path = format!("/containers/{id}/changes");
        let answer = Connection::open(&engine.socket)?.request("GET", &path, None)?;
        let time = millis(begin.elapsed());
        ensure!(answer.status == 200, "{path}: {}", answer.text());
        delete(engine, &format!("/containers/{id}?force=1"))?;
        Ok(time)
    })
}

fn copy_up(engine: &Engine) -> Result<Vec<f64>> {
    with_image_of(engine, FILES, |image| {
        let begin = Instant::now();
        let id = idle_container(engine, image, &["bench-copy-up:/tmp".to_owned()])?;
        let mut connection = Connection::open(&engine.socket)?;
        call(&mut connection, "POST", &format!("/containers/{id}/start"), None)?;
        let time = millis(begin.elapsed());
        call(&mut connection, "POST", &format!("/containers/{id}/wait"), None)?;
        delete(engine, &format!("/containers/{id}?force=1"))?;
        delete(engine, "/volumes/bench-copy-up")?;
        Ok(time)
    })
}

/// Copies many files into a container and times one thing that is done with them.
fn with_files(engine: &Engine, step: Step) -> Result<Vec<f64>> {
    let all = many(LAYERS * FILES);
    let mut connection = Connection::open(&engine.socket)?;
    let id = idle_container(engine, IMAGE, &[])?;
    calm(engine);
    let timed = |work: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        let begin = Instant::now();
        work()?;
        Ok(millis(begin.elapsed()))
    };
    let put = timed(&mut || put(engine, &id, &all))?;
    calm(engine);
    let get = |path: String| -> Result<()> {
        let answer = Connection::open(&engine.socket)?.request("GET", &path, None)?;
        ensure!(answer.status == 200, "{path}: {}", answer.text());
        Ok(())
    };
    let time = match step {
        Step::In => put,
        Step::Out => timed(&mut || get(format!("/containers/{id}/archive?path=/tmp")))?,
        Step::Diff => timed(&mut || get(format!("/containers/{id}/changes")))?,
        Step::Commit => timed(&mut || {
            let path = format!("/commit?container={id}&repo=bench/committed&tag=many");
            call(&mut Connection::open(&engine.socket)?, "POST", &path, Some(&json!({})))?;
            Ok(())
        })?,
    };
    calm(engine);
    if step == Step::Commit {
        remove(engine, "bench/committed:many")?;
    }
    call(&mut connection, "DELETE", &format!("/containers/{id}?force=1"), None)?;
    Ok(vec![time])
}

/// Peak memory of the daemon over what it had before, while it pulls 1 GB by its own client.
fn memory(engine: &Engine) -> Result<Vec<f64>> {
    const LARGE: usize = 128 << 20;
    let Some(pid) = engine.pid() else {
        return Ok(Vec::new());
    };
    {
        let all = registries();
        let origin = &all.as_ref().context("the registries have ended")?.origin;
        if origin.manifest(REPOSITORY, "1gb").is_none() {
            let mut builder = Builder::new(Family::Oci);
            for layer in 0..LAYERS {
                let data = content::prose(layer + 1_000_000, LARGE);
                builder = builder.file(&format!("large{layer}"), &data, Compression::Go);
            }
            origin.put_image(&format!("{REPOSITORY}:1gb"), &builder.build());
        }
    }
    let name = reference(engine, "1gb")?;
    calm(engine);
    host::reset_peak(pid);
    let before = host::peak_kb(pid).context("the daemon runs")?;
    let home = tempfile::tempdir()?;
    let mut client = client_command(engine.client, &engine.socket, home.path());
    let status = client.args(["pull", "-q", &name]).stdout(Stdio::null()).status()?;
    if !status.success() {
        bail!("{client:?}: {status}");
    }
    let peak = host::peak_kb(pid).context("the daemon runs")?;
    settled(engine);
    let after = host::peak_kb(pid).context("the daemon runs")?;
    remove(engine, &name)?;
    Ok(vec![(peak.max(after) - before) as f64])
}
