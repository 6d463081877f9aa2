//! Images from archives: the bytes come from a client, the work is done on a blocking thread.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use registry::Download;
use spec::ImageId;
use store::{ImportOptions, LoadOptions, SaveOptions};
use tokio::io::AsyncRead;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::archive::{self, ArchiveStream};
use super::progress::Sayer;
use super::{
    Images, ImportImage, LoadProgress, LoadRequest, ProgressSender, SaveRequest, reference,
};
use crate::{Error, Result};

/// Bytes of a download after which its client hears of it.
const TOLD_EACH: u64 = 512 << 10;

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

/// Makes an image of a root file system that a web server has.
pub(super) async fn import_from(
    images: &Images,
    address: &str,
    options: ImportImage,
    progress: ProgressSender,
) -> Result<()> {
    let say = Sayer::new(progress);
    let download = images.hub.registry.download(address).await?;
    say.message(None, format!("Downloading from {}", download.url()))
        .await?;
    let begun = Fetching {
        total: download.length().unwrap_or(0),
        download,
        say: say.clone(),
        current: 0,
        told: 0,
    };
    let chunks = stream::try_unfold(begun, |mut fetching| async move {
        let chunk = fetching.next().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>(chunk.map(|chunk| (chunk, fetching)))
    });
    let reader = StreamReader::new(Box::pin(chunks));
    let id = import(images, reader, options).await?;
    say.message(None, id.to_string()).await
}

/// A download whose bytes are counted for the client.
struct Fetching {
    download: Download,
    say: Sayer,
    total: u64,
    current: u64,
    told: u64,
}

impl Fetching {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.download.next().await?;
        self.current += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.current - self.told >= TOLD_EACH || chunk.is_none() {
            self.told = self.current;
            self.say
                .count("", "Importing", self.current, self.total)
                .await?;
        }
        Ok(chunk)
    }
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
