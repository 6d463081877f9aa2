//! A container's networks as inspect shows them.

use network::Endpoint;
use spec::Digest;

use super::super::endpoint::Place;
use super::super::record::Record;
use super::{Attachment, Mode, is_user_defined, ports};
use crate::container::{EndpointView, Networking};
use crate::names;

/// The picture of a container that runs with this place, or of one at rest.
pub(crate) fn networking(record: &Record, run: Option<(&Place, i32)>) -> Networking {
    let endpoints = record.networks().iter().map(|(name, attachment)| {
        let mut view = at_rest(record, name, attachment);
        if let Some((place, _)) = run {
            in_run(&mut view, record, name, place);
        }
        (name.clone(), view)
    });
    let mut networking = Networking {
        endpoints: endpoints.collect(),
        ..Networking::default()
    };
    let own = !matches!(Mode::of(&record.host.network_mode), Mode::Container(_));
    if let Some((place, pid)) = run.filter(|_| own && !record.config.network_disabled) {
        // There is one network namespace for each container, and nothing else names it.
        networking.sandbox_id = record.id.to_string();
        networking.sandbox_key = format!("/proc/{pid}/ns/net");
        // Internal networks lead nowhere, so that no port of theirs can be reached.
        let leads = |e: &Endpoint| e.gateway4.is_some() || e.gateway6.is_some();
        let reachable = |e: &Endpoint| e.driver == "bridge" && leads(e);
        if place.endpoints.iter().any(reachable) {
            networking.ports = ports::shown(&record.config, &place.ports);
        }
    }
    networking
}

fn at_rest(record: &Record, name: &str, attachment: &Attachment) -> EndpointView {
    let known = !attachment.network_id.is_empty();
    let settings = &attachment.settings;
    EndpointView {
        settings: settings.clone(),
        network_id: attachment.network_id.clone(),
        // As in Docker, the wish is shown until it has been fulfilled once.
        mac: if known {
            String::new()
        } else {
            settings.mac.clone()
        },
        dns_names: (known && is_user_defined(name)).then(|| dns_names(record, attachment)),
        ..EndpointView::default()
    }
}

fn in_run(view: &mut EndpointView, record: &Record, name: &str, place: &Place) {
    if matches!(name, "host" | "none") {
        view.endpoint_id = Digest::of(format!("{name}/{}", record.id).as_bytes()).hex();
        view.mac = String::new();
        return;
    }
    let Some(endpoint) = place.endpoints.iter().find(|e| e.network == name) else {
        return;
    };
    let text =
        |value: Option<&dyn std::fmt::Display>| value.map(ToString::to_string).unwrap_or_default();
    let (ipv4, ipv6) = (endpoint.ipv4.as_ref(), endpoint.ipv6.as_ref());
    view.network_id = endpoint.network_id.to_string();
    view.endpoint_id = endpoint.endpoint_id.to_string();
    view.mac = text(endpoint.mac.as_ref().map(|m| m as _));
    view.address = ipv4
        .map(|net| net.address().to_string())
        .unwrap_or_default();
    view.prefix_len = ipv4.map_or(0, network::Ipv4Net::prefix);
    view.gateway = text(endpoint.gateway4.as_ref().map(|g| g as _));
    view.address6 = ipv6
        .map(|net| net.address().to_string())
        .unwrap_or_default();
    view.prefix_len6 = ipv6.map_or(0, network::Ipv6Net::prefix);
    view.gateway6 = text(endpoint.gateway6.as_ref().map(|g| g as _));
}

/// Names of a container in a network of a user's own.
pub(crate) fn dns_names(record: &Record, attachment: &Attachment) -> Vec<String> {
    let aliases = attachment.settings.aliases.as_deref().unwrap_or_default();
    names::of_container(
        record.name.as_str(),
        aliases,
        &record.id,
        &record.config.hostname,
    )
}
