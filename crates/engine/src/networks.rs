//! The networks that exist here: `bridge`, `host` and `none`.

use std::collections::BTreeMap;

use spec::{Digest, Timestamp};

use crate::containers::Containers;
use crate::{Error, Filters, Result};

/// The networks of an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Networks {
    containers: Containers,
}

/// A network as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    /// 64 hex digits.
    pub id: String,
    /// `bridge`, `host`, `none`.
    pub name: String,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    /// When it was made.
    pub created: Timestamp,
    /// Subnet and gateway; none for `host` and `none`.
    pub ipam: Vec<Subnet>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Containers in it, by id.
    pub containers: BTreeMap<String, NetworkMember>,
}

/// A subnet with its gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// `172.17.0.0/16`.
    pub subnet: String,
    /// `172.17.0.1`.
    pub gateway: String,
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkMember {
    /// Its name.
    pub name: String,
    /// Identity of its endpoint.
    pub endpoint_id: String,
    /// MAC address.
    pub mac: String,
    /// Address with prefix length.
    pub address: String,
}

/// Identity of a network that is not made but given.
pub(crate) fn fixed_id(name: &str) -> String {
    Digest::of(format!("corten network {name}").as_bytes()).hex()
}

impl Networks {
    /// Makes the service.
    pub(crate) fn new(containers: Containers) -> Self {
        Self { containers }
    }

    /// Networks that match.
    pub async fn list(&self, filters: &Filters) -> Result<Vec<NetworkView>> {
        filters.only(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let dangling = filters.boolean("dangling")?;
        let matches = |n: &NetworkView| {
            filters.matches("name", &n.name)
                && filters.matches("id", &n.id)
                && filters.allows("driver", &n.driver)
                && filters.allows("scope", "local")
                && filters.allows("type", "builtin")
                && filters.allows_labels("label", &BTreeMap::new())
                // None of them can be removed, hence none is ever without use.
                && dangling != Some(true)
        };
        Ok(self.all().into_iter().filter(matches).collect())
    }

    /// One network by name, id or prefix.
    pub async fn inspect(&self, key: &str) -> Result<NetworkView> {
        let all = self.all();
        let exact = all.iter().find(|n| n.name == key || n.id == key);
        if let Some(found) = exact {
            return Ok(found.clone());
        }
        let mut by_prefix = all
            .iter()
            .filter(|n| !key.is_empty() && n.id.starts_with(key));
        match (by_prefix.next(), by_prefix.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "network {key} is ambiguous (2 matches found on ID prefix)"
            ))),
            (None, _) => Err(Error::NoSuchNetwork {
                key: key.to_owned(),
            }),
        }
    }

    fn all(&self) -> Vec<NetworkView> {
        let mut networks = Vec::new();
        let mut created = Timestamp::ZERO;
        if let Some(network) = &self.containers.shared().network {
            let about = network.describe();
            created = about.created;
            let members = about.endpoints.iter().filter_map(|endpoint| {
                let id = endpoint.container.to_string();
                let member = NetworkMember {
                    name: self.containers.get(&id).ok()?.name.to_string(),
                    endpoint_id: endpoint.endpoint_id.to_string(),
                    mac: endpoint.mac.to_string(),
                    address: endpoint.address.to_string(),
                };
                Some((id, member))
            });
            networks.push(NetworkView {
                id: about.id.to_string(),
                containers: members.collect(),
                name: about.name,
                driver: about.driver,
                created,
                ipam: vec![Subnet {
                    subnet: about.subnet.to_string(),
                    gateway: about.gateway.to_string(),
                }],
                options: about.options,
            });
        }
        for (name, driver) in [("host", "host"), ("none", "null")] {
            networks.push(NetworkView {
                id: fixed_id(name),
                name: name.to_owned(),
                driver: driver.to_owned(),
                created,
                ipam: Vec::new(),
                options: BTreeMap::new(),
                containers: self.members_of(name),
            });
        }
        networks
    }

    fn members_of(&self, name: &str) -> BTreeMap<String, NetworkMember> {
        self.containers
            .all()
            .into_iter()
            .filter(|c| c.state.running().is_some() && c.host.network_mode == name)
            .map(|c| {
                let member = NetworkMember {
                    name: c.name.to_string(),
                    endpoint_id: Digest::of(format!("{name}/{}", c.id).as_bytes()).hex(),
                    mac: String::new(),
                    address: String::new(),
                };
                (c.id.to_string(), member)
            })
            .collect()
    }
}
