//! Volume plugins, Docker's protocol version 1: who they are and where they listen.
//!
//! ```text
//! <dir>/<name>.sock, <dir>/<name>/<name>.sock    a unix socket
//! <dir>/<name>.spec, <dir>/<name>/<name>.spec    a file with an address
//! <dir>/<name>.json, <dir>/<name>/<name>.json    {"Name": …, "Addr": …}
//! ```
//!
//! A plugin is somebody else's program: it may hang, lie, die or answer garbage. Whatever it does
//! ends within a bounded time, costs bounded memory, and is told in Docker's words.

mod discovery;
mod driver;
mod failure;
mod http;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use driver::{Driver, Scope, Told};
pub use failure::PluginFailure;

/// What a plugin must say it implements.
const KIND: &str = "VolumeDriver";
/// Plugins that are asked at once.
const AT_ONCE: usize = 32;

/// Where plugins are looked for, and how long they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSettings {
    /// Directories with sockets and spec files, in order; none means that there are no plugins.
    pub dirs: Vec<PathBuf>,
    /// Time for what may have work to do: create, remove, mount, unmount.
    pub long: Duration,
    /// Time for questions about one volume, and for activation.
    pub short: Duration,
    /// Time for questions to all plugins, where one that hangs holds up everybody; after a call
    /// that took all its time, a plugin gets a fifth of this until it answers again.
    pub probe: Duration,
    /// How long a plugin that nobody listens for is waited for: it may be about to start.
    pub patience: Duration,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            dirs: Vec::new(),
            long: Duration::from_secs(120),
            short: Duration::from_secs(60),
            probe: Duration::from_secs(10),
            patience: Duration::from_secs(3),
        }
    }
}

/// The plugins of a host.
#[derive(Debug)]
pub(crate) struct Plugins {
    settings: PluginSettings,
    /// Those that answered, by name; asked again when their address changes.
    active: Mutex<BTreeMap<String, Arc<Driver>>>,
    /// Those that did not say in time what they are.
    silent: Mutex<BTreeSet<String>>,
}

impl Plugins {
    pub(crate) fn new(settings: PluginSettings) -> Self {
        Self {
            settings,
            active: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Driver>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silent(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time for plugins that took all they had before: one that hangs must not hold up a daemon's
    /// start once for each of its volumes.
    fn brief(&self) -> Duration {
        self.settings.probe / 5
    }

    /// Finds out early whether a plugin answers at all.
    pub(crate) fn wake(&self, name: &str) {
        let found = self.activated(name, self.settings.probe, Duration::ZERO);
        let asked = found.map(|driver| driver.scope(Some(self.settings.probe)));
        if let Err(error) = asked {
            let error = spec::error::chain(&error);
            tracing::warn!(
                plugin = name,
                error,
                "a volume plugin that containers use does not answer"
            );
        }
    }

    /// The volume driver of a name; activates its plugin the first time.
    pub(crate) fn driver(&self, name: &str) -> Result<Arc<Driver>, PluginFailure> {
        self.activated(name, self.settings.short, self.settings.patience)
    }

    fn activated(
        &self,
        name: &str,
        limit: Duration,
        patience: Duration,
    ) -> Result<Arc<Driver>, PluginFailure> {
        let lookup = |source: PluginFailure| PluginFailure::Lookup {
            plugin: name.to_owned(),
            source: Box::new(source),
        };
        let address = discovery::find(&self.settings.dirs, name).map_err(lookup)?;
        let known = self.active().get(name).cloned();
        if let Some(known) = known.filter(|known| *known.address() == address) {
            return Ok(known);
        }
        let legacy = |source: PluginFailure| PluginFailure::Legacy {
            source: Box::new(source),
        };
        let limits = driver::Limits {
            long: self.settings.long,
            short: self.settings.short,
            brief: self.brief(),
            patience: self.settings.patience,
        };
        let times = match self.silent().contains(name) {
            true => (limit.min(limits.brief), Duration::ZERO),
            false => (limit, patience),
        };
        let answer = Driver::activate(name, address, limits, times);
        if answer.as_ref().is_err_and(PluginFailure::is_late) {
            self.silent().insert(name.to_owned());
        } else {
            self.silent().remove(name);
        }
        let driver = answer.map_err(|source| lookup(legacy(source)))?;
        let driver = Arc::new(driver);
        self.active().insert(name.to_owned(), Arc::clone(&driver));
        Ok(driver)
    }

    /// Asks every plugin of the host something, at the same time; those that cannot be asked are
    /// among the answers.
    pub(crate) fn ask_all<T: Send>(
        &self,
        question: impl Fn(&Driver, Duration) -> Result<T, PluginFailure> + Sync,
    ) -> Vec<(String, Result<T, PluginFailure>)> {
        let names = discovery::scan(&self.settings.dirs);
        let probe = self.settings.probe;
        let ask = |name: &String| {
            let driver = self.activated(name, probe, Duration::ZERO)?;
            question(&driver, probe)
        };
        let mut answers = Vec::new();
        for some in names.chunks(AT_ONCE) {
            std::thread::scope(|scope| {
                let asked: Vec<_> = some
                    .iter()
                    .map(|name| (name, scope.spawn(|| ask(name))))
                    .collect();
                for (name, asked) in asked {
                    // A panic there is a defect here: it is not hidden.
                    let answer = asked
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    answers.push((name.clone(), answer));
                }
            });
        }
        answers.retain(|(_, answer)| !matches!(answer, Err(error) if error.is_of_other_kind()));
        answers
    }

    /// Tells whether a host has any plugin.
    pub(crate) fn any(&self) -> bool {
        !discovery::scan(&self.settings.dirs).is_empty()
    }
}
