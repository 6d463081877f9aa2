//! Cases of manifests and indexes.

use super::*;

fn blob(media_type: &str, text: &str) -> Descriptor {
    Descriptor::new(media_type, Digest::of(text.as_bytes()), text.len() as u64)
}

fn entry(platform: &str) -> Descriptor {
    let mut entry = blob(media::OCI_MANIFEST, platform);
    if !platform.is_empty() {
        entry.platform = Some((&platform.parse::<Platform>().unwrap()).into());
    }
    entry
}

#[test]
fn own_documents_are_read_back() {
    let config = blob(media::OCI_CONFIG, "config");
    let layers = [
        blob(media::OCI_LAYER_GZIP, "a"),
        blob(media::OCI_LAYER_ZSTD, "b"),
    ];
    for document in [
        oci_manifest(&config, &layers),
        docker_manifest(&config, &layers),
    ] {
        let Parsed::Manifest(manifest) = document.parse().unwrap() else {
            panic!("not a manifest");
        };
        assert_eq!(manifest.config, config);
        assert_eq!(manifest.layers, layers);
        assert_eq!(manifest.media_type, document.media_type);
        manifest.check_image().unwrap();
        assert_eq!(document.descriptor().size, document.bytes.len() as u64);
    }
    let entries = [entry("linux/amd64"), entry("linux/arm/v6")];
    for document in [oci_index(&entries), docker_list(&entries)] {
        let index = Index::parse(&document.media_type, &document.bytes).unwrap();
        assert_eq!(index.manifests, entries);
        assert!(Manifest::parse(&document.media_type, &document.bytes).is_err());
    }
}

#[test]
fn dockers_manifest_has_dockers_bytes() {
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let config = Descriptor::new(media::DOCKER_CONFIG, digest, 7);
    let layer = Descriptor::new(media::DOCKER_LAYER_GZIP, digest, 9);
    let document = docker_manifest(&config, &[layer]);
    let want = format!(
        r#"{{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
   "config": {{
      "mediaType": "application/vnd.docker.container.image.v1+json",
      "size": 7,
      "digest": "{digest}"
   }},
   "layers": [
      {{
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "size": 9,
         "digest": "{digest}"
      }}
   ]
}}"#
    );
    assert_eq!(String::from_utf8(document.bytes).unwrap(), want);
    let mut odd = Descriptor::new(media::DOCKER_CONFIG, digest, 7);
    odd.urls = vec!["https://a/?b&c".to_owned()];
    let text = String::from_utf8(docker_manifest(&odd, &[]).bytes).unwrap();
    assert!(text.contains(r"https://a/?b\u0026c"), "{text}");
    assert!(text.ends_with("\"layers\": []\n}"), "{text}");
}

#[test]
fn ambiguous_documents_are_refused() {
    let digest = Digest::of(b"x");
    let config = format!(
        r#"{{"mediaType":"{}","digest":"{digest}","size":1}}"#,
        media::OCI_CONFIG
    );
    let good = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{config}]}}"#);
    assert!(Manifest::parse(media::OCI_MANIFEST, good.as_bytes()).is_ok());
    assert!(Manifest::parse("text/plain; charset=utf-8", good.as_bytes()).is_ok());
    for (media_type, text) in [
        // Two readings.
        (
            media::OCI_MANIFEST,
            format!(r#"{{"config":{config},"layers":[],"manifests":[]}}"#),
        ),
        (
            media::OCI_INDEX,
            format!(r#"{{"config":{config},"manifests":[]}}"#),
        ),
        // Keys twice, or in another case.
        (
            media::OCI_MANIFEST,
            format!(r#"{{"config":{config},"config":{config},"layers":[]}}"#),
        ),
        (
            media::OCI_MANIFEST,
            format!(r#"{{"config":{config},"layers":[],"Layers":[]}}"#),
        ),
        (
            media::OCI_MANIFEST,
            format!(r#"{{"config":{config},"layers":[],"MANIFESTS":[]}}"#),
        ),
        (
            media::OCI_MANIFEST,
            format!(
                r#"{{"config":{{"digest":"{digest}","Digest":"{digest}","size":1}},"layers":[]}}"#
            ),
        ),
        (
            media::OCI_MANIFEST,
            format!(r#"{{"config":{config},"layers":[],"annotations":{{"a":"1","a":"2"}}}}"#),
        ),
        (
            media::OCI_MANIFEST,
            format!(r#"{{"x":{{"y":1,"y":2}},"config":{config},"layers":[]}}"#),
        ),
        // The header and the document disagree.
        (media::OCI_INDEX, good.clone()),
        (media::DOCKER_LIST, good.clone()),
        (
            media::DOCKER_MANIFEST,
            format!(
                r#"{{"mediaType":"{}","config":{config},"layers":[]}}"#,
                media::OCI_MANIFEST
            ),
        ),
        (
            "",
            format!(
                r#"{{"mediaType":"{}","config":{config},"layers":[]}}"#,
                media::OCI_INDEX
            ),
        ),
        (
            media::OCI_MANIFEST,
            format!(r#"{{"schemaVersion":3,"config":{config},"layers":[]}}"#),
        ),
        // Not a document at all.
        (media::OCI_MANIFEST, "[]".to_owned()),
        (media::OCI_MANIFEST, "{}".to_owned()),
        (media::OCI_MANIFEST, "".to_owned()),
        (media::OCI_MANIFEST, format!("{good}x")),
        (media::OCI_MANIFEST, "[".repeat(100_000)),
    ] {
        let error = Document::new(media_type, text.clone().into_bytes()).parse();
        assert!(error.is_err(), "{media_type} {text:.200}");
    }
}

#[test]
fn hostile_descriptors_are_refused() {
    let hex = "a".repeat(64);
    for digest in [
        "sha256:../../x".to_owned(),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha512:{hex}{hex}"),
        "sha256:abc".to_owned(),
        hex.clone(),
        String::new(),
    ] {
        let text = format!(r#"{{"config":{{"digest":"{digest}","size":1}},"layers":[]}}"#);
        assert!(
            Manifest::parse(media::OCI_MANIFEST, text.as_bytes()).is_err(),
            "{digest}"
        );
    }
    for size in [
        "-1",
        "1.5",
        "\"1\"",
        "9223372036854775808",
        "18446744073709551615",
    ] {
        let text = format!(r#"{{"config":{{"digest":"sha256:{hex}","size":{size}}},"layers":[]}}"#);
        assert!(
            Manifest::parse(media::OCI_MANIFEST, text.as_bytes()).is_err(),
            "{size}"
        );
    }
}

#[test]
fn bounds_hold() {
    let long = Document::new(media::OCI_MANIFEST, vec![b' '; MAX_DOCUMENT + 1]);
    assert!(matches!(long.parse(), Err(InvalidManifest::TooLong { .. })));
    let config = format!(r#"{{"digest":"{}","size":1}}"#, Digest::of(b"x"));
    let many = vec![config.as_str(); MAX_LAYERS + 1].join(",");
    let text = format!(r#"{{"config":{config},"layers":[{many}]}}"#);
    let error = Manifest::parse(media::OCI_MANIFEST, text.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the manifest has 1001 layers, at most 1000 are read"
    );
}

#[test]
fn old_and_foreign_formats_have_clear_texts() {
    let digest = Digest::of(b"x");
    let schema1 = r#"{"schemaVersion":1,"name":"a","fsLayers":[],"history":[]}"#;
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/json",
    ] {
        let error = Document::new(media_type, schema1.into())
            .parse()
            .unwrap_err();
        assert!(matches!(error, InvalidManifest::Schema1), "{error}");
    }
    let with = |media_type: &str, config: &str, layer: &str| {
        let text = format!(
            r#"{{"config":{{"mediaType":"{config}","digest":"{digest}","size":1}},
                "layers":[{{"mediaType":"{layer}","digest":"{digest}","size":1}}]}}"#
        );
        let manifest = Manifest::parse(media_type, text.as_bytes()).unwrap();
        manifest.check_image().map_err(|error| error.to_string())
    };
    let helm = "application/vnd.cncf.helm.config.v1+json";
    let tar = media::OCI_LAYER;
    assert_eq!(
        with(media::OCI_MANIFEST, helm, tar).unwrap_err(),
        format!("unsupported media type {helm}")
    );
    assert_eq!(
        with(media::DOCKER_MANIFEST, helm, media::DOCKER_LAYER).unwrap_err(),
        format!("Encountered remote {helm:?}(unknown) when fetching")
    );
    assert_eq!(
        with(
            media::OCI_MANIFEST,
            media::OCI_CONFIG,
            "application/x-thing"
        )
        .unwrap_err(),
        "unsupported media type application/x-thing"
    );
    let plugin = "application/vnd.docker.plugin.v1+json";
    assert_eq!(
        with(media::DOCKER_MANIFEST, plugin, media::DOCKER_LAYER).unwrap_err(),
        format!("Encountered remote {plugin:?}(plugin) when fetching")
    );
    assert!(
        with(
            media::OCI_MANIFEST,
            "application/vnd.docker.ai.model.config.v0.1+json",
            tar
        )
        .unwrap_err()
        .starts_with("AI models")
    );
    assert!(with(media::DOCKER_MANIFEST, "application/octet-stream", "").is_ok());
}

#[test]
fn the_best_platform_is_chosen() {
    let mut attestation = entry("linux/amd64");
    attestation.annotations.insert(
        "vnd.docker.reference.type".to_owned(),
        "attestation-manifest".to_owned(),
    );
    let mut unknown = entry("linux/amd64");
    unknown.media_type = "application/vnd.example+json".to_owned();
    let index = Index {
        media_type: media::OCI_INDEX.to_owned(),
        manifests: vec![
            attestation,
            unknown,
            entry("linux/386"),
            entry("linux/arm/v6"),
            entry("linux/arm/v7"),
            entry("linux/amd64"),
            entry("linux/arm64/v8"),
            entry("windows/amd64"),
            entry("unknown/unknown"),
        ],
        subject: None,
        annotations: BTreeMap::new(),
    };
    for (wanted, want) in [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64"),
        ("linux/386", "linux/386"),
        ("linux/arm64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v8", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
    ] {
        let found = index.choose(&wanted.parse().unwrap()).unwrap();
        assert_eq!(found.platform().unwrap().to_string(), want, "{wanted}");
    }
    for wanted in ["linux/s390x", "linux/arm/v5"] {
        let error = index.choose(&wanted.parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no matching manifest for {wanted} in the manifest list entries")
        );
    }
    let without = Index {
        manifests: vec![entry("linux/s390x"), entry("")],
        ..index
    };
    assert!(
        without
            .choose(&Platform::host())
            .unwrap()
            .platform()
            .is_none()
    );
}
