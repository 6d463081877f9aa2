//! The daemon's side: which networks and sandboxes there are, and who is in them.
//!
//! One of another build goes on until [`Client::settle`], so no sandbox is without names in between.

mod model;

use std::os::fd::BorrowedFd;

use helper::client::Keeper;
pub use helper::client::{Error, Result, Settings};
use helper::protocol::Request;

use crate::names::{NetworkNames, SandboxNames};
use crate::protocol::Order;
use model::Model;

/// The name server of one data root; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    keeper: Keeper<Model>,
}

impl Client {
    /// Looks for a living name server; starts none.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket pair.
    pub fn open(settings: Settings) -> Result<Self> {
        let keeper = Keeper::open(settings)?;
        Ok(Self { keeper })
    }

    /// Tells of a network and everybody in it.
    ///
    /// Never fails: without a name server it is told to the next one.
    pub fn set_network(&self, names: NetworkNames) {
        let mut held = self.keeper.lock();
        let changes = held.memory().set_network(names);
        held.mention(&changes);
    }

    /// Tells that a network is gone.
    pub fn drop_network(&self, id: &str) {
        let mut held = self.keeper.lock();
        if held.memory().drop_network(id) {
            let id = id.to_owned();
            held.mention(&[(Request::Own(Order::DropNetwork { id }), Vec::new())]);
        }
    }

    /// Serves names in a namespace; when it returns, `127.0.0.11:53` answers there.
    ///
    /// The same identity with the same namespace changes what was said before.
    ///
    /// # Errors
    ///
    /// The name server cannot be started or cannot serve there; nothing remains.
    pub fn set_sandbox(&self, names: SandboxNames, netns: BorrowedFd<'_>) -> Result<()> {
        let kept = netns.try_clone_to_owned().map_err(|source| Error::Start {
            action: "keep a network namespace".to_owned(),
            source,
        })?;
        let mut held = self.keeper.lock();
        let id = names.id.clone();
        let order = Order::Sandbox(names.clone());
        let former = held.memory().set_sandbox(names, kept);
        let told = held.tell(&[(Request::Own(order), vec![netns])]);
        if told.is_err() {
            held.memory().restore_sandbox(&id, former);
        }
        told
    }

    /// Tells that a sandbox is gone; its sockets no longer hold the namespace.
    pub fn drop_sandbox(&self, id: &str) {
        let mut held = self.keeper.lock();
        held.memory().drop_sandbox(id);
        // A former daemon may have named it to the same name server.
        let id = id.to_owned();
        held.mention(&[(Request::Own(Order::DropSandbox { id }), Vec::new())]);
    }

    /// Ends what only an earlier daemon has named; to be called once everything was told.
    pub fn settle(&self) {
        self.keeper.lock().settle();
    }
}
