//! Settings of registries and of the space that images take.

use std::net::IpAddr;
use std::path::PathBuf;

use engine::config::{GcConfig, ImagesConfig, LayerBlobs};

use super::{Reader, SettingsError, absolute, number, refused};
use crate::flags::{parse_duration, parse_floor};

/// Reads them.
pub(super) fn images_config(values: &Reader<'_>) -> Result<ImagesConfig, SettingsError> {
    let mut config = ImagesConfig {
        registry_mirrors: mirrors(values.list("registry-mirror"))?,
        insecure_registries: insecure(values.list("insecure-registry"))?,
        allow_nondistributable: values.list("allow-nondistributable-artifacts").to_vec(),
        http_proxy: proxy(values, "http-proxy", "HTTP_PROXY"),
        https_proxy: proxy(values, "https-proxy", "HTTPS_PROXY"),
        no_proxy: proxy(values, "no-proxy", "NO_PROXY"),
        gc: gc(values),
        layer_blobs: match values.text("layer-blobs") {
            Some("keep") => LayerBlobs::Keep,
            Some("drop") => LayerBlobs::Drop,
            _ => LayerBlobs::Auto,
        },
        ..ImagesConfig::default()
    };
    let dirs = values.list("certs-dir");
    if !dirs.is_empty() {
        let dirs = dirs.iter().map(|dir| absolute(dir));
        config.certs_dirs = dirs.collect::<Result<Vec<PathBuf>, _>>()?;
    }
    if let Some(count) = bound(values, "max-concurrent-downloads")? {
        config.max_concurrent_downloads = count;
    }
    if let Some(count) = bound(values, "max-concurrent-uploads")? {
        config.max_concurrent_uploads = count;
    }
    if let Some(count) = bound(values, "max-download-attempts")? {
        config.max_download_attempts = count;
    }
    Ok(config)
}

fn proxy(values: &Reader<'_>, flag: &str, variable: &str) -> String {
    let lower = || std::env::var(variable.to_lowercase());
    values
        .owned(flag)
        .or_else(|| std::env::var(variable).or_else(|_| lower()).ok())
        .unwrap_or_default()
}

/// A number that is the default where it is 0, as dockerd takes it.
fn bound<T: TryFrom<i64>>(values: &Reader<'_>, flag: &str) -> Result<Option<T>, SettingsError> {
    match number::<i64>(values, flag)? {
        None | Some(0) => Ok(None),
        Some(count) => match T::try_from(count) {
            Ok(count) if values.text(flag).is_some_and(|t| !t.starts_with('-')) => Ok(Some(count)),
            _ => refused(format!("invalid {}: {count}", flag.replace('-', " "))),
        },
    }
}

/// The values were checked when they were read.
fn gc(values: &Reader<'_>) -> GcConfig {
    let default = GcConfig::default();
    let time = |flag: &str| values.text(flag).and_then(parse_duration);
    GcConfig {
        enabled: values.flag("gc-enabled").unwrap_or(default.enabled),
        interval: time("gc-interval").unwrap_or(default.interval),
        unreferenced_age: time("gc-unreferenced-age").unwrap_or(default.unreferenced_age),
        partial_age: time("gc-partial-age").unwrap_or(default.partial_age),
        floor: values
            .text("gc-free-space")
            .and_then(parse_floor)
            .unwrap_or(default.floor),
    }
}

/// Checks mirrors and brings them to one form; the texts are dockerd's.
fn mirrors(given: &[String]) -> Result<Vec<String>, SettingsError> {
    let mut list: Vec<String> = Vec::new();
    for mirror in given {
        let (scheme, rest) = match mirror.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() => (scheme, rest),
            _ => {
                return refused(format!(
                    "invalid mirror: no scheme specified for {mirror:?}: must use either 'https://' or 'http://'"
                ));
            }
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // What may be a password is not repeated.
        if host.contains('@') {
            return refused(format!(
                "invalid mirror: username/password not allowed in URI \"{scheme}://{}\"",
                rest.rsplit('@').next().unwrap_or_default()
            ));
        }
        if !matches!(scheme, "http" | "https") {
            return refused(format!(
                "invalid mirror: unsupported scheme {scheme:?} in {mirror:?}: must use either 'https://' or 'http://'"
            ));
        }
        if rest.contains(['?', '#']) {
            return refused(format!(
                "invalid mirror: query or fragment at end of the URI {mirror:?}"
            ));
        }
        if host.is_empty() || host.contains(char::is_whitespace) {
            return refused(format!("invalid mirror: {mirror:?} is not a valid URI"));
        }
        let mirror = format!("{}/", mirror.strip_suffix('/').unwrap_or(mirror));
        if !list.contains(&mirror) {
            list.push(mirror);
        }
    }
    Ok(list)
}

/// Checks insecure registries, addresses or ranges of them; the texts are dockerd's.
fn insecure(given: &[String]) -> Result<Vec<String>, SettingsError> {
    let mut list: Vec<String> = Vec::new();
    for registry in given {
        if registry.starts_with('-') || registry.ends_with('-') {
            return refused(format!(
                "invalid index name ({registry}). Cannot begin or end with a hyphen"
            ));
        }
        let lower = registry.to_ascii_lowercase();
        let bare = match ["http://", "https://"]
            .iter()
            .find(|s| lower.starts_with(*s))
        {
            Some(scheme) => &registry[scheme.len()..],
            None if registry.contains("://") => {
                return refused(format!(
                    "insecure registry {registry} should not contain '://'"
                ));
            }
            None => registry,
        };
        if !is_range(bare) {
            host_and_port(bare)
                .or_else(|why| refused(format!("insecure registry {bare} is not valid: {why}")))?;
        }
        if !list.iter().any(|known| known == bare) {
            list.push(bare.to_owned());
        }
    }
    Ok(list)
}

fn is_range(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn host_and_port(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    if !good {
        return Err(format!("invalid host {host:?}"));
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() => Err(format!("invalid port {port:?}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&t| t.to_owned()).collect()
    }

    #[test]
    fn mirrors_end_in_a_slash_and_are_kept_once() {
        let got = mirrors(&texts(&["https://a", "http://b:1/x/", "https://a/"])).unwrap();
        assert_eq!(got, ["https://a/", "http://b:1/x/"]);
        for (bad, want) in [
            (
                "a:5000",
                "invalid mirror: no scheme specified for \"a:5000\": must use either 'https://' or 'http://'",
            ),
            (
                "ftp://a",
                "invalid mirror: unsupported scheme \"ftp\" in \"ftp://a\": must use either 'https://' or 'http://'",
            ),
            (
                "https://a/?b",
                "invalid mirror: query or fragment at end of the URI \"https://a/?b\"",
            ),
            (
                "https://u:secret@a/",
                "invalid mirror: username/password not allowed in URI \"https://a/\"",
            ),
            (
                "https://",
                "invalid mirror: \"https://\" is not a valid URI",
            ),
        ] {
            assert_eq!(mirrors(&texts(&[bad])).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn insecure_registries_are_hosts_or_ranges() {
        let good = [
            "a",
            "a.b:5000",
            "10.0.0.0/8",
            "fd00::/8",
            "1.2.3.4:80",
            "[::1]:5000",
            "HTTP://x:1",
        ];
        let got = insecure(&texts(&good)).unwrap();
        assert_eq!(got.last().unwrap(), "x:1");
        assert_eq!(got.len(), good.len());
        for (bad, want) in [
            (
                "-a",
                "invalid index name (-a). Cannot begin or end with a hyphen",
            ),
            (
                "ftp://a",
                "insecure registry ftp://a should not contain '://'",
            ),
            (
                "a_b:5000",
                "insecure registry a_b:5000 is not valid: invalid host \"a_b\"",
            ),
            (
                "a:99999",
                "insecure registry a:99999 is not valid: invalid port \"99999\"",
            ),
        ] {
            assert_eq!(insecure(&texts(&[bad])).unwrap_err().to_string(), want);
        }
    }
}
