//! What goes wrong with plugins, in Docker's words.

use spec::{Classify, ErrorKind};

/// A plugin that is not there, or did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginFailure {
    /// It could not be found or activated.
    #[error("error looking up {kind} plugin {plugin}")]
    Lookup {
        /// What is plugged in: `volume`.
        kind: &'static str,
        /// Its name.
        plugin: String,
        /// Why.
        source: Box<PluginFailure>,
    },
    /// What Docker puts before all failures of plugins that it does not manage itself.
    #[error("legacy plugin")]
    Legacy {
        /// What it is.
        source: Box<PluginFailure>,
    },
    /// There is none of this name.
    #[error("plugin \"{plugin}\" not found")]
    NotFound {
        /// The name.
        plugin: String,
    },
    /// Its spec file makes no sense.
    #[error("the spec file `{path}` of the plugin cannot be used: {what}")]
    Spec {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// It is a plugin, but of something else.
    #[error("Plugin does not implement the requested driver")]
    OtherKind,
    /// It could not be reached or did not answer, in the words of Go's client.
    #[error("Post \"{url}\": {what}")]
    Call {
        /// What was asked.
        url: String,
        /// What happened.
        what: String,
        /// Nothing was sent: nobody listens.
        unreached: bool,
    },
    /// It answered with another status than success.
    #[error("{method}: {text}")]
    Status {
        /// What was asked.
        method: String,
        /// What it said.
        text: String,
        /// Its status.
        status: u16,
    },
    /// It answered that it failed.
    #[error("{text}")]
    Said {
        /// Its words.
        text: String,
    },
    /// It answered something that is no answer.
    #[error("{method}: the plugin's answer cannot be used: {what}")]
    Answer {
        /// What was asked.
        method: String,
        /// What is wrong with it.
        what: String,
    },
}

impl PluginFailure {
    /// Tells whether it is a plugin of something else than was asked for.
    pub fn is_of_other_kind(&self) -> bool {
        match self {
            Self::Lookup { source, .. } | Self::Legacy { source } => source.is_of_other_kind(),
            Self::OtherKind => true,
            _ => false,
        }
    }

    /// Tells whether the plugin took all the time it had.
    pub fn is_late(&self) -> bool {
        match self {
            Self::Lookup { source, .. } | Self::Legacy { source } => source.is_late(),
            Self::Call { what, .. } => what == crate::http::LATE,
            _ => false,
        }
    }

    /// What went wrong, without what was looked up: Docker says it so of network plugins.
    #[must_use]
    pub fn into_cause(self) -> Self {
        match self {
            Self::Lookup { source, .. } => *source,
            other => other,
        }
    }

    /// Tells whether the plugin answered that it does not know the method.
    pub fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Status { status: 404, .. })
    }

    /// Tells whether there is no plugin of the name at all.
    pub fn is_absent(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Tells whether the plugin itself said no, rather than being unable to say anything.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::Said { .. } | Self::Status { .. })
    }
}

impl Classify for PluginFailure {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup { source, .. } | Self::Legacy { source } => source.kind(),
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Spec { .. }
            | Self::OtherKind
            | Self::Call { .. }
            | Self::Status { .. }
            | Self::Said { .. }
            | Self::Answer { .. } => ErrorKind::Internal,
        }
    }
}
