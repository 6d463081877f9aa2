//! `create`, and the making of a container that `run` shares with it.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use api::client::{ClientError, Query, Request, compare_versions};
use serde_json::Value;
use spec::Reference;

use crate::app::App;
use crate::commands::image;
use crate::config::go_text;
use crate::exit::{ENGINE, Failure, with_help};
use crate::flags::Parsed;
use crate::options::create::{Create, read};
use crate::output::{list, text};
use crate::platform::{self, Platform};
use crate::terminal;
use crate::tree::Run;

/// Daemons before this know one MAC address for the whole container.
const ENDPOINT_MAC_SINCE: &str = "1.44";

/// Reads the flags, with the failure that Docker gives for bad ones.
pub(super) fn wanted(app: &App, flags: &Parsed, command: &str) -> Result<Create, Failure> {
    let failed = |text: String| Failure::with_code(with_help(&app.program, &text, command), ENGINE);
    let pull = flags.str("pull");
    if !matches!(pull, "always" | "missing" | "never" | "") {
        return Err(failed(format!(
            "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
        )));
    }
    if flags.bool("use-api-socket") {
        return Err(failed(
            "--use-api-socket is not yet supported by Corten".to_owned(),
        ));
    }
    if flags.changed("kernel-memory") {
        app.warn("Flag --kernel-memory has been deprecated, and no longer supported by the kernel");
    }
    let proxies = app.config.proxies(&app.client.endpoint().to_string());
    read(flags, &proxies).map_err(failed)
}

/// Makes a container and returns its id: pulls the image when it is missing, writes the file of
/// the id, and passes the daemon's warnings on.
pub(super) async fn make(
    app: &App,
    flags: &Parsed,
    create: &mut Create,
) -> Result<String, Failure> {
    let id_file = IdFile::open(flags.str("cidfile"))?;
    let by_id = create.image.len() == 64 && create.image.bytes().all(|b| b.is_ascii_hexdigit());
    let is_digest = create.image.starts_with("sha256:");
    let reference = match create.image.parse::<Reference>() {
        Ok(reference) => Some(reference),
        Err(_) if by_id || is_digest => None,
        Err(error) => return Err(Failure::new(error.to_string())),
    };
    let quiet = flags.bool("quiet");
    let platform = platform::wanted(flags);
    let runs_on = match platform.as_str() {
        "" => String::new(),
        text => Platform::parse(text)
            .map_err(|why| Failure::new(format!("error parsing specified platform: {why}")))?
            .path(),
    };
    if let (Some(reference), "always") = (&reference, flags.str("pull")) {
        image::pull_for_create(app, reference, &platform, quiet).await?;
    }
    if let Some((width, height)) = terminal::size(std::io::stdout()) {
        create.body["HostConfig"]["ConsoleSize"] = serde_json::json!([height, width]);
    }
    app.client.negotiate().await?;
    if compare_versions(app.client.version(), ENDPOINT_MAC_SINCE).is_ge()
        && let Some(body) = create.body.as_object_mut()
    {
        body.remove("MacAddress");
    }
    let mut query = Query::new();
    query.add_some("name", flags.str("name"));
    query.add_some("platform", runs_on);
    let request = || {
        Request::post("/containers/create")
            .query(&query)
            .json(&create.body)
    };
    let answer = match (app.client.json(request()).await, &reference) {
        (Err(error), Some(reference)) if error.is_not_found() && flags.str("pull") == "missing" => {
            if !quiet {
                app.warn(format!(
                    "Unable to find image '{}' locally",
                    reference.familiar()
                ));
            }
            image::pull_for_create(app, reference, &platform, quiet).await?;
            app.client.json(request()).await?
        }
        (other, _) => other?,
    };
    for warning in list(&answer, "Warnings").iter().filter_map(Value::as_str) {
        app.warn(format!("WARNING: {warning}"));
    }
    for server in flags.list("dns") {
        if server
            .trim()
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
        {
            app.warn(format!(
                "WARNING: Localhost DNS ({}) may fail in containers.",
                server.trim()
            ));
        }
    }
    let id = text(&answer, "Id").to_owned();
    id_file.write(&id)?;
    Ok(id)
}

/// The file that gets the id: made before the container, gone when there is none.
struct IdFile<'p>(Option<(&'p Path, fs::File)>);

impl<'p> IdFile<'p> {
    fn open(path: &'p str) -> Result<Self, Failure> {
        if path.is_empty() {
            return Ok(Self(None));
        }
        if Path::new(path).exists() {
            return Err(Failure::new(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        let file = fs::File::create(path).map_err(|error| {
            Failure::new(format!(
                "failed to create the container ID file: open {path}: {}",
                go_text(&error)
            ))
        })?;
        Ok(Self(Some((Path::new(path), file))))
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        if let Some((_, mut file)) = self.0.take() {
            file.write_all(id.as_bytes()).map_err(|error| {
                Failure::new(format!(
                    "failed to write the container ID to the file: {error}"
                ))
            })?;
        }
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// `create`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut create = wanted(app, &flags, "create")?;
        let id = make(app, &flags, &mut create).await?;
        app.line(id)
    })
}

/// Starts a container.
pub(super) async fn start(app: &App, id: &str) -> Result<(), ClientError> {
    let path = format!("/containers/{}/start", api::client::escape(id));
    app.client.send(Request::post(path)).await.map(drop)
}
