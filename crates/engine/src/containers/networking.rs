//! A container's networks: what is kept of them, what they become in a run, and what readers see.
//!
//! ```text
//! request ─ wishes.rs ─► Attachments (record) ─ place.rs ─► Place (run, endpoint.json) ─ view.rs ─► readers
//!                              ▲                    │
//!                         connect.rs            roster.rs ─► resolver
//! ```

pub(super) mod around;
mod connect;
pub(super) mod links;
pub(super) mod place;
pub(super) mod ports;
pub(super) mod roster;
pub(super) mod view;
pub(super) mod wishes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::{Config, EndpointIpam, EndpointSettings, HostConfig, Rest};

pub(crate) use roster::Roster;

/// Name of the default network.
pub(crate) const BRIDGE: &str = "bridge";

/// What is kept of a container's place in one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attachment {
    /// Identity of the network, known once the container has run in it or was connected to it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) network_id: String,
    /// What the user asked for.
    pub(crate) settings: EndpointSettings,
}

/// A container's networks, by name.
pub(crate) type Attachments = BTreeMap<String, Attachment>;

/// The kinds of network mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode<'a> {
    /// The default bridge.
    Bridge,
    /// The host's own network.
    Host,
    /// Nothing but `lo`.
    None,
    /// The network of another container.
    Container(&'a str),
    /// A network that a user made, by name or id.
    User(&'a str),
}

impl<'a> Mode<'a> {
    /// Reads a network mode.
    pub(crate) fn of(text: &'a str) -> Self {
        match text {
            "" | "default" | BRIDGE => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::None,
            other => match other.strip_prefix("container:") {
                Some(key) => Self::Container(key),
                None => Self::User(other),
            },
        }
    }

    /// Name of the network that it means; none where it is another container's.
    pub(crate) fn network(self) -> Option<&'a str> {
        match self {
            Self::Bridge => Some(BRIDGE),
            Self::Host => Some("host"),
            Self::None => Some("none"),
            Self::Container(_) => None,
            Self::User(name) => Some(name),
        }
    }
}

/// Whether a network is one that a user made.
pub(crate) fn is_user_defined(name: &str) -> bool {
    matches!(Mode::of(name), Mode::User(_))
}

/// The networks of a new container: those asked for, or else the one that its mode names.
pub(super) fn attachments(
    config: &Config,
    host: &HostConfig,
    asked: BTreeMap<String, EndpointSettings>,
) -> Attachments {
    let mode = Mode::of(&host.network_mode);
    let Some(own) = mode.network().filter(|_| !config.network_disabled) else {
        return Attachments::new();
    };
    let mut networks: Attachments = asked
        .into_iter()
        .map(|(name, settings)| {
            let name = match name.as_str() {
                "default" => BRIDGE.to_owned(),
                _ => name,
            };
            let network_id = String::new();
            (
                name,
                Attachment {
                    network_id,
                    settings,
                },
            )
        })
        .collect();
    if networks.is_empty() {
        networks.insert(own.to_owned(), Attachment::default());
    }
    networks
}

/// The networks of a container whose record is of a build without them: one, with the endpoint
/// settings as they came from the client.
pub(super) fn of_old_record(config: &Config, host: &HostConfig) -> Attachments {
    let asked = host.endpoints.iter();
    let asked = asked.map(|(name, raw)| (name.clone(), of_raw(raw)));
    let mut networks = attachments(config, host, asked.collect());
    if !config.mac_address.is_empty()
        && let Some(first) = networks.values_mut().next()
        && first.settings.mac.is_empty()
    {
        first.settings.mac.clone_from(&config.mac_address);
    }
    networks
}

fn of_raw(raw: &Rest) -> EndpointSettings {
    let text = |map: &Rest, key: &str| {
        let value = map.get(key).and_then(|v| v.as_str());
        value.unwrap_or_default().to_owned()
    };
    let texts = |map: &Rest, key: &str| -> Option<Vec<String>> {
        let list = map.get(key)?.as_array()?;
        let texts = list.iter().filter_map(|v| v.as_str().map(str::to_owned));
        Some(texts.collect())
    };
    let ipam = raw.get("IPAMConfig").and_then(|v| v.as_object());
    let options = raw.get("DriverOpts").and_then(|v| v.as_object());
    EndpointSettings {
        ipam: ipam.map(|ipam| EndpointIpam {
            ipv4: text(ipam, "IPv4Address"),
            ipv6: text(ipam, "IPv6Address"),
            link_local: texts(ipam, "LinkLocalIPs").unwrap_or_default(),
        }),
        links: texts(raw, "Links"),
        aliases: texts(raw, "Aliases"),
        mac: text(raw, "MacAddress"),
        driver_opts: options.map(|options| {
            let options = options.iter();
            let text =
                |(k, v): (&String, &serde_json::Value)| Some((k.clone(), v.as_str()?.to_owned()));
            options.filter_map(text).collect()
        }),
        gateway_priority: raw.get("GwPriority").and_then(|v| v.as_i64()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_name_their_networks() {
        for (text, network) in [
            ("", Some("bridge")),
            ("default", Some("bridge")),
            ("host", Some("host")),
            ("none", Some("none")),
            ("container:abc", None),
            ("mine", Some("mine")),
        ] {
            assert_eq!(Mode::of(text).network(), network, "{text}");
        }
        assert!(is_user_defined("mine") && !is_user_defined("bridge"));
    }

    #[test]
    fn what_was_asked_for_replaces_the_modes_own_network() {
        let config = Config::default();
        let host = |mode: &str| HostConfig {
            network_mode: mode.to_owned(),
            ..HostConfig::default()
        };
        let names = |mode: &str, asked: &[&str]| -> Vec<String> {
            let asked = asked
                .iter()
                .map(|n| ((*n).to_owned(), EndpointSettings::default()));
            let networks = attachments(&config, &host(mode), asked.collect());
            networks.into_keys().collect()
        };
        assert_eq!(names("default", &[]), ["bridge"]);
        assert_eq!(names("bridge", &["default"]), ["bridge"]);
        assert_eq!(names("none", &["bridge"]), ["bridge"]);
        assert_eq!(names("a", &["a", "b"]), ["a", "b"]);
        assert!(names("container:x", &["a"]).is_empty());
    }

    #[test]
    fn old_records_keep_their_wishes() {
        let raw = serde_json::json!({"MacAddress": "", "DriverOpts": {"a": "1"}, "GwPriority": 3});
        let config = Config {
            mac_address: "02:42:00:00:00:01".to_owned(),
            ..Config::default()
        };
        let host = HostConfig {
            endpoints: [("default".to_owned(), raw.as_object().unwrap().clone())].into(),
            ..HostConfig::default()
        };
        let networks = of_old_record(&config, &host);
        let settings = &networks["bridge"].settings;
        assert_eq!(settings.mac, "02:42:00:00:00:01");
        assert_eq!(settings.gateway_priority, 3);
        assert_eq!(settings.driver_opts.as_ref().unwrap()["a"], "1");
    }
}
