//! `attach`

use std::io;

use api::client::{Query, Request, escape};
use serde_json::Value;

use super::each;
use super::run::{detach_keys, finish, open_streams, streams_of};
use crate::app::{App, is_terminal};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::{int, text};
use crate::streams::{self, Attach, Ended, Target};
use crate::terminal;
use crate::tree::Run;

/// `attach`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let name = flags.args.first().map_or("", String::as_str);
        let container = each::inspect(&app.client, name).await?;
        check_state(&container)?;
        let id = text(&container, "Id").to_owned();
        let (tty, open_stdin) = streams_of(&container);
        let stdin = !flags.bool("no-stdin");
        streams::check_tty(stdin, tty)?;
        if flags.bool("sig-proxy") && !tty {
            streams::forward(&app.client, &id)?;
        }
        let wait = app
            .client
            .send(Request::post(format!("/containers/{}/wait", escape(&id))))
            .await?;
        let attach = Attach {
            tty,
            stdin: stdin && open_stdin,
            stdout: true,
            stderr: true,
            detach_keys: detach_keys(app, &flags),
            sig_proxy: flags.bool("sig-proxy") && !tty,
        };
        let hijacked = open_streams(app, &id, &attach).await?;
        // It may have ended in between, and then nothing would ever come.
        check_state(&each::inspect(&app.client, &id).await?)?;
        if tty && is_terminal(io::stdout()) {
            nudge(app, &id).await;
            streams::watch_size(&app.client, Target::Container(id.clone())).await?;
        }
        if streams::run(hijacked, &attach).await? == Ended::Detached {
            return Err(Failure::new("read escape sequence"));
        }
        let answer = wait.json().await?;
        match answer.get("Error").filter(|error| !error.is_null()) {
            Some(error) => Err(Failure::new(text(error, "Message"))),
            None => finish(i32::try_from(int(&answer, "StatusCode")).unwrap_or(1)),
        }
    })
}

fn check_state(container: &Value) -> Result<(), Failure> {
    let is = |key: &str| {
        container
            .pointer(key)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    };
    match () {
        () if !is("/State/Running") => Err(Failure::new(
            "You cannot attach to a stopped container, start it first",
        )),
        () if is("/State/Paused") => Err(Failure::new(
            "You cannot attach to a paused container, unpause it first",
        )),
        () if is("/State/Restarting") => Err(Failure::new(
            "You cannot attach to a restarting container, wait until it is running",
        )),
        () => Ok(()),
    }
}

// A shell draws its prompt again only when the size changes: one off, and `watch_size` puts it right.
async fn nudge(app: &App, id: &str) {
    if let Some((width, height)) = terminal::size(io::stdout()) {
        let query = Query::new()
            .with("h", (u32::from(height) + 1).to_string())
            .with("w", (u32::from(width) + 1).to_string());
        let path = format!("/containers/{id}/resize");
        let _ = app.client.send(Request::post(path).query(&query)).await;
    }
}
