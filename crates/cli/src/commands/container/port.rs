//! `port`

use serde_json::Value;

use super::each;
use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::container::join;
use crate::output::{natural, text};
use crate::tree::Run;

/// `port`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let name = flags.args.first().map_or("", String::as_str);
        let container = each::inspect(&app.client, name).await?;
        let ports = container
            .pointer("/NetworkSettings/Ports")
            .unwrap_or(&Value::Null);
        app.put(match flags.args.get(1).map_or("", String::as_str) {
            "" => all(ports),
            port => one(ports, name, port)?,
        })
    })
}

fn places(bindings: &Value) -> Vec<String> {
    let bindings = bindings.as_array().map_or(&[][..], Vec::as_slice);
    bindings
        .iter()
        .map(|b| join(text(b, "HostIp"), text(b, "HostPort")))
        .collect()
}

fn one(ports: &Value, name: &str, port: &str) -> Result<String, Failure> {
    let (number, proto) = match port.split_once('/') {
        Some((number, "")) => (number, "tcp"),
        Some(both) => both,
        None => (port, "tcp"),
    };
    if number.parse::<u16>().is_err() {
        let all_digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let why = if all_digits {
            "value out of range"
        } else {
            "invalid syntax"
        };
        return Err(Failure::new(format!(
            "Error: invalid port ({number}): strconv.ParseUint: parsing {number:?}: {why}"
        )));
    }
    let bindings = ports
        .get(format!("{number}/{proto}"))
        .filter(|bindings| bindings.as_array().is_some_and(|l| !l.is_empty()));
    let bindings = bindings.ok_or_else(|| {
        Failure::new(format!(
            "Error: No public port '{port}' published for {name}"
        ))
    })?;
    let mut places = places(bindings);
    places.sort_by_key(|place| natural(place));
    Ok(places.iter().map(|place| format!("{place}\n")).collect())
}

fn all(ports: &Value) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (port, bindings) in ports.as_object().into_iter().flatten() {
        lines.extend(
            places(bindings)
                .iter()
                .map(|place| format!("{port} -> {place}\n")),
        );
    }
    lines.sort_by_key(|line| natural(line));
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mappings() {
        let ports = json!({
            "443/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8443"}],
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
            "90/udp": null,
        });
        assert_eq!(
            all(&ports),
            "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n443/tcp -> 0.0.0.0:8443\n"
        );
        assert_eq!(one(&ports, "c", "443").unwrap(), "0.0.0.0:8443\n");
        assert_eq!(one(&ports, "c", "443/").unwrap(), "0.0.0.0:8443\n");
        assert_eq!(
            one(&ports, "c", "90/udp").unwrap_err().message,
            "Error: No public port '90/udp' published for c"
        );
    }
}
