//! What an operator sets about registries, with defaults that are safe.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How to talk to registries. Proxies may hold passwords, which are not printed.
#[derive(Clone)]
pub struct Settings {
    /// `User-Agent` of every request.
    pub user_agent: String,
    /// Mirrors of docker.io, tried in order before it (`registry-mirrors`).
    pub mirrors: Vec<String>,
    /// Registries that may have a bad certificate or none (`insecure-registries`): `host`,
    /// `host:port` or a network `10.0.0.0/8`. 127.0.0.0/8 and ::1 always are.
    pub insecure: Vec<String>,
    /// Directories of certificates and `hosts.toml`; later ones win file by file.
    pub certs_dirs: Vec<PathBuf>,
    /// Proxy for `http` URLs.
    pub http_proxy: String,
    /// Proxy for `https` URLs.
    pub https_proxy: String,
    /// Hosts that are not reached through a proxy, as Go reads `NO_PROXY`.
    pub no_proxy: String,
    /// Token servers (`host` or `host:port`) that may get credentials although they are not at
    /// the registry's own domain.
    pub token_hosts: Vec<String>,
    /// Where `search` goes for images of docker.io; another one only in tests.
    pub index: String,
    /// Longest waits.
    pub timeouts: Timeouts,
    /// Largest answers.
    pub limits: Limits,
}

/// Longest waits for a registry.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the head of an answer.
    pub answer: Duration,
    /// For a token or a login.
    pub token: Duration,
    /// For a whole document.
    pub document: Duration,
    /// For a registry to store what it was sent.
    pub commit: Duration,
    /// Without `Limits::stall_bytes` of progress in a body, either direction.
    pub stall: Duration,
}

/// Largest things that are taken from a registry.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes that must come within `Timeouts::stall`, so that a trickle also ends.
    pub stall_bytes: u64,
    /// Redirects in a row.
    pub redirects: usize,
    /// Bytes of an answer that is not a blob: a page of tags, a token, a search.
    pub answer: usize,
    /// Bytes of an error's text.
    pub error: usize,
    /// Tags of a repository.
    pub tags: usize,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("mirrors", &self.mirrors)
            .field("insecure", &self.insecure)
            .field("certs_dirs", &self.certs_dirs)
            .field("token_hosts", &self.token_hosts)
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user_agent: concat!("corten/", env!("CARGO_PKG_VERSION"), " (linux)").to_owned(),
            mirrors: Vec::new(),
            insecure: Vec::new(),
            certs_dirs: vec!["/etc/docker/certs.d".into(), "/etc/corten/certs.d".into()],
            http_proxy: String::new(),
            https_proxy: String::new(),
            no_proxy: String::new(),
            token_hosts: Vec::new(),
            index: "https://index.docker.io".to_owned(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            token: Duration::from_secs(15),
            document: Duration::from_secs(60),
            commit: Duration::from_secs(300),
            stall: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            stall_bytes: 1024,
            redirects: 10,
            answer: 4 << 20,
            error: 64 << 10,
            tags: 200_000,
        }
    }
}

impl Settings {
    /// The defaults with the proxies of this process's environment.
    pub fn with_environment() -> Self {
        let get = |names: [&str; 2]| {
            names
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
                .unwrap_or_default()
        };
        Self {
            http_proxy: get(["HTTP_PROXY", "http_proxy"]),
            https_proxy: get(["HTTPS_PROXY", "https_proxy"]),
            no_proxy: get(["NO_PROXY", "no_proxy"]),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_proxies_are_not_printed() {
        let settings = Settings {
            http_proxy: "http://u:hush@proxy".to_owned(),
            https_proxy: "http://u:hush@proxy".to_owned(),
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
