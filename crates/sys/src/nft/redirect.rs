//! A port of one loopback address that is served at another port: a small table of its own.
//!
//! The table of the calling thread's network namespace rewrites ports of packets that leave by the
//! loopback interface, in both directions and without connection tracking: whoever asks
//! `address:53` reaches a server at a port that nobody else wanted, and believes that 53 answered.
//!
//! ```text
//! table ip NAME { chain output { type filter hook output priority raw
//!     oifname != "lo" accept
//!     ip daddr A udp dport 53   notrack  udp dport set U        (and tcp, and the way back)
//! } }
//! ```

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::Result;
use crate::netlink::{Attributes, FLAG_APPEND, FLAG_CREATE, Messages, Protocol, Socket};

/// Refuses what exists.
const EXCLUSIVE: u16 = 0x200;
const CHAIN: &str = "output";
/// Before connection tracking (-200), which is not to see these packets.
const PRIORITY_RAW: i32 = -300;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEWTABLE: u16 = SUBSYSTEM << 8;
const DELTABLE: u16 = SUBSYSTEM << 8 | 2;
const NEWCHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEWRULE: u16 = SUBSYSTEM << 8 | 6;
const FAMILY_IP: u8 = 2;
const HOOK_OUTPUT: u32 = 3;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_OIFNAME: u32 = 7;
const NFT_META_L4PROTO: u32 = 16;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_PAYLOAD_SREG: u16 = 5;
const NFTA_PAYLOAD_CSUM_TYPE: u16 = 6;
const NFTA_PAYLOAD_CSUM_OFFSET: u16 = 7;
const NFT_PAYLOAD_CSUM_INET: u32 = 1;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFT_REG_VERDICT: u32 = 0;
const NFT_REG_1: u32 = 1;
const NF_ACCEPT: u32 = 1;
/// `lo` as the kernel compares names: all 16 bytes.
const LOOPBACK: &[u8; 16] = b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Which of the two addresses and ports of a packet.
#[derive(Debug, Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// A transport protocol: its number, and where its header has the checksum.
#[derive(Debug, Clone, Copy)]
struct Transport {
    number: u8,
    checksum: u32,
}

const UDP: Transport = Transport {
    number: 17,
    checksum: 6,
};
const TCP: Transport = Transport {
    number: 6,
    checksum: 16,
};

/// What becomes of a table that exists.
#[derive(Debug, Clone, Copy)]
enum How {
    Create,
    Replace,
}

/// What is served where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// Name of the table; one that exists is replaced.
    pub table: &'a str,
    /// The loopback address.
    pub address: Ipv4Addr,
    /// The port that is asked.
    pub port: u16,
    /// The port where UDP is answered.
    pub udp: u16,
    /// The port where TCP is answered.
    pub tcp: u16,
}

impl Redirect<'_> {
    /// Makes or replaces the table in the calling thread's network namespace, in one step.
    ///
    /// # Errors
    ///
    /// The kernel refuses; nothing is changed.
    pub fn install(&self) -> Result<()> {
        let install = |how| Socket::open(Protocol::Netfilter)?.transact(self.batch(how));
        // Even a deletion of nothing makes the kernel wait for all readers of rules: milliseconds.
        match install(How::Create) {
            Err(e) if e.errno() == Errno::EXIST => install(How::Replace),
            done => done,
        }
    }

    fn batch(&self, how: How) -> Messages {
        let mut batch = Messages::new();
        mark(&mut batch, BATCH_BEGIN);
        let table: &[(u16, u16)] = match how {
            How::Create => &[(NEWTABLE, FLAG_CREATE | EXCLUSIVE)],
            How::Replace => &[(DELTABLE, 0), (NEWTABLE, FLAG_CREATE)],
        };
        for kind in table {
            self.message(&mut batch, "table", *kind, |m| {
                m.text(NFTA_TABLE_NAME, self.table);
            });
        }
        self.message(&mut batch, "chain", (NEWCHAIN, FLAG_CREATE), |m| {
            m.text(NFTA_CHAIN_TABLE, self.table);
            m.text(NFTA_CHAIN_NAME, CHAIN);
            m.nest(NFTA_CHAIN_HOOK, |m| {
                m.be32(NFTA_HOOK_HOOKNUM, HOOK_OUTPUT);
                m.be32(NFTA_HOOK_PRIORITY, PRIORITY_RAW.cast_unsigned());
            });
            m.be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
            m.text(NFTA_CHAIN_TYPE, "filter");
        });
        self.rule(&mut batch, |m| {
            meta(m, NFT_META_OIFNAME);
            compare(m, NFT_CMP_NEQ, LOOPBACK);
            accept(m);
        });
        for (transport, port) in [(UDP, self.udp), (TCP, self.tcp)] {
            self.rewrite(&mut batch, transport, (Side::Destination, self.port), port);
            self.rewrite(&mut batch, transport, (Side::Source, port), self.port);
        }
        mark(&mut batch, BATCH_END);
        batch
    }

    /// `meta l4proto T ip {s,d}addr A th {s,d}port FROM notrack th {s,d}port set TO accept`
    fn rewrite(
        &self,
        batch: &mut Messages,
        transport: Transport,
        (side, from): (Side, u16),
        to: u16,
    ) {
        let (address, port) = match side {
            Side::Source => (12, 0),
            Side::Destination => (16, 2),
        };
        self.rule(batch, |m| {
            meta(m, NFT_META_L4PROTO);
            compare(m, NFT_CMP_EQ, &[transport.number]);
            load(m, NFT_PAYLOAD_NETWORK_HEADER, address, 4);
            compare(m, NFT_CMP_EQ, &self.address.octets());
            load(m, NFT_PAYLOAD_TRANSPORT_HEADER, port, 2);
            compare(m, NFT_CMP_EQ, &from.to_be_bytes());
            expression(m, "notrack", |_| {});
            expression(m, "immediate", |m| {
                m.be32(NFTA_IMMEDIATE_DREG, NFT_REG_1);
                m.nest(NFTA_IMMEDIATE_DATA, |m| {
                    m.put(NFTA_DATA_VALUE, &to.to_be_bytes());
                });
            });
            expression(m, "payload", |m| {
                m.be32(NFTA_PAYLOAD_SREG, NFT_REG_1);
                m.be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
                m.be32(NFTA_PAYLOAD_OFFSET, port);
                m.be32(NFTA_PAYLOAD_LEN, 2);
                m.be32(NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
                m.be32(NFTA_PAYLOAD_CSUM_OFFSET, transport.checksum);
            });
            accept(m);
        });
    }

    fn rule(&self, batch: &mut Messages, fill: impl FnOnce(&mut Attributes<'_>)) {
        let kind = (NEWRULE, FLAG_CREATE | FLAG_APPEND);
        self.message(batch, "rule", kind, |m| {
            m.text(NFTA_RULE_TABLE, self.table);
            m.text(NFTA_RULE_CHAIN, CHAIN);
            m.nest(NFTA_RULE_EXPRESSIONS, fill);
        });
    }

    fn message(
        &self,
        batch: &mut Messages,
        what: &str,
        kind: (u16, u16),
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let label = format!("nf_tables {what} of `{}`", self.table);
        batch.push(label, kind, &[FAMILY_IP, 0, 0, 0], fill);
    }
}

/// The opening or closing message of a batch.
fn mark(batch: &mut Messages, kind: u16) {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    batch.push("nf_tables batch", (kind, 0), &[0, 0, high, low], |_| {});
}

fn expression(m: &mut Attributes<'_>, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) {
    m.nest(NFTA_LIST_ELEM, |m| {
        m.text(NFTA_EXPR_NAME, name);
        m.nest(NFTA_EXPR_DATA, fill);
    });
}

fn meta(m: &mut Attributes<'_>, key: u32) {
    expression(m, "meta", |m| {
        m.be32(NFTA_META_KEY, key);
        m.be32(NFTA_META_DREG, NFT_REG_1);
    });
}

fn load(m: &mut Attributes<'_>, base: u32, offset: u32, length: u32) {
    expression(m, "payload", |m| {
        m.be32(NFTA_PAYLOAD_DREG, NFT_REG_1);
        m.be32(NFTA_PAYLOAD_BASE, base);
        m.be32(NFTA_PAYLOAD_OFFSET, offset);
        m.be32(NFTA_PAYLOAD_LEN, length);
    });
}

fn compare(m: &mut Attributes<'_>, how: u32, value: &[u8]) {
    expression(m, "cmp", |m| {
        m.be32(NFTA_CMP_SREG, NFT_REG_1);
        m.be32(NFTA_CMP_OP, how);
        m.nest(NFTA_CMP_DATA, |m| m.put(NFTA_DATA_VALUE, value));
    });
}

fn accept(m: &mut Attributes<'_>) {
    expression(m, "immediate", |m| {
        m.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        m.nest(NFTA_IMMEDIATE_DATA, |m| {
            m.nest(NFTA_DATA_VERDICT, |m| m.be32(NFTA_VERDICT_CODE, NF_ACCEPT));
        });
    });
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::Error;

    #[test]
    fn whoever_asks_the_port_reaches_the_other_one_and_sees_the_first() {
        let served = crate::netns::create(|_| {
            crate::process::loopback_up()?;
            check_inside();
            Ok::<_, Error>(())
        });
        served.expect("this test needs root");
    }

    fn check_inside() {
        let address = Ipv4Addr::new(127, 0, 0, 11);
        let udp = UdpSocket::bind((address, 0)).unwrap();
        let tcp = TcpListener::bind((address, 0)).unwrap();
        let mut redirect = Redirect {
            table: "corten-test",
            address,
            port: 53,
            udp: 1,
            tcp: 1,
        };
        redirect.install().unwrap();
        redirect.udp = udp.local_addr().unwrap().port();
        redirect.tcp = tcp.local_addr().unwrap().port();
        redirect.install().unwrap();
        // Nobody holds port 53: the container may.
        let own = UdpSocket::bind(("0.0.0.0", 53)).unwrap();
        let client = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        client.connect((address, 53)).unwrap();
        client.send(b"question").unwrap();
        let mut buffer = [0; 16];
        let (length, from) = udp.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from.ip().to_string().as_str()),
            (&b"question"[..], "127.0.0.1")
        );
        udp.send_to(b"answer", from).unwrap();
        // A connected socket takes it only from 127.0.0.11:53.
        let timeout = Some(std::time::Duration::from_secs(5));
        client.set_read_timeout(timeout).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        let other = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        other.send_to(b"own", ("127.0.0.1", 53)).unwrap();
        own.set_read_timeout(timeout).unwrap();
        assert_eq!(own.recv(&mut buffer).unwrap(), 3);
        let stream = TcpStream::connect((address, 53)).unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), 53);
        tcp.accept().unwrap();
    }
}
