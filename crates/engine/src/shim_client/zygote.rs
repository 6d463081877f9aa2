//! The zygote: exec'd once, forks a supervisor for every task.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shim::protocol::{Packet, Spawn, SpawnReply, Spawned, ZYGOTE_FD};
use spec::{ContainerId, ErrorKind, WireError};
use tokio::sync::oneshot;

use super::connection::{Connection, gone, protocol, wire};

/// Longest time a fork may take.
const SPAWN_TIMEOUT: Duration = Duration::from_secs(20);

/// The zygote, started again whenever it is found dead; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Zygote {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shim_path: PathBuf,
    live: Mutex<Option<Arc<Live>>>,
}

/// One process of it.
#[derive(Debug)]
struct Live {
    connection: Connection,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    ended: bool,
    waiting: HashMap<u64, oneshot::Sender<Result<Spawned, WireError>>>,
}

impl Zygote {
    /// Starts it.
    pub(crate) fn start(shim_path: PathBuf) -> Result<Self, WireError> {
        let zygote = Self {
            shared: Arc::new(Shared {
                shim_path,
                live: Mutex::new(None),
            }),
        };
        zygote.live()?;
        Ok(zygote)
    }

    /// Forks a supervisor; returns the first connection to it.
    ///
    /// The run directory must exist. The first call to the supervisor may be sent at once.
    pub(crate) async fn spawn(
        &self,
        container: ContainerId,
        run_dir: &Path,
    ) -> Result<OwnedFd, WireError> {
        let live = self.live()?;
        match live.spawn(container, run_dir).await {
            // It died before it could fork; a new one is started and asked once.
            Err(error) if error.kind == ErrorKind::Unavailable && live.ended() => {
                self.live()?.spawn(container, run_dir).await
            }
            done => done,
        }
    }

    fn live(&self) -> Result<Arc<Live>, WireError> {
        let mut slot = self.shared.live.lock().expect("no panics while held");
        if let Some(live) = slot.as_ref().filter(|live| !live.ended()) {
            return Ok(Arc::clone(live));
        }
        let live = Arc::new(exec(&self.shared.shim_path)?);
        tokio::spawn(read(Arc::clone(&live)));
        *slot = Some(Arc::clone(&live));
        Ok(live)
    }
}

impl Live {
    fn ended(&self) -> bool {
        self.pending.lock().expect("no panics while held").ended
    }

    async fn spawn(&self, container: ContainerId, run_dir: &Path) -> Result<OwnedFd, WireError> {
        let (ours, theirs) =
            sys::fdpass::seqpacket_pair().map_err(|e| wire("make a socket pair", &e))?;
        let (reply, answer) = oneshot::channel();
        let id = {
            let mut pending = self.pending.lock().expect("no panics while held");
            if pending.ended {
                return Err(gone("spawner"));
            }
            pending.next += 1;
            let id = pending.next;
            pending.waiting.insert(id, reply);
            id
        };
        let request = Spawn {
            id,
            container,
            run_dir: run_dir.to_owned(),
        };
        let packet = Packet::encode(&request, vec![theirs]).map_err(|e| protocol(&e))?;
        self.connection.send(&packet).await?;
        drop(packet);
        match tokio::time::timeout(SPAWN_TIMEOUT, answer).await {
            Ok(Ok(result)) => result.map(|_| ours),
            Ok(Err(_)) => Err(gone("spawner")),
            Err(_) => Err(WireError::new(
                ErrorKind::Unavailable,
                "the spawner does not answer",
            )),
        }
    }
}

async fn read(live: Arc<Live>) {
    loop {
        match live.connection.receive().await {
            Ok(Some(packet)) => match packet.decode::<SpawnReply>() {
                Ok((SpawnReply { id, result }, _)) => {
                    let waiting = {
                        let mut pending = live.pending.lock().expect("no panics while held");
                        pending.waiting.remove(&id)
                    };
                    if let Some(reply) = waiting {
                        let _left = reply.send(result.into());
                    }
                }
                Err(error) => {
                    tracing::error!(
                        error = spec::error::chain(&error),
                        "the spawner speaks strangely"
                    );
                    break;
                }
            },
            Ok(None) => break,
            Err(error) => {
                tracing::error!(error = spec::error::chain(&error), "lost the spawner");
                break;
            }
        }
    }
    let mut pending = live.pending.lock().expect("no panics while held");
    pending.ended = true;
    pending.waiting.clear();
}

/// Executes `corten-shim zygote` with one end of a socket pair at descriptor 3.
fn exec(shim_path: &Path) -> Result<Live, WireError> {
    let (ours, theirs) =
        sys::fdpass::seqpacket_pair().map_err(|e| wire("make a socket pair", &e))?;
    let mut command = Command::new(shim_path);
    command
        .arg("zygote")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0);
    sys::command::pass_fd(&mut command, theirs, ZYGOTE_FD);
    let mut child = command
        .spawn()
        .map_err(|e| wire(&format!("execute `{}`", shim_path.display()), &e))?;
    let connection = Connection::new(ours)?;
    // A thread of its own, asleep until the zygote ends, so that it leaves no zombie.
    let waiter = std::thread::Builder::new()
        .name("zygote-wait".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || child.wait());
    if let Err(error) = waiter {
        tracing::warn!(%error, "nobody will reap the spawner");
    }
    Ok(Live {
        connection,
        pending: Mutex::default(),
    })
}
