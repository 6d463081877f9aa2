//! Credentials of a registry on the wire: the body of `POST /auth` and two headers.
//!
//! What is in here is secret: `Debug` shows names and addresses, never passwords and tokens.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};

use crate::gojson::{DecodeError, Names, decode};

/// Header with one registry's credentials.
pub const AUTH_HEADER: &str = "x-registry-auth";
/// Header with the credentials of several registries, by address.
pub const CONFIG_HEADER: &str = "x-registry-config";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const NAMES: Names = Names {
    whole: "registry.AuthConfig",
    field_root: "",
};

/// Credentials of one registry.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// `user:password` in base64, as `config.json` keeps it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth: String,
    /// No longer used; some clients still send it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// Whose credentials these are.
    #[serde(rename = "serveraddress", skip_serializing_if = "String::is_empty")]
    pub server_address: String,
    /// A refresh token to get access tokens with.
    #[serde(rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    pub identity_token: String,
    /// An access token to send as it is.
    #[serde(rename = "registrytoken", skip_serializing_if = "String::is_empty")]
    pub registry_token: String,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// Whether it says nothing that a registry could check.
    pub fn is_empty(&self) -> bool {
        self.username.is_empty()
            && self.password.is_empty()
            && self.auth.is_empty()
            && self.identity_token.is_empty()
            && self.registry_token.is_empty()
    }

    /// The value of [`AUTH_HEADER`].
    pub fn to_header(&self) -> String {
        BASE64.encode(crate::gojson::encode(self))
    }

    /// Reads a value of [`AUTH_HEADER`]; Docker takes what it cannot read as no credentials.
    pub fn from_header(value: &str) -> Self {
        let Ok(text) = BASE64.decode(value.trim()) else {
            return Self::default();
        };
        decode::<Self>(&text, NAMES).unwrap_or_default().unpacked()
    }

    /// Reads the body of `POST /auth`.
    ///
    /// # Errors
    ///
    /// It is no JSON object of the wanted types; the text holds nothing of the body.
    pub fn from_body(body: &[u8]) -> Result<Self, DecodeError> {
        decode::<Self>(body, NAMES).map(Self::unpacked)
    }

    /// Fills user and password from `auth`, where only that is given.
    fn unpacked(mut self) -> Self {
        let empty = self.username.is_empty() && self.password.is_empty();
        if empty
            && let Ok(pair) = base64::prelude::BASE64_STANDARD.decode(self.auth.trim())
            && let Ok(pair) = String::from_utf8(pair)
            && let Some((user, password)) = pair.split_once(':')
        {
            self.username = user.to_owned();
            self.password = password.trim_end_matches('\0').to_owned();
        }
        self
    }
}

/// The value of [`CONFIG_HEADER`].
pub fn to_config_header(configs: &BTreeMap<String, AuthConfig>) -> String {
    BASE64.encode(crate::gojson::encode(configs))
}

/// Reads a value of [`CONFIG_HEADER`]; what cannot be read is no credentials.
pub fn from_config_header(value: &str) -> BTreeMap<String, AuthConfig> {
    let Ok(text) = BASE64.decode(value.trim()) else {
        return BTreeMap::new();
    };
    let names = Names {
        whole: "map[string]registry.AuthConfig",
        ..NAMES
    };
    let map: BTreeMap<String, AuthConfig> = decode(&text, names).unwrap_or_default();
    map.into_iter().map(|(k, v)| (k, v.unpacked())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> AuthConfig {
        AuthConfig {
            username: "u".to_owned(),
            password: "p?>~".to_owned(),
            server_address: "r:5000".to_owned(),
            ..AuthConfig::default()
        }
    }

    #[test]
    fn headers_go_there_and_back() {
        let header = some().to_header();
        assert!(!header.contains(['+', '/']), "{header}");
        assert_eq!(AuthConfig::from_header(&header), some());
        assert_eq!(
            AuthConfig::from_header(header.trim_end_matches('=')),
            some(),
            "without padding"
        );
        let all = BTreeMap::from([("r:5000".to_owned(), some())]);
        assert_eq!(from_config_header(&to_config_header(&all)), all);
        assert!(from_config_header("e30").is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_no_credentials() {
        for bad in ["", "%%%", "e30=", "bm9wZQ==", "eyJ1c2VybmFtZSI6MX0="] {
            assert!(AuthConfig::from_header(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn keys_match_whatever_their_case_and_auth_is_taken_apart() {
        let read = AuthConfig::from_body(br#"{"UserName":"a","IdentityToken":"t"}"#).unwrap();
        assert_eq!(
            (read.username.as_str(), read.identity_token.as_str()),
            ("a", "t")
        );
        let read = AuthConfig::from_body(br#"{"auth":"dTpwOnE="}"#).unwrap();
        assert_eq!(
            (read.username.as_str(), read.password.as_str()),
            ("u", "p:q")
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let auth = AuthConfig {
            auth: "secret1".to_owned(),
            password: "secret2".to_owned(),
            identity_token: "secret3".to_owned(),
            registry_token: "secret4".to_owned(),
            ..some()
        };
        assert!(!format!("{auth:?}").contains("secret"));
    }
}
