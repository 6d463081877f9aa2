//! Routes of Docker's API that are known and not there: a clear answer instead of a silent 404.

use hyper::StatusCode;

use crate::call::Call;
use crate::error::ApiError;
use crate::reply::{self, Reply};
use crate::router::split_version;
use crate::routes::find;

/// Names the route.
pub async fn route(call: Call) -> Result<Reply, ApiError> {
    let method = call.request.method();
    let path = split_version(call.request.uri().path()).1;
    let pattern = find(method, path).map_or(path, |(route, _)| route.pattern);
    Err(ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        format!("{method} {pattern} is not yet supported by Corten"),
    ))
}

/// Like [`route`], but a container that does not exist is told first.
pub async fn container(call: Call) -> Result<Reply, ApiError> {
    call.context.engine.containers.get(call.key())?;
    route(call).await
}

/// Docker's answer where no cluster was made.
pub async fn swarm(_: Call) -> Result<Reply, ApiError> {
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
         node to swarm and try again.",
    ))
}

/// No plugin exists; clients that look a name up in every kind of object ask here last.
pub async fn no_plugin(call: Call) -> Result<Reply, ApiError> {
    let name = call.key();
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        format!("plugin \"{name}\" not found"),
    ))
}

/// A list of things that cannot exist here.
pub async fn empty_list(_: Call) -> Result<Reply, ApiError> {
    Ok(reply::ok::<[(); 0]>(&[]))
}
