//! Removing what does not run.

use std::sync::Arc;

use spec::ContainerId;

use super::command::Command;
use super::moment::until;
use super::request::{Pruned, RemoveOptions};
use super::shared::Shared;
use super::{ask, list};
use crate::Result;
use crate::container::State;
use crate::filters::Filters;

/// Removes containers that do not run and match.
pub(super) async fn prune(shared: &Arc<Shared>, filters: &Filters) -> Result<Pruned<ContainerId>> {
    filters.only(&["label", "label!", "until"])?;
    let until = until(filters)?;
    let mut pruned = Pruned {
        deleted: Vec::new(),
        reclaimed: 0,
    };
    for handle in shared.all() {
        let container = handle.container();
        let idle = matches!(
            container.state,
            State::Created | State::Exited | State::Dead
        );
        let wanted = until.is_none_or(|t| container.created < t)
            && filters.allows_labels("label", &container.config.labels)
            && filters.allows_without_labels("label!", &container.config.labels);
        if !(idle && wanted) {
            continue;
        }
        let (size, _) = list::sizes(shared, &container).await?;
        let key = container.id.to_string();
        let remove = |reply| Command::Remove(RemoveOptions::default(), reply);
        match ask(&handle, &key, remove).await {
            Ok(()) => {
                pruned.deleted.push(container.id);
                pruned.reclaimed += size.unwrap_or(0);
            }
            // Started or removed by somebody else in between.
            Err(error) => tracing::debug!(error = spec::error::chain(&error), "not pruned"),
        }
    }
    let attributes = [("reclaimed".to_owned(), pruned.reclaimed.to_string())].into();
    shared.events.emit("container", "prune", "", attributes);
    Ok(pruned)
}
