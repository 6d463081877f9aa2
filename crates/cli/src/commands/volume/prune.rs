//! `volume prune`

use api::client::{Query, Request, compare_versions};
use serde_json::{Map, Value};

use crate::app::App;
use crate::commands::{add_filter, filters, prune, put_filters};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::list;
use crate::tree::Run;
use crate::units::human_size;

const ANONYMOUS: &str = "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue?";
const ALL: &str = "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to continue?";
/// Daemons before this remove volumes with names too.
const ANONYMOUS_SINCE: &str = "1.42";

/// `volume prune`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut wanted = prune::with_config(app, filters(&flags));
        app.client.negotiate().await?;
        let knows_anonymous = compare_versions(app.client.version(), ANONYMOUS_SINCE).is_ge();
        let mut question = if knows_anonymous { ANONYMOUS } else { ALL };
        if flags.bool("all") && knows_anonymous {
            if wanted.contains_key("all") {
                return Err(Failure::new(
                    "conflicting options: cannot specify both --all and --filter all=1",
                ));
            }
            add_filter(&mut wanted, "all", "true");
            question = ALL;
        }
        if flags.bool("dry-run") {
            return plan(app, wanted).await;
        }
        if !flags.bool("force") {
            prune::confirm(app, question)?;
        }
        let (text, space) = remove_unused(app, wanted).await?;
        prune::report(app, &text, space)
    })
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
async fn plan(app: &App, filters: Map<String, Value>) -> Result<(), Failure> {
    prune::require_own_daemon(app).await?;
    let mut query = Query::new().with("dry-run", "1");
    put_filters(&mut query, filters);
    let (text, space) = ask(app, &query, "Volumes that would be removed:").await?;
    if !text.is_empty() {
        app.put(format!("{text}\n"))?;
    }
    app.line(format!(
        "Total space that would be reclaimed: {}",
        human_size(space as f64)
    ))
}

/// Removes volumes; returns what to say of it and the bytes that came free.
pub async fn remove_unused(
    app: &App,
    filters: Map<String, Value>,
) -> Result<(String, u64), Failure> {
    let mut query = Query::new();
    put_filters(&mut query, filters);
    ask(app, &query, "Deleted Volumes:").await
}

async fn ask(app: &App, query: &Query, title: &str) -> Result<(String, u64), Failure> {
    let request = Request::post("/volumes/prune").query(query);
    let answer = app.client.json(request).await?;
    let names = list(&answer, "VolumesDeleted").iter();
    let names: String = names
        .filter_map(Value::as_str)
        .map(|name| format!("{name}\n"))
        .collect();
    Ok(match names.as_str() {
        "" => Default::default(),
        names => (format!("{title}\n{names}"), prune::space(&answer)),
    })
}
