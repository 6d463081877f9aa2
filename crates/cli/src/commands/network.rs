//! Commands about networks.

mod attach;
mod create;
mod list;
mod prune;
mod remove;

pub use prune::remove_unused;

use super::{filter, format_list, format_one, inspect};
use crate::flags::{Flag, Kind, any};
use crate::options::validate;
use crate::tree::{Arity, Command};

const MAP: Kind = Kind::List("map", any);
/// What Docker's client says of an empty name.
const NO_NAME: &str = "invalid network name or ID: value is empty";

const fn strings(long: &'static str, usage: &'static str) -> Flag {
    Flag::of(long, '\0', Kind::Commas, usage)
}

const fn map(long: &'static str, short: char, usage: &'static str) -> Flag {
    Flag::of(long, short, MAP, usage).default("", "map[]")
}

const CONNECT: Command = Command::new(
    "connect [OPTIONS] NETWORK CONTAINER",
    "connect",
    "Connect a container to a network",
    attach::connect,
)
.flags(&[
    strings("alias", "Add network-scoped alias for the container"),
    strings("driver-opt", "driver options for the network"),
    Flag::int(
        "gw-priority",
        '\0',
        "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
    ),
    Flag::string("ip", '\0', "IPv4 address (e.g., \"172.30.100.104\")"),
    Flag::string("ip6", '\0', "IPv6 address (e.g., \"2001:db8::33\")"),
    Flag::checked_list(
        "link",
        '\0',
        validate::link,
        "Add link to another container",
    ),
    strings(
        "link-local-ip",
        "Add a link-local address for the container",
    ),
])
.arity(Arity::Exact(2));

const CREATE: Command = Command::new(
    "create [OPTIONS] NETWORK",
    "create",
    "Create a network",
    create::run,
)
.flags(&[
    Flag::bool("attachable", '\0', "Enable manual container attachment"),
    map(
        "aux-address",
        '\0',
        "Auxiliary IPv4 or IPv6 addresses used by Network driver",
    ),
    Flag::string(
        "config-from",
        '\0',
        "The network from which to copy the configuration",
    ),
    Flag::bool("config-only", '\0', "Create a configuration only network"),
    Flag::string("driver", 'd', "Driver to manage the Network").default("bridge", "bridge"),
    strings("gateway", "IPv4 or IPv6 Gateway for the master subnet"),
    Flag::bool("ingress", '\0', "Create swarm routing-mesh network"),
    Flag::bool("internal", '\0', "Restrict external access to the network"),
    strings("ip-range", "Allocate container ip from a sub-range"),
    Flag::string("ipam-driver", '\0', "IP Address Management Driver").default("default", "default"),
    map("ipam-opt", '\0', "Set IPAM driver specific options"),
    Flag::bool("ipv4", '\0', "Enable or disable IPv4 address assignment").default("true", "true"),
    Flag::bool("ipv6", '\0', "Enable or disable IPv6 address assignment"),
    Flag::checked_list("label", '\0', validate::label, "Set metadata on a network"),
    map("opt", 'o', "Set driver specific options"),
    Flag::string("scope", '\0', "Control the network's scope"),
    strings(
        "subnet",
        "Subnet in CIDR format that represents a network segment",
    ),
])
.arity(Arity::Exact(1));

const DISCONNECT: Command = Command::new(
    "disconnect [OPTIONS] NETWORK CONTAINER",
    "disconnect",
    "Disconnect a container from a network",
    attach::disconnect,
)
.flags(&[Flag::bool(
    "force",
    'f',
    "Force the container to disconnect from a network",
)])
.arity(Arity::Exact(2));

const INSPECT: Command = Command::new(
    "inspect [OPTIONS] NETWORK [NETWORK...]",
    "inspect",
    "Display detailed information on one or more networks",
    inspect::networks,
)
.flags(&[
    format_one('f'),
    Flag::bool("verbose", 'v', "Verbose output for diagnostics"),
])
.arity(Arity::AtLeast(1));

const LS: Command = Command::new("ls [OPTIONS]", "ls", "List networks", list::run)
    .flags(&[
        filter('f', "Provide filter values (e.g. \"driver=bridge\")"),
        format_list(),
        Flag::bool("no-trunc", '\0', "Do not truncate the output"),
        Flag::bool("quiet", 'q', "Only display network IDs"),
    ])
    .aliases(&["list"])
    .spellings(&["network ls", "network list"]);

const PRUNE: Command = Command::new(
    "prune [OPTIONS]",
    "prune",
    "Remove all unused networks",
    prune::run,
)
.flags(&[
    filter('\0', "Provide filter values (e.g. \"until=<timestamp>\")"),
    Flag::bool("force", 'f', "Do not prompt for confirmation"),
]);

const RM: Command = Command::new(
    "rm NETWORK [NETWORK...]",
    "rm",
    "Remove one or more networks",
    remove::run,
)
.flags(&[Flag::bool(
    "force",
    'f',
    "Do not error if the network does not exist",
)])
.arity(Arity::AtLeast(1))
.aliases(&["remove"])
.spellings(&["network rm", "network remove"]);

/// `network`
pub const GROUP: Command = Command::group(
    "network",
    "Manage networks",
    &[CONNECT, CREATE, DISCONNECT, INSPECT, LS, PRUNE, RM],
);
