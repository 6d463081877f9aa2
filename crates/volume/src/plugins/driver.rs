//! What is said to a volume plugin and how its answers are read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use plugin::{Kind, Plugin, PluginFailure, nothing, shortened};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spec::Timestamp;

/// Volumes of one plugin that are listed.
const MAX_VOLUMES: usize = 100_000;

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

/// A volume plugin.
#[derive(Debug)]
pub(crate) struct Driver {
    plugin: Plugin,
    scope: OnceLock<Scope>,
}

impl From<Plugin> for Driver {
    fn from(plugin: Plugin) -> Self {
        Self {
            plugin,
            scope: OnceLock::new(),
        }
    }
}

impl Kind for Driver {
    const IMPLEMENTS: &'static str = "VolumeDriver";
    const CALLED: &'static str = "volume";

    fn plugin(&self) -> &Plugin {
        &self.plugin
    }
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

/// Everything that any method answers: plugins leave out what they do not mean.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Reply {
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
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.plugin.name()
    }

    fn call(
        &self,
        verb: &str,
        request: &impl Serialize,
        limit: Duration,
    ) -> Result<Reply, PluginFailure> {
        let method = format!("{}.{verb}", Self::IMPLEMENTS);
        self.plugin.call(&method, request, limit)
    }

    fn of_volume(&self, verb: &str, name: &str, id: Option<&str>) -> Result<Reply, PluginFailure> {
        self.call(verb, &Request { name, id }, self.plugin.limits().long)
    }

    /// Makes a volume.
    pub(crate) fn create(
        &self,
        name: &str,
        opts: Option<&BTreeMap<String, String>>,
    ) -> Result<(), PluginFailure> {
        let request = CreateRequest { name, opts };
        self.call("Create", &request, self.plugin.limits().long)
            .map(drop)
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
        let reply = self.call("Path", &request, self.plugin.limits().short)?;
        Ok(reply.mountpoint.into())
    }

    /// One volume; `None` where the plugin says that it has none of the name.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Told>, PluginFailure> {
        self.get_within(name, self.plugin.limits().short)
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
        let limit = limit.unwrap_or(self.plugin.limits().short);
        match self.call("Capabilities", &Nothing {}, limit) {
            Ok(reply) => {
                let scope = match reply.capabilities.scope.to_ascii_lowercase().as_str() {
                    "global" => Scope::Global,
                    "" | "local" => Scope::Local,
                    other => {
                        tracing::warn!(
                            plugin = self.name(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_plugins_write_them() {
        let read = |text: &str| plugin::read::<Reply>("m", text.as_bytes());
        let reply = read(r#"{"Err":"","Mountpoint":null,"Volumes":null,"Extra":1}"#).unwrap();
        assert!(reply.mountpoint.is_empty() && reply.volumes.is_empty());
        let reply = read(
            r#"{"Volume":{"Name":"a","CreatedAt":"2020-01-01T00:00:00Z","Status":{"x":[1]}}}"#,
        )
        .unwrap();
        let told = reply.volume.unwrap().told();
        assert_eq!(told.created.unwrap().unix_seconds(), 1_577_836_800);
        assert_eq!(told.status.unwrap()["x"][0], 1);
        for bad in ["", "nope", r#"{"Mountpoint":1}"#, r#"{"Volumes":[1]}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
