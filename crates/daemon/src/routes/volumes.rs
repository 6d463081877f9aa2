//! Volumes.

use api::volume::{VolumeCreateRequest, VolumeList, VolumePruneResponse};
use engine::volumes::CreateVolume;
use hyper::StatusCode;

use crate::call::Call;
use crate::convert::volume;
use crate::error::ApiError;
use crate::progress;
use crate::reply::{self, Reply};

/// `GET /volumes`
pub async fn list(call: Call) -> Result<Reply, ApiError> {
    let filters = call.query.filters()?;
    let (volumes, warnings) = call.engine().volumes.list(&filters).await?;
    Ok(reply::ok(&VolumeList {
        volumes: volumes.iter().map(volume::to_wire).collect(),
        warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
    }))
}

/// `GET /volumes/{name}`
pub async fn inspect(call: Call) -> Result<Reply, ApiError> {
    let found = call.engine().volumes.inspect(call.key()).await?;
    Ok(reply::ok(&volume::to_wire(&found)))
}

/// `POST /volumes/create`
pub async fn create(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.json_body().await?;
    let request = VolumeCreateRequest::decode(&body)?;
    if request.cluster_volume_spec.is_some() {
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        ));
    }
    let made = call
        .engine()
        .volumes
        .create(CreateVolume {
            name: request.name,
            driver: request.driver,
            options: request.driver_opts,
            labels: request.labels.unwrap_or_default(),
        })
        .await?;
    Ok(reply::json(StatusCode::CREATED, &volume::to_wire(&made)))
}

/// `PUT /volumes/{name}`: only a cluster's volumes have settings that change.
pub async fn update(_call: Call) -> Result<Reply, ApiError> {
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    ))
}

/// `DELETE /volumes/{name}`
pub async fn remove(call: Call) -> Result<Reply, ApiError> {
    let force = call.query.flag("force");
    call.engine().volumes.remove(call.key(), force).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /volumes/prune`; before API 1.42 named volumes went too. `dry-run` removes nothing.
pub async fn prune(call: Call) -> Result<Reply, ApiError> {
    let mut filters = call.query.filters()?;
    if !call.at_least("1.42") && filters.get("all").is_none() {
        filters.add("all", "true");
    }
    let volumes = call.engine().volumes;
    let (volumes_deleted, space_reclaimed) = if call.query.flag("dry-run") {
        let doomed = volumes.prunable(&filters)?;
        let names = doomed.iter().map(|volume| volume.name.to_string());
        (names.collect(), 0)
    } else {
        let pruned = volumes.prune(&filters).await?;
        (pruned.deleted, pruned.reclaimed)
    };
    Ok(reply::ok(&VolumePruneResponse {
        volumes_deleted,
        space_reclaimed,
    }))
}

/// `POST /volumes/{name}/rename?name=`: beyond Docker.
pub async fn rename(call: Call) -> Result<Reply, ApiError> {
    let new = call.query.text("name");
    let renamed = call.engine().volumes.rename(call.key(), new).await?;
    Ok(reply::ok(&volume::to_wire(&renamed)))
}

/// `POST /volumes/{name}/clone?name=`: beyond Docker.
pub async fn duplicate(call: Call) -> Result<Reply, ApiError> {
    let new = call.query.text("name");
    let made = call.engine().volumes.duplicate(call.key(), new).await?;
    Ok(reply::json(StatusCode::CREATED, &volume::to_wire(&made)))
}

/// `GET /volumes/{name}/export`: beyond Docker.
pub async fn export(call: Call) -> Result<Reply, ApiError> {
    let archive = call.engine().volumes.export(call.key()).await?;
    progress::archive("application/x-tar", archive).await
}

/// `POST /volumes/{name}/import`: beyond Docker. The volume is made, or there and empty.
pub async fn import(call: Call) -> Result<Reply, ApiError> {
    let (volumes, name) = (call.engine().volumes, call.key().to_owned());
    let filled = volumes.import(&name, call.upload()).await?;
    Ok(reply::json(StatusCode::CREATED, &volume::to_wire(&filled)))
}

/// `POST /volumes/{name}/protect`: beyond Docker.
pub async fn protect(call: Call) -> Result<Reply, ApiError> {
    let kept = call.engine().volumes.protect(call.key(), true).await?;
    Ok(reply::ok(&volume::to_wire(&kept)))
}

/// `POST /volumes/{name}/unprotect`: beyond Docker.
pub async fn unprotect(call: Call) -> Result<Reply, ApiError> {
    let kept = call.engine().volumes.protect(call.key(), false).await?;
    Ok(reply::ok(&volume::to_wire(&kept)))
}
