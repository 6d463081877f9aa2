//! Login and search.

use hyper::Method;
use registry::Credentials;
use spec::{Classify, ErrorKind};

use crate::fake::{Fake, Reply, client, text};

fn pair(password: &str) -> Credentials {
    Credentials::new("user", password.to_owned())
}

#[tokio::test]
async fn basic_logins_are_tried_at_the_root() {
    let fake = Fake::start(|seen| {
        assert_eq!(seen.target, "/v2/");
        match seen.header("authorization") {
            Some("Basic dXNlcjpodXNo") => Reply::new(200),
            _ => Reply::new(401).with("www-authenticate", "Basic realm=r"),
        }
    })
    .await;
    let registry = client(|_| {});
    for host in [fake.host(), fake.url(), format!("{}/v2/", fake.url())] {
        let outcome = registry.login(&host, &pair("hush")).await.unwrap();
        assert_eq!(outcome.status, "Login Succeeded");
        assert!(outcome.identity_token.is_empty());
    }
    let error = registry
        .login(&fake.host(), &pair("wrong"))
        .await
        .unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "login attempt to {}/v2/ failed with status: 401 Unauthorized",
            fake.url()
        )
    );
    let error = registry
        .login(&fake.host(), &Credentials::default())
        .await
        .unwrap_err();
    assert_eq!(
        text(&error),
        format!("Get \"{}/v2/\": no basic auth credentials", fake.url())
    );
}

#[tokio::test]
async fn token_logins_bring_an_identity_token() {
    let tokens = Fake::start(|seen| match seen.header("authorization") {
        Some("Basic dXNlcjpodXNo") => {
            Reply::new(200).json(r#"{"token":"t","refresh_token":"keep-me"}"#)
        }
        _ => Reply::new(401).json(r#"{"details":"incorrect username or password"}"#),
    })
    .await;
    let realm = format!("{}/token", tokens.url());
    let fake = Fake::start(move |seen| match seen.header("authorization") {
        Some("Bearer t") => Reply::new(200),
        _ => Reply::new(401).with(
            "www-authenticate",
            format!("Bearer realm=\"{realm}\",service=\"s\""),
        ),
    })
    .await;
    let registry = client(|_| {});
    let outcome = registry.login(&fake.host(), &pair("hush")).await.unwrap();
    assert_eq!(outcome.identity_token.expose(), "keep-me");
    assert_eq!(
        tokens.seen()[0].target,
        "/token?account=user&client_id=docker&offline_token=true&service=s"
    );
    let error = registry
        .login(&fake.host(), &pair("wrong"))
        .await
        .unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "Get \"{}/v2/\": unauthorized: incorrect username or password",
            fake.url()
        )
    );
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn open_registries_take_anybody() {
    let fake = Fake::start(|_| Reply::new(200)).await;
    let registry = client(|_| {});
    registry.login(&fake.host(), &pair("any")).await.unwrap();
    assert!(
        fake.seen()
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
}

#[tokio::test]
async fn an_index_is_searched() {
    let fake = Fake::start(|seen| {
        assert_eq!(seen.target, "/v1/search?q=a+b&n=25");
        Reply::new(200).json(
            r#"{"num_results":1,"results":[{"name":"a","description":"d","star_count":5,
                "is_official":true,"is_automated":true}]}"#,
        )
    })
    .await;
    let index = fake.url();
    let registry = client(move |settings| settings.index = index);
    let found = registry.search("library/a b", 0, None).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].is_official && !found[0].is_automated);
    assert_eq!((found[0].name.as_str(), found[0].star_count), ("a", 5));
    let error = registry.search("a", 101, None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "limit 101 is outside the range of [1, 100]"
    );
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(registry.search("https://a", 1, None).await.is_err());
    let none = Fake::start(|_| Reply::new(404)).await;
    let error = registry
        .search(&format!("{}/x", none.host()), 1, Some(&pair("hush")))
        .await
        .unwrap_err();
    assert_eq!(text(&error), "Unexpected status code 404");
    // A password is not sent in plain text to someone who did not ask.
    assert!(
        none.seen()
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    assert_eq!(none.count(&Method::GET, "/v1/search"), 1);
}
