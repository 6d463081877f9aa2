//! The operators' log: to standard error, as text or JSON, with a level that can change.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

use crate::settings::LogFormat;

/// Changes the level of the log.
#[derive(Debug, Clone)]
pub struct Level(Handle<LevelFilter, Registry>);

impl Level {
    /// Logs from this level on.
    pub fn set(&self, level: LevelFilter) {
        if let Err(error) = self.0.reload(level) {
            tracing::warn!(%error, "cannot change the log level");
        }
    }
}

/// Starts the log of this process; once.
pub fn start(level: LevelFilter, format: LogFormat) -> Level {
    let (filter, handle) = reload::Layer::new(level);
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(layer).init(),
        LogFormat::Json => registry.with(layer.json()).init(),
    }
    Level(handle)
}
