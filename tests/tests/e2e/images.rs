//! `load`, `import`, `images`, `tag`, `history`, `rmi`.

use serde_json::json;
use spec::Digest;
use tests::tarball::Tarball;
use tests::{IMAGE, clients};

/// A layer with one file, and its diff id.
fn layer(path: &str, text: &str) -> (Vec<u8>, String) {
    let tar = Tarball::default().file(path, 0o644, text.as_bytes()).finish();
    let digest = format!("sha256:{}", Digest::of(&tar).hex());
    (tar, digest)
}

/// The configuration of an image of two layers; its id is that of no other test.
fn config(tag: &str, diff_ids: &[&str]) -> Vec<u8> {
    let arch = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    json!({
        "architecture": arch, "os": "linux",
        "config": {
            "Cmd": ["/bin/true"], "Env": ["PATH=/bin", "FROM=image"],
            "Labels": {"k": "v", "of": tag},
        },
        "created": "2024-01-02T03:04:05Z",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [
            {"created": "2024-01-02T03:04:05Z", "created_by": "first"},
            {"created": "2024-01-02T03:04:05Z", "created_by": "empty", "empty_layer": true},
            {"created": "2024-01-02T03:04:05Z", "created_by": "second"},
        ],
    })
    .to_string()
    .into_bytes()
}

/// The archive that `docker save` makes, in its older form.
fn saved(tag: &str) -> (Vec<u8>, String) {
    let busybox = tests::image::rootfs().expect("busybox is installed");
    let base = format!("sha256:{}", Digest::of(&busybox).hex());
    let top = Tarball::default()
        .file("etc/marker", 0o644, b"second layer\n")
        .file("etc/.wh.group", 0o644, b"")
        .finish();
    let top_id = format!("sha256:{}", Digest::of(&top).hex());
    let config = config(tag, &[&base, &top_id]);
    let id = Digest::of(&config).hex();
    let layers = ["a/layer.tar", "b/layer.tar"];
    let manifest = json!([{"Config": format!("{id}.json"), "RepoTags": [tag], "Layers": layers}]);
    let tar = Tarball::default()
        .file("a/layer.tar", 0o644, &busybox)
        .file("b/layer.tar", 0o644, &top)
        .file(&format!("{id}.json"), 0o644, &config)
        .file("manifest.json", 0o644, manifest.to_string().as_bytes())
        .finish();
    (tar, format!("sha256:{id}"))
}

/// An OCI image layout with one image of two layers.
fn layout(tag: &str) -> (Vec<u8>, String) {
    let (one, one_id) = layer("one", "1\n");
    let (two, two_id) = layer("two", "2\n");
    let config = config(tag, &[&one_id, &two_id]);
    let mut tar = Tarball::default().dir("blobs/", 0o755).dir("blobs/sha256/", 0o755);
    let mut add = |bytes: &[u8]| {
        let hex = Digest::of(bytes).hex();
        tar = std::mem::take(&mut tar).file(&format!("blobs/sha256/{hex}"), 0o644, bytes);
        json!({"digest": format!("sha256:{hex}"), "size": bytes.len()})
    };
    let describe = |mut descriptor: serde_json::Value, kind: &str| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
        descriptor
    };
    let layers = [describe(add(&one), "layer.v1.tar"), describe(add(&two), "layer.v1.tar")];
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe(add(&config), "config.v1+json"), "layers": layers,
    });
    let mut descriptor = describe(add(manifest.to_string().as_bytes()), "manifest.v1+json");
    descriptor["annotations"] = json!({
        "io.containerd.image.name": format!("docker.io/{tag}"),
        "org.opencontainers.image.ref.name": "latest",
    });
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    let id = format!("sha256:{}", Digest::of(&config).hex());
    // dockerd 28 reads only archives that have this file as well.
    let hex = id.trim_start_matches("sha256:");
    let paths: Vec<String> =
        [&one, &two].iter().map(|b| format!("blobs/sha256/{}", Digest::of(b).hex())).collect();
    let legacy =
        json!([{"Config": format!("blobs/sha256/{hex}"), "RepoTags": [tag], "Layers": paths}]);
    let tar = tar
        .file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", 0o644, index.to_string().as_bytes())
        .file("manifest.json", 0o644, legacy.to_string().as_bytes());
    (tar.finish(), id)
}

fn tag(case: &tests::Case, name: &str) -> String {
    format!("e2e-{}/{name}:latest", case.name("i").to_lowercase())
}

clients! {
    fn load_then_run(case) {
        let tag = tag(case, "saved");
        let (archive, id) = saved(&tag);
        let loaded = case.cmd_with_input(&["load"], &archive).ok();
        loaded.shows(&format!("Loaded image: {tag}"));
        case.cmd(&["inspect", "-f", "{{.Id}}", &tag]).ok().prints(&id);
        let script = "cat /etc/marker; ls /etc/group; echo $FROM";
        let output = case.cmd(&["run", "--rm", &tag, "sh", "-c", script]).ok();
        output.prints("second layer\nimage").complains("No such file");
        case.cmd(&["rmi", &tag])
            .ok()
            .shows(&format!("Untagged: {tag}"))
            .shows(&format!("Deleted: {id}"));
    }

    fn load_from_a_file_compressed(case) {
        let tag = tag(case, "gz");
        let (archive, id) = saved(&tag);
        let file = case.dir().join("image.tar");
        std::fs::write(&file, archive).expect("the directory is ours");
        let gzip = std::process::Command::new("gzip").arg("-1").arg(&file).status();
        assert!(gzip.is_ok_and(|status| status.success()));
        let path = file.with_extension("tar.gz").display().to_string();
        case.cmd(&["load", "-q", "-i", &path]).ok().shows(&format!("Loaded image: {tag}"));
        case.cmd(&["inspect", "-f", "{{.Id}}", &tag]).ok().prints(&id);
        case.cmd(&["rmi", &tag]).ok();
    }

    fn load_an_oci_layout(case) {
        let tag = tag(case, "oci");
        let (archive, id) = layout(&tag);
        case.cmd_with_input(&["load"], &archive).ok().shows("Loaded image");
        let output = case
            .cmd(&["inspect", "-f", "{{.Id}} {{.Config.Env}} {{len .RootFS.Layers}}", &tag])
            .ok();
        output.prints(&format!("{id} [PATH=/bin FROM=image] 2"));
        case.cmd(&["rmi", &tag]).ok();
    }

    fn load_of_garbage_is_refused(case) {
        let output = case.cmd_with_input(&["load"], b"this is no archive at all");
        assert_ne!(output.code, 0, "{output:?}");
        let empty = Tarball::default().file("readme", 0o644, b"no image").finish();
        let output = case.cmd_with_input(&["load"], &empty);
        assert_ne!(output.code, 0, "{output:?}");
    }

    fn import_then_run(case) {
        let tag = tag(case, "imported");
        let archive = tests::image::rootfs().expect("busybox is installed");
        let change =
            ["-c", "ENV A=1", "-c", "CMD [\"sh\", \"-c\", \"echo $A\"]", "-c", "WORKDIR /tmp"];
        let args = [&["import", "-m", "a message"], &change[..], &["-", &tag]].concat();
        let output = case.cmd_with_input(&args, &archive).ok();
        assert!(output.text().starts_with("sha256:"), "{output:?}");
        case.cmd(&["run", "--rm", &tag]).ok().prints("1");
        case.cmd(&["inspect", "-f", "{{.Config.WorkingDir}} {{.Comment}}", &tag])
            .ok()
            .prints("/tmp a message");
        case.cmd(&["rmi", &tag]).ok();
    }

    fn images_columns_and_filters(case) {
        let tag = tag(case, "listed");
        let (archive, id) = saved(&tag);
        case.cmd_with_input(&["load", "-q"], &archive).ok();
        let repository = tag.trim_end_matches(":latest");
        let output = case.cmd(&["images", repository]).ok();
        let header: Vec<&str> =
            output.lines()[0].split("  ").map(str::trim).filter(|w| !w.is_empty()).collect();
        assert_eq!(header, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
        output.shows(repository).shows("latest").shows(&id[7..19]);
        case.cmd(&["images", "-q", "--no-trunc", repository]).ok().prints(&id);
        let filtered = case
            .cmd(&[
                "images",
                "--filter",
                "label=k=v",
                "--filter",
                &format!("reference={repository}"),
                "--format",
                "{{.Repository}}:{{.Tag}}",
            ])
            .ok();
        filtered.prints(&tag);
        case.cmd(&["images", "--filter", "label=k=other", "-q", repository]).ok().prints("");
        case.cmd(&["rmi", &tag]).ok();
    }

    fn tag_and_untag(case) {
        let (one, two) = (tag(case, "one"), tag(case, "two"));
        let (archive, id) = saved(&one);
        case.cmd_with_input(&["load", "-q"], &archive).ok();
        case.cmd(&["tag", &one, &two]).ok();
        case.cmd(&["inspect", "-f", "{{.Id}}", &two]).ok().prints(&id);
        case.cmd(&["rmi", &one]).ok().prints(&format!("Untagged: {one}"));
        case.cmd(&["inspect", "-f", "{{.Id}}", &two]).ok().prints(&id);
        case.cmd(&["rmi", &id]).ok();
        case.cmd(&["inspect", &two]).exits(1);
    }

    fn history_shows_the_steps(case) {
        let tag = tag(case, "history");
        let (archive, id) = saved(&tag);
        case.cmd_with_input(&["load", "-q"], &archive).ok();
        let output =
            case.cmd(&["history", "--format", "{{.ID}} {{.CreatedBy}} {{.Size}}", &tag]).ok();
        let lines = output.lines();
        assert_eq!(lines.len(), 3, "{output:?}");
        assert!(lines[0].starts_with(&format!("{} second 13B", &id[7..19])), "{output:?}");
        assert_eq!(lines[1], "<missing> empty 0B");
        case.cmd(&["rmi", &tag]).ok();
    }

    fn rmi_of_an_image_in_use_is_refused(case) {
        let tag = tag(case, "used");
        case.cmd(&["tag", IMAGE, &tag]).ok();
        let name = case.name("a");
        case.cmd(&["run", "-d", "--name", &name, &tag, "sleep", "1000"]).ok();
        // With another name left, only the name goes.
        case.cmd(&["rmi", &tag]).ok().prints(&format!("Untagged: {tag}"));
        let id = case.inspect(&name)["Image"].as_str().expect("an id").to_owned();
        let output = case.cmd(&["rmi", &id]).exits(1);
        assert!(
            output.stderr.contains("image is being used by running container")
                || output.stderr.contains("image is referenced in multiple repositories"),
            "{output:?}"
        );
    }

    fn a_pattern_that_is_none_is_refused(case) {
        let output = case.cmd(&["images", "--filter", "reference=a["]).exits(1);
        output.complains("syntax error in pattern");
    }

    fn rmi_of_an_unknown_image(case) {
        let output = case.cmd(&["rmi", "no-such-image"]).exits(1);
        output.complains("No such image: no-such-image");
    }

    fn run_of_an_unknown_image_is_125(case) {
        let output =
            case.cmd(&["run", "--rm", "--pull", "never", "no-such-image:none", "true"]).exits(125);
        output.complains("No such image: no-such-image:none");
    }
}
