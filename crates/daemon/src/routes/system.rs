//! The daemon and its host.

use api::gojson::encode_line;
use api::system::DiskUsage;
use bytes::Bytes;
use engine::events::EventsQuery;
use futures_util::stream;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue, PRAGMA};
use spec::Timestamp;

use crate::call::Call;
use crate::convert::{container, event, image, system, volume};
use crate::error::ApiError;
use crate::reply::{self, Reply};

/// `GET` and `HEAD /_ping`
pub async fn ping(_: Call) -> Result<Reply, ApiError> {
    let mut reply = reply::typed(StatusCode::OK, "text/plain; charset=utf-8", "OK");
    let headers = reply.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    Ok(reply)
}

/// `GET /version`
pub async fn version(call: Call) -> Result<Reply, ApiError> {
    let version = call.context.engine.system.version();
    Ok(reply::ok(&system::version(
        &version,
        call.context.experimental,
    )))
}

/// `GET /info`
pub async fn info(call: Call) -> Result<Reply, ApiError> {
    let info = call.engine().system.info().await?;
    Ok(reply::ok(&system::info(&info, call.context.debug())))
}

/// `GET /events`
pub async fn events(call: Call) -> Result<Reply, ApiError> {
    let query = EventsQuery {
        since: timestamp(call.query.text("since"))?,
        until: timestamp(call.query.text("until"))?,
        filters: call.query.filters()?,
    };
    if let (Some(since), Some(until)) = (query.since, query.until)
        && until < since
    {
        return Err(ApiError::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            since.unix_seconds(),
            until.unix_seconds()
        )));
    }
    let events = call.context.engine.events.subscribe(query);
    let lines = stream::unfold(events, |mut events| async move {
        let next = events.next().await?;
        Some((Ok(Bytes::from(encode_line(&event::to_wire(&next)))), events))
    });
    Ok(reply::stream("application/json", lines))
}

/// `GET /system/df`
pub async fn disk_usage(call: Call) -> Result<Reply, ApiError> {
    let kinds = call.query.all("type");
    for kind in kinds {
        if !matches!(
            kind.as_str(),
            "container" | "image" | "volume" | "build-cache"
        ) {
            return Err(ApiError::bad_request(format!(
                "unknown object type: {kind}"
            )));
        }
    }
    let wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|k| k == kind);
    let usage = call.engine().system.disk_usage().await?;
    let shape = image::Shape::of(&call.version);
    let images = || {
        usage
            .images
            .iter()
            .map(|i| image::usage(i, shape))
            .collect()
    };
    let containers = || usage.containers.iter().map(container::summary).collect();
    let volumes = match wanted("volume") {
        true => Some(
            call.engine()
                .volumes
                .usage()
                .await?
                .iter()
                .map(|(volume, usage)| volume::with_usage(volume, *usage))
                .collect(),
        ),
        false => None,
    };
    Ok(reply::ok(&DiskUsage {
        layers_size: wanted("image").then(|| container::to_i64(usage.layers_size)),
        images: wanted("image").then(images),
        containers: wanted("container").then(containers),
        volumes,
        build_cache: wanted("build-cache").then(Vec::new),
    }))
}

/// A moment as Docker's clients send it: seconds with an optional fraction, or RFC 3339.
///
/// # Errors
///
/// It is neither; the text is Go's.
pub fn timestamp(text: &str) -> Result<Option<Timestamp>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(Some(moment));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanos: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    match (seconds.parse(), nanos.parse()) {
        (Ok(seconds), Ok(nanos)) => Ok(Some(Timestamp::from_unix(seconds, nanos))),
        _ => Err(ApiError::bad_request(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let read = |text: &str| timestamp(text).unwrap();
        assert_eq!(read(""), None);
        assert_eq!(read("5"), Some(Timestamp::from_unix(5, 0)));
        assert_eq!(read("5.5"), Some(Timestamp::from_unix(5, 500_000_000)));
        assert_eq!(read("5.000000001"), Some(Timestamp::from_unix(5, 1)));
        assert_eq!(
            read("1970-01-01T00:00:05Z"),
            Some(Timestamp::from_unix(5, 0))
        );
        for bad in ["abc", "5.x", "5.-1", "."] {
            assert_eq!(
                timestamp(bad).unwrap_err().status,
                StatusCode::BAD_REQUEST,
                "{bad}"
            );
        }
    }
}
