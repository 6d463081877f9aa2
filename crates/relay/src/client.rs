//! The daemon's side: finds the relay or starts it, tells it every port, and again if it died.
//!
//! The client remembers all it was told, with the sockets. A relay that dies is replaced at once by a
//! thread that waits for its end. A daemon that comes back finds the living one by its socket and
//! gets the ports from it ([`Client::take`]), since the relay has kept them from others meanwhile; one
//! of another build goes on until [`Client::settle`], and then ends with its last connection.

mod link;
mod model;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use spec::{Classify, ErrorKind, WireError};
use sys::poll::{Interest, Poll};

use crate::protocol::{Forward, MAX_PLACES, MAX_SOCKETS, Place, Request};
use link::Link;
use model::Model;

/// How long a relay that cannot be started is waited for before the next attempt.
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
    #[error("lost the relay")]
    Lost {
        /// How that was noticed.
        source: std::io::Error,
    },
    /// It could not do it.
    #[error("the relay refused")]
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

/// The relay of one daemon; cheap to clone.
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
    /// Sockets of an earlier daemon that nobody has asked for yet.
    found: BTreeMap<Place, OwnedFd>,
}

impl Client {
    /// Looks for a living relay; starts none.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket pair.
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

    /// Takes up a relay that was left by an earlier daemon.
    fn adopt(&self) {
        let mut state = self.shared.state();
        let Ok(mut link) = Link::find(&self.shared.settings) else {
            return;
        };
        if link.speaks() {
            match link.ports() {
                Ok(found) => state.found = found,
                Err(error) => {
                    let error = spec::error::chain(&error);
                    tracing::warn!(error, "the relay does not give back its ports");
                    return;
                }
            }
        }
        if link.is_of(&link::build(&self.shared.settings.program)) {
            self.shared.watch(&link);
            state.link = Some(link);
        } else {
            tracing::info!(pid = link.pid(), "the relay is of another build");
            state.former = Some(link);
        }
    }

    /// Gives the socket of a port that the relay of an earlier daemon has kept.
    pub fn take(&self, place: Place) -> Option<OwnedFd> {
        self.shared.state().found.remove(&place)
    }

    /// Says which ports one owner has now; when it returns, they are served.
    ///
    /// # Errors
    ///
    /// The relay cannot be started or cannot serve them; what the owner had before remains.
    pub fn set(&self, owner: &str, ports: Vec<(Forward, Arc<OwnedFd>)>) -> Result<()> {
        let mut state = self.shared.state();
        let (change, former) = state.model.set(owner, ports);
        if change.is_empty() {
            return Ok(());
        }
        let state = &mut *state;
        let told = match &mut state.link {
            Some(link) => close(link, &change.closed).and_then(|()| open(link, &change.opened)),
            // Nothing is served: there is nothing to close.
            None if change.opened.is_empty() => Ok(()),
            None => self.shared.revive(state),
        };
        let done = match told {
            // It died meanwhile: a new one is told everything, these ports too.
            Err(Error::Lost { source }) => {
                tracing::warn!(%source, "lost the relay");
                self.shared.revive(state)
            }
            told => told,
        };
        if done.is_err() {
            self.take_back(state, owner, former);
        }
        done
    }

    /// Has an owner what it had.
    fn take_back(&self, state: &mut State, owner: &str, former: Vec<(Forward, Arc<OwnedFd>)>) {
        let (change, _) = state.model.set(owner, former);
        let Some(link) = &mut state.link else { return };
        let again = close(link, &change.closed).and_then(|()| open(link, &change.opened));
        if let Err(error) = again {
            let error = spec::error::chain(&error);
            tracing::error!(error, "ports are not relayed as before");
        }
    }

    /// Ends what only an earlier daemon has named; to be called once everything was told.
    pub fn settle(&self) {
        let mut state = self.shared.state();
        state.found.clear();
        if let Some(mut former) = state.former.take()
            && let Err(error) = former.call(&Request::Retire, &[])
        {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "the former relay does not retire");
        }
        let Some(link) = &mut state.link else { return };
        // A relay that is lost just now is told everything by the thread that waits for its end.
        if let Err(error) = link.call(&Request::Settle, &[]) {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "the relay was not told that this is all");
        }
    }
}

/// Has ports end.
fn close(link: &mut Link, places: &[Place]) -> Result<()> {
    for some in places.chunks(MAX_PLACES) {
        link.call(&Request::Close(some.to_vec()), &[])?;
    }
    Ok(())
}

/// Has ports served.
fn open(link: &mut Link, ports: &[(Forward, Arc<OwnedFd>)]) -> Result<()> {
    for some in ports.chunks(MAX_SOCKETS) {
        let forwards = some.iter().map(|(forward, _)| forward.clone()).collect();
        let sockets: Vec<_> = some.iter().map(|(_, socket)| socket.as_fd()).collect();
        link.call(&Request::Open(forwards), &sockets)?;
    }
    Ok(())
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panics while held")
    }

    /// Starts a relay and tells it everything.
    ///
    /// What one owner has and cannot be served does not keep the others from being served; it is an
    /// error only of the owner that was told last.
    fn revive(self: &Arc<Self>, state: &mut State) -> Result<()> {
        state.link = None;
        let mut link = Link::start(&self.settings)?;
        let mut last = Ok(());
        for (owner, ports) in state.model.owners() {
            last = match open(&mut link, ports) {
                Err(lost @ Error::Lost { .. }) => return Err(lost),
                Err(error) => {
                    let text = spec::error::chain(&error);
                    tracing::warn!(owner, error = text, "ports are not relayed");
                    Err(error)
                }
                Ok(()) => Ok(()),
            };
        }
        self.watch(&link);
        state.link = Some(link);
        last
    }

    /// Waits for the end of a relay, on a thread of its own, and starts the next.
    fn watch(self: &Arc<Self>, link: &Link) {
        let sockets = link
            .socket()
            .try_clone_to_owned()
            .and_then(|socket| Ok((socket, self.closed.try_clone()?)));
        let shared = Arc::downgrade(self);
        let number = link.number();
        let spawned = sockets.and_then(|(socket, closed)| {
            std::thread::Builder::new()
                .name("relay-watch".to_owned())
                .stack_size(128 * 1024)
                .spawn(move || wait(&socket, &closed, &shared, number))
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "nobody will notice the end of the relay");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().expect("no panics while held");
        if let Some(link) = state.link.take()
            && state.model.is_empty()
        {
            link.dismiss();
            // With nobody listening the name is only litter.
            let _ = std::fs::remove_file(self.settings.dir.join(crate::protocol::SOCKET));
        }
    }
}

/// Returns when the client is gone, or has another relay than this one.
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
            tracing::warn!(%error, "nobody will notice the end of the relay");
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
            if state.model.is_empty() {
                // The next port starts the next one.
                return;
            }
            tracing::warn!("the relay has ended; starting another");
            match shared.revive(&mut state) {
                Err(error @ (Error::Start { .. } | Error::Lost { .. } | Error::Kernel { .. })) => {
                    tracing::error!(error = spec::error::chain(&error), "ports are not relayed");
                }
                _ => return,
            }
        }
        std::thread::sleep(*pause);
    }
}
