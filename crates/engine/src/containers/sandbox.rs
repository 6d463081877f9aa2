//! Where a container's namespaces come from: new ones, the host's, or another container's.

use std::os::fd::OwnedFd;

use network::SandboxRequest;

use super::endpoint::Place;
use super::networking::{Mode, place, wishes};
use super::record::Record;
use super::shared::Shared;
use super::start::networking;
use crate::container::{Container, HostConfig};
use crate::{Error, Result, oci};

/// Whether a container's runs have a network namespace of their own.
pub(super) fn opens(record: &Record) -> bool {
    !matches!(
        Mode::of(&record.host.network_mode),
        Mode::Host | Mode::Container(_)
    )
}

/// Makes or finds the network namespace; `None` is the host's.
pub(super) fn sandbox(
    shared: &Shared,
    record: &Record,
    joined: &oci::Joined,
) -> Result<(Option<OwnedFd>, Place)> {
    match &joined.network {
        oci::Source::Host => {
            let others = record.networks().keys().map(String::as_str);
            wishes::compatible(Mode::Host, others, "host").map_err(networking)?;
            return Ok((None, Place::default()));
        }
        oci::Source::Path(path) => {
            let file = std::fs::File::open(path)
                .map_err(|e| Error::io(format!("failed to join `{}`", path.display()), e))?;
            return Ok((Some(file.into()), Place::default()));
        }
        oci::Source::New => {}
    }
    let request = if record.config.network_disabled {
        SandboxRequest::default()
    } else {
        place::request(shared, record).map_err(networking)?
    };
    let opened = shared.network.open_sandbox(&record.id, &request);
    let opened = opened.map_err(|e| networking(e.into()))?;
    let (endpoints, ports) = (opened.endpoints, opened.ports);
    Ok((Some(opened.netns), Place { endpoints, ports }))
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
        let found = shared.table().find(key);
        // Not the class "not found": it is not the container itself that is missing.
        let found = found.map_err(|e| match what {
            "network" => Error::internal(format!("joining network namespace of container: {e}")),
            _ => e,
        });
        let other = found?.container();
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
