//! `volume ls`

use api::client::{Query, Request};
use serde_json::Value;

use crate::app::App;
use crate::commands::{filters, put_filters};
use crate::flags::Parsed;
use crate::output::volume::{CLUSTER_TABLE, KIND, QUIET, TABLE, row};
use crate::output::{list, natural, render, text};
use crate::tree::Run;

/// `volume ls`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut query = Query::new();
        put_filters(&mut query, filters(&flags));
        let answer = app
            .client
            .json(Request::get("/volumes").query(&query))
            .await?;
        let (quiet, cluster) = (flags.bool("quiet"), flags.bool("cluster"));
        let mut volumes: Vec<&Value> = list(&answer, "Volumes").iter().collect();
        if cluster {
            volumes.retain(|volume| volume.get("ClusterVolume").is_some_and(|c| !c.is_null()));
        }
        volumes.sort_by_key(|volume| natural(text(volume, "Name")));
        let format = match flags.str("format") {
            "" if !quiet && !cluster && !app.config.text("volumesFormat").is_empty() => {
                app.config.text("volumesFormat")
            }
            "" | "table" if quiet => QUIET,
            "" | "table" if cluster => CLUSTER_TABLE,
            "" | "table" => TABLE,
            format => format,
        };
        let rows: Vec<_> = volumes.into_iter().map(row).collect();
        app.put(render(&KIND, format, &rows)?)
    })
}
