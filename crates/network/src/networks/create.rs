//! Creating and removing networks. The record is first to come and first to go: what a crash leaves
//! in the kernel is completed or removed when the daemon starts again.

use std::collections::BTreeMap;
use std::sync::Arc;

use spec::error::ErrorKind;
use spec::id::NetworkId;

use super::state::Net;
use super::{Inner, predefined};
use crate::driver::bridge;
use crate::driver::remote::ipam::{Ipam, Pool, PoolQuestion};
use crate::driver::{Addressing, Driver, DriverNetwork};
use crate::ipam::{self, ChoiceLock, Decided, Question};
use crate::record::NetworkRecord;
use crate::{Created, Error, IpNet, IpamSpec, NetworkSpec, PoolSpec, Result};

const PREDEFINED: [&str; 4] = ["bridge", "host", "none", "default"];
const OPTION_IPV4: &str = "com.docker.network.enable_ipv4";
const OPTION_IPV6: &str = "com.docker.network.enable_ipv6";

impl Inner {
    /// See [`Networks::create`](crate::Networks::create).
    pub(crate) fn create(&self, mut spec: NetworkSpec) -> Result<Created> {
        let _change = self
            .change
            .lock()
            .expect("no panic happens while it is held");
        self.check_name(&spec.name)?;
        self.fill_in(&mut spec)?;
        if spec.config_only {
            return self.keep_config(spec);
        }
        let driver = self.drivers.find(&spec.driver)?;
        driver.check(&mut spec)?;
        let source = match spec.ipam.driver.as_str() {
            "default" | "null" => None,
            plugin => Some(self.drivers.remotes.ipam(plugin)),
        };
        let choice = ChoiceLock::acquire();
        let decided = self.decide(&spec, &*driver, source.as_deref())?;
        let warnings = self.collisions(&decided.shown)?;
        // Until the link has the addresses nobody else sees that they are taken; a plugin's are no
        // matter of this host's, and it may take its time.
        let _choice = source.is_none().then_some(choice);
        let done = self.make(spec, driver, source.clone(), &decided);
        if let (Err(_), Some(source)) = (&done, &source) {
            release_pools(source, &decided.pools);
        }
        done.map(|id| Created { id, warnings })
    }

    fn make(
        &self,
        mut shown: NetworkSpec,
        driver: Arc<dyn Driver>,
        source: Option<Arc<Ipam>>,
        decided: &Decided,
    ) -> Result<NetworkId> {
        shown.ipam.pools.clone_from(&decided.shown);
        let record = NetworkRecord::new(shown, decided.pools.clone())?;
        record.save(&self.settings.state_dir)?;
        let id = record.id;
        let net = self.bring_up(record, driver, source, |driver, about| driver.create(about));
        match net {
            Ok(net) => {
                self.lock().networks.insert(id, net);
                Ok(id)
            }
            Err(error) => {
                NetworkRecord::remove(&self.settings.state_dir, &id)?;
                Err(error)
            }
        }
    }

    /// Makes what a record describes, or finds it.
    pub(super) fn bring_up(
        &self,
        record: NetworkRecord,
        driver: Arc<dyn Driver>,
        source: Option<Arc<Ipam>>,
        make: impl FnOnce(&dyn Driver, &DriverNetwork) -> Result<()>,
    ) -> Result<Net> {
        let mut addresses = Vec::new();
        if source.is_none() && !record.spec.config_only {
            for pool in &record.pools {
                addresses.push(ipam::set_aside(&mut pool.clone(), false)?);
            }
        }
        let mut spec = record.spec.clone();
        spec.ipam.pools = record.pools;
        let about = DriverNetwork {
            id: record.id,
            spec,
        };
        if !about.spec.config_only {
            make(&*driver, &about)?;
        }
        let mut net = predefined::net(about, record.spec, record.created, driver, addresses);
        net.predefined = false;
        net.ipam = source;
        Ok(net)
    }

    /// See [`Networks::remove`](crate::Networks::remove).
    pub(crate) fn remove(&self, id: &NetworkId) -> Result<()> {
        let _change = self
            .change
            .lock()
            .expect("no panic happens while it is held");
        let spares = {
            let mut state = self.lock();
            let names = |net: &Net| -> Vec<String> {
                let name = |container| {
                    let held = state.sandboxes.get(container)?;
                    let endpoint = held.endpoints.iter().find(|e| e.network_id == *id)?;
                    let short = &endpoint.endpoint_id.to_string()[..12];
                    Some(format!("name:\"{}\" id:\"{short}\"", held.name))
                };
                net.members.keys().filter_map(name).collect()
            };
            let net = state.net(id)?;
            let name = net.name();
            if net.predefined {
                let text = format!("{name} is a pre-defined network and cannot be removed");
                return Err(Error::refused(ErrorKind::Forbidden, text));
            }
            if !net.members.is_empty() {
                let text = format!(
                    "error while removing network: network {name} has active endpoints ({})",
                    names(net).join(", ")
                );
                return Err(Error::refused(ErrorKind::Forbidden, text));
            }
            let users = state.networks.values();
            if net.shown.config_only
                && users
                    .into_iter()
                    .any(|n| n.shown.config_from.as_deref() == Some(name))
            {
                let text = format!("configuration network \"{name}\" is in use");
                return Err(Error::refused(ErrorKind::Forbidden, text));
            }
            let net = state.net_mut(id)?;
            // No more spares from now on.
            net.wanted_spares = 0;
            net.removing = true;
            std::mem::take(&mut net.spares)
        };
        for spare in &spares {
            self.forget_spare(spare);
        }
        drop(spares);
        let done = self.take_down(id);
        if done.is_err()
            && let Ok(net) = self.lock().net_mut(id)
        {
            net.removing = false;
        }
        done
    }

    fn take_down(&self, id: &NetworkId) -> Result<()> {
        let (about, driver, source) = {
            let state = self.lock();
            let net = state.net(id)?;
            (net.about.clone(), net.driver.clone(), net.ipam.clone())
        };
        NetworkRecord::remove(&self.settings.state_dir, id)?;
        let done = if about.spec.config_only {
            Ok(())
        } else {
            driver.remove(&about)
        };
        if let Some(source) = source {
            release_pools(&source, &about.spec.ipam.pools);
        }
        // The record is gone: whatever is left in the kernel goes at the next start.
        self.lock().networks.remove(id);
        done
    }

    fn check_name(&self, name: &str) -> Result<()> {
        let refuse = |kind, text: String| Err(Error::refused(kind, text));
        if name.trim().is_empty() {
            let text = "invalid name: name is empty".to_owned();
            return refuse(ErrorKind::InvalidArgument, text);
        }
        if PREDEFINED.contains(&name) {
            let text = format!("operation is not permitted on predefined {name} network ");
            return refuse(ErrorKind::Forbidden, text);
        }
        if self.lock().networks.values().any(|net| net.name() == name) {
            let text = format!("network with name {name} already exists");
            return refuse(ErrorKind::Conflict, text);
        }
        Ok(())
    }

    /// Takes over another's settings, fills in defaults, refuses what contradicts itself.
    fn fill_in(&self, spec: &mut NetworkSpec) -> Result<()> {
        let refuse = |kind, text: &str| Err(Error::refused(kind, text));
        if spec.config_only && (spec.internal || spec.attachable) {
            let text = "configuration network can only contain network specific fields. Network \
                        operator fields like [ ingress | internal | attachable | scope ] are not \
                        supported.";
            return refuse(ErrorKind::Forbidden, text);
        }
        if let Some(name) = spec.config_from.clone().filter(|name| !name.is_empty()) {
            if spec.config_only {
                let text = "a configuration network cannot depend on another configuration network";
                return refuse(ErrorKind::Forbidden, text);
            }
            self.take_over(spec, &name)?;
        } else {
            spec.config_from = None;
        }
        let or = |text: &mut String, default: &str| {
            if text.is_empty() {
                default.clone_into(text);
            }
        };
        or(
            &mut spec.driver,
            if spec.config_only { "null" } else { "bridge" },
        );
        or(&mut spec.scope, "local");
        or(&mut spec.ipam.driver, "default");
        if let Some(own) = self.settings.default_options.get(&spec.driver) {
            for (key, value) in own {
                spec.options
                    .entry(key.clone())
                    .or_insert_with(|| value.clone());
            }
        }
        let says = |spec: &NetworkSpec, key: &str, value: bool| {
            let text = spec.options.get(key).map(|text| text.to_ascii_lowercase());
            matches!(
                (text.as_deref(), value),
                (Some("true" | "1" | "t"), true) | (Some("false" | "0" | "f"), false)
            )
        };
        spec.enable_ipv4 &= !says(spec, OPTION_IPV4, false);
        spec.enable_ipv6 |= says(spec, OPTION_IPV6, true);
        if spec.config_only {
            return Ok(());
        }
        if !spec.enable_ipv4 && !spec.enable_ipv6 {
            return refuse(ErrorKind::InvalidArgument, "IPv4 or IPv6 must be enabled");
        }
        if !matches!(spec.ipam.driver.as_str(), "default" | "null")
            && spec.ipam.pools.iter().all(|pool| pool.subnet.is_none())
        {
            return Ok(());
        }
        ipam::check(&spec.ipam.pools)
    }

    fn take_over(&self, spec: &mut NetworkSpec, name: &str) -> Result<()> {
        let state = self.lock();
        let found = state
            .networks
            .values()
            .find(|net| net.shown.config_only && net.name() == name);
        let Some(config) = found else {
            let text = format!("configuration network \"{name}\" does not exist");
            return Err(Error::refused(ErrorKind::NotFound, text));
        };
        let untouched = spec.ipam.pools.is_empty()
            && spec.ipam.options.is_empty()
            && matches!(spec.ipam.driver.as_str(), "" | "default")
            && spec.labels.is_empty()
            && !spec.enable_ipv6;
        if !untouched {
            let text = "user specified configurations are not supported if the network depends on \
                        a configuration network";
            return Err(Error::refused(ErrorKind::Forbidden, text));
        }
        if !spec.options.is_empty() {
            let text = "network driver options are not supported if the network depends on a \
                        configuration network";
            return Err(Error::refused(ErrorKind::Forbidden, text));
        }
        spec.ipam = config.shown.ipam.clone();
        spec.options = config.shown.options.clone();
        spec.labels = config.shown.labels.clone();
        spec.internal |= config.shown.internal;
        spec.attachable |= config.shown.attachable;
        spec.enable_ipv4 = config.shown.enable_ipv4;
        spec.enable_ipv6 = config.shown.enable_ipv6;
        Ok(())
    }

    fn keep_config(&self, spec: NetworkSpec) -> Result<Created> {
        let record = NetworkRecord::new(spec, Vec::new())?;
        record.save(&self.settings.state_dir)?;
        let id = record.id;
        let driver = self.drivers.find("null")?;
        let net = self.bring_up(record, driver, None, |_, _| Ok(()))?;
        self.lock().networks.insert(id, net);
        let warnings = Vec::new();
        Ok(Created { id, warnings })
    }

    /// Decides the subnets of a new network.
    fn decide(
        &self,
        spec: &NetworkSpec,
        driver: &dyn Driver,
        source: Option<&Ipam>,
    ) -> Result<Decided> {
        let nothing = Decided {
            shown: spec.ipam.pools.clone(),
            pools: Vec::new(),
        };
        if driver.traits(spec).addressing != Addressing::Pools {
            return Ok(nothing);
        }
        if spec.ipam.driver == "null" {
            if spec.driver == "bridge" {
                let text = "ipv4 pool is empty";
                return Err(Error::refused(ErrorKind::InvalidArgument, text));
            }
            return Ok(nothing);
        }
        let own = self.lock().subnets();
        if let Some(source) = source {
            let (skip4, skip6) = driver.skips_gateways(spec)?;
            return decide_remotely(source, spec, (!skip4, !skip6), &own);
        }
        let (skip4, skip6) = driver.skips_gateways(spec)?;
        let gateway = driver.has_gateway(spec) || spec.driver == "bridge";
        let mut socket = bridge::route_socket()?;
        let claims = ipam::claims(&mut socket, &self.drivers.bridge.indexes())?;
        ipam::decide(&Question {
            asked: &spec.ipam.pools,
            ipv4: spec.enable_ipv4,
            ipv6: spec.enable_ipv6,
            gateways: (gateway && !skip4, gateway && !skip6),
            pools: &self.pools,
            claims: &claims,
            own: &own,
        })
    }

    /// Tells where subnets that the user named meet what the host has: it is his to decide.
    fn collisions(&self, pools: &[PoolSpec]) -> Result<Vec<String>> {
        let asked = || {
            pools
                .iter()
                .filter(|pool| !pool.chosen)
                .filter_map(|p| p.subnet)
        };
        if asked().next().is_none() {
            return Ok(Vec::new());
        }
        let mut socket = bridge::route_socket()?;
        let claims = ipam::claims(&mut socket, &self.drivers.bridge.indexes())?;
        let mut warnings = Vec::new();
        for subnet in asked() {
            let near = claims.iter().find(|c| !c.remote && c.net.overlaps(&subnet));
            if let Some(claim) = near {
                let link = socket.link_at(claim.index).ok().flatten();
                let name = link.map_or_else(|| claim.index.to_string(), |link| link.name);
                let other = claim.net;
                warnings.push(format!(
                    "subnet {subnet} overlaps with address or route {other} of {name}: packets to \
                     it may go to the wrong place"
                ));
            }
        }
        Ok(warnings)
    }
}

/// Gets pools from a plugin.
fn decide_remotely(
    source: &Ipam,
    spec: &NetworkSpec,
    (gateway4, gateway6): (bool, bool),
    own: &[IpNet],
) -> Result<Decided> {
    let mut asked = spec.ipam.pools.clone();
    for (wanted, ipv6) in [(spec.enable_ipv4, false), (spec.enable_ipv6, true)] {
        let named = |pool: &PoolSpec| pool.subnet.is_some_and(|net| net.is_ipv6() == ipv6);
        if wanted && !asked.iter().any(named) {
            asked.push(PoolSpec {
                chosen: true,
                // Tells the families of pools without a subnet apart.
                gateway: ipv6.then_some(std::net::Ipv6Addr::UNSPECIFIED.into()),
                ..PoolSpec::default()
            });
        }
    }
    let mut got: Vec<PoolSpec> = Vec::new();
    for pool in &asked {
        let ipv6 = match pool.subnet {
            Some(subnet) => subnet.is_ipv6(),
            None => pool.gateway.is_some(),
        };
        let named = pool.gateway.filter(|_| pool.subnet.is_some());
        let gateway = if ipv6 { gateway6 } else { gateway4 };
        match ask_pool(source, &spec.ipam, (pool, ipv6), (named, gateway), own) {
            Ok(filled) => got.push(filled),
            Err(error) => {
                release_pools(source, &got);
                return Err(error);
            }
        }
    }
    Ok(Decided {
        shown: got.clone(),
        pools: got,
    })
}

fn ask_pool(
    source: &Ipam,
    ipam: &IpamSpec,
    (pool, ipv6): (&PoolSpec, bool),
    (named, gateway): (Option<std::net::IpAddr>, bool),
    own: &[IpNet],
) -> Result<PoolSpec> {
    let answer: Pool = source.request_pool(&PoolQuestion {
        subnet: pool.subnet,
        range: pool.range,
        options: &ipam.options,
        v6: ipv6,
        taken: own,
    })?;
    let mut filled = pool.clone();
    filled.pool_id = Some(answer.id.clone());
    filled.subnet = Some(answer.subnet);
    let mut complete = || -> Result<()> {
        filled.gateway = match (named, answer.gateway) {
            (None, Some(given)) => Some(given),
            (None, None) if !gateway => None,
            (named, _) => Some(source.request_gateway(&answer, named)?.address()),
        };
        for address in pool.aux.values() {
            source.request_reserved(&answer, *address)?;
        }
        Ok(())
    };
    match complete() {
        Ok(()) => Ok(filled),
        Err(error) => {
            release_pools(source, std::slice::from_ref(&filled));
            Err(error)
        }
    }
}

fn release_pools(source: &Ipam, pools: &[PoolSpec]) {
    for id in pools.iter().filter_map(|pool| pool.pool_id.as_deref()) {
        if let Err(error) = source.release_pool(id) {
            let error = spec::error::chain(&error);
            tracing::warn!(pool = id, error, "an address plugin keeps a pool");
        }
    }
}

/// Options of the endpoint that the registry itself reads.
pub(crate) fn endpoint_option<'a>(
    options: &'a BTreeMap<String, String>,
    name: &str,
) -> Option<&'a str> {
    let key = format!("com.docker.network.endpoint.{name}");
    options
        .get(&key)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}
