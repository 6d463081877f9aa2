//! EROFS images of layers: made when a container needs them first, beside the unpacked layer.

use std::fs::File;
use std::path::Path;

use spec::{DiffId, LayerImage};
use sys::root::Root;

use crate::store::io;
use crate::trash::Scratch;
use crate::{Error, Result, Store};

impl Store {
    /// Makes the images of layers that have none yet, and tells where all of them are.
    pub(crate) fn ensure_images(&self, layers: &[DiffId]) -> Result<Vec<LayerImage>> {
        let visible = self.visible(&self.inner.state(), layers);
        visible
            .into_iter()
            .map(|diff| {
                let file = self.layout().layer_image(diff);
                if !file.exists() {
                    self.make_image(diff, &file)?;
                }
                let place = self.layout().layer_diff(diff);
                Ok(LayerImage { file, place })
            })
            .collect()
    }

    fn make_image(&self, diff: DiffId, target: &Path) -> Result<()> {
        let _making = self.inner.making();
        if target.exists() {
            return Ok(());
        }
        let begun = std::time::Instant::now();
        let scratch = Scratch::create(self.layout())?;
        let path = scratch.path().join("layer.erofs");
        let mut uuid = [0; 16];
        // The same layer has the same image everywhere.
        for (index, byte) in uuid.iter_mut().enumerate() {
            let digits = diff.digest().hex();
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap_or(0);
        }
        let written = make(&self.layout().layer_diff(diff), &path, uuid)
            .map_err(|source| Error::LayerImage { diff, source })?;
        std::fs::rename(&path, target).map_err(io("publish", target))?;
        self.inner.measured.forget(diff);
        let elapsed_ms = begun.elapsed().as_millis();
        let (bytes, inodes) = (written.bytes, written.inodes);
        tracing::info!(%diff, bytes, inodes, elapsed_ms, "made the image of a layer");
        Ok(())
    }
}

/// Makes the image of a directory, synced.
pub(super) fn make(
    tree: &Path,
    image: &Path,
    uuid: [u8; 16],
) -> std::result::Result<erofs::Written, erofs::Error> {
    let root = Root::open(tree).map_err(|source| erofs::Error::Read {
        path: tree.to_owned(),
        source,
    })?;
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(image)
        .map_err(|source| erofs::Error::Write { source })?;
    erofs::write(&root, &file, uuid)
}
