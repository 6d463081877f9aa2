//! Commands about volumes.

mod create;
mod list;
mod one;
mod prune;
mod transfer;

pub use prune::remove_unused;

use super::{FILTER, format_list, format_one, inspect};
use crate::flags::{Flag, Kind, any};
use crate::options::validate;
use crate::tree::{Arity, Command};

const BYTES: Kind = Kind::Checked("bytes", validate::bytes);
const MAP: Kind = Kind::List("map", any);
const AVAILABILITY: Flag = Flag::string(
    "availability",
    '\0',
    "Cluster Volume availability (\"active\", \"pause\", \"drain\")",
)
.default("active", "active");

const CREATE: Command = Command::new(
    "create [OPTIONS] [VOLUME]",
    "create",
    "Create a volume",
    create::run,
)
.flags(&[
    AVAILABILITY,
    Flag::string("driver", 'd', "Specify volume driver name").default("local", "local"),
    Flag::string("group", '\0', "Cluster Volume group (cluster volumes)"),
    Flag::checked_list("label", '\0', validate::label, "Set metadata for a volume"),
    Flag::of(
        "limit-bytes",
        '\0',
        BYTES,
        "Minimum size of the Cluster Volume in bytes",
    ),
    Flag::string("name", '\0', "Specify volume name").hidden(),
    Flag::of("opt", 'o', MAP, "Set driver specific options").default("", "map[]"),
    Flag::of(
        "required-bytes",
        '\0',
        BYTES,
        "Maximum size of the Cluster Volume in bytes",
    ),
    Flag::string(
        "scope",
        '\0',
        "Cluster Volume access scope (\"single\", \"multi\")",
    )
    .default("single", "single"),
    Flag::of("secret", '\0', MAP, "Cluster Volume secrets").default("", "map[]"),
    Flag::string(
        "sharing",
        '\0',
        "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\")",
    )
    .default("none", "none"),
    Flag::list(
        "topology-preferred",
        '\0',
        "A topology that the Cluster Volume would be preferred in",
    ),
    Flag::list(
        "topology-required",
        '\0',
        "A topology that the Cluster Volume must be accessible from",
    ),
    Flag::string(
        "type",
        '\0',
        "Cluster Volume access type (\"mount\", \"block\")",
    )
    .default("block", "block"),
])
.arity(Arity::AtMost(1));

const INSPECT: Command = Command::new(
    "inspect [OPTIONS] VOLUME [VOLUME...]",
    "inspect",
    "Display detailed information on one or more volumes",
    inspect::volumes,
)
.flags(&[format_one('f')])
.arity(Arity::AtLeast(1));

const LS: Command = Command::new("ls [OPTIONS]", "ls", "List volumes", list::run)
    .flags(&[
        Flag::bool(
            "cluster",
            '\0',
            "Display only cluster volumes, and use cluster volume list formatting",
        ),
        Flag::of(
            "filter",
            'f',
            FILTER,
            "Provide filter values (e.g. \"dangling=true\")",
        ),
        format_list(),
        Flag::bool("quiet", 'q', "Only display volume names"),
    ])
    .aliases(&["list"])
    .spellings(&["volume ls", "volume list"]);

const PRUNE: Command = Command::new(
    "prune [OPTIONS]",
    "prune",
    "Remove unused local volumes",
    prune::run,
)
.flags(&[
    Flag::bool(
        "all",
        'a',
        "Remove all unused volumes, not just anonymous ones",
    ),
    Flag::bool(
        "dry-run",
        '\0',
        "Show what would be removed, and remove nothing",
    )
    .own(),
    Flag::of(
        "filter",
        '\0',
        FILTER,
        "Provide filter values (e.g. \"label=<label>\")",
    ),
    Flag::bool("force", 'f', "Do not prompt for confirmation"),
]);

const RM: Command = Command::new(
    "rm [OPTIONS] VOLUME [VOLUME...]",
    "rm",
    "Remove one or more volumes",
    one::remove,
)
.long("Remove one or more volumes. You cannot remove a volume that is in use by a container.")
.flags(&[Flag::bool(
    "force",
    'f',
    "Force the removal of one or more volumes",
)])
.arity(Arity::AtLeast(1))
.aliases(&["remove"])
.spellings(&["volume rm", "volume remove"]);

const UPDATE: Command = Command::new(
    "update [OPTIONS] [VOLUME]",
    "update",
    "Update a volume (cluster volumes only)",
    one::update,
)
.flags(&[AVAILABILITY])
.arity(Arity::Exact(1));

const CLONE: Command = Command::new(
    "clone VOLUME NEW_VOLUME",
    "clone",
    "Create a volume with a copy of another's data",
    one::duplicate,
)
.arity(Arity::Exact(2))
.own();

const EXPORT: Command = Command::new(
    "export [OPTIONS] VOLUME",
    "export",
    "Export a volume's data as a tar archive",
    transfer::export,
)
.flags(&[Flag::string(
    "output",
    'o',
    "Write to a file, instead of STDOUT",
)])
.arity(Arity::Exact(1))
.own();

const IMPORT: Command = Command::new(
    "import VOLUME [FILE|-]",
    "import",
    "Create a volume from a tar archive, or fill an empty one",
    transfer::import,
)
.arity(Arity::Range(1, 2))
.own();

const RENAME: Command = Command::new(
    "rename VOLUME NEW_NAME",
    "rename",
    "Rename a volume that is not in use",
    one::rename,
)
.arity(Arity::Exact(2))
.own();

const PROTECT: Command = Command::new(
    "protect VOLUME [VOLUME...]",
    "protect",
    "Protect one or more volumes from removal and prune",
    one::protect,
)
.arity(Arity::AtLeast(1))
.own();

const UNPROTECT: Command = Command::new(
    "unprotect VOLUME [VOLUME...]",
    "unprotect",
    "Take the protection of one or more volumes away",
    one::unprotect,
)
.arity(Arity::AtLeast(1))
.own();

/// `volume`
pub const GROUP: Command = Command::group(
    "volume",
    "Manage volumes",
    &[
        CLONE, CREATE, EXPORT, IMPORT, INSPECT, LS, PROTECT, PRUNE, RENAME, RM, UNPROTECT, UPDATE,
    ],
);
