//! A container on disk: `<data-root>/containers/<id>/record.json`, version 1.
//!
//! Replaced whole by rename. Synced at creation, and when somebody asks for a change, unless the
//! container is removed at its end; what a run changes is not, for after a power cut nothing runs
//! that it could tell of.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use spec::{ContainerId, ContainerName, ImageId, Timestamp};
use sys::fs::Durability;

use super::networking::links::Link;
use super::networking::{self, Attachments};
use crate::container::{Config, HostConfig, LastRun};
use crate::mounts::{self, Point};
use crate::{Error, Result};

/// Name of the file.
pub(super) const FILE: &str = "record.json";
/// Format written.
const VERSION: u32 = 1;

/// Everything that must survive the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// Identity.
    pub(super) id: ContainerId,
    /// Name.
    pub(super) name: ContainerName,
    /// When it was created.
    pub(super) created: Timestamp,
    /// Its image.
    pub(super) image: ImageId,
    /// Merged settings.
    pub(super) config: Arc<Config>,
    /// The host's part.
    pub(super) host: Arc<HostConfig>,
    /// What it sees beside its own layer; absent in records of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mounts: Option<Arc<Vec<Point>>>,
    /// Its place in each network, by name; absent in records of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    networks: Option<Arc<Attachments>>,
    /// Other containers that it calls by names of its own, on the default network.
    #[serde(default, skip_serializing_if = "no_links")]
    pub(super) links: Arc<Vec<Link>>,
    /// Its latest run.
    pub(super) last: LastRun,
    /// It had been started and had not ended when this was written.
    pub(super) running: bool,
    /// The user stopped it.
    pub(super) stopped_by_user: bool,
    /// Restarts by its policy.
    pub(super) restart_count: u32,
}

fn no_links(links: &Arc<Vec<Link>>) -> bool {
    links.is_empty()
}

/// What a container has beside its settings.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    /// What it sees beside its own layer.
    pub(super) points: Vec<Point>,
    /// Its networks.
    pub(super) networks: Attachments,
    /// Its links.
    pub(super) links: Vec<Link>,
}

impl Record {
    /// A new container that never ran.
    pub(super) fn new(
        id: ContainerId,
        name: ContainerName,
        created: Timestamp,
        image: ImageId,
        settings: (Config, HostConfig),
        belongings: Belongings,
    ) -> Self {
        Self {
            version: VERSION,
            id,
            name,
            created,
            image,
            config: Arc::new(settings.0),
            host: Arc::new(settings.1),
            mounts: Some(Arc::new(belongings.points)),
            networks: Some(Arc::new(belongings.networks)),
            links: Arc::new(belongings.links),
            last: LastRun::default(),
            running: false,
            stopped_by_user: false,
            restart_count: 0,
        }
    }

    /// What it sees beside its own layer.
    pub(super) fn points(&self) -> &Arc<Vec<Point>> {
        static NONE: LazyLock<Arc<Vec<Point>>> = LazyLock::new(Arc::default);
        self.mounts.as_ref().unwrap_or(&NONE)
    }

    /// Its place in each network, by name.
    pub(super) fn networks(&self) -> &Arc<Attachments> {
        static NONE: LazyLock<Arc<Attachments>> = LazyLock::new(Arc::default);
        self.networks.as_ref().unwrap_or(&NONE)
    }

    /// The same, to be changed.
    pub(super) fn networks_mut(&mut self) -> &mut Attachments {
        Arc::make_mut(self.networks.get_or_insert_default())
    }

    /// Writes it into the container's directory.
    pub(super) fn save(&self, dir: &Path, durability: Durability) -> Result<()> {
        let path = dir.join(FILE);
        let what = || format!("failed to write `{}`", path.display());
        let bytes = serde_json::to_vec(self).map_err(|source| Error::Decode {
            what: what(),
            source,
        })?;
        sys::fs::replace(&path, &bytes, 0o600, durability).map_err(|source| Error::System {
            what: what(),
            source,
        })
    }

    /// Reads it; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Unreadable, malformed, or of a later version.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let what = format!("failed to read `{}`", path.display());
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(what, e)),
        };
        let mut record: Self = serde_json::from_slice(&bytes).map_err(|source| Error::Decode {
            what: what.clone(),
            source,
        })?;
        if record.version > VERSION {
            let version = record.version;
            return Err(Error::unsupported(format!(
                "{what}: it is of version {version}"
            )));
        }
        if record.mounts.is_none() {
            // Written before there were volumes: binds and file systems in memory are all it has.
            let volumes = std::collections::BTreeSet::new();
            let wanted = mounts::plan(mounts::Sources {
                host: &record.host,
                volumes: &volumes,
                from: Vec::new(),
            })?;
            let points = wanted.into_iter().map(|wanted| wanted.point).collect();
            record.mounts = Some(Arc::new(points));
        }
        if record.networks.is_none() {
            let networks = networking::of_old_record(&record.config, &record.host);
            record.networks = Some(Arc::new(networks));
        }
        Ok(Some(record))
    }
}

/// A container for tests.
#[cfg(test)]
pub(crate) fn sample() -> crate::container::Container {
    use crate::container::{Container, Files, State};
    Container {
        id: ContainerId::from_bytes([0xab; 32]),
        name: "web".parse().unwrap(),
        created: Timestamp::from_unix(1_700_000_000, 0),
        image: ImageId::new(spec::Digest::of(b"image")),
        path: "sh".to_owned(),
        args: Vec::new(),
        config: Arc::new(Config {
            image: "busybox".to_owned(),
            ..Config::default()
        }),
        host: Arc::default(),
        state: State::Created,
        last: LastRun::default(),
        restart_count: 0,
        driver: "overlay2",
        platform: "linux",
        files: Files {
            hostname: "/d/hostname".into(),
            hosts: "/d/hosts".into(),
            resolv_conf: "/d/resolv.conf".into(),
            log: None,
        },
        mounts: Arc::default(),
        points: Arc::default(),
        links: Arc::default(),
        networking: Arc::default(),
        execs: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_saved_and_refuses_the_future() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Record::load(dir.path()).unwrap().is_none());
        let sample = sample();
        let mut record = Record::new(
            sample.id,
            sample.name,
            sample.created,
            sample.image,
            ((*sample.config).clone(), HostConfig::default()),
            Belongings {
                points: vec![Point::new(mounts::Kind::Tmpfs, "/t")],
                ..Belongings::default()
            },
        );
        record
            .networks_mut()
            .insert("mine".to_owned(), Default::default());
        record.last.exit_code = 3;
        record.save(dir.path(), Durability::Unsynced).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap().unwrap(), record);
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
        old.as_object_mut().unwrap().remove("mounts");
        old.as_object_mut().unwrap().remove("networks");
        old["host"]["binds"] = serde_json::json!(["/srv:/data:ro"]);
        std::fs::write(dir.path().join(FILE), old.to_string()).unwrap();
        let old = Record::load(dir.path()).unwrap().unwrap();
        assert_eq!(
            (old.points().len(), old.points()[0].source.as_str()),
            (1, "/srv")
        );
        assert!(old.networks().contains_key("bridge"));
        record.version = VERSION + 1;
        record.save(dir.path(), Durability::Unsynced).unwrap();
        assert!(Record::load(dir.path()).is_err());
        std::fs::write(dir.path().join(FILE), b"{").unwrap();
        assert!(Record::load(dir.path()).is_err());
    }
    /// As it was written before containers had networks of their own.
    const OLD: &str = include_str!("../../testdata/record/before-networks.json");

    #[test]
    fn records_of_earlier_builds_get_their_network_and_new_ones_say_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        std::fs::write(&path, OLD).unwrap();
        let mut record = Record::load(dir.path()).unwrap().unwrap();
        let attachment = &record.networks()["bridge"];
        assert_eq!(attachment.settings.mac, "02:42:ac:11:00:63");
        assert!(attachment.network_id.is_empty() && record.links.is_empty());
        let mut attachment = networking::Attachment {
            network_id: "ab".repeat(32),
            ..Default::default()
        };
        attachment.settings.aliases = Some(vec!["a".to_owned()]);
        attachment.settings.ipam = Some(crate::container::EndpointIpam {
            ipv4: "10.1.0.9".to_owned(),
            ..Default::default()
        });
        record.networks_mut().insert("mine".to_owned(), attachment);
        let link = Link {
            target: record.id,
            alias: "db".to_owned(),
        };
        record.links = Arc::new(vec![link]);
        record.save(dir.path(), Durability::Unsynced).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value["networks"].to_string(),
            format!(
                r#"{{"bridge":{{"settings":{{"mac":"02:42:ac:11:00:63"}}}},"mine":{{"network_id":"{}","settings":{{"ipam":{{"ipv4":"10.1.0.9","ipv6":"","link_local":[]}},"aliases":["a"]}}}}}}"#,
                "ab".repeat(32)
            )
        );
        assert_eq!(value["links"][0]["alias"], "db");
        // What earlier builds wrote is still there, unchanged.
        let old: serde_json::Value = serde_json::from_str(OLD).unwrap();
        for (key, was) in old.as_object().unwrap() {
            assert_eq!(&value[key], was, "{key}");
        }
        assert_eq!(Record::load(dir.path()).unwrap().unwrap(), record);
    }
}
