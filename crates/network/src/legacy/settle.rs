//! Opening: checking the configuration, deciding the bridge's address, making the bridge.

use std::net::Ipv4Addr;

use crate::legacy::addresses::Addresses;
use crate::legacy::bridge::{self, Bridge, ChoiceLock};
use crate::legacy::record::Record;
use crate::legacy::{NetworkConfig, sandbox};
use crate::{Error, Ipv4Net, Result};

/// Longest interface name.
const NAME_BYTES: usize = 15;

/// Refuses names that the kernel would refuse later or read differently.
pub(crate) fn check(config: &NetworkConfig) -> Result<()> {
    let name = &config.bridge;
    let plain = name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
    let rule = if name.is_empty() || name.len() > NAME_BYTES || !plain || name.starts_with('.') {
        format!("`{name}` cannot be the name of a bridge")
    } else if sandbox::address_of(name).is_some() {
        format!("bridge name `{name}` is reserved for container interfaces")
    } else if config.nft_table.is_empty() || config.nft_table.contains('\0') {
        format!("`{}` cannot be the name of a table", config.nft_table)
    } else if !(config.mtu == 0 || (68..=65_535).contains(&config.mtu)) {
        format!("MTU {} is not 68 to 65535", config.mtu)
    } else {
        return Ok(());
    };
    Err(Error::InvalidConfig { rule })
}

/// Decides the bridge's address, remembers it, and makes the bridge.
pub(crate) fn settle(
    config: &NetworkConfig,
    record: &mut Record,
    mtu: u32,
) -> Result<(Bridge, u32)> {
    let _choice = ChoiceLock::acquire();
    let mut socket = bridge::route_socket()?;
    let named = |address| Bridge {
        name: config.bridge.clone(),
        address,
        mtu,
    };
    let nowhere = Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).expect("0 is a prefix length");
    let own = named(nowhere).find(&mut socket)?.map(|link| link.index);
    let present = match own {
        Some(index) => bridge::addresses(&mut socket, index)?,
        None => Vec::new(),
    };
    let claims = bridge::claims(&mut socket, own)?;
    let collision = |net: Ipv4Net| claims.iter().find(|c| !c.remote && c.net.overlaps(&net));
    let kept = record
        .address
        .filter(|address| present.contains(address) || collision(*address).is_none())
        .or_else(|| present.first().copied());
    let address = match (config.bip, kept) {
        (Some(bip), _) => {
            if let Some(claim) = collision(bip) {
                let link = socket.link_at(claim.index).ok().flatten();
                return Err(Error::Overlap {
                    bridge: config.bridge.clone(),
                    other: claim.net.into(),
                    interface: link.map_or_else(|| claim.index.to_string(), |link| link.name),
                });
            }
            bip
        }
        (None, Some(kept)) => kept,
        (None, None) => bridge::choose(&config.pools, &claims)?,
    };
    // Before anything is made: an unusable subnet must leave nothing behind.
    Addresses::new(address, address.address(), config.fixed_cidr)?;
    let former = record.address.replace(address);
    let bridge = named(address);
    let index = bridge.ensure(former)?;
    if former != Some(address) {
        record.save(&config.state_dir)?;
    }
    Ok((bridge, index))
}

/// Lets the host pass packets on, as Docker does; never switches it off again.
pub(crate) fn enable_forwarding() -> Result<()> {
    let path = "/proc/sys/net/ipv4/ip_forward";
    let value = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    if value.trim() == "0" {
        std::fs::write(path, "1").map_err(Error::file("write", path))?;
        tracing::info!("net.ipv4.ip_forward was off and is now on");
    }
    Ok(())
}
