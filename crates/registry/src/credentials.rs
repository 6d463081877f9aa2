//! Who somebody is at a registry. Nothing here can be printed by accident.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

use crate::Result;
use crate::origin::invalid;

/// A text that must not be printed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Gives the text out, to be sent to where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells whether there is no secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "****" })
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// What a user gave for one registry; every part may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Name.
    pub username: String,
    /// Password or personal access token.
    pub password: Secret,
    /// OAuth2 refresh token, in place of the password.
    pub identity_token: Secret,
    /// Bearer token that is sent as it is.
    pub registry_token: Secret,
    /// The registry as the user wrote it.
    pub server_address: String,
}

impl Credentials {
    /// Makes the usual pair.
    pub fn new(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            ..Self::default()
        }
    }

    /// Tells whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.password.is_empty() && self.identity_token.is_empty() && self.registry_token.is_empty()
    }

    /// Tells whether name and password are there, as Basic needs them.
    pub(crate) fn has_password(&self) -> bool {
        !self.username.is_empty() && !self.password.is_empty()
    }
}

/// `Authorization: Basic …`.
pub(crate) fn basic(own: &Credentials) -> Result<HeaderValue> {
    let pair = format!("{}:{}", own.username, own.password.expose());
    header(&format!("Basic {}", STANDARD.encode(pair)))
}

/// `Authorization: Bearer …`.
pub(crate) fn bearer(token: &Secret) -> Result<HeaderValue> {
    header(&format!("Bearer {}", token.expose()))
}

fn header(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| invalid("the token cannot be sent as a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let all = Credentials {
            identity_token: Secret::new("hush-identity"),
            registry_token: Secret::new("hush-registry"),
            ..Credentials::new("user", "hush-password".to_owned())
        };
        let text = format!("{all:?} {all:#?}");
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("user"), "{text}");
    }
}
