//! Blobs: asking for them and reading them from any offset.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use spec::Digest;
use spec::manifest::Descriptor;

use super::walk::Need;
use super::{EndpointId, Repository};
use crate::reply::success;
use crate::session::Session;
use crate::transport::Answer;
use crate::{Error, Result, TransportError};

/// The bytes of a blob as they come; never more than its descriptor says.
#[derive(Debug)]
pub struct BlobStream {
    answer: Option<Answer>,
    endpoint: EndpointId,
    digest: Digest,
    size: u64,
    offset: u64,
    /// Where the next byte belongs.
    at: u64,
}

impl BlobStream {
    /// Where in the blob the stream begins: what was asked for, or 0 where the registry cannot.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where it comes from, for [`Repository::blame`].
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// The next bytes; `None` when the whole blob came. An error ends the stream; what came
    /// before it is good to be continued from there.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] on a cut or a stall, [`Error::BlobSize`] on a lie.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        let chunk = self.answer.as_mut()?.chunk().await;
        let result = match chunk {
            Ok(Some(chunk)) => {
                let after = self.at + chunk.len() as u64;
                if after <= self.size {
                    self.at = after;
                    return Some(Ok(chunk));
                }
                Err(self.lie(after))
            }
            Ok(None) if self.at == self.size => {
                self.answer = None;
                return None;
            }
            Ok(None) => Err(self.answer.as_ref()?.failed(TransportError::Cut {
                text: "unexpected EOF".to_owned(),
            })),
            Err(error) => Err(error),
        };
        self.answer = None;
        Some(result)
    }

    fn lie(&self, actual: u64) -> Error {
        Error::BlobSize {
            digest: self.digest,
            expected: self.size,
            actual,
        }
    }
}

impl Repository {
    /// Opens a blob at an offset. The bytes are counted, not hashed: that is the reader's part.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::BlobSize`] where the registry has another length.
    pub async fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobStream> {
        let offset = offset.min(descriptor.size);
        let mut walk = self.walk(Need::Pull).await?;
        while let Some((id, session)) = walk.next() {
            match self.blob_at(id, &session, descriptor, offset).await {
                Ok(stream) => return Ok(stream),
                Err(error) => walk.failed(id, &session, error)?,
            }
        }
        Err(walk.end())
    }

    /// Fetches a small blob (a config) whole and checks its digest.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::BlobDigest`] where the bytes are others.
    pub async fn small_blob(&self, descriptor: &Descriptor, limit: usize) -> Result<Vec<u8>> {
        if descriptor.size > limit as u64 {
            return Err(Error::Invalid {
                what: format!(
                    "blob {} has {} bytes, at most {limit} are read",
                    descriptor.digest, descriptor.size
                ),
            });
        }
        let mut walk = self.walk(Need::Pull).await?;
        while let Some((id, session)) = walk.next() {
            match self.small_at(id, &session, descriptor).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => walk.failed(id, &session, error)?,
            }
        }
        Err(walk.end())
    }

    /// Asks whether the registry has a blob; gives its length.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn has_blob(&self, digest: Digest) -> Result<Option<u64>> {
        let mut walk = self.walk(Need::Push).await?;
        while let Some((id, session)) = walk.next() {
            match self.has_at(&session, digest).await {
                Ok(found) => return Ok(found),
                Err(error) => walk.failed(id, &session, error)?,
            }
        }
        Err(walk.end())
    }

    async fn has_at(&self, session: &Session, digest: Digest) -> Result<Option<u64>> {
        let url = session
            .endpoint
            .url(&format!("{}/blobs/{digest}", self.path()));
        let call = session.call(Method::HEAD, url);
        let answer = session.send(call, &self.push_scope()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = success(answer).await?;
        Ok(Some(answer.content_length().unwrap_or_default()))
    }

    async fn blob_at(
        &self,
        endpoint: EndpointId,
        session: &Session,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<BlobStream> {
        let digest = descriptor.digest;
        let url = session
            .endpoint
            .url(&format!("{}/blobs/{digest}", self.path()));
        let mut call = session.call(Method::GET, url);
        let identity = HeaderValue::from_static("identity");
        call.headers.insert(ACCEPT_ENCODING, identity);
        // The last byte also, where there is nothing left: an empty range cannot be asked for.
        let from = offset.min(descriptor.size.saturating_sub(1));
        if from > 0 {
            let range = format!("bytes={from}-");
            if let Ok(range) = HeaderValue::from_str(&range) {
                call.headers.insert(RANGE, range);
            }
        }
        let answer = session.send(call, &self.pull_scope()).await?;
        let mut answer = success(answer).await.map_err(unknown_blob)?;
        let start = start(&answer, descriptor, from)?;
        let mut stream = BlobStream {
            answer: None,
            endpoint,
            digest,
            size: descriptor.size,
            offset: start,
            at: start,
        };
        if start == from && from < offset {
            // All there is was had before; the one byte is read so that the connection is kept.
            answer
                .bytes(1, self.shared().transport.settings.timeouts.document)
                .await?;
            stream.offset = offset;
            stream.at = offset;
            return Ok(stream);
        }
        stream.answer = Some(answer);
        Ok(stream)
    }

    async fn small_at(
        &self,
        id: EndpointId,
        session: &Session,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>> {
        let mut stream = self.blob_at(id, session, descriptor, 0).await?;
        let mut all = Vec::new();
        let reading = async {
            while let Some(chunk) = stream.next().await {
                all.extend_from_slice(&chunk?);
            }
            Ok::<_, Error>(())
        };
        let within: Duration = self.shared().transport.settings.timeouts.document;
        match tokio::time::timeout(within, reading).await {
            Ok(read) => read?,
            Err(_) => {
                return Err(Error::Request {
                    method: "Get".to_owned(),
                    url: format!("{}/blobs/{}", self.path(), descriptor.digest),
                    source: TransportError::Stalled {
                        what: "the answer does not end",
                        seconds: within.as_secs(),
                    },
                });
            }
        }
        let actual = Digest::of(&all);
        if actual != descriptor.digest {
            return Err(Error::BlobDigest {
                expected: descriptor.digest,
                actual,
            });
        }
        Ok(all)
    }
}

/// Where the body of an answer begins, if it is the blob at all.
fn start(answer: &Answer, descriptor: &Descriptor, asked: u64) -> Result<u64> {
    let size = descriptor.size;
    let lie = |actual| Error::BlobSize {
        digest: descriptor.digest,
        expected: size,
        actual,
    };
    if answer
        .header("content-encoding")
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(answer.protocol("the blob is packed once more for the way"));
    }
    let length = answer.content_length();
    if answer.status() != StatusCode::PARTIAL_CONTENT {
        return match length {
            Some(length) if length != size => Err(lie(length)),
            _ => Ok(0),
        };
    }
    let range = answer.header(CONTENT_RANGE.as_str()).and_then(parse_range);
    let Some((first, last, whole)) = range else {
        return Err(answer.protocol("it is a part of the blob, but does not say which"));
    };
    if let Some(whole) = whole.filter(|whole| *whole != size) {
        return Err(lie(whole));
    }
    if first != asked || last + 1 != size {
        return Err(answer.protocol(format!(
            "it is bytes {first}-{last} of the blob, bytes {asked}- were asked for"
        )));
    }
    Ok(first)
}

/// `bytes 5-9/10` or `bytes 5-9/*`.
fn parse_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, whole) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let whole = match whole.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    (first <= last && last < u64::MAX).then_some((first, last, whole))
}

/// Docker says only this of a blob that is not there.
fn unknown_blob(error: Error) -> Error {
    match error {
        Error::Api(source) if source.status == 404 => Error::BlobUnknown { source },
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, 9, None)));
        for bad in [
            "",
            "bytes */10",
            "bytes 9-5/10",
            "5-9/10",
            "bytes 5-9",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }
}
