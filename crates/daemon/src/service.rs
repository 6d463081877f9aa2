//! From a request to its answer: who may ask, which version, which route, and nothing else.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, HeaderValue, LOCATION, ORIGIN};
use hyper::{HeaderMap, Method, Request, StatusCode};
use tracing::{Instrument, debug, error, info, info_span};

use crate::body::SharedBody;
use crate::call::{Call, Context};
use crate::error::ApiError;
use crate::query::{Plus, Query, unescape};
use crate::reply::{self, Reply};
use crate::router::{clean_path, compare_versions, split_version};
use crate::routes;

/// Longest path accepted, after unescaping; image names are at most 255 characters and a tag.
const MAX_PATH: usize = 8 * 1024;

/// Who may talk to a listener.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever could open the socket.
    Local,
    /// Whoever addresses this host by number, as localhost, or by one of these names: a browser
    /// lured to a foreign name must not reach the daemon.
    Network(Arc<Vec<String>>),
}

/// Serves one request; failures become answers here.
pub async fn serve(
    context: Arc<Context>,
    access: Access,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let span = info_span!("request", method = %request.method(), route = request.uri().path());
    let experimental = context.experimental;
    let started = std::time::Instant::now();
    let request = request.map(SharedBody::new);
    let unread = request.body().clone();
    let answer = async {
        let handled = AssertUnwindSafe(handle(context, &access, request))
            .catch_unwind()
            .await;
        let mut reply = match handled {
            Ok(Ok(reply)) => reply,
            Ok(Err(failure)) => {
                log_failure(&failure);
                reply::error(&failure)
            }
            Err(_) => {
                error!("a handler panicked");
                reply::error(&ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal error: the handler of this request failed; the daemon goes on",
                ))
            }
        };
        if reply.body().size_hint().exact().is_some()
            && reply.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            unread.drain().await;
        }
        reply::add_common_headers(reply.headers_mut(), experimental);
        debug!(
            status = reply.status().as_u16(),
            elapsed_ms = elapsed_ms(started),
            "request served"
        );
        reply
    };
    Ok(answer.instrument(span).await)
}

fn elapsed_ms(started: std::time::Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn log_failure(failure: &ApiError) {
    let status = failure.status.as_u16();
    match status {
        304 => {}
        500 => error!(status, error = %failure.message, "request failed"),
        _ => info!(status, error = %failure.message, "request failed"),
    }
}

async fn handle(
    context: Arc<Context>,
    access: &Access,
    request: Request<SharedBody>,
) -> Result<Reply, ApiError> {
    check_framing(&request)?;
    if let Access::Network(names) = access {
        check_host(request.headers(), names)?;
    }
    let raw = request.uri().path();
    if raw.len() > MAX_PATH {
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, "path is too long"));
    }
    let path = unescape(raw, Plus::IsPlus)?;
    let clean = clean_path(&path);
    if clean != path {
        return Ok(redirect(&clean));
    }
    if request.method() == Method::OPTIONS {
        return Ok(reply::empty(StatusCode::OK));
    }
    let (version, path) = split_version(&path);
    let (route, params) = routes::find(request.method(), path)?;
    let version = version.unwrap_or(api::MAX_VERSION).to_owned();
    if let Some(refusal) = check_version(&version)? {
        return Ok(refusal);
    }
    let query = Query::parse(request.uri().query().unwrap_or(""))?;
    (route.handler)(Call {
        context,
        params,
        query,
        version,
        request,
    })
    .await
}

/// Refuses what could be read in two ways by us and by a proxy in front of us.
fn check_framing(request: &Request<SharedBody>) -> Result<(), ApiError> {
    let headers = request.headers();
    if headers.contains_key("content-length") && headers.contains_key("transfer-encoding") {
        return Err(ApiError::bad_request(
            "both Content-Length and Transfer-Encoding are given",
        ));
    }
    if request.version() == hyper::Version::HTTP_11 && !headers.contains_key(HOST) {
        return Err(ApiError::bad_request("missing required Host header"));
    }
    Ok(())
}

fn redirect(path: &str) -> Reply {
    let mut reply = reply::empty(StatusCode::MOVED_PERMANENTLY);
    if let Ok(location) = HeaderValue::from_str(path) {
        reply.headers_mut().insert(LOCATION, location);
    }
    reply
}

/// Docker answers a client that is too old in plain text, and one that is too new in JSON.
fn check_version(version: &str) -> Result<Option<Reply>, ApiError> {
    if compare_versions(version, api::MIN_VERSION).is_lt() {
        let text = format!(
            "client version {version} is too old. Minimum supported API version is {}, please upgrade your \
             client to a newer version\n",
            api::MIN_VERSION
        );
        return Ok(Some(reply::typed(
            StatusCode::BAD_REQUEST,
            "text/plain; charset=utf-8",
            text,
        )));
    }
    if compare_versions(version, api::MAX_VERSION).is_gt() {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {}",
            api::MAX_VERSION
        )));
    }
    Ok(None)
}

/// Refuses foreign host names and requests that a page of another site made.
fn check_host(headers: &HeaderMap, names: &[String]) -> Result<(), ApiError> {
    let forbidden = |what: &str| Err(ApiError::new(StatusCode::FORBIDDEN, what));
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
    };
    let host = text(HOST).unwrap_or("");
    let name = host_name(host);
    let known = name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|n| n.eq_ignore_ascii_case(name));
    if !known {
        return forbidden(
            "the Host header does not name this daemon; use its address or a name given with -H",
        );
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let same = origin
            .to_str()
            .ok()
            .and_then(|o| o.split_once("://"))
            .is_some_and(|(_, o)| o == host);
        if !same {
            return forbidden("requests from other web sites are refused");
        }
    }
    if matches!(
        headers.get("sec-fetch-site").map(HeaderValue::as_bytes),
        Some(b"cross-site" | b"same-site")
    ) {
        return forbidden("requests from other web sites are refused");
    }
    Ok(())
}

/// The host without port and brackets.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn foreign_hosts_and_origins_are_refused() {
        let names = vec!["box".to_owned()];
        for good in [
            "127.0.0.1:2375",
            "[::1]:2375",
            "localhost:2375",
            "BOX:2375",
            "10.0.0.1",
        ] {
            let mut map = HeaderMap::new();
            map.insert(HOST, HeaderValue::from_static(good));
            assert!(check_host(&map, &names).is_ok(), "{good}");
        }
        for bad in [
            "evil.example.com",
            "evil.example.com:2375",
            "",
            "127.0.0.1.evil.com",
        ] {
            let mut map = HeaderMap::new();
            map.insert(HOST, HeaderValue::from_static(bad));
            assert_eq!(
                check_host(&map, &names).unwrap_err().status,
                StatusCode::FORBIDDEN,
                "{bad}"
            );
        }
        let cross = headers(&[
            ("host", "localhost:1"),
            ("origin", "http://evil.example.com"),
        ]);
        assert!(check_host(&cross, &names).is_err());
        let same = headers(&[("host", "localhost:1"), ("origin", "http://localhost:1")]);
        assert!(check_host(&same, &names).is_ok());
        let fetched = headers(&[("host", "localhost:1"), ("sec-fetch-site", "cross-site")]);
        assert!(check_host(&fetched, &names).is_err());
    }

    #[test]
    fn versions_out_of_range_are_refused() {
        assert!(check_version("1.24").unwrap().is_none());
        assert!(check_version("1.51").unwrap().is_none());
        assert_eq!(
            check_version("1.23").unwrap().unwrap().status(),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            check_version("1.99").unwrap_err().message,
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
    }
}
