//! Removing images that nobody uses.

use std::collections::HashSet;

use spec::{ImageId, Reference, Timestamp};
use store::Image;

use super::remove::{delete, delete_dangling, delete_left_over, removals, untag, users};
use super::{ImageRemoval, Images};
use crate::containers::{Pruned, until};
use crate::{Error, Filters, Result};

/// What a prune does to one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its names go; an image that stays was made of it.
    Untag(ImageId),
    /// It goes with its names.
    Delete(ImageId),
    /// It goes if it has no tags by then.
    DeleteDangling(ImageId),
    /// It goes if it has no names by then.
    DeleteLeftOver(ImageId),
}

/// What is to be done to images that nobody uses and that the filters admit.
fn steps(images: &Images, filters: &Filters) -> Result<Vec<Step>> {
    filters.only(&["dangling", "label", "label!", "until"])?;
    let only_dangling = filters.boolean("dangling")?.unwrap_or(true);
    let until = until(filters)?;
    let is_used = |id| !users(images, id).is_empty();
    let admits = |image: &Image| {
        let created = image.config.created.unwrap_or(Timestamp::ZERO);
        let labels = &image.config.config.labels;
        (!only_dangling || image.is_dangling())
            // What others were made of goes with the last of them.
            && !(image.is_nameless() && image.has_children)
            && until.is_none_or(|t| created < t)
            && filters.allows_labels("label", labels)
            && filters.allows_without_labels("label!", labels)
            && !is_used(image.id)
    };
    let all = images.store().images();
    let chosen: Vec<ImageId> = all.iter().filter(|i| admits(i)).map(|i| i.id).collect();
    let delete = match only_dangling {
        true => Step::DeleteDangling,
        false => Step::Delete,
    };
    Ok(order(&all, &chosen, delete, is_used))
}

/// Puts the removals in order: with an image its nameless parents go, as far as nothing else was
/// made of them, and what something else was made of loses its names only.
fn order(
    all: &[Image],
    chosen: &[ImageId],
    delete: fn(ImageId) -> Step,
    is_used: impl Fn(ImageId) -> bool,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut gone, mut unnamed) = (HashSet::new(), HashSet::new());
    let find = |id: ImageId| all.iter().find(|image| image.id == id);
    let is_needed = |id: ImageId, gone: &HashSet<ImageId>| {
        let mut children = all.iter().filter(|image| image.parent == Some(id));
        children.any(|child| !gone.contains(&child.id))
    };
    for id in chosen {
        if gone.contains(id) {
            continue;
        }
        if is_needed(*id, &gone) {
            unnamed.insert(*id);
            steps.push(Step::Untag(*id));
            continue;
        }
        gone.insert(*id);
        steps.push(delete(*id));
        let mut parent = find(*id).and_then(|image| image.parent);
        while let Some(image) = parent.and_then(find) {
            let is_nameless = image.is_nameless() || unnamed.contains(&image.id);
            if !is_nameless || is_needed(image.id, &gone) || is_used(image.id) {
                break;
            }
            gone.insert(image.id);
            steps.push(Step::DeleteLeftOver(image.id));
            parent = image.parent;
        }
    }
    steps
}

/// Tells what [`prune`] would do.
pub(super) async fn plan_prune(images: &Images, filters: &Filters) -> Result<Pruned<ImageRemoval>> {
    let steps = steps(images, filters)?;
    let going = steps.iter().filter_map(|step| match step {
        Step::Untag(_) => None,
        Step::Delete(id) | Step::DeleteDangling(id) | Step::DeleteLeftOver(id) => Some(*id),
    });
    let request = store::PruneRequest {
        images: going.collect(),
    };
    let store = images.store().clone();
    let plan = move || {
        let mut untagged: Vec<Reference> = Vec::new();
        for step in &steps {
            if let Step::Untag(id) = step {
                untagged.extend(store.references_of(*id));
            }
        }
        Ok((untagged, store.plan_prune(&request)?))
    };
    let (untagged, mut prunable) = images.heavy(plan).await?;
    for removed in &mut prunable.removed {
        removed.untagged.retain(|name| !untagged.contains(name));
    }
    let untagged = untagged.iter().map(Reference::familiar);
    let deleted = prunable.removed.iter().flat_map(removals);
    Ok(Pruned {
        deleted: untagged
            .map(ImageRemoval::Untagged)
            .chain(deleted)
            .collect(),
        reclaimed: prunable.bytes,
    })
}

/// Removes images that nobody uses.
pub(super) async fn prune(images: &Images, filters: &Filters) -> Result<Pruned<ImageRemoval>> {
    let mut pruned = Pruned {
        deleted: Vec::new(),
        reclaimed: 0,
    };
    for step in steps(images, filters)? {
        let done = match step {
            Step::Untag(id) => {
                for name in images.store().references_of(id) {
                    if untag(images, id, &name).await? {
                        pruned.deleted.push(ImageRemoval::Untagged(name.familiar()));
                    }
                }
                continue;
            }
            Step::Delete(id) => delete(images, id).await.map(Some),
            Step::DeleteDangling(id) => delete_dangling(images, id).await,
            Step::DeleteLeftOver(id) => delete_left_over(images, id).await,
        };
        match done {
            Ok(Some((removed, bytes))) => {
                pruned.deleted.extend(removed);
                pruned.reclaimed += bytes;
            }
            // It was named or removed by somebody else in between.
            Ok(None) | Err(Error::Store(store::Error::NoSuchImage { .. })) => {}
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn id(text: &str) -> ImageId {
        ImageId::new(spec::Digest::of(text.as_bytes()))
    }

    fn image(text: &str, parent: Option<&str>, names: &[&str]) -> Image {
        Image {
            id: id(text),
            config: Arc::default(),
            references: names.iter().map(|name| name.parse().unwrap()).collect(),
            repo_digests: Vec::new(),
            size: 0,
            last_tagged: None,
            manifests: Vec::new(),
            is_companion: false,
            parent: parent.map(id),
            has_children: false,
        }
    }

    #[test]
    fn parents_go_with_their_last_child() {
        let all = [
            image("child", Some("middle"), &["c:1"]),
            image("middle", Some("base"), &[]),
            image("base", None, &["b:1"]),
        ];
        let order = |chosen: &[&str], used: &str| {
            let chosen: Vec<ImageId> = chosen.iter().map(|text| id(text)).collect();
            super::order(&all, &chosen, Step::Delete, |other| other == id(used))
        };
        let child = Step::Delete(id("child"));
        let middle = Step::DeleteLeftOver(id("middle"));
        // A name keeps the base, unless it was chosen too.
        assert_eq!(order(&["child"], ""), [child, middle]);
        let base = Step::Delete(id("base"));
        assert_eq!(order(&["child", "base"], ""), [child, middle, base]);
        let base = Step::DeleteLeftOver(id("base"));
        let early = [Step::Untag(id("base")), child, middle, base];
        assert_eq!(order(&["base", "child"], ""), early);
        // The container's image stays, and with it what it was made of.
        assert_eq!(order(&["child"], "middle"), [child]);
        assert_eq!(order(&["base"], "child"), [Step::Untag(id("base"))]);
    }
}
