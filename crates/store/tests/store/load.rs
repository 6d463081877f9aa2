//! Image archives: what is read of them, what is refused.

use serde_json::json;
use spec::{Classify, Digest, ErrorKind, Platform};
use store::{LoadOptions, Progress};

use crate::archive::{Oci, Place, Tar, config, docker_save, gzip, id_of, zstd};

fn layers() -> (Vec<u8>, Vec<u8>) {
    let lower = Tar::new()
        .dir("etc")
        .file("etc/os", b"lower")
        .file("bin", b"program")
        .finish();
    let upper = Tar::new()
        .file("etc/.wh.os", b"")
        .file("etc/new", b"upper!")
        .finish();
    (lower, upper)
}

#[track_caller]
fn refused(archive: &[u8], text: &str) {
    let place = Place::new();
    let error = place.load(archive).expect_err(text);
    let shown = spec::error::chain(&error);
    assert!(shown.contains(text), "{shown}");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{shown}");
    place.assert_clean();
}

#[test]
fn docker_archives_with_names_and_without() {
    let (lower, upper) = layers();
    let config = config(&[&lower, &upper], "a");
    let place = Place::new();
    let archive = docker_save(
        &[&lower, &upper],
        &config,
        &["app:1", "localhost:5000/app:2"],
    );
    for packed in [archive.clone(), gzip(&archive), zstd(&archive)] {
        let loaded = place.load(&packed).unwrap();
        assert_eq!(loaded.images[0].id, id_of(&config));
        let names: Vec<String> = loaded.images[0]
            .references
            .iter()
            .map(spec::Reference::familiar)
            .collect();
        assert_eq!(names, ["app:1", "localhost:5000/app:2"]);
    }
    let image = place.store.find("app:1").unwrap();
    assert_eq!(image.size, 5 + 7 + 6);
    assert_eq!(place.store.config_bytes(image.id).unwrap(), config);
    let history = place.store.history(image.id).unwrap();
    assert_eq!(
        (history[0].created_by.as_str(), history[0].size),
        ("step 1", 6)
    );
    assert_eq!((history[1].id, history[1].size), (None, 12));
    let unnamed = docker_save(&[&lower], &crate::archive::config(&[&lower], "b"), &[]);
    assert!(
        place.load(&unnamed).unwrap().images[0]
            .references
            .is_empty()
    );
    assert_eq!(
        std::fs::read_dir(place.root().join("layers"))
            .unwrap()
            .count(),
        2
    );
    place.assert_sound();
}

#[test]
fn a_name_moves_to_the_newer_image() {
    let (lower, _) = layers();
    let place = Place::new();
    let (old, new) = (config(&[&lower], "old"), config(&[&lower], "new"));
    place.load(&docker_save(&[&lower], &old, &["app"])).unwrap();
    let loaded = place.load(&docker_save(&[&lower], &new, &["app"])).unwrap();
    assert_eq!(loaded.images[0].replaced[0].1, id_of(&old));
    assert_eq!(place.store.find("app").unwrap().id, id_of(&new));
    let dangling = place.store.dangling();
    assert_eq!((dangling.len(), dangling[0].id), (1, id_of(&old)));
    // Once more changes nothing.
    let again = place.load(&docker_save(&[&lower], &new, &["app"])).unwrap();
    assert!(again.images[0].replaced.is_empty());
}

#[test]
fn oci_layouts_with_compressed_layers_and_nested_indexes() {
    let (lower, upper) = layers();
    let (gz, zs) = (gzip(&lower), zstd(&upper));
    let config = config(&[&lower, &upper], "oci");
    let mut oci = Oci::default();
    let manifest = oci.image(&config, &[&gz, &zs]);
    let mut inner = manifest.clone();
    inner["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let arm_config = config_for("arm64", &lower);
    let mut arm = oci.image(&arm_config, &[&gz]);
    arm["platform"] = json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    let attestation = json!({
        "digest": Digest::of(b"nothing"), "size": 7,
        "platform": { "os": "unknown", "architecture": "unknown" },
        "annotations": { "vnd.docker.reference.type": "attestation-manifest" },
    });
    let index = json!({ "schemaVersion": 2, "manifests": [arm, inner, attestation] }).to_string();
    let mut index = oci.blob("application/vnd.oci.image.index.v1+json", index.as_bytes());
    index["annotations"] = json!({
        "io.containerd.image.name": "docker.io/library/multi:1",
        "org.opencontainers.image.ref.name": "1",
    });
    oci.add(index);
    let place = Place::new();
    let loaded = place.load(&oci.finish()).unwrap();
    assert_eq!(loaded.images.len(), 1);
    assert_eq!(loaded.images[0].id, id_of(&config));
    assert_eq!(loaded.images[0].references[0].familiar(), "multi:1");
    place.assert_sound();

    let lease = place.store.lease("test");
    let arm: Platform = "linux/arm64/v8".parse().unwrap();
    let options = LoadOptions {
        platform: Some(arm),
        ..LoadOptions::default()
    };
    let loaded = place
        .store
        .load(&lease, &mut &oci.finish()[..], &options, &|_| ())
        .unwrap();
    assert_eq!(loaded.images[0].id, id_of(&arm_config));
    let other: Platform = "linux/s390x".parse().unwrap();
    let options = LoadOptions {
        platform: Some(other),
        ..LoadOptions::default()
    };
    let error = place
        .store
        .load(&lease, &mut &oci.finish()[..], &options, &|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("linux/arm64"), "{error}");
}

fn config_for(architecture: &str, layer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(config(&[layer], "other")).unwrap();
    text.replace("amd64", architecture).into_bytes()
}

#[test]
fn several_images_and_tags_that_are_no_names() {
    let (lower, upper) = layers();
    let (one, two) = (config(&[&lower], "1"), config(&[&upper], "2"));
    let mut oci = Oci::default();
    let mut first = oci.image(&one, &[&lower]);
    first["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    let mut second = oci.image(&two, &[&upper]);
    second["annotations"] = json!({ "org.opencontainers.image.ref.name": "two:v2" });
    oci.add(first).add(second);
    let place = Place::new();
    let loaded = place.load(&oci.finish()).unwrap();
    let names: Vec<Vec<String>> = loaded
        .images
        .iter()
        .map(|image| {
            image
                .references
                .iter()
                .map(spec::Reference::familiar)
                .collect()
        })
        .collect();
    assert_eq!(names, [vec![], vec!["two:v2".to_owned()]]);
}

#[test]
fn links_in_old_archives_lead_to_shared_layers() {
    let (lower, _) = layers();
    let config = config(&[&lower, &lower], "twice");
    let manifest = json!([{
        "Config": "c.json", "RepoTags": null, "Layers": ["a/layer.tar", "b/layer.tar"],
    }]);
    let archive = Tar::new()
        .file("a/layer.tar", &lower)
        .symlink("b/layer.tar", "../a/layer.tar")
        .file("c.json", &config)
        .file("manifest.json", manifest.to_string().as_bytes())
        .finish();
    let place = Place::new();
    assert_eq!(place.load(&archive).unwrap().images[0].id, id_of(&config));
}

#[test]
fn empty_layers_and_images_without_layers() {
    let empty = vec![0; 1024];
    let place = Place::new();
    let config_one = config(&[&empty], "empty");
    place
        .load(&docker_save(&[&empty], &config_one, &["empty"]))
        .unwrap();
    let config_none = config(&[], "none");
    place
        .load(&docker_save(&[], &config_none, &["none"]))
        .unwrap();
    assert_eq!(place.store.find("none").unwrap().size, 0);
    assert_eq!(place.store.find("none").unwrap().chain_id(), None);
    place.assert_sound();
}

#[test]
fn lies_are_told_apart() {
    let (lower, upper) = layers();
    let good = config(&[&lower], "x");
    refused(
        &docker_save(&[&upper], &good, &["x"]),
        "invalid diffID for layer 0: expected",
    );
    refused(
        &docker_save(&[&lower, &upper], &good, &["x"]),
        "layers length mismatch: expected 2",
    );
    refused(&docker_save(&[&lower], &good, &["Bad:Tag"]), "invalid tag");
    refused(&docker_save(&[&lower], b"{}", &["x"]), "no RootFS key");
    refused(
        &docker_save(&[&lower], b"nonsense", &["x"]),
        "cannot be read",
    );
    refused(
        &docker_save(&[b"not a tar archive"], &good, &["x"]),
        "is not a tar archive",
    );
    refused(
        &Tar::new().file("etc/passwd", b"root").finish(),
        "neither manifest.json nor",
    );
    refused(b"", "neither manifest.json nor");
    refused(&[b'x'; 2000], "tar");
    refused(
        &Tar::new().file("manifest.json", b"[]").finish(),
        "names no image",
    );
    refused(
        &Tar::new().file("manifest.json", b"{").finish(),
        "`manifest.json` cannot be read",
    );
    refused(
        &Tar::new().file("a", b"1").file("./a", b"2").finish(),
        "two files `a`",
    );
    refused(&Tar::new().file("../a", b"1").finish(), "outside of itself");
    let whole = docker_save(&[&lower], &good, &["x"]);
    refused(&whole[..whole.len() / 2], "cut off");
    let hostile = Tar::new().file("../../etc/cron.d/x", b"!").finish();
    let hostile_config = config(&[&hostile], "x");
    refused(
        &docker_save(&[&hostile], &hostile_config, &["x"]),
        "leaves its root",
    );
}

#[test]
fn digests_and_sizes_of_blobs_are_checked() {
    let (lower, _) = layers();
    let gz = gzip(&lower);
    let good = config(&[&lower], "x");
    let mut swapped = Oci::default();
    let descriptor = swapped.image(&good, &[&gz]);
    swapped.add(descriptor.clone());
    let bytes = swapped.finish();
    // The layer's own bytes, changed where gzip does not notice: its header's time.
    let at = bytes
        .windows(gz.len())
        .position(|window| window == gz)
        .unwrap();
    let mut spoiled = bytes.clone();
    spoiled[at + 4] ^= 1;
    refused(&spoiled, "digest mismatch");
    let mut sized = Oci::default();
    let mut descriptor = sized.image(&good, &[&gz]);
    descriptor["size"] = json!(1);
    sized.add(descriptor);
    refused(&sized.finish(), "its descriptor says 1");
    let mut missing = Oci::default();
    missing.add(json!({ "digest": Digest::of(b"gone"), "size": 4 }));
    refused(&missing.finish(), "has no blob");
    let windows = String::from_utf8(good)
        .unwrap()
        .replace("\"linux\"", "\"windows\"");
    let place = Place::new();
    let error = place
        .load(&docker_save(&[&lower], windows.as_bytes(), &["w"]))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    place.assert_clean();
}

#[test]
fn layers_that_are_here_may_be_left_out() {
    let (lower, upper) = layers();
    let place = Place::new();
    place
        .load(&docker_save(
            &[&lower],
            &config(&[&lower], "base"),
            &["base"],
        ))
        .unwrap();
    let both = config(&[&lower, &upper], "thin");
    let manifest = json!([{ "Config": "c.json", "Layers": ["0", "1"], "RepoTags": ["thin"] }]);
    let thin = Tar::new()
        .file("1", &upper)
        .file("c.json", &both)
        .file("manifest.json", manifest.to_string().as_bytes())
        .finish();
    place.load(&thin).unwrap();
    assert_eq!(place.store.find("thin").unwrap().size, 18);
    let elsewhere = Place::new();
    assert!(
        elsewhere
            .load(&thin)
            .unwrap_err()
            .to_string()
            .contains("has no file `0`")
    );
}

#[test]
fn progress_ends_at_the_size_of_each_layer() {
    let big = Tar::new().file("big", &vec![1; 3 << 20]).finish();
    let archive = docker_save(&[&big], &config(&[&big], "p"), &["p"]);
    let seen = std::sync::Mutex::new(Vec::<Progress>::new());
    let place = Place::new();
    let lease = place.store.lease("test");
    let note = |progress| seen.lock().unwrap().push(progress);
    place
        .store
        .load(&lease, &mut &archive[..], &LoadOptions::default(), &note)
        .unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() >= 3, "{seen:?}");
    let last = seen.last().unwrap();
    assert_eq!(
        (last.current, last.total),
        (big.len() as u64, big.len() as u64)
    );
    assert!(seen.is_sorted_by_key(|progress| progress.current));
}

#[test]
fn a_failing_source_leaves_nothing() {
    struct Failing<'a>(&'a [u8]);
    impl std::io::Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::Error::other("the client went away"));
            }
            self.0.read(buffer)
        }
    }
    let (lower, _) = layers();
    let archive = docker_save(&[&lower], &config(&[&lower], "x"), &["x"]);
    let place = Place::new();
    for len in [0, 100, 512, 2000, archive.len() - 600] {
        let lease = place.store.lease("test");
        let mut source = Failing(&archive[..len]);
        let error = place
            .store
            .load(&lease, &mut source, &LoadOptions::default(), &|_| ())
            .unwrap_err();
        assert!(spec::error::chain(&error).contains("went away"), "{error}");
        place.assert_clean();
    }
}
