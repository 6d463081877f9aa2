//! Where bytes go: scheme, host and port together, as credentials are bound to all three.

use std::net::IpAddr;

use url::{Host, Url};

use crate::{Error, Result};

/// Scheme, host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a URL, which must be `http` or `https`.
    pub(crate) fn of(url: &Url) -> Result<Self> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(invalid(format!("unsupported protocol scheme \"{other}\""))),
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(invalid(format!("no host in `{}`", shown(url))));
        };
        Ok(Self {
            https,
            host: host.to_lowercase(),
            port,
        })
    }

    /// Tells whether it speaks TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    /// The host; an IPv6 address in brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

/// `host` or `host:port`, as certificates and insecure registries are listed.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Splits `host`, `host:port`, `[v6]:port` or a bare IPv6 address; the host comes without brackets.
pub(crate) fn split_host(authority: &str) -> (&str, Option<&str>) {
    if let Some(rest) = authority.strip_prefix('[')
        && let Some((host, after)) = rest.split_once(']')
    {
        return (host, after.strip_prefix(':'));
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// The address, where the host of a URL is one.
pub(crate) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// Tells whether an address is of this machine or of its own network.
pub(crate) fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified()
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_local(v4.into()),
            None => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
            }
        },
    }
}

/// A URL without user, password, query values and fragment, to be shown.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

pub(crate) fn invalid(what: String) -> Error {
    Error::Invalid { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&text.parse().unwrap()).unwrap()
    }

    #[test]
    fn origins_differ_in_scheme_host_and_port() {
        let one = origin("https://Registry.example/v2/");
        assert_eq!(one, origin("https://registry.example:443/other?x"));
        for other in [
            "http://registry.example/",
            "https://registry.example:444/",
            "https://registry.example.org/",
        ] {
            assert_ne!(one, origin(other), "{other}");
        }
        assert!(Origin::of(&"ftp://a/".parse().unwrap()).is_err());
        assert!(Origin::of(&"unix:/a".parse().unwrap()).is_err());
    }

    #[test]
    fn shown_urls_have_no_secrets() {
        let url = "https://u:p@h:5/x?token=s#f".parse().unwrap();
        assert_eq!(shown(&url), "https://h:5/x");
    }

    #[test]
    fn hosts_are_split() {
        for (text, want) in [
            ("a", ("a", None)),
            ("a:5", ("a", Some("5"))),
            ("[::1]:5", ("::1", Some("5"))),
            ("[::1]", ("::1", None)),
            ("::1", ("::1", None)),
        ] {
            assert_eq!(split_host(text), want, "{text}");
        }
    }
}
