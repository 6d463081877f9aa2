//! Flags about networks: the default bridge, pools of addresses, the firewall and names.

use super::flag::Effect::{Accepted, Used};
use super::flag::{Flag, f};
use super::kind::Kind::{
    Address, Bool, Choice, DriverOptions, Gateways, Int, List, Pool, Servers, Text,
};

/// How published ports get past the host's firewall.
pub const FIREWALL_MODES: &[&str] = &["host", "docker"];

/// The flags.
pub(super) const NETWORKS: &[Flag] = &[
    f(
        "allow-direct-routing",
        Bool,
        Used,
        "Allow remote access to published ports on container IP addresses",
    ),
    f("bip", Text, Used, "IPv4 address for the default bridge"),
    f("bip6", Text, Used, "IPv6 address for the default bridge"),
    f(
        "bridge",
        Text,
        Used,
        "Attach containers to a network bridge",
    )
    .letter('b'),
    f(
        "bridge-accept-fwmark",
        Text,
        Accepted,
        "In bridge networks, accept packets with this firewall mark/mask",
    ),
    f(
        "cni-bin-dir",
        List,
        Used,
        "Directories with programs of CNI",
    )
    .key("cni-bin-dirs"),
    f(
        "cni-config-dir",
        Text,
        Used,
        "Directory with network configurations of CNI",
    ),
    f(
        "default-address-pool",
        Pool,
        Used,
        "Default address pools for node specific local networks",
    )
    .key("default-address-pools"),
    f(
        "default-gateway",
        Address,
        Used,
        "Default gateway IPv4 address for the default bridge network",
    ),
    f(
        "default-gateway-v6",
        Address,
        Used,
        "Default gateway IPv6 address for the default bridge network",
    ),
    f(
        "default-network-opt",
        DriverOptions,
        Used,
        "Default network options",
    )
    .key("default-network-opts"),
    f("dns", Servers, Used, "DNS server to use"),
    f("dns-opt", List, Used, "DNS options to use").key("dns-opts"),
    f("dns-search", List, Used, "DNS search domains to use"),
    f(
        "firewall",
        Choice(FIREWALL_MODES),
        Used,
        "Whether published ports obey the host's input rules (\"host\"|\"docker\")",
    ),
    f(
        "firewall-backend",
        Text,
        Accepted,
        "Firewall backend to use; nftables is the only one",
    ),
    f(
        "fixed-cidr",
        Text,
        Used,
        "IPv4 subnet for the default bridge network",
    ),
    f(
        "fixed-cidr-v6",
        Text,
        Used,
        "IPv6 subnet for the default bridge network",
    ),
    f(
        "host-gateway-ip",
        Gateways,
        Used,
        "IP addresses that the special 'host-gateway' string in --add-host resolves to",
    )
    .key("host-gateway-ips"),
    f(
        "icc",
        Bool,
        Used,
        "Enable inter-container communication for the default bridge network",
    ),
    f(
        "ip",
        Address,
        Used,
        "Host IP for port publishing from the default bridge network",
    ),
    f(
        "ip-forward",
        Bool,
        Used,
        "Enable IP forwarding in system configuration",
    ),
    f(
        "ip-forward-no-drop",
        Bool,
        Used,
        "Do not set the filter-FORWARD policy to DROP when enabling IP forwarding",
    ),
    f(
        "ip-masq",
        Bool,
        Used,
        "Enable IP masquerading for the default bridge network",
    ),
    f(
        "ip6tables",
        Bool,
        Used,
        "Enable addition of firewall rules for IPv6",
    ),
    f("iptables", Bool, Used, "Enable addition of firewall rules"),
    f(
        "ipv6",
        Bool,
        Used,
        "Enable IPv6 networking for the default bridge network",
    ),
    f(
        "mtu",
        Int,
        Used,
        "Set the MTU for the default \"bridge\" network",
    ),
    f(
        "network-control-plane-mtu",
        Int,
        Accepted,
        "Network Control plane MTU",
    ),
    f(
        "network-diagnostic-port",
        Int,
        Accepted,
        "TCP port number of the network diagnostic server",
    ),
    f(
        "userland-proxy",
        Bool,
        Used,
        "Use userland proxy for ports of IPv6 addresses that lead to IPv4",
    ),
    f(
        "userland-proxy-path",
        Text,
        Accepted,
        "Path to the userland proxy binary; there is none",
    ),
];
