//! `pull`, and the pull that `run` and `create` do for a missing image.

use api::client::{Query, Request};
use spec::Reference;

use crate::app::App;
use crate::auth;
use crate::commands::registry::{trusted, with_login};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::platform;
use crate::progress::{self, To};
use crate::tree::Run;

/// `pull`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let given = flags.args.first().map_or("", String::as_str);
        let quiet = flags.bool("quiet");
        let reference = named(app, &flags, given)?;
        trusted(&flags)?;
        let mut query = source(&reference, flags.bool("all-tags"));
        query.add_some("platform", platform::wanted(&flags).to_lowercase());
        let request = || Request::post("/images/create").query(&query);
        let response = with_login(app, "pull", reference.domain(), &request).await?;
        let to = if quiet { To::Nowhere } else { To::Out };
        progress::show(response, to)
            .await
            .map_err(hint_for_plugins)?;
        app.line(whole(&reference))
    })
}

// The image of a pull or push, with the tag that is meant where none is given.
pub(super) fn named(app: &App, flags: &Parsed, given: &str) -> Result<Reference, Failure> {
    let bare = Reference::parse_bare(given).map_err(|error| Failure::new(error.to_string()))?;
    let is_name_only = bare.tag().is_none() && bare.digest().is_none();
    if flags.bool("all-tags") {
        if !is_name_only {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        return Ok(bare);
    }
    if is_name_only && !flags.bool("quiet") {
        app.line("Using default tag: latest")?;
    }
    Ok(bare.or_latest())
}

// The name with domain and path, as a quiet pull or push prints it.
pub(super) fn whole(reference: &Reference) -> String {
    let mut out = reference.repository();
    if let Some(tag) = reference.tag() {
        out.push_str(&format!(":{tag}"));
    }
    if let Some(digest) = reference.digest() {
        out.push_str(&format!("@{digest}"));
    }
    out
}

fn source(reference: &Reference, all: bool) -> Query {
    let mut query = Query::new().with("fromImage", reference.repository());
    if !all {
        let tag = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_owned(),
        };
        query.add("tag", tag);
    }
    query
}

fn hint_for_plugins(mut failure: Failure) -> Failure {
    if failure.message.contains("when fetching 'plugin'") {
        failure.message.push_str(" - Use `docker plugin install`");
    }
    failure
}

/// Pulls an image that `run` or `create` miss; progress goes to stderr.
pub async fn for_create(
    app: &App,
    reference: &Reference,
    platform: &str,
    quiet: bool,
) -> Result<(), Failure> {
    let found = auth::store(&app.config, auth::key(reference.domain())).get();
    if let Some(error) = found.error {
        return Err(Failure::new(error));
    }
    let mut query = source(reference, false);
    query.add_some("platform", platform.to_lowercase());
    let request = Request::post("/images/create")
        .query(&query)
        .header("x-registry-auth", &found.auth.header());
    let response = app.client.send(request).await?;
    progress::show(response, if quiet { To::Nowhere } else { To::Err }).await
}
