//! Removing images: names first, the image with its last name, never under a container.
//!
//! A name of an index stands for all its images that are here: they go with it, except those that
//! another name or a container keeps.
//!
//! Others pull, tag and remove at the same time. So whether a name was the last one is found out by
//! the store, when it is gone: an image that got another one meanwhile stays, and of several that
//! take the last names away one removes the image.

use std::sync::Arc;

use spec::{ImageId, Platform, Reference};
use store::Image;

use super::{ImageRemoval, Images, RemoveImage, platform};
use crate::container::Container;
use crate::{Error, Result};

/// Removes what a user's text stands for.
pub(super) async fn remove(
    images: &Images,
    key: &str,
    options: RemoveImage,
) -> Result<Vec<ImageRemoval>> {
    if !options.platforms.is_empty() {
        return remove_platforms(images, key, &options).await;
    }
    let image = images.find(key)?;
    let users = users(images, image.id);
    let named = platform::named(images.store(), key);
    let siblings = match &named {
        Some(name) => siblings(images, name)?,
        None => Vec::new(),
    };
    let tag = named.clone().filter(|name| name.digest().is_none());
    let plan = plan(&image, named.map(|name| (name, key)), &users, options.force)?;
    let mut done = untag_all(images, image.id, &plan.untag).await?;
    if let Some(tag) = tag
        && let Some(now) = images.store().image(image.id)
    {
        done.extend(untag_all(images, image.id, &left_digests(&now, &tag)).await?);
    }
    if plan.delete {
        match delete_nameless(images, image.id).await {
            Ok(Some((removed, _))) => {
                done.extend(removed);
                if !options.no_prune {
                    done.extend(delete_parents(images, image.parent).await?);
                }
            }
            Ok(None) => {}
            // Whoever took the other names away came after us.
            Err(Error::Store(store::Error::NoSuchImage { .. })) if !done.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    for id in siblings.into_iter().filter(|id| *id != image.id) {
        if is_left_over(images, id) {
            match delete_left_over(images, id).await {
                Ok(removed) => done.extend(removed.into_iter().flat_map(|(removed, _)| removed)),
                Err(Error::Store(store::Error::NoSuchImage { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(done)
}

/// Removes the images of some platforms of a name; the name stays while another one is here.
async fn remove_platforms(
    images: &Images,
    key: &str,
    options: &RemoveImage,
) -> Result<Vec<ImageRemoval>> {
    let store = images.store();
    let mut going = Vec::new();
    for wanted in &options.platforms {
        let image = platform::find(store, key, Some(wanted))?;
        refuse_used(images, &image, wanted, options)?;
        going.push(image.id);
    }
    let whole = RemoveImage {
        platforms: Vec::new(),
        ..options.clone()
    };
    let Some(name) = platform::named(store, key) else {
        return Box::pin(remove(images, key, whole)).await;
    };
    let staying = siblings(images, &name)?;
    let Some(heir) = staying.into_iter().find(|id| !going.contains(id)) else {
        return Box::pin(remove(images, key, whole)).await;
    };
    // Every name of the index that points to one that goes points to one that stays.
    let (store, target) = (store.clone(), store.target(&name));
    let gone = going.clone();
    let repoint = move || {
        let names = gone.iter().flat_map(|id| store.references_of(*id));
        for name in names.filter(|name| store.target(name) == target) {
            store.tag_as(heir, &name, target.as_ref())?;
        }
        Ok(())
    };
    images.heavy(repoint).await?;
    let mut done = Vec::new();
    for id in going {
        // What only the index names now is meant to go; a name of its own keeps it.
        let image = images.store().image(id);
        let is_needed = image.is_some_and(|image| image.has_children);
        if images.store().references_of(id).is_empty() && !is_needed {
            done.extend(delete(images, id).await?.0);
        }
    }
    Ok(done)
}

/// Refuses to take an image away under a container.
fn refuse_used(
    images: &Images,
    image: &Image,
    wanted: &Platform,
    options: &RemoveImage,
) -> Result<()> {
    let users = users(images, image.id);
    let running = users.iter().find(|c| c.state.running().is_some());
    let (user, how) = match (running, users.first()) {
        (Some(user), _) => (user, "cannot be forced"),
        (None, Some(user)) if !options.force => (user, "must be forced"),
        _ => return Ok(()),
    };
    Err(Error::conflict(format!(
        "conflict: unable to delete {} for {wanted} ({how}) - image is being used by container {}",
        short(image.id),
        user.id.short()
    )))
}

/// The images behind a name that are here.
fn siblings(images: &Images, name: &Reference) -> Result<Vec<ImageId>> {
    let platforms = images.store().platforms_of(name)?;
    Ok(platforms.into_iter().filter_map(|p| p.image).collect())
}

/// Whether nothing keeps an image any more.
fn is_left_over(images: &Images, id: ImageId) -> bool {
    let image = images.store().image(id);
    image.is_some_and(|image| image.is_left_over()) && users(images, id).is_empty()
}

/// What a removal will do.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    untag: Vec<Reference>,
    /// The image goes with its last name.
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
    let running = users.iter().find(|c| c.state.running().is_some());
    let stopped = users.first();
    if let Some((name, as_written)) = named {
        if let Some(user) = stopped.filter(|_| !force && is_single(image)) {
            return Err(Error::conflict(format!(
                "conflict: unable to remove repository reference \"{as_written}\" (must force) - container {} is using its referenced image {short}",
                user.id.short()
            )));
        }
        // A running container and what was made of it keep the image, which then has no name.
        return Ok(Plan {
            untag: with_digests(image, name),
            delete: running.is_none() && !image.has_children,
        });
    }
    if image.has_children {
        return Err(Error::conflict(format!(
            "conflict: unable to delete {short} (cannot be forced) - image has dependent child images"
        )));
    }
    // Several tags of one repository count as well, whatever the text says.
    if all(image).nth(1).is_some() && !is_single(image) && !force {
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
        untag: all(image).cloned().collect(),
        delete: true,
    })
}

/// All names of an image, tags first.
fn all(image: &Image) -> impl Iterator<Item = &Reference> {
    image.references.iter().chain(&image.repo_digests)
}

/// Whether an image has one tag at most, and digests of that tag's repository at most.
fn is_single(image: &Image) -> bool {
    let repository = match image.references.as_slice() {
        [] => image.repo_digests.first().map(Reference::repository),
        [one] => Some(one.repository()),
        _ => return false,
    };
    let digests = image.repo_digests.iter();
    digests
        .map(Reference::repository)
        .all(|of| Some(of) == repository)
}

/// A name, and the digests of its repository if it is the last tag there.
fn with_digests(image: &Image, name: Reference) -> Vec<Reference> {
    let mut names = match name.digest() {
        None => left_digests(image, &name),
        Some(_) => Vec::new(),
    };
    names.insert(0, name);
    names
}

/// The digests of a tag's repository, if no other tag is there.
fn left_digests(image: &Image, name: &Reference) -> Vec<Reference> {
    let repository = name.repository();
    let others = image.references.iter().filter(|other| *other != name);
    if others.map(Reference::repository).any(|of| of == repository) {
        return Vec::new();
    }
    let digests = image.repo_digests.iter();
    let of_repository = digests.filter(|digest| digest.repository() == repository);
    of_repository.cloned().collect()
}

fn short(id: ImageId) -> String {
    id.digest().hex()[..12].to_owned()
}

pub(super) fn users(images: &Images, id: ImageId) -> Vec<Arc<Container>> {
    images
        .containers
        .all()
        .into_iter()
        .filter(|c| c.image == id)
        .collect()
}

/// Takes names away from an image; tells which were there still.
async fn untag_all(
    images: &Images,
    id: ImageId,
    references: &[Reference],
) -> Result<Vec<ImageRemoval>> {
    let mut done = Vec::new();
    for reference in references {
        if untag(images, id, reference).await? {
            done.push(ImageRemoval::Untagged(reference.familiar()));
        }
    }
    Ok(done)
}

/// Takes a name away from an image; tells whether it was there still.
pub(super) async fn untag(images: &Images, id: ImageId, reference: &Reference) -> Result<bool> {
    let shared = images.containers.shared();
    let (store, reference) = (shared.store.clone(), reference.clone());
    let removed = shared
        .blocking
        .heavy(move || Ok(store.untag(&reference)?))
        .await?;
    if removed.is_some() {
        images.emit(id, "untag", &id.to_string());
    }
    Ok(removed.is_some())
}

/// Removes the images that a removed one was made of, as far as nobody names or uses them.
async fn delete_parents(images: &Images, mut parent: Option<ImageId>) -> Result<Vec<ImageRemoval>> {
    let mut done = Vec::new();
    while let Some(image) = parent.and_then(|id| images.store().image(id)) {
        if !is_left_over(images, image.id) {
            break;
        }
        match delete_left_over(images, image.id).await {
            Ok(Some((removed, _))) => done.extend(removed),
            // It was named or removed by somebody else in between.
            Ok(None) | Err(Error::Store(store::Error::NoSuchImage { .. })) => break,
            Err(error) => return Err(error),
        }
        parent = image.parent;
    }
    Ok(done)
}

/// Removes an image; returns what went and the bytes that came back.
pub(super) async fn delete(images: &Images, id: ImageId) -> Result<(Vec<ImageRemoval>, u64)> {
    let shared = images.containers.shared();
    let store = shared.store.clone();
    let removed = shared
        .blocking
        .heavy(move || Ok(store.remove_image(id)?))
        .await?;
    Ok(told(images, id, &removed))
}

/// Removes an image unless it has a name or an image was made of it.
async fn delete_nameless(images: &Images, id: ImageId) -> Result<Option<(Vec<ImageRemoval>, u64)>> {
    let store = images.store().clone();
    let removed = images.heavy(move || Ok(store.remove_nameless(id)?)).await?;
    Ok(removed.map(|removed| told(images, id, &removed)))
}

/// Removes an image unless a tag leads to it or an image was made of it.
pub(super) async fn delete_dangling(
    images: &Images,
    id: ImageId,
) -> Result<Option<(Vec<ImageRemoval>, u64)>> {
    let store = images.store().clone();
    let removed = images.heavy(move || Ok(store.remove_dangling(id)?)).await?;
    Ok(removed.map(|removed| told(images, id, &removed)))
}

/// Removes an image unless any name leads to it or an image was made of it.
pub(super) async fn delete_left_over(
    images: &Images,
    id: ImageId,
) -> Result<Option<(Vec<ImageRemoval>, u64)>> {
    let store = images.store().clone();
    let removed = images
        .heavy(move || Ok(store.remove_left_over(id)?))
        .await?;
    Ok(removed.map(|removed| told(images, id, &removed)))
}

fn told(images: &Images, id: ImageId, removed: &store::Removed) -> (Vec<ImageRemoval>, u64) {
    images.emit(id, "delete", &id.to_string());
    (removals(removed).collect(), removed.bytes)
}

/// What a removal did, as Docker lists it.
pub(super) fn removals(removed: &store::Removed) -> impl Iterator<Item = ImageRemoval> {
    let untagged = removed.untagged.iter();
    let deleted = removed.deleted.iter();
    untagged
        .map(|name| ImageRemoval::Untagged(name.familiar()))
        .chain(deleted.map(|digest| ImageRemoval::Deleted(digest.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::Timestamp;

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
            manifests: Vec::new(),
            is_companion: false,
            parent: None,
            has_children: false,
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
        assert_eq!(plan.untag, ["a:1".parse().unwrap()]);
        assert!(
            refused(&image, None, &[], false)
                .ends_with("image is referenced in multiple repositories")
        );
        assert!(super::plan(&image, None, &[], true).unwrap().delete);
    }

    #[test]
    fn what_another_was_made_of_loses_its_names_only() {
        let mut image = image(&["a:1"]);
        image.has_children = true;
        let named = Some(("a:1".parse().unwrap(), "a:1"));
        let plan = plan(&image, named, &[], true).unwrap();
        assert_eq!((plan.untag.len(), plan.delete), (1, false));
        assert!(
            refused(&image, None, &[], true)
                .ends_with("(cannot be forced) - image has dependent child images")
        );
    }

    #[test]
    fn digests_go_with_the_last_tag_of_their_repository() {
        let digest = spec::Digest::of(b"manifest");
        let mut image = image(&["a:1", "a:2", "b:1"]);
        let of = |name: &str| name.parse::<Reference>().unwrap();
        image.repo_digests = vec![of("a").with_digest(digest), of("b").with_digest(digest)];
        let untag = |image: &Image, name: &str| {
            let plan = plan(image, Some((of(name), name)), &[], false).unwrap();
            plan.untag
        };
        assert_eq!(untag(&image, "a:1"), [of("a:1")]);
        assert!(left_digests(&image, &of("a:1")).is_empty());
        let b = [of("b:1"), of("b").with_digest(digest)];
        assert_eq!(untag(&image, "b:1"), b);
        // Somebody has taken the tag away first, and saw another one.
        image.references = vec![of("a:1")];
        assert_eq!(left_digests(&image, &of("b:1")), b[1..]);
        image.repo_digests.truncate(1);
        assert!(is_single(&image));
        let a = [of("a:1"), of("a").with_digest(digest)];
        assert_eq!(untag(&image, "a:1"), a);
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
