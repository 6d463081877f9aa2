//! Layers that arrive: resumed, refused, kept, settled, given back (REGC-01, REGC-04, REGC-05).

use std::io::Read;

use spec::manifest::{Document, media};
use spec::{Classify, Digest, ErrorKind};
use store::{BlobPolicy, Error, How, LayerSource, Limits, Store};

use crate::archive::{Place, Tar, config, gzip, zstd};
use crate::pulled::{Layer, Pulled, begin, receive};

fn tar(n: u8) -> Vec<u8> {
    // Larger than what is copied into maps, and not the same bytes all over.
    let data: Vec<u8> = (0..5000u32).map(|i| (i * i / 7) as u8 ^ n).collect();
    Tar::new()
        .dir("etc/")
        .file("etc/name", &[n; 20])
        .file("data", &data)
        .finish()
}

fn image(name: &str) -> Pulled {
    Pulled::new(vec![Layer::gzip(tar(1)), Layer::gzip(tar(2))], name)
}

fn partials(place: &Place) -> Vec<u64> {
    std::fs::read_dir(place.root().join("partial"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect()
}

fn read(mut source: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Everything that a registry would be asked for, given back by the store.
#[track_caller]
fn assert_whole(store: &Store, pulled: &Pulled) {
    let target = pulled.target();
    assert_eq!(store.target(&pulled.name).unwrap(), target);
    for document in std::iter::once(&pulled.manifest).chain(&pulled.index) {
        let bytes = store.document(document.digest).unwrap();
        assert_eq!(bytes.as_ref(), Some(&document.bytes));
    }
    let config = Digest::of(&pulled.config);
    assert_eq!(
        store.document(config).unwrap().as_ref(),
        Some(&pulled.config)
    );
    for layer in &pulled.layers {
        let archive = store.layer_archive(layer.diff_id()).unwrap();
        assert_eq!(archive.len(), layer.plain.len() as u64);
        assert_eq!(read(archive), layer.plain);
        let form = store.form(layer.diff_id(), layer.digest()).unwrap();
        assert_eq!(form.len(), layer.blob.len() as u64);
        assert_eq!(form.form().media_type, layer.media_type);
        assert!(read(form) == layer.blob, "{:?}", layer.digest());
    }
}

#[test]
fn a_pulled_image_gives_back_every_byte_after_a_restart_too() {
    let place = Place::new();
    let pulled = image("app:1");
    let published = pulled.pull(&place).unwrap();
    assert_eq!(published.references.len(), 2);
    assert_whole(&place.store, &pulled);
    assert_eq!(partials(&place), [0u64; 0]);
    let place = place.reopen();
    assert_eq!(place.store.problems(), []);
    place.assert_sound();
    assert_whole(&place.store, &pulled);
    let image = place.store.find("app:1").unwrap();
    assert_eq!(image.id, published.id);
    assert_eq!(image.manifests, [pulled.manifest.descriptor()]);
    assert_eq!(
        image.repo_digests,
        [pulled.name.with_digest(pulled.manifest.digest)]
    );
    place.clear();
    place.assert_clean();
}

#[test]
fn an_attempt_goes_on_where_the_last_one_ended() {
    let pulled = image("app");
    let layer = &pulled.layers[0];
    let place = Place::new();
    let mut ingest = begin(&place, layer).unwrap();
    ingest.write(&layer.blob[..300]).unwrap();
    ingest.suspend();
    assert_eq!(partials(&place), [300]);
    // In the same process, then in another one.
    let mut ingest = begin(&place, layer).unwrap();
    assert_eq!((ingest.offset(), ingest.resumed()), (300, 300));
    ingest.write(&layer.blob[300..500]).unwrap();
    drop(ingest);
    let place = place.reopen();
    assert_eq!(place.store.problems(), []);
    let ingest = begin(&place, layer).unwrap();
    assert_eq!(ingest.offset(), 500);
    drop(ingest);
    pulled.pull(&place).unwrap();
    assert_whole(&place.store, &pulled);
    assert_eq!(partials(&place), [0u64; 0]);
}

#[test]
fn a_complete_layer_that_was_not_published_needs_no_download() {
    let place = Place::new();
    let layer = Layer::gzip(tar(1));
    let staged = receive(&place, &layer).unwrap();
    assert!(matches!(
        begin(&place, &layer).unwrap_err(),
        Error::LayerBusy { digest } if digest == layer.digest()
    ));
    drop(staged);
    let ingest = begin(&place, &layer).unwrap();
    assert_eq!(ingest.offset(), layer.blob.len() as u64);
    ingest.finish().unwrap();
    let lease = place.store.lease("test");
    assert!(!place.store.has_layer(&lease, layer.diff_id()));
    begin(&place, &layer).unwrap().discard();
    place.assert_clean();
}

#[test]
fn two_images_share_a_layer_that_came_once() {
    let place = Place::new();
    let shared = Layer::gzip(tar(7));
    let one = Pulled::new(vec![shared.clone()], "one");
    let two = Pulled::new(vec![shared.clone()], "two");
    let staged = receive(&place, &shared).unwrap();
    let lease = place.store.lease("both");
    for image in [&one, &two] {
        place
            .store
            .publish_image(&lease, image.new_image(vec![staged.clone()]))
            .unwrap();
    }
    drop(lease);
    drop(staged);
    place.assert_sound();
    for image in [&one, &two] {
        assert_whole(&place.store, image);
    }
}

/// What was announced, changed by a test.
fn lie(change: impl FnOnce(&mut LayerSource, &mut Vec<u8>)) {
    let place = Place::new();
    let layer = Layer::gzip(tar(1));
    let (mut source, mut blob) = (layer.source(), layer.blob.clone());
    change(&mut source, &mut blob);
    let digest = source.digest;
    let lease = place.store.lease("lie");
    let mut ingest = place
        .store
        .begin_layer(&lease, source, Limits::default())
        .unwrap();
    let error = blob
        .chunks(100)
        .try_for_each(|piece| ingest.write(piece))
        .and_then(|()| ingest.finish().map(drop))
        .unwrap_err();
    let text = spec::error::chain(&error);
    assert!(text.contains(&digest.to_string()), "{text}");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
    assert_eq!(partials(&place), [0u64; 0]);
    place.assert_clean();
    // The honest one comes in.
    Pulled::new(vec![layer], "honest").pull(&place).unwrap();
}

#[test]
fn regc_01_a_wrong_digest_is_named_and_leaves_nothing() {
    lie(|source, _| source.digest = Digest::of(b"another"));
    lie(|_, blob| blob[100] ^= 1);
    lie(|_, blob| *blob = gzip(&tar(2)));
    lie(|source, blob| {
        *blob = b"<html>a portal</html>".repeat(10);
        source.size = blob.len() as u64;
    });
}

#[test]
fn regc_04_a_wrong_size_is_named_and_leaves_nothing() {
    lie(|source, _| source.size += 1);
    lie(|source, _| source.size -= 1);
    lie(|source, _| source.size = 0);
    lie(|_, blob| blob.extend_from_slice(&[0; 100_000]));
    lie(|_, blob| blob.truncate(blob.len() - 1));
}

#[test]
fn regc_05_a_wrong_diff_id_is_named_and_leaves_nothing() {
    lie(|source, _| source.diff_id = spec::DiffId::new(Digest::of(b"another")));
}

#[test]
fn archives_that_are_none_are_refused_under_the_layers_digest() {
    for blob in [
        gzip(b"this is no archive, but long enough to look at"),
        zstd(&[1; 2000]),
        gzip(&tar(1))[..200].to_vec(),
        gzip(&Tar::new().file("../../x", b"").finish()),
    ] {
        lie(|source, bytes| {
            source.digest = Digest::of(&blob);
            source.size = blob.len() as u64;
            *bytes = blob;
        });
    }
}

#[test]
fn a_bad_archive_is_told_before_all_of_it_came() {
    let place = Place::new();
    let layer = Layer {
        plain: Vec::new(),
        blob: vec![1; 1 << 20],
        media_type: media::OCI_LAYER,
    };
    let mut ingest = begin(&place, &layer).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut sent = 0;
    let error = loop {
        assert!(std::time::Instant::now() < deadline, "nothing was told");
        // More comes whenever all of it was looked at.
        let hungry = ingest.unpacked() == ingest.offset();
        let piece = &layer.blob[sent..sent + usize::from(hungry) * 1000];
        sent += piece.len();
        match ingest.write(piece) {
            Ok(()) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(sent < layer.blob.len());
    let text = spec::error::chain(&error);
    assert!(text.contains(&layer.digest().to_string()), "{text}");
    drop(ingest);
    assert_eq!(partials(&place), [0u64; 0]);
    place.assert_clean();
}

#[test]
fn what_an_attempt_resumes_may_be_rotten_and_costs_one_more_attempt() {
    let place = Place::new();
    let layer = Layer::gzip(tar(1));
    let path = place.root().join("partial").join(layer.digest().hex());
    std::fs::write(&path, [0; 400]).unwrap();
    assert!(receive(&place, &layer).is_err());
    assert!(!path.exists());
    receive(&place, &layer).unwrap();
    drop(std::fs::remove_file(&path));
    // Longer than the blob can be.
    std::fs::write(&path, vec![0; layer.blob.len() + 1]).unwrap();
    assert_eq!(begin(&place, &layer).unwrap().offset(), 0);
    receive(&place, &layer).unwrap();
}

#[test]
fn images_whose_parts_do_not_belong_together_are_refused() {
    let good = image("app");
    let check = |text: &str, change: &dyn Fn(&mut store::NewImage)| {
        let place = Place::new();
        let lease = place.store.lease("test");
        let staged = good
            .layers
            .iter()
            .map(|layer| receive(&place, layer).unwrap());
        let mut new = good.new_image(staged.collect());
        change(&mut new);
        let error = place.store.publish_image(&lease, new).unwrap_err();
        let shown = spec::error::chain(&error);
        assert!(shown.contains(text), "{shown}");
        drop(lease);
        place.store.gc().unwrap();
        // Layers that came whole stay for the next attempt.
        for layer in &good.layers {
            begin(&place, layer).unwrap().discard();
        }
        place.assert_clean();
    };
    check("config verification failed", &|new| new.config.push(b' '));
    check("cannot be read", &|new| {
        new.config = b"[]".to_vec();
    });
    check("don't match image configuration", &|new| {
        let plain: Vec<&[u8]> = vec![&good.layers[0].plain];
        let short = config(&plain, "short");
        let other = Pulled::with_config(good.layers.clone(), short, "other");
        new.config = other.config;
        new.target = other.manifest.descriptor();
        new.manifest = other.manifest;
    });
    check("verification failed", &|new| new.manifest.bytes.push(b' '));
    check("stand for", &|new| new.target.digest = Digest::of(b"other"));
    check("was removed meanwhile", &|new| {
        new.layers.pop();
    });
}

#[test]
fn platforms_of_one_name_stay_together() {
    let place = Place::new();
    let (mut one, mut two) = (image("multi:1"), image("multi:1"));
    let with = |text: &str, config: &[u8]| {
        let text = String::from_utf8(config.to_vec())
            .unwrap()
            .replace("amd64", text);
        text.into_bytes()
    };
    two = Pulled::with_config(two.layers, with("arm64", &two.config), "multi:1");
    let entry = |pulled: &Pulled, architecture: &str| {
        let mut entry = pulled.manifest.descriptor();
        entry.platform = Some(spec::manifest::DescribedPlatform {
            os: "linux".into(),
            architecture: architecture.into(),
            ..Default::default()
        });
        entry
    };
    let mut absent = entry(&one, "s390x");
    absent.digest = Digest::of(b"absent");
    let index = spec::manifest::docker_list(&[entry(&one, "amd64"), entry(&two, "arm64"), absent]);
    one.index = Some(index.clone());
    two.index = Some(index.clone());
    let first = one.pull(&place).unwrap();
    let second = two.pull(&place).unwrap();
    assert_ne!(first.id, second.id);
    let place = place.reopen();
    assert_eq!(place.store.problems(), []);
    place.assert_sound();
    let check = |store: &Store| {
        let found: Vec<_> = store
            .platforms_of(&one.name)
            .unwrap()
            .into_iter()
            .map(|found| (found.platform.unwrap().architecture, found.image))
            .collect();
        let want = [
            ("amd64".to_owned(), Some(first.id)),
            ("arm64".to_owned(), Some(second.id)),
            ("s390x".to_owned(), None),
        ];
        assert_eq!(found, want);
    };
    check(&place.store);
    // The name is the newer one's; the older one is known by the index's digest still.
    assert_eq!(place.store.find("multi:1").unwrap().id, second.id);
    let older = place.store.image(first.id).unwrap();
    assert_eq!(older.repo_digests, [one.name.with_digest(index.digest)]);
    assert!(older.references.is_empty() && !older.is_dangling());
    assert_whole(&place.store, &two);
    place.store.remove_image(second.id).unwrap();
    assert!(place.store.platforms_of(&one.name).is_err());
    place.clear();
    place.assert_clean();
}

#[test]
fn settling_leaves_one_copy_and_the_same_bytes() {
    let place = Place::new();
    let go = Layer {
        blob: go_gzip(&tar(3)),
        ..Layer::gzip(tar(3))
    };
    let zst = Layer {
        blob: zstd(&tar(4)),
        media_type: media::OCI_LAYER_ZSTD,
        plain: tar(4),
    };
    let plain = Layer {
        blob: tar(5),
        media_type: media::OCI_LAYER,
        plain: tar(5),
    };
    let pulled = Pulled::new(vec![go.clone(), zst.clone(), plain.clone()], "app");
    pulled.pull(&place).unwrap();
    assert_whole(&place.store, &pulled);
    let kept = |layer: &Layer| {
        let blobs = place.root().join("blobs/sha256");
        blobs.join(layer.digest().hex()).exists()
    };
    // A plain layer needs no settling.
    assert_eq!((kept(&go), kept(&zst), kept(&plain)), (true, true, false));
    let stopped = place.store.settle(BlobPolicy::Auto, &|| true).unwrap();
    assert!(stopped.stopped && kept(&go));
    place.store.settle(BlobPolicy::Keep, &|| false).unwrap();
    assert!(kept(&go));
    let settled = place.store.settle(BlobPolicy::Auto, &|| false).unwrap();
    assert_eq!((settled.rebuilt, settled.kept), (1, 1));
    assert_eq!(settled.bytes, go.blob.len() as u64);
    assert_eq!((kept(&go), kept(&zst)), (false, true));
    assert_whole(&place.store, &pulled);
    let how = |layer: &Layer| {
        let forms = place.store.forms(layer.diff_id());
        let form = forms.into_iter().find(|form| form.digest == layer.digest());
        form.map(|form| form.how)
    };
    assert!(matches!(how(&go), Some(How::Encoder(_))));
    assert_eq!(how(&zst), Some(How::Kept));
    assert_eq!(how(&plain), Some(How::Plain));
    // What was tried in vain is not tried again.
    let again = place.store.settle(BlobPolicy::Auto, &|| false).unwrap();
    assert_eq!((again.rebuilt, again.kept), (0, 0));
    let dropped = place.store.settle(BlobPolicy::Drop, &|| false).unwrap();
    assert_eq!((dropped.dropped, kept(&zst)), (1, false));
    assert_eq!(how(&zst), None);
    assert!(matches!(
        place.store.form(zst.diff_id(), zst.digest()),
        Err(Error::NoSuchForm { .. })
    ));
    assert_eq!(
        read(place.store.layer_archive(zst.diff_id()).unwrap()),
        zst.plain
    );
    let place = place.reopen();
    place.assert_sound();
    assert_eq!(
        read(place.store.form(go.diff_id(), go.digest()).unwrap()),
        go.blob
    );
}

/// What Go's `compress/gzip` makes, which `deflate` can make too.
fn go_gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = deflate::Encoder::new(Vec::new(), &deflate::GZIP_DEFAULT);
    std::io::Write::write_all(&mut encoder, plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn damage_is_told_at_the_end_of_a_stream_and_by_fsck() {
    let place = Place::new();
    let pulled = image("app");
    pulled.pull(&place).unwrap();
    let layer = &pulled.layers[0];
    let dir = place
        .root()
        .join("layers")
        .join(layer.diff_id().digest().hex());
    let data = std::fs::read(dir.join("diff/data")).unwrap();
    let archive = || {
        let mut archive = place.store.layer_archive(layer.diff_id()).unwrap();
        archive.read_to_end(&mut Vec::new())
    };
    archive().unwrap();
    let mut other = data.clone();
    other[17] ^= 1;
    for bytes in [&other[..], &data[..100], &[&data[..], b"more"].concat()] {
        std::fs::write(dir.join("diff/data"), bytes).unwrap();
        let longer = bytes.len() > data.len();
        // What was appended to a file is not read.
        assert_eq!(archive().is_err(), !longer, "{} bytes", bytes.len());
        assert!(!place.store.fsck().unwrap().is_empty());
    }
    std::fs::write(dir.join("diff/data"), &data).unwrap();
    place.assert_sound();
    // Without its map the archive comes out of the blob.
    std::fs::remove_file(dir.join("tar-map")).unwrap();
    let place = place.reopen();
    assert_eq!(place.store.problems().len(), 1);
    assert_eq!(
        read(place.store.layer_archive(layer.diff_id()).unwrap()),
        layer.plain
    );
    // A manifest that was changed is never handed out.
    let path = place
        .root()
        .join("blobs/sha256")
        .join(pulled.manifest.digest.hex());
    std::fs::write(&path, b"{}").unwrap();
    assert!(matches!(
        place.store.document(pulled.manifest.digest),
        Err(Error::DamagedContent { .. })
    ));
    assert_eq!(place.store.document(Digest::of(b"none")).unwrap(), None);
}

#[test]
fn manifests_of_the_same_config_are_all_kept() {
    let place = Place::new();
    let first = image("app");
    first.pull(&place).unwrap();
    let mut second = image("app");
    let text = String::from_utf8(second.manifest.bytes.clone()).unwrap();
    second.manifest = Document::new(media::DOCKER_MANIFEST, format!("{text}\n").into_bytes());
    second.pull(&place).unwrap();
    let place = place.reopen();
    let image = place.store.find("app").unwrap();
    let want = [first.manifest.descriptor(), second.manifest.descriptor()];
    assert_eq!(image.manifests, want);
    assert_eq!(image.repo_digests.len(), 2);
    assert_whole(&place.store, &second);
    assert_eq!(
        place.store.document(first.manifest.digest).unwrap(),
        Some(first.manifest.bytes)
    );
}
