//! Removing images: names first, the image with its last name, never under a container.

use std::sync::Arc;

use spec::{ImageId, Reference, Timestamp};
use store::Image;

use super::{ImageRemoval, Images, RemoveImage};
use crate::container::Container;
use crate::containers::{Pruned, until};
use crate::filters::Filters;
use crate::{Error, Result};

/// Removes what a user's text stands for.
pub(super) async fn remove(
    images: &Images,
    key: &str,
    options: RemoveImage,
) -> Result<Vec<ImageRemoval>> {
    let image = images.find(key)?;
    let users = users(images, image.id);
    let named = named(key, &image);
    let plan = plan(&image, named.map(|name| (name, key)), &users, options.force)?;
    let mut done = Vec::new();
    for reference in &plan.untag {
        untag(images, reference).await?;
        done.push(ImageRemoval::Untagged(reference.familiar()));
        images.emit(image.id, "untag", &reference.familiar());
    }
    if plan.delete {
        done.extend(delete(images, image.id).await?.0);
    }
    Ok(done)
}

/// The name that a user's text is, if it is one rather than an id.
fn named(key: &str, image: &Image) -> Option<Reference> {
    let reference = key.parse::<Reference>().ok()?.or_latest();
    image
        .references
        .iter()
        .chain(&image.repo_digests)
        .find(|r| **r == reference)
        .cloned()
}

/// What a removal will do.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    untag: Vec<Reference>,
    delete: bool,
}

/// Decides, in Docker's words where it must not be.
fn plan(
    image: &Image,
    named: Option<(Reference, &str)>,
    users: &[Arc<Container>],
    force: bool,
) -> Result<Plan> {
    let short = short(image.id);
    let all = || {
        image
            .references
            .iter()
            .chain(&image.repo_digests)
            .cloned()
            .collect::<Vec<_>>()
    };
    let running = users.iter().find(|c| c.state.running().is_some());
    let stopped = users.first();
    if let Some((name, as_written)) = named {
        // Digests of the same repository go with its last tag.
        let others = image.references.iter().filter(|r| **r != name).count();
        if others > 0 {
            return Ok(Plan {
                untag: vec![name],
                delete: false,
            });
        }
        if let Some(user) = stopped.filter(|_| !force) {
            return Err(Error::conflict(format!(
                "conflict: unable to remove repository reference \"{as_written}\" (must force) - container {} is using its referenced image {short}",
                user.id.short()
            )));
        }
        // A running container keeps the image, which then has no name.
        return Ok(Plan {
            untag: all(),
            delete: running.is_none(),
        });
    }
    let mut repositories: Vec<String> = all().iter().map(Reference::repository).collect();
    repositories.sort_unstable();
    repositories.dedup();
    if repositories.len() > 1 && !force {
        return Err(Error::conflict(format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        )));
    }
    if let Some(user) = running {
        return Err(Error::conflict(format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {}",
            user.id.short()
        )));
    }
    if let Some(user) = stopped.filter(|_| !force) {
        return Err(Error::conflict(format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container {}",
            user.id.short()
        )));
    }
    Ok(Plan {
        untag: all(),
        delete: true,
    })
}

fn short(id: ImageId) -> String {
    id.digest().hex()[..12].to_owned()
}

fn users(images: &Images, id: ImageId) -> Vec<Arc<Container>> {
    images
        .containers
        .all()
        .into_iter()
        .filter(|c| c.image == id)
        .collect()
}

async fn untag(images: &Images, reference: &Reference) -> Result<()> {
    let shared = images.containers.shared();
    let (store, reference) = (shared.store.clone(), reference.clone());
    shared
        .blocking
        .heavy(move || Ok(store.untag(&reference)?))
        .await?;
    Ok(())
}

/// Removes an image; returns what went and the bytes that came back.
async fn delete(images: &Images, id: ImageId) -> Result<(Vec<ImageRemoval>, u64)> {
    let shared = images.containers.shared();
    let store = shared.store.clone();
    let removed = shared
        .blocking
        .heavy(move || Ok(store.remove_image(id)?))
        .await?;
    let untagged = removed
        .untagged
        .iter()
        .map(|r| ImageRemoval::Untagged(r.familiar()));
    let deleted = removed
        .deleted
        .iter()
        .map(|d| ImageRemoval::Deleted(d.to_string()));
    images.emit(id, "delete", &id.to_string());
    Ok((untagged.chain(deleted).collect(), removed.bytes))
}

/// Removes images that nobody uses.
pub(super) async fn prune(images: &Images, filters: &Filters) -> Result<Pruned<ImageRemoval>> {
    filters.only(&["dangling", "label", "label!", "until"])?;
    let only_dangling = filters.boolean("dangling")?.unwrap_or(true);
    let until = until(filters)?;
    let mut pruned = Pruned {
        deleted: Vec::new(),
        reclaimed: 0,
    };
    for image in images.containers.shared().store.images() {
        let created = image.config.created.unwrap_or(Timestamp::ZERO);
        let labels = &image.config.config.labels;
        let wanted = (!only_dangling || image.is_dangling())
            && until.is_none_or(|t| created < t)
            && filters.allows_labels("label", labels)
            && filters.allows_without_labels("label!", labels)
            && users(images, image.id).is_empty();
        if !wanted {
            continue;
        }
        let (removed, bytes) = delete(images, image.id).await?;
        pruned.deleted.extend(removed);
        pruned.reclaimed += bytes;
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
    use super::*;
    use crate::container::{Running, State};
    use crate::containers::sample;

    fn image(names: &[&str]) -> Image {
        Image {
            id: ImageId::new(spec::Digest::of(b"image")),
            config: Arc::default(),
            references: names.iter().map(|n| n.parse().unwrap()).collect(),
            repo_digests: Vec::new(),
            size: 0,
            last_tagged: None,
        }
    }

    fn refused(image: &Image, name: Option<&str>, users: &[Arc<Container>], force: bool) -> String {
        let named = name.map(|n| (n.parse().unwrap(), n));
        plan(image, named, users, force).unwrap_err().to_string()
    }

    #[test]
    fn one_of_several_names_goes_alone() {
        let image = image(&["a:1", "b:1"]);
        let plan = plan(&image, Some(("a:1".parse().unwrap(), "a:1")), &[], false).unwrap();
        assert_eq!((plan.untag.len(), plan.delete), (1, false));
        assert!(
            refused(&image, None, &[], false)
                .ends_with("image is referenced in multiple repositories")
        );
        assert!(super::plan(&image, None, &[], true).unwrap().delete);
    }

    #[test]
    fn containers_hold_images() {
        let image = image(&["a:1"]);
        let stopped = Arc::new(sample());
        let running = Running {
            pid: 1,
            started_at: Timestamp::ZERO,
        };
        let running = Arc::new(Container {
            state: State::Running(running),
            ..sample()
        });
        assert!(
            refused(&image, Some("a:1"), &[Arc::clone(&stopped)], false)
                .starts_with("conflict: unable to remove repository reference \"a:1\" (must force) - container abababababab is using its referenced image ")
        );
        assert!(refused(&image, None, &[Arc::clone(&stopped)], false).contains("(must be forced)"));
        assert!(
            refused(&image, None, &[Arc::clone(&running)], true).contains("(cannot be forced)")
        );
        let forced = plan(
            &image,
            Some(("a:1".parse().unwrap(), "a:1")),
            &[running],
            true,
        )
        .unwrap();
        assert!(!forced.delete);
        assert!(plan(&image, None, &[stopped], true).unwrap().delete);
    }
}
