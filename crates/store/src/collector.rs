//! The automatic collection: measures ages and space, lets [`crate::policy`] choose, removes.
//!
//! Since when something is unreferenced is only remembered here, in memory: the start of a store
//! collects all of it anyway. Interrupted downloads outlive the process, so their files' times tell
//! their age.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use spec::Digest;

use crate::gc::{Piece, unreferenced};
use crate::policy::{Candidate, Kind, Policy, Space, choose};
use crate::store::io;
use crate::{Error, Result, Store, Swept, trash};

/// What the automatic collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layers and blobs that nothing referred to.
    pub swept: Swept,
    /// Interrupted downloads.
    pub partials: usize,
    /// Bytes of them.
    pub partial_bytes: u64,
}

/// The automatic collection: remembers since when content is unreferenced.
#[derive(Debug)]
pub struct Collector {
    store: Store,
    idle_since: HashMap<Piece, Instant>,
}

/// What can be collected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Piece(Piece),
    Partial(Digest),
}

impl Collector {
    /// A collector of a store.
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            idle_since: HashMap::new(),
        }
    }

    /// Removes what the policy says; never what a running operation holds.
    ///
    /// # Errors
    ///
    /// The disk failed; what was removed until then stays removed.
    pub fn run(&mut self, policy: &Policy) -> Result<Collected> {
        let mut candidates = self.pieces();
        candidates.extend(self.partials()?);
        if candidates.is_empty() {
            return Ok(Collected::default());
        }
        let chosen = choose(policy, self.space()?, &candidates);
        let mut collected = Collected::default();
        for (partial, bytes) in chosen.iter().filter_map(|key| match key {
            Key::Partial(digest) => {
                let known = candidates.iter().find(|candidate| candidate.key == *key);
                known.map(|candidate| (*digest, candidate.bytes))
            }
            Key::Piece(_) => None,
        }) {
            if self.remove_partial(partial)? {
                collected.partials += 1;
                collected.partial_bytes += bytes;
            }
        }
        let garbage = {
            let _writer = self.store.inner.writer();
            // Asked again under the locks: somebody may have begun to use it since.
            self.store
                .hide_garbage_if(|piece| chosen.contains(&Key::Piece(piece.clone())))
        };
        collected.swept = garbage.delete()?;
        Ok(collected)
    }

    fn pieces(&mut self) -> Vec<Candidate<Key>> {
        let now = Instant::now();
        let state = self.store.inner.state();
        let pieces = unreferenced(&state);
        let mut known = std::mem::take(&mut self.idle_since);
        let mut candidates = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let since = known.remove(&piece).unwrap_or(now);
            let bytes = match &piece {
                Piece::Layer(diff) => state.layers.get(diff).map_or(0, |layer| layer.size),
                Piece::Blob(digest) => state.blobs.get(digest).copied().unwrap_or(0),
                Piece::Init(_) | Piece::Base(_) => 0,
            };
            self.idle_since.insert(piece.clone(), since);
            candidates.push(Candidate {
                key: Key::Piece(piece),
                kind: Kind::Unreferenced,
                idle: now.duration_since(since),
                bytes,
            });
        }
        candidates
    }

    fn partials(&self) -> Result<Vec<Candidate<Key>>> {
        let directory = self.store.layout().dir("partial");
        let now = SystemTime::now();
        let mut candidates = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(io("list", &directory))? {
            let entry = entry.map_err(io("list", &directory))?;
            let Some(digest) = digest_of(&entry.path()) else {
                continue;
            };
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if self.store.inner.state().receiving.contains(&digest) {
                continue;
            }
            // A time in the future is a clock that was set back: as good as new.
            let idle = metadata
                .modified()
                .ok()
                .map(|time| now.duration_since(time));
            candidates.push(Candidate {
                key: Key::Partial(digest),
                kind: Kind::Partial,
                idle: idle
                    .and_then(std::result::Result::ok)
                    .unwrap_or(Duration::ZERO),
                bytes: metadata.len(),
            });
        }
        Ok(candidates)
    }

    /// Removes an interrupted download unless somebody goes on with it.
    fn remove_partial(&self, digest: Digest) -> Result<bool> {
        let hidden = {
            let state = self.store.inner.state();
            if state.receiving.contains(&digest) {
                return Ok(false);
            }
            let path = self.store.layout().partial(digest);
            match trash::hide(self.store.layout(), &path) {
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Ok(false);
                }
                hidden => hidden?,
            }
        };
        trash::delete(&hidden).map(|()| true)
    }

    fn space(&self) -> Result<Space> {
        self.store.space()
    }
}

impl Store {
    /// Space on the store's file system.
    pub(crate) fn space(&self) -> Result<Space> {
        let root = self.layout().root();
        let found = rustix::fs::statvfs(root)
            .map_err(|errno| io("measure", root)(std::io::Error::from(errno)))?;
        Ok(Space {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            free: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }

    /// Bytes that can still be written on the store's file system.
    ///
    /// # Errors
    ///
    /// The kernel failed.
    pub fn free_space(&self) -> Result<u64> {
        self.space().map(|space| space.free)
    }
}

fn digest_of(path: &std::path::Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    format!("sha256:{name}").parse().ok()
}
