//! Challenges, tokens, and where credentials go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Method;
use registry::{Credentials, Error, Secret, Version};
use spec::{Classify, ErrorKind};

use crate::fake::{Fake, Reply, Seen, client, manifest, manifest_reply, text, unknown};

const MANIFEST: &str = "/v2/team/app/manifests/1";

fn tag() -> Version {
    Version::Tag("1".to_owned())
}

fn challenge(realm: &str) -> Reply {
    Reply::new(401)
        .with(
            "www-authenticate",
            format!(r#"Bearer realm="{realm}",service="svc",scope="repository:team/app:pull""#),
        )
        .json(r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[]}]}"#)
}

/// A token server that gives `token-1`, `token-2`, …
async fn tokens() -> (Fake, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let fake = Fake::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        Reply::new(200).json(format!(r#"{{"token":"token-{number}","expires_in":300}}"#))
    })
    .await;
    (fake, given)
}

/// A registry that wants a token of the given number at least.
async fn guarded(realm: String, least: usize) -> Fake {
    Fake::start(move |seen| {
        let number = seen
            .header("authorization")
            .and_then(|text| text.strip_prefix("Bearer token-"))
            .and_then(|number| number.parse::<usize>().ok());
        match number {
            Some(number) if number >= least => manifest_reply(seen, &manifest()),
            _ => challenge(&realm),
        }
    })
    .await
}

fn basic_pair(seen: &Seen) -> bool {
    // user:hush
    seen.header("authorization") == Some("Basic dXNlcjpodXNo")
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_and_used_for_all() {
    let (server, given) = tokens().await;
    let registry = guarded(format!("{}/token", server.url()), 1).await;
    let client = client(|_| {});
    let repository = client.repository(&registry.name(), None);
    let found = repository.resolve(&tag()).await.unwrap();
    assert_eq!(found, manifest().descriptor());
    let document = repository.manifest(&tag(), Some(&found)).await.unwrap();
    assert_eq!(document, manifest());
    // Another pull of the same name, and several at once.
    let other = client.repository(&registry.name(), None);
    let version = tag();
    let all = futures_util::future::join_all((0..8).map(|_| other.manifest(&version, None))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(given.load(Ordering::SeqCst), 1);
    let asked = &server.seen()[0];
    assert_eq!(
        asked.target,
        "/token?scope=repository%3Ateam%2Fapp%3Apull&service=svc"
    );
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn a_password_goes_to_the_token_server_and_not_to_the_registry() {
    let (server, _) = tokens().await;
    let registry = guarded(format!("{}/token", server.url()), 1).await;
    let auth = Credentials::new("user", "hush".to_owned());
    registry
        .repository(Some(auth))
        .resolve(&tag())
        .await
        .unwrap();
    let asked = &server.seen()[0];
    assert!(basic_pair(asked));
    assert!(asked.target.contains("account=user") && !asked.target.contains("hush"));
    for seen in registry.seen() {
        let sent = seen.header("authorization").unwrap_or_default();
        assert!(sent.is_empty() || sent.starts_with("Bearer "), "{sent}");
    }
}

#[tokio::test]
async fn an_identity_token_is_posted() {
    let (server, _) = tokens().await;
    let registry = guarded(format!("{}/token", server.url()), 1).await;
    let auth = Credentials {
        identity_token: Secret::new("refresh&me"),
        ..Credentials::default()
    };
    let repository = registry.repository(Some(auth));
    repository.resolve(&tag()).await.unwrap();
    let asked = &server.seen()[0];
    assert_eq!(asked.method, Method::POST);
    assert_eq!(
        asked.body,
        "client_id=docker&grant_type=refresh_token&refresh_token=refresh%26me\
         &scope=repository%3Ateam%2Fapp%3Apull&service=svc"
    );
    assert_eq!(
        asked.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[tokio::test]
async fn a_posted_secret_is_not_redirected_to_another_server() {
    let thief = Fake::start(|_| Reply::new(200).json(r#"{"token":"x"}"#)).await;
    let target = thief.url();
    let server =
        Fake::start(move |_| Reply::new(307).with("location", format!("{target}/token"))).await;
    let registry = guarded(format!("{}/token", server.url()), 1).await;
    let auth = Credentials {
        identity_token: Secret::new("refresh"),
        ..Credentials::default()
    };
    let error = registry
        .repository(Some(auth))
        .resolve(&tag())
        .await
        .unwrap_err();
    assert!(
        text(&error).contains("it leads to another server"),
        "{}",
        text(&error)
    );
    assert!(thief.seen().is_empty());
}

#[tokio::test]
async fn a_token_the_registry_no_longer_takes_is_replaced_once() {
    let (server, given) = tokens().await;
    let least = Arc::new(AtomicUsize::new(1));
    let wanted = Arc::clone(&least);
    let realm = format!("{}/token", server.url());
    let registry = Fake::start(move |seen| {
        let want = format!("Bearer token-{}", wanted.load(Ordering::SeqCst));
        match seen.header("authorization") {
            Some(sent) if *sent == want => manifest_reply(seen, &manifest()),
            _ => challenge(&realm),
        }
    })
    .await;
    let repository = registry.repository(None);
    repository.resolve(&tag()).await.unwrap();
    least.store(2, Ordering::SeqCst);
    repository.resolve(&tag()).await.unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 2);
    // One that never takes any is not asked for ever.
    least.store(100, Ordering::SeqCst);
    let error = repository.resolve(&tag()).await.unwrap_err();
    assert_eq!(text(&error), "unauthorized: authentication required");
    assert!(given.load(Ordering::SeqCst) <= 4, "{given:?}");
}

#[tokio::test]
async fn a_token_server_elsewhere_gets_nothing() {
    let (server, given) = tokens().await;
    let realm = format!("http://{}/token", server.other_host());
    let registry = guarded(realm.clone(), 1).await;
    let auth = Credentials::new("user", "hush".to_owned());
    let error = registry
        .repository(Some(auth.clone()))
        .resolve(&tag())
        .await
        .unwrap_err();
    let said = text(&error);
    assert!(
        said.contains(&realm) && said.contains("token_hosts"),
        "{said}"
    );
    assert!(!said.contains("hush"));
    assert_eq!(given.load(Ordering::SeqCst), 0);
    // The operator may name it, for all registries or for one.
    let host = server.other_host();
    let named = client(move |settings| settings.token_hosts.push(host));
    let repository = named.repository(&registry.name(), Some(auth.clone()));
    repository.resolve(&tag()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join(registry.host());
    std::fs::create_dir(&below).unwrap();
    let text = format!("token_hosts = [\"{}\"]", server.other_host());
    std::fs::write(below.join("hosts.toml"), text).unwrap();
    let certs = dir.path().to_owned();
    let named = client(move |settings| settings.certs_dirs = vec![certs]);
    let repository = named.repository(&registry.name(), Some(auth));
    repository.resolve(&tag()).await.unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn basic_is_answered_when_it_is_asked_for() {
    let registry = Fake::start(|seen| match seen.header("authorization") {
        Some(_) if basic_pair(seen) => manifest_reply(seen, &manifest()),
        _ => Reply::new(401)
            .with("www-authenticate", r#"Basic realm="r""#)
            .json(r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[]}]}"#),
    })
    .await;
    let auth = Credentials::new("user", "hush".to_owned());
    let repository = registry.repository(Some(auth));
    repository.resolve(&tag()).await.unwrap();
    repository.manifest(&tag(), None).await.unwrap();
    // Asked once, brought along from then on.
    let sent: Vec<bool> = registry.seen().iter().map(basic_pair).collect();
    assert_eq!(sent, [false, true, true]);
    let error = registry.repository(None).resolve(&tag()).await.unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "Head \"{}{MANIFEST}\": no basic auth credentials",
            registry.url()
        )
    );
    let wrong = Credentials::new("user", "wrong".to_owned());
    let error = registry
        .repository(Some(wrong))
        .resolve(&tag())
        .await
        .unwrap_err();
    assert_eq!(text(&error), "unauthorized: authentication required");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn of_several_challenges_the_best_is_taken() {
    let (server, given) = tokens().await;
    let realm = format!("{}/token", server.url());
    let registry = Fake::start(move |seen| match seen.header("authorization") {
        Some(sent) if sent.starts_with("Bearer token-") => manifest_reply(seen, &manifest()),
        _ => Reply::new(401).with("www-authenticate", "Negotiate").with(
            "www-authenticate",
            format!(r#"Basic realm="r", Bearer realm="{realm}""#),
        ),
    })
    .await;
    registry.repository(None).resolve(&tag()).await.unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_registry_token_is_passed_through() {
    let (server, given) = tokens().await;
    let realm = format!("{}/token", server.url());
    let registry = Fake::start(move |seen| match seen.header("authorization") {
        Some("Bearer given") => manifest_reply(seen, &manifest()),
        _ => challenge(&realm),
    })
    .await;
    let auth = Credentials {
        registry_token: Secret::new("given"),
        ..Credentials::default()
    };
    registry
        .repository(Some(auth))
        .resolve(&tag())
        .await
        .unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn refusals_read_as_dockers() {
    let (server, _) = tokens().await;
    let realm = format!("{}/token", server.url());
    let registry = Fake::start(move |seen| {
        if seen.header("authorization").is_none() {
            return challenge(&realm);
        }
        Reply::new(401)
            .with(
                "www-authenticate",
                format!(r#"Bearer realm="{realm}",service="svc",scope="repository:team/app:pull",error="insufficient_scope""#),
            )
            .json(r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[]}]}"#)
    })
    .await;
    let repository = registry.repository(None);
    let error = repository.resolve(&tag()).await.unwrap_err();
    assert!(matches!(error, Error::PullDenied { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {}/team/app, repository does not exist or may require \
             'docker login'",
            registry.host()
        )
    );
}

#[tokio::test]
async fn a_token_server_that_says_no_is_named() {
    let server =
        Fake::start(|_| Reply::new(401).json(r#"{"details":"incorrect username or password"}"#))
            .await;
    let registry = guarded(format!("{}/token", server.url()), 1).await;
    let auth = Credentials::new("user", "hush".to_owned());
    let error = registry
        .repository(Some(auth))
        .resolve(&tag())
        .await
        .unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "Head \"{}{MANIFEST}\": unauthorized: incorrect username or password",
            registry.url()
        )
    );
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn hostile_token_answers_are_bounded() {
    for body in [
        "{}",
        "[]",
        "null",
        "<html>",
        r#"{"token":"a\nb"}"#,
        r#"{"token":5}"#,
    ] {
        let server = Fake::start(move |_| Reply::new(200).json(body)).await;
        let registry = guarded(format!("{}/token", server.url()), 1).await;
        assert!(
            registry.repository(None).resolve(&tag()).await.is_err(),
            "{body}"
        );
    }
    let endless = Fake::start(|_| {
        let piece = bytes::Bytes::from(vec![b' '; 1 << 16]);
        Reply::new(200).pieces(futures_util::stream::repeat(piece))
    })
    .await;
    let registry = guarded(format!("{}/token", endless.url()), 1).await;
    let error = registry.repository(None).resolve(&tag()).await.unwrap_err();
    assert!(text(&error).contains("longer than"), "{}", text(&error));
}

#[tokio::test]
async fn headers_of_the_user_reach_the_registry_only() {
    let (server, _) = tokens().await;
    let registry = guarded(format!("{}/token", server.url()), 1).await;
    let repository = registry.repository(None).with_headers(vec![
        ("X-Meta-Team".to_owned(), "blue".to_owned()),
        ("Authorization".to_owned(), "Bearer token-9".to_owned()),
        ("Host".to_owned(), "evil.example".to_owned()),
        ("X-Bad".to_owned(), "a\r\nb".to_owned()),
    ]);
    repository.resolve(&tag()).await.unwrap();
    assert!(
        registry
            .seen()
            .iter()
            .all(|seen| seen.header("x-meta-team") == Some("blue"))
    );
    assert_eq!(registry.seen()[0].header("authorization"), None);
    assert_eq!(
        registry.seen()[0].header("host"),
        Some(registry.host().as_str())
    );
    assert!(
        server
            .seen()
            .iter()
            .all(|seen| seen.header("x-meta-team").is_none())
    );
}

#[tokio::test]
async fn what_is_not_there_is_said_as_docker_says_it() {
    let registry = Fake::start(|_| unknown()).await;
    let error = registry.repository(None).resolve(&tag()).await.unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "manifest for {}/team/app:1 not found: manifest unknown: manifest unknown",
            registry.host()
        )
    );
    assert!(error.is_not_found());
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let plain = error.plain();
    assert_eq!(text(&plain), "manifest unknown: manifest unknown");
    assert_eq!(plain.kind(), ErrorKind::NotFound);
}
