//! `save`, `load`, `export`, `import`, `commit`, `history`: images in and out without a registry.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::content::{self, Blob, Builder, Compression, Family};
use tests::image::Image;
use tests::{Case, IMAGE, Reply, clients, skopeo};

/// The files of an archive by their names.
#[track_caller]
fn files(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(dir.path()).status();
    assert!(status.is_ok_and(|status| status.success()), "{}", archive.display());
    let mut found = BTreeMap::new();
    for path in tests::host::tree(dir.path()) {
        if let Ok(bytes) = std::fs::read(dir.path().join(&path)) {
            found.insert(path, bytes);
        }
    }
    found
}

#[track_caller]
fn json(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    let bytes = files.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()));
    serde_json::from_slice(bytes).expect("JSON")
}

fn path(case: &Case, name: &str) -> String {
    case.dir().join(name).display().to_string()
}

#[track_caller]
fn id_of(case: &Case, reference: &str) -> String {
    case.cmd(&["image", "inspect", "-f", "{{.Id}}", reference]).ok().text().to_owned()
}

/// Names of this test, removed at its end.
fn own_names(case: &Case) -> String {
    let names = format!("e2e-{}", case.name("t").to_lowercase());
    case.owns_images(&names);
    names
}

clients! {
    fn save_writes_what_everybody_reads(case) {
        let names = own_names(case);
        let image = Image::with(case, "s", |tar| tar.file("etc/marker", 0o644, b"saved\n"));
        let reference = format!("{names}/saved:one");
        case.cmd(&["tag", image.tag(), &reference]).ok();
        let id = id_of(case, &reference);
        let archive = path(case, "saved.tar");
        case.cmd(&["save", "-o", &archive, &reference]).ok();
        let files = files(Path::new(&archive));
        assert_eq!(json(&files, "oci-layout")["imageLayoutVersion"], "1.0.0");
        let list = json(&files, "manifest.json");
        assert_eq!(list[0]["RepoTags"][0], reference.as_str());
        let config = list[0]["Config"].as_str().expect("a path");
        assert_eq!(content::digest(&files[config]), id);
        for layer in list[0]["Layers"].as_array().expect("a list") {
            assert!(files.contains_key(layer.as_str().expect("a path")), "{layer}");
        }
        let index = json(&files, "index.json");
        let manifest = index["manifests"][0]["digest"].as_str().expect("a digest");
        let document = json(&files, &format!("blobs/{}", manifest.replace(':', "/")));
        assert_eq!(document["config"]["digest"], id.as_str());
        drop(image);
        case.cmd(&["rmi", &reference]).ok();
        case.cmd(&["load", "-i", &archive]).ok().shows(&format!("Loaded image: {reference}"));
        assert_eq!(id_of(case, &reference), id);
        case.cmd(&["run", "--rm", &reference, "cat", "/etc/marker"]).ok().prints("saved");
    }

    fn several_images_in_one_archive(case) {
        let names = own_names(case);
        let references = ["one", "two"].map(|name| format!("{names}/{name}:v"));
        let mut ids = Vec::new();
        for reference in &references {
            let image =
                Image::with(case, "m", |tar| tar.file("etc/of", 0o644, reference.as_bytes()));
            case.cmd(&["tag", image.tag(), reference]).ok();
            ids.push(id_of(case, reference));
        }
        let archive = path(case, "both.tar");
        case.cmd(&["save", "-o", &archive, &references[0], &references[1]]).ok();
        case.cmd(&["rmi", &references[0], &references[1]]).ok();
        let output = case.cmd(&["load", "-i", &archive]).ok();
        for (reference, id) in references.iter().zip(&ids) {
            let line = format!("Loaded image: {reference}");
            assert!(output.stdout.contains(&line), "{output:?}");
            assert_eq!(id_of(case, reference), *id);
            case.cmd(&["run", "--rm", reference, "cat", "/etc/of"]).ok().prints(reference);
        }
        // By its id an image has no name afterwards.
        let archive = path(case, "bare.tar");
        case.cmd(&["save", "-o", &archive, &ids[0]]).ok();
        case.cmd(&["rmi", &references[0]]).ok();
        case.cmd(&["load", "-i", &archive]).ok().shows(&format!("Loaded image ID: {}", ids[0]));
        case.cmd(&["rmi", &ids[0]]).ok();
    }

    fn saving_twice_gives_the_same_bytes(case) {
        let registry = case.registry();
        let image = content::simple("twice");
        let reference = registry.put_image("e2e/twice:one", &image);
        case.cmd(&["pull", &reference]).ok();
        let archives = ["a", "b"].map(|name| path(case, name));
        for archive in &archives {
            case.cmd(&["save", "-o", archive, &reference]).ok();
        }
        let [a, b] = archives.map(|path| std::fs::read(path).expect("it was written"));
        assert!(a == b, "{} and {} bytes", a.len(), b.len());
        let piped = case.command(&["save", &reference]).output().expect("it runs");
        assert!(piped.stdout == a, "{} bytes by a pipe", piped.stdout.len());
    }

    fn what_cannot_be_saved_or_loaded(case) {
        let archive = path(case, "no.tar");
        case.cmd(&["save", "-o", &archive, "no-such-image"])
            .exits(1)
            .complains("No such image: no-such-image");
        case.cmd(&["load", "-i", &path(case, "absent.tar")]).exits(1);
        case.cmd(&["save", "-o", &path(case, "absent/dir.tar"), IMAGE]).exits(1);
    }

    fn skopeo_reads_what_was_saved(case) {
        if !skopeo::is_there() {
            return;
        }
        let registry = case.registry();
        let image = content::simple("for skopeo");
        let reference = registry.put_image("e2e/skopeo:one", &image);
        case.cmd(&["pull", &reference]).ok();
        let archive = path(case, "saved.tar");
        case.cmd(&["save", "-o", &archive, &reference]).ok();
        let there = registry.reference("e2e/back");
        skopeo::copy(
            case.dir(),
            &[],
            &format!("docker-archive:{archive}"),
            &format!("docker://{there}:docker"),
        );
        let back = registry.manifest("e2e/back", "docker").expect("it was copied");
        assert_eq!(back.value()["config"]["digest"], image.id().as_str());
        if case.is_reference() {
            return;
        }
        // In the layout lies exactly what the registry had.
        let name = "e2e-layout";
        let dir = case.dir().join(name);
        std::fs::create_dir(&dir).expect("ours");
        let status = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&dir).status();
        assert!(status.is_ok_and(|status| status.success()));
        let target = format!("docker://{there}:oci");
        skopeo::copy(
            case.dir(),
            &["--preserve-digests"],
            &format!("oci:{}", dir.display()),
            &target,
        );
        let back = registry.manifest("e2e/back", "oci").expect("it was copied");
        assert_eq!(back.digest(), image.manifest.digest(), "{}", back.value());
    }

    fn what_skopeo_wrote_is_loaded(case) {
        if !skopeo::is_there() {
            return;
        }
        let registry = case.registry();
        let names = own_names(case);
        let image = content::simple("of skopeo");
        let from = format!("docker://{}", registry.put_image("e2e/from:one", &image));
        let (docker, oci) = (path(case, "docker.tar"), path(case, "oci.tar"));
        let reference = format!("{names}/docker:one");
        skopeo::copy(case.dir(), &[], &from, &format!("docker-archive:{docker}:{reference}"));
        case.cmd(&["load", "-i", &docker]).ok().shows(&format!("Loaded image: {reference}"));
        assert_eq!(id_of(case, &reference), image.id());
        case.cmd(&["run", "--rm", &reference, "cat", "/etc/marker"]).ok().prints("of skopeo");
        case.cmd(&["rmi", &reference]).ok();
        // A dockerd without the containerd store takes no pure layout.
        if !case.is_reference() {
            skopeo::copy(case.dir(), &[], &from, &format!("oci-archive:{oci}:{reference}"));
            case.cmd(&["load", "-i", &oci]).ok().shows("Loaded image");
            case.cmd(&["run", "--rm", &image.id(), "cat", "/etc/marker"]).ok().prints("of skopeo");
            case.cmd(&["rmi", "-f", &image.id()]).ok();
        }
    }

    fn load_push_pull_keeps_the_digest(case) {
        let (one, two) = (case.registry(), case.registry());
        let names = own_names(case);
        let reference = format!("{names}/loaded:one");
        let rootfs = tests::image::rootfs().expect("busybox is installed");
        let archive = tests::image::saved(&reference, &[rootfs]);
        case.cmd_with_input(&["load"], &archive).ok();
        let id = id_of(case, &reference);
        let mut digests = Vec::new();
        for registry in [&one, &two] {
            let target = registry.reference("e2e/loaded:one");
            case.cmd(&["tag", &reference, &target]).ok();
            case.cmd(&["push", &target]).ok();
            digests.push(registry.manifest("e2e/loaded", "one").expect("it was pushed").digest());
        }
        assert_eq!(digests[0], digests[1]);
        case.cmd(&[
            "rmi",
            &reference,
            &one.reference("e2e/loaded:one"),
            &two.reference("e2e/loaded:one"),
        ])
        .ok();
        let source = one.reference("e2e/loaded:one");
        case.cmd(&["pull", &source]).ok().shows(&format!("Digest: {}", digests[0]));
        assert_eq!(id_of(case, &source), id);
        let target = two.reference("e2e/again:one");
        case.cmd(&["tag", &source, &target]).ok();
        case.cmd(&["push", &target]).ok().shows(&digests[0]);
    }

    fn commit_keeps_what_a_container_changed(case) {
        let names = own_names(case);
        let (name, reference) = (case.name("c"), format!("{names}/made:one"));
        let script = "echo new >/etc/new; rm /etc/group; mkdir /made; echo -n 12345 >/made/five; \
                      rm -r /home; mkdir /home; ln -s new /etc/link; chmod 4755 /etc/new";
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let output = case
            .cmd(&[
                "commit", "-m", "a message", "-a", "An Author", "-c", "ENV MADE=yes", "-c",
                "CMD [\"sh\", \"-c\", \"echo $MADE\"]", "-c", "LABEL own=1", &name, &reference,
            ])
            .ok();
        assert_eq!(output.text(), id_of(case, &reference));
        case.cmd(&["run", "--rm", &reference]).ok().prints("yes");
        let script = "cat /etc/new; ls /home | wc -l; cat /made/five; echo; readlink /etc/link; \
                      stat -c %a /etc/new; ls /etc/group 2>/dev/null; true";
        case.cmd(&["run", "--rm", &reference, "sh", "-c", script])
            .ok()
            .prints("new\n0\n12345\nnew\n4755");
        case.cmd(&["inspect", "-f", "{{.Comment}} {{.Author}} {{.Config.Labels.own}}", &reference])
            .ok()
            .prints("a message An Author 1");
        let lines = case.cmd(&["history", "--format", "{{.Comment}}|{{.Size}}", &reference]).ok();
        assert!(lines.lines()[0].starts_with("a message|"), "{lines:?}");
        case.cmd(&["commit", "no-such-container", &reference]).exits(1);
        case.cmd(&["commit", &name, "Not A Name"]).exits(1).complains("invalid reference format");
        case.cmd(&["commit", "-c", "RUN true", &name, &reference]).exits(1);
        // The command was that of another program.
        case.cmd(&["commit", "-c", "ENTRYPOINT [\"echo\", \"all\"]", &name, &reference]).ok();
        case.cmd(&["run", "--rm", &reference]).ok().prints("all");
    }

    fn a_running_container_is_committed_and_goes_on(case) {
        let names = own_names(case);
        let (name, reference) = (case.name("r"), format!("{names}/running:one"));
        let script = "echo here >/marker; echo ready; while :; do sleep 0.05; done";
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        tests::wait_for("it is ready", std::time::Duration::from_secs(20), || {
            case.cmd(&["logs", &name]).stdout.contains("ready")
        });
        case.cmd(&["commit", &name, &reference]).ok();
        assert_eq!(case.inspect(&name)["State"]["Status"], "running");
        case.cmd(&["run", "--rm", &reference, "cat", "/marker"]).ok().prints("here");
        let registry = case.registry();
        let target = registry.reference("e2e/committed:one");
        case.cmd(&["tag", &reference, &target]).ok();
        case.cmd(&["push", &target]).ok();
        case.cmd(&["rmi", &target]).ok();
        case.cmd(&["pull", &target]).ok();
        assert_eq!(id_of(case, &target), id_of(case, &reference));
    }

    fn export_then_import(case) {
        let names = own_names(case);
        let (name, reference) = (case.name("x"), format!("{names}/flat:one"));
        let script = "echo flat >/etc/flat; rm /etc/group; echo secret >/tmp/t; chown 5:6 /tmp/t";
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let archive = path(case, "flat.tar");
        case.cmd(&["export", "-o", &archive, &name]).ok();
        let listing = Command::new("tar").args(["-tvf", &archive]).output().expect("tar is there");
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        for part in ["etc/flat", "bin/busybox", "5/6"] {
            assert!(listing.contains(part), "{part}: {listing}");
        }
        assert!(!listing.contains("etc/group\n"), "{listing}");
        case.cmd(&["import", "-c", "ENV FLAT=1", "-m", "flattened", &archive, &reference]).ok();
        case.cmd(&[
            "run", "--rm", &reference, "sh", "-c",
            "cat /etc/flat; echo $FLAT; stat -c %u:%g /tmp/t",
        ])
        .ok()
        .prints("flat\n1\n5:6");
        let lines = case.cmd(&["history", "-q", "--no-trunc", &reference]).ok();
        assert_eq!(lines.text(), id_of(case, &reference));
        case.cmd(&["export", "no-such-container"]).exits(1);
    }

    fn import_from_an_address(case) {
        let names = own_names(case);
        let hostile = case.hostile();
        let rootfs = tests::image::rootfs().expect("busybox is installed");
        hostile.on(
            "GET /rootfs.tar.gz",
            Reply::of(200, content::compress(&rootfs, Compression::Gzip(1))),
        );
        let (url, reference) =
            (format!("http://{}/", hostile.address()), format!("{names}/url:one"));
        case.cmd(&["import", &format!("{url}rootfs.tar.gz"), &reference]).ok().shows("sha256:");
        case.cmd(&["run", "--rm", &reference, "sh", "-c", "echo ran"]).ok().prints("ran");
        case.cmd(&["import", &format!("{url}none"), &format!("{names}/url:two")]).exits(1);
    }

    fn history_of_a_pulled_image(case) {
        let registry = case.registry();
        let how = Compression::Gzip(6);
        let image = Builder::new(Family::Oci)
            .file("a", &content::noise(1, 5000), how)
            .file("b", b"12", how)
            .build();
        let reference = registry.put_image("e2e/history:one", &image);
        case.cmd(&["pull", &reference]).ok();
        let format = "{{.CreatedBy}} {{.Size}}";
        let lines = case.cmd(&["history", "--no-trunc", "--format", format, &reference]).ok();
        let told: Vec<String> = image
            .layers
            .iter()
            .rev()
            .zip(["2B", "5kB"])
            .map(|(layer, size)| format!("layer {} {size}", layer.diff_id))
            .collect();
        assert_eq!(lines.lines(), told);
        let header = case.cmd(&["history", &reference]).ok();
        let words: Vec<&str> = header.lines()[0].split_whitespace().collect();
        assert_eq!(words, ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]);
        let sizes = case.cmd(&["history", "-H=false", "--format", "{{.Size}}", &reference]).ok();
        assert_eq!(sizes.lines(), ["2", "5000"]);
    }
}

// What a dockerd with its own store does not keep: the exact documents.
clients! {
    fn save_has_the_digest_of_the_registry(case) {
        if case.is_reference() {
            return;
        }
        let registry = case.registry();
        for (number, how) in
            [Compression::Go, Compression::Gzip(1), Compression::Zstd, Compression::None]
                .into_iter()
                .enumerate()
        {
            let image = Builder::new(Family::Oci)
                .file("a", &content::prose(number, 300_000), how)
                .file("b", &content::noise(number, 30_000), how)
                .build();
            let reference = registry.put_image(&format!("e2e/exact:{number}"), &image);
            case.cmd(&["pull", &reference]).ok();
            let archive = path(case, &format!("{number}.tar"));
            case.cmd(&["save", "-o", &archive, &reference]).ok();
            let files = files(Path::new(&archive));
            let index = json(&files, "index.json");
            assert_eq!(
                index["manifests"][0]["digest"],
                image.manifest.digest().as_str(),
                "{how:?}"
            );
            let blobs = image.layers.iter().map(|layer| &layer.blob);
            for blob in blobs.chain([&image.config, &image.manifest]) {
                let name = format!("blobs/{}", blob.digest().replace(':', "/"));
                assert!(
                    files.get(&name).is_some_and(|bytes| *bytes == blob.bytes),
                    "{how:?} {name}"
                );
            }
        }
    }

    fn platforms_are_saved_and_loaded(case) {
        if case.is_reference() {
            return;
        }
        let names = own_names(case);
        let registry = case.registry();
        let foreign = content::foreign_architecture();
        let images: Vec<content::Image> = [content::architecture(), foreign]
            .map(|name| {
                let platform = serde_json::json!({"os": "linux", "architecture": name});
                let builder = Builder::new(Family::Oci).platform(&platform);
                builder.file("p", name.as_bytes(), Compression::Gzip(6)).build()
            })
            .into();
        let fields =
            |name: &str| serde_json::json!({"platform": {"os": "linux", "architecture": name}});
        let whole = content::Content::index(
            Family::Oci,
            &[(&images[0], fields(content::architecture())), (&images[1], fields(foreign))],
        );
        registry.put("e2e/both", "all", &whole);
        let (source, reference) = (registry.reference("e2e/both:all"), format!("{names}/both:all"));
        for name in [content::architecture(), foreign] {
            case.cmd(&["pull", "--platform", &format!("linux/{name}"), &source]).ok();
        }
        case.cmd(&["tag", &source, &reference]).ok();
        let (all, one) = (path(case, "all.tar"), path(case, "one.tar"));
        case.cmd(&["save", "-o", &all, &reference]).ok();
        case.cmd(&["save", "--platform", &format!("linux/{foreign}"), "-o", &one, &reference])
            .ok();
        let index: Blob = whole.top().clone();
        let digest = &json(&files(Path::new(&all)), "index.json")["manifests"][0]["digest"];
        assert_eq!(*digest, index.digest().as_str());
        case.cmd(&["rmi", "-f", &source, &reference]).ok();
        case.cmd(&["load", "-i", &one]).ok();
        assert_eq!(id_of(case, &reference), images[1].id());
        case.cmd(&["rmi", "-f", &reference]).ok();
        case.cmd(&["load", "-i", &all]).ok();
        for (name, image) in [content::architecture(), foreign].iter().zip(&images) {
            let platform = format!("linux/{name}");
            let args = ["image", "inspect", "--platform", &platform, "-f", "{{.Id}}", &reference];
            case.cmd(&args).ok().prints(&image.id());
        }
        case.cmd(&["rmi", "-f", &reference]).ok();
        case.cmd(&["load", "--platform", &format!("linux/{foreign}"), "-i", &all]).ok();
        assert_eq!(id_of(case, &reference), images[1].id());
    }
}
