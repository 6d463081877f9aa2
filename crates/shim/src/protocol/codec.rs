//! Documents to messages and back.
//!
//! A document longer than [`MAX_MESSAGE`] is carried by a memfd: the message is then the single
//! byte `M` and the memfd its first descriptor. JSON never begins with that byte.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use serde::{Serialize, de::DeserializeOwned};
use spec::{Classify, ErrorKind};

/// Longest message; a document above it travels in a memfd.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Longest document. An exec with the largest environment `execve` accepts (6 MiB) is refused.
pub const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// Most descriptors beside one message.
pub const MAX_FDS: usize = 4;

/// The message that says "the document is in the first descriptor".
const IN_MEMFD: &[u8] = b"M";

/// A message as it goes over the socket.
#[derive(Debug)]
pub struct Packet {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The descriptors beside it.
    pub fds: Vec<OwnedFd>,
}

/// A message that cannot be written or understood.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The document is longer than [`MAX_DOCUMENT`].
    #[error("message of {size} bytes is longer than {MAX_DOCUMENT} bytes")]
    TooLong {
        /// Its length.
        size: usize,
    },
    /// Not the document that is expected here.
    #[error("malformed message")]
    Malformed {
        /// Where and why.
        source: serde_json::Error,
    },
    /// The message or its descriptors were cut off by the kernel.
    #[error("truncated message")]
    Truncated,
    /// The memfd could not be made, written or read.
    #[error("failed to pass a long message")]
    Memfd {
        /// What the kernel answered.
        source: std::io::Error,
    },
}

impl Classify for ProtocolError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLong { .. } | Self::Malformed { .. } | Self::Truncated => {
                ErrorKind::InvalidArgument
            }
            Self::Memfd { .. } => ErrorKind::Internal,
        }
    }
}

impl Packet {
    /// Writes a document.
    pub fn encode<T: Serialize>(document: &T, fds: Vec<OwnedFd>) -> Result<Self, ProtocolError> {
        let bytes =
            serde_json::to_vec(document).map_err(|source| ProtocolError::Malformed { source })?;
        if bytes.len() <= MAX_MESSAGE {
            return Ok(Self { bytes, fds });
        }
        if bytes.len() > MAX_DOCUMENT {
            return Err(ProtocolError::TooLong { size: bytes.len() });
        }
        let memfd = long_document(&bytes).map_err(|source| ProtocolError::Memfd { source })?;
        let mut all = vec![memfd];
        all.extend(fds);
        Ok(Self {
            bytes: IN_MEMFD.to_vec(),
            fds: all,
        })
    }

    /// Reads a document; the descriptors that belong to it come back beside it.
    pub fn decode<T: DeserializeOwned>(self) -> Result<(T, Vec<OwnedFd>), ProtocolError> {
        let Self { mut bytes, mut fds } = self;
        if bytes == IN_MEMFD {
            if fds.is_empty() {
                return Err(ProtocolError::Truncated);
            }
            bytes = read_long(fds.remove(0))?;
        }
        let document =
            serde_json::from_slice(&bytes).map_err(|source| ProtocolError::Malformed { source })?;
        Ok((document, fds))
    }
}

fn long_document(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let memfd = sys::memfd::create("corten-message")?;
    let mut file = File::from(memfd);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    let memfd = OwnedFd::from(file);
    sys::memfd::seal(memfd.as_fd())?;
    Ok(memfd)
}

fn read_long(fd: OwnedFd) -> Result<Vec<u8>, ProtocolError> {
    let io = |source| ProtocolError::Memfd { source };
    // Only a sealed memfd cannot change or block while it is read.
    sys::memfd::check_sealed(fd.as_fd()).map_err(|e| io(e.into()))?;
    let mut bytes = Vec::new();
    let mut file = File::from(fd);
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let limit = u64::try_from(MAX_DOCUMENT).unwrap_or(u64::MAX) + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > MAX_DOCUMENT {
        return Err(ProtocolError::TooLong { size: bytes.len() });
    }
    Ok(bytes)
}
