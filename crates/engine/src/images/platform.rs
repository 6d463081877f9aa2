//! Which of a name's images is meant when a platform is asked for.

use spec::image::ImageConfig;
use spec::manifest::{DescribedPlatform, Descriptor, Index};
use spec::{ErrorKind, Platform, Reference};
use store::{Image, PlatformImage, Store};

use crate::{Error, Result};

/// The platform that a config names.
pub(crate) fn of_config(config: &ImageConfig) -> Platform {
    Platform::new(&config.os, &config.architecture, &config.variant)
}

/// Docker's text for an image that is not for the platform asked for.
pub(crate) fn mismatch(name: &str, have: &Platform, wanted: &Platform) -> String {
    format!(
        "image with reference {name} was found but its platform ({have}) does not match the specified platform ({wanted})"
    )
}

/// The image that a user's text stands for on a platform.
///
/// # Errors
///
/// None is here; the class is "not found", by which clients know that they have to fetch it.
pub(crate) fn find(store: &Store, key: &str, wanted: Option<&Platform>) -> Result<Image> {
    let image = store.find(key)?;
    let Some(wanted) = wanted else {
        return Ok(image);
    };
    if let Some(name) = named(store, key)
        && let Some(id) = best(&store.platforms_of(&name)?, wanted)
        && let Some(image) = store.image(id)
    {
        return Ok(image);
    }
    let have = of_config(&image.config);
    if suits(&image.config, wanted) {
        return Ok(image);
    }
    Err(Error::refused(
        ErrorKind::NotFound,
        mismatch(key, &have, wanted),
    ))
}

/// Whether a name, which is here, already points to its best image for a platform.
pub(super) fn points_to(
    store: &Store,
    name: &Reference,
    wanted: Option<&Platform>,
) -> Result<bool> {
    let platforms = store.platforms_of(name)?;
    let now = store.image_of(name);
    let [_, _, ..] = platforms.as_slice() else {
        // A single image has no platform to choose.
        return Ok(now.is_some_and(|id| store.image(id).is_some()));
    };
    let host = Platform::host();
    let wanted = wanted.unwrap_or(&host);
    // The best one by the index, here or not: a worse one that is here does not do.
    let best = ranked(&platforms, wanted).first().map(|best| best.image);
    Ok(best.is_some_and(|best| best.is_some() && best == now))
}

/// The name that a user's text is, where it is one and not an id.
pub(super) fn named(store: &Store, key: &str) -> Option<Reference> {
    let reference: Reference = key.parse().ok()?;
    let reference = match reference.digest() {
        Some(digest) => reference.with_digest(digest),
        None => reference,
    };
    store.image_of(&reference).map(|_| reference)
}

/// Whether an image that names parts of a platform only, or all, is for one.
fn suits(config: &ImageConfig, wanted: &Platform) -> bool {
    let same = |have: &str, want: &str| have.is_empty() || want.is_empty() || have == want;
    let have = of_config(config);
    same(&config.os, &wanted.os)
        && same(&config.architecture, &wanted.architecture)
        && (wanted.variant.is_empty() || wanted.runs(&have))
}

/// The best image that is here.
fn best(platforms: &[PlatformImage], wanted: &Platform) -> Option<spec::ImageId> {
    let ranked = ranked(platforms, wanted);
    ranked.into_iter().find_map(|platform| platform.image)
}

/// The images for a platform, best first, by the rules of an index.
fn ranked<'a>(platforms: &'a [PlatformImage], wanted: &Platform) -> Vec<&'a PlatformImage> {
    let entry = |platform: &PlatformImage| Descriptor {
        platform: platform.platform.as_ref().map(DescribedPlatform::from),
        ..platform.manifest.clone()
    };
    let index = Index {
        media_type: String::new(),
        manifests: platforms.iter().map(entry).collect(),
        subject: None,
        annotations: Default::default(),
    };
    let candidates = index.candidates(wanted).into_iter();
    let found = candidates.filter_map(|candidate| {
        platforms
            .iter()
            .find(|platform| platform.manifest.digest == candidate.digest)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use spec::{Digest, ImageId, manifest::media};

    use super::*;

    fn platform(text: &str, here: bool) -> PlatformImage {
        PlatformImage {
            platform: Some(text.parse().unwrap()),
            manifest: Descriptor::new(media::OCI_MANIFEST, Digest::of(text.as_bytes()), 1),
            image: here.then(|| ImageId::new(Digest::of(text.as_bytes()))),
            size: 0,
        }
    }

    #[test]
    fn the_best_image_that_is_here_is_meant() {
        let list = [
            platform("linux/arm/v6", true),
            platform("linux/arm/v7", false),
            platform("linux/amd64", true),
        ];
        let best = |wanted: &str| best(&list, &wanted.parse().unwrap());
        let id = |text: &str| Some(ImageId::new(Digest::of(text.as_bytes())));
        assert_eq!(best("linux/arm/v7"), id("linux/arm/v6"));
        assert_eq!(best("linux/amd64"), id("linux/amd64"));
        assert_eq!(best("linux/s390x"), None);
    }
}
