//! `network prune`

use api::client::{Query, Request};
use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::{filters, prune, put_filters};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::list;
use crate::tree::Run;

const QUESTION: &str = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?";

/// `network prune`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let wanted = prune::with_config(app, filters(&flags));
        if !flags.bool("force") {
            prune::confirm(app, QUESTION)?;
        }
        match remove_unused(app, wanted).await? {
            said if said.is_empty() => Ok(()),
            said => app.line(said),
        }
    })
}

/// Removes networks without containers; returns what to say of it.
pub async fn remove_unused(app: &App, filters: Map<String, Value>) -> Result<String, Failure> {
    let mut query = Query::new();
    put_filters(&mut query, filters);
    let request = Request::post("/networks/prune").query(&query);
    let answer = app.client.json(request).await?;
    let names = list(&answer, "NetworksDeleted").iter();
    let names: String = names
        .filter_map(Value::as_str)
        .map(|name| format!("{name}\n"))
        .collect();
    Ok(match names.as_str() {
        "" => names,
        names => format!("Deleted Networks:\n{names}"),
    })
}
