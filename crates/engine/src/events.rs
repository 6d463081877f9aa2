//! Events: what happened, for whoever asks, now or later.
//!
//! The latest [`REMEMBERED`] events are kept for `since`; subscribers get the rest as it happens. A
//! subscriber that does not read for [`QUEUE`] events loses the oldest, never slows the engine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spec::Timestamp;
use tokio::sync::broadcast;

use crate::clock;
use crate::filters::Filters;

/// Events remembered for those who ask for the past; Docker's number.
const REMEMBERED: usize = 256;
/// Events a subscriber may lag behind.
const QUEUE: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `container`, `image`, `network`, `volume`, `daemon`.
    pub kind: &'static str,
    /// `create`, `start`, `die`, ….
    pub action: String,
    /// Id of what it happened to.
    pub actor: String,
    /// Attributes of the actor and of the event.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// The events of an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    past: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct EventsQuery {
    /// From this moment on, as far as they are remembered; `None` is from now.
    pub since: Option<Timestamp>,
    /// Until this moment; `None` is for ever.
    pub until: Option<Timestamp>,
    /// Docker's filters: container, daemon, event, image, label, network, scope, type, volume.
    pub filters: Filters,
}

/// A subscription.
#[derive(Debug)]
pub struct EventStream {
    past: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    deadline: Option<tokio::time::Instant>,
    filters: Filters,
}

impl Events {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        let (live, _) = broadcast::channel(QUEUE);
        Self {
            shared: Arc::new(Shared {
                past: Mutex::default(),
                live,
            }),
        }
    }

    /// Tells everybody that something happened just now.
    pub(crate) fn emit(
        &self,
        kind: &'static str,
        action: impl Into<String>,
        actor: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let event = Arc::new(Event {
            kind,
            action: action.into(),
            actor: actor.into(),
            attributes,
            time: clock::now(),
        });
        let mut past = self.shared.past.lock().expect("no panics while held");
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(Arc::clone(&event));
        // Under the lock, so that a subscription sees each event either as past or as live.
        let _nobody_listens = self.shared.live.send(event);
    }

    /// How many subscriptions there are.
    pub(crate) fn listeners(&self) -> usize {
        self.shared.live.receiver_count()
    }

    /// Subscribes; nothing that happens after it returned is missed. As in Docker, filters that
    /// events do not have are no error and change nothing.
    pub fn subscribe(&self, query: EventsQuery) -> EventStream {
        let past = self.shared.past.lock().expect("no panics while held");
        let live = self.shared.live.subscribe();
        // Without `since` but with `until`, Docker still replays what it remembers up to then.
        let wanted = |event: &&Arc<Event>| match (query.since, query.until) {
            (None, None) => false,
            (since, until) => {
                since.is_none_or(|s| event.time >= s) && until.is_none_or(|u| event.time <= u)
            }
        };
        let deadline = query.until.map(|until| {
            let left = until.unix_nanos().saturating_sub(clock::now().unix_nanos());
            tokio::time::Instant::now() + Duration::from_nanos(u64::try_from(left).unwrap_or(0))
        });
        EventStream {
            past: past.iter().filter(wanted).cloned().collect(),
            live,
            deadline,
            filters: query.filters,
        }
    }
}

impl EventStream {
    /// The next event; `None` once `until` has passed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        while let Some(event) = self.past.pop_front() {
            if matches(&self.filters, &event) {
                return Some((*event).clone());
            }
        }
        loop {
            let received = match self.deadline {
                None => self.live.recv().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, self.live.recv()).await {
                    Ok(received) => received,
                    Err(_) => return None,
                },
            };
            match received {
                Ok(event) if matches(&self.filters, &event) => return Some((*event).clone()),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "a subscriber of events does not keep up");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Whether Docker's filters let an event through.
fn matches(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str).unwrap_or("");
    // `health_status: healthy` is found as `health_status`, `exec_create: sh` as `exec_create`.
    let action = |wanted: &str| {
        event.action == wanted
            || event
                .action
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.starts_with(':'))
    };
    let actor = |kind: &str, wanted: &str| {
        event.kind == kind
            && (event.actor == wanted
                || attribute("name") == wanted
                || prefix_of(wanted, &event.actor))
    };
    let image = |wanted: &str| {
        let of = |text: &str| text == wanted || text.split(':').next() == Some(wanted);
        (event.kind == "image" && (of(&event.actor) || of(attribute("name"))))
            || (event.kind == "container" && of(attribute("image")))
    };
    filters.allows_if("event", action)
        && filters.allows("type", event.kind)
        && filters.allows("scope", "local")
        && filters.allows_if("container", |w| {
            actor("container", w)
                || (event.kind == "network" && prefix_of(w, attribute("container")))
        })
        && filters.allows_if("network", |w| actor("network", w))
        && filters.allows_if("volume", |w| actor("volume", w))
        && filters.allows_if("daemon", |w| actor("daemon", w))
        && filters.allows_if("image", image)
        && filters.allows_labels("label", &event.attributes)
        && ["config", "node", "plugin", "secret", "service"]
            .iter()
            .all(|kind| filters.allows_if(kind, |w| actor(kind, w)))
}

fn prefix_of(wanted: &str, id: &str) -> bool {
    !wanted.is_empty() && id.starts_with(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[tokio::test]
    async fn past_is_replayed_and_live_follows_without_gap() {
        let events = Events::new();
        events.emit(
            "container",
            "create",
            "aa11",
            attributes(&[("name", "web")]),
        );
        let mut stream = events.subscribe(EventsQuery {
            since: Some(Timestamp::ZERO),
            ..EventsQuery::default()
        });
        events.emit("container", "start", "aa11", attributes(&[("name", "web")]));
        assert_eq!(stream.next().await.unwrap().action, "create");
        assert_eq!(stream.next().await.unwrap().action, "start");
    }

    #[tokio::test]
    async fn until_in_the_past_ends_after_the_replay() {
        let events = Events::new();
        events.emit("image", "load", "sha256:1", BTreeMap::new());
        let query = EventsQuery {
            until: Some(clock::now()),
            ..EventsQuery::default()
        };
        let mut stream = events.subscribe(query);
        assert_eq!(stream.next().await.unwrap().action, "load");
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let events = Events::new();
        for i in 0..REMEMBERED + 10 {
            events.emit("container", format!("a{i}"), "x", BTreeMap::new());
        }
        let query = EventsQuery {
            until: Some(clock::now()),
            ..EventsQuery::default()
        };
        let mut stream = events.subscribe(query);
        assert_eq!(stream.next().await.unwrap().action, "a10");
    }

    #[test]
    fn filters_match_as_dockers() {
        let event = Event {
            kind: "container",
            action: "exec_create: sh".to_owned(),
            actor: "abcdef".to_owned(),
            attributes: attributes(&[("name", "web"), ("image", "busybox:latest"), ("tier", "1")]),
            time: Timestamp::ZERO,
        };
        let with = |key: &str, value: &str| {
            let mut filters = Filters::new();
            filters.add(key, value);
            matches(&filters, &event)
        };
        for (key, value) in [
            ("event", "exec_create"),
            ("container", "web"),
            ("container", "abc"),
            ("image", "busybox"),
            ("image", "busybox:latest"),
            ("type", "container"),
            ("label", "tier=1"),
        ] {
            assert!(with(key, value), "{key}={value}");
        }
        for (key, value) in [
            ("event", "exec"),
            ("container", "we"),
            ("image", "busy"),
            ("type", "image"),
            ("label", "tier=2"),
            ("network", "web"),
        ] {
            assert!(!with(key, value), "{key}={value}");
        }
    }
}
