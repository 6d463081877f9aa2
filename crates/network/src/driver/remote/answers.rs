//! What network plugins answer, read with suspicion.

use std::net::IpAddr;

use plugin::nothing;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::{DriverFailure, EndpointPlan, Joined};
use crate::{IpNet, MacAddress, Protocol, PublishedPort, Result};

/// Routes of one endpoint that are taken.
const MAX_ROUTES: usize = 1000;
/// Ports of one endpoint that are taken.
const MAX_PORTS: usize = 70_000;
/// A route to hosts on the link itself.
const CONNECTED: i64 = 1;

/// An answer that says nothing but that it was done.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// The fields in which plugins say that they failed: one for networks, one for addresses.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Refusal {
    #[serde(deserialize_with = "nothing")]
    err: String,
    #[serde(deserialize_with = "nothing")]
    error: String,
}

impl Refusal {
    pub(super) fn text(&self) -> Option<&str> {
        [&self.err, &self.error]
            .into_iter()
            .find(|text| !text.is_empty())
            .map(String::as_str)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Capabilities {
    #[serde(deserialize_with = "nothing")]
    scope: String,
    #[serde(deserialize_with = "nothing")]
    connectivity_scope: String,
    #[serde(deserialize_with = "nothing")]
    pub(super) gw_alloc_checker: bool,
}

impl Capabilities {
    pub(super) fn check(&self) -> Result<()> {
        let known = |scope: &str| matches!(scope, "local" | "global");
        let connected = self.connectivity_scope.as_str();
        if known(&self.scope) && (connected.is_empty() || known(connected)) {
            return Ok(());
        }
        let scope = plugin::shortened(&self.scope);
        Err(DriverFailure::refused(format!(
            "invalid capability: expecting 'local' or 'global', got {scope}"
        ))
        .into())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GatewayCheck {
    #[serde(rename = "SkipIPv4", deserialize_with = "nothing")]
    pub(super) skip_ipv4: bool,
    #[serde(rename = "SkipIPv6", deserialize_with = "nothing")]
    pub(super) skip_ipv6: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct CreatedEndpoint {
    interface: Option<Interface>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Interface {
    #[serde(deserialize_with = "nothing")]
    address: String,
    #[serde(rename = "AddressIPv6", deserialize_with = "nothing")]
    address_ipv6: String,
    #[serde(deserialize_with = "nothing")]
    mac_address: String,
}

fn refused<T>(text: String) -> Result<T> {
    Err(DriverFailure::Refused {
        text: plugin::shortened(&text),
    }
    .into())
}

/// A value that the plugin chose, unless it is empty; one that was there may not be changed.
fn chosen<T: Clone + std::fmt::Display>(
    what: &str,
    text: &str,
    present: Option<&T>,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(present) = present {
        return refused(format!(
            "driver modified interface {what}: endpoint interface {what} present ({present}). Cannot be modified with ({text})."
        ));
    }
    match read(text) {
        Some(value) => Ok(Some(value)),
        None => refused(format!("invalid {what}: {text}")),
    }
}

impl CreatedEndpoint {
    /// What the plugin chose for the endpoint.
    pub(super) fn joined(self, plan: &EndpointPlan<'_>) -> Result<Joined> {
        let told = self.interface.unwrap_or_default();
        let v4 = |text: &str| text.parse().ok().and_then(|net: IpNet| net.v4());
        let v6 = |text: &str| text.parse().ok().and_then(|net: IpNet| net.v6());
        let mac = |text: &str| text.parse::<MacAddress>().ok().filter(is_unicast);
        Ok(Joined {
            mac: chosen("MAC address", &told.mac_address, plan.mac.as_ref(), mac)?,
            ipv4: chosen("address", &told.address, plan.ipv4.as_ref(), v4)?,
            ipv6: chosen("address", &told.address_ipv6, plan.ipv6.as_ref(), v6)?,
            ..Joined::default()
        })
    }
}

fn is_unicast(mac: &MacAddress) -> bool {
    mac.0[0] & 1 == 0
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct JoinAnswer {
    interface_name: Option<Names>,
    #[serde(deserialize_with = "nothing")]
    gateway: String,
    #[serde(rename = "GatewayIPv6", deserialize_with = "nothing")]
    gateway_ipv6: String,
    #[serde(deserialize_with = "nothing")]
    static_routes: Vec<StaticRoute>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Names {
    #[serde(deserialize_with = "nothing")]
    src_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct StaticRoute {
    #[serde(deserialize_with = "nothing")]
    destination: String,
    #[serde(deserialize_with = "nothing")]
    route_type: i64,
    #[serde(deserialize_with = "nothing")]
    next_hop: String,
}

impl JoinAnswer {
    /// The interface in the host that is to be moved into the sandbox.
    pub(super) fn interface(&self) -> Option<&str> {
        let names = self.interface_name.as_ref()?;
        Some(names.src_name.as_str()).filter(|name| !name.is_empty())
    }

    /// Adds gateways and routes to what is known of the endpoint.
    pub(super) fn complete(&self, joined: &mut Joined) -> Result<()> {
        let no = |what: &str, text: &str| format!("unable to parse {what} {text:?}");
        if !self.gateway.is_empty() {
            match self.gateway.parse() {
                Ok(gateway) => joined.gateway4 = Some(gateway),
                Err(_) => return refused(no("Gateway", &self.gateway)),
            }
        }
        if !self.gateway_ipv6.is_empty() {
            match self.gateway_ipv6.parse() {
                Ok(gateway) => joined.gateway6 = Some(gateway),
                Err(_) => return refused(no("GatewayIPv6", &self.gateway_ipv6)),
            }
        }
        for route in self.static_routes.iter().take(MAX_ROUTES) {
            joined.routes.push(route.read()?);
        }
        Ok(())
    }
}

impl StaticRoute {
    fn read(&self) -> Result<(IpNet, Option<IpAddr>)> {
        let destination: IpNet = match self.destination.parse() {
            Ok(net) => net,
            Err(_) => return refused(format!("invalid CIDR address: {}", self.destination)),
        };
        if self.next_hop.is_empty() || self.route_type == CONNECTED {
            return Ok((destination.network(), None));
        }
        match self.next_hop.parse::<IpAddr>() {
            Ok(hop) if hop.is_ipv6() == destination.is_ipv6() => {
                Ok((destination.network(), Some(hop)))
            }
            _ => refused(format!("failed to parse nexthop IP {}", self.next_hop)),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Info {
    #[serde(deserialize_with = "nothing")]
    value: Map<String, Value>,
}

/// The ports that a plugin says it published; what makes no sense is left out.
pub(super) fn published_ports(info: &Info, label: &str) -> Vec<PublishedPort> {
    let Some(Value::Array(all)) = info.value.get(label) else {
        return Vec::new();
    };
    all.iter().take(MAX_PORTS).filter_map(published).collect()
}

fn published(value: &Value) -> Option<PublishedPort> {
    let port = |name: &str| {
        let number = value.get(name)?.as_u64()?;
        u16::try_from(number).ok().filter(|port| *port > 0)
    };
    let protocol = match value.get("Proto")?.as_u64()? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return None,
    };
    let host_ip = value.get("HostIP").and_then(Value::as_str);
    Some(PublishedPort {
        container_port: port("Port")?,
        protocol,
        host_ip: match host_ip.unwrap_or_default() {
            "" => IpAddr::from([0, 0, 0, 0]),
            text => text.parse().ok()?,
        },
        host_port: port("HostPort")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointId;
    use std::collections::BTreeMap;

    #[test]
    fn a_plugin_chooses_only_what_nobody_chose() {
        let options = BTreeMap::new();
        let joined = |ipv4: Option<&str>, answer: Value| {
            let plan = EndpointPlan {
                container: None,
                endpoint_id: EndpointId([1; 32]),
                interface: "eth0",
                mac: None,
                ipv4: ipv4.map(|text| text.parse().unwrap()),
                ipv6: None,
                options: &options,
            };
            let created: CreatedEndpoint = serde_json::from_value(answer).unwrap();
            created.joined(&plan).map_err(|error| error.to_string())
        };
        let whole = serde_json::json!({"Interface": {
            "Address": "10.0.0.5/24", "AddressIPv6": "fd00::5/64", "MacAddress": "02:00:00:00:00:05",
        }});
        let good = joined(None, whole.clone()).unwrap();
        assert_eq!(good.ipv4.unwrap().to_string(), "10.0.0.5/24");
        assert_eq!(good.ipv6.unwrap().to_string(), "fd00::5/64");
        assert_eq!(good.mac.unwrap().to_string(), "02:00:00:00:00:05");
        let error = joined(Some("10.0.0.4/24"), whole).unwrap_err();
        assert!(
            error.starts_with("driver modified interface address"),
            "{error}"
        );
        assert!(joined(Some("10.0.0.4/24"), serde_json::json!({})).is_ok());
        for lie in [
            r#"{"Interface":{"Address":"fd00::5/64"}}"#,
            r#"{"Interface":{"Address":"10.0.0.5"}}"#,
            r#"{"Interface":{"AddressIPv6":"10.0.0.5/24"}}"#,
            r#"{"Interface":{"MacAddress":"01:00:00:00:00:05"}}"#,
            r#"{"Interface":{"MacAddress":"zz"}}"#,
        ] {
            assert!(
                joined(None, serde_json::from_str(lie).unwrap()).is_err(),
                "{lie}"
            );
        }
    }

    #[test]
    fn routes_and_gateways_are_read_or_refused() {
        let complete = |text: &str| {
            let answer: JoinAnswer = serde_json::from_str(text).unwrap();
            let mut joined = Joined::default();
            answer.complete(&mut joined).map(|()| joined)
        };
        let joined = complete(
            r#"{"Gateway":"10.0.0.1","GatewayIPv6":"fd00::1","StaticRoutes":[
                {"Destination":"10.9.0.0/16","RouteType":0,"NextHop":"10.0.0.2"},
                {"Destination":"10.8.0.0/16","RouteType":1}],"InterfaceName":null}"#,
        )
        .unwrap();
        assert_eq!(joined.gateway4, Some([10, 0, 0, 1].into()));
        assert_eq!(joined.gateway6, Some("fd00::1".parse().unwrap()));
        let hop = Some("10.0.0.2".parse().unwrap());
        let nets = ["10.9.0.0/16", "10.8.0.0/16"].map(|text| text.parse().unwrap());
        assert_eq!(joined.routes, [(nets[0], hop), (nets[1], None)]);
        for bad in [
            r#"{"Gateway":"x"}"#,
            r#"{"GatewayIPv6":"10.0.0.1"}"#,
            r#"{"StaticRoutes":[{"Destination":"x"}]}"#,
            r#"{"StaticRoutes":[{"Destination":"10.0.0.0/8","NextHop":"fd00::1"}]}"#,
        ] {
            assert!(complete(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_that_make_no_sense_are_left_out() {
        let info: Info = serde_json::from_str(
            r#"{"Value":{"p":[{"Proto":6,"Port":80,"HostIP":"","HostPort":8080},
                {"Proto":6,"Port":0,"HostPort":1},{"Proto":99,"Port":1,"HostPort":1},
                {"Proto":17,"Port":53,"HostIP":"10.0.0.1","HostPort":53},7]}}"#,
        )
        .unwrap();
        let ports = published_ports(&info, "p");
        let text = |port: &PublishedPort| {
            let PublishedPort {
                container_port,
                protocol,
                host_ip,
                host_port,
            } = port;
            format!("{host_ip}:{host_port}:{container_port}/{protocol}")
        };
        let texts: Vec<_> = ports.iter().map(text).collect();
        assert_eq!(texts, ["0.0.0.0:8080:80/tcp", "10.0.0.1:53:53/udp"]);
        assert!(published_ports(&info, "other").is_empty());
    }
}
