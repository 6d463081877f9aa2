//! Where a container's namespaces come from: new ones, the host's, or another container's.

use std::os::fd::OwnedFd;

use network::AttachOptions;
use spec::ErrorKind;

use super::record::Record;
use super::shared::{Shared, resting_endpoint};
use super::start::has_endpoint;
use crate::container::{Container, EndpointView, HostConfig};
use crate::{Error, Result, oci};

/// Makes or finds the network namespace; `None` is the host's.
pub(super) fn sandbox(
    shared: &Shared,
    record: &Record,
    joined: &oci::Joined,
) -> Result<(Option<OwnedFd>, EndpointView)> {
    let mut view = resting_endpoint(&record.host, shared.network.as_deref());
    match &joined.network {
        oci::Source::Host => return Ok((None, view)),
        oci::Source::Path(path) => {
            let file = std::fs::File::open(path)
                .map_err(|e| Error::io(format!("failed to join `{}`", path.display()), e))?;
            return Ok((Some(file.into()), view));
        }
        oci::Source::New => {}
    }
    let Some(network) = shared.network.as_deref() else {
        return if has_endpoint(record) {
            Err(Error::refused(
                ErrorKind::NotFound,
                "network bridge not found",
            ))
        } else {
            Ok((None, view))
        };
    };
    if !has_endpoint(record) {
        return Ok((Some(network.none()?), view));
    }
    let options = AttachOptions {
        mac: match record.config.mac_address.as_str() {
            "" => None,
            text => Some(text.parse()?),
        },
        ..AttachOptions::default()
    };
    let endpoint = network.attach(&record.id, &options)?;
    view.network_id = endpoint.network_id.to_string();
    view.endpoint_id = endpoint.endpoint_id.to_string();
    view.address = endpoint.address.to_string();
    view.prefix_len = endpoint.prefix;
    view.gateway = endpoint.gateway.to_string();
    view.mac = endpoint.mac.to_string();
    Ok((Some(endpoint.netns), view))
}

/// Which namespaces are shared with the host or with another container.
pub(super) fn joined(shared: &Shared, host: &HostConfig) -> Result<oci::Joined> {
    let of = |mode: &str, file: &str, what: &str| -> Result<oci::Source> {
        if mode == "host" {
            return Ok(oci::Source::Host);
        }
        let Some(key) = mode.strip_prefix("container:") else {
            return Ok(oci::Source::New);
        };
        let other = shared.table().find(key)?.container();
        let pid = running_pid(&other, what)?;
        Ok(oci::Source::Path(format!("/proc/{pid}/ns/{file}").into()))
    };
    let network = of(&host.network_mode, "net", "network")?;
    let uts = of(&host.uts_mode, "uts", "UTS")?;
    Ok(oci::Joined {
        pid: of(&host.pid_mode, "pid", "PID")?,
        ipc: of(&host.ipc_mode, "ipc", "IPC")?,
        uts,
        network,
        cgroup: if host.cgroupns_mode == "host" {
            oci::Source::Host
        } else {
            oci::Source::New
        },
    })
}

fn running_pid(other: &Container, what: &str) -> Result<i32> {
    let id = other.id;
    match other.state.running() {
        Some(running) => Ok(running.pid),
        None if what == "network" => Err(Error::conflict(format!(
            "cannot join network namespace of a non running container: container {} is {}",
            other.name,
            other.state.status()
        ))),
        None => Err(Error::conflict(format!(
            "failed to join {what} namespace: container {id} is not running"
        ))),
    }
}
