//! Address plugins: Docker's remote IPAM driver protocol.
//!
//! See [libnetwork/docs/ipam.md](https://github.com/moby/moby/blob/v28.5.2/libnetwork/docs/ipam.md).
//! A plugin keeps its own records; a pool's id is all that is to be kept here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::OnceLock;

use plugin::{Kind, Plugin, nothing};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::Nothing;
use crate::driver::DriverFailure;
use crate::{IpNet, MacAddress, Result};

/// Pools in a row that overlap with what is in use, before it is given up.
const MAX_OVERLAPS: usize = 64;
/// Longest id of a pool: it is kept in a record.
const MAX_ID: usize = 1024;
/// What an address is for.
const PURPOSE: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";
const MAC: &str = "com.docker.network.endpoint.macaddress";

/// What is asked of a plugin for a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolQuestion<'a> {
    /// The subnet; `None` lets the plugin choose.
    pub subnet: Option<IpNet>,
    /// The part of it for dynamic addresses.
    pub range: Option<IpNet>,
    /// The user's options.
    pub options: &'a BTreeMap<String, String>,
    /// Whether a subnet that the plugin chooses shall be an IPv6 one.
    pub v6: bool,
    /// Subnets that one that the plugin chooses must not overlap with.
    pub taken: &'a [IpNet],
}

/// A pool of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    /// The plugin's id of it.
    pub id: String,
    /// Its subnet.
    pub subnet: IpNet,
    /// The gateway, if the plugin names one.
    pub gateway: Option<IpAddr>,
}

/// An address plugin.
#[derive(Debug)]
pub(crate) struct Ipam {
    plugin: Plugin,
    spaces: OnceLock<Spaces>,
    needs_mac: OnceLock<bool>,
}

impl From<Plugin> for Ipam {
    fn from(plugin: Plugin) -> Self {
        Self {
            plugin,
            spaces: OnceLock::new(),
            needs_mac: OnceLock::new(),
        }
    }
}

impl Kind for Ipam {
    const IMPLEMENTS: &'static str = "IpamDriver";
    const CALLED: &'static str = "ipam";

    fn plugin(&self) -> &Plugin {
        &self.plugin
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spaces {
    #[serde(rename = "LocalDefaultAddressSpace", deserialize_with = "nothing")]
    local: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Capabilities {
    #[serde(rename = "RequiresMACAddress", deserialize_with = "nothing")]
    needs_mac: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct PoolAnswer {
    #[serde(rename = "PoolID", deserialize_with = "nothing")]
    id: String,
    #[serde(deserialize_with = "nothing")]
    pool: String,
    #[serde(deserialize_with = "nothing")]
    data: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AddressAnswer {
    #[serde(deserialize_with = "nothing")]
    address: String,
}

fn lie<T>(what: String) -> Result<T> {
    Err(DriverFailure::Refused {
        text: plugin::shortened(&what),
    }
    .into())
}

impl Ipam {
    fn call<T: DeserializeOwned>(&self, verb: &str, request: Option<&Value>) -> Result<T> {
        let method = format!("{}.{verb}", Self::IMPLEMENTS);
        let limit = self.plugin.limits().long;
        super::call(&self.plugin, &method, request, limit)
    }

    fn space(&self) -> Result<&str> {
        if let Some(known) = self.spaces.get() {
            return Ok(&known.local);
        }
        let told: Spaces = self.call("GetDefaultAddressSpaces", None)?;
        Ok(&self.spaces.get_or_init(|| told).local)
    }

    /// Whether the plugin wants to know for which Ethernet address an address is.
    fn needs_mac(&self) -> Result<bool> {
        if let Some(known) = self.needs_mac.get() {
            return Ok(*known);
        }
        let needs = match self.call::<Capabilities>("GetCapabilities", None) {
            Ok(told) => told.needs_mac,
            // Old plugins do not know the question.
            Err(error) if super::is_unknown(&error) => false,
            Err(error) => return Err(error),
        };
        Ok(*self.needs_mac.get_or_init(|| needs))
    }

    /// Gets a pool; one that the plugin chose overlaps with nothing that is taken.
    pub(crate) fn request_pool(&self, question: &PoolQuestion<'_>) -> Result<Pool> {
        let mut refused = Vec::new();
        let pool = self.find_pool(question, &mut refused);
        for id in refused {
            if let Err(error) = self.release_pool(&id) {
                let error = spec::error::chain(&error);
                tracing::warn!(pool = id, error, "an address plugin keeps a pool");
            }
        }
        pool
    }

    fn find_pool(&self, question: &PoolQuestion<'_>, refused: &mut Vec<String>) -> Result<Pool> {
        let text = |net: Option<IpNet>| net.map(|net| net.to_string()).unwrap_or_default();
        let request = json!({
            "AddressSpace": self.space()?,
            "Pool": text(question.subnet),
            "SubPool": text(question.range),
            "Options": question.options,
            "V6": question.v6,
        });
        loop {
            let answer: PoolAnswer = self.call("RequestPool", Some(&request))?;
            let id = answer.id.clone();
            let pool = match read_pool(answer, question) {
                Ok(pool) => pool,
                Err(error) => {
                    refused.push(id);
                    return Err(error);
                }
            };
            // A pool of everything is what plugins give that do not mean any.
            let any = pool.subnet.prefix() == 0;
            let free = !question.taken.iter().any(|net| net.overlaps(&pool.subnet));
            if question.subnet.is_some() || any || free {
                return Ok(pool);
            }
            // Held until the end, so that the next one is another one.
            refused.push(pool.id);
            if refused.len() > MAX_OVERLAPS {
                return lie("the address plugin has no pool that is not in use".to_owned());
            }
        }
    }

    /// Gives a pool back.
    pub(crate) fn release_pool(&self, id: &str) -> Result<()> {
        let _: Nothing = self.call("ReleasePool", Some(&json!({ "PoolID": id })))?;
        Ok(())
    }

    /// Gets an address for a gateway: the one named, or one of the plugin's choice.
    pub(crate) fn request_gateway(&self, pool: &Pool, wanted: Option<IpAddr>) -> Result<IpNet> {
        let options = json!({ PURPOSE: GATEWAY });
        self.request((&pool.id, pool.subnet), wanted, &options)
    }

    /// Gets an address: the one named, or one of the plugin's choice.
    pub(crate) fn request_address(
        &self,
        pool: (&str, IpNet),
        wanted: Option<IpAddr>,
        mac: Option<MacAddress>,
    ) -> Result<IpNet> {
        let options = match mac {
            Some(mac) if self.needs_mac()? => json!({ MAC: mac.to_string() }),
            _ => json!({}),
        };
        self.request(pool, wanted, &options)
    }

    fn request(
        &self,
        (id, subnet): (&str, IpNet),
        wanted: Option<IpAddr>,
        options: &Value,
    ) -> Result<IpNet> {
        let request = json!({
            "PoolID": id,
            "Address": wanted.map(|address| address.to_string()).unwrap_or_default(),
            "Options": options,
        });
        let answer: AddressAnswer = self.call("RequestAddress", Some(&request))?;
        if answer.address.is_empty() {
            return lie("address allocation has failed: no address returned".to_owned());
        }
        let Ok(net) = answer.address.parse::<IpNet>() else {
            return lie(format!("invalid CIDR address: {}", answer.address));
        };
        if !subnet.contains(net.address()) || wanted.is_some_and(|want| want != net.address()) {
            self.release_address(id, net.address())?;
            return lie(format!(
                "the address plugin gave {net}, which was not asked for, of {subnet}"
            ));
        }
        Ok(net)
    }

    /// Gives an address back.
    pub(crate) fn release_address(&self, pool: &str, address: IpAddr) -> Result<()> {
        let request = json!({ "PoolID": pool, "Address": address.to_string() });
        let _: Nothing = self.call("ReleaseAddress", Some(&request))?;
        Ok(())
    }
}

fn read_pool(answer: PoolAnswer, question: &PoolQuestion<'_>) -> Result<Pool> {
    let Ok(subnet) = answer.pool.parse::<IpNet>() else {
        return lie(format!("invalid CIDR address: {}", answer.pool));
    };
    let v6 = question.subnet.map_or(question.v6, |net| net.is_ipv6());
    let other = |wanted: IpNet| wanted.network() != subnet.network();
    if subnet.is_ipv6() != v6 || question.subnet.is_some_and(other) || answer.id.len() > MAX_ID {
        return lie(format!(
            "the address plugin gave the pool {subnet}, which was not asked for"
        ));
    }
    let named = answer.data.get(GATEWAY).map(|text| text.parse::<IpNet>());
    let gateway = match named {
        None => None,
        Some(Ok(gateway)) if subnet.contains(gateway.address()) => Some(gateway.address()),
        Some(_) => return lie(format!("the gateway of the pool {subnet} is not in it")),
    };
    Ok(Pool {
        id: answer.id,
        subnet: subnet.network(),
        gateway,
    })
}
