//! Layers that arrive as a stream: kept as they come, and unpacked while they come.
//!
//! ```text
//! write() ─► partial/<hex> ─► follow, hash ─► decompress, hash ─► untar ─► ingest/<random>/diff
//!  caller     (page cache)    └──────── one thread ─────────┘   └─ another ─┘             tar-map
//! ```
//!
//! The file in the middle decouples the network from the disk without memory, and makes an attempt
//! resumable: the next one replays it through the same pipeline. Nothing but the digests of the whole
//! says that a layer is good, and only [`Ingest::finish`] looks at them. A failure leaves nothing;
//! whoever just stops leaves the partial file.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};
use spec::{Classify, DiffId, Digest, Reference, WireError};

use crate::forms::FormRecord;
use crate::growing::Follower;
use crate::load::{layer_record, unpack_into};
use crate::partial::{self, Claim, PartialWriter};
use crate::publish::{Staged, StagedBlob, StagedLayer};
use crate::record::LayerRecord;
use crate::store::io as io_failed;
use crate::stream::Hashing;
use crate::trash::Scratch;
use crate::unpack::Unpacked;
use crate::{Error, Lease, Limits, Result, Store};

/// Directory of the layer within its scratch directory.
const LAYER: &str = "layer";

/// What a layer claims to be; all of it is checked.
#[derive(Debug, Clone)]
pub struct LayerSource {
    /// Digest of its uncompressed archive, as the image's config says.
    pub diff_id: DiffId,
    /// Media type of the blob, as the manifest says.
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Where it comes from.
    pub origin: Option<Reference>,
}

/// A layer on its way in.
#[derive(Debug)]
pub struct Ingest {
    source: LayerSource,
    // In this order they are dropped: the pipeline ends before its directory goes, and that before
    // another attempt may begin.
    pipeline: Pipeline,
    scratch: Scratch,
    claim: Claim,
    lease: u64,
    resumed: u64,
    followed: Arc<AtomicU64>,
}

/// The two ends of what runs beside the caller.
#[derive(Debug)]
struct Pipeline {
    writer: Option<PartialWriter>,
    worker: Option<JoinHandle<Outcome>>,
    /// Set by the worker when it failed.
    broken: Arc<AtomicBool>,
}

/// What the worker found.
#[derive(Debug)]
struct Outcome {
    unpacked: Result<Unpacked>,
    /// Digest of the blob, where all of it came.
    blob: Option<Digest>,
}

impl Store {
    /// Tells whether a layer is here, and keeps it while the lease lasts.
    pub fn has_layer(&self, lease: &Lease, diff: DiffId) -> bool {
        self.hold_layers(lease, &[diff])[0]
    }

    /// Tells whether a layer is here and was seen in a form, and keeps it while the lease lasts.
    ///
    /// A layer that came otherwise compressed has to be taken in once more: its manifest could not
    /// be pushed or saved with the same digest.
    pub fn has_form(&self, lease: &Lease, diff: DiffId, form: Digest) -> bool {
        // Together, so that nobody forgets the form in between.
        let mut state = self.inner.state();
        if !state.hold_layers(lease, &[diff])[0] {
            return false;
        }
        let known = state.layers.get(&diff);
        let known = known.is_some_and(|layer| layer.forms.iter().any(|f| f.digest == form));
        if known && let Some(held) = state.leases.get_mut(&lease.number) {
            held.blobs.insert(form);
        }
        known || form == diff.digest()
    }

    /// Begins to take a layer in, or goes on where an earlier attempt was suspended or killed.
    ///
    /// Once the layer is published, the lease holds it: whoever publishes the same [`StagedLayer`]
    /// with another image while it lasts finds it in the store.
    ///
    /// # Errors
    ///
    /// [`Error::LayerBusy`] while another [`Ingest`] or an unpublished [`StagedLayer`] has the same
    /// blob, or the disk failed.
    pub fn begin_layer(
        &self,
        lease: &Lease,
        source: LayerSource,
        limits: Limits,
    ) -> Result<Ingest> {
        tracing::debug!(digest = %source.digest, origin = ?source.origin, lease = lease.number, "layer begins");
        let claim = Claim::take(&self.inner, source.digest)?;
        let scratch = Scratch::create(self.layout())?;
        let (writer, follower) = partial::open(&claim, source.size)?;
        let (resumed, followed) = (writer.len(), writer.followed());
        let dir = scratch.path().join(LAYER);
        let pipeline = Pipeline::start(writer, follower, dir, limits)?;
        Ok(Ingest {
            source,
            pipeline,
            scratch,
            claim,
            lease: lease.number,
            resumed,
            followed,
        })
    }
}

impl Ingest {
    /// Bytes of the blob that are here: ask the registry for those from here on.
    pub fn offset(&self) -> u64 {
        let writer = self.pipeline.writer.as_ref();
        writer.map_or(0, PartialWriter::len)
    }

    /// Bytes that an earlier attempt left; when an attempt that resumed ends with a lie, what it
    /// resumed may have been at fault (a power cut): begin once more, from nothing.
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Takes the next bytes of the blob; blocks on the disk only.
    ///
    /// # Errors
    ///
    /// More bytes than announced, what arrived so far is no archive, a limit, or the disk failed.
    /// Nothing is left then; the `Ingest` is of no more use.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.try_write(bytes);
        written.inspect_err(|error| {
            self.pipeline.stop();
            self.claim.note(error);
            self.claim.discard();
        })
    }

    fn try_write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.pipeline.broken.load(Ordering::Acquire) {
            // The worker waits for the rest only to tell a wrong digest from a bad archive.
            self.pipeline.writer = None;
            let outcome = self.pipeline.join()?;
            return self.source.check(outcome).map(drop);
        }
        let writer = self.pipeline.writer.as_mut().ok_or(Error::Cancelled)?;
        if writer.len() + bytes.len() as u64 > self.source.size {
            return Err(self.source.lie(format!(
                "it has more than the {} bytes that its descriptor says",
                self.source.size
            )));
        }
        writer.write(bytes)
    }

    /// Bytes of the blob that are unpacked already: what `Extracting` shows, of the blob's size.
    pub fn unpacked(&self) -> u64 {
        self.followed.load(Ordering::Relaxed)
    }

    /// A counter that shows [`Ingest::unpacked`] to other threads, also during [`Ingest::finish`].
    pub fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.followed)
    }

    /// Waits until everything is unpacked, and checks size, digest and diff id.
    ///
    /// # Errors
    ///
    /// Each names the digest; nothing is left then.
    pub fn finish(mut self) -> Result<StagedLayer> {
        let unpacked = match self.try_finish() {
            Ok(unpacked) => unpacked,
            Err(error) => {
                self.claim.note(&error);
                self.discard();
                return Err(error);
            }
        };
        Ok(StagedLayer::from(Staged {
            dir: self.scratch.path().join(LAYER),
            record: self.source.record(&unpacked),
            blob: Some(StagedBlob {
                digest: self.source.digest,
                path: self.claim.path(),
                size: self.source.size,
            }),
            lease: Some(self.lease),
            recorded: Mutex::default(),
            _scratch: Some(self.scratch),
            _claim: Some(self.claim),
        }))
    }

    fn try_finish(&mut self) -> Result<Unpacked> {
        let writer = self.pipeline.writer.take().ok_or(Error::Cancelled)?;
        if writer.len() != self.source.size {
            return Err(self.source.lie(format!(
                "it ended after {} bytes, its descriptor says {}",
                writer.len(),
                self.source.size
            )));
        }
        writer.complete();
        let outcome = self.pipeline.join()?;
        self.source.check(outcome)
    }

    /// Stops and keeps what came, for a later [`Store::begin_layer`]; so does dropping it.
    pub fn suspend(self) {}

    /// Stops and removes what came.
    pub fn discard(mut self) {
        self.pipeline.stop();
        self.claim.discard();
    }
}

impl Pipeline {
    fn start(
        writer: PartialWriter,
        follower: Follower,
        dir: PathBuf,
        limits: Limits,
    ) -> Result<Self> {
        let broken = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&broken);
        let shown = dir.clone();
        let work = move || {
            let mut source = Hashed {
                source: follower,
                hasher: Sha256::new(),
            };
            let unpacked = unpack_into(&dir, &mut source, Hashing::Hash, &limits);
            flag.store(unpacked.is_err(), Ordering::Release);
            // The decoder may not have looked at what stands behind its stream.
            let blob = io::copy(&mut source, &mut io::sink())
                .ok()
                .map(|_| Digest::from_sha256(source.hasher.finalize().into()));
            Outcome { unpacked, blob }
        };
        let worker = std::thread::Builder::new()
            .name("layer".to_owned())
            .spawn(work)
            .map_err(io_failed("start a thread for", &shown))?;
        Ok(Self {
            writer: Some(writer),
            worker: Some(worker),
            broken,
        })
    }

    fn join(&mut self) -> Result<Outcome> {
        let worker = self.worker.take().ok_or(Error::Cancelled)?;
        worker.join().map_err(|_| Error::BadArchive {
            what: "the unpacking crashed".to_owned(),
            source: None,
        })
    }

    fn stop(&mut self) {
        self.writer = None;
        // How it ends is of no interest; that it has ended is: it writes into the scratch directory.
        drop(self.join());
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
    }
}

impl LayerSource {
    /// Compares what came with what was announced.
    fn check(&self, outcome: Outcome) -> Result<Unpacked> {
        match (outcome.unpacked, outcome.blob) {
            (_, Some(got)) if got != self.digest => {
                Err(self.lie(format!("its bytes are those of {got}")))
            }
            // The class is kept: a full disk is no bad archive.
            (Err(error), _) => Err(Error::Layer {
                path: self.digest.to_string(),
                source: WireError::from_error(error.kind(), &error),
            }),
            (Ok(_), None) => Err(Error::Cancelled),
            (Ok(unpacked), Some(_)) => match unpacked.diff_id {
                Some(got) if got == self.diff_id => Ok(unpacked),
                got => Err(self.lie(format!(
                    "it unpacks to {}, the image's config says {}",
                    got.unwrap_or(self.diff_id),
                    self.diff_id
                ))),
            },
        }
    }

    /// Docker's text, and what it is.
    fn lie(&self, what: String) -> Error {
        Error::LayerMismatch {
            digest: self.digest,
            what,
        }
    }

    fn record(&self, unpacked: &Unpacked) -> LayerRecord {
        let form = FormRecord::new(&self.media_type, self.digest, self.size);
        LayerRecord {
            forms: vec![form],
            ..layer_record(self.diff_id, unpacked, Some(self.digest))
        }
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    source: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buffer)?;
        self.hasher.update(&buffer[..len]);
        Ok(len)
    }
}
