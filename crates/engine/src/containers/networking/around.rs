//! What surrounds a container because of its networks: the files under `/etc`, its links, and what
//! others are told of it before it runs.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::super::endpoint::Place;
use super::super::etc;
use super::super::record::Record;
use super::super::shared::Shared;
use super::{BRIDGE, Mode, links, roster};
use crate::Result;

/// What links say, while the container is in the default network.
pub(crate) fn told_by_links(shared: &Shared, record: &Record) -> Result<links::Told> {
    if record.links.is_empty() || !record.networks().contains_key(BRIDGE) {
        return Ok(links::Told::default());
    }
    links::tell(shared, record.name.as_str(), &record.links)
}

/// Opens the ports of links in both directions, and tells callers of the new address.
pub(crate) fn open_links(
    shared: &Shared,
    record: &Record,
    place: &Place,
    told: &links::Told,
) -> Result<()> {
    let Some(own) = place.endpoints.iter().find(|e| e.network == BRIDGE) else {
        return Ok(());
    };
    if !shared.config.inter_container {
        for (target, ports) in &told.opened {
            shared.network.allow_link(&record.id, target, ports)?;
        }
    }
    links::refresh_callers(shared, record, &addresses(own))
}

/// Whether [`announce`] has anything to do.
pub(crate) fn is_announced(place: &Place) -> bool {
    !place.ports.is_empty() || roster::has_names(place)
}

/// Makes a container's published ports lead into its sandbox, and names work in and for it.
///
/// # Errors
///
/// The firewall, the relay or the resolver refuses.
pub(crate) fn announce(
    shared: &Shared,
    record: &Record,
    place: &Place,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    if !place.ports.is_empty() {
        shared.network.publish(&record.id)?;
    }
    if roster::has_names(place) {
        roster::announce(shared, record, place, netns)?;
    }
    Ok(())
}

/// Addresses of an endpoint, IPv4 first.
pub(crate) fn addresses(endpoint: &network::Endpoint) -> Vec<IpAddr> {
    let v4 = endpoint.ipv4.map(|net| IpAddr::from(net.address()));
    let v6 = endpoint.ipv6.map(|net| IpAddr::from(net.address()));
    v4.into_iter().chain(v6).collect()
}

/// What the files under `/etc` depend on.
pub(crate) fn surroundings<'a>(
    shared: &'a Shared,
    record: &'a Record,
    place: &Place,
    links: &[(String, IpAddr)],
) -> etc::Surroundings<'a> {
    let mode = match Mode::of(&record.host.network_mode) {
        Mode::Host => etc::Mode::Host,
        _ if place.endpoints.is_empty() => etc::Mode::Isolated,
        _ if roster::has_names(place) => etc::Mode::Named,
        _ => etc::Mode::Legacy,
    };
    etc::Surroundings {
        config: &record.config,
        host: &record.host,
        engine: &shared.config,
        mode,
        addresses: place.endpoints.iter().flat_map(addresses).collect(),
        ipv6: place.endpoints.iter().any(|e| e.ipv6.is_some()),
        gateways: shared.host_gateway(),
        links: links.to_vec(),
    }
}

/// Writes the files under `/etc` of a running container anew.
pub(crate) fn write_etc(shared: &Shared, record: &Record, place: &Place) -> Result<()> {
    let told = told_by_links(shared, record)?;
    let around = surroundings(shared, record, place, &told.hosts);
    etc::write(&shared.files(record), &around)
}

/// Writes `/etc/resolv.conf` of a running container anew, unless its user changed it.
pub(crate) fn write_resolv_conf(shared: &Shared, record: &Record, place: &Place) -> Result<()> {
    let around = surroundings(shared, record, place, &[]);
    etc::write_resolv_conf(&shared.files(record), &around)
}
