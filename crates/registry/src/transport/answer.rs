//! An answer: its head, and its body within bounds of size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{Instant, timeout};
use url::Url;

use super::failure::{self, go_method};
use crate::origin::shown;
use crate::{Error, Result, Settings, TransportError};

/// What a registry answered.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    method: Method,
    /// What was asked in the end, after redirects.
    pub(crate) url: Url,
    stall: Stall,
    pub(crate) error_limit: usize,
}

/// Ends a body of which too little comes.
///
/// Only the time that is spent waiting counts, not the time the reader takes.
#[derive(Debug, Clone)]
pub(crate) struct Stall {
    window: Duration,
    least: u64,
    waited: Duration,
    came: u64,
}

impl Stall {
    fn new(settings: &Settings) -> Self {
        Self {
            window: settings.timeouts.stall,
            least: settings.limits.stall_bytes.max(1),
            waited: Duration::ZERO,
            came: 0,
        }
    }

    fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// Counts what came after a wait.
    fn note(&mut self, waited: Duration, bytes: u64) {
        self.waited += waited;
        self.came += bytes;
        if self.came >= self.least {
            self.waited = Duration::ZERO;
            self.came = 0;
        }
    }
}

impl Answer {
    pub(super) fn new(response: Response, method: Method, url: Url, settings: &Settings) -> Self {
        Self {
            response,
            method,
            url,
            stall: Stall::new(settings),
            error_limit: settings.limits.error,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header that is text; of several the first.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The `Content-Type`, empty where there is none.
    pub(crate) fn content_type(&self) -> &str {
        self.header(CONTENT_TYPE.as_str()).unwrap_or_default()
    }

    /// The `Content-Length`, also of an answer to HEAD.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.trim().parse().ok()
    }

    /// The next bytes of the body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let start = Instant::now();
        match timeout(self.stall.left(), self.response.chunk()).await {
            Ok(Ok(chunk)) => {
                let came = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                self.stall.note(start.elapsed(), came);
                Ok(chunk)
            }
            Ok(Err(error)) => Err(self.failed(failure::body(&error))),
            Err(_) => Err(self.failed(TransportError::Stalled {
                what: "the registry sends nothing",
                seconds: self.stall.window.as_secs(),
            })),
        }
    }

    /// The whole body, up to a number of bytes and within a time.
    pub(crate) async fn bytes(&mut self, limit: usize, within: Duration) -> Result<Vec<u8>> {
        let whole = async {
            let mut all = BytesMut::new();
            while let Some(chunk) = self.chunk().await? {
                if all.len() + chunk.len() > limit {
                    return Err(self.failed(TransportError::TooLong { limit }));
                }
                all.extend_from_slice(&chunk);
            }
            Ok(all)
        };
        match timeout(within, whole).await {
            Ok(all) => Ok(all?.into()),
            Err(_) => Err(self.failed(TransportError::Stalled {
                what: "the answer does not end",
                seconds: within.as_secs(),
            })),
        }
    }

    /// The beginning of the body, for an error's text; what cannot be read is left out.
    pub(crate) async fn some_bytes(&mut self, within: Duration) -> Vec<u8> {
        let limit = self.error_limit;
        let mut all = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = self.chunk().await {
                let room = limit - all.len();
                all.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if all.len() == limit {
                    break;
                }
            }
        };
        let _ = timeout(within, reading).await;
        all
    }

    /// An error about this answer.
    pub(crate) fn failed(&self, source: TransportError) -> Error {
        Error::Request {
            method: go_method(&self.method),
            url: shown(&self.url),
            source,
        }
    }

    /// An error about what this answer says.
    pub(crate) fn protocol(&self, why: impl Into<String>) -> Error {
        Error::Protocol {
            url: shown(&self.url),
            why: why.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_a_stall() {
        let mut settings = Settings::default();
        settings.timeouts.stall = Duration::from_secs(30);
        settings.limits.stall_bytes = 1000;
        let mut stall = Stall::new(&settings);
        for _ in 0..29 {
            stall.note(Duration::from_secs(1), 10);
        }
        assert_eq!(stall.left(), Duration::from_secs(1));
        stall.note(Duration::from_millis(10), 2000);
        assert_eq!(stall.left(), Duration::from_secs(30));
    }
}
