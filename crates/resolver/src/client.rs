//! The daemon's side: finds the name server or starts it, tells it everything, and again if it died.
//!
//! The client remembers all it was told. A name server that dies is replaced at once by a thread
//! that waits for its end; whatever was changed while there was none is in the memory. A daemon that
//! comes back finds the living one by its socket; if that is of another build, a new one takes its
//! place: it goes on until [`Client::settle`], so no sandbox is without names in between.

mod link;
mod model;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use spec::{Classify, ErrorKind, WireError};
use sys::poll::{Interest, Poll};

use crate::names::{NetworkNames, SandboxNames};
use crate::protocol::Request;
use link::Link;
use model::Model;

/// How long a name server that cannot be started is waited for before the next attempt.
const BACK_OFF: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
];

/// Where it is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directory of the socket: the exec root.
    pub dir: PathBuf,
    /// `corten-shim`.
    pub program: PathBuf,
}

/// What cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there and cannot be started.
    #[error("failed to {action}")]
    Start {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error("failed to {action}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// What it answered.
        source: sys::Error,
    },
    /// It does not answer, or what it says is not understood.
    #[error("lost the name server")]
    Lost {
        /// How that was noticed.
        source: std::io::Error,
    },
    /// It could not do it.
    #[error("the name server refused")]
    Refused {
        /// What it said.
        source: WireError,
    },
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Start { .. } | Self::Kernel { .. } => ErrorKind::Internal,
            Self::Lost { .. } => ErrorKind::Unavailable,
            Self::Refused { source } => source.kind,
        }
    }
}

/// What a client answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The name server of one data root; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    state: Mutex<State>,
    /// Closed with the client, so that the waiting thread ends.
    _closing: OwnedFd,
    closed: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    model: Model,
    link: Option<Link>,
    /// One of another build, which goes on until everything was told to the new one.
    former: Option<Link>,
}

impl Client {
    /// Looks for a living name server; starts none.
    ///
    /// # Errors
    ///
    /// The socket's directory cannot be used.
    pub fn open(settings: Settings) -> Result<Self> {
        let (closed, closing) = sys::fdpass::stream_pair().map_err(|source| Error::Kernel {
            action: "make a socket pair",
            source,
        })?;
        let client = Self {
            shared: Arc::new(Shared {
                settings,
                state: Mutex::default(),
                _closing: closing,
                closed,
            }),
        };
        client.adopt();
        Ok(client)
    }

    /// Takes up a name server that was left by an earlier daemon.
    fn adopt(&self) {
        let mut state = self.shared.state();
        let Ok(link) = Link::find(&self.shared.settings) else {
            return;
        };
        let build = link::build(&self.shared.settings.program);
        if link.is_of(&build) {
            self.shared.watch(&link);
            state.link = Some(link);
        } else {
            tracing::info!(pid = link.pid(), "the name server is of another build");
            state.former = Some(link);
        }
    }

    /// Tells of a network and everybody in it.
    ///
    /// Never fails: without a name server it is told to the next one.
    pub fn set_network(&self, names: NetworkNames) {
        let mut state = self.shared.state();
        let changes = state.model.set_network(names);
        self.shared.tell(&mut state, changes);
    }

    /// Tells that a network is gone.
    pub fn drop_network(&self, id: &str) {
        let mut state = self.shared.state();
        if state.model.drop_network(id) {
            let id = id.to_owned();
            self.shared
                .tell(&mut state, vec![Request::DropNetwork { id }]);
        }
    }

    /// Serves names in a namespace; when it returns, `127.0.0.11:53` answers there.
    ///
    /// The same identity with the same namespace changes what was said before.
    ///
    /// # Errors
    ///
    /// The name server cannot be started or cannot serve there; nothing remains.
    pub fn set_sandbox(&self, names: SandboxNames, netns: BorrowedFd<'_>) -> Result<()> {
        let kept = netns.try_clone_to_owned().map_err(|source| Error::Start {
            action: "keep a network namespace".to_owned(),
            source,
        })?;
        let mut state = self.shared.state();
        let id = names.id.clone();
        let former = state.model.set_sandbox(names, kept);
        let done = match self.shared.tell_sandbox(&mut state, &id) {
            // It died meanwhile: a new one is told everything, this sandbox too.
            Err(Error::Lost { .. }) => self.shared.revive(&mut state),
            done => done,
        };
        if done.is_err() {
            state.model.restore_sandbox(&id, former);
        }
        done
    }

    /// Tells that a sandbox is gone; its sockets no longer hold the namespace.
    pub fn drop_sandbox(&self, id: &str) {
        let mut state = self.shared.state();
        state.model.drop_sandbox(id);
        // A former daemon may have named it to the same name server.
        let id = id.to_owned();
        self.shared
            .tell(&mut state, vec![Request::DropSandbox { id }]);
    }

    /// Ends what only an earlier daemon has named; to be called once everything was told.
    pub fn settle(&self) {
        let mut state = self.shared.state();
        self.shared.tell(&mut state, vec![Request::Settle]);
        if let Some(former) = state.former.take() {
            former.dismiss();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panics while held")
    }

    /// Says something that the memory holds already: when the name server is lost, it is said again.
    fn tell(self: &Arc<Self>, state: &mut State, requests: Vec<Request>) {
        let Some(link) = &mut state.link else { return };
        for request in requests {
            match link.call(&request, &[]) {
                Ok(_) => {}
                Err(Error::Lost { source }) => {
                    tracing::warn!(%source, "lost the name server");
                    if let Err(error) = self.revive(state) {
                        tracing::error!(error = spec::error::chain(&error), "names are not served");
                    }
                    return;
                }
                Err(error) => {
                    tracing::error!(
                        error = spec::error::chain(&error),
                        "the name server refused"
                    );
                }
            }
        }
    }

    fn tell_sandbox(self: &Arc<Self>, state: &mut State, id: &str) -> Result<()> {
        if state.link.is_none() {
            return self.revive(state);
        }
        let Some((names, netns)) = state.model.sandbox(id) else {
            return Ok(());
        };
        let request = Request::Sandbox(names.clone());
        match &mut state.link {
            Some(link) => link.call(&request, &[netns.as_fd()]).map(drop),
            None => Ok(()),
        }
    }

    /// Starts a name server and tells it everything.
    ///
    /// One sandbox that cannot be served (its container has just ended) does not keep the others
    /// from being served; it is an error only if it is the one that was told last.
    fn revive(self: &Arc<Self>, state: &mut State) -> Result<()> {
        state.link = None;
        let mut link = Link::start(&self.settings)?;
        for request in state.model.networks() {
            link.call(&request, &[])?;
        }
        let mut last = Ok(());
        for (names, netns) in state.model.sandboxes() {
            let id = &names.id;
            last = match link.call(&Request::Sandbox(names.clone()), &[netns.as_fd()]) {
                Err(lost @ Error::Lost { .. }) => return Err(lost),
                Err(error) => {
                    let text = spec::error::chain(&error);
                    tracing::warn!(sandbox = %id, error = text, "names are not served");
                    Err(error)
                }
                Ok(_) => Ok(()),
            };
        }
        self.watch(&link);
        state.link = Some(link);
        last
    }

    /// Waits for the end of a name server, on a thread of its own, and starts the next.
    fn watch(self: &Arc<Self>, link: &Link) {
        let sockets = link
            .socket()
            .try_clone_to_owned()
            .and_then(|socket| Ok((socket, self.closed.try_clone()?)));
        let shared = Arc::downgrade(self);
        let number = link.number();
        let spawned = sockets.and_then(|(socket, closed)| {
            std::thread::Builder::new()
                .name("resolver-watch".to_owned())
                .stack_size(128 * 1024)
                .spawn(move || wait(&socket, &closed, &shared, number))
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "nobody will notice the end of the name server");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().expect("no panics while held");
        if let Some(link) = state.link.take()
            && state.model.is_unused()
        {
            link.dismiss();
            // With nobody listening the name is only litter.
            let _ = std::fs::remove_file(self.settings.dir.join(crate::protocol::SOCKET));
        }
    }
}

/// Returns when the client is gone, or has another name server than this one.
fn wait(socket: &OwnedFd, closed: &OwnedFd, shared: &Weak<Shared>, number: u64) {
    const DAEMON: u64 = 1;
    let watch = || -> sys::Result<bool> {
        let poll = Poll::new()?;
        poll.add(socket.as_fd(), 0, Interest::NONE)?;
        poll.add(closed.as_fd(), DAEMON, Interest::NONE)?;
        loop {
            let ready: Vec<_> = poll.wait(None)?.collect();
            if ready.iter().any(|ready| ready.token == DAEMON) {
                return Ok(false);
            }
            if !ready.is_empty() {
                return Ok(true);
            }
        }
    };
    match watch() {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            tracing::warn!(%error, "nobody will notice the end of the name server");
            return;
        }
    }
    for pause in BACK_OFF.iter().chain(std::iter::repeat(&BACK_OFF[3])) {
        {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let mut state = shared.state();
            if state
                .link
                .as_ref()
                .is_some_and(|link| link.number() != number)
            {
                return;
            }
            state.link = None;
            if state.model.is_unused() {
                // The next sandbox starts the next one.
                return;
            }
            tracing::warn!("the name server has ended; starting another");
            match shared.revive(&mut state) {
                Err(error @ (Error::Start { .. } | Error::Lost { .. } | Error::Kernel { .. })) => {
                    tracing::error!(error = spec::error::chain(&error), "names are not served");
                }
                _ => return,
            }
        }
        std::thread::sleep(*pause);
    }
}
