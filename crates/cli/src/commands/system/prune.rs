//! `system prune`

use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::{container, filters, image, network, prune, volume};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::tree::Run;
use crate::units::human_size;

/// `system prune`
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let (all, volumes) = (flags.bool("all"), flags.bool("volumes"));
        let wanted = prune::with_config(app, filters(&flags));
        if volumes && wanted.contains_key("until") {
            return Err(Failure::new(
                "ERROR: The \"until\" filter is not supported with \"--volumes\"",
            ));
        }
        if !flags.bool("force") {
            prune::confirm(app, &question(all, volumes, &wanted))?;
        }
        let mut total = 0;
        let (text, space) = container::remove_stopped(app, wanted.clone()).await?;
        say(app, &text)?;
        total += space;
        say(app, &network::remove_unused(app, wanted.clone()).await?)?;
        if volumes {
            let (text, space) = volume::remove_unused(app, wanted.clone()).await?;
            say(app, &text)?;
            total += space;
        }
        let (text, space) = image::remove_unused(app, all, wanted).await?;
        say(app, &text)?;
        total += space;
        app.line(format!(
            "Total reclaimed space: {}",
            human_size(total as f64)
        ))
    })
}

fn say(app: &App, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        Ok(())
    } else {
        app.line(text)
    }
}

// No build cache is kept yet: there is nothing of it to remove.
fn question(all: bool, volumes: bool, filters: &Map<String, Value>) -> String {
    let mut out = "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n".to_owned();
    if volumes {
        out.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    out.push_str(match all {
        true => "  - all images without at least one container associated to them\n  - all build cache\n",
        false => "  - all dangling images\n  - unused build cache\n",
    });
    let mut named: Vec<String> = Vec::new();
    for name in ["label", "label!", "until"] {
        let values = filters.get(name).and_then(Value::as_object);
        named.extend(
            values
                .into_iter()
                .flatten()
                .map(|(value, _)| format!("{name}={value}")),
        );
    }
    named.sort();
    if !named.is_empty() {
        out.push_str("\n  Items to be pruned will be filtered with:\n");
        for filter in named {
            out.push_str(&format!("  - {filter}\n"));
        }
    }
    out + "\nAre you sure you want to continue?"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let plain = question(false, false, &Map::new());
        assert_eq!(
            plain,
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  - all dangling images\n  - unused build cache\n\nAre you sure you want to continue?"
        );
        let mut filters = Map::new();
        crate::commands::add_filter(&mut filters, "label", "a=b");
        assert!(question(true, true, &filters).contains("  - all build cache\n\n  Items to be pruned will be filtered with:\n  - label=a=b\n\nAre"));
    }
}
