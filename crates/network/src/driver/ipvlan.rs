//! `ipvlan`: containers on the network of a host's interface, with its Ethernet address.

use std::os::fd::BorrowedFd;

use sys::netlink::{IpvlanFlag, IpvlanMode, Stacked};

use super::macvlan::{delete_inside, make};
use super::parent::{self, Parents, Sharing};
use super::{
    Addressing, Driver, DriverFailure, DriverNetwork, EndpointPlan, Ethernet, Joined, Traits,
};
use crate::{Endpoint, Error, NetworkSpec, Result, Settings};

/// Name of the driver.
pub(crate) const NAME: &str = "ipvlan";
const MODE: &str = "ipvlan_mode";
const FLAG: &str = "ipvlan_flag";

/// The driver.
#[derive(Debug)]
pub(crate) struct Ipvlan {
    parents: Parents,
}

impl Ipvlan {
    pub(crate) fn open(settings: &Settings) -> Self {
        Self {
            parents: Parents::new(NAME, "di-", &settings.nft_table),
        }
    }
}

fn mode(spec: &NetworkSpec) -> Result<IpvlanMode> {
    match spec.options.get(MODE).map_or("", String::as_str) {
        "" | "l2" => Ok(IpvlanMode::L2),
        "l3" => Ok(IpvlanMode::L3),
        "l3s" => Ok(IpvlanMode::L3s),
        other => Err(DriverFailure::refused(format!(
            "requested ipvlan mode '{other}' is not valid, 'l2' mode is the ipvlan driver default"
        ))
        .into()),
    }
}

fn flag(spec: &NetworkSpec) -> Result<IpvlanFlag> {
    match spec.options.get(FLAG).map_or("", String::as_str) {
        "" | "bridge" => Ok(IpvlanFlag::Bridge),
        "private" => Ok(IpvlanFlag::Private),
        "vepa" => Ok(IpvlanFlag::Vepa),
        other => Err(DriverFailure::refused(format!(
            "requested ipvlan flag '{other}' is not valid, 'bridge' is the ipvlan driver default"
        ))
        .into()),
    }
}

impl Driver for Ipvlan {
    fn traits(&self, _network: &NetworkSpec) -> Traits {
        Traits {
            addressing: Addressing::Pools,
            ethernet: Ethernet::Driver,
            publishes: false,
        }
    }

    fn check(&self, spec: &mut NetworkSpec) -> Result<()> {
        mode(spec)?;
        flag(spec)?;
        self.parents.check(spec)
    }

    fn create(&self, network: &DriverNetwork) -> Result<()> {
        let has = parent::host_socket()?.has_stacked(NAME);
        if !has.map_err(Error::kernel("ask the kernel for ipvlan links"))? {
            return Err(DriverFailure::NoKernel {
                what: "failed to create an ipvlan network".to_owned(),
                option: "CONFIG_IPVLAN",
            }
            .into());
        }
        self.parents.take(network, Sharing::Never)
    }

    fn remove(&self, network: &DriverNetwork) -> Result<()> {
        self.parents.release(network)
    }

    fn join(
        &self,
        network: &DriverNetwork,
        netns: BorrowedFd<'_>,
        plan: &EndpointPlan<'_>,
    ) -> Result<Joined> {
        if plan.mac.is_some() {
            return Err(DriverFailure::refused(
                "ipvlan interfaces do not support custom mac address assignment",
            )
            .into());
        }
        let mut socket = parent::host_socket()?;
        let parent = self.parents.index(&mut socket, network)?;
        let mode = mode(&network.spec)?;
        let kind = Stacked::Ipvlan(mode, flag(&network.spec)?);
        let mut joined = make(&mut socket, (parent, kind), netns, plan)?;
        // The parent routes: what is not on the link is behind it, too.
        joined.default_on_link = mode != IpvlanMode::L2 && self.leads_out(&network.spec);
        Ok(joined)
    }

    fn leave(
        &self,
        _network: &DriverNetwork,
        netns: Option<BorrowedFd<'_>>,
        endpoint: &Endpoint,
    ) -> Result<()> {
        delete_inside(netns, endpoint)
    }

    fn has_gateway(&self, network: &NetworkSpec) -> bool {
        self.leads_out(network) && mode(network).is_ok_and(|mode| mode == IpvlanMode::L2)
    }

    fn skips_gateways(&self, network: &NetworkSpec) -> Result<(bool, bool)> {
        let skips = !self.has_gateway(network);
        Ok((skips, skips))
    }
}

impl Ipvlan {
    fn leads_out(&self, network: &NetworkSpec) -> bool {
        !network.internal && parent::named(network).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_flags_are_docker_s() {
        let told = |option: &str, value: &str| {
            let mut spec = NetworkSpec::new("n");
            spec.options.insert(option.to_owned(), value.to_owned());
            let settings = Settings::new("/s", "/r", "b", "t");
            let checked = Ipvlan::open(&settings).check(&mut spec);
            checked.err().map(|error| error.to_string())
        };
        for good in ["", "l2", "l3", "l3s"] {
            assert_eq!(told(MODE, good), None);
        }
        for good in ["", "bridge", "private", "vepa"] {
            assert_eq!(told(FLAG, good), None);
        }
        let bad = "requested ipvlan mode 'zz' is not valid, 'l2' mode is the ipvlan driver default";
        assert_eq!(told(MODE, "zz").as_deref(), Some(bad));
        let bad = "requested ipvlan flag 'zz' is not valid, 'bridge' is the ipvlan driver default";
        assert_eq!(told(FLAG, "zz").as_deref(), Some(bad));
        let bad = "loopback interface is not a valid ipvlan parent link";
        assert_eq!(told(parent::PARENT, "lo").as_deref(), Some(bad));
    }

    #[test]
    fn routed_modes_have_no_gateway_but_a_route() {
        let settings = Settings::new("/s", "/r", "b", "t");
        let driver = Ipvlan::open(&settings);
        let mut spec = NetworkSpec::new("n");
        assert!(!driver.has_gateway(&spec));
        spec.options.insert(parent::PARENT.into(), "eth0".into());
        assert!(driver.has_gateway(&spec));
        spec.options.insert(MODE.into(), "l3".into());
        assert!(!driver.has_gateway(&spec) && driver.leads_out(&spec));
        assert_eq!(driver.skips_gateways(&spec).unwrap(), (true, true));
    }
}
