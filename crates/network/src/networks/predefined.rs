//! `bridge`, `host` and `none`: networks that are not made but given.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use spec::id::NetworkId;
use spec::time::Timestamp;

use super::state::Net;
use crate::addresses::Addresses;
use crate::driver::bridge::{self, Options};
use crate::driver::{Driver, DriverNetwork};
use crate::ipam::{self, ChoiceLock};
use crate::record::DefaultRecord;
use crate::{AddressPool, Error, IpNet, Ipv4Net, Ipv6Net, NetworkSpec, PoolSpec, Result, Settings};

const OPTION: &str = "com.docker.network.bridge";

/// Identity of a network that is the same everywhere.
pub(crate) fn fixed_id(name: &str) -> NetworkId {
    use sha2::Digest as _;
    let text = format!("corten network {name}");
    NetworkId::from_bytes(sha2::Sha256::digest(text.as_bytes()).into())
}

/// `host` or `none`.
pub(crate) fn plain(name: &str, driver: Arc<dyn Driver>, created: Timestamp) -> Net {
    let spec = NetworkSpec {
        driver: if name == "host" { "host" } else { "null" }.to_owned(),
        ..NetworkSpec::new(name)
    };
    let about = DriverNetwork {
        id: fixed_id(name),
        spec: spec.clone(),
    };
    net(about, spec, created, driver, Vec::new())
}

/// The memory of a network that has no endpoints yet.
pub(crate) fn net(
    about: DriverNetwork,
    shown: NetworkSpec,
    created: Timestamp,
    driver: Arc<dyn Driver>,
    addresses: Vec<Addresses>,
) -> Net {
    let prefix = match Options::parse(&about.spec) {
        Ok(options) if about.spec.driver == "bridge" => options.prefix,
        _ => "eth".to_owned(),
    };
    Net {
        traits: driver.traits(&about.spec),
        prefix,
        about: Arc::new(about),
        shown: Arc::new(shown),
        created,
        predefined: true,
        driver,
        addresses,
        ipam: None,
        gateway4: None,
        gateway6: None,
        members: BTreeMap::new(),
        leftovers: Vec::new(),
        spares: std::collections::VecDeque::new(),
        wanted_spares: 0,
        last_use: Instant::now(),
        removing: false,
    }
}

/// The private prefix of this data root: `fd`, 40 bits that follow from its identity, `/48`.
pub(crate) fn private_pool(identity: &NetworkId) -> AddressPool {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(format!("corten prefix {identity}").as_bytes());
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&digest[..5]);
    let base = Ipv6Net::new(octets.into(), 48).expect("48 is a prefix length of IPv6");
    AddressPool {
        base: base.into(),
        size: 64,
    }
}

/// Decides the addresses of the default bridge, remembers them, and makes it.
pub(crate) fn default_bridge(
    settings: &Settings,
    record: &mut DefaultRecord,
    pools: &[AddressPool],
    (own, own_links): (&[IpNet], &[u32]),
    driver: Arc<dyn Driver>,
) -> Result<Net> {
    let _choice = ChoiceLock::acquire();
    let config = &settings.default_bridge;
    let mut socket = bridge::route_socket()?;
    let name = &config.name;
    let step = Error::kernel(format!("look for bridge {name}"));
    let link = socket.link(name).map_err(step)?;
    let present = match &link {
        Some(link) => ipam::link_nets(&mut socket, link.index)?,
        None => Vec::new(),
    };
    let mut links = own_links.to_vec();
    links.extend(link.map(|link| link.index));
    let mut context = Context {
        claims: ipam::claims(&mut socket, &links)?,
        own,
        pools,
        present,
        bridge: name.clone(),
        socket,
    };
    let address = context.decide(
        config.bip.map(IpNet::V4),
        record.address.map(IpNet::V4),
        false,
    )?;
    let address6 = if config.ipv6 {
        let asked = config.bip6.or_else(|| config.fixed_cidr_v6.map(first_of));
        Some(context.decide(asked.map(IpNet::V6), record.address6.map(IpNet::V6), true)?)
    } else {
        None
    };
    let (address, address6) = (address.v4(), address6.and_then(|net| net.v6()));
    let shown = spec(settings, address, address6);
    let mut pools = shown.ipam.pools.clone();
    // Before anything is made: an unusable subnet must leave nothing behind.
    let addresses = pools
        .iter_mut()
        .map(|pool| {
            ipam::set_aside(pool, true).map_err(|error| Error::InvalidConfig {
                rule: spec::error::chain(&error),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut filled = shown.clone();
    driver.check(&mut filled)?;
    let about = DriverNetwork {
        id: record.id,
        spec: filled,
    };
    let former = (record.address, record.address6);
    record.address = address;
    record.address6 = address6;
    driver.create(&about)?;
    if former != (address, address6) {
        give_up(
            name,
            &[former.0.map(IpNet::V4), former.1.map(IpNet::V6)],
            &shown,
        )?;
        record.save(&settings.state_dir)?;
    }
    let mut net = net(about, shown, record.created, driver, addresses);
    net.gateway4 = config.gateway;
    net.gateway6 = config.gateway_v6;
    net.wanted_spares = settings.spares;
    Ok(net)
}

/// Takes addresses away from the bridge that it has no more.
fn give_up(bridge: &str, former: &[Option<IpNet>], spec: &NetworkSpec) -> Result<()> {
    let mut socket = bridge::route_socket()?;
    let step = || Error::kernel(format!("remove an address of {bridge}"));
    let Some(link) = socket.link(bridge).map_err(step())? else {
        return Ok(());
    };
    let present = ipam::link_nets(&mut socket, link.index)?;
    let kept: Vec<_> = spec
        .ipam
        .pools
        .iter()
        .filter_map(|pool| pool.gateway)
        .collect();
    for net in former.iter().flatten() {
        if present.contains(net) && !kept.contains(&net.address()) {
            let done =
                socket.execute_one(|m| m.delete_address(link.index, net.address(), net.prefix()));
            done.map_err(step())?;
        }
    }
    Ok(())
}

fn first_of(net: Ipv6Net) -> Ipv6Net {
    let first = u128::from(net.first()).saturating_add(1);
    Ipv6Net::new(first.into(), net.prefix()).unwrap_or(net)
}

/// What the choice of an address depends on.
struct Context<'a> {
    claims: Vec<ipam::Claim>,
    own: &'a [IpNet],
    pools: &'a [AddressPool],
    present: Vec<IpNet>,
    bridge: String,
    socket: sys::netlink::Socket,
}

impl Context<'_> {
    fn decide(&mut self, asked: Option<IpNet>, former: Option<IpNet>, ipv6: bool) -> Result<IpNet> {
        let present = self.present.iter().filter(|net| {
            let link_local = matches!(net, IpNet::V6(net) if net.address().is_unicast_link_local());
            net.is_ipv6() == ipv6 && !link_local
        });
        let present: Vec<IpNet> = present.copied().collect();
        let kept = former
            .filter(|net| present.contains(net) || self.collision(*net).is_none())
            .or_else(|| present.first().copied());
        if let Some(asked) = asked {
            if let Some((other, index)) = self.collision(asked) {
                let link = self.socket.link_at(index).ok().flatten();
                return Err(Error::Overlap {
                    bridge: self.bridge.clone(),
                    other,
                    interface: link.map_or_else(|| index.to_string(), |link| link.name),
                });
            }
            return Ok(asked);
        }
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let subnet = ipam::choose(self.pools, ipv6, &self.claims, self.own)?;
        let mut pool = PoolSpec {
            subnet: Some(subnet),
            ..PoolSpec::default()
        };
        ipam::set_aside(&mut pool, true)?;
        let gateway: Option<IpAddr> = pool.gateway;
        IpNet::new(gateway.unwrap_or(subnet.first()), subnet.prefix())
    }

    fn collision(&self, net: IpNet) -> Option<(IpNet, u32)> {
        let near = self
            .claims
            .iter()
            .find(|c| !c.remote && c.net.overlaps(&net));
        near.map(|claim| (claim.net, claim.index))
    }
}

fn spec(settings: &Settings, address: Option<Ipv4Net>, address6: Option<Ipv6Net>) -> NetworkSpec {
    let config = &settings.default_bridge;
    let mut spec = NetworkSpec::new("bridge");
    spec.enable_ipv6 = address6.is_some();
    if let Some(net) = address {
        let mut pool = PoolSpec {
            subnet: Some(net.network().into()),
            range: config.fixed_cidr.map(|cidr| cidr.network().into()),
            gateway: Some(net.address().into()),
            chosen: true,
            ..PoolSpec::default()
        };
        if let Some(gateway) = config.gateway {
            pool.aux
                .insert("DefaultGatewayIPv4".to_owned(), gateway.into());
        }
        spec.ipam.pools.push(pool);
    }
    if let Some(net) = address6 {
        let range = config.fixed_cidr_v6.map(|cidr| cidr.network());
        let mut pool = PoolSpec {
            subnet: Some(net.network().into()),
            range: range.filter(|range| *range != net.network()).map(IpNet::V6),
            gateway: Some(net.address().into()),
            chosen: true,
            ..PoolSpec::default()
        };
        if let Some(gateway) = config.gateway_v6 {
            pool.aux
                .insert("DefaultGatewayIPv6".to_owned(), gateway.into());
        }
        spec.ipam.pools.push(pool);
    }
    spec.ipam.driver = "default".to_owned();
    let binding = match config.host_binding {
        Some(address) => address.to_string(),
        None => "0.0.0.0".to_owned(),
    };
    let mtu = if config.mtu == 0 { 1500 } else { config.mtu };
    spec.options = BTreeMap::from([
        (format!("{OPTION}.default_bridge"), "true".to_owned()),
        (
            format!("{OPTION}.enable_icc"),
            config.inter_container.to_string(),
        ),
        (
            format!("{OPTION}.enable_ip_masquerade"),
            config.masquerade.to_string(),
        ),
        (format!("{OPTION}.host_binding_ipv4"), binding),
        (format!("{OPTION}.name"), config.name.clone()),
        ("com.docker.network.driver.mtu".to_owned(), mtu.to_string()),
    ]);
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_prefix_follows_from_the_identity() {
        let pool = private_pool(&NetworkId::from_bytes([1; 32]));
        assert_eq!(pool, private_pool(&NetworkId::from_bytes([1; 32])));
        assert_ne!(pool, private_pool(&NetworkId::from_bytes([2; 32])));
        let base = pool.base.v6().unwrap();
        assert_eq!(base.address().octets()[0], 0xfd);
        assert_eq!((base.prefix(), pool.size), (48, 64));
        assert_eq!(base, base.network());
    }
}
