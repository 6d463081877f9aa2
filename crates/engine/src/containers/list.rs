//! Lists of containers: Docker's filters and the words of the status column.

use std::collections::BTreeSet;
use std::sync::Arc;

use network::Protocol;
use spec::{ErrorKind, Reference, Timestamp};

use super::networking::{links, ports};
use super::request::{ListOptions, Listed, Sizes};
use super::shared::Shared;
use crate::container::{Container, PortBinding, State};
use crate::filters::Filters;
use crate::{Error, Result, clock};

/// Filters that Docker knows for lists.
const KNOWN: [&str; 16] = [
    "ancestor",
    "annotation",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// Lists containers that match, newest first.
pub(super) async fn list(shared: &Arc<Shared>, options: ListOptions) -> Result<Vec<Listed>> {
    let filters = &options.filters;
    let wanted = Wanted::new(shared, filters)?;
    let mut all: Vec<Arc<Container>> = shared.all().iter().map(|h| h.container()).collect();
    all.sort_by(|a, b| b.created.cmp(&a.created).then(a.id.cmp(&b.id)));
    // These filters are about containers that do not run: Docker lists them without `all`.
    let all_states = options.all
        || options.limit.is_some()
        || ["status", "exited", "before", "since", "health"]
            .iter()
            .any(|k| filters.get(k).is_some());
    let limit = options.limit.filter(|n| *n > 0).unwrap_or(usize::MAX);
    let chosen: Vec<Arc<Container>> = all
        .into_iter()
        .filter(|c| all_states || c.state.running().is_some() || c.state == State::Restarting)
        .filter(|c| wanted.matches(shared, c))
        .take(limit)
        .collect();
    let mut list = Vec::with_capacity(chosen.len());
    for container in chosen {
        let (size_rw, size_root_fs) = match options.sizes {
            Sizes::Skip => (None, None),
            Sizes::Compute => sizes(shared, &container).await?,
        };
        list.push(Listed {
            image_name: image_name(shared, &container),
            status: status(&container, clock::now()),
            links: links::names_of(shared, container.id),
            size_rw,
            size_root_fs,
            container,
        });
    }
    Ok(list)
}

/// Bytes of the writable layer, and of it with the image.
pub(super) async fn sizes(
    shared: &Arc<Shared>,
    container: &Container,
) -> Result<(Option<u64>, Option<u64>)> {
    let (id, image) = (container.id, container.image);
    let job = {
        let shared = Arc::clone(shared);
        move || {
            let written = match shared.store.usage(&id.to_string()) {
                Ok(bytes) => bytes,
                // Removed in between.
                Err(error) if spec::Classify::kind(&error) == ErrorKind::NotFound => 0,
                Err(error) => return Err(Error::from(error)),
            };
            let below = shared.store.image(image).map_or(0, |image| image.size);
            Ok((Some(written), Some(written + below)))
        }
    };
    shared.blocking.heavy(job).await
}

/// The image as the user named it, or its id when that name means another image by now.
fn image_name(shared: &Shared, container: &Container) -> String {
    let named = &container.config.image;
    let same = match named.parse::<Reference>() {
        Ok(reference) => shared.store.image_of(&reference.or_latest()) == Some(container.image),
        Err(_) => false,
    };
    let by_id = container.image.to_string().contains(named.as_str());
    if same || by_id {
        named.clone()
    } else {
        container.image.to_string()
    }
}

/// Filters, resolved once.
struct Wanted<'a> {
    filters: &'a Filters,
    exited: Option<BTreeSet<i32>>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    ancestors: Option<BTreeSet<spec::ImageId>>,
    is_task: Option<bool>,
    ports: WantedPorts,
}

impl<'a> Wanted<'a> {
    fn new(shared: &Shared, filters: &'a Filters) -> Result<Self> {
        filters.only(&KNOWN)?;
        let check = |key: &str, noun: &str, good: &[&str]| {
            let mut bad = filters.get(key).into_iter().flatten();
            match bad.find(|v| !good.contains(&v.as_str())) {
                None => Ok(()),
                Some(value) => Err(Error::invalid(format!(
                    "invalid filter '{key}={value}': invalid value for {noun} ({value}): must be one of {}",
                    good.join(", ")
                ))),
            }
        };
        check(
            "status",
            "state",
            &[
                "created",
                "running",
                "paused",
                "restarting",
                "removing",
                "exited",
                "dead",
            ],
        )?;
        check(
            "health",
            "health",
            &["none", "starting", "healthy", "unhealthy"],
        )?;
        let exited = match filters.get("exited") {
            None => None,
            Some(values) => {
                let code = |value: &String| {
                    value.parse().map_err(|_| {
                        Error::invalid(format!(
                            "invalid filter 'exited={value}': strconv.Atoi: parsing {value:?}: invalid syntax"
                        ))
                    })
                };
                Some(values.iter().map(code).collect::<Result<BTreeSet<i32>>>()?)
            }
        };
        let moment = |key: &str, pick: fn(Timestamp, Timestamp) -> Timestamp| {
            let mut found: Option<Timestamp> = None;
            for value in filters.get(key).into_iter().flatten() {
                let created = shared.table().find(value)?.container().created;
                found = Some(found.map_or(created, |have| pick(have, created)));
            }
            Ok::<_, Error>(found)
        };
        Ok(Self {
            exited,
            before: moment("before", std::cmp::min)?,
            since: moment("since", std::cmp::max)?,
            ancestors: filters
                .get("ancestor")
                .map(|names| ancestors(shared, names)),
            is_task: filters.boolean("is-task")?,
            ports: WantedPorts::read(filters)?,
            filters,
        })
    }

    fn matches(&self, shared: &Shared, c: &Container) -> bool {
        let filters = self.filters;
        let id = c.id.to_string();
        let ended = matches!(c.state, State::Exited | State::Dead);
        filters.allows_if("id", |w| id.starts_with(w))
            && (name_matches(c, filters) || linked_as(shared, c, filters))
            && filters.allows("status", c.state.status())
            // Health checks are not run yet: there is no health.
            && filters.allows("health", "none")
            && self.exited.as_ref().is_none_or(|codes| ended && codes.contains(&c.last.exit_code))
            && self.before.is_none_or(|t| c.created < t)
            && self.since.is_none_or(|t| c.created > t)
            && self.is_task != Some(true)
            && filters.allows_labels("label", &c.config.labels)
            && filters.allows_labels("annotation", &c.host.annotations)
            && self.ancestors.as_ref().is_none_or(|ids| descends(shared, c, ids))
            && filters.allows_if("network", |w| in_network(c, w))
            && filters.allows_if("volume", |w| {
                c.mounts.iter().any(|m| m.destination == w || m.source == w || m.name.as_deref() == Some(w))
            })
            && self.ports.fit(c)
    }
}

/// Docker shows names without the slash that it keeps before them; both forms are meant.
fn name_matches(c: &Container, filters: &Filters) -> bool {
    let plain = c.name.as_str();
    filters.matches("name", plain) || filters.matches("name", &format!("/{plain}"))
}

fn in_network(c: &Container, wanted: &str) -> bool {
    c.networking
        .endpoints
        .iter()
        .any(|(name, e)| name == wanted || (!wanted.is_empty() && e.network_id.starts_with(wanted)))
}

fn linked_as(shared: &Shared, c: &Container, filters: &Filters) -> bool {
    let names = links::names_of(shared, c.id);
    names.iter().any(|name| filters.matches("name", name))
}

/// Ports of the filters `publish` (of the host) and `expose` (of the container).
#[derive(Debug, Default)]
struct WantedPorts {
    host: BTreeSet<(u16, Protocol)>,
    container: BTreeSet<(u16, Protocol)>,
}

impl WantedPorts {
    fn read(filters: &Filters) -> Result<Self> {
        let all = |key: &str| {
            let mut ports = BTreeSet::new();
            for value in filters.get(key).into_iter().flatten() {
                if value.contains(':') {
                    return Err(Error::internal(format!(
                        "filter for '{key}' should not contain ':': {value}"
                    )));
                }
                let ((first, last), protocol) = ports::parse(value).ok_or_else(|| {
                    Error::internal(format!("error while looking up for {key} {value}"))
                })?;
                ports.extend((first..=last).map(|port| (port, protocol)));
            }
            Ok(ports)
        };
        Ok(Self {
            host: all("publish")?,
            container: all("expose")?,
        })
    }

    /// As in Docker, one that fits either filter is enough, and only while the container runs.
    fn fit(&self, c: &Container) -> bool {
        if self.host.is_empty() && self.container.is_empty() {
            return true;
        }
        c.networking.ports.iter().any(|(key, bindings)| {
            let Some(((port, _), protocol)) = ports::parse(key) else {
                return false;
            };
            let published = |b: &PortBinding| {
                let port = b.host_port.parse();
                port.is_ok_and(|port| self.host.contains(&(port, protocol)))
            };
            self.container.contains(&(port, protocol)) || bindings.iter().flatten().any(published)
        })
    }
}

fn ancestors(shared: &Shared, names: &BTreeSet<String>) -> BTreeSet<spec::ImageId> {
    names
        .iter()
        .filter_map(|name| shared.store.find(name).ok())
        .map(|image| image.id)
        .collect()
}

/// Whether a container's image is one of these or was made on top of one.
fn descends(shared: &Shared, c: &Container, ids: &BTreeSet<spec::ImageId>) -> bool {
    if ids.contains(&c.image) {
        return true;
    }
    let layers = |id: spec::ImageId| {
        shared
            .store
            .image(id)
            .map(|i| i.config.rootfs.diff_ids.clone())
    };
    let Some(own) = layers(c.image) else {
        return false;
    };
    ids.iter()
        .filter_map(|id| layers(*id))
        .any(|base| !base.is_empty() && own.starts_with(&base))
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago`, as Docker's list words it.
pub(super) fn status(container: &Container, now: Timestamp) -> String {
    let ago = |since: Option<Timestamp>| {
        let since = since.unwrap_or(now);
        let seconds = now.unix_seconds().saturating_sub(since.unix_seconds());
        human(u64::try_from(seconds).unwrap_or(0))
    };
    let last = &container.last;
    match &container.state {
        State::Created => "Created".to_owned(),
        State::Running(_) => format!("Up {}", ago(last.started_at)),
        State::Paused(_) => format!("Up {} (Paused)", ago(last.started_at)),
        State::Restarting => {
            format!(
                "Restarting ({}) {} ago",
                last.exit_code,
                ago(last.finished_at)
            )
        }
        State::Removing => "Removal In Progress".to_owned(),
        State::Dead => "Dead".to_owned(),
        State::Exited => format!("Exited ({}) {} ago", last.exit_code, ago(last.finished_at)),
    }
}

/// A length of time in words, rounded as Docker's `HumanDuration` does.
fn human(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{LastRun, Running};
    use crate::containers::record::sample;

    #[test]
    fn statuses_read_as_dockers() {
        let now = Timestamp::from_unix(1_700_000_000, 0);
        let before = |s: i64| Some(Timestamp::from_unix(1_700_000_000 - s, 0));
        let mut container = sample();
        assert_eq!(status(&container, now), "Created");
        let running = Running {
            pid: 1,
            started_at: now,
        };
        container.last = LastRun {
            started_at: before(200),
            ..LastRun::default()
        };
        container.state = State::Running(running.clone());
        assert_eq!(status(&container, now), "Up 3 minutes");
        container.state = State::Paused(running);
        assert_eq!(status(&container, now), "Up 3 minutes (Paused)");
        container.last = LastRun {
            finished_at: before(7200),
            exit_code: 3,
            ..LastRun::default()
        };
        container.state = State::Exited;
        assert_eq!(status(&container, now), "Exited (3) 2 hours ago");
    }

    #[test]
    fn durations_are_rounded_as_dockers() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (119, "About a minute"),
            (3540, "59 minutes"),
            (3600, "About an hour"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (15 * 86400, "2 weeks"),
            (90 * 86400, "3 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn ports_are_those_of_a_running_container() {
        let mut container = sample();
        let binding = PortBinding {
            host_ip: "0.0.0.0".to_owned(),
            host_port: "8080".to_owned(),
        };
        let ports = [
            ("80/tcp".to_owned(), Some(vec![binding])),
            ("53/udp".to_owned(), None),
        ];
        container.networking = Arc::new(crate::container::Networking {
            ports: ports.into(),
            ..Default::default()
        });
        let fits = |key: &str, value: &str, c: &Container| {
            let mut filters = Filters::new();
            filters.add(key, value);
            WantedPorts::read(&filters).unwrap().fit(c)
        };
        assert!(
            fits("publish", "8080", &container) && fits("publish", "8000-9000/tcp", &container)
        );
        assert!(fits("expose", "53/udp", &container) && fits("expose", "80", &container));
        assert!(!fits("publish", "80", &container) && !fits("expose", "53", &container));
        assert!(!fits("expose", "80", &sample()), "it does not run");
        let mut filters = Filters::new();
        filters.add("expose", "1:2");
        assert!(WantedPorts::read(&filters).is_err());
    }

    #[test]
    fn names_match_with_and_without_slash() {
        let fits = |pattern: &str| {
            let mut filters = Filters::new();
            filters.add("name", pattern);
            name_matches(&sample(), &filters)
        };
        for good in ["we", "web", "/web", "^web$", "^/web$", "^w", "w.b"] {
            assert!(fits(good), "{good}");
        }
        for bad in ["x", "^eb", "we$"] {
            assert!(!fits(bad), "{bad}");
        }
    }
}
