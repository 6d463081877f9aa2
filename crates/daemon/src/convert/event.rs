//! Events.

use api::event::{Actor, EventMessage};
use engine::events::Event;

/// An event for the wire, with the legacy fields that Docker still prints.
pub fn to_wire(event: &Event) -> EventMessage {
    let legacy = matches!(event.kind, "container" | "image");
    let from = event
        .attributes
        .get("image")
        .filter(|_| event.kind == "container");
    EventMessage {
        status: if legacy {
            event.action.clone()
        } else {
            String::new()
        },
        id: if legacy {
            event.actor.clone()
        } else {
            String::new()
        },
        from: from.cloned().unwrap_or_default(),
        kind: event.kind.to_owned(),
        action: event.action.clone(),
        actor: Actor {
            id: event.actor.clone(),
            attributes: event.attributes.clone(),
        },
        scope: "local".to_owned(),
        time: event.time.unix_seconds(),
        time_nano: event.time.unix_nanos(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use spec::Timestamp;

    use super::*;

    #[test]
    fn containers_have_the_legacy_fields_and_networks_have_not() {
        let mut event = Event {
            kind: "container",
            action: "start".to_owned(),
            actor: "ab".to_owned(),
            attributes: BTreeMap::from([("image".to_owned(), "busybox".to_owned())]),
            time: Timestamp::from_unix(1, 2),
        };
        assert_eq!(
            String::from_utf8(api::gojson::encode(&to_wire(&event))).unwrap(),
            r#"{"status":"start","id":"ab","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"ab","Attributes":{"image":"busybox"}},"scope":"local","time":1,"timeNano":1000000002}"#
        );
        event.kind = "network";
        assert_eq!(to_wire(&event).status, "");
    }
}
