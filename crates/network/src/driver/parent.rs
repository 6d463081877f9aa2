//! Parents of macvlan and ipvlan networks: interfaces of the host, VLANs on them, or none.
//!
//! ```text
//! -o parent=eth0      found, never touched
//! -o parent=eth0.10   found, or made as VLAN 10 of eth0 and removed with its last network
//! (none)              dm-<id> or di-<id>, an interface that leads nowhere
//! ```
//!
//! What was made here carries the daemon's mark as the kernel's group of the link, from the moment it
//! exists, so that no record can be wrong about whose it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use sha2::Digest as _;
use spec::id::NetworkId;
use sys::netlink::{Endless, Protocol, Socket};

use super::{DriverFailure, DriverNetwork};
use crate::{Error, NetworkSpec, Result};

/// Option with the name of the parent.
pub(super) const PARENT: &str = "parent";
/// VLANs are numbers of 12 bits, the first and the last of which mean something else.
const VLANS: std::ops::RangeInclusive<i64> = 1..=4094;

/// Opens a route socket of the host's namespace.
pub(super) fn host_socket() -> Result<Socket> {
    Socket::open(Protocol::Route).map_err(Error::kernel("open a netlink socket"))
}

/// Which networks have which parent, of all drivers: a VLAN that one made may be another's, too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Users(Arc<Mutex<BTreeMap<NetworkId, User>>>);

/// What a network does with its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    driver: &'static str,
    parent: String,
    /// Nobody else can have the same parent (`passthru`).
    alone: bool,
}

/// The parents of all networks of one driver.
#[derive(Debug)]
pub(super) struct Parents {
    /// Name of the driver.
    driver: &'static str,
    /// What the names of parents that lead nowhere begin with.
    prefix: &'static str,
    /// Group of what is ours.
    mark: u32,
    users: Users,
}

/// Whether the networks of a driver may have one parent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// With others that share.
    Shared,
    /// Never (`macvlan_mode=passthru`).
    Passthru,
    /// Never, whatever they do (ipvlan).
    Never,
}

impl Parents {
    pub(super) fn new(
        driver: &'static str,
        prefix: &'static str,
        table: &str,
        users: &Users,
    ) -> Self {
        Self {
            driver,
            prefix,
            mark: mark(table),
            users: users.clone(),
        }
    }

    fn users(&self) -> MutexGuard<'_, BTreeMap<NetworkId, User>> {
        self.users.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a parent that can be none.
    pub(super) fn check(&self, spec: &NetworkSpec) -> Result<()> {
        match named(spec) {
            Some("lo") => Err(DriverFailure::refused(format!(
                "loopback interface is not a valid {} parent link",
                self.driver
            ))
            .into()),
            _ => Ok(()),
        }
    }

    /// Name of a network's parent.
    pub(super) fn name(&self, network: &DriverNetwork) -> String {
        match named(&network.spec) {
            Some(name) => name.to_owned(),
            None => self.endless(&network.id),
        }
    }

    fn endless(&self, id: &NetworkId) -> String {
        let id = id.to_string();
        format!("{}{}", self.prefix, id.get(..12).unwrap_or(&id))
    }

    /// Takes a parent for a network, and makes it where it is missing.
    pub(super) fn take(&self, network: &DriverNetwork, sharing: Sharing) -> Result<()> {
        let parent = self.name(network);
        let mut users = self.users();
        for (id, other) in users.iter() {
            // Links of two drivers cannot be on one parent at the same time, but their networks can.
            if other.parent != parent || other.driver != self.driver || *id == network.id {
                continue;
            }
            let text = match (sharing, other.alone) {
                (Sharing::Never, _) => format!(
                    "network {} is already using parent interface {parent}",
                    self.endless(id)
                ),
                (Sharing::Passthru, _) => format!(
                    "cannot use mode passthru, {} network {id} is already using parent interface {parent}",
                    self.driver
                ),
                (Sharing::Shared, true) => format!(
                    "{} network {id} is already using parent interface {parent} in mode passthru",
                    self.driver
                ),
                (Sharing::Shared, false) => continue,
            };
            return Err(DriverFailure::refused(text).into());
        }
        self.ensure(&mut host_socket()?, &parent, network)?;
        users.insert(network.id, self.user(network, sharing));
        Ok(())
    }

    /// Takes the parent of a network that exists; it is the network's even if it cannot be made now.
    pub(super) fn retake(&self, network: &DriverNetwork, sharing: Sharing) -> Result<()> {
        let mut users = self.users();
        users.insert(network.id, self.user(network, sharing));
        self.ensure(&mut host_socket()?, &self.name(network), network)
    }

    fn user(&self, network: &DriverNetwork, sharing: Sharing) -> User {
        User {
            driver: self.driver,
            parent: self.name(network),
            alone: sharing == Sharing::Passthru,
        }
    }

    /// Index of a network's parent, which is made again if it was ours and is gone.
    pub(super) fn index(&self, socket: &mut Socket, network: &DriverNetwork) -> Result<u32> {
        let parent = self.name(network);
        self.ensure(socket, &parent, network)?;
        match look(socket, &parent)? {
            Some(index) => Ok(index),
            None => Err(DriverFailure::refused(format!(
                "the requested parent interface {parent} was not found on the Docker host"
            ))
            .into()),
        }
    }

    fn ensure(&self, socket: &mut Socket, parent: &str, network: &DriverNetwork) -> Result<()> {
        if look(socket, parent)?.is_some() {
            return Ok(());
        }
        if parent == self.endless(&network.id) {
            return self.make_endless(socket, parent);
        }
        let (below, vlan) = split(parent)?;
        let Some(below_index) = look(socket, below)? else {
            return Err(DriverFailure::refused(format!(
                "-o parent interface was not found on the host: {below}"
            ))
            .into());
        };
        let vlan = vlan_id(vlan)?;
        let what = || format!("create {parent} vlan link");
        match socket.execute_one(|m| m.add_vlan(parent, self.mark, below_index, vlan)) {
            Ok(()) => Ok(()),
            // Somebody else was faster.
            Err(error) if error.errno() == Errno::EXIST => Ok(()),
            Err(error) if error.errno() == Errno::OPNOTSUPP => Err(DriverFailure::NoKernel {
                what: format!("failed to {}", what()),
                option: "CONFIG_VLAN_8021Q",
            }
            .into()),
            Err(error) => Err(Error::kernel(what())(error)),
        }
    }

    /// Makes a parent that leads nowhere: of the kind made for it, or of another that does the same.
    fn make_endless(&self, socket: &mut Socket, name: &str) -> Result<()> {
        let mut missing = None;
        for kind in [Endless::Dummy, Endless::Ifb] {
            match socket.execute_one(|m| m.add_endless(name, self.mark, kind)) {
                Ok(()) => return Ok(()),
                Err(error) if error.errno() == Errno::EXIST => return Ok(()),
                Err(error) if error.errno() == Errno::OPNOTSUPP => missing = Some(error),
                Err(error) => {
                    let step = format!("create the {} parent {name}", self.driver);
                    return Err(Error::kernel(step)(error));
                }
            }
        }
        tracing::debug!(?missing, "the kernel has no interfaces that lead nowhere");
        Err(DriverFailure::NoKernel {
            what: format!("failed to create the {} parent {name}", self.driver),
            option: "CONFIG_DUMMY or CONFIG_IFB, or name a parent: -o parent=<interface>",
        }
        .into())
    }

    /// Lets go of a network's parent; one that was made here goes with its last network.
    pub(super) fn release(&self, network: &DriverNetwork) -> Result<()> {
        let parent = self.name(network);
        let mut users = self.users();
        users.remove(&network.id);
        if users.values().any(|user| user.parent == parent) {
            return Ok(());
        }
        let mut socket = host_socket()?;
        let step = || Error::kernel(format!("remove the {} parent {parent}", self.driver));
        if socket.group(&parent).map_err(step())? != Some(self.mark) {
            return Ok(());
        }
        let Some(index) = look(&mut socket, &parent)? else {
            return Ok(());
        };
        match socket.execute_one(|m| m.delete_link(index)) {
            Err(error) if error.errno() != Errno::NODEV => Err(step()(error)),
            _ => Ok(()),
        }
    }
}

/// A number that daemons of other data roots, and people who number their interfaces, do not have.
fn mark(table: &str) -> u32 {
    let digest = sha2::Sha256::digest(format!("corten {table}"));
    let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
    // Neither small, as people's numbers are, nor negative for programs that think it signed.
    u32::from_be_bytes([a & 0x3f | 0x40, b, c, d])
}

/// The parent that the options name.
pub(super) fn named(spec: &NetworkSpec) -> Option<&str> {
    let name = spec.options.get(PARENT)?;
    Some(name.as_str()).filter(|name| !name.is_empty())
}

fn look(socket: &mut Socket, name: &str) -> Result<Option<u32>> {
    let step = Error::kernel(format!("look for interface {name}"));
    // The kernel refuses names that no interface can have, which is another way of not being there.
    match socket.link(name) {
        Ok(link) => Ok(link.map(|link| link.index)),
        Err(error) if matches!(error.errno(), Errno::RANGE | Errno::INVAL) => Ok(None),
        Err(error) => Err(step(error)),
    }
}

/// Splits the name of a VLAN, Docker's way.
fn split(name: &str) -> Result<(&str, &str)> {
    let text = match name.split('.').collect::<Vec<_>>()[..] {
        [below, vlan] => return Ok((below, vlan)),
        [_] => {
            format!("invalid subinterface vlan name {name}, example formatting is eth0.10")
        }
        _ => format!(
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
        ),
    };
    Err(DriverFailure::refused(text).into())
}

fn vlan_id(text: &str) -> Result<u16> {
    let number: i64 = text.parse().map_err(|_| {
        DriverFailure::refused(format!(
            "unable to parse a valid vlan id from: {text} (ex. eth0.10 for vlan 10)"
        ))
    })?;
    match u16::try_from(number) {
        Ok(id) if VLANS.contains(&number) => Ok(id),
        _ => Err(DriverFailure::refused(format!(
            "vlan id must be between 1-4094, received: {number}"
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vlans_are_read_as_docker_reads_them() {
        let read = |name: &'static str| -> std::result::Result<(&str, u16), String> {
            let told = |error: Error| error.to_string();
            let (below, vlan) = split(name).map_err(told)?;
            Ok((below, vlan_id(vlan).map_err(told)?))
        };
        assert_eq!(read("eth0.10"), Ok(("eth0", 10)));
        assert_eq!(read("eth0.4094"), Ok(("eth0", 4094)));
        let refused = |name, text: &str| assert_eq!(read(name), Err(text.to_owned()));
        refused(
            "nope",
            "invalid subinterface vlan name nope, example formatting is eth0.10",
        );
        refused(
            "a.1.2",
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received a.1.2",
        );
        refused(
            "eth0.x",
            "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)",
        );
        for bad in ["eth0.0", "eth0.4095", "eth0.5000", "eth0.-1", "eth0.70000"] {
            let error = read(bad).unwrap_err();
            assert!(error.starts_with("vlan id must be between 1-4094"), "{bad}");
        }
    }
}
