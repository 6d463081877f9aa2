//! A registry that says what a test wants it to say, and remembers what it heard.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use registry::{Credentials, Registry, Repository, Settings};
use spec::manifest::{Descriptor, Document, media, oci_manifest};
use spec::{Digest, Reference};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a server heard.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub fn is(&self, method: &Method, path: &str) -> bool {
        self.method == method && self.path() == path
    }
}

type Chunks = Pin<Box<dyn Stream<Item = std::io::Result<Frame<Bytes>>> + Send>>;

/// What a server says.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Chunks,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Box::pin(stream::empty()),
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A whole body with its length.
    pub fn body(self, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut this = self.with("content-length", bytes.len().to_string());
        this.body = Box::pin(stream::once(async { Ok(Frame::data(bytes)) }));
        this
    }

    pub fn json(self, text: impl Into<String>) -> Self {
        self.with("content-type", "application/json")
            .body(text.into().into_bytes())
    }

    /// Pieces, without a length unless one is given as a header.
    pub fn pieces(mut self, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        self.body = Box::pin(pieces.map(|piece| Ok(Frame::data(piece))));
        self
    }

    /// Some bytes and then nothing more, neither bytes nor an end.
    pub fn then_stall(mut self, bytes: Bytes) -> Self {
        let first = stream::once(async { Ok(Frame::data(bytes)) });
        self.body = Box::pin(first.chain(stream::pending()));
        self
    }

    /// Some bytes and then the end of the connection.
    pub fn then_cut(mut self, bytes: Bytes) -> Self {
        let first = stream::once(async { Ok(Frame::data(bytes)) });
        let cut = stream::once(async {
            // So that what came before is on its way.
            tokio::time::sleep(Duration::from_millis(20)).await;
            Err(std::io::Error::other("cut"))
        });
        self.body = Box::pin(first.chain(cut));
        self
    }
}

/// A running server.
pub struct Fake {
    pub address: SocketAddr,
    pub is_tls: bool,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// Starts a plain server.
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::run(handler, None).await
    }

    /// Starts a server with TLS.
    pub async fn tls(
        config: rustls::ServerConfig,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::run(handler, Some(config)).await
    }

    async fn run(
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        tls: Option<rustls::ServerConfig>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler = Arc::new(handler);
        let is_tls = tls.is_some();
        let acceptor = tls.map(|tls| tokio_rustls::TlsAcceptor::from(Arc::new(tls)));
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(socket, handler, log).await,
                        Some(acceptor) => {
                            if let Ok(socket) = acceptor.accept(socket).await {
                                serve(socket, handler, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            is_tls,
            seen,
            task,
        }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `localhost:port`: the same server under another host name.
    pub fn other_host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host())
    }

    /// Everything that was heard so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often something was asked.
    pub fn count(&self, method: &Method, path: &str) -> usize {
        let seen = self.seen();
        seen.iter().filter(|seen| seen.is(method, path)).count()
    }

    /// The repository `team/app` on this server.
    pub fn repository(&self, auth: Option<Credentials>) -> Repository {
        client(|_| {}).repository(&self.name(), auth)
    }

    pub fn name(&self) -> Reference {
        format!("{}/team/app:1", self.host()).parse().unwrap()
    }
}

async fn serve<S, H>(socket: S, handler: Arc<H>, log: Arc<Mutex<Vec<Seen>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(&Seen) -> Reply + Send + Sync + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
        async move {
            let (parts, body) = request.into_parts();
            let seen = Seen {
                method: parts.method,
                target: parts.uri.path_and_query().unwrap().to_string(),
                headers: parts.headers,
                body: body
                    .collect()
                    .await
                    .map(|b| b.to_bytes())
                    .unwrap_or_default(),
            };
            log.lock().unwrap().push(seen.clone());
            let reply = handler(&seen);
            let mut response = Response::new(StreamBody::new(reply.body));
            *response.status_mut() = reply.status.try_into().unwrap();
            for (name, value) in reply.headers {
                let name: HeaderName = name.parse().unwrap();
                let value: HeaderValue = value.parse().unwrap();
                response.headers_mut().append(name, value);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

/// A client with settings of its own: short waits, no files of this machine.
pub fn client(change: impl FnOnce(&mut Settings)) -> Registry {
    let mut settings = Settings {
        certs_dirs: Vec::new(),
        ..Settings::default()
    };
    settings.timeouts.stall = Duration::from_millis(300);
    settings.timeouts.answer = Duration::from_secs(5);
    settings.timeouts.document = Duration::from_secs(5);
    change(&mut settings);
    Registry::new(settings).unwrap()
}

/// An image manifest.
pub fn manifest() -> Document {
    let config = Descriptor::new(media::OCI_CONFIG, Digest::of(b"{}"), 2);
    oci_manifest(&config, &[])
}

/// The answer with a manifest, also to HEAD.
pub fn manifest_reply(seen: &Seen, document: &Document) -> Reply {
    let reply = Reply::new(200)
        .with("content-type", &document.media_type)
        .with("docker-content-digest", document.digest.to_string());
    if seen.method == Method::HEAD {
        return reply.with("content-length", document.bytes.len().to_string());
    }
    reply.body(document.bytes.clone())
}

/// The answer of a registry that knows the path but not the thing.
pub fn unknown() -> Reply {
    Reply::new(404).json(
        r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"a":1}}]}"#,
    )
}

/// Bytes that look like nothing in particular.
pub fn payload(length: usize) -> Bytes {
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect::<Vec<u8>>()
        .into()
}

pub fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media::OCI_LAYER_GZIP, Digest::of(bytes), bytes.len() as u64)
}

/// What people see of an error.
pub fn text(error: &registry::Error) -> String {
    spec::error::chain(error)
}
