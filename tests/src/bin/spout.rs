//! Writes lines as fast as it can: `spout MEGABYTES [LINE_BYTES]`. The benchmark of the logs runs
//! it in a container, since no shell tool is fast enough to be the smaller part of the time.
#![forbid(unsafe_code)]

use std::io::Write;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let (megabytes, width) = (args.next().unwrap_or(1), args.next().unwrap_or(100));
    let line = format!("{}\n", "corten-0123456789".repeat(width / 16 + 1).split_at(width - 1).0);
    let block = line.repeat(65_536 / width);
    let mut left = megabytes * 1_000_000 / block.len();
    let mut out = std::io::stdout().lock();
    while left > 0 {
        out.write_all(block.as_bytes())?;
        left -= 1;
    }
    out.flush()
}
