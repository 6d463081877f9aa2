//! `events`

use api::client::{Query, Request};
use serde_json::Value;

use crate::app::App;
use crate::clock;
use crate::commands::{filters, put_filters};
use crate::exit::{Failure, TEMPLATE};
use crate::flags::Parsed;
use crate::output::{int, text};
use crate::template::{Template, Val};
use crate::tree::Run;
use crate::zone::Zone;

/// `events`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let template = match flags.str("format") {
            "" => None,
            "json" => Some(Template::parse("{{json .}}")),
            text => Some(Template::parse(text)),
        };
        let refuse = |error| Failure::with_code(format!("Error parsing format: {error}"), TEMPLATE);
        let template = template.transpose().map_err(refuse)?;
        if let Some(template) = &template {
            // A field that no event has is told at once.
            template.render(&typed(&empty())).map_err(refuse)?;
        }
        let zone = Zone::local();
        let mut query = Query::new();
        for key in ["since", "until"] {
            let given = flags.str(key);
            if !given.is_empty() {
                query.add(key, clock::timestamp(given, &zone)?);
            }
        }
        put_filters(&mut query, filters(&flags));
        let response = app
            .client
            .send(Request::get("/events").query(&query))
            .await?;
        let mut events = response.json_stream();
        while let Some(event) = events.next().await? {
            app.line(match &template {
                None => pretty(&event, &zone),
                Some(template) => template
                    .render(&typed(&event))
                    .map_err(|error| Failure::new(error.to_string()))?,
            })?;
        }
        Ok(())
    })
}

fn empty() -> Value {
    serde_json::json!({"Type": "", "Action": "", "Actor": {"ID": "", "Attributes": {}}, "scope": "", "time": 0, "timeNano": 0})
}

// Go's names of the fields, beside the JSON as it came.
fn typed(event: &Value) -> Val {
    let mut fields: Vec<(String, Val)> = Vec::new();
    for (field, keys) in [
        ("Status", ["status", ""]),
        ("ID", ["id", ""]),
        ("From", ["from", ""]),
        ("Type", ["Type", ""]),
        ("Action", ["Action", "status"]),
        ("Scope", ["scope", ""]),
    ] {
        let value = keys.iter().find_map(|key| event.get(*key)?.as_str());
        fields.push((field.to_owned(), Val::str(value.unwrap_or_default())));
    }
    fields.push(("Actor".to_owned(), Val::from(&event["Actor"])));
    fields.push(("Time".to_owned(), Val::Int(int(event, "time"))));
    fields.push(("TimeNano".to_owned(), Val::Int(int(event, "timeNano"))));
    Val::Typed(std::rc::Rc::new((
        Val::object("*events.Message", fields),
        event.clone(),
    )))
}

fn pretty(event: &Value, zone: &Zone) -> String {
    let nanos = match int(event, "timeNano") {
        0 => int(event, "time").saturating_mul(1_000_000_000),
        nanos => nanos,
    };
    let mut out = String::new();
    if nanos != 0 {
        out.push_str(&clock::rfc3339_nanos(nanos, zone));
        out.push(' ');
    }
    let actor = &event["Actor"];
    out.push_str(&format!(
        "{} {} {}",
        text(event, "Type"),
        text(event, "Action"),
        text(actor, "ID")
    ));
    let map = actor.get("Attributes").and_then(Value::as_object);
    let mut attributes: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    attributes.sort();
    if !attributes.is_empty() {
        out.push_str(&format!(" ({})", attributes.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines() {
        let event = json!({"Type": "container", "Action": "die", "Actor": {"ID": "e65e", "Attributes": {"name": "c,1", "exitCode": "0"}}, "time": 1, "timeNano": 1_000_000_005_i64});
        assert_eq!(
            pretty(&event, &Zone::utc()),
            "1970-01-01T00:00:01.000000005Z container die e65e (exitCode=0, name=c,1)"
        );
        let render = |text: &str| {
            Template::parse(text)
                .unwrap()
                .render(&typed(&event))
                .unwrap()
        };
        assert_eq!(
            render("{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.Time}}"),
            "container die e65e c,1 1"
        );
        assert_eq!(render("{{json .}}"), event.to_string());
    }
}
