//! Containers on the wire: what clients send to create one and what lists and inspect answer.
//!
//! `Option<Vec<_>>` keeps Go's difference between `null` and `[]`; `skip_serializing_if` stands
//! where Go has `omitempty`; the order of fields is Docker's.

mod config;
mod host_config;
mod inspect;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use config::{Config, EmptyObject, HealthConfig, StringOrList};
pub use host_config::{
    BindOptions, DeviceMapping, HostConfig, LogConfig, Mount, PortBinding, RestartPolicy,
    TmpfsOptions, Ulimit,
};
pub use inspect::{
    ContainerJson, ContainerState, GraphDriver, MountPoint, NetworkSettings, Port, Summary,
    SummaryHostConfig, SummaryNetworkSettings,
};

use crate::gojson::{DecodeError, Names, decode_value, named, parse};
use crate::network::EndpointSettings;

/// Map from network name to what is wanted of the endpoint there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    default,
    rename = "network.NetworkingConfig",
    rename_all = "PascalCase"
)]
pub struct NetworkingConfig {
    /// Endpoints by network; `null` for one is told by whoever serves the API.
    #[serde(deserialize_with = "endpoints")]
    pub endpoints_config: Option<BTreeMap<String, Option<EndpointSettings>>>,
}

fn endpoints<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    named("map[string]*network.EndpointSettings", d)
}

/// Body of `POST /containers/create`: a [`Config`] with two more keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CreateRequest {
    /// The process.
    #[serde(flatten)]
    pub config: Config,
    /// How the host runs it.
    #[serde(rename = "HostConfig")]
    pub host_config: Option<HostConfig>,
    /// Networks to join.
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: Option<NetworkingConfig>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateExtra {
    host_config: Option<HostConfig>,
    networking_config: Option<NetworkingConfig>,
}

impl CreateRequest {
    /// Reads a request's body.
    pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
        const NAMES: Names = Names {
            whole: "container.CreateRequest",
            field_root: "",
        };
        let value = parse(text)?;
        let config: Config = decode_value(&value, NAMES)?;
        let extra: CreateExtra = decode_value(&value, NAMES)?;
        Ok(Self {
            config,
            host_config: extra.host_config,
            networking_config: extra.networking_config,
        })
    }
}

/// Answer to a creation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateResponse {
    /// Id of the new container.
    pub id: String,
    /// What was accepted but is not done.
    pub warnings: Vec<String>,
}

/// Answer to an update; `null` when there is nothing to warn of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UpdateResponse {
    /// What was accepted but is not done.
    pub warnings: Option<Vec<String>>,
}

/// Answer to a wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WaitResponse {
    /// Why the wait could not be fulfilled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
    /// Exit code of the container.
    pub status_code: i64,
}

/// Failure of a wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WaitError {
    /// The text.
    pub message: String,
}

/// Answer to `top`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TopResponse {
    /// One row per process.
    pub processes: Vec<Vec<String>>,
    /// Heads of the columns.
    pub titles: Vec<String>,
}

/// Answer to a prune of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PruneResponse {
    /// Ids of what is gone; `null` if nothing is.
    pub containers_deleted: Option<Vec<String>>,
    /// Bytes that came back.
    pub space_reclaimed: u64,
}

/// A line of `GET /containers/{id}/changes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct FileChange {
    /// 0 changed, 1 added, 2 deleted.
    pub kind: u8,
    pub path: String,
}

/// What there is at a path of a container; sent in a header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PathStat {
    /// Last name of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Bits of Go's `fs.FileMode`.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a link leads; empty for others.
    pub link_target: String,
}

impl PathStat {
    /// Name of the header.
    pub const HEADER: &str = "X-Docker-Container-Path-Stat";

    /// The header's value.
    pub fn to_header(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(crate::gojson::encode(self))
    }

    /// Reads the header's value; `None` where it is none.
    pub fn from_header(text: &str) -> Option<Self> {
        use base64::Engine as _;
        let json = base64::engine::general_purpose::STANDARD
            .decode(text)
            .ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// Answer to `POST /commit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CommitResponse {
    /// The new image.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gojson::encode;

    #[test]
    fn create_takes_strings_for_lists_and_any_case() {
        let body = br#"{"image":"a","CMD":"echo hi","Entrypoint":["sh","-c"],"hostconfig":{"MEMORY":7,"Dns":[]},"Foo":1}"#;
        let got = CreateRequest::decode(body).unwrap();
        assert_eq!(got.config.image, "a");
        assert_eq!(got.config.cmd.unwrap().0, ["echo hi"]);
        assert_eq!(got.config.entrypoint.unwrap().0, ["sh", "-c"]);
        let host = got.host_config.unwrap();
        assert_eq!(
            (host.memory, host.dns, host.dns_search),
            (7, Some(vec![]), None)
        );
    }

    #[test]
    fn create_tells_wrong_types_as_docker_does() {
        for (body, want) in [
            (
                "[]",
                "invalid JSON: json: cannot unmarshal array into Go value of type container.CreateRequest",
            ),
            (
                r#"{"Cmd":1}"#,
                "invalid JSON: json: cannot unmarshal number into Go value of type string",
            ),
            (
                r#"{"Cmd":[1]}"#,
                "invalid JSON: json: cannot unmarshal array into Go value of type string",
            ),
            (
                r#"{"HostConfig":[]}"#,
                "invalid JSON: json: cannot unmarshal array into Go struct field .HostConfig of type container.HostConfig",
            ),
            (
                r#"{"ExposedPorts":{"80/tcp":1}}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field .ExposedPorts.80~1tcp of type struct {}",
            ),
            (
                r#"{"ExposedPorts":[]}"#,
                "invalid JSON: json: cannot unmarshal array into Go struct field .ExposedPorts of type nat.PortSet",
            ),
            (
                r#"{"HostConfig":{"PortBindings":[]}}"#,
                "invalid JSON: json: cannot unmarshal array into Go struct field .HostConfig.PortBindings of type nat.PortMap",
            ),
            (
                r#"{"NetworkingConfig":{"EndpointsConfig":[]}}"#,
                "invalid JSON: json: cannot unmarshal array into Go struct field .NetworkingConfig.EndpointsConfig of type map[string]*network.EndpointSettings",
            ),
            (
                r#"{"NetworkingConfig":{"EndpointsConfig":{"n":5}}}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field .NetworkingConfig.EndpointsConfig.n of type network.EndpointSettings",
            ),
            (
                r#"{"NetworkingConfig":{"EndpointsConfig":{"n":{"Aliases":5}}}}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field .NetworkingConfig.EndpointsConfig.n.Aliases of type []string",
            ),
            (
                r#"{"HostConfig":{"Ulimits":[{"Name":"x","Soft":"a"}]}}"#,
                "invalid JSON: json: cannot unmarshal string into Go struct field .HostConfig.Ulimits.0.Soft of type int64",
            ),
        ] {
            assert_eq!(
                CreateRequest::decode(body.as_bytes())
                    .unwrap_err()
                    .to_string(),
                want
            );
        }
    }

    #[test]
    fn zero_configs_print_as_dockerd_prints_them() {
        let config = String::from_utf8(encode(&Config::default())).unwrap();
        assert_eq!(
            config,
            r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}"#
        );
        let host = String::from_utf8(encode(&HostConfig::default())).unwrap();
        assert_eq!(
            host,
            r#"{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":null},"NetworkMode":"","PortBindings":null,"RestartPolicy":{"Name":"","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":null,"DnsOptions":null,"DnsSearch":null,"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":0,"Runtime":"","Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":null,"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,"BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":null,"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":null,"PidsLimit":null,"Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null}"#
        );
    }

    #[test]
    fn wait_leaves_out_a_missing_error() {
        let done = WaitResponse {
            error: None,
            status_code: 137,
        };
        assert_eq!(encode(&done), br#"{"StatusCode":137}"#);
    }
}
