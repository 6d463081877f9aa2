//! All layers of one image, for one client: joined, followed, reported.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use registry::Repository;
use spec::manifest::Descriptor;
use spec::{Classify, DiffId, Digest, ErrorKind, Reference};
use store::{LayerSource, Lease, StagedLayer};

use super::TICK;
use super::job::{Downloads, Job, Joined};
use super::stage::{Fetched, Report, Stage};
use crate::images::progress::Sayer;
use crate::{Error, Result};

/// The layers of an image and where they are had.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    pub(super) downloads: &'a Downloads,
    pub(super) lease: &'a Lease,
    pub(super) repository: &'a Repository,
    pub(super) origin: &'a Reference,
    pub(super) say: &'a Sayer,
}

/// Layers that arrived; dropping this lets go of their jobs.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    layers: Vec<Arc<Fetched>>,
    _held: Vec<Arc<Job>>,
}

impl Arrived {
    /// The layers, to be published.
    pub(super) fn staged(&self) -> Vec<StagedLayer> {
        let layers = self.layers.iter();
        layers.map(|fetched| fetched.layer.clone()).collect()
    }
}

impl Layers<'_> {
    /// Fetches what is not here; `fits` is asked about the bytes that are missing before it begins.
    pub(super) async fn fetch(
        &self,
        layers: &[(Descriptor, DiffId)],
        fits: impl FnOnce(u64) -> Result<()>,
    ) -> Result<Arrived> {
        let mut seen = HashSet::new();
        let mut missing: Vec<(&Descriptor, DiffId)> = Vec::new();
        for (descriptor, diff) in layers {
            if !seen.insert((descriptor.digest, *diff)) {
                continue;
            }
            missing.push((descriptor, *diff));
        }
        let mut joined = Vec::new();
        let mut bytes = 0_u64;
        let sources: Vec<LayerSource> = missing
            .iter()
            .map(|(descriptor, diff)| self.source(descriptor, *diff))
            .collect();
        for ((descriptor, _), source) in missing.iter().zip(&sources) {
            let store_has = self
                .downloads
                .has(self.lease, source.diff_id, source.digest);
            let (id, line) = match store_has {
                true => (short(descriptor.digest), "Already exists"),
                false => (short(descriptor.digest), "Pulling fs layer"),
            };
            self.say.step(&id, line).await?;
            if !store_has {
                bytes = bytes.saturating_add(descriptor.size);
                joined.push((*descriptor, source));
            }
        }
        fits(bytes)?;
        let held = Mutex::default();
        let layers = joined
            .into_iter()
            .map(|(descriptor, source)| self.layer(descriptor, source, &held));
        let arrived = futures_util::future::try_join_all(layers).await;
        let held: Vec<Arc<Job>> = held.into_inner().expect("no panics while held");
        match arrived {
            Ok(arrived) => Ok(Arrived {
                layers: arrived.into_iter().flatten().collect(),
                _held: held,
            }),
            Err(error) => {
                if error.kind() == ErrorKind::Exhausted {
                    // What came of the others must not keep the disk full.
                    held.iter().for_each(|job| job.discard_leftover());
                }
                Err(error)
            }
        }
    }

    fn source(&self, descriptor: &Descriptor, diff_id: DiffId) -> LayerSource {
        LayerSource {
            diff_id,
            media_type: descriptor.media_type.clone(),
            digest: descriptor.digest,
            size: descriptor.size,
            origin: Some(self.origin.clone()),
        }
    }

    /// One layer; a failure of somebody else's download is followed by one of our own.
    async fn layer(
        &self,
        descriptor: &Descriptor,
        source: &LayerSource,
        held: &Mutex<Vec<Arc<Job>>>,
    ) -> Result<Option<Arc<Fetched>>> {
        let mut lent = true;
        loop {
            let joined = self
                .downloads
                .join(self.lease, source, descriptor, self.repository);
            let (job, own) = match joined {
                Joined::Present => {
                    let id = short(descriptor.digest);
                    self.say.step(&id, "Already exists").await?;
                    return Ok(None);
                }
                Joined::Began(job) => (job, true),
                Joined::Under(job) => (job, false),
            };
            held.lock()
                .expect("no panics while held")
                .push(Arc::clone(&job));
            match self.follow(&job, descriptor).await {
                Ok(fetched) if fetched.layer.diff_id() == source.diff_id => {
                    return Ok(Some(fetched));
                }
                // Another image says the same blob unpacks to something else: it cannot be right.
                Ok(fetched) => {
                    return Err(Error::internal(format!(
                        "filesystem layer verification failed for digest {}: its content has diff id {}, the image says {}",
                        descriptor.digest,
                        fetched.layer.diff_id(),
                        source.diff_id
                    )));
                }
                Err(error) => {
                    if own || !lent {
                        return Err(error);
                    }
                    lent = false;
                }
            }
        }
    }

    /// Reports a job until it ends.
    async fn follow(&self, job: &Job, descriptor: &Descriptor) -> Result<Arc<Fetched>> {
        let id = short(descriptor.digest);
        let mut report = Report::new(descriptor.size);
        let mut stages = job.stages();
        loop {
            let stage = stages.borrow_and_update().clone();
            for line in report.lines(&stage) {
                self.say
                    .count(&id, &line.action, line.current, line.total)
                    .await?;
            }
            match &stage {
                Stage::Done(fetched) => return Ok(Arc::clone(fetched)),
                Stage::Failed(error) => return Err(Error::Shared(Arc::clone(error))),
                _ => {}
            }
            // Numbers are told a few times a second, changes at once.
            let other = stages.wait_for(|now| !now.is_like(&stage));
            match tokio::time::timeout(TICK, other).await {
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(_)) => return Err(Error::internal("a download ended without a result")),
            }
        }
    }
}

/// What Docker calls a layer in its reports.
pub(in crate::images) fn short(digest: Digest) -> String {
    digest.hex()[..12].to_owned()
}
