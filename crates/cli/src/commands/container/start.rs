//! `start`

use std::io;

use serde_json::Value;

use super::run::{detach_keys, finish, open_streams, streams_of, watch_end};
use super::{create, each};
use crate::app::{App, is_terminal};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::text;
use crate::streams::{self, Attach, Ended, Target};
use crate::tree::Run;

/// `start`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        if !flags.bool("attach") && !flags.bool("interactive") {
            return plain(app, &flags.args).await;
        }
        match flags.args.as_slice() {
            [name] => attached(app, &flags, name).await,
            _ => Err(Failure::new(
                "you cannot start and attach multiple containers at once",
            )),
        }
    })
}

async fn plain(app: &App, names: &[String]) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for name in names {
        match create::start(app, name).await {
            Ok(()) => app.line(name)?,
            Err(error) => {
                app.warn(error.to_string());
                failed.push(name.as_str());
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "Error: failed to start containers: {}",
            failed.join(", ")
        ))),
    }
}

async fn attached(app: &App, flags: &Parsed, name: &str) -> Result<(), Failure> {
    let container = each::inspect(&app.client, name).await?;
    let id = text(&container, "Id");
    let (tty, open_stdin) = streams_of(&container);
    let removed = container
        .pointer("/HostConfig/AutoRemove")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    if !tty {
        streams::forward(&app.client, id)?;
    }
    let attach = Attach {
        tty,
        stdin: flags.bool("interactive") && open_stdin,
        stdout: true,
        stderr: true,
        detach_keys: detach_keys(app, flags),
        sig_proxy: !tty,
    };
    let hijacked = open_streams(app, id, &attach).await?;
    let end = watch_end(app, id, removed).await?;
    if let Err(error) = create::start(app, id).await {
        drop(hijacked);
        if removed {
            let _ = end.await;
        }
        return Err(error.into());
    }
    if tty && is_terminal(io::stdout()) {
        streams::watch_size(&app.client, Target::Container(id.to_owned())).await?;
    }
    match streams::run(hijacked, &attach).await? {
        Ended::Detached => Ok(()),
        Ended::Output => finish(end.await?),
    }
}
