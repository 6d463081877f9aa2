//! Images as a registry would give them, and the steps of a pull.

use spec::manifest::{Descriptor, Document, media};
use spec::{DiffId, Digest, Reference};
use store::{Error, Ingest, LayerSource, Limits, NewImage, Published, StagedLayer};

use crate::archive::{Place, config, gzip};

/// One layer in its two shapes.
#[derive(Clone)]
pub struct Layer {
    pub plain: Vec<u8>,
    pub blob: Vec<u8>,
    pub media_type: &'static str,
}

impl Layer {
    pub fn gzip(plain: Vec<u8>) -> Self {
        Self {
            blob: gzip(&plain),
            plain,
            media_type: media::DOCKER_LAYER_GZIP,
        }
    }

    pub fn source(&self) -> LayerSource {
        LayerSource {
            diff_id: DiffId::new(Digest::of(&self.plain)),
            media_type: self.media_type.to_owned(),
            digest: Digest::of(&self.blob),
            size: self.blob.len() as u64,
            origin: None,
        }
    }

    pub fn diff_id(&self) -> DiffId {
        self.source().diff_id
    }

    pub fn digest(&self) -> Digest {
        self.source().digest
    }
}

/// An image and its name.
pub struct Pulled {
    pub layers: Vec<Layer>,
    pub config: Vec<u8>,
    pub manifest: Document,
    pub index: Option<Document>,
    pub name: Reference,
}

impl Pulled {
    pub fn new(layers: Vec<Layer>, name: &str) -> Self {
        let plain: Vec<&[u8]> = layers.iter().map(|layer| layer.plain.as_slice()).collect();
        let config = config(&plain, name);
        Self::with_config(layers, config, name)
    }

    pub fn with_config(layers: Vec<Layer>, config: Vec<u8>, name: &str) -> Self {
        let described = Descriptor::new(
            media::DOCKER_CONFIG,
            Digest::of(&config),
            config.len() as u64,
        );
        let blobs: Vec<Descriptor> = layers
            .iter()
            .map(|layer| Descriptor::new(layer.media_type, layer.digest(), layer.blob.len() as u64))
            .collect();
        Self {
            manifest: spec::manifest::docker_manifest(&described, &blobs),
            layers,
            config,
            index: None,
            name: name.parse().unwrap(),
        }
    }

    pub fn target(&self) -> Descriptor {
        self.index.as_ref().unwrap_or(&self.manifest).descriptor()
    }

    pub fn new_image(&self, layers: Vec<StagedLayer>) -> NewImage {
        NewImage {
            config: self.config.clone(),
            manifest: self.manifest.clone(),
            index: self.index.clone(),
            layers,
            names: vec![
                self.name.clone(),
                self.name.with_digest(self.target().digest),
            ],
            target: self.target(),
        }
    }

    /// All of a pull.
    pub fn pull(&self, place: &Place) -> Result<Published, Error> {
        let lease = place.store.lease("pull");
        let mut staged = Vec::new();
        for layer in &self.layers {
            if !place.store.has_layer(&lease, layer.diff_id()) {
                staged.push(receive(place, layer)?);
            }
        }
        place.store.publish_image(&lease, self.new_image(staged))
    }
}

pub fn begin(place: &Place, layer: &Layer) -> Result<Ingest, Error> {
    let lease = place.store.lease("layer");
    place
        .store
        .begin_layer(&lease, layer.source(), Limits::default())
}

/// Takes a layer in, in small pieces, from where an earlier attempt ended.
pub fn receive(place: &Place, layer: &Layer) -> Result<StagedLayer, Error> {
    let mut ingest = begin(place, layer)?;
    let have = usize::try_from(ingest.offset()).unwrap();
    for piece in layer.blob[have..].chunks(1000) {
        ingest.write(piece)?;
    }
    ingest.finish()
}
