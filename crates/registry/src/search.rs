//! Searching an index: the one part of Docker's old API (`/v1/search`) that is still in use.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;
use url::Url;

use crate::credentials::basic;
use crate::endpoint::{Endpoint, own_endpoints};
use crate::origin::invalid;
use crate::registry::Registry;
use crate::session::Session;
use crate::transport::Answer;
use crate::{Credentials, Error, Result};

const HUB: &str = "docker.io";
const DEFAULT_LIMIT: u32 = 25;
const MAX_LIMIT: u32 = 100;

/// A repository that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SearchResult {
    /// Name as people see it.
    #[serde(default)]
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Number of stars.
    #[serde(default)]
    pub star_count: i64,
    /// One of Docker's official images.
    #[serde(default)]
    pub is_official: bool,
    /// Built by the index itself; nowadays always false.
    #[serde(default, skip_deserializing)]
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    results: Option<Vec<SearchResult>>,
}

impl Registry {
    /// Searches an index; the term may begin with the host of another one than docker.io. A limit
    /// of 0 is Docker's default.
    ///
    /// # Errors
    ///
    /// [`Error`] with Docker's texts.
    pub async fn search(
        &self,
        term: &str,
        limit: u32,
        auth: Option<&Credentials>,
    ) -> Result<Vec<SearchResult>> {
        if term.contains("://") {
            return Err(invalid(format!(
                "invalid repository name: repository name ({term}) should not have a scheme"
            )));
        }
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit };
        if limit > MAX_LIMIT {
            return Err(invalid(format!(
                "limit {limit} is outside the range of [1, 100]"
            )));
        }
        let (index, name) = split(term);
        let name = match index {
            HUB => name.strip_prefix("library/").unwrap_or(name),
            _ => name,
        };
        let shared = self.shared();
        let endpoints = if index == HUB {
            vec![Arc::new(
                Endpoint::at(&shared, &shared.transport.settings.index).await?,
            )]
        } else {
            own_endpoints(&shared, index).await?
        };
        let own = auth.cloned().map(Arc::new);
        let mut last = None;
        for endpoint in endpoints {
            let session =
                Session::new(Arc::clone(&shared), endpoint, own.clone(), HeaderMap::new());
            match ask(&session, name, limit, auth).await {
                Err(error) if !session.is_reached() => last = Some(error),
                settled => return settled,
            }
        }
        Err(last.unwrap_or_else(|| invalid(format!("no endpoints found for {index}"))))
    }
}

async fn ask(
    session: &Session,
    name: &str,
    limit: u32,
    auth: Option<&Credentials>,
) -> Result<Vec<SearchResult>> {
    let mut url: Url = session.endpoint.root("/v1/search");
    url.query_pairs_mut()
        .append_pair("q", name)
        .append_pair("n", &limit.to_string());
    let mut call = session.call(Method::GET, url);
    // The old API has no challenges: a password is brought along, over TLS only.
    if let Some(own) = auth.filter(|own| own.has_password())
        && session.endpoint.origin.is_https()
    {
        call.authorization = Some(basic(own)?);
    }
    let mut answer: Answer = session.send_as_is(call).await?;
    if answer.status() != 200 {
        return Err(Error::Search {
            status: answer.status().as_u16(),
        });
    }
    let settings = &session.shared().transport.settings;
    let within = settings.timeouts.document;
    let bytes = answer.bytes(settings.limits.answer, within).await?;
    let found: Results = serde_json::from_slice(&bytes).map_err(|error| {
        answer.protocol(format!("error decoding registry search results: {error}"))
    })?;
    Ok(found.results.unwrap_or_default())
}

/// The index and the term: the host only where it looks like one.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some(("index.docker.io", rest)) => (HUB, rest),
        Some((host, rest)) if host == "localhost" || host.contains(['.', ':']) => (host, rest),
        _ => (HUB, term),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_in_the_term() {
        for (term, want) in [
            ("debian", ("docker.io", "debian")),
            ("library/debian", ("docker.io", "library/debian")),
            ("reg.example/a/b", ("reg.example", "a/b")),
            ("localhost/a", ("localhost", "a")),
            ("index.docker.io/a", ("docker.io", "a")),
        ] {
            assert_eq!(split(term), want, "{term}");
        }
    }
}
