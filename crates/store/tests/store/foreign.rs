//! Archives that others made, and others reading ours: Docker of today and of long ago, skopeo.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use spec::{Digest, ImageId};
use store::{BlobPolicy, How, SaveOptions};

use crate::archive::{Place, Tar, config, docker_save, id_of};

/// What dockerd 28.5.2 wrote for `docker save golden localhost:5000/child:1`.
const DOCKER_28_5: &[u8] = include_bytes!("../fixtures/docker-28.5-save.tar.gz");

fn unzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

fn file(archive: &[u8], path: &str) -> Vec<u8> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap() == Path::new(path) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            return bytes;
        }
    }
    panic!("no `{path}`");
}

fn json_of(archive: &[u8], path: &str) -> Value {
    serde_json::from_slice(&file(archive, path)).unwrap()
}

fn save(place: &Place, names: &[&str]) -> Vec<u8> {
    let lease = place.store.lease("test");
    let options = SaveOptions {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..SaveOptions::default()
    };
    let plan = place.store.plan_save(&lease, &options).unwrap();
    let mut out = Vec::new();
    place.store.save(&plan, &mut out).unwrap();
    out
}

#[test]
fn an_archive_of_docker_28_comes_in_and_goes_out_the_same() {
    let golden = unzip(DOCKER_28_5);
    let place = Place::new();
    let loaded = place.load(DOCKER_28_5).unwrap();
    let ids: Vec<String> = loaded
        .images
        .iter()
        .map(|image| image.id.to_string())
        .collect();
    assert_eq!(ids.len(), 2);
    let find = |name: &str| place.store.find(name).unwrap();
    assert_eq!(
        find("golden:two").id.to_string(),
        "sha256:a2e3110239f343361766e25b95ec03364422e59348d5351d8ea8acf3d37bfce4"
    );
    assert_eq!(find("golden:one").id, find("golden:two").id);
    assert_eq!(
        find("localhost:5000/child:1").id.to_string(),
        "sha256:16dff0d6c5233f9a307aee6e84af7e74e35d54a66477c5f8ff2b230b28b7778d"
    );
    // Docker made the manifests up when it saved: they are not the images' own.
    assert!(
        place
            .store
            .images()
            .iter()
            .all(|image| image.manifests.is_empty())
    );
    let saved = save(&place, &["golden", "localhost:5000/child:1"]);
    // Docker writes images in the order of a hash table.
    let entries = |archive: &[u8]| {
        let mut entries = json_of(archive, "index.json")["manifests"]
            .as_array()
            .unwrap()
            .clone();
        entries.sort_by_key(Value::to_string);
        entries
    };
    assert_eq!(entries(&saved), entries(&golden));
    for path in ["oci-layout", "repositories"] {
        assert_eq!(file(&saved, path), file(&golden, path), "{path}");
    }
    for entry in entries(&golden) {
        let digest: Digest = entry["digest"].as_str().unwrap().parse().unwrap();
        let path = format!("blobs/sha256/{}", digest.hex());
        assert_eq!(file(&saved, &path), file(&golden, &path), "{path}");
    }
    let images = |archive: &[u8]| {
        let mut images = json_of(archive, "manifest.json")
            .as_array()
            .unwrap()
            .clone();
        for image in &mut images {
            // Which image was made of which is not kept here.
            image.as_object_mut().unwrap().shift_remove("Parent");
        }
        images.sort_by_key(|image| image["Config"].to_string());
        images
    };
    assert_eq!(images(&saved), images(&golden));
    place.assert_sound();
}

#[test]
fn an_index_with_gaps_is_made_good_by_dockers_own_list() {
    let layer = Tar::new().file("x", b"1").finish();
    let config = config(&[&layer], "a");
    let mut archive = docker_save(&[&layer], &config, &["app:1"]);
    // Its manifest names a layer that is not in the archive.
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "digest": Digest::of(&config), "size": config.len() },
        "layers": [{ "digest": Digest::of(b"absent"), "size": 6 }],
    });
    let manifest = manifest.to_string().into_bytes();
    let index = json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(&manifest), "size": manifest.len(),
        "annotations": { "io.containerd.image.name": "docker.io/library/app:1" },
    }] });
    archive.truncate(archive.len() - 1024);
    let more = Tar::new()
        .file(
            &format!("blobs/sha256/{}", Digest::of(&manifest).hex()),
            &manifest,
        )
        .file(
            &format!("blobs/sha256/{}", Digest::of(&config).hex()),
            &config,
        )
        .file("index.json", index.to_string().as_bytes())
        .finish();
    archive.extend(more);
    let place = Place::new();
    let loaded = place.load(&archive).unwrap();
    assert_eq!(loaded.images.len(), 1);
    assert_eq!(loaded.images[0].references[0].familiar(), "app:1");
    assert_eq!(place.store.find("app:1").unwrap().id, id_of(&config));
    place.assert_sound();
}

fn old_image(id: &str, parent: &str, command: &str) -> String {
    let mut image = json!({
        "id": id, "created": "2014-01-02T03:04:05Z", "architecture": "amd64", "os": "linux",
        "docker_version": "1.9.1", "Size": 17, "author": "me", "comment": "old",
        "container_config": { "Cmd": ["/bin/sh", "-c", command] },
        "config": { "Cmd": ["/run"], "Env": ["A=b"] },
    });
    if !parent.is_empty() {
        image["parent"] = json!(parent);
    }
    image.to_string()
}

fn old_archive(entries: &[(&str, &str, &[u8])], repositories: &Value) -> Vec<u8> {
    let mut tar = Tar::new();
    for (id, parent, layer) in entries {
        tar = tar
            .dir(&format!("{id}/"))
            .file(&format!("{id}/VERSION"), b"1.0")
            .file(&format!("{id}/json"), old_image(id, parent, id).as_bytes())
            .file(&format!("{id}/layer.tar"), layer);
    }
    tar.file("repositories", repositories.to_string().as_bytes())
        .finish()
}

#[test]
fn archives_from_before_docker_1_10() {
    let (lower, upper) = (
        Tar::new().file("a", b"1").finish(),
        Tar::new().file("b", b"22").finish(),
    );
    let repositories = json!({ "old": { "1": "top", "2": "top" }, "base": { "latest": "low" } });
    let entries = [("top", "low", &upper[..]), ("low", "", &lower[..])];
    let place = Place::new();
    let loaded = place.load(&old_archive(&entries, &repositories)).unwrap();
    assert_eq!(loaded.images.len(), 2);
    let image = place.store.find("old:2").unwrap();
    assert_eq!(image.references.len(), 2);
    let diffs: Vec<Digest> = image
        .config
        .rootfs
        .diff_ids
        .iter()
        .map(|d| d.digest())
        .collect();
    assert_eq!(diffs, [Digest::of(&lower), Digest::of(&upper)]);
    assert_eq!(image.config.config.env, ["A=b"]);
    let history = place.store.history(image.id).unwrap();
    assert_eq!(history[0].created_by, "/bin/sh -c top");
    assert_eq!(history[1].created_by, "/bin/sh -c low");
    assert_eq!(history[0].comment, "old");
    let config: Value =
        serde_json::from_slice(&place.store.config_bytes(image.id).unwrap()).unwrap();
    assert!(
        ["id", "parent", "Size"]
            .iter()
            .all(|key| config.get(key).is_none())
    );
    place.assert_sound();
    // Lies: an ancestor that is missing, and one that is its own.
    for (entries, text) in [
        (&entries[..1], "low/json"),
        (&[("top", "top", &upper[..])], "its own ancestor"),
    ] {
        let place = Place::new();
        let repositories = json!({ "old": { "1": "top" } });
        let error = place
            .load(&old_archive(entries, &repositories))
            .unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        place.assert_clean();
    }
}

/// Runs skopeo, which the tests need; the words are its arguments.
fn skopeo(words: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(words)
        .output()
        .expect("the Debian package skopeo is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    output.stdout
}

fn manifest_digest(layout: &Path) -> String {
    let index = std::fs::read(layout.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

fn source() -> (Place, ImageId) {
    let place = Place::new();
    let lower = Tar::new()
        .dir("etc/")
        .file("etc/large", &[b'l'; 300_000])
        .hard_link("etc/again", "etc/large")
        .symlink("sh", "etc/large")
        .finish();
    let upper = Tar::new()
        .file("etc/.wh.again", b"")
        .file("new", b"n")
        .finish();
    let config = config(&[&lower, &upper], "app");
    place
        .load(&docker_save(
            &[&lower, &upper],
            &config,
            &["localhost/app:1"],
        ))
        .unwrap();
    (place, id_of(&config))
}

#[test]
fn skopeo_reads_what_is_saved_in_both_forms() {
    let (place, id) = source();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("saved.tar"), save(&place, &["localhost/app:1"])).unwrap();
    // Into OCI's form skopeo would write Docker's config anew.
    let docker = format!("docker-archive:{}:localhost/app:1", path("saved.tar"));
    skopeo(&["copy", "-q", &docker, &format!("dir:{}", path("dir"))]);
    let config = std::fs::read(Path::new(&path("dir")).join(id.digest().hex())).unwrap();
    assert_eq!(ImageId::new(Digest::of(&config)), id);
    let oci = format!("oci-archive:{}", path("saved.tar"));
    let to = format!("oci:{}:x", path("layout"));
    skopeo(&["copy", "-q", &oci, &to]);
    let config = skopeo(&["inspect", "--config", "--raw", &to]);
    assert_eq!(ImageId::new(Digest::of(&config)), id);
}

#[test]
fn what_skopeo_compressed_goes_out_with_its_digests() {
    let (place, id) = source();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("saved.tar"), save(&place, &["localhost/app:1"])).unwrap();
    let from = format!("oci-archive:{}", path("saved.tar"));
    for format in ["gzip", "zstd"] {
        let (layout, archive) = (path(format), path(&format!("{format}.tar")));
        let to = format!("oci:{layout}:localhost/app:1");
        skopeo(&["copy", "-q", "--dest-compress-format", format, &from, &to]);
        skopeo(&[
            "copy",
            "-q",
            &to,
            &format!("oci-archive:{archive}:localhost/app:1"),
        ]);
        let digest = manifest_digest(Path::new(&layout));
        let other = Place::new();
        let loaded = other.load(&std::fs::read(&archive).unwrap()).unwrap();
        assert_eq!(loaded.images[0].id, id);
        assert_eq!(loaded.images[0].references[0].familiar(), "localhost/app:1");
        let saved = save(&other, &["localhost/app:1"]);
        let entry = &json_of(&saved, "index.json")["manifests"][0];
        assert_eq!(entry["digest"], digest, "{format}");
        // One copy on the disk, and still the same bytes.
        other.store.settle(BlobPolicy::Auto, &|| false).unwrap();
        if format == "gzip" {
            // Both layers are encoded anew, at once where there are two processors.
            for diff in &other.store.image(id).unwrap().config.rootfs.diff_ids {
                let forms = other.store.forms(*diff);
                assert!(matches!(forms[1].how, How::Encoder(_)), "{forms:?}");
            }
        }
        assert!(save(&other, &["localhost/app:1"]) == saved, "{format}");
        other.assert_sound();
        std::fs::write(path("again.tar"), &saved).unwrap();
        let again = path("again");
        skopeo(&[
            "copy",
            "-q",
            &format!("oci-archive:{}", path("again.tar")),
            &format!("oci:{again}:x"),
        ]);
        assert_eq!(manifest_digest(Path::new(&again)), digest, "{format}");
        std::fs::remove_dir_all(&again).unwrap();
    }
}
