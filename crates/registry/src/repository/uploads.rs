//! Sending blobs.
//!
//! ```text
//! POST uploads/                    -> 202, Location          (or 201: mounted)
//! PUT  Location?digest=  + body    -> 201                    at once, the usual way
//! PATCH Location + piece …, PUT    -> 202 …, 201             where a server takes no large bodies
//! PATCH Location + stream, PUT     -> 202, 201               where the digest is known at the end
//! ```
//!
//! Each `Location` replaces the one before it. On another origin it gets no credentials.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use spec::Digest;
use spec::manifest::Descriptor;
use url::Url;

use super::walk::Need;
use super::{Body, Mount, Open, Repository};
use crate::reply::{self, success};
use crate::scope::Scopes;
use crate::session::Session;
use crate::transport::{Answer, Call, Payload, join};
use crate::{Error, Result};

/// Length of a piece, unless the registry wants longer ones.
const PIECE: usize = 8 << 20;
/// Longest piece that is held in memory at a registry's wish.
const MAX_PIECE: usize = 64 << 20;
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// An upload that the registry opened. Unused it expires at the registry.
#[derive(Debug)]
pub struct UploadSession {
    session: Arc<Session>,
    location: Url,
    piece: usize,
    scopes: Scopes,
}

impl Repository {
    /// Asks the registry to take a blob over from another repository of it (`library/debian`).
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn mount(&self, digest: Digest, from: &str) -> Result<Mount> {
        let scopes = self.push_scope().and(from, &["pull"]);
        let query = [("mount", digest.to_string()), ("from", from.to_owned())];
        self.begin(&query, scopes).await
    }

    /// Sends a blob: at once, or in pieces where the registry wants it so. `sent` hears how many
    /// bytes of the current attempt left.
    ///
    /// # Errors
    ///
    /// [`Error`]; the registry then has nothing new under the digest.
    pub async fn upload(
        &self,
        descriptor: &Descriptor,
        session: Option<UploadSession>,
        open: Open<'_>,
        sent: Sent,
    ) -> Result<()> {
        let upload = match session {
            Some(upload) => upload,
            None => self.open().await?,
        };
        let mut answer = upload.put_whole(descriptor, open(), &sent).await?;
        // What a server or a proxy before it says to a body it finds too long or too plain.
        let wants_pieces = [
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::LENGTH_REQUIRED,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::NOT_IMPLEMENTED,
        ];
        if !wants_pieces.contains(&answer.status()) {
            return stored(answer, descriptor.digest).await;
        }
        tracing::debug!(status = %answer.status(), "sending a blob in pieces");
        let refused = reply::error(&mut answer).await;
        let upload = self.open().await?;
        match upload.put_pieces(descriptor, open(), &sent).await {
            Err(error) if !error.is_transient() => {
                tracing::info!(error = %spec::error::chain(&error), "pieces are refused as well");
                Err(refused)
            }
            done => done,
        }
    }

    /// Sends a blob whose digest is known when its bytes have been read.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn upload_stream(
        &self,
        body: Body,
        digest: impl FnOnce() -> Digest + Send,
    ) -> Result<Digest> {
        let mut upload = self.open().await?;
        let call = Call {
            payload: Payload::Stream(body, None),
            ..upload.call(Method::PATCH, upload.location.clone())
        };
        let answer = success(upload.send(call).await?).await?;
        upload.follow(&answer)?;
        let digest = digest();
        upload.finish(digest).await?;
        Ok(digest)
    }

    async fn open(&self) -> Result<UploadSession> {
        match self.begin(&[], self.push_scope()).await? {
            Mount::Upload(upload) => Ok(upload),
            Mount::Mounted => Err(Error::Protocol {
                url: format!("{}/blobs/uploads/", self.path()),
                why: "the registry has the blob before it was sent".to_owned(),
            }),
        }
    }

    async fn begin(&self, query: &[(&str, String)], scopes: Scopes) -> Result<Mount> {
        let mut walk = self.walk(Need::Push).await?;
        while let Some((id, session)) = walk.next() {
            match self.begin_at(&session, query, &scopes).await {
                Ok(mount) => return Ok(mount),
                Err(error) => walk.failed(id, &session, error)?,
            }
        }
        Err(walk.end())
    }

    async fn begin_at(
        &self,
        session: &Arc<Session>,
        query: &[(&str, String)],
        scopes: &Scopes,
    ) -> Result<Mount> {
        let path = format!("{}/blobs/uploads/", self.path());
        let mut url = session.endpoint.url(&path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let call = session.call(Method::POST, url);
        let answer = success(session.send(call, scopes).await?).await?;
        if answer.status() == StatusCode::CREATED && !query.is_empty() {
            return Ok(Mount::Mounted);
        }
        let location = location(&answer)?;
        let least = answer
            .header("oci-chunk-min-length")
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        Ok(Mount::Upload(UploadSession {
            session: Arc::clone(session),
            location,
            piece: PIECE.max(least),
            scopes: self.push_scope(),
        }))
    }
}

/// Hears how many bytes of an attempt left.
pub type Sent = Arc<dyn Fn(u64) + Send + Sync>;

impl UploadSession {
    fn call(&self, method: Method, url: Url) -> Call {
        let mut call = self.session.call(method, url);
        call.headers.insert(CONTENT_TYPE, OCTETS);
        call.patience = self.session.shared().transport.settings.timeouts.commit;
        call
    }

    async fn send(&self, call: Call) -> Result<Answer> {
        self.session.send(call, &self.scopes).await
    }

    fn follow(&mut self, answer: &Answer) -> Result<()> {
        // Some registries only say it once.
        if answer.header(LOCATION.as_str()).is_some() {
            self.location = location(answer)?;
        }
        Ok(())
    }

    /// The location with the digest added, which ends the upload.
    fn end(&self, digest: Digest) -> Url {
        let mut url = self.location.clone();
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        url
    }

    async fn put_whole(&self, descriptor: &Descriptor, body: Body, sent: &Sent) -> Result<Answer> {
        let call = self.call(Method::PUT, self.end(descriptor.digest));
        let payload = match descriptor.size {
            0 => Payload::Empty,
            size => Payload::Stream(counted(body, Arc::clone(sent)), Some(size)),
        };
        self.send(Call { payload, ..call }).await
    }

    async fn put_pieces(
        mut self,
        descriptor: &Descriptor,
        mut body: Body,
        sent: &Sent,
    ) -> Result<()> {
        if self.piece > MAX_PIECE {
            return Err(Error::Invalid {
                what: format!("the registry wants pieces of {} bytes", self.piece),
            });
        }
        let mut at = 0_u64;
        let mut rest = Bytes::new();
        loop {
            let piece = next_piece(&mut body, &mut rest, self.piece).await?;
            if piece.is_empty() {
                break;
            }
            let length = piece.len() as u64;
            let mut call = self.call(Method::PATCH, self.location.clone());
            let range = format!("{at}-{}", at + length - 1);
            if let Ok(range) = HeaderValue::from_str(&range) {
                call.headers.insert(CONTENT_RANGE, range);
            }
            call.payload = Payload::Bytes(piece);
            let answer = success(self.send(call).await?).await?;
            self.follow(&answer)?;
            at += length;
            sent(at);
        }
        self.finish(descriptor.digest).await
    }

    async fn finish(&self, digest: Digest) -> Result<()> {
        let call = self.call(Method::PUT, self.end(digest));
        stored(self.send(call).await?, digest).await
    }
}

/// Collects a piece of exactly this length, or what is left.
async fn next_piece(body: &mut Body, rest: &mut Bytes, length: usize) -> Result<Bytes> {
    let mut piece = BytesMut::new();
    while piece.len() < length {
        if rest.is_empty() {
            match body.next().await {
                None => break,
                Some(Ok(chunk)) => *rest = chunk,
                Some(Err(error)) => {
                    return Err(Error::Invalid {
                        what: format!("the blob cannot be read: {error}"),
                    });
                }
            }
        }
        let take = rest.len().min(length - piece.len());
        piece.extend_from_slice(&rest.split_to(take));
    }
    Ok(piece.freeze())
}

fn counted(body: Body, sent: Sent) -> Body {
    let mut all = 0_u64;
    Box::pin(body.inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            all += chunk.len() as u64;
            sent(all);
        }
    }))
}

fn location(answer: &Answer) -> Result<Url> {
    let text = answer
        .header(LOCATION.as_str())
        .ok_or_else(|| answer.protocol("it does not say where to send the blob"))?;
    join(&answer.url, text).map_err(|why| answer.protocol(format!("the upload location: {why}")))
}

/// Checks that the registry has what it was sent.
async fn stored(answer: Answer, digest: Digest) -> Result<()> {
    let answer = success(answer).await?;
    match answer
        .header("docker-content-digest")
        .map(str::parse::<Digest>)
    {
        Some(Ok(other)) if other != digest => Err(Error::BlobDigest {
            expected: digest,
            actual: other,
        }),
        _ => Ok(()),
    }
}
