//! Moving bytes between our own streams and a container's.

mod detach;
mod input;
mod mux;
mod signals;

use std::io::{self, Write};

use api::client::{Hijacked, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub use detach::Detector;
pub use mux::Demux;
pub use signals::{Target, forward, watch_size};

use crate::app::say;
use crate::exit::Failure;
use crate::terminal::Raw;
use input::Input;

/// The keys that leave a container running and go away: ctrl-p, ctrl-q.
pub const DEFAULT_DETACH: &[u8] = &[16, 17];

/// What of a container's streams is ours.
#[derive(Debug)]
pub struct Attach {
    /// Whether the container has a terminal: one raw stream.
    pub tty: bool,
    /// Our stdin goes in.
    pub stdin: bool,
    /// Its stdout comes out.
    pub stdout: bool,
    /// Its stderr comes out.
    pub stderr: bool,
    /// The detach sequence as the user wrote it; empty for the default.
    pub detach_keys: String,
    /// Signals go to the container: none of them ends us.
    pub sig_proxy: bool,
}

/// Why the streams ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The container's output ended.
    Output,
    /// The user left.
    Detached,
}

/// Refuses to attach a stdin that is no terminal to a container that has one.
pub fn check_tty(stdin: bool, tty: bool) -> Result<(), Failure> {
    if stdin && tty && !crate::app::is_terminal(io::stdin()) {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

/// Runs until the output ends or the user leaves.
///
/// Input and output run side by side: a container that does not read must not stop what it says.
pub async fn run(hijacked: Hijacked, attach: &Attach) -> Result<Ended, Failure> {
    let raw = match attach.stdin && attach.tty {
        true => Raw::enter()?,
        false => None,
    };
    let Hijacked {
        mut reader,
        mut writer,
        multiplexed,
    } = hijacked;
    let has_output = attach.stdout || attach.stderr;
    let output = async {
        let framed = multiplexed.unwrap_or(!attach.tty) && !attach.tty;
        let mut demux = Demux::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match reader.read(&mut buffer).await {
                Ok(0) => break,
                // A daemon that closes in a hurry ends the output like any other.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                other => other?,
            };
            if framed {
                demux.push(&buffer[..count], |stderr, bytes| {
                    show(attach, stderr, bytes)
                })?;
            } else {
                show(attach, false, &buffer[..count])?;
            }
        }
        Ok::<Ended, Failure>(Ended::Output)
    };
    let input = async {
        if attach.stdin {
            let mut detector = Detector::new(keys(attach));
            let mut source = Input::stdin();
            let mut buffer = vec![0; 32 << 10];
            loop {
                let count = source.read(&mut buffer).await?;
                if count == 0 {
                    break;
                }
                let (bytes, detached) = detector.pass(&buffer[..count]);
                // The container's side may have stopped reading: its output tells how it ended.
                if !bytes.is_empty() && writer.write_all(&bytes).await.is_err() {
                    break;
                }
                if detached {
                    return Ok(Ended::Detached);
                }
            }
        }
        let _ = writer.shutdown().await;
        Ok::<Ended, Failure>(Ended::Output)
    };
    let ended = tokio::select! {
        biased;
        ended = output, if has_output => ended,
        ended = wait_then_forever(input, has_output) => ended,
        signal = signals::deadly(), if raw.is_some() && !attach.sig_proxy => {
            drop(raw);
            return Err(Failure::code(128 + signal));
        }
    };
    drop(raw);
    ended
}

// The end of the input is no reason to go while there is output to come.
async fn wait_then_forever(
    input: impl Future<Output = Result<Ended, Failure>>,
    has_output: bool,
) -> Result<Ended, Failure> {
    match input.await {
        Ok(Ended::Output) if has_output => std::future::pending().await,
        other => other,
    }
}

fn keys(attach: &Attach) -> Vec<u8> {
    if !attach.tty {
        return Vec::new();
    }
    if attach.detach_keys.is_empty() {
        return DEFAULT_DETACH.to_vec();
    }
    detach::parse(&attach.detach_keys).unwrap_or_else(|text| {
        say(&format!(
            "invalid detach escape keys, using default: {text}"
        ));
        DEFAULT_DETACH.to_vec()
    })
}

fn show(attach: &Attach, stderr: bool, bytes: &[u8]) -> io::Result<()> {
    match stderr {
        true if attach.stderr => io::stderr().lock().write_all(bytes),
        false if attach.stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        _ => Ok(()),
    }
}

/// Copies a log or another stream of frames to our own streams until it ends.
pub async fn copy_frames(mut response: Response, framed: bool) -> Result<(), Failure> {
    let mut demux = Demux::default();
    let mut out = io::stdout().lock();
    while let Some(chunk) = response.chunk().await? {
        if framed {
            demux.push(&chunk, |stderr, bytes| match stderr {
                true => io::stderr().lock().write_all(bytes),
                false => out.write_all(bytes),
            })?;
        } else {
            out.write_all(&chunk)?;
        }
        out.flush()?;
    }
    Ok(())
}
