//! Manifests that are too long, others than announced, or two things at once.

use bytes::Bytes;
use futures_util::stream;
use hyper::Method;
use registry::{Error, Version};
use spec::Digest;
use spec::manifest::{InvalidManifest, MAX_DOCUMENT, media};

use crate::fake::{Fake, Reply, manifest, manifest_reply, text};

fn tag() -> Version {
    Version::Tag("1".to_owned())
}

#[tokio::test]
async fn what_head_does_not_say_get_does() {
    let fake = Fake::start(|seen| match seen.method {
        Method::HEAD => Reply::new(405),
        _ => manifest_reply(seen, &manifest()),
    })
    .await;
    let found = fake.repository(None).resolve(&tag()).await.unwrap();
    assert_eq!(found, manifest().descriptor());
    // A digest that is not the bytes' own is not believed.
    let liar = Fake::start(|seen| {
        let document = manifest();
        let reply = Reply::new(200).with("content-type", &document.media_type);
        match seen.method {
            Method::HEAD => reply,
            _ => reply
                .with("docker-content-digest", Digest::of(b"other").to_string())
                .body(document.bytes),
        }
    })
    .await;
    let error = liar.repository(None).resolve(&tag()).await.unwrap_err();
    assert!(matches!(error, Error::ManifestDigest { .. }), "{error:?}");
    let accept = fake.seen()[0].headers.get_all("accept").iter().count();
    assert_eq!(accept, media::ACCEPT.len());
}

#[tokio::test]
async fn other_bytes_than_asked_for_are_refused() {
    let fake = Fake::start(|seen| manifest_reply(seen, &manifest())).await;
    let wanted = Digest::of(b"other");
    let error = fake
        .repository(None)
        .manifest(&Version::Digest(wanted), None)
        .await
        .unwrap_err();
    let said = text(&error);
    assert!(
        said.starts_with(&format!("manifest verification failed for digest {wanted}")),
        "{said}"
    );
    assert!(!error.is_transient());
}

#[tokio::test]
async fn long_manifests_are_not_read() {
    let one_more = Fake::start(|_| {
        Reply::new(200)
            .with("content-type", media::OCI_MANIFEST)
            .body(vec![b' '; MAX_DOCUMENT + 1])
    })
    .await;
    let endless = Fake::start(|_| {
        let piece = Bytes::from(vec![b' '; 1 << 16]);
        Reply::new(200)
            .with("content-type", media::OCI_MANIFEST)
            .pieces(stream::repeat(piece))
    })
    .await;
    let lying = Fake::start(|_| {
        Reply::new(200)
            .with("content-type", media::OCI_MANIFEST)
            .with("content-length", "99999999999")
            .pieces(stream::repeat(Bytes::from_static(b" ")))
    })
    .await;
    for fake in [one_more, endless, lying] {
        let error = fake
            .repository(None)
            .manifest(&tag(), None)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Manifest {
                    source: InvalidManifest::TooLong { .. },
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_manifest_under_another_type_is_ambiguous() {
    for (media_type, body) in [
        (media::OCI_INDEX, manifest().bytes),
        (media::DOCKER_MANIFEST, manifest().bytes),
        (media::OCI_MANIFEST, b"{\"manifests\":[]}".to_vec()),
        (media::OCI_MANIFEST, b"<html>".to_vec()),
    ] {
        let fake = Fake::start(move |_| {
            Reply::new(200)
                .with("content-type", media_type)
                .body(body.clone())
        })
        .await;
        let error = fake
            .repository(None)
            .manifest(&tag(), None)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Manifest { .. }),
            "{media_type} {error:?}"
        );
    }
}

#[tokio::test]
async fn manifests_are_put_and_deleted() {
    let fake = Fake::start(|seen| match seen.method {
        Method::PUT => {
            let digest = Digest::of(&seen.body).to_string();
            Reply::new(201).with("docker-content-digest", digest)
        }
        _ => Reply::new(202),
    })
    .await;
    let repository = fake.repository(None);
    let document = manifest();
    let digest = repository.put_manifest(&tag(), &document).await.unwrap();
    assert_eq!(digest, document.digest);
    repository
        .delete_manifest(&Version::Digest(digest))
        .await
        .unwrap();
    repository.delete_blob(digest).await.unwrap();
    let seen = fake.seen();
    assert_eq!(seen[0].body, document.bytes);
    assert_eq!(
        seen[0].header("content-type"),
        Some(document.media_type.as_str())
    );
    let asked: Vec<String> = seen
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.target))
        .collect();
    assert_eq!(
        asked,
        [
            "PUT /v2/team/app/manifests/1".to_owned(),
            format!("DELETE /v2/team/app/manifests/{digest}"),
            format!("DELETE /v2/team/app/blobs/{digest}"),
        ]
    );
    let other = Fake::start(|_| {
        Reply::new(201).with("docker-content-digest", Digest::of(b"other").to_string())
    })
    .await;
    let error = other
        .repository(None)
        .put_manifest(&tag(), &document)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ManifestDigest { .. }));
}
