//! All commands: what they are called, what they take, and where they are done.

pub mod container;
pub mod image;
pub mod inspect;
pub mod manifest;
pub mod network;
pub mod prune;
pub mod registry;
pub mod system;
pub mod volume;

use crate::flags::Flag;
use crate::options::validate;
use crate::tree::{Category, Command};

const FORMAT_LIST: &str = "Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

const FORMAT_ONE: &str = "Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

const FILTER: crate::flags::Kind = crate::flags::Kind::List("filter", validate::filter);

/// `--filter`, with a letter or without.
const fn filter(short: char, usage: &'static str) -> Flag {
    Flag::of("filter", short, FILTER, usage)
}

/// `--format` of a list.
const fn format_list() -> Flag {
    Flag::string("format", '\0', FORMAT_LIST)
}

/// `-f`, `--format` of one thing.
const fn format_one(short: char) -> Flag {
    Flag::string("format", short, FORMAT_ONE)
}

const fn swarm(name: &'static str, short: &'static str) -> Command {
    Command::not_yet(name, name, short).category(Category::Swarm)
}

const fn group_later(name: &'static str, short: &'static str) -> Command {
    Command::not_yet(name, name, short).category(Category::Management)
}

/// The commands at the top.
pub const ALL: &[Command] = &[
    // In the order of Docker's help.
    container::RUN.category(Category::Common),
    container::EXEC.category(Category::Common),
    container::PS.category(Category::Common),
    image::BUILD
        .named("build", "build [OPTIONS] PATH | URL | -")
        .category(Category::Common),
    image::PULL.category(Category::Common),
    image::PUSH.category(Category::Common),
    image::IMAGES.category(Category::Common),
    registry::LOGIN.category(Category::Common),
    registry::LOGOUT.category(Category::Common),
    registry::SEARCH.category(Category::Common),
    system::VERSION.category(Category::Common),
    system::INFO.category(Category::Common),
    group_later("builder", "Manage builds"),
    group_later("checkpoint", "Manage checkpoints"),
    container::GROUP,
    group_later("context", "Manage contexts"),
    image::GROUP,
    manifest::GROUP,
    network::GROUP,
    group_later("plugin", "Manage plugins"),
    system::GROUP,
    group_later("trust", "Manage trust on Docker images"),
    volume::GROUP,
    swarm("config", "Manage Swarm configs"),
    swarm("node", "Manage Swarm nodes"),
    swarm("secret", "Manage Swarm secrets"),
    swarm("service", "Manage Swarm services"),
    swarm("stack", "Manage Swarm stacks"),
    swarm("swarm", "Manage Swarm"),
    container::ATTACH,
    container::COMMIT,
    container::CP,
    container::CREATE,
    container::DIFF,
    system::EVENTS,
    container::EXPORT,
    image::HISTORY,
    image::IMPORT,
    inspect::INSPECT,
    container::KILL,
    image::LOAD,
    container::LOGS,
    container::PAUSE,
    container::PORT,
    container::RENAME,
    container::RESTART,
    container::RM,
    image::RMI,
    image::SAVE,
    container::START,
    container::STATS,
    container::STOP,
    image::TAG,
    container::TOP,
    container::UNPAUSE,
    container::UPDATE,
    container::WAIT,
];

/// The API's form of `--filter name=value`: `{"name":{"value":true}}`; empty for none.
pub fn filters(flags: &crate::flags::Parsed) -> serde_json::Map<String, serde_json::Value> {
    let mut out = serde_json::Map::new();
    for text in flags.list("filter") {
        if let Some((name, value)) = text.split_once('=') {
            add_filter(&mut out, &name.trim().to_lowercase(), value.trim());
        }
    }
    out
}

/// Adds one filter.
pub fn add_filter(
    filters: &mut serde_json::Map<String, serde_json::Value>,
    name: &str,
    value: &str,
) {
    let values = filters.entry(name).or_insert_with(|| serde_json::json!({}));
    values[value] = true.into();
}

/// Adds the filters to a query.
pub fn put_filters(
    query: &mut api::client::Query,
    filters: serde_json::Map<String, serde_json::Value>,
) {
    if !filters.is_empty() {
        query.add("filters", serde_json::Value::Object(filters).to_string());
    }
}

#[cfg(test)]
mod tests;
