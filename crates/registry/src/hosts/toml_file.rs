//! `hosts.toml`, in the form and with the meaning that containerd gives it.

use std::path::Path;

use reqwest::header::HeaderMap;
use toml::{Table, Value};
use url::Url;

use super::{Capabilities, Host, Hosts, bytes, header};
use crate::Result;
use crate::origin::invalid;
use crate::tls::Material;

/// Hosts of one file that are read.
const MAX_HOSTS: usize = 64;

/// Reads the text of a `hosts.toml` that is in `directory` and about the registry `name`.
pub(crate) fn read(name: &str, directory: &Path, text: &str) -> Result<Hosts> {
    let bad = |what: String| {
        invalid(format!(
            "`{}` cannot be used: {what}",
            directory.join("hosts.toml").display()
        ))
    };
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| bad(error.message().to_owned()))?;
    let named = match table.get("server") {
        Some(Value::String(server)) => Some(server.clone()).filter(|server| !server.is_empty()),
        None => None,
        Some(_) => return Err(bad("`server` must be a text".to_owned())),
    };
    let is_server_named = named.is_some();
    let server = named.unwrap_or_else(|| default_server(name));
    let server = host(&server, &table, directory).map_err(bad)?;
    let mut hosts = Vec::new();
    match table.get("host") {
        None => {}
        Some(Value::Table(all)) => {
            // In the order of the file, which is the order of trying.
            for (url, settings) in all.iter().take(MAX_HOSTS) {
                let Value::Table(settings) = settings else {
                    return Err(bad(format!("`host.\"{url}\"` must be a table")));
                };
                hosts.push(host(url, settings, directory).map_err(bad)?);
            }
        }
        Some(_) => return Err(bad("`host` must be a table".to_owned())),
    }
    let token_hosts = texts(&table, "token_hosts").map_err(bad)?;
    Ok(Hosts {
        hosts,
        server,
        is_server_named,
        token_hosts: token_hosts.into_iter().map(str::to_owned).collect(),
    })
}

fn default_server(name: &str) -> String {
    match name {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        name => format!("https://{name}"),
    }
}

fn host(url: &str, settings: &Table, directory: &Path) -> std::result::Result<Host, String> {
    let with_scheme = if url.contains("://") {
        url.to_owned()
    } else {
        format!("https://{url}")
    };
    let url: Url = with_scheme
        .parse()
        .map_err(|error| format!("`{url}` is not a URL ({error})"))?;
    let whole = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !whole {
        return Err(
            "a host is `http://` or `https://`, a name, and at most a path; user names and \
             passwords do not belong there"
                .to_owned(),
        );
    }
    let mut material = Material::default();
    for path in texts(settings, "ca")? {
        let path = directory.join(path);
        let pem = bytes(&path).map_err(|error| error.to_string())?;
        material
            .add_authorities(&pem, &path)
            .map_err(|error| error.to_string())?;
    }
    client(settings, directory, &mut material)?;
    Ok(Host {
        url,
        capabilities: capabilities(settings)?,
        material,
        skip_verify: flag(settings, "skip_verify")?,
        override_path: flag(settings, "override_path")?,
        headers: headers(settings)?,
    })
}

fn capabilities(settings: &Table) -> std::result::Result<Capabilities, String> {
    let list = match settings.get("capabilities") {
        None => return Ok(Capabilities::ALL),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("`capabilities` must be a list".to_owned()),
    };
    let mut found = Capabilities {
        pull: false,
        resolve: false,
        push: false,
    };
    for word in list {
        match word.as_str() {
            Some("pull") => found.pull = true,
            Some("resolve") => found.resolve = true,
            Some("push") => found.push = true,
            _ => return Err(format!("unknown capability {word:?}")),
        }
    }
    Ok(found)
}

fn flag(settings: &Table, name: &str) -> std::result::Result<bool, String> {
    match settings.get(name) {
        None => Ok(false),
        Some(Value::Boolean(value)) => Ok(*value),
        Some(_) => Err(format!("`{name}` must be true or false")),
    }
}

fn texts<'t>(settings: &'t Table, name: &str) -> std::result::Result<Vec<&'t str>, String> {
    let text = |value: &'t Value| {
        value
            .as_str()
            .ok_or_else(|| format!("`{name}` must be a text or a list of texts"))
    };
    match settings.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(value) => Ok(vec![text(value)?]),
    }
}

/// One path (certificate and key in one file), a list of such, or a list of pairs.
fn client(
    settings: &Table,
    directory: &Path,
    material: &mut Material,
) -> std::result::Result<(), String> {
    let pairs: Vec<(&str, &str)> = match settings.get("client") {
        None => return Ok(()),
        Some(Value::String(path)) => vec![(path, "")],
        Some(Value::Array(list)) => list
            .iter()
            .map(|entry| match entry {
                Value::String(path) => Some((path.as_str(), "")),
                Value::Array(pair) => match pair.as_slice() {
                    [Value::String(cert)] => Some((cert.as_str(), "")),
                    [Value::String(cert), Value::String(key)] => {
                        Some((cert.as_str(), key.as_str()))
                    }
                    _ => None,
                },
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or("`client` must be paths or pairs of paths")?,
        Some(_) => return Err("`client` must be paths or pairs of paths".to_owned()),
    };
    for (cert, key) in pairs {
        let cert_path = directory.join(cert);
        let cert = bytes(&cert_path).map_err(|error| error.to_string())?;
        let key = match key {
            "" => cert.clone(),
            key => bytes(&directory.join(key)).map_err(|error| error.to_string())?,
        };
        material
            .set_client(&cert, &key, &cert_path)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn headers(settings: &Table) -> std::result::Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let table = match settings.get("header") {
        None => return Ok(headers),
        Some(Value::Table(table)) => table,
        Some(_) => return Err("`header` must be a table".to_owned()),
    };
    for name in table.keys() {
        for value in texts(table, name)? {
            let (name, value) = header(name, value).map_err(|error| error.to_string())?;
            headers.append(name, value);
        }
    }
    Ok(headers)
}
