//! What the daemon and the relay say to each other.
//!
//! One JSON document is one `SOCK_SEQPACKET` message of at most [`MAX_MESSAGE`] bytes; every request
//! is answered by one reply, in order. The first request of a connection is [`Request::Hello`].

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::WireError;

/// Version of this protocol; a relay of another version is replaced.
pub const VERSION: u32 = 1;

/// Name of the socket, in the exec root.
pub const SOCKET: &str = "relay.sock";

/// The descriptor at which `corten-shim relay` finds its listening socket.
pub const LISTENER_FD: i32 = 3;

/// Longest message: room for some hundred ports.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Most ports of one message that carries their sockets.
pub const MAX_SOCKETS: usize = sys::fdpass::MAX_FDS;

/// Most ports of one message without sockets.
pub const MAX_PLACES: usize = 500;

/// What can be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address and port.
    pub listen: SocketAddr,
}

/// A port of the host, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The port of the host.
    #[serde(flatten)]
    pub place: Place,
    /// The container's address and port.
    pub target: SocketAddr,
    /// The host's interface that leads there and is gone with the container.
    pub interface: String,
}

/// Daemon → relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who is there? Answered by [`Reply::About`], by every version.
    Hello {
        /// The caller's [`VERSION`].
        version: u32,
    },
    /// Ports to be carried. Descriptors: a bound socket for each, in the same order.
    ///
    /// A port that leads to the same target already stays as it is.
    Open(Vec<Forward>),
    /// Ports that end, with their connections.
    Close(Vec<Place>),
    /// Which ports are there? Answered by [`Reply::Ports`].
    Ports {
        /// How many of them, in their order, are known already.
        known: usize,
    },
    /// Everything was said: what this connection has not opened is closed.
    Settle,
    /// Leave the ports to another relay, and end with the last connection.
    Retire,
    /// End now.
    Leave,
}

/// Relay → daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Hello`].
    About(About),
    /// To [`Request::Ports`]: some of them, none when there are no more. Descriptors: their sockets.
    Ports(Vec<Place>),
    /// To everything else: it was done.
    Done,
    /// It was not done, nor any part of it.
    Error(WireError),
}

/// A relay about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its [`VERSION`].
    pub version: u32,
    /// What distinguishes its program from others.
    pub build: String,
    /// Its process id.
    pub pid: i32,
    /// How many ports it carries.
    pub ports: usize,
    /// How many TCP connections.
    pub connections: usize,
    /// How many UDP flows.
    pub flows: usize,
}

/// Sends a document; what is too long is `InvalidInput`.
pub fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    document: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(document)?;
    if bytes.len() > MAX_MESSAGE {
        let text = format!("message of {} bytes is too long", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    sys::fdpass::send(socket, &bytes, fds)
}

/// Receives a document with its descriptors; `None` when the peer has closed.
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    // Fresh from the kernel and back to it: only the pages a message fills are ever touched.
    let mut buffer = vec![0; MAX_MESSAGE + 1];
    let received = sys::fdpass::recv(socket.as_fd(), &mut buffer)?;
    if received.len == 0 {
        return Ok(None);
    }
    if received.truncated {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "truncated message",
        ));
    }
    let document = serde_json::from_slice(&buffer[..received.len])?;
    Ok(Some((document, received.fds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &Request, json: &str) {
        assert_eq!(serde_json::to_string(document).unwrap(), json);
        let back: Request = serde_json::from_str(json).unwrap();
        assert_eq!(&back, document);
    }

    /// Another build of the daemon may be at the other end: these bytes do not change.
    #[test]
    fn version_1_on_the_wire() {
        check(&Request::Hello { version: 1 }, r#"{"hello":{"version":1}}"#);
        check(&Request::Ports { known: 8 }, r#"{"ports":{"known":8}}"#);
        check(&Request::Leave, r#""leave""#);
        let place = Place {
            protocol: Protocol::Udp,
            listen: "[::]:53".parse().unwrap(),
        };
        check(
            &Request::Close(vec![place]),
            r#"{"close":[{"protocol":"udp","listen":"[::]:53"}]}"#,
        );
        check(
            &Request::Open(vec![Forward {
                place,
                target: "172.17.0.2:5353".parse().unwrap(),
                interface: "cvac110002".to_owned(),
            }]),
            r#"{"open":[{"protocol":"udp","listen":"[::]:53","target":"172.17.0.2:5353","interface":"cvac110002"}]}"#,
        );
        let about = About {
            version: 1,
            build: "b".to_owned(),
            pid: 7,
            ports: 1,
            connections: 2,
            flows: 3,
        };
        let json =
            r#"{"about":{"version":1,"build":"b","pid":7,"ports":1,"connections":2,"flows":3}}"#;
        assert_eq!(serde_json::to_string(&Reply::About(about)).unwrap(), json);
    }

    #[test]
    fn the_largest_messages_fit() {
        let listen = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
            .parse()
            .unwrap();
        let place = Place {
            protocol: Protocol::Tcp,
            listen,
        };
        let forward = Forward {
            place,
            target: listen,
            interface: "x".repeat(15),
        };
        for request in [
            Request::Close(vec![place; MAX_PLACES]),
            Request::Open(vec![forward; MAX_SOCKETS]),
        ] {
            assert!(serde_json::to_vec(&request).unwrap().len() <= MAX_MESSAGE);
        }
    }
}
