//! `images`

use std::io;

use api::client::{Query, Request};
use serde_json::Value;

use crate::app::{App, is_terminal};
use crate::commands::{add_filter, filters, put_filters};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::image::{KIND, TABLE, TABLE_DIGESTS, rows};
use crate::output::tree::draw;
use crate::output::{QUIET, render};
use crate::terminal;
use crate::tree::Run;
use crate::zone::Zone;

// What people look for by mistake instead of `image …`.
const VERBS: [&str; 13] = [
    "build", "history", "import", "inspect", "list", "load", "ls", "prune", "pull", "push", "rm",
    "save", "tag",
];

const RAW: &str = "repository: {{ .Repository }}
tag: {{.Tag}}
image_id: {{.ID}}
created_at: {{.CreatedAt}}
virtual_size: {{.Size}}
";

async fn fetch(app: &App, flags: &Parsed, also: &[&str]) -> Result<Value, Failure> {
    let mut wanted = filters(flags);
    if let Some(name) = flags.args.first().filter(|name| !name.is_empty()) {
        add_filter(&mut wanted, "reference", name);
    }
    let mut query = Query::new();
    query.add_flag("all", flags.bool("all"));
    for key in also {
        query.add_flag(key, true);
    }
    put_filters(&mut query, wanted);
    let request = Request::get("/images/json").query(&query);
    Ok(app.client.json(request).await?)
}

// What a tree has no place for.
const NOT_IN_TREES: [(&str, &str); 4] = [
    ("quiet", "--quiet"),
    ("no-trunc", "--no-trunc"),
    ("digests", "--show-digest"),
    ("format", "--format"),
];

async fn tree(app: &App, flags: &Parsed) -> Result<(), Failure> {
    for (name, shown) in NOT_IN_TREES {
        if flags.bool(name) || (name == "format" && !flags.str(name).is_empty()) {
            return Err(Failure::new(format!(
                "{shown} is not yet supported with --tree"
            )));
        }
    }
    let images = fetch(app, flags, &["manifests"]).await?;
    let images = images.as_array().cloned().unwrap_or_default();
    let width = is_terminal(io::stdout()).then(|| match terminal::size(io::stdout()) {
        Some((width, _)) => usize::from(width),
        None => 0,
    });
    app.put(draw(&images, flags.bool("all"), width))
}

/// `images`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        if flags.bool("tree") {
            return tree(app, &flags).await;
        }
        let name = flags.args.first().map_or("", String::as_str);
        let images = fetch(app, &flags, &[]).await?;
        let quiet = flags.bool("quiet");
        let digests = flags.bool("digests");
        let format = match flags.str("format") {
            "" if !quiet && !app.config.text("imagesFormat").is_empty() => {
                app.config.text("imagesFormat")
            }
            format => format,
        };
        let format = match format {
            "" | "table" if quiet => QUIET.to_owned(),
            "" | "table" if digests => TABLE_DIGESTS.to_owned(),
            "" | "table" => TABLE.to_owned(),
            "raw" if quiet => "image_id: {{.ID}}".to_owned(),
            "raw" => RAW.to_owned(),
            format if format.starts_with("table") && digests && !format.contains("{{.Digest}}") => {
                format!("{format}\t{{{{.Digest}}}}")
            }
            format => format.to_owned(),
        };
        let shows_digests = digests || format.contains("{{.Digest}}");
        let (trunc, zone) = (!flags.bool("no-trunc"), Zone::local());
        let list = images.as_array().cloned().unwrap_or_default();
        let all: Vec<_> = list
            .iter()
            .flat_map(|image| rows(image, trunc, shows_digests, &zone))
            .collect();
        app.put(render(&KIND, &format, &all)?)?;
        if list.is_empty() && VERBS.contains(&name) {
            app.flush()?;
            app.warn(format!(
                "\nNo images found matching {name:?}: did you mean \"{} image {name}\"?",
                app.program
            ));
        }
        Ok(())
    })
}
