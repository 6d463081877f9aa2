//! How a command ends: what is said on stderr, and the exit code.

use std::io;

use api::client::ClientError;

/// The exit code of a problem before the container's own command runs.
pub const ENGINE: i32 = 125;
/// The exit code of a template that cannot be read or filled in.
pub const TEMPLATE: i32 = 64;

/// A command that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What to say; empty for nothing.
    pub message: String,
    /// The exit code.
    pub code: i32,
    /// Whether the daemon said that there is no such thing.
    pub not_found: bool,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_code(message, 1)
    }

    /// A failure with an exit code.
    pub fn with_code(message: impl Into<String>, code: i32) -> Self {
        Self {
            message: message.into(),
            code,
            not_found: false,
        }
    }

    /// An exit code without a word.
    pub fn code(code: i32) -> Self {
        Self::with_code("", code)
    }

    /// `Ok` when there are no errors, else all of them, one a line.
    pub fn join(errors: Vec<String>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        Err(Self::new(errors.join("\n")))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self {
            message: error.to_string(),
            code: 1,
            not_found: error.is_not_found(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever read our output has had enough of it.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::code(0);
        }
        Self::new(error.to_string())
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// What `run` and `create` say about a failure before the container's own command runs.
pub fn with_help(program: &str, message: &str, command: &str) -> String {
    format!("{program}: {message}\n\nRun '{program} {command} --help' for more information")
}

/// The exit code of a start that the daemon refused: 126 and 127 are the shell's.
pub fn start_code(message: &str) -> i32 {
    let any = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if any(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if any(&["permission denied", "is a directory"]) {
        126
    } else {
        ENGINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_codes() {
        assert_eq!(
            start_code("exec: \"x\": executable file not found in $PATH"),
            127
        );
        assert_eq!(start_code("exec: \"/etc\": is a directory"), 126);
        assert_eq!(start_code("exec: \"/x\": permission denied"), 126);
        assert_eq!(start_code("No such image"), 125);
    }

    #[test]
    fn a_broken_pipe_is_success() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure, Failure::code(0));
    }
}
