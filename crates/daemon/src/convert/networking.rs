//! What a request to create a container says of its networks, brought from older versions of the
//! API to the newest.
//!
//! Below 1.44 a container had one network and one MAC address for the whole of it; below 1.46 the
//! kernel parameters of interfaces were the container's; below 1.48 no network came before others.

use std::collections::BTreeMap;

use api::container::{CreateRequest, HostConfig};
use api::network::EndpointSettings as WireEndpoint;
use engine::container::EndpointSettings;
use hyper::StatusCode;

use super::network::endpoint_from_wire;
use crate::error::ApiError;
use crate::router::compare_versions;

/// Option of a network's driver that holds the kernel parameters of an interface.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
const MAC_IS_DEPRECATED: &str = "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";

/// The networks of a request, and what the client is warned of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Networking {
    /// Wishes by network.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Takes the networks out of a request.
///
/// # Errors
///
/// What this version of the API does not allow; the texts are Docker's.
pub fn take(request: &mut CreateRequest, version: &str) -> Result<Networking, ApiError> {
    let before = |other: &str| compare_versions(version, other).is_lt();
    let wanted = request.networking_config.take();
    let wanted = wanted.and_then(|n| n.endpoints_config).unwrap_or_default();
    let mut endpoints = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, endpoint) in wanted {
        match endpoint {
            Some(endpoint) => {
                endpoints.insert(name, endpoint);
            }
            None => missing.push(format!(
                "invalid config for network {name}: EndpointsConfig is nil"
            )),
        }
    }
    if let Some(text) = joined(&missing) {
        return Err(ApiError::bad_request(text));
    }
    let host = request.host_config.get_or_insert_default();
    if matches!(host.network_mode.as_str(), "" | "default")
        && let Some(endpoint) = endpoints.remove("default")
    {
        endpoints.insert("bridge".to_owned(), endpoint);
    }
    if before("1.44") && endpoints.len() > 1 {
        let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
        return Err(ApiError::bad_request(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    if before("1.48") {
        for endpoint in endpoints.values_mut() {
            endpoint.gw_priority = 0;
        }
    }
    let mut warnings = Vec::new();
    let mac = &mut request.config.mac_address;
    warnings.extend(move_mac(mac, host, &mut endpoints, version)?);
    warnings.extend(move_sysctls(host, &mut endpoints, version)?);
    Ok(Networking {
        networks: endpoints
            .into_iter()
            .map(|(name, endpoint)| (name, endpoint_from_wire(endpoint)))
            .collect(),
        warnings,
    })
}

/// Go's way to tell several errors at once.
fn joined(errors: &[String]) -> Option<String> {
    match errors {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("* {}", many.join("\n* "))),
    }
}

/// The name by which a mode's own network is found among the endpoints.
fn network_name(mode: &str) -> &str {
    match mode {
        "" | "default" => "bridge",
        mode if mode.starts_with("container:") => "container",
        mode => mode,
    }
}

/// Whether a mode is the default bridge or a network of the user's.
pub fn has_addresses(mode: &str) -> bool {
    !matches!(network_name(mode), "host" | "none" | "container")
}

/// The endpoint that the settings of the whole container belong to.
fn of_mode<'e>(
    mode: &str,
    endpoints: &'e mut BTreeMap<String, WireEndpoint>,
    version: &str,
) -> Result<&'e mut WireEndpoint, String> {
    let name = network_name(mode);
    if endpoints.is_empty() {
        return Ok(endpoints.entry(name.to_owned()).or_default());
    }
    // The old API took the only one there could be, whatever it was called.
    let found = match compare_versions(version, "1.44").is_lt() {
        true => endpoints.values_mut().next(),
        false => endpoints.get_mut(name),
    };
    found.ok_or_else(|| {
        "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"
            .to_owned()
    })
}

/// Moves the container's MAC address to its endpoint.
fn move_mac(
    mac: &mut String,
    host: &HostConfig,
    endpoints: &mut BTreeMap<String, WireEndpoint>,
    version: &str,
) -> Result<Option<String>, ApiError> {
    let mode = &host.network_mode;
    let wanted = std::mem::take(mac);
    if compare_versions(version, "1.44").is_lt() {
        if wanted.is_empty() {
            // The old API knew of no other one.
            for endpoint in endpoints.values_mut() {
                endpoint.mac_address.clear();
            }
            return Ok(None);
        }
        if !has_addresses(mode) {
            return Err(ApiError::bad_request(
                "conflicting options: mac-address and the network mode",
            ));
        }
        let endpoint = of_mode(mode, endpoints, version).map_err(ApiError::bad_request)?;
        endpoint.mac_address = wanted;
        return Ok(None);
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    if has_addresses(mode) {
        let endpoint = of_mode(mode, endpoints, version).map_err(|why| {
            ApiError::bad_request(format!(
                "unable to migrate container-wide MAC address to a specific network: {why}"
            ))
        })?;
        if endpoint.mac_address.is_empty() {
            endpoint.mac_address = wanted;
        } else if endpoint.mac_address != wanted {
            return Err(ApiError::bad_request(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
            ));
        }
    }
    Ok(Some(MAC_IS_DEPRECATED.to_owned()))
}

/// Moves kernel parameters of the interface `eth0` to its endpoint.
fn move_sysctls(
    host: &mut HostConfig,
    endpoints: &mut BTreeMap<String, WireEndpoint>,
    version: &str,
) -> Result<Option<String>, ApiError> {
    // These have no class in dockerd, which makes them 500.
    let failed = |text: String| Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text));
    let mode = host.network_mode.clone();
    let Some(sysctls) = host.sysctls.as_mut() else {
        return Ok(None);
    };
    if matches!(network_name(&mode), "host" | "container") {
        return Ok(None);
    }
    let (mut names, mut moved) = (Vec::new(), Vec::new());
    for (name, value) in sysctls.iter() {
        let parts: Vec<&str> = name.splitn(5, '.').collect();
        let ["net", family, kind, interface, rest] = parts.as_slice() else {
            continue;
        };
        if !interface.starts_with("eth") {
            continue;
        }
        if compare_versions(version, "1.47").is_gt() {
            return failed(format!(
                "interface specific sysctl setting {name:?} must be supplied using driver option '{SYSCTLS}'"
            ));
        }
        if let Err(why) = of_mode(&mode, endpoints, version) {
            return Err(ApiError::bad_request(format!(
                "unable to find a network for sysctl {name}: {why}"
            )));
        }
        if *interface != "eth0" {
            return failed(format!(
                "unable to determine network endpoint for sysctl {name}, use driver option '{SYSCTLS}' to set per-interface sysctls"
            ));
        }
        names.push(name.clone());
        moved.push(format!("net.{family}.{kind}.IFNAME.{rest}={value}"));
    }
    if names.is_empty() {
        return Ok(None);
    }
    for name in &names {
        sysctls.remove(name);
    }
    let mut option = moved.join(",");
    let warning = format!(
        "Migrated sysctl {:?} to DriverOpts{{{SYSCTLS:?}:{option:?}}}.",
        names.join(",")
    );
    let endpoint = of_mode(&mode, endpoints, version).map_err(ApiError::bad_request)?;
    let options = endpoint.driver_opts.get_or_insert_default();
    if let Some(own) = options.get(SYSCTLS) {
        // The last one of a name counts.
        option = format!("{option},{own}");
    }
    options.insert(SYSCTLS.to_owned(), option);
    Ok(Some(warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(version: &str, body: &str) -> Result<Networking, String> {
        let mut request = CreateRequest::decode(body.as_bytes()).unwrap();
        take(&mut request, version).map_err(|e| format!("{} {}", e.status.as_u16(), e.message))
    }

    #[test]
    fn endpoints_go_by_their_networks() {
        let got = read(
            "1.51",
            r#"{"NetworkingConfig":{"EndpointsConfig":{"default":{"GwPriority":3},"n":{"Aliases":["a"]}}}}"#,
        )
        .unwrap();
        assert_eq!(got.networks["bridge"].gateway_priority, 3);
        assert_eq!(got.networks["n"].aliases, Some(vec!["a".to_owned()]));
        assert_eq!(read("1.51", "{}"), Ok(Networking::default()));
        let old = read(
            "1.47",
            r#"{"HostConfig":{"NetworkMode":"n"},"NetworkingConfig":{"EndpointsConfig":{"n":{"GwPriority":3}}}}"#,
        );
        assert_eq!(old.unwrap().networks["n"].gateway_priority, 0);
    }

    #[test]
    fn the_mac_address_belongs_to_an_endpoint() {
        const MAC: &str = "02:42:ac:11:00:09";
        let body = format!(r#"{{"MacAddress":"{MAC}"}}"#);
        let got = read("1.51", &body).unwrap();
        assert_eq!(got.networks["bridge"].mac, MAC);
        assert_eq!(got.warnings, [MAC_IS_DEPRECATED]);
        let old = read("1.43", &body).unwrap();
        assert_eq!(old.networks["bridge"].mac, MAC);
        assert!(old.warnings.is_empty());
        let named = format!(
            r#"{{"MacAddress":"{MAC}","HostConfig":{{"NetworkMode":"n"}},"NetworkingConfig":{{"EndpointsConfig":{{"id":{{}}}}}}}}"#
        );
        assert_eq!(read("1.43", &named).unwrap().networks["id"].mac, MAC);
        assert_eq!(
            read("1.44", &named).unwrap_err(),
            "400 unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"
        );
        let ignored = r#"{"NetworkingConfig":{"EndpointsConfig":{"bridge":{"MacAddress":"02:42:ac:11:00:09"}}}}"#;
        assert_eq!(read("1.43", ignored).unwrap().networks["bridge"].mac, "");
        assert_eq!(read("1.44", ignored).unwrap().networks["bridge"].mac, MAC);
        let host = format!(r#"{{"MacAddress":"{MAC}","HostConfig":{{"NetworkMode":"host"}}}}"#);
        assert_eq!(
            read("1.43", &host).unwrap_err(),
            "400 conflicting options: mac-address and the network mode"
        );
        assert!(read("1.44", &host).unwrap().networks.is_empty());
    }

    #[test]
    fn parameters_of_an_interface_belong_to_its_endpoint() {
        let body = r#"{"HostConfig":{"Sysctls":{"net.ipv4.conf.eth0.log_martians":"1","net.ipv4.ip_forward":"1"}}}"#;
        let mut request = CreateRequest::decode(body.as_bytes()).unwrap();
        let got = take(&mut request, "1.47").unwrap();
        assert_eq!(
            got.networks["bridge"].driver_opts.as_ref().unwrap()[SYSCTLS],
            "net.ipv4.conf.IFNAME.log_martians=1"
        );
        assert_eq!(
            got.warnings,
            [
                r#"Migrated sysctl "net.ipv4.conf.eth0.log_martians" to DriverOpts{"com.docker.network.endpoint.sysctls":"net.ipv4.conf.IFNAME.log_martians=1"}."#
            ]
        );
        let left = request.host_config.unwrap().sysctls.unwrap();
        assert_eq!(left.keys().collect::<Vec<_>>(), ["net.ipv4.ip_forward"]);
        assert_eq!(
            read("1.48", body).unwrap_err(),
            "500 interface specific sysctl setting \"net.ipv4.conf.eth0.log_martians\" must be supplied using driver option 'com.docker.network.endpoint.sysctls'"
        );
        assert_eq!(
            read("1.46", &body.replace("eth0", "eth1")).unwrap_err(),
            "500 unable to determine network endpoint for sysctl net.ipv4.conf.eth1.log_martians, use driver option 'com.docker.network.endpoint.sysctls' to set per-interface sysctls"
        );
        let host = body.replace(
            "{\"HostConfig\":{",
            "{\"HostConfig\":{\"NetworkMode\":\"host\",",
        );
        assert!(read("1.51", &host).unwrap().networks.is_empty());
    }

    #[test]
    fn what_a_version_does_not_know_is_refused() {
        let two = r#"{"NetworkingConfig":{"EndpointsConfig":{"a":{},"b":{}}}}"#;
        assert_eq!(
            read("1.43", two).unwrap_err(),
            "400 Container cannot be created with multiple network endpoints: a, b"
        );
        assert_eq!(read("1.44", two).unwrap().networks.len(), 2);
        assert_eq!(
            read(
                "1.51",
                r#"{"NetworkingConfig":{"EndpointsConfig":{"a":null}}}"#
            )
            .unwrap_err(),
            "400 invalid config for network a: EndpointsConfig is nil"
        );
    }
}
