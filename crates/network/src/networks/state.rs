//! What is in memory: networks, who has which address, sandboxes. Values and their changes only.
//!
//! No kernel call is made and no other lock is taken while [`State`] is locked.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use spec::id::{ContainerId, NetworkId};
use spec::time::Timestamp;

use crate::addresses::{Addresses, Refusal};
use crate::driver::remote::ipam::Ipam;
use crate::driver::{Addressing, Driver, DriverNetwork, Ethernet, Traits};
use crate::{
    Endpoint, EndpointRequest, Error, IpNet, Ipv4Net, Ipv6Net, MacAddress, NetworkSpec,
    PortRequest, PublishedPort, Result,
};

/// Everything that changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub networks: BTreeMap<NetworkId, Net>,
    pub sandboxes: BTreeMap<ContainerId, Held>,
    /// Near ends that should go with their namespaces, and when they are looked at.
    pub parting: VecDeque<(Instant, String)>,
    pub stop: bool,
    /// The network whose spare sandbox is being made, with an address that nobody else can have.
    pub making: Option<NetworkId>,
}

/// One network.
#[derive(Debug)]
pub(crate) struct Net {
    pub about: Arc<DriverNetwork>,
    /// The definition as Docker shows it.
    pub shown: Arc<NetworkSpec>,
    pub created: Timestamp,
    pub predefined: bool,
    pub driver: Arc<dyn Driver>,
    pub traits: Traits,
    pub addresses: Vec<Addresses>,
    /// Addresses come from a plugin.
    pub ipam: Option<Arc<Ipam>>,
    /// What containers have as their gateway where it is not that of the definition.
    pub gateway4: Option<Ipv4Addr>,
    pub gateway6: Option<Ipv6Addr>,
    /// What the names of interfaces inside begin with.
    pub prefix: String,
    pub members: BTreeMap<ContainerId, Member>,
    /// Addresses of interfaces that a previous daemon left, until it is known whose they are.
    pub leftovers: Vec<(Ipv4Addr, String)>,
    pub spares: VecDeque<Spare>,
    pub wanted_spares: usize,
    pub last_use: Instant,
    /// It is being removed: nobody may come in any more.
    pub removing: bool,
}

/// What a container has in a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub ipv4: Option<Ipv4Net>,
    pub ipv6: Option<Ipv6Net>,
    pub mac: Option<MacAddress>,
}

/// A sandbox that belongs to no container yet; it has one endpoint.
#[derive(Debug)]
pub(crate) struct Spare {
    pub netns: OwnedFd,
    pub endpoint: Endpoint,
    pub member: Member,
}

/// A container's sandbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub name: String,
    /// Best candidate for the default route first.
    pub endpoints: Vec<Endpoint>,
    pub requests: Vec<PortRequest>,
    pub ports: Vec<PublishedPort>,
    /// The endpoint whose driver publishes the ports by itself, and was told to.
    pub programmed: Option<Endpoint>,
    /// It takes part in links.
    pub linked: bool,
}

impl State {
    pub(crate) fn net(&self, id: &NetworkId) -> Result<&Net> {
        self.networks.get(id).ok_or_else(|| no_network(id))
    }

    pub(crate) fn net_mut(&mut self, id: &NetworkId) -> Result<&mut Net> {
        self.networks.get_mut(id).ok_or_else(|| no_network(id))
    }

    /// The subnets of all networks.
    pub(crate) fn subnets(&self) -> Vec<IpNet> {
        let all = self.networks.values().flat_map(|net| &net.addresses);
        all.map(Addresses::subnet).collect()
    }
}

fn no_network(id: &NetworkId) -> Error {
    Error::NoSuchNetwork {
        key: id.to_string(),
    }
}

impl Held {
    /// Names an interface: as asked for, or the beginning with the next number.
    pub(crate) fn name_interface(&self, prefix: &str, asked: Option<&str>) -> Result<String> {
        if let Some(name) = asked {
            check_interface(name, &self.endpoints)?;
            return Ok(name.to_owned());
        }
        // The lowest free number, as in Docker.
        let is_free = |name: &String| !self.endpoints.iter().any(|e| e.interface == *name);
        let mut names = (0u32..).map(|number| format!("{prefix}{number}"));
        let name = names.find(is_free).unwrap_or_default();
        check_interface(&name, &self.endpoints)?;
        Ok(name)
    }
}

/// Refuses what the kernel would, in Docker's words.
fn check_interface(name: &str, others: &[Endpoint]) -> Result<()> {
    const NAME_BYTES: usize = 15;
    let reason = if name.len() > NAME_BYTES {
        "numerical result out of range"
    } else if name == "lo" || others.iter().any(|e| e.interface == name) {
        "file exists"
    } else if matches!(name, "" | "." | "..")
        || name
            .chars()
            .any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
    {
        "invalid argument"
    } else {
        return Ok(());
    };
    let text = format!(
        "failed to add interface to sandbox: error renaming interface to \"{name}\": {reason}"
    );
    Err(Error::refused(spec::error::ErrorKind::Internal, text))
}

impl Net {
    pub(crate) fn name(&self) -> &str {
        &self.shown.name
    }

    /// Whether sandboxes of this network can be made ahead.
    pub(crate) fn can_spare(&self) -> bool {
        self.about.spec.driver == "bridge" && self.ipam.is_none()
    }

    /// Reserves what is asked for. A spare sandbox gives its addresses up if need be: it is to be
    /// dropped once the state is no longer locked.
    pub(crate) fn reserve(
        &mut self,
        request: &EndpointRequest,
    ) -> std::result::Result<(Member, Option<Spare>), (Error, bool)> {
        let mut evicted = None;
        let mut member = Member::default();
        if self.traits.addressing == Addressing::Pools && self.ipam.is_none() {
            let spec = &self.about.spec;
            let families = [
                (spec.enable_ipv4, false, request.ipv4.map(IpAddr::from)),
                (spec.enable_ipv6, true, request.ipv6.map(IpAddr::from)),
            ];
            for (enabled, ipv6, wanted) in families {
                if !enabled {
                    continue;
                }
                match self.take(ipv6, wanted, &mut evicted) {
                    Ok(IpNet::V4(net)) => member.ipv4 = Some(net),
                    Ok(IpNet::V6(net)) => member.ipv6 = Some(net),
                    Err(refusal) => {
                        self.free(&member);
                        let again = matches!(refusal, Refusal::Exhausted | Refusal::InUse);
                        return Err((self.refusal(refusal, ipv6, wanted), again));
                    }
                }
            }
        }
        member.mac = self.mac(request, &member);
        Ok((member, evicted))
    }

    /// Takes an address of a family; the pools are asked in turn.
    fn take(
        &mut self,
        ipv6: bool,
        wanted: Option<IpAddr>,
        evicted: &mut Option<Spare>,
    ) -> std::result::Result<IpNet, Refusal> {
        match self.try_take(ipv6, wanted) {
            Err(Refusal::Exhausted) if evicted.is_none() => {
                *evicted = self.spares.pop_back();
            }
            Err(Refusal::InUse) if evicted.is_none() => {
                let has = |spare: &Spare| {
                    let v4 = spare.member.ipv4.map(|net| net.address().into());
                    let v6 = spare.member.ipv6.map(|net| net.address().into());
                    wanted.is_some() && (v4 == wanted || v6 == wanted)
                };
                let found = self.spares.iter().position(has);
                *evicted = found.and_then(|index| self.spares.remove(index));
            }
            done => return done,
        }
        if let Some(spare) = &*evicted {
            let member = spare.member;
            self.free(&member);
        }
        self.try_take(ipv6, wanted)
    }

    fn try_take(
        &mut self,
        ipv6: bool,
        wanted: Option<IpAddr>,
    ) -> std::result::Result<IpNet, Refusal> {
        let mut last = Refusal::Exhausted;
        let of_family = |pool: &&mut Addresses| pool.subnet().is_ipv6() == ipv6;
        for pool in self.addresses.iter_mut().filter(of_family) {
            let taken = match wanted {
                Some(address) => pool.take_this(address).map(|()| address),
                None => pool.take(),
            };
            match taken {
                Ok(address) => {
                    let net = IpNet::new(address, pool.subnet().prefix());
                    return Ok(net.expect("address and prefix are of one family"));
                }
                Err(refusal) => last = refusal,
            }
            if last == Refusal::InUse {
                break;
            }
        }
        Err(last)
    }

    /// Takes certain addresses, whatever happens to be free; tells which are another's.
    pub(crate) fn adopt(&mut self, member: &Member) -> std::result::Result<(), IpAddr> {
        let wanted = [
            member.ipv4.map(|net| net.address().into()),
            member.ipv6.map(|net| net.address().into()),
        ];
        let mut taken: Vec<IpAddr> = Vec::new();
        for address in wanted.into_iter().flatten() {
            let known = self
                .leftovers
                .iter()
                .position(|(a, _)| IpAddr::from(*a) == address);
            if let Some(index) = known {
                self.leftovers.swap_remove(index);
                taken.push(address);
            } else if self.try_take(address.is_ipv6(), Some(address)).is_ok() {
                taken.push(address);
            } else {
                for address in taken {
                    self.free_address(address);
                }
                return Err(address);
            }
        }
        Ok(())
    }

    /// Gives the addresses of a member back.
    pub(crate) fn free(&mut self, member: &Member) {
        if self.ipam.is_some() {
            return;
        }
        if let Some(net) = member.ipv4 {
            self.free_address(net.address().into());
        }
        if let Some(net) = member.ipv6 {
            self.free_address(net.address().into());
        }
    }

    pub(crate) fn free_address(&mut self, address: IpAddr) {
        for pool in &mut self.addresses {
            pool.free(address);
        }
    }

    /// Derives the Ethernet address: from what was asked for, so that it stays the same.
    pub(crate) fn mac(&self, request: &EndpointRequest, member: &Member) -> Option<MacAddress> {
        if request.mac.is_some() || self.traits.ethernet == Ethernet::Driver {
            return request.mac;
        }
        let six = |net: &Ipv6Net| MacAddress::of_ipv6(net.address());
        match (member.ipv4, &member.ipv6) {
            (_, Some(net)) if request.ipv4.is_none() && request.ipv6.is_some() => Some(six(net)),
            (Some(net), _) => Some(MacAddress::of(net.address())),
            (None, Some(net)) => Some(six(net)),
            (None, None) => None,
        }
    }

    fn refusal(&self, refusal: Refusal, ipv6: bool, wanted: Option<IpAddr>) -> Error {
        let address = wanted.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        match refusal {
            Refusal::Exhausted => Error::AddressesExhausted {
                family: if ipv6 { "IPv6" } else { "IPv4" },
                name: self.name().to_owned(),
                id: self.about.id.to_string(),
            },
            Refusal::InUse => Error::AddressInUse { address },
            Refusal::Outside => Error::AddressOutside { address },
        }
    }
}
