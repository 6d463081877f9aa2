//! The operators' log: to standard error, as text or JSON, with a level that can change.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Full, Json, JsonFields};
use tracing_subscriber::fmt::Formatter;
use tracing_subscriber::reload::Handle;

use crate::settings::LogFormat;

type TextHandle = Handle<LevelFilter, Formatter<DefaultFields, Format<Full>, fn() -> std::io::Stderr>>;
type JsonHandle = Handle<LevelFilter, Formatter<JsonFields, Format<Json>, fn() -> std::io::Stderr>>;

/// Changes the level of the log.
#[derive(Debug, Clone)]
pub enum Level {
    /// Of a log in text.
    Text(TextHandle),
    /// Of a log in JSON.
    Json(JsonHandle),
}

impl Level {
    /// Logs from this level on.
    pub fn set(&self, level: LevelFilter) {
        let result = match self {
            Self::Text(handle) => handle.reload(level),
            Self::Json(handle) => handle.reload(level),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "cannot change the log level");
        }
    }
}

/// Starts the log of this process; once.
pub fn start(level: LevelFilter, format: LogFormat) -> Level {
    let writer: fn() -> std::io::Stderr = std::io::stderr;
    let builder = tracing_subscriber::fmt().with_max_level(level).with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => {
            let builder = builder.with_writer(writer).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Level::Text(handle)
        }
        LogFormat::Json => {
            let builder = builder.with_writer(writer).json().with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Level::Json(handle)
        }
    }
}
