//! `push` and `pull` between an engine and Debian's `docker-registry`, with every digest compared.

use serde_json::{Value, json};
use tests::content::{self, Builder, Compression, Family};
use tests::image::Image;
use tests::tarball::Tarball;
use tests::{Case, IMAGE, Output, Registry, Reply, api, clients};

/// The digest that a push or a pull tells of.
#[track_caller]
fn told(output: &Output) -> String {
    let start = output.stdout.find("igest: sha256:").expect("a digest is told") + 7;
    output.stdout[start..start + 71].to_owned()
}

/// Pushes the usual image with a marker under this name and returns its id and digest.
#[track_caller]
fn pushed(case: &Case, registry: &Registry, name: &str, marker: &str) -> (String, String) {
    let image = Image::with(case, "pushed", |tar| tar.file("etc/marker", 0o644, marker.as_bytes()));
    let reference = registry.reference(name);
    case.cmd(&["tag", image.tag(), &reference]).ok();
    let output = case.cmd(&["push", &reference]).ok();
    let id = case.cmd(&["inspect", "-f", "{{.Id}}", &reference]).ok().text().to_owned();
    (id, told(&output))
}

clients! {
    fn push_then_pull_by_tag_and_by_digest(case) {
        let registry = case.registry();
        let repository = registry.reference("e2e/pushed");
        let tagged = format!("{repository}:one");
        // Unlike that of any other test, so that its layer is nowhere yet.
        let marker = case.name("pushed");
        let image = Image::with(case, "p", |tar| tar.file("etc/marker", 0o644, marker.as_bytes()));
        case.cmd(&["tag", image.tag(), &tagged]).ok();
        let id = case.cmd(&["inspect", "-f", "{{.Id}}", &tagged]).ok().text().to_owned();
        let output = case.cmd(&["push", &tagged]).ok();
        output
            .shows(&format!("The push refers to repository [{repository}]"))
            .shows(": Preparing")
            .shows(": Pushed")
            .shows("one: digest: sha256:");
        let manifest = registry.manifest("e2e/pushed", "one").expect("it was pushed");
        let digest = manifest.digest();
        assert_eq!(manifest.value()["config"]["digest"], id.as_str());
        drop(image);
        case.cmd(&["rmi", &tagged]).ok().shows(&format!("Untagged: {repository}@{digest}"));

        let output = case.cmd(&["pull", &tagged]).ok();
        output
            .shows("one: Pulling from e2e/pushed")
            .shows(": Pulling fs layer")
            .shows(": Pull complete")
            .shows(&format!("Digest: {digest}"))
            .shows(&format!("Status: Downloaded newer image for {tagged}"));
        case.cmd(&["inspect", "-f", "{{.Id}} {{.RepoDigests}}", &tagged])
            .ok()
            .prints(&format!("{id} [{repository}@{digest}]"));
        case.cmd(&["run", "--rm", &tagged, "cat", "/etc/marker"]).ok().prints(&marker);
        case.cmd(&["pull", &tagged])
            .ok()
            .shows(&format!("Status: Image is up to date for {tagged}"));
        case.cmd(&["rmi", &tagged]).ok().shows(&format!("Deleted: {id}"));

        let exact = format!("{repository}@{digest}");
        let output = case.cmd(&["pull", &exact]).ok();
        output
            .shows(&format!("{repository}@{digest}: Pulling from e2e/pushed"))
            .shows(&format!("Digest: {digest}"))
            .shows(&format!("Status: Downloaded newer image for {exact}"));
        case.cmd(&["run", "--rm", &exact, "cat", "/etc/marker"]).ok().prints(&marker);
        case.cmd(&[
            "images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}", &repository,
        ])
        .ok()
        .prints(&format!("{repository} <none> {digest}"));
        case.cmd(&["rmi", &exact]).ok().shows(&format!("Untagged: {exact}"));
    }

    fn a_push_to_nobody_fails_at_once(case) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("it has one").to_string();
        drop(free);
        case.owns_images(&address);
        let reference = format!("{address}/e2e/nobody:one");
        case.cmd(&["tag", IMAGE, &reference]).ok();
        let output = case.cmd(&["push", &reference]).exits(1).hides("Retrying");
        output.complains("connection refused");
    }

    fn push_says_what_is_there_already(case) {
        let registry = case.registry();
        let (_, digest) = pushed(case, &registry, "e2e/one:a", "first");
        let (one, two) = (registry.reference("e2e/one:a"), registry.reference("e2e/one:b"));
        case.cmd(&["tag", &one, &two]).ok();
        let output = case.cmd(&["push", &two]).ok().shows("Layer already exists");
        assert_eq!(told(&output), digest);
        let other = registry.reference("e2e/two:a");
        case.cmd(&["tag", &one, &other]).ok();
        let output = case.cmd(&["push", &other]).ok().shows("Mounted from e2e/one");
        assert_eq!(told(&output), digest);
        assert_eq!(registry.manifest("e2e/two", "a").expect("it was pushed").digest(), digest);
        case.cmd(&["push", "-q", &other]).ok().prints(&other);
    }

    fn pull_prints_the_name_when_quiet(case) {
        let registry = case.registry();
        let reference = registry.put_image("e2e/quiet", &content::simple("quiet"));
        case.cmd(&["pull", "-q", reference.trim_end_matches(":latest")]).ok().prints(&reference);
        case.cmd(&["pull", reference.trim_end_matches(":latest")])
            .ok()
            .shows("Using default tag: latest")
            .shows(&format!("Status: Image is up to date for {reference}"));
    }

    fn all_tags_are_pulled_and_pushed(case) {
        let registry = case.registry();
        for tag in ["one", "two"] {
            registry.put_image(&format!("e2e/many:{tag}"), &content::simple(tag));
        }
        let repository = registry.reference("e2e/many");
        case.cmd(&["pull", "--all-tags", &repository])
            .ok()
            .shows("one: Pulling from e2e/many")
            .shows("two: Pulling from e2e/many")
            .shows(&format!("Status: Downloaded newer image for {repository}"));
        for tag in ["one", "two"] {
            let reference = format!("{repository}:{tag}");
            case.cmd(&["run", "--rm", &reference, "cat", "/etc/marker"]).ok().prints(tag);
            case.cmd(&["tag", &reference, &registry.reference(&format!("e2e/copy:{tag}"))]).ok();
        }
        case.cmd(&["push", "--all-tags", &registry.reference("e2e/copy")]).ok();
        let mut tags = registry.tags("e2e/copy");
        tags.as_array_mut().expect("a list").sort_by_key(ToString::to_string);
        assert_eq!(tags, json!(["one", "two"]));
    }

    fn what_is_not_there_is_said(case) {
        let registry = case.registry();
        registry.put_image("e2e/there:one", &content::simple("there"));
        let missing = registry.reference("e2e/there:two");
        let text = format!("manifest for {missing} not found: manifest unknown");
        case.cmd(&["pull", &missing]).exits(1).complains(&text);
        let missing = registry.reference("e2e/nowhere");
        case.cmd(&["pull", &missing]).exits(1).complains("not found");
        let missing = format!("{}@sha256:{}", registry.reference("e2e/there"), "0".repeat(64));
        case.cmd(&["pull", &missing])
            .exits(1)
            .complains(&format!("manifest for {missing} not found"));
        let absent = registry.reference("e2e/absent");
        case.cmd(&["push", &absent])
            .exits(1)
            .complains(&format!("An image does not exist locally with the tag: {absent}"));
        case.cmd(&["push", &format!("{absent}@sha256:{}", "0".repeat(64))]).exits(1);
    }

    fn a_deleted_manifest_is_gone_and_can_be_pushed_again(case) {
        let registry = case.registry();
        let (_, digest) = pushed(case, &registry, "e2e/deleted:one", "deleted");
        let reference = registry.reference("e2e/deleted:one");
        registry.delete("e2e/deleted", &digest);
        case.cmd(&["pull", &reference]).exits(1).complains("manifest unknown");
        assert_eq!(told(&case.cmd(&["push", &reference]).ok()), digest);
        case.cmd(&["pull", &reference]).ok().shows("Image is up to date");
    }

    fn run_pulls_what_is_missing(case) {
        let registry = case.registry();
        let reference = registry.put_image("e2e/run:one", &content::simple("pulled by run"));
        case.cmd(&["run", "--rm", "--pull", "never", &reference, "true"])
            .exits(125)
            .complains(&format!("No such image: {reference}"));
        case.cmd(&["run", "--rm", &reference, "cat", "/etc/marker"])
            .ok()
            .prints("pulled by run")
            .complains(&format!("Unable to find image '{reference}' locally"))
            .complains(&format!("Status: Downloaded newer image for {reference}"));
        registry.put_image("e2e/run:one", &content::simple("newer"));
        case.cmd(&["run", "--rm", &reference, "cat", "/etc/marker"]).ok().prints("pulled by run");
        case.cmd(&["run", "--rm", "--pull", "always", &reference, "cat", "/etc/marker"])
            .ok()
            .prints("newer");
        case.cmd(&["create", "--pull", "always", "-q", "--name", &case.name("a"), &reference])
            .ok();
        let name = format!("{}:none", registry.reference("e2e/run"));
        case.cmd(&["run", "--rm", &name, "true"]).exits(125).complains("manifest unknown");
    }

    fn every_compression_and_both_families(case) {
        let registry = case.registry();
        for (number, (family, how)) in [
            (Family::Oci, Compression::None),
            (Family::Oci, Compression::Gzip(6)),
            (Family::Oci, Compression::Zstd),
            (Family::Docker, Compression::None),
            (Family::Docker, Compression::Gzip(9)),
        ]
        .into_iter()
        .enumerate()
        {
            let marker = format!("{family:?} {how:?}");
            let image =
                Builder::new(family).base(how).file("etc/marker", marker.as_bytes(), how).build();
            let reference = registry.put_image(&format!("e2e/kinds:{number}"), &image);
            case.cmd(&["pull", &reference])
                .ok()
                .shows(&format!("Digest: {}", image.manifest.digest()));
            case.cmd(&["inspect", "-f", "{{.Id}}", &reference]).ok().prints(&image.id());
            case.cmd(&["run", "--rm", &reference, "cat", "/etc/marker"]).ok().prints(&marker);
        }
    }

    fn whiteouts_reach_across_layers(case) {
        let registry = case.registry();
        let below = Tarball::default()
            .dir("w/", 0o755)
            .file("w/gone", 0o644, b"1")
            .file("w/kept", 0o644, b"1")
            .dir("w/opaque/", 0o755)
            .file("w/opaque/old", 0o644, b"1")
            .dir("w/dir/", 0o755)
            .file("w/dir/f", 0o644, b"1")
            .file("w/becomes-dir", 0o644, b"1")
            .finish();
        let above = Tarball::default()
            .dir("w/", 0o755)
            .file("w/.wh.gone", 0o644, b"")
            .dir("w/opaque/", 0o755)
            .file("w/opaque/.wh..wh..opq", 0o644, b"")
            .file("w/opaque/new", 0o644, b"2")
            .file("w/.wh.dir", 0o644, b"")
            .dir("w/becomes-dir/", 0o755)
            .file("w/becomes-dir/f", 0o644, b"2")
            .finish();
        let again = Tarball::default()
            .dir("w/", 0o755)
            .dir("w/dir/", 0o755)
            .file("w/dir/g", 0o644, b"3")
            .finish();
        let how = Compression::Gzip(1);
        let image = Builder::new(Family::Oci)
            .base(how)
            .layer(&below, how)
            .layer(&above, how)
            .layer(&again, how)
            .build();
        let reference = registry.put_image("e2e/whiteouts:one", &image);
        let script = "cd /w && find . -type f | sort";
        case.cmd(&["run", "--rm", &reference, "sh", "-c", script])
            .ok()
            .prints("./becomes-dir/f\n./dir/g\n./kept\n./opaque/new");
    }

    fn a_pulled_image_is_pushed_elsewhere(case) {
        let (from, to) = (case.registry(), case.registry());
        let image = content::simple("travels");
        let source = from.put_image("e2e/travel:one", &image);
        case.cmd(&["pull", &source]).ok();
        let target = to.reference("e2e/travelled:one");
        case.cmd(&["tag", &source, &target]).ok();
        let output = case.cmd(&["push", &target]).ok();
        let there = to.manifest("e2e/travelled", "one").expect("it was pushed");
        assert_eq!(told(&output), there.digest());
        assert_eq!(there.value()["config"]["digest"], image.id().as_str());
        // A dockerd writes a manifest of its own.
        if !case.is_reference() {
            assert_eq!(there.digest(), image.manifest.digest(), "{}", there.value());
            for layer in &image.layers {
                let bytes = to.blob("e2e/travelled", &layer.blob.digest()).expect("it was pushed");
                assert!(bytes == layer.blob.bytes, "{}", layer.blob.digest());
            }
        }
    }

    fn the_digest_goes_with_the_last_tag_of_its_repository(case) {
        let registry = case.registry();
        let image = content::simple("last tag");
        let reference = registry.put_image("e2e/last:one", &image);
        let other = registry.reference("e2e/other:one");
        case.cmd(&["pull", &reference]).ok();
        case.cmd(&["tag", &reference, &other]).ok();
        let exact = format!("{}@{}", registry.reference("e2e/last"), image.manifest.digest());
        let output = case.cmd(&["rmi", &reference]).ok();
        output.shows(&format!("Untagged: {reference}")).shows(&format!("Untagged: {exact}"));
        case.cmd(&["inspect", "-f", "{{.RepoDigests}}", &other]).ok().hides(&exact);
    }

    fn names_out_of_grammar_are_refused(case) {
        for name in ["e2e/UPPER", "a//b", "a:b:c", "-a", "a@sha256:12", "a@sha512:0"] {
            let output = case.cmd(&["pull", "--", name]);
            assert!(output.code == 1 || output.code == 125, "{output:?}");
            assert!(output.stderr.contains("invalid"), "{output:?}");
        }
        case.cmd(&["tag", IMAGE, "no such name"]).exits(1).complains("invalid reference format");
    }
}

/// The messages of a stream of progress.
fn messages(answer: &tests::http::Response) -> Vec<Value> {
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

api! {
    fn progress_is_told_as_clients_expect_it(case) {
        let hostile = case.hostile();
        let how = Compression::Gzip(1);
        let image = Builder::new(Family::Oci)
            .file("large", &content::noise(77, 6 << 20), how)
            .file("small", b"small", how)
            .build();
        hostile.serve("e2e/progress", "one", &image.content());
        hostile.on("/blobs/", Reply::real().rate(4 << 20));
        let path =
            format!("/images/create?fromImage={}&tag=one", hostile.reference("e2e/progress"));
        let answer = case.api("POST", &path, None);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let all = messages(&answer);
        assert_eq!(all[0]["status"], "Pulling from e2e/progress");
        assert_eq!(all[0]["id"], "one");
        let blob = &image.layers[0].blob;
        let (id, size) = (&blob.digest()[7..19], blob.bytes.len() as u64);
        let of_layer: Vec<&Value> = all.iter().filter(|message| message["id"] == id).collect();
        let mut order: Vec<&str> = of_layer.iter().filter_map(|m| m["status"].as_str()).collect();
        order.dedup();
        order.retain(|status| *status != "Waiting");
        assert_eq!(
            order,
            [
                "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete",
                "Extracting", "Pull complete",
            ]
        );
        let mut last = 0;
        for message in of_layer.iter().filter(|message| message["status"] == "Downloading") {
            let detail = &message["progressDetail"];
            let current = detail["current"].as_u64().unwrap_or(0);
            assert!(current >= last && current <= size, "{message}");
            assert_eq!(detail["total"], size, "{message}");
            assert!(message["progress"].is_string(), "{message}");
            last = current;
        }
        assert!(last > size / 2, "{last} of {size}");
        let tail: Vec<&str> =
            all[all.len() - 2..].iter().filter_map(|m| m["status"].as_str()).collect();
        assert_eq!(tail[0], format!("Digest: {}", image.manifest.digest()));
        assert!(tail[1].starts_with("Status: Downloaded newer image for "), "{tail:?}");
    }

    fn a_push_tells_the_digest_to_programs(case) {
        let hostile = case.hostile();
        let reference = hostile.reference("e2e/aux");
        case.api("POST", &format!("/images/{IMAGE}/tag?repo={reference}&tag=one"), None);
        let answer = tests::http::Connection::open(case.target().socket())
            .and_then(|mut connection| {
                let path = format!("/images/{reference}/push?tag=one");
                connection.exchange("POST", &path, &[("X-Registry-Auth", "e30=")], b"")
            })
            .expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let all = messages(&answer);
        let there = hostile.manifest("e2e/aux", "one").expect("it was pushed");
        let told = all.iter().find(|message| message["aux"].is_object()).expect("the digest");
        assert_eq!(told["aux"]["Tag"], "one");
        assert_eq!(told["aux"]["Digest"], there.digest().as_str());
        assert_eq!(told["aux"]["Size"], there.bytes.len());
        let line = format!("one: digest: {} size: {}", there.digest(), there.bytes.len());
        assert!(all.iter().any(|message| message["status"] == line.as_str()), "{all:?}");
    }

    fn an_error_in_the_stream_has_both_forms(case) {
        let registry = case.registry();
        let path = format!("/images/create?fromImage={}&tag=one", registry.reference("e2e/none"));
        let answer = case.api("POST", &path, None);
        if answer.status == 200 {
            let all = messages(&answer);
            let last = all.last().expect("a message");
            assert_eq!(last["error"], last["errorDetail"]["message"], "{last}");
        } else {
            assert_eq!(answer.status, 404, "{}", answer.text());
            assert!(answer.message().contains("not found"), "{}", answer.message());
        }
    }
}
