//! Bearer tokens: fetching them and keeping them while they are good.
//!
//! A token server is asked with GET and Basic, as Docker does for a password, or with POST and
//! OAuth2 for an identity token. What comes back is kept per realm, service, scopes and user.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use spec::Digest;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::credentials::basic;
use crate::reply;
use crate::scope::Scopes;
use crate::transport::{Call, Payload, Transport, Trust};
use crate::{Credentials, Error, Result, Secret};

/// How Docker calls itself to token servers, which know it by that name.
const CLIENT_ID: &str = "docker";
/// Shortest life of a token, also where none is told.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// Longest life that is believed.
const MOST_LIFE: Duration = Duration::from_secs(3600);
/// A token is not used in its last seconds, so that it is good when it arrives.
const MARGIN: Duration = Duration::from_secs(5);
/// Tokens that are kept.
const MAX_TOKENS: usize = 512;
/// Longest answer of a token server.
const MAX_ANSWER: usize = 1 << 20;

/// What a Bearer challenge says, checked.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) realm: Url,
    pub(crate) service: String,
}

/// Whether a refresh token is wanted besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Online,
    /// For a login.
    Offline,
}

/// What a token server gave.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) access: Secret,
    pub(crate) refresh: Secret,
    life: Duration,
}

/// Tokens that are still good.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    all: Mutex<HashMap<Digest, (Secret, Instant)>>,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

impl Tokens {
    /// The name under which a token is kept.
    pub(crate) fn key(
        server: &Server,
        scopes: &Scopes,
        credentials: Option<&Credentials>,
    ) -> Digest {
        let user = credentials.map_or(String::new(), |own| {
            // Only the digest of this text is kept.
            [
                own.username.as_str(),
                own.password.expose(),
                own.identity_token.expose(),
            ]
            .join("\0")
        });
        let all = format!("{}\n{}\n{scopes}\n{user}", server.realm, server.service);
        Digest::of(all.as_bytes())
    }

    pub(crate) fn get(&self, key: &Digest) -> Option<Secret> {
        let all = self.all.lock().expect("nothing panics while it holds");
        let (secret, until) = all.get(key)?;
        (*until > Instant::now()).then(|| secret.clone())
    }

    pub(crate) fn put(&self, key: Digest, token: &Token) {
        let now = Instant::now();
        let mut all = self.all.lock().expect("nothing panics while it holds");
        all.retain(|_, (_, until)| *until > now);
        if all.len() >= MAX_TOKENS {
            all.clear();
        }
        let until = now + token.life.saturating_sub(MARGIN);
        all.insert(key, (token.access.clone(), until));
    }

    pub(crate) fn forget(&self, key: &Digest) {
        let mut all = self.all.lock().expect("nothing panics while it holds");
        all.remove(key);
    }
}

/// Asks a token server.
pub(crate) async fn fetch(
    transport: &Transport,
    trust: &dyn Trust,
    server: &Server,
    scopes: &Scopes,
    credentials: Option<&Credentials>,
    access: Access,
) -> Result<Token> {
    let call = match credentials {
        Some(own) if !own.identity_token.is_empty() => post(server, scopes, own),
        own => get(server, scopes, own, access)?,
    };
    let within = transport.settings.timeouts.token;
    let mut answer = transport
        .send(
            trust,
            Call {
                patience: within,
                ..call
            },
        )
        .await?;
    if !answer.status().is_success() {
        return Err(reply::error(&mut answer).await);
    }
    let bytes = answer.bytes(MAX_ANSWER, within).await?;
    let given: Given = serde_json::from_slice(&bytes).map_err(|error| Error::Token {
        why: format!(
            "unable to decode token response: {}",
            reply::json_error(&bytes, &error)
        ),
    })?;
    read(given).ok_or_else(|| Error::Token {
        why: "authorization server did not include a token in the response".to_owned(),
    })
}

fn read(given: Given) -> Option<Token> {
    let full = |text: Option<String>| text.filter(|text| !text.is_empty());
    let access = full(given.access_token).or_else(|| full(given.token))?;
    let told = given
        .expires_in
        .unwrap_or_default()
        .clamp(0.0, MOST_LIFE.as_secs_f64());
    Some(Token {
        access: access.into(),
        refresh: full(given.refresh_token).unwrap_or_default().into(),
        life: Duration::from_secs_f64(if told.is_nan() { 0.0 } else { told }).max(LEAST_LIFE),
    })
}

/// GET with Basic, or anonymous.
fn get(
    server: &Server,
    scopes: &Scopes,
    credentials: Option<&Credentials>,
    access: Access,
) -> Result<Call> {
    let mut url = server.realm.clone();
    let own = credentials.filter(|own| own.has_password());
    {
        let mut query = url.query_pairs_mut();
        if let Some(own) = own {
            query.append_pair("account", &own.username);
        }
        if access == Access::Offline {
            query.append_pair("client_id", CLIENT_ID);
            query.append_pair("offline_token", "true");
        }
        for scope in scopes.texts() {
            query.append_pair("scope", &scope);
        }
        if !server.service.is_empty() {
            query.append_pair("service", &server.service);
        }
    }
    Ok(Call {
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        private: HeaderMap::new(),
        authorization: own.map(basic).transpose()?,
        payload: Payload::Empty,
        patience: LEAST_LIFE,
    })
}

/// POST with OAuth2 and an identity token.
fn post(server: &Server, scopes: &Scopes, own: &Credentials) -> Call {
    let scopes: Vec<String> = scopes.texts().collect();
    let form = Serializer::new(String::new())
        .append_pair("client_id", CLIENT_ID)
        .append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", own.identity_token.expose())
        .append_pair("scope", &scopes.join(" "))
        .append_pair("service", &server.service)
        .finish();
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, kind);
    Call {
        method: Method::POST,
        url: server.realm.clone(),
        headers,
        private: HeaderMap::new(),
        authorization: None,
        payload: Payload::Bytes(Bytes::from(form)),
        patience: LEAST_LIFE,
    }
}

/// Tells whether an error is a token server's no to the user.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Api(errors) if errors.code() == "UNAUTHORIZED")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(json: &str) -> Option<Token> {
        read(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn lives_are_bounded() {
        for (json, want) in [
            (r#"{"token":"a"}"#, LEAST_LIFE),
            (r#"{"token":"a","expires_in":1}"#, LEAST_LIFE),
            (
                r#"{"token":"a","expires_in":300}"#,
                Duration::from_secs(300),
            ),
            (r#"{"token":"a","expires_in":1e300}"#, MOST_LIFE),
            (r#"{"token":"a","expires_in":-5}"#, LEAST_LIFE),
        ] {
            assert_eq!(given(json).unwrap().life, want, "{json}");
        }
        assert!(given("{}").is_none() && given(r#"{"token":""}"#).is_none());
        let both = given(r#"{"token":"a","access_token":"b","refresh_token":"c"}"#).unwrap();
        assert_eq!((both.access.expose(), both.refresh.expose()), ("b", "c"));
    }

    #[test]
    fn tokens_are_kept_per_user_and_scope() {
        let tokens = Tokens::default();
        let server = Server {
            realm: "https://auth.example/token".parse().unwrap(),
            service: "s".to_owned(),
        };
        let key = |scope: &str, password: &str| {
            let own = Credentials::new("u", password.to_owned());
            Tokens::key(&server, &Scopes::repository(scope, &["pull"]), Some(&own))
        };
        tokens.put(key("a", "p"), &given(r#"{"token":"t"}"#).unwrap());
        assert!(tokens.get(&key("a", "p")).is_some());
        assert!(tokens.get(&key("b", "p")).is_none());
        assert!(tokens.get(&key("a", "q")).is_none());
        tokens.forget(&key("a", "p"));
        assert!(tokens.get(&key("a", "p")).is_none());
    }
}
