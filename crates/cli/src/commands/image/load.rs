//! `load`, `import`, and the pull that `run` does.

use std::fs::File;
use std::io::{self, Read, Write};

use api::client::{Body, Query, Request, Response, full_body};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use spec::Reference;

use crate::app::{App, is_terminal};
use crate::config::go_text;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::text;
use crate::tree::Run;

/// How much of an archive is read at once.
const CHUNK: usize = 256 << 10;

// A file or pipe as a body. Reading blocks the only thread, which has nothing else to do then: the
// daemon answers while it reads or after.
fn body(source: impl Read + Send + Sync + 'static) -> Body {
    let chunks = stream::unfold(Some(source), |source| async {
        let mut source = source?;
        let mut chunk = vec![0; CHUNK];
        loop {
            return match source.read(&mut chunk) {
                Ok(0) => None,
                Ok(count) => {
                    chunk.truncate(count);
                    Some((Ok(Frame::data(Bytes::from(chunk))), Some(source)))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Some((Err(error), None)),
            };
        }
    });
    BodyExt::boxed(StreamBody::new(chunks))
}

fn open(path: &str) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::new(format!("open {path}: {}", go_text(&error))))
}

/// `load`
pub(super) fn load(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let input = flags.str("input");
        let body = match input {
            "" if is_terminal(io::stdin()) => {
                return Err(Failure::new(
                    "requested load from stdin, but stdin is empty",
                ));
            }
            "" => body(io::stdin()),
            path => body(open(path)?),
        };
        let quiet = flags.bool("quiet") || !is_terminal(io::stdout());
        let mut query = Query::new().with("quiet", if quiet { "1" } else { "0" });
        query.add_some("platform", super::platform_json(flags.str("platform")));
        let request = Request::post("/images/load")
            .query(&query)
            .body("application/x-tar", body);
        let response = app.client.send(request).await?;
        progress(
            response,
            &mut io::stdout().lock(),
            is_terminal(io::stdout()),
        )
        .await
    })
}

/// `import`
pub(super) fn import(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let source = flags.args.first().map_or("", String::as_str);
        let name = flags.args.get(1).map_or("", String::as_str);
        let is_url = source.starts_with("https://") || source.starts_with("http://");
        let (from, body) = match source {
            url if is_url => (url, full_body(Bytes::new())),
            "-" => ("-", body(io::stdin())),
            path => ("-", body(open(path)?)),
        };
        if !name.is_empty() {
            name.parse::<Reference>()
                .map_err(|error| Failure::new(error.to_string()))?;
        }
        let mut query = Query::new().with("fromSrc", from);
        query.add_some("repo", name);
        query.add_some("message", flags.str("message"));
        query.add_some("platform", flags.str("platform").to_lowercase());
        for change in flags.list("change") {
            query.add("changes", change);
        }
        let request = Request::post("/images/create")
            .query(&query)
            .body("text/plain", body);
        let response = app.client.send(request).await?;
        progress(
            response,
            &mut io::stdout().lock(),
            is_terminal(io::stdout()),
        )
        .await
    })
}

/// Pulls an image that `run` or `create` miss; progress goes to stderr.
pub async fn pull_for_create(
    app: &App,
    reference: &Reference,
    platform: &str,
    quiet: bool,
) -> Result<(), Failure> {
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let mut query = Query::new()
        .with("fromImage", reference.repository())
        .with("tag", tag);
    query.add_some("platform", platform.to_lowercase());
    let response = app
        .client
        .send(Request::post("/images/create").query(&query))
        .await?;
    match quiet {
        true => progress(response, &mut io::sink(), false).await,
        false => {
            progress(
                response,
                &mut io::stderr().lock(),
                is_terminal(io::stderr()),
            )
            .await
        }
    }
}

// Shows a stream of progress messages: lines of layers are redrawn in place on a terminal.
async fn progress(response: Response, out: &mut dyn Write, terminal: bool) -> Result<(), Failure> {
    let mut messages = response.json_stream();
    let mut lines: Vec<String> = Vec::new();
    while let Some(message) = messages.next().await? {
        if let Some(error) = message.get("errorDetail").filter(|e| !e.is_null()) {
            return Err(Failure::new(text(error, "message")));
        }
        if let Some(error) = message.get("error").and_then(Value::as_str) {
            return Err(Failure::new(error));
        }
        show(&message, &mut lines, out, terminal)?;
    }
    Ok(())
}

fn show(
    message: &Value,
    lines: &mut Vec<String>,
    out: &mut dyn Write,
    terminal: bool,
) -> io::Result<()> {
    let (stream, status, id, bar) = (
        text(message, "stream"),
        text(message, "status"),
        text(message, "id"),
        text(message, "progress"),
    );
    if !stream.is_empty() {
        write!(out, "{stream}")?;
        return out.flush();
    }
    let moving = !bar.is_empty()
        || message
            .get("progressDetail")
            .is_some_and(|d| d.get("current").is_some());
    if status.is_empty() || (!terminal && moving) {
        return Ok(());
    }
    if id.is_empty() {
        lines.clear();
        return writeln!(out, "{status}");
    }
    if !terminal {
        return writeln!(out, "{id}: {status}");
    }
    let up = match lines.iter().position(|line| line == id) {
        Some(at) => lines.len() - at,
        None => {
            lines.push(id.to_owned());
            writeln!(out)?;
            1
        }
    };
    write!(out, "\x1b[{up}A\x1b[2K\r{id}: {status} {bar}\x1b[{up}B\r")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(messages: &[Value], terminal: bool) -> String {
        let (mut out, mut lines) = (Vec::new(), Vec::new());
        for message in messages {
            show(message, &mut lines, &mut out, terminal).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages() {
        assert_eq!(
            shown(&[json!({"stream": "Loaded image: x\n"})], false),
            "Loaded image: x\n"
        );
        assert_eq!(shown(&[json!({"status": "sha256:1"})], false), "sha256:1\n");
        let moving = json!({"id": "1", "status": "Loading", "progress": "[=>]", "progressDetail": {"current": 1}});
        assert_eq!(
            shown(
                &[moving.clone(), json!({"id": "1", "status": "Done"})],
                false
            ),
            "1: Done\n"
        );
        assert!(shown(&[moving.clone(), moving], true).contains("\x1b[1A\x1b[2K\r1: Loading [=>]"));
    }
}
