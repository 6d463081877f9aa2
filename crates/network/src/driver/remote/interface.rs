//! Interfaces that plugins made: into a sandbox, and back.

use std::os::fd::{AsFd as _, BorrowedFd};

use sys::netlink::{Protocol, Socket};

use crate::driver::DriverFailure;
use crate::driver::parent::host_socket;
use crate::{Error, Result};

/// Moves an interface of the host into a sandbox.
pub(super) fn give(name: &str, inside: &str, netns: BorrowedFd<'_>) -> Result<()> {
    let step = || Error::kernel(format!("move interface {name} into the sandbox"));
    let mut socket = host_socket()?;
    let link = match socket.link(name) {
        Ok(Some(link)) if link.name == name && name != "lo" => link,
        _ => {
            let name = plugin::shortened(name);
            return Err(DriverFailure::refused(format!(
                "the plugin's interface {name} was not found on the Docker host"
            ))
            .into());
        }
    };
    socket
        .execute_one(|m| m.move_link(link.index, inside, netns))
        .map_err(step())
}

/// Moves an interface back into the host's namespace, where its plugin expects it, and tells how it
/// is called there.
pub(super) fn take_back(
    netns: BorrowedFd<'_>,
    inside: &str,
    name: String,
) -> Result<Option<String>> {
    let step = || Error::kernel(format!("move interface {inside} out of the sandbox"));
    let host = sys::netns::current().map_err(step())?;
    let moved = sys::netns::with(netns, || {
        let mut socket = Socket::open(Protocol::Route)?;
        let Some(link) = socket.link(inside)? else {
            return Ok(false);
        };
        socket.execute_one(|m| m.move_link(link.index, &name, host.as_fd()))?;
        Ok::<_, sys::Error>(true)
    })
    .map_err(step())?;
    Ok(moved.then_some(name))
}

/// Removes an interface that its plugin did not take care of; hardware stays.
pub(super) fn discard(name: &str) {
    let discarded = host_socket().and_then(|mut socket| {
        let step = || Error::kernel(format!("remove interface {name}"));
        match socket.link(name).map_err(step())? {
            Some(link) if !link.kind.is_empty() => socket
                .execute_one(|m| m.delete_link(link.index))
                .map_err(step()),
            _ => Ok(()),
        }
    });
    if let Err(error) = discarded {
        let error = spec::error::chain(&error);
        tracing::warn!(interface = name, error, "an interface of a plugin is left");
    }
}
