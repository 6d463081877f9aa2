//! Registries that this program talks to itself, without the daemon.
//!
//! Nothing here is made before it is needed: a client of registries reads certificates and makes
//! pools of connections, which commands that never leave the host shall not pay for.

use registry::{Registry, Settings};

use crate::app::user_agent;
use crate::auth::Auth;
use crate::exit::Failure;

/// A client of registries; `insecure` ones may have a bad certificate or none.
pub fn client(insecure: Vec<String>) -> Result<Registry, Failure> {
    let settings = Settings {
        user_agent: user_agent(),
        insecure,
        ..Settings::with_environment()
    };
    Registry::new(settings).map_err(|error| told(&error))
}

/// An error with its causes, in one line.
pub fn told(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(spec::error::chain(error))
}

/// Tries credentials where there is no daemon to do it; gives what to say and a token to keep.
pub(super) async fn log_in(auth: &Auth) -> Result<(String, String), Failure> {
    let registry = client(Vec::new())?;
    let outcome = registry.login(&auth.server, &auth.credentials()).await;
    let outcome = outcome.map_err(|error| told(&error))?;
    Ok((outcome.status, outcome.identity_token.expose().to_owned()))
}
