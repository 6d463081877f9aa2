//! `inspect` of anything, and of each kind.

mod shape;

pub use shape::layout;

use api::client::{ClientError, Query, Request, escape};
use bytes::Bytes;
use serde_json::Value;

use super::{format_one, image};
use crate::app::App;
use crate::exit::{Failure, TEMPLATE};
use crate::flags::{Flag, Parsed};
use crate::template::Template;
use crate::tree::{Arity, Command, Run};

/// `inspect`
pub const INSPECT: Command = Command::new(
    "inspect [OPTIONS] NAME|ID [NAME|ID...]",
    "inspect",
    "Return low-level information on Docker objects",
    any,
)
.flags(&[
    format_one('f'),
    Flag::bool(
        "size",
        's',
        "Display total file sizes if the type is container",
    ),
    Flag::string("type", '\0', "Only inspect objects of the given type"),
])
.arity(Arity::AtLeast(1));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

const KINDS: [(&str, Kind); 4] = [
    ("container", Kind::Container),
    ("image", Kind::Image),
    ("network", Kind::Network),
    ("volume", Kind::Volume),
];
const OTHER_KINDS: [&str; 6] = ["config", "node", "plugin", "secret", "service", "task"];
const ALL_KINDS: &str = "config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume";

fn any(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let wanted = flags.str("type");
        let kinds: Vec<Kind> = match KINDS.iter().find(|(name, _)| *name == wanted) {
            Some((_, kind)) => vec![*kind],
            None if wanted.is_empty() && !flags.changed("type") => {
                KINDS.iter().map(|(_, kind)| *kind).collect()
            }
            None if flags.changed("type") && wanted.is_empty() => {
                return Err(Failure::new(format!(
                    "type is empty: must be one of \"{ALL_KINDS}\""
                )));
            }
            None if OTHER_KINDS.contains(&wanted) => {
                return Err(Failure::new(format!(
                    "inspect --type={wanted} is not yet supported by Corten"
                )));
            }
            None => {
                return Err(Failure::new(format!(
                    "unknown type: {wanted:?}: must be one of \"{ALL_KINDS}\""
                )));
            }
        };
        inspect(app, &flags, &kinds).await
    })
}

/// `container inspect`
pub fn containers(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move { inspect(app, &flags, &[Kind::Container]).await })
}

/// `image inspect`
pub fn images(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        // Wrong ones are told before anything is asked.
        image::variant(&flags, "")?;
        inspect(app, &flags, &[Kind::Image]).await
    })
}

/// `network inspect`
pub fn networks(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        if flags.args.iter().any(|name| name.trim().is_empty()) {
            app.put("[]\n")?;
            return Err(Failure::new("invalid network name or ID: value is empty"));
        }
        inspect(app, &flags, &[Kind::Network]).await
    })
}

/// `volume inspect`
pub fn volumes(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        if flags.args.iter().any(|name| name.trim().is_empty()) {
            app.put("[]\n")?;
            return Err(Failure::new("invalid volume name or ID: value is empty"));
        }
        inspect(app, &flags, &[Kind::Volume]).await
    })
}

async fn inspect(app: &App, flags: &Parsed, kinds: &[Kind]) -> Result<(), Failure> {
    let format = flags.str("format");
    let template = match format {
        "" | "json" => None,
        text => Some(Template::parse(text).map_err(|error| {
            Failure::with_code(format!("template parsing error: {error}"), TEMPLATE)
        })?),
    };
    let (mut found, mut shown, mut errors) = (Vec::new(), String::new(), Vec::new());
    for name in &flags.args {
        match look_up(app, flags, kinds, name).await {
            Ok((kind, raw)) => match &template {
                None => found.push(raw),
                Some(template) => match fill(template, kind, &raw) {
                    Ok(text) => shown.push_str(&(text + "\n")),
                    Err(text) => errors.push(text),
                },
            },
            Err(failure) => errors.push(failure.message),
        }
    }
    match (&template, found.is_empty()) {
        (Some(_), _) if shown.is_empty() => app.put("\n")?,
        (Some(_), _) => app.put(shown)?,
        (None, true) => app.put("[]\n")?,
        (None, false) => {
            let raw: Vec<&str> = found
                .iter()
                .filter_map(|raw| std::str::from_utf8(raw).ok())
                .map(str::trim)
                .collect();
            let whole = format!("[{}]", raw.join(","));
            let indent = if format == "json" { None } else { Some("    ") };
            app.put(shape::layout(&whole, indent) + "\n")?;
        }
    }
    Failure::join(errors)
}

// Docker fills in its own structs first, and the plain JSON when that fails: what a struct leaves
// out of JSON is there as its zero value.
fn fill(template: &Template, kind: Kind, raw: &[u8]) -> Result<String, String> {
    let value: Value = serde_json::from_slice(raw)
        .map_err(|error| format!("unable to read inspect data: {error}"))?;
    let shaped = match kind {
        Kind::Network => shape::network(&value),
        kind => shape::typed(kind == Kind::Container, &value),
    };
    if let Ok(text) = template.render(&shaped) {
        return Ok(text);
    }
    let filled = template
        .clone()
        .missing_is_error()
        .render(&shape::raw(&value));
    filled.map_err(|error| format!("template parsing error: {error}"))
}

async fn look_up(
    app: &App,
    flags: &Parsed,
    kinds: &[Kind],
    name: &str,
) -> Result<(Kind, Bytes), Failure> {
    for kind in kinds {
        match get(app, flags, *kind, name).await {
            Ok(raw) => {
                if flags.bool("size") && *kind != Kind::Container {
                    let (word, _) = KINDS.iter().find(|(_, k)| k == kind).unwrap_or(&KINDS[0]);
                    app.warn(format!("WARNING: --size ignored for {word}"));
                }
                return Ok((*kind, raw));
            }
            Err(error) if kinds.len() > 1 && is_skippable(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(format!("Error: No such object: {name}")))
}

fn is_skippable(error: &ClientError) -> bool {
    let text = error.to_string();
    let not_here = matches!(error.status(), Some(404 | 405 | 501));
    not_here || text.contains("not supported") || text.contains("invalid reference format")
}

async fn get(app: &App, flags: &Parsed, kind: Kind, name: &str) -> Result<Bytes, ClientError> {
    let name = escape(name);
    let mut query = Query::new();
    let platform = image::variant(flags, "").ok().flatten();
    let platform = platform.map_or_else(String::new, |platform| platform.json());
    let path = match kind {
        Kind::Container => {
            query.add_flag("size", flags.bool("size"));
            format!("/containers/{name}/json")
        }
        Kind::Image => {
            query.add_some("platform", platform);
            // Slashes are part of an image's name and of its path.
            format!("/images/{}/json", name.replace("%2F", "/"))
        }
        Kind::Network => {
            query.add_some("verbose", if flags.bool("verbose") { "true" } else { "" });
            format!("/networks/{name}")
        }
        Kind::Volume => format!("/volumes/{name}"),
    };
    app.client
        .send(Request::get(path).query(&query))
        .await?
        .bytes()
        .await
}
