//! Who is found by which names: what the resolver is told.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard};

use network::Endpoint;
use resolver::names::{Joined, Member, NetworkNames, SandboxNames};
use spec::NetworkId;

use super::super::endpoint::Place;
use super::super::etc;
use super::super::record::Record;
use super::super::shared::Shared;
use super::{is_user_defined, links, view};
use crate::Result;
use crate::names::Names;

/// The members of all networks that have names.
#[derive(Debug)]
pub(crate) struct Roster {
    names: Names,
    // Held while the resolver is told, so that it hears of changes in their order; telling it takes
    // less than a millisecond.
    networks: Mutex<BTreeMap<String, NetworkNames>>,
}

impl Roster {
    /// Nobody is in any network yet.
    pub(crate) fn new(names: Names) -> Self {
        Self {
            names,
            networks: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, NetworkNames>> {
        self.networks.lock().expect("no panics while held")
    }

    fn enter(&self, endpoint: &Endpoint, member: Member) {
        let id = endpoint.network_id.to_string();
        let mut networks = self.lock();
        let network = networks.entry(id.clone()).or_insert_with(|| NetworkNames {
            id,
            name: endpoint.network.clone(),
            members: BTreeMap::new(),
        });
        network
            .members
            .insert(endpoint.endpoint_id.to_string(), member);
        self.names.set_network(network.clone());
    }

    fn leave(&self, endpoint: &Endpoint) {
        let mut networks = self.lock();
        let id = endpoint.network_id.to_string();
        if let Some(network) = networks.get_mut(&id)
            && network
                .members
                .remove(&endpoint.endpoint_id.to_string())
                .is_some()
        {
            self.names.set_network(network.clone());
        }
    }

    /// A network was removed.
    pub(crate) fn drop_network(&self, id: &NetworkId) {
        let id = id.to_string();
        if self.lock().remove(&id).is_some() {
            self.names.drop_network(&id);
        }
    }

    /// Everything that an earlier engine left and that was not said again is forgotten.
    pub(crate) fn settle(&self) {
        self.names.settle();
    }
}

/// Whether a container is found by names, and finds others: it is in a network of a user's own.
pub(crate) fn has_names(place: &Place) -> bool {
    place.endpoints.iter().any(|e| is_user_defined(&e.network))
}

/// Makes a container known in its networks, and the names of others known in its sandbox.
///
/// # Errors
///
/// The resolver cannot be started, or refuses.
pub(crate) fn announce(
    shared: &Shared,
    record: &Record,
    place: &Place,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let named = || {
        place
            .endpoints
            .iter()
            .filter(|e| is_user_defined(&e.network))
    };
    let mut networks = Vec::new();
    for endpoint in named() {
        let Some(attachment) = record.networks().get(&endpoint.network) else {
            continue;
        };
        shared.roster.enter(
            endpoint,
            Member {
                names: view::dns_names(record, attachment),
                ipv4: endpoint.ipv4.map(|net| net.address()),
                ipv6: endpoint.ipv6.map(|net| net.address()),
            },
        );
        let links = attachment.settings.links.iter().flatten();
        let links = links.filter_map(|text| links::parse(text).ok());
        networks.push(Joined {
            network: endpoint.network_id.to_string(),
            links: links
                .map(|(name, alias)| (alias.to_owned(), name.to_owned()))
                .collect(),
        });
    }
    let outward = |e: &Endpoint| {
        let spec = shared.network.spec(&e.network_id);
        // Without a parent these lead nowhere, although nobody called them internal.
        let leads_out = match e.driver.as_str() {
            "macvlan" | "ipvlan" => {
                e.gateway4.is_some() || e.gateway6.is_some() || e.default_on_link
            }
            _ => true,
        };
        leads_out && spec.is_some_and(|spec| !spec.internal)
    };
    shared.roster.names.set_sandbox(
        SandboxNames {
            id: record.id.to_string(),
            networks,
            upstreams: etc::upstreams(&record.host, &shared.config),
            ndots_set: etc::ndots_set(&record.host, &shared.config),
            forward: place.endpoints.iter().any(outward),
        },
        netns,
    )
}

/// Takes back what [`announce`] made known; what was not is no error.
pub(crate) fn withdraw(shared: &Shared, record: &Record, place: &Place) {
    for endpoint in place
        .endpoints
        .iter()
        .filter(|e| is_user_defined(&e.network))
    {
        shared.roster.leave(endpoint);
    }
    if has_names(place) {
        shared.roster.names.drop_sandbox(&record.id.to_string());
    }
}

/// A running container left its last network with names.
pub(crate) fn close(shared: &Shared, record: &Record) {
    shared.roster.names.drop_sandbox(&record.id.to_string());
}

/// A running container left one network and keeps the rest.
pub(crate) fn withdraw_from(shared: &Shared, endpoint: &Endpoint) {
    if is_user_defined(&endpoint.network) {
        shared.roster.leave(endpoint);
    }
}

/// A running container has another name now.
pub(crate) fn rename(shared: &Shared, record: &Record, place: &Place) {
    for endpoint in place
        .endpoints
        .iter()
        .filter(|e| is_user_defined(&e.network))
    {
        if let Some(attachment) = record.networks().get(&endpoint.network) {
            let member = Member {
                names: view::dns_names(record, attachment),
                ipv4: endpoint.ipv4.map(|net| net.address()),
                ipv6: endpoint.ipv6.map(|net| net.address()),
            };
            shared.roster.enter(endpoint, member);
        }
    }
}
