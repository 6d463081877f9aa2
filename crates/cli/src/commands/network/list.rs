//! `network ls`

use api::client::{Query, Request};

use crate::app::App;
use crate::commands::{filters, put_filters};
use crate::flags::Parsed;
use crate::output::network::{KIND, QUIET_RAW, RAW, TABLE, row};
use crate::output::{QUIET, natural, render, text};
use crate::tree::Run;
use crate::zone::Zone;

/// `network ls`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut query = Query::new();
        put_filters(&mut query, filters(&flags));
        let request = Request::get("/networks").query(&query);
        let networks = app.client.json(request).await?;
        let mut networks: Vec<_> = networks.as_array().cloned().unwrap_or_default();
        networks.sort_by_key(|network| natural(text(network, "Name")));
        let quiet = flags.bool("quiet");
        let format = match flags.str("format") {
            "" if !quiet && !app.config.text("networksFormat").is_empty() => {
                app.config.text("networksFormat")
            }
            "" | "table" if quiet => QUIET,
            "" | "table" => TABLE,
            "raw" if quiet => QUIET_RAW,
            "raw" => RAW,
            format => format,
        };
        let (trunc, zone) = (!flags.bool("no-trunc"), Zone::local());
        let rows: Vec<_> = networks.iter().map(|n| row(n, trunc, &zone)).collect();
        app.put(render(&KIND, format, &rows)?)
    })
}
