//! Images of several platforms: copied by skopeo, chosen by `--platform`, shown, put together.

use serde_json::{Value, json};
use tests::content::{
    Blob, Builder, Compression, Content, Family, Image, architecture, attestation,
    foreign_architecture, media,
};
use tests::{Case, clients, skopeo};

/// An image for a platform, with its name in a file and in a label.
fn image(architecture: &str, variant: Option<&str>) -> (Image, Value) {
    let mut platform = json!({"os": "linux", "architecture": architecture});
    if let Some(variant) = variant {
        platform["variant"] = variant.into();
    }
    let name = format!("{architecture}{}", variant.unwrap_or_default());
    let how = Compression::Gzip(1);
    let mut builder = Builder::new(Family::Oci).platform(&platform);
    if architecture == self::architecture() {
        builder = builder.base(how);
    }
    let image = builder.file("etc/platform", name.as_bytes(), how).build();
    (image, json!({"platform": platform}))
}

/// An index of this machine's platform, a foreign one, two of arm, and an attestation.
fn several() -> (Content, Vec<Image>) {
    let platforms = [
        image(architecture(), None),
        image(foreign_architecture(), None),
        image("arm", Some("v6")),
        image("arm", Some("v7")),
    ];
    let (proof, fields) = attestation(&platforms[0].0);
    let mut entries: Vec<(&Image, Value)> =
        platforms.iter().map(|(image, fields)| (image, fields.clone())).collect();
    // First, so that whoever takes the first entry takes the wrong one.
    entries.insert(0, (&proof, fields));
    let content = Content::index(Family::Oci, &entries);
    (content, platforms.iter().map(|(image, _)| image.clone()).collect())
}

#[track_caller]
fn id_of(case: &Case, reference: &str) -> String {
    case.cmd(&["image", "inspect", "-f", "{{.Id}}", reference]).ok().text().to_owned()
}

clients! {
    fn an_index_copied_by_skopeo_keeps_every_byte(case) {
        if !skopeo::is_there() {
            return;
        }
        let (from, to) = (case.registry(), case.registry());
        let (content, images) = several();
        from.put("e2e/several", "all", &content);
        let place = |registry: &tests::Registry| {
            format!("docker://{}", registry.reference("e2e/several:all"))
        };
        skopeo::copy(case.dir(), &["--all"], &place(&from), &place(&to));
        let raw = skopeo::raw_manifest(case.dir(), &place(&to));
        assert_eq!(raw, content.top().bytes);
        let reference = to.reference("e2e/several:all");
        case.cmd(&["pull", &reference]).ok().shows(&format!("Digest: {}", content.top().digest()));
        assert_eq!(id_of(case, &reference), images[0].id());
        let script = ["run", "--rm", &reference, "cat", "/etc/platform"];
        case.cmd(&script).ok().prints(architecture());
        let repository = to.reference("e2e/several");
        case.cmd(&["image", "inspect", "-f", "{{.RepoDigests}}", &reference])
            .ok()
            .prints(&format!("[{repository}@{}]", content.top().digest()));
        case.cmd(&["pull", &format!("{repository}@{}", content.top().digest())])
            .ok()
            .shows("Image is up to date");
    }

    fn the_platform_that_is_asked_for_is_pulled(case) {
        let registry = case.registry();
        let (content, images) = several();
        registry.put("e2e/several", "all", &content);
        let reference = registry.reference("e2e/several:all");
        for (platform, index) in [
            (format!("linux/{}", foreign_architecture()), 1),
            ("linux/arm/v6".to_owned(), 2),
            ("linux/arm/v7".to_owned(), 3),
            ("linux/arm".to_owned(), 3),
            (format!("linux/{}", architecture()), 0),
        ] {
            case.cmd(&["pull", "--platform", &platform, &reference]).ok();
            assert_eq!(id_of(case, &reference), images[index].id(), "{platform}");
        }
        case.cmd(&["pull", "--platform", "linux/s390x", &reference])
            .exits(1)
            .complains("no matching manifest for linux/s390x in the manifest list entries");
        let output = case.cmd(&["pull", "--platform", "no/such/plat/form", &reference]).exits(1);
        assert!(
            output.stderr.contains("invalid") || output.stderr.contains("unknown"),
            "{output:?}"
        );
    }

    fn a_container_of_the_platform_that_is_asked_for(case) {
        let registry = case.registry();
        let (content, images) = several();
        registry.put("e2e/several", "all", &content);
        let reference = registry.reference("e2e/several:all");
        let foreign = format!("linux/{}", foreign_architecture());
        let name = case.name("foreign");
        let create = ["create", "--platform", &foreign, "--name", &name, &reference, "true"];
        case.cmd(&create).ok();
        assert_eq!(case.inspect(&name)["Image"], images[1].id().as_str());
        let native = format!("linux/{}", architecture());
        let run = ["run", "--rm", "--platform", &native, &reference, "cat", "/etc/platform"];
        case.cmd(&run).ok().prints(architecture());
    }

    fn an_attestation_alone_is_no_image(case) {
        let registry = case.registry();
        let (image, _) = image(architecture(), None);
        let (proof, fields) = attestation(&image);
        let content = Content::index(Family::Oci, &[(&proof, fields)]);
        registry.put("e2e/proof", "one", &content);
        let reference = registry.reference("e2e/proof:one");
        case.cmd(&["pull", &reference]).exits(1).complains("no matching manifest for linux/");
    }

    fn a_docker_list_and_an_index_in_an_index(case) {
        let registry = case.registry();
        let (native, fields) = image(architecture(), None);
        let list = Content::index(Family::Docker, &[(&native, fields)]);
        registry.put("e2e/list", "docker", &list);
        let reference = registry.reference("e2e/list:docker");
        case.cmd(&["pull", &reference]).ok().shows(&format!("Digest: {}", list.top().digest()));
        assert_eq!(id_of(case, &reference), native.id());
    }

    fn what_is_no_image_is_refused_with_its_type(case) {
        let registry = case.registry();
        let chart = "application/vnd.cncf.helm.config.v1+json";
        let mut content = Content::default();
        let config = Blob::new(chart, b"{}".as_slice());
        let layer =
            Blob::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"x".as_slice());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": config.descriptor(), "layers": [layer.descriptor()],
        });
        content.blobs = vec![config, layer];
        content.manifests = vec![Blob::json(media::OCI_MANIFEST, &manifest)];
        registry.put("e2e/chart", "one", &content);
        let reference = registry.reference("e2e/chart:one");
        let output = case.cmd(&["pull", &reference]).exits(1);
        assert!(output.stderr.contains(chart), "{output:?}");
        case.cmd(&["image", "inspect", &reference]).exits(1);
    }

    fn distribution_tells_what_is_there(case) {
        let registry = case.registry();
        let (content, _) = several();
        registry.put("e2e/several", "all", &content);
        let reference = registry.reference("e2e/several:all");
        let answer = case.api("GET", &format!("/distribution/{reference}/json"), None);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = answer.json();
        assert_eq!(told["Descriptor"]["digest"], content.top().digest().as_str());
        assert_eq!(told["Descriptor"]["mediaType"], media::OCI_INDEX);
        assert_eq!(told["Descriptor"]["size"], content.top().bytes.len());
        let platforms = told["Platforms"].as_array().expect("a list");
        assert!(platforms.iter().any(|p| p["architecture"] == "arm" && p["variant"] == "v7"));
        let missing = registry.reference("e2e/several:none");
        let answer = case.api("GET", &format!("/distribution/{missing}/json"), None);
        assert_eq!(answer.status, 404, "{}", answer.text());
    }

    fn manifests_are_inspected_and_put_together(case) {
        let registry = case.registry();
        let platforms = [image(architecture(), None), image(foreign_architecture(), None)];
        let names: Vec<String> = platforms
            .iter()
            .enumerate()
            .map(|(number, (image, _))| registry.put_image(&format!("e2e/parts:{number}"), image))
            .collect();
        let one = case.cmd(&["manifest", "inspect", "--insecure", &names[0]]).ok();
        let shown: Value = serde_json::from_str(&one.stdout).expect("JSON");
        assert_eq!(shown["config"]["digest"], platforms[0].0.id().as_str());
        let whole = registry.reference("e2e/parts:whole");
        case.cmd(&["manifest", "create", "--insecure", &whole, &names[0], &names[1]]).ok();
        case.cmd(&["manifest", "annotate", &whole, &names[1], "--os", "linux", "--arch", "s390x"])
            .ok();
        let output = case.cmd(&["manifest", "push", "--insecure", "--purge", &whole]).ok();
        let there = registry.manifest("e2e/parts", "whole").expect("it was pushed");
        assert!(output.stdout.contains(&there.digest()), "{output:?}");
        let list = there.value();
        let found: Vec<&str> = list["manifests"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|entry| entry["platform"]["architecture"].as_str())
            .collect();
        assert_eq!(found, [architecture(), "s390x"]);
        case.cmd(&["pull", &whole]).ok();
        assert_eq!(id_of(case, &whole), platforms[0].0.id());
        let inspected = case.cmd(&["manifest", "inspect", "--insecure", &whole]).ok();
        inspected.shows("s390x").shows(&platforms[0].0.manifest.digest());
    }

    fn images_show_digests(case) {
        let registry = case.registry();
        let (content, images) = several();
        registry.put("e2e/several", "all", &content);
        let reference = registry.reference("e2e/several:all");
        case.cmd(&["pull", &reference]).ok();
        let repository = registry.reference("e2e/several");
        case.cmd(&["images", "--digests", &repository])
            .ok()
            .shows("DIGEST")
            .shows(&content.top().digest())
            .shows(&images[0].id()[7..19]);
    }
}

// What a dockerd with its own store cannot do: it keeps one platform of an image.
clients! {
    fn other_platforms_stay_reachable(case) {
        if case.is_reference() {
            return;
        }
        let registry = case.registry();
        let (content, images) = several();
        registry.put("e2e/several", "all", &content);
        let reference = registry.reference("e2e/several:all");
        let foreign = format!("linux/{}", foreign_architecture());
        case.cmd(&["pull", &reference]).ok();
        case.cmd(&["pull", "--platform", &foreign, &reference]).ok();
        for (platform, index) in [(format!("linux/{}", architecture()), 0), (foreign, 1)] {
            let args = ["image", "inspect", "--platform", &platform, "-f", "{{.Id}}", &reference];
            case.cmd(&args).ok().prints(&images[index].id());
        }
        let args = ["image", "inspect", "--platform", "linux/arm/v6", &reference];
        case.cmd(&args).exits(1);
        // What is missing cannot be chosen, what is there is taken without asking anybody.
        drop(registry);
        let native = format!("linux/{}", architecture());
        let run = ["run", "--rm", "--platform", &native, &reference, "cat", "/etc/platform"];
        case.cmd(&run).ok().prints(architecture());
        let tree = case.cmd(&["images", "--tree"]).ok();
        tree.shows(&native).shows(&format!("linux/{}", foreign_architecture()));
    }

    fn an_index_is_pushed_whole_and_by_platform(case) {
        if case.is_reference() {
            return;
        }
        let (from, to) = (case.registry(), case.registry());
        let platforms = [image(architecture(), None), image(foreign_architecture(), None)];
        let entries: Vec<_> = platforms.iter().map(|(i, f)| (i, f.clone())).collect();
        let content = Content::index(Family::Oci, &entries);
        from.put("e2e/both", "all", &content);
        let reference = from.reference("e2e/both:all");
        for (_, fields) in &platforms {
            let name = fields["platform"]["architecture"].as_str().expect("a name");
            case.cmd(&["pull", "--platform", &format!("linux/{name}"), &reference]).ok();
        }
        let target = to.reference("e2e/both:all");
        case.cmd(&["tag", &reference, &target]).ok();
        case.cmd(&["push", &target]).ok().shows(&content.top().digest());
        let there = to.manifest("e2e/both", "all").expect("it was pushed");
        assert_eq!(there.digest(), content.top().digest(), "{}", there.value());
        let one = to.reference("e2e/one:foreign");
        case.cmd(&["tag", &reference, &one]).ok();
        let foreign = format!("linux/{}", foreign_architecture());
        case.cmd(&["push", "--platform", &foreign, &one]).ok();
        let there = to.manifest("e2e/one", "foreign").expect("it was pushed");
        assert_eq!(there.digest(), platforms[1].0.manifest.digest(), "{}", there.value());
    }
}
