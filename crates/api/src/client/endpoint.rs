//! Where a daemon listens: `unix:///path`, `tcp://host:port[/prefix]`, `http://…`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix {
        /// The socket's path.
        path: PathBuf,
    },
    /// A TCP address.
    Tcp {
        /// `host:port`.
        address: String,
        /// A path in front of every request's path; empty for most.
        prefix: String,
        /// The address as given, for messages.
        given: String,
    },
}

/// A text that is no usable daemon address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// The scheme is none that Docker knows.
    #[error("unable to parse docker host `{host}`")]
    Unknown {
        /// The text.
        host: String,
    },
    /// The scheme is known and not done.
    #[error("{scheme} connections are not yet supported by Corten (host `{host}`)")]
    Unsupported {
        /// The scheme.
        scheme: &'static str,
        /// The text.
        host: String,
    },
}

impl Endpoint {
    /// The request target for a path.
    pub(super) fn path(&self, path: &str) -> String {
        match self {
            Self::Unix { .. } => path.to_owned(),
            Self::Tcp { prefix, .. } => format!("{prefix}{path}"),
        }
    }

    /// The value of the `Host` header.
    pub(super) fn http_host(&self) -> &str {
        match self {
            // What Docker's client sends where the transport has no host name.
            Self::Unix { .. } => "api.moby.localhost",
            Self::Tcp { address, .. } => address,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
            Self::Tcp { given, .. } => f.write_str(given),
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidHost;

    fn from_str(host: &str) -> Result<Self, InvalidHost> {
        let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
        let unsupported = |scheme| InvalidHost::Unsupported {
            scheme,
            host: host.to_owned(),
        };
        match scheme {
            "unix" if !rest.is_empty() => Ok(Self::Unix { path: rest.into() }),
            "unix" => Ok(Self::Unix {
                path: "/var/run/docker.sock".into(),
            }),
            "tcp" | "http" => Ok(tcp(host, rest)),
            "https" => Err(unsupported("TLS")),
            "ssh" => Err(unsupported("SSH")),
            "npipe" => Err(unsupported("named pipe")),
            "fd" => Err(unsupported("socket activation")),
            _ => Err(InvalidHost::Unknown {
                host: host.to_owned(),
            }),
        }
    }
}

fn tcp(given: &str, rest: &str) -> Endpoint {
    let (authority, prefix) = match rest.find('/') {
        Some(at) => (&rest[..at], rest[at..].trim_end_matches('/')),
        None => (rest, ""),
    };
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (authority, ""),
    };
    let name = if name.is_empty() { "127.0.0.1" } else { name };
    let port = if port.is_empty() { "2375" } else { port };
    let given = if given.contains("://") {
        given.to_owned()
    } else {
        format!("tcp://{name}:{port}{prefix}")
    };
    Endpoint::Tcp {
        address: format!("{name}:{port}"),
        prefix: prefix.to_owned(),
        given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, want) in [
            ("tcp://10.0.0.1:2375", "10.0.0.1:2375"),
            ("tcp://localhost", "localhost:2375"),
            ("tcp://:4000", "127.0.0.1:4000"),
            ("localhost:5555", "localhost:5555"),
            ("http://[::1]:80/a/b", "[::1]:80"),
        ] {
            let Endpoint::Tcp { address, .. } = text.parse().unwrap() else {
                panic!("{text} is TCP")
            };
            assert_eq!(address, want, "{text}");
        }
        let unix: Endpoint = "unix:///run/x.sock".parse().unwrap();
        assert_eq!(
            unix,
            Endpoint::Unix {
                path: "/run/x.sock".into()
            }
        );
        assert!(matches!(
            "ssh://me@there".parse::<Endpoint>(),
            Err(InvalidHost::Unsupported { scheme: "SSH", .. })
        ));
        assert!("gopher://x".parse::<Endpoint>().is_err());
    }

    #[test]
    fn a_prefix_goes_before_the_path() {
        let endpoint: Endpoint = "tcp://h:1/api/".parse().unwrap();
        assert_eq!(endpoint.path("/v1.51/info"), "/api/v1.51/info");
    }
}
