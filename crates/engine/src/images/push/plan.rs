//! What goes when a name is pushed: a decision over what the store has of it.
//!
//! The exact bytes that it came as, where they are here: an index when every image of it is, else
//! the one manifest. What never had a manifest gets one.

use spec::manifest::{Descriptor, Document, Index, Manifest, media};
use spec::{ErrorKind, Platform, Reference};
use store::{Form, How, Image, Store};

use crate::images::platform;
use crate::{Error, Result};

/// What goes.
#[derive(Debug)]
pub(super) enum Content {
    /// An index with everything in it.
    Index {
        index: Document,
        singles: Vec<Single>,
    },
    /// One image as it came; perhaps in place of an index of which not everything is here.
    Single {
        single: Box<Single>,
        instead_of: Option<Descriptor>,
    },
    /// One image that has no manifest.
    Bare(Box<Image>),
}

/// An image with its manifest.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) document: Document,
    pub(super) manifest: Manifest,
    pub(super) image: Image,
}

/// Decides what goes.
///
/// # Errors
///
/// The name is not here, or not for the platform.
pub(super) fn plan(
    store: &Store,
    reference: &Reference,
    wanted: Option<&Platform>,
) -> Result<Content> {
    let id = store.image_of(reference).ok_or_else(|| {
        Error::refused(
            ErrorKind::NotFound,
            format!("tag does not exist: {}", reference.familiar()),
        )
    })?;
    let pointed = store
        .image(id)
        .ok_or_else(|| Error::internal(format!("image {id} is gone")))?;
    let target = store.target(reference);
    let index = match target.filter(|target| media::is_index(&target.media_type)) {
        Some(target) => read(store, &target)?,
        None => None,
    };
    if let Some(wanted) = wanted {
        let image = platform::find(store, &reference.familiar(), Some(wanted))?;
        return one(store, image, index.as_ref(), None);
    }
    let Some(index) = index else {
        return one(store, pointed, None, store.target(reference));
    };
    match whole(store, &index)? {
        Some(singles) => Ok(Content::Index { index, singles }),
        None => {
            let instead = index.descriptor();
            match one(store, pointed, Some(&index), None)? {
                Content::Single { single, .. } => Ok(Content::Single {
                    single,
                    instead_of: Some(instead),
                }),
                other => Ok(other),
            }
        }
    }
}

/// One image: with its manifest of an index or of a name, else with any that it came with.
fn one(
    store: &Store,
    image: Image,
    index: Option<&Document>,
    target: Option<Descriptor>,
) -> Result<Content> {
    let mut documents: Vec<Descriptor> = target.into_iter().collect();
    if let Some(index) = index {
        documents.extend(parse_index(index)?.manifests);
    }
    documents.extend(image.manifests.iter().cloned());
    for descriptor in documents {
        if !media::is_manifest(&descriptor.media_type) {
            continue;
        }
        if let Some(document) = read(store, &descriptor)? {
            let manifest = Manifest::parse(&document.media_type, &document.bytes)?;
            if manifest.config.digest == image.id.digest() {
                let single = Single {
                    document,
                    manifest,
                    image,
                };
                return Ok(Content::Single {
                    single: Box::new(single),
                    instead_of: None,
                });
            }
        }
    }
    Ok(Content::Bare(Box::new(image)))
}

/// Every entry of an index with its image; `None` where anything is missing.
fn whole(store: &Store, index: &Document) -> Result<Option<Vec<Single>>> {
    let mut singles = Vec::new();
    for descriptor in parse_index(index)?.manifests {
        if !media::is_manifest(&descriptor.media_type) {
            return Ok(None);
        }
        let Some(document) = read(store, &descriptor)? else {
            return Ok(None);
        };
        let manifest = Manifest::parse(&document.media_type, &document.bytes)?;
        let id = spec::ImageId::new(manifest.config.digest);
        let Some(image) = store.image(id) else {
            return Ok(None);
        };
        singles.push(Single {
            document,
            manifest,
            image,
        });
    }
    Ok(Some(singles))
}

fn parse_index(document: &Document) -> Result<Index> {
    Ok(Index::parse(&document.media_type, &document.bytes)?)
}

/// A document of the store as it came.
fn read(store: &Store, descriptor: &Descriptor) -> Result<Option<Document>> {
    let bytes = store.document(descriptor.digest)?;
    Ok(bytes.map(|bytes| Document {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest,
        bytes,
    }))
}

/// The gzip form of a layer that is cheapest to read.
pub(super) fn gzip(forms: &[Form]) -> Option<&Form> {
    let gzip = forms
        .iter()
        .filter(|form| media::packing(&form.media_type) == media::Packing::Gzip);
    gzip.min_by_key(|form| match form.how {
        How::Kept => 0,
        How::Encoder(_) => 1,
        How::Plain => 2,
    })
}

#[cfg(test)]
mod tests {
    use spec::Digest;

    use super::*;

    #[test]
    fn a_kept_gzip_form_is_cheapest_and_others_do_not_do() {
        let form = |media_type: &str, how: How| Form {
            media_type: media_type.to_owned(),
            digest: Digest::of(media_type.as_bytes()),
            size: 1,
            how,
        };
        let encoder = How::Encoder(deflate::GZIP_DEFAULT.clone());
        let forms = [
            form(media::OCI_LAYER, How::Plain),
            form(media::OCI_LAYER_ZSTD, How::Kept),
            form(media::OCI_LAYER_GZIP, encoder),
            form(media::DOCKER_LAYER_GZIP, How::Kept),
        ];
        assert_eq!(gzip(&forms).unwrap().media_type, media::DOCKER_LAYER_GZIP);
        assert_eq!(gzip(&forms[..3]).unwrap().media_type, media::OCI_LAYER_GZIP);
        assert_eq!(gzip(&forms[..2]), None);
    }
}
