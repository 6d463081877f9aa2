//! What can fail in a network, with Docker's texts where users see them.

use std::net::IpAddr;
use std::path::PathBuf;

use spec::error::{Classify, ErrorKind};

use crate::IpNet;

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
    /// Every default pool overlaps with other networks or the host's addresses or routes.
    #[error("all predefined address pools have been fully subnetted")]
    PoolsExhausted,
    /// The configured bridge address overlaps with the host's addresses or routes.
    #[error(
        "cannot create network {bridge}: conflicts with existing address or route {other} of {interface}"
    )]
    Overlap {
        /// The bridge wanted.
        bridge: String,
        /// The network it collides with.
        other: IpNet,
        /// The interface that has it.
        interface: String,
    },
    /// Every address of the subnet is taken.
    #[error("no available {family} addresses on this network's address pools: {name} ({id})")]
    AddressesExhausted {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Name of the network.
        name: String,
        /// Its id.
        id: String,
    },
    /// The wanted address belongs to another endpoint.
    #[error("Address already in use")]
    AddressInUse {
        /// The address.
        address: IpAddr,
    },
    /// The wanted address is not one that the subnet can give out.
    #[error("invalid address {address}: it does not belong to any of this network's subnets")]
    AddressOutside {
        /// The address.
        address: IpAddr,
    },
    /// The container has an endpoint in this network already.
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyAttached {
        /// Name of the container.
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
    /// A request that Docker refuses with these very words.
    #[error("{text}")]
    Refused {
        /// What the caller can do about it.
        kind: ErrorKind,
        /// Docker's text.
        text: String,
    },
    /// No network has this name or id.
    #[error("network {key} not found")]
    NoSuchNetwork {
        /// What was looked for.
        key: String,
    },
    /// The container has no endpoint in the network.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// Id of the container.
        container: String,
        /// Name of the network.
        network: String,
    },
    /// Ports could not be published.
    #[error("driver failed programming external connectivity on endpoint {name} ({id})")]
    Publish {
        /// Name of the container.
        name: String,
        /// Id of the endpoint.
        id: String,
        /// The cause.
        source: Box<Error>,
    },
    /// Ports could not be relayed.
    #[error("error starting userland proxy")]
    Relay {
        /// Why not.
        source: relay::client::Error,
    },
    /// Another container has the host's port.
    #[error("Bind for {address}:{port} failed: port is already allocated{holder}")]
    PortAllocated {
        /// The address that it has it at.
        address: std::net::IpAddr,
        /// The port.
        port: u16,
        /// Who has it.
        holder: String,
    },
    /// The host's port cannot be bound.
    #[error("failed to bind host port for {host}:{target}/{protocol}: {reason}")]
    PortInUse {
        /// The address and port wanted.
        host: std::net::SocketAddr,
        /// The container's address and port.
        target: std::net::SocketAddr,
        /// The protocol.
        protocol: crate::Protocol,
        /// Why not, and who has it.
        reason: String,
        /// Somebody has it; another one may be free.
        taken: bool,
    },
    /// No port of the range is free.
    #[error("all ports are allocated")]
    PortsExhausted,
    /// The kernel refused a step.
    #[error("failed to {step}")]
    Kernel {
        /// What was being done.
        step: String,
        /// The refusal.
        source: sys::Error,
    },
    /// A driver could not do what was asked of it.
    #[error(transparent)]
    Driver(#[from] crate::driver::DriverFailure),
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
    /// A refusal with Docker's text.
    pub(crate) fn refused(kind: ErrorKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::Refused { kind, text }
    }

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
            Self::PoolsExhausted => ErrorKind::InvalidArgument,
            Self::AddressesExhausted { .. } | Self::BridgeFull { .. } => ErrorKind::Exhausted,
            Self::Overlap { .. } | Self::AddressInUse { .. } | Self::AlreadyAttached { .. } => {
                ErrorKind::Conflict
            }
            Self::NotABridge { .. } => ErrorKind::Conflict,
            Self::PortAllocated { .. } | Self::PortInUse { .. } | Self::PortsExhausted => {
                ErrorKind::Internal
            }
            Self::Driver(failure) => failure.kind(),
            Self::NoSuchNetwork { .. } => ErrorKind::NotFound,
            Self::NotConnected { .. } => ErrorKind::Forbidden,
            Self::Refused { kind, .. } => *kind,
            Self::Publish { source, .. } => source.kind(),
            Self::Relay { source } => source.kind(),
            Self::Kernel { .. } | Self::File { .. } => ErrorKind::Internal,
        }
    }
}
