//! Lists of images and their filters.

use std::collections::HashMap;
use std::sync::Arc;

use spec::{ImageId, Timestamp};
use store::Image;

use super::{ImageSummary, Images, ListImages, ManifestsWanted};
use crate::containers::until;
use crate::filters::Filters;
use crate::{Error, Result};

const KNOWN: [&str; 9] = [
    "before",
    "containerd",
    "dangling",
    "label",
    "label!",
    "manifests",
    "reference",
    "since",
    "until",
];

/// Images that match, newest first.
pub(super) async fn list(images: &Images, options: ListImages) -> Result<Vec<ImageSummary>> {
    let filters = &options.filters;
    filters.only(&KNOWN)?;
    let dangling = filters.boolean("dangling")?;
    let until = until(filters)?;
    let before = bound(images, filters, "before", std::cmp::min)?;
    let since = bound(images, filters, "since", std::cmp::max)?;
    let matches = |image: &Image| {
        let created = image.config.created.unwrap_or(Timestamp::ZERO);
        let labels = &image.config.config.labels;
        // What images were made of is shown by its names, or with all.
        (options.all || !(image.is_nameless() && image.has_children))
            && dangling.is_none_or(|wanted| wanted == image.is_dangling())
            && until.is_none_or(|t| created < t)
            && before.is_none_or(|t| created < t)
            && since.is_none_or(|t| created > t)
            && filters.allows_labels("label", labels)
            && filters.allows_without_labels("label!", labels)
    };
    let shared = Arc::clone(images.containers.shared());
    let usage = match options.shared_size {
        false => HashMap::new(),
        true => {
            let store = shared.store.clone();
            let usage = shared
                .blocking
                .heavy(move || Ok(store.disk_usage()?))
                .await?;
            usage
                .images
                .into_iter()
                .map(|u| (u.id, u.shared))
                .collect::<HashMap<ImageId, u64>>()
        }
    };
    let patterns = filters.get("reference");
    if !patterns.into_iter().flatten().all(|text| is_pattern(text)) {
        return Err(Error::invalid("syntax error in pattern"));
    }
    let mut list = Vec::new();
    for image in shared.store.images().into_iter().filter(matches) {
        let mut summary = images.summary(&image);
        if let Some(patterns) = patterns {
            // Only the names that fit are shown, and an image without any is not.
            let fits = |reference: &&spec::Reference| patterns.iter().any(|p| reference.matches(p));
            let names = |list: &[spec::Reference]| -> Vec<String> {
                list.iter()
                    .filter(fits)
                    .map(spec::Reference::familiar)
                    .collect()
            };
            summary.repo_tags = names(&image.references);
            summary.repo_digests = names(&image.repo_digests);
            if summary.repo_tags.is_empty() && summary.repo_digests.is_empty() {
                continue;
            }
        }
        summary.shared_size = options
            .shared_size
            .then(|| usage.get(&image.id).copied().unwrap_or(0));
        if options.manifests == ManifestsWanted::Yes {
            summary = images.with_manifests(summary).await?;
        }
        list.push(summary);
    }
    Ok(list)
}

/// Whether the brackets of a pattern are closed and nothing is escaped at its end.
fn is_pattern(text: &str) -> bool {
    let mut left = text.chars();
    while let Some(c) = left.next() {
        if c == '\\' && left.next().is_none() {
            return false;
        }
        if c == '[' && !is_class(&mut left) {
            return false;
        }
    }
    true
}

/// Reads `^a-z]`: at least one character or range.
fn is_class(left: &mut std::str::Chars<'_>) -> bool {
    if left.as_str().starts_with('^') {
        left.next();
    }
    let mut is_empty = true;
    loop {
        match left.next() {
            None => return false,
            Some(']') if !is_empty => return true,
            Some('-' | ']') if is_empty => return false,
            Some('\\') if left.next().is_none() => return false,
            Some(_) => {}
        }
        is_empty = false;
    }
}

/// Creation of the images that a filter names.
fn bound(
    images: &Images,
    filters: &Filters,
    key: &str,
    pick: fn(Timestamp, Timestamp) -> Timestamp,
) -> Result<Option<Timestamp>> {
    let mut found: Option<Timestamp> = None;
    for name in filters.get(key).into_iter().flatten() {
        let image = images.find(name)?;
        let created = image.config.created.unwrap_or(Timestamp::ZERO);
        found = Some(found.map_or(created, |have| pick(have, created)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_checked_as_go_does() {
        for good in ["a*", "localhost:*/*", "[a-z]?", "[^a]", "\\[", "[\\]]", ""] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["[", "a[b", "[]a]", "[^]", "a\\", "[\\"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
