//! Execs.

use api::exec::{ExecCreateRequest, ExecInspect, ExecStartRequest, IdResponse, ProcessConfig};
use engine::execs::{ExecConfig, ExecStart};
use hyper::StatusCode;

use crate::call::Call;
use crate::error::ApiError;
use crate::hijack::{self, Flow, frame};
use crate::reply::{self, Reply};
use crate::routes::containers::{terminal_size, to_the_end};

/// `POST /containers/{id}/exec`
pub async fn create(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.optional_json_body().await?;
    let request = match body.is_empty() {
        true => ExecCreateRequest::default(),
        false => ExecCreateRequest::decode(&body)?,
    };
    let cmd = request.cmd.map(|list| list.0).unwrap_or_default();
    if cmd.is_empty() {
        return Err(ApiError::bad_request("No exec command specified"));
    }
    let config = ExecConfig {
        cmd,
        env: request.env.unwrap_or_default(),
        working_dir: request.working_dir,
        user: request.user,
        tty: request.tty,
        privileged: request.privileged,
        attach_stdin: request.attach_stdin,
        attach_stdout: request.attach_stdout,
        attach_stderr: request.attach_stderr,
        detach_keys: Some(request.detach_keys).filter(|k| !k.is_empty()),
        console_size: request.console_size.filter(|s| *s != [0, 0]),
    };
    let (engine, key) = (call.engine(), call.key().to_owned());
    let id = to_the_end(async move { engine.execs.create(&key, config).await }).await?;
    Ok(reply::json(
        StatusCode::CREATED,
        &IdResponse { id: id.to_string() },
    ))
}

/// `POST /exec/{id}/start`
pub async fn start(mut call: Call) -> Result<Reply, ApiError> {
    let body = call.optional_json_body().await?;
    let request = ExecStartRequest::decode(&body)?;
    let options = ExecStart {
        detach: request.detach,
        tty: request.tty,
        console_size: request.console_size.filter(|s| *s != [0, 0]),
    };
    let (engine, key) = (call.engine(), call.key().to_owned());
    engine.execs.startable(&key)?;
    if request.detach {
        to_the_end(async move { engine.execs.start(&key, options).await }).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    let tty = request.tty;
    let flow = Flow::later(async move {
        match engine.execs.start(&key, options).await {
            Ok(Some(attached)) => Flow::Attached(Box::new(attached)),
            Ok(None) => Flow::Text(Vec::new()),
            // The answer has begun: what went wrong can only be told on the stream.
            Err(error) => {
                let text = format!("{}\r\n", spec::error::chain(&error));
                Flow::Text(if tty {
                    text.into_bytes()
                } else {
                    frame(1, text.as_bytes())
                })
            }
        }
    });
    Ok(hijack::answer(call, flow, tty).await)
}

/// `POST /exec/{id}/resize`
pub async fn resize(call: Call) -> Result<Reply, ApiError> {
    let size = terminal_size(&call)?;
    call.engine().execs.resize(call.key(), size).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /exec/{id}/json`
pub async fn inspect(call: Call) -> Result<Reply, ApiError> {
    let view = call.engine().execs.inspect(call.key())?;
    let (program, arguments) = view
        .config
        .cmd
        .split_first()
        .map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    Ok(reply::ok(&ExecInspect {
        id: view.id.to_string(),
        running: view.running,
        exit_code: view.exit_code,
        process_config: ProcessConfig {
            tty: view.config.tty,
            entrypoint: program.to_owned(),
            arguments: arguments.to_vec(),
            privileged: Some(view.config.privileged),
            user: view.config.user.clone(),
        },
        open_stdin: view.open_stdin,
        open_stderr: view.config.attach_stderr,
        open_stdout: view.config.attach_stdout,
        can_remove: view.can_remove,
        container_id: view.container.to_string(),
        detach_keys: view.config.detach_keys.clone().unwrap_or_default(),
        pid: view.pid,
    }))
}
