//! Removing images that nobody uses.

use spec::{ImageId, Timestamp};
use store::Image;

use super::remove::{delete, removals, users};
use super::{ImageRemoval, Images};
use crate::containers::{Pruned, until};
use crate::{Error, Filters, Result};

/// Images that nobody uses and that the filters admit.
fn unused(images: &Images, filters: &Filters) -> Result<Vec<ImageId>> {
    filters.only(&["dangling", "label", "label!", "until"])?;
    let only_dangling = filters.boolean("dangling")?.unwrap_or(true);
    let until = until(filters)?;
    let admits = |image: &Image| {
        let created = image.config.created.unwrap_or(Timestamp::ZERO);
        let labels = &image.config.config.labels;
        (!only_dangling || image.is_dangling())
            && until.is_none_or(|t| created < t)
            && filters.allows_labels("label", labels)
            && filters.allows_without_labels("label!", labels)
            && users(images, image.id).is_empty()
    };
    let all = images.store().images().into_iter();
    Ok(all.filter(admits).map(|image| image.id).collect())
}

/// Tells what [`prune`] would do.
pub(super) async fn plan_prune(images: &Images, filters: &Filters) -> Result<Pruned<ImageRemoval>> {
    let request = store::PruneRequest {
        images: unused(images, filters)?,
    };
    let store = images.store().clone();
    let prunable = images
        .heavy(move || Ok(store.plan_prune(&request)?))
        .await?;
    Ok(Pruned {
        deleted: prunable.removed.iter().flat_map(removals).collect(),
        reclaimed: prunable.bytes,
    })
}

/// Removes images that nobody uses.
pub(super) async fn prune(images: &Images, filters: &Filters) -> Result<Pruned<ImageRemoval>> {
    let mut pruned = Pruned {
        deleted: Vec::new(),
        reclaimed: 0,
    };
    for id in unused(images, filters)? {
        match delete(images, id).await {
            Ok((removed, bytes)) => {
                pruned.deleted.extend(removed);
                pruned.reclaimed += bytes;
            }
            // Removed by somebody else in between.
            Err(Error::Store(store::Error::NoSuchImage { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    let attributes = [("reclaimed".to_owned(), pruned.reclaimed.to_string())].into();
    images
        .containers
        .shared()
        .events
        .emit("image", "prune", "", attributes);
    Ok(pruned)
}
