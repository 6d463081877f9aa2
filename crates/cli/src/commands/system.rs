//! Commands about the daemon.

mod disk;
mod events;
mod info;
mod prune;
pub mod version;

use super::{filter, format_list, format_one};
use crate::flags::Flag;
use crate::tree::Command;

/// `version`
pub const VERSION: Command = Command::new(
    "version [OPTIONS]",
    "version",
    "Show the Docker version information",
    version::run,
)
.flags(&[format_one('f')]);

/// `info`
pub const INFO: Command = Command::new(
    "info [OPTIONS]",
    "info",
    "Display system-wide information",
    info::run,
)
.flags(&[format_one('f')])
.spellings(&["system info", "info"]);

/// `events`
pub const EVENTS: Command = Command::new(
    "events [OPTIONS]",
    "events",
    "Get real time events from the server",
    events::run,
)
.flags(&[
    filter('f', "Filter output based on conditions provided"),
    format_one('\0'),
    Flag::string("since", '\0', "Show all events created since timestamp"),
    Flag::string("until", '\0', "Stream events until this timestamp"),
])
.spellings(&["system events", "events"]);

const DF: Command =
    Command::new("df [OPTIONS]", "df", "Show docker disk usage", disk::run).flags(&[
        format_list(),
        Flag::bool("verbose", 'v', "Show detailed information on space usage"),
    ]);

const PRUNE: Command = Command::new("prune [OPTIONS]", "prune", "Remove unused data", prune::run)
    .flags(&[
        Flag::bool(
            "all",
            'a',
            "Remove all unused images not just dangling ones",
        ),
        filter('\0', "Provide filter values (e.g. \"label=<key>=<value>\")"),
        Flag::bool("force", 'f', "Do not prompt for confirmation"),
        Flag::bool("volumes", '\0', "Prune anonymous volumes"),
    ]);

/// `system`
pub const GROUP: Command = Command::group("system", "Manage Docker", &[DF, EVENTS, INFO, PRUNE]);
