//! A socket that has a port and does nothing with it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind as bind_socket, ipproto, listen,
    shutdown, socket_with, sockopt,
};

use crate::Protocol;

/// What a UDP socket may queue of packets that nobody reads: the kernel makes it some kilobytes.
const NO_ROOM: usize = 1;

/// Binds a socket; `None` where the kernel has none of the protocol.
pub(super) fn bind(protocol: Protocol, host: SocketAddr) -> Result<Option<OwnedFd>, Errno> {
    let socket = match open(protocol, host) {
        Err(Errno::PROTONOSUPPORT | Errno::PROTOTYPE) if protocol == Protocol::Sctp => {
            return Ok(None);
        }
        Err(Errno::AFNOSUPPORT) if host.is_ipv6() => return Ok(None),
        other => other?,
    };
    match bind_socket(&socket, &host) {
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => {
            // It may be connections of a former server that keep the port, for a minute.
            take_after_others(protocol, host).map(Some)
        }
        other => other.map(|()| Some(socket)),
    }
}

fn open(protocol: Protocol, host: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if host.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if host.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Udp {
        sockopt::set_socket_recv_buffer_size(&socket, NO_ROOM)?;
    }
    Ok(socket)
}

/// Takes a port that only ended connections have, as a server does that is started again.
///
/// A socket that allows reuse would let others in, unless it listens. So it listens for a moment,
/// which fails if somebody else does, and then forbids reuse; the port stays bound.
fn take_after_others(protocol: Protocol, host: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(protocol, host)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind_socket(&socket, &host)?;
    listen(&socket, 0)?;
    shutdown(&socket, Shutdown::Both)?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    Ok(socket)
}
