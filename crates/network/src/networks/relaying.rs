//! Ports of the host's IPv6 addresses for containers with IPv4 alone, and those at `::1`, from where
//! nothing can be translated, for all containers: what the relay is told.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use relay::client::Client;
use relay::protocol::{Forward, Place, Protocol as Carried};
use spec::id::ContainerId;

use crate::ports::{Ports, Side};
use crate::{Error, Protocol, PublishedPort, Result, Settings};

/// Where relayed ports of a container lead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// Address of the container.
    pub(super) address: IpAddr,
    /// The host's interface that leads there.
    pub(super) interface: &'a str,
    /// Only ports that can be asked for at `::1`: everything else is translated.
    pub(super) loopback_only: bool,
}

impl Target<'_> {
    fn takes(&self, port: &PublishedPort) -> bool {
        !self.loopback_only || port.host_ip.is_loopback() || port.host_ip.is_unspecified()
    }
}

/// The relay, if there can be one.
#[derive(Debug)]
pub(super) struct Relaying {
    client: Option<Client>,
    /// New ports are published by it.
    enabled: bool,
    /// The host has IPv6.
    listens: OnceLock<bool>,
}

impl Relaying {
    pub(super) fn open(settings: &Settings) -> Result<Self> {
        let relay = settings.relay.clone();
        Ok(Self {
            client: relay
                .map(Client::open)
                .transpose()
                .map_err(|source| Error::Relay { source })?,
            enabled: settings.userland_proxy,
            listens: OnceLock::new(),
        })
    }

    /// A container's IPv4 side as it is offered at the host's IPv6 addresses.
    pub(super) fn offers(&self, ipv4: Option<Side>, routed: bool) -> Option<Side> {
        let offered = ipv4.filter(|_| self.enabled());
        offered.map(|side| Side { routed, ..side })
    }

    /// Whether new ports are published by it.
    pub(super) fn enabled(&self) -> bool {
        self.enabled && self.client.is_some()
    }

    /// Whether the host can be reached by IPv6, in dockerd's way of finding out.
    pub(super) fn listens(&self) -> bool {
        *self
            .listens
            .get_or_init(|| TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok())
    }

    /// The socket of a port that the relay has kept since the previous daemon.
    pub(super) fn take(&self, port: &PublishedPort) -> Option<OwnedFd> {
        self.client.as_ref()?.take(place(port)?)
    }

    /// Has those ports of a container relayed that lead to `target`, and no others.
    pub(super) fn set(
        &self,
        container: &ContainerId,
        ports: &[PublishedPort],
        target: Option<Target<'_>>,
        held: &Ports,
    ) -> Result<()> {
        let Some(client) = &self.client else {
            return Ok(());
        };
        let forward = |port: &PublishedPort| -> Option<(Forward, Arc<OwnedFd>)> {
            let target = target.filter(|target| target.takes(port))?;
            let forward = Forward {
                place: place(port)?,
                target: SocketAddr::new(target.address, port.container_port),
                interface: target.interface.to_owned(),
            };
            Some((forward, held.socket(container, port)?))
        };
        let forwards = ports.iter().filter_map(forward).collect();
        client
            .set(&container.to_string(), forwards)
            .map_err(|source| Error::Relay { source })
    }

    /// Everything was said that is left of the previous daemon's.
    pub(super) fn settle(&self) {
        if let Some(client) = &self.client {
            client.settle();
        }
    }
}

/// A port as the relay names it, if it can carry it.
fn place(port: &PublishedPort) -> Option<Place> {
    let protocol = match port.protocol {
        Protocol::Tcp => Carried::Tcp,
        Protocol::Udp => Carried::Udp,
        Protocol::Sctp => return None,
    };
    let relayed = port.host_ip.is_ipv6() && port.host_port != 0;
    relayed.then(|| Place {
        protocol,
        listen: SocketAddr::new(port.host_ip, port.host_port),
    })
}
