//! `HEALTHCHECK`.

use spec::image::Healthcheck;

use super::words::list;

/// Reads what follows the instruction.
pub(super) fn parse(text: &str, shell: &[String]) -> Result<Healthcheck, String> {
    let mut health = Healthcheck::default();
    let mut rest = text.trim();
    while rest.starts_with("--") {
        let (flag, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (name, value) = flag
            .split_once('=')
            .ok_or(format!("flag `{flag}` needs a value"))?;
        let time = || duration(value).ok_or(format!("`{value}` is no duration"));
        match name {
            "--interval" => health.interval = time()?,
            "--timeout" => health.timeout = time()?,
            "--start-period" => health.start_period = time()?,
            "--start-interval" => health.start_interval = time()?,
            "--retries" => {
                let retries = value
                    .parse::<u32>()
                    .map_err(|_| format!("`{value}` is no number"))?;
                health.retries = i64::from(retries);
            }
            _ => return Err(format!("unknown flag: {name}")),
        }
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    health.test = match kind.to_uppercase().as_str() {
        "NONE" if command.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" if command.is_empty() => {
            return Err("Missing command after HEALTHCHECK CMD".to_owned());
        }
        "CMD" => match list(command) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            // Docker keeps the text and lets the container's shell run it.
            None if shell.len() == 2 && shell[0] == "/bin/sh" => {
                vec!["CMD-SHELL".to_owned(), command.to_owned()]
            }
            None => std::iter::once("CMD".to_owned())
                .chain(shell.iter().cloned())
                .chain([command.to_owned()])
                .collect(),
        },
        other => return Err(format!("Unknown type \"{other}\" in HEALTHCHECK (try CMD)")),
    };
    Ok(health)
}

/// Reads Go's durations, not negative: `1h2m3.5s`, `500ms`.
fn duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut total = 0f64;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += value
            * match &rest[..unit_len] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit_len..];
    }
    // Beyond 100 years nobody waits, and the conversion stays exact enough.
    (total.is_finite() && total <= 3.2e18).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, want) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("250ms", Some(250_000_000)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(duration(text), want, "{text}");
        }
    }
}
