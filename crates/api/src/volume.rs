//! Volumes on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gojson::{DecodeError, Names, decode};

/// A volume, in Docker's fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    /// When it was made.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// Its driver.
    pub driver: String,
    /// Its labels; `null` where there are none.
    pub labels: Option<BTreeMap<String, String>>,
    /// Where its data is on the host.
    pub mountpoint: String,
    /// Its name.
    pub name: String,
    /// The driver's options; `null` where there are none.
    pub options: Option<BTreeMap<String, String>>,
    /// `local`.
    pub scope: String,
    /// What else the driver tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<BTreeMap<String, Value>>,
    /// What it holds; in the answer of `/system/df` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_data: Option<VolumeUsage>,
}

/// What a volume holds and how many use it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeUsage {
    /// Containers that use it.
    pub ref_count: i64,
    /// Bytes on disk.
    pub size: i64,
}

/// Answer to `GET /volumes`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeList {
    /// The volumes.
    pub volumes: Vec<Volume>,
    /// What went wrong while listing.
    pub warnings: Option<Vec<String>>,
}

/// Answer to a prune of volumes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumePruneResponse {
    /// Names of what is gone.
    pub volumes_deleted: Vec<String>,
    /// Bytes that came back.
    pub space_reclaimed: u64,
}

/// Body of `POST /volumes/create`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename = "volume.CreateOptions", rename_all = "PascalCase")]
pub struct VolumeCreateRequest {
    /// Its name; empty for an anonymous one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its driver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// The driver's options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Its labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Settings of a cluster's volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_volume_spec: Option<Value>,
}

impl VolumeCreateRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    ///
    /// It is malformed; the text is Go's.
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        decode(
            text,
            Names {
                whole: "volume.CreateOptions",
                field_root: "CreateOptions",
            },
        )
    }
}
