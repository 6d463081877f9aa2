//! Help texts in Docker's layout.

use crate::flags::{Flag, Kind};
use crate::tree::{Action, Category, Command};

/// The width of help where there is no terminal.
pub const DEFAULT_WIDTH: usize = 80;

const EXPERIMENTAL: &str = " is an experimental feature.
  Experimental features provide early access to product functionality. These
  features may change between releases without warning, or can be removed from a
  future release. Learn more about experimental features in our documentation:
  https://docs.docker.com/go/experimental/";

/// The usage line of a command, such as `docker run [OPTIONS] IMAGE [COMMAND] [ARG...]`.
pub fn use_line(path: &str, command: &Command) -> String {
    let arguments = command.usage.split_once(' ').map_or("", |(_, rest)| rest);
    // A second line of it names the program again.
    let program = path.split(' ').next().unwrap_or_default();
    let arguments = arguments.replace("\n\tdocker ", &format!("\n\t{program} "));
    format!("{path} {arguments}").trim_end().to_owned()
}

/// The help of the program itself.
pub fn root(
    program: &str,
    commands: &[Command],
    flags: &[Flag],
    width: usize,
    tail: &str,
) -> String {
    let mut out = format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n"
    );
    let padding = padding(&commands.iter().collect::<Vec<_>>());
    let mut section = |title: &str, pick: &dyn Fn(&Command) -> bool| {
        let mut picked: Vec<&Command> = commands.iter().filter(|c| pick(c)).collect();
        if title != "Common Commands" {
            picked.sort_by_key(|c| c.name);
        }
        if picked.is_empty() {
            return;
        }
        out.push_str(&format!("\n{title}:\n"));
        for command in picked {
            out.push_str(&format!("  {:padding$} {}\n", command.name, command.short));
        }
    };
    section("Common Commands", &|c| c.category == Category::Common);
    section("Management Commands", &|c| {
        c.category == Category::Management
    });
    section("Swarm Commands", &|c| c.category == Category::Swarm);
    section("Commands", &|c| c.category == Category::Plain);
    out.push_str("\nGlobal Options:\n");
    out.push_str(&flag_usages(flags, width - 1));
    out.push_str(&format!(
        "\nRun '{program} COMMAND --help' for more information on a command.\n"
    ));
    out.push_str(&format!("\n{tail}\n"));
    out
}

/// The help of one command; `path` is its full name, such as `docker container ls`.
pub fn command(program: &str, path: &str, command: &Command, width: usize) -> String {
    let mut out = match command.action {
        Action::Group(_) => format!(
            "Usage:  {path}{} COMMAND\n",
            if command.flags.is_empty() {
                ""
            } else {
                " [OPTIONS]"
            }
        ),
        _ => format!("Usage:  {}\n", use_line(path, command)),
    };
    let about = match command.long {
        "" => command.short,
        // The text names the program as Docker's does.
        long => &long.replace("docker ", &format!("{program} ")),
    };
    out.push_str(&format!("\n{about}\n"));
    if command.experimental {
        out.push_str(&format!("\nEXPERIMENTAL:\n  {path}{EXPERIMENTAL}\n"));
    }
    if !command.spellings.is_empty() {
        let spellings: Vec<String> = command
            .spellings
            .iter()
            .map(|s| format!("{program} {s}"))
            .collect();
        out.push_str(&format!("\nAliases:\n  {}\n", spellings.join(", ")));
    }
    let own = program != "docker";
    let flags: Vec<Flag> = command
        .flags
        .iter()
        .filter(|flag| own || !flag.own)
        .copied()
        .collect();
    let usages = flag_usages(&flags, width - 1);
    if !usages.is_empty() {
        out.push_str(&format!("\nOptions:\n{usages}"));
    }
    if let Action::Group(commands) = command.action {
        let mut visible: Vec<&Command> = commands
            .iter()
            .filter(|c| c.category != Category::Hidden && (own || !c.own))
            .collect();
        let padding = padding(&visible);
        visible.sort_by_key(|c| c.name);
        out.push_str("\nCommands:\n");
        for command in visible {
            out.push_str(&format!("  {:padding$} {}\n", command.name, command.short));
        }
        out.push_str(&format!(
            "\nRun '{path} COMMAND --help' for more information on a command.\n"
        ));
    }
    out
}

// Cobra pads names to eleven columns at least.
fn padding(commands: &[&Command]) -> usize {
    commands
        .iter()
        .map(|c| c.name.len())
        .max()
        .unwrap_or(0)
        .max(11)
}

/// The table of flags, wrapped at `width` columns; empty or ending in a line end.
pub fn flag_usages(flags: &[Flag], width: usize) -> String {
    let mut visible: Vec<&Flag> = flags.iter().filter(|f| !f.hidden).collect();
    visible.sort_by_key(|f| f.long);
    let heads: Vec<String> = visible.iter().map(|f| head(f)).collect();
    // pflag measures the head with a mark behind it, then puts three blanks.
    let indent = heads.iter().map(String::len).max().unwrap_or(0) + 3;
    let mut out = String::new();
    for (flag, head) in visible.iter().zip(&heads) {
        let mut text = flag.usage.to_owned();
        if !flag.shown_default.is_empty() {
            let quoted = matches!(flag.kind, Kind::String) && !flag.shown_default.starts_with('[');
            text.push_str(&match quoted {
                true => format!(" (default {:?})", flag.shown_default),
                false => format!(" (default {})", flag.shown_default),
            });
        }
        let line = format!("{head:indent$}{}", wrap(indent, width, &text));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn head(flag: &Flag) -> String {
    let mut head = match flag.short {
        '\0' => format!("      --{}", flag.long),
        short => format!("  -{short}, --{}", flag.long),
    };
    let value = flag.value_name();
    if !value.is_empty() {
        head.push(' ');
        head.push_str(value);
    }
    head
}

// A line may run over by as much, to avoid a last word alone.
const SLOP: usize = 5;

fn wrap(indent: usize, width: usize, text: &str) -> String {
    let (mut indent, mut room) = (indent, width.saturating_sub(indent));
    let mut out = String::new();
    if room < 24 {
        indent = 16;
        room = width.saturating_sub(indent);
        out.push('\n');
        out.push_str(&" ".repeat(indent));
    }
    let margin = format!("\n{}", " ".repeat(indent));
    if room < 24 {
        return out + &text.replace('\n', &margin);
    }
    let mut rest = text;
    loop {
        let (line, left) = split_line(room - SLOP, rest);
        out.push_str(&line.replace('\n', &margin));
        if left.is_empty() {
            return out;
        }
        out.push_str(&margin);
        rest = left;
    }
}

fn split_line(room: usize, text: &str) -> (&str, &str) {
    if room + SLOP > text.len() {
        return (text, "");
    }
    let cut = (0..=room)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let Some(blank) = text[..cut].rfind([' ', '\t', '\n']).filter(|at| *at > 0) else {
        return (text, "");
    };
    match text[..cut].find('\n') {
        // pflag cuts at the last line end within reach; ours never has two in one reach.
        Some(_) => {
            let newline = text[..cut].rfind('\n').unwrap_or(blank);
            if newline > 0 && newline < blank {
                (&text[..newline], &text[newline + 1..])
            } else {
                (&text[..blank], &text[blank + 1..])
            }
        }
        None => (&text[..blank], &text[blank + 1..]),
    }
}
