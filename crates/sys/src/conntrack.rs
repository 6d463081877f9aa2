//! Connection tracking: making the kernel forget flows.
//!
//! ctnetlink, `linux/netfilter/nfnetlink_conntrack.h`. A flow keeps the translation that its first
//! packet got; a UDP sender that never pauses would keep talking to where a port led long ago.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::Result;
use crate::netlink::{Answer, Attribute, Messages, Protocol, Socket};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// The filter compares the protocol, and nothing else.
const FILTER_PROTOCOL: u32 = 1 << 3;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const UDP: u8 = 17;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Room for what the kernel answers to one request: flows go in portions.
const PORTION: usize = 256;

/// Forgets the UDP flows that were begun towards these addresses; an unspecified one means all.
pub fn forget_udp(targets: &[SocketAddr]) -> Result<()> {
    let ports: BTreeSet<(bool, u16)> = targets
        .iter()
        .map(|target| (target.is_ipv6(), target.port()))
        .collect();
    let meant = |address: IpAddr, port: u16| {
        ports.contains(&(address.is_ipv6(), port))
            && targets.iter().any(|target| {
                target.port() == port
                    && target.is_ipv6() == address.is_ipv6()
                    && (target.ip().is_unspecified() || target.ip() == address)
            })
    };
    let mut socket = Socket::open(Protocol::Netfilter)?;
    for family in [AF_INET, AF_INET6] {
        if !targets.iter().any(|t| t.is_ipv6() == (family == AF_INET6)) {
            continue;
        }
        let flows = udp_flows(&mut socket, family)?;
        let gone: Vec<&Answer> = flows
            .iter()
            .filter(|flow| destination(flow).is_some_and(|(address, port)| meant(address, port)))
            .collect();
        for portion in gone.chunks(PORTION) {
            forget(&mut socket, family, portion)?;
        }
    }
    Ok(())
}

fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_CTNETLINK << 8 | message
}

fn udp_flows(socket: &mut Socket, family: u8) -> Result<Vec<Answer>> {
    let mut request = Messages::new();
    let kind = (kind(IPCTNL_MSG_CT_GET), 0);
    request.push("IPCTNL_MSG_CT_GET(udp)", kind, &[family, 0, 0, 0], |m| {
        // Kernels before 5.8 know no filter and tell everything.
        m.nest(CTA_FILTER, |m| {
            m.u32(CTA_FILTER_ORIG_FLAGS, FILTER_PROTOCOL);
            m.u32(CTA_FILTER_REPLY_FLAGS, 0);
        });
        m.nest(CTA_TUPLE_ORIG, |m| {
            m.nest(CTA_TUPLE_PROTO, |m| m.put(CTA_PROTO_NUM, &[UDP]));
        });
    });
    socket.dump(&request)
}

/// Where a UDP flow was begun towards.
fn destination(flow: &Answer) -> Option<(IpAddr, u16)> {
    let tuple = Attribute::find(flow.body.get(4..)?, CTA_TUPLE_ORIG)?;
    let ip = Attribute::find(tuple, CTA_TUPLE_IP)?;
    let protocol = Attribute::find(tuple, CTA_TUPLE_PROTO)?;
    if Attribute::find(protocol, CTA_PROTO_NUM)?.first() != Some(&UDP) {
        return None;
    }
    let port = Attribute::find(protocol, CTA_PROTO_DST_PORT)?;
    let port = u16::from_be_bytes(port.get(..2)?.try_into().ok()?);
    let v4 = || {
        let bytes: [u8; 4] = Attribute::find(ip, CTA_IP_V4_DST)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let v6 = || {
        let bytes: [u8; 16] = Attribute::find(ip, CTA_IP_V6_DST)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    Some((v4().or_else(v6)?, port))
}

/// Deletes flows, each named by the attributes that it was told with.
fn forget(socket: &mut Socket, family: u8, flows: &[&Answer]) -> Result<()> {
    const NESTED: u16 = 1 << 15;
    let mut requests = Messages::new();
    for flow in flows {
        let kind = (kind(IPCTNL_MSG_CT_DELETE), 0);
        requests.push("IPCTNL_MSG_CT_DELETE", kind, &[family, 0, 0, 0], |m| {
            for attribute in Attribute::all(flow.body.get(4..).unwrap_or_default()) {
                match attribute.kind {
                    CTA_TUPLE_ORIG => m.put(CTA_TUPLE_ORIG | NESTED, attribute.value),
                    CTA_ID | CTA_ZONE => m.put(attribute.kind, attribute.value),
                    _ => {}
                }
            }
        });
    }
    match socket.execute(requests) {
        // It ended by itself meanwhile.
        Err(error) if error.errno() == Errno::NOENT => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_and_cut_flows_are_none() {
        let mut messages = Messages::new();
        messages.push("flow", (0x100, 0), &[AF_INET, 0, 0, 0], |m| {
            m.nest(CTA_TUPLE_ORIG, |m| {
                m.nest(CTA_TUPLE_IP, |m| {
                    m.put(1, &[10, 0, 0, 9]);
                    m.put(CTA_IP_V4_DST, &[10, 0, 0, 1]);
                });
                m.nest(CTA_TUPLE_PROTO, |m| {
                    m.put(CTA_PROTO_NUM, &[UDP]);
                    m.put(2, &4000u16.to_be_bytes());
                    m.put(CTA_PROTO_DST_PORT, &53u16.to_be_bytes());
                });
            });
        });
        let body = messages.bytes()[16..].to_vec();
        let flow = |body: &[u8]| Answer {
            kind: 0x100,
            body: body.to_vec(),
        };
        let want = (IpAddr::from([10, 0, 0, 1]), 53);
        assert_eq!(destination(&flow(&body)), Some(want));
        for cut in 0..body.len() - 2 {
            assert_eq!(destination(&flow(&body[..cut])), None, "{cut}");
        }
    }
}
