//! `ps`

use api::client::{Query, Request};
use serde_json::Value;

use crate::app::App;
use crate::commands::{filters, put_filters};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::container::{KIND, TABLE, row};
use crate::output::{QUIET, render};
use crate::template::Template;
use crate::tree::Run;
use crate::zone::Zone;

const RAW: &str = "container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
";

/// `ps`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let quiet = flags.bool("quiet");
        let given = flags.str("format");
        if !given.is_empty() && quiet {
            app.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.");
        }
        let format = if given.is_empty() {
            app.config.text("psFormat")
        } else {
            given
        };
        let trunc = !flags.bool("no-trunc");
        let size = wants_size(&flags, format, quiet)?;
        let last = match flags.int("last") {
            -1 if flags.bool("latest") => 1,
            last => last,
        };
        let mut query = Query::new();
        query.add_flag("all", flags.bool("all"));
        if last > 0 {
            query.add("limit", last.to_string());
        }
        query.add_flag("size", size);
        put_filters(&mut query, filters(&flags));
        let containers = app
            .client
            .json(Request::get("/containers/json").query(&query))
            .await?;
        let zone = Zone::local();
        let rows: Vec<_> = containers
            .as_array()
            .into_iter()
            .flatten()
            .map(|c: &Value| row(c, trunc, &zone))
            .collect();
        app.put(render(&KIND, &layout(format, quiet, size), &rows)?)
    })
}

fn layout(format: &str, quiet: bool, size: bool) -> String {
    let with = |base: &str, tail: &str| {
        if size {
            format!("{base}{tail}")
        } else {
            base.to_owned()
        }
    };
    match format {
        "raw" if quiet => "container_id: {{.ID}}".to_owned(),
        _ if quiet => QUIET.to_owned(),
        "" | "table" => with(TABLE, "\\t{{.Size}}"),
        "raw" => with(RAW, "size: {{.Size}}\\n"),
        format => format.to_owned(),
    }
}

// Sizes cost the daemon time: they are asked for when they are shown. A format that cannot be
// filled in is refused before anything is asked.
fn wants_size(flags: &Parsed, format: &str, quiet: bool) -> Result<bool, Failure> {
    if flags.changed("size") || format.is_empty() {
        return Ok(flags.bool("size"));
    }
    if matches!(format, "json" | "table" | "raw") {
        return Ok(false);
    }
    let template = Template::parse(format)
        .map_err(|error| Failure::new(format!("failed to parse template: {error}")))?;
    template
        .render(&row(&Value::Null, true, &Zone::utc()))
        .map_err(|error| Failure::new(format!("failed to execute template: {error}")))?;
    Ok(!quiet && template.mentions("Size"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Mixing, parse};

    fn size(format: &str, args: &[&str]) -> Result<bool, Failure> {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let flags = parse(
            crate::commands::container::PS.flags,
            Mixing::Anywhere,
            &args,
        )
        .unwrap();
        wants_size(&flags, format, false)
    }

    #[test]
    fn sizes_are_asked_for_when_shown() {
        assert_eq!(size("{{.ID}} {{.Size}}", &[]), Ok(true));
        assert_eq!(size("table {{.ID}}", &[]), Ok(false));
        assert_eq!(size("{{.Size}}", &["--size=false"]), Ok(false));
        assert_eq!(size("", &["-s"]), Ok(true));
        let error = size("{{.Foo}}", &[]).unwrap_err().message;
        assert!(
            error.starts_with("failed to execute template: template: :1:2: executing"),
            "{error}"
        );
    }

    #[test]
    fn layouts() {
        assert_eq!(layout("", true, false), QUIET);
        assert_eq!(
            layout("table", false, true),
            format!("{TABLE}\\t{{{{.Size}}}}")
        );
        assert_eq!(layout("{{.ID}}", false, false), "{{.ID}}");
    }
}
