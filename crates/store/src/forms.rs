//! The compressed forms of a layer: which there are, and how each is had again.
//!
//! A layer lies unpacked on the disk. Registries and archives know it by the digest of one of its
//! compressed forms, and `push` and `save` must give that form again, byte for byte:
//!
//! ```text
//! Plain    digest = diff id       rebuilt from diff/ and the tar map
//! Encoder  a recipe is known      the plain archive through the `deflate` crate
//! Kept     nobody can rebuild it  the blob in blobs/sha256
//! ```

use deflate::Recipe;
use serde::{Deserialize, Serialize};
use spec::manifest::{Descriptor, media};
use spec::{DiffId, Digest};

use crate::Store;
use crate::record::LayerRecord;
use crate::store::State;

/// One form of a layer that can be read with [`Store::form`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Media type it came with.
    pub media_type: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Number of its bytes.
    pub size: u64,
    /// Where the bytes come from.
    pub how: How,
}

/// Where the bytes of a form come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It is the uncompressed archive itself.
    Plain,
    /// They are made again from the archive.
    Encoder(Recipe),
    /// They are kept.
    Kept,
}

impl Form {
    /// The descriptor of this form, as a manifest names it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size)
    }
}

/// A form in a [`LayerRecord`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FormRecord {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// A [`Recipe`]; as text, so that one of a later version costs this form and not the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recipe: Option<String>,
    /// Which generation of encoders was tried in vain; see [`crate::settle`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) tried: u32,
    /// Its blob was given up although nothing here can make it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dropped: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl FormRecord {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            recipe: None,
            tried: 0,
            dropped: false,
        }
    }

    pub(crate) fn recipe(&self) -> Option<Recipe> {
        self.recipe.as_ref()?.parse().ok()
    }
}

impl Store {
    /// The forms of a layer that can be read now, the plain one first; empty where neither the
    /// archive can be rebuilt nor a blob was kept.
    pub fn forms(&self, diff: DiffId) -> Vec<Form> {
        let state = self.inner.state();
        match state.layers.get(&diff) {
            Some(layer) => state.forms(layer),
            None => Vec::new(),
        }
    }

    /// Notes a form that was made of a layer with a recipe: from now on it can be made again.
    ///
    /// # Errors
    ///
    /// The disk failed. A layer that is gone is none.
    pub fn add_form(&self, diff: DiffId, made: &Descriptor, recipe: &Recipe) -> crate::Result<()> {
        let _writer = self.inner.writer();
        let Some(mut layer) = self.inner.state().layers.get(&diff).cloned() else {
            return Ok(());
        };
        if layer.forms.iter().any(|form| form.digest == made.digest) {
            return Ok(());
        }
        let mut form = FormRecord::new(&made.media_type, made.digest, made.size);
        form.recipe = Some(recipe.to_string());
        layer.forms.push(form);
        self.replace_layer_record(layer)
    }
}

impl Store {
    /// Forgets forms of layers that no manifest of an image names any more: blobs that were kept
    /// for them are garbage then. The caller holds the writer's lock.
    pub(crate) fn forget_forms(&self, diffs: &[DiffId]) -> crate::Result<()> {
        let (layers, manifests) = {
            let state = self.inner.state();
            let held = |form: &Digest| state.leases.values().any(|held| held.blobs.contains(form));
            let kept = |layer: &LayerRecord| -> Vec<Digest> {
                let blobs = layer.kept_blobs();
                blobs
                    .filter(|form| state.blobs.contains_key(form) && !held(form))
                    .collect()
            };
            let layers: Vec<(LayerRecord, Vec<Digest>)> = diffs
                .iter()
                .filter_map(|diff| state.layers.get(diff))
                .map(|layer| (layer.clone(), kept(layer)))
                .filter(|(layer, kept)| layer.is_mapped() && !kept.is_empty())
                .collect();
            let manifests: Vec<Digest> = state
                .images
                .values()
                .flat_map(|image| image.manifest.iter().chain(&image.manifests))
                .map(|manifest| manifest.digest)
                .collect();
            (layers, manifests)
        };
        if layers.is_empty() {
            return Ok(());
        }
        let texts: Vec<Vec<u8>> = manifests
            .into_iter()
            .filter_map(|digest| std::fs::read(self.layout().blob(digest)).ok())
            .collect();
        let named = |form: &Digest| {
            let hex = form.hex();
            let text = hex.as_bytes();
            texts
                .iter()
                .any(|manifest| manifest.windows(text.len()).any(|part| part == text))
        };
        for (mut layer, kept) in layers {
            let before = layer.forms.len();
            layer
                .forms
                .retain(|form| !kept.contains(&form.digest) || named(&form.digest));
            if layer.forms.len() < before {
                self.replace_layer_record(layer)?;
            }
        }
        Ok(())
    }
}

impl State {
    pub(crate) fn forms(&self, layer: &LayerRecord) -> Vec<Form> {
        let diff = layer.diff_id.digest();
        let kept = |form: &FormRecord| self.blobs.contains_key(&form.digest);
        let readable = layer.is_mapped() || layer.forms.iter().any(kept);
        let plain = layer.archive.filter(|_| readable).map(|archive| Form {
            media_type: media::OCI_LAYER.to_owned(),
            digest: diff,
            size: archive.size,
            how: How::Plain,
        });
        let others = layer.forms.iter().filter_map(|form| {
            if form.digest == diff {
                return None;
            }
            let how = match form.recipe() {
                _ if kept(form) => How::Kept,
                Some(recipe) if layer.is_mapped() => How::Encoder(recipe),
                _ => return None,
            };
            Some(Form {
                media_type: form.media_type.clone(),
                digest: form.digest,
                size: form.size,
                how,
            })
        });
        plain.into_iter().chain(others).collect()
    }
}

impl LayerRecord {
    /// Blobs that must stay: forms that cannot be made again.
    pub(crate) fn kept_blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        let kept = |form: &&FormRecord| form.recipe.is_none() && !form.dropped;
        self.forms.iter().filter(kept).map(|form| form.digest)
    }
}
