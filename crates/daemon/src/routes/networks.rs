//! Networks.

use api::network::NetworkPruneResponse;

use crate::call::Call;
use crate::convert::network;
use crate::error::ApiError;
use crate::reply::{self, Reply};

/// `GET /networks`
pub async fn list(call: Call) -> Result<Reply, ApiError> {
    let filters = call.query.filters()?;
    filters.only(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let networks = call.engine().networks.list(&filters).await?;
    Ok(reply::ok(
        &networks.iter().map(network::to_wire).collect::<Vec<_>>(),
    ))
}

/// `GET /networks/{id}`
pub async fn inspect(call: Call) -> Result<Reply, ApiError> {
    let view = call.engine().networks.inspect(call.key()).await?;
    Ok(reply::ok(&network::to_wire(&view)))
}

/// `POST /networks/prune`: the three networks that exist are never removed.
pub async fn prune(call: Call) -> Result<Reply, ApiError> {
    call.query.filters()?.only(&["label", "label!", "until"])?;
    Ok(reply::ok(&NetworkPruneResponse::default()))
}
