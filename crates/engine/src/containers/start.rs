//! Starting: the sandbox and the supervisor at the same time, then the container in both.
//!
//! ```text
//! 1  run directory                                     in memory
//! 2a network sandbox, /etc files, config.json, rootfs  one blocking job  ┐ at the
//! 2b supervisor                                        a fork            ┘ same time
//! 3  Create, Attach…, Start                            sent at once, answered in order;
//!                                                      ports and names before Start
//! 4  state, events, record
//! ```
//!
//! A failure at any step undoes the steps before it, last first.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shim::protocol::{self, Reply, Request, Seccomp, StdinPolicy};
use spec::Rootfs;
use tokio::sync::mpsc;

use super::driver::{Driver, Live};
use super::endpoint::Place;
use super::files::Of;
use super::networking::around::{self, open_links, surroundings, told_by_links};
use super::networking::{place, roster};
use super::record::Record;
use super::sandbox::{joined, opens, sandbox};
use super::shared::Shared;
use super::{block_rates, devices, endpoint, etc, log_options, merge, mounting};
use crate::container::{Running, State};
use crate::execs::ExecConfig;
use crate::shim_client::{Task, unexpected};
use crate::{Error, Result, oci};

/// How long a start waits for copies that still use the files.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
/// Name of the specification in the run directory.
const CONFIG_FILE: &str = "config.json";

/// What step 2a made.
struct Prepared {
    netns: Option<OwnedFd>,
    place: Place,
    rootfs: Rootfs,
    log: protocol::LogConfig,
    seccomp: Seccomp,
}

impl Driver {
    /// Starts it because somebody asked: the policy's counters begin anew.
    pub(super) async fn start_by_user(&mut self) -> Result<()> {
        self.record.stopped_by_user = false;
        self.record.restart_count = 0;
        self.restart_delay = None;
        self.start().await
    }

    /// Starts it; on failure everything is as before, but for the error that inspect shows.
    pub(super) async fn start(&mut self) -> Result<()> {
        let started = self.start_task().await;
        if let Err(error) = &started {
            // As in Docker, a failure before the program keeps the code of the run before.
            let unknown = match self.record.last.exit_code {
                0 => 128,
                former => former,
            };
            self.record.last.exit_code = error.exit_code().unwrap_or(unknown);
            self.record.last.error = spec::error::chain(error);
            // Whoever was attached learns that nothing will come.
            self.early.clear();
            self.publish();
        }
        started
    }

    /// What follows a start and need not be waited for.
    pub(super) async fn after_start(&mut self) {
        let running = self.container.state.running().is_some();
        if !running && self.record.host.auto_remove && self.container.state != State::Removing {
            self.wake(|condition| condition != super::request::WaitCondition::Removed);
            self.remove_now(super::request::RemoveOptions {
                volumes: true,
                ..Default::default()
            })
            .await
            .unwrap_or_else(|error| {
                let error = spec::error::chain(&error);
                tracing::warn!(container = %self.record.id, error, "failed to remove a container");
            });
        } else if !self.record.host.auto_remove {
            self.save().await;
        }
    }

    async fn start_task(&mut self) -> Result<()> {
        // Two mounts of one writable layer at a time would spoil it.
        self.take_back(Of::NextRun, PATIENCE).await;
        let id = self.record.id;
        let run_dir = self.shared.run_dir(id);
        let joined = joined(&self.shared, &self.record.host)?;
        make_run_dir(&run_dir)?;
        let job = {
            let (shared, record) = (Arc::clone(&self.shared), self.record.clone());
            let run_dir = run_dir.clone();
            move || prepare(&shared, &record, joined, &run_dir)
        };
        let begun = std::time::Instant::now();
        let timed = |name: &'static str| {
            let micros = begun.elapsed().as_micros();
            tracing::debug!(container = %id, step = name, micros, "step of a start");
        };
        let (prepared, socket) = tokio::join!(
            async {
                let done = self
                    .shared
                    .blocking
                    .quick_or_plugin(self.asks_plugins(), job)
                    .await;
                timed("prepared");
                done
            },
            async {
                let done = self.shared.zygote.spawn(id, &run_dir).await;
                timed("supervised");
                done
            },
        );
        let outcome = match (prepared, socket) {
            (Ok(prepared), Ok(socket)) => self.run_task(prepared, socket, &run_dir).await,
            (Err(error), _) => Err(error),
            (Ok(_), Err(source)) => Err(Error::Start { source }),
        };
        if outcome.is_err() {
            self.undo_start(run_dir).await;
        }
        outcome
    }

    async fn run_task(
        &mut self,
        prepared: Prepared,
        socket: OwnedFd,
        run_dir: &Path,
    ) -> Result<()> {
        let (reports, events) = mpsc::unbounded_channel();
        let start = |source| Error::Start { source };
        let live = Live {
            task: Task::new(socket, reports).map_err(start)?,
            events,
        };
        self.place = prepared.place.clone();
        let done = self.converse(&live.task, prepared, run_dir).await;
        let (pid, at) = match done {
            Ok(done) => done,
            Err(error) => {
                // It has undone its part; this ends it.
                let _gone = live.task.call(Request::Delete, Vec::new()).await;
                return Err(error);
            }
        };
        self.live = Some(live);
        self.record.running = true;
        self.record.last = crate::container::LastRun {
            started_at: Some(at),
            finished_at: self.record.last.finished_at,
            ..Default::default()
        };
        self.container.state = State::Running(Running {
            pid,
            started_at: at,
        });
        place::keep_ids(&self.shared, &mut self.record, &self.place);
        self.show_networks();
        self.publish();
        self.emit_networks("connect");
        self.emit("start", &[]);
        tracing::info!(container = %self.record.id, pid, "started");
        Ok(())
    }

    async fn converse(
        &mut self,
        task: &Task,
        prepared: Prepared,
        run_dir: &Path,
    ) -> Result<(i32, spec::Timestamp)> {
        let begun = std::time::Instant::now();
        let start = |source| Error::Start { source };
        let create = create_request(&self.record, &prepared, run_dir);
        // Ports and names are made to work while the container is being created; neither is left half
        // done, and the container's program begins after both.
        let announced = self.announce(&prepared)?;
        let netns = prepared.netns.into_iter().collect();
        let (announced, created) =
            tokio::join!(announced, task.send(Request::Create(create), netns));
        announced.map_err(networking)?;
        let created = created.map_err(start)?;
        let mut attached = Vec::new();
        for (stream, streams) in self.early.drain(..) {
            let attach = protocol::Attach {
                exec: None,
                streams,
            };
            let sent = task.send(Request::Attach(attach), vec![stream]).await;
            attached.push(sent.map_err(start)?);
        }
        let started = task.send(Request::Start, Vec::new()).await.map_err(start)?;
        let pid = match created.get().await.map_err(start)? {
            Reply::Created { pid, warnings } => {
                for warning in warnings {
                    tracing::warn!(container = %self.record.id, warning, "not done exactly");
                }
                pid
            }
            other => return Err(start(unexpected(&other))),
        };
        let created_us = begun.elapsed().as_micros();
        for answer in attached {
            answer.get().await.map_err(start)?;
        }
        match started.get().await.map_err(start)? {
            Reply::Started { at } => {
                let started_us = begun.elapsed().as_micros();
                tracing::debug!(container = %self.record.id, created_us, started_us, "executed");
                Ok((pid, at))
            }
            other => Err(start(unexpected(&other))),
        }
    }

    /// Makes published ports and names work, where there are any.
    fn announce(&self, prepared: &Prepared) -> Result<impl Future<Output = Result<()>> + use<>> {
        let netns = match &prepared.netns {
            Some(netns) if around::is_announced(&self.place) => Some(
                netns
                    .try_clone()
                    .map_err(|e| Error::io("failed to keep a network namespace", e))?,
            ),
            _ => None,
        };
        let job = netns.map(|netns| {
            let (shared, record) = (Arc::clone(&self.shared), self.record.clone());
            let place = self.place.clone();
            move || around::announce(&shared, &record, &place, netns.as_fd())
        });
        let blocking = self.shared.blocking.clone();
        Ok(async move {
            match job {
                Some(job) => blocking.quick(job).await,
                None => Ok(()),
            }
        })
    }

    async fn undo_start(&mut self, run_dir: PathBuf) {
        let shared = Arc::clone(&self.shared);
        let record = self.record.clone();
        let place = std::mem::take(&mut self.place);
        let undo = move || {
            close_sandbox(&shared, &record, &place);
            mounting::release(&shared, &record);
            remove_run_dir(&run_dir);
            Ok(())
        };
        // Only the door can fail, when the engine is being torn down.
        let asks_plugins = self.asks_plugins();
        let _closing = self
            .shared
            .blocking
            .quick_or_plugin(asks_plugins, undo)
            .await;
    }
}

fn create_request(record: &Record, prepared: &Prepared, run_dir: &Path) -> protocol::Create {
    let (config, host) = (&record.config, &record.host);
    let cut = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    protocol::Create {
        bundle: run_dir.to_owned(),
        rootfs: prepared.rootfs.clone(),
        terminal: config.tty,
        stdin: match (config.open_stdin, config.stdin_once) {
            (false, _) => StdinPolicy::Closed,
            (true, false) => StdinPolicy::Open,
            (true, true) => StdinPolicy::Once,
        },
        console_size: host
            .console_size
            .filter(|_| config.tty)
            .map(|[height, width]| protocol::ConsoleSize {
                width: cut(width),
                height: cut(height),
            }),
        log: prepared.log.clone(),
        seccomp: prepared.seccomp,
        netns: prepared.netns.is_some(),
    }
}

fn make_run_dir(run_dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |e| Error::io(format!("failed to make `{}`", run_dir.display()), e);
    match std::fs::DirBuilder::new().mode(0o700).create(run_dir) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            // Of a run whose end was interrupted; nothing in it is of use.
            remove_run_dir(run_dir);
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(run_dir)
                .map_err(failed)
        }
        done => done.map_err(failed),
    }
}

/// Removes a task's directory; what cannot be removed is told and swept at the next start.
pub(super) fn remove_run_dir(run_dir: &Path) {
    match std::fs::remove_dir_all(run_dir) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %run_dir.display(), %error, "failed to remove a task's directory");
        }
    }
}

/// Gives back what a run had of its networks.
pub(super) fn close_sandbox(shared: &Shared, record: &Record, place: &Place) {
    roster::withdraw(shared, record, place);
    if opens(record) {
        shared.network.close_sandbox(&record.id);
    }
}

/// Puts a failure of the network into Docker's words.
pub(super) fn networking(source: Error) -> Error {
    Error::Networking {
        source: Box::new(source),
    }
}

/// Step 2a.
fn prepare(
    shared: &Shared,
    record: &Record,
    joined: oci::Joined,
    run_dir: &Path,
) -> Result<Prepared> {
    let snapshot = shared.store.snapshot(&record.id.to_string())?;
    let told = told_by_links(shared, record)?;
    let (netns, place) = sandbox(shared, record, &joined)?;
    endpoint::save(run_dir, &place)?;
    let files = shared.files(record);
    // Who joins another container's network sees that one's files.
    if !matches!(joined.network, oci::Source::Path(_)) {
        etc::write(&files, &surroundings(shared, record, &place, &told.hosts))?;
    }
    open_links(shared, record, &place, &told)?;
    let seen = mounting::place(shared, record)?;
    let facts = oci::Facts {
        capabilities: shared.facts.capabilities.clone(),
        devices: devices::of(&record.host)?,
        rates: block_rates::of(&record.host.resources)?,
        kernel: shared.facts.kernel,
    };
    let spec = oci::generate(&oci::Input {
        seen: &seen,
        links: &told.env,
        ..input(shared, record, joined, &facts, &files)
    })?;
    let security = oci::Security::parse(&record.host.security_opt)?;
    write_config(run_dir, &spec)?;
    Ok(Prepared {
        netns,
        place,
        rootfs: snapshot.rootfs,
        log: log_options::for_supervisor(
            &record.host.log,
            &log_options::About {
                id: &record.id.to_string(),
                name: record.name.as_str(),
                image: &record.image.to_string(),
                config: &record.config,
            },
            files.log.as_deref(),
        )?,
        seccomp: match security.seccomp {
            // A filter that was asked for holds for a privileged container, too.
            oci::SeccompChoice::Own => Seccomp::Spec,
            oci::SeccompChoice::Default if !record.host.privileged => Seccomp::Default,
            oci::SeccompChoice::Default | oci::SeccompChoice::Unconfined => Seccomp::Unconfined,
        },
    })
}

fn input<'a>(
    shared: &'a Shared,
    record: &'a Record,
    joined: oci::Joined,
    facts: &'a oci::Facts,
    files: &'a crate::container::Files,
) -> oci::Input<'a> {
    oci::Input {
        command: merge::command(&record.config),
        config: &record.config,
        host: &record.host,
        links: &[],
        files,
        cgroups_path: shared.cgroup_path(record.id, &record.host),
        joined,
        seen: &[],
        facts,
        defaults: &shared.defaults,
    }
}

/// The process of an exec, as the container's own first process would be made today.
pub(super) fn exec_process(
    shared: &Shared,
    record: &Record,
    exec: &ExecConfig,
) -> Result<spec::runtime::Process> {
    let files = shared.files(record);
    let facts = oci::Facts {
        capabilities: shared.facts.capabilities.clone(),
        ..oci::Facts::default()
    };
    let told = told_by_links(shared, record)?;
    let first = oci::first_process(&oci::Input {
        links: &told.env,
        ..input(shared, record, oci::Joined::default(), &facts, &files)
    })?;
    Ok(oci::exec_process(&first, exec, &shared.facts.capabilities))
}

fn write_config(run_dir: &Path, spec: &spec::runtime::Spec) -> Result<()> {
    let path = run_dir.join(CONFIG_FILE);
    let what = || format!("failed to write `{}`", path.display());
    let bytes = serde_json::to_vec(spec).map_err(|source| Error::Decode {
        what: what(),
        source,
    })?;
    std::fs::write(&path, bytes).map_err(|e| Error::io(what(), e))
}

/// Docker's text for a bind of `--mount` whose source is not there.
pub(super) fn missing_source(source: &str) -> Error {
    Error::invalid(format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {source}"
    ))
}
