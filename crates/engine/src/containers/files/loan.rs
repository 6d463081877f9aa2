//! Who uses a container's files, and when others get them.
//!
//! An overlay that is mounted empties the work directory that another mount of the same layer makes
//! its files in. So copies at rest take turns: those that write keep theirs until they end, those
//! that read only until they have mounted, so that one may feed the other. A start waits for those
//! at rest, and for those that write through the mount of the run before.

use std::sync::Arc;
use std::time::Duration;

use spec::ErrorKind;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::Containers;
use super::super::command::{Command, Reply};
use super::super::driver::{Driver, answer};
use super::super::record::Record;
use super::view::{Files, files_of};
use crate::{Error, Result};

/// Time in which the end of a process has to be known.
const END_IS_KNOWN: Duration = Duration::from_secs(10);

/// What a copy does with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Purpose {
    Read,
    Write,
}

/// Whom the files are taken back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Of {
    /// Whoever would spoil the next run, or be spoilt by it.
    NextRun,
    All,
}

/// The files of a container, lent to a copy until this is dropped.
#[derive(Debug)]
pub(in super::super) struct Lent {
    pub(super) record: Record,
    /// First process of a container that runs.
    pid: Option<i32>,
    /// Its files, as that process sees them.
    pub(super) running: Option<Files>,
    /// The driver wants its files back.
    pub(super) cancel: CancellationToken,
    /// Nobody else mounts the files of a container at rest until this is dropped.
    pub(super) turn: Option<OwnedMutexGuard<()>>,
    _done: oneshot::Sender<()>,
}

/// Whose turn it is to mount the files of a container at rest.
pub(in super::super) type Turns = Arc<tokio::sync::Mutex<()>>;

/// What the driver remembers of it.
#[derive(Debug)]
pub(in super::super) struct Loan {
    /// The next run has to wait for it.
    holds: bool,
    cancel: CancellationToken,
    done: oneshot::Receiver<()>,
}

impl Driver {
    pub(in super::super) fn lend(&mut self, purpose: Purpose, reply: Reply<(Lent, Turns)>) {
        let (sender, done) = oneshot::channel();
        let cancel = CancellationToken::new();
        let pid = self.container.state.running().map(|running| running.pid);
        self.lent
            .retain_mut(|loan| loan.done.try_recv() == Err(TryRecvError::Empty));
        self.lent.push(Loan {
            holds: pid.is_none() || purpose == Purpose::Write,
            cancel: cancel.clone(),
            done,
        });
        let lent = Lent {
            record: self.record.clone(),
            pid,
            running: None,
            cancel,
            turn: None,
            _done: sender,
        };
        answer(reply, Ok((lent, Arc::clone(&self.turns))));
    }

    /// Waits until nobody uses the files, and ends whoever still does after some time.
    pub(in super::super) async fn take_back(&mut self, of: Of, patience: Duration) {
        let deadline = tokio::time::Instant::now() + patience;
        let (loans, others) = std::mem::take(&mut self.lent)
            .into_iter()
            .partition::<Vec<Loan>, _>(|loan| loan.holds || of == Of::All);
        self.lent = others;
        for mut loan in loans {
            if tokio::time::timeout_at(deadline, &mut loan.done)
                .await
                .is_err()
            {
                loan.cancel.cancel();
                // The copy ends with its next byte; what it waits for is cancelled too.
                let _dropped = loan.done.await;
            }
        }
    }
}

impl Containers {
    pub(super) async fn lend(&self, key: &str, purpose: Purpose) -> Result<Lent> {
        loop {
            let ask = |reply| Command::Lend(purpose, reply);
            let (mut lent, turns) = self.ask(key, ask).await?;
            let Some(pid) = lent.pid else {
                lent.turn = tokio::select! {
                    () = lent.cancel.cancelled() => {
                        let what = format!("container {key} was changed before the copy began");
                        return Err(Error::refused(ErrorKind::Conflict, what));
                    }
                    turn = turns.lock_owned() => Some(turn),
                };
                return Ok(lent);
            };
            match files_of(pid, &lent.record) {
                Ok(files) => {
                    lent.running = Some(files);
                    return Ok(lent);
                }
                // It has ended just now: then its files are those at rest.
                Err(error) if !self.forgets(key, pid).await => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Waits until a container is not said to run as this process any more.
    async fn forgets(&self, key: &str, pid: i32) -> bool {
        let Ok(handle) = self.find(key) else {
            return true;
        };
        let mut view = handle.view;
        let other = view.wait_for(|seen| seen.state.running().is_none_or(|now| now.pid != pid));
        tokio::time::timeout(END_IS_KNOWN, other).await.is_ok()
    }
}
