//! Archives that are larger inside than outside, on a small disk: refused with the reason, memory
//! bounded, the space back, other clients served meanwhile.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tests::http::{self, Connection};
use tests::tarball::{self, Tarball};
use tests::{Daemon, Disk, audit, host, image};

/// How long a refusal may take, with the slowest build on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Growth of the daemon's memory that is allowed, in kB.
const MEMORY: u64 = 128 << 10;

fn machine() -> Option<(Disk, Daemon)> {
    if tests::target::reference_socket().is_some() {
        return None;
    }
    let disk = Disk::new(96).unwrap_or_else(|error| panic!("{error:#}"));
    let mut daemon = Daemon::start_on(&disk.path()).unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket()).unwrap_or_else(|error| panic!("{error:#}"));
    daemon.warm_up();
    Some((disk, daemon))
}

fn gzip(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in pieces {
        encoder.write_all(&piece).expect("memory");
    }
    encoder.finish().expect("memory")
}

/// A header whose type and size are not what the writer knows.
fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let bytes = Tarball::default().file(name, 0o644, b"").finish();
    let mut header: [u8; 512] = bytes[..512].try_into().expect("a block");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[156] = kind;
    tarball::seal(&mut header);
    header.to_vec()
}

/// Extended attributes for the next entry, exactly these bytes.
fn pax(records: &[u8]) -> Vec<u8> {
    let mut bytes = header("pax", b'x', records.len() as u64);
    bytes.extend_from_slice(records);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn pax_path(path: &str) -> Vec<u8> {
    let mut length = path.len() + 7;
    while format!("{length} path={path}\n").len() != length {
        length += 1;
    }
    pax(format!("{length} path={path}\n").as_bytes())
}

fn send(socket: &Path, path: &str, archive: &[u8]) -> http::Response {
    let connection = Connection::open(socket);
    connection.and_then(|mut c| c.upload("POST", path, archive)).expect("an answer")
}

fn refused(answer: &http::Response) -> bool {
    answer.status >= 400 || answer.text().contains("\"error\"")
}

/// Asks for `/_ping` all the time and remembers the slowest answer.
fn ping_meanwhile(daemon: &Daemon, work: impl FnOnce()) -> Duration {
    let done = Arc::new(AtomicBool::new(false));
    let (socket, ended) = (daemon.socket(), Arc::clone(&done));
    let pinger = std::thread::spawn(move || {
        let mut slowest = Duration::ZERO;
        while !ended.load(Ordering::Relaxed) {
            let begin = Instant::now();
            let answer = http::request(&socket, "GET", "/_ping", None).expect("an answer");
            assert_eq!(answer.status, 200);
            slowest = slowest.max(begin.elapsed());
        }
        slowest
    });
    work();
    done.store(true, Ordering::Relaxed);
    pinger.join().expect("every ping was answered")
}

/// Sends an archive through both doors; `why` is what the refusal says, nothing if it may succeed.
#[track_caller]
fn both_doors(disk: &Disk, daemon: &Daemon, name: &str, layer: &[u8], why: Option<&str>) {
    let pid = daemon.pid().expect("it runs");
    let memory = || host::memory_kb(pid, "Rss:").expect("it runs");
    let before = (disk.used(), disk.inodes(), memory());
    let import = "/images/create?fromSrc=-&repo=bomb/imported&tag=latest";
    let saved = image::saved("bomb/loaded:latest", &[layer.to_vec()]);
    let slowest = ping_meanwhile(daemon, || {
        for (path, archive) in [(import, layer), ("/images/load", saved.as_slice())] {
            let begin = Instant::now();
            let answer = send(&daemon.socket(), path, archive);
            assert!(begin.elapsed() < SOON, "{name}: {:?}", begin.elapsed());
            let text = answer.text();
            if let Some(why) = why {
                assert!(refused(&answer), "{name}: {path}: {text}");
                assert!(text.contains(why), "{name}: {path}: {text}");
            }
        }
    });
    assert!(slowest < Duration::from_secs(3), "{name}: a ping took {slowest:?}");
    for tag in ["imported", "loaded"] {
        daemon.api("DELETE", &format!("/images/bomb/{tag}:latest"), None);
    }
    let left = audit::settled(|| {
        let bytes = disk.used().saturating_sub(before.0);
        let files = disk.inodes().saturating_sub(before.1);
        if bytes < 512 << 10 && files == 0 {
            return Vec::new();
        }
        vec![format!("{bytes} more bytes, {files} more files")]
    });
    assert!(left.is_empty(), "{name}: {left:?}");
    let growth = memory().saturating_sub(before.2);
    assert!(growth < MEMORY, "{name}: {growth} kB more memory");
}

#[track_caller]
fn retire(disk: &Disk, mut daemon: Daemon) {
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
    disk.unmount().and_then(|()| disk.check()).unwrap_or_else(|error| panic!("{error:#}"));
}

const FULL: Option<&str> = Some("o space left on device");

#[test]
fn zeros_without_end_are_refused() {
    let Some((disk, daemon)) = machine() else {
        return;
    };
    let size = 512 << 20;
    let zeros = std::iter::repeat_n(vec![0; 1 << 20], 512);
    let bomb = gzip(std::iter::once(header("big", b'0', size)).chain(zeros));
    both_doors(&disk, &daemon, "zeros", &bomb, FULL);
    // The same wrapped once more: only the outer shell is taken off.
    both_doors(&disk, &daemon, "twice", &gzip(std::iter::once(bomb)), None);
    retire(&disk, daemon);
}

#[test]
fn files_without_end_are_refused() {
    let Some((disk, daemon)) = machine() else {
        return;
    };
    let files = (0..40_000).map(|number| header(&format!("d{}/f{number}", number % 7), b'0', 0));
    both_doors(&disk, &daemon, "files", &gzip(files), FULL);
    retire(&disk, daemon);
}

#[test]
fn names_without_end_are_refused() {
    let Some((disk, daemon)) = machine() else {
        return;
    };
    let file = header("x", b'0', 0);
    let ended = |parts: &[&[u8]]| {
        let mut bytes = parts.concat();
        bytes.extend_from_slice(&[0; 1024]);
        bytes
    };
    let deep = pax_path(&"d/".repeat(5000));
    both_doors(&disk, &daemon, "deep", &ended(&[&deep, &file]), Some(""));
    let long = pax_path(&"n".repeat(300));
    both_doors(&disk, &daemon, "long", &ended(&[&long, &file]), Some(""));
    let huge = pax_path(&"n/".repeat(1 << 20));
    both_doors(&disk, &daemon, "huge", &ended(&[&huge, &file]), Some(""));
    // A promise of 8 GiB of attributes, and of a name.
    for kind in [b'x', b'g', b'L', b'K'] {
        let promise = ended(&[&header("promise", kind, (8 << 30) - 1), &file]);
        both_doors(&disk, &daemon, "promise", &promise, Some(""));
    }
    // Records that lie about their length, have no end, or no key.
    for records in [
        &b"99 path=x\n"[..],
        b"5 a=b",
        b"0 \n",
        b"-1 path=x\n",
        b"18446744073709551615 path=x\n",
        b"9 path=\0\n",
        b"path=x\n",
        b"6 =x\n\n",
    ] {
        both_doors(&disk, &daemon, "records", &ended(&[&pax(records), &file]), None);
    }
    retire(&disk, daemon);
}

#[test]
fn compressed_streams_that_ask_for_memory_are_refused() {
    let Some((disk, daemon)) = machine() else {
        return;
    };
    // A frame of zstd with a window of 2 GiB, then a run of a million zeros, again and again.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3];
    for _ in 0..64 {
        let block: u32 = (128 << 10) << 3 | 1 << 1;
        frame.extend_from_slice(&block.to_le_bytes()[..3]);
        frame.push(0);
    }
    both_doors(&disk, &daemon, "window", &frame, Some(""));
    // Streams that end too early, go on with noise, or never were one.
    let whole = gzip(std::iter::once(Tarball::default().file("f", 0o644, &[1; 9000]).finish()));
    both_doors(&disk, &daemon, "cut", &whole[..whole.len() / 2], Some(""));
    let mut wrong = whole.clone();
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    both_doors(&disk, &daemon, "checksum", &wrong, Some(""));
    both_doors(&disk, &daemon, "magic", &[0x1f, 0x8b, 8, 0, 0, 0], Some(""));
    let xz = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4, 0, 0, 0, 0];
    both_doors(&disk, &daemon, "xz", &xz, Some(""));
    retire(&disk, daemon);
}
