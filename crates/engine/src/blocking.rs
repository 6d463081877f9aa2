//! The one door from async code into blocking work.
//!
//! Kernel calls of the network and short file work go through [`Blocking::quick`]; walking of trees
//! through [`Blocking::heavy`], which lets only a few run at once so that they never take all
//! threads. Jobs whose speed is that of a client (archives in and out) have a door of their own,
//! [`Blocking::client`]: however slow clients are, only others like them wait. So have those that
//! may wait for a volume plugin, [`Blocking::plugin`].

use std::sync::Arc;

use spec::ErrorKind;
use tokio::sync::Semaphore;

use crate::{Error, Result};

/// Short jobs at once; more wait. A burst of starts must not make hundreds of threads.
const QUICK: usize = 16;
/// Long jobs at once.
const HEAVY: usize = 4;
/// Jobs at once that wait for a client.
const CLIENT: usize = 64;
/// Jobs at once that may wait for a volume plugin.
const PLUGIN: usize = 64;

/// The doors; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Blocking {
    quick: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    client: Arc<Semaphore>,
    plugin: Arc<Semaphore>,
}

impl Blocking {
    /// Makes the doors.
    pub(crate) fn new() -> Self {
        Self {
            quick: Arc::new(Semaphore::new(QUICK)),
            heavy: Arc::new(Semaphore::new(HEAVY)),
            client: Arc::new(Semaphore::new(CLIENT)),
            plugin: Arc::new(Semaphore::new(PLUGIN)),
        }
    }

    /// Runs a job of at most some milliseconds.
    pub(crate) async fn quick<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        through(&self.quick, job).await
    }

    /// Runs a job that takes as long as its client takes.
    pub(crate) async fn client<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        through(&self.client, job).await
    }

    /// Runs a job that may wait for a volume plugin, which may hang for minutes.
    pub(crate) async fn plugin<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        through(&self.plugin, job).await
    }

    /// Runs a short job, or one that may wait for a volume plugin.
    pub(crate) async fn quick_or_plugin<T, F>(&self, asks_plugins: bool, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let door = if asks_plugins {
            &self.plugin
        } else {
            &self.quick
        };
        through(door, job).await
    }

    /// Runs a job of any length, or one that may wait for a volume plugin.
    pub(crate) async fn heavy_or_plugin<T, F>(&self, asks_plugins: bool, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let door = if asks_plugins {
            &self.plugin
        } else {
            &self.heavy
        };
        through(door, job).await
    }

    /// Runs a job of any length.
    pub(crate) async fn heavy<T, F>(&self, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        through(&self.heavy, job).await
    }
}

/// The job is never abandoned half-way: when the caller goes, it still runs to its end.
async fn through<T, F>(door: &Arc<Semaphore>, job: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let permit = Arc::clone(door)
        .acquire_owned()
        .await
        .expect("the semaphores are never closed");
    let run = move || {
        let _permit = permit;
        job()
    };
    match tokio::task::spawn_blocking(run).await {
        Ok(result) => result,
        Err(error) => Err(Error::refused(
            ErrorKind::Internal,
            format!("a blocking job did not end: {error}"),
        )),
    }
}
