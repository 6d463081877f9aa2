//! Calls about images and registries.

use futures_util::Stream;
use serde_json::Value;

use super::{Body, Client, ClientError, JsonStream, Query, Request, Response, escape};
use crate::auth::{AUTH_HEADER, AuthConfig};
use crate::message::JsonMessage;
use crate::oci::Platform;
use crate::registry::{DistributionInspect, LoginResponse, SearchResult};

/// A body of [`JsonMessage`] lines.
#[derive(Debug)]
pub struct Messages(JsonStream);

impl Messages {
    /// Reads the next line; `None` at the end. A failure that the daemon tells in a line is a line:
    /// see [`JsonMessage::failure_text`].
    pub async fn next(&mut self) -> Result<Option<JsonMessage>, ClientError> {
        match self.0.next().await? {
            None => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|source| ClientError::Decode { source }),
        }
    }
}

impl Response {
    /// Reads the body as one line of progress after another.
    pub fn messages(self) -> Messages {
        Messages(self.json_stream())
    }
}

/// A request body whose pieces come from a stream, such as a file that is read while it is sent.
pub fn stream_body<S>(chunks: S) -> Body
where
    S: Stream<Item = std::io::Result<bytes::Bytes>> + Send + Sync + 'static,
{
    use futures_util::TryStreamExt;
    use http_body_util::{BodyExt, StreamBody};
    StreamBody::new(chunks.map_ok(hyper::body::Frame::data)).boxed()
}

/// What to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Repository, without tag and digest: `docker.io/library/busybox`.
    pub repository: String,
    /// Tag or digest; empty pulls all tags.
    pub tag: String,
    /// `linux/arm64`, or empty.
    pub platform: String,
    /// Credentials of the registry.
    pub auth: Option<AuthConfig>,
}

/// What to push.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Repository, without tag.
    pub repository: String,
    /// Tag; empty pushes all tags.
    pub tag: String,
    /// Only this platform; since API 1.46.
    pub platform: Option<Platform>,
    /// Credentials of the registry.
    pub auth: Option<AuthConfig>,
}

/// What to make an image of.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Id or name of the container.
    pub container: String,
    /// Repository of the new image, or empty.
    pub repository: String,
    /// Tag of the new image, or empty.
    pub tag: String,
    /// Message of the new image.
    pub comment: String,
    /// Author of the new image.
    pub author: String,
    /// Changes in Dockerfile form.
    pub changes: Vec<String>,
    /// Pause the container meanwhile.
    pub pause: bool,
}

impl Request {
    /// Adds credentials of a registry; none are sent as Docker's client sends none.
    #[must_use]
    pub fn auth(self, auth: Option<&AuthConfig>) -> Self {
        match auth {
            Some(auth) => self.header(AUTH_HEADER, &auth.to_header()),
            None => self,
        }
    }
}

impl Client {
    /// Pulls; the lines tell how far it is. Dropping them cancels the pull.
    pub async fn pull(&self, options: &PullOptions) -> Result<Messages, ClientError> {
        let mut query = Query::new().with("fromImage", &options.repository);
        query.add_some("tag", &options.tag);
        if super::compare_versions(self.settled_version().await?, "1.32").is_ge() {
            query.add_some("platform", &options.platform);
        }
        let request = Request::post("/images/create")
            .query(&query)
            .auth(options.auth.as_ref());
        Ok(self.send(request).await?.messages())
    }

    /// Pushes; the lines tell how far it is. Dropping them cancels the push.
    pub async fn push(&self, options: &PushOptions) -> Result<Messages, ClientError> {
        let mut query = Query::new();
        query.add_some("tag", &options.tag);
        if let Some(platform) = &options.platform {
            query.add("platform", json_text(platform));
        }
        let none = AuthConfig::default();
        let request = Request::post(format!("/images/{}/push", path(&options.repository)))
            .query(&query)
            .auth(Some(options.auth.as_ref().unwrap_or(&none)));
        Ok(self.send(request).await?.messages())
    }

    /// Gets images as an archive; read it with [`Response::chunk`].
    pub async fn save(
        &self,
        names: &[String],
        platforms: &[Platform],
    ) -> Result<Response, ClientError> {
        let mut query = Query::new();
        for name in names {
            query.add("names", name);
        }
        for platform in platforms {
            query.add("platform", json_text(platform));
        }
        self.send(Request::get("/images/get").query(&query)).await
    }

    /// Gets the file system of a container as an archive; read it with [`Response::chunk`].
    pub async fn export(&self, container: &str) -> Result<Response, ClientError> {
        let path = format!("/containers/{}/export", escape(container));
        self.send(Request::get(path)).await
    }

    /// Makes an image of a container and returns its id; `config` overrides the container's.
    pub async fn commit(
        &self,
        options: &CommitOptions,
        config: Option<&Value>,
    ) -> Result<String, ClientError> {
        let mut query = Query::new().with("container", &options.container);
        query.add_some("repo", &options.repository);
        query.add_some("tag", &options.tag);
        query.add_some("comment", &options.comment);
        query.add_some("author", &options.author);
        for change in &options.changes {
            query.add("changes", change);
        }
        if !options.pause {
            query.add("pause", "0");
        }
        let mut request = Request::post("/commit").query(&query);
        if let Some(config) = config {
            request = request.json(config);
        }
        let answer = self.json(request).await?;
        Ok(answer["Id"].as_str().unwrap_or_default().to_owned())
    }

    /// Checks credentials with their registry.
    pub async fn login(&self, auth: &AuthConfig) -> Result<LoginResponse, ClientError> {
        let body = serde_json::to_value(auth).map_err(|source| ClientError::Decode { source })?;
        typed(self.json(Request::post("/auth").json(&body)).await?)
    }

    /// Searches a registry.
    pub async fn search(
        &self,
        term: &str,
        limit: Option<u64>,
        filters: &str,
        auth: Option<&AuthConfig>,
    ) -> Result<Vec<SearchResult>, ClientError> {
        let mut query = Query::new().with("term", term);
        if let Some(limit) = limit {
            query.add("limit", limit.to_string());
        }
        query.add_some("filters", filters);
        let request = Request::get("/images/search").query(&query).auth(auth);
        typed(self.json(request).await?)
    }

    /// Asks a registry, through the daemon, what a name points to.
    pub async fn distribution(
        &self,
        name: &str,
        auth: Option<&AuthConfig>,
    ) -> Result<DistributionInspect, ClientError> {
        let request = Request::get(format!("/distribution/{}/json", path(name))).auth(auth);
        typed(self.json(request).await?)
    }

    async fn settled_version(&self) -> Result<&str, ClientError> {
        if self.fixed_version.is_none() {
            self.negotiate().await?;
        }
        Ok(self.version())
    }
}

/// A name with its slashes as path segments.
fn path(name: &str) -> String {
    name.split('/').map(escape).collect::<Vec<_>>().join("/")
}

fn json_text(platform: &Platform) -> String {
    serde_json::to_string(platform).unwrap_or_default()
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|source| ClientError::Decode { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_of_names_stay() {
        assert_eq!(path("r:5000/a/b:c"), "r%3A5000/a/b%3Ac");
    }
}
