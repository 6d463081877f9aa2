//! Manifests and indexes: asking, fetching, putting, deleting.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use spec::manifest::{Descriptor, Document, InvalidManifest, MAX_DOCUMENT, media};
use spec::{Digest, Reference};

use super::walk::Need;
use super::{Repository, Version};
use crate::reply::success;
use crate::session::Session;
use crate::transport::{Answer, Call, Payload};
use crate::{ApiErrors, Error, Result};

/// Where registries say the digest of what they answer with.
const DIGEST_HEADER: &str = "docker-content-digest";

impl Repository {
    /// Asks what a tag or digest is, without fetching it where the registry can say it (HEAD).
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::ManifestUnknown`] and its neighbours where it is not there.
    pub async fn resolve(&self, version: &Version) -> Result<Descriptor> {
        let mut walk = self.walk(Need::Resolve).await?;
        while let Some((id, session)) = walk.next() {
            match self.resolve_at(&session, version).await {
                Ok(found) => return Ok(found),
                Err(error) => walk
                    .failed(id, &session, error)
                    .map_err(|e| self.told(version, e))?,
            }
        }
        Err(self.told(version, walk.end()))
    }

    /// Fetches a manifest or index. What is returned has the digest that was asked for, is not
    /// ambiguous, and fits `known` where that is given.
    ///
    /// # Errors
    ///
    /// [`Error`]; [`Error::Manifest`] where it is nothing that can be used.
    pub async fn manifest(
        &self,
        version: &Version,
        known: Option<&Descriptor>,
    ) -> Result<Document> {
        let need = match version {
            Version::Tag(_) => Need::Resolve,
            Version::Digest(_) => Need::Pull,
        };
        let mut walk = self.walk(need).await?;
        while let Some((id, session)) = walk.next() {
            match self.manifest_at(&session, version, known).await {
                Ok(document) => return Ok(document),
                Err(error) => walk
                    .failed(id, &session, error)
                    .map_err(|e| self.told(version, e))?,
            }
        }
        Err(self.told(version, walk.end()))
    }

    /// Puts a manifest under a tag or its digest.
    ///
    /// # Errors
    ///
    /// [`Error`]; also where the registry answers with another digest.
    pub async fn put_manifest(&self, version: &Version, document: &Document) -> Result<Digest> {
        let mut walk = self.walk(Need::Push).await?;
        while let Some((id, session)) = walk.next() {
            match self.put_at(&session, version, document).await {
                Ok(()) => return Ok(document.digest),
                Err(error) => walk.failed(id, &session, error)?,
            }
        }
        Err(walk.end())
    }

    /// Deletes a tag or a manifest.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn delete_manifest(&self, version: &Version) -> Result<()> {
        self.delete(&format!("manifests/{version}")).await
    }

    /// Deletes a blob.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn delete_blob(&self, digest: Digest) -> Result<()> {
        self.delete(&format!("blobs/{digest}")).await
    }

    async fn delete(&self, what: &str) -> Result<()> {
        let scopes = self.push_scope().and(self.path(), &["delete"]);
        let mut walk = self.walk(Need::Push).await?;
        while let Some((id, session)) = walk.next() {
            let url = session.endpoint.url(&format!("{}/{what}", self.path()));
            let answer = session
                .send(session.call(Method::DELETE, url), &scopes)
                .await;
            let done = match answer {
                Ok(answer) => success(answer).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(_) => return Ok(()),
                Err(error) => walk.failed(id, &session, error)?,
            }
        }
        Err(walk.end())
    }

    async fn ask(&self, session: &Session, method: Method, version: &Version) -> Result<Answer> {
        let url = session
            .endpoint
            .url(&format!("{}/manifests/{version}", self.path()));
        let mut call = session.call(method, url);
        for media_type in media::ACCEPT {
            let value = HeaderValue::from_static(media_type);
            call.headers.append(ACCEPT, value);
        }
        session.send(call, &self.pull_scope()).await
    }

    async fn resolve_at(&self, session: &Session, version: &Version) -> Result<Descriptor> {
        let head = self.ask(session, Method::HEAD, version).await?;
        if head.status().is_success()
            && let Some(found) = described(&head, version)
        {
            return Ok(found);
        }
        // What is wrong, only the body of an answer to GET tells.
        self.manifest_at(session, version, None)
            .await
            .map(|document| document.descriptor())
    }

    async fn manifest_at(
        &self,
        session: &Session,
        version: &Version,
        known: Option<&Descriptor>,
    ) -> Result<Document> {
        let answer = self.ask(session, Method::GET, version).await?;
        let mut answer = success(answer).await?;
        let too_long = |size| Error::Manifest {
            reference: version.to_string(),
            source: InvalidManifest::TooLong { size },
        };
        if let Some(length) = answer.content_length()
            && length > MAX_DOCUMENT as u64
        {
            return Err(too_long(length));
        }
        let media_type = media::essence(answer.content_type()).to_owned();
        let within: Duration = self.shared().transport.settings.timeouts.document;
        let bytes = match answer.bytes(MAX_DOCUMENT, within).await {
            Err(Error::Request {
                source: crate::TransportError::TooLong { .. },
                ..
            }) => return Err(too_long(MAX_DOCUMENT as u64 + 1)),
            bytes => bytes?,
        };
        let header = answer.header(DIGEST_HEADER).map(str::to_owned);
        check(version, known, header.as_deref(), media_type, bytes)
    }

    async fn put_at(
        &self,
        session: &Session,
        version: &Version,
        document: &Document,
    ) -> Result<()> {
        let url = session
            .endpoint
            .url(&format!("{}/manifests/{version}", self.path()));
        let mut call = Call {
            payload: Payload::Bytes(Bytes::copy_from_slice(&document.bytes)),
            patience: self.shared().transport.settings.timeouts.commit,
            ..session.call(Method::PUT, url)
        };
        let media_type =
            HeaderValue::from_str(&document.media_type).map_err(|_| Error::Invalid {
                what: "the media type of the manifest cannot be sent".to_owned(),
            })?;
        call.headers.insert(CONTENT_TYPE, media_type);
        let answer = success(session.send(call, &self.push_scope()).await?).await?;
        match answer.header(DIGEST_HEADER).map(str::parse::<Digest>) {
            Some(Ok(other)) if other != document.digest => Err(Error::ManifestDigest {
                expected: document.digest,
                actual: other,
            }),
            _ => Ok(()),
        }
    }

    /// Adds what people asked for to what the registry said, as Docker does for a pull.
    fn told(&self, version: &Version, error: Error) -> Error {
        let own = self.reference();
        let mut source = match error {
            Error::Api(source) => source,
            Error::Unsupported(InvalidManifest::Schema1) => {
                return Error::Schema1 {
                    reference: versioned(own, version).to_string(),
                };
            }
            other => return as_head(version, other),
        };
        // The first one says it all.
        source.errors.truncate(1);
        match source.code() {
            "MANIFEST_UNKNOWN" => unknown(own, version, source),
            _ => self.told_of_all(Error::Api(source)),
        }
    }

    /// The same where no version of the repository is meant.
    pub(super) fn told_of_all(&self, error: Error) -> Error {
        let name = self.reference().familiar_repository();
        match error {
            Error::Api(mut source) => {
                source.errors.truncate(1);
                match source.code() {
                    "DENIED" => Error::PullDenied { name, source },
                    "NAME_UNKNOWN" => Error::NameUnknown { name, source },
                    _ => Error::Api(source),
                }
            }
            other => other,
        }
    }
}

fn unknown(own: &Reference, version: &Version, source: ApiErrors) -> Error {
    Error::ManifestUnknown {
        reference: versioned(own, version).familiar(),
        source,
    }
}

fn versioned(own: &Reference, version: &Version) -> Reference {
    match version {
        Version::Tag(tag) => own.with_tag(tag).unwrap_or_else(|_| own.clone()),
        Version::Digest(digest) => own.with_digest(*digest),
    }
}

/// Docker asks for a tag with HEAD before anything else, so that is what its errors name.
fn as_head(version: &Version, error: Error) -> Error {
    let is_first = |method: &str, url: &str| {
        method == "Get" && url.contains("/manifests/") && matches!(version, Version::Tag(_))
    };
    match error {
        Error::Authorization {
            method,
            url,
            source,
        } if is_first(&method, &url) => Error::Authorization {
            method: "Head".to_owned(),
            url,
            source,
        },
        Error::Request {
            method,
            url,
            source,
        } if is_first(&method, &url) => Error::Request {
            method: "Head".to_owned(),
            url,
            source,
        },
        other => other,
    }
}

/// Docker has texts of its own for what is merely unsupported.
fn unusable(version: &Version, source: InvalidManifest) -> Error {
    match source {
        InvalidManifest::TooLong { .. }
        | InvalidManifest::TooMany { .. }
        | InvalidManifest::Json { .. }
        | InvalidManifest::Ambiguous { .. } => Error::Manifest {
            reference: version.to_string(),
            source,
        },
        other => Error::Unsupported(other),
    }
}

/// What the head of an answer says; `None` where it says too little.
fn described(answer: &Answer, version: &Version) -> Option<Descriptor> {
    let digest: Digest = answer.header(DIGEST_HEADER)?.parse().ok()?;
    if matches!(version, Version::Digest(wanted) if *wanted != digest) {
        return None;
    }
    let media_type = media::essence(answer.content_type());
    let known = media::is_manifest(media_type) || media::is_index(media_type);
    let size = answer.content_length().filter(|size| *size > 0)?;
    known.then(|| Descriptor::new(media_type, digest, size))
}

/// Makes a document of what came, or says why it is none.
fn check(
    version: &Version,
    known: Option<&Descriptor>,
    header: Option<&str>,
    media_type: String,
    bytes: Vec<u8>,
) -> Result<Document> {
    let mut document = Document::new(media_type, bytes);
    let actual = document.digest;
    let header = header.and_then(|text| text.parse().ok());
    let wanted = match version {
        Version::Digest(digest) => Some(*digest),
        Version::Tag(_) => known.map(|known| known.digest).or(header),
    };
    if let Some(expected) = wanted.filter(|expected| *expected != actual) {
        return Err(Error::ManifestDigest { expected, actual });
    }
    let size = document.bytes.len() as u64;
    if let Some(known) = known.filter(|known| known.size != size) {
        return Err(Error::ManifestSize {
            digest: actual,
            expected: known.size,
            actual: size,
        });
    }
    let bad = |source| unusable(version, source);
    document.media_type = match document.parse().map_err(bad)? {
        spec::manifest::Parsed::Manifest(manifest) => manifest.media_type,
        spec::manifest::Parsed::Index(index) => index.media_type,
    };
    // An index says what its entries are; a registry that sends something else is not believed.
    if let Some(known) = known.filter(|known| {
        !media::is_generic(&known.media_type) && known.media_type != document.media_type
    }) {
        return Err(bad(InvalidManifest::Ambiguous {
            why: format!(
                "it was announced as `{}` and is a `{}`",
                known.media_type, document.media_type
            ),
        }));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use spec::manifest::{oci_index, oci_manifest};

    use super::*;

    #[test]
    fn lies_about_manifests_are_seen() {
        let config = Descriptor::new(media::OCI_CONFIG, Digest::of(b"c"), 1);
        let document = oci_manifest(&config, &[]);
        let tag = Version::Tag("t".to_owned());
        let digest = Version::Digest(document.digest);
        let other = Digest::of(b"other");
        let run = |version: &Version, known: Option<&Descriptor>, header: Option<Digest>| {
            let header = header.map(|digest| digest.to_string());
            let bytes = document.bytes.clone();
            let media_type = document.media_type.clone();
            check(version, known, header.as_deref(), media_type, bytes)
        };
        let good = document.descriptor();
        assert_eq!(
            run(&digest, Some(&good), Some(document.digest)).unwrap(),
            document
        );
        assert_eq!(run(&tag, None, None).unwrap(), document);
        // The digest that was asked for counts, not what a header says.
        assert!(run(&digest, None, Some(other)).is_ok());
        for (version, known, header) in [
            (&Version::Digest(other), None, Some(document.digest)),
            (&tag, None, Some(other)),
            (
                &tag,
                Some(Descriptor {
                    digest: other,
                    ..good.clone()
                }),
                None,
            ),
            (
                &digest,
                Some(Descriptor {
                    size: 1,
                    ..good.clone()
                }),
                None,
            ),
            (
                &digest,
                Some(Descriptor {
                    media_type: media::OCI_INDEX.to_owned(),
                    ..good.clone()
                }),
                None,
            ),
        ] {
            assert!(
                run(version, known.as_ref(), header).is_err(),
                "{version} {known:?}"
            );
        }
        let index = oci_index(&[good]);
        let sent_as_manifest = check(
            &tag,
            None,
            None,
            media::OCI_MANIFEST.to_owned(),
            index.bytes.clone(),
        );
        assert!(sent_as_manifest.is_err());
        let generic = check(&tag, None, None, "application/json".to_owned(), index.bytes);
        assert_eq!(generic.unwrap().media_type, media::OCI_INDEX);
    }
}
