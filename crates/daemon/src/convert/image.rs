//! Images.

use api::container::GraphDriver;
use api::image::{
    DeleteItem, HistoryItem, ImageConfig, ImageInspect, ImageSummary as WireSummary, Metadata,
    RootFs,
};
use engine::container::Config;
use engine::images::{HistoryEntry, ImageRemoval, ImageSummary, ImageView};
use spec::Timestamp;

use super::config;
use super::container::to_i64;

/// A line of a list as API versions since 1.51 have it.
pub fn summary(image: &ImageSummary, virtual_size: bool) -> WireSummary {
    WireSummary {
        containers: to_i64(image.containers),
        created: image.created.map_or(0, |t| t.unix_seconds()),
        id: image.id.to_string(),
        labels: Some(image.labels.clone()).filter(|l| !l.is_empty()),
        parent_id: image
            .parent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        repo_digests: Some(image.repo_digests.clone()),
        repo_tags: Some(image.repo_tags.clone()),
        shared_size: image.shared_size.map_or(-1, to_i64),
        size: to_i64(image.size),
        virtual_size: virtual_size.then(|| to_i64(image.size)),
    }
}

/// Makes a line of a list what it was before API 1.51: containers were not counted.
pub fn before_1_51(mut line: WireSummary) -> WireSummary {
    line.containers = -1;
    line
}

/// Makes a line of a list what it was before API 1.43: images without names had these instead.
pub fn before_1_43(mut line: WireSummary) -> WireSummary {
    let unnamed = line.repo_tags.as_ref().is_none_or(Vec::is_empty);
    let no_digest = line.repo_digests.as_ref().is_none_or(Vec::is_empty);
    if no_digest {
        line.repo_digests = unnamed.then(|| vec!["<none>@<none>".to_owned()]);
    }
    if unnamed && no_digest {
        line.repo_tags = Some(vec!["<none>:<none>".to_owned()]);
    }
    line
}

/// Makes a line of a list what disk usage has: null for no names and no digests.
pub fn of_usage(mut line: WireSummary) -> WireSummary {
    line.repo_tags = line.repo_tags.filter(|l| !l.is_empty());
    line.repo_digests = line.repo_digests.filter(|l| !l.is_empty());
    line
}

/// What inspect shows; `legacy` is the shape before API 1.50.
pub fn inspect(image: &ImageView, legacy: bool, virtual_size: bool) -> ImageInspect {
    let summary = &image.summary;
    let empty = Config::default();
    let settings = image.config.as_ref().unwrap_or(&empty);
    let shown = if legacy {
        serde_json::to_value(config::to_wire(settings))
    } else {
        serde_json::to_value(image_config(settings))
    };
    ImageInspect {
        id: summary.id.to_string(),
        repo_tags: summary.repo_tags.clone(),
        repo_digests: summary.repo_digests.clone(),
        parent: summary
            .parent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        comment: image.comment.clone(),
        created: summary.created.map(|t| t.to_string()).unwrap_or_default(),
        docker_version: image.docker_version.clone(),
        author: image.author.clone(),
        architecture: image.architecture.clone(),
        variant: image.variant.clone(),
        os: image.os.clone(),
        os_version: image.os_version.clone(),
        size: to_i64(summary.size),
        virtual_size: virtual_size.then(|| to_i64(summary.size)),
        graph_driver: GraphDriver {
            data: Some(image.graph.clone()).filter(|g| !g.is_empty()),
            name: "overlay2".to_owned(),
        },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: image.layers.clone(),
        },
        metadata: Metadata {
            last_tag_time: image.last_tag_time.unwrap_or(Timestamp::ZERO).to_string(),
        },
        config: shown.unwrap_or_default(),
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

    #[test]
    fn lists_are_what_they_were_in_older_versions() {
        let line = WireSummary {
            containers: 2,
            repo_tags: Some(Vec::new()),
            repo_digests: Some(Vec::new()),
            ..WireSummary::default()
        };
        assert_eq!(before_1_51(line.clone()).containers, -1);
        let old = before_1_43(line.clone());
        assert_eq!(old.repo_tags.unwrap(), ["<none>:<none>"]);
        assert_eq!(old.repo_digests.unwrap(), ["<none>@<none>"]);
        let used = of_usage(line.clone());
        assert_eq!((used.repo_tags, used.repo_digests), (None, None));
        let named = WireSummary {
            repo_tags: Some(vec!["a:1".to_owned()]),
            ..line
        };
        assert_eq!(before_1_43(named).repo_digests, None);
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
