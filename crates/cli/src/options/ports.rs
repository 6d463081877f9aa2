//! `-p [[ip:][host]:]container[/protocol]`, with ranges, and `--expose`.

use serde_json::{Map, Value, json};

/// What is exposed, and where it is published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ports {
    /// `80/tcp` and so on.
    pub exposed: Map<String, Value>,
    /// `80/tcp` and its places on the host.
    pub bindings: Map<String, Value>,
}

/// Reads all `--publish` and `--expose`.
pub fn parse(publish: &[String], expose: &[String]) -> Result<Ports, String> {
    let mut ports = Ports::default();
    for text in publish {
        ports.publish(&standard(text)?)?;
    }
    for text in expose {
        ports.expose(text)?;
    }
    Ok(ports)
}

// The long form, `published=8080,target=80,protocol=udp`, as the short one.
fn standard(text: &str) -> Result<String, String> {
    if !text.contains('=') {
        return Ok(text.to_owned());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for pair in text.split(',') {
        match pair.split_once('=') {
            Some(("", _)) | None => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{pair}')"
                ));
            }
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some(_) => {}
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

impl Ports {
    fn publish(&mut self, text: &str) -> Result<(), String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (ip, host, container) = match parts.as_slice() {
            [container] => (String::new(), "", *container),
            [host, container] => (String::new(), *host, *container),
            [ip @ .., host, container] => (ip.join(":"), *host, *container),
            [] => return Err(format!("no port specified: {text}<empty>")),
        };
        let (proto, container) = split_proto(container);
        let ip = address(&ip)?;
        if container.is_empty() {
            return Err(format!("no port specified: {text}<empty>"));
        }
        let (first, last) =
            range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
        let (host_first, host_last) = match host {
            "" => (0, 0),
            host => range(host).map_err(|_| format!("invalid hostPort: {host}"))?,
        };
        if !host.is_empty() && last - first != host_last - host_first && last != first {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {container} and {host}"
            ));
        }
        if !matches!(proto.to_lowercase().as_str(), "tcp" | "udp" | "sctp") {
            return Err(format!("invalid proto: {proto}"));
        }
        for offset in 0..=(last - first) {
            let port = format!("{}/{}", first + offset, proto.to_lowercase());
            let place = match host {
                "" => String::new(),
                // One port of the container anywhere in a range of the host's.
                _ if first == last && host_first != host_last => {
                    format!("{host_first}-{host_last}")
                }
                _ => (host_first + offset).to_string(),
            };
            self.exposed.insert(port.clone(), json!({}));
            let bindings = self.bindings.entry(port).or_insert_with(|| json!([]));
            if let Value::Array(bindings) = bindings {
                bindings.push(json!({"HostIp": ip, "HostPort": place}));
            }
        }
        Ok(())
    }

    fn expose(&mut self, text: &str) -> Result<(), String> {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (proto, port) = split_proto(text);
        let (first, last) = range(port).map_err(|error| {
            format!("invalid range format for --expose: {text}, error: {error}")
        })?;
        for port in first..=last {
            self.exposed
                .entry(format!("{port}/{proto}"))
                .or_insert_with(|| json!({}));
        }
        Ok(())
    }
}

fn address(ip: &str) -> Result<String, String> {
    let bare = match ip.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(|| {
            let what = match inner.contains(']') {
                true => "missing port in address",
                false => "missing ']' in address",
            };
            format!("invalid IP address {ip}: address {ip}:: {what}")
        })?,
        None => ip,
    };
    if !bare.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    Ok(bare.to_owned())
}

fn split_proto(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        _ if text.is_empty() || text.starts_with('/') => ("", ""),
        Some((port, "")) => ("tcp", port),
        Some((port, proto)) => (proto.split('/').next().unwrap_or(proto), port),
        None => ("tcp", text),
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let number = |part: &str| {
        let all_digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let why = if all_digits {
            "value out of range"
        } else {
            "invalid syntax"
        };
        let number = part.parse::<u16>().ok().filter(|_| all_digits);
        number.ok_or_else(|| format!("strconv.ParseUint: parsing {part:?}: {why}"))
    };
    // What follows a second dash is passed over, as in Docker.
    let (first, last) = match text.split_once('-') {
        Some((first, rest)) => (first, rest.split('-').next().unwrap_or(rest)),
        None => (text, text),
    };
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings(text: &str) -> Result<String, String> {
        parse(&[text.to_owned()], &[]).map(|p| Value::Object(p.bindings).to_string())
    }

    #[test]
    fn published() {
        for (text, want) in [
            ("80", r#"{"80/tcp":[{"HostIp":"","HostPort":""}]}"#),
            ("8080:80", r#"{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}"#),
            (
                "127.0.0.1:8080:80/udp",
                r#"{"80/udp":[{"HostIp":"127.0.0.1","HostPort":"8080"}]}"#,
            ),
            (
                "127.0.0.1::80",
                r#"{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]}"#,
            ),
            (
                "[::1]:8080:80",
                r#"{"80/tcp":[{"HostIp":"::1","HostPort":"8080"}]}"#,
            ),
            (
                "::1:8080:80",
                r#"{"80/tcp":[{"HostIp":"::1","HostPort":"8080"}]}"#,
            ),
            (
                "8080-8081:80-81",
                r#"{"80/tcp":[{"HostIp":"","HostPort":"8080"}],"81/tcp":[{"HostIp":"","HostPort":"8081"}]}"#,
            ),
            (
                "8000-9000:80",
                r#"{"80/tcp":[{"HostIp":"","HostPort":"8000-9000"}]}"#,
            ),
            ("1-2-3:80", r#"{"80/tcp":[{"HostIp":"","HostPort":"1-2"}]}"#),
            (
                "published=8080,target=80,protocol=udp",
                r#"{"80/udp":[{"HostIp":"","HostPort":"8080"}]}"#,
            ),
        ] {
            assert_eq!(bindings(text), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn refusals() {
        for (text, want) in [
            ("x", "invalid containerPort: x"),
            ("x:80", "invalid hostPort: x"),
            ("70000:80", "invalid hostPort: 70000"),
            ("80/foo", "invalid proto: foo"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("80:", "no port specified: 80:<empty>"),
            (
                "[::1]x:80:80",
                "invalid IP address [::1]x: address [::1]x:: missing port in address",
            ),
            ("1-:80", "invalid hostPort: 1-"),
            (
                "8080-8083:80-81",
                "invalid ranges specified for container and host Ports: 80-81 and 8080-8083",
            ),
            (
                "80=x,y",
                "invalid publish opts format (should be name=value but got 'y')",
            ),
        ] {
            assert_eq!(bindings(text).unwrap_err(), want, "{text}");
        }
    }

    #[test]
    fn exposed() {
        let ports = parse(&[], &["80".to_owned(), "90-91/udp".to_owned()]).unwrap();
        let names: Vec<&String> = ports.exposed.keys().collect();
        assert_eq!(names, ["80/tcp", "90/udp", "91/udp"]);
        let refuse = |text: &str| parse(&[], &[text.to_owned()]).unwrap_err();
        assert_eq!(refuse("1:2"), "invalid port format for --expose: 1:2");
        assert_eq!(
            refuse("2-1"),
            "invalid range format for --expose: 2-1, error: invalid range specified for port: 2-1"
        );
    }
}
