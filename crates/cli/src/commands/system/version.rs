//! `version`

use api::client::{MAX_VERSION, Request};
use serde_json::{Value, json};

use crate::app::App;
use crate::clock;
use crate::exit::{Failure, TEMPLATE};
use crate::flags::Parsed;
use crate::output::{list, text};
use crate::table::{Layout, align};
use crate::template::{Template, Val};
use crate::tree::Run;

/// The answer to `--version`.
pub fn line(program: &str) -> String {
    let name = if program == "docker" {
        "Docker"
    } else {
        "Corten"
    };
    format!(
        "{name} version {}, build {}\n",
        env!("CARGO_PKG_VERSION"),
        build()
    )
}

/// The commit this was built from, where the build knows it.
pub fn build() -> &'static str {
    option_env!("CORTEN_COMMIT").unwrap_or("unknown")
}

/// The name of this processor as Go spells it.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn client(app: &App) -> Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": app.client.version(),
        "DefaultAPIVersion": MAX_VERSION,
        "GitCommit": build(),
        // Scripts read the field; there is no Go in this house.
        "GoVersion": "none (Rust)",
        "Os": std::env::consts::OS,
        "Arch": arch(),
        "BuildTime": option_env!("CORTEN_BUILD_TIME").unwrap_or("unknown"),
        "Context": app.context,
    })
}

/// `version`
pub fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let format = flags.str("format");
        let template = match format {
            "" => None,
            "json" => Some(Template::parse_named("version", "{{json .}}")),
            text => Some(Template::parse_named("version", text)),
        };
        let template = template.transpose().map_err(|error| {
            Failure::with_code(format!("template parsing error: {error}"), TEMPLATE)
        })?;
        let server = app.client.json(Request::get("/version")).await;
        let (server, failure) = match server {
            Ok(server) => (with_time(server), None),
            Err(error) => (Value::Null, Some(Failure::from(error))),
        };
        let info = json!({"Client": client(app), "Server": server});
        match template {
            None => app.put(pretty(&info))?,
            Some(template) => {
                let filled = template.render(&typed(&info));
                // Docker ends the line in any case.
                app.put(filled.as_deref().unwrap_or_default())?;
                app.put("\n")?;
                filled.map_err(|error| Failure::new(error.to_string()))?;
            }
        }
        failure.map_or(Ok(()), Err)
    })
}

// The build time of the engine is shown as people read it.
fn with_time(mut server: Value) -> Value {
    let components = server.get_mut("Components").and_then(Value::as_array_mut);
    for component in components.into_iter().flatten() {
        if let Some(time) = component.pointer_mut("/Details/BuildTime")
            && let Some((seconds, _)) = time.as_str().and_then(clock::parse_rfc3339)
        {
            *time = clock::ansi(seconds).into();
        }
    }
    server
}

// Templates name a field of the client by its Go name.
fn typed(info: &Value) -> Val {
    let mut client = info["Client"].clone();
    client["APIVersion"] = client["ApiVersion"].clone();
    let mut server = info["Server"].clone();
    if server.is_object() {
        server["APIVersion"] = server["ApiVersion"].clone();
        server["MinAPIVersion"] = server["MinAPIVersion"].clone();
    }
    let both = |shown: Val, json: &Value| Val::Typed(std::rc::Rc::new((shown, json.clone())));
    let fields = vec![
        (
            "Client".to_owned(),
            both(
                Val::from(&client).typed("command.clientVersion"),
                &info["Client"],
            ),
        ),
        (
            "Server".to_owned(),
            match &info["Server"] {
                Value::Null => Val::Nil,
                json => both(Val::from(&server).typed("*types.Version"), json),
            },
        ),
    ];
    both(Val::object("system.versionInfo", fields), info)
}

fn pretty(info: &Value) -> String {
    let client = &info["Client"];
    let api = match (
        text(client, "ApiVersion"),
        text(client, "DefaultAPIVersion"),
    ) {
        (version, newest) if version == newest => version.to_owned(),
        (version, newest) => format!("{version} (downgraded from {newest})"),
    };
    let mut out = format!(
        "Client:\n Version:\t{}\n API version:\t{api}\n Go version:\t{}\n Git commit:\t{}\n Built:\t{}\n OS/Arch:\t{}/{}\n Context:\t{}",
        text(client, "Version"),
        text(client, "GoVersion"),
        text(client, "GitCommit"),
        text(client, "BuildTime"),
        text(client, "Os"),
        text(client, "Arch"),
        text(client, "Context"),
    );
    let server = &info["Server"];
    if server.is_object() {
        let platform = server.get("Platform").map_or("", |p| text(p, "Name"));
        out.push_str("\n\nServer:");
        if !platform.is_empty() {
            out.push_str(&format!(" {platform}"));
        }
        for component in list(server, "Components") {
            out.push_str(&pretty_component(component));
        }
    }
    out.push('\n');
    align(
        &out,
        Layout {
            min_width: 20,
            padding: 1,
        },
    )
}

fn pretty_component(component: &Value) -> String {
    let detail = |key: &str| component.get("Details").map_or("", |d| text(d, key));
    let (name, version) = (text(component, "Name"), text(component, "Version"));
    if name == "Engine" {
        return format!(
            "\n {name}:\n  Version:\t{version}\n  API version:\t{} (minimum version {})\n  Go version:\t{}\n  Git commit:\t{}\n  Built:\t{}\n  OS/Arch:\t{}/{}\n  Experimental:\t{}",
            detail("ApiVersion"),
            detail("MinAPIVersion"),
            detail("GoVersion"),
            detail("GitCommit"),
            detail("BuildTime"),
            detail("Os"),
            detail("Arch"),
            detail("Experimental"),
        );
    }
    let mut out = format!("\n {name}:\n  Version:\t{version}");
    let details = component.get("Details").and_then(Value::as_object);
    let mut details: Vec<_> = details.into_iter().flatten().collect();
    details.sort_by_key(|(key, _)| key.as_str());
    for (key, value) in details {
        out.push_str(&format!(
            "\n  {key}:\t{}",
            value.as_str().unwrap_or_default()
        ));
    }
    out
}
