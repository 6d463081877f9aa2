//! Pulling and pushing against a registry in this process.

mod faults;
mod registry;
mod together;

use std::io::Write;
use std::sync::Arc;

use spec::manifest::{DescribedPlatform, Descriptor, Document, docker_manifest, media, oci_index};
use spec::{Digest, ImageId, Reference};
use store::Store;
use tokio::sync::mpsc;

use super::hub::Hub;
use super::{Progress, PullRequest, PushAux, PushRequest, platform, pull, push};
use crate::blocking::Blocking;
use crate::config::EngineConfig;
use crate::events::{Events, EventsQuery};
use crate::{Error, Result};
use registry::TestRegistry;

/// A store with what pulls and pushes need.
struct Fixture {
    hub: Hub,
    events: Events,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = EngineConfig::new(dir.path(), dir.path());
        config.images.certs_dirs = Vec::new();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let events = Events::new();
        Self {
            hub: Hub::open(&store, &events, &Blocking::new(), &config).unwrap(),
            events,
            _dir: dir,
        }
    }

    fn store(&self) -> &Store {
        self.hub.store()
    }

    async fn pull(&self, name: &Reference) -> Result<Vec<String>> {
        self.pull_for(name, None).await
    }

    async fn pull_for(&self, name: &Reference, platform: Option<&str>) -> Result<Vec<String>> {
        let request = PullRequest {
            platform: platform.map(|text| text.parse().unwrap()),
            ..PullRequest::new(name.clone())
        };
        let (send, receive) = mpsc::channel(4);
        let (done, lines) = tokio::join!(pull::pull(&self.hub, request, send), read(receive));
        done.map(|()| lines)
    }

    async fn push(&self, name: &Reference) -> Result<Vec<String>> {
        let request = PushRequest {
            name: name.familiar(),
            ..PushRequest::default()
        };
        let (send, receive) = mpsc::channel(4);
        let (done, lines) = tokio::join!(push::push(&self.hub, request, send), read(receive));
        done.map(|()| lines)
    }
}

/// A report as lines, without numbers.
async fn read(mut progress: mpsc::Receiver<Progress>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = progress.recv().await {
        lines.push(match line {
            Progress::Message { id: None, text } => text,
            Progress::Message { id: Some(id), text } => format!("{id}: {text}"),
            Progress::Step { id, action, .. } => format!("{id}: {action}"),
            Progress::Aux(PushAux::Pushed { tag, digest, .. }) => format!("aux {tag} {digest}"),
            Progress::Aux(PushAux::ManifestInsteadOfIndex { .. }) => "aux instead".to_owned(),
        });
    }
    lines
}

/// A layer with one file: its compressed bytes and its diff id.
struct TestLayer {
    gzip: Vec<u8>,
    diff: Digest,
}

impl TestLayer {
    /// The file's content does not compress.
    fn new(name: &str, length: usize) -> Self {
        let mut noise = Digest::of(name.as_bytes()).hex().into_bytes();
        while noise.len() < length {
            let next = Digest::of(&noise[noise.len() - 64..]);
            noise.extend_from_slice(next.hex().as_bytes());
        }
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(noise.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, noise.as_slice())
            .unwrap();
        let plain = archive.into_inner().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        Self {
            gzip: encoder.finish().unwrap(),
            diff: Digest::of(&plain),
        }
    }

    fn digest(&self) -> Digest {
        Digest::of(&self.gzip)
    }

    /// What reports call it.
    fn id(&self) -> String {
        self.digest().hex()[..12].to_owned()
    }
}

/// Puts an image into a registry; gives its manifest.
fn put_image(
    registry: &TestRegistry,
    name: &Reference,
    architecture: &str,
    layers: &[&TestLayer],
) -> Document {
    let repository = name.path();
    let diffs: Vec<String> = layers.iter().map(|l| l.diff.to_string()).collect();
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {"Labels": {"of": "test"}},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    });
    let config = config.to_string().into_bytes();
    let described = Descriptor::new(
        media::DOCKER_CONFIG,
        registry.put_blob(repository, &config),
        config.len() as u64,
    );
    let layers: Vec<Descriptor> = layers
        .iter()
        .map(|layer| {
            let digest = registry.put_blob(repository, &layer.gzip);
            Descriptor::new(media::DOCKER_LAYER_GZIP, digest, layer.gzip.len() as u64)
        })
        .collect();
    let manifest = docker_manifest(&described, &layers);
    registry.put_manifest(repository, name.tag().unwrap_or("latest"), &manifest);
    manifest
}

/// Puts an index of two platforms into a registry.
fn put_index(registry: &TestRegistry, name: &Reference, layers: [&TestLayer; 2]) -> Document {
    let entries: Vec<Descriptor> = ["amd64", "arm64"]
        .into_iter()
        .zip(layers)
        .map(|(architecture, layer)| {
            let manifest = put_image(registry, name, architecture, &[layer]);
            let platform = DescribedPlatform {
                os: "linux".to_owned(),
                architecture: architecture.to_owned(),
                ..DescribedPlatform::default()
            };
            Descriptor {
                platform: Some(platform),
                ..manifest.descriptor()
            }
        })
        .collect();
    let index = oci_index(&entries);
    registry.put_manifest(name.path(), name.tag().unwrap_or("latest"), &index);
    index
}

fn name(registry: &TestRegistry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host).parse().unwrap()
}

fn image_of(store: &Store, name: &Reference) -> ImageId {
    store.image_of(name).unwrap()
}

#[tokio::test]
async fn an_image_is_pulled_told_of_and_then_up_to_date() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let name = name(&registry, "team/app:1");
    let layers = [TestLayer::new("a", 200_000), TestLayer::new("b", 10)];
    let manifest = put_image(&registry, &name, "amd64", &[&layers[0], &layers[1]]);
    let mut events = fixture.events.subscribe(EventsQuery::default());

    let lines = fixture.pull(&name).await.unwrap();
    assert_eq!(lines.first().unwrap(), "1: Pulling from team/app");
    let digest = format!("Digest: {}", manifest.digest);
    let status = format!("Status: Downloaded newer image for {}", name.familiar());
    assert_eq!(lines[lines.len() - 2..], [digest, status]);
    for layer in &layers {
        let of = |action: &str| {
            let line = format!("{}: {action}", layer.id());
            lines
                .iter()
                .position(|l| *l == line)
                .unwrap_or_else(|| panic!("{line}: {lines:?}"))
        };
        assert!(of("Pulling fs layer") < of("Verifying Checksum"));
        assert!(of("Verifying Checksum") < of("Download complete"));
        assert!(of("Download complete") < of("Pull complete"));
    }
    let event = events.next().await.unwrap();
    assert_eq!(
        (event.action.as_str(), event.actor),
        ("pull", name.familiar())
    );
    assert_eq!(event.attributes["name"], name.familiar_repository());
    assert_eq!(event.attributes["of"], "test");
    let image = fixture
        .store()
        .image(image_of(fixture.store(), &name))
        .unwrap();
    assert_eq!(image.repo_digests, [name.with_digest(manifest.digest)]);

    registry.take_requests("");
    let lines = fixture.pull(&name).await.unwrap();
    let status = format!("Status: Image is up to date for {}", name.familiar());
    assert_eq!(lines.last().unwrap(), &status);
    assert_eq!(registry.take_requests("GET /v2/team"), [""; 0]);
}

#[tokio::test]
async fn both_platforms_of_an_index_are_kept_under_one_name() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let name = name(&registry, "multi:1");
    let layers = [TestLayer::new("amd", 10), TestLayer::new("arm", 10)];
    let index = put_index(&registry, &name, [&layers[0], &layers[1]]);
    fixture.pull_for(&name, Some("linux/amd64")).await.unwrap();
    let amd = image_of(fixture.store(), &name);
    fixture.pull_for(&name, Some("linux/arm64")).await.unwrap();
    let arm = image_of(fixture.store(), &name);
    assert_ne!(amd, arm);
    assert_eq!(fixture.store().target(&name).unwrap().digest, index.digest);
    let find = |text: &str| {
        let wanted = text.parse().unwrap();
        platform::find(fixture.store(), &name.familiar(), Some(&wanted)).map(|image| image.id)
    };
    assert_eq!(find("linux/amd64").unwrap(), amd);
    assert_eq!(find("linux/arm64").unwrap(), arm);
    let missing = find("linux/s390x").unwrap_err();
    assert_eq!(spec::Classify::kind(&missing), spec::ErrorKind::NotFound);
    // Neither has lost its names, and what is here is not fetched again.
    assert!(!fixture.store().image(amd).unwrap().is_dangling());
    registry.take_requests("");
    fixture.pull_for(&name, Some("linux/amd64")).await.unwrap();
    assert_eq!(registry.take_requests("GET /v2/multi/blobs"), [""; 0]);
    assert_eq!(image_of(fixture.store(), &name), amd);
    // Everything is here, so everything can be pushed.
    let lines = fixture.push(&name).await.unwrap();
    assert_eq!(lines.last().unwrap(), &format!("aux 1 {}", index.digest));
}

#[tokio::test]
async fn a_push_elsewhere_has_the_same_digest_and_takes_layers_over() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let from = name(&registry, "one:1");
    let layer = TestLayer::new("a", 70_000);
    let manifest = put_image(&registry, &from, "amd64", &[&layer]);
    fixture.pull(&from).await.unwrap();
    let to = name(&registry, "two:x");
    let id = image_of(fixture.store(), &from);
    let target = fixture.store().target(&from);
    fixture.store().tag_as(id, &to, target.as_ref()).unwrap();
    let lines = fixture.push(&to).await.unwrap();
    let short = &layer.diff.hex()[..12];
    let size = manifest.bytes.len();
    assert_eq!(
        lines,
        [
            format!("The push refers to repository [{}/two]", registry.host),
            format!("{short}: Preparing"),
            format!("{short}: Mounted from one"),
            format!("x: digest: {} size: {size}", manifest.digest),
            format!("aux x {}", manifest.digest),
        ]
    );
    assert_eq!(registry.manifest("two", "x").unwrap(), manifest.bytes);
    let lines = fixture.push(&to).await.unwrap();
    assert!(
        lines.contains(&format!("{short}: Layer already exists")),
        "{lines:?}"
    );

    // Another registry has nothing: the very bytes are sent.
    let other = TestRegistry::start().await;
    let there = name(&other, "three:1");
    fixture.store().tag_as(id, &there, target.as_ref()).unwrap();
    let lines = fixture.push(&there).await.unwrap();
    assert!(lines.contains(&format!("{short}: Pushed")), "{lines:?}");
    let key = ("three".to_owned(), layer.digest());
    assert_eq!(other.state().blobs[&key], layer.gzip);
    assert_eq!(other.manifest("three", "1").unwrap(), manifest.bytes);
}

#[tokio::test]
async fn an_image_without_a_manifest_gets_one_and_comes_back_the_same() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    archive
        .append_data(&mut header, "f", &b"hello"[..])
        .unwrap();
    let archive = archive.into_inner().unwrap();
    let to = name(&registry, "made:1");
    let options = store::ImportOptions {
        reference: Some(to.clone()),
        ..store::ImportOptions::default()
    };
    let lease = fixture.store().lease("test");
    let id = fixture
        .store()
        .import(&lease, &mut archive.as_slice(), &options, &|_| {})
        .unwrap();
    fixture.push(&to).await.unwrap();
    let first = registry.manifest("made", "1").unwrap();
    // What was made once is known: nothing is compressed or sent again.
    registry.take_requests("");
    let lines = fixture.push(&to).await.unwrap();
    assert!(
        lines.iter().any(|l| l.ends_with("Layer already exists")),
        "{lines:?}"
    );
    assert_eq!(registry.manifest("made", "1").unwrap(), first);
    let elsewhere = Fixture::new();
    elsewhere.pull(&to).await.unwrap();
    assert_eq!(image_of(elsewhere.store(), &to), id);
}

#[tokio::test]
async fn all_tags_are_pulled_and_pushed() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let layer = TestLayer::new("a", 10);
    for tag in ["a", "b"] {
        put_image(
            &registry,
            &name(&registry, &format!("all:{tag}")),
            "amd64",
            &[&layer],
        );
    }
    let bare = Reference::parse_bare(&format!("{}/all", registry.host)).unwrap();
    let lines = fixture.pull(&bare).await.unwrap();
    assert!(lines.contains(&"a: Pulling from all".to_owned()));
    assert!(lines.contains(&"b: Pulling from all".to_owned()));
    let lines = fixture.push(&bare).await.unwrap();
    let digests = lines.iter().filter(|line| line.contains(": digest: "));
    assert_eq!(digests.count(), 2, "{lines:?}");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let (registry, fixture) = (TestRegistry::start().await, Fixture::new());
    let missing = name(&registry, "none:1");
    let error = fixture.pull(&missing).await.unwrap_err();
    let text = spec::error::chain(&error);
    assert_eq!(
        spec::Classify::kind(&error),
        spec::ErrorKind::NotFound,
        "{text}"
    );
    let error = fixture.push(&missing).await.unwrap_err();
    let text = "An image does not exist locally with the tag: ";
    assert_eq!(
        error.to_string(),
        format!("{text}{}", missing.familiar_repository())
    );
    let scratch = "scratch".parse().unwrap();
    let error = fixture.pull(&scratch).await.unwrap_err();
    assert_eq!(error.to_string(), "'scratch' is a reserved name");
}
