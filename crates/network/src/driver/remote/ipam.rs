//! Address plugins: Docker's remote IPAM driver protocol.
//!
//! See [libnetwork/docs/ipam.md](https://github.com/moby/moby/blob/v28.5.2/libnetwork/docs/ipam.md).
//! A plugin keeps its own records. What is kept here: the ids of pools, in their networks' records,
//! and the addresses of endpoints, so that a crash leaves none with the plugin.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use plugin::{Kind, Plugin, Plugins, nothing};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::Nothing;
use sha2::Digest as _;

use crate::driver::DriverFailure;
use crate::driver::kept::{Kept, Record};
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

/// An address that a plugin gave, until it has it back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Given {
    version: u32,
    /// Name of the plugin.
    plugin: String,
    /// Its id of the pool.
    pool: String,
    address: IpAddr,
}

impl Record for Given {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

impl Given {
    /// Name of its file: pools may be called anything.
    fn key(&self) -> String {
        let text = format!("{}\0{}\0{}", self.plugin, self.pool, self.address);
        let digest = sha2::Sha256::digest(text);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// An address plugin that was named, and may come, go and come back.
#[derive(Debug)]
pub(crate) struct Ipam {
    name: String,
    plugins: Arc<Plugins<Source>>,
    kept: Arc<Kept<Given>>,
}

/// An address plugin.
#[derive(Debug)]
pub(crate) struct Source {
    plugin: Plugin,
    spaces: OnceLock<Spaces>,
    needs_mac: OnceLock<bool>,
}

impl From<Plugin> for Source {
    fn from(plugin: Plugin) -> Self {
        Self {
            plugin,
            spaces: OnceLock::new(),
            needs_mac: OnceLock::new(),
        }
    }
}

impl Kind for Source {
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

impl Source {
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

    /// Finds a pool; those that do not fit are told, to be given back.
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

    fn release_pool(&self, id: &str) -> Result<()> {
        let _: Nothing = self.call("ReleasePool", Some(&json!({ "PoolID": id })))?;
        Ok(())
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

    fn release_address(&self, pool: &str, address: IpAddr) -> Result<()> {
        let request = json!({ "PoolID": pool, "Address": address.to_string() });
        let _: Nothing = self.call("ReleaseAddress", Some(&request))?;
        Ok(())
    }
}

impl Ipam {
    pub(super) fn new(name: &str, plugins: Arc<Plugins<Source>>, kept: Arc<Kept<Given>>) -> Self {
        Self {
            name: name.to_owned(),
            plugins,
            kept,
        }
    }

    fn get(&self) -> Result<Arc<Source>> {
        self.plugins.get(&self.name).map_err(super::looked_up)
    }

    /// Gets a pool; one that the plugin chose overlaps with nothing that is taken.
    pub(crate) fn request_pool(&self, question: &PoolQuestion<'_>) -> Result<Pool> {
        let source = self.get()?;
        let mut refused = Vec::new();
        let pool = source.find_pool(question, &mut refused);
        for id in refused {
            if let Err(error) = source.release_pool(&id) {
                let error = spec::error::chain(&error);
                tracing::warn!(pool = id, error, "an address plugin keeps a pool");
            }
        }
        pool
    }

    /// Gives a pool back.
    pub(crate) fn release_pool(&self, id: &str) -> Result<()> {
        self.get()?.release_pool(id)
    }

    /// Gets an address for a gateway: the one named, or one of the plugin's choice.
    pub(crate) fn request_gateway(&self, pool: &Pool, wanted: Option<IpAddr>) -> Result<IpNet> {
        let options = json!({ PURPOSE: GATEWAY });
        self.get()?
            .request((&pool.id, pool.subnet), wanted, &options)
    }

    /// Gets an address that is not an endpoint's: its network's record knows it.
    pub(crate) fn request_reserved(&self, pool: &Pool, wanted: IpAddr) -> Result<IpNet> {
        self.get()?
            .request((&pool.id, pool.subnet), Some(wanted), &json!({}))
    }

    /// Gets an address for an endpoint: the one named, or one of the plugin's choice.
    pub(crate) fn request_address(
        &self,
        pool: (&str, IpNet),
        wanted: Option<IpAddr>,
        mac: Option<MacAddress>,
    ) -> Result<IpNet> {
        let source = self.get()?;
        let options = match mac {
            Some(mac) if source.needs_mac()? => json!({ MAC: mac.to_string() }),
            _ => json!({}),
        };
        let net = source.request(pool, wanted, &options)?;
        let given = self.given(pool.0, net.address());
        if let Err(error) = self.kept.write(&given.key(), &given) {
            source.release_address(pool.0, net.address())?;
            return Err(error);
        }
        Ok(net)
    }

    /// Gives an address back.
    pub(crate) fn release_address(&self, pool: &str, address: IpAddr) -> Result<()> {
        self.get()?.release_address(pool, address)?;
        self.kept.remove(&self.given(pool, address).key())
    }

    fn given(&self, pool: &str, address: IpAddr) -> Given {
        Given {
            version: Given::VERSION,
            plugin: self.name.clone(),
            pool: pool.to_owned(),
            address,
        }
    }

    /// Gives back the addresses of endpoints that are no more; `live` are the others, with the ids
    /// of their pools. Once at daemon start.
    pub(crate) fn settle(&self, live: &[(String, IpAddr)]) {
        for file in self.kept.all() {
            let Ok(Some(given)) = self.kept.read(&file) else {
                continue;
            };
            let lives = live
                .iter()
                .any(|(pool, address)| *pool == given.pool && *address == given.address);
            if given.plugin != self.name || lives {
                continue;
            }
            if let Err(error) = self.release_address(&given.pool, given.address) {
                let error = spec::error::chain(&error);
                tracing::warn!(
                    plugin = self.name,
                    error,
                    "a plugin keeps an address of the dead"
                );
                // It may be down: whoever starts the daemon does not wait for it again and again.
                break;
            }
        }
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
