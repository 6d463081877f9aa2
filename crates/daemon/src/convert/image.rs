//! Images.

use api::container::GraphDriver;
use api::image::{
    DeleteItem, HistoryItem, ImageConfig, ImageInspect, ImageSummary as WireSummary,
    ManifestSummary, Metadata, RootFs,
};
use api::oci::Descriptor;
use engine::container::Config;
use engine::images::{HistoryEntry, ImageRemoval, ImageSummary, ImageView};
use spec::Timestamp;

use super::container::to_i64;
use super::{config, registry};
use crate::router::compare_versions;

/// What the API versions differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape<'v>(&'v str);

impl<'v> Shape<'v> {
    /// The shapes of a version.
    pub fn of(version: &'v str) -> Self {
        Self(version)
    }

    fn since(self, version: &str) -> bool {
        compare_versions(self.0, version).is_ge()
    }
}

/// A line of a list.
pub fn summary(image: &ImageSummary, shape: Shape<'_>) -> WireSummary {
    let id = |id: &spec::ImageId| id.to_string();
    let nameless = image.repo_tags.is_empty() && image.repo_digests.is_empty();
    let names = |names: &[String], none: &str| match (shape.since("1.43"), nameless) {
        (true, _) => Some(names.to_vec()),
        (false, true) => Some(vec![none.to_owned()]),
        (false, false) => Some(names.to_vec()).filter(|l| !l.is_empty()),
    };
    WireSummary {
        // Containers were not counted before.
        containers: match shape.since("1.51") {
            true => to_i64(image.containers),
            false => -1,
        },
        created: image.created.map_or(0, |t| t.unix_seconds()),
        id: id(&image.id),
        labels: Some(image.labels.clone()).filter(|l| !l.is_empty()),
        parent_id: image.parent.as_ref().map(id).unwrap_or_default(),
        descriptor: target(image, shape),
        manifests: manifests(image),
        repo_digests: names(&image.repo_digests, "<none>@<none>"),
        repo_tags: names(&image.repo_tags, "<none>:<none>"),
        shared_size: image.shared_size.map_or(-1, to_i64),
        size: to_i64(image.size),
        virtual_size: virtual_size(image, shape),
    }
}

fn virtual_size(image: &ImageSummary, shape: Shape<'_>) -> Option<i64> {
    (!shape.since("1.44")).then(|| to_i64(image.size))
}

fn target(image: &ImageSummary, shape: Shape<'_>) -> Option<Descriptor> {
    let known = image.target.as_ref().filter(|_| shape.since("1.48"));
    known.map(registry::descriptor)
}

fn manifests(image: &ImageSummary) -> Vec<ManifestSummary> {
    let asked = image.manifests.iter().flatten();
    asked.map(registry::manifest).collect()
}

/// A line of disk usage: null for no names and no digests, and containers are always counted.
pub fn usage(image: &ImageSummary, shape: Shape<'_>) -> WireSummary {
    WireSummary {
        containers: to_i64(image.containers),
        repo_tags: Some(image.repo_tags.clone()).filter(|l| !l.is_empty()),
        repo_digests: Some(image.repo_digests.clone()).filter(|l| !l.is_empty()),
        ..summary(image, shape)
    }
}

/// What inspect shows.
pub fn inspect(image: &ImageView, shape: Shape<'_>) -> ImageInspect {
    let summary = &image.summary;
    let empty = Config::default();
    let settings = image.config.as_ref().unwrap_or(&empty);
    let shown = if shape.since("1.50") {
        serde_json::to_value(image_config(settings))
    } else {
        serde_json::to_value(config::to_wire(settings))
    };
    let id = |id: &spec::ImageId| id.to_string();
    let created = match (summary.created, shape.since("1.44")) {
        (Some(time), _) => time.to_string(),
        (None, true) => String::new(),
        (None, false) => Timestamp::ZERO.to_string(),
    };
    ImageInspect {
        id: id(&summary.id),
        repo_tags: summary.repo_tags.clone(),
        repo_digests: summary.repo_digests.clone(),
        parent: summary.parent.as_ref().map(id).unwrap_or_default(),
        comment: image.comment.clone(),
        created,
        docker_version: image.docker_version.clone(),
        author: image.author.clone(),
        architecture: image.architecture.clone(),
        variant: image.variant.clone(),
        os: image.os.clone(),
        os_version: image.os_version.clone(),
        size: to_i64(summary.size),
        virtual_size: virtual_size(summary, shape),
        graph_driver: GraphDriver {
            data: Some(image.graph.clone()).filter(|g| !g.is_empty()),
            name: image.driver.to_owned(),
        },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: image.layers.clone(),
        },
        metadata: Metadata {
            last_tag_time: image.last_tag_time.unwrap_or(Timestamp::ZERO).to_string(),
        },
        config: shown.unwrap_or_default(),
        descriptor: target(summary, shape),
        manifests: manifests(summary),
    }
}

fn image_config(settings: &Config) -> ImageConfig {
    ImageConfig {
        args_escaped: settings.args_escaped,
        cmd: settings.cmd.clone(),
        entrypoint: settings.entrypoint.clone(),
        env: Some(settings.env.clone()).filter(|l| !l.is_empty()),
        exposed_ports: config::set(&settings.exposed_ports),
        healthcheck: settings.healthcheck.as_ref().map(config::health_to_wire),
        labels: Some(settings.labels.clone()).filter(|l| !l.is_empty()),
        on_build: settings.on_build.clone(),
        shell: settings.shell.clone(),
        stop_signal: settings.stop_signal.clone().unwrap_or_default(),
        user: settings.user.clone(),
        volumes: config::set(&settings.volumes),
        working_dir: settings.working_dir.clone(),
    }
}

/// A step of a history.
pub fn history(entry: &HistoryEntry) -> HistoryItem {
    HistoryItem {
        comment: entry.comment.clone(),
        created: entry.created.map_or(0, |t| t.unix_seconds()),
        created_by: entry.created_by.clone(),
        id: entry
            .id
            .as_ref()
            .map_or_else(|| "<missing>".to_owned(), ToString::to_string),
        size: to_i64(entry.size),
        tags: Some(entry.tags.clone()).filter(|l| !l.is_empty()),
    }
}

/// A line of what a removal did.
pub fn removal(removal: &ImageRemoval) -> DeleteItem {
    match removal {
        ImageRemoval::Untagged(name) => DeleteItem {
            untagged: Some(name.clone()),
            deleted: None,
        },
        ImageRemoval::Deleted(digest) => DeleteItem {
            untagged: None,
            deleted: Some(digest.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use api::gojson::encode;

    use super::*;

    #[test]
    fn settings_print_as_dockerd_prints_them() {
        assert_eq!(
            String::from_utf8(encode(&image_config(&Config::default()))).unwrap(),
            r#"{"Cmd":null,"Entrypoint":null,"Env":null,"Labels":null,"OnBuild":null,"User":"","Volumes":null,"WorkingDir":""}"#
        );
    }

    fn some() -> ImageSummary {
        ImageSummary {
            id: spec::ImageId::new(format!("sha256:{}", "a".repeat(64)).parse().unwrap()),
            parent: None,
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            created: None,
            size: 7,
            shared_size: None,
            labels: [].into(),
            containers: 2,
            target: Some(spec::manifest::Descriptor {
                media_type: "m".to_owned(),
                digest: format!("sha256:{}", "b".repeat(64)).parse().unwrap(),
                size: 1,
                urls: Vec::new(),
                annotations: [].into(),
                platform: None,
                artifact_type: String::new(),
            }),
            manifests: None,
        }
    }

    #[test]
    fn lists_are_what_they_were_in_older_versions() {
        let line = |version| summary(&some(), Shape::of(version));
        assert_eq!((line("1.51").containers, line("1.50").containers), (2, -1));
        assert!(line("1.48").descriptor.is_some() && line("1.47").descriptor.is_none());
        assert_eq!(
            (line("1.44").virtual_size, line("1.43").virtual_size),
            (None, Some(7))
        );
        assert_eq!(line("1.43").repo_tags, Some(Vec::new()));
        assert_eq!(line("1.42").repo_tags.unwrap(), ["<none>:<none>"]);
        assert_eq!(line("1.42").repo_digests.unwrap(), ["<none>@<none>"]);
        let used = usage(&some(), Shape::of("1.42"));
        assert_eq!((used.repo_tags, used.repo_digests), (None, None));
        assert_eq!(used.containers, 2);
        let named = ImageSummary {
            repo_tags: vec!["a:1".to_owned()],
            ..some()
        };
        assert_eq!(summary(&named, Shape::of("1.24")).repo_digests, None);
    }

    #[test]
    fn removals() {
        let lines = [
            removal(&ImageRemoval::Untagged("a:1".to_owned())),
            removal(&ImageRemoval::Deleted("sha256:0".to_owned())),
        ];
        assert_eq!(
            encode(&lines),
            br#"[{"Untagged":"a:1"},{"Deleted":"sha256:0"}]"#
        );
    }
}
