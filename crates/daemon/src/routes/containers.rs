//! Containers: their life, without the streams.
//!
//! What changes a container runs in a task of its own, so that a client that goes away in the
//! middle leaves no half-made change behind.

use std::future::Future;

use api::container::{
    Config as WireConfig, CreateRequest, CreateResponse, HostConfig as WireHostConfig,
    PruneResponse, TopResponse, UpdateResponse, WaitError, WaitResponse,
};
use api::gojson::{Names, decode, encode_line};
use bytes::Bytes;
use engine::containers::{
    CreateContainer, ListOptions, RemoveOptions, Sizes, StartOptions, StopOptions, TerminalSize,
    WaitCondition,
};
use futures_util::stream;
use hyper::StatusCode;
use spec::ContainerName;

use crate::call::Call;
use crate::convert::{config, container, host_config, networking};
use crate::error::ApiError;
use crate::platform;
use crate::reply::{self, Reply};

/// Runs to its end even if the client goes away.
pub async fn to_the_end<T, F>(work: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: Future<Output = engine::Result<T>> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the request's task ended early",
        )),
    }
}

/// `POST /containers/create`
pub async fn create(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.json_body().await?;
    let mut request = CreateRequest::decode(&body)?;
    if request.config == WireConfig::default() {
        return Err(ApiError::bad_request(
            "config cannot be empty in order to create a container",
        ));
    }
    refuse_wire(&request)?;
    let name = match call.query.text("name") {
        "" => None,
        text => Some(
            text.parse::<ContainerName>()
                .map_err(|_| invalid_name(text))?,
        ),
    };
    let networking = networking::take(&mut request, &call.version)?;
    let create = CreateContainer {
        name,
        platform: platform::from_text(call.query.text("platform"))?,
        config: config::from_wire(request.config),
        host: host_config::from_wire(request.host_config.unwrap_or_default()),
        networks: networking.networks,
    };
    let engine = call.engine();
    let created = to_the_end(async move { engine.containers.create(create).await }).await?;
    let response = CreateResponse {
        id: created.id.to_string(),
        warnings: [created.warnings, networking.warnings].concat(),
    };
    Ok(reply::json(StatusCode::CREATED, &response))
}

/// Refuses what the engine never sees: ports out of grammar, and devices that drivers would add.
fn refuse_wire(request: &CreateRequest) -> Result<(), ApiError> {
    let host = request.host_config.as_ref();
    let exposed = request
        .config
        .exposed_ports
        .iter()
        .flat_map(|ports| ports.keys());
    let published = host.and_then(|h| h.port_bindings.as_ref());
    for port in exposed {
        check_port(port)?;
    }
    for port in published.iter().flat_map(|ports| ports.keys()) {
        check_port(port)?;
        // A range is for the host's side alone.
        let ports = port.split('/').next().unwrap_or(port);
        if ports.contains('-') {
            return Err(ApiError::bad_request(format!(
                "invalid port specification: {ports:?}"
            )));
        }
    }
    for binding in published
        .iter()
        .flat_map(|ports| ports.values())
        .flatten()
        .flatten()
    {
        if !binding.host_port.is_empty() {
            check_port(&binding.host_port)?;
        }
    }
    let wanted = host.and_then(|h| h.device_requests.as_ref());
    if wanted.is_some_and(|list| list.as_array().is_none_or(|l| !l.is_empty())) {
        return Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "device requests (--gpus) are not yet supported by Corten",
        ));
    }
    Ok(())
}

/// Checks `80`, `80/tcp` or a range of ports; the texts are Docker's.
fn check_port(text: &str) -> Result<(), ApiError> {
    let (ports, kind) = text.split_once('/').unwrap_or((text, "tcp"));
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) if from <= to => {}
        _ => {
            return Err(ApiError::bad_request(format!(
                "invalid port specification: {ports:?}"
            )));
        }
    }
    if matches!(kind.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp") {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("invalid proto: {kind}")))
}

fn invalid_name(text: &str) -> ApiError {
    let shown: String = text.chars().take(100).collect();
    ApiError::bad_request(format!(
        "Invalid container name ({shown}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    ))
}

/// `GET /containers/json`
pub async fn list(call: Call) -> Result<Reply, ApiError> {
    let limit = call.query.number("limit")?.filter(|n| *n > 0);
    let mut options = ListOptions {
        all: call.query.flag("all"),
        limit: limit.and_then(|n| usize::try_from(n).ok()),
        sizes: if call.query.flag("size") {
            Sizes::Compute
        } else {
            Sizes::Skip
        },
        filters: call.query.filters()?,
    };
    // The older form of the filters of the same names.
    for name in ["before", "since"] {
        match call.query.text(name) {
            "" => {}
            value => options.filters.add(name, value),
        }
    }
    let listed = call.engine().containers.list(options).await?;
    Ok(reply::ok(
        &listed.iter().map(container::summary).collect::<Vec<_>>(),
    ))
}

/// `GET /containers/{id}/json`
pub async fn inspect(call: Call) -> Result<Reply, ApiError> {
    let sizes = if call.query.flag("size") {
        Sizes::Compute
    } else {
        Sizes::Skip
    };
    let inspected = call.engine().containers.inspect(call.key(), sizes).await?;
    Ok(reply::ok(&container::inspect(&inspected, &call.version)))
}

/// `POST /containers/{id}/start`
pub async fn start(mut call: Call) -> Result<Reply, ApiError> {
    // Some old clients send `{}` or `null`; settings at start are gone since API 1.24.
    if call.has_body() && call.json_body().await?.len() > 7 {
        return Err(ApiError::bad_request(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    let checkpoint = Some(call.query.text("checkpoint").to_owned()).filter(|c| !c.is_empty());
    let (engine, key) = (call.engine(), call.key().to_owned());
    to_the_end(async move {
        engine
            .containers
            .start(&key, StartOptions { checkpoint })
            .await
    })
    .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn stop_options(call: &Call) -> Result<StopOptions, ApiError> {
    let signal = Some(call.query.text("signal").to_owned()).filter(|s| !s.is_empty());
    Ok(StopOptions {
        signal,
        timeout: call.query.number("t")?,
    })
}

/// `POST /containers/{id}/stop`
pub async fn stop(call: Call) -> Result<Reply, ApiError> {
    let options = stop_options(&call)?;
    let (engine, key) = (call.engine(), call.key().to_owned());
    to_the_end(async move { engine.containers.stop(&key, options).await }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/restart`
pub async fn restart(call: Call) -> Result<Reply, ApiError> {
    let options = stop_options(&call)?;
    let (engine, key) = (call.engine(), call.key().to_owned());
    to_the_end(async move { engine.containers.restart(&key, options).await }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/kill`
pub async fn kill(call: Call) -> Result<Reply, ApiError> {
    let signal = Some(call.query.text("signal").to_owned()).filter(|s| !s.is_empty());
    let (engine, key) = (call.engine(), call.key().to_owned());
    if let Err(missing) = engine.containers.get(&key) {
        let missing = ApiError::from(missing);
        let message = format!("cannot kill container: {key}: {}", missing.message);
        return Err(ApiError::new(missing.status, message));
    }
    to_the_end(async move { engine.containers.kill(&key, signal.as_deref()).await }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/pause`
pub async fn pause(call: Call) -> Result<Reply, ApiError> {
    let (engine, key) = (call.engine(), call.key().to_owned());
    to_the_end(async move { engine.containers.pause(&key).await }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/unpause`
pub async fn unpause(call: Call) -> Result<Reply, ApiError> {
    let (engine, key) = (call.engine(), call.key().to_owned());
    to_the_end(async move { engine.containers.unpause(&key).await }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/wait`: the head of the answer says that the wait is registered.
pub async fn wait(call: Call) -> Result<Reply, ApiError> {
    let condition: WaitCondition = call.query.text("condition").parse()?;
    let waiter = call.engine().containers.wait(call.key(), condition).await?;
    let line = stream::once(async move {
        let outcome = waiter.finished().await;
        let response = WaitResponse {
            error: outcome.error.map(|message| WaitError { message }),
            status_code: i64::from(outcome.exit_code),
        };
        Ok(Bytes::from(encode_line(&response)))
    });
    Ok(reply::stream("application/json", line))
}

/// `DELETE /containers/{id}`
pub async fn remove(call: Call) -> Result<Reply, ApiError> {
    let options = RemoveOptions {
        force: call.query.flag("force"),
        volumes: call.query.flag("v"),
        link: call.query.flag("link"),
    };
    let (engine, key) = (call.engine(), call.key().to_owned());
    to_the_end(async move { engine.containers.remove(&key, options).await }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/rename`
pub async fn rename(call: Call) -> Result<Reply, ApiError> {
    let name = call.query.text("name").to_owned();
    if name.is_empty() {
        return Err(ApiError::bad_request(
            "Neither old nor new names may be empty",
        ));
    }
    let (engine, key) = (call.engine(), call.key().to_owned());
    to_the_end(async move { engine.containers.rename(&key, &name).await }).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{id}/update`
pub async fn update(mut call: Call) -> Result<Reply, ApiError> {
    const NAMES: Names = Names {
        whole: "container.UpdateConfig",
        field_root: "UpdateConfig",
    };
    let body = call.optional_json_body().await?;
    let wire: WireHostConfig = match body.is_empty() {
        true => WireHostConfig::default(),
        false => decode(&body, NAMES)?,
    };
    let resources = host_config::resources_from_wire(&wire);
    let policy =
        Some(host_config::policy_from_wire(wire.restart_policy)).filter(|p| !p.name.is_empty());
    let (engine, key) = (call.engine(), call.key().to_owned());
    let warnings =
        to_the_end(async move { engine.containers.update(&key, resources, policy).await }).await?;
    Ok(reply::ok(&UpdateResponse {
        warnings: Some(warnings).filter(|w| !w.is_empty()),
    }))
}

/// The size of a terminal, from `h` and `w`.
pub fn terminal_size(call: &Call) -> Result<TerminalSize, ApiError> {
    let number = |name: &str, what: &str| {
        let text = call.query.text(name);
        text.parse::<u16>().map_err(|_| {
            let is_number = text.parse::<i128>().is_ok();
            let why = if is_number {
                "value out of range"
            } else {
                "invalid syntax"
            };
            ApiError::bad_request(format!("invalid resize {what} {text:?}: {why}"))
        })
    };
    Ok(TerminalSize {
        height: number("h", "height")?,
        width: number("w", "width")?,
    })
}

/// `POST /containers/{id}/resize`
pub async fn resize(call: Call) -> Result<Reply, ApiError> {
    let size = terminal_size(&call)?;
    call.engine().containers.resize(call.key(), size).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /containers/{id}/top`
pub async fn top(call: Call) -> Result<Reply, ApiError> {
    let top = call
        .engine()
        .containers
        .top(call.key(), call.query.text("ps_args"))
        .await?;
    Ok(reply::ok(&TopResponse {
        processes: top.processes,
        titles: top.titles,
    }))
}

/// `POST /containers/prune`
pub async fn prune(call: Call) -> Result<Reply, ApiError> {
    let (engine, filters) = (call.engine(), call.query.filters()?);
    let pruned = to_the_end(async move { engine.containers.prune(&filters).await }).await?;
    let deleted: Vec<String> = pruned.deleted.iter().map(ToString::to_string).collect();
    Ok(reply::ok(&PruneResponse {
        containers_deleted: Some(deleted).filter(|l| !l.is_empty()),
        space_reclaimed: pruned.reclaimed,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_out_of_grammar_are_refused() {
        for good in ["80", "80/tcp", "1000-1010/udp", "53/SCTP"] {
            assert!(check_port(good).is_ok(), "{good}");
        }
        let text = |port: &str| check_port(port).unwrap_err().message;
        assert_eq!(text("x/y"), "invalid port specification: \"x\"");
        assert_eq!(text("99999/tcp"), "invalid port specification: \"99999\"");
        assert_eq!(text("9-8"), "invalid port specification: \"9-8\"");
        assert_eq!(text("80/foo"), "invalid proto: foo");
    }

    #[test]
    fn device_requests_are_refused_unless_empty() {
        let request = |body: &str| CreateRequest::decode(body.as_bytes()).unwrap();
        assert!(refuse_wire(&request(r#"{"HostConfig":{"DeviceRequests":[]}}"#)).is_ok());
        assert!(
            refuse_wire(&request(
                r#"{"HostConfig":{"DeviceRequests":[{"Count":-1}]}}"#
            ))
            .is_err()
        );
        assert!(refuse_wire(&request(r#"{"ExposedPorts":{"x/y":{}}}"#)).is_err());
        assert!(refuse_wire(&request(r#"{"ExposedPorts":{"80-81/tcp":{}}}"#)).is_ok());
        let range = r#"{"HostConfig":{"PortBindings":{"80-81/tcp":[{"HostPort":"80"}]}}}"#;
        assert_eq!(
            refuse_wire(&request(range)).unwrap_err().message,
            "invalid port specification: \"80-81\""
        );
    }
}
