//! `network rm`

use api::client::{ClientError, Request, escape};
use serde_json::Value;

use super::NO_NAME;
use crate::app::App;
use crate::commands::prune;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::tree::Run;

const INGRESS: &str = "WARNING! Before removing the routing-mesh network, make sure all the nodes in your swarm run the same docker engine version. Otherwise, removal may not be effective and functionality of newly create ingress networks will be impaired.\nAre you sure you want to continue?";

/// `network rm`: goes on after a failure and tells each when it comes.
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut failed = false;
        for name in &flags.args {
            let trimmed = name.trim();
            if trimmed.is_empty() {
                app.warn(NO_NAME);
                failed = true;
                continue;
            }
            let path = format!("/networks/{}", escape(trimmed));
            if is_ingress(app, &path).await && prune::confirm(app, INGRESS).is_err() {
                continue;
            }
            match app.client.send(Request::delete(path)).await {
                Ok(_) => app.line(name)?,
                Err(error) if flags.bool("force") && ClientError::is_not_found(&error) => {}
                Err(error) => {
                    app.warn(error.to_string());
                    failed = true;
                }
            }
        }
        match failed {
            true => Err(Failure::new("exit status 1")),
            false => Ok(()),
        }
    })
}

// Only a daemon in a swarm has such a network.
async fn is_ingress(app: &App, path: &str) -> bool {
    let network = app.client.json(Request::get(path)).await;
    network.is_ok_and(|network| network.get("Ingress").and_then(Value::as_bool) == Some(true))
}
