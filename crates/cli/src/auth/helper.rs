//! Credential helpers: programs `docker-credential-NAME` that are asked over stdin and stdout.
//!
//! ```text
//! get    <- server URL                       -> {"ServerURL","Username","Secret"}
//! store  <- {"ServerURL","Username","Secret"}
//! erase  <- server URL
//! ```
//!
//! A helper that ends with a status other than 0 has said why on stdout. Secrets go through pipes
//! alone, never through arguments or variables.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use serde_json::{Value, json};

/// What every helper's name begins with.
pub(super) const PREFIX: &str = "docker-credential-";

/// The most that is read of an answer: far above any token.
const MAX_ANSWER: u64 = 1 << 20;

const NOT_FOUND: &str = "credentials not found in native keychain";
const COMPLAINTS: [&str; 2] = ["no credentials server URL", "no credentials username"];

/// What a helper knows of a server.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Secret {
    /// The user, or the mark of a token.
    pub(super) username: String,
    /// Their password or token.
    pub(super) secret: String,
}

/// Asks for a server's credentials; `None` when there are none.
pub(super) fn get(helper: &str, server: &str) -> Result<Option<Secret>, String> {
    let answer = match run(helper, "get", server.as_bytes()) {
        Ok(answer) => answer,
        Err(failed) if failed.said == NOT_FOUND => return Ok(None),
        Err(failed) => return Err(failed.text("getting")),
    };
    let answer: Value = match serde_json::from_slice(&answer) {
        Ok(answer) => answer,
        Err(_) if answer.is_empty() => return Err("EOF".to_owned()),
        Err(error) => return Err(crate::config::complaint(&answer, &error)),
    };
    let field = |name: &str| {
        let fields = answer.as_object().into_iter().flatten();
        let mut same = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.next_back()
            .and_then(|(_, value)| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    Ok(Some(Secret {
        username: field("Username"),
        secret: field("Secret"),
    }))
}

/// Gives credentials to a helper.
pub(super) fn store(
    helper: &str,
    server: &str,
    username: &str,
    secret: &str,
) -> Result<(), String> {
    let all = json!({"ServerURL": server, "Username": username, "Secret": secret});
    run(helper, "store", &api::gojson::encode_line(&all))
        .map(drop)
        .map_err(|failed| failed.text("storing"))
}

/// Lets a helper forget a server.
pub(super) fn erase(helper: &str, server: &str) -> Result<(), String> {
    run(helper, "erase", server.as_bytes())
        .map(drop)
        .map_err(|failed| failed.text("erasing"))
}

struct Failed {
    why: String,
    said: String,
}

impl Failed {
    fn text(&self, doing: &str) -> String {
        let why = match COMPLAINTS.contains(&self.said.as_str()) {
            true => &self.said,
            false => &self.why,
        };
        format!(
            "error {doing} credentials - err: {why}, out: `{}`",
            self.said
        )
    }
}

fn run(helper: &str, action: &str, input: &[u8]) -> Result<Vec<u8>, Failed> {
    let program = format!("{PREFIX}{helper}");
    let failed = |error: &io::Error| Failed {
        why: match error.kind() {
            io::ErrorKind::NotFound => {
                format!("exec: {program:?}: executable file not found in $PATH")
            }
            _ => format!("exec: {program:?}: {}", crate::config::go_text(error)),
        },
        said: String::new(),
    };
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    // Requests and answers are smaller than a pipe, so neither side waits for the other. A helper
    // may end without reading.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    let read = match child.stdout.take() {
        Some(stdout) => stdout.take(MAX_ANSWER).read_to_end(&mut answer),
        None => Ok(0),
    };
    let status = child.wait().map_err(|error| failed(&error))?;
    read.map_err(|error| failed(&error))?;
    if status.success() {
        return Ok(answer);
    }
    Err(Failed {
        why: ended(status),
        said: String::from_utf8_lossy(&answer).trim().to_owned(),
    })
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal: {}", signal.unwrap_or_default()),
    }
}
