//! `load` and `import`: archives that become images.

use std::fs::File;
use std::io::{self, Read};

use api::client::{Body, Query, Request, full_body};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use spec::Reference;

use crate::app::{App, is_terminal};
use crate::config::go_text;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::platform;
use crate::progress::{self, To};
use crate::tree::Run;

/// How much of an archive is read at once.
const CHUNK: usize = 256 << 10;

/// A file or pipe as a body. Reading blocks the only thread, which has nothing else to do then: the
/// daemon answers while it reads or after.
pub fn body(source: impl Read + Send + Sync + 'static) -> Body {
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
        let platform = super::variant(&flags, "invalid platform: ")?;
        let quiet = flags.bool("quiet") || !is_terminal(io::stdout());
        let mut query = Query::new().with("quiet", if quiet { "1" } else { "0" });
        if let Some(platform) = platform {
            query.add("platform", platform.json());
        }
        let request = Request::post("/images/load")
            .query(&query)
            .body("application/x-tar", body);
        let response = app.client.send(request).await?;
        progress::show(response, To::Out).await
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
        query.add_some("platform", platform::wanted(&flags).to_lowercase());
        for change in flags.list("change") {
            query.add("changes", change);
        }
        let request = Request::post("/images/create")
            .query(&query)
            .body("text/plain", body);
        let response = app.client.send(request).await?;
        progress::show(response, To::Out).await
    })
}
