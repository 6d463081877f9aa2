//! The files of a container: what changed, as an archive, as an image.

use api::container::{CommitResponse, CreateRequest, FileChange};
use engine::containers::ChangeKind;
use engine::images::{CommitRequest, PauseDuringCommit};
use hyper::StatusCode;

use crate::call::Call;
use crate::convert::config;
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
