//! What CNI programs answer to `ADD`, read with suspicion.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use plugin::nothing;
use serde::Deserialize;
use serde_json::Value;
use sys::netlink::{Protocol, Socket};

use crate::driver::{DriverFailure, Joined};
use crate::{Error, IpNet, Ipv4Net, Ipv6Net, MacAddress, Result};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    #[serde(deserialize_with = "nothing")]
    interfaces: Vec<Interface>,
    #[serde(deserialize_with = "nothing")]
    ips: Vec<Ip>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Interface {
    #[serde(deserialize_with = "nothing")]
    name: String,
    #[serde(deserialize_with = "nothing")]
    mac: String,
    #[serde(deserialize_with = "nothing")]
    sandbox: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ip {
    #[serde(deserialize_with = "nothing")]
    address: String,
    gateway: Option<String>,
    interface: Option<usize>,
}

/// What a chain of programs made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    mac: Option<MacAddress>,
    ipv4: Option<Ipv4Net>,
    ipv6: Option<Ipv6Net>,
    gateway4: Option<std::net::Ipv4Addr>,
    gateway6: Option<std::net::Ipv6Addr>,
}

fn wrong(what: String) -> Error {
    DriverFailure::Refused {
        text: plugin::shortened(&format!("the CNI result cannot be used: {what}")),
    }
    .into()
}

impl Outcome {
    /// Reads an answer; the first address of each family is the endpoint's.
    pub(super) fn read(value: &Value, interface: &str) -> Result<Self> {
        let answer = match value {
            Value::Null => Answer::default(),
            value => {
                serde_json::from_value(value.clone()).map_err(|error| wrong(error.to_string()))?
            }
        };
        let mut outcome = Self::default();
        let inside = |one: &&Interface| one.name == interface && !one.sandbox.is_empty();
        if let Some(one) = answer.interfaces.iter().find(inside) {
            outcome.mac = one.mac.parse().ok();
        }
        for ip in &answer.ips {
            let of_other = |index: usize| {
                let one = answer.interfaces.get(index);
                one.is_some_and(|one| one.name != interface)
            };
            if ip.interface.is_some_and(of_other) {
                continue;
            }
            let gateway = match ip.gateway.as_deref() {
                None | Some("") => None,
                Some(text) => {
                    let no = |_| wrong(format!("{text:?} is no gateway"));
                    Some(text.parse::<IpAddr>().map_err(no)?)
                }
            };
            match (ip.address.parse::<IpNet>()?, gateway) {
                (IpNet::V4(net), None | Some(IpAddr::V4(_))) if outcome.ipv4.is_none() => {
                    outcome.ipv4 = Some(net);
                    outcome.gateway4 = gateway.and_then(|gateway| match gateway {
                        IpAddr::V4(gateway) => Some(gateway),
                        IpAddr::V6(_) => None,
                    });
                }
                (IpNet::V6(net), None | Some(IpAddr::V6(_))) if outcome.ipv6.is_none() => {
                    outcome.ipv6 = Some(net);
                    outcome.gateway6 = gateway.and_then(|gateway| match gateway {
                        IpAddr::V4(_) => None,
                        IpAddr::V6(gateway) => Some(gateway),
                    });
                }
                _ => {}
            }
        }
        Ok(outcome)
    }

    /// Refuses an outcome without the addresses that were asked for.
    pub(super) fn has(&self, ipv4: Option<Ipv4Net>, ipv6: Option<Ipv6Net>) -> Result<()> {
        let lacks4 =
            ipv4.is_some_and(|net| self.ipv4.map(|own| own.address()) != Some(net.address()));
        let lacks6 =
            ipv6.is_some_and(|net| self.ipv6.map(|own| own.address()) != Some(net.address()));
        if lacks4 || lacks6 {
            return Err(wrong(
                "the address that was asked for is not in it".to_owned(),
            ));
        }
        Ok(())
    }

    /// Compares what was told with what is there.
    pub(super) fn verify(&self, netns: BorrowedFd<'_>, interface: &str) -> Result<()> {
        let step = Error::kernel(format!("look at interface {interface}"));
        let (link, addresses) = sys::netns::with(netns, || {
            let mut socket = Socket::open(Protocol::Route)?;
            Ok::<_, sys::Error>((socket.link(interface)?, socket.addresses()?))
        })
        .map_err(step)?;
        let Some(link) = link else {
            return Err(wrong(format!("there is no interface {interface}")));
        };
        let four = self.ipv4.map(|net| IpAddr::from(net.address()));
        let six = self.ipv6.map(|net| IpAddr::from(net.address()));
        for told in [four, six].into_iter().flatten() {
            let has = |one: &sys::netlink::Address| one.index == link.index && one.address == told;
            if !addresses.iter().any(has) {
                return Err(wrong(format!("interface {interface} does not have {told}")));
            }
        }
        Ok(())
    }

    /// The outcome as the registry knows it.
    pub(super) fn joined(self, interface: &str) -> Joined {
        Joined {
            inner: interface.to_owned(),
            mac: self.mac,
            ipv4: self.ipv4,
            ipv6: self.ipv6,
            gateway4: self.gateway4,
            gateway6: self.gateway6,
            configured: true,
            ..Joined::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn results_of_all_versions_are_read() {
        let result = json!({"cniVersion": "1.0.0",
            "interfaces": [{"name": "cni0"}, {"name": "veth1"},
                {"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/proc/1/fd/3"}],
            "ips": [{"address": "192.0.2.1/24", "interface": 0},
                {"address": "10.22.0.5/16", "gateway": "10.22.0.1", "interface": 2},
                {"version": "6", "address": "fd00::5/64"},
                {"address": "10.99.0.1/16", "interface": 2}],
            "dns": {}, "routes": null});
        let outcome = Outcome::read(&result, "eth0").unwrap();
        assert_eq!(outcome.mac.unwrap().to_string(), "02:00:00:00:00:07");
        assert_eq!(outcome.ipv4.unwrap().to_string(), "10.22.0.5/16");
        assert_eq!(outcome.gateway4.unwrap().to_string(), "10.22.0.1");
        assert_eq!(outcome.ipv6.unwrap().to_string(), "fd00::5/64");
        assert_eq!(
            Outcome::read(&Value::Null, "eth0").unwrap(),
            Outcome::default()
        );
        for bad in [
            json!({"ips": [{"address": "10.22.0.5"}]}),
            json!({"ips": [{"address": "10.22.0.5/16", "gateway": "x"}]}),
            json!({"ips": 7}),
            json!(7),
        ] {
            assert!(Outcome::read(&bad, "eth0").is_err(), "{bad}");
        }
    }
}
