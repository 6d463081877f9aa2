//! The options of a bridge network (`com.docker.network.…`), read as Docker reads them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use spec::error::ErrorKind;

use crate::firewall::GatewayMode;
use crate::{Error, NetworkSpec, Result};

const BRIDGE: &str = "com.docker.network.bridge.";
const PREFIX: &str = "com.docker.network.container_iface_prefix";
const MTU: &str = "com.docker.network.driver.mtu";
const DEFAULT_MTU: u32 = 1500;

/// What the options say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Name of the link, if the user names one.
    pub name: Option<String>,
    pub mtu: u32,
    /// What the names of interfaces inside begin with.
    pub prefix: String,
    pub masquerade: bool,
    pub inter_container: bool,
    /// The host's address for ports that name none.
    pub host_binding: Option<IpAddr>,
    /// Source addresses instead of masquerading.
    pub host_ipv4: Option<Ipv4Addr>,
    pub host_ipv6: Option<Ipv6Addr>,
    pub mode4: GatewayMode,
    pub mode6: GatewayMode,
    /// The bridge gets no IPv4 address.
    pub inhibit_ipv4: bool,
    /// Interfaces from which unpublished ports can be reached.
    pub trusted: Vec<String>,
}

impl Options {
    /// Reads them.
    pub(crate) fn parse(spec: &NetworkSpec) -> Result<Self> {
        let options = &spec.options;
        let bridge = |name: &str| format!("{BRIDGE}{name}");
        let mode = |name: &str| -> Result<GatewayMode> {
            let key = bridge(name);
            match options.get(&key).map(String::as_str) {
                None | Some("") => Ok(GatewayMode::Nat),
                Some(value) => value
                    .parse()
                    .map_err(|_| unreadable(&key, value, &format!("unknown gateway mode {value}"))),
            }
        };
        let parsed = Self {
            name: options
                .get(&bridge("name"))
                .filter(|n| !n.is_empty())
                .cloned(),
            mtu: mtu(options)?,
            prefix: match options.get(PREFIX).map(String::as_str) {
                None | Some("") => "eth".to_owned(),
                Some(prefix) => prefix.to_owned(),
            },
            masquerade: boolean(options, &bridge("enable_ip_masquerade"), true)?,
            inter_container: boolean(options, &bridge("enable_icc"), true)?,
            host_binding: address(options, &bridge("host_binding_ipv4"))?,
            host_ipv4: address(options, "com.docker.network.host_ipv4")?,
            host_ipv6: address(options, "com.docker.network.host_ipv6")?,
            mode4: mode("gateway_mode_ipv4")?,
            mode6: mode("gateway_mode_ipv6")?,
            inhibit_ipv4: boolean(options, &bridge("inhibit_ipv4"), false)?,
            trusted: options
                .get(&bridge("trusted_host_interfaces"))
                .map(|list| {
                    list.split(':')
                        .filter(|i| !i.is_empty())
                        .map(str::to_owned)
                        .collect()
                })
                .unwrap_or_default(),
        };
        let isolated = [&parsed.mode4, &parsed.mode6]
            .into_iter()
            .any(|mode| matches!(mode, GatewayMode::Isolated));
        if isolated && !spec.internal {
            return Err(invalid(
                "gateway mode 'isolated' can only be used for an internal network".to_owned(),
            ));
        }
        Ok(parsed)
    }

    /// Whether the bridge itself has an IPv4 address.
    pub(crate) fn has_gateway4(&self) -> bool {
        !matches!(self.mode4, GatewayMode::Isolated)
    }

    /// Whether the bridge itself has an IPv6 address.
    pub(crate) fn has_gateway6(&self) -> bool {
        !matches!(self.mode6, GatewayMode::Isolated)
    }
}

fn mtu(options: &BTreeMap<String, String>) -> Result<u32> {
    let Some(text) = options.get(MTU).filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT_MTU);
    };
    let value: i64 = text.parse().map_err(|_| {
        unreadable(
            MTU,
            text,
            &format!("strconv.Atoi: parsing \"{text}\": invalid syntax"),
        )
    })?;
    match u32::try_from(value) {
        Ok(0) => Ok(DEFAULT_MTU),
        Ok(mtu) if (68..=65_535).contains(&mtu) => Ok(mtu),
        Ok(_) => Err(invalid(format!(
            "invalid MTU number: {value}: it must be 68 to 65535"
        ))),
        Err(_) => Err(invalid(format!("invalid MTU number: {value}"))),
    }
}

/// Reads a boolean with the spellings that Go accepts.
fn boolean(options: &BTreeMap<String, String>, key: &str, default: bool) -> Result<bool> {
    match options.get(key).map(String::as_str) {
        None => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => {
            let reason = format!("strconv.ParseBool: parsing \"{other}\": invalid syntax");
            Err(unreadable(key, other, &reason))
        }
    }
}

fn address<T: std::str::FromStr>(
    options: &BTreeMap<String, String>,
    key: &str,
) -> Result<Option<T>> {
    match options.get(key).map(String::as_str) {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(unreadable(key, text, "nil ip")),
        },
    }
}

fn unreadable(key: &str, value: &str, reason: &str) -> Error {
    invalid(format!("failed to parse {key} value: {value} ({reason})"))
}

fn invalid(text: String) -> Error {
    Error::refused(ErrorKind::InvalidArgument, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<Options> {
        let mut spec = NetworkSpec::new("n");
        for (key, value) in options {
            spec.options.insert((*key).to_owned(), (*value).to_owned());
        }
        Options::parse(&spec)
    }

    #[test]
    fn defaults_are_dockers() {
        let options = parse(&[]).unwrap();
        assert!(options.masquerade && options.inter_container && !options.inhibit_ipv4);
        assert_eq!((options.mtu, options.prefix.as_str()), (1500, "eth"));
        assert_eq!((options.name, options.host_binding), (None, None));
        assert!(options.trusted.is_empty());
    }

    #[test]
    fn values_are_read() {
        let options = parse(&[
            ("com.docker.network.bridge.name", "br7"),
            ("com.docker.network.bridge.enable_icc", "F"),
            ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
            ("com.docker.network.driver.mtu", "9000"),
            ("com.docker.network.container_iface_prefix", "net"),
            (
                "com.docker.network.bridge.trusted_host_interfaces",
                "eth0:vxlan1",
            ),
            ("foo", "bar"),
        ])
        .unwrap();
        assert_eq!(options.name.as_deref(), Some("br7"));
        assert!(!options.inter_container && options.masquerade);
        assert_eq!(options.host_binding, Some("127.0.0.1".parse().unwrap()));
        assert_eq!((options.mtu, options.prefix.as_str()), (9000, "net"));
        assert_eq!(options.trusted, ["eth0", "vxlan1"]);
    }

    #[test]
    fn refusals_are_dockers() {
        let refusal = |key: &str, value: &str| parse(&[(key, value)]).unwrap_err().to_string();
        assert_eq!(
            refusal("com.docker.network.bridge.enable_icc", "x"),
            "failed to parse com.docker.network.bridge.enable_icc value: x \
             (strconv.ParseBool: parsing \"x\": invalid syntax)"
        );
        assert_eq!(
            refusal("com.docker.network.driver.mtu", "x"),
            "failed to parse com.docker.network.driver.mtu value: x \
             (strconv.Atoi: parsing \"x\": invalid syntax)"
        );
        assert_eq!(
            refusal("com.docker.network.driver.mtu", "-1"),
            "invalid MTU number: -1"
        );
        assert_eq!(
            refusal("com.docker.network.bridge.host_binding_ipv4", "x"),
            "failed to parse com.docker.network.bridge.host_binding_ipv4 value: x (nil ip)"
        );
        assert_eq!(
            refusal("com.docker.network.bridge.gateway_mode_ipv4", "x"),
            "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: x \
             (unknown gateway mode x)"
        );
        assert_eq!(
            refusal("com.docker.network.bridge.gateway_mode_ipv6", "isolated"),
            "gateway mode 'isolated' can only be used for an internal network"
        );
    }
}
