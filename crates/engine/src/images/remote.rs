//! What is asked of registries without moving an image: inspect, login, search.

use registry::Version;
use spec::Reference;
use spec::image::ImageConfig;
use spec::manifest::{DescribedPlatform, Manifest, Parsed};

use super::hub::{Hub, credentials};
use super::{DistributionInspect, LoginStatus, RegistryAuth, SearchRequest, SearchResult};
use crate::{Error, Filters, Result};

/// Longest config that is read for its platform.
const MAX_CONFIG: usize = 8 << 20;
/// Results of a search that names no number.
const SEARCH_LIMIT: u32 = 25;
/// Most results of a search.
const MAX_SEARCH: u32 = 100;
/// Where a login goes that names no registry.
const HUB: &str = "docker.io";

/// What a registry says about a name.
pub(super) async fn distribution(
    hub: &Hub,
    name: &str,
    auth: Option<RegistryAuth>,
) -> Result<DistributionInspect> {
    let reference: Reference = name
        .parse()
        .map_err(|e: spec::reference::InvalidReference| Error::invalid(e.to_string()))?;
    let repository = hub.repository(&reference, &auth, &[]);
    let document = repository
        .manifest(&Version::of(&reference), None)
        .await
        .map_err(registry::Error::plain)?;
    let platforms = match document.parse()? {
        Parsed::Index(index) => index
            .manifests
            .iter()
            .filter_map(|entry| entry.platform.clone())
            .collect(),
        Parsed::Manifest(manifest) => platform(&repository, &manifest).await?,
    };
    Ok(DistributionInspect {
        descriptor: document.descriptor(),
        platforms,
    })
}

/// The platform that the config of a single image names; none for what is no image.
async fn platform(
    repository: &registry::Repository,
    manifest: &Manifest,
) -> Result<Vec<DescribedPlatform>> {
    if manifest.check_image().is_err() {
        return Ok(Vec::new());
    }
    let bytes = repository.small_blob(&manifest.config, MAX_CONFIG).await?;
    let config: ImageConfig = serde_json::from_slice(&bytes).map_err(|source| Error::Decode {
        what: format!("image config {} cannot be read", manifest.config.digest),
        source,
    })?;
    if config.os.is_empty() && config.architecture.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![DescribedPlatform {
        os: config.os,
        architecture: config.architecture,
        variant: config.variant,
        os_version: config.os_version,
        ..DescribedPlatform::default()
    }])
}

/// Tries a login.
pub(super) async fn login(hub: &Hub, auth: RegistryAuth) -> Result<LoginStatus> {
    let host = match auth.server_address.as_str() {
        "" => HUB,
        given => given,
    };
    let outcome = hub.registry.login(host, &credentials(&auth)).await?;
    Ok(LoginStatus {
        status: outcome.status,
        identity_token: outcome.identity_token.expose().to_owned(),
    })
}

/// Looks for repositories.
pub(super) async fn search(hub: &Hub, request: SearchRequest) -> Result<Vec<SearchResult>> {
    let wanted = Wanted::of(&request.filters)?;
    let limit = limit(request.limit)?;
    // Nothing is built automatically any more.
    if wanted.automated == Some(true) {
        return Ok(Vec::new());
    }
    let auth = request.auth.as_ref().map(credentials);
    let found = hub
        .registry
        .search(&request.term, limit, auth.as_ref())
        .await?;
    let found = found.into_iter().map(|result| SearchResult {
        name: result.name,
        description: result.description,
        star_count: result.star_count,
        is_official: result.is_official,
        is_automated: result.is_automated,
    });
    Ok(found.filter(|result| wanted.admits(result)).collect())
}

fn limit(asked: Option<u32>) -> Result<u32> {
    match asked {
        None | Some(0) => Ok(SEARCH_LIMIT),
        Some(limit) if limit <= MAX_SEARCH => Ok(limit),
        Some(limit) => Err(Error::invalid(format!(
            "limit {limit} is outside the range of [1, {MAX_SEARCH}]"
        ))),
    }
}

/// The filters of a search.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    automated: Option<bool>,
    official: Option<bool>,
    stars: i64,
}

impl Wanted {
    fn of(filters: &Filters) -> Result<Self> {
        filters.only(&["is-automated", "is-official", "stars"])?;
        let mut stars = 0;
        for text in filters.get("stars").into_iter().flatten() {
            let number: i64 = text
                .parse()
                .map_err(|_| Error::invalid(format!("invalid filter 'stars=[{text}]'")))?;
            stars = stars.max(number);
        }
        Ok(Self {
            automated: filters.boolean("is-automated")?,
            official: filters.boolean("is-official")?,
            stars,
        })
    }

    fn admits(&self, result: &SearchResult) -> bool {
        self.official
            .is_none_or(|official| official == result.is_official)
            && result.star_count >= self.stars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_filtered_as_dockers() {
        let mut filters = Filters::new();
        filters.add("is-official", "true");
        filters.add("stars", "3");
        let wanted = Wanted::of(&filters).unwrap();
        let result = |star_count, is_official| SearchResult {
            star_count,
            is_official,
            ..SearchResult::default()
        };
        assert!(wanted.admits(&result(3, true)));
        assert!(!wanted.admits(&result(2, true)));
        assert!(!wanted.admits(&result(9, false)));
        filters.add("stars", "many");
        assert!(Wanted::of(&filters).is_err());
    }

    #[test]
    fn limits_are_dockers() {
        assert_eq!(limit(None).unwrap(), 25);
        assert_eq!(limit(Some(100)).unwrap(), 100);
        assert_eq!(
            limit(Some(101)).unwrap_err().to_string(),
            "limit 101 is outside the range of [1, 100]"
        );
    }
}
