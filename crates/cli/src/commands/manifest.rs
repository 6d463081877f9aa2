//! `manifest`: one name for the images of several platforms.
//!
//! A list is put together in files below the configuration (`kept`) from images that are on a
//! registry already (`remote`), and put beside them when it is complete. The daemon has no part in
//! it.

mod annotate;
mod create;
mod entry;
mod inspect;
mod kept;
mod push;
mod remote;

use spec::Reference;

use crate::exit::Failure;
use crate::flags::{Flag, Kind};
use crate::tree::{Arity, Command};

const LONG: &str =
    "The **docker manifest** command has subcommands for managing image manifests and
manifest lists. A manifest list allows you to use one name to refer to the same image
built for multiple architectures.

To see help for a subcommand, use:

    docker manifest CMD --help

For full details on using docker manifest lists, see the registry v2 specification.";

const INSECURE: Flag = Flag::bool(
    "insecure",
    '\0',
    "Allow communication with an insecure registry",
);

/// `manifest`
pub const GROUP: Command = Command::group(
    "manifest",
    "Manage Docker image manifests and manifest lists",
    &[ANNOTATE, CREATE, INSPECT, PUSH, RM],
)
.usage("manifest COMMAND")
.long(LONG)
.experimental();

const ANNOTATE: Command = Command::new(
    "annotate [OPTIONS] MANIFEST_LIST MANIFEST",
    "annotate",
    "Add additional information to a local image manifest",
    annotate::run,
)
.flags(&[
    Flag::string("arch", '\0', "Set architecture"),
    Flag::string("os", '\0', "Set operating system"),
    Flag::of(
        "os-features",
        '\0',
        Kind::Commas,
        "Set operating system feature",
    ),
    Flag::string("os-version", '\0', "Set operating system version"),
    Flag::string("variant", '\0', "Set architecture variant"),
])
.arity(Arity::Exact(2))
.experimental();

const CREATE: Command = Command::new(
    "create MANIFEST_LIST MANIFEST [MANIFEST...]",
    "create",
    "Create a local manifest list for annotating and pushing to a registry",
    create::run,
)
.flags(&[
    Flag::bool("amend", 'a', "Amend an existing manifest list"),
    INSECURE,
])
.arity(Arity::AtLeast(2))
.experimental();

const INSPECT: Command = Command::new(
    "inspect [OPTIONS] [MANIFEST_LIST] MANIFEST",
    "inspect",
    "Display an image manifest, or manifest list",
    inspect::run,
)
.flags(&[
    INSECURE,
    Flag::bool(
        "verbose",
        'v',
        "Output additional info including layers and platform",
    ),
])
.arity(Arity::Range(1, 2))
.experimental();

const PUSH: Command = Command::new(
    "push [OPTIONS] MANIFEST_LIST",
    "push",
    "Push a manifest list to a repository",
    push::run,
)
.flags(&[
    Flag::bool("insecure", '\0', "Allow push to an insecure registry"),
    Flag::bool("purge", 'p', "Remove the local manifest list after push"),
])
.arity(Arity::Exact(1))
.experimental();

const RM: Command = Command::new(
    "rm MANIFEST_LIST [MANIFEST_LIST...]",
    "rm",
    "Delete one or more manifest lists from local storage",
    annotate::remove,
)
.arity(Arity::AtLeast(1))
.experimental();

// The name of a list or an image; Docker's text is put behind `what`.
fn named(text: &str, what: &str) -> Result<Reference, Failure> {
    let reference = text.parse::<Reference>();
    reference.map_err(|error| Failure::new(format!("{what}{error}")))
}

// The name with its domain, as files and messages have it.
fn whole(reference: &Reference) -> String {
    let mut out = reference.repository();
    if let Some(tag) = reference.tag() {
        out.push_str(&format!(":{tag}"));
    }
    if let Some(digest) = reference.digest() {
        out.push_str(&format!("@{digest}"));
    }
    out
}
