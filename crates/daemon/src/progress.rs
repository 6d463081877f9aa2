//! Long work and the lines that tell how far it is, as one answer.
//!
//! ```text
//! work fails before its first line  -> status and JSON
//! work fails after its first line   -> a line with errorDetail, status 200
//! client goes away                  -> the answer is dropped, and with it the work
//! ```

use std::future::Future;
use std::io;

use api::gojson::encode;
use api::message::JsonMessage;
use bytes::Bytes;
use engine::images::ArchiveStream;
use futures_util::stream;
use hyper::StatusCode;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, info, warn};

use crate::error::ApiError;
use crate::reply::{self, Reply};

const JSON: &str = "application/json";
/// Lines that wait for a slow client.
pub const QUEUE: usize = 64;

/// Lines and the work that makes them; dropping it ends the work.
struct Running<P> {
    lines: mpsc::Receiver<P>,
    work: AbortOnDropHandle<engine::Result<()>>,
}

impl<P> Running<P> {
    async fn outcome(self) -> Result<(), ApiError> {
        match self.work.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the request's task ended early",
            )),
        }
    }
}

/// A line as Docker frames it.
pub fn line(message: &JsonMessage) -> Bytes {
    let mut line = encode(message);
    line.extend_from_slice(b"\r\n");
    Bytes::from(line)
}

/// What somebody caused is no warning; neither level holds more than the client is told.
fn log(failure: &ApiError) {
    let (status, error) = (failure.status.as_u16(), &failure.message);
    match status {
        500 => warn!(status, error, "the work of an answer failed under way"),
        _ => info!(status, error, "the work of an answer failed under way"),
    }
}

/// Which statuses a failure before the first line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Early {
    /// Its own.
    Status,
    /// 200 and a line, as Docker answers where it has sent the head already.
    Line,
}

/// Runs work that sends lines, and answers with them.
///
/// # Errors
///
/// The work failed before its first line, and that is to be a status.
pub async fn answer<P, F, W, S>(early: Early, work: W, shown: S) -> Result<Reply, ApiError>
where
    P: Send + 'static,
    W: FnOnce(mpsc::Sender<P>) -> F,
    F: Future<Output = engine::Result<()>> + Send + 'static,
    S: Fn(&P) -> Option<JsonMessage> + Send + 'static,
{
    let (send, lines) = mpsc::channel(QUEUE);
    let work = tokio::spawn(work(send).in_current_span());
    let mut running = Running {
        lines,
        work: AbortOnDropHandle::new(work),
    };
    let Some(first) = running.lines.recv().await else {
        return match (running.outcome().await, early) {
            (Ok(()), _) => Ok(reply::typed(StatusCode::OK, JSON, Bytes::new())),
            (Err(failure), Early::Status) => Err(failure),
            (Err(failure), Early::Line) => {
                let failure = JsonMessage::failure(failure.message);
                Ok(reply::typed(StatusCode::OK, JSON, line(&failure)))
            }
        };
    };
    let state = Some((running, Some(first), shown));
    let chunks = stream::unfold(state, |state| async move {
        let (mut running, mut first, shown) = state?;
        loop {
            let next = match first.take() {
                Some(first) => Some(first),
                None => running.lines.recv().await,
            };
            let Some(next) = next else {
                let failure = running.outcome().await.err()?;
                log(&failure);
                return Some((Ok(line(&JsonMessage::failure(failure.message))), None));
            };
            if let Some(message) = shown(&next) {
                return Some((Ok(line(&message)), Some((running, None, shown))));
            }
        }
    });
    Ok(reply::stream(JSON, chunks))
}

/// Answers with an archive that is made while it is sent.
///
/// A failure under way breaks the connection: what looks complete has to be complete.
///
/// # Errors
///
/// The archive failed before its first byte.
pub async fn archive(
    content_type: &'static str,
    mut archive: ArchiveStream,
) -> Result<Reply, ApiError> {
    let first = archive.next().await.transpose()?;
    let state = first.map(|first| (archive, Some(first)));
    let chunks = stream::unfold(state, |state| async move {
        let (mut archive, first) = state?;
        let next = match first {
            Some(first) => Ok(first),
            None => archive.next().await?,
        };
        match next {
            Ok(bytes) => Some((Ok(bytes), Some((archive, None)))),
            Err(error) => {
                let text = spec::error::chain(&error);
                warn!(error = %text, "an archive was cut off under way");
                Some((Err(io::Error::other(text)), None))
            }
        }
    });
    Ok(reply::stream(content_type, chunks))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn shown(text: &&'static str) -> Option<JsonMessage> {
        (!text.is_empty()).then(|| JsonMessage::status("", *text))
    }

    async fn body(reply: Reply) -> String {
        let bytes = reply.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_failure_before_the_first_line_is_a_status() {
        let work = |_send: mpsc::Sender<&'static str>| async { Err(engine::Error::conflict("x")) };
        let failure = answer(Early::Status, work, shown).await.unwrap_err();
        assert_eq!((failure.status.as_u16(), &*failure.message), (409, "x"));
        let reply = answer(Early::Line, work, shown).await.unwrap();
        assert_eq!(
            body(reply).await,
            "{\"errorDetail\":{\"message\":\"x\"},\"error\":\"x\"}\r\n"
        );
    }

    #[tokio::test]
    async fn a_failure_after_it_is_a_line() {
        let work = |send: mpsc::Sender<&'static str>| async move {
            send.send("a").await.unwrap();
            send.send("").await.unwrap();
            Err(engine::Error::conflict("<x>"))
        };
        let reply = answer(Early::Status, work, shown).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(
            body(reply).await,
            "{\"status\":\"a\"}\r\n{\"errorDetail\":{\"message\":\"\\u003cx\\u003e\"},\"error\":\"\\u003cx\\u003e\"}\r\n"
        );
    }

    #[tokio::test]
    async fn work_without_lines_is_an_empty_answer() {
        let work = |_send: mpsc::Sender<&'static str>| async { Ok(()) };
        let reply = answer(Early::Status, work, shown).await.unwrap();
        assert_eq!(body(reply).await, "");
    }

    #[tokio::test]
    async fn dropping_the_answer_ends_the_work() {
        let (alive, mut ended) = mpsc::channel::<()>(1);
        let work = |send: mpsc::Sender<&'static str>| async move {
            let _alive = alive;
            send.send("a").await.unwrap();
            std::future::pending::<()>().await;
            Ok(())
        };
        drop(answer(Early::Status, work, shown).await.unwrap());
        assert!(ended.recv().await.is_none());
    }
}
