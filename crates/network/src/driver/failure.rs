//! What drivers fail with, in Docker's words where Docker has some.

use plugin::PluginFailure;
use spec::error::{Classify, ErrorKind};

/// A driver that could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverFailure {
    /// Options or states that a driver refuses.
    #[error("{text}")]
    Refused {
        /// Why.
        text: String,
    },
    /// Options that nobody but us has.
    #[error("invalid driver option {option}: {what}")]
    Option {
        /// Its name.
        option: String,
        /// What is wrong with its value.
        what: String,
    },
    /// The kernel was built without something.
    #[error("{what}: this kernel has no support for it: it needs {option}")]
    NoKernel {
        /// What was tried.
        what: String,
        /// The options of the kernel's configuration.
        option: &'static str,
    },
    /// A plugin is not there, or could not be understood.
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
    /// A plugin said no.
    #[error("remote: {text}")]
    Remote {
        /// Its words.
        text: String,
    },
    /// A CNI configuration is not there or makes no sense.
    #[error("CNI configuration {place}: {what}")]
    CniConfig {
        /// Its file or its name.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// A CNI program did not do what it was asked for.
    #[error("CNI plugin {program} failed ({command}): {what}")]
    CniProgram {
        /// The program.
        program: String,
        /// `ADD`, `DEL` or `CHECK`.
        command: &'static str,
        /// What it said, or what it did.
        what: String,
    },
}

impl DriverFailure {
    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::Refused { text: text.into() }
    }
}

impl Classify for DriverFailure {
    fn kind(&self) -> ErrorKind {
        match self {
            // Docker calls its own refusals of driver options internal errors.
            Self::Refused { .. } | Self::Remote { .. } | Self::CniProgram { .. } => {
                ErrorKind::Internal
            }
            Self::Option { .. } | Self::CniConfig { .. } => ErrorKind::InvalidArgument,
            Self::NoKernel { .. } => ErrorKind::Unsupported,
            Self::Plugin(failure) => failure.kind(),
        }
    }
}
