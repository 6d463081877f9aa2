//! Leases: what keeps fresh content alive until something durable refers to it.
//!
//! A lease lives in memory. A crash ends it, and what it held is then garbage that the sweep of the
//! next [`Store::open`](crate::Store::open) removes: nothing on disk has to be undone.

use std::collections::HashSet;
use std::sync::Arc;

use spec::{DiffId, Digest};

use crate::Store;
use crate::store::Inner;

/// Keeps what is created under it alive; ends when dropped.
#[derive(Debug)]
pub struct Lease {
    pub(crate) inner: Arc<Inner>,
    pub(crate) number: u64,
}

/// What a lease holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) purpose: String,
    pub(crate) layers: HashSet<DiffId>,
    pub(crate) blobs: HashSet<Digest>,
}

impl Store {
    /// Keeps a blob, where it is in the store, while a lease lasts.
    pub(crate) fn hold_blob(&self, lease: &Lease, digest: Digest) {
        if let Some(held) = self.inner.state().leases.get_mut(&lease.number) {
            held.blobs.insert(digest);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let held = self.inner.state().leases.remove(&self.number);
        tracing::trace!(purpose = held.map(|held| held.purpose), "lease ended");
    }
}
