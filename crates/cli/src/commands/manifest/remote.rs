//! Manifests on registries.

use registry::{Credentials, Error, Registry, Repository, Version};
use serde_json::Value;
use spec::Reference;
use spec::manifest::{DescribedPlatform, Document, Index, Manifest, Parsed};

use super::entry::Entry;
use super::whole;
use crate::app::App;
use crate::auth;
use crate::commands::registry::direct::{self, told};
use crate::exit::Failure;

/// The largest config that is read for its platform.
const MAX_CONFIG: usize = 8 << 20;

/// What a name stands for on a registry.
#[derive(Debug)]
pub(super) enum Found {
    /// One image.
    Image(Entry),
    /// Images of several platforms.
    List(Index),
}

/// A way to one registry.
#[derive(Debug)]
pub(super) struct Remote {
    registry: Registry,
    credentials: Option<Credentials>,
    reference: Reference,
}

impl Remote {
    /// The registry of a name; `insecure` lets it have a bad certificate or none.
    pub(super) fn of(
        app: &App,
        reference: &Reference,
        insecure: Security,
    ) -> Result<Self, Failure> {
        let domain = reference.domain();
        let insecure = match insecure {
            Security::Waived => vec![domain.to_owned()],
            Security::Kept => Vec::new(),
        };
        let known = auth::store(&app.config, auth::key(domain)).get().auth;
        Ok(Self {
            registry: direct::client(insecure)?,
            credentials: (known != auth::Auth::default()).then(|| known.credentials()),
            reference: reference.clone(),
        })
    }

    /// The repository of the name.
    pub(super) fn repository(&self) -> Repository {
        self.registry
            .repository(&self.reference, self.credentials.clone())
    }

    /// What the name stands for.
    pub(super) async fn find(&self) -> Result<Found, Failure> {
        let repository = self.repository();
        let version = Version::of(&self.reference);
        let document = repository
            .manifest(&version, None)
            .await
            .map_err(|error| self.refused(&error))?;
        match document.parse().map_err(|error| told(&error))? {
            Parsed::Index(index) => Ok(Found::List(index)),
            Parsed::Manifest(manifest) => {
                let platform = platform(&repository, &manifest).await?;
                Ok(Found::Image(Entry {
                    reference: self.reference.clone(),
                    document,
                    platform,
                }))
            }
        }
    }

    /// The images of a list, with their manifests.
    pub(super) async fn images(&self, index: &Index) -> Result<Vec<Entry>, Failure> {
        let repository = self.repository();
        let mut entries = Vec::new();
        for descriptor in &index.manifests {
            let version = Version::Digest(descriptor.digest);
            let document = repository
                .manifest(&version, Some(descriptor))
                .await
                .map_err(|error| self.refused(&error))?;
            entries.push(Entry {
                reference: with_digest(&self.reference, &document)?,
                document,
                platform: descriptor.platform.clone().unwrap_or_default(),
            });
        }
        Ok(entries)
    }

    // Whoever may not see a manifest is told what one is told who asks for one that is not there.
    fn refused(&self, error: &Error) -> Failure {
        match error {
            Error::ManifestUnknown { .. }
            | Error::NameUnknown { .. }
            | Error::PullDenied { .. } => {
                Failure::new(format!("no such manifest: {}", whole(&self.reference)))
            }
            other => told(other),
        }
    }
}

/// Whether a registry has to prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// As always.
    Kept,
    /// `--insecure`.
    Waived,
}

impl From<bool> for Security {
    fn from(insecure: bool) -> Self {
        match insecure {
            true => Self::Waived,
            false => Self::Kept,
        }
    }
}

// Name, tag and digest together, as Docker shows the members of a list.
fn with_digest(reference: &Reference, document: &Document) -> Result<Reference, Failure> {
    let mut name = reference.repository();
    if let Some(tag) = reference.tag() {
        name.push_str(&format!(":{tag}"));
    }
    Reference::parse_bare(&format!("{name}@{}", document.digest))
        .map_err(|error| Failure::new(error.to_string()))
}

// The platform is a matter of the image's config.
async fn platform(
    repository: &Repository,
    manifest: &Manifest,
) -> Result<DescribedPlatform, Failure> {
    let config = repository
        .small_blob(&manifest.config, MAX_CONFIG)
        .await
        .map_err(|error| told(&error))?;
    let config: Value = serde_json::from_slice(&config)
        .map_err(|error| Failure::new(format!("config {}: {error}", manifest.config.digest)))?;
    let fields = ["architecture", "os", "os.version", "os.features", "variant"];
    let named = fields
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), config.get(name)?.clone())));
    let named: Value = named.collect::<serde_json::Map<_, _>>().into();
    serde_json::from_value(named)
        .map_err(|error| Failure::new(format!("config {}: {error}", manifest.config.digest)))
}
