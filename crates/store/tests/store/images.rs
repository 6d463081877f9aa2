//! Names, ids, removal, collection.

use spec::{Classify, ErrorKind, Reference, Resolution};
use store::{Error, ImportOptions};

use crate::archive::{Place, Tar, config, docker_save, id_of};

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn layer(text: &str) -> Vec<u8> {
    Tar::new().file(text, text.as_bytes()).finish()
}

#[test]
fn texts_resolve_to_names_ids_and_prefixes() {
    let place = Place::new();
    let a = layer("a");
    let config_a = config(&[&a], "a");
    let id = id_of(&config_a);
    place
        .load(&docker_save(&[&a], &config_a, &["app:1"]))
        .unwrap();
    let hex = id.digest().hex();
    for text in [
        "app:1",
        "docker.io/library/app:1",
        hex.as_str(),
        &hex[..12],
        &hex[..1],
        &format!("sha256:{hex}"),
        &format!("sha256:{}", &hex[..10]),
    ] {
        assert_eq!(place.store.resolve(text), Resolution::One(id), "{text}");
    }
    for text in [
        "app",
        "app:2",
        "",
        "sha256:",
        "UPPER",
        "zz",
        &"0".repeat(64),
    ] {
        assert_eq!(place.store.resolve(text), Resolution::None, "{text}");
    }
    let error = place.store.find("app").unwrap_err();
    assert_eq!(error.to_string(), "No such image: app:latest");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // Seventeen images must share a first digit.
    for n in 0..16 {
        let config = config(&[&a], &n.to_string());
        place.load(&docker_save(&[&a], &config, &[])).unwrap();
    }
    let ambiguous = (0..16).any(|digit| {
        matches!(
            place.store.resolve(&format!("{digit:x}")),
            Resolution::Ambiguous(_)
        )
    });
    assert!(ambiguous);
    // A name wins over a prefix.
    let short = &hex[..6];
    let other = place
        .store
        .images()
        .into_iter()
        .find(|image| image.id != id)
        .unwrap();
    place
        .store
        .tag(other.id, &name(&format!("{short}:latest")))
        .unwrap();
    assert_eq!(place.store.resolve(short), Resolution::One(other.id));
}

#[test]
fn tags_survive_reopening_and_untagging_leaves_the_image() {
    let place = Place::new();
    let a = layer("a");
    let config = config(&[&a], "a");
    let id = id_of(&config);
    place
        .load(&docker_save(&[&a], &config, &["app:1"]))
        .unwrap();
    assert_eq!(place.store.tag(id, &name("other/app:v2")).unwrap(), None);
    let place = place.reopen();
    assert!(place.store.problems().is_empty());
    assert_eq!(
        place.store.references_of(id),
        [name("app:1"), name("other/app:v2")]
    );
    assert!(place.store.image(id).unwrap().last_tagged.is_some());
    assert_eq!(place.store.untag(&name("app:1")).unwrap(), Some(id));
    assert_eq!(place.store.untag(&name("app:1")).unwrap(), None);
    assert_eq!(place.store.untag(&name("other/app:v2")).unwrap(), Some(id));
    let place = place.reopen();
    assert!(place.store.image(id).unwrap().is_dangling());
    let missing = id_of(b"missing");
    assert!(matches!(
        place.store.tag(missing, &name("x")),
        Err(Error::NoSuchImage { .. })
    ));
}

#[test]
fn removal_takes_layers_that_nothing_else_needs() {
    let place = Place::new();
    let (base, top) = (layer("base"), layer("top"));
    let (one, two) = (config(&[&base], "1"), config(&[&base, &top], "2"));
    place.load(&docker_save(&[&base], &one, &["one"])).unwrap();
    place
        .load(&docker_save(&[&base, &top], &two, &["two:a", "two:b"]))
        .unwrap();
    let usage = place.store.disk_usage().unwrap();
    assert_eq!(usage.layers_size, 7);
    let of = |id| usage.images.iter().find(|image| image.id == id).unwrap();
    assert_eq!((of(id_of(&two)).shared, of(id_of(&two)).unique), (4, 3));
    assert_eq!((of(id_of(&one)).shared, of(id_of(&one)).unique), (4, 0));
    let chain = place.store.image(id_of(&two)).unwrap().chain_id().unwrap();
    let removed = place.store.remove_image(id_of(&two)).unwrap();
    assert_eq!(removed.untagged, [name("two:a"), name("two:b")]);
    assert_eq!(removed.deleted, [id_of(&two).digest(), chain.digest()]);
    assert!(removed.bytes >= 3);
    place.assert_sound();
    let removed = place.store.remove_image(id_of(&one)).unwrap();
    assert_eq!(removed.deleted.len(), 2);
    place.assert_clean();
    assert!(place.store.remove_image(id_of(&one)).is_err());
    let place = place.reopen();
    assert!(place.store.images().is_empty() && place.store.problems().is_empty());
}

#[test]
fn leases_hold_what_nothing_refers_to_yet() {
    let place = Place::new();
    let a = layer("a");
    let config = config(&[&a], "a");
    let lease = place.store.lease("holds");
    let archive = docker_save(&[&a], &config, &["a"]);
    place
        .store
        .load(&lease, &mut &archive[..], &Default::default(), &|_| ())
        .unwrap();
    let removed = place.store.remove_image(id_of(&config)).unwrap();
    assert_eq!(
        removed.deleted,
        [id_of(&config).digest()],
        "the layer is still held"
    );
    assert_eq!(place.store.gc().unwrap().layers, 0);
    drop(lease);
    let swept = place.store.gc().unwrap();
    assert_eq!((swept.layers, swept.blobs, swept.bytes >= 1), (1, 1, true));
    place.assert_clean();
}

#[test]
fn imports_make_the_config_that_docker_makes() {
    let place = Place::new();
    let lease = place.store.lease("test");
    let options = ImportOptions {
        changes: vec![
            "CMD [\"/bin/sh\"]".into(),
            "ENV A=b".into(),
            "WORKDIR /srv".into(),
        ],
        reference: Some(name("rootfs:1")),
        platform: Some("linux/arm/v7".parse().unwrap()),
        ..ImportOptions::default()
    };
    let tar = layer("f");
    let id = place
        .store
        .import(&lease, &mut &tar[..], &options, &|_| ())
        .unwrap();
    assert_eq!(place.store.find("rootfs:1").unwrap().id, id);
    let bytes = place.store.config_bytes(id).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert!(
        keys.is_sorted_by_key(|key| (*key == "variant", *key)),
        "{keys:?}"
    );
    assert_eq!(value["config"]["Cmd"], serde_json::json!(["/bin/sh"]));
    assert_eq!(value["config"]["Env"], serde_json::json!(["A=b"]));
    assert_eq!(value["config"]["Entrypoint"], serde_json::Value::Null);
    assert_eq!(value["config"]["WorkingDir"], "/srv");
    assert_eq!(
        (value["architecture"].as_str(), value["variant"].as_str()),
        (Some("arm"), Some("v7"))
    );
    assert_eq!(value["history"][0]["comment"], "Imported from -");
    let bad = ImportOptions {
        changes: vec!["RUN x".into()],
        ..ImportOptions::default()
    };
    let error = place
        .store
        .import(&lease, &mut &tar[..], &bad, &|_| ())
        .unwrap_err();
    assert_eq!(error.to_string(), "RUN is not a valid change command");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn loads_tags_removals_and_collections_run_side_by_side() {
    let place = Place::new();
    let shared = layer("shared");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (place, shared) = (&place, &shared);
            scope.spawn(move || {
                for round in 0..8 {
                    let text = format!("{worker}-{round}");
                    let own = layer(&text);
                    let config = config(&[shared, &own], &text);
                    let archive = docker_save(&[shared, &own], &config, &[&format!("w{text}")]);
                    let loaded = place.load(&archive).unwrap();
                    let id = loaded.images[0].id;
                    place.store.gc().unwrap();
                    assert_eq!(place.store.find(&format!("w{text}")).unwrap().id, id);
                    if round % 2 == 0 {
                        place.store.remove_image(id).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(place.store.images().len(), 16);
    place.assert_sound();
    let place = place.reopen();
    assert!(place.store.problems().is_empty());
    place.assert_sound();
}
