//! Blobs on their way to a registry.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use hyper::Method;
use registry::{Body, Mount, Sent};
use spec::Digest;

use crate::fake::{Fake, Reply, Seen, client, descriptor, payload, text};

const UPLOADS: &str = "/v2/team/app/blobs/uploads/";

fn body(bytes: &Bytes) -> Body {
    let pieces: Vec<_> = bytes
        .chunks(30_000)
        .map(|c| Ok(Bytes::copy_from_slice(c)))
        .collect();
    Box::pin(stream::iter(pieces))
}

fn silent() -> Sent {
    Arc::new(|_| {})
}

/// A registry that puts together what it is sent; bodies longer than `most` are refused.
fn store(most: usize) -> (Arc<Mutex<Vec<u8>>>, impl Fn(&Seen) -> Reply + Send + Sync) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&kept);
    let handler = move |seen: &Seen| {
        if seen.body.len() > most {
            return Reply::new(413);
        }
        let mut all = all.lock().unwrap();
        match seen.method {
            Method::POST => {
                all.clear();
                Reply::new(202).with("location", "/v2/team/app/blobs/uploads/1?_state=a")
            }
            Method::PATCH => {
                if let Some(range) = seen.header("content-range") {
                    let end = all.len() + seen.body.len() - 1;
                    assert_eq!(range, format!("{}-{end}", all.len()));
                }
                all.extend_from_slice(&seen.body);
                Reply::new(202).with("location", format!("{UPLOADS}1?_state=b{}", all.len()))
            }
            _ => {
                all.extend_from_slice(&seen.body);
                let digest = Digest::of(&all);
                let query = digest.to_string().replace(':', "%3A");
                assert!(
                    seen.target.contains(&format!("digest={query}")),
                    "{}",
                    seen.target
                );
                Reply::new(201).with("docker-content-digest", digest.to_string())
            }
        }
    };
    (kept, handler)
}

#[tokio::test]
async fn a_blob_is_sent_at_once() {
    let bytes = payload(200_000);
    let (kept, handler) = store(usize::MAX);
    let fake = Fake::start(handler).await;
    let most = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&most);
    let sent: Sent = Arc::new(move |count| {
        heard.fetch_max(count, Ordering::SeqCst);
    });
    let repository = fake.repository(None);
    let opened = bytes.clone();
    repository
        .upload(&descriptor(&bytes), None, &move || body(&opened), sent)
        .await
        .unwrap();
    assert_eq!(*kept.lock().unwrap(), bytes);
    assert_eq!(most.load(Ordering::SeqCst), 200_000);
    let seen = fake.seen();
    let methods: Vec<&Method> = seen.iter().map(|seen| &seen.method).collect();
    assert_eq!(methods, [&Method::POST, &Method::PUT]);
    assert_eq!(seen[0].header("content-length"), Some("0"));
    assert_eq!(seen[1].header("content-length"), Some("200000"));
    assert!(
        seen[1]
            .target
            .starts_with(&format!("{UPLOADS}1?_state=a&digest="))
    );
    // Nothing at all is also a blob.
    let empty = Bytes::new();
    repository
        .upload(&descriptor(b""), None, &move || body(&empty), silent())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_for_small_bodies_gets_pieces() {
    let bytes = payload((8 << 20) * 2 + 17);
    let (kept, handler) = store(8 << 20);
    let fake = Fake::start(handler).await;
    let opened = bytes.clone();
    fake.repository(None)
        .upload(&descriptor(&bytes), None, &move || body(&opened), silent())
        .await
        .unwrap();
    assert!(*kept.lock().unwrap() == bytes);
    let patches = fake
        .seen()
        .iter()
        .filter(|seen| seen.method == Method::PATCH)
        .count();
    assert_eq!(patches, 3);
}

#[tokio::test]
async fn a_blob_of_unknown_digest_is_streamed() {
    let bytes = payload(100_000);
    let (kept, handler) = store(usize::MAX);
    let fake = Fake::start(handler).await;
    let digest = Digest::of(&bytes);
    let stored = fake
        .repository(None)
        .upload_stream(body(&bytes), move || digest)
        .await
        .unwrap();
    assert_eq!(stored, digest);
    assert_eq!(*kept.lock().unwrap(), bytes);
}

#[tokio::test]
async fn mounts_are_asked_for_with_both_scopes() {
    let digest = Digest::of(b"x");
    let mounted = Fake::start(|_| Reply::new(201).with("location", "/somewhere")).await;
    let repository = mounted.repository(None);
    assert!(matches!(
        repository.mount(digest, "base/os").await.unwrap(),
        Mount::Mounted
    ));
    let query = digest.to_string().replace(':', "%3A");
    assert_eq!(
        mounted.seen()[0].target,
        format!("{UPLOADS}?mount={query}&from=base%2Fos")
    );
    // A registry that does not mount opens an upload instead, which is then used.
    let bytes = payload(1000);
    let (kept, handler) = store(usize::MAX);
    let fake = Fake::start(handler).await;
    let repository = fake.repository(None);
    let Mount::Upload(upload) = repository
        .mount(Digest::of(&bytes), "base/os")
        .await
        .unwrap()
    else {
        panic!("mounted");
    };
    let opened = bytes.clone();
    repository
        .upload(
            &descriptor(&bytes),
            Some(upload),
            &move || body(&opened),
            silent(),
        )
        .await
        .unwrap();
    assert_eq!(*kept.lock().unwrap(), bytes);
    assert_eq!(fake.count(&Method::POST, UPLOADS), 1);
    let tokens = Fake::start(|_| Reply::new(200).json(r#"{"token":"t"}"#)).await;
    let realm = tokens.url();
    let guarded = Fake::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401).with("www-authenticate", format!("Bearer realm=\"{realm}/t\"")),
        Some(_) => Reply::new(201),
    })
    .await;
    guarded
        .repository(None)
        .mount(digest, "base/os")
        .await
        .unwrap();
    assert_eq!(
        tokens.seen()[0].target,
        "/t?scope=repository%3Abase%2Fos%3Apull&scope=repository%3Ateam%2Fapp%3Apull%2Cpush"
    );
}

#[tokio::test]
async fn what_a_registry_stored_is_compared() {
    let bytes = payload(1000);
    let fake = Fake::start(|seen| match seen.method {
        Method::POST => Reply::new(202).with("location", "/u"),
        _ => Reply::new(201).with("docker-content-digest", Digest::of(b"other").to_string()),
    })
    .await;
    let opened = bytes.clone();
    let error = fake
        .repository(None)
        .upload(&descriptor(&bytes), None, &move || body(&opened), silent())
        .await
        .unwrap_err();
    assert!(
        text(&error).contains(&Digest::of(&bytes).to_string()),
        "{}",
        text(&error)
    );
    let lost = Fake::start(|_| Reply::new(202)).await;
    let opened = bytes.clone();
    let error = lost
        .repository(None)
        .upload(&descriptor(&bytes), None, &move || body(&opened), silent())
        .await
        .unwrap_err();
    assert!(text(&error).contains("where to send"), "{}", text(&error));
}

#[tokio::test]
async fn presence_is_asked_with_head() {
    let fake = Fake::start(|seen| {
        assert_eq!(seen.method, Method::HEAD);
        match seen.path().ends_with(&Digest::of(b"there").to_string()) {
            true => Reply::new(200).with("content-length", "5"),
            false => Reply::new(404),
        }
    })
    .await;
    let repository = fake.repository(None);
    assert_eq!(
        repository.has_blob(Digest::of(b"there")).await.unwrap(),
        Some(5)
    );
    assert_eq!(
        repository.has_blob(Digest::of(b"else")).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_registry_that_takes_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Opens an upload and then reads nothing more.
    let task = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut held = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let count = socket.read(&mut head).await.unwrap();
            if head[..count].starts_with(b"POST") {
                let reply = b"HTTP/1.1 202 Accepted\r\nlocation: /u\r\nconnection: close\r\n\
                              content-length: 0\r\n\r\n";
                socket.write_all(reply).await.unwrap();
            } else if head[..count].starts_with(b"PUT") {
                held.push(socket);
            }
        }
    });
    let registry = client(|settings| settings.timeouts.stall = Duration::from_millis(200));
    let name = format!("{address}/team/app:1").parse().unwrap();
    let bytes = payload(64 << 20);
    let opened = bytes.clone();
    let error = registry
        .repository(&name, None)
        .upload(&descriptor(&bytes), None, &move || body(&opened), silent())
        .await
        .unwrap_err();
    task.abort();
    assert!(text(&error).contains("takes nothing"), "{}", text(&error));
    assert!(error.is_transient());
}
