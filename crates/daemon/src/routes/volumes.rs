//! Volumes: there are none yet, so that clients which list or prune them go on.

use api::network::{VolumeList, VolumePruneResponse};
use hyper::StatusCode;

use crate::call::Call;
use crate::error::ApiError;
use crate::reply::{self, Reply};

/// `GET /volumes`
pub async fn list(call: Call) -> Result<Reply, ApiError> {
    call.query
        .filters()?
        .only(&["dangling", "driver", "label", "name"])?;
    Ok(reply::ok(&VolumeList::default()))
}

/// `POST /volumes/prune`
pub async fn prune(call: Call) -> Result<Reply, ApiError> {
    call.query.filters()?.only(&["all", "label", "label!"])?;
    Ok(reply::ok(&VolumePruneResponse::default()))
}

/// `GET` and `DELETE /volumes/{name}`
pub async fn none(call: Call) -> Result<Reply, ApiError> {
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        format!("get {}: no such volume", call.key()),
    ))
}
