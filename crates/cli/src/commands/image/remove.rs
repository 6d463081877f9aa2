//! `rmi` and `tag`

use api::client::{Query, Request, escape};
use serde_json::Value;
use spec::Reference;

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::text;
use crate::platform::Platform;
use crate::tree::Run;

fn path(name: &str) -> String {
    format!("/images/{}", escape(name).replace("%2F", "/"))
}

/// `rmi`
pub(super) fn remove(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let force = flags.bool("force");
        let mut query = Query::new();
        query.add_flag("force", force);
        query.add_flag("noprune", flags.bool("no-prune"));
        let mut platforms: Vec<String> = Vec::new();
        for text in flags.list("platform") {
            let platform = Platform::parse(&text)?.json();
            if !platforms.contains(&platform) {
                query.add("platforms", &platform);
                platforms.push(platform);
            }
        }
        let (mut errors, mut fatal) = (Vec::new(), false);
        for name in &flags.args {
            match app
                .client
                .json(Request::delete(path(name)).query(&query))
                .await
            {
                Ok(answer) => {
                    for item in answer.as_array().into_iter().flatten() {
                        app.line(line(item))?;
                    }
                }
                Err(error) => {
                    fatal |= !error.is_not_found();
                    errors.push(error.to_string());
                }
            }
        }
        if force && !fatal && !errors.is_empty() {
            app.warn(errors.join("\n"));
            return Ok(());
        }
        Failure::join(errors)
    })
}

fn line(item: &Value) -> String {
    match text(item, "Deleted") {
        "" => format!("Untagged: {}", text(item, "Untagged")),
        deleted => format!("Deleted: {deleted}"),
    }
}

/// `tag`
pub(super) fn tag(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let [source, target] = flags.args.as_slice() else {
            return Err(Failure::new("two names are needed"));
        };
        let reference = target.parse::<Reference>().map_err(|error| {
            Failure::new(format!(
                "Error parsing reference: {target:?} is not a valid repository/tag: {error}"
            ))
        })?;
        if reference.digest().is_some() {
            return Err(Failure::new(
                "refusing to create a tag with a digest reference",
            ));
        }
        let query = Query::new()
            .with("repo", reference.familiar_repository())
            .with("tag", reference.tag().unwrap_or("latest"));
        app.client
            .send(Request::post(format!("{}/tag", path(source))).query(&query))
            .await?;
        Ok(())
    })
}
