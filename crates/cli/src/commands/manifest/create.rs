//! `manifest create`

use spec::Reference;

use super::entry::Entry;
use super::kept::Lists;
use super::remote::{Found, Remote, Security};
use super::{named, whole};
use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::tree::Run;

/// `manifest create`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let [name, images @ ..] = flags.args.as_slice() else {
            return Err(Failure::new("a name and images are needed"));
        };
        let list = named(
            name,
            &format!("error parsing name for manifest list {name}: "),
        )?;
        let lists = Lists::of(&app.config);
        if lists.all(&list)?.is_some() && !flags.bool("amend") {
            return Err(Failure::new(
                "refusing to amend an existing manifest list with no --amend flag",
            ));
        }
        let security = Security::from(flags.bool("insecure"));
        for image in images {
            let image = named(image, "")?;
            let entry = match lists.get(&list, &image)? {
                Some(entry) => entry,
                None => fetch(app, &image, security).await?,
            };
            lists.put(&list, &image, &entry)?;
        }
        app.line(format!("Created manifest list {}", whole(&list)))
    })
}

async fn fetch(app: &App, image: &Reference, security: Security) -> Result<Entry, Failure> {
    match Remote::of(app, image, security)?.find().await? {
        Found::Image(entry) => Ok(entry),
        Found::List(_) => Err(Failure::new(format!("{} is a manifest list", whole(image)))),
    }
}
