//! One download of one layer, whoever waits for it.
//!
//! [`Downloads`] has at most one job per blob. A job is a task of its own; clients hold an
//! [`Arc<Job>`] and read its [`Stage`]. When the last client drops it, the task is cancelled and
//! keeps what came. A job that ended stays in reach while a client has not published its layer yet,
//! so that nobody fetches it a second time in between.
//!
//! Bounds: [`Slots`] for downloads at once and for layers open at once, [`Retry`] for attempts, and
//! one second chance after bytes that were not what the digest says, from elsewhere or from nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use registry::{EndpointId, Repository};
use spec::manifest::Descriptor;
use spec::{DiffId, Digest, ErrorKind};
use store::{Ingest, LayerSource, Lease, Limits, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::sink::{Leftover, Sink};
use super::stage::{Fetched, Stage};
use crate::images::retry::{Next, Progressed, Retry};
use crate::{Error, Result};

/// How often a blob that another operation has is asked for again, and for how long.
const BUSY_POLL: Duration = Duration::from_millis(100);
const BUSY_TRIES: u32 = 3000;
/// Layers that may be unpacked beside those that are downloaded.
const UNPACKING: usize = 2;

/// The jobs of a daemon.
#[derive(Debug, Clone)]
pub(in crate::images) struct Downloads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    jobs: Mutex<Jobs>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

#[derive(Debug)]
struct Jobs {
    by_blob: HashMap<Digest, Entry>,
    slots: Slots,
    attempts: u32,
    numbers: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    job: Weak<Job>,
    ended: CancellationToken,
}

/// How much may be done at once.
#[derive(Debug, Clone)]
struct Slots {
    downloads: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

/// A client's hold on a download.
#[derive(Debug)]
pub(super) struct Job {
    stages: watch::Receiver<Stage>,
    leftover: Arc<AtomicBool>,
    _cancel: DropGuard,
}

/// What [`Downloads::join`] found.
#[derive(Debug)]
pub(super) enum Joined {
    /// The layer is in the store, held by the lease.
    Present,
    /// A job for it was begun.
    Began(Arc<Job>),
    /// Another client's job is under way.
    Under(Arc<Job>),
}

/// Why a download did not succeed.
#[derive(Debug)]
struct Failure {
    error: Error,
    /// Wrong bytes, and where they came from.
    lie: Option<Option<EndpointId>>,
    /// Part of the bytes came from an earlier download.
    resumed: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            lie: None,
            resumed: false,
        }
    }
}

impl Slots {
    fn new(downloads: usize) -> Self {
        let downloads = downloads.max(1);
        Self {
            downloads: Arc::new(Semaphore::new(downloads)),
            open: Arc::new(Semaphore::new(downloads + UNPACKING)),
        }
    }
}

impl Job {
    /// How far it is, from now on.
    pub(super) fn stages(&self) -> watch::Receiver<Stage> {
        self.stages.clone()
    }

    /// Nothing shall be kept when it is cancelled.
    pub(super) fn discard_leftover(&self) {
        self.leftover.store(true, Ordering::Relaxed);
    }

    fn has_failed(&self) -> bool {
        matches!(*self.stages.borrow(), Stage::Failed(_))
    }
}

impl Downloads {
    /// No jobs.
    pub(in crate::images) fn new(store: &Store, at_once: usize, attempts: u32) -> Self {
        Self {
            shared: Arc::new(Shared {
                store: store.clone(),
                jobs: Mutex::new(Jobs {
                    by_blob: HashMap::new(),
                    slots: Slots::new(at_once),
                    attempts,
                    numbers: 0,
                }),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
            }),
        }
    }

    /// Other bounds, for what begins from now on.
    pub(in crate::images) fn limit(&self, at_once: usize, attempts: u32) {
        let mut jobs = self.jobs();
        jobs.slots = Slots::new(at_once);
        jobs.attempts = attempts;
    }

    /// Ends all downloads, keeping what came, and waits for them; for shutdown.
    pub(in crate::images) async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Whether a layer is in the store in this form; the lease then holds it.
    pub(super) fn has(&self, lease: &Lease, diff: DiffId, form: Digest) -> bool {
        self.shared.store.has_form(lease, diff, form)
    }

    /// Begins a download, joins the one under way, or finds the layer in the store.
    pub(super) fn join(
        &self,
        lease: &Lease,
        source: &LayerSource,
        descriptor: &Descriptor,
        repository: &Repository,
    ) -> Joined {
        let mut jobs = self.jobs();
        let entry = jobs.by_blob.get(&source.digest);
        if let Some(job) = entry.and_then(|entry| entry.job.upgrade())
            && !job.has_failed()
        {
            return Joined::Under(job);
        }
        // Asked under the lock: who publishes a layer drops its job afterwards.
        if self.has(lease, source.diff_id, source.digest) {
            return Joined::Present;
        }
        let before = entry.map(|entry| entry.ended.clone());
        jobs.numbers += 1;
        let (stage, stages) = watch::channel(Stage::Queued);
        let cancel = self.shared.closing.child_token();
        let ended = CancellationToken::new();
        let leftover = Arc::new(AtomicBool::new(false));
        let task = Task {
            shared: Arc::clone(&self.shared),
            number: jobs.numbers,
            source: source.clone(),
            descriptor: descriptor.clone(),
            repository: repository.clone(),
            slots: jobs.slots.clone(),
            attempts: jobs.attempts,
            stage,
            cancel: cancel.clone(),
            leftover: Arc::clone(&leftover),
        };
        let job = Arc::new(Job {
            stages,
            leftover,
            _cancel: cancel.drop_guard(),
        });
        let entry = Entry {
            number: jobs.numbers,
            job: Arc::downgrade(&job),
            ended: ended.clone(),
        };
        jobs.by_blob.insert(source.digest, entry);
        let run = async move {
            let _ended = ended.drop_guard();
            // The job before this one lets go of the blob first.
            if let Some(before) = before {
                before.cancelled().await;
            }
            task.run().await;
        };
        self.shared.tasks.spawn(run);
        Joined::Began(job)
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, Jobs> {
        self.shared.jobs.lock().expect("no panics while held")
    }
}

/// The doing side of a job.
struct Task {
    shared: Arc<Shared>,
    number: u64,
    source: LayerSource,
    descriptor: Descriptor,
    repository: Repository,
    slots: Slots,
    attempts: u32,
    stage: watch::Sender<Stage>,
    cancel: CancellationToken,
    leftover: Arc<AtomicBool>,
}

impl Task {
    async fn run(self) {
        let digest = self.source.digest;
        match self.fetch().await {
            Ok(fetched) => {
                self.tell(Stage::Done(Arc::new(fetched)));
                // Clients that are not done yet keep the job in reach.
                self.cancel.cancelled().await;
            }
            Err(error) => {
                tracing::debug!(%digest, error = spec::error::chain(&error), "layer not fetched");
                self.tell(Stage::Failed(Arc::new(error)));
            }
        }
        let mut jobs = self.shared.jobs.lock().expect("no panics while held");
        if jobs
            .by_blob
            .get(&digest)
            .is_some_and(|e| e.number == self.number)
        {
            jobs.by_blob.remove(&digest);
        }
    }

    fn tell(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    async fn fetch(&self) -> Result<Fetched> {
        let _open = self.slot(&self.slots.open).await?;
        let failure = match self.attempt(None).await {
            Ok(fetched) => return Ok(fetched),
            Err(failure) => failure,
        };
        let Some(liar) = failure.lie else {
            return Err(failure.error);
        };
        let error = spec::error::chain(&failure.error);
        tracing::warn!(digest = %self.source.digest, error, "a layer is not what it should be");
        // What an earlier download left may have been at fault; if not, whoever sent the bytes is.
        let blamed = liar.filter(|_| !failure.resumed);
        if let Some(liar) = blamed {
            self.repository.blame(liar);
        }
        let second = self.attempt(blamed).await;
        // The first failure is the one that says what is wrong.
        second.map_err(|_| failure.error)
    }

    /// Downloads and unpacks once, from anywhere but the one that is blamed.
    async fn attempt(&self, blamed: Option<EndpointId>) -> std::result::Result<Fetched, Failure> {
        let slot = self.slot(&self.slots.downloads).await?;
        let (lease, ingest) = self.begin().await?;
        let mut sink = Sink::start(ingest);
        let resumed = sink.resumed() > 0;
        let mut from = None;
        let arrived = tokio::select! {
            arrived = self.receive(&mut sink, blamed, &mut from) => arrived,
            () = self.cancel.cancelled() => Err(cancelled()),
        };
        drop(slot);
        let judged = |error: Error| Failure {
            lie: is_lie(&error).then_some(from),
            error,
            resumed,
        };
        match arrived {
            Ok(()) => {
                let watch = |unpacked| self.tell(Stage::Extracting(unpacked));
                let layer = sink.finish(watch).await.map_err(judged)?;
                Ok(Fetched {
                    layer,
                    _lease: lease,
                })
            }
            Err(error) => {
                let leftover = match self.leftover.load(Ordering::Relaxed) || is_lie(&error) {
                    true => Leftover::Discard,
                    false => Leftover::Keep,
                };
                // When the disk's side failed, the network's only noticed.
                sink.stop(leftover).await.map_err(judged)?;
                Err(judged(error))
            }
        }
    }

    /// Waits for a place; the clients hear of it when it is not free at once.
    async fn slot(&self, slots: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Ok(slot);
        }
        self.tell(Stage::Waiting);
        tokio::select! {
            slot = Arc::clone(slots).acquire_owned() => Ok(slot.expect("never closed")),
            () = self.cancel.cancelled() => Err(cancelled()),
        }
    }

    /// Opens the layer in the store, where another operation may still have it.
    async fn begin(&self) -> Result<(Lease, Ingest)> {
        for _ in 0..BUSY_TRIES {
            let (store, source) = (self.shared.store.clone(), self.source.clone());
            let begin = move || {
                let lease = store.lease("pull layer");
                let ingest = store.begin_layer(&lease, source, Limits::default())?;
                Ok((lease, ingest))
            };
            let begun: store::Result<_> = tokio::task::spawn_blocking(begin)
                .await
                .map_err(|error| Error::internal(format!("opening a layer failed: {error}")))?;
            match begun {
                Err(store::Error::LayerBusy { .. }) => {}
                begun => return Ok(begun?),
            }
            tokio::select! {
                () = tokio::time::sleep(BUSY_POLL) => {}
                () = self.cancel.cancelled() => return Err(cancelled()),
            }
        }
        Err(Error::conflict(format!(
            "layer {} is being received by another operation",
            self.source.digest
        )))
    }

    /// Brings all bytes to the sink, over as many attempts as they are worth.
    async fn receive(
        &self,
        sink: &mut Sink,
        blamed: Option<EndpointId>,
        from: &mut Option<EndpointId>,
    ) -> Result<()> {
        let mut retry = Retry::new(self.attempts);
        loop {
            let before = sink.have();
            let Err(error) = self.stream(sink, blamed, from).await else {
                return Ok(());
            };
            let transient = matches!(&error, Error::Registry(error) if error.is_transient());
            if !transient {
                return Err(error);
            }
            let progressed = match sink.have() > before {
                true => Progressed::Yes,
                false => Progressed::No,
            };
            let text = spec::error::chain(&error);
            tracing::debug!(digest = %self.source.digest, error = text, "a download was cut");
            match retry.failed(progressed) {
                Next::Now => {}
                Next::After(delay) => self.count_down(delay).await,
                Next::GiveUp => return Err(error),
            }
        }
    }

    async fn count_down(&self, delay: Duration) {
        for left in (1..=delay.as_secs()).rev() {
            self.tell(Stage::Retrying(left));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// One attempt: from where the sink is to the end.
    async fn stream(
        &self,
        sink: &mut Sink,
        blamed: Option<EndpointId>,
        from: &mut Option<EndpointId>,
    ) -> Result<()> {
        self.tell(Stage::Downloading(sink.have()));
        if sink.have() == self.source.size {
            return Ok(());
        }
        let mut blob = self.repository.blob(&self.descriptor, sink.have()).await?;
        if blamed == Some(blob.endpoint()) {
            return Err(Error::internal("there is no other source for the layer"));
        }
        *from = Some(blob.endpoint());
        // A registry that cannot continue begins again.
        let mut skip = sink.have().saturating_sub(blob.offset());
        while let Some(bytes) = blob.next().await {
            let mut bytes = bytes?;
            let skipped = skip.min(bytes.len() as u64);
            skip -= skipped;
            let bytes = bytes.split_off(usize::try_from(skipped).unwrap_or(bytes.len()));
            if bytes.is_empty() {
                continue;
            }
            if sink.write(bytes).await.is_err() {
                // Its result replaces this error.
                return Err(Error::internal("the store does not take the layer"));
            }
            self.tell(Stage::Downloading(sink.have()));
        }
        Ok(())
    }
}

fn cancelled() -> Error {
    Error::refused(ErrorKind::Cancelled, "context canceled")
}

/// Whether bytes were not what they should have been, rather than missing or not storable.
fn is_lie(error: &Error) -> bool {
    match error {
        Error::Registry(registry::Error::BlobSize { .. }) => true,
        Error::Store(error) => matches!(
            error,
            store::Error::LayerMismatch { .. } | store::Error::BadArchive { .. }
        ),
        _ => false,
    }
}
