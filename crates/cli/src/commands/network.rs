//! Commands about networks.

use api::client::{Query, Request};

use super::{filter, filters, format_list, format_one, inspect, put_filters};
use crate::app::App;
use crate::flags::{Flag, Parsed};
use crate::output::network::{KIND, TABLE, row};
use crate::output::{QUIET, render};
use crate::tree::{Arity, Command, Run};
use crate::zone::Zone;

const LS: Command = Command::new("ls [OPTIONS]", "ls", "List networks", list)
    .flags(&[
        filter('f', "Provide filter values (e.g. \"driver=bridge\")"),
        format_list(),
        Flag::bool("no-trunc", '\0', "Do not truncate the output"),
        Flag::bool("quiet", 'q', "Only display network IDs"),
    ])
    .aliases(&["list"])
    .spellings(&["network ls", "network list"]);

const INSPECT: Command = Command::new(
    "inspect [OPTIONS] NETWORK [NETWORK...]",
    "inspect",
    "Display detailed information on one or more networks",
    inspect::networks,
)
.flags(&[
    format_one('f'),
    Flag::bool("verbose", 'v', "Verbose output for diagnostics"),
])
.arity(Arity::AtLeast(1));

/// `network`
pub const GROUP: Command = Command::group(
    "network",
    "Manage networks",
    &[
        Command::not_yet(
            "connect [OPTIONS] NETWORK CONTAINER",
            "connect",
            "Connect a container to a network",
        ),
        Command::not_yet("create [OPTIONS] NETWORK", "create", "Create a network"),
        Command::not_yet(
            "disconnect [OPTIONS] NETWORK CONTAINER",
            "disconnect",
            "Disconnect a container from a network",
        ),
        INSPECT,
        LS,
        Command::not_yet("prune [OPTIONS]", "prune", "Remove all unused networks"),
        Command::not_yet(
            "rm NETWORK [NETWORK...]",
            "rm",
            "Remove one or more networks",
        )
        .aliases(&["remove"]),
    ],
);

fn list(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut query = Query::new();
        put_filters(&mut query, filters(&flags));
        let networks = app
            .client
            .json(Request::get("/networks").query(&query))
            .await?;
        let mut networks: Vec<_> = networks.as_array().cloned().unwrap_or_default();
        networks.sort_by(|a, b| crate::output::text(a, "Name").cmp(crate::output::text(b, "Name")));
        let quiet = flags.bool("quiet");
        let format = match flags.str("format") {
            "" if !quiet && !app.config.text("networksFormat").is_empty() => {
                app.config.text("networksFormat")
            }
            "" | "table" if quiet => QUIET,
            "" | "table" => TABLE,
            format => format,
        };
        let (trunc, zone) = (!flags.bool("no-trunc"), Zone::local());
        let rows: Vec<_> = networks.iter().map(|n| row(n, trunc, &zone)).collect();
        app.put(render(&KIND, format, &rows)?)
    })
}
