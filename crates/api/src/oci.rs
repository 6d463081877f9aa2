//! Descriptors and platforms as the image specification prints them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a piece of content is and how to check it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
}

/// What an image runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename = "v1.Platform")]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl From<&spec::Platform> for Platform {
    fn from(platform: &spec::Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out() {
        let platform: spec::Platform = "linux/arm/v7".parse().unwrap();
        let descriptor = Descriptor {
            media_type: "m".to_owned(),
            digest: "sha256:0".to_owned(),
            size: 1,
            platform: Some(Platform::from(&platform)),
            ..Descriptor::default()
        };
        assert_eq!(
            serde_json::to_string(&descriptor).unwrap(),
            r#"{"mediaType":"m","digest":"sha256:0","size":1,"platform":{"architecture":"arm","os":"linux","variant":"v7"}}"#
        );
    }
}
