//! `commit` and `export`: a container's files as an image, or as an archive.

use api::client::{Query, Request, escape};
use serde_json::Value;
use spec::Reference;

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::text;
use crate::output_file::Output;
use crate::tree::Run;

/// `commit`
pub(super) fn commit(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let container = flags.args.first().map_or("", |name| name.trim());
        if container.is_empty() {
            return Err(Failure::new("invalid container name or ID: value is empty"));
        }
        let (repository, tag) = named(flags.args.get(1).map_or("", String::as_str))?;
        let mut query = Query::new()
            .with("container", container)
            .with("repo", repository)
            .with("tag", tag)
            .with("comment", flags.str("message"))
            .with("author", flags.str("author"));
        for change in flags.list("change") {
            query.add("changes", change);
        }
        if !flags.bool("pause") {
            query.add("pause", "0");
        }
        let request = Request::post("/commit").query(&query).json(&Value::Null);
        let answer = app.client.json(request).await?;
        app.line(text(&answer, "Id"))
    })
}

// Repository and tag of the new image; empty for an image without a name.
fn named(given: &str) -> Result<(String, String), Failure> {
    if given.is_empty() {
        return Ok(Default::default());
    }
    let reference = given
        .parse::<Reference>()
        .map_err(|error| Failure::new(error.to_string()))?;
    if reference.digest().is_some() {
        return Err(Failure::new(
            "refusing to create a tag with a digest reference",
        ));
    }
    let tag = reference.tag().unwrap_or("latest").to_owned();
    Ok((reference.repository(), tag))
}

/// `export`
pub(super) fn export(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let output = Output::open(flags.str("output"), "failed to export container")?;
        let name = flags.args.first().map_or("", |name| name.trim());
        if name.is_empty() {
            return Err(Failure::new("invalid container name or ID: value is empty"));
        }
        let path = format!("/containers/{}/export", escape(name));
        output
            .fill(app.client.send(Request::get(path)).await?)
            .await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_new_images() {
        let of = |given: &str| named(given).map_err(|failure| failure.message);
        assert_eq!(of(""), Ok(Default::default()));
        assert_eq!(
            of("x"),
            Ok(("docker.io/library/x".to_owned(), "latest".to_owned()))
        );
        assert_eq!(of("h:5/x:2"), Ok(("h:5/x".to_owned(), "2".to_owned())));
        assert!(of("UPPER").unwrap_err().contains("must be lowercase"));
        let digest = format!("x@sha256:{}", "a".repeat(64));
        assert_eq!(
            of(&digest).unwrap_err(),
            "refusing to create a tag with a digest reference"
        );
    }
}
