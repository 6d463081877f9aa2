//! What leaves the store: archives of images, exports, and images made of containers.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use serde_json::{Value, json};
use spec::{Classify, Digest, ErrorKind, ImageId, Platform};
use store::{ChangeKind, CommitOptions, Error, LoadOptions, PrepareOptions, SaveOptions};

use crate::archive::{Entry, Oci, Place, Tar, config, docker_save, gzip, id_of, zstd};
use crate::snapshots::{mounted, prepare};

fn layers() -> (Vec<u8>, Vec<u8>) {
    let lower = Tar::new()
        .dir("etc/")
        .file("etc/os", b"lower")
        .hard_link("etc/same", "etc/os")
        .finish();
    let upper = Tar::new()
        .file("etc/.wh.os", b"")
        .file("etc/new", b"upper!")
        .finish();
    (lower, upper)
}

fn save(place: &Place, names: &[&str], platforms: &[&str]) -> Result<Vec<u8>, Error> {
    let lease = place.store.lease("test");
    let options = SaveOptions {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        platforms: platforms.iter().map(|text| text.parse().unwrap()).collect(),
    };
    let plan = place.store.plan_save(&lease, &options)?;
    let mut out = Vec::new();
    place.store.save(&plan, &mut out)?;
    Ok(out)
}

/// Files of an archive, by path.
fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(archive);
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        files.push((path, bytes));
    }
    files
}

fn file(archive: &[u8], path: &str) -> Option<Vec<u8>> {
    let found = files(archive).into_iter().find(|(known, _)| known == path);
    found.map(|(_, bytes)| bytes)
}

fn json_of(archive: &[u8], path: &str) -> Value {
    serde_json::from_slice(&file(archive, path).unwrap()).unwrap()
}

fn has_blob(archive: &[u8], digest: &Value) -> bool {
    let digest: Digest = digest.as_str().unwrap().parse().unwrap();
    match file(archive, &format!("blobs/sha256/{}", digest.hex())) {
        Some(bytes) => Digest::of(&bytes) == digest,
        None => false,
    }
}

#[test]
fn images_without_a_manifest_are_saved_as_docker_saves_them() {
    let (lower, upper) = layers();
    let place = Place::new();
    let (base, app) = (config(&[&lower], "base"), config(&[&lower, &upper], "app"));
    place
        .load(&docker_save(&[&lower], &base, &["base:1", "base:2"]))
        .unwrap();
    place
        .load(&docker_save(
            &[&lower, &upper],
            &app,
            &["localhost:5000/app"],
        ))
        .unwrap();
    let archive = save(&place, &["base", "localhost:5000/app"], &[]).unwrap();
    let names: Vec<String> = files(&archive).into_iter().map(|(path, _)| path).collect();
    let mut tar = tar::Archive::new(&archive[..]);
    for entry in tar.entries().unwrap() {
        assert_eq!(entry.unwrap().header().mtime().unwrap(), 0);
    }
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(names, sorted);
    assert_eq!(names[0], "blobs/");
    // Two configs, two manifests, two layers: what the images share is there once.
    assert_eq!(names.iter().filter(|path| path.len() > 60).count(), 6);
    let manifest = json_of(&archive, "manifest.json");
    assert_eq!(manifest[0]["RepoTags"], json!(["base:1", "base:2"]));
    assert_eq!(
        manifest[1]["RepoTags"],
        json!(["localhost:5000/app:latest"])
    );
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    assert_eq!(manifest[1]["Layers"], json!([path(&lower), path(&upper)]));
    assert_eq!(manifest[1]["Config"], json!(path(&app)));
    assert_eq!(file(&archive, &path(&lower)).unwrap(), lower);
    assert_eq!(file(&archive, &path(&app)).unwrap(), app);
    assert_eq!(
        json_of(&archive, "repositories"),
        json!({
            "base": { "1": Digest::of(&lower).hex(), "2": Digest::of(&lower).hex() },
            "localhost:5000/app": { "latest": Digest::of(&upper).hex() },
        })
    );
    let index = json_of(&archive, "index.json");
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(
        entries[1]["annotations"],
        json!({
            "io.containerd.image.name": "docker.io/library/base:2",
            "org.opencontainers.image.ref.name": "2",
        })
    );
    assert!(
        entries
            .iter()
            .all(|entry| has_blob(&archive, &entry["digest"]))
    );
    // Again, from another store and after another journey: the same bytes.
    assert_eq!(
        save(&place, &["base", "localhost:5000/app"], &[]).unwrap(),
        archive
    );
    let other = Place::new();
    let loaded = other.load(&archive).unwrap();
    assert_eq!(loaded.images.len(), 2);
    assert_eq!(
        save(&other, &["base", "localhost:5000/app"], &[]).unwrap(),
        archive
    );
    other.assert_sound();
    place.assert_sound();
}

#[test]
fn images_are_found_by_id_and_what_is_not_there_is_told() {
    let (lower, _) = layers();
    let place = Place::new();
    let config = config(&[&lower], "a");
    place
        .load(&docker_save(&[&lower], &config, &["app:1"]))
        .unwrap();
    let id = id_of(&config).to_string();
    for text in [id.as_str(), &id[7..], &id[7..19], &id[..19]] {
        let archive = save(&place, &[text], &[]).unwrap();
        assert_eq!(
            json_of(&archive, "manifest.json")[0]["RepoTags"],
            Value::Null
        );
        assert_eq!(file(&archive, "repositories"), None);
        let entries = json_of(&archive, "index.json");
        assert_eq!(entries["manifests"][0]["annotations"], Value::Null);
    }
    // By name and by id: the name goes out, once.
    let archive = save(&place, &["app:1", &id, "app"], &[]).unwrap();
    let entries = json_of(&archive, "index.json");
    assert_eq!(entries["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(
        json_of(&archive, "manifest.json")[0]["RepoTags"],
        json!(["app:1"])
    );
    for (names, text) in [
        (&["app:1", "nothing"][..], "No such image: nothing"),
        (&["app:2"], "No such image: app:2"),
        (&["App"], "invalid reference format"),
    ] {
        let error = save(&place, names, &[]).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
    let error = save(&place, &["app:1"], &["linux/s390x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("linux/s390x"), "{error}");
    assert!(save(&place, &["app:1"], &["linux/amd64"]).is_ok());
}

/// An index for two platforms, and the configs of both.
fn multi() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (lower, upper) = layers();
    let (gz, zs) = (gzip(&lower), zstd(&upper));
    let amd = config(&[&lower, &upper], "amd");
    let arm = String::from_utf8(config(&[&lower], "arm")).unwrap();
    let arm = arm.replace("amd64", "arm64").into_bytes();
    let mut oci = Oci::default();
    let mut first = oci.image(&arm, &[&gz]);
    first["platform"] = json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
    let mut second = oci.image(&amd, &[&gz, &zs]);
    second["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let gone = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(b"gone"), "size": 4,
        "platform": { "os": "linux", "architecture": "s390x" },
    });
    let index = json!({ "schemaVersion": 2, "manifests": [first, second, gone] }).to_string();
    let mut index = oci.blob("application/vnd.oci.image.index.v1+json", index.as_bytes());
    index["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/multi:1" });
    oci.add(index);
    (oci.finish(), amd, arm)
}

#[test]
fn manifests_and_indexes_go_out_as_they_came() {
    let (source, amd, arm) = multi();
    let place = Place::new();
    let loaded = place.load(&source).unwrap();
    assert_eq!(loaded.images.len(), 1);
    assert_eq!(loaded.images[0].id, id_of(&amd));
    assert_eq!(loaded.companions, [id_of(&arm)]);
    let archive = save(&place, &["multi:1"], &[]).unwrap();
    let entry = &json_of(&archive, "index.json")["manifests"][0];
    assert_eq!(
        entry["digest"],
        json_of(&source, "index.json")["manifests"][0]["digest"]
    );
    // Every blob of the source is there with its bytes: compressed layers, both manifests.
    for (path, bytes) in files(&source) {
        if path.starts_with("blobs/sha256/") {
            assert_eq!(file(&archive, &path).as_ref(), Some(&bytes), "{path}");
        }
    }
    // Readers of manifest.json know one image per tag: that of this host.
    let manifest = json_of(&archive, "manifest.json");
    assert_eq!(manifest.as_array().unwrap().len(), 1);
    assert_eq!(
        manifest[0]["Config"],
        format!("blobs/sha256/{}", Digest::of(&amd).hex())
    );
    let other = Place::new();
    let loaded = other.load(&archive).unwrap();
    assert_eq!((loaded.images.len(), loaded.companions.len()), (1, 1));
    assert_eq!(save(&other, &["multi:1"], &[]).unwrap(), archive);
    other.assert_sound();
    // Nothing is left of it when both images are removed.
    other.clear();
    other.assert_clean();
}

#[test]
fn one_platform_of_an_index() {
    let (source, _, arm) = multi();
    let place = Place::new();
    place.load(&source).unwrap();
    let archive = save(&place, &["multi:1"], &["linux/arm64"]).unwrap();
    let entry = &json_of(&archive, "index.json")["manifests"][0];
    assert_eq!(
        entry["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    let manifest = json_of(&archive, "manifest.json");
    assert_eq!(manifest[0]["RepoTags"], json!(["multi:1"]));
    let other = Place::new();
    let loaded = other.load(&archive).unwrap();
    assert_eq!(loaded.images[0].id, id_of(&arm));
    assert_eq!(loaded.images[0].references[0].familiar(), "multi:1");
    assert!(save(&place, &["multi:1"], &["linux/s390x"]).is_err());
    // The same by loading a part.
    let other = Place::new();
    let lease = other.store.lease("test");
    let arm64: Platform = "linux/arm64".parse().unwrap();
    let options = LoadOptions {
        platform: Some(arm64),
        ..LoadOptions::default()
    };
    let loaded = other
        .store
        .load(&lease, &mut &source[..], &options, &|_| ());
    let loaded = loaded.unwrap();
    assert_eq!(loaded.images[0].id, id_of(&arm));
    assert!(loaded.companions.is_empty());
}

#[test]
fn a_damaged_layer_does_not_leave_unnoticed() {
    let lower = Tar::new().file("large", &[7; 200_000]).finish();
    let place = Place::new();
    let config = config(&[&lower], "a");
    place
        .load(&docker_save(&[&lower], &config, &["app"]))
        .unwrap();
    let layer = place.root().join("layers").join(Digest::of(&lower).hex());
    std::fs::write(layer.join("diff/large"), [8; 200_000]).unwrap();
    let error = save(&place, &["app"], &[]).map(|bytes| bytes.len());
    let shown = spec::error::chain(&error.unwrap_err());
    assert!(shown.contains(&Digest::of(&lower).to_string()), "{shown}");
}

fn load(place: &Place, layers: &[&[u8]], tag: &str) -> ImageId {
    let config = config(layers, tag);
    place.load(&docker_save(layers, &config, &[tag])).unwrap();
    id_of(&config)
}

fn base() -> Vec<u8> {
    let file = |path, mode| Entry {
        path,
        mode,
        data: b"data",
        ..Entry::default()
    };
    Tar::new()
        .dir("dir/")
        .file("dir/gone", b"x")
        .file("dir/kept", b"x")
        .file("dir/copied", b"same")
        .dir("opaque/")
        .file("opaque/old", b"x")
        .file("opaque/both", b"x")
        .dir("unseen/")
        .file("unseen/x", b"x")
        .file("file-to-dir", b"x")
        .dir("dir-to-file/")
        .file("dir-to-file/x", b"x")
        .entry(file(b"mode", 0o644))
        .entry(file(b"grown", 0o644))
        .hard_link("link", "grown")
        .file("caps", b"program")
        .finish()
}

const MUTATION: &str = "
rm dir/gone; touch -r dir/copied stamp; echo y > dir/made; ln dir/made dir/linked
cat dir/copied > /dev/null; chmod 644 dir/copied; touch -r stamp dir/copied; rm stamp
rm -r opaque; mkdir opaque; echo z > opaque/both
rm file-to-dir; mkdir file-to-dir; echo > file-to-dir/x
rm -r dir-to-file; echo > dir-to-file
chmod 4755 mode; echo more >> grown
mknod null c 1 3; mkfifo fifo; ln -s nowhere sym; chown -h 7:8 sym
mkdir -m 1777 new; setfattr -n user.note -v text new 2>/dev/null || true
chmod 750 .
";

fn lines(changes: &[store::Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Modified => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            format!("{kind} {}", change.path.display())
        })
        .collect()
}

#[test]
fn changes_are_those_that_docker_tells() {
    let place = Place::new();
    let base = base();
    let image = load(&place, &[&base], "app");
    let rootfs = prepare(&place, "c", image);
    assert!(place.store.changes("c").unwrap().is_empty());
    mounted(&rootfs, MUTATION);
    let changes = lines(&place.store.changes("c").unwrap());
    let expected = [
        "C /dir",
        "A /dir/linked",
        "A /dir/made",
        "D /dir/gone",
        "C /dir-to-file",
        "A /fifo",
        "C /file-to-dir",
        "A /file-to-dir/x",
        "C /grown",
        "C /mode",
        "A /new",
        "A /null",
        "C /opaque",
        "C /opaque/both",
        "D /opaque/old",
        "A /sym",
    ];
    assert_eq!(changes, expected);
    let error = place.store.changes("other").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn commit(place: &Place, key: &str, tag: &str) -> ImageId {
    let lease = place.store.lease("test");
    let options = CommitOptions {
        config: json!({ "Cmd": ["/made"], "Labels": null }),
        author: "somebody".to_owned(),
        comment: "a note".to_owned(),
        container: key.to_owned(),
        created_by: "sh -c make".to_owned(),
        reference: Some(tag.parse().unwrap()),
        ..CommitOptions::default()
    };
    place.store.commit(&lease, key, &options).unwrap().id
}

const LOOK: &str = "find . -path ./dev -prune -o -printf '%P %y %m %U:%G %n %l %T@ %s\\n' \
    | grep -v '^[^ ]* d' | LC_ALL=C sort; \
    find . -type d -printf '%P %m %U:%G\\n' | LC_ALL=C sort; cat grown link opaque/both dir/made";

#[test]
fn a_committed_image_shows_what_the_container_showed() {
    let place = Place::new();
    let base = base();
    let image = load(&place, &[&base], "app");
    let rootfs = prepare(&place, "c", image);
    // Whole seconds: an archive holds no fractions.
    let script = format!("{MUTATION} find . -mount -exec touch -h -d @1700000000 {{}} +; {LOOK}");
    let shown = mounted(&rootfs, &script);
    let made = commit(&place, "c", "made:1");
    let committed = place.store.image(made).unwrap();
    assert_eq!(committed.references[0].familiar(), "made:1");
    assert_eq!(committed.config.author, "somebody");
    assert_eq!(committed.config.rootfs.diff_ids.len(), 2);
    let history = place.store.history(made).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].created_by, "sh -c make");
    assert_eq!(history[0].comment, "a note");
    assert_eq!([history[0].id, history[1].id], [Some(made), Some(image)]);
    assert_eq!(committed.parent, Some(image));
    assert!(place.store.image(image).unwrap().has_children);
    let again = prepare(&place, "again", made);
    // The same but for links: what was linked across the layers is two files.
    assert_eq!(mounted(&again, LOOK), shown);
    assert!(place.store.changes("again").unwrap().is_empty());
    place.assert_sound();
    // What was made is an image like any other: it can be saved, and its layer has its digest.
    let archive = save(&place, &["made:1"], &[]).unwrap();
    let other = Place::new();
    assert_eq!(other.load(&archive).unwrap().images[0].id, made);
}

#[test]
fn a_container_that_changed_nothing_adds_no_layer() {
    let place = Place::new();
    let base = base();
    let image = load(&place, &[&base], "app");
    prepare(&place, "c", image);
    let made = commit(&place, "c", "made");
    let config = place.store.image(made).unwrap().config;
    assert_eq!(config.rootfs.diff_ids.len(), 1);
    assert!(config.history[1].empty_layer);
    place.assert_sound();
}

#[test]
fn a_container_whose_image_was_removed_can_be_committed() {
    let place = Place::new();
    let base = base();
    let image = load(&place, &[&base], "app");
    let rootfs = prepare(&place, "c", image);
    place.store.remove_image(image).unwrap();
    mounted(&rootfs, "echo new > new");
    let made = commit(&place, "c", "made");
    let config = place.store.image(made).unwrap().config;
    assert_eq!(config.rootfs.diff_ids.len(), 2);
    assert_eq!(config.history.len(), 2);
    let again = prepare(&place, "again", made);
    assert_eq!(mounted(&again, "cat new dir/kept"), "new\nx");
}

#[test]
fn renamed_directories_and_files_without_data_are_whole_in_the_new_layer() {
    let place = Place::new();
    let base = base();
    let image = load(&place, &[&base], "app");
    let rootfs = prepare(&place, "c", image);
    let script = "mv dir moved; echo in > moved/in; mv unseen opaque/deep; chmod 600 grown; \
        mkdir dir; echo other > dir/other";
    let shown = crate::snapshots::mounted_with(
        &rootfs,
        "redirect_dir=on,metacopy=on",
        &format!("{script}; {LOOK_SHORT}"),
    );
    let changes = lines(&place.store.changes("c").unwrap());
    for line in [
        "A /moved",
        "A /moved/in",
        "A /moved/kept",
        "A /opaque/deep/x",
        "C /grown",
        "D /unseen",
        "C /dir",
        "D /dir/kept",
        "A /dir/other",
    ] {
        assert!(
            changes.iter().any(|known| known == line),
            "{line}: {changes:?}"
        );
    }
    let mut exported = Vec::new();
    place.store.export("c", &mut exported).unwrap();
    let grown = contents(&exported, "grown");
    assert_eq!(grown, b"data");
    assert_eq!(contents(&exported, "moved/kept"), b"x");
    let made = commit(&place, "c", "made");
    let again = prepare(&place, "again", made);
    assert_eq!(mounted(&again, LOOK_SHORT), shown);
    place.assert_sound();
}

const LOOK_SHORT: &str = "find dir moved opaque grown unseen -printf '%p %y %m\\n' 2>/dev/null \
    | LC_ALL=C sort; cat grown moved/in moved/kept opaque/deep/x dir/other";

fn contents(archive: &[u8], path: &str) -> Vec<u8> {
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

#[test]
fn an_export_holds_what_is_seen_in_the_order_of_names() {
    let place = Place::new();
    let base = base();
    let image = load(&place, &[&base], "app");
    let rootfs = prepare(&place, "c", image);
    mounted(&rootfs, MUTATION);
    let caps = place.root().join("snapshots/c/upper/program");
    std::fs::write(&caps, b"p").unwrap();
    let mut capability = [0u8; 24];
    capability[..6].copy_from_slice(&[1, 0, 0, 3, 0, 0x20]);
    capability[20] = 9;
    let opened = std::fs::File::open(&caps).unwrap();
    sys::xattr::set(opened.as_fd(), "security.capability".as_ref(), &capability).unwrap();
    std::os::unix::net::UnixListener::bind(place.root().join("snapshots/c/upper/socket")).unwrap();
    let mut exported = Vec::new();
    place.store.export("c", &mut exported).unwrap();
    let mut archive = tar::Archive::new(&exported[..]);
    let mut paths = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let header = entry.header().clone();
        match path.as_str() {
            "dir/made" => {
                assert_eq!(header.entry_type(), tar::EntryType::Link);
                assert_eq!(
                    header.link_name().unwrap().unwrap().to_str(),
                    Some("dir/linked")
                );
            }
            "null" => {
                let device = (
                    header.device_major().unwrap(),
                    header.device_minor().unwrap(),
                );
                assert_eq!(device, (Some(1), Some(3)));
            }
            "sym" => assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (7, 8)),
            "mode" => assert_eq!(header.mode().unwrap(), 0o4755),
            "program" => {
                let pax = entry.pax_extensions().unwrap().unwrap();
                let pax: Vec<_> = pax.map(|record| record.unwrap()).collect();
                assert_eq!(pax.len(), 1);
                // The user namespace's root is of no meaning elsewhere.
                assert_eq!(pax[0].value_bytes().len(), 20);
                assert_eq!(pax[0].value_bytes()[3], 2);
            }
            _ => {}
        }
        paths.push(path);
    }
    let expected = [
        ".dockerenv",
        "caps",
        "dev/",
        "dev/console",
        "dev/pts/",
        "dev/shm/",
        "dir/",
        "dir/copied",
        "dir/kept",
        "dir/linked",
        "dir/made",
        "dir-to-file",
        "etc/",
        "etc/hostname",
        "etc/hosts",
        "etc/mtab",
        "etc/resolv.conf",
        "fifo",
        "file-to-dir/",
        "file-to-dir/x",
        "grown",
        "link",
        "mode",
        "new/",
        "null",
        "opaque/",
        "opaque/both",
        "proc/",
        "program",
        "sym",
        "sys/",
        "unseen/",
        "unseen/x",
    ];
    assert_eq!(paths, expected);
    let error = place.store.export("other", &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A reader that goes away.
struct Gone(usize);

impl std::io::Write for Gone {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_work() {
    let place = Place::new();
    let base = base();
    let image = load(&place, &[&base], "app");
    prepare(&place, "c", image);
    let error = place.store.export("c", &mut Gone(2000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let lease = place.store.lease("test");
    let options = SaveOptions {
        names: vec!["app".to_owned()],
        ..SaveOptions::default()
    };
    let plan = place.store.plan_save(&lease, &options).unwrap();
    let error = place.store.save(&plan, &mut Gone(2000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn a_failed_commit_leaves_nothing() {
    let place = Place::new();
    let base = base();
    let image = load(&place, &[&base], "app");
    prepare(&place, "c", image);
    // A name that no layer can hold.
    let upper = place.root().join("snapshots/c/upper");
    std::fs::write(upper.join(".wh..wh..x"), b"").unwrap();
    std::fs::write(upper.join(".wh."), b"").unwrap();
    let lease = place.store.lease("test");
    let options = CommitOptions::default();
    assert!(place.store.commit(&lease, "c", &options).is_err());
    assert_eq!(
        std::fs::read_dir(place.root().join("ingest"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(place.store.images().len(), 1);
    let error = place.store.commit(&lease, "other", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    place.assert_sound();
    let options = PrepareOptions::default();
    assert!(place.store.prepare(&lease, "c2", image, &options).is_ok());
}
