//! What [`Shared`] does to the kernel: making sandboxes, and putting back what others removed.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use sys::netlink::{Messages, SetLink};

use crate::legacy::bridge;
use crate::legacy::network::Shared;
use crate::legacy::sandbox::{self, Plan};
use crate::legacy::spares::Spare;
use crate::legacy::firewall;
use crate::{Error, MacAddress, Result};

/// A name that is taken and a bridge that is gone can each cost one attempt.
const BUILD_ATTEMPTS: usize = 3;

impl Shared {
    /// Makes a sandbox, and the bridge again if it turns out to be gone.
    pub(crate) fn build(&self, address: Ipv4Addr, mac: MacAddress) -> Result<Spare> {
        let mut attempt = 1;
        loop {
            let plan = Plan {
                host_interface: sandbox::host_interface(address, nonce()),
                bridge: self.bridge_index.load(Ordering::SeqCst),
                mtu: self.bridge.mtu,
                address,
                prefix: self.bridge.address.prefix(),
                gateway: self.bridge.address.address(),
                mac,
                isolated: !self.config.inter_container,
            };
            let made = {
                let _turn = self.turn.lock();
                sandbox::create(&plan)
            };
            let error = match made {
                Ok(netns) => {
                    let host_interface = plan.host_interface;
                    return Ok(Spare {
                        netns,
                        host_interface,
                        address,
                        mac,
                    });
                }
                Err(error) => error,
            };
            match error.errno() {
                Errno::EXIST if attempt < BUILD_ATTEMPTS => {}
                Errno::INVAL | Errno::NODEV if attempt < BUILD_ATTEMPTS => self.restore()?,
                Errno::XFULL => {
                    let bridge = self.config.bridge.clone();
                    return Err(Error::BridgeFull { bridge });
                }
                _ => {
                    return Err(Error::kernel(format!("make a sandbox for {address}"))(
                        error,
                    ));
                }
            }
            attempt += 1;
        }
    }

    /// Tells whether the near end of a sandbox is still in the bridge.
    pub(crate) fn is_connected(&self, spare: &Spare) -> bool {
        let look = || {
            let mut socket = bridge::route_socket().ok()?;
            socket.link(&spare.host_interface).ok()?
        };
        let index = self.bridge_index.load(Ordering::SeqCst);
        look().is_some_and(|link| link.master == index)
    }

    /// Makes bridge and table what they should be, if somebody removed them.
    pub(crate) fn restore(&self) -> Result<()> {
        let mut socket = bridge::route_socket()?;
        let index = self.bridge_index.load(Ordering::SeqCst);
        let found = self.bridge.find(&mut socket)?;
        if found.is_none_or(|link| link.index != index || !link.up) {
            tracing::warn!(
                bridge = self.config.bridge,
                "bridge is gone, making it again"
            );
            let index = self.bridge.ensure(None)?;
            self.bridge_index.store(index, Ordering::SeqCst);
            self.rejoin(index)?;
        }
        if self.config.firewall && !self.firewall.exists()? {
            tracing::warn!(
                table = self.config.nft_table,
                "firewall table is gone, making it again"
            );
            self.firewall.apply()?;
        }
        Ok(())
    }

    /// Lists our interfaces: in our bridge, or in none and named after an address of ours.
    pub(crate) fn links(&self) -> Result<Vec<(Ipv4Addr, sys::netlink::Link)>> {
        let index = self.bridge_index.load(Ordering::SeqCst);
        let links = bridge::route_socket()?
            .links()
            .map_err(Error::kernel("list the host's interfaces"))?;
        let own = |link: sys::netlink::Link| {
            let address = sandbox::address_of(&link.name)?;
            let ours = self.bridge.address.contains(address);
            (ours && (link.master == index || link.master == 0)).then_some((address, link))
        };
        Ok(links.into_iter().filter_map(own).collect())
    }

    /// Puts interfaces that lost their bridge into the new one.
    fn rejoin(&self, index: u32) -> Result<()> {
        let join = SetLink {
            master: Some(index),
            up: Some(true),
            ..SetLink::default()
        };
        let mut requests = Messages::new();
        for (_, link) in self.links()? {
            if link.master == 0 {
                requests.set_link(link.index, &join);
                if !self.config.inter_container {
                    requests.set_bridge_port(&link.name, false, true);
                }
            }
        }
        // One that died meanwhile is refused; the others have joined all the same.
        if let Err(error) = bridge::route_socket()?.execute(requests) {
            tracing::debug!(
                error = spec::error::chain(&error),
                "an interface did not rejoin"
            );
        }
        Ok(())
    }

    /// Marks the addresses of interfaces that a previous daemon left.
    pub(crate) fn adopt_links(&self) -> Result<()> {
        self.rejoin(self.bridge_index.load(Ordering::SeqCst))?;
        let links = self.links()?;
        let mut table = self.lock();
        for (address, link) in links {
            if table.addresses.take_this(address).is_ok() {
                table.leftovers.push((address, link.name));
            }
        }
        Ok(())
    }

    /// Frees the addresses of left interfaces that are gone.
    pub(crate) fn sweep(&self) {
        if self.lock().leftovers.is_empty() {
            return;
        }
        let links = match self.links() {
            Ok(links) => links,
            Err(error) => {
                let error = spec::error::chain(&error);
                tracing::warn!(error, "could not look for left interfaces");
                return;
            }
        };
        let mut table = self.lock();
        let exists = |name: &String| links.iter().any(|(_, link)| link.name == *name);
        let (kept, gone) = std::mem::take(&mut table.leftovers)
            .into_iter()
            .partition(|(_, name)| exists(name));
        table.leftovers = kept;
        let gone: Vec<(Ipv4Addr, String)> = gone;
        for (address, _) in gone {
            table.addresses.free(address);
        }
    }

    /// Names foreign chains that may keep packets from the containers.
    pub(crate) fn blockers(&self) -> Vec<String> {
        if !self.config.firewall {
            return Vec::new();
        }
        firewall::blockers().unwrap_or_else(|error| {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "could not look for foreign firewall chains");
            Vec::new()
        })
    }
}

/// Random bits for an interface name; a constant if there are none, which a retry tells.
fn nonce() -> u32 {
    let mut bytes = [0; 4];
    let flags = rustix::rand::GetRandomFlags::empty();
    match rustix::rand::getrandom(&mut bytes, flags) {
        Ok(_) => u32::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}
