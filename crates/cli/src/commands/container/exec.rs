//! `exec`

use std::io;

use api::client::{Request, escape};
use serde_json::json;

use super::each;
use super::run::{detach_keys, finish};
use crate::app::{App, is_terminal};
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::options::kv::{self, Lookup};
use crate::output::{int, text};
use crate::streams::{self, Attach, Ended, Target};
use crate::terminal;
use crate::tree::Run;

/// `exec`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let Some((name, command)) = flags.args.split_first() else {
            return Err(Failure::new("no container"));
        };
        let env = kv::read(
            &flags.list("env-file"),
            &flags.list("env"),
            Lookup::Environment,
        )?;
        let (detach, tty) = (flags.bool("detach"), flags.bool("tty"));
        let attach = Attach {
            tty,
            stdin: flags.bool("interactive") && !detach,
            stdout: !detach,
            stderr: !detach,
            detach_keys: detach_keys(app, &flags),
            sig_proxy: false,
        };
        // A container that is not there is told before a terminal that is not there.
        let would_fail = streams::check_tty(attach.stdin, tty);
        if would_fail.is_err() {
            each::inspect(&app.client, name).await?;
            would_fail?;
        }
        let size = terminal::size(io::stdout()).filter(|_| tty);
        let size = size.map_or(json!(null), |(width, height)| json!([height, width]));
        let mut body = json!({
            "User": flags.str("user"),
            "Privileged": flags.bool("privileged"),
            "Tty": tty,
            "AttachStdin": attach.stdin,
            "AttachStdout": attach.stdout,
            "AttachStderr": attach.stderr,
            "Detach": detach,
            "DetachKeys": attach.detach_keys,
            "WorkingDir": flags.str("workdir"),
            "Env": if env.is_empty() { json!(null) } else { json!(env) },
            "Cmd": command,
        });
        if !size.is_null() {
            body["ConsoleSize"] = size.clone();
        }
        let path = format!("/containers/{}/exec", escape(name));
        let answer = app.client.json(Request::post(path).json(&body)).await?;
        let id = text(&answer, "Id").to_owned();
        if id.is_empty() {
            return Err(Failure::new("exec ID empty"));
        }
        let mut start = json!({"Detach": detach, "Tty": tty});
        if !size.is_null() {
            start["ConsoleSize"] = size;
        }
        let request = Request::post(format!("/exec/{id}/start")).json(&start);
        if detach {
            app.client.send(request).await?;
            return Ok(());
        }
        let hijacked = app.client.hijack(request).await?;
        if tty && is_terminal(io::stdin()) {
            streams::watch_size(&app.client, Target::Exec(id.clone())).await?;
        }
        if streams::run(hijacked, &attach).await? == Ended::Detached {
            return Err(Failure::new("read escape sequence"));
        }
        let ended = app
            .client
            .json(Request::get(format!("/exec/{id}/json")))
            .await?;
        finish(i32::try_from(int(&ended, "ExitCode")).unwrap_or(1))
    })
}
