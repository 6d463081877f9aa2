//! Mirrors, `hosts.toml`, and plain http: where a repository is had from.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Method;
use registry::{Credentials, Registry, Repository, Version};
use spec::Reference;

use crate::fake::{
    Fake, Reply, client, descriptor, manifest, manifest_reply, payload, text, unknown,
};

fn tag() -> Version {
    Version::Tag("1".to_owned())
}

fn auth() -> Option<Credentials> {
    Some(Credentials::new("user", "hush".to_owned()))
}

/// A registry with the manifest, for everybody.
async fn good() -> Fake {
    Fake::start(|seen| manifest_reply(seen, &manifest())).await
}

/// A client that reads `hosts.toml` from a directory.
fn with_files(dir: &Path) -> Registry {
    let dir = dir.to_owned();
    client(move |settings| settings.certs_dirs = vec![dir])
}

fn write(dir: &Path, host: &str, text: &str) {
    let dir = dir.join(host);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("hosts.toml"), text).unwrap();
}

fn named(host: &str) -> Reference {
    format!("{host}/team/app:1").parse().unwrap()
}

#[tokio::test]
async fn mirrors_stand_in_for_docker_io_in_order() {
    let empty = Fake::start(|_| unknown()).await;
    let broken = Fake::start(|_| Reply::new(500)).await;
    let full = good().await;
    let unused = good().await;
    let mirrors = vec![
        empty.url(),
        format!("{}/prefix/", broken.url()),
        full.url(),
        unused.url(),
    ];
    let registry = client(move |settings| settings.mirrors = mirrors);
    let hub: Reference = "busybox".parse().unwrap();
    let repository = registry.repository(&hub, auth());
    let found = repository.resolve(&Version::of(&hub)).await.unwrap();
    assert_eq!(found, manifest().descriptor());
    let path = "/v2/library/busybox/manifests/latest";
    assert_eq!(empty.count(&Method::HEAD, path), 1);
    assert_eq!(broken.count(&Method::HEAD, &format!("/prefix{path}")), 1);
    assert_eq!(full.count(&Method::HEAD, path), 1);
    assert!(unused.seen().is_empty());
    // No mirror for other registries.
    let own = good().await;
    registry
        .repository(&own.name(), None)
        .resolve(&tag())
        .await
        .unwrap();
    assert_eq!(empty.seen().len(), 2);
}

#[tokio::test]
async fn a_mirror_gets_no_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let nosy = Fake::start(|seen| match seen.header("authorization") {
        None => Reply::new(401).with("www-authenticate", "Basic realm=r"),
        Some(_) => manifest_reply(seen, &manifest()),
    })
    .await;
    let own = Fake::start(|seen| match seen.header("authorization") {
        None => Reply::new(401).with("www-authenticate", "Basic realm=r"),
        Some(_) => manifest_reply(seen, &manifest()),
    })
    .await;
    write(
        dir.path(),
        "reg.example",
        &format!("server = \"{}\"\n[host.\"{}\"]\n", own.url(), nosy.url()),
    );
    let repository = with_files(dir.path()).repository(&named("reg.example"), auth());
    repository.resolve(&tag()).await.unwrap();
    assert!(
        nosy.seen()
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    assert!(
        own.seen()
            .iter()
            .any(|seen| seen.header("authorization").is_some())
    );
}

#[tokio::test]
async fn capabilities_paths_and_headers_are_those_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let puller = good().await;
    let resolver = good().await;
    let own = Fake::start(|seen| match seen.method {
        Method::PUT => Reply::new(201),
        _ => manifest_reply(seen, &manifest()),
    })
    .await;
    let text = format!(
        r#"
server = "{}"
[host."{}"]
capabilities = ["pull"]
[host."{}/v2/mirror"]
capabilities = ["pull", "resolve"]
override_path = true
[host."{}/v2/mirror".header]
x-pass = ["open"]
"#,
        own.url(),
        puller.url(),
        resolver.url(),
        resolver.url()
    );
    write(dir.path(), "reg.example", &text);
    let repository = with_files(dir.path()).repository(&named("reg.example"), None);
    let found = repository.resolve(&tag()).await.unwrap();
    repository
        .manifest(&Version::Digest(found.digest), None)
        .await
        .unwrap();
    repository.put_manifest(&tag(), &manifest()).await.unwrap();
    let targets = |fake: &Fake| -> Vec<String> {
        let seen = fake.seen();
        seen.iter()
            .map(|s| format!("{} {}", s.method, s.target))
            .collect()
    };
    assert_eq!(
        targets(&puller),
        [format!(
            "GET /v2/team/app/manifests/{}?ns=reg.example",
            found.digest
        )]
    );
    assert_eq!(
        targets(&resolver),
        ["HEAD /v2/mirror/team/app/manifests/1?ns=reg.example"]
    );
    assert_eq!(
        targets(&own),
        ["PUT /v2/team/app/manifests/1?ns=reg.example"]
    );
    assert_eq!(resolver.seen()[0].header("x-pass"), Some("open"));
    assert_eq!(puller.seen()[0].header("x-pass"), None);
}

#[tokio::test]
async fn a_changed_file_counts_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (good().await, good().await);
    let registry = with_files(dir.path());
    for fake in [&first, &second] {
        write(
            dir.path(),
            "reg.example",
            &format!("server = \"{}\"\n", fake.url()),
        );
        let repository = registry.repository(&named("reg.example"), None);
        repository.resolve(&tag()).await.unwrap();
        assert_eq!(fake.seen().len(), 1);
    }
    write(dir.path(), "reg.example", "server = [1]");
    let repository = registry.repository(&named("reg.example"), None);
    let error = repository.resolve(&tag()).await.unwrap_err();
    assert!(text(&error).contains("hosts.toml"), "{}", text(&error));
}

#[tokio::test]
async fn settings_are_reloaded() {
    let (first, second) = (good().await, good().await);
    let hub: Reference = "busybox".parse().unwrap();
    let settings = |mirror: String| registry::Settings {
        mirrors: vec![mirror],
        certs_dirs: Vec::new(),
        ..registry::Settings::default()
    };
    let registry = Registry::new(settings(first.url())).unwrap();
    let version = Version::of(&hub);
    registry
        .repository(&hub, None)
        .resolve(&version)
        .await
        .unwrap();
    registry.reload(settings(second.url())).unwrap();
    registry
        .repository(&hub, None)
        .resolve(&version)
        .await
        .unwrap();
    assert!(registry.reload(settings("nonsense".to_owned())).is_err());
    registry
        .repository(&hub, None)
        .resolve(&version)
        .await
        .unwrap();
    assert_eq!((first.seen().len(), second.seen().len()), (1, 2));
}

#[tokio::test]
async fn a_mirror_that_cuts_or_lies_is_asked_last() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = payload(100_000);
    let first = bytes.slice(..5000);
    let cutter = Fake::start(move |_| {
        Reply::new(200)
            .with("content-length", "100000")
            .then_cut(first.clone())
    })
    .await;
    let rest = bytes.slice(5000..);
    let own = Fake::start(move |seen| {
        assert_eq!(seen.header("range"), Some("bytes=5000-"));
        Reply::new(206)
            .with("content-range", "bytes 5000-99999/100000")
            .body(rest.clone())
    })
    .await;
    write(
        dir.path(),
        "reg.example",
        &format!("server = \"{}\"\n[host.\"{}\"]\n", own.url(), cutter.url()),
    );
    let repository: Repository = with_files(dir.path()).repository(&named("reg.example"), None);
    let mut got = Vec::new();
    let mut blob = repository.blob(&descriptor(&bytes), 0).await.unwrap();
    while let Some(Ok(chunk)) = blob.next().await {
        got.extend_from_slice(&chunk);
    }
    repository.blame(blob.endpoint());
    let mut blob = repository
        .blob(&descriptor(&bytes), got.len() as u64)
        .await
        .unwrap();
    while let Some(chunk) = blob.next().await {
        got.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(got, bytes);
}

#[tokio::test]
async fn plain_http_is_for_insecure_registries_only() {
    let fake = good().await;
    fake.repository(None).resolve(&tag()).await.unwrap();
    // The name does not resolve, so it is in no listed network, and nothing was said about it.
    let registry = client(|_| {});
    let name = named("registry.invalid:5000");
    let error = registry
        .repository(&name, None)
        .resolve(&tag())
        .await
        .unwrap_err();
    assert_eq!(
        text(&error),
        "Get \"https://registry.invalid:5000/v2/\": dial tcp: lookup registry.invalid: no such host"
    );
    assert!(error.is_transient());
    let registry = client(|settings| settings.insecure = vec!["registry.invalid:5000".to_owned()]);
    let error = registry
        .repository(&name, None)
        .resolve(&tag())
        .await
        .unwrap_err();
    assert!(text(&error).starts_with("Get \"http://registry.invalid:5000/v2/\""));
}

#[tokio::test]
async fn nobody_listening_reads_as_gos() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let registry = client(|_| {});
    let repository = registry.repository(&named(&address.to_string()), None);
    let error = repository.resolve(&tag()).await.unwrap_err();
    assert_eq!(
        text(&error),
        format!("Get \"http://{address}/v2/\": dial tcp {address}: connect: connection refused")
    );
}

#[tokio::test]
async fn a_proxy_is_used_and_told_nothing_more_than_it_needs() {
    let used = Arc::new(AtomicBool::new(false));
    let seen_by_proxy = Arc::clone(&used);
    // Plain http through a proxy asks it for the whole URL.
    let proxy = Fake::start(move |seen| {
        seen_by_proxy.store(true, Ordering::SeqCst);
        assert_eq!(seen.header("host"), Some("reg.example:5000"));
        // user:hush
        assert_eq!(
            seen.header("proxy-authorization"),
            Some("Basic dXNlcjpodXNo")
        );
        manifest_reply(seen, &manifest())
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "reg.example:5000",
        "server = \"http://reg.example:5000\"",
    );
    let (certs, address) = (dir.path().to_owned(), format!("user:hush@{}", proxy.host()));
    let registry = client(move |settings| {
        settings.certs_dirs = vec![certs];
        settings.http_proxy = address;
        settings.no_proxy = "localhost".to_owned();
    });
    let repository = registry.repository(&named("reg.example:5000"), None);
    repository.resolve(&tag()).await.unwrap();
    assert!(used.load(Ordering::SeqCst));
    drop(proxy);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let registry = client(move |settings| settings.https_proxy = address.to_string());
    let repository = registry.repository(&named("reg.invalid"), None);
    let error = repository.resolve(&tag()).await.unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "Get \"https://reg.invalid/v2/\": proxyconnect tcp: dial tcp {address}: connect: \
             connection refused"
        )
    );
}
