//! `images --tree`: images, and below each the platforms it is there for.
//!
//! ```text
//! IMAGE                   ID             DISK USAGE   CONTENT SIZE   EXTRA
//! alpine:latest           4b7ce07002c6       12.8MB         3.87MB
//! ├─ linux/amd64          33735bd63cf8       12.1MB         3.63MB
//! └─ linux/arm64          9cee2b382fe2           0B             0B
//! ```

use serde_json::Value;

use super::{int, list, short_id, text};
use crate::note::{self, Paint};
use crate::units::human_size3;

const SPACING: usize = 3;
/// Columns are left out rather than giving names less room than this.
const NARROWEST_NAME: usize = 12;
const NARROWEST: usize = 20;
const DEFAULT_WIDTH: usize = 80;

const EXPERIMENT: &str =
    "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";

#[derive(Debug)]
struct Details {
    id: String,
    used: bool,
    disk: i64,
    content: i64,
}

#[derive(Debug)]
struct Child {
    platform: String,
    available: bool,
    details: Details,
}

#[derive(Debug)]
struct Image {
    names: Vec<String>,
    details: Details,
    children: Vec<Child>,
    created: i64,
}

/// The tree of the API's list of images with manifests.
///
/// `width` is the terminal's, where there is one.
pub fn draw(images: &[Value], all: bool, width: Option<usize>) -> String {
    let mut shown: Vec<Image> = images
        .iter()
        .filter(|image| all || !is_dangling(image))
        .map(read)
        .collect();
    shown.sort_by_key(|image| std::cmp::Reverse(image.created));
    Page::new(&shown, width).draw(&shown)
}

fn is_dangling(image: &Value) -> bool {
    let is = |key: &str, only: &str| match list(image, key) {
        [] => (true, true),
        [one] => (false, one.as_str() == Some(only)),
        _ => (false, false),
    };
    let tags = is("RepoTags", "<none>:<none>");
    let digests = is("RepoDigests", "<none>@<none>");
    (tags.0 && digests.0) || (!tags.0 && tags.1 && !digests.0 && digests.1)
}

fn read(image: &Value) -> Image {
    let manifests = list(image, "Manifests");
    let children: Vec<Child> = manifests
        .iter()
        .filter(|manifest| text(manifest, "Kind") == "image")
        .map(child)
        .collect();
    let content = |manifest: &Value| manifest.get("Size").map_or(0, |size| int(size, "Content"));
    let mut names: Vec<String> = list(image, "RepoTags")
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    // The shortest stands beside the numbers.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    Image {
        names,
        details: Details {
            id: text(image, "Id").to_owned(),
            used: int(image, "Containers") > 0 || children.iter().any(|c| c.details.used),
            disk: int(image, "Size"),
            content: manifests.iter().map(content).sum(),
        },
        children,
        created: int(image, "Created"),
    }
}

fn child(manifest: &Value) -> Child {
    let empty = Value::Null;
    let size = manifest.get("Size").unwrap_or(&empty);
    let data = manifest.get("ImageData").unwrap_or(&empty);
    let platform = data.get("Platform").unwrap_or(&empty);
    let parts = ["os", "architecture", "variant"].map(|key| text(platform, key));
    let shown = match parts {
        ["", ..] => "unknown".to_owned(),
        parts => {
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            parts.join("/")
        }
    };
    Child {
        platform: shown,
        available: manifest.get("Available").and_then(Value::as_bool) == Some(true),
        details: Details {
            id: text(manifest, "ID").to_owned(),
            used: !list(data, "Containers").is_empty(),
            disk: int(size, "Total"),
            content: int(size, "Content"),
        },
    }
}

#[derive(Debug, Clone, Copy)]
struct Column {
    title: &'static str,
    width: usize,
    right: bool,
    value: fn(&Details, bool, bool) -> String,
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(bytes: i64) -> String {
    human_size3(bytes as f64)
}

// What says that an image is in use, or the room for it.
fn chip(details: &Details, possible: bool, terminal: bool) -> String {
    let shown = match (possible, details.used, terminal) {
        (false, ..) => "",
        (true, true, true) => "\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m",
        (true, true, false) => "U",
        (true, false, true) => "   ",
        (true, false, false) => " ",
    };
    shown.to_owned()
}

const COLUMNS: [Column; 4] = [
    Column {
        title: "ID",
        width: 12,
        right: false,
        value: |details, _, _| short_id(&details.id).to_owned(),
    },
    Column {
        title: "DISK USAGE",
        width: 10,
        right: true,
        value: |details, _, _| size(details.disk),
    },
    Column {
        title: "CONTENT SIZE",
        width: 12,
        right: true,
        value: |details, _, _| size(details.content),
    },
    Column {
        title: "EXTRA",
        width: 5,
        right: false,
        value: chip,
    },
];

struct Page {
    terminal: bool,
    width: usize,
    name_width: usize,
    columns: Vec<Column>,
    spaced: bool,
    chips: bool,
}

impl Page {
    fn new(images: &[Image], width: Option<usize>) -> Self {
        let terminal = width.is_some();
        let width = width
            .filter(|width| *width > 0)
            .unwrap_or(DEFAULT_WIDTH)
            .max(NARROWEST);
        let mut columns = COLUMNS.to_vec();
        let mut room = width;
        for (index, column) in columns.iter().enumerate() {
            let wanted = column.width + SPACING;
            if room < wanted + NARROWEST_NAME {
                columns.truncate(index);
                break;
            }
            room -= wanted;
        }
        let names = images
            .iter()
            .flat_map(|image| image.names.iter().map(String::len));
        let platforms = images.iter().flat_map(|image| {
            // Docker measures the branch in bytes.
            let branch = "└─ ".len();
            image
                .children
                .iter()
                .map(move |child| child.platform.len() + branch)
        });
        let widest = names.chain(platforms).max().unwrap_or(0).max("Image".len());
        let children = || images.iter().flat_map(|image| &image.children);
        Self {
            terminal,
            width,
            name_width: room.min(widest),
            columns,
            spaced: children().next().is_some(),
            chips: children().any(|child| child.details.used),
        }
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        match self.terminal {
            true => paint.on(text),
            false => text.to_owned(),
        }
    }

    // A text in a column of its own: cut or filled up.
    fn cell(&self, paint: Paint, text: &str, width: usize, right: bool) -> String {
        let taken = note::width(text);
        if taken > width {
            return self.paint(paint, &super::ellipsis(text, width));
        }
        let fill = " ".repeat(width - taken);
        match right {
            true => fill + &self.paint(paint, text),
            false => self.paint(paint, text) + &fill,
        }
    }

    fn draw(&self, images: &[Image]) -> String {
        let mut out = self.paint(note::WARNING, EXPERIMENT);
        let legend = format!("{} {} In Use ", note::info(self.terminal), self.mark());
        out.push('\n');
        out.push_str(&" ".repeat(self.width.saturating_sub(note::width(&legend))));
        out.push_str(&legend);
        out.push_str("\n\n");
        // Titles are painted wherever they go, as Docker's are.
        let title = |text: &str, width: usize, right: bool| {
            let fill = " ".repeat(width.saturating_sub(text.len()));
            match right {
                true => fill + &note::TITLE.on(text),
                false => note::TITLE.on(text) + &fill,
            }
        };
        out.push_str(&title("IMAGE", self.name_width, false));
        for column in &self.columns {
            out.push_str(&" ".repeat(SPACING));
            out.push_str(&title(column.title, column.width, column.right));
        }
        out.push('\n');
        for image in images {
            self.image(image, &mut out);
        }
        out
    }

    fn mark(&self) -> &'static str {
        match self.terminal {
            true => "\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m",
            false => "U",
        }
    }

    fn image(&self, image: &Image, out: &mut String) {
        match image.names.as_slice() {
            [] => out.push_str(&self.cell(note::FAINT, "<untagged>", self.name_width, false)),
            [longer @ .., last] => {
                for name in longer {
                    // Only the last stands in a column, so these have the line but for its end.
                    let name = match self.terminal && note::width(name) >= self.width {
                        true => super::ellipsis(&format!("{name} "), self.width),
                        false => name.clone(),
                    };
                    out.push_str(&self.paint(note::NAME, &name));
                    out.push('\n');
                }
                out.push_str(&self.cell(note::NAME, last, self.name_width, false));
            }
        }
        self.details(note::NORMAL, &image.details, out);
        if self.spaced {
            out.push('\n');
        }
        let count = image.children.len();
        for (index, child) in image.children.iter().enumerate() {
            let branch = if index + 1 == count {
                "└─ "
            } else {
                "├─ "
            };
            let paint = if child.available {
                note::NORMAL
            } else {
                note::FAINT
            };
            let text = format!("{branch}{}", child.platform);
            out.push_str(&self.cell(paint, &text, self.name_width, false));
            self.details(paint, &child.details, out);
            out.push('\n');
        }
        out.push('\n');
    }

    fn details(&self, paint: Paint, details: &Details, out: &mut String) {
        for column in &self.columns {
            out.push_str(&" ".repeat(SPACING));
            let text = (column.value)(details, self.chips, self.terminal);
            let paint = if column.title == "EXTRA" {
                note::PLAIN
            } else {
                paint
            };
            out.push_str(&self.cell(paint, &text, column.width, column.right));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(os: &str, architecture: &str, available: bool, containers: &Value) -> Value {
        json!({"ID": "sha256:33735bd63cf84d7e388d9f6d297d348c523c044410f553bd878c6d7829612735",
            "Kind": "image", "Available": available,
            "Size": {"Content": 3_630_000, "Total": 12_100_000},
            "ImageData": {"Platform": {"os": os, "architecture": architecture}, "Containers": containers}})
    }

    fn images() -> Vec<Value> {
        vec![
            json!({"Id": "sha256:4b7ce07002c69e8f3d704a9c5d6fd3053be500b7f1c69fc0d80990c2ad8dd412",
                "RepoTags": ["alpine:latest", "registry.example/alpine:3"], "RepoDigests": [], "Created": 2, "Size": 12_800_000, "Containers": 0,
                "Manifests": [manifest("linux", "amd64", true, &json!(["c1"])), manifest("linux", "arm64", false, &json!([])),
                    {"ID": "sha256:1", "Kind": "attestation", "Size": {"Content": 1}}]}),
            json!({"Id": "sha256:5e2f", "RepoTags": [], "RepoDigests": ["x@sha256:1"], "Created": 3, "Size": 0}),
            json!({"Id": "sha256:6e2f", "RepoTags": [], "RepoDigests": [], "Created": 4, "Size": 0}),
        ]
    }

    #[test]
    fn a_tree_of_platforms() {
        let shown = draw(&images(), false, None);
        let plain: Vec<String> = shown
            .replace("\x1b[39m\x1b[1m", "")
            .replace("\x1b[0m", "")
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        assert_eq!(
            plain,
            [
                EXPERIMENT,
                "                                                              Info ->  U In Use",
                "",
                "IMAGE                       ID             DISK USAGE   CONTENT SIZE   EXTRA",
                "<untagged>                  5e2f                   0B             0B",
                "",
                "registry.example/alpine:3",
                "alpine:latest               4b7ce07002c6       12.8MB         7.26MB   U",
                "├─ linux/amd64              33735bd63cf8       12.1MB         3.63MB   U",
                "└─ linux/arm64              33735bd63cf8       12.1MB         3.63MB",
                "",
            ]
        );
    }

    #[test]
    fn narrow_terminals_lose_columns() {
        let shown = draw(&images(), true, Some(30));
        assert!(
            shown.contains("\x1b[1mID\x1b[0m") && !shown.contains("DISK"),
            "{shown}"
        );
        assert!(
            shown.contains("\x1b[39m\x1b[2m└─ linux/arm64\x1b[0m"),
            "{shown:?}"
        );
        assert!(shown.contains("<untagged>"), "{shown}");
    }
}
