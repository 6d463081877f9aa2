//! `manifest inspect`

use serde_json::Value;
use spec::Reference;
use spec::manifest::{Descriptor, docker_list};

use super::entry::Entry;
use super::kept::{Lists, no_such};
use super::named;
use super::remote::{Found, Remote};
use crate::app::App;
use crate::commands::inspect::layout;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::tree::Run;

/// `manifest inspect`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let verbose = flags.bool("verbose");
        let lists = Lists::of(&app.config);
        let (list, image) = match flags.args.as_slice() {
            [list, image] => (Some(list), image),
            [image] => (None, image),
            _ => return Err(Failure::new("one or two names are needed")),
        };
        let image = named(image, "")?;
        if let Some(list) = list {
            let list = named(list, "")?;
            let entry = lists.get(&list, &image)?.ok_or_else(|| no_such(&image))?;
            return show(app, &entry, verbose);
        }
        if let Some(entries) = lists.all(&image)? {
            return show_list(app, &image, &entries, verbose);
        }
        let remote = Remote::of(app, &image, flags.bool("insecure").into())?;
        match remote.find().await? {
            Found::Image(entry) => show(app, &entry, verbose),
            Found::List(index) if verbose => {
                let entries = remote.images(&index).await?;
                show_list(app, &image, &entries, verbose)
            }
            Found::List(index) => {
                let plain = index.manifests.iter().map(in_list);
                put_list(app, &plain.collect::<Vec<_>>())
            }
        }
    })
}

// What Docker shows of a member of a list: where it is and what it runs on.
fn in_list(descriptor: &Descriptor) -> Descriptor {
    Descriptor {
        platform: Some(descriptor.platform.clone().unwrap_or_default()),
        ..Descriptor::new(
            descriptor.media_type.clone(),
            descriptor.digest,
            descriptor.size,
        )
    }
}

fn put_list(app: &App, descriptors: &[Descriptor]) -> Result<(), Failure> {
    let list = docker_list(descriptors);
    app.line(String::from_utf8_lossy(&list.bytes))
}

fn show(app: &App, entry: &Entry, verbose: bool) -> Result<(), Failure> {
    if verbose {
        return app.line(indented(&entry.json()?));
    }
    let raw = String::from_utf8_lossy(&entry.document.bytes);
    // Go keeps the line ends behind the manifest.
    let tail = &raw[raw.trim_end().len()..];
    app.line(layout(raw.trim_end(), Some("\t")) + tail)
}

fn show_list(app: &App, list: &Reference, entries: &[Entry], verbose: bool) -> Result<(), Failure> {
    if verbose {
        let all: Result<Vec<Value>, Failure> = entries.iter().map(Entry::json).collect();
        return app.line(indented(&all?.into()));
    }
    let descriptors: Result<Vec<Descriptor>, Failure> =
        entries.iter().map(|entry| member(list, entry)).collect();
    let descriptors = descriptors.map_err(|failure| {
        Failure::new(format!(
            "failed to assemble ManifestDescriptor: {}",
            failure.message
        ))
    });
    put_list(app, &descriptors?)
}

/// What stands for an image in a list, which must be on the same registry.
pub(super) fn member(list: &Reference, entry: &Entry) -> Result<Descriptor, Failure> {
    let (theirs, ours) = (entry.reference.domain(), list.domain());
    if theirs != ours {
        return Err(Failure::new(format!(
            "cannot use source images from a different registry than the target image: {theirs} != {ours}"
        )));
    }
    Ok(entry.descriptor())
}

fn indented(value: &Value) -> String {
    let text = api::gojson::encode(value);
    layout(&String::from_utf8_lossy(&text), Some("\t"))
}
