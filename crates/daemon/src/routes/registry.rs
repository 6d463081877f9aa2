//! Registries: login, search, and what a name stands for there.

use api::auth::AuthConfig;
use api::registry::LoginResponse;
use engine::images::SearchRequest;
use hyper::StatusCode;

use crate::call::Call;
use crate::convert::registry;
use crate::error::ApiError;
use crate::reply::{self, Reply};

/// `POST /auth`
pub async fn login(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.whole_body().await?;
    // Docker does not class what is wrong with this body.
    let auth = AuthConfig::from_body(&body).map_err(|error| {
        let why = match error.to_string().strip_prefix("invalid JSON: ") {
            Some(why) if why.starts_with("got EOF") => "EOF".to_owned(),
            Some(why) => why.to_owned(),
            None => error.to_string(),
        };
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    })?;
    let status = call.engine().images.login(registry::auth(auth)).await?;
    Ok(reply::ok(&LoginResponse {
        identity_token: status.identity_token,
        status: status.status,
    }))
}

/// `GET /images/search`
pub async fn search(call: Call) -> Result<Reply, ApiError> {
    let limit = match call.query.text("limit") {
        "" => None,
        text => {
            let limit: i64 = text.parse().map_err(|_| {
                ApiError::bad_request(format!(
                    "invalid limit specified: strconv.Atoi: parsing {text:?}: invalid syntax"
                ))
            })?;
            Some(limit).filter(|n| *n != 0)
        }
    };
    if let Some(limit) = limit.filter(|n| !(1..=100).contains(n)) {
        return Err(ApiError::bad_request(format!(
            "limit {limit} is outside the range of [1, 100]"
        )));
    }
    let request = SearchRequest {
        term: call.query.text("term").to_owned(),
        limit: limit.and_then(|n| u32::try_from(n).ok()),
        filters: call.query.filters()?,
        auth: call.registry_auth(),
        headers: call.meta_headers(),
    };
    let found = call.engine().images.search(request).await?;
    Ok(reply::ok(
        &found
            .iter()
            .map(registry::search_result)
            .collect::<Vec<_>>(),
    ))
}

/// `GET /distribution/{name}/json`
pub async fn distribution(call: Call) -> Result<Reply, ApiError> {
    let key = call.key();
    let digits = key.strip_prefix("sha256:").unwrap_or(key);
    if digits.len() == 64
        && digits
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "no manifest found for full image ID",
        ));
    }
    let images = &call.context.engine.images;
    let found = images
        .distribution(call.key(), call.registry_auth())
        .await?;
    Ok(reply::ok(&registry::distribution(&found)))
}
