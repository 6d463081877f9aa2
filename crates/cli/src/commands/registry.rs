//! Commands about registries and one's credentials for them.

pub mod direct;
mod login;
mod search;

use api::client::{Request, Response};

use super::FILTER;
use crate::app::App;
use crate::auth;
use crate::exit::Failure;
use crate::flags::{Flag, Parsed};
use crate::tree::{Arity, Command};

/// `login`
pub const LOGIN: Command = Command::new(
    "login [OPTIONS] [SERVER]",
    "login",
    "Authenticate to a registry",
    login::login,
)
.long("Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.")
.flags(&[
    Flag::string("password", 'p', "Password or Personal Access Token (PAT)"),
    Flag::bool(
        "password-stdin",
        '\0',
        "Take the Password or Personal Access Token (PAT) from stdin",
    ),
    Flag::string("username", 'u', "Username"),
])
.arity(Arity::AtMost(1));

/// `logout`
pub const LOGOUT: Command = Command::new(
    "logout [SERVER]",
    "logout",
    "Log out from a registry",
    login::logout,
)
.long("Log out from a registry.\nIf no server is specified, the default is defined by the daemon.")
.arity(Arity::AtMost(1));

/// `search`
pub const SEARCH: Command = Command::new(
    "search [OPTIONS] TERM",
    "search",
    "Search Docker Hub for images",
    search::run,
)
.flags(&[
    Flag::of(
        "filter",
        'f',
        FILTER,
        "Filter output based on conditions provided",
    ),
    Flag::string("format", '\0', "Pretty-print search using a Go template"),
    Flag::int("limit", '\0', "Max number of search results"),
    Flag::bool("no-trunc", '\0', "Don't truncate output"),
])
.arity(Arity::Exact(1));

/// Sends a request with the credentials for a registry; where the daemon says that they do not
/// do, asks for others once.
pub async fn with_login(
    app: &App,
    doing: &str,
    domain: &str,
    request: &dyn Fn() -> Request,
) -> Result<Response, Failure> {
    let key = auth::key(domain);
    // A helper that fails is as good as no credentials: the registry may not ask for any.
    let known = auth::store(&app.config, key).get().auth;
    let send = |auth: &auth::Auth| {
        let request = request().header("x-registry-auth", &auth.header());
        app.client.send(request)
    };
    match send(&known).await {
        Err(error) if error.status() == Some(401) => {}
        other => return Ok(other?),
    }
    app.line(format!("\nLogin prior to {doing}:"))?;
    let server = if key == auth::HUB {
        key
    } else {
        auth::hostname(key)
    };
    let found = auth::store(&app.config, server).get();
    if let Some(error) = found.error {
        app.warn(format!(
            "Unable to retrieve stored credentials for {server}, error: {error}."
        ));
    }
    let asked = login::ask(app, "", "", &found.auth.username, server).await?;
    Ok(send(&asked).await?)
}

/// Refuses what asks for signed images.
pub fn trusted(flags: &Parsed) -> Result<(), Failure> {
    let wanted = match flags.changed("disable-content-trust") {
        true => !flags.bool("disable-content-trust"),
        false => std::env::var("DOCKER_CONTENT_TRUST")
            .is_ok_and(|value| crate::flags::parse_bool(&value).unwrap_or(false)),
    };
    match wanted {
        true => Err(Failure::new(
            "content trust (signed images of a Notary server) is not supported by Corten",
        )),
        false => Ok(()),
    }
}
