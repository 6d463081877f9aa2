//! What all prunes share: asking first, and telling what came free.

use std::io::{self, BufRead};

use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::add_filter;
use crate::exit::Failure;
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
