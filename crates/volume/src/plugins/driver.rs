//! What is said to a volume plugin and how its answers are read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use spec::Timestamp;

use super::http::{self, Address};
use super::{KIND, PluginFailure};

/// Pause before a plugin that nobody listens for is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// Longest text of a plugin that is told on.
const MAX_TEXT: usize = 4096;
/// Volumes of one plugin that are listed.
const MAX_VOLUMES: usize = 100_000;

/// How long calls may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) long: Duration,
    pub(super) short: Duration,
    pub(super) brief: Duration,
    pub(super) patience: Duration,
}

/// How far the volumes of a plugin can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Local,
    Global,
}

impl Scope {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
        }
    }
}

/// What a plugin tells of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) mountpoint: PathBuf,
    pub(crate) created: Option<Timestamp>,
    pub(crate) status: Option<BTreeMap<String, Value>>,
}

/// A plugin that has been activated.
#[derive(Debug)]
pub(crate) struct Driver {
    name: String,
    address: Address,
    limits: Limits,
    scope: OnceLock<Scope>,
    /// Took the whole time for its last call: the next ones get less, so that one plugin that hangs
    /// does not hold up a daemon's start once for each of its volumes.
    hangs: AtomicBool,
}

/// `null` is the same as nothing in Go.
fn nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    name: &'a str,
    #[serde(rename = "ID", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreateRequest<'a> {
    name: &'a str,
    opts: Option<&'a BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Manifest {
    #[serde(deserialize_with = "nothing")]
    implements: Vec<String>,
}

/// Everything that any method answers: plugins leave out what they do not mean.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Reply {
    #[serde(deserialize_with = "nothing")]
    err: String,
    #[serde(deserialize_with = "nothing")]
    mountpoint: String,
    volume: Option<RawVolume>,
    #[serde(deserialize_with = "nothing")]
    volumes: Vec<Option<RawVolume>>,
    #[serde(deserialize_with = "nothing")]
    capabilities: Capabilities,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RawVolume {
    #[serde(deserialize_with = "nothing")]
    name: String,
    #[serde(deserialize_with = "nothing")]
    mountpoint: String,
    #[serde(deserialize_with = "nothing")]
    created_at: String,
    status: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Capabilities {
    #[serde(deserialize_with = "nothing")]
    scope: String,
}

impl RawVolume {
    fn told(self) -> Told {
        Told {
            created: self.created_at.parse().ok(),
            name: self.name,
            mountpoint: self.mountpoint.into(),
            status: self.status.filter(|status| !status.is_empty()),
        }
    }
}

impl Driver {
    /// Asks a plugin what it is, within a time and with patience for one that is not there yet.
    pub(super) fn activate(
        name: &str,
        address: Address,
        limits: Limits,
        (limit, patience): (Duration, Duration),
    ) -> Result<Self, PluginFailure> {
        let method = "Plugin.Activate";
        let manifest: Manifest = read(method, &exchange(&address, method, b"", limit, patience)?)?;
        if !manifest.implements.iter().any(|kind| kind == KIND) {
            return Err(PluginFailure::OtherKind);
        }
        Ok(Self {
            name: name.to_owned(),
            address,
            limits,
            scope: OnceLock::new(),
            hangs: AtomicBool::new(false),
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn call(
        &self,
        verb: &str,
        request: &impl Serialize,
        limit: Duration,
    ) -> Result<Reply, PluginFailure> {
        let method = format!("{KIND}.{verb}");
        let body = serde_json::to_vec(request).map_err(|error| PluginFailure::Answer {
            method: method.clone(),
            what: error.to_string(),
        })?;
        let limit = match self.hangs.load(Ordering::Relaxed) {
            true => limit.min(self.limits.brief),
            false => limit,
        };
        let patience = self.limits.patience.min(limit);
        let answer = exchange(&self.address, &method, &body, limit, patience);
        let late = answer.as_ref().is_err_and(PluginFailure::is_late);
        self.hangs.store(late, Ordering::Relaxed);
        let answer = answer?;
        let reply: Reply = read(&method, &answer)?;
        if reply.err.is_empty() {
            Ok(reply)
        } else {
            let text = shortened(&reply.err);
            Err(PluginFailure::Said { text })
        }
    }

    fn of_volume(&self, verb: &str, name: &str, id: Option<&str>) -> Result<Reply, PluginFailure> {
        self.call(verb, &Request { name, id }, self.limits.long)
    }

    /// Makes a volume.
    pub(crate) fn create(
        &self,
        name: &str,
        opts: Option<&BTreeMap<String, String>>,
    ) -> Result<(), PluginFailure> {
        let request = CreateRequest { name, opts };
        self.call("Create", &request, self.limits.long).map(drop)
    }

    /// Removes a volume.
    pub(crate) fn remove(&self, name: &str) -> Result<(), PluginFailure> {
        self.of_volume("Remove", name, None).map(drop)
    }

    /// Mounts a volume for a user; tells where.
    pub(crate) fn mount(&self, name: &str, id: &str) -> Result<PathBuf, PluginFailure> {
        let reply = self.of_volume("Mount", name, Some(id))?;
        Ok(reply.mountpoint.into())
    }

    /// Lets go of a volume that was mounted for a user.
    pub(crate) fn unmount(&self, name: &str, id: &str) -> Result<(), PluginFailure> {
        self.of_volume("Unmount", name, Some(id)).map(drop)
    }

    /// Where a volume is, empty while it is nowhere.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, PluginFailure> {
        let request = Request { name, id: None };
        let reply = self.call("Path", &request, self.limits.short)?;
        Ok(reply.mountpoint.into())
    }

    /// One volume; `None` where the plugin says that it has none of the name.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Told>, PluginFailure> {
        self.get_within(name, self.limits.short)
    }

    /// Like [`Driver::get`], within a time of the caller's.
    pub(crate) fn get_within(
        &self,
        name: &str,
        limit: Duration,
    ) -> Result<Option<Told>, PluginFailure> {
        match self.call("Get", &Request { name, id: None }, limit) {
            // There is no other way to say that there is none: Docker takes every refusal so.
            Err(error) if error.is_said() => Ok(None),
            Err(error) => Err(error),
            Ok(reply) => Ok(reply.volume.map(|volume| Told {
                // A plugin that tells of another volume than it was asked for is not followed.
                name: name.to_owned(),
                ..volume.told()
            })),
        }
    }

    /// All its volumes.
    pub(crate) fn list(&self, limit: Duration) -> Result<Vec<Told>, PluginFailure> {
        #[derive(Serialize)]
        struct Nothing {}
        let reply = self.call("List", &Nothing {}, limit)?;
        let volumes = reply.volumes.into_iter().take(MAX_VOLUMES).flatten();
        Ok(volumes.map(RawVolume::told).collect())
    }

    /// How far its volumes can be seen; asked once, and local where it does not say.
    pub(crate) fn scope(&self, limit: Option<Duration>) -> Scope {
        #[derive(Serialize)]
        struct Nothing {}
        if let Some(known) = self.scope.get() {
            return *known;
        }
        let limit = limit.unwrap_or(self.limits.short);
        match self.call("Capabilities", &Nothing {}, limit) {
            Ok(reply) => {
                let scope = match reply.capabilities.scope.to_ascii_lowercase().as_str() {
                    "global" => Scope::Global,
                    "" | "local" => Scope::Local,
                    other => {
                        tracing::warn!(
                            plugin = self.name,
                            scope = shortened(other),
                            "the scope of a volume plugin is none: taken as local"
                        );
                        Scope::Local
                    }
                };
                *self.scope.get_or_init(|| scope)
            }
            // Old plugins do not know the question, which is an answer; the others are asked again.
            Err(error) if error.is_said() => *self.scope.get_or_init(|| Scope::Local),
            Err(_) => Scope::Local,
        }
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
                let err = serde_json::from_slice::<Reply>(&answer.body)
                    .map(|reply| reply.err)
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

fn read<T: DeserializeOwned>(method: &str, body: &[u8]) -> Result<T, PluginFailure> {
    serde_json::from_slice(body).map_err(|error| PluginFailure::Answer {
        method: method.to_owned(),
        what: error.to_string(),
    })
}

/// A text of a plugin as it is told on: bounded, in one piece, without controls of terminals.
fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.chars().take(MAX_TEXT).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_plugins_write_them() {
        let read = |text: &str| read::<Reply>("m", text.as_bytes());
        let reply = read(r#"{"Err":"","Mountpoint":null,"Volumes":null,"Extra":1}"#).unwrap();
        assert!(reply.err.is_empty() && reply.volumes.is_empty());
        let reply = read(
            r#"{"Volume":{"Name":"a","CreatedAt":"2020-01-01T00:00:00Z","Status":{"x":[1]}}}"#,
        )
        .unwrap();
        let told = reply.volume.unwrap().told();
        assert_eq!(told.created.unwrap().unix_seconds(), 1_577_836_800);
        assert_eq!(told.status.unwrap()["x"][0], 1);
        for bad in ["", "nope", r#"{"Err":1}"#, r#"{"Volumes":[1]}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_of_plugins_are_bounded_and_tame() {
        assert_eq!(shortened("a\x1b[31m\nb"), "a [31m\nb");
        assert_eq!(shortened(&"x".repeat(10_000)).len(), MAX_TEXT);
    }
}
