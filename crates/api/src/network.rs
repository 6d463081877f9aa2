//! Networks on the wire, and a container's place in one.
//!
//! `Option` around lists and maps keeps Go's difference between `null` and empty.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::gojson::{DecodeError, Names, decode};

/// A network of `GET /networks` and `GET /networks/{id}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Network {
    pub name: String,
    pub id: String,
    pub created: String,
    pub scope: String,
    pub driver: String,
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_from: ConfigReference,
    pub config_only: bool,
    pub containers: BTreeMap<String, NetworkContainer>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// Address management of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "network.IPAM", rename_all = "PascalCase")]
pub struct Ipam {
    /// `default`.
    pub driver: String,
    /// Options of the driver; `null` where none were given.
    pub options: Option<BTreeMap<String, String>>,
    /// Subnets; `null` for networks without.
    pub config: Option<Vec<IpamConfig>>,
}

/// A subnet of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "network.IPAMConfig", rename_all = "PascalCase")]
pub struct IpamConfig {
    /// `172.17.0.0/16`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// Part of the subnet from which addresses are given out.
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    /// `172.17.0.1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Addresses that are not given out, by name.
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "Option::is_none")]
    pub auxiliary: Option<BTreeMap<String, String>>,
}

/// The network that a network takes its settings from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "network.ConfigReference", rename_all = "PascalCase")]
pub struct ConfigReference {
    /// Its name.
    pub network: String,
}

/// A container in a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkContainer {
    pub name: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub mac_address: String,
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

/// Body of `POST /networks/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "network.CreateRequest", rename_all = "PascalCase")]
pub struct NetworkCreateRequest {
    pub driver: String,
    pub scope: String,
    #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
    pub enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    pub ipam: Option<Ipam>,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_only: bool,
    pub config_from: Option<ConfigReference>,
    pub options: Option<BTreeMap<String, String>>,
    pub labels: Option<BTreeMap<String, String>>,
    pub name: String,
    /// Without meaning since API 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_duplicate: Option<bool>,
}

/// Answer to a creation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkCreateResponse {
    /// Id of the new network.
    pub id: String,
    /// What was accepted but is not done.
    pub warning: String,
}

/// Body of `POST /networks/{id}/connect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "network.ConnectOptions", rename_all = "PascalCase")]
pub struct ConnectRequest {
    /// Name or id.
    pub container: String,
    /// What is wanted of its place in the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_config: Option<EndpointSettings>,
}

/// Body of `POST /networks/{id}/disconnect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    rename = "network.DisconnectOptions",
    rename_all = "PascalCase"
)]
pub struct DisconnectRequest {
    /// Name or id.
    pub container: String,
    /// Also where the container is gone.
    pub force: bool,
}

/// Reads a body; an empty one is a default, as in dockerd.
fn read<T: DeserializeOwned + Default>(text: &[u8], names: Names) -> Result<T, DecodeError> {
    if text.is_empty() {
        return Ok(T::default());
    }
    decode(text, names)
}

macro_rules! body {
    ($($name:ident $whole:literal $root:literal;)*) => { $(
        impl $name {
            /// Reads a request's body.
            ///
            /// # Errors
            ///
            /// It is malformed; the text is Go's.
            pub fn decode(text: &[u8]) -> Result<Self, DecodeError> {
                read(text, Names { whole: $whole, field_root: $root })
            }
        }
    )* };
}

body! {
    NetworkCreateRequest "network.CreateRequest" "CreateRequest";
    ConnectRequest "network.ConnectOptions" "ConnectOptions";
    DisconnectRequest "network.DisconnectOptions" "DisconnectOptions";
}

/// Answer to a prune of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkPruneResponse {
    /// Names of what is gone; `null` if nothing is.
    pub networks_deleted: Option<Vec<String>>,
}

/// A container's place in one network: first what is wanted of it, then what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    rename = "network.EndpointSettings",
    rename_all = "PascalCase"
)]
pub struct EndpointSettings {
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpamConfig>,
    pub links: Option<Vec<String>>,
    pub aliases: Option<Vec<String>>,
    pub mac_address: String,
    pub driver_opts: Option<BTreeMap<String, String>>,
    pub gw_priority: i64,
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: i64,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: i64,
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// Addresses wanted in a network; those that are empty are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    rename = "network.EndpointIPAMConfig",
    rename_all = "PascalCase"
)]
pub struct EndpointIpamConfig {
    #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
    pub ipv4_address: String,
    #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
    pub ipv6_address: String,
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "no_items")]
    pub link_local_ips: Option<Vec<String>>,
}

fn no_items(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gojson::encode;

    fn text<T: Serialize>(value: &T) -> String {
        String::from_utf8(encode(value)).unwrap()
    }

    #[test]
    fn networks_print_as_dockerd_prints_them() {
        let network = Network {
            name: "n".to_owned(),
            id: "3465".to_owned(),
            created: "2026-11-21T15:57:20.197926488Z".to_owned(),
            scope: "local".to_owned(),
            driver: "bridge".to_owned(),
            enable_ipv4: true,
            ipam: Ipam {
                driver: "default".to_owned(),
                options: None,
                config: Some(vec![IpamConfig {
                    subnet: "10.99.1.0/24".to_owned(),
                    ..IpamConfig::default()
                }]),
            },
            containers: BTreeMap::from([(
                "7fe4".to_owned(),
                NetworkContainer {
                    name: "c".to_owned(),
                    endpoint_id: "3297".to_owned(),
                    mac_address: "fa:1a:71:89:84:63".to_owned(),
                    ipv4_address: "10.99.1.2/24".to_owned(),
                    ipv6_address: String::new(),
                },
            )]),
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            ..Network::default()
        };
        assert_eq!(
            text(&network),
            r#"{"Name":"n","Id":"3465","Created":"2026-11-21T15:57:20.197926488Z","Scope":"local","Driver":"bridge","EnableIPv4":true,"EnableIPv6":false,"IPAM":{"Driver":"default","Options":null,"Config":[{"Subnet":"10.99.1.0/24"}]},"Internal":false,"Attachable":false,"Ingress":false,"ConfigFrom":{"Network":""},"ConfigOnly":false,"Containers":{"7fe4":{"Name":"c","EndpointID":"3297","MacAddress":"fa:1a:71:89:84:63","IPv4Address":"10.99.1.2/24","IPv6Address":""}},"Options":{},"Labels":{"a":"b"}}"#
        );
    }

    #[test]
    fn endpoints_print_as_dockerd_prints_them() {
        let endpoint = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: "10.99.1.50".to_owned(),
                link_local_ips: Some(vec!["169.254.1.1".to_owned()]),
                ..EndpointIpamConfig::default()
            }),
            links: Some(vec!["c:x".to_owned()]),
            aliases: Some(Vec::new()),
            ..EndpointSettings::default()
        };
        assert_eq!(
            text(&endpoint),
            r#"{"IPAMConfig":{"IPv4Address":"10.99.1.50","LinkLocalIPs":["169.254.1.1"]},"Links":["c:x"],"Aliases":[],"MacAddress":"","DriverOpts":null,"GwPriority":0,"NetworkID":"","EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}"#
        );
        let empty = EndpointSettings {
            ipam_config: Some(EndpointIpamConfig::default()),
            ..EndpointSettings::default()
        };
        assert!(text(&empty).starts_with(r#"{"IPAMConfig":{},"Links":null"#));
    }

    #[test]
    fn requests_are_read_whatever_the_case_of_their_keys() {
        let body = br#"{"name":"n","ipam":{"config":[{"subnet":"10.0.0.0/8","iprange":"10.1.0.0/16","auxiliaryaddresses":{"a":"10.1.0.9"}}]},"ENABLEIPV6":true,"configFrom":{"network":"c"},"Nope":1}"#;
        let request = NetworkCreateRequest::decode(body).unwrap();
        let pool = &request.ipam.unwrap().config.unwrap()[0];
        assert_eq!(pool.ip_range, "10.1.0.0/16");
        assert_eq!(pool.auxiliary.as_ref().unwrap()["a"], "10.1.0.9");
        assert_eq!(
            (request.enable_ipv4, request.enable_ipv6),
            (None, Some(true))
        );
        assert_eq!(request.config_from.unwrap().network, "c");
        assert_eq!(
            NetworkCreateRequest::decode(b"").unwrap(),
            NetworkCreateRequest::default()
        );
    }

    #[test]
    fn malformed_requests_are_refused_in_gos_words() {
        let create = |body: &str| {
            NetworkCreateRequest::decode(body.as_bytes())
                .unwrap_err()
                .to_string()
        };
        for (body, want) in [
            ("{", "invalid JSON: unexpected EOF"),
            (
                r#"{"Name":5}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field CreateRequest.Name of type string",
            ),
            (
                r#"{"IPAM":5}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field CreateRequest.IPAM of type network.IPAM",
            ),
            (
                r#"{"EnableIPv6":"yes"}"#,
                "invalid JSON: json: cannot unmarshal string into Go struct field CreateRequest.EnableIPv6 of type bool",
            ),
        ] {
            assert_eq!(create(body), want, "{body}");
        }
        let connect = |body: &str| ConnectRequest::decode(body.as_bytes()).unwrap_err();
        assert_eq!(
            connect(r#"{"EndpointConfig":5}"#).to_string(),
            "invalid JSON: json: cannot unmarshal number into Go struct field ConnectOptions.EndpointConfig of type network.EndpointSettings"
        );
        assert_eq!(
            connect(r#"{"Container":5}"#).to_string(),
            "invalid JSON: json: cannot unmarshal number into Go struct field ConnectOptions.Container of type string"
        );
    }
}
