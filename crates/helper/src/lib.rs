//! Helpers: processes beside the daemon that outlive it, and are found again by the next.
//!
//! Exists because the relay and the name server are two of a kind: started by the daemon when they
//! are first needed, told whole values and never asking anything, replaced when they die or when an
//! upgrade brings another program, and ended when nobody needs them. What they do is their own crates'
//! business; what they are called and what is said to them is a [`Helper`].
//!
//! ```text
//! daemon:  Memory ─► Keeper ─► Link ══ exec root/NAME.sock, protocol ══► serve ─► Serve  :helper
//!          all that   finds, starts,                                    accepts,   does it
//!          was told   tells anew                                        answers, ends
//! ```
//!
//! Invariants: what was told is in the memory before it is told to the process, so that the death of
//! one loses nothing; the process decides nothing about containers and keeps nothing on disk.
#![forbid(unsafe_code)]

pub mod client;
pub mod protocol;
pub mod server;

use std::fmt::Debug;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;

use protocol::{Reply, Request};

/// A kind of helper: what it is called, and what is said to it alone.
pub trait Helper: Debug + Sized + 'static {
    /// What people call it.
    const NAME: &'static str;
    /// The word by which `corten-shim` becomes it.
    const COMMAND: &'static str;
    /// Name of its socket, in the exec root.
    const SOCKET: &'static str;
    /// Version of its protocol; one of another version is replaced.
    const VERSION: u32;
    /// What it is told when another has taken its place.
    const FAREWELL: Request<Self::Order>;
    /// What only this kind can be told.
    type Order: Debug + Serialize + DeserializeOwned;
    /// What only this kind answers.
    type Answer: Debug + Serialize + DeserializeOwned;
    /// How much it has to do.
    type Load: Debug + Serialize + DeserializeOwned;
}

/// What is said to a helper, with the descriptors that belong to it.
pub type Message<'a, H> = (Request<<H as Helper>::Order>, Vec<BorrowedFd<'a>>);

/// What a helper says, with the descriptors that belong to it.
pub type Answer<H> = (
    Reply<<H as Helper>::Answer, <H as Helper>::Load>,
    Vec<OwnedFd>,
);
