//! Images.

use api::image::{DeleteItem, PruneResponse};
use api::system::BuildPruneResponse;
use engine::images::{InspectImage, ListImages, ManifestsWanted, RemoveImage};
use hyper::StatusCode;

use crate::call::Call;
use crate::convert::image::{self, Shape};
use crate::error::ApiError;
use crate::platform;
use crate::reply::{self, Reply};
use crate::routes::containers::to_the_end;
use crate::routes::transfer::repository_and_tag;

/// A repository of this name could be taken for the beginning of an id.
const DIGEST_ALGORITHM: &str = "sha256";

/// `GET /images/json`
pub async fn list(call: Call) -> Result<Reply, ApiError> {
    let mut filters = call.query.filters()?;
    let pattern = call.query.text("filter");
    if !call.at_least("1.41") && !pattern.is_empty() {
        filters.add("reference", pattern);
    }
    let options = ListImages {
        all: call.query.flag("all"),
        shared_size: call.at_least("1.42") && call.query.flag("shared-size"),
        filters,
        manifests: manifests(&call, "1.47"),
    };
    let images = call.engine().images.list(options).await?;
    let shape = Shape::of(&call.version);
    let lines: Vec<_> = images.iter().map(|i| image::summary(i, shape)).collect();
    Ok(reply::ok(&lines))
}

fn manifests(call: &Call, since: &str) -> ManifestsWanted {
    match call.at_least(since) && call.query.flag("manifests") {
        true => ManifestsWanted::Yes,
        false => ManifestsWanted::No,
    }
}

/// The platform wanted, which is a parameter since some version.
fn platform_since(call: &Call, since: &str) -> Result<Option<spec::Platform>, ApiError> {
    match call.at_least(since) {
        true => platform::from_json(call.query.text("platform")),
        false => Ok(None),
    }
}

/// `GET /images/{name}/json`
pub async fn inspect(call: Call) -> Result<Reply, ApiError> {
    let options = InspectImage {
        manifests: manifests(&call, "1.48"),
        platform: platform_since(&call, "1.49")?,
    };
    if options.manifests == ManifestsWanted::Yes && options.platform.is_some() {
        return Err(ApiError::bad_request(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let images = &call.context.engine.images;
    let view = images.inspect(call.key(), options).await?;
    Ok(reply::ok(&image::inspect(&view, Shape::of(&call.version))))
}

/// `GET /images/{name}/history`
pub async fn history(call: Call) -> Result<Reply, ApiError> {
    let platform = platform_since(&call, "1.48")?;
    let images = &call.context.engine.images;
    let steps = images.history(call.key(), platform.as_ref()).await?;
    Ok(reply::ok(
        &steps.iter().map(image::history).collect::<Vec<_>>(),
    ))
}

/// `POST /images/{name}/tag`
pub async fn tag(call: Call) -> Result<Reply, ApiError> {
    let name = repository_and_tag(call.query.text("repo"), call.query.text("tag"))?
        .ok_or_else(|| ApiError::bad_request("invalid reference format"))?;
    let repository = name.familiar_repository();
    if repository == DIGEST_ALGORITHM {
        return Err(ApiError::bad_request(
            "refusing to create an ambiguous tag using digest algorithm as name",
        ));
    }
    let tag = name.tag().unwrap_or_default().to_owned();
    let (engine, key) = (call.engine(), call.key().to_owned());
    to_the_end(async move { engine.images.tag(&key, &repository, &tag).await }).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

/// `DELETE /images/{name}`
pub async fn remove(call: Call) -> Result<Reply, ApiError> {
    let options = RemoveImage {
        force: call.query.flag("force"),
        no_prune: call.query.flag("noprune"),
        platforms: match call.at_least("1.50") {
            true => platform::list_from_json(call.query.all("platforms"))?,
            false => Vec::new(),
        },
    };
    if call.key().trim().is_empty() {
        return Err(ApiError::bad_request("image name cannot be blank"));
    }
    let (engine, key) = (call.engine(), call.key().to_owned());
    let removed = to_the_end(async move { engine.images.remove(&key, options).await }).await?;
    Ok(reply::ok(
        &removed.iter().map(image::removal).collect::<Vec<_>>(),
    ))
}

/// `POST /images/prune`; `dry-run` is Corten's own.
pub async fn prune(call: Call) -> Result<Reply, ApiError> {
    let (engine, filters) = (call.engine(), call.query.filters()?);
    let pruned = if call.query.flag("dry-run") {
        engine.images.plan_prune(&filters).await?
    } else {
        to_the_end(async move { engine.images.prune(&filters).await }).await?
    };
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
