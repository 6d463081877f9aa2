//! What the daemon and a helper say to each other.
//!
//! One JSON document is one `SOCK_SEQPACKET` message of at most [`MAX_MESSAGE`] bytes; every request
//! is answered by one reply, in order. The first request of a connection is [`Request::Hello`].

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spec::WireError;

/// The descriptor at which a helper finds its listening socket.
pub const LISTENER_FD: i32 = 3;

/// Longest message.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Daemon → helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request<Order> {
    /// Who is there? Answered by [`Reply::About`], by every version.
    Hello {
        /// The caller's version.
        version: u32,
    },
    /// Everything was said: what this connection has not named is forgotten.
    Settle,
    /// End now.
    Leave,
    /// What only this kind of helper can be told.
    #[serde(untagged)]
    Own(Order),
}

/// Helper → daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<Answer, Load> {
    /// To [`Request::Hello`].
    About(About<Load>),
    /// It was done.
    Done,
    /// It was not done, nor any part of it.
    Error(WireError),
    /// What only this kind of helper answers.
    #[serde(untagged)]
    Own(Answer),
}

/// A helper about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About<Load> {
    /// Version of its protocol.
    pub version: u32,
    /// What distinguishes its program from others.
    pub build: String,
    /// Its process id.
    pub pid: i32,
    /// How much it has to do.
    #[serde(flatten)]
    pub load: Load,
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
    let received = sys::fdpass::recv(socket, &mut buffer)?;
    if received.len == 0 {
        return Ok(None);
    }
    if received.truncated {
        let text = "truncated message";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let document = serde_json::from_slice(&buffer[..received.len])?;
    Ok(Some((document, received.fds)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Order {
        Rest,
        Carry(Vec<u8>),
    }

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Load {
        stones: usize,
    }

    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        document: &T,
        json: &str,
    ) {
        assert_eq!(serde_json::to_string(document).unwrap(), json);
        assert_eq!(&serde_json::from_str::<T>(json).unwrap(), document);
    }

    /// Another build of the daemon may be at the other end: these bytes do not change.
    #[test]
    fn what_all_say_on_the_wire() {
        check(
            &Request::<Order>::Hello { version: 1 },
            r#"{"hello":{"version":1}}"#,
        );
        check(&Request::<Order>::Settle, r#""settle""#);
        check(&Request::<Order>::Leave, r#""leave""#);
        check(&Request::Own(Order::Rest), r#""rest""#);
        check(&Request::Own(Order::Carry(vec![7])), r#"{"carry":[7]}"#);
        let about = About {
            version: 1,
            build: "b".to_owned(),
            pid: 7,
            load: Load { stones: 2 },
        };
        check(
            &Reply::<Order, Load>::About(about),
            r#"{"about":{"version":1,"build":"b","pid":7,"stones":2}}"#,
        );
        check(&Reply::<Order, Load>::Done, r#""done""#);
        check(&Reply::<Order, Load>::Own(Order::Rest), r#""rest""#);
        assert!(serde_json::from_str::<Request<Order>>(r#"{"dance":1}"#).is_err());
    }

    #[test]
    fn a_message_is_sent_whole_or_not_at_all() {
        let (daemon, helper) = sys::fdpass::seqpacket_pair().unwrap();
        let fits = "x".repeat(MAX_MESSAGE - 2);
        // More than a socket's buffer may have to wait for its reader.
        let sender = std::thread::spawn(move || {
            let too_long = send(daemon.as_fd(), &format!("{fits}x"), &[]).unwrap_err();
            send(daemon.as_fd(), &fits, &[daemon.as_fd()]).unwrap();
            too_long.kind()
        });
        let (text, fds) = receive::<String>(helper.as_fd()).unwrap().unwrap();
        assert_eq!((text.len(), fds.len()), (MAX_MESSAGE - 2, 1));
        assert_eq!(sender.join().unwrap(), io::ErrorKind::InvalidInput);
        drop(fds);
        assert!(receive::<String>(helper.as_fd()).unwrap().is_none());
    }
}
