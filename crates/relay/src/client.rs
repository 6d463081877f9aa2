//! The daemon's side: which ports whose containers have, and their sockets.
//!
//! A daemon that comes back gets the ports from the relay of the former ([`Client::take`]), since that
//! has kept them from others meanwhile; one of another build ends with its last connection.

mod model;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use helper::client::Keeper;
pub use helper::client::{Error, Result, Settings};

use crate::protocol::{Forward, Place};
use model::Model;

/// The relay of one daemon; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    keeper: Keeper<Model>,
}

impl Client {
    /// Looks for a living relay; starts none.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket pair.
    pub fn open(settings: Settings) -> Result<Self> {
        let keeper = Keeper::open(settings)?;
        Ok(Self { keeper })
    }

    /// Gives the socket of a port that the relay of an earlier daemon has kept.
    pub fn take(&self, place: Place) -> Option<OwnedFd> {
        self.keeper.lock().memory().take(place)
    }

    /// Says which ports one owner has now; when it returns, they are served.
    ///
    /// # Errors
    ///
    /// The relay cannot be started or cannot serve them; what the owner had before remains.
    pub fn set(&self, owner: &str, ports: Vec<(Forward, Arc<OwnedFd>)>) -> Result<()> {
        let mut held = self.keeper.lock();
        let (change, former) = held.memory().set(owner, ports);
        if change.opened.is_empty() {
            held.mention(&change.messages());
            return Ok(());
        }
        let told = held.tell(&change.messages());
        if told.is_err() {
            let (back, _) = held.memory().set(owner, former);
            held.mention(&back.messages());
        }
        told
    }

    /// Ends what only an earlier daemon has named; to be called once everything was told.
    pub fn settle(&self) {
        let mut held = self.keeper.lock();
        held.memory().forget_found();
        held.settle();
    }
}
