//! Tags and referrers, page by page.

use std::sync::atomic::{AtomicUsize, Ordering};

use spec::Digest;
use spec::manifest::{Descriptor, media, oci_index};

use crate::fake::{Fake, Reply, text, unknown};

fn page(tags: &str, next: Option<&str>) -> Reply {
    let reply = Reply::new(200);
    let reply = match next {
        Some(next) => reply.with("link", format!("<{next}>; rel=\"next\"")),
        None => reply,
    };
    reply.json(format!(r#"{{"name":"team/app","tags":{tags}}}"#))
}

#[tokio::test]
async fn all_pages_of_tags_are_read() {
    let fake = Fake::start(|seen| match seen.target.as_str() {
        "/v2/team/app/tags/list" => page(r#"["a","b"]"#, Some("/v2/team/app/tags/list?last=b&n=2")),
        "/v2/team/app/tags/list?last=b&n=2" => page(r#"["c"]"#, Some("list?last=c")),
        _ => page("null", None),
    })
    .await;
    assert_eq!(fake.repository(None).tags().await.unwrap(), ["a", "b", "c"]);
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn pages_in_a_circle_and_pages_without_end_are_errors() {
    let circle = Fake::start(|_| page(r#"["a"]"#, Some("/v2/team/app/tags/list"))).await;
    let error = circle.repository(None).tags().await.unwrap_err();
    assert!(text(&error).contains("does not end"), "{}", text(&error));
    let count = AtomicUsize::new(0);
    let endless = Fake::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        page("[]", Some(&format!("/v2/team/app/tags/list?page={number}")))
    })
    .await;
    assert!(endless.repository(None).tags().await.is_err());
}

#[tokio::test]
async fn referrers_come_from_the_api_or_from_the_tag() {
    let subject = Digest::of(b"subject");
    let mut entry = Descriptor::new(media::OCI_MANIFEST, Digest::of(b"sbom"), 4);
    entry.artifact_type = "application/sbom".to_owned();
    let mut other = Descriptor::new(media::OCI_MANIFEST, Digest::of(b"sig"), 3);
    other.artifact_type = "application/signature".to_owned();
    let index = oci_index(&[entry.clone(), other]);
    let body = index.bytes.clone();
    let api = Fake::start(move |_| {
        Reply::new(200)
            .with("content-type", media::OCI_INDEX)
            .body(body.clone())
    })
    .await;
    let wanted = Some("application/sbom");
    let found = api
        .repository(None)
        .referrers(subject, wanted)
        .await
        .unwrap();
    assert_eq!(found.manifests, [entry.clone()]);
    assert_eq!(
        api.seen()[0].target,
        format!("/v2/team/app/referrers/{subject}?artifactType=application%2Fsbom")
    );
    let tag = format!("/v2/team/app/manifests/sha256-{}", subject.hex());
    let body = index.bytes.clone();
    let by_tag = Fake::start(move |seen| match seen.target == tag {
        true => Reply::new(200)
            .with("content-type", media::OCI_INDEX)
            .body(body.clone()),
        false => Reply::new(404),
    })
    .await;
    let found = by_tag
        .repository(None)
        .referrers(subject, wanted)
        .await
        .unwrap();
    assert_eq!(found.manifests, [entry]);
    let none = Fake::start(|_| unknown()).await;
    let found = none
        .repository(None)
        .referrers(subject, None)
        .await
        .unwrap();
    assert!(found.manifests.is_empty());
}
