//! Datagrams of IPv6 sockets, with the address of the host by which they came.
//!
//! A server that is bound to all addresses has to answer from the one that was asked. See ipv6(7),
//! `IPV6_PKTINFO`.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::{Error, Result};

/// Bytes before the data of a control message, and those of its data, with padding.
const HEADER: usize = size_of::<libc::cmsghdr>();
const INFO: usize = size_of::<libc::in6_pktinfo>();
const SPACE: usize = HEADER + INFO.next_multiple_of(size_of::<usize>());

/// Room for control messages, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; SPACE]);

/// An address of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Local {
    /// The address.
    pub address: Ipv6Addr,
    /// Index of the interface; 0 leaves it to the routes.
    pub interface: u32,
}

/// A datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// How many bytes of the buffer it fills.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddrV6,
    /// Where it was sent to; none unless [`tell_destinations`] was asked for.
    pub at: Option<Local>,
}

/// Has every datagram of a socket come with its destination.
pub fn tell_destinations(socket: BorrowedFd<'_>) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads the four bytes of `on`, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            (&raw const on).cast(),
            4,
        )
    };
    if done == 0 {
        return Ok(());
    }
    let errno = Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO);
    Err(Error::new(
        format!("setsockopt(`{}`, IPV6_RECVPKTINFO)", socket.as_raw_fd()),
        errno,
    ))
}

/// Receives a datagram; does not wait.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Arrived> {
    let mut name = sockaddr(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
    let mut control = Control([0; SPACE]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeroes is a message header without name, data and control messages.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = SPACE as _;
    // SAFETY: name, part, buffer and control are alive and as long as the header says.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok(Arrived {
        length,
        from: SocketAddrV6::new(
            Ipv6Addr::from(name.sin6_addr.s6_addr),
            u16::from_be(name.sin6_port),
            0,
            name.sin6_scope_id,
        ),
        at: read(&control.0[..(header.msg_controllen as usize).min(SPACE)]),
    })
}

/// Sends a datagram, from an address of the host; does not wait.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    to: &SocketAddrV6,
    from: Option<Local>,
) -> io::Result<()> {
    let mut name = sockaddr(to);
    let mut control = Control([0; SPACE]);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeroes is a message header without name, data and control messages.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if let Some(from) = from {
        write(&mut control.0, from);
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = SPACE as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: name, part, bytes and control are alive and as long as the header says; the kernel
    // only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn sockaddr(address: &SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: address.port().to_be(),
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr {
            s6_addr: address.ip().octets(),
        },
        sin6_scope_id: address.scope_id(),
    }
}

/// Writes the one control message there is.
fn write(control: &mut [u8; SPACE], from: Local) {
    let (header, data) = control.split_at_mut(HEADER);
    let word = size_of::<usize>();
    header[..word].copy_from_slice(&(HEADER + INFO).to_ne_bytes());
    header[word..word + 4].copy_from_slice(&libc::IPPROTO_IPV6.to_ne_bytes());
    header[word + 4..word + 8].copy_from_slice(&libc::IPV6_PKTINFO.to_ne_bytes());
    data[..16].copy_from_slice(&from.address.octets());
    data[16..20].copy_from_slice(&from.interface.to_ne_bytes());
}

/// Reads the one control message that was asked for.
fn read(control: &[u8]) -> Option<Local> {
    let word = size_of::<usize>();
    let number = |at: usize| -> Option<i32> {
        let bytes = control.get(at..at + 4)?.try_into().ok()?;
        Some(i32::from_ne_bytes(bytes))
    };
    if number(word)? != libc::IPPROTO_IPV6 || number(word + 4)? != libc::IPV6_PKTINFO {
        return None;
    }
    let address: [u8; 16] = control.get(HEADER..HEADER + 16)?.try_into().ok()?;
    Some(Local {
        address: address.into(),
        interface: number(HEADER + 16)?.cast_unsigned(),
    })
}

const _: () = assert!(INFO == 20 && HEADER == size_of::<usize>() + 8);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn an_answer_leaves_by_the_address_that_was_asked() {
        crate::netns::create(|_| {
            crate::process::loopback_up()?;
            let server = UdpSocket::bind("[::]:0").unwrap();
            tell_destinations(server.as_fd())?;
            let port = server.local_addr().unwrap().port();
            let client = UdpSocket::bind("[::1]:0").unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            let mut buffer = [0; 16];
            let empty = receive(server.as_fd(), &mut buffer).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
            client.send_to(b"question", ("::1", port)).unwrap();
            let got = receive(server.as_fd(), &mut buffer).unwrap();
            assert_eq!(&buffer[..got.length], b"question");
            assert_eq!(SocketAddr::V6(got.from), client.local_addr().unwrap());
            let at = got.at.unwrap();
            assert_eq!((at.address, at.interface), (Ipv6Addr::LOCALHOST, 1));
            send(server.as_fd(), b"answer", &got.from, got.at).unwrap();
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"answer");
            assert_eq!(from, (Ipv6Addr::LOCALHOST, port).into());
            let not_ours = Local {
                address: "2001:db8::1".parse().unwrap(),
                interface: 0,
            };
            let refused = send(server.as_fd(), b"forged", &got.from, Some(not_ours));
            assert!(refused.is_err(), "the address is taken seriously");
            Ok::<_, Error>(())
        })
        .expect("this test needs root");
    }
}
