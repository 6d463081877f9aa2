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

use std::collections::HashSet;

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
    /// Forgets forms of layers that no manifest of an image names any more; their blobs, which are
    /// garbage then, are told. The caller holds the writer's lock.
    ///
    /// Forms that a lease holds stay: the lease has them looked at again when it ends.
    pub(crate) fn forget_forms(&self, diffs: &[DiffId]) -> crate::Result<HashSet<Digest>> {
        let mut forgotten = HashSet::new();
        let (layers, manifests) = {
            let state = self.inner.state();
            let layers: Vec<(DiffId, Vec<Digest>)> = diffs
                .iter()
                .filter_map(|diff| state.layers.get(diff))
                .filter(|layer| layer.is_mapped())
                .map(|layer| (layer.diff_id, state.kept_forms(layer)))
                .filter(|(_, kept)| !kept.is_empty())
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
            return Ok(forgotten);
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
        for (diff, mut unnamed) in layers {
            unnamed.retain(|form| !named(form));
            forgotten.extend(self.forget_of_layer(diff, unnamed)?);
        }
        Ok(forgotten)
    }

    /// Forgets those of a layer's forms that no lease holds; tells which.
    fn forget_of_layer(&self, diff: DiffId, forms: Vec<Digest>) -> crate::Result<Vec<Digest>> {
        // Memory first: who takes a lease on a form from now on learns that it is gone.
        let (before, after, going) = {
            let mut state = self.inner.state();
            let going: Vec<Digest> = forms
                .into_iter()
                .filter(|form| !state.spares(*form))
                .collect();
            let Some(layer) = state.layers.get_mut(&diff).filter(|_| !going.is_empty()) else {
                return Ok(Vec::new());
            };
            let before = layer.clone();
            layer.forms.retain(|form| !going.contains(&form.digest));
            (before, layer.clone(), going)
        };
        self.replace_layer_record(after).inspect_err(|_| {
            self.inner.state().layers.insert(diff, before);
        })?;
        Ok(going)
    }
}

impl State {
    /// Tells whether the blob of a layer's form is here and has to be.
    pub(crate) fn keeps(&self, diff: DiffId, form: Digest) -> bool {
        let layer = self.layers.get(&diff);
        layer.is_some_and(|layer| self.kept_forms(layer).contains(&form))
    }

    /// Forms of a layer whose blobs are kept.
    fn kept_forms(&self, layer: &LayerRecord) -> Vec<Digest> {
        let kept = layer.kept_blobs();
        kept.filter(|form| self.blobs.contains_key(form)).collect()
    }

    /// Tells whether leases hold a form; they are to look at it when they end.
    fn spares(&mut self, form: Digest) -> bool {
        let mut spares = false;
        for held in self.leases.values_mut() {
            if held.blobs.contains(&form) {
                held.keeps_forms = true;
                spares = true;
            }
        }
        spares
    }

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
