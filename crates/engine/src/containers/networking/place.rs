//! From what is kept of a container's networks to its place in a run.

use network::{EndpointRequest, SandboxRequest};
use spec::{Classify, ErrorKind, NetworkId};

use super::super::endpoint::Place;
use super::super::record::Record;
use super::super::shared::Shared;
use super::{Attachment, BRIDGE, Mode, is_user_defined, ports, wishes};
use crate::container::EndpointSettings;
use crate::{Error, Result};

/// What the network is asked for at a start.
///
/// # Errors
///
/// A network that does not exist, or settings that do not fit it.
pub(crate) fn request(shared: &Shared, record: &Record) -> Result<SandboxRequest> {
    let networks = record.networks();
    let mode = Mode::of(&record.host.network_mode);
    let mut endpoints: Vec<(&str, EndpointRequest)> = Vec::with_capacity(networks.len());
    for (name, attachment) in networks.iter() {
        wishes::compatible(mode, networks.keys().map(String::as_str), name)?;
        // As in Docker, without a default bridge its containers have no network at all.
        if name == "none" || (name == BRIDGE && shared.config.bridge.as_deref() == Some("none")) {
            continue;
        }
        let (id, name) = resolve(shared, name, attachment)?;
        endpoints.push((name, wishes::request(id, &attachment.settings)));
    }
    endpoints.sort_by(|(a, x), (b, y)| y.gateway_priority.cmp(&x.gateway_priority).then(a.cmp(b)));
    Ok(SandboxRequest {
        ports: match endpoints.is_empty() {
            true => Vec::new(),
            false => ports::requests(&record.config, &record.host)?,
        },
        endpoints: endpoints.into_iter().map(|(_, request)| request).collect(),
        hostname: record.config.hostname.clone(),
        name: record.name.to_string(),
    })
}

/// The network that an attachment means, checked against the wishes for it.
fn resolve<'a>(
    shared: &Shared,
    name: &'a str,
    attachment: &Attachment,
) -> Result<(NetworkId, &'a str)> {
    let settings = &attachment.settings;
    if name == BRIDGE
        && let Some(id) = shared.default_network
        && *settings == EndpointSettings::default()
    {
        return Ok((id, name));
    }
    let id = match attachment.network_id.as_str() {
        // One that was removed is not replaced by another of its name, as in Docker.
        id if is_user_defined(name) && !id.is_empty() => find(shared, id)?,
        _ => find(shared, name)?,
    };
    check(shared, name, &id, settings)?;
    Ok((id, name))
}

/// Finds a network by name, id or beginning of its id.
///
/// # Errors
///
/// Docker's texts.
pub(crate) fn find(shared: &Shared, key: &str) -> Result<NetworkId> {
    shared
        .network
        .find(key)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::NoSuchNetwork {
                key: key.to_owned(),
            },
            _ => error.into(),
        })
}

/// Checks wishes for a network that exists.
///
/// # Errors
///
/// Docker's texts.
pub(crate) fn check(
    shared: &Shared,
    name: &str,
    id: &NetworkId,
    settings: &EndpointSettings,
) -> Result<()> {
    let spec = shared.network.spec(id);
    let subnets = spec.map(|spec| crate::networks::given_subnets(&spec));
    wishes::check(name, subnets.as_deref(), settings).map_err(Error::invalid)
}

/// Whether a network of a container is a plugin's, which may take its time.
pub(crate) fn plugged(shared: &Shared, record: &Record) -> bool {
    const OWN: [&str; 5] = ["bridge", "host", "ipvlan", "macvlan", "null"];
    let is_plugged = |(name, attachment): (&String, &Attachment)| {
        // Of a network never joined nothing but the name is known.
        let id = match attachment.network_id.as_str() {
            "" => find(shared, name).ok(),
            id => id.parse().ok(),
        };
        let spec = id.and_then(|id| shared.network.spec(&id));
        spec.is_some_and(|spec| {
            !OWN.contains(&spec.driver.as_str())
                || !matches!(spec.ipam.driver.as_str(), "" | "default" | "null")
        })
    };
    let networks = record.networks().iter();
    networks
        .filter(|(name, _)| is_user_defined(name))
        .any(is_plugged)
}

/// Takes up what the network made: its place, and the ids of its networks.
pub(crate) fn keep_ids(shared: &Shared, record: &mut Record, place: &Place) {
    let known = |name: &str| {
        let of = place.endpoints.iter().find(|e| e.network == name);
        match (of, name) {
            (Some(endpoint), _) => Some(endpoint.network_id.to_string()),
            (None, "host" | "none") => find(shared, name).ok().map(|id| id.to_string()),
            _ => None,
        }
    };
    let ids: Vec<(String, String)> = record
        .networks()
        .iter()
        .filter_map(|(name, attachment)| {
            let id = known(name).filter(|id| *id != attachment.network_id)?;
            Some((name.clone(), id))
        })
        .collect();
    for (name, id) in ids {
        if let Some(attachment) = record.networks_mut().get_mut(&name) {
            attachment.network_id = id;
        }
    }
}
