//! One plugin: calls within a time, and what the way itself answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::PluginFailure;
use crate::http::{self, Address};

/// Pause before a plugin that nobody listens for is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// Longest text of a plugin that is told on.
const MAX_TEXT: usize = 4096;

/// How long calls may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For what may have work to do.
    pub long: Duration,
    /// For questions.
    pub short: Duration,
    /// For a plugin that took all its time for the call before.
    pub brief: Duration,
    /// How long a plugin that nobody listens for is waited for.
    pub patience: Duration,
}

/// A plugin that has been activated.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    address: Address,
    limits: Limits,
    /// Took the whole time for its last call: the next ones get less, so that one plugin that hangs
    /// does not hold up a daemon's start once for each of its objects.
    hangs: AtomicBool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Manifest {
    #[serde(deserialize_with = "nothing")]
    implements: Vec<String>,
}

/// The field in which every method says that it failed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Refusal {
    #[serde(deserialize_with = "nothing")]
    err: String,
}

/// `null` is the same as nothing in Go; for `deserialize_with`.
pub fn nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Plugin {
    /// Asks a plugin whether it is of a kind, within a time and with patience for one that is not
    /// there yet.
    pub(crate) fn activate(
        name: &str,
        kind: &str,
        address: Address,
        limits: Limits,
        (limit, patience): (Duration, Duration),
    ) -> Result<Self, PluginFailure> {
        let method = "Plugin.Activate";
        let manifest: Manifest = read(method, &exchange(&address, method, b"", limit, patience)?)?;
        if !manifest.implements.iter().any(|said| said == kind) {
            return Err(PluginFailure::OtherKind);
        }
        Ok(Self {
            name: name.to_owned(),
            address,
            limits,
            hangs: AtomicBool::new(false),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How long its calls may take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Calls a method and reads its answer; an answer with `Err` in it is a failure.
    pub fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        request: &impl Serialize,
        limit: Duration,
    ) -> Result<T, PluginFailure> {
        let body = serde_json::to_vec(request).map_err(|error| PluginFailure::Answer {
            method: method.to_owned(),
            what: error.to_string(),
        })?;
        let answer = self.exchange(method, &body, limit)?;
        let refusal: Refusal = read(method, &answer)?;
        if refusal.err.is_empty() {
            read(method, &answer)
        } else {
            let text = shortened(&refusal.err);
            Err(PluginFailure::Said { text })
        }
    }

    /// Calls a method with a body, which may be empty, and returns the body of the answer.
    pub fn exchange(
        &self,
        method: &str,
        body: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, PluginFailure> {
        let limit = match self.hangs.load(Ordering::Relaxed) {
            true => limit.min(self.limits.brief),
            false => limit,
        };
        let patience = self.limits.patience.min(limit);
        let answer = exchange(&self.address, method, body, limit, patience);
        let late = answer.as_ref().is_err_and(PluginFailure::is_late);
        self.hangs.store(late, Ordering::Relaxed);
        answer
    }
}

/// One call; a plugin that nobody listens for is tried again for a while.
fn exchange(
    address: &Address,
    method: &str,
    body: &[u8],
    limit: Duration,
    patience: Duration,
) -> Result<Vec<u8>, PluginFailure> {
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        match http::post(address, method, body, left) {
            Ok(answer) if answer.status == 200 => return Ok(answer.body),
            Ok(answer) => {
                // The field says it; plugins of old just wrote a text.
                let err = serde_json::from_slice::<Refusal>(&answer.body)
                    .map(|refusal| refusal.err)
                    .unwrap_or_default();
                let text = match err.as_str() {
                    "" => String::from_utf8_lossy(&answer.body),
                    err => err.into(),
                };
                return Err(PluginFailure::Status {
                    method: method.to_owned(),
                    text: shortened(text.trim_end()),
                    status: answer.status,
                });
            }
            Err(no) if no.unreached && begun.elapsed() + RETRY < patience => {
                std::thread::sleep(RETRY);
            }
            Err(no) => {
                return Err(PluginFailure::Call {
                    url: format!("http://{}/{method}", address.host()),
                    what: no.what,
                    unreached: no.unreached,
                });
            }
        }
    }
}

/// Reads what a method answered.
pub fn read<T: DeserializeOwned>(method: &str, body: &[u8]) -> Result<T, PluginFailure> {
    serde_json::from_slice(body).map_err(|error| PluginFailure::Answer {
        method: method.to_owned(),
        what: error.to_string(),
    })
}

/// A text of a plugin as it is told on: bounded, in one piece, without controls of terminals.
pub fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.chars().take(MAX_TEXT).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_plugins_are_bounded_and_tame() {
        assert_eq!(shortened("a\x1b[31m\nb"), "a [31m\nb");
        assert_eq!(shortened(&"x".repeat(10_000)).len(), MAX_TEXT);
    }

    #[test]
    fn null_is_nothing_and_other_types_are_refused() {
        let err = |text: &str| read::<Refusal>("m", text.as_bytes()).map(|refusal| refusal.err);
        assert_eq!(err(r#"{"Err":null,"Extra":1}"#).unwrap(), "");
        assert_eq!(err(r#"{"Err":"no"}"#).unwrap(), "no");
        for bad in ["", "nope", r#"{"Err":1}"#] {
            assert!(err(bad).is_err(), "{bad}");
        }
    }
}
