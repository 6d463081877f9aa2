//! A thread that hears of changes by others and puts back what they removed.
//!
//! Changes come in bursts (a reload is hundreds of rules): the thread waits for a pause before it
//! acts, but not longer than [`AT_MOST`]. What others do to our own table is undone at once.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sys::nft::monitor::{Change, Monitor};
use sys::poll::{Interest, Poll};

use super::{Firewall, gate, lock};

/// A pause this long ends a burst.
const PAUSE: Duration = Duration::from_millis(30);
/// A burst that goes on is not waited for any longer.
const AT_MOST: Duration = Duration::from_millis(300);
/// What netlink does not tell is looked at this often: the rules of the legacy `iptables`.
const PERIOD: Duration = Duration::from_secs(3);
/// After a failure there is time for a person to look.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
const STOP: u64 = 2;

/// The running thread.
#[derive(Debug)]
pub(super) struct Watch {
    thread: JoinHandle<()>,
    /// Closing it ends the thread.
    stop: PipeWriter,
}

impl Watch {
    /// Ends the thread and waits for it, unless it is the caller.
    pub(super) fn stop(self) {
        drop(self.stop);
        if self.thread.thread().id() != std::thread::current().id() && self.thread.join().is_err() {
            tracing::error!("the thread that watches the firewall had panicked");
        }
    }
}

/// What has to be done after a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Work {
    #[default]
    Nothing,
    /// See whether something is missing.
    Look,
    /// Our own table is not what it was.
    Rewrite,
}

/// Starts the thread, in the calling thread's network namespace.
pub(super) fn start(firewall: &Arc<Firewall>) -> Option<Watch> {
    let weak = Arc::downgrade(firewall);
    let begin = || -> Result<_, Box<dyn std::error::Error>> {
        let monitor = Monitor::open()?;
        let (stopped, stop) = std::io::pipe()?;
        let poll = Poll::new()?;
        for (token, source) in monitor.sources().into_iter().enumerate() {
            poll.add(source, token as u64, Interest::READ)?;
        }
        poll.add(stopped.as_fd(), STOP, Interest::READ)?;
        let thread = std::thread::Builder::new()
            .name("firewall".to_owned())
            .spawn(move || run(&weak, monitor, &poll, stopped))?;
        Ok(Watch { thread, stop })
    };
    begin()
        .inspect_err(|error| tracing::error!(%error, "cannot watch over the firewall"))
        .ok()
}

fn run(firewall: &Weak<Firewall>, mut monitor: Monitor, poll: &Poll, stopped: PipeReader) {
    let mut work = Work::Nothing;
    let mut since: Option<Instant> = None;
    loop {
        let patience = if since.is_some() { PAUSE } else { PERIOD };
        let ready = match poll.wait(Some(patience)) {
            Ok(ready) => ready.map(|ready| ready.token).collect::<Vec<u64>>(),
            Err(error) => {
                tracing::error!(error = spec::error::chain(&error), "firewall watch ends");
                break;
            }
        };
        if ready.contains(&STOP) {
            break;
        }
        let Some(firewall) = firewall.upgrade() else {
            break;
        };
        if !ready.is_empty() {
            work = work.max(judge(&firewall, &mut monitor));
            if work != Work::Nothing {
                since = since.or_else(|| Some(Instant::now()));
            }
        }
        let over = since.is_some_and(|since| ready.is_empty() || since.elapsed() > AT_MOST);
        if over || work == Work::Rewrite {
            act(&firewall, work);
            (work, since) = (Work::Nothing, None);
        } else if ready.is_empty() {
            firewall.look_at_legacy();
        }
    }
    drop(stopped);
}

/// Reads the news and says what they call for.
fn judge(firewall: &Firewall, monitor: &mut Monitor) -> Work {
    let changes = monitor.take().unwrap_or_else(|error| {
        let error = spec::error::chain(&error);
        tracing::warn!(error, "could not read the news of the firewall");
        std::thread::sleep(PAUSE);
        vec![Change::Unknown]
    });
    let of = |change: &Change| match change {
        Change::Table(_, table, port) if *table == firewall.name => {
            if firewall.is_own(*port) {
                Work::Nothing
            } else {
                Work::Rewrite
            }
        }
        Change::Table(..) | Change::Unknown => Work::Look,
        Change::LinkGone(name) => {
            let (outer, inner) = gate::names(&firewall.name);
            let ours = *name == outer || *name == inner || firewall.has_bridge(name);
            if ours { Work::Look } else { Work::Nothing }
        }
    };
    changes.iter().map(of).max().unwrap_or_default()
}

fn act(firewall: &Firewall, work: Work) {
    let outcome = match work {
        Work::Nothing => return,
        Work::Look => firewall.restore(),
        Work::Rewrite => {
            tracing::warn!(table = firewall.name, "somebody changed our firewall table");
            firewall.rewrite()
        }
    };
    if let Err(error) = outcome {
        let error = spec::error::chain(&error);
        tracing::error!(error, "could not restore the firewall");
        std::thread::sleep(AFTER_FAILURE);
    }
    let call = lock(&firewall.on_change).clone();
    if let Some(call) = call {
        call();
    }
}
