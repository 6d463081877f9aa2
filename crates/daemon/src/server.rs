//! Listeners and connections: bounded in number, in time and in the size of their heads.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::call::Context;
use crate::hijack::Seizer;
use crate::lenient::Lenient;
use crate::service::{Access, serve};
use crate::slices::Slices;

/// Time a client has to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head; Go's default limit.
const MAX_HEAD: usize = 1024 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 256;
/// Connections at once; attachments and followed logs hold one each.
const MAX_CONNECTIONS: usize = 16 * 1024;
/// Time connections have to finish when the daemon ends.
const DRAIN: Duration = Duration::from_secs(2);
/// Pause after a failure to accept, which is mostly a want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that is bound and listens.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP socket, and the host names by which it may be addressed.
    Tcp(TcpListener, Arc<Vec<String>>),
}

/// Serves all listeners until the token is cancelled, then lets connections finish for a moment.
pub async fn run(listeners: Vec<Listener>, context: Arc<Context>, closing: CancellationToken) {
    let tasks = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let server = Server {
        context,
        closing: closing.clone(),
        tasks: tasks.clone(),
        permits,
    };
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        let server = server.clone();
        accepting.spawn(async move { server.accept(listener).await });
    }
    while accepting.join_next().await.is_some() {}
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        debug!(connections = tasks.len(), "connections are cut");
    }
}

#[derive(Clone)]
struct Server {
    context: Arc<Context>,
    closing: CancellationToken,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
}

impl Server {
    async fn accept(self, listener: Listener) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = self.closing.cancelled() => return,
                accepted = Self::next(&listener) => accepted,
            };
            match accepted {
                Ok((stream, access)) => {
                    let server = self.clone();
                    self.tasks.spawn(async move {
                        server.connection(stream, access).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn next(listener: &Listener) -> std::io::Result<(Box<dyn Connection>, Access)> {
        match listener {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Access::Local))
            }
            Listener::Tcp(listener, names) => {
                let (stream, _) = listener.accept().await?;
                // Interactive sessions send single keys.
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Access::Network(Arc::clone(names))))
            }
        }
    }

    async fn connection(self, stream: Box<dyn Connection>, access: Access) {
        let context = self.context;
        let (seizer, mut seizures) = Seizer::new();
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(seizer.clone());
            serve(Arc::clone(&context), access.clone(), request)
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(Slices::new(Lenient::new(stream))), service)
            .with_upgrades();
        let seized = tokio::select! {
            ended = &mut connection => Err(ended),
            seizure = seizures.recv() => Ok(seizure),
            () = self.closing.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                Err((&mut connection).await)
            }
        };
        let ended = match seized {
            Ok(seizure) => {
                if let (Some(seizure), Some(parts)) = (seizure, connection.into_parts()) {
                    let (stream, rest) = parts.io.into_inner().into_inner().into_parts();
                    let early = match rest.is_empty() {
                        true => parts.read_buf,
                        false => [&parts.read_buf[..], &rest].concat().into(),
                    };
                    seizure.run(stream, early).await;
                }
                Ok(())
            }
            Err(ended) => ended,
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended");
        }
    }
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}
