//! `images`

use api::client::{Query, Request};

use crate::app::App;
use crate::commands::{add_filter, filters, put_filters};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::image::{KIND, TABLE, TABLE_DIGESTS, rows};
use crate::output::{QUIET, render};
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

/// `images`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        if flags.bool("tree") {
            return Err(Failure::new("--tree is not yet supported by Corten"));
        }
        let name = flags.args.first().map_or("", String::as_str);
        let mut wanted = filters(&flags);
        if !name.is_empty() {
            add_filter(&mut wanted, "reference", name);
        }
        let mut query = Query::new();
        query.add_flag("all", flags.bool("all"));
        put_filters(&mut query, wanted);
        let images = app
            .client
            .json(Request::get("/images/json").query(&query))
            .await?;
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
