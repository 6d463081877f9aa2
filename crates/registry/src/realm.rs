//! Which token server may be asked, and which may get credentials.
//!
//! The realm is chosen by the registry, hence by whoever answers for it. Credentials go to the
//! registry's own host or domain, or to a server that the operator named; nobody is sent from TLS
//! to plain text, nor to addresses of this machine or network that the registry is not on itself.

use std::net::IpAddr;

use url::Url;

use crate::origin::{Origin, authority, is_local, literal, shown};
use crate::{Error, Result};

/// Second-level labels under which countries register (`example.co.uk`).
const REGISTRIES: &[&str] = &[
    "ac", "co", "com", "edu", "gob", "gov", "govt", "gv", "ltd", "mil", "ne", "net", "nom", "or",
    "org", "plc", "sch",
];

/// Checks a realm and gives it as a URL.
pub(crate) fn check(
    registry: &Url,
    realm: &str,
    with_credentials: bool,
    allowed: &[String],
) -> Result<Url> {
    let url: Url = realm.parse().map_err(|error| {
        let why = match error {
            url::ParseError::RelativeUrlWithoutBase => "missing protocol scheme".to_owned(),
            other => other.to_string(),
        };
        Error::Credentials {
            why: format!("invalid token auth challenge realm: parse {realm:?}: {why}"),
        }
    })?;
    let origin = Origin::of(&url)
        .map_err(|_| refused(registry, &shown(&url), "it is neither http nor https"))?;
    let name = shown(&url);
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(registry, &name, "it contains a user name"));
    }
    let own = Origin::of(registry)?;
    if own.is_https() && !origin.is_https() {
        return Err(refused(registry, &name, "it is not https, the registry is"));
    }
    let named = allowed
        .iter()
        .any(|host| *host == authority(&url) || *host == origin.host());
    if named || own.host() == origin.host() {
        return Ok(url);
    }
    if is_inside(&url) && !is_inside(registry) {
        return Err(refused(
            registry,
            &name,
            "it is an address of this machine or network",
        ));
    }
    if with_credentials && !same_domain(registry, &url) {
        return Err(refused(
            registry,
            &name,
            "it is at another domain, and credentials are not sent there; if this server is \
             right, name its host in `token_hosts` of the registry's hosts.toml",
        ));
    }
    Ok(url)
}

fn refused(registry: &Url, realm: &str, why: &str) -> Error {
    Error::Credentials {
        why: format!(
            "the registry at {} names the token server `{realm}`, which is refused: {why}",
            authority(registry)
        ),
    }
}

fn is_inside(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost" || host.ends_with(".localhost") || literal(url).is_some_and(is_local)
}

fn same_domain(one: &Url, other: &Url) -> bool {
    let domain = |url: &Url| url.host_str().and_then(registrable).map(str::to_lowercase);
    match (domain(one), domain(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// What somebody registered: `docker.io` of `auth.docker.io`, `example.co.uk` of `a.example.co.uk`.
fn registrable(host: &str) -> Option<&str> {
    if host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let dots: Vec<usize> = host.rmatch_indices('.').map(|(at, _)| at).collect();
    let top = &host[dots.first()? + 1..];
    let second_from = dots.get(1).map_or(0, |at| at + 1);
    let second = &host[second_from..dots[0]];
    if top.len() == 2 && REGISTRIES.contains(&second) {
        let third_from = dots.get(2).map_or(0, |at| at + 1);
        return (dots.len() > 1).then(|| &host[third_from..]);
    }
    Some(&host[second_from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(registry: &str, realm: &str, with_credentials: bool) -> bool {
        let named = ["tokens.other.example:5001".to_owned()];
        check(&registry.parse().unwrap(), realm, with_credentials, &named).is_ok()
    }

    #[test]
    fn credentials_stay_at_the_domain() {
        for (registry, realm, want) in [
            (
                "https://registry-1.docker.io",
                "https://auth.docker.io/token",
                true,
            ),
            ("https://ghcr.io", "https://ghcr.io/token", true),
            (
                "https://registry.gitlab.com",
                "https://gitlab.com/jwt/auth",
                true,
            ),
            (
                "https://reg.example.co.uk",
                "https://auth.example.co.uk/",
                true,
            ),
            (
                "https://reg.example.co.uk",
                "https://auth.evil.co.uk/",
                false,
            ),
            (
                "https://registry-1.docker.io",
                "https://evil.example/token",
                false,
            ),
            (
                "https://docker.io",
                "https://docker.io.evil.example/",
                false,
            ),
            ("https://docker.io", "https://notdocker.io/", false),
            (
                "https://registry.example",
                "http://registry.example/token",
                false,
            ),
            (
                "https://registry.example",
                "https://u:p@registry.example/",
                false,
            ),
            ("https://registry.example", "file:///etc/passwd", false),
            ("https://registry.example", "/token", false),
            (
                "https://registry.example",
                "https://tokens.other.example:5001/t",
                true,
            ),
            (
                "https://registry.example",
                "https://tokens.other.example/t",
                false,
            ),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            (
                "http://127.0.0.1:5000",
                "http://127.0.0.2:5001/token",
                false,
            ),
            ("https://registry:5000", "https://auth:5001/token", false),
            ("https://10.0.0.1", "https://10.0.0.2/", false),
        ] {
            assert_eq!(allowed(registry, realm, true), want, "{registry} {realm}");
        }
    }

    #[test]
    fn without_credentials_other_domains_may_be_asked_but_not_this_network() {
        let registry = "https://registry.example";
        assert!(allowed(registry, "https://tokens.example.org/t", false));
        for realm in [
            "https://127.0.0.1/",
            "https://localhost/",
            "https://169.254.169.254/latest",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fd00::1]/",
            "https://0/",
            "https://2130706433/",
            "http://tokens.example.org/",
        ] {
            assert!(!allowed(registry, realm, false), "{realm}");
        }
        assert!(allowed(
            "http://127.0.0.1:5000",
            "http://10.0.0.1:5001/",
            false
        ));
    }
}
