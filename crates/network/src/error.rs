//! What can fail in a network, with Docker's texts where users see them.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use spec::error::{Classify, ErrorKind};

use crate::config::Ipv4Net;

/// A failure of the network layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text that is no IPv4 network.
    #[error("invalid CIDR address: {text}")]
    InvalidNet {
        /// What was given.
        text: String,
    },
    /// A configuration value that cannot work.
    #[error("invalid network configuration: {rule}")]
    InvalidConfig {
        /// What is wrong with it.
        rule: String,
    },
    /// Every default pool overlaps with the host's addresses or routes.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    PoolsExhausted,
    /// The configured bridge address overlaps with the host's addresses or routes.
    #[error(
        "cannot create network {bridge}: conflicts with existing address or route {other} of {interface}"
    )]
    Overlap {
        /// The bridge wanted.
        bridge: String,
        /// The network it collides with.
        other: Ipv4Net,
        /// The interface that has it.
        interface: String,
    },
    /// Every address of the subnet is taken.
    #[error("no available IPv4 addresses on this network's address pools: {name} ({id})")]
    AddressesExhausted {
        /// Name of the network.
        name: String,
        /// Its id.
        id: String,
    },
    /// The wanted address belongs to another endpoint.
    #[error("Address already in use")]
    AddressInUse {
        /// The address.
        address: Ipv4Addr,
    },
    /// The wanted address is not one that the subnet can give out.
    #[error("invalid address {address}: it does not belong to any of this network's subnets")]
    AddressOutside {
        /// The address.
        address: Ipv4Addr,
    },
    /// The container has an endpoint in this network already.
    #[error("endpoint of container {container} already exists in network {network}")]
    AlreadyAttached {
        /// The container.
        container: String,
        /// Name of the network.
        network: String,
    },
    /// A Linux bridge takes 1023 ports.
    #[error("bridge {bridge} has no room for another container: it has its 1023 ports")]
    BridgeFull {
        /// The bridge.
        bridge: String,
    },
    /// A name that belongs to something that is not ours.
    #[error("interface {name} exists and is not a bridge")]
    NotABridge {
        /// The interface.
        name: String,
    },
    /// The kernel refused a step.
    #[error("failed to {step}")]
    Kernel {
        /// What was being done.
        step: String,
        /// The refusal.
        source: sys::Error,
    },
    /// A file of the state directory or of procfs could not be used.
    #[error("failed to {step} `{path}`")]
    File {
        /// What was being done.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps a refusal of the kernel with the step it stopped.
    pub(crate) fn kernel(step: impl Into<String>) -> impl FnOnce(sys::Error) -> Self {
        let step = step.into();
        move |source| Self::Kernel { step, source }
    }

    /// Wraps a failed file access.
    pub(crate) fn file(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { step, path, source }
    }
}

impl Classify for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidNet { .. } | Self::InvalidConfig { .. } | Self::AddressOutside { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::PoolsExhausted | Self::AddressesExhausted { .. } | Self::BridgeFull { .. } => {
                ErrorKind::Exhausted
            }
            Self::Overlap { .. } | Self::AddressInUse { .. } | Self::AlreadyAttached { .. } => {
                ErrorKind::Conflict
            }
            Self::NotABridge { .. } => ErrorKind::Conflict,
            Self::Kernel { .. } | Self::File { .. } => ErrorKind::Internal,
        }
    }
}
