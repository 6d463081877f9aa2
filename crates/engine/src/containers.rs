//! Containers: one driver task each changes it, everybody else reads its latest snapshot.
//!
//! ```text
//! Containers ── Command ─► driver (driver.rs) ── watch ─► readers
//!     │                       └─ policy.rs: what is legal when
//!     └─ table.rs: ids and names
//! ```

mod block_rates;
mod command;
mod create;
mod devices;
mod driver;
mod ended;
mod endpoint;
mod etc;
mod files;
mod labels;
mod limits;
mod list;
mod log_options;
mod merge;
mod minor;
mod moment;
mod mounting;
mod name;
mod networking;
mod policy;
mod prune;
mod record;
mod recover;
mod remove;
pub mod request;
mod sandbox;
mod shared;
mod start;
mod stats;
mod stop;
mod table;
mod top;
mod update;
mod validate;

use std::sync::Arc;

use shim::protocol::Streams;
use spec::{ContainerId, ContainerName};
use tokio::sync::oneshot;

use crate::container::{Container, Resources, RestartPolicy};
use crate::images::{ArchiveStream, archive, graph};
use crate::streams::detach::DetachScanner;
use crate::streams::{Attached, LogStream};
use crate::{Error, Filters, Result};

use command::{Command, Reply};
use table::Handle;

pub(crate) use create::exec_id;
pub use files::PutArchive;
pub(crate) use merge::{fill, of_image, to_image};
pub(crate) use moment::until;
pub(crate) use networking::links::Link;
pub(crate) use networking::{place::find as find_network, wishes::joined as joined_errors};
#[cfg(test)]
pub(crate) use record::sample;
pub use request::*;
pub(crate) use shared::{Layers, Shared};
pub use store::copy::CopyStat;
pub use store::{Change, ChangeKind};

/// The containers of an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Containers {
    shared: Arc<Shared>,
}

impl Containers {
    /// Takes up everything that an earlier engine left.
    pub(crate) async fn open(shared: Arc<Shared>) -> Result<Self> {
        recover::recover(&shared).await?;
        Ok(Self { shared })
    }

    /// Ends the drivers; containers go on.
    pub(crate) async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.drivers.close();
        self.shared.drivers.wait().await;
        if self.all().iter().all(|c| c.state.running().is_none()) {
            self.tear_down().await;
        }
    }

    /// Takes away what only running containers need: bridge, firewall table, parent of the groups.
    async fn tear_down(&self) {
        let shared = Arc::clone(&self.shared);
        let blocking = shared.blocking.clone();
        let torn = blocking.heavy(move || {
            if let Err(error) = shared.network.destroy() {
                let error = spec::error::chain(&error);
                tracing::warn!(error, "failed to remove the networks' bridges and rules");
            }
            // A parent that the administrator named is not ours to remove.
            if shared.config.cgroup_parent.is_none()
                && let Ok(Some(parent)) = shared.cgroups.open(&shared.cgroup_parent)
            {
                parent.remove_if_empty();
            }
            Ok(())
        });
        if let Err(error) = torn.await {
            tracing::warn!(error = spec::error::chain(&error), "failed to tear down");
        }
    }

    /// Creates a container: record, snapshot and name; nothing runs yet.
    pub async fn create(&self, request: CreateContainer) -> Result<Created> {
        create::create(&self.shared, request).await
    }

    /// Starts it; returns once its process has been executed. `NotModified` when it runs already.
    pub async fn start(&self, key: &str, options: StartOptions) -> Result<()> {
        if options.checkpoint.is_some_and(|c| !c.is_empty()) {
            return Err(Error::unsupported("checkpoints are not yet supported"));
        }
        self.ask(key, Command::Start).await
    }

    /// Stops it; returns once it has ended. `NotModified` when it does not run.
    pub async fn stop(&self, key: &str, options: StopOptions) -> Result<()> {
        self.find(key)?;
        let stop = stop::read(&options)
            .map_err(|e| Error::invalid(format!("cannot stop container: {key}: {e}")))?;
        self.ask(key, |reply| Command::Stop(stop, reply)).await
    }

    /// Stops it if it runs and starts it.
    pub async fn restart(&self, key: &str, options: StopOptions) -> Result<()> {
        let stop = stop::read(&options)?;
        let done = self.ask(key, |reply| Command::Restart(stop, reply)).await;
        done.map_err(|error| match error {
            Error::NoSuchContainer { .. } => error,
            error => Error::Restart {
                key: key.to_owned(),
                source: Box::new(error),
            },
        })
    }

    /// Sends a signal (`None` is KILL) to its first process.
    pub async fn kill(&self, key: &str, signal: Option<&str>) -> Result<()> {
        let name = self.get(key)?.name.clone();
        let signal = match signal.filter(|s| !s.is_empty()) {
            Some(text) => self::signal(text)
                .map_err(|e| Error::invalid(format!("cannot kill container: {name}: {e}")))?,
            None => spec::Signal::KILL,
        };
        self.ask(key, |reply| Command::Kill(signal, reply)).await
    }

    /// Freezes its processes.
    pub async fn pause(&self, key: &str) -> Result<()> {
        self.ask(key, Command::Pause).await
    }

    /// Thaws its processes.
    pub async fn unpause(&self, key: &str) -> Result<()> {
        self.ask(key, Command::Unpause).await
    }

    /// Registers a wait; when it returns, nothing that happens later is missed.
    pub async fn wait(&self, key: &str, condition: WaitCondition) -> Result<Waiter> {
        let receiver = self
            .ask(key, |reply| Command::Wait(condition, reply))
            .await?;
        let future = Box::pin(async move {
            receiver.await.unwrap_or_else(|_| WaitOutcome {
                exit_code: -1,
                error: Some("the engine is shutting down".to_owned()),
            })
        });
        Ok(Waiter { future })
    }

    /// Removes it and everything that belongs to it.
    ///
    /// With `link`, the key is a link's path `caller/alias`, and only the link goes.
    pub async fn remove(&self, key: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            let (caller, link) = networking::links::find(&self.shared, key)?;
            let caller = caller.to_string();
            return self
                .ask(&caller, |reply| Command::Unlink(link, reply))
                .await;
        }
        self.ask(key, |reply| Command::Remove(options, reply)).await
    }

    /// Gives it another name.
    pub async fn rename(&self, key: &str, name: &str) -> Result<()> {
        let handle = self.find(key)?;
        if name.trim_start_matches('/').is_empty() {
            return Err(Error::invalid("Neither old nor new names may be empty"));
        }
        let shown = format!("/{}", name.trim_start_matches('/'));
        let allocating = |e: Error| {
            let kind = spec::Classify::kind(&e);
            Error::refused(kind, format!("Error when allocating new name: {e}"))
        };
        let name = parse_name(name).map_err(|_| allocating(bad_name(&shown)))?;
        if handle.container().name == name {
            return Err(Error::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        self.shared
            .table()
            .reserve(&name, handle.id)
            .map_err(allocating)?;
        let renamed = ask(&handle, key, |reply| Command::Rename(name.clone(), reply)).await;
        if renamed.is_err() {
            self.shared.table().release(&name, handle.id);
        }
        renamed
    }

    /// Changes limits and restart policy; returns warnings.
    pub async fn update(
        &self,
        key: &str,
        resources: Resources,
        restart_policy: Option<RestartPolicy>,
    ) -> Result<Vec<String>> {
        let resources = Box::new(resources);
        self.ask(key, |reply| {
            Command::Update(resources, restart_policy, reply)
        })
        .await
    }

    /// Changes the size of its terminal.
    pub async fn resize(&self, key: &str, size: TerminalSize) -> Result<()> {
        self.ask(key, |reply| Command::Resize(None, size, reply))
            .await
    }

    /// Attaches to its standard streams.
    pub async fn attach(&self, key: &str, options: AttachOptions) -> Result<Attached> {
        let scanner = DetachScanner::new(options.detach_keys.as_deref())?;
        let handle = self.find(key)?;
        let container = handle.container();
        let mut attached = Attached::new(container.config.tty);
        if options.stream {
            let streams = Streams {
                stdin: options.stdin && container.config.open_stdin,
                stdout: options.stdout,
                stderr: options.stderr,
            };
            let (ours, theirs) = stream_pair()?;
            ask(&handle, key, |reply| {
                Command::Attach(theirs, streams, reply)
            })
            .await?;
            attached = attached.with_stream(ours)?;
            if streams.stdin {
                let (events, told) = (self.shared.events.clone(), Arc::clone(&container));
                let on_detach = move || emit(&events, &told, "detach");
                attached = attached.with_input(scanner, Box::new(on_detach));
            }
        }
        if options.logs {
            let logs = LogsOptions {
                stdout: options.stdout,
                stderr: options.stderr,
                ..LogsOptions::default()
            };
            attached = attached.with_replay(self.read_log(&handle, &logs)?);
        }
        Ok(attached)
    }

    /// Reads its log.
    pub async fn logs(&self, key: &str, options: LogsOptions) -> Result<LogStream> {
        let handle = self.find(key)?;
        if !(options.stdout || options.stderr) {
            return Err(Error::invalid(
                "Bad parameters: you must choose at least one stream",
            ));
        }
        self.read_log(&handle, &options)
    }

    fn read_log(&self, handle: &Handle, options: &LogsOptions) -> Result<LogStream> {
        let Some(path) = handle.container().files.log.clone() else {
            return Err(Error::unsupported(
                "configured logging driver does not support reading",
            ));
        };
        LogStream::open(
            path,
            options,
            handle.view.clone(),
            self.shared.blocking.clone(),
        )
    }

    /// Lists its processes, columns as `ps` with these arguments would show (`-ef` by default).
    pub async fn top(&self, key: &str, ps_args: &str) -> Result<Top> {
        let container = self.get(key)?;
        policy::admit(&container, policy::Verb::Touch)?;
        let top = top::top(&self.shared, &container, ps_args).await?;
        emit(&self.shared.events, &container, "top");
        Ok(top)
    }

    /// Takes one sample of its use of resources; zeros while it does not run.
    pub async fn stats(&self, key: &str) -> Result<Sample> {
        let container = self.get(key)?;
        stats::sample(&self.shared, &container).await
    }

    /// Its latest snapshot, and its sizes on disk when asked.
    pub async fn inspect(&self, key: &str, sizes: Sizes) -> Result<Inspected> {
        let mut container = self.get(key)?;
        let execs = self.shared.execs.of(container.id);
        if !execs.is_empty() {
            Arc::make_mut(&mut container).execs = execs;
        }
        let (size_rw, size_root_fs) = match sizes {
            Sizes::Skip => (None, None),
            Sizes::Compute => list::sizes(&self.shared, &container).await?,
        };
        let links = networking::links::shown(&self.shared, &container);
        // Without a snapshot, as while it is removed, there is nothing to show.
        let key = container.id.to_string();
        let found = self.shared.store.snapshot_directories(&key);
        Ok(Inspected {
            container,
            size_rw,
            size_root_fs,
            links,
            graph: graph(found.unwrap_or_default()),
        })
    }

    /// The latest snapshot; an id, a unique prefix of it, or a name.
    pub fn get(&self, key: &str) -> Result<Arc<Container>> {
        Ok(self.find(key)?.container())
    }

    /// All containers, in no order that means anything.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.shared.all().iter().map(Handle::container).collect()
    }

    /// Containers that match, newest first.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<Listed>> {
        list::list(&self.shared, options).await
    }

    /// Removes containers that do not run.
    pub async fn prune(&self, filters: &Filters) -> Result<Pruned<ContainerId>> {
        prune::prune(&self.shared, filters).await
    }

    /// Files changed since the image, in Docker's order.
    pub async fn changes(&self, key: &str) -> Result<Vec<store::Change>> {
        let id = self.find(key)?.id;
        let store = self.shared.store.clone();
        let job = move || Ok(store.changes(&id.to_string())?);
        self.shared.blocking.heavy(job).await
    }

    /// Its files as one archive, whether it runs or not.
    pub async fn export(&self, key: &str) -> Result<ArchiveStream> {
        let container = self.get(key)?;
        let (store, id) = (self.shared.store.clone(), container.id.to_string());
        let stream = archive::produce(move |out| Ok(store.export(&id, out)?));
        emit(&self.shared.events, &container, "export");
        Ok(stream)
    }

    fn find(&self, key: &str) -> Result<Handle> {
        self.shared.table().find(key)
    }

    async fn ask<T>(&self, key: &str, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let handle = self.find(key)?;
        ask(&handle, key, command).await
    }
}

/// What the services beside this one need.
impl Containers {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes an exec known to its container's driver.
    pub(crate) async fn exec_create(
        &self,
        key: &str,
        config: Arc<crate::execs::ExecConfig>,
    ) -> Result<spec::ExecId> {
        let id = exec_id()?;
        self.ask(key, |reply| Command::ExecCreate(id, config, reply))
            .await?;
        Ok(id)
    }

    /// Whether an exec could be run in its container now.
    pub(crate) fn admits_exec(&self, view: &crate::execs::ExecView) -> Result<()> {
        let container = self.get(&view.container.to_string())?;
        Ok(policy::admit(&container, policy::Verb::Exec)?)
    }

    /// Runs an exec; the stream is the supervisor's end of its pair.
    pub(crate) async fn exec_start(
        &self,
        view: &crate::execs::ExecView,
        console_size: Option<[u32; 2]>,
        stream: Option<(std::os::fd::OwnedFd, Streams)>,
    ) -> Result<()> {
        let mut config = Arc::clone(&view.config);
        if console_size.is_some() {
            Arc::make_mut(&mut config).console_size = console_size;
        }
        let exec = Box::new(command::ExecStart {
            id: view.id,
            config,
            stream,
        });
        self.ask(&view.container.to_string(), |reply| {
            Command::ExecStart(exec, reply)
        })
        .await
    }

    /// Changes the size of an exec's terminal.
    pub(crate) async fn exec_resize(
        &self,
        view: &crate::execs::ExecView,
        size: TerminalSize,
    ) -> Result<()> {
        let key = view.container.to_string();
        self.ask(&key, |reply| Command::Resize(Some(view.id), size, reply))
            .await
    }
}

/// Sends a command to a driver and waits for its answer.
async fn ask<T>(
    handle: &Handle,
    key: &str,
    command: impl FnOnce(Reply<T>) -> Command,
) -> Result<T> {
    let gone = || Error::NoSuchContainer {
        key: key.to_owned(),
    };
    let (reply, answer) = oneshot::channel();
    handle
        .commands
        .send(command(reply))
        .await
        .map_err(|_| gone())?;
    // A driver that ends leaves its last commands unanswered: the container is gone.
    answer.await.map_err(|_| gone())?
}

/// Tells that something happened to a container that its driver does not know of.
pub(crate) fn emit(events: &crate::events::Events, container: &Container, action: &str) {
    let mut attributes = container.config.labels.clone();
    attributes.insert("image".to_owned(), container.config.image.clone());
    attributes.insert("name".to_owned(), container.name.to_string());
    events.emit("container", action, container.id.to_string(), attributes);
}

/// A connected pair of byte streams: ours, and the supervisor's.
pub(crate) fn stream_pair() -> Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
    sys::fdpass::stream_pair().map_err(|source| Error::System {
        what: "failed to make a stream".to_owned(),
        source,
    })
}

/// Reads a container's name.
///
/// # Errors
///
/// Docker's text for a name out of its grammar.
pub fn parse_name(text: &str) -> Result<ContainerName> {
    text.parse().map_err(|_| bad_name(text))
}

fn bad_name(text: &str) -> Error {
    Error::invalid(format!(
        "Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    ))
}

/// Reads a signal, with Docker's refusal.
fn signal(text: &str) -> Result<spec::Signal> {
    text.parse().map_err(|_| match text.parse::<i64>() {
        Ok(0) | Err(_) => Error::invalid(format!("invalid signal: {text}")),
        Ok(_) => Error::invalid(format!("the linux daemon does not support signal {text}")),
    })
}
