//! What all prunes share: asking first, and telling what came free.

use std::io::{self, BufRead};

use api::client::Request;
use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::add_filter;
use crate::exit::Failure;
use crate::output::{list, text};
use crate::units::human_size;

/// Asks; anything but `y` ends the command.
pub fn confirm(app: &App, question: &str) -> Result<(), Failure> {
    app.put(format!("{question} [y/N] "))?;
    app.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" => Ok(()),
        // Docker ends without a word and as if all were well.
        _ => Err(Failure::code(0)),
    }
}

/// The user's filters with those of the configuration.
pub fn with_config(app: &App, mut filters: Map<String, Value>) -> Map<String, Value> {
    for filter in app.config.prune_filters() {
        if let Some((name, value)) = filter.split_once('=') {
            // What the user says about a label wins over its opposite.
            let opposite = if name == "label" { "label!" } else { "label" };
            let contrary = filters
                .get(opposite)
                .is_some_and(|values| values.get(value).is_some());
            if !contrary {
                add_filter(&mut filters, name, value);
            }
        }
    }
    filters
}

/// Refuses a plan from a daemon that does not name itself as ours: another one would pass over the
/// word and remove what it should only have told.
pub async fn require_own_daemon(app: &App) -> Result<(), Failure> {
    let version = app.client.json(Request::get("/version")).await?;
    if is_ours(&version) {
        return Ok(());
    }
    Err(Failure::new(
        "--dry-run: the daemon is not Corten's and cannot tell what it would remove",
    ))
}

fn is_ours(version: &Value) -> bool {
    let is_corten = |name: &str| name.to_lowercase().contains("corten");
    let components = list(version, "Components").iter();
    components
        .map(|component| text(component, "Name"))
        .chain([version
            .pointer("/Platform/Name")
            .and_then(Value::as_str)
            .unwrap_or_default()])
        .any(is_corten)
}

/// The bytes that came free.
pub fn space(answer: &Value) -> u64 {
    answer
        .get("SpaceReclaimed")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

/// Tells what was removed and how many bytes came free.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub fn report(app: &App, removed: &str, space: u64) -> Result<(), Failure> {
    if !removed.is_empty() {
        app.put(format!("{removed}\n"))?;
    }
    app.line(format!(
        "Total reclaimed space: {}",
        human_size(space as f64)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_our_daemon_is_asked_for_a_plan() {
        assert!(is_ours(&json!({"Platform": {"Name": "Corten"}})));
        assert!(is_ours(
            &json!({"Components": [{"Name": "Engine"}, {"Name": "corten-runtime"}]})
        ));
        assert!(!is_ours(
            &json!({"Platform": {"Name": "Docker Engine - Community"},
            "Components": [{"Name": "Engine"}, {"Name": "runc"}]})
        ));
    }
}
