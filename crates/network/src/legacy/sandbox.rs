//! Making a sandbox: a network namespace, and in it `lo` and a veth end named `eth0`.
//!
//! ```text
//! throw-away thread                                host's socket        sandbox's socket
//!   unshare(NEWNET)
//!   add veth, near end up in the bridge, far end born here  ──►
//!   disable IPv6 on eth0 (sysctl)
//!   lo up, address, eth0 up, default route                                     ──►
//! caller's thread: ask for port and bridge until both pass packets ──►
//! ```
//! If a step fails the namespace is dropped, and the pair goes with it.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sys::netlink::{Messages, NewVeth, Protocol, SetLink, Socket};

use crate::MacAddress;

/// Name of the interface inside.
pub(crate) const INTERFACE: &str = "eth0";
/// Every namespace has its loopback as the first link.
const LOOPBACK: u32 = 1;
/// A carrier that takes longer than this is not waited for: packets get through in the end.
const CARRIER_PATIENCE: Duration = Duration::from_millis(100);
const CARRIER_PAUSE: Duration = Duration::from_micros(200);
const PREFIX: &str = "cv";

/// Everything that distinguishes one sandbox from another.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Name of the near end, from [`host_interface`].
    pub host_interface: String,
    /// Index of the bridge.
    pub bridge: u32,
    pub mtu: u32,
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub mac: MacAddress,
    /// Keeps the port from other ports of the bridge (no inter-container traffic).
    pub isolated: bool,
}

/// Names the near end after the address: `cv`, 8 hex digits of it, 5 random ones.
///
/// The kernel's list of links is thereby the record of the addresses in use, which no crash can
/// make wrong. The random part keeps a new pair apart from a dying one with the same address.
pub(crate) fn host_interface(address: Ipv4Addr, nonce: u32) -> String {
    format!("{PREFIX}{:08x}{:05x}", u32::from(address), nonce & 0xf_ffff)
}

/// The address that a link's name stands for, if the name is one of ours.
pub(crate) fn address_of(name: &str) -> Option<Ipv4Addr> {
    let hex = name.strip_prefix(PREFIX)?;
    let plain = hex
        .bytes()
        .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    if hex.len() != 13 || !plain {
        return None;
    }
    u32::from_str_radix(&hex[..8], 16).ok().map(Ipv4Addr::from)
}

/// Makes a namespace with `lo` alone.
pub(crate) fn empty() -> sys::Result<OwnedFd> {
    let (netns, ()) = sys::netns::create(|_| {
        let up = SetLink {
            up: Some(true),
            ..SetLink::default()
        };
        Socket::open(Protocol::Route)?.execute_one(|m| m.set_link(LOOPBACK, &up))
    })?;
    Ok(netns)
}

/// Makes a namespace with `lo` and a connected, addressed and routed `eth0`.
pub(crate) fn create(plan: &Plan) -> sys::Result<OwnedFd> {
    // Belongs to the caller's namespace although it is used on the other thread.
    let mut host = Socket::open(Protocol::Route)?;
    let (netns, ()) = sys::netns::create(|netns| {
        let mut requests = Messages::new();
        requests.add_veth(&NewVeth {
            name: &plan.host_interface,
            master: plan.bridge,
            mtu: plan.mtu,
            peer_name: INTERFACE,
            peer_address: plan.mac.0,
            peer_netns: netns.as_fd(),
        });
        if plan.isolated {
            requests.set_bridge_port(&plan.host_interface, false, true);
        }
        host.execute(requests)?;
        configure(plan)
    })?;
    await_carrier(&mut host, plan)?;
    Ok(netns)
}

/// Waits until the port and the bridge pass packets.
///
/// The kernel acts on a new carrier in a work item of its own. A packet that comes before is lost,
/// and the container waits a second for its repetition. Since Linux 6.8 asking for the link makes
/// the kernel act at once; before, a few rounds are needed.
fn await_carrier(host: &mut Socket, plan: &Plan) -> sys::Result<()> {
    let deadline = Instant::now() + CARRIER_PATIENCE;
    loop {
        let port = host.link(&plan.host_interface)?;
        let bridge = host.link_at(plan.bridge)?;
        let ready = [port, bridge].iter().flatten().all(|l| l.operational);
        if ready || Instant::now() > deadline {
            return Ok(());
        }
        std::thread::sleep(CARRIER_PAUSE);
    }
}

/// Sets up the links of the calling thread's namespace.
fn configure(plan: &Plan) -> sys::Result<()> {
    disable_ipv6()?;
    let mut socket = Socket::open(Protocol::Route)?;
    // The index is not always 2: some hosts put tunnel devices into every new namespace.
    let link = socket
        .link(INTERFACE)?
        .ok_or_else(|| sys::Error::new(format!("RTM_GETLINK(`{INTERFACE}`)"), Errno::NODEV))?;
    let up = SetLink {
        up: Some(true),
        ..SetLink::default()
    };
    let mut requests = Messages::new();
    requests.set_link(LOOPBACK, &up);
    requests.add_address(link.index, plan.address.into(), plan.prefix);
    requests.set_link(link.index, &up);
    requests.add_route(None, plan.gateway.into());
    socket.execute(requests)
}

/// Keeps `eth0` of an IPv4-only network from getting IPv6 addresses; `lo` keeps `::1`, as in Docker.
fn disable_ipv6() -> sys::Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{INTERFACE}/disable_ipv6");
    match std::fs::write(&path, "1") {
        // A kernel without IPv6.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => {
            let errno = Errno::from_io_error(&e).unwrap_or(Errno::IO);
            Err(sys::Error::new(format!("write(`{path}`)"), errno))
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_address_and_only_ours_do() {
        let address = Ipv4Addr::new(172, 17, 0, 2);
        let name = host_interface(address, 0xfff_1234);
        assert_eq!(name, "cvac110002f1234");
        assert_eq!(name.len(), 15);
        assert_eq!(address_of(&name), Some(address));
        for foreign in [
            "",
            "cv",
            "cvac110002",
            "cvAC110002f1234",
            "veth1234567890a",
            "cv+c110002f1234",
            "cvüüüüüüé",
        ] {
            assert_eq!(address_of(foreign), None, "{foreign}");
        }
    }
}
