//! `image prune`

use api::client::{Query, Request};
use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::{add_filter, filters, prune, put_filters};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::{list, text};
use crate::tree::Run;

const ALL: &str = "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?";
const DANGLING: &str =
    "WARNING! This will remove all dangling images.\nAre you sure you want to continue?";

/// `image prune`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let all = flags.bool("all");
        if !flags.bool("force") {
            prune::confirm(app, if all { ALL } else { DANGLING })?;
        }
        let (text, space) =
            remove_unused(app, all, prune::with_config(app, filters(&flags))).await?;
        prune::report(app, &text, space)
    })
}

/// Removes images; returns what to say of it and the bytes that came free.
pub async fn remove_unused(
    app: &App,
    all: bool,
    mut filters: Map<String, Value>,
) -> Result<(String, u64), Failure> {
    add_filter(&mut filters, "dangling", if all { "false" } else { "true" });
    let mut query = Query::new();
    put_filters(&mut query, filters);
    let answer = app
        .client
        .json(Request::post("/images/prune").query(&query))
        .await?;
    let images = list(&answer, "ImagesDeleted");
    if images.is_empty() {
        return Ok((String::new(), 0));
    }
    let mut out = "Deleted Images:\n".to_owned();
    for image in images {
        out.push_str(&match text(image, "Untagged") {
            "" => format!("deleted: {}\n", text(image, "Deleted")),
            name => format!("untagged: {name}\n"),
        });
    }
    Ok((out, prune::space(&answer)))
}
