//! `push`

use std::io;

use api::client::{Query, Request};
use serde_json::Value;

use super::pull::{named, whole};
use crate::app::{App, is_terminal};
use crate::commands::registry::{trusted, with_login};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::note;
use crate::output::text;
use crate::platform::Platform;
use crate::progress::{self, To};
use crate::tree::Run;

const ONE_PLATFORM: &str =
    "Using --platform pushes only the specified platform manifest of a multi-platform image index.
Other components, like attestations, will not be included.
To push the complete multi-platform image, remove the --platform flag.
";

const MISSING: &str = "You're trying to push a manifest list/index which 
				references multiple platform specific manifests, but not all of them are available locally
				or available to the remote repository.

				Make sure you have all the referenced content and try again.

				You can also push only a single platform specific manifest directly by specifying the platform you want to push with the --platform flag.";

/// `push`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let terminal = is_terminal(io::stdout());
        let mut query = Query::new();
        let given = flags.str("platform");
        if !given.is_empty() {
            let platform = Platform::parse(given)
                .map_err(|why| Failure::new(format!("Invalid platform {given}{why}")))?;
            app.put(note::text(ONE_PLATFORM, terminal))?;
            query.add("platform", platform.json());
        }
        let name = flags.args.first().map_or("", String::as_str);
        let quiet = flags.bool("quiet");
        let reference = named(app, &flags, name)?;
        trusted(&flags)?;
        if reference.digest().is_some() {
            return Err(Failure::new("cannot push a digest reference"));
        }
        app.flush()?;
        if let Some(tag) = reference.tag() {
            query.add("tag", tag);
        }
        let path = format!("/images/{}/push", reference.repository());
        let request = || Request::post(path.as_str()).query(&query);
        let response = with_login(app, "push", reference.domain(), &request).await?;
        let mut notes = Vec::new();
        let to = if quiet { To::Nowhere } else { To::Out };
        let ended = progress::show_with(response, to, &mut |aux| {
            notes.extend(told(aux));
        })
        .await;
        if quiet && ended.is_ok() {
            app.line(whole(&reference))?;
        }
        for note in notes {
            app.put(note::text(&note, terminal))?;
        }
        app.flush()?;
        ended
    })
}

// What the daemon says of a push beside its progress.
fn told(aux: &Value) -> Vec<String> {
    let is = |key: &str| aux.get(key).and_then(Value::as_bool) == Some(true);
    let digest = |key: &str| aux.get(key).map_or("", |value| text(value, "digest"));
    let mut notes = Vec::new();
    if is("manifestPushedInsteadOfIndex") {
        notes.push(format!(
            "Not all multiplatform-content is present and only the available single-platform image was pushed\n{} -> {}",
            note::RED.on(digest("originalIndex")),
            note::GREEN.on(digest("selectedManifest")),
        ));
    }
    if is("contentMissing") {
        notes.push(MISSING.to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn notes_of_a_push() {
        let instead = json!({"manifestPushedInsteadOfIndex": true,
            "originalIndex": {"digest": "sha256:a"}, "selectedManifest": {"digest": "sha256:b"}});
        assert_eq!(
            told(&instead),
            [
                "Not all multiplatform-content is present and only the available single-platform image was pushed\n\x1b[31msha256:a\x1b[0m -> \x1b[32msha256:b\x1b[0m"
            ]
        );
        assert_eq!(told(&json!({"contentMissing": true})), [MISSING]);
        assert!(told(&json!({"Tag": "x", "Digest": "sha256:1", "Size": 1})).is_empty());
    }
}
