//! Commands that do one thing to each container named: side by side, told in the order named.

use api::client::{Client, ClientError, Query, Request, escape};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::int;
use crate::tree::Run;

/// How many calls are under way at once, as in Docker's client.
const AT_ONCE: usize = 50;

// Posts one action for each container and prints the names that went well.
async fn post(
    app: &App,
    names: &[String],
    action: &'static str,
    query: Query,
) -> Result<(), Failure> {
    let one = |name: String| {
        let path = format!("/containers/{}/{action}", escape(&name));
        let request = Request::post(path).query(&query);
        async move { (app.client.send(request).await.map(drop), name) }
    };
    let mut results = stream::iter(names.iter().cloned().map(one)).buffered(AT_ONCE);
    let mut errors = Vec::new();
    while let Some((result, name)) = results.next().await {
        match result {
            Ok(()) => app.line(name)?,
            Err(error) => errors.push(error.to_string()),
        }
    }
    Failure::join(errors)
}

fn stop_query(flags: &Parsed) -> Query {
    let mut query = Query::new();
    query.add_some("signal", flags.str("signal"));
    for name in ["timeout", "time"] {
        if flags.changed(name) {
            query.add("t", flags.int(name).to_string());
            break;
        }
    }
    query
}

/// `stop`
pub(super) fn stop(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        if flags.changed("time") && flags.changed("timeout") {
            return Err(Failure::new(
                "conflicting options: cannot specify both --timeout and --time",
            ));
        }
        post(app, &flags.args, "stop", stop_query(&flags)).await
    })
}

/// `restart`
pub(super) fn restart(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        if flags.changed("time") && flags.changed("timeout") {
            return Err(Failure::new(
                "conflicting options: cannot specify both --timeout and --time",
            ));
        }
        post(app, &flags.args, "restart", stop_query(&flags)).await
    })
}

/// `kill`
pub(super) fn kill(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut query = Query::new();
        query.add_some("signal", flags.str("signal"));
        post(app, &flags.args, "kill", query).await
    })
}

/// `pause`
pub(super) fn pause(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move { post(app, &flags.args, "pause", Query::new()).await })
}

/// `unpause`
pub(super) fn unpause(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move { post(app, &flags.args, "unpause", Query::new()).await })
}

async fn remove_one(client: &Client, name: &str, query: &Query) -> Result<(), Failure> {
    let name = name.trim_matches('/');
    if name.is_empty() {
        return Err(Failure::new("container name cannot be empty"));
    }
    let path = format!("/containers/{}", escape(name));
    Ok(client
        .send(Request::delete(path).query(query))
        .await
        .map(drop)?)
}

/// `rm`
pub(super) fn remove(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut query = Query::new();
        query.add_flag("v", flags.bool("volumes"));
        query.add_flag("link", flags.bool("link"));
        query.add_flag("force", flags.bool("force"));
        let (client, query) = (&app.client, &query);
        let one = |name: String| async move { (remove_one(client, &name, query).await, name) };
        let mut results = stream::iter(flags.args.iter().cloned().map(one)).buffered(AT_ONCE);
        let mut errors = Vec::new();
        while let Some((result, name)) = results.next().await {
            match result {
                Ok(()) => app.line(name)?,
                // With force, what is gone already is as wanted.
                Err(failure) if failure.not_found && flags.bool("force") => {
                    app.warn(failure.message)
                }
                Err(failure) => errors.push(failure.message),
            }
        }
        Failure::join(errors)
    })
}

/// Waits for a container to end, and returns its exit code.
pub(super) async fn wait_one(client: &Client, name: &str) -> Result<i64, ClientError> {
    let path = format!("/containers/{}/wait", escape(name));
    let answer = client.json(Request::post(path)).await?;
    Ok(int(&answer, "StatusCode"))
}

/// `wait`
pub(super) fn wait(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut errors = Vec::new();
        for name in &flags.args {
            match wait_one(&app.client, name).await {
                Ok(code) => app.line(code.to_string())?,
                Err(error) => errors.push(error.to_string()),
            }
        }
        Failure::join(errors)
    })
}

/// `rename`
pub(super) fn rename(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let [old, new] = flags.args.as_slice() else {
            return Err(Failure::new("two names are needed"));
        };
        let (old, new) = (old.trim(), new.trim());
        if old.is_empty() || new.is_empty() {
            return Err(Failure::new(
                "Error: Neither old nor new names may be empty",
            ));
        }
        let path = format!("/containers/{}/rename", escape(old));
        let request = Request::post(path).query(&Query::new().with("name", new));
        app.client.send(request).await.map_err(|error| {
            Failure::new(format!(
                "{error}\nError: failed to rename container named {old}"
            ))
        })?;
        Ok(())
    })
}

/// Looks a container up.
pub(super) async fn inspect(client: &Client, name: &str) -> Result<Value, ClientError> {
    client
        .json(Request::get(format!("/containers/{}/json", escape(name))))
        .await
}
