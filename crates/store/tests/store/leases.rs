//! Pulls and removals of what they share, in every order that threads can bring them into.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use spec::manifest::media;
use store::{BlobPolicy, Error, Lease, Limits, StagedLayer, Swept};

use crate::archive::{Place, Tar, zstd};
use crate::pulled::{Layer, Pulled, receive};

fn layer(name: &str) -> Layer {
    let data: Vec<u8> = (0..4000u32).map(|i| (i * i / 7) as u8).collect();
    let tar = Tar::new().file(name, name.as_bytes()).file("data", &data);
    Layer::gzip(tar.finish())
}

/// A layer whose compressed form nobody here can make again.
fn foreign(name: &str) -> Layer {
    let plain = layer(name).plain;
    Layer {
        blob: zstd(&plain),
        plain,
        media_type: media::OCI_LAYER_ZSTD,
    }
}

/// A layer whose compressed form settling finds out.
fn settleable(name: &str) -> Layer {
    let plain = layer(name).plain;
    let mut encoder = deflate::Encoder::new(Vec::new(), &deflate::GZIP_DEFAULT);
    std::io::Write::write_all(&mut encoder, &plain).unwrap();
    Layer {
        blob: encoder.finish().unwrap(),
        plain,
        media_type: media::DOCKER_LAYER_GZIP,
    }
}

/// Counts how often a store says that leases left something.
fn rung(place: &Place) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    place.store.on_left_over(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    count
}

/// Takes a layer in for as long as a lease lasts, as a download does that several pulls wait for.
fn download(place: &Place, lease: &Lease, layer: &Layer) -> Result<StagedLayer, Error> {
    let limits = Limits::default();
    let mut ingest = place.store.begin_layer(lease, layer.source(), limits)?;
    let have = usize::try_from(ingest.offset()).unwrap();
    ingest.write(&layer.blob[have..])?;
    ingest.finish()
}

fn has(place: &Place, lease: &Lease, layer: &Layer) -> bool {
    place.store.has_form(lease, layer.diff_id(), layer.digest())
}

#[track_caller]
fn assert_readable(place: &Place, layer: &Layer) {
    let mut form = place.store.form(layer.diff_id(), layer.digest()).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut form, &mut bytes).unwrap();
    assert!(bytes == layer.blob);
}

#[test]
fn what_is_removed_under_a_lease_goes_when_the_lease_ends() {
    let place = Place::new();
    let rung = rung(&place);
    let pulled = Pulled::new(vec![layer("a"), layer("b")], "app");
    let lease = place.store.lease("pull");
    let staged = pulled.layers.iter().map(|one| receive(&place, one));
    let staged = staged.map(Result::unwrap).collect();
    let image = pulled.new_image(staged);
    let id = place.store.publish_image(&lease, image).unwrap().id;
    // Its name is known already when the pull ends.
    place.store.remove_image(id).unwrap();
    assert_eq!(place.store.sweep_left_over().unwrap(), Swept::default());
    assert_eq!(rung.load(Ordering::Relaxed), 0);
    drop(lease);
    assert_eq!(rung.load(Ordering::Relaxed), 1);
    let swept = place.store.sweep_left_over().unwrap();
    assert_eq!((swept.layers, swept.blobs), (2, 4));
    place.assert_clean();
    // Whoever leaves nothing says nothing.
    pulled.pull(&place).unwrap();
    assert_eq!(rung.load(Ordering::Relaxed), 1);
    assert_eq!(place.store.sweep_left_over().unwrap(), Swept::default());
    place.assert_sound();
}

#[test]
fn what_another_has_begun_to_use_is_not_swept() {
    let place = Place::new();
    let pulled = Pulled::new(vec![layer("a")], "app");
    let id = pulled.pull(&place).unwrap().id;
    let lease = place.store.lease("save");
    assert!(place.store.has_layer(&lease, pulled.layers[0].diff_id()));
    place.store.remove_image(id).unwrap();
    drop(lease);
    let next = place.store.lease("pull");
    assert!(place.store.has_layer(&next, pulled.layers[0].diff_id()));
    assert_eq!(place.store.sweep_left_over().unwrap(), Swept::default());
    drop(next);
    assert_eq!(place.store.sweep_left_over().unwrap().layers, 1);
    place.assert_clean();
}

#[test]
fn a_form_that_a_pull_counts_on_outlives_the_image_that_brought_it() {
    let place = Place::new();
    let shared = foreign("shared");
    let first = Pulled::new(vec![shared.clone()], "first");
    let second = Pulled::new(vec![shared.clone(), layer("own")], "second");
    // Another image has the layer, but in another form.
    let bare = Pulled::new(vec![layer("shared")], "bare");
    let bare = bare.pull(&place).unwrap().id;
    for ends_well in [true, false] {
        let staged = receive(&place, &shared).unwrap();
        let lease = place.store.lease("pull");
        let image = first.new_image(vec![staged]);
        let id = place.store.publish_image(&lease, image).unwrap().id;
        drop(lease);
        let lease = place.store.lease("pull");
        assert!(has(&place, &lease, &shared));
        place.store.remove_image(id).unwrap();
        if ends_well {
            let own = receive(&place, &second.layers[1]).unwrap();
            let image = second.new_image(vec![own]);
            let id = place.store.publish_image(&lease, image).unwrap().id;
            drop(lease);
            place.store.sweep_left_over().unwrap();
            assert_readable(&place, &shared);
            place.store.remove_image(id).unwrap();
        } else {
            assert_readable(&place, &shared);
            drop(lease);
            assert_eq!(place.store.sweep_left_over().unwrap().blobs, 1);
        }
        // The layer stays, but nobody names it in this form.
        let form = place.store.form(shared.diff_id(), shared.digest());
        assert!(form.is_err(), "{ends_well}");
    }
    place.store.remove_image(bare).unwrap();
    place.assert_clean();
}

#[test]
fn a_layer_that_two_pulls_wait_for_is_there_for_the_second_whatever_became_of_the_first() {
    let place = Place::new();
    for fate in ["stays", "goes", "settles"] {
        let shared = settleable(fate);
        let first = Pulled::new(vec![shared.clone()], "first");
        let second = Pulled::new(vec![shared.clone(), foreign("own")], "second");
        let (one, two) = (place.store.lease("pull"), place.store.lease("pull"));
        let download_lease = place.store.lease("download");
        let staged = download(&place, &download_lease, &shared).unwrap();
        let image = first.new_image(vec![staged.clone()]);
        let id = place.store.publish_image(&one, image).unwrap().id;
        drop(one);
        match fate {
            "goes" => drop(place.store.remove_image(id).unwrap()),
            "settles" => {
                let settled = place.store.settle(BlobPolicy::Auto, &|| false).unwrap();
                assert_eq!(settled.rebuilt, 1);
            }
            _ => {}
        }
        let own = receive(&place, &second.layers[1]).unwrap();
        let image = second.new_image(vec![staged, own]);
        let published = place.store.publish_image(&two, image);
        let error = published.as_ref().err().map(|e| spec::error::chain(e));
        assert_eq!(error, None, "{fate}");
        drop((download_lease, two));
        assert_readable(&place, &shared);
        place.assert_sound();
        place.clear();
        place.store.sweep_left_over().unwrap();
        place.assert_clean();
    }
}

#[test]
fn images_that_come_and_go_at_once_are_whole_and_leave_nothing() {
    let place = Place::new();
    let shared = [settleable("low"), foreign("high")];
    let own = ["a", "b", "c", "d"].map(layer);
    let images: Vec<Pulled> = own
        .iter()
        .enumerate()
        .map(|(number, own)| {
            let mut layers = shared[..=number % 2].to_vec();
            layers.extend((number < 3).then(|| own.clone()));
            Pulled::new(layers, &format!("app{number}"))
        })
        .collect();
    let bell = Arc::new(AtomicBool::new(false));
    let rung = Arc::clone(&bell);
    place
        .store
        .on_left_over(move || rung.store(true, Ordering::SeqCst));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let background = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                place.store.settle(BlobPolicy::Auto, &|| false).unwrap();
                if bell.swap(false, Ordering::SeqCst) {
                    place.store.sweep_left_over().unwrap();
                }
                std::thread::yield_now();
            }
        });
        let clients: Vec<_> = (0..6)
            .map(|client| {
                let (place, images) = (&place, &images);
                scope.spawn(move || {
                    for round in 0..30 {
                        let at = (client * 5 + round * (client % 3 + 1)) % images.len();
                        come_and_go(place, &images[at]);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        stop.store(true, Ordering::Relaxed);
        background.join().unwrap();
        ended.into_iter().for_each(|client| client.unwrap());
    });
    if bell.load(Ordering::SeqCst) {
        place.store.sweep_left_over().unwrap();
    }
    assert_eq!(place.store.images().len(), 0);
    place.assert_clean();
}

/// A pull, a look at what came, and its removal, which somebody else may do first.
fn come_and_go(place: &Place, pulled: &Pulled) {
    let lease = place.store.lease("pull");
    let mut staged = Vec::new();
    for layer in &pulled.layers {
        while !has(place, &lease, layer) {
            match download(place, &lease, layer) {
                Ok(layer) => {
                    staged.push(layer);
                    break;
                }
                Err(Error::LayerBusy { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{}", spec::error::chain(&error)),
            }
        }
    }
    let image = pulled.new_image(staged);
    let published = place.store.publish_image(&lease, image);
    let id = published
        .unwrap_or_else(|error| panic!("{}", spec::error::chain(&error)))
        .id;
    // Under the lease all of it is there, also when somebody has removed the image.
    for layer in &pulled.layers {
        assert_readable(place, layer);
    }
    drop(lease);
    match place.store.remove_image(id) {
        Ok(_) | Err(Error::NoSuchImage { .. }) => {}
        Err(error) => panic!("{}", spec::error::chain(&error)),
    }
}

#[test]
fn settling_leaves_a_form_alone_that_nobody_needs_any_more() {
    let place = Place::new();
    let shared = settleable("shared");
    // Another image keeps the layer, in another form.
    let other = Pulled::new(vec![layer("shared")], "other");
    other.pull(&place).unwrap();
    let lease = place.store.lease("pull");
    let staged = receive(&place, &shared).unwrap();
    let pulled = Pulled::new(vec![shared.clone()], "app");
    let image = pulled.new_image(vec![staged]);
    let id = place.store.publish_image(&lease, image).unwrap().id;
    drop(lease);
    let removed = AtomicBool::new(false);
    let stop = || {
        if !removed.swap(true, Ordering::SeqCst) {
            place.store.remove_image(id).unwrap();
        }
        false
    };
    let settled = place.store.settle(BlobPolicy::Auto, &stop).unwrap();
    assert!(removed.load(Ordering::SeqCst));
    assert_eq!((settled.rebuilt, settled.dropped), (0, 0));
    assert!(place.store.form(shared.diff_id(), shared.digest()).is_err());
    place.assert_sound();
}
