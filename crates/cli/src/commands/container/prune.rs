//! `container prune`

use api::client::{Query, Request};
use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::{filters, prune, put_filters};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::list;
use crate::tree::Run;

const WARNING: &str =
    "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";

/// `container prune`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        if !flags.bool("force") {
            prune::confirm(app, WARNING)?;
        }
        let (text, space) = remove_stopped(app, prune::with_config(app, filters(&flags))).await?;
        prune::report(app, &text, space)
    })
}

/// Removes stopped containers; returns what to say of it and the bytes that came free.
pub async fn remove_stopped(
    app: &App,
    filters: Map<String, Value>,
) -> Result<(String, u64), Failure> {
    let mut query = Query::new();
    put_filters(&mut query, filters);
    let answer = app
        .client
        .json(Request::post("/containers/prune").query(&query))
        .await?;
    let ids = list(&answer, "ContainersDeleted");
    if ids.is_empty() {
        return Ok((String::new(), 0));
    }
    let mut text = "Deleted Containers:\n".to_owned();
    for id in ids.iter().filter_map(Value::as_str) {
        text.push_str(id);
        text.push('\n');
    }
    Ok((text, prune::space(&answer)))
}
