//! `history`

use api::client::{Query, Request, escape};

use crate::app::App;
use crate::flags::Parsed;
use crate::output::image::{HISTORY, HISTORY_PLAIN_TABLE, HISTORY_TABLE, history_row};
use crate::output::{QUIET, render};
use crate::tree::Run;
use crate::zone::Zone;

/// `history`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let name = flags.args.first().map_or("", String::as_str);
        let mut query = Query::new();
        if let Some(platform) = super::variant(&flags, "invalid platform: ")? {
            query.add("platform", platform.json());
        }
        let path = format!("/images/{}/history", escape(name).replace("%2F", "/"));
        let steps = app.client.json(Request::get(path).query(&query)).await?;
        let human = flags.bool("human");
        let format = match flags.str("format") {
            "" | "table" if flags.bool("quiet") => QUIET,
            "" | "table" if human => HISTORY_TABLE,
            "" | "table" => HISTORY_PLAIN_TABLE,
            format => format,
        };
        let (trunc, zone) = (!flags.bool("no-trunc"), Zone::local());
        let steps = steps.as_array().cloned().unwrap_or_default();
        let rows: Vec<_> = steps
            .iter()
            .map(|step| history_row(step, trunc, human, &zone))
            .collect();
        app.put(render(&HISTORY, format, &rows)?)
    })
}
