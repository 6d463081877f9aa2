//! Turns: one change of a volume at a time, where it takes too long for the lock.

use super::{Inner, Volumes};
use crate::VolumeName;

/// A turn; ends when dropped.
pub(super) struct Turn<'v> {
    inner: &'v Inner,
    name: VolumeName,
}

impl Volumes {
    /// Waits until nobody else changes a volume. Calls of plugins are bounded, so waiting is.
    pub(super) fn turn(&self, name: &VolumeName) -> Turn<'_> {
        let mut state = self.inner.state();
        while !state.turns.insert(name.clone()) {
            let waited = self.inner.ended.wait(state);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        Turn {
            inner: &self.inner,
            name: name.clone(),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.inner.state().turns.remove(&self.name);
        self.inner.ended.notify_all();
    }
}
