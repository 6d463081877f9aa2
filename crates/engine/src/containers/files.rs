//! Copying into and out of a container, whether it runs or not.
//!
//! A running container's files are seen through its first process, as the container sees them with
//! all its mounts. At rest they are put together in a mount namespace of a throw-away thread: the
//! root file system, then volumes and binds, all by descriptor. Meanwhile the container's driver
//! has lent its files: a start waits for the copy, a removal ends it.

mod account;
mod loan;
mod view;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use spec::ErrorKind;
use store::copy::{self, CopyPath, CopyStat, Extract};
use tokio::sync::oneshot;

pub(super) use account::user;
pub(super) use loan::{Lent, Loan, Of, Purpose, Turns};

use super::record::Record;
use super::{Containers, mounting};
use crate::images::archive::{ArchiveStream, produce_until};
use crate::{Error, Result, pieces};
use view::with_files;

/// How an archive is put into a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutArchive {
    /// Refuse to replace a directory by something else, or something else by a directory.
    pub keep_kinds: bool,
    /// Everything belongs to the container's user, whatever the archive says.
    pub own: bool,
}

impl Containers {
    /// What there is at a path of a container.
    ///
    /// # Errors
    ///
    /// No such container or path.
    pub async fn stat_path(&self, key: &str, path: &str) -> Result<CopyStat> {
        let path = parse(path)?;
        let mut lent = self.lend(key, Purpose::Read).await?;
        let turn = lent.turn.take();
        let (shared, key) = (Arc::clone(self.shared()), key.to_owned());
        let asks_plugins = mounting::has_plugged(&lent.record);
        let job = move || {
            let done = with_files(&shared, &lent, |files| {
                drop(turn);
                Ok(copy::stat(&files.root, &path)?)
            });
            done.map_err(|error| in_words(error, &key, &lent.record))
        };
        self.shared()
            .blocking
            .quick_or_plugin(asks_plugins, job)
            .await
    }

    /// What there is at a path of a container, as an archive.
    ///
    /// # Errors
    ///
    /// No such container or path; failures under way end the stream.
    pub async fn get_archive(&self, key: &str, path: &str) -> Result<(CopyStat, ArchiveStream)> {
        let (container, path) = (self.get(key)?, parse(path)?);
        let mut lent = self.lend(key, Purpose::Read).await?;
        let turn = lent.turn.take();
        let (shared, key) = (Arc::clone(self.shared()), key.to_owned());
        let (tell, told) = oneshot::channel();
        let stream = produce_until(lent.cancel.clone(), move |out| {
            let mut tell = Some(tell);
            let done = with_files(&shared, &lent, |files| {
                drop(turn);
                let found = copy::stat(&files.root, &path)?;
                if let Some(tell) = tell.take() {
                    let _gone = tell.send(Ok(found));
                }
                Ok(copy::pack(&files.root, &path, out)?)
            });
            match (done, tell) {
                (Err(error), Some(tell)) => {
                    let _gone = tell.send(Err(in_words(error, &key, &lent.record)));
                    Ok(())
                }
                (done, _) => done,
            }
        });
        let found = told
            .await
            .map_err(|_| Error::internal("the copy ended before it began"))??;
        super::emit(&self.shared().events, &container, "archive-path");
        Ok((found, stream))
    }

    /// Unpacks an archive at a directory of a container.
    ///
    /// # Errors
    ///
    /// No such container or directory, a read-only place, or a bad archive; what was unpacked
    /// until then stays, as with Docker.
    pub async fn put_archive<S>(
        &self,
        key: &str,
        path: &str,
        options: PutArchive,
        client: S,
    ) -> Result<()>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let (lent, path) = (self.lend(key, Purpose::Write).await?, parse(path)?);
        let container = self.get(key)?;
        let (shared, key) = (Arc::clone(self.shared()), key.to_owned());
        let (source, passing) = pieces::of_client(client, lent.cancel.clone());
        let job = move || {
            let done = with_files(&shared, &lent, |files| {
                let extract = Extract {
                    upper: files.upper.as_ref(),
                    keep_kinds: options.keep_kinds,
                    keep_place: true,
                    owner: match options.own {
                        true => account::owner(&files.root, &lent.record.config.user)?,
                        false => None,
                    },
                    ..Extract::default()
                };
                Ok(copy::extract(&files.root, &path, source, &extract)?)
            });
            done.map_err(|error| in_words(error, &key, &lent.record))
        };
        // As long as the client sends: none of the bounded threads.
        let ((), done) = tokio::join!(passing, tokio::task::spawn_blocking(job));
        match done {
            Ok(done) => {
                done?;
                super::emit(&self.shared().events, &container, "extract-to-dir");
                Ok(())
            }
            Err(error) => Err(Error::internal(format!("the copy did not end: {error}"))),
        }
    }
}

fn parse(path: &str) -> Result<CopyPath> {
    Ok(CopyPath::parse(path)?)
}

/// Docker's words for what users meet.
fn in_words(error: Error, key: &str, record: &Record) -> Error {
    match error {
        Error::Store(store::Error::NoSuchPath { path }) => Error::refused(
            ErrorKind::NotFound,
            format!("Could not find the file {path} in container {key}"),
        ),
        Error::Store(store::Error::ReadOnly { path }) if is_mounted(record, &path) => {
            Error::invalid("mounted volume is marked read-only")
        }
        Error::Store(store::Error::ReadOnly { .. }) if record.host.readonly_rootfs => {
            Error::invalid("container rootfs is marked read-only")
        }
        other => other,
    }
}

/// Whether a path is at or below something that is mounted.
fn is_mounted(record: &Record, path: &str) -> bool {
    let path = crate::mounts::clean(path);
    let at = |target: &str| {
        let below = path.strip_prefix(target);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    record.points().iter().any(|point| at(&point.target))
}
