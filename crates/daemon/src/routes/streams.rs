//! Streams of a container: logs, attachments, statistics.

use std::time::Duration;

use api::gojson::encode_line;
use bytes::Bytes;
use engine::Engine;
use engine::containers::{AttachOptions, LogsOptions, Sample};
use futures_util::stream;
use spec::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::call::Call;
use crate::convert::stats::{Label, to_wire};
use crate::error::ApiError;
use crate::hijack::{self, Flow};
use crate::reply::{self, Reply};
use crate::routes::system::timestamp;
use crate::websocket;

/// Docker's time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// `GET /containers/{id}/logs`
pub async fn logs(call: Call) -> Result<Reply, ApiError> {
    let query = &call.query;
    let since = |name: &str| {
        Ok::<_, ApiError>(timestamp(query.text(name))?.filter(|t| *t > Timestamp::from_unix(0, 0)))
    };
    let options = LogsOptions {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        since: since("since")?,
        until: since("until")?,
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
        // Docker reads every text that is no number as `all`.
        tail: query.text("tail").parse().ok(),
        follow: query.flag("follow"),
    };
    if !options.stdout && !options.stderr {
        return Err(ApiError::bad_request(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let log = call.engine().containers.logs(call.key(), options).await?;
    let kind = hijack::content_type(&call, log.tty);
    let chunks = stream::unfold(log, |mut log| async move {
        let next = log.next().await?;
        Some((next.map_err(std::io::Error::other), log))
    });
    Ok(reply::stream(kind, chunks))
}

fn attach_options(call: &Call) -> AttachOptions {
    let query = &call.query;
    AttachOptions {
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        detach_keys: Some(query.text("detachKeys").to_owned()).filter(|k| !k.is_empty()),
    }
}

/// `POST /containers/{id}/attach`
pub async fn attach(call: Call) -> Result<Reply, ApiError> {
    let attached = call
        .engine()
        .containers
        .attach(call.key(), attach_options(&call))
        .await?;
    let tty = attached.tty;
    Ok(hijack::answer(call, Flow::Attached(Box::new(attached)), tty).await)
}

/// `GET /containers/{id}/attach/ws`
pub async fn attach_websocket(call: Call) -> Result<Reply, ApiError> {
    let key = websocket::handshake_key(&call)?;
    let mut options = attach_options(&call);
    // A socket that asked for nothing in particular gets everything.
    if !(options.stdin || options.stdout || options.stderr) {
        (options.stdin, options.stdout, options.stderr) = (true, true, true);
    }
    let attached = call.engine().containers.attach(call.key(), options).await?;
    Ok(websocket::answer(call, &key, attached))
}

/// `GET /containers/{id}/stats`
pub async fn stats(call: Call) -> Result<Reply, ApiError> {
    let (engine, key) = (call.engine(), call.key().to_owned());
    let first = engine.containers.stats(&key).await?;
    if call.query.flag_or_true("stream") {
        return Ok(reply::stream("application/json", samples(engine, first)));
    }
    if call.query.flag("one-shot") {
        return Ok(reply::ok(&to_wire(&first, None, Label::Bare)));
    }
    if first.read.is_none() {
        return Ok(reply::ok(&to_wire(&first, None, Label::Named)));
    }
    tokio::time::sleep(SAMPLE_EVERY).await;
    let second = engine.containers.stats(&key).await?;
    Ok(reply::ok(&to_wire(&second, Some(&first), Label::Named)))
}

/// One line at once and one each second, until the container is gone.
fn samples(
    engine: Engine,
    first: Sample,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send {
    let id = first.id.clone();
    stream::unfold(
        (engine, id, Some(first), None::<Sample>, Instant::now()),
        |state| async move {
            let (engine, id, first, before, due) = state;
            let sample = match first {
                Some(first) => first,
                None => {
                    sleep_until(due).await;
                    engine.containers.stats(&id).await.ok()?
                }
            };
            let line = encode_line(&to_wire(&sample, before.as_ref(), Label::Named));
            let next = (engine, id, None, Some(sample), due + SAMPLE_EVERY);
            Some((Ok(Bytes::from(line)), next))
        },
    )
}
