//! Making one copy of two: blobs whose bytes can be made again from the unpacked layer are dropped.
//!
//! Runs behind everything else, on one thread of low priority, and may be stopped at any moment:
//! what is not settled yet is found again from the records.
//!
//! ```text
//! prefix of the blob ─► which encoders give it ─► encode all, compare with the blob ─► record the
//! prefix of the archive ┘                         byte by byte, digests at the end      recipe, synced
//!                                                                                       ─► drop the blob
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use deflate::Recipe;
use spec::{DiffId, Digest};

use crate::forms::FormRecord;
use crate::store::io as io_failed;
use crate::stream::{CHUNK, read_full};
use crate::{Result, Store, trash};

/// Raised when `deflate` learns to make more: what was tried in vain is then tried again.
const GENERATION: u32 = 1;
/// Gives way to whatever else runs, and still ends some day on a machine that is never idle.
const NICE: i32 = 10;
/// How often is asked whether to go on.
const LOOK: Duration = Duration::from_millis(50);
/// Recipes that agree with the prefix and are tried on the whole.
const MAX_TRIALS: usize = 4;

/// What becomes of the compressed blobs of layers (`layer-blobs` of daemon.json).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BlobPolicy {
    /// Those that can be made again are dropped, all others are kept.
    #[default]
    Auto,
    /// All are kept.
    Keep,
    /// All are dropped whose layer's archive can be rebuilt.
    Drop,
}

/// What a settling did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Blobs dropped because they can be made again.
    pub rebuilt: usize,
    /// Blobs dropped because the policy says so.
    pub dropped: usize,
    /// Blobs that nothing here can make again.
    pub kept: usize,
    /// Bytes given back.
    pub bytes: u64,
    /// Whether it was stopped before the end.
    pub stopped: bool,
}

/// What was found out about a blob.
enum Finding {
    /// This makes it again.
    Recipe(Recipe),
    /// Nothing does.
    None,
    /// The layer itself cannot be read as it was: the blob is all there is.
    Damaged(io::Error),
    Stopped,
}

/// Asked now and then whether to go on.
type Stop<'s> = &'s (dyn Fn() -> bool + Sync);

impl Store {
    /// Settles all layers that are not settled; blocks for long, at a low priority.
    ///
    /// Call it after a pull and once after the start; `stop` is asked often. Calls at the same time
    /// wait for each other.
    ///
    /// # Errors
    ///
    /// The disk failed; damage of a layer is logged and leaves its blob where it is.
    pub fn settle(&self, policy: BlobPolicy, stop: Stop<'_>) -> Result<Settled> {
        let _one = self.inner.settling();
        self.settle_all(policy, stop)
    }

    /// Looks for a recipe at a low priority. Records are changed at the usual one: whoever
    /// waits for a lock that is held must not wait for a thread that is never scheduled.
    ///
    /// Nor is such a thread waited for by who stops this: it reads only, and ends by itself.
    fn find_recipe_slowly(
        &self,
        diff: DiffId,
        form: &FormRecord,
        stop: Stop<'_>,
    ) -> Result<Finding> {
        let given_up = Arc::new(AtomicBool::new(false));
        let (tell, told) = channel();
        let run = {
            let (store, form, given_up) = (self.clone(), form.clone(), Arc::clone(&given_up));
            move || {
                if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                    tracing::debug!(%error, "layers are settled at the usual priority");
                }
                let found = store.find_recipe(diff, &form, &|| given_up.load(Ordering::Relaxed));
                // Whoever asked may have given up.
                let _unheard = tell.send(found);
            }
        };
        // A thread of its own, because a priority once lowered stays low.
        let thread = std::thread::Builder::new().name("settle".to_owned());
        let thread = thread
            .spawn(run)
            .map_err(io_failed("start a thread for", self.layout().root()))?;
        loop {
            match told.recv_timeout(LOOK) {
                Ok(found) => return found,
                Err(RecvTimeoutError::Timeout) if stop() => {
                    given_up.store(true, Ordering::Relaxed);
                    return Ok(Finding::Stopped);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => match thread.join() {
                    Ok(()) => return Ok(Finding::Stopped),
                    Err(panic) => std::panic::resume_unwind(panic),
                },
            }
        }
    }

    fn settle_all(&self, policy: BlobPolicy, stop: Stop<'_>) -> Result<Settled> {
        let mut settled = Settled::default();
        for (diff, form) in self.unsettled(policy) {
            if stop() {
                settled.stopped = true;
                break;
            }
            // No lease: who removes an image must not wait for this. A layer that goes meanwhile
            // cannot be read, which is then no damage. One that stays may be needed in this form
            // no more.
            let is_here = || self.inner.state().keeps(diff, form.digest);
            let found = match is_here() {
                true => self.find_recipe_slowly(diff, &form, &|| stop() || !is_here()),
                false => continue,
            };
            if !is_here() {
                continue;
            }
            match found? {
                Finding::Stopped => settled.stopped = true,
                Finding::Recipe(recipe) => {
                    settled.rebuilt += 1;
                    self.note(diff, form.digest, |form| {
                        form.recipe = Some(recipe.to_string())
                    })?;
                    settled.bytes += self.drop_blob(form.digest)?;
                }
                Finding::None if policy == BlobPolicy::Drop => {
                    settled.dropped += 1;
                    self.note(diff, form.digest, |form| form.dropped = true)?;
                    settled.bytes += self.drop_blob(form.digest)?;
                }
                Finding::None => {
                    settled.kept += 1;
                    self.note(diff, form.digest, |form| form.tried = GENERATION)?;
                }
                Finding::Damaged(error) => {
                    settled.kept += 1;
                    tracing::error!(layer = %diff, %error, "a layer is damaged: its blob stays");
                    self.note(diff, form.digest, |form| form.tried = GENERATION)?;
                }
            }
            if settled.stopped {
                break;
            }
        }
        Ok(settled)
    }

    fn unsettled(&self, policy: BlobPolicy) -> Vec<(DiffId, FormRecord)> {
        let state = self.inner.state();
        let open = |form: &FormRecord| match policy {
            BlobPolicy::Keep => false,
            BlobPolicy::Auto => form.recipe.is_none() && form.tried < GENERATION,
            BlobPolicy::Drop => form.recipe.is_none(),
        };
        let mapped = state.layers.values().filter(|layer| layer.is_mapped());
        let forms = mapped.flat_map(|layer| {
            let forms = layer.forms.iter().cloned();
            forms.map(|form| (layer.diff_id, form))
        });
        forms
            .filter(|(diff, form)| {
                open(form) && form.digest != diff.digest() && state.blobs.contains_key(&form.digest)
            })
            .collect()
    }

    /// Looks for a recipe that makes a blob, all of it.
    fn find_recipe(&self, diff: DiffId, form: &FormRecord, stop: Stop<'_>) -> Result<Finding> {
        let path = self.layout().blob(form.digest);
        let failed = |source| io_failed("read", &path)(source);
        let mut compressed = vec![0; deflate::PREFIX_SIZE];
        let len = File::open(&path)
            .and_then(|mut file| read_full(&mut file, &mut compressed))
            .map_err(failed)?;
        compressed.truncate(len);
        let mut plain = vec![0; deflate::PREFIX_SIZE];
        let len = match read_full(&mut self.layer_archive(diff)?, &mut plain) {
            Ok(len) => len,
            Err(error) => return Ok(Finding::Damaged(error)),
        };
        plain.truncate(len);
        let survivors = deflate::survivors(&compressed, &plain);
        drop((compressed, plain));
        for recipe in survivors.into_iter().take(MAX_TRIALS) {
            match self.try_recipe(diff, form, &recipe, &path, stop) {
                Ok(Trial::Same) => return Ok(Finding::Recipe(recipe)),
                Ok(Trial::Differs) => {}
                Ok(Trial::Stopped) => return Ok(Finding::Stopped),
                Err(error) => return Ok(Finding::Damaged(error)),
            }
        }
        Ok(Finding::None)
    }

    fn try_recipe(
        &self,
        diff: DiffId,
        form: &FormRecord,
        recipe: &Recipe,
        blob: &Path,
        stop: Stop<'_>,
    ) -> io::Result<Trial> {
        let mut blob = File::open(blob)?;
        let mut made = self
            .encode(diff, recipe)
            .map_err(|error| io::Error::other(spec::error::chain(&error)))?;
        let (mut want, mut got) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut left = form.size;
        loop {
            if stop() {
                return Ok(Trial::Stopped);
            }
            let len = read_full(&mut made, &mut got)?;
            let expected = read_full(&mut (&mut blob).take(left), &mut want)?;
            if got[..len] != want[..expected] {
                return Ok(Trial::Differs);
            }
            left -= len as u64;
            if len == 0 {
                return Ok(match left {
                    0 => Trial::Same,
                    _ => Trial::Differs,
                });
            }
        }
    }

    /// Changes the record of a form, durably.
    fn note(
        &self,
        diff: DiffId,
        digest: Digest,
        change: impl FnOnce(&mut FormRecord),
    ) -> Result<()> {
        let _writer = self.inner.writer();
        let layer = self.inner.state().layers.get(&diff).cloned();
        let Some(mut layer) = layer else {
            return Ok(());
        };
        if let Some(form) = layer.forms.iter_mut().find(|form| form.digest == digest) {
            change(form);
        }
        self.replace_layer_record(layer)
    }

    fn drop_blob(&self, digest: Digest) -> Result<u64> {
        let hidden = {
            let _writer = self.inner.writer();
            let mut state = self.inner.state();
            // Somebody may have received it again meanwhile, as another layer's.
            if state
                .layers
                .values()
                .any(|layer| layer.kept_blobs().any(|kept| kept == digest))
            {
                return Ok(0);
            }
            let Some(size) = state.blobs.get(&digest).copied() else {
                return Ok(0);
            };
            let hidden = trash::hide(self.layout(), &self.layout().blob(digest))?;
            state.blobs.remove(&digest);
            (hidden, size)
        };
        trash::delete(&hidden.0)?;
        Ok(hidden.1)
    }
}

/// How an encoding compares with the blob.
enum Trial {
    Same,
    Differs,
    Stopped,
}
