//! A registry in this process: keeps what it is given, counts what it is asked, and fails on demand.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use spec::Digest;
use spec::manifest::Document;
use tokio::sync::Notify;

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// How a blob is served, instead of as it should be.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// So many answers end after so many bytes.
    Cut { times: u32, after: usize },
    /// Other bytes of the same length.
    Wrong,
    /// It begins, and goes on when told so.
    Held(Arc<Notify>),
}

/// What it has, and what it saw.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) blobs: HashMap<(String, Digest), Bytes>,
    pub(super) manifests: HashMap<(String, String), (String, Bytes)>,
    pub(super) faults: HashMap<Digest, Fault>,
    /// `METHOD path [range]` in order.
    pub(super) requests: Vec<String>,
    uploads: HashMap<String, Vec<u8>>,
}

/// The registry.
#[derive(Debug, Clone)]
pub(super) struct TestRegistry {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) host: String,
}

impl TestRegistry {
    /// Listens on a free port until the runtime ends.
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Self {
            state: Arc::default(),
            host: listener.local_addr().unwrap().to_string(),
        };
        let serving = registry.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let registry = serving.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let registry = registry.clone();
                        async move { Ok::<_, Infallible>(registry.answer(request).await) }
                    });
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let _cut = hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service)
                        .await;
                });
            }
        });
        registry
    }

    pub(super) fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let key = (repository.to_owned(), digest);
        self.state()
            .blobs
            .insert(key, Bytes::copy_from_slice(bytes));
        digest
    }

    pub(super) fn put_manifest(&self, repository: &str, tag: &str, document: &Document) {
        let value = (
            document.media_type.clone(),
            Bytes::from(document.bytes.clone()),
        );
        let mut state = self.state();
        for name in [tag.to_owned(), document.digest.to_string()] {
            let key = (repository.to_owned(), name);
            state.manifests.insert(key, value.clone());
        }
    }

    pub(super) fn fault(&self, digest: Digest, fault: Fault) {
        self.state().faults.insert(digest, fault);
    }

    pub(super) fn manifest(&self, repository: &str, tag: &str) -> Option<Bytes> {
        let key = (repository.to_owned(), tag.to_owned());
        self.state()
            .manifests
            .get(&key)
            .map(|(_, bytes)| bytes.clone())
    }

    /// Requests that were seen and begin so, oldest first; forgotten by this.
    pub(super) fn take_requests(&self, start: &str) -> Vec<String> {
        let all = std::mem::take(&mut self.state().requests);
        all.into_iter().filter(|r| r.starts_with(start)).collect()
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let range = parts
            .headers
            .get("range")
            .map(|r| r.to_str().unwrap().to_owned());
        let line = format!(
            "{} {path} {}",
            parts.method,
            range.clone().unwrap_or_default()
        );
        self.state().requests.push(line.trim().to_owned());
        let Some(rest) = path.strip_prefix("/v2/").filter(|rest| !rest.is_empty()) else {
            return status(StatusCode::OK);
        };
        let query: HashMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.replace("%3A", ":").replace("%2F", "/")))
            .collect();
        let (head, last) = rest.rsplit_once('/').unwrap();
        if let Some(repository) = head.strip_suffix("/manifests") {
            let media_type = parts
                .headers
                .get("content-type")
                .map(|t| t.to_str().unwrap().to_owned());
            let bytes = body.collect().await.map_or(Bytes::new(), |b| b.to_bytes());
            return self.manifests(&parts.method, repository, last, media_type, bytes);
        }
        if last == "list" {
            let repository = head.strip_suffix("/tags").unwrap();
            return self.tags(repository);
        }
        if let Some((repository, _)) = rest.split_once("/blobs/uploads/") {
            return self
                .upload(&parts.method, repository, last, &query, body)
                .await;
        }
        let repository = head.strip_suffix("/blobs").unwrap();
        let digest = last.parse().unwrap();
        self.blob(&parts.method, repository, digest, range.as_deref())
    }

    fn tags(&self, repository: &str) -> Answer {
        let state = self.state();
        let mut tags: Vec<&String> = state
            .manifests
            .keys()
            .filter(|(of, tag)| of == repository && !tag.contains(':'))
            .map(|(_, tag)| tag)
            .collect();
        tags.sort_unstable();
        let list = serde_json::json!({"name": repository, "tags": tags});
        full(StatusCode::OK, list.to_string().into())
    }

    fn manifests(
        &self,
        method: &Method,
        repository: &str,
        name: &str,
        media_type: Option<String>,
        bytes: Bytes,
    ) -> Answer {
        let mut state = self.state();
        if method == Method::PUT {
            let digest = Digest::of(&bytes).to_string();
            let value = (media_type.unwrap(), bytes);
            for name in [name, &digest] {
                let key = (repository.to_owned(), name.to_owned());
                state.manifests.insert(key, value.clone());
            }
            return with(StatusCode::CREATED, &[("Docker-Content-Digest", &digest)]);
        }
        let key = (repository.to_owned(), name.to_owned());
        let Some((media_type, bytes)) = state.manifests.get(&key) else {
            let error = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            return json(StatusCode::NOT_FOUND, error.into());
        };
        let digest = Digest::of(bytes).to_string();
        let mut answer = full(StatusCode::OK, bytes.clone());
        let headers = answer.headers_mut();
        headers.insert("content-type", media_type.parse().unwrap());
        headers.insert("docker-content-digest", digest.parse().unwrap());
        headers.insert("content-length", bytes.len().into());
        answer
    }

    fn blob(
        &self,
        method: &Method,
        repository: &str,
        digest: Digest,
        range: Option<&str>,
    ) -> Answer {
        let mut state = self.state();
        let Some(bytes) = state.blobs.get(&(repository.to_owned(), digest)).cloned() else {
            let error = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}"#;
            return json(StatusCode::NOT_FOUND, error.into());
        };
        if method == Method::HEAD {
            let length = bytes.len().to_string();
            return with(StatusCode::OK, &[("content-length", &length)]);
        }
        let from = range.map_or(0, |range| {
            let range = range.strip_prefix("bytes=").unwrap();
            range.split('-').next().unwrap().parse().unwrap()
        });
        let total = bytes.len();
        let mut rest = bytes.slice(from..);
        let mut pieces: Vec<std::io::Result<Frame<Bytes>>> = Vec::new();
        let (mut held, mut cut_off) = (None, false);
        match state.faults.get_mut(&digest) {
            Some(Fault::Cut { times, after }) if *times > 0 => {
                *times -= 1;
                let cut = (*after).min(rest.len().saturating_sub(1));
                pieces.push(Ok(Frame::data(rest.split_to(cut))));
                cut_off = true;
            }
            Some(Fault::Wrong) => {
                let wrong: Vec<u8> = rest.iter().map(|b| b ^ 0x55).collect();
                pieces.push(Ok(Frame::data(wrong.into())));
            }
            Some(Fault::Held(go)) => {
                held = Some(Arc::clone(go));
                pieces.push(Ok(Frame::data(rest.split_to(rest.len() / 2))));
            }
            _ => {}
        }
        let wrong = !pieces.is_empty() && held.is_none() && !cut_off;
        let end = (!wrong).then_some(rest);
        let tail = stream::unfold(end, move |end| {
            let held = held.clone();
            async move {
                let bytes = end?;
                if let Some(held) = held {
                    held.notified().await;
                }
                if cut_off {
                    // What came before is on its way only when the body has to wait.
                    tokio::task::yield_now().await;
                    return Some((Err(std::io::Error::other("cut")), None));
                }
                Some((Ok(Frame::data(bytes)), None))
            }
        });
        use futures_util::StreamExt;
        let body =
            BodyExt::boxed(SyncBody(Mutex::new(Box::pin(stream::iter(pieces).chain(tail)))).body());
        let status = if from > 0 {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        };
        let mut answer = Response::builder()
            .status(status)
            .header("content-length", total - from);
        if from > 0 {
            answer = answer.header(
                "content-range",
                format!("bytes {from}-{}/{total}", total - 1),
            );
        }
        answer.body(body).unwrap()
    }

    async fn upload(
        &self,
        method: &Method,
        repository: &str,
        id: &str,
        query: &HashMap<String, String>,
        mut body: Incoming,
    ) -> Answer {
        if method == Method::POST
            && let (Some(digest), Some(from)) = (query.get("mount"), query.get("from"))
        {
            let mut state = self.state();
            let digest: Digest = digest.parse().unwrap();
            if let Some(bytes) = state.blobs.get(&(from.clone(), digest)).cloned() {
                state.blobs.insert((repository.to_owned(), digest), bytes);
                return status(StatusCode::CREATED);
            }
        }
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            bytes.extend_from_slice(&frame.into_data().unwrap());
        }
        let mut state = self.state();
        let id = match id {
            "" => format!("u{}", state.uploads.len()),
            id => id.to_owned(),
        };
        let upload = state.uploads.entry(id.clone()).or_default();
        upload.extend_from_slice(&bytes);
        if let Some(digest) = query.get("digest") {
            let bytes = Bytes::from(std::mem::take(upload));
            if Digest::of(&bytes).to_string() != *digest {
                return status(StatusCode::BAD_REQUEST);
            }
            let key = (repository.to_owned(), digest.parse().unwrap());
            state.blobs.insert(key, bytes);
            return with(StatusCode::CREATED, &[("Docker-Content-Digest", digest)]);
        }
        let range = format!("0-{}", upload.len().saturating_sub(1));
        let location = format!("/v2/{repository}/blobs/uploads/{id}");
        with(
            StatusCode::ACCEPTED,
            &[("Location", &location), ("Range", &range)],
        )
    }
}

type Frames =
    std::pin::Pin<Box<dyn futures_util::Stream<Item = std::io::Result<Frame<Bytes>>> + Send>>;

/// Makes a stream of frames shareable, as the box of bodies wants it.
struct SyncBody(Mutex<Frames>);

impl SyncBody {
    fn body(self) -> StreamBody<Self> {
        StreamBody::new(self)
    }
}

impl futures_util::Stream for SyncBody {
    type Item = std::io::Result<Frame<Bytes>>;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.lock().unwrap().as_mut().poll_next(context)
    }
}

fn status(status: StatusCode) -> Answer {
    full(status, Bytes::new())
}

fn with(status: StatusCode, headers: &[(&str, &str)]) -> Answer {
    let mut answer = full(status, Bytes::new());
    for (name, value) in headers {
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

fn json(status: StatusCode, bytes: Bytes) -> Answer {
    let mut answer = full(status, bytes);
    let of_type = "application/json".parse().unwrap();
    answer.headers_mut().insert("content-type", of_type);
    answer
}

fn full(status: StatusCode, bytes: Bytes) -> Answer {
    let body = Full::new(bytes).map_err(|never| match never {}).boxed();
    Response::builder().status(status).body(body).unwrap()
}
