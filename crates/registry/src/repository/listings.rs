//! Lists: tags, and manifests that are about another one.

use std::collections::HashSet;

use reqwest::header::{ACCEPT, HeaderValue, LINK};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use spec::Digest;
use spec::manifest::{Descriptor, Index, InvalidManifest, media};
use url::Url;

use super::walk::Need;
use super::{Repository, Version};
use crate::reply::success;
use crate::session::Session;
use crate::transport::{Answer, join};
use crate::{Error, Result};

/// Pages of one list that are read.
const MAX_PAGES: usize = 1000;
/// Referrers that are read.
const MAX_REFERRERS: usize = spec::manifest::MAX_MANIFESTS;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// All tags, in the registry's order.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn tags(&self) -> Result<Vec<String>> {
        let mut walk = self.walk(Need::Resolve).await?;
        while let Some((id, session)) = walk.next() {
            let tags = self.tags_at(&session).await;
            match tags.map_err(|error| self.told_of_all(error)) {
                Ok(tags) => return Ok(tags),
                Err(error) => walk.failed(id, &session, error)?,
            }
        }
        Err(walk.end())
    }

    /// The manifests that are about another one, by the referrers API or, where a registry has
    /// none, by the tag that the distribution-spec defines for it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn referrers(&self, digest: Digest, artifact_type: Option<&str>) -> Result<Index> {
        let mut walk = self.walk(Need::Resolve).await?;
        while let Some((id, session)) = walk.next() {
            match self.referrers_at(&session, digest, artifact_type).await {
                Ok(Some(index)) => return Ok(index),
                Ok(None) => return self.referrers_by_tag(digest, artifact_type).await,
                Err(error) => walk.failed(id, &session, error)?,
            }
        }
        Err(walk.end())
    }

    async fn tags_at(&self, session: &Session) -> Result<Vec<String>> {
        let settings = &self.shared().transport.settings;
        let mut all = Vec::new();
        let mut pages = Pages::new(session.endpoint.url(&format!("{}/tags/list", self.path())));
        while let Some(url) = pages.next() {
            let call = session.call(Method::GET, url);
            let answer = session.send(call, &self.pull_scope()).await?;
            let mut answer = success(answer).await?;
            let bytes = answer
                .bytes(settings.limits.answer, settings.timeouts.document)
                .await?;
            let page: Tags = serde_json::from_slice(&bytes)
                .map_err(|error| answer.protocol(format!("the list of tags: {error}")))?;
            all.extend(page.tags.unwrap_or_default());
            if all.len() > settings.limits.tags {
                return Err(answer.protocol(format!(
                    "the repository has more than {} tags",
                    settings.limits.tags
                )));
            }
            pages.note(&answer)?;
        }
        Ok(all)
    }

    async fn referrers_at(
        &self,
        session: &Session,
        digest: Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Index>> {
        let settings = &self.shared().transport.settings;
        let path = format!("{}/referrers/{digest}", self.path());
        let mut url = session.endpoint.url(&path);
        if let Some(wanted) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", wanted);
        }
        let mut pages = Pages::new(url);
        let mut all: Option<Index> = None;
        while let Some(url) = pages.next() {
            let mut call = session.call(Method::GET, url);
            let value = HeaderValue::from_static(media::OCI_INDEX);
            call.headers.insert(ACCEPT, value);
            let answer = session.send(call, &self.pull_scope()).await?;
            let unsupported = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
            if all.is_none() && unsupported.contains(&answer.status()) {
                return Ok(None);
            }
            let mut answer = success(answer).await?;
            let media_type = media::essence(answer.content_type()).to_owned();
            let bytes = answer
                .bytes(settings.limits.answer, settings.timeouts.document)
                .await?;
            let page = Index::parse(&media_type, &bytes).map_err(|source| bad(digest, source))?;
            match &mut all {
                None => all = Some(page),
                Some(all) => all.manifests.extend(page.manifests),
            }
            if all
                .as_ref()
                .is_some_and(|all| all.manifests.len() > MAX_REFERRERS)
            {
                return Err(answer.protocol("the manifest has too many referrers"));
            }
            pages.note(&answer)?;
        }
        Ok(all.map(|index| only(index, artifact_type)))
    }

    async fn referrers_by_tag(&self, digest: Digest, artifact_type: Option<&str>) -> Result<Index> {
        let tag = Version::Tag(format!("sha256-{}", digest.hex()));
        match self.manifest(&tag, None).await {
            Ok(document) => Index::parse(&document.media_type, &document.bytes)
                .map(|index| only(index, artifact_type))
                .map_err(|source| bad(digest, source)),
            Err(error) if error.is_not_found() => Ok(Index {
                media_type: media::OCI_INDEX.to_owned(),
                manifests: Vec::new(),
                subject: None,
                annotations: std::collections::BTreeMap::new(),
            }),
            Err(error) => Err(error),
        }
    }
}

fn bad(digest: Digest, source: InvalidManifest) -> Error {
    Error::Manifest {
        reference: format!("the referrers of {digest}"),
        source,
    }
}

/// Not every registry filters, so it is done here as well.
fn only(mut index: Index, artifact_type: Option<&str>) -> Index {
    if let Some(wanted) = artifact_type {
        let fits = |entry: &Descriptor| entry.artifact_type == wanted;
        index.manifests.retain(fits);
    }
    index
}

/// The pages of a list, each of which names the next (RFC 8288).
struct Pages {
    next: Option<Url>,
    seen: HashSet<Url>,
}

impl Pages {
    fn new(first: Url) -> Self {
        Self {
            next: Some(first),
            seen: HashSet::new(),
        }
    }

    fn next(&mut self) -> Option<Url> {
        let url = self.next.take()?;
        self.seen.insert(url.clone());
        Some(url)
    }

    fn note(&mut self, answer: &Answer) -> Result<()> {
        let Some(link) = answer.header(LINK.as_str()).and_then(next_link) else {
            return Ok(());
        };
        let url = join(&answer.url, link).map_err(|why| answer.protocol(why))?;
        if self.seen.contains(&url) || self.seen.len() >= MAX_PAGES {
            return Err(answer.protocol("the list does not end"));
        }
        self.next = Some(url);
        Ok(())
    }
}

/// The target of `<…>; rel="next"`, also among others.
fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, from)) = rest.split_once('<') {
        let (target, after) = from.split_once('>')?;
        let end = after.find('<').unwrap_or(after.len());
        let (parameters, others) = after.split_at(end);
        let is_next = parameters
            .split([';', ','])
            .filter_map(|parameter| parameter.trim().split_once('='))
            .any(|(name, value)| {
                name.trim().eq_ignore_ascii_case("rel")
                    && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
            });
        if is_next {
            return Some(target);
        }
        rest = others;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_pages_are_found() {
        for (header, want) in [
            (
                r#"</v2/a/tags/list?last=x&n=2>; rel="next""#,
                Some("/v2/a/tags/list?last=x&n=2"),
            ),
            ("</x>; rel=next", Some("/x")),
            (r#"</p>; rel="prev", </n>; rel="next""#, Some("/n")),
            (r#"</p>; rel="prev""#, None),
            ("<", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), want, "{header}");
        }
    }
}
