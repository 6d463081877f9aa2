//! `login` and `logout`

use std::io::{self, Read};

use api::client::{ClientError, Request};

use super::direct;
use crate::app::{App, is_terminal};
use crate::auth::{self, Auth, HUB, hostname};
use crate::config::go_text;
use crate::exit::Failure;
use crate::flags::{Parsed, parse_bool};
use crate::note;
use crate::output::text;
use crate::prompt;
use crate::terminal::Silent;
use crate::tree::Run;

const REGISTER: &str = "Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.";
const TOKENS: &str = "You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT grants better security and is required for organizations using SSO. Learn more at https://docs.docker.com/go/access-tokens/\n";
const NO_WEB: &str =
    "Web-based login is not supported by Corten - falling back to command line login...\n";
/// The names under which Docker's web-based login keeps its tokens.
const WEB_TOKENS: [&str; 2] = ["access-token", "refresh-token"];

/// The most that is read of a password.
const MAX_PASSWORD: u64 = 1 << 20;

/// `login`
pub(super) fn login(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        check(&flags)?;
        let user = flags.str("username");
        let password = given_password(app, &flags)?;
        let given = flags.args.first().map_or("", String::as_str);
        let server = match given {
            "" | "docker.io" | HUB => HUB,
            other => hostname(other),
        };
        let mut known = Auth::default();
        if user.is_empty() && password.is_empty() {
            let found = auth::store(&app.config, server).get();
            let usable = found.error.is_none()
                && !found.auth.username.is_empty()
                && !found.auth.password.is_empty();
            known = found.auth;
            if usable && let Some(status) = with_known(app, &known, server).await? {
                return show(app, &status);
            }
        }
        if (user.is_empty() || password.is_empty()) && !is_terminal(io::stdin()) {
            return Err(Failure::new(
                "Error: Cannot perform an interactive login from a non TTY device",
            ));
        }
        if server == HUB && user.is_empty() && password.is_empty() && !web_is_off() {
            app.warn(NO_WEB);
        }
        let auth = ask(app, user, &password, &known.username, server).await?;
        let status = log_in(app, auth).await?;
        show(app, &status)
    })
}

fn check(flags: &Parsed) -> Result<(), Failure> {
    let wrong = |text: &str| Err(Failure::new(text));
    if flags.changed("password-stdin") {
        if flags.changed("password") {
            return wrong(
                "conflicting options: cannot specify both --password and --password-stdin",
            );
        }
        if !flags.changed("username") {
            return wrong("the --password-stdin option requires --username to be set");
        }
    }
    if flags.changed("username") && flags.str("username").is_empty() {
        return wrong("username is empty");
    }
    if flags.changed("password") && flags.str("password").is_empty() {
        return wrong("password is empty");
    }
    Ok(())
}

fn given_password(app: &App, flags: &Parsed) -> Result<String, Failure> {
    let given = flags.str("password");
    if !given.is_empty() {
        app.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if !flags.bool("password-stdin") {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn show(app: &App, status: &str) -> Result<(), Failure> {
    match status {
        "" => Ok(()),
        status => app.line(status),
    }
}

fn web_is_off() -> bool {
    std::env::var("DOCKER_CLI_DISABLE_OAUTH_LOGIN")
        .is_ok_and(|value| parse_bool(&value).unwrap_or(false))
}

// Tries what is kept already; `None` when it does not do any more.
async fn with_known(app: &App, known: &Auth, server: &str) -> Result<Option<String>, Failure> {
    app.warn(format!(
        "Authenticating with existing credentials... [Username: {}]",
        known.username
    ));
    note::warn(&format!(
        "To login with a different account, run '{0} logout' followed by '{0} login'",
        app.program
    ));
    app.warn("\n");
    let auth = Auth {
        server: server.to_owned(),
        identity_token: String::new(),
        ..known.clone()
    };
    match authenticate(app, &auth).await {
        Ok(answer) => Ok(Some(keep(app, auth, answer)?)),
        Err(error) => {
            match error.status() {
                Some(401) => app.warn("Stored credentials invalid or expired"),
                _ => app.warn(format!("Login did not succeed, error: {error}")),
            }
            Ok(None)
        }
    }
}

struct Answer {
    status: String,
    token: String,
}

async fn authenticate(app: &App, auth: &Auth) -> Result<Answer, ClientError> {
    let request = Request::post("/auth").json(&auth.json());
    let answer = app.client.json(request).await?;
    Ok(Answer {
        status: text(&answer, "Status").to_owned(),
        token: text(&answer, "IdentityToken").to_owned(),
    })
}

async fn log_in(app: &App, auth: Auth) -> Result<String, Failure> {
    let answer = match authenticate(app, &auth).await {
        // Credentials can be kept before there is a daemon.
        Err(error) if error.is_connect() => {
            let (status, token) = direct::log_in(&auth).await?;
            Answer { status, token }
        }
        answer => answer?,
    };
    keep(app, auth, answer)
}

// A token that the registry gave is kept instead of the password.
fn keep(app: &App, mut auth: Auth, answer: Answer) -> Result<String, Failure> {
    if !answer.token.is_empty() {
        auth.password.clear();
        auth.identity_token = answer.token;
    }
    auth::store(&app.config, &auth.server)
        .put(&auth)
        .map_err(|error| Failure::new(format!("Error saving credentials: {error}")))?;
    Ok(answer.status)
}

/// Asks for the name and the password that are not given.
pub(super) async fn ask(
    app: &App,
    user: &str,
    password: &str,
    known_user: &str,
    server: &str,
) -> Result<Auth, Failure> {
    let mut user = user.trim().to_owned();
    if user.is_empty() {
        if server == HUB {
            app.line(REGISTER)?;
            if hints() {
                app.line(TOKENS)?;
            }
        }
        let known_user = known_user.trim();
        let message = match known_user {
            "" => "Username: ".to_owned(),
            name => format!("Username ({name}): "),
        };
        user = prompt::line(app, &message).await?;
        if user.is_empty() {
            user = known_user.to_owned();
        }
        if user.is_empty() {
            return Err(Failure::new("Error: Non-null Username Required"));
        }
    }
    let mut password = password.trim().to_owned();
    if password.is_empty() {
        let hidden = Silent::enter().map_err(|error| Failure::new(go_text(&error)))?;
        if server == HUB {
            let address = note::UNDERLINE.on("https://app.docker.com/settings");
            note::warn(&format!(
                "A Personal Access Token (PAT) can be used instead.\nTo create a PAT, visit {address}\n\n"
            ));
        }
        let asked = prompt::line(app, "Password: ").await;
        drop(hidden);
        password = asked?;
        app.line("")?;
        if password.is_empty() {
            return Err(Failure::new("Error: Password Required"));
        }
    }
    Ok(Auth {
        username: user,
        password,
        server: server.to_owned(),
        ..Auth::default()
    })
}

fn hints() -> bool {
    std::env::var("DOCKER_CLI_HINTS").map_or(true, |value| parse_bool(&value).unwrap_or(true))
}

/// `logout`
pub(super) fn logout(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let given = flags.args.first().map_or("", String::as_str);
        let (shown, mut names) = match given {
            "" => (HUB, vec![HUB.to_owned()]),
            given => {
                let host = hostname(given);
                // The same registry may have been kept under older spellings.
                let mut names = vec![given.to_owned()];
                names.extend(["", "http://", "https://"].map(|scheme| format!("{scheme}{host}")));
                names.sort();
                names.dedup();
                (host, names)
            }
        };
        if given.is_empty() {
            for kind in WEB_TOKENS {
                let name = format!("{HUB}{kind}");
                if app.config.auths().any(|(known, _)| *known == name) {
                    names.push(name);
                }
            }
        }
        app.line(format!("Removing login credentials for {shown}"))?;
        let count = names.len();
        let errors: Vec<String> = names
            .into_iter()
            .filter_map(|name| {
                let error = auth::store(&app.config, &name).erase().err()?;
                Some(format!("{name}: {error}"))
            })
            .collect();
        if errors.len() == count {
            app.warn("WARNING: could not erase credentials:");
            app.warn(errors.join("\n"));
        }
        Ok(())
    })
}
