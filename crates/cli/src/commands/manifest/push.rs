//! `manifest push`: puts a list, and before it what its members need in the list's repository.

use registry::{Mount, Repository, Version};
use spec::Reference;
use spec::manifest::{Descriptor, docker_list};

use super::entry::Entry;
use super::inspect::member;
use super::kept::{Lists, no_such};
use super::remote::Remote;
use super::{named, whole};
use crate::app::App;
use crate::commands::registry::direct::told;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::tree::Run;

/// `manifest push`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let list = named(flags.args.first().map_or("", String::as_str), "")?;
        let lists = Lists::of(&app.config);
        let entries = lists.all(&list)?.ok_or_else(|| no_such(&list))?;
        if entries.is_empty() {
            return Err(Failure::new(format!("{} not found", whole(&list))));
        }
        let members: Result<Vec<Descriptor>, Failure> =
            entries.iter().map(|entry| complete(&list, entry)).collect();
        let document = docker_list(&members?);
        let repository = Remote::of(app, &list, flags.bool("insecure").into())?.repository();
        let elsewhere: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.reference.path() != list.path())
            .collect();
        for entry in &elsewhere {
            mount(&repository, &list, entry).await?;
        }
        for entry in &elsewhere {
            let version = Version::Digest(entry.document.digest);
            let digest = repository.put_manifest(&version, &entry.document).await;
            let name = format!("{}@{}", list.repository(), entry.document.digest);
            let digest = digest.map_err(|error| refused(&name, &error))?;
            app.line(format!("Pushed ref {name} with digest: {digest}"))?;
        }
        let version = Version::of(&list);
        let digest = repository.put_manifest(&version, &document).await;
        app.line(
            digest
                .map_err(|error| refused(&whole(&list), &error))?
                .to_string(),
        )?;
        match flags.bool("purge") {
            true => lists.remove(&list),
            false => Ok(()),
        }
    })
}

fn refused(name: &str, error: &registry::Error) -> Failure {
    let text = told(error).message;
    Failure::new(format!("failed to put manifest {name}: {text}"))
}

fn complete(list: &Reference, entry: &Entry) -> Result<Descriptor, Failure> {
    if entry.platform.os.is_empty() || entry.platform.architecture.is_empty() {
        return Err(Failure::new(format!(
            "manifest {} must have an OS and Architecture to be pushed to a registry",
            whole(&entry.reference)
        )));
    }
    member(list, entry)
}

// The list's repository gets the image's blobs from the image's repository.
async fn mount(repository: &Repository, list: &Reference, entry: &Entry) -> Result<(), Failure> {
    let manifest = entry.manifest()?;
    let from = entry.reference.path();
    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
        let name = format!("{from}@{}", blob.digest);
        let mounted = repository.mount(blob.digest, from).await.map_err(|error| {
            let text = told(&error).message;
            Failure::new(format!(
                "failed to mount blob {name} to {}: {text}",
                whole(list)
            ))
        })?;
        // Layers of Windows are fetched from elsewhere.
        if matches!(mounted, Mount::Upload(_)) && entry.platform.os != "windows" {
            return Err(Failure::new(format!(
                "error mounting {name} to {}",
                whole(list)
            )));
        }
    }
    Ok(())
}
