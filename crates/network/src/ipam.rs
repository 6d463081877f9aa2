//! Which subnets a network gets: what its user asked for, checked; the rest chosen from the pools.
//!
//! A choice avoids our own networks, and the host's addresses and routes (a VPN's among them) as
//! they are at that moment. It is made under a lock that every daemon of this network namespace
//! respects (an abstract socket's name), so two daemons at once do not take the same subnet.

mod check;
mod claims;

pub(crate) use check::check;
pub(crate) use claims::{ChoiceLock, Claim, claims, link_nets};

use spec::error::ErrorKind;

use crate::addresses::{Addresses, Refusal};
use crate::{AddressPool, Error, IpNet, PoolSpec, Result};

/// The subnets of a network, decided.
#[derive(Debug)]
pub(crate) struct Decided {
    /// As Docker shows them.
    pub shown: Vec<PoolSpec>,
    /// As they are used: gateways filled in, families that are off left out.
    pub pools: Vec<PoolSpec>,
}

/// What the decision depends on.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// What the user asked for; checked already.
    pub asked: &'a [PoolSpec],
    pub ipv4: bool,
    pub ipv6: bool,
    /// Whether a gateway is set aside where none is named: IPv4, IPv6.
    pub gateways: (bool, bool),
    /// Where subnets come from.
    pub pools: &'a [AddressPool],
    /// What others use on this host.
    pub claims: &'a [Claim],
    /// What our own networks use.
    pub own: &'a [IpNet],
}

/// Decides; touches nothing.
pub(crate) fn decide(question: &Question<'_>) -> Result<Decided> {
    let mut shown = question.asked.to_vec();
    for (wanted, ipv6) in [(question.ipv4, false), (question.ipv6, true)] {
        let of_family = |pool: &PoolSpec| pool.subnet.is_some_and(|net| net.is_ipv6() == ipv6);
        if !wanted || question.asked.iter().any(of_family) {
            continue;
        }
        let subnet = choose(question.pools, ipv6, question.claims, question.own)?;
        shown.push(PoolSpec {
            subnet: Some(subnet),
            chosen: true,
            ..PoolSpec::default()
        });
    }
    let mut pools = Vec::new();
    for pool in &mut shown {
        let Some(subnet) = pool.subnet else { continue };
        if !(if subnet.is_ipv6() {
            question.ipv6
        } else {
            question.ipv4
        }) {
            continue;
        }
        if question.own.iter().any(|net| net.overlaps(&subnet)) {
            return Err(Error::refused(
                ErrorKind::Forbidden,
                "invalid pool request: Pool overlaps with other one on this address space",
            ));
        }
        let mut used = pool.clone();
        let (gateway4, gateway6) = question.gateways;
        let gateway = if subnet.is_ipv6() { gateway6 } else { gateway4 };
        set_aside(&mut used, gateway)?;
        if pool.chosen {
            pool.gateway = used.gateway;
        }
        pools.push(used);
    }
    Ok(Decided { shown, pools })
}

/// Makes the addresses of a pool; takes those of the gateway, which is filled in, and of others.
pub(crate) fn set_aside(pool: &mut PoolSpec, gateway: bool) -> Result<Addresses> {
    let subnet = pool.subnet.ok_or_else(|| Error::InvalidConfig {
        rule: "a pool without a subnet".to_owned(),
    })?;
    let mut addresses = Addresses::new(subnet, pool.range)?;
    let refused = |what: &str, refusal| {
        let reason = match refusal {
            Refusal::Exhausted if subnet.is_ipv6() => "no available addresses on this pool",
            Refusal::Exhausted => "No available addresses on this pool",
            Refusal::InUse => "Address already in use",
            Refusal::Outside => "Requested address is out of range",
        };
        Error::refused(
            ErrorKind::Internal,
            format!("failed to allocate {what}: {reason}"),
        )
    };
    match pool.gateway {
        Some(named) => addresses
            .take_this(named)
            .map_err(|refusal| refused(&format!("gateway ({named})"), refusal))?,
        None if gateway => {
            let taken = addresses.take();
            pool.gateway = Some(taken.map_err(|refusal| refused("gateway ()", refusal))?);
        }
        None => {}
    }
    for (name, address) in &pool.aux {
        addresses.take_this(*address).map_err(|refusal| {
            refused(&format!("secondary ip address ({name}:{address})"), refusal)
        })?;
    }
    Ok(addresses)
}

/// Picks the first subnet that nobody uses; routes through gateways are respected if possible.
pub(crate) fn choose(
    pools: &[AddressPool],
    ipv6: bool,
    claims: &[Claim],
    own: &[IpNet],
) -> Result<IpNet> {
    let near: Vec<IpNet> = claims.iter().filter(|c| !c.remote).map(|c| c.net).collect();
    let far: Vec<IpNet> = claims.iter().filter(|c| c.remote).map(|c| c.net).collect();
    let clear = |subnet: &IpNet, nets: &[IpNet]| !nets.iter().any(|net| net.overlaps(subnet));
    let subnets = || {
        let pools = pools.iter().filter(|pool| pool.base.is_ipv6() == ipv6);
        pools
            .flat_map(|pool| pool.subnets())
            .filter(|subnet| clear(subnet, own) && clear(subnet, &near))
    };
    subnets()
        .find(|subnet| clear(subnet, &far))
        .or_else(|| subnets().next())
        .ok_or(Error::PoolsExhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn claim(text: &str, remote: bool) -> Claim {
        Claim {
            net: net(text),
            index: 3,
            remote,
        }
    }

    fn chosen(claims: &[Claim], own: &[IpNet]) -> String {
        choose(&AddressPool::defaults(), false, claims, own)
            .map_or_else(|e| e.to_string(), |n| n.to_string())
    }

    #[test]
    fn the_first_free_subnet_is_chosen() {
        assert_eq!(chosen(&[], &[]), "172.17.0.0/16");
        let near = [claim("172.17.200.9/24", false)];
        assert_eq!(chosen(&near, &[]), "172.18.0.0/16");
        assert_eq!(chosen(&near, &[net("172.18.0.0/30")]), "172.19.0.0/16");
        assert_eq!(
            chosen(&[claim("172.16.0.0/12", false)], &[]),
            "192.168.0.0/20"
        );
        let full = [
            claim("172.16.0.0/12", false),
            claim("192.168.0.0/16", false),
        ];
        assert!(chosen(&full, &[]).starts_with("all predefined"));
    }

    #[test]
    fn a_vpn_for_everything_private_does_not_stop_us() {
        let vpn = [claim("172.16.0.0/12", true), claim("192.168.0.0/16", true)];
        assert_eq!(chosen(&vpn, &[]), "172.17.0.0/16");
        assert_eq!(chosen(&vpn[..1], &[]), "192.168.0.0/20");
        assert_eq!(chosen(&vpn, &[net("172.17.0.0/16")]), "172.18.0.0/16");
    }

    fn decided(asked: &[PoolSpec], (ipv4, ipv6): (bool, bool), gateway: bool) -> Result<Decided> {
        let mut pools = AddressPool::defaults();
        pools.push(AddressPool {
            base: net("fd00:1:2::/48"),
            size: 64,
        });
        decide(&Question {
            asked,
            ipv4,
            ipv6,
            gateways: (gateway, gateway),
            pools: &pools,
            claims: &[],
            own: &[net("10.9.0.0/16")],
        })
    }

    fn asked(subnet: &str) -> PoolSpec {
        PoolSpec {
            subnet: Some(net(subnet)),
            ..PoolSpec::default()
        }
    }

    #[test]
    fn missing_families_are_chosen_and_shown_with_their_gateway() {
        let both = decided(&[], (true, true), true).unwrap();
        assert_eq!(both.shown, both.pools);
        assert_eq!(both.shown[0].gateway, Some("172.17.0.1".parse().unwrap()));
        assert_eq!(both.shown[1].subnet, Some(net("fd00:1:2::/64")));
        assert_eq!(both.shown[1].gateway, Some("fd00:1:2::1".parse().unwrap()));
        assert!(both.shown.iter().all(|pool| pool.chosen));
        let six = decided(&[], (false, true), false).unwrap();
        assert_eq!(six.shown.len(), 1);
        assert_eq!(six.pools[0].gateway, None);
    }

    #[test]
    fn what_was_asked_for_is_shown_as_asked() {
        let four = decided(&[asked("10.1.0.0/24")], (true, false), true).unwrap();
        assert_eq!(four.shown, [asked("10.1.0.0/24")]);
        assert_eq!(four.pools[0].gateway, Some("10.1.0.1".parse().unwrap()));
        // A family that is off is shown and not used.
        let off = decided(&[asked("fd00::/64")], (true, false), true).unwrap();
        assert_eq!((off.shown.len(), off.pools.len()), (2, 1));
        assert_eq!(off.pools[0].subnet, Some(net("172.17.0.0/16")));
    }

    #[test]
    fn collisions_have_dockers_texts() {
        let text = |asked: PoolSpec| {
            let error = decided(&[asked], (true, false), true).unwrap_err();
            error.to_string()
        };
        assert_eq!(
            text(asked("10.9.4.0/24")),
            "invalid pool request: Pool overlaps with other one on this address space"
        );
        let gateway = |gateway: &str| PoolSpec {
            gateway: Some(gateway.parse().unwrap()),
            ..asked("10.1.0.0/24")
        };
        assert_eq!(
            text(gateway("10.1.0.255")),
            "failed to allocate gateway (10.1.0.255): Address already in use"
        );
        let aux = PoolSpec {
            aux: [("a".to_owned(), "10.1.0.1".parse().unwrap())].into(),
            ..asked("10.1.0.0/24")
        };
        assert_eq!(
            text(aux),
            "failed to allocate secondary ip address (a:10.1.0.1): Address already in use"
        );
    }
}
