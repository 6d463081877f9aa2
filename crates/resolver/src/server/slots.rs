//! Things that are known to the kernel by a number: what is watched, and what asks for what.
//!
//! A number is never used again for another thing of the same kind, so an event that comes too late
//! finds nothing.

/// What kind of thing a watched descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// UDP questions of a sandbox.
    Datagrams,
    /// TCP connections of a sandbox that want to be accepted.
    Streams,
    /// A TCP connection of a sandbox.
    Stream,
    /// A question to somebody else.
    Forward,
}

const KINDS: [Kind; 4] = [Kind::Datagrams, Kind::Streams, Kind::Stream, Kind::Forward];

const GENERATION_BITS: u32 = 28;

/// One thing among its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The number under which the kernel knows it.
    pub(super) fn token(self, kind: Kind) -> u64 {
        let which = u64::from(self.generation) << 32 | u64::from(self.index);
        helper::server::token(kind as u64, which)
    }

    /// What a number from the kernel stands for.
    pub(super) fn of(token: u64) -> Option<(Kind, Self)> {
        let (kind, which) = helper::server::split(token)?;
        let key = Self {
            index: u32::try_from(which & u64::from(u32::MAX)).ok()?,
            generation: u32::try_from(which >> 32).ok()?,
        };
        Some((*KINDS.get(kind)?, key))
    }
}

/// Things of one kind.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Puts in what is made with its key.
    pub(super) fn insert(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).expect("descriptors are fewer than 2^32")
        });
        let slot = &mut self.slots[index as usize];
        slot.0 = (slot.0 + 1) % (1 << GENERATION_BITS);
        let key = Key {
            index,
            generation: slot.0,
        };
        slot.1 = Some(make(key));
        key
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        slot.1.as_ref().filter(|_| slot.0 == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        slot.1.as_mut().filter(|_| slot.0 == key.generation)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.0 != key.generation {
            return None;
        }
        let removed = slot.1.take()?;
        self.free.push(key.index);
        if self.free.len() == self.slots.len() {
            // A burst is over: its memory goes back, its numbers stay used.
            self.free.shrink_to(64);
        }
        Some(removed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots
            .iter()
            .zip(0..)
            .filter_map(|((generation, slot), index)| {
                let key = Key {
                    index,
                    generation: *generation,
                };
                Some((key, slot.as_ref()?))
            })
    }

    /// Keys of those that fit.
    pub(super) fn keys(&self, fits: impl Fn(&T) -> bool) -> Vec<Key> {
        self.iter()
            .filter_map(|(key, thing)| fits(thing).then_some(key))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_number_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert(|_| "first");
        assert_eq!(
            Key::of(first.token(Kind::Stream)),
            Some((Kind::Stream, first))
        );
        assert_eq!(slots.remove(first), Some("first"));
        assert!(slots.is_empty());
        let second = slots.insert(|_| "second");
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.keys(|_| true), [second]);
        assert_eq!(slots.len(), 1);
        assert_eq!(Key::of(u64::MAX), None);
    }
}
