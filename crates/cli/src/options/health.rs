//! `--health-*` and `--no-healthcheck`.

use serde_json::{Value, json};

use crate::flags::Parsed;
use crate::units::duration;

/// The health check of the flags; `null` where they say nothing of it.
pub fn check(flags: &Parsed) -> Result<Value, String> {
    let span = |name: &str| duration(flags.str(name)).unwrap_or(0);
    let command = flags.str("health-cmd");
    let retries = flags.int("health-retries");
    let spans = [
        ("Interval", "health-interval"),
        ("Timeout", "health-timeout"),
        ("StartPeriod", "health-start-period"),
        ("StartInterval", "health-start-interval"),
    ];
    let any = !command.is_empty() || retries != 0 || spans.iter().any(|(_, name)| span(name) != 0);
    if flags.bool("no-healthcheck") {
        return match any {
            true => Err("--no-healthcheck conflicts with --health-* options".to_owned()),
            false => Ok(json!({"Test": ["NONE"]})),
        };
    }
    if !any {
        return Ok(Value::Null);
    }
    let mut out = json!({});
    if !command.is_empty() {
        out["Test"] = json!(["CMD-SHELL", command]);
    }
    for (key, name) in spans {
        match span(name) {
            ..0 => return Err(format!("--{name} cannot be negative")),
            0 => {}
            span => out[key] = span.into(),
        }
    }
    match retries {
        ..0 => return Err("--health-retries cannot be negative".to_owned()),
        0 => {}
        retries => out["Retries"] = retries.into(),
    }
    Ok(out)
}
