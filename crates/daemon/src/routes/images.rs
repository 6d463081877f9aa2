//! Images.

use api::gojson::encode_line;
use api::image::{DeleteItem, PruneResponse};
use api::message::{JsonMessage, ProgressDetail};
use api::system::BuildPruneResponse;
use bytes::Bytes;
use engine::images::{ImportImage, ListImages, LoadProgress, RemoveImage};
use futures_util::{StreamExt, stream};
use hyper::StatusCode;
use tokio::sync::mpsc;

use crate::call::Call;
use crate::convert::image;
use crate::error::ApiError;
use crate::reply::{self, Reply};
use crate::routes::containers::{platform, to_the_end};

/// Progress messages that wait for a slow client; more are dropped by the engine.
const PROGRESS_QUEUE: usize = 64;
/// Width of the bar in a progress message.
const BAR: u64 = 50;

/// `GET /images/json`
pub async fn list(call: Call) -> Result<Reply, ApiError> {
    let options = ListImages {
        all: call.query.flag("all"),
        shared_size: call.query.flag("shared-size"),
        filters: call.query.filters()?,
    };
    let images = call.engine().images.list(options).await?;
    let virtual_size = !call.at_least("1.44");
    let (counted, plain) = (call.at_least("1.51"), call.at_least("1.43"));
    let lines = images.iter().map(|i| {
        let line = image::summary(i, virtual_size);
        let line = if counted {
            line
        } else {
            image::before_1_51(line)
        };
        if plain {
            line
        } else {
            image::before_1_43(line)
        }
    });
    Ok(reply::ok(&lines.collect::<Vec<_>>()))
}

/// `GET /images/{name}/json`
pub async fn inspect(call: Call) -> Result<Reply, ApiError> {
    let view = call.engine().images.inspect(call.key()).await?;
    Ok(reply::ok(&image::inspect(
        &view,
        !call.at_least("1.50"),
        !call.at_least("1.44"),
    )))
}

/// `GET /images/{name}/history`
pub async fn history(call: Call) -> Result<Reply, ApiError> {
    let steps = call.engine().images.history(call.key()).await?;
    Ok(reply::ok(
        &steps.iter().map(image::history).collect::<Vec<_>>(),
    ))
}

/// `POST /images/{name}/tag`
pub async fn tag(call: Call) -> Result<Reply, ApiError> {
    let (engine, key) = (call.engine(), call.key().to_owned());
    let (repo, tag) = (
        call.query.text("repo").to_owned(),
        call.query.text("tag").to_owned(),
    );
    to_the_end(async move { engine.images.tag(&key, &repo, &tag).await }).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

/// `DELETE /images/{name}`
pub async fn remove(call: Call) -> Result<Reply, ApiError> {
    let options = RemoveImage {
        force: call.query.flag("force"),
        no_prune: call.query.flag("noprune"),
    };
    let (engine, key) = (call.engine(), call.key().to_owned());
    let removed = to_the_end(async move { engine.images.remove(&key, options).await }).await?;
    Ok(reply::ok(
        &removed.iter().map(image::removal).collect::<Vec<_>>(),
    ))
}

/// `POST /images/prune`
pub async fn prune(call: Call) -> Result<Reply, ApiError> {
    let (engine, filters) = (call.engine(), call.query.filters()?);
    let pruned = to_the_end(async move { engine.images.prune(&filters).await }).await?;
    let deleted: Vec<DeleteItem> = pruned.deleted.iter().map(image::removal).collect();
    Ok(reply::ok(&PruneResponse {
        images_deleted: Some(deleted).filter(|l| !l.is_empty()),
        space_reclaimed: pruned.reclaimed,
    }))
}

/// `POST /build/prune`: nothing is cached where nothing is built.
pub async fn prune_build_cache(_: Call) -> Result<Reply, ApiError> {
    Ok(reply::ok(&BuildPruneResponse::default()))
}

/// `POST /images/load`: a failure before anything was done has a status, a later one is a line.
pub async fn load(call: Call) -> Result<Reply, ApiError> {
    let quiet = call.query.flag("quiet");
    let (engine, reader) = (call.engine(), call.reader());
    let (send, mut progress) = mpsc::channel(PROGRESS_QUEUE);
    // Not to the end: a client that goes away leaves an archive without its rest.
    let mut work = tokio::spawn(async move { engine.images.load(reader, send).await });
    let first = match progress.recv().await {
        Some(first) => first,
        None => {
            return match (&mut work).await {
                Ok(result) => {
                    result?;
                    Ok(reply::typed(
                        StatusCode::OK,
                        "application/json",
                        Bytes::new(),
                    ))
                }
                Err(_) => Err(ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "loading ended early",
                )),
            };
        }
    };
    let rest = stream::unfold(Some((progress, work)), |state| async move {
        let (mut progress, work) = state?;
        if let Some(next) = progress.recv().await {
            return Some((Some(load_line(&next)), Some((progress, work))));
        }
        let failure = match work.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(JsonMessage::failure(spec::error::chain(&error))),
            Err(_) => Some(JsonMessage::failure("loading ended early")),
        };
        Some((failure, None))
    });
    let lines = stream::once(async move { Some(load_line(&first)) }).chain(rest);
    let shown = lines.filter_map(move |line| async move {
        let line = line.filter(|l| !quiet || l.status.is_empty())?;
        Some(Ok(Bytes::from(encode_line(&line))))
    });
    Ok(reply::stream("application/json", shown))
}

fn load_line(progress: &LoadProgress) -> JsonMessage {
    match progress {
        LoadProgress::Layer { id, current, total } => {
            let detail = ProgressDetail {
                current: *current,
                total: total.unwrap_or(0),
            };
            JsonMessage {
                status: "Loading layer".to_owned(),
                progress: bar(detail),
                progress_detail: Some(detail),
                id: id.clone(),
                ..JsonMessage::default()
            }
        }
        LoadProgress::Loaded(name) => text(format!("Loaded image: {name}\n")),
        LoadProgress::LoadedId(id) => text(format!("Loaded image ID: {id}\n")),
    }
}

fn text(stream: String) -> JsonMessage {
    JsonMessage {
        stream,
        ..JsonMessage::default()
    }
}

/// Docker's bar, for clients that print it as it is.
fn bar(detail: ProgressDetail) -> String {
    let size = |bytes: u64| {
        let units = ["B", "kB", "MB", "GB", "TB"];
        #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
        let mut value = bytes as f64;
        let mut unit = 0;
        while value >= 1000.0 && unit + 1 < units.len() {
            value /= 1000.0;
            unit += 1;
        }
        format!("{value:.4}")
            .trim_end_matches('0')
            .trim_end_matches('.')
            .chars()
            .take(5)
            .collect::<String>()
            + units[unit]
    };
    if detail.total == 0 {
        return size(detail.current);
    }
    let full = usize::try_from(detail.current.min(detail.total) * BAR / detail.total).unwrap_or(0);
    let empty = usize::try_from(BAR).unwrap_or(0) - full;
    format!(
        "[{}>{}] {:>8}/{}",
        "=".repeat(full),
        " ".repeat(empty),
        size(detail.current),
        size(detail.total)
    )
}

/// `POST /images/create`: imports the body; pulling is not there yet.
pub async fn create(call: Call) -> Result<Reply, ApiError> {
    let query = &call.query;
    let source = query.text("fromSrc").to_owned();
    if source.is_empty() {
        let image = query.text("fromImage");
        if image.is_empty() {
            return Err(ApiError::bad_request(
                "one of fromImage and fromSrc must be given",
            ));
        }
        let tag = query.text("tag");
        let colon = if tag.is_empty() {
            ""
        } else if tag.contains(':') {
            "@"
        } else {
            ":"
        };
        return Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "cannot pull {image}{colon}{tag}: pulling is not yet supported by Corten, load or import the image"
            ),
        ));
    }
    if source != "-" {
        return Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "cannot import {source}: importing from a URL is not yet supported by Corten, send the archive"
            ),
        ));
    }
    let (repo, tag) = (query.text("repo"), query.text("tag"));
    let options = ImportImage {
        reference: if repo.is_empty() || tag.is_empty() {
            repo.to_owned()
        } else {
            format!("{repo}:{tag}")
        },
        message: match query.text("message") {
            "" => "Imported from -".to_owned(),
            message => message.to_owned(),
        },
        changes: query.all("changes").to_vec(),
        platform: platform(query.text("platform"))?,
    };
    let engine = call.engine();
    let id = engine.images.import(call.reader(), options).await?;
    let line = JsonMessage {
        status: id.to_string(),
        ..JsonMessage::default()
    };
    Ok(reply::ok(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines() {
        let line = load_line(&LoadProgress::Layer {
            id: "ab".to_owned(),
            current: 500,
            total: Some(1000),
        });
        let text = String::from_utf8(encode_line(&line)).unwrap();
        assert!(text.starts_with(r#"{"status":"Loading layer","progressDetail":{"current":500,"total":1000},"progress":"[====="#), "{text}");
        assert!(line.progress.ends_with("500B/1kB"), "{}", line.progress);
        let line = load_line(&LoadProgress::Loaded("busybox:latest".to_owned()));
        assert_eq!(
            encode_line(&line),
            b"{\"stream\":\"Loaded image: busybox:latest\\n\"}\n"
        );
    }
}
