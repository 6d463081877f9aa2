//! Events on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A line of `GET /events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventMessage {
    /// Legacy name of the action, on events of containers and images.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Legacy name of the actor.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Legacy name of the image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, ….
    #[serde(rename = "Type")]
    pub kind: String,
    /// `create`, `start`, ….
    #[serde(rename = "Action")]
    pub action: String,
    /// What it happened to.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `local`.
    pub scope: String,
    /// Seconds since the epoch.
    pub time: i64,
    /// Nanoseconds since the epoch.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// What an event happened to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// Id or name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Attributes.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}
