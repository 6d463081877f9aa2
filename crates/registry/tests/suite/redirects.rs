//! Where requests are led, and what they bring along.

use hyper::Method;
use registry::{Credentials, Version};
use spec::Digest;

use crate::fake::{Fake, Reply, Seen, client, descriptor, payload, text};

fn blob_path(bytes: &[u8]) -> String {
    format!("/v2/team/app/blobs/{}", Digest::of(bytes))
}

async fn read(stream: &mut registry::BlobStream) -> registry::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

fn wants_basic(seen: &Seen) -> Option<Reply> {
    (seen.header("authorization") != Some("Basic dXNlcjpodXNo"))
        .then(|| Reply::new(401).with("www-authenticate", "Basic realm=r"))
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_port_nor_come_back() {
    let bytes = payload(100_000);
    let (body, path) = (bytes.clone(), blob_path(&bytes));
    // The registry redirects to a store, which redirects back, and only then the blob comes.
    let back = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let home = std::sync::Arc::clone(&back);
    let store = Fake::start(move |_| {
        Reply::new(302).with("location", format!("{}/open", home.get().unwrap()))
    })
    .await;
    let away = format!("{}/bucket?signature=s", store.url());
    let registry = Fake::start(move |seen| {
        if seen.path() == "/open" {
            return Reply::new(200).body(body.clone());
        }
        wants_basic(seen).unwrap_or_else(|| Reply::new(307).with("location", &away))
    })
    .await;
    back.set(registry.url()).unwrap();
    let auth = Credentials::new("user", "hush".to_owned());
    let repository = registry
        .repository(Some(auth))
        .with_headers(vec![("X-Meta-A".to_owned(), "b".to_owned())]);
    let mut stream = repository.blob(&descriptor(&bytes), 0).await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap(), bytes);
    let seen = registry.seen();
    assert_eq!(registry.count(&Method::GET, &path), 2);
    assert!(seen[1].header("authorization").is_some());
    for away in store
        .seen()
        .iter()
        .chain(seen.iter().filter(|s| s.path() == "/open"))
    {
        assert_eq!(away.header("authorization"), None);
        assert_eq!(away.header("x-meta-a"), None);
    }
}

#[tokio::test]
async fn a_redirect_at_home_keeps_credentials_and_the_range() {
    let bytes = payload(1000);
    let body = bytes.clone();
    let registry = Fake::start(move |seen| {
        if let Some(challenge) = wants_basic(seen) {
            return challenge;
        }
        if seen.path() != "/elsewhere" {
            return Reply::new(307).with("location", "/elsewhere");
        }
        assert_eq!(seen.header("range"), Some("bytes=400-"));
        Reply::new(206)
            .with("content-range", "bytes 400-999/1000")
            .body(body.slice(400..))
    })
    .await;
    let auth = Credentials::new("user", "hush".to_owned());
    let repository = registry.repository(Some(auth));
    let mut stream = repository.blob(&descriptor(&bytes), 400).await.unwrap();
    assert_eq!(stream.offset(), 400);
    assert_eq!(read(&mut stream).await.unwrap(), bytes.slice(400..));
}

#[tokio::test]
async fn circles_end() {
    let registry = Fake::start(|_| Reply::new(302).with("location", "/round")).await;
    let bytes = payload(10);
    let error = registry
        .repository(None)
        .blob(&descriptor(&bytes), 0)
        .await
        .unwrap_err();
    assert!(
        text(&error).contains("stopped after 10 redirects"),
        "{}",
        text(&error)
    );
    assert_eq!(registry.seen().len(), 11);
}

#[tokio::test]
async fn broken_locations_are_errors() {
    for location in [
        "file:///etc/passwd",
        "http://",
        "ftp://x/",
        "http://u:p@127.0.0.1/",
    ] {
        let registry = Fake::start(move |_| Reply::new(302).with("location", location)).await;
        let error = registry
            .repository(None)
            .resolve(&Version::Tag("1".to_owned()))
            .await
            .unwrap_err();
        assert!(!text(&error).contains("u:p@"), "{}", text(&error));
    }
}

#[tokio::test]
async fn an_upload_location_elsewhere_gets_no_credentials() {
    let bytes = payload(50_000);
    let store = Fake::start(|_| Reply::new(201)).await;
    let away = format!("{}/upload?x=1", store.url());
    let registry = Fake::start(move |seen| {
        wants_basic(seen).unwrap_or_else(|| Reply::new(202).with("location", &away))
    })
    .await;
    let auth = Credentials::new("user", "hush".to_owned());
    let repository = client(|_| {}).repository(&registry.name(), Some(auth));
    let body = bytes.clone();
    let open = move || -> registry::Body {
        let body = body.clone();
        Box::pin(futures_util::stream::once(async move { Ok(body) }))
    };
    let sent = std::sync::Arc::new(|_| {});
    repository
        .upload(&descriptor(&bytes), None, &open, sent)
        .await
        .unwrap();
    let put = &store.seen()[0];
    assert_eq!(put.method, Method::PUT);
    assert_eq!(put.body, bytes);
    assert!(
        put.target.starts_with("/upload?x=1&digest=sha256%3A"),
        "{}",
        put.target
    );
    assert_eq!(put.header("authorization"), None);
}

#[tokio::test]
async fn a_loop_is_final() {
    let bytes = payload(1000);
    let path = blob_path(&bytes);
    let place = path.clone();
    let registry = Fake::start(move |_| Reply::new(302).with("location", place.clone())).await;
    let repository = registry.repository(None);
    // The second time, too: nothing that was tried before makes it look like a passing failure.
    for _ in 0..2 {
        let error = repository.blob(&descriptor(&bytes), 0).await.unwrap_err();
        let shown = text(&error);
        assert!(shown.contains("stopped after 10 redirects"), "{shown}");
        assert!(!error.is_transient());
    }
}
