//! What the daemon and the name server say to each other.
//!
//! One JSON document is one `SOCK_SEQPACKET` message of at most [`MAX_MESSAGE`] bytes; every request
//! is answered by one reply, in order. The first request of a connection is [`Request::Hello`].

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::WireError;

use crate::names::{Member, SandboxNames};

/// Version of this protocol; a name server of another version is replaced.
pub const VERSION: u32 = 1;

/// Name of the socket, in the exec root.
pub const SOCKET: &str = "resolver.sock";

/// The descriptor at which `corten-shim resolver` finds its listening socket.
pub const LISTENER_FD: i32 = 3;

/// Longest message.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Daemon → name server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who is there? Answered by [`Reply::About`], by every version.
    Hello {
        /// The caller's [`VERSION`].
        version: u32,
    },
    /// Members of a network.
    Network {
        /// Identity of the network.
        id: String,
        /// Its name.
        name: String,
        /// Members that are new or changed; `None` for those that are gone.
        members: BTreeMap<String, Option<Member>>,
        /// Which part of the whole this is; absent: a change of what is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part: Option<Part>,
    },
    /// A network is gone.
    DropNetwork {
        /// Identity of the network.
        id: String,
    },
    /// A sandbox is there or has changed. Descriptor: its network namespace.
    Sandbox(SandboxNames),
    /// A sandbox is gone.
    DropSandbox {
        /// Identity of the sandbox.
        id: String,
    },
    /// Everything was said: what this connection has not named is forgotten.
    Settle,
    /// End now.
    Leave,
}

/// A part of a network that is told as a whole; it takes effect with the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Nothing came before.
    pub first: bool,
    /// Nothing comes after.
    pub last: bool,
}

/// Name server → daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Hello`].
    About(About),
    /// To everything else: it was done.
    Done,
    /// It was not done.
    Error(WireError),
}

/// A name server about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its [`VERSION`].
    pub version: u32,
    /// What distinguishes its program from others.
    pub build: String,
    /// Its process id.
    pub pid: i32,
    /// How many sandboxes it serves.
    pub sandboxes: usize,
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
    use crate::names::{Joined, Upstreams};

    fn check(document: &Request, json: &str) {
        assert_eq!(serde_json::to_string(document).unwrap(), json);
        let back: Request = serde_json::from_str(json).unwrap();
        assert_eq!(&back, document);
    }

    /// Another build of the daemon may be at the other end: these bytes do not change.
    #[test]
    fn version_1_on_the_wire() {
        check(&Request::Hello { version: 1 }, r#"{"hello":{"version":1}}"#);
        check(&Request::Leave, r#""leave""#);
        let member = Member {
            names: vec!["web".to_owned()],
            ipv4: Some([10, 0, 0, 1].into()),
            ipv6: None,
        };
        check(
            &Request::Network {
                id: "n".to_owned(),
                name: "net".to_owned(),
                members: [("a".to_owned(), Some(member)), ("b".to_owned(), None)].into(),
                part: None,
            },
            r#"{"network":{"id":"n","name":"net","members":{"a":{"names":["web"],"ipv4":"10.0.0.1"},"b":null}}}"#,
        );
        check(
            &Request::Sandbox(SandboxNames {
                id: "s".to_owned(),
                networks: vec![Joined {
                    network: "n".to_owned(),
                    links: [("a".to_owned(), "web".to_owned())].into(),
                }],
                upstreams: Upstreams::Own(vec![[9, 9, 9, 9].into()]),
                ndots_set: false,
                forward: true,
            }),
            r#"{"sandbox":{"id":"s","networks":[{"network":"n","links":{"a":"web"}}],"upstreams":{"own":["9.9.9.9"]},"ndots_set":false,"forward":true}}"#,
        );
        let about = About {
            version: 1,
            build: "b".to_owned(),
            pid: 7,
            sandboxes: 2,
        };
        let json = r#"{"about":{"version":1,"build":"b","pid":7,"sandboxes":2}}"#;
        assert_eq!(serde_json::to_string(&Reply::About(about)).unwrap(), json);
    }
}
