//! A registry in this process that lies, breaks off, stalls and never ends, as it is told to.
//!
//! It serves what [`Hostile::serve`] gave it like any registry would. [`Hostile::on`] puts a rule
//! before that: for requests of this line, this [`Reply`]. Everything that was asked is kept,
//! header fields and all, and the bytes of blobs that left are counted: so a test can say what a
//! second pull may cost and which host may see a password.

mod message;
mod reply;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::content::{Blob, Content};
use crate::wait::wait_for;

pub use message::Request;
pub use reply::Reply;
pub use serve::base64;

/// How long a test waits for a request.
const SOON: Duration = Duration::from_secs(20);

/// The account of a registry with tokens, and what it gives for it.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Where clients are sent for a token.
    pub realm: String,
    pub user: String,
    pub password: String,
    /// The identity token it gives, and takes in place of the password.
    pub identity: String,
    /// Whether what is read needs no account.
    pub anonymous_pull: bool,
}

/// A running server. Dropping it ends it and every connection.
#[derive(Debug)]
pub struct Hostile {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// What all connections share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    stalled: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<String, Arc<Blob>>,
    manifests: BTreeMap<String, Arc<Blob>>,
    uploads: BTreeMap<String, Vec<u8>>,
    rules: Vec<Rule>,
    requests: Vec<Request>,
    tokens: Option<Tokens>,
    issued: BTreeSet<String>,
    connections: Vec<TcpStream>,
}

#[derive(Debug)]
struct Rule {
    on: String,
    left: usize,
    reply: Reply,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Hostile {
    /// One on loopback.
    pub fn start() -> Self {
        Self::start_at(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// One on an address of this host.
    pub fn start_at(host: IpAddr) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("a port is left");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&listener, &accepting));
        Self {
            address,
            shared,
            listener: Some(thread),
        }
    }

    /// Where it listens.
    pub fn socket_address(&self) -> SocketAddr {
        self.address
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// A reference on it.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Has everything of `content`; the top under a tag of a repository.
    pub fn serve(&self, repository: &str, tag: &str, content: &Content) {
        let mut state = self.shared.state();
        for blob in &content.blobs {
            state.blobs.insert(blob.digest(), Arc::new(blob.clone()));
        }
        for manifest in &content.manifests {
            let manifest = Arc::new(manifest.clone());
            let key = format!("{repository}@{}", manifest.digest());
            state.manifests.insert(key, manifest);
        }
        let top = Arc::new(content.top().clone());
        state.manifests.insert(format!("{repository}@{tag}"), top);
    }

    /// Gives these bytes for a digest, whatever they are.
    pub fn forge_blob(&self, digest: &str, bytes: &[u8]) {
        let blob = Blob::new("application/octet-stream", bytes);
        self.shared.state().blobs.insert(digest.to_owned(), Arc::new(blob));
    }

    /// Gives this document for a tag or digest, whatever it is.
    pub fn forge_manifest(&self, repository: &str, tag: &str, manifest: &Blob) {
        let key = format!("{repository}@{tag}");
        self.shared.state().manifests.insert(key, Arc::new(manifest.clone()));
    }

    /// Answers requests whose line (`GET /v2/x/blobs/sha256:…`) has this part in it so, always.
    pub fn on(&self, part: &str, reply: Reply) {
        self.on_times(part, usize::MAX, reply);
    }

    /// The same, for the first so many requests.
    pub fn on_times(&self, part: &str, times: usize, reply: Reply) {
        self.shared.state().rules.push(Rule {
            on: part.to_owned(),
            left: times,
            reply,
        });
    }

    /// Forgets all rules: a good registry from now on. Replies that stall go on.
    pub fn behave(&self) {
        self.shared.state().rules.clear();
    }

    /// Asks for tokens from now on.
    pub fn require(&self, tokens: Tokens) {
        self.shared.state().tokens = Some(tokens);
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// How many requests had this part in their line.
    pub fn count(&self, part: &str) -> usize {
        self.requests().iter().filter(|request| request.line().contains(part)).count()
    }

    /// Waits until something has been asked.
    #[track_caller]
    pub fn wait_for_request(&self, part: &str) {
        wait_for(&format!("a request with `{part}`"), SOON, || self.count(part) > 0);
    }

    /// Forgets what was asked and counted.
    pub fn forget(&self) {
        self.shared.state().requests.clear();
        self.shared.sent.store(0, Ordering::Relaxed);
    }

    /// Bytes of blobs that were sent since the start or the last [`Hostile::forget`].
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// How many replies stall, with the client still waiting.
    pub fn stalled(&self) -> u64 {
        self.shared.stalled.load(Ordering::Relaxed)
    }

    /// Waits until so many bytes of blobs were sent.
    #[track_caller]
    pub fn wait_for_bytes(&self, bytes: u64) {
        wait_for(&format!("{bytes} bytes sent"), SOON, || self.sent() >= bytes);
    }

    /// Breaks off every connection.
    pub fn hang_up(&self) {
        for stream in self.shared.state().connections.drain(..) {
            // The peer may have gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What was pushed or served as a manifest.
    pub fn manifest(&self, repository: &str, tag: &str) -> Option<Blob> {
        let state = self.shared.state();
        state.manifests.get(&format!("{repository}@{tag}")).map(|blob| Blob::clone(blob))
    }

    /// The bytes of a blob that was pushed or is served.
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.shared.state().blobs.get(digest).map(|blob| blob.bytes.clone())
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.hang_up();
        // Wakes the listener, which then sees the flag; when that fails it has ended.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.listener.take() {
            let _ = thread.join();
        }
        self.hang_up();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped() {
            return;
        }
        let Ok(stream) = stream else { continue };
        if let Ok(clone) = stream.try_clone() {
            shared.state().connections.push(clone);
        }
        let shared = Arc::clone(shared);
        // Ends with its connection, which the server breaks off at its own end.
        std::thread::spawn(move || serve::connection(&stream, &shared));
    }
}
