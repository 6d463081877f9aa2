//! `image prune`

use api::client::{Query, Request};
use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::{add_filter, filters, prune, put_filters};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::{list, text};
use crate::tree::Run;
use crate::units::human_size;

const ALL: &str = "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?";
const DANGLING: &str =
    "WARNING! This will remove all dangling images.\nAre you sure you want to continue?";

/// `image prune`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let all = flags.bool("all");
        if flags.bool("dry-run") {
            return plan(app, &flags, all).await;
        }
        if !flags.bool("force") {
            prune::confirm(app, if all { ALL } else { DANGLING })?;
        }
        let (text, space) =
            remove_unused(app, all, prune::with_config(app, filters(&flags))).await?;
        prune::report(app, &text, space)
    })
}

// Tells what a prune would do.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
async fn plan(app: &App, flags: &Parsed, all: bool) -> Result<(), Failure> {
    prune::require_own_daemon(app).await?;
    let filters = prune::with_config(app, filters(flags));
    let query = with_filters(all, filters).with("dry-run", "1");
    let answer = ask(app, &query).await?;
    let text = told(&answer, "Images that would be removed:");
    if !text.is_empty() {
        app.put(format!("{text}\n"))?;
    }
    app.line(format!(
        "Total space that would be reclaimed: {}",
        human_size(prune::space(&answer) as f64)
    ))
}

fn with_filters(all: bool, mut filters: Map<String, Value>) -> Query {
    add_filter(&mut filters, "dangling", if all { "false" } else { "true" });
    let mut query = Query::new();
    put_filters(&mut query, filters);
    query
}

async fn ask(app: &App, query: &Query) -> Result<Value, Failure> {
    let request = Request::post("/images/prune").query(query);
    Ok(app.client.json(request).await?)
}

/// Removes images; returns what to say of it and the bytes that came free.
pub async fn remove_unused(
    app: &App,
    all: bool,
    filters: Map<String, Value>,
) -> Result<(String, u64), Failure> {
    let answer = ask(app, &with_filters(all, filters)).await?;
    let text = told(&answer, "Deleted Images:");
    let space = if text.is_empty() {
        0
    } else {
        prune::space(&answer)
    };
    Ok((text, space))
}

// The images of an answer under a title; empty when there are none.
fn told(answer: &Value, title: &str) -> String {
    let images = list(answer, "ImagesDeleted");
    if images.is_empty() {
        return String::new();
    }
    let mut out = format!("{title}\n");
    for image in images {
        out.push_str(&match text(image, "Untagged") {
            "" => format!("deleted: {}\n", text(image, "Deleted")),
            name => format!("untagged: {name}\n"),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_removed() {
        let answer = json!({"ImagesDeleted": [{"Untagged": "x:1"}, {"Deleted": "sha256:1"}]});
        assert_eq!(
            told(&answer, "Deleted Images:"),
            "Deleted Images:\nuntagged: x:1\ndeleted: sha256:1\n"
        );
        assert_eq!(told(&json!({"ImagesDeleted": null}), "x"), "");
    }
}
