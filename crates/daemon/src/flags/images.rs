//! Flags about registries and the space that images take; all but the proxies may change at a reload.

use super::flag::Effect::Used;
use super::flag::{Flag, f};
use super::kind::Kind::{Bool, Choice, Duration, Int, List, Space, Text};

/// What becomes of the compressed layers after a pull.
pub const LAYER_BLOBS: &[&str] = &["auto", "keep", "drop"];

/// The flags; those of `gc` are one object in `daemon.json`.
pub(super) const IMAGES: &[Flag] = &[
    f(
        "allow-nondistributable-artifacts",
        List,
        Used,
        "Allow push of nondistributable artifacts to registry",
    ),
    f(
        "certs-dir",
        List,
        Used,
        "Directories with certificates and hosts.toml per registry",
    )
    .key("certs-dirs"),
    f(
        "gc-enabled",
        Bool,
        Used,
        "Remove what no image refers to in the background",
    ),
    f(
        "gc-free-space",
        Space,
        Used,
        "Space to keep free, as size or percentage; less makes collection come sooner",
    ),
    f(
        "gc-interval",
        Duration,
        Used,
        "Time between two collections",
    ),
    f(
        "gc-partial-age",
        Duration,
        Used,
        "How long an interrupted download is kept",
    ),
    f(
        "gc-unreferenced-age",
        Duration,
        Used,
        "How long content that nothing refers to is kept",
    ),
    f(
        "http-proxy",
        Text,
        Used,
        "HTTP proxy URL to use for outgoing traffic",
    ),
    f(
        "https-proxy",
        Text,
        Used,
        "HTTPS proxy URL to use for outgoing traffic",
    ),
    f(
        "insecure-registry",
        List,
        Used,
        "Enable insecure registry communication",
    )
    .key("insecure-registries"),
    f(
        "layer-blobs",
        Choice(LAYER_BLOBS),
        Used,
        "Compressed layers after a pull (\"auto\"|\"keep\"|\"drop\")",
    ),
    f(
        "max-concurrent-downloads",
        Int,
        Used,
        "Set the max concurrent downloads",
    ),
    f(
        "max-concurrent-uploads",
        Int,
        Used,
        "Set the max concurrent uploads",
    ),
    f(
        "max-download-attempts",
        Int,
        Used,
        "Set the max download attempts for each pull",
    ),
    f(
        "no-proxy",
        Text,
        Used,
        "Comma-separated list of hosts or IP addresses for which the proxy is skipped",
    ),
    f("registry-mirror", List, Used, "Preferred registry mirror").key("registry-mirrors"),
];
