//! Leases: what keeps fresh content alive until something durable refers to it.
//!
//! A lease lives in memory. A crash ends it, and what it held is then garbage that the sweep of the
//! next [`Store::open`](crate::Store::open) removes: nothing on disk has to be undone.
//!
//! What is removed while a lease holds it stays until the lease ends. Then nobody looks for garbage
//! any more: the lease leaves word of it, and [`Store::sweep_left_over`] removes it.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spec::{DiffId, Digest};

use crate::gc::{Piece, unreferenced};
use crate::store::{Inner, State};
use crate::{Result, StagedLayer, Store, Swept};

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
    /// Forms of its layers would have been forgotten without it, or were noted in vain.
    pub(crate) keeps_forms: bool,
}

/// What leases left that have ended.
#[derive(Debug, Default)]
pub(crate) struct LeftOver {
    /// What nothing referred to when they ended.
    pieces: HashSet<Piece>,
    /// Layers whose forms may be of no use.
    layers: BTreeSet<DiffId>,
}

type Ring = Arc<dyn Fn() + Send + Sync>;

impl LeftOver {
    fn add(&mut self, other: &Self) {
        self.pieces.extend(other.pieces.iter().cloned());
        self.layers.extend(&other.layers);
    }
}

/// Whom to call when leases leave something.
#[derive(Default)]
pub(crate) struct Bell(Mutex<Option<Ring>>);

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Option<Ring>> {
        // One value, replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        let ring = self.lock().clone();
        if let Some(ring) = ring {
            ring();
        }
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bell")
    }
}

impl Store {
    /// Keeps layers that are in the store already, while a lease lasts; tells which are.
    pub(crate) fn hold_layers(&self, lease: &Lease, diffs: &[DiffId]) -> Vec<bool> {
        self.inner.state().hold_layers(lease, diffs)
    }

    /// Keeps a blob, where it is in the store, while a lease lasts.
    pub(crate) fn hold_blob(&self, lease: &Lease, digest: Digest) {
        if let Some(held) = self.inner.state().leases.get_mut(&lease.number) {
            held.blobs.insert(digest);
        }
    }

    /// Has a function called whenever there is something for [`Store::sweep_left_over`]; it must
    /// not wait, as whoever ends a lease would.
    pub fn on_left_over(&self, ring: impl Fn() + Send + Sync + 'static) {
        *self.inner.bell.lock() = Some(Arc::new(ring));
    }

    /// Removes what leases held until they ended and nothing else refers to.
    ///
    /// # Errors
    ///
    /// The disk failed; what is left then goes with the next removal or by age.
    pub fn sweep_left_over(&self) -> Result<Swept> {
        let garbage = {
            let _writer = self.inner.writer();
            let left = std::mem::take(&mut self.inner.state().left_over);
            let layers: Vec<DiffId> = left.layers.iter().copied().collect();
            let forgotten = self.forget_forms(&layers);
            let freed = forgotten.inspect_err(|_| {
                // Tried again when the next lease leaves something.
                self.inner.state().left_over.add(&left);
            })?;
            self.hide_garbage_if(|piece| match piece {
                Piece::Blob(digest) if freed.contains(digest) => true,
                piece => left.pieces.contains(piece),
            })
        };
        garbage.delete()
    }
}

impl State {
    /// As [`Store::hold_layers`].
    pub(crate) fn hold_layers(&mut self, lease: &Lease, diffs: &[DiffId]) -> Vec<bool> {
        let known: Vec<bool> = diffs
            .iter()
            .map(|diff| self.layers.contains_key(diff))
            .collect();
        if let Some(held) = self.leases.get_mut(&lease.number) {
            let known = diffs.iter().zip(&known).filter(|(_, known)| **known);
            held.layers.extend(known.map(|(diff, _)| *diff));
        }
        known
    }

    /// Has the publisher's lease and the receiver's hold something of a layer.
    pub(crate) fn hold(
        &mut self,
        lease: &Lease,
        layer: &StagedLayer,
        add: impl Fn(&mut Held) -> bool,
    ) {
        for number in std::iter::once(lease.number).chain(layer.inner.lease) {
            if let Some(held) = self.leases.get_mut(&number) {
                add(held);
            }
        }
    }

    /// Notes what a lease leaves that has ended; tells whether there is anything.
    fn leave(&mut self, held: &Held) -> bool {
        if held.layers.is_empty() && held.blobs.is_empty() {
            return false;
        }
        let of_layers = held.layers.iter().filter_map(|diff| self.layers.get(diff));
        let mut blobs: HashSet<Digest> = of_layers.flat_map(|layer| layer.kept_blobs()).collect();
        blobs.extend(&held.blobs);
        let mut pieces = unreferenced(self);
        pieces.retain(|piece| match piece {
            Piece::Layer(diff) => held.layers.contains(diff),
            Piece::Blob(digest) => blobs.contains(digest),
            Piece::Init(_) | Piece::Base(_) => false,
        });
        let leaves = held.keeps_forms || !pieces.is_empty();
        self.left_over.pieces.extend(pieces);
        if held.keeps_forms {
            self.left_over.layers.extend(&held.layers);
        }
        leaves
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (held, leaves) = {
            let mut state = self.inner.state();
            let held = state.leases.remove(&self.number).unwrap_or_default();
            let leaves = state.leave(&held);
            (held, leaves)
        };
        tracing::trace!(purpose = held.purpose, leaves, "lease ended");
        if leaves {
            self.inner.bell.ring();
        }
    }
}
