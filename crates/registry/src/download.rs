//! A file of any web server, as `import` names one: no registry is asked, no token is sought.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use url::Url;

use crate::origin::{invalid, shown};
use crate::registry::Registry;
use crate::session::ERROR_PATIENCE;
use crate::tls::{Material, Profile};
use crate::transport::{Answer, Call, Payload, Trust};
use crate::{Error, Result};

/// The bytes of a file as they come.
#[derive(Debug)]
pub struct Download {
    answer: Answer,
    shown: String,
}

impl Download {
    /// What is fetched, without secrets.
    pub fn url(&self) -> &str {
        &self.shown
    }

    /// How long it is, where the server says so.
    pub fn length(&self) -> Option<u64> {
        self.answer.content_length()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] on a cut or a stall.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.answer.chunk().await
    }
}

/// The system's authorities, wherever a redirect leads.
struct Anybody(Arc<Profile>);

impl Trust for Anybody {
    fn profile(&self, _: &Url) -> Arc<Profile> {
        Arc::clone(&self.0)
    }
}

impl Registry {
    /// Opens a file of a web server; an address without a scheme is one of `http`.
    ///
    /// # Errors
    ///
    /// [`Error::Download`] where the server refuses, [`Error::Request`] where it does not answer,
    /// [`Error::Invalid`] for what is no address.
    pub async fn download(&self, address: &str) -> Result<Download> {
        let with_scheme = match address.contains("://") {
            true => address.to_owned(),
            false => format!("http://{address}"),
        };
        let url: Url = with_scheme
            .parse()
            .map_err(|error| invalid(format!("the address cannot be read: {error}")))?;
        let shared = self.shared();
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(format!(
                "an address with a user name is not fetched: {}",
                shown(&url)
            )));
        }
        let shown = shown(&url);
        let call = Call {
            method: Method::GET,
            url,
            headers: [(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]
                .into_iter()
                .collect(),
            private: HeaderMap::new(),
            authorization: None,
            payload: Payload::Empty,
            patience: shared.transport.settings.timeouts.answer,
        };
        let trust = Anybody(Arc::new(Profile::new(Material::default(), true)));
        let mut answer = shared.transport.send(&trust, call).await?;
        if answer.status().is_success() {
            return Ok(Download { answer, shown });
        }
        let body = answer.some_bytes(ERROR_PATIENCE).await;
        Err(Error::Download {
            url: shown,
            code: answer.status().as_u16(),
            status: answer.status().to_string(),
            body: String::from_utf8_lossy(&body).trim().to_owned(),
        })
    }
}
