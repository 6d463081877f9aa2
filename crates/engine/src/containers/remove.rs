//! Removing: nothing of a container is left, and its name is free again.

use std::sync::Arc;

use super::driver::Driver;
use super::files::Of;
use super::mounting;
use super::record;
use super::request::RemoveOptions;
use super::shared::Shared;
use super::start::remove_run_dir;
use crate::container::State;
use crate::{Error, Result};
use spec::ContainerId;

impl Driver {
    /// Removes a container that does not run.
    pub(super) async fn remove_now(&mut self, options: RemoveOptions) -> Result<()> {
        let id = self.record.id;
        self.take_back(Of::All, std::time::Duration::ZERO).await;
        self.container.state = State::Removing;
        self.publish();
        self.early.clear();
        let (shared, record) = (Arc::clone(&self.shared), self.record.clone());
        let job = move || {
            remove_files(&shared, id)?;
            if options.volumes {
                mounting::remove_anonymous(&shared, &record);
            }
            Ok(())
        };
        let asks_plugins = mounting::has_plugged(&self.record);
        let gone = self
            .shared
            .blocking
            .heavy_or_plugin(asks_plugins, job)
            .await;
        if let Err(error) = gone {
            self.container.state = State::Dead;
            self.record.last.error = spec::error::chain(&error);
            self.publish();
            return Err(error);
        }
        self.shared.execs.container_removed(id);
        self.shared.table().remove(id);
        self.shared.callers.forget(id);
        self.removed = true;
        self.emit("destroy", &[]);
        self.wake(|_| true);
        tracing::info!(container = %id, "removed");
        Ok(())
    }
}

/// Removes record, snapshot and files. The record goes first: without it the rest is swept when
/// the engine is next opened, whatever happens here.
pub(super) fn remove_files(shared: &Shared, id: ContainerId) -> Result<()> {
    let dir = shared.data_dir(id);
    let missing_is_fine = |result: std::io::Result<()>| match result {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(
            format!("failed to remove `{}`", dir.display()),
            e,
        )),
        _ => Ok(()),
    };
    missing_is_fine(std::fs::remove_file(dir.join(record::FILE)))?;
    if !shared.store.is_expendable(&id.to_string()) && dir.exists() {
        // Otherwise a power cut would bring it back, and its restart policy would start it.
        sys::fs::sync_dir(&dir).map_err(|source| Error::System {
            what: "failed to make a removal durable".to_owned(),
            source,
        })?;
    }
    shared.store.remove_snapshot(&id.to_string())?;
    mounting::forget_images(shared, id)?;
    missing_is_fine(std::fs::remove_dir_all(&dir))?;
    remove_run_dir(&shared.run_dir(id));
    Ok(())
}
