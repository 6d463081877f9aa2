//! `logs`

use api::client::{Query, Request, escape};

use super::each;
use super::run::streams_of;
use crate::app::App;
use crate::clock;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::text;
use crate::streams;
use crate::tree::Run;
use crate::zone::Zone;

/// `logs`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let name = flags.args.first().map_or("", String::as_str);
        let container = each::inspect(&app.client, name).await?;
        let zone = Zone::local();
        let mut query = Query::new().with("stdout", "1").with("stderr", "1");
        for key in ["since", "until"] {
            let given = flags.str(key);
            if !given.is_empty() {
                let moment = clock::timestamp(given, &zone)
                    .map_err(|error| Failure::new(format!("invalid value for {key:?}: {error}")))?;
                query.add(key, moment);
            }
        }
        query.add_flag("timestamps", flags.bool("timestamps"));
        query.add_flag("details", flags.bool("details"));
        query.add_flag("follow", flags.bool("follow"));
        query.add("tail", flags.str("tail"));
        let id = text(&container, "Id");
        let path = format!("/containers/{}/logs", escape(id));
        let response = app.client.send(Request::get(path).query(&query)).await?;
        let (tty, _) = streams_of(&container);
        streams::copy_frames(response, !tty).await
    })
}
