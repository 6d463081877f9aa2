//! Requests and answers: connections, proxies, redirects, waits.
//!
//! ```text
//! Call ──► client for (TLS profile) ──► 3xx? ──► same origin: everything goes along
//!                                        │      other origin: no credentials, no private headers
//!                                        └──►   https -> http: refused
//! ```
//!
//! Redirects are followed here and not by the HTTP library, because the library binds credentials
//! to a host, not to an origin.

mod answer;
mod failure;
mod outgoing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use reqwest::{Client, Method, StatusCode};
use spec::Digest;
use url::Url;

pub(crate) use answer::Answer;
pub(crate) use failure::go_method;

use crate::origin::{Origin, invalid, shown};
use crate::proxy::Proxies;
use crate::resolver::{Resolver, Shared};
use crate::tls::{Profile, System, nobody};
use crate::{Body, Error, Result, Settings, TransportError};

/// Clients, each with its pool, that are kept.
const MAX_CLIENTS: usize = 64;
/// Idle connections to one host; more than that many layers at once are rare.
const IDLE_CONNECTIONS: usize = 16;
/// How long an idle connection is kept.
const IDLE: std::time::Duration = std::time::Duration::from_secs(30);

/// What a server may send ahead of the reader in one stream of HTTP/2; each layer is one.
const STREAM_WINDOW: u32 = 2 << 20;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 8 << 20;

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Goes wherever the request goes.
    pub(crate) headers: HeaderMap,
    /// Goes to the origin of `url` only.
    pub(crate) private: HeaderMap,
    /// Goes to the origin of `url` only.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) payload: Payload,
    /// How long the answer's head may take once everything was sent.
    pub(crate) patience: std::time::Duration,
}

/// What a request brings.
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// A stream of this many bytes, if that is known. It can be sent once.
    Stream(Body, Option<u64>),
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_, length) => write!(f, "Stream({length:?})"),
        }
    }
}

impl Call {
    /// The same request once more; a stream cannot be repeated.
    pub(crate) fn again(&self) -> Option<Self> {
        let payload = match &self.payload {
            Payload::Empty => Payload::Empty,
            Payload::Bytes(bytes) => Payload::Bytes(bytes.clone()),
            Payload::Stream(..) => return None,
        };
        Some(Self {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            private: self.private.clone(),
            authorization: self.authorization.clone(),
            payload,
            patience: self.patience,
        })
    }
}

/// Tells with which certificates a URL is asked; endpoints do.
pub(crate) trait Trust: Send + Sync {
    /// The profile for a URL that a request to this endpoint led to.
    fn profile(&self, url: &Url) -> Arc<Profile>;
}

/// Connections to everywhere, under one set of settings.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) settings: Arc<Settings>,
    user_agent: HeaderValue,
    proxies: Arc<Proxies>,
    resolver: Arc<Resolver>,
    system: System,
    clients: Mutex<HashMap<Option<Digest>, Client>>,
}

impl Transport {
    pub(crate) fn new(settings: Arc<Settings>, resolver: Arc<Resolver>) -> Result<Self> {
        let user_agent = HeaderValue::from_str(&settings.user_agent)
            .map_err(|_| invalid("the user agent is not a header that can be sent".to_owned()))?;
        let proxies = Proxies::new(
            &settings.http_proxy,
            &settings.https_proxy,
            &settings.no_proxy,
        )?;
        Ok(Self {
            settings,
            user_agent,
            proxies: Arc::new(proxies),
            resolver,
            system: System::default(),
            clients: Mutex::default(),
        })
    }

    /// Tells whether a host (`host[:port]`) is reached through a proxy.
    pub(crate) fn is_proxied(&self, authority: &str) -> bool {
        let url = format!("https://{authority}/").parse();
        url.is_ok_and(|url| self.proxies.of(&url).is_some())
    }

    /// Sends a request and follows where it leads.
    pub(crate) async fn send(&self, trust: &dyn Trust, mut call: Call) -> Result<Answer> {
        call.headers
            .entry(USER_AGENT)
            .or_insert_with(|| self.user_agent.clone());
        let start = Origin::of(&call.url)?;
        let mut private = true;
        let mut left = self.settings.limits.redirects;
        let mut again = is_read(&call.method);
        loop {
            let profile = trust.profile(&call.url);
            let answer = match self.once(&profile, &mut call, private).await {
                // A server may close a connection that it kept at the moment at which a request
                // goes out on it. Nothing was answered: what only reads is asked once more.
                Err(error) if again && error.is_cut() => {
                    again = false;
                    continue;
                }
                answer => answer?,
            };
            let Some(next) = self.next(&call, &answer)? else {
                return Ok(answer);
            };
            if left == 0 {
                return Err(redirect(
                    &call,
                    format!("stopped after {} redirects", self.settings.limits.redirects),
                ));
            }
            left -= 1;
            // Once away, credentials stay away, also when a redirect leads back.
            private &= Origin::of(&next)? == start;
            call.url = next;
        }
    }

    async fn once(&self, profile: &Profile, call: &mut Call, private: bool) -> Result<Answer> {
        let origin = Origin::of(&call.url)?;
        let client = self.client(profile, &origin)?;
        let mut request = reqwest::Request::new(call.method.clone(), call.url.clone());
        *request.headers_mut() = call.headers.clone();
        if private {
            let own = call.private.iter();
            for (name, value) in own {
                request.headers_mut().append(name, value.clone());
            }
            if let Some(authorization) = &call.authorization {
                request
                    .headers_mut()
                    .insert(AUTHORIZATION, authorization.clone());
            }
        }
        let progress = outgoing::attach(&mut request, &mut call.payload);
        let waiting = client.execute(request);
        let answer =
            outgoing::supervise(waiting, &progress, call.patience, &self.settings.timeouts).await;
        match answer {
            Ok(response) => Ok(Answer::new(
                response,
                call.method.clone(),
                call.url.clone(),
                &self.settings,
            )),
            Err(source) => Err(Error::Request {
                method: go_method(&call.method),
                url: shown(&call.url),
                source: source.resolve(&call.url, self.proxies.of(&call.url), &self.resolver),
            }),
        }
    }

    /// Where an answer sends the request on, if it does.
    fn next(&self, call: &Call, answer: &Answer) -> Result<Option<Url>> {
        let again = match answer.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => is_read(&call.method),
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                !matches!(call.payload, Payload::Stream(..))
            }
            StatusCode::SEE_OTHER => is_read(&call.method),
            _ => return Ok(None),
        };
        let Some(location) = answer.header(LOCATION.as_str()) else {
            return Ok(None);
        };
        if !again {
            return Err(redirect(
                call,
                format!("a {} answer to it is not followed", answer.status()),
            ));
        }
        let next = join(&call.url, location).map_err(|why| redirect(call, why))?;
        // A body may hold a secret, and what is stored belongs to the registry itself.
        if !is_read(&call.method) && Origin::of(&next)? != Origin::of(&call.url)? {
            return Err(redirect(
                call,
                format!("it leads to another server, to `{}`", shown(&next)),
            ));
        }
        Ok(Some(next))
    }

    fn client(&self, profile: &Profile, origin: &Origin) -> Result<Client> {
        let key = origin.is_https().then_some(profile.id);
        let lock = || self.clients.lock().expect("nothing panics while it holds");
        if let Some(client) = lock().get(&key) {
            return Ok(client.clone());
        }
        let config = if key.is_some() {
            profile.config(&self.system)?
        } else {
            nobody()?
        };
        let proxies = Arc::clone(&self.proxies);
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.settings.timeouts.connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .tcp_nodelay(true)
            .referer(false)
            .dns_resolver(Shared(Arc::clone(&self.resolver)))
            .proxy(reqwest::Proxy::custom(move |url| proxies.of(url)))
            .build()
            .map_err(|error| invalid(format!("the HTTP client cannot be set up: {error}")))?;
        let mut clients = lock();
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn redirect(call: &Call, text: String) -> Error {
    Error::Request {
        method: go_method(&call.method),
        url: shown(&call.url),
        source: TransportError::Redirect { text },
    }
}

/// Follows a `Location` from where it was given; never from TLS to plain text.
pub(crate) fn join(from: &Url, location: &str) -> std::result::Result<Url, String> {
    let next = from
        .join(location)
        .map_err(|error| format!("failed to parse Location header: {error}"))?;
    let (Ok(before), Ok(after)) = (Origin::of(from), Origin::of(&next)) else {
        return Err(format!("unsupported protocol scheme \"{}\"", next.scheme()));
    };
    if before.is_https() && !after.is_https() {
        return Err(format!(
            "it leads from https to plain http, to `{}`",
            shown(&next)
        ));
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err(format!(
            "it leads to a URL with a user name, `{}`",
            shown(&next)
        ));
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_never_leave_tls() {
        let from: Url = "https://a.example/v2/x?y=1".parse().unwrap();
        let good = |location: &str| join(&from, location).map(|url| url.to_string());
        assert_eq!(good("/z?s=2").unwrap(), "https://a.example/z?s=2");
        assert_eq!(good("https://b.example/").unwrap(), "https://b.example/");
        assert_eq!(good("//b.example/").unwrap(), "https://b.example/");
        for bad in [
            "http://a.example/",
            "file:///x",
            "https://u:p@b.example/",
            "https://",
        ] {
            assert!(good(bad).is_err(), "{bad}");
        }
    }
}
