//! The daemon's side: finds a helper or starts it, tells it everything, and again if it died.
//!
//! The [`Memory`] has all that was told. A helper that dies is replaced at once by a thread that waits
//! for its end; whatever was changed while there was none is in the memory. A daemon that comes back
//! finds the living one by its socket; one of another build goes on until [`Held::settle`], when
//! everything was told to a new one.

mod link;

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use spec::{Classify, ErrorKind, WireError};
use sys::poll::{Interest, Poll};

use crate::protocol::Request;
use crate::{Helper, Message};
pub use link::Link;

/// How long a helper that cannot be started is waited for before the next attempt.
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
        source: io::Error,
    },
    /// The kernel refused.
    #[error("failed to {action}")]
    Kernel {
        /// What was tried.
        action: String,
        /// What it answered.
        source: sys::Error,
    },
    /// It does not answer, or what it says is not understood.
    #[error("lost the {helper}")]
    Lost {
        /// Which kind it is.
        helper: &'static str,
        /// How that was noticed.
        source: io::Error,
    },
    /// It could not do it.
    #[error("the {helper} refused")]
    Refused {
        /// Which kind it is.
        helper: &'static str,
        /// What it said.
        source: WireError,
    },
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Start { .. } | Self::Kernel { .. } => ErrorKind::Internal,
            Self::Lost { .. } => ErrorKind::Unavailable,
            Self::Refused { source, .. } => source.kind,
        }
    }
}

/// What a client answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a helper was told.
pub trait Memory: Debug + Default + Send + 'static {
    /// Which kind it is.
    type Helper: Helper;

    /// Whether there is nothing that a helper has to do.
    fn is_empty(&self) -> bool;

    /// Everything, by what it is about; what was told last comes last.
    fn everything(&self) -> impl Iterator<Item = (&str, Vec<Message<'_, Self::Helper>>)>;

    /// Takes over what the helper of an earlier daemon has.
    ///
    /// # Errors
    ///
    /// It does not give it: it is left alone.
    fn adopt(&mut self, link: &mut Link<Self::Helper>) -> Result<()> {
        let _ = link;
        Ok(())
    }
}

/// Keeps a helper told, and alive while it is needed; cheap to clone.
#[derive(Debug)]
pub struct Keeper<M: Memory> {
    shared: Arc<Shared<M>>,
}

impl<M: Memory> Clone for Keeper<M> {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { shared }
    }
}

#[derive(Debug)]
struct Shared<M: Memory> {
    settings: Settings,
    state: Mutex<State<M>>,
    /// Closed with the keeper, so that the waiting thread ends.
    _closing: OwnedFd,
    closed: OwnedFd,
}

#[derive(Debug)]
struct State<M: Memory> {
    memory: M,
    link: Option<Link<M::Helper>>,
    /// One of another build, which goes on until everything was told to the new one.
    former: Option<Link<M::Helper>>,
}

impl<M: Memory> Keeper<M> {
    /// Looks for a living helper; starts none.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket pair.
    pub fn open(settings: Settings) -> Result<Self> {
        let (closed, closing) = sys::fdpass::stream_pair().map_err(|source| Error::Kernel {
            action: "make a socket pair".to_owned(),
            source,
        })?;
        let state = Mutex::new(State {
            memory: M::default(),
            link: None,
            former: None,
        });
        let keeper = Self {
            shared: Arc::new(Shared {
                settings,
                state,
                _closing: closing,
                closed,
            }),
        };
        keeper.lock().adopt();
        Ok(keeper)
    }

    /// Nobody else changes the memory or says anything meanwhile.
    pub fn lock(&self) -> Held<'_, M> {
        Held::of(&self.shared)
    }
}

/// A memory and its helper, for one caller alone.
#[derive(Debug)]
pub struct Held<'a, M: Memory> {
    shared: &'a Arc<Shared<M>>,
    state: MutexGuard<'a, State<M>>,
}

impl<'a, M: Memory> Held<'a, M> {
    fn of(shared: &'a Arc<Shared<M>>) -> Self {
        let state = shared.state.lock().expect("no panics while held");
        Self { shared, state }
    }

    /// What was told.
    pub fn memory(&mut self) -> &mut M {
        &mut self.state.memory
    }

    /// Tells what the memory has already; when it returns, it is done.
    ///
    /// Where there is no helper one is started, and is told everything.
    ///
    /// # Errors
    ///
    /// It cannot be started, or what was told last cannot be done.
    pub fn tell(&mut self, messages: &[Message<'_, M::Helper>]) -> Result<()> {
        let told = match &mut self.state.link {
            Some(link) => link.tell(messages),
            None => self.revive(),
        };
        match told {
            // It died meanwhile: a new one is told everything, this too.
            Err(error @ Error::Lost { .. }) => {
                tracing::warn!("{}", spec::error::chain(&error));
                self.revive()
            }
            told => told,
        }
    }

    /// Tells what the memory has already, if anybody is there to be told.
    ///
    /// Never fails: without a helper it is told to the next one.
    pub fn mention(&mut self, messages: &[Message<'_, M::Helper>]) {
        for message in messages {
            if self.state.link.is_some()
                && let Err(error) = self.tell(std::slice::from_ref(message))
            {
                let error = spec::error::chain(&error);
                tracing::error!(error, "not served by the {}", M::Helper::NAME);
            }
        }
    }

    /// Ends what only an earlier daemon has named; to be called once everything was told.
    pub fn settle(&mut self) {
        let State { link, former, .. } = &mut *self.state;
        let last_words = [(link, Request::Settle), (former, M::Helper::FAREWELL)];
        for (link, request) in last_words {
            // One that is lost just now is told everything by the thread that waits for its end.
            if let Some(link) = link
                && let Err(error) = link.call(&request, &[])
            {
                let error = spec::error::chain(&error);
                tracing::warn!(
                    error,
                    "the {} was not told that this is all",
                    M::Helper::NAME
                );
            }
        }
        self.state.former = None;
    }

    /// Takes up a helper that was left by an earlier daemon.
    fn adopt(&mut self) {
        let Ok((mut link, about)) = Link::find(&self.shared.settings.dir) else {
            return;
        };
        let speaks = about.version == M::Helper::VERSION;
        if speaks && let Err(error) = self.state.memory.adopt(&mut link) {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "the {} does not give what it has", M::Helper::NAME);
            return;
        }
        if speaks && about.build == link::build::<M::Helper>(&self.shared.settings.program) {
            self.watch(&link);
            self.state.link = Some(link);
        } else {
            tracing::info!(
                pid = about.pid,
                "the {} is of another build",
                M::Helper::NAME
            );
            self.state.former = Some(link);
        }
    }

    /// Starts a helper and tells it everything.
    ///
    /// What cannot be done (its container has just ended) does not keep the rest from being done; it is
    /// an error only if it is what was told last.
    fn revive(&mut self) -> Result<()> {
        self.state.link = None;
        let mut link = Link::start(&self.shared.settings)?;
        let mut last = Ok(());
        for (of, messages) in self.state.memory.everything() {
            last = link.tell(&messages);
            match &last {
                Err(Error::Lost { .. }) => return last,
                Err(error) => {
                    let error = spec::error::chain(error);
                    tracing::warn!(of, error, "not served by the {}", M::Helper::NAME);
                }
                Ok(()) => {}
            }
        }
        self.watch(&link);
        self.state.link = Some(link);
        last
    }

    /// Waits for the end of a helper, on a thread of its own, and starts the next.
    fn watch(&self, link: &Link<M::Helper>) {
        let sockets = link
            .socket()
            .try_clone_to_owned()
            .and_then(|socket| Ok((socket, self.shared.closed.try_clone()?)));
        let shared = Arc::downgrade(self.shared);
        let number = link.number();
        let spawned = sockets.and_then(|(socket, closed)| {
            std::thread::Builder::new()
                .name(format!("{}-watch", M::Helper::COMMAND))
                .stack_size(128 * 1024)
                .spawn(move || wait(&socket, &closed, &shared, number))
        });
        if let Err(error) = spawned {
            unnoticed::<M::Helper>(&error);
        }
    }
}

fn unnoticed<H: Helper>(error: &dyn std::error::Error) {
    tracing::warn!(%error, "nobody will notice the end of the {}", H::NAME);
}

impl<M: Memory> Drop for Shared<M> {
    fn drop(&mut self) {
        let state = self.state.get_mut().expect("no panics while held");
        if let Some(link) = state.link.take()
            && state.memory.is_empty()
        {
            link.dismiss();
            // With nobody listening the name is only litter.
            let _ = std::fs::remove_file(self.settings.dir.join(M::Helper::SOCKET));
        }
    }
}

/// Returns when the keeper is gone, or has another helper than this one.
fn wait<M: Memory>(socket: &OwnedFd, closed: &OwnedFd, shared: &Weak<Shared<M>>, number: u64) {
    match has_ended(socket, closed) {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => return unnoticed::<M::Helper>(&error),
    }
    for pause in BACK_OFF.iter().chain(std::iter::repeat(&BACK_OFF[3])) {
        {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let mut held = Held::of(&shared);
            let link = held.state.link.as_ref();
            if link.is_some_and(|link| link.number() != number) {
                return;
            }
            held.state.link = None;
            if held.state.memory.is_empty() {
                // Whoever needs it next starts the next one.
                return;
            }
            tracing::warn!("the {} has ended; starting another", M::Helper::NAME);
            match held.revive() {
                Ok(()) | Err(Error::Refused { .. }) => return,
                Err(error) => tracing::error!("{}", spec::error::chain(&error)),
            }
        }
        std::thread::sleep(*pause);
    }
}

/// Waits for the end of a helper (true) or of its keeper.
fn has_ended(socket: &OwnedFd, closed: &OwnedFd) -> sys::Result<bool> {
    const KEEPER: u64 = 1;
    let poll = Poll::new()?;
    poll.add(socket.as_fd(), 0, Interest::NONE)?;
    poll.add(closed.as_fd(), KEEPER, Interest::NONE)?;
    loop {
        let ready: Vec<_> = poll.wait(None)?.collect();
        if ready.iter().any(|ready| ready.token == KEEPER) {
            return Ok(false);
        }
        if !ready.is_empty() {
            return Ok(true);
        }
    }
}
