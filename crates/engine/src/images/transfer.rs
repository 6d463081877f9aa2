//! Images from archives: the bytes come from a client, the work is done on a blocking thread.

use spec::ImageId;
use store::{ImportOptions, LoadOptions, SaveOptions};
use tokio::io::AsyncRead;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use super::archive::{self, ArchiveStream};
use super::{Images, ImportImage, LoadProgress, LoadRequest, SaveRequest, reference};
use crate::{Error, Result};

/// Loads every image of an archive.
pub(super) async fn load<R>(
    images: &Images,
    reader: R,
    request: LoadRequest,
    progress: mpsc::Sender<LoadProgress>,
) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let platform = match request.platforms.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => return Err(Error::invalid("only one platform can be loaded at once")),
    };
    let options = LoadOptions {
        platform,
        ..LoadOptions::default()
    };
    let shared = images.containers.shared();
    let store = shared.store.clone();
    let mut source = SyncIoBridge::new_with_handle(reader, Handle::current());
    let layers = progress.clone();
    let job = move || {
        let lease = store.lease("load");
        let report = |step: store::Progress| {
            // A slow reader misses steps, never slows the work.
            let _full = layers.try_send(LoadProgress::Layer {
                id: step.id,
                current: step.current,
                total: (step.total > 0).then_some(step.total),
            });
        };
        Ok(store.load(&lease, &mut source, &options, &report)?)
    };
    let loaded = shared.blocking.client(job).await?;
    images.hub.upkeep.settle_soon();
    for id in loaded.companions {
        images.emit(id, "load", &id.to_string());
    }
    for image in loaded.images {
        images.emit(image.id, "load", &image.id.to_string());
        for name in &image.references {
            let _left = progress.send(LoadProgress::Loaded(name.familiar())).await;
        }
        if image.references.is_empty() {
            let _left = progress.send(LoadProgress::LoadedId(image.id)).await;
        }
    }
    Ok(())
}

/// Makes an image of a root file system.
pub(super) async fn import<R>(images: &Images, reader: R, options: ImportImage) -> Result<ImageId>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let name = match options.reference.as_str() {
        "" => None,
        text => Some(reference(text, "")?),
    };
    let import = ImportOptions {
        changes: options.changes,
        message: if options.message.is_empty() {
            "Imported from -".to_owned()
        } else {
            options.message
        },
        platform: options.platform,
        reference: name.clone(),
        ..ImportOptions::default()
    };
    let shared = images.containers.shared();
    let store = shared.store.clone();
    let mut source = SyncIoBridge::new_with_handle(reader, Handle::current());
    let job = move || {
        let lease = store.lease("import");
        Ok(store.import(&lease, &mut source, &import, &|_| {})?)
    };
    let id = shared.blocking.client(job).await?;
    if let Some(name) = &name {
        images.emit(id, "tag", &name.familiar());
    }
    images.emit(id, "import", &id.to_string());
    Ok(id)
}

/// Writes images into an archive.
pub(super) async fn save(images: &Images, request: SaveRequest) -> Result<ArchiveStream> {
    let options = SaveOptions {
        names: request.names,
        platforms: request.platforms,
    };
    let store = images.store().clone();
    let plan = move || {
        let lease = store.lease("save");
        let plan = store.plan_save(&lease, &options)?;
        Ok((store, lease, plan))
    };
    let (store, lease, plan) = images.heavy(plan).await?;
    for id in plan.images() {
        images.emit(*id, "save", &id.to_string());
    }
    Ok(archive::produce(move |out| {
        store.save(&plan, out)?;
        drop(lease);
        Ok(())
    }))
}
