//! Work that nobody asked for and nobody waits for: settling layers, collecting garbage.
//!
//! Three tasks. *Settling* ([`store::Store::settle`]) makes one copy of two after a pull, for
//! minutes and at the lowest priority. *Collecting*
//! ([`store::Collector`]) removes what nothing refers to and downloads that nobody continued, by
//! the policy of the settings. What a running operation holds by a lease is never touched: the store
//! sees to that. *Sweeping* ([`store::Store::sweep_left_over`]) removes, whatever the policy, what was
//! removed while an operation held it. All are woken by others and end at shutdown, in the middle if
//! need be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::{BlobPolicy, Collected, Collector, Policy, Store};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{GcConfig, ImagesConfig, LayerBlobs};

/// Wait after a pull before settling begins: what was pulled is usually run at once.
const SETTLE_AFTER: Duration = Duration::from_secs(2);
/// Shortest time between two collections, whatever the settings say.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// The background work of a daemon.
#[derive(Debug)]
pub(crate) struct Upkeep {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    settings: Mutex<(GcConfig, LayerBlobs)>,
    settle: Notify,
    collect: Notify,
    /// Leases left something.
    sweep: Arc<Notify>,
    closing: CancellationToken,
    /// The same for threads.
    stop: Arc<AtomicBool>,
}

impl Upkeep {
    /// Begins; must be called inside a tokio runtime.
    pub(crate) fn start(store: &Store, config: &ImagesConfig) -> Self {
        let shared = Arc::new(Shared {
            store: store.clone(),
            settings: Mutex::new((config.gc.clone(), config.layer_blobs)),
            settle: Notify::new(),
            collect: Notify::new(),
            sweep: Arc::default(),
            closing: CancellationToken::new(),
            stop: Arc::default(),
        });
        // What an earlier daemon left unsettled.
        shared.settle.notify_one();
        let sweep = Arc::clone(&shared.sweep);
        store.on_left_over(move || sweep.notify_one());
        let tasks = vec![
            tokio::spawn(Arc::clone(&shared).settling()),
            tokio::spawn(Arc::clone(&shared).collecting()),
            tokio::spawn(Arc::clone(&shared).sweeping()),
        ];
        Self {
            shared,
            tasks: Mutex::new(tasks),
        }
    }

    /// There are new layers.
    pub(crate) fn settle_soon(&self) {
        self.shared.settle.notify_one();
    }

    /// Space is short, or the settings changed.
    pub(crate) fn collect_soon(&self) {
        self.shared.collect.notify_one();
    }

    /// Takes new settings.
    pub(crate) fn configure(&self, config: &ImagesConfig) {
        *self.shared.settings() = (config.gc.clone(), config.layer_blobs);
        self.settle_soon();
        self.collect_soon();
    }

    /// Ends all tasks, in the middle of what they do.
    pub(crate) async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.stop.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *self.tasks.lock().expect("no panics while held"));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "a background task did not end");
            }
        }
    }
}

impl Shared {
    fn settings(&self) -> std::sync::MutexGuard<'_, (GcConfig, LayerBlobs)> {
        self.settings.lock().expect("no panics while held")
    }

    async fn settling(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.settle.notified() => {}
                () = self.closing.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(SETTLE_AFTER) => {}
                () = self.closing.cancelled() => return,
            }
            let policy = blob_policy(self.settings().1);
            let (store, stop) = (self.store.clone(), Arc::clone(&self.stop));
            let job = move || store.settle(policy, &|| stop.load(Ordering::Relaxed));
            match tokio::task::spawn_blocking(job).await {
                Ok(Ok(settled)) => tracing::debug!(?settled, "layers settled"),
                Ok(Err(error)) => {
                    let error = spec::error::chain(&error);
                    tracing::warn!(error, "failed to settle layers");
                }
                Err(error) => tracing::error!(%error, "settling crashed"),
            }
        }
    }

    async fn collecting(self: Arc<Self>) {
        let mut collector = Collector::new(&self.store);
        loop {
            let interval = self.settings().0.interval.max(SHORTEST_INTERVAL);
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = self.collect.notified() => {}
                () = self.closing.cancelled() => return,
            }
            let Some(policy) = policy(&self.settings().0) else {
                continue;
            };
            let run = move || {
                let collected = collector.run(&policy);
                (collector, collected)
            };
            let Ok((back, collected)) = tokio::task::spawn_blocking(run).await else {
                tracing::error!("the collection crashed and is off until the daemon starts again");
                return;
            };
            collector = back;
            match collected {
                Ok(collected) => Self::tell(&collected),
                Err(error) => {
                    let error = spec::error::chain(&error);
                    tracing::warn!(error, "failed to collect garbage");
                }
            }
        }
    }

    async fn sweeping(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.sweep.notified() => {}
                () = self.closing.cancelled() => return,
            }
            let store = self.store.clone();
            match tokio::task::spawn_blocking(move || store.sweep_left_over()).await {
                Ok(Ok(swept)) => tracing::debug!(?swept, "what operations held is removed"),
                // It is collected by age.
                Ok(Err(error)) => {
                    let error = spec::error::chain(&error);
                    tracing::warn!(error, "failed to remove what operations held");
                }
                Err(error) => tracing::error!(%error, "sweeping crashed"),
            }
        }
    }

    fn tell(collected: &Collected) {
        if *collected == Collected::default() {
            return;
        }
        tracing::info!(?collected, "garbage collected");
    }
}

/// The store's policy, if collection is on.
fn policy(config: &GcConfig) -> Option<Policy> {
    config.enabled.then_some(Policy {
        unreferenced_age: config.unreferenced_age,
        partial_age: config.partial_age,
        floor: config.floor,
    })
}

fn blob_policy(blobs: LayerBlobs) -> BlobPolicy {
    match blobs {
        LayerBlobs::Auto => BlobPolicy::Auto,
        LayerBlobs::Keep => BlobPolicy::Keep,
        LayerBlobs::Drop => BlobPolicy::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collection_follows_the_settings() {
        let mut config = GcConfig {
            partial_age: Duration::from_secs(7),
            ..GcConfig::default()
        };
        assert_eq!(policy(&config).unwrap().partial_age, config.partial_age);
        config.enabled = false;
        assert_eq!(policy(&config), None);
    }
}
