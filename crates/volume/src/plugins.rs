//! Volume plugins: which there are, and what is said to them; the way there is the crate `plugin`.

mod driver;

use std::sync::Arc;
use std::time::Duration;

use plugin::{PluginFailure, PluginSettings};

pub(crate) use driver::{Driver, Scope, Told};

/// The volume plugins of a host.
#[derive(Debug)]
pub(crate) struct Plugins {
    all: plugin::Plugins<Driver>,
}

impl Plugins {
    pub(crate) fn new(settings: PluginSettings) -> Self {
        Self {
            all: plugin::Plugins::new(settings),
        }
    }

    /// Finds out early whether a plugin answers at all.
    pub(crate) fn wake(&self, name: &str) {
        let probe = self.all.settings().probe;
        let found = self.all.get_within(name, probe, Duration::ZERO);
        let asked = found.map(|driver| driver.scope(Some(probe)));
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
        self.all.get(name)
    }

    /// Asks every plugin of the host something, at the same time; those that cannot be asked are
    /// among the answers.
    pub(crate) fn ask_all<T: Send>(
        &self,
        question: impl Fn(&Driver, Duration) -> Result<T, PluginFailure> + Sync,
    ) -> Vec<(String, Result<T, PluginFailure>)> {
        self.all.ask_all(question)
    }

    /// Tells whether a host has any plugin.
    pub(crate) fn any(&self) -> bool {
        self.all.any()
    }
}
