//! Commands about images.

mod history;
mod list;
mod load;
mod prune;
mod pull;
mod push;
mod remove;
mod save;

pub use load::body;
pub use prune::remove_unused;
pub use pull::for_create as pull_for_create;

use super::{filter, format_list, format_one, inspect};
use crate::exit::Failure;
use crate::flags::{Flag, Kind, Parsed};
use crate::platform::Platform;
use crate::tree::{Arity, Command};

/// `images`
pub const IMAGES: Command = Command::new(
    "images [OPTIONS] [REPOSITORY[:TAG]]",
    "images",
    "List images",
    list::run,
)
.flags(&[
    Flag::bool(
        "all",
        'a',
        "Show all images (default hides intermediate images)",
    ),
    Flag::bool("digests", '\0', "Show digests"),
    filter('f', "Filter output based on conditions provided"),
    format_list(),
    Flag::bool("no-trunc", '\0', "Don't truncate output"),
    Flag::bool("quiet", 'q', "Only show image IDs"),
    Flag::bool(
        "tree",
        '\0',
        "List multi-platform images as a tree (EXPERIMENTAL)",
    ),
])
.arity(Arity::AtMost(1))
.spellings(&["image ls", "image list", "images"]);

/// `load`
pub const LOAD: Command =
    Command::new("load [OPTIONS]", "load", "Load an image from a tar archive or STDIN", load::load)
        .flags(&[
            Flag::string("input", 'i', "Read from tar archive file, instead of STDIN"),
            Flag::string("platform", '\0', "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
            Flag::bool("quiet", 'q', "Suppress the load output"),
        ])
        .spellings(&["image load", "load"]);

/// `import`
pub const IMPORT: Command = Command::new(
    "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "import",
    "Import the contents from a tarball to create a filesystem image",
    load::import,
)
.flags(&[
    Flag::list(
        "change",
        'c',
        "Apply Dockerfile instruction to the created image",
    ),
    Flag::string("message", 'm', "Set commit message for imported image"),
    Flag::string(
        "platform",
        '\0',
        "Set platform if server is multi-platform capable",
    ),
])
.arity(Arity::AtLeast(1))
.spellings(&["image import", "import"]);

/// `tag`
pub const TAG: Command = Command::new(
    "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "tag",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    remove::tag,
)
.arity(Arity::Exact(2))
.spellings(&["image tag", "tag"]);

/// `rmi`
pub const RMI: Command =
    Command::new("rmi [OPTIONS] IMAGE [IMAGE...]", "rmi", "Remove one or more images", remove::remove)
        .flags(&[
            Flag::bool("force", 'f', "Force removal of the image"),
            Flag::bool("no-prune", '\0', "Do not delete untagged parents"),
            Flag::of("platform", '\0', Kind::Commas, "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
        ])
        .arity(Arity::AtLeast(1))
        .spellings(&["image rm", "image remove", "rmi"]);

/// `history`
pub const HISTORY: Command =
    Command::new("history [OPTIONS] IMAGE", "history", "Show the history of an image", history::run)
        .flags(&[
            format_list(),
            Flag::bool("human", 'H', "Print sizes and dates in human readable format").default("true", "true"),
            Flag::bool("no-trunc", '\0', "Don't truncate output"),
            Flag::string("platform", '\0', "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
            Flag::bool("quiet", 'q', "Only show image IDs"),
        ])
        .arity(Arity::Exact(1))
        .spellings(&["image history", "history"]);

/// `build`
pub const BUILD: Command = Command::not_yet(
    "build [OPTIONS] PATH | URL | -",
    "build",
    "Build an image from a Dockerfile",
)
.spellings(&["image build", "build", "builder build"]);
/// `pull`
pub const PULL: Command = Command::new(
    "pull [OPTIONS] NAME[:TAG|@DIGEST]",
    "pull",
    "Download an image from a registry",
    pull::run,
)
.flags(&[
    Flag::bool(
        "all-tags",
        'a',
        "Download all tagged images in the repository",
    ),
    trust("Skip image verification"),
    Flag::string(
        "platform",
        '\0',
        "Set platform if server is multi-platform capable",
    ),
    Flag::bool("quiet", 'q', "Suppress verbose output"),
])
.arity(Arity::Exact(1))
.spellings(&["image pull", "pull"]);

/// `push`
pub const PUSH: Command = Command::new(
    "push [OPTIONS] NAME[:TAG]",
    "push",
    "Upload an image to a registry",
    push::run,
)
.flags(&[
    Flag::bool(
        "all-tags",
        'a',
        "Push all tags of an image to the repository",
    ),
    trust("Skip image signing"),
    Flag::string("platform", '\0', "Push a platform-specific manifest as a single-platform image to the registry.
Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.
'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"),
    Flag::bool("quiet", 'q', "Suppress verbose output"),
])
.arity(Arity::Exact(1))
.spellings(&["image push", "push"]);

/// `save`
pub const SAVE: Command = Command::new(
    "save [OPTIONS] IMAGE [IMAGE...]",
    "save",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    save::run,
)
.flags(&[
    Flag::string("output", 'o', "Write to a file, instead of STDOUT"),
    Flag::string("platform", '\0', "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
])
.arity(Arity::AtLeast(1))
.spellings(&["image save", "save"]);

/// `--disable-content-trust`, which is the only way here.
const fn trust(usage: &'static str) -> Flag {
    Flag::bool("disable-content-trust", '\0', usage).default("true", "true")
}

const LS: Command = IMAGES
    .named("ls", "ls [OPTIONS] [REPOSITORY[:TAG]]")
    .aliases(&["list"]);
const RM: Command = RMI
    .named("rm", "rm [OPTIONS] IMAGE [IMAGE...]")
    .aliases(&["remove"]);

const INSPECT: Command = Command::new(
    "inspect [OPTIONS] IMAGE [IMAGE...]",
    "inspect",
    "Display detailed information on one or more images",
    inspect::images,
)
.flags(&[
    format_one('f'),
    Flag::string("platform", '\0', "Inspect a specific platform of the multi-platform image.
If the image or the server is not multi-platform capable, the command will error out if the platform does not match.
'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"),
])
.arity(Arity::AtLeast(1));

const PRUNE: Command = Command::new(
    "prune [OPTIONS]",
    "prune",
    "Remove unused images",
    prune::run,
)
.flags(&[
    Flag::bool(
        "all",
        'a',
        "Remove all unused images, not just dangling ones",
    ),
    Flag::bool(
        "dry-run",
        '\0',
        "Show what would be removed, and remove nothing",
    )
    .own(),
    filter('\0', "Provide filter values (e.g. \"until=<timestamp>\")"),
    Flag::bool("force", 'f', "Do not prompt for confirmation"),
]);

/// `image`
pub const GROUP: Command = Command::group(
    "image",
    "Manage images",
    &[
        BUILD, HISTORY, IMPORT, INSPECT, LOAD, LS, PRUNE, PULL, PUSH, RM, SAVE, TAG,
    ],
);

/// `--platform` of what is there already; what is wrong with it is told behind `prefix`.
pub fn variant(flags: &Parsed, prefix: &str) -> Result<Option<Platform>, Failure> {
    match flags.str("platform") {
        "" => Ok(None),
        text => match Platform::parse(text) {
            Ok(platform) => Ok(Some(platform)),
            Err(why) => Err(Failure::new(format!("{prefix}{why}"))),
        },
    }
}
