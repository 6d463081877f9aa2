//! Registries: credentials, descriptors, and the lines of a pull and a push.

use api::auth::AuthConfig;
use api::image::{
    ManifestAttestation, ManifestImage, ManifestSize, ManifestSummary as WireManifest, UnpackedSize,
};
use api::message::{JsonMessage, ProgressDetail, PushResult};
use api::oci;
use api::registry::{DistributionInspect as WireDistribution, SearchResult as WireResult};
use engine::images::{
    DistributionInspect, ManifestKind, ManifestSummary, Progress, PushAux, RegistryAuth,
    SearchResult,
};
use serde_json::{Value, json};
use spec::manifest::{DescribedPlatform, Descriptor};

use super::container::to_i64;

/// Credentials for the engine.
pub fn auth(wire: AuthConfig) -> RegistryAuth {
    RegistryAuth {
        username: wire.username,
        password: wire.password,
        identity_token: wire.identity_token,
        registry_token: wire.registry_token,
        server_address: wire.server_address,
    }
}

/// A line of a pull or a push.
pub fn progress(line: &Progress) -> JsonMessage {
    match line {
        Progress::Message { id, text } => {
            JsonMessage::status(id.as_deref().unwrap_or_default(), text)
        }
        Progress::Step {
            id,
            action,
            current,
            total,
        } => JsonMessage::progress(id, action, ProgressDetail::bytes(*current, *total)),
        Progress::Aux(aux) => JsonMessage {
            progress_detail: Some(ProgressDetail::default()),
            aux: Some(push_aux(aux)),
            ..JsonMessage::default()
        },
    }
}

fn push_aux(aux: &PushAux) -> Value {
    match aux {
        PushAux::Pushed { tag, digest, size } => json!(PushResult {
            tag: tag.clone(),
            digest: digest.to_string(),
            size: *size,
        }),
        PushAux::ManifestInsteadOfIndex { index, manifest } => json!({
            "manifestPushedInsteadOfIndex": true,
            "originalIndex": descriptor(index),
            "selectedManifest": descriptor(manifest),
        }),
    }
}

/// A descriptor on the wire.
pub fn descriptor(from: &Descriptor) -> oci::Descriptor {
    oci::Descriptor {
        media_type: from.media_type.clone(),
        digest: from.digest.to_string(),
        size: to_i64(from.size),
        urls: from.urls.clone(),
        annotations: from.annotations.clone(),
        platform: from.platform.as_ref().map(platform),
        artifact_type: from.artifact_type.clone(),
    }
}

/// A platform on the wire.
pub fn platform(from: &DescribedPlatform) -> oci::Platform {
    oci::Platform {
        architecture: from.architecture.clone(),
        os: from.os.clone(),
        os_version: from.os_version.clone(),
        os_features: from.os_features.clone(),
        variant: from.variant.clone(),
    }
}

/// A manifest of an index.
pub fn manifest(from: &ManifestSummary) -> WireManifest {
    let content = to_i64(from.content_size);
    let mut wire = WireManifest {
        id: from.descriptor.digest.to_string(),
        descriptor: descriptor(&from.descriptor),
        available: from.available,
        size: ManifestSize {
            content,
            total: content,
        },
        kind: "unknown".to_owned(),
        ..WireManifest::default()
    };
    match &from.kind {
        ManifestKind::Image {
            platform: runs_on,
            containers,
            unpacked_size,
            ..
        } => {
            let unpacked = to_i64(*unpacked_size);
            wire.kind = "image".to_owned();
            wire.size.total = content.saturating_add(unpacked);
            wire.image_data = Some(ManifestImage {
                platform: platform(runs_on),
                size: UnpackedSize { unpacked },
                containers: containers.iter().map(ToString::to_string).collect(),
            });
        }
        ManifestKind::Attestation { about } => {
            wire.kind = "attestation".to_owned();
            wire.attestation_data = Some(ManifestAttestation {
                subject: about.map(|digest| digest.to_string()).unwrap_or_default(),
            });
        }
        ManifestKind::Unknown => {}
    }
    wire
}

/// What a name stands for at a registry; Docker leaves all but three fields of the descriptor out.
pub fn distribution(from: &DistributionInspect) -> WireDistribution {
    let platforms: Vec<_> = from.platforms.iter().map(platform).collect();
    WireDistribution {
        descriptor: oci::Descriptor {
            media_type: from.descriptor.media_type.clone(),
            digest: from.descriptor.digest.to_string(),
            size: to_i64(from.descriptor.size),
            ..oci::Descriptor::default()
        },
        platforms: Some(platforms).filter(|list| !list.is_empty()),
    }
}

/// A repository found.
pub fn search_result(from: &SearchResult) -> WireResult {
    WireResult {
        star_count: from.star_count,
        is_official: from.is_official,
        name: from.name.clone(),
        is_automated: from.is_automated,
        description: from.description.clone(),
    }
}

#[cfg(test)]
mod tests {
    use api::gojson::encode;

    use super::*;

    fn print(line: &Progress) -> String {
        String::from_utf8(encode(&progress(line))).unwrap()
    }

    fn digest() -> spec::Digest {
        format!("sha256:{}", "a".repeat(64)).parse().unwrap()
    }

    #[test]
    fn lines_are_dockers() {
        let message = Progress::Message {
            id: Some("latest".to_owned()),
            text: "Pulling from library/busybox".to_owned(),
        };
        assert_eq!(
            print(&message),
            r#"{"status":"Pulling from library/busybox","id":"latest"}"#
        );
        let step = |action: &str, current, total| Progress::Step {
            id: "0123456789ab".to_owned(),
            action: action.to_owned(),
            current,
            total,
        };
        assert_eq!(
            print(&step("Waiting", 0, 0)),
            r#"{"status":"Waiting","progressDetail":{},"id":"0123456789ab"}"#
        );
        let line = print(&step("Downloading", 1, 2));
        assert!(line.starts_with(r#"{"status":"Downloading","progressDetail":{"current":1,"total":2},"progress":"[==="#), "{line}");
    }

    #[test]
    fn a_push_tells_programs_what_was_pushed() {
        let pushed = Progress::Aux(PushAux::Pushed {
            tag: "1".to_owned(),
            digest: digest(),
            size: 527,
        });
        let want = format!(
            r#"{{"progressDetail":{{}},"aux":{{"Tag":"1","Digest":"{}","Size":527}}}}"#,
            digest()
        );
        assert_eq!(print(&pushed), want);
    }

    #[test]
    fn a_distribution_without_platforms_says_null() {
        let inspect = DistributionInspect {
            descriptor: Descriptor {
                media_type: "m".to_owned(),
                digest: digest(),
                size: 3,
                urls: Vec::new(),
                annotations: [("a".to_owned(), "b".to_owned())].into(),
                platform: None,
                artifact_type: String::new(),
            },
            platforms: Vec::new(),
        };
        let want = format!(
            r#"{{"Descriptor":{{"mediaType":"m","digest":"{}","size":3}},"Platforms":null}}"#,
            digest()
        );
        assert_eq!(
            String::from_utf8(encode(&distribution(&inspect))).unwrap(),
            want
        );
    }
}
