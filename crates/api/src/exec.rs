//! Execs on the wire.

use serde::{Deserialize, Serialize};

use crate::container::StringOrList;
use crate::gojson::{DecodeError, Names, decode};

/// Body of `POST /containers/{id}/exec`; the fields are Docker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "container.ExecOptions", rename_all = "PascalCase")]
pub struct ExecCreateRequest {
    pub user: String,
    pub privileged: bool,
    pub tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u32; 2]>,
    pub attach_stdin: bool,
    pub attach_stderr: bool,
    pub attach_stdout: bool,
    pub detach_keys: String,
    pub env: Option<Vec<String>>,
    pub working_dir: String,
    pub cmd: Option<StringOrList>,
}

impl ExecCreateRequest {
    /// Reads a request's body.
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        decode(
            text,
            Names {
                whole: "container.ExecOptions",
                field_root: "ExecOptions",
            },
        )
    }
}

/// Answer to the creation of an exec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IdResponse {
    /// The new id.
    pub id: String,
}

/// Body of `POST /exec/{id}/start`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    rename = "container.ExecStartOptions",
    rename_all = "PascalCase"
)]
pub struct ExecStartRequest {
    /// Do not connect its streams.
    pub detach: bool,
    /// Whether the client thinks that it has a terminal.
    pub tty: bool,
    /// Height and width of the terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u32; 2]>,
}

impl ExecStartRequest {
    /// Reads a request's body; none at all means all defaults.
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        decode(
            text,
            Names {
                whole: "container.ExecStartOptions",
                field_root: "ExecStartOptions",
            },
        )
    }
}

/// Answer to `GET /exec/{id}/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExecInspect {
    #[serde(rename = "ID")]
    pub id: String,
    pub running: bool,
    pub exit_code: Option<i32>,
    pub process_config: ProcessConfig,
    pub open_stdin: bool,
    pub open_stderr: bool,
    pub open_stdout: bool,
    pub can_remove: bool,
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    pub detach_keys: String,
    pub pid: i32,
}

/// The process of an exec; lower-case keys, as Docker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    pub tty: bool,
    pub entrypoint: String,
    pub arguments: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}
