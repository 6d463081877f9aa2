//! One layer on its way to a registry: already there, taken over from a neighbour, or sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use registry::{Mount, Repository, UploadSession};
use spec::manifest::{Descriptor, Manifest, media};
use spec::{DiffId, Digest};
use tokio::sync::Semaphore;

use super::body::{self, Measure, Measured};
use crate::images::hub::Hub;
use crate::images::progress::Sayer;
use crate::images::pull::short;
use crate::images::retry::{Next, Progressed, Retry};
use crate::{Error, Result};

/// How often numbers are reported.
const TICK: Duration = Duration::from_millis(100);
/// Repositories that are tried as the source of a layer.
const MAX_MOUNTS: usize = 3;

/// A layer to be sent.
#[derive(Debug, Clone)]
pub(super) enum Layer {
    /// In a form whose digest is known.
    Known(Box<Descriptor>, DiffId),
    /// Compressed on its way.
    New(DiffId),
}

impl Layer {
    pub(super) fn diff(&self) -> DiffId {
        match self {
            Self::Known(_, diff) | Self::New(diff) => *diff,
        }
    }

    /// What Docker calls it in reports.
    pub(super) fn id(&self) -> String {
        short(self.diff().digest())
    }
}

/// Sends layers to one repository.
pub(super) struct Sender<'a> {
    pub(super) hub: &'a Hub,
    pub(super) repository: &'a Repository,
    pub(super) say: &'a Sayer,
    pub(super) uploads: Arc<Semaphore>,
    pub(super) attempts: u32,
}

impl Sender<'_> {
    /// Brings a layer to the registry; gives the descriptor it has there.
    pub(super) async fn send(&self, layer: &Layer) -> Result<Descriptor> {
        let id = layer.id();
        let _slot = match Arc::clone(&self.uploads).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => {
                self.say.step(&id, "Waiting").await?;
                let slot = Arc::clone(&self.uploads).acquire_owned().await;
                slot.expect("never closed")
            }
        };
        let mut retry = Retry::new(self.attempts);
        loop {
            let sent = match layer {
                Layer::Known(descriptor, diff) => self.known(&id, descriptor, *diff).await,
                Layer::New(diff) => self.compressed(&id, *diff).await,
            };
            let error = match sent {
                Ok(descriptor) => return Ok(descriptor),
                Err(error) => error,
            };
            // Docker asks before it sends anything, so it says nothing of what was to be sent.
            let error = match error {
                Error::Registry(registry::Error::Authorization { source, .. })
                    if matches!(*source, registry::Error::NoCredentials) =>
                {
                    return Err(Error::Registry(*source));
                }
                error => error,
            };
            // Who never answered is told of at once, as Docker does, which asks for `/v2/` first.
            let transient = self.repository.is_reached()
                && matches!(&error, Error::Registry(error) if error.is_transient());
            if !transient {
                return Err(error);
            }
            match retry.failed(Progressed::No) {
                Next::Now => {}
                Next::After(delay) => self.count_down(&id, delay).await?,
                Next::GiveUp => return Err(error),
            }
        }
    }

    async fn count_down(&self, id: &str, delay: Duration) -> Result<()> {
        for left in (1..=delay.as_secs()).rev() {
            let plural = if left == 1 { "" } else { "s" };
            let text = format!("Retrying in {left} second{plural}");
            self.say.step(id, &text).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    async fn known(&self, id: &str, descriptor: &Descriptor, diff: DiffId) -> Result<Descriptor> {
        let digest = descriptor.digest;
        if self.repository.has_blob(digest).await?.is_some() {
            self.say.step(id, "Layer already exists").await?;
            return Ok(descriptor.clone());
        }
        if descriptor.is_nondistributable() && !self.may_have_foreign() {
            self.say.step(id, "Skipped foreign layer").await?;
            return Ok(descriptor.clone());
        }
        let mut session = None;
        for from in self.neighbours(digest).await? {
            match self.repository.mount(digest, &from).await? {
                Mount::Mounted => {
                    self.say.step(id, &format!("Mounted from {from}")).await?;
                    return Ok(descriptor.clone());
                }
                Mount::Upload(opened) => session = Some(opened),
            }
        }
        self.upload(id, descriptor, diff, session).await?;
        self.say.step(id, "Pushed").await?;
        Ok(descriptor.clone())
    }

    async fn upload(
        &self,
        id: &str,
        descriptor: &Descriptor,
        diff: DiffId,
        session: Option<UploadSession>,
    ) -> Result<()> {
        let store = self.hub.store();
        // What cannot be read is told before anything is sent.
        let (probe, digest) = (store.clone(), descriptor.digest);
        self.hub
            .quick(move || probe.form(diff, digest).map(drop).map_err(Error::from))
            .await?;
        let open = || {
            let store = store.clone();
            body::reader(move || store.form(diff, digest).map_err(std::io::Error::other))
        };
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let count = Arc::new(move |bytes: u64| counter.store(bytes, Ordering::Relaxed));
        let upload = self.repository.upload(descriptor, session, &open, count);
        self.with_report(id, &sent, descriptor.size, upload).await?;
        Ok(())
    }

    /// Compresses a layer as Docker does, while it is sent.
    async fn compressed(&self, id: &str, diff: DiffId) -> Result<Descriptor> {
        let store = self.hub.store();
        let measure = Measure::default();
        let read = Arc::new(AtomicU64::new(0));
        let (source, result) = (store.clone(), Arc::clone(&measure));
        let total = store.forms(diff).iter().map(|form| form.size).max();
        let body = body::reader(move || {
            let encoded = source.encode(diff, &deflate::GZIP_DEFAULT);
            let encoded = encoded.map_err(std::io::Error::other)?;
            Ok(Measured::new(encoded, result))
        });
        let body = counted(body, Arc::clone(&read));
        let known = Arc::clone(&measure);
        let digest = move || {
            let found = *known.lock().expect("no panics while held");
            // The body has been read to its end by then; if not, no blob has this digest.
            found.map_or(Digest::of(b""), |(digest, _)| digest)
        };
        let upload = self.repository.upload_stream(body, digest);
        let total = total.unwrap_or(0);
        let digest = self.with_report(id, &read, total, upload).await?;
        let found = *measure.lock().expect("no panics while held");
        let (_, size) = found
            .filter(|(found, _)| *found == digest)
            .ok_or_else(|| Error::internal(format!("layer {diff} was not sent whole")))?;
        let made = Descriptor::new(media::DOCKER_LAYER_GZIP, digest, size);
        let (store, form) = (store.clone(), made.clone());
        let note = move || Ok(store.add_form(diff, &form, &deflate::GZIP_DEFAULT)?);
        self.hub.quick(note).await?;
        self.say.step(id, "Pushed").await?;
        Ok(made)
    }

    /// Reports bytes while something is sent.
    async fn with_report<T>(
        &self,
        id: &str,
        sent: &AtomicU64,
        total: u64,
        work: impl Future<Output = registry::Result<T>>,
    ) -> Result<T> {
        let mut work = std::pin::pin!(work);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done?),
                _ = ticks.tick() => {
                    let now = sent.load(Ordering::Relaxed).min(total);
                    self.say.count(id, "Pushing", now, total).await?;
                }
            }
        }
    }

    /// Whether the operator lets "foreign" layers go to this registry.
    fn may_have_foreign(&self) -> bool {
        let host = self.repository.reference().domain();
        let allowed = self.hub.config().allow_nondistributable;
        allowed.iter().any(|name| name == host)
    }

    /// Repositories of the same registry that have a blob, as far as manifests here tell.
    async fn neighbours(&self, digest: Digest) -> Result<Vec<String>> {
        let store = self.hub.store().clone();
        let target = self.repository.reference().clone();
        let find = move || {
            let mut found = Vec::new();
            for image in store.images() {
                let names = image.repo_digests.iter();
                let near = names.filter(|name| {
                    name.domain() == target.domain() && name.path() != target.path()
                });
                let near: Vec<String> = near.map(|name| name.path().to_owned()).collect();
                if near.is_empty() {
                    continue;
                }
                for manifest in &image.manifests {
                    let Some(bytes) = store.document(manifest.digest)? else {
                        continue;
                    };
                    let has = Manifest::parse(&manifest.media_type, &bytes)
                        .is_ok_and(|m| m.layers.iter().any(|layer| layer.digest == digest));
                    if has {
                        found.extend(near.iter().cloned());
                    }
                }
            }
            found.sort_unstable();
            found.dedup();
            found.truncate(MAX_MOUNTS);
            Ok(found)
        };
        self.hub.quick(find).await
    }
}

/// Counts the bytes that a body gives.
fn counted(body: registry::Body, count: Arc<AtomicU64>) -> registry::Body {
    use futures_util::StreamExt;
    Box::pin(body.inspect(move |piece| {
        if let Ok(piece) = piece {
            count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    }))
}
