//! Measures the log writer and reader: `cargo run --release -p shim --example log_speed [dir]`.
//!
//! Prints MB of container output per second, for lines of several lengths and kinds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use shim::log::{LogWriter, Options, Reader, Stream};
use shim::protocol::LogConfig;

const TOTAL: usize = 200 * 1024 * 1024;
const READ: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let path = dir.join(format!("corten-log-speed-{}.log", std::process::id()));
    let kinds: [(&str, String); 5] = [
        ("100-byte lines", format!("{}\n", "x".repeat(99))),
        ("20-byte lines", format!("{}\n", "x".repeat(19))),
        (
            "JSON lines",
            "{\"level\":\"info\",\"msg\":\"request served\",\"path\":\"/a/b\",\"ms\":12}\n"
                .to_owned(),
        ),
        (
            "non-ASCII lines",
            format!("{}\n", "\u{4f60}\u{597d} ".repeat(14)),
        ),
        ("10 kB lines", format!("{}\n", "y".repeat(10_239))),
    ];
    for (name, line) in kinds {
        measure(name, &line, &path)?;
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the result of a measurement is its output"
)]
fn measure(
    name: &str,
    line: &str,
    path: &std::path::Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut input = line.repeat(READ / line.len() + 1).into_bytes();
    input.truncate(READ);
    let mut writer = LogWriter::open(&LogConfig::JsonFile {
        path: path.to_owned(),
        max_size_bytes: 0,
        max_files: 1,
        attrs: BTreeMap::new(),
    })?;
    let begin = Instant::now();
    for _ in 0..TOTAL / READ {
        writer.write(Stream::Stdout, &input, SystemTime::now().into());
    }
    writer.finish(SystemTime::now().into());
    let written = begin.elapsed();
    let begin = Instant::now();
    let mut reader = Reader::open(path, Options::default())?;
    let (mut bytes, mut records) = (0, 0u64);
    while let Some(entry) = reader.next_entry()? {
        bytes += entry.log.len();
        records += 1;
    }
    let read = begin.elapsed();
    let speed = |time: std::time::Duration| TOTAL as f64 / 1e6 / time.as_secs_f64();
    println!(
        "{name:16} write {:5.0} MB/s  read {:5.0} MB/s  {records} records",
        speed(written),
        speed(read)
    );
    if bytes != TOTAL || writer.lost_lines() > 0 {
        return Err(format!("read {bytes} of {TOTAL} bytes").into());
    }
    std::fs::remove_file(path)?;
    Ok(())
}
