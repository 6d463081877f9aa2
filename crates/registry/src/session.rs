//! Requests to one endpoint, with whatever it takes to be let in.
//!
//! Nothing is sent before the registry asked for it: the first request goes without credentials,
//! a challenge says what is wanted, and from then on requests bring it along.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::challenge::{Challenge, challenges};
use crate::credentials::{basic, bearer};
use crate::endpoint::Endpoint;
use crate::origin::{Origin, shown};
use crate::realm;
use crate::registry::Shared;
use crate::scope::Scopes;
use crate::token::{self, Access, Server, Tokens};
use crate::transport::{Answer, Call, Payload, go_method};
use crate::{Credentials, Error, Result, Secret, TransportError};

/// How long the text of an error is waited for.
pub(crate) const ERROR_PATIENCE: Duration = Duration::from_secs(10);

/// One endpoint and one user.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) endpoint: Arc<Endpoint>,
    shared: Arc<Shared>,
    /// Only where they belong to this endpoint.
    credentials: Option<Arc<Credentials>>,
    /// Headers of the user (`X-Meta-*`).
    meta: HeaderMap,
    learned: Mutex<Learned>,
    /// One token is fetched at a time, so that parallel layers share the first one. Held across
    /// awaits, hence not of std.
    gate: tokio::sync::Mutex<()>,
    reached: AtomicBool,
}

/// What the endpoint wants to see.
#[derive(Debug, Clone)]
enum Learned {
    Nothing,
    Basic,
    Bearer(Server),
}

/// A header, and whether it was made just now.
struct Proof {
    header: HeaderValue,
    is_fresh: bool,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        endpoint: Arc<Endpoint>,
        credentials: Option<Arc<Credentials>>,
        meta: HeaderMap,
    ) -> Self {
        let credentials = credentials.filter(|own| !endpoint.is_mirror && !own.is_empty());
        Self {
            endpoint,
            shared,
            credentials,
            meta,
            learned: Mutex::new(Learned::Nothing),
            gate: tokio::sync::Mutex::default(),
            reached: AtomicBool::new(false),
        }
    }

    /// Tells whether the endpoint answered at all, which settles how it is spoken to.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A request without a body to something below the base.
    pub(crate) fn call(&self, method: Method, url: Url) -> Call {
        Call {
            method,
            url,
            headers: HeaderMap::new(),
            private: HeaderMap::new(),
            authorization: None,
            payload: Payload::Empty,
            patience: self.shared.transport.settings.timeouts.answer,
        }
    }

    /// Sends a request; what the registry answers, good or bad, is returned. Requests to another
    /// origin than the endpoint's (a `Location` may say so) go without credentials.
    ///
    /// # Errors
    ///
    /// Where there is no answer, or no way to be let in.
    pub(crate) async fn send(&self, mut call: Call, scopes: &Scopes) -> Result<Answer> {
        if Origin::of(&call.url)? != self.endpoint.origin {
            return self.once(call).await;
        }
        call.private = self.endpoint.headers.clone();
        call.private.extend(self.meta.clone());
        let about = (call.method.clone(), call.url.clone());
        let blocked = |error| blocked(&about.0, &about.1, error);
        let proof = self.proof(scopes).await.map_err(blocked)?;
        call.authorization = proof.as_ref().map(|proof| proof.header.clone());
        let again = call.again();
        let answer = self.once(call).await?;
        let own = Origin::of(&answer.url).is_ok_and(|origin| origin == self.endpoint.origin);
        let Some(mut again) = again.filter(|_| own && answer.status() == StatusCode::UNAUTHORIZED)
        else {
            return Ok(answer);
        };
        match self.learn(&answer, scopes, proof).await.map_err(blocked)? {
            None => Ok(answer),
            Some(header) => {
                again.authorization = Some(header);
                self.once(again).await
            }
        }
    }

    /// Sends a request with the authorization that it already has, or none.
    pub(crate) async fn send_as_is(&self, mut call: Call) -> Result<Answer> {
        call.private = self.endpoint.headers.clone();
        self.once(call).await
    }

    async fn once(&self, call: Call) -> Result<Answer> {
        let sent = self.shared.transport.send(&*self.endpoint, call).await;
        match sent {
            Ok(answer) => {
                self.reached.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            // Docker asks for `/v2/` first, so this is what it says of a registry it cannot reach.
            Err(Error::Request { source, .. })
                if !self.is_reached() && !matches!(source, TransportError::Redirect { .. }) =>
            {
                Err(Error::Request {
                    method: go_method(&Method::GET),
                    url: shown(&self.endpoint.ping()),
                    source,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// What is brought along without being asked again.
    async fn proof(&self, scopes: &Scopes) -> Result<Option<Proof>> {
        let learned = self
            .learned
            .lock()
            .expect("nothing panics while it holds")
            .clone();
        match learned {
            Learned::Nothing => Ok(None),
            Learned::Basic => self.basic().map(|header| {
                Some(Proof {
                    header,
                    is_fresh: true,
                })
            }),
            Learned::Bearer(server) => self.token(&server, scopes).await.map(Some),
        }
    }

    /// Reads the challenges of a refusal; gives what to try instead, if there is anything.
    async fn learn(
        &self,
        answer: &Answer,
        scopes: &Scopes,
        tried: Option<Proof>,
    ) -> Result<Option<HeaderValue>> {
        let all = challenges(answer.headers());
        if let Some(challenge) = all.iter().find(|challenge| challenge.scheme == "bearer") {
            return self.learn_bearer(challenge, scopes, tried).await;
        }
        if !all.iter().any(|challenge| challenge.scheme == "basic") {
            return Ok(None);
        }
        let header = self.basic()?;
        self.remember(Learned::Basic);
        Ok(tried
            .is_none_or(|tried| tried.header != header)
            .then_some(header))
    }

    async fn learn_bearer(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        tried: Option<Proof>,
    ) -> Result<Option<HeaderValue>> {
        if let Some(own) = &self.credentials
            && !own.registry_token.is_empty()
        {
            let header = bearer(&own.registry_token)?;
            return Ok(tried.is_none().then_some(header));
        }
        let realm = challenge.get("realm").ok_or_else(|| Error::Credentials {
            why: "no realm specified for token auth challenge".to_owned(),
        })?;
        let server = Server {
            realm: realm::check(
                &self.endpoint.ping(),
                realm,
                self.credentials.is_some(),
                &self.endpoint.token_hosts,
            )?,
            service: challenge.get("service").unwrap_or_default().to_owned(),
        };
        let asked = scopes
            .clone()
            .with_text(challenge.get("scope").unwrap_or_default());
        if let Some(tried) = tried {
            if tried.is_fresh && asked == *scopes {
                return Ok(None);
            }
            // The token was good by its time and is not by the registry's.
            let key = Tokens::key(&server, scopes, self.credentials.as_deref());
            self.shared.tokens.forget(&key);
        }
        self.remember(Learned::Bearer(server.clone()));
        self.token(&server, &asked)
            .await
            .map(|proof| Some(proof.header))
    }

    fn remember(&self, learned: Learned) {
        *self.learned.lock().expect("nothing panics while it holds") = learned;
    }

    fn basic(&self) -> Result<HeaderValue> {
        match &self.credentials {
            Some(own) if own.has_password() => basic(own),
            _ => Err(Error::NoCredentials),
        }
    }

    async fn token(&self, server: &Server, scopes: &Scopes) -> Result<Proof> {
        let own = self.credentials.as_deref();
        if let Some(own) = own
            && !own.registry_token.is_empty()
        {
            return Ok(Proof {
                header: bearer(&own.registry_token)?,
                is_fresh: true,
            });
        }
        let key = Tokens::key(server, scopes, own);
        let known = |secret: Secret| {
            bearer(&secret).map(|header| Proof {
                header,
                is_fresh: false,
            })
        };
        if let Some(secret) = self.shared.tokens.get(&key) {
            return known(secret);
        }
        let _one_at_a_time = self.gate.lock().await;
        if let Some(secret) = self.shared.tokens.get(&key) {
            return known(secret);
        }
        let token = self.fetch(server, scopes, Access::Online).await?;
        self.shared.tokens.put(key, &token);
        Ok(Proof {
            header: bearer(&token.access)?,
            is_fresh: true,
        })
    }

    async fn fetch(
        &self,
        server: &Server,
        scopes: &Scopes,
        access: Access,
    ) -> Result<token::Token> {
        let own = self.credentials.as_deref();
        let transport = &self.shared.transport;
        token::fetch(transport, &*self.endpoint, server, scopes, own, access).await
    }

    /// Tries the credentials at `/v2/`, as `docker login` does; gives an identity token where
    /// there is one.
    pub(crate) async fn login(&self) -> Result<Secret> {
        let ping = self.endpoint.ping();
        let within = self.shared.transport.settings.timeouts.token;
        let call = || Call {
            patience: within,
            ..self.call(Method::GET, ping.clone())
        };
        let mut first = call();
        first.private = self.endpoint.headers.clone();
        let answer = self.once(first).await?;
        let blocked = |error| blocked(&Method::GET, &ping, error);
        let mut identity = Secret::default();
        let mut second = call();
        second.private = self.endpoint.headers.clone();
        if answer.status() == StatusCode::UNAUTHORIZED {
            let (header, refresh) = self.login_proof(&answer).await.map_err(blocked)?;
            identity = refresh;
            second.authorization = header;
        }
        let answer = self.once(second).await?;
        if answer.status() != StatusCode::OK {
            return Err(Error::Login {
                url: shown(&ping),
                status: answer.status().to_string(),
            });
        }
        Ok(identity)
    }

    async fn login_proof(&self, answer: &Answer) -> Result<(Option<HeaderValue>, Secret)> {
        let all = challenges(answer.headers());
        let Some(challenge) = all.iter().find(|challenge| challenge.scheme == "bearer") else {
            let wants = all.iter().any(|challenge| challenge.scheme == "basic");
            let header = wants.then(|| self.basic()).transpose()?;
            return Ok((header, Secret::default()));
        };
        let realm = challenge.get("realm").ok_or_else(|| Error::Credentials {
            why: "no realm specified for token auth challenge".to_owned(),
        })?;
        let with_credentials = self.credentials.is_some();
        let server = Server {
            realm: realm::check(
                &self.endpoint.ping(),
                realm,
                with_credentials,
                &self.endpoint.token_hosts,
            )?,
            service: challenge.get("service").unwrap_or_default().to_owned(),
        };
        let token = self
            .fetch(&server, &Scopes::default(), Access::Offline)
            .await?;
        Ok((Some(bearer(&token.access)?), token.refresh))
    }
}

/// Go wraps what happens before a request into an error about the request.
fn blocked(method: &Method, url: &Url, error: Error) -> Error {
    Error::Authorization {
        method: go_method(method),
        url: shown(url),
        source: Box::new(error),
    }
}
