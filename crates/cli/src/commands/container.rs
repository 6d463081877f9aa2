//! Commands about containers.

mod attach;
mod commit;
mod cp;
mod create;
mod diff;
mod each;
mod exec;
mod list;
mod logs;
mod port;
mod prune;
mod run;
mod start;
mod stats;
mod top;
mod update;

pub use prune::remove_stopped;

use super::{filter, format_list, format_one, inspect};
use crate::flags::{Flag, Kind};
use crate::options::flags;
use crate::options::validate;
use crate::tree::{Arity, Category, Command};

const DETACH_KEYS: Flag = Flag::string(
    "detach-keys",
    '\0',
    "Override the key sequence for detaching a container",
);
const SIGNAL: Flag = Flag::string("signal", 's', "Signal to send to the container");
const TIMEOUT: Flag = Flag::int(
    "timeout",
    't',
    "Seconds to wait before killing the container",
);
const TIME: Flag = Flag::int("time", '\0', "").hidden();

/// `run`
pub const RUN: Command = Command::new(
    "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "run",
    "Create and run a new container from an image",
    run::run,
)
.flags(flags::RUN)
.arity(Arity::AtLeast(1))
.flags_first()
.spellings(&["container run", "run"]);

/// `create`
pub const CREATE: Command = Command::new(
    "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "create",
    "Create a new container",
    create::run,
)
.flags(flags::CREATE)
.arity(Arity::AtLeast(1))
.flags_first()
.spellings(&["container create", "create"]);

/// `exec`
pub const EXEC: Command = Command::new(
    "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    "exec",
    "Execute a command in a running container",
    exec::run,
)
.flags(&[
    Flag::bool(
        "detach",
        'd',
        "Detached mode: run command in the background",
    ),
    DETACH_KEYS,
    Flag::checked_list("env", 'e', validate::env, "Set environment variables"),
    Flag::list("env-file", '\0', "Read in a file of environment variables"),
    Flag::bool("interactive", 'i', "Keep STDIN open even if not attached"),
    Flag::bool(
        "privileged",
        '\0',
        "Give extended privileges to the command",
    ),
    Flag::bool("tty", 't', "Allocate a pseudo-TTY"),
    Flag::string(
        "user",
        'u',
        "Username or UID (format: \"<name|uid>[:<group|gid>]\")",
    ),
    Flag::string("workdir", 'w', "Working directory inside the container"),
])
.arity(Arity::AtLeast(2))
.flags_first()
.spellings(&["container exec", "exec"]);

/// `ps`
pub const PS: Command = Command::new("ps [OPTIONS]", "ps", "List containers", list::run)
    .flags(&[
        Flag::bool(
            "all",
            'a',
            "Show all containers (default shows just running)",
        ),
        filter('f', "Filter output based on conditions provided"),
        format_list(),
        Flag::int(
            "last",
            'n',
            "Show n last created containers (includes all states)",
        )
        .default("-1", "-1"),
        Flag::bool(
            "latest",
            'l',
            "Show the latest created container (includes all states)",
        ),
        Flag::bool("no-trunc", '\0', "Don't truncate output"),
        Flag::bool("quiet", 'q', "Only display container IDs"),
        Flag::bool("size", 's', "Display total file sizes"),
    ])
    .spellings(&["container ls", "container list", "container ps", "ps"]);

/// `attach`
pub const ATTACH: Command = Command::new(
    "attach [OPTIONS] CONTAINER",
    "attach",
    "Attach local standard input, output, and error streams to a running container",
    attach::run,
)
.flags(&[
    DETACH_KEYS,
    Flag::bool("no-stdin", '\0', "Do not attach STDIN"),
    Flag::bool(
        "sig-proxy",
        '\0',
        "Proxy all received signals to the process",
    )
    .default("true", "true"),
])
.arity(Arity::Exact(1))
.spellings(&["container attach", "attach"]);

/// `start`
pub const START: Command = Command::new(
    "start [OPTIONS] CONTAINER [CONTAINER...]",
    "start",
    "Start one or more stopped containers",
    start::run,
)
.flags(&[
    Flag::bool("attach", 'a', "Attach STDOUT/STDERR and forward signals"),
    DETACH_KEYS,
    Flag::bool("interactive", 'i', "Attach container's STDIN"),
])
.arity(Arity::AtLeast(1))
.spellings(&["container start", "start"]);

/// `stop`
pub const STOP: Command = Command::new(
    "stop [OPTIONS] CONTAINER [CONTAINER...]",
    "stop",
    "Stop one or more running containers",
    each::stop,
)
.flags(&[SIGNAL, TIMEOUT, TIME])
.arity(Arity::AtLeast(1))
.spellings(&["container stop", "stop"]);

/// `restart`
pub const RESTART: Command = Command::new(
    "restart [OPTIONS] CONTAINER [CONTAINER...]",
    "restart",
    "Restart one or more containers",
    each::restart,
)
.flags(&[SIGNAL, TIMEOUT, TIME])
.arity(Arity::AtLeast(1))
.spellings(&["container restart", "restart"]);

/// `kill`
pub const KILL: Command = Command::new(
    "kill [OPTIONS] CONTAINER [CONTAINER...]",
    "kill",
    "Kill one or more running containers",
    each::kill,
)
.flags(&[SIGNAL])
.arity(Arity::AtLeast(1))
.spellings(&["container kill", "kill"]);

/// `rm`
pub const RM: Command = Command::new(
    "rm [OPTIONS] CONTAINER [CONTAINER...]",
    "rm",
    "Remove one or more containers",
    each::remove,
)
.flags(&[
    Flag::bool(
        "force",
        'f',
        "Force the removal of a running container (uses SIGKILL)",
    ),
    Flag::bool("link", 'l', "Remove the specified link"),
    Flag::bool(
        "volumes",
        'v',
        "Remove anonymous volumes associated with the container",
    ),
])
.arity(Arity::AtLeast(1))
.aliases(&["remove"])
.spellings(&["container rm", "container remove", "rm"]);

/// `pause`
pub const PAUSE: Command = Command::new(
    "pause CONTAINER [CONTAINER...]",
    "pause",
    "Pause all processes within one or more containers",
    each::pause,
)
.arity(Arity::AtLeast(1))
.spellings(&["container pause", "pause"]);

/// `unpause`
pub const UNPAUSE: Command = Command::new(
    "unpause CONTAINER [CONTAINER...]",
    "unpause",
    "Unpause all processes within one or more containers",
    each::unpause,
)
.arity(Arity::AtLeast(1))
.spellings(&["container unpause", "unpause"]);

/// `wait`
pub const WAIT: Command = Command::new(
    "wait CONTAINER [CONTAINER...]",
    "wait",
    "Block until one or more containers stop, then print their exit codes",
    each::wait,
)
.arity(Arity::AtLeast(1))
.spellings(&["container wait", "wait"]);

/// `rename`
pub const RENAME: Command = Command::new(
    "rename CONTAINER NEW_NAME",
    "rename",
    "Rename a container",
    each::rename,
)
.arity(Arity::Exact(2))
.spellings(&["container rename", "rename"]);

/// `logs`
pub const LOGS: Command =
    Command::new("logs [OPTIONS] CONTAINER", "logs", "Fetch the logs of a container", logs::run)
        .flags(&[
            Flag::bool("details", '\0', "Show extra details provided to logs"),
            Flag::bool("follow", 'f', "Follow log output"),
            Flag::string("since", '\0', "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
            Flag::string("tail", 'n', "Number of lines to show from the end of the logs").default("all", "all"),
            Flag::bool("timestamps", 't', "Show timestamps"),
            Flag::string("until", '\0', "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"),
        ])
        .arity(Arity::Exact(1))
        .spellings(&["container logs", "logs"]);

/// `top`
pub const TOP: Command = Command::new(
    "top CONTAINER [ps OPTIONS]",
    "top",
    "Display the running processes of a container",
    top::run,
)
.arity(Arity::AtLeast(1))
.flags_first()
.spellings(&["container top", "top"]);

/// `stats`
pub const STATS: Command = Command::new(
    "stats [OPTIONS] [CONTAINER...]",
    "stats",
    "Display a live stream of container(s) resource usage statistics",
    stats::run,
)
.flags(&[
    Flag::bool(
        "all",
        'a',
        "Show all containers (default shows just running)",
    ),
    format_list(),
    Flag::bool(
        "no-stream",
        '\0',
        "Disable streaming stats and only pull the first result",
    ),
    Flag::bool("no-trunc", '\0', "Do not truncate output"),
])
.arity(Arity::AtLeast(0))
.spellings(&["container stats", "stats"]);

/// `port`
pub const PORT: Command = Command::new(
    "port CONTAINER [PRIVATE_PORT[/PROTO]]",
    "port",
    "List port mappings or a specific mapping for the container",
    port::run,
)
.arity(Arity::Range(1, 2))
.spellings(&["container port", "port"]);

const MEMORY: Kind = Kind::Checked("bytes", validate::bytes);

/// `update`
pub const UPDATE: Command = Command::new(
    "update [OPTIONS] CONTAINER [CONTAINER...]",
    "update",
    "Update configuration of one or more containers",
    update::run,
)
.flags(&[
    Flag::of(
        "blkio-weight",
        '\0',
        Kind::Checked("uint16", validate::uint16),
        "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    ),
    Flag::int(
        "cpu-period",
        '\0',
        "Limit CPU CFS (Completely Fair Scheduler) period",
    ),
    Flag::int(
        "cpu-quota",
        '\0',
        "Limit CPU CFS (Completely Fair Scheduler) quota",
    ),
    Flag::int(
        "cpu-rt-period",
        '\0',
        "Limit the CPU real-time period in microseconds",
    ),
    Flag::int(
        "cpu-rt-runtime",
        '\0',
        "Limit the CPU real-time runtime in microseconds",
    ),
    Flag::int("cpu-shares", 'c', "CPU shares (relative weight)"),
    Flag::of(
        "cpus",
        '\0',
        Kind::Checked("decimal", validate::cpus),
        "Number of CPUs",
    ),
    Flag::string(
        "cpuset-cpus",
        '\0',
        "CPUs in which to allow execution (0-3, 0,1)",
    ),
    Flag::string(
        "cpuset-mems",
        '\0',
        "MEMs in which to allow execution (0-3, 0,1)",
    ),
    Flag::of("memory", 'm', MEMORY, "Memory limit"),
    Flag::of("memory-reservation", '\0', MEMORY, "Memory soft limit"),
    Flag::of(
        "memory-swap",
        '\0',
        Kind::Checked("bytes", validate::swap),
        "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
    ),
    Flag::int(
        "pids-limit",
        '\0',
        "Tune container pids limit (set -1 for unlimited)",
    ),
    Flag::string(
        "restart",
        '\0',
        "Restart policy to apply when a container exits",
    ),
])
.arity(Arity::AtLeast(1))
.spellings(&["container update", "update"]);

/// `commit`
pub const COMMIT: Command = Command::new(
    "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "commit",
    "Create a new image from a container's changes",
    commit::commit,
)
.flags(&[
    Flag::string(
        "author",
        'a',
        "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")",
    ),
    Flag::list(
        "change",
        'c',
        "Apply Dockerfile instruction to the created image",
    ),
    Flag::string("message", 'm', "Commit message"),
    Flag::bool("pause", 'p', "Pause container during commit").default("true", "true"),
])
.arity(Arity::Range(1, 2))
.flags_first()
.spellings(&["container commit", "commit"]);
/// `cp`
pub const CP: Command = Command::new(
    "cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    "cp",
    "Copy files/folders between a container and the local filesystem",
    cp::run,
)
.long(
    "Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.",
)
.flags(&[
    Flag::bool("archive", 'a', "Archive mode (copy all uid/gid information)"),
    Flag::bool("follow-link", 'L', "Always follow symbol link in SRC_PATH"),
    Flag::bool(
        "quiet",
        'q',
        "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
    ),
])
.arity(Arity::Exact(2))
.spellings(&["container cp", "cp"]);

/// `diff`
pub const DIFF: Command = Command::new(
    "diff CONTAINER",
    "diff",
    "Inspect changes to files or directories on a container's filesystem",
    diff::run,
)
.arity(Arity::Exact(1))
.spellings(&["container diff", "diff"]);

/// `export`
pub const EXPORT: Command = Command::new(
    "export [OPTIONS] CONTAINER",
    "export",
    "Export a container's filesystem as a tar archive",
    commit::export,
)
.flags(&[Flag::string(
    "output",
    'o',
    "Write to a file, instead of STDOUT",
)])
.arity(Arity::Exact(1))
.spellings(&["container export", "export"]);

const LS: Command = PS.named("ls", "ls [OPTIONS]").aliases(&["ps", "list"]);

const INSPECT: Command = Command::new(
    "inspect [OPTIONS] CONTAINER [CONTAINER...]",
    "inspect",
    "Display detailed information on one or more containers",
    inspect::containers,
)
.flags(&[
    format_one('f'),
    Flag::bool("size", 's', "Display total file sizes"),
])
.arity(Arity::AtLeast(1));

const PRUNE: Command = Command::new(
    "prune [OPTIONS]",
    "prune",
    "Remove all stopped containers",
    prune::run,
)
.flags(&[
    filter('\0', "Provide filter values (e.g. \"until=<timestamp>\")"),
    Flag::bool("force", 'f', "Do not prompt for confirmation"),
]);

/// `container`
pub const GROUP: Command = Command::group(
    "container",
    "Manage containers",
    &[
        ATTACH, COMMIT, CP, CREATE, DIFF, EXEC, EXPORT, INSPECT, KILL, LOGS, LS, PAUSE, PORT,
        PRUNE, RENAME, RESTART, RM, RUN, START, STATS, STOP, TOP, UNPAUSE, UPDATE, WAIT,
    ],
)
.category(Category::Management);
