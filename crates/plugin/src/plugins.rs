//! The plugins of a host that are of one kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::{Limits, Plugin};
use crate::{PluginFailure, discovery};

/// Plugins that are asked at once.
const AT_ONCE: usize = 32;

/// Where plugins are looked for, and how long they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSettings {
    /// Directories with sockets and spec files, in order; none means that there are no plugins.
    pub dirs: Vec<PathBuf>,
    /// Time for what may have work to do: making, removing, mounting, joining.
    pub long: Duration,
    /// Time for questions about one object, and for activation.
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

/// What is said to plugins of one kind.
pub trait Kind: From<Plugin> + Send + Sync {
    /// What a plugin must say it implements.
    const IMPLEMENTS: &'static str;
    /// How errors call it: `volume`.
    const CALLED: &'static str;
    /// The plugin spoken to.
    fn plugin(&self) -> &Plugin;
}

/// The plugins of a host that are of one kind.
#[derive(Debug)]
pub struct Plugins<K> {
    settings: PluginSettings,
    /// Those that answered, by name; asked again when their address changes.
    active: Mutex<BTreeMap<String, Arc<K>>>,
    /// Those that did not say in time what they are.
    silent: Mutex<BTreeSet<String>>,
}

impl<K: Kind> Plugins<K> {
    /// None is asked yet.
    pub fn new(settings: PluginSettings) -> Self {
        Self {
            settings,
            active: Mutex::default(),
            silent: Mutex::default(),
        }
    }

    /// Where they are looked for, and how long they may take.
    pub fn settings(&self) -> &PluginSettings {
        &self.settings
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<String, Arc<K>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silent(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time for plugins that took all they had before: one that hangs must not hold up a daemon's
    /// start once for each of its objects.
    fn brief(&self) -> Duration {
        self.settings.probe / 5
    }

    /// The plugin of a name; activated the first time.
    pub fn get(&self, name: &str) -> Result<Arc<K>, PluginFailure> {
        self.get_within(name, self.settings.short, self.settings.patience)
    }

    /// Like [`get`](Self::get), with a time for its answer and for nobody listening.
    pub fn get_within(
        &self,
        name: &str,
        limit: Duration,
        patience: Duration,
    ) -> Result<Arc<K>, PluginFailure> {
        let lookup = |source: PluginFailure| PluginFailure::Lookup {
            kind: K::CALLED,
            plugin: name.to_owned(),
            source: Box::new(source),
        };
        let address = discovery::find(&self.settings.dirs, name).map_err(lookup)?;
        let known = self.active().get(name).cloned();
        if let Some(known) = known.filter(|known| *known.plugin().address() == address) {
            return Ok(known);
        }
        let legacy = |source: PluginFailure| PluginFailure::Legacy {
            source: Box::new(source),
        };
        let limits = Limits {
            long: self.settings.long,
            short: self.settings.short,
            brief: self.brief(),
            patience: self.settings.patience,
        };
        let times = match self.silent().contains(name) {
            true => (limit.min(limits.brief), Duration::ZERO),
            false => (limit, patience),
        };
        let answer = Plugin::activate(name, K::IMPLEMENTS, address, limits, times);
        if answer.as_ref().is_err_and(PluginFailure::is_late) {
            self.silent().insert(name.to_owned());
        } else {
            self.silent().remove(name);
        }
        let plugin = answer.map_err(|source| lookup(legacy(source)))?;
        let plugin = Arc::new(K::from(plugin));
        self.active().insert(name.to_owned(), Arc::clone(&plugin));
        Ok(plugin)
    }

    /// Asks every plugin of the host something, at the same time; those that cannot be asked are
    /// among the answers.
    pub fn ask_all<T: Send>(
        &self,
        question: impl Fn(&K, Duration) -> Result<T, PluginFailure> + Sync,
    ) -> Vec<(String, Result<T, PluginFailure>)> {
        let names = discovery::scan(&self.settings.dirs);
        let probe = self.settings.probe;
        let ask = |name: &String| {
            let plugin = self.get_within(name, probe, Duration::ZERO)?;
            question(&plugin, probe)
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

    /// Tells whether a host has any plugin, of whatever kind.
    pub fn any(&self) -> bool {
        !discovery::scan(&self.settings.dirs).is_empty()
    }
}
