//! Registries on the wire: login, search, and what a name points to there.

use serde::{Deserialize, Serialize};

use crate::oci::{Descriptor, Platform};

/// Answer to `POST /auth`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LoginResponse {
    /// A refresh token to keep instead of the password; empty if the registry gave none.
    pub identity_token: String,
    /// `Login Succeeded`.
    pub status: String,
}

impl std::fmt::Debug for LoginResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginResponse")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// A line of `GET /images/search`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    pub star_count: i64,
    pub is_official: bool,
    pub name: String,
    /// No longer used; always false.
    pub is_automated: bool,
    pub description: String,
}

/// Answer to `GET /distribution/{name}/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DistributionInspect {
    pub descriptor: Descriptor,
    /// `null` where nothing is known.
    pub platforms: Option<Vec<Platform>>,
}
