//! The program that benchmarks run in a container, since no shell tool is fast enough to be the
//! smaller part of the time.
//!
//! `spout MEGABYTES [LINE_BYTES]` writes lines as fast as it can; `spout sink PORT` takes what
//! comes over connections as fast as it can, one after the other, and answers each with its length.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener};

/// Larger than what a socket holds, so that reads are few.
const BLOCK: usize = 1 << 20;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| args.get(index).and_then(|arg| arg.parse::<usize>().ok());
    match args.first().map(String::as_str) {
        Some("sink") => sink(number(1).and_then(|port| u16::try_from(port).ok()).unwrap_or(80)),
        _ => write_lines(number(0).unwrap_or(1), number(1).unwrap_or(100)),
    }
}

fn write_lines(megabytes: usize, width: usize) -> std::io::Result<()> {
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

fn sink(port: u16) -> std::io::Result<()> {
    // Where version 6 is off, version 4 alone.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind(("0.0.0.0", port)))?;
    let mut buffer = vec![0; BLOCK];
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut length = 0_u64;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => length += count as u64,
                // Whoever sent has gone; the next may come.
                Err(_) => break,
            }
        }
        // It may not wait for the answer.
        let _ = writeln!(stream, "{length}");
    }
}
