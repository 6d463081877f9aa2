//! Errors of the HTTP library in the words of Go's, which people know from Docker.

use std::error::Error as StdError;
use std::io;

use reqwest::Method;
use rustls::CertificateError;
use spec::Timestamp;
use url::Url;

use crate::TransportError;
use crate::origin::literal;
use crate::resolver::{NoSuchHost, Resolver};

/// What failed, before it is known where.
pub(super) enum Failure {
    Library(reqwest::Error),
    Other(TransportError),
}

impl Failure {
    pub(super) fn resolve(
        self,
        url: &Url,
        proxy: Option<Url>,
        resolver: &Resolver,
    ) -> TransportError {
        let error = match self {
            Self::Other(error) => return error,
            Self::Library(error) => error,
        };
        let Some(proxy) = proxy else {
            return describe(&error, url, resolver);
        };
        match describe(&error, &proxy, resolver) {
            TransportError::Connect { text } => TransportError::Connect {
                text: format!("proxyconnect tcp: {text}"),
            },
            other => other,
        }
    }
}

/// `GET` as Go's errors have it: `Get`.
pub(crate) fn go_method(method: &Method) -> String {
    let text = method.as_str();
    let (first, rest) = text.split_at(1);
    format!("{first}{}", rest.to_lowercase())
}

/// The error of a body that was being read.
pub(super) fn body(error: &reqwest::Error) -> TransportError {
    let text = match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        Some(io::ErrorKind::UnexpectedEof) => "unexpected EOF".to_owned(),
        _ if is_cut(error) => "unexpected EOF".to_owned(),
        _ => deepest(error),
    };
    TransportError::Cut { text }
}

fn describe(error: &reqwest::Error, url: &Url, resolver: &Resolver) -> TransportError {
    if let Some(error) = find::<rustls::Error>(error) {
        return tls(error);
    }
    if let Some(NoSuchHost { text }) = find::<NoSuchHost>(error) {
        return TransportError::Connect {
            text: format!("dial tcp: {text}"),
        };
    }
    if let Some(text) = alert(error) {
        return TransportError::Tls { text };
    }
    let io = find::<io::Error>(error).map(io::Error::kind);
    if error.is_connect() {
        if error.is_timeout() {
            return TransportError::Connect {
                text: format!("dial tcp{}: i/o timeout", peer(url, resolver)),
            };
        }
        let why = match io {
            Some(io::ErrorKind::ConnectionRefused) => "connect: connection refused".to_owned(),
            Some(io::ErrorKind::NetworkUnreachable) => "connect: network is unreachable".to_owned(),
            Some(io::ErrorKind::HostUnreachable) => "connect: no route to host".to_owned(),
            Some(io::ErrorKind::TimedOut) => "connect: connection timed out".to_owned(),
            Some(io::ErrorKind::ConnectionReset) => {
                return TransportError::Connect {
                    text: "read: connection reset by peer".to_owned(),
                };
            }
            Some(io::ErrorKind::UnexpectedEof) => {
                return TransportError::Connect {
                    text: "EOF".to_owned(),
                };
            }
            _ => deepest(error),
        };
        return TransportError::Connect {
            text: format!("dial tcp{}: {why}", peer(url, resolver)),
        };
    }
    if is_cut(error) || io == Some(io::ErrorKind::UnexpectedEof) {
        return TransportError::Cut {
            text: "EOF".to_owned(),
        };
    }
    match io {
        Some(io::ErrorKind::ConnectionReset) => TransportError::Cut {
            text: "read: connection reset by peer".to_owned(),
        },
        Some(io::ErrorKind::BrokenPipe) => TransportError::Cut {
            text: "write: broken pipe".to_owned(),
        },
        _ => TransportError::Cut {
            text: deepest(error),
        },
    }
}

/// An alert of the other side after the handshake, of which HTTP/2 keeps the text only.
fn alert(error: &reqwest::Error) -> Option<String> {
    let text = deepest(error);
    let name = text.strip_prefix("received fatal alert: ")?;
    Some(format!("remote error: tls: {}", words(name)))
}

/// The library says "incomplete message" of a connection that ended, and nothing typed.
fn is_cut(error: &reqwest::Error) -> bool {
    let text = deepest(error);
    text.contains("closed before message completed")
        || text.contains("end of file before message length reached")
        || text.contains("unexpected EOF")
}

fn peer(url: &Url, resolver: &Resolver) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    let address = literal(url).or_else(|| resolver.last(url.host_str().unwrap_or_default()));
    match address {
        Some(address) => format!(" {}", std::net::SocketAddr::new(address, port)),
        None => String::new(),
    }
}

fn tls(error: &rustls::Error) -> TransportError {
    match error {
        rustls::Error::InvalidCertificate(error) => TransportError::Certificate {
            text: certificate(error),
        },
        rustls::Error::InvalidMessage(_) => TransportError::Tls {
            text: "http: server gave HTTP response to HTTPS client".to_owned(),
        },
        rustls::Error::AlertReceived(alert) => TransportError::Tls {
            text: format!("remote error: tls: {}", words(&format!("{alert:?}"))),
        },
        other => TransportError::Tls {
            text: format!("tls: {other}"),
        },
    }
}

fn certificate(error: &CertificateError) -> String {
    let time = |time: &rustls::pki_types::UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_unix(seconds, 0).to_string()
    };
    match error {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::ExpiredContext {
            time: now,
            not_after,
        } => format!(
            "certificate has expired or is not yet valid: current time {} is after {}",
            time(now),
            time(not_after)
        ),
        CertificateError::NotValidYetContext {
            time: now,
            not_before,
        } => format!(
            "certificate has expired or is not yet valid: current time {} is before {}",
            time(now),
            time(not_before)
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let shown = expected.to_str();
            if presented.is_empty() {
                return format!(
                    "certificate is not valid for any names, but wanted to match {shown}"
                );
            }
            let is_address = |name: &String| name.starts_with("IpAddress");
            if matches!(expected, rustls::pki_types::ServerName::IpAddress(_))
                && !presented.iter().any(is_address)
            {
                return format!(
                    "cannot validate certificate for {} because it doesn't contain any IP SANs",
                    shown
                );
            }
            // Each is written with its kind: `DnsName("a")`, `IpAddress(…)`.
            let names: Vec<&str> = presented
                .iter()
                .map(|name| match name.split_once('(') {
                    Some((_, inner)) => inner.trim_end_matches(')').trim_matches('"'),
                    None => name.as_str(),
                })
                .collect();
            format!("certificate is valid for {}, not {shown}", names.join(", "))
        }
        other => words(&format!("{other:?}")),
    }
}

/// `BadCertificate` as `bad certificate`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars().take(200) {
        if c.is_ascii_uppercase() && !text.is_empty() && !text.ends_with([' ', '(']) {
            text.push(' ');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// Looks for an error in a chain, also inside of `io::Error`.
fn find<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            // An `io::Error` often wraps another one; the inner one knows more.
            return match deeper(error) {
                Some(inner) => find(inner).or(Some(found)),
                None => Some(found),
            };
        }
        next = deeper(error);
    }
    None
}

fn deeper<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    let inside = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .map(|inner| inner as &(dyn StdError + 'static));
    inside.or_else(|| error.source())
}

fn deepest(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(inner) = deeper(last) {
        last = inner;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_alerts_read_as_gos() {
        assert_eq!(go_method(&Method::GET), "Get");
        assert_eq!(go_method(&Method::PATCH), "Patch");
        assert_eq!(words("BadCertificate"), "bad certificate");
    }

    #[test]
    fn inner_errors_are_found() {
        let inner = io::Error::new(io::ErrorKind::ConnectionRefused, "inner");
        let outer = io::Error::other(io::Error::other(inner));
        let found = find::<io::Error>(&outer).unwrap();
        assert_eq!(found.kind(), io::ErrorKind::ConnectionRefused);
        let tls = io::Error::other(rustls::Error::DecryptError);
        assert!(find::<rustls::Error>(&tls).is_some());
    }
}
