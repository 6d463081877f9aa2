//! Commands that do one thing to each volume named, in the order named.

use api::client::{Query, Request, escape};
use serde_json::Value;

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::text;
use crate::tree::Run;

/// What Docker's client says of an empty name.
const NO_NAME: &str = "invalid volume name or ID: value is empty";

/// `volume rm`
pub(super) fn remove(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let mut query = Query::new();
        query.add_flag("force", flags.bool("force"));
        each(app, &flags.args, |name| {
            Request::delete(format!("/volumes/{}", escape(name))).query(&query)
        })
        .await
    })
}

/// `volume protect`
pub(super) fn protect(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move { each(app, &flags.args, |name| act(name, "protect")).await })
}

/// `volume unprotect`
pub(super) fn unprotect(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move { each(app, &flags.args, |name| act(name, "unprotect")).await })
}

fn act(name: &str, action: &str) -> Request {
    Request::post(format!("/volumes/{}/{action}", escape(name)))
}

// Sends one request a volume and prints the names that went well.
async fn each(
    app: &App,
    names: &[String],
    request: impl Fn(&str) -> Request,
) -> Result<(), Failure> {
    let mut errors = Vec::new();
    for name in names {
        if name.trim().is_empty() {
            errors.push(NO_NAME.to_owned());
            continue;
        }
        match app.client.send(request(name)).await {
            Ok(_) => app.line(name)?,
            Err(error) => errors.push(error.to_string()),
        }
    }
    Failure::join(errors)
}

/// `volume rename`
pub(super) fn rename(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move { to_another(app, &flags, "rename").await.map(drop) })
}

/// `volume clone`
pub(super) fn duplicate(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let made = to_another(app, &flags, "clone").await?;
        app.line(text(&made, "Name"))
    })
}

async fn to_another(app: &App, flags: &Parsed, action: &str) -> Result<Value, Failure> {
    let [from, to] = flags.args.as_slice() else {
        return Err(Failure::new("two names are needed"));
    };
    let query = Query::new().with("name", to);
    Ok(app.client.json(act(from, action).query(&query)).await?)
}

/// `volume update`: only a cluster's volumes have settings that change.
pub(super) fn update(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let name = flags.args.first().map_or("", String::as_str);
        let path = format!("/volumes/{}", escape(name));
        let volume = app.client.json(Request::get(path.as_str())).await?;
        let Some(cluster) = volume.get("ClusterVolume").filter(|c| !c.is_null()) else {
            return Err(Failure::new("can only update cluster volumes"));
        };
        let mut spec = cluster.get("Spec").cloned().unwrap_or_default();
        if flags.changed("availability") {
            spec["Availability"] = flags.str("availability").into();
        }
        let index = cluster.pointer("/Version/Index").and_then(Value::as_u64);
        let query = Query::new().with("version", index.unwrap_or_default().to_string());
        let request = Request::new(hyper::Method::PUT, path)
            .query(&query)
            .json(&serde_json::json!({ "Spec": spec }));
        Ok(app.client.send(request).await.map(drop)?)
    })
}
