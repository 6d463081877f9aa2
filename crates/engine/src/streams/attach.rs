//! A client attached to the standard streams of a process.

use std::os::fd::OwnedFd;
use std::pin::Pin;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::detach::DetachScanner;
use super::logs::LogStream;
use crate::{Error, Result};

/// Bytes copied at once.
const CHUNK: usize = 32 * 1024;

/// Bytes before the content of a frame: kind of stream, three zeros, length.
const HEADER: usize = 8;

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The container closed its streams.
    Container,
    /// The user pressed the detach keys.
    Detached,
    /// The client went away.
    Client,
}

/// Called once when the user detaches.
type OnDetach = Box<dyn FnOnce() + Send + Sync>;

/// An attachment that has not begun to flow.
pub struct Attached {
    /// Whether output is raw (a terminal) rather than framed as Docker's multiplexed stream.
    pub tty: bool,
    /// Whether the client is given the other of the two forms.
    reframing: Reframing,
    /// What is sent before anything else.
    prelude: Vec<u8>,
    replay: Option<LogStream>,
    stream: Option<UnixStream>,
    input: Input,
    on_detach: Option<OnDetach>,
    ending: Option<Ending>,
}

/// What the end of the client's stream waits for.
type Ending = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// What is done to the form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reframing {
    /// It is passed on as the supervisor writes it.
    None,
    /// The bytes of a terminal are framed as standard output.
    Add,
    /// Frames are opened.
    Remove,
}

/// What becomes of the client's input.
enum Input {
    /// It is read and dropped.
    Ignored,
    /// It is passed on.
    Raw,
    /// It is passed on until the keys are pressed.
    Scanned(DetachScanner),
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

impl Attached {
    /// An attachment that carries nothing yet.
    pub(crate) fn new(tty: bool) -> Self {
        Self {
            tty,
            reframing: Reframing::None,
            prelude: Vec::new(),
            replay: None,
            stream: None,
            input: Input::Ignored,
            on_detach: None,
            ending: None,
        }
    }

    /// Lets the client's stream end only after this, once there is no more output.
    pub(crate) fn with_ending(
        mut self,
        ending: impl Future<Output = ()> + Send + Sync + 'static,
    ) -> Self {
        self.ending = Some(Box::pin(ending));
        self
    }

    /// Sends this text first; framed as output where the client does not want it raw.
    pub(crate) fn with_text(mut self, text: &str) -> Self {
        let raw = match self.reframing {
            Reframing::None => self.tty,
            Reframing::Add => false,
            Reframing::Remove => true,
        };
        if !raw {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            self.prelude.extend_from_slice(&[1, 0, 0, 0]);
            self.prelude.extend_from_slice(&length.to_be_bytes());
        }
        self.prelude.extend_from_slice(text.as_bytes());
        self
    }

    /// Replays a log first.
    pub(crate) fn with_replay(mut self, replay: LogStream) -> Self {
        self.replay = Some(replay);
        self
    }

    /// Connects our end of the pair whose other end the supervisor has.
    pub(crate) fn with_stream(mut self, stream: OwnedFd) -> Result<Self> {
        let stream = std::os::unix::net::UnixStream::from(stream);
        let prepare = |stream: std::os::unix::net::UnixStream| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        };
        self.stream =
            Some(prepare(stream).map_err(|e| Error::io("failed to prepare a stream", e))?);
        Ok(self)
    }

    /// Passes input on; where there is a terminal the keys are looked for.
    pub(crate) fn with_input(mut self, scanner: DetachScanner, on_detach: OnDetach) -> Self {
        self.input = if self.tty {
            Input::Scanned(scanner)
        } else {
            Input::Raw
        };
        self.on_detach = Some(on_detach);
        self
    }

    /// Gives the client raw output (`raw`) or frames, whatever the process has; as Docker does
    /// when the start of an exec disagrees with its creation about the terminal.
    pub(crate) fn with_form(mut self, raw: bool) -> Self {
        self.reframing = match (self.tty, raw) {
            (true, false) => Reframing::Add,
            (false, true) => Reframing::Remove,
            (true, true) | (false, false) => Reframing::None,
        };
        self
    }

    /// Copies both ways until one side ends; writes what was logged before, if that was asked.
    ///
    /// Bytes to `writer` are already framed where the container has no terminal. End of file of
    /// `reader` ends the container's input but not the attachment.
    pub async fn run<R, W>(self, reader: R, mut writer: W) -> Result<Ended>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        if !self.prelude.is_empty() && send(&mut writer, &self.prelude).await.is_err() {
            return Ok(Ended::Client);
        }
        if let Some(mut replay) = self.replay {
            while let Some(chunk) = replay.next().await {
                if send(&mut writer, &chunk?).await.is_err() {
                    return Ok(Ended::Client);
                }
            }
        }
        let Some(stream) = self.stream else {
            return Ok(Ended::Container);
        };
        let (from, to) = stream.into_split();
        let input = pump_input(reader, to, self.input);
        let output = async move {
            let ended = match self.reframing {
                Reframing::None => pump_output(from, &mut writer).await,
                Reframing::Add => pump_framed(from, &mut writer).await,
                Reframing::Remove => pump_opened(from, &mut writer).await,
            };
            if ended == Ended::Container {
                if let Some(ending) = self.ending {
                    ending.await;
                }
                // The client learns it by the end of its stream; it may have left already.
                let _left = writer.shutdown().await;
            }
            ended
        };
        tokio::pin!(input, output);
        // Input may end long before output, and only output ends the attachment.
        let ended = tokio::select! {
            ended = &mut output => ended,
            detached = &mut input => match detached {
                true => Ended::Detached,
                false => output.await,
            },
        };
        if ended == Ended::Detached
            && let Some(tell) = self.on_detach
        {
            tell();
        }
        Ok(ended)
    }
}

async fn send<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> std::io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

async fn pump_output<W: AsyncWrite + Unpin>(mut from: OwnedReadHalf, writer: &mut W) -> Ended {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.clear();
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Ended::Container,
            Ok(_) if send(writer, &buffer).await.is_err() => return Ended::Client,
            Ok(_) => {}
        }
    }
}

/// Frames what a terminal says as standard output.
async fn pump_framed<W: AsyncWrite + Unpin>(mut from: OwnedReadHalf, writer: &mut W) -> Ended {
    let mut buffer = BytesMut::with_capacity(CHUNK + HEADER);
    loop {
        buffer.clear();
        buffer.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        let read = from.read_buf(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return Ended::Container;
        }
        let length = u32::try_from(read).unwrap_or(u32::MAX);
        buffer[4..HEADER].copy_from_slice(&length.to_be_bytes());
        if send(writer, &buffer).await.is_err() {
            return Ended::Client;
        }
    }
}

/// Passes on what is in the frames.
async fn pump_opened<W: AsyncWrite + Unpin>(mut from: OwnedReadHalf, writer: &mut W) -> Ended {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let mut header = [0; HEADER];
    while from.read_exact(&mut header).await.is_ok() {
        let [_, _, _, _, length @ ..] = header;
        let mut frame = (&mut from).take(u64::from(u32::from_be_bytes(length)));
        loop {
            buffer.clear();
            match frame.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) if send(writer, &buffer).await.is_err() => return Ended::Client,
                Ok(_) => {}
            }
        }
    }
    Ended::Container
}

/// Returns whether the user detached.
async fn pump_input<R: AsyncRead + Unpin>(
    mut reader: R,
    mut to: OwnedWriteHalf,
    mut input: Input,
) -> bool {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.clear();
        match reader.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => {
                // Half-closing tells the supervisor that input has ended.
                let _ended = to.shutdown().await;
                return false;
            }
            Ok(_) => {}
        }
        let written = match &mut input {
            Input::Ignored => Ok(()),
            Input::Raw => to.write_all(&buffer).await,
            Input::Scanned(scanner) => {
                let scanned = scanner.scan(&buffer);
                let written = to.write_all(&scanned.forward).await;
                if scanned.detach {
                    return true;
                }
                written
            }
        };
        if written.is_err() {
            // The process closed its input: what comes is dropped, until the client has enough.
            input = Input::Ignored;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Attached, UnixStream) {
        let (ours, theirs) = sys::fdpass::stream_pair().unwrap();
        let theirs = std::os::unix::net::UnixStream::from(theirs);
        theirs.set_nonblocking(true).unwrap();
        let attached = Attached::new(true).with_stream(ours).unwrap();
        (attached, UnixStream::from_std(theirs).unwrap())
    }

    #[tokio::test]
    async fn output_goes_on_after_input_has_ended() {
        let (attached, mut supervisor) = pair();
        let scanner = DetachScanner::new(None).unwrap();
        let attached = attached.with_input(scanner, Box::new(|| panic!("nobody detached")));
        let (mut client, ours) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(ours);
        let run = tokio::spawn(attached.run(reader, writer));
        client.write_all(b"in").await.unwrap();
        client.shutdown().await.unwrap();
        let mut input = String::new();
        supervisor.read_to_string(&mut input).await.unwrap();
        assert_eq!(input, "in");
        supervisor.write_all(b"out").await.unwrap();
        drop(supervisor);
        let mut output = String::new();
        client.read_to_string(&mut output).await.unwrap();
        assert_eq!(output, "out");
        assert_eq!(run.await.unwrap().unwrap(), Ended::Container);
    }

    /// What a client reads when the supervisor writes `output`.
    async fn formed(tty: bool, raw: bool, output: &[u8]) -> Vec<u8> {
        let (mut attached, mut supervisor) = pair();
        attached.tty = tty;
        let (mut client, ours) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(ours);
        let run = tokio::spawn(attached.with_form(raw).run(reader, writer));
        supervisor.write_all(output).await.unwrap();
        drop(supervisor);
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        drop(client);
        assert_eq!(run.await.unwrap().unwrap(), Ended::Container);
        read
    }

    #[tokio::test]
    async fn the_client_gets_the_form_it_asked_for() {
        let framed = b"\x02\0\0\0\0\0\0\x02er\x01\0\0\0\0\0\0\x03out";
        assert_eq!(formed(true, true, b"out").await, b"out");
        assert_eq!(formed(false, false, framed).await, framed);
        assert_eq!(formed(false, true, framed).await, b"erout");
        assert_eq!(
            formed(true, false, b"out").await,
            b"\x01\0\0\0\0\0\0\x03out"
        );
    }

    #[tokio::test]
    async fn the_keys_detach() {
        let (attached, supervisor) = pair();
        let (tell, told) = tokio::sync::oneshot::channel();
        let scanner = DetachScanner::new(None).unwrap();
        let on_detach = Box::new(move || tell.send(()).unwrap());
        let attached = attached.with_input(scanner, on_detach);
        let (mut client, ours) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(ours);
        client.write_all(b"x\x10\x11").await.unwrap();
        assert_eq!(attached.run(reader, writer).await.unwrap(), Ended::Detached);
        told.await.unwrap();
        drop(supervisor);
    }
}
