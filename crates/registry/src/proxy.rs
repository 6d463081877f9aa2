//! Whether a URL is reached through a proxy, by the rules of Go's `httpproxy`.

use std::net::IpAddr;

use url::Url;

use crate::Result;
use crate::origin::{invalid, literal, shown, split_host};

/// The proxies of a client. Their URLs may hold passwords.
#[derive(Clone, Default)]
pub(crate) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    /// `NO_PROXY` was `*`.
    none: bool,
    except: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Network {
        address: IpAddr,
        prefix: u8,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    /// The name and all below it; without `own` only those below.
    Domain {
        name: String,
        port: Option<u16>,
        own: bool,
    },
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.as_ref().map(shown))
            .field("https", &self.https.as_ref().map(shown))
            .field("except", &self.except)
            .finish_non_exhaustive()
    }
}

impl Proxies {
    /// Reads the three variables.
    pub(crate) fn new(http: &str, https: &str, except: &str) -> Result<Self> {
        let mut this = Self {
            http: proxy(http)?,
            https: proxy(https)?,
            ..Self::default()
        };
        for text in except.split(',') {
            let text = text.trim().to_lowercase();
            match text.as_str() {
                "" => {}
                "*" => this.none = true,
                _ => this.except.extend(exception(&text)),
            }
        }
        Ok(this)
    }

    /// The proxy for a URL, if any.
    pub(crate) fn of(&self, url: &Url) -> Option<Url> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        (!self.is_direct(url)).then(|| proxy.clone())
    }

    fn is_direct(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_lowercase();
        let address = literal(url);
        // Go never asks a proxy for this machine.
        if self.none || host == "localhost" || address.is_some_and(|a| a.is_loopback()) {
            return true;
        }
        let port = url.port_or_known_default();
        self.except.iter().any(|exception| match exception {
            Exception::Network {
                address: net,
                prefix,
            } => address.is_some_and(|address| in_network(*net, *prefix, address)),
            Exception::Address {
                address: only,
                port: at,
            } => address == Some(*only) && (at.is_none() || *at == port),
            Exception::Domain {
                name,
                port: at,
                own,
            } => {
                let below = host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
                (below || (*own && host == *name)) && (at.is_none() || *at == port)
            }
        })
    }
}

fn proxy(text: &str) -> Result<Option<Url>> {
    if text.is_empty() {
        return Ok(None);
    }
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let bad = || invalid("the proxy address cannot be read as a URL".to_owned());
    let url: Url = with_scheme.parse().map_err(|_| bad())?;
    match url.scheme() {
        "http" | "https" if url.host().is_some() => Ok(Some(url)),
        other => Err(invalid(format!(
            "a proxy with scheme `{other}` is not supported: use http or https"
        ))),
    }
}

fn exception(text: &str) -> Option<Exception> {
    if let Some((address, prefix)) = text.split_once('/') {
        return Some(Exception::Network {
            address: address.parse().ok()?,
            prefix: prefix.parse().ok()?,
        });
    }
    let (host, port) = split_host(text);
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    if let Ok(address) = host.parse() {
        return Some(Exception::Address { address, port });
    }
    let host = host.strip_prefix('*').unwrap_or(host);
    let own = !host.starts_with('.');
    let name = host.trim_start_matches('.');
    (!name.is_empty()).then(|| Exception::Domain {
        name: name.to_owned(),
        port,
        own,
    })
}

fn in_network(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if prefix <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if prefix <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_gos() {
        let proxies = Proxies::new(
            "proxy:3128",
            "https://secure:3129",
            "a.example, .b.example,*.c.example,10.0.0.0/8,192.0.2.1,d.example:5000",
        )
        .unwrap();
        for (url, want) in [
            ("http://x.example/", Some("http://proxy:3128/")),
            ("https://x.example/", Some("https://secure:3129/")),
            ("https://a.example/", None),
            ("https://sub.a.example/", None),
            ("https://nota.example/", Some("https://secure:3129/")),
            ("https://b.example/", Some("https://secure:3129/")),
            ("https://sub.b.example/", None),
            ("https://c.example/", Some("https://secure:3129/")),
            ("https://sub.c.example/", None),
            ("https://10.1.2.3/", None),
            ("https://192.0.2.1/", None),
            ("https://192.0.2.2/", Some("https://secure:3129/")),
            ("https://d.example:5000/", None),
            ("https://d.example/", Some("https://secure:3129/")),
            ("https://localhost:5000/", None),
            ("http://127.0.0.1:5000/", None),
            ("http://[::1]:5000/", None),
        ] {
            let found = proxies.of(&url.parse().unwrap());
            assert_eq!(found.map(|p| p.to_string()).as_deref(), want, "{url}");
        }
        let secret = Proxies::new("http://u:hush@p", "", "").unwrap();
        assert!(!format!("{secret:?}").contains("hush"));
        let none = Proxies::new("p", "p", "*").unwrap();
        assert_eq!(none.of(&"https://x.example/".parse().unwrap()), None);
        assert!(Proxies::new("socks5://p", "", "").is_err());
    }
}
