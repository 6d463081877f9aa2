//! `run`: create, attach, wait, start, and end as the container ends.

use std::io;
use std::pin::pin;

use api::client::{ClientError, Hijacked, Query, Request, escape};
use serde_json::Value;

use super::create;
use crate::app::{App, is_terminal};
use crate::exit::{ENGINE, Failure, start_code, with_help};
use crate::flags::Parsed;
use crate::output::{int, text};
use crate::streams::{self, Attach, Ended, Target};
use crate::tree::Run;

/// `run`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut create = create::wanted(app, &flags, "run")?;
        if !flags.bool("detach") {
            streams::check_tty(create.attach[0], create.tty)?;
        } else if flags.changed("attach") {
            return Err(Failure::new(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        } else {
            create.detach();
        }
        let made = create::make(app, &flags, &mut create).await;
        let id = made.map_err(|failure| explain(app, &failure.message))?;
        if flags.bool("sig-proxy") && !flags.bool("detach") {
            streams::forward(&app.client, &id)?;
        }
        if create.attach == [false; 3] {
            app.line(&id)?;
            return create::start(app, &id)
                .await
                .map_err(|error| explain(app, &error.to_string()));
        }
        let attach = Attach {
            tty: create.tty,
            stdin: create.attach[0],
            stdout: create.attach[1],
            stderr: create.attach[2],
            detach_keys: detach_keys(app, &flags),
            sig_proxy: flags.bool("sig-proxy"),
        };
        foreground(app, &id, &attach, create.auto_remove).await
    })
}

// Failures before the container's own command runs are told with a hint, and have codes of their own.
fn explain(app: &App, message: &str) -> Failure {
    if message.is_empty() {
        return Failure::code(ENGINE);
    }
    Failure::with_code(with_help(&app.program, message, "run"), start_code(message))
}

/// The detach keys: the flag's, else the configuration's.
pub(super) fn detach_keys(app: &App, flags: &Parsed) -> String {
    match flags.str("detach-keys") {
        "" => app.config.text("detachKeys").to_owned(),
        keys => keys.to_owned(),
    }
}

/// Opens the streams of a container.
pub(super) async fn open_streams(
    app: &App,
    id: &str,
    attach: &Attach,
) -> Result<Hijacked, ClientError> {
    let mut query = Query::new().with("stream", "1");
    query.add_flag("stdin", attach.stdin);
    query.add_flag("stdout", attach.stdout);
    query.add_flag("stderr", attach.stderr);
    query.add_some("detachKeys", &attach.detach_keys);
    let path = format!("/containers/{}/attach", escape(id));
    app.client.hijack(Request::post(path).query(&query)).await
}

/// Asks to be told when the container ends; returns once the daemon has taken note.
pub(super) async fn watch_end(
    app: &App,
    id: &str,
    removed: bool,
) -> Result<impl Future<Output = Result<i32, Failure>> + use<>, Failure> {
    let condition = if removed { "removed" } else { "next-exit" };
    let path = format!("/containers/{}/wait", escape(id));
    let request = Request::post(path).query(&Query::new().with("condition", condition));
    let response = app.client.send(request).await?;
    Ok(async move {
        let answer = response
            .json()
            .await
            .map_err(|error| waiting(&error.to_string()))?;
        match answer.get("Error").filter(|error| !error.is_null()) {
            Some(error) => Err(waiting(text(error, "Message"))),
            None => Ok(i32::try_from(int(&answer, "StatusCode")).unwrap_or(ENGINE)),
        }
    })
}

fn waiting(what: &str) -> Failure {
    Failure::with_code(format!("Error waiting for container: {what}"), ENGINE)
}

async fn foreground(app: &App, id: &str, attach: &Attach, removed: bool) -> Result<(), Failure> {
    let hijacked = open_streams(app, id, attach).await?;
    let end = watch_end(app, id, removed).await?;
    let mut end = pin!(end);
    if let Err(error) = create::start(app, id).await {
        drop(hijacked);
        if removed {
            // The daemon clears away what could not be started.
            let _ = end.await;
        }
        return Err(explain(app, &error.to_string()));
    }
    if attach.tty && is_terminal(io::stdout()) {
        streams::watch_size(&app.client, Target::Container(id.to_owned())).await?;
    }
    let mut conversation = pin!(streams::run(hijacked, attach));
    let code = tokio::select! {
        ended = &mut conversation => match ended? {
            Ended::Detached => return Ok(()),
            Ended::Output => end.await?,
        },
        code = &mut end => {
            let code = code?;
            // What it said last may still be under way.
            if attach.stdout || attach.stderr {
                conversation.await?;
            }
            code
        }
    };
    finish(code)
}

/// Ends with the container's exit code.
pub(super) fn finish(code: i32) -> Result<(), Failure> {
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::code(code))
    }
}

/// Whether a container has a terminal, and whether its stdin is open.
pub(super) fn streams_of(container: &Value) -> (bool, bool) {
    let flag = |key: &str| {
        container
            .pointer(key)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    };
    (flag("/Config/Tty"), flag("/Config/OpenStdin"))
}
