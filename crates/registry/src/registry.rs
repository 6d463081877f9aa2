//! The client as a whole.

use std::sync::{Arc, Mutex};

use spec::Reference;
use url::Url;

use crate::endpoint::own_endpoints;
use crate::hosts::Directory;
use crate::insecure::Insecure;
use crate::origin::{authority, invalid};
use crate::resolver::Resolver;
use crate::session::Session;
use crate::token::{Tokens, is_refusal};
use crate::transport::Transport;
use crate::{Credentials, Error, Repository, Result, Secret, Settings};

/// A client of all registries; clones share connections, tokens and settings.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Mutex<Arc<Shared>>>,
}

/// Everything that belongs to one set of settings. What runs keeps the one it began with.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    pub(crate) tokens: Tokens,
    pub(crate) directory: Arc<Directory>,
    pub(crate) insecure: Arc<Insecure>,
    pub(crate) mirrors: Vec<Url>,
    pub(crate) resolver: Arc<Resolver>,
}

impl Shared {
    fn new(settings: Settings) -> Result<Self> {
        let mut mirrors: Vec<Url> = Vec::new();
        for text in &settings.mirrors {
            let mirror = mirror(text)?;
            if !mirrors.contains(&mirror) {
                mirrors.push(mirror);
            }
        }
        let insecure = Arc::new(Insecure::new(&settings.insecure)?);
        let resolver = Arc::new(Resolver::default());
        Ok(Self {
            transport: Transport::new(Arc::new(settings), Arc::clone(&resolver))?,
            tokens: Tokens::default(),
            directory: Arc::default(),
            insecure,
            mirrors,
            resolver,
        })
    }
}

/// Docker's rules for `registry-mirrors`.
fn mirror(text: &str) -> Result<Url> {
    let must = "must use either 'https://' or 'http://'";
    match text.split_once("://") {
        Some((scheme, _)) if !scheme.is_empty() => {}
        _ => {
            return Err(invalid(format!(
                "invalid mirror: no scheme specified for {text:?}: {must}"
            )));
        }
    }
    let url: Url = text.parse().map_err(|error| {
        invalid(format!(
            "invalid mirror: {text:?} is not a valid URI: {error}"
        ))
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid(format!(
            "invalid mirror: unsupported scheme {:?} in {:?}: {must}",
            url.scheme(),
            url.as_str()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(format!(
            "invalid mirror: username/password not allowed in URI of {:?}",
            authority(&url)
        )));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(format!(
            "invalid mirror: query or fragment at end of the URI {:?}",
            url.as_str()
        )));
    }
    Ok(url)
}

/// What a login gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginOutcome {
    /// Docker's `Login Succeeded`.
    pub status: String,
    /// A token to keep in place of the password; empty where the registry gives none.
    pub identity_token: Secret,
}

impl Registry {
    /// Makes a client.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Invalid`] where a setting is no URL, host or network.
    pub fn new(settings: Settings) -> Result<Self> {
        let shared = Arc::new(Shared::new(settings)?);
        Ok(Self {
            shared: Arc::new(Mutex::new(shared)),
        })
    }

    /// Takes other settings for everything that starts from now on; connections, tokens and the
    /// system's certificates are also made anew.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; the old settings stay.
    pub fn reload(&self, settings: Settings) -> Result<()> {
        let shared = Arc::new(Shared::new(settings)?);
        *self.shared.lock().expect("nothing panics while it holds") = shared;
        Ok(())
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        let shared = self.shared.lock().expect("nothing panics while it holds");
        Arc::clone(&shared)
    }

    /// A repository and who asks for it. No I/O happens here.
    pub fn repository(&self, name: &Reference, auth: Option<Credentials>) -> Repository {
        Repository::new(self.shared(), name.clone(), auth)
    }

    /// Tries credentials at a registry (`host[:port]`, or a URL as old clients send it).
    ///
    /// # Errors
    ///
    /// `unauthorized: …` from a token server, [`Error::Login`] from others that refuse.
    pub async fn login(&self, host: &str, credentials: &Credentials) -> Result<LoginOutcome> {
        let shared = self.shared();
        let mut last = None;
        for endpoint in own_endpoints(&shared, &domain(host)?).await? {
            let own = Some(Arc::new(credentials.clone()));
            let headers = reqwest::header::HeaderMap::new();
            let session = Session::new(Arc::clone(&shared), endpoint, own, headers);
            match session.login().await {
                Ok(identity_token) => {
                    return Ok(LoginOutcome {
                        status: "Login Succeeded".to_owned(),
                        identity_token,
                    });
                }
                Err(error) if is_final(&error, &session) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| invalid(format!("no endpoints found for {host}"))))
    }
}

/// Credentials that were refused, or that TLS would have protected, are not tried in plain text.
fn is_final(error: &Error, session: &Session) -> bool {
    let refused = matches!(error, Error::Authorization { source, .. } if is_refusal(source));
    refused || session.is_reached()
}

/// The registry's domain, of all the ways in which people write it.
fn domain(host: &str) -> Result<String> {
    let with_scheme = match host {
        "" => "https://index.docker.io".to_owned(),
        host if host.starts_with("https://") || host.starts_with("http://") => host.to_owned(),
        host => format!("https://{host}"),
    };
    let url: Url = with_scheme
        .parse()
        .map_err(|error| invalid(format!("unable to parse server address: {error}")))?;
    Ok(match authority(&url).as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_checked_as_docker_does() {
        assert_eq!(mirror("https://m:5/p").unwrap().as_str(), "https://m:5/p");
        for (bad, want) in [
            ("m.example", "no scheme specified for \"m.example\""),
            ("ftp://m", "unsupported scheme \"ftp\""),
            ("https://u:hush@m", "username/password not allowed"),
            ("https://m/?x=1", "query or fragment"),
            ("https://", "not a valid URI"),
        ] {
            let text = mirror(bad).unwrap_err().to_string();
            assert!(
                text.starts_with("invalid mirror: ") && text.contains(want),
                "{text}"
            );
            assert!(!text.contains("hush"));
        }
    }

    #[test]
    fn registries_are_known_by_all_their_names() {
        for (host, want) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("http://localhost:5000/v2/", "localhost:5000"),
            ("Reg.Example", "reg.example"),
        ] {
            assert_eq!(domain(host).unwrap(), want, "{host}");
        }
        assert!(domain("a b").is_err());
    }
}
