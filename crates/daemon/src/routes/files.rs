//! The files of a container: what changed, as an archive, as an image.

use api::container::{CommitResponse, CreateRequest, FileChange, PathStat};
use engine::containers::{ChangeKind, CopyStat, PutArchive};
use engine::images::{CommitRequest, PauseDuringCommit};
use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::call::Call;
use crate::convert::config;
use crate::convert::container::to_i64;
use crate::error::ApiError;
use crate::progress;
use crate::reply::{self, Reply};
use crate::routes::containers::to_the_end;
use crate::routes::transfer::repository_and_tag;

/// `GET /containers/{id}/changes`
pub async fn changes(call: Call) -> Result<Reply, ApiError> {
    let changes = call.engine().containers.changes(call.key()).await?;
    let lines: Vec<FileChange> = changes
        .iter()
        .map(|change| FileChange {
            path: change.path.to_string_lossy().into_owned(),
            kind: match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            },
        })
        .collect();
    Ok(reply::ok(&Some(lines).filter(|list| !list.is_empty())))
}

/// `GET /containers/{id}/export`
pub async fn export(call: Call) -> Result<Reply, ApiError> {
    let archive = call.engine().containers.export(call.key()).await?;
    progress::archive("application/octet-stream", archive).await
}

/// `HEAD /containers/{id}/archive`
pub async fn stat(call: Call) -> Result<Reply, ApiError> {
    let path = path(&call)?;
    let found = call.engine().containers.stat_path(call.key(), path).await?;
    let mut reply = reply::empty(StatusCode::OK);
    tell(&mut reply, &found);
    Ok(reply)
}

/// `GET /containers/{id}/archive`
pub async fn get(call: Call) -> Result<Reply, ApiError> {
    let path = path(&call)?;
    let containers = call.engine().containers;
    let (found, archive) = containers.get_archive(call.key(), path).await?;
    let mut reply = progress::archive("application/x-tar", archive).await?;
    tell(&mut reply, &found);
    Ok(reply)
}

/// `PUT /containers/{id}/archive`
pub async fn put(call: Call) -> Result<Reply, ApiError> {
    let path = path(&call)?.to_owned();
    let options = PutArchive {
        keep_kinds: call.query.flag("noOverwriteDirNonDir"),
        own: call.query.flag("copyUIDGID"),
    };
    let (containers, key) = (call.engine().containers, call.key().to_owned());
    containers
        .put_archive(&key, &path, options, call.upload())
        .await?;
    Ok(reply::empty(StatusCode::OK))
}

fn path(call: &Call) -> Result<&str, ApiError> {
    match call.query.text("path") {
        // The text is Docker's, its missing space too.
        "" => Err(ApiError::bad_request("bad parameter: pathcannot be empty")),
        path => Ok(path),
    }
}

/// Puts what is known of a path into the header where clients look for it.
fn tell(reply: &mut Reply, found: &CopyStat) {
    let stat = PathStat {
        name: found.name.clone(),
        size: to_i64(found.size),
        mode: found.mode,
        mtime: found.modified.to_string(),
        link_target: found.link_target.clone(),
    };
    if let Ok(value) = HeaderValue::from_str(&stat.to_header()) {
        reply.headers_mut().insert(PathStat::HEADER, value);
    }
}

/// `POST /commit`
pub async fn commit(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.optional_json_body().await?;
    let given = body.iter().any(|byte| !byte.is_ascii_whitespace());
    let config = match given && body.trim_ascii() != b"null" {
        true => Some(config::from_wire(CreateRequest::decode(&body)?.config)),
        false => None,
    };
    let query = &call.query;
    if query.text("container").is_empty() {
        return Err(ApiError::bad_request("invalid name or ID supplied: \"\""));
    }
    let name = repository_and_tag(query.text("repo"), query.text("tag"))?;
    let request = CommitRequest {
        container: query.text("container").to_owned(),
        repository: name
            .as_ref()
            .map(spec::Reference::familiar_repository)
            .unwrap_or_default(),
        tag: name
            .as_ref()
            .and_then(spec::Reference::tag)
            .unwrap_or_default()
            .to_owned(),
        comment: query.text("comment").to_owned(),
        author: query.text("author").to_owned(),
        pause: match query.flag_or_true("pause") {
            true => PauseDuringCommit::Pause,
            false => PauseDuringCommit::Run,
        },
        changes: query.all("changes").to_vec(),
        config,
    };
    let engine = call.engine();
    let id = to_the_end(async move { engine.images.commit(request).await }).await?;
    let response = CommitResponse { id: id.to_string() };
    Ok(reply::json(StatusCode::CREATED, &response))
}
