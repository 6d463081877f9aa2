//! `cp`

use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;

use api::client::{Body, ClientError, Query, Request, Response, escape};
use api::container::PathStat;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::app::{App, is_terminal};
use crate::commands::image::body;
use crate::config::go_text;
use crate::copy::{self, Place, Placed, Progress, Rename, Source};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::options::clean;
use crate::tree::Run;

/// Pieces of an archive that wait between the network and the disk.
const PIECES: usize = 8;
const SYMLINK: u32 = 1 << 27;
const DIRECTORY: u32 = 1 << 31;
const DEVICE: u32 = 1 << 26;
const IRREGULAR: u32 = 1 << 19;

/// `cp`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let [from, to] = flags.args.as_slice() else {
            return Err(Failure::new("two paths are needed"));
        };
        for (end, path) in [("source", from), ("destination", to)] {
            if path.is_empty() {
                return Err(Failure::new(format!("{end} can not be empty")));
            }
        }
        let copy = Copy {
            app,
            follow: flags.bool("follow-link"),
            own: flags.bool("archive"),
            progress: Progress::new(match flags.changed("quiet") {
                true => flags.bool("quiet"),
                false => !is_terminal(io::stdout()),
            }),
        };
        match (split(from), split(to)) {
            (("", _), ("", _)) => Err(Failure::new("must specify at least one container source")),
            (("", from), (container, to)) => copy.to(container, from, to).await,
            ((container, from), ("", to)) => copy.from(container, from, to).await,
            _ => Err(Failure::new("copying between containers is not supported")),
        }
    })
}

// The container of an argument, or nothing, and the path. A path here with a colon in it begins
// with a slash or a dot.
fn split(text: &str) -> (&str, &str) {
    match text.split_once(':') {
        Some((container, path)) if !text.starts_with(['/', '.']) => (container, path),
        _ => ("", text),
    }
}

struct Copy<'a> {
    app: &'a App,
    follow: bool,
    own: bool,
    progress: Progress,
}

impl Copy<'_> {
    async fn stat(&self, container: &str, path: &str) -> Result<PathStat, ClientError> {
        let request = Request::head(archive(container)).query(&Query::new().with("path", path));
        let answer = self.app.client.send(request).await?;
        Ok(told(&answer))
    }

    async fn from(&self, container: &str, from: &str, to: &str) -> Result<(), Failure> {
        let to_stdout = to == "-";
        let to = if to_stdout {
            to.to_owned()
        } else {
            copy::absolute(to)?
        };
        check_output(&to)?;
        let (mut from, mut name) = (from.to_owned(), None);
        if self.follow
            && let Ok(found) = self.stat(container, &from).await
            && found.mode & SYMLINK != 0
        {
            (from, name) = copy::rebased(&from, &beside(&from, &found.link_target));
        }
        let query = Query::new().with("path", &from);
        let request = Request::get(archive(container)).query(&query);
        let mut answer = self.app.client.send(request).await?;
        if to_stdout {
            while let Some(chunk) = answer.chunk().await.map_err(cut_off)? {
                self.app.put(chunk)?;
            }
            return Ok(());
        }
        let source = Place {
            path: from,
            exists: true,
            is_dir: told(&answer).mode & DIRECTORY != 0,
            name,
        };
        let placed = arrival(&source, &copy::target(&to)?)?;
        let receive = self.receive(answer, placed);
        self.progress
            .watch("Copying from container - ", &to, receive)
            .await
    }

    // The disk has a thread of its own, so that the network need not wait for it.
    async fn receive(&self, mut answer: Response, placed: Placed) -> Result<(), Failure> {
        let (pieces, received) = mpsc::channel(PIECES);
        let unpacking = tokio::task::spawn_blocking(move || {
            let archive = Received {
                pieces: received,
                current: Bytes::new(),
            };
            copy::unpack(archive, &placed)
        });
        let broken = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    self.progress.add(chunk.len());
                    if pieces.send(Ok(chunk)).await.is_err() {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(error) => {
                    let _ = pieces
                        .send(Err(io::Error::other("the archive is cut off")))
                        .await;
                    break Some(error);
                }
            }
        };
        drop(pieces);
        let unpacked = unpacking
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        match broken {
            Some(error) => Err(cut_off(error)),
            None => Ok(unpacked?),
        }
    }

    async fn to(&self, container: &str, from: &str, to: &str) -> Result<(), Failure> {
        let from_stdin = from == "-";
        let from = if from_stdin {
            from.to_owned()
        } else {
            copy::absolute(from)?
        };
        let target = self.destination(container, to).await?;
        let (dir, source) = if from_stdin {
            if !target.is_dir {
                return Err(Failure::new(format!(
                    "destination \"{container}:{to}\" must be a directory"
                )));
            }
            (target.path.clone(), None)
        } else {
            let found = copy::source(&from, self.follow)?;
            let placed = copy::place(&found, &target)?;
            let name = match placed.rename {
                Some(rename) => rename.to,
                None => found.name.unwrap_or_else(|| copy::split(&found.path).1),
            };
            let path = found.path.into();
            (placed.dir, Some(Source { path, name }))
        };
        let mut query = Query::new().with("path", &dir);
        query.add("noOverwriteDirNonDir", "true");
        query.add_flag("copyUIDGID", self.own);
        let request = Request::new(hyper::Method::PUT, archive(container)).query(&query);
        let place = format!("{container}:{}", target.path);
        let send = self.send(request, source);
        self.progress
            .watch("Copying to container - ", &place, send)
            .await
    }

    async fn send(&self, request: Request, source: Option<Source>) -> Result<(), Failure> {
        let kind = "application/x-tar";
        let Some(source) = source else {
            let counted = Counted(io::stdin(), self.progress.clone());
            self.app
                .client
                .send(request.body(kind, body(counted)))
                .await?;
            return Ok(());
        };
        let (pieces, taken) = mpsc::channel(PIECES);
        let progress = self.progress.clone();
        let packing = tokio::task::spawn_blocking(move || {
            let packed = copy::pack(&source, &mut |chunk| {
                progress.add(chunk.len());
                pieces.blocking_send(Ok(Frame::data(chunk))).is_ok()
            });
            if packed.is_err() {
                // Half an archive must not look like a whole one.
                let cut = io::Error::other("packing failed");
                let _ = pieces.blocking_send(Err(cut));
            }
            packed
        });
        let sent = self
            .app
            .client
            .send(request.body(kind, piecewise(taken)))
            .await;
        let packed = packing
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        // What could not be read is the reason, and the broken request only what came of it.
        packed?;
        Ok(sent.map(drop)?)
    }

    // What is at the destination; errors are left to the copy itself, which may make it.
    async fn destination(&self, container: &str, path: &str) -> Result<Place, Failure> {
        let mut place = Place {
            path: path.to_owned(),
            ..Place::default()
        };
        let Ok(mut found) = self.stat(container, path).await else {
            return Ok(place);
        };
        if found.mode & SYMLINK != 0 {
            place.path = beside(path, &found.link_target);
            found = match self.stat(container, &place.path).await {
                Ok(found) => found,
                Err(_) => return Ok(place),
            };
        }
        let what = match found.mode {
            mode if mode & DEVICE != 0 => "got a device",
            mode if mode & IRREGULAR != 0 => "got an irregular file",
            mode => {
                place.exists = true;
                place.is_dir = mode & DIRECTORY != 0;
                return Ok(place);
            }
        };
        Err(Failure::new(format!(
            "destination \"{container}:{path}\" must be a directory or a regular file: {what}"
        )))
    }
}

fn archive(container: &str) -> String {
    format!("/containers/{}/archive", escape(container))
}

// The daemon can only break off what it has begun.
fn cut_off(error: ClientError) -> Failure {
    match error {
        ClientError::Transport { .. } => Failure::new("unexpected EOF"),
        other => other.into(),
    }
}

fn told(answer: &Response) -> PathStat {
    let header = answer.headers().get(PathStat::HEADER);
    let header = header.and_then(|value| value.to_str().ok());
    header.and_then(PathStat::from_header).unwrap_or_default()
}

// Where a link leads, as seen from the directory it is in.
fn beside(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    clean(&format!("{}/{target}", copy::split(path).0))
}

// The archive calls its topmost entry by the path's last name; a followed link keeps its own.
fn arrival(source: &Place, target: &Place) -> Result<Placed, Failure> {
    let Placed { dir, rename } = copy::place(source, target)?;
    let to = rename
        .map(|rename| rename.to)
        .or_else(|| source.name.clone());
    let from = copy::split(&source.path).1;
    let rename = to.map(|to| Rename { from, to });
    Ok(Placed { dir, rename })
}

fn check_output(path: &str) -> Result<(), Failure> {
    let (dir, _) = copy::split(path.trim_end_matches("/."));
    if !matches!(dir.as_str(), "" | ".") && !exists(&dir) {
        return Err(Failure::new(format!(
            "invalid output path: directory {dir:?} does not exist"
        )));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_char_device() || found.file_type().is_block_device() => {
            Err(Failure::new(format!(
                "invalid output path: {path:?} must be a directory or a regular file: got a device"
            )))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::new(format!("stat {path}: {}", go_text(&error)))),
    }
}

fn exists(path: &str) -> bool {
    let found = std::fs::metadata(path);
    !found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn piecewise(taken: mpsc::Receiver<Result<Frame<Bytes>, io::Error>>) -> Body {
    let chunks = stream::unfold(taken, |mut taken| async {
        let next = taken.recv().await?;
        Some((next, taken))
    });
    BodyExt::boxed(StreamBody::new(chunks))
}

/// Counts what is read.
struct Counted<R>(R, Progress);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.add(count);
        Ok(count)
    }
}

/// What came from the network, as a file to read.
struct Received {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        assert_eq!(split("c:/x"), ("c", "/x"));
        assert_eq!(split("/c:/x"), ("", "/c:/x"));
        assert_eq!(split("./c:x"), ("", "./c:x"));
        assert_eq!(split("c"), ("", "c"));
        assert_eq!(split(":x"), ("", "x"));
    }

    #[test]
    fn links_lead_from_where_they_are() {
        assert_eq!(beside("/a/l", "b"), "/a/b");
        assert_eq!(beside("/a/l/", "../b"), "/b");
        assert_eq!(beside("/a/l", "/b"), "/b");
    }

    #[test]
    fn outputs() {
        assert!(
            check_output("/dev/null")
                .unwrap_err()
                .message
                .ends_with("got a device")
        );
        assert_eq!(
            check_output("/nonexistent/x").unwrap_err().message,
            "invalid output path: directory \"/nonexistent\" does not exist"
        );
        assert!(check_output("/tmp/").is_ok() && check_output("-").is_ok());
    }
}
