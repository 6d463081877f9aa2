//! Networks.

use api::network::{
    ConnectRequest, DisconnectRequest, NetworkCreateRequest, NetworkCreateResponse,
    NetworkPruneResponse,
};
use engine::networks::InspectNetwork;
use hyper::StatusCode;

use crate::call::Call;
use crate::convert::network;
use crate::error::ApiError;
use crate::reply::{self, Reply};
use crate::routes::containers::to_the_end;

/// `GET /networks`; before API 1.28 lists had the containers too.
pub async fn list(call: Call) -> Result<Reply, ApiError> {
    let networks = call.engine().networks;
    let mut found = networks.list(&call.query.filters()?).await?;
    if !call.at_least("1.28") {
        for view in &mut found {
            *view = networks
                .inspect(&view.id, &InspectNetwork::default())
                .await?;
        }
    }
    Ok(reply::ok(
        &found.iter().map(network::to_wire).collect::<Vec<_>>(),
    ))
}

/// `GET /networks/{id}`
pub async fn inspect(call: Call) -> Result<Reply, ApiError> {
    let options = InspectNetwork {
        verbose: verbose(call.query.text("verbose"))?,
        scope: call.query.text("scope").to_owned(),
    };
    let view = call.engine().networks.inspect(call.key(), &options).await?;
    Ok(reply::ok(&network::to_wire(&view)))
}

/// Go's boolean, which is stricter than Docker's.
fn verbose(text: &str) -> Result<bool, ApiError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ApiError::bad_request(format!(
            "invalid value for verbose: {text}: strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

/// `POST /networks/create`
pub async fn create(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.optional_json_body().await?;
    let mut request = NetworkCreateRequest::decode(&body)?;
    if !call.at_least("1.48") {
        request.enable_ipv4 = None;
    }
    let (networks, wanted) = (call.engine().networks, network::create_from_wire(request));
    let made = to_the_end(async move { networks.create(wanted).await }).await?;
    let response = NetworkCreateResponse {
        id: made.id,
        warning: made.warning,
    };
    Ok(reply::json(StatusCode::CREATED, &response))
}

/// `DELETE /networks/{id}`
pub async fn remove(call: Call) -> Result<Reply, ApiError> {
    let (networks, key) = (call.engine().networks, call.key().to_owned());
    to_the_end(async move { networks.remove(&key).await }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /networks/{id}/connect`
pub async fn connect(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.optional_json_body().await?;
    let request = ConnectRequest::decode(&body)?;
    let endpoint = network::endpoint_from_wire(request.endpoint_config.unwrap_or_default());
    let (networks, key) = (call.engine().networks, call.key().to_owned());
    to_the_end(async move { networks.connect(&key, &request.container, endpoint).await }).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/{id}/disconnect`
pub async fn disconnect(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.optional_json_body().await?;
    let request = DisconnectRequest::decode(&body)?;
    let (networks, key) = (call.engine().networks, call.key().to_owned());
    to_the_end(async move {
        networks
            .disconnect(&key, &request.container, request.force)
            .await
    })
    .await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/prune`
pub async fn prune(call: Call) -> Result<Reply, ApiError> {
    let (networks, filters) = (call.engine().networks, call.query.filters()?);
    let gone = to_the_end(async move { networks.prune(&filters).await }).await?;
    Ok(reply::ok(&NetworkPruneResponse {
        networks_deleted: Some(gone).filter(|names| !names.is_empty()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbose_is_gos_boolean() {
        for (text, want) in [("", false), ("1", true), ("true", true), ("F", false)] {
            assert_eq!(verbose(text), Ok(want), "{text}");
        }
        assert_eq!(
            verbose("yes").unwrap_err().message,
            "invalid value for verbose: yes: strconv.ParseBool: parsing \"yes\": invalid syntax"
        );
    }
}
