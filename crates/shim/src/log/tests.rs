//! The writer and the reader against each other and against Docker's bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use spec::Timestamp;

use super::*;
use crate::protocol::LogConfig;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("corten-log-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("x-json.log")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(path: &Path, max_size_bytes: u64, max_files: u32) -> LogConfig {
    let attrs = BTreeMap::new();
    LogConfig::JsonFile {
        path: path.to_path_buf(),
        max_size_bytes,
        max_files,
        attrs,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix(1_700_000_000 + second, 120_000_000)
}

fn read_all(reader: &mut Reader) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        all.push(String::from_utf8(entry.log.to_vec()).unwrap());
    }
    all
}

fn lines(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("line {n}\n")).collect()
}

#[test]
fn the_file_is_what_docker_writes() {
    let dir = Dir::new("bytes");
    let attrs = BTreeMap::from([("a".to_owned(), "<1>".to_owned())]);
    let path = dir.log();
    let with_attrs = LogConfig::JsonFile {
        path: path.clone(),
        max_size_bytes: 0,
        max_files: 1,
        attrs,
    };
    let mut writer = LogWriter::open(&config(&path, 0, 1)).unwrap();
    writer.write(Stream::Stdout, b"hello \"w\"\n\nprompt", at(0));
    writer.write(Stream::Stderr, b"err\n", at(1));
    writer.write(Stream::Stdout, b"> end\nlast", at(2));
    writer.finish(at(3));
    let mut writer = LogWriter::open(&with_attrs).unwrap();
    writer.write(Stream::Stdout, b"again\n", at(4));
    let want = r#"{"log":"hello \"w\"\n","stream":"stdout","time":"2023-11-14T22:13:20.12Z"}
{"log":"\n","stream":"stdout","time":"2023-11-14T22:13:20.12Z"}
{"log":"err\n","stream":"stderr","time":"2023-11-14T22:13:21.12Z"}
{"log":"prompt\u003e end\n","stream":"stdout","time":"2023-11-14T22:13:22.12Z"}
{"log":"last","stream":"stdout","time":"2023-11-14T22:13:23.12Z"}
{"log":"again\n","stream":"stdout","attrs":{"a":"\u003c1\u003e"},"time":"2023-11-14T22:13:24.12Z"}
"#;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), want);

    let mut reader = Reader::open(&path, Options::default()).unwrap();
    let first = reader.next_entry().unwrap().unwrap();
    assert_eq!(
        (first.log, first.stream),
        (&b"hello \"w\"\n"[..], Stream::Stdout)
    );
    assert_eq!(first.time(), at(0));
    let mut fixed = Vec::new();
    first.push_fixed_time(&mut fixed);
    assert_eq!(fixed, b"2023-11-14T22:13:20.120000000Z");
    let rest = read_all(&mut reader);
    assert_eq!(rest, ["\n", "err\n", "prompt> end\n", "last", "again\n"]);
    let only_last = Options {
        tail: Some(1),
        ..Options::default()
    };
    let mut reader = Reader::open(&path, only_last).unwrap();
    let last = reader.next_entry().unwrap().unwrap();
    assert_eq!(last.attrs, Some(&br#"{"a":"\u003c1\u003e"}"#[..]));
}

#[test]
fn rotation_keeps_every_line_whole_and_the_size_bounded() {
    let dir = Dir::new("rotate");
    let mut writer = LogWriter::open(&config(&dir.log(), 4096, 3)).unwrap();
    // One write that fills several files, then many small ones.
    writer.write(Stream::Stdout, lines(0..100).concat().as_bytes(), at(0));
    for line in lines(100..1000) {
        writer.write(Stream::Stdout, line.as_bytes(), at(1));
    }
    assert_eq!(writer.lost_lines(), 0);
    let mut names: Vec<_> = std::fs::read_dir(&dir.0)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["x-json.log", "x-json.log.1", "x-json.log.2"]);
    for name in names {
        let bytes = std::fs::read(dir.0.join(&name)).unwrap();
        assert!(bytes.len() <= 4096 && bytes.ends_with(b"}\n"), "{name:?}");
    }
    let kept = read_all(&mut Reader::open(&dir.log(), Options::default()).unwrap());
    let first = 1000 - u32::try_from(kept.len()).unwrap();
    assert_eq!(kept, lines(first..1000));
    assert!(kept.len() > 100);
}

#[test]
fn one_file_is_replaced_not_truncated() {
    let dir = Dir::new("single");
    let mut writer = LogWriter::open(&config(&dir.log(), 1000, 1)).unwrap();
    writer.write(Stream::Stdout, b"line 0\n", at(0));
    let mut follower = Reader::open(&dir.log(), Options::default()).unwrap();
    let mut seen = read_all(&mut follower);
    for line in lines(1..200) {
        writer.write(Stream::Stdout, line.as_bytes(), at(0));
        seen.extend(read_all(&mut follower));
    }
    assert_eq!(seen, lines(0..200));
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1);
}

#[test]
fn a_follower_survives_several_rotations_between_two_reads() {
    let dir = Dir::new("follow");
    let log = dir.log();
    let mut follower = Reader::open(&log, Options::default()).unwrap();
    assert!(follower.next_entry().unwrap().is_none());
    assert!(follower.position().is_none());
    let mut writer = LogWriter::open(&config(&log, 4096, 5)).unwrap();
    let mut seen = Vec::new();
    for round in 0..20 {
        // 130 lines of 72 bytes: more than two files, fewer than five.
        for line in lines(round * 130..round * 130 + 130) {
            writer.write(Stream::Stdout, line.as_bytes(), at(0));
        }
        seen.extend(read_all(&mut follower));
        let token = follower.position().unwrap();
        if round % 3 == 0 {
            follower = Reader::resume(&log, token, Options::default()).unwrap();
        }
    }
    assert_eq!(seen, lines(0..2600));
}

#[test]
fn tail_counts_over_files() {
    let dir = Dir::new("tail");
    let mut writer = LogWriter::open(&config(&dir.log(), 200_000, 5)).unwrap();
    let all = lines(0..10_000);
    writer.write(Stream::Stdout, all.concat().as_bytes(), at(0));
    for wanted in [0, 1, 2, 999, 1000, 5000, 9999, 10_000, 20_000] {
        let options = Options {
            tail: Some(wanted),
            ..Options::default()
        };
        let got = read_all(&mut Reader::open(&dir.log(), options).unwrap());
        let from = all.len().saturating_sub(usize::try_from(wanted).unwrap());
        assert!(got == all[from..], "tail {wanted}: got {}", got.len());
    }
}

#[test]
fn filters_by_time_and_stream() {
    let dir = Dir::new("filter");
    let mut writer = LogWriter::open(&config(&dir.log(), 0, 1)).unwrap();
    for second in 0..10 {
        let stream = if second % 2 == 0 {
            Stream::Stdout
        } else {
            Stream::Stderr
        };
        writer.write(stream, format!("line {second}\n").as_bytes(), at(second));
    }
    let options = Options {
        since: Some(at(3)),
        until: Some(at(6)),
        stderr: false,
        ..Options::default()
    };
    let mut reader = Reader::open(&dir.log(), options).unwrap();
    assert_eq!(read_all(&mut reader), ["line 4\n", "line 6\n"]);
    assert!(reader.ended());
}

#[test]
fn damage_is_skipped_and_a_torn_end_is_repaired() {
    let dir = Dir::new("damage");
    let log = dir.log();
    let good = r#"{"log":"good\n","stream":"stdout","time":"2023-11-14T22:13:20Z"}"#;
    let odd =
        r#"{"time":"2023-11-14T22:13:20+01:00","stream":"stderr","log":"\ud83d\ude00\u00e9\/"}"#;
    let long = "x".repeat(3 * 1024 * 1024);
    let torn = r#"{"log":"to"#;
    let text = format!("{good}\nnonsense\n{odd}\n\n{long}\n{good}\n{torn}");
    std::fs::write(&log, text).unwrap();
    let mut reader = Reader::open(&log, Options::default()).unwrap();
    assert_eq!(
        read_all(&mut reader),
        ["good\n", "\u{1f600}\u{e9}/", "good\n"]
    );
    assert_eq!(reader.malformed(), 3);
    let mut writer = LogWriter::open(&config(&log, 0, 1)).unwrap();
    writer.write(Stream::Stdout, b"after\n", at(0));
    assert_eq!(read_all(&mut reader), ["after\n"]);
}

#[test]
fn a_log_that_someone_empties_goes_on() {
    let dir = Dir::new("empty");
    let mut writer = LogWriter::open(&config(&dir.log(), 4096, 2)).unwrap();
    writer.write(Stream::Stdout, lines(0..30).concat().as_bytes(), at(0));
    let mut reader = Reader::open(&dir.log(), Options::default()).unwrap();
    assert_eq!(read_all(&mut reader).len(), 30);
    std::fs::OpenOptions::new()
        .write(true)
        .open(dir.log())
        .unwrap()
        .set_len(0)
        .unwrap();
    writer.write(Stream::Stdout, lines(30..35).concat().as_bytes(), at(0));
    assert_eq!(read_all(&mut reader), lines(30..35));
}

#[test]
fn a_full_disk_costs_lines_not_the_log() {
    let dir = Dir::new("full");
    let mut writer = LogWriter::open(&config(&dir.log(), 0, 1)).unwrap();
    writer.write(Stream::Stdout, b"before\n", at(0));
    // The limit on the size of a file makes the kernel refuse as a full disk does: short write,
    // then an error. It is the thread group's, so the other tests must not write that much.
    sys::signal::ignore(25).unwrap();
    let limit = |bytes| {
        let limit = rustix::process::Rlimit {
            current: bytes,
            maximum: None,
        };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    };
    limit(Some(8 * 1024 * 1024));
    let line = format!("{}\n", "x".repeat(1000));
    for _ in 0..100 {
        writer.write(Stream::Stdout, line.repeat(100).as_bytes(), at(1));
    }
    limit(None);
    let lost = writer.lost_lines();
    assert!(lost > 1000, "{lost}");
    writer.write(Stream::Stdout, b"after\n", at(2));
    let mut reader = Reader::open(&dir.log(), Options::default()).unwrap();
    let all = read_all(&mut reader);
    assert_eq!(reader.malformed(), 0);
    assert_eq!(all.len() as u64, 10_000 - lost + 2);
    assert_eq!(all.last().unwrap(), "after\n");
}

#[test]
fn no_driver_records_nothing() {
    let mut writer = LogWriter::open(&LogConfig::None).unwrap();
    writer.write(Stream::Stdout, b"x\n", at(0));
    writer.finish(at(0));
    assert_eq!(writer.lost_lines(), 0);
}

#[test]
fn a_watch_tells_of_growth_and_rotation() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let dir = Dir::new("watch");
    let watch = Watch::new(&dir.log()).unwrap();
    let is_ready = || {
        let mut fds = [PollFd::new(&watch, PollFlags::IN)];
        poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        )
        .unwrap()
            == 1
    };
    assert!(!is_ready());
    let mut writer = LogWriter::open(&config(&dir.log(), 100, 2)).unwrap();
    watch.clear().unwrap();
    for line in lines(0..2) {
        writer.write(Stream::Stdout, line.as_bytes(), at(0));
        assert!(is_ready());
        watch.clear().unwrap();
        assert!(!is_ready());
    }
}
