//! The command tree as data, and finding a command in it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::app::App;
use crate::exit::Failure;
use crate::flags::{Flag, Mixing, Parsed};

/// A running command.
pub type Run<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// How many positional arguments a command takes.
#[derive(Debug, Clone, Copy)]
pub enum Arity {
    /// None.
    None,
    /// Exactly so many.
    Exact(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// From so many to so many.
    Range(usize, usize),
}

/// Where help lists a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// At the top.
    Common,
    /// Among the groups.
    Management,
    /// Among Swarm's groups.
    Swarm,
    /// Among the rest.
    Plain,
    /// Nowhere.
    Hidden,
}

/// What a command does.
#[derive(Clone, Copy)]
pub enum Action {
    /// Holds other commands.
    Group(&'static [Command]),
    /// Runs.
    Run(for<'a> fn(&'a App, Parsed) -> Run<'a>),
    /// Is known and not done.
    NotYet,
}

/// One command.
#[derive(Clone, Copy)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Other names in the same place.
    pub aliases: &'static [&'static str],
    /// The usage line without the program: `run [OPTIONS] IMAGE`.
    pub usage: &'static str,
    /// One line about it.
    pub short: &'static str,
    /// What help says of it, where one line is not enough.
    pub long: &'static str,
    /// Whether help calls it experimental.
    pub experimental: bool,
    /// Whether Docker does not know it: help leaves it out under the name `docker`.
    pub own: bool,
    /// All its spellings, where it has several: `container ls`, `ps`.
    pub spellings: &'static [&'static str],
    /// Its flags.
    pub flags: &'static [Flag],
    /// Its arguments.
    pub arity: Arity,
    /// Whether flags may follow arguments.
    pub mixing: Mixing,
    /// Where help lists it.
    pub category: Category,
    /// What it does.
    pub action: Action,
}

impl Command {
    /// A command that runs.
    pub const fn new(
        usage: &'static str,
        name: &'static str,
        short: &'static str,
        run: for<'a> fn(&'a App, Parsed) -> Run<'a>,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            usage,
            short,
            long: "",
            experimental: false,
            own: false,
            spellings: &[],
            flags: &[],
            arity: Arity::None,
            mixing: Mixing::Anywhere,
            category: Category::Plain,
            action: Action::Run(run),
        }
    }

    /// A command that is known and not done.
    pub const fn not_yet(usage: &'static str, name: &'static str, short: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            usage,
            short,
            long: "",
            experimental: false,
            own: false,
            spellings: &[],
            flags: &[],
            arity: Arity::AtLeast(0),
            mixing: Mixing::Before,
            category: Category::Plain,
            action: Action::NotYet,
        }
    }

    /// A group of commands.
    pub const fn group(name: &'static str, short: &'static str, commands: &'static [Self]) -> Self {
        let mut group = Self::not_yet(name, name, short);
        group.category = Category::Management;
        group.action = Action::Group(commands);
        group
    }

    /// With these flags.
    #[must_use]
    pub const fn flags(mut self, flags: &'static [Flag]) -> Self {
        self.flags = flags;
        self
    }

    /// With so many arguments.
    #[must_use]
    pub const fn arity(mut self, arity: Arity) -> Self {
        self.arity = arity;
        self
    }

    /// With all its spellings.
    #[must_use]
    pub const fn spellings(mut self, spellings: &'static [&'static str]) -> Self {
        self.spellings = spellings;
        self
    }

    /// With another usage line.
    #[must_use]
    pub const fn usage(mut self, usage: &'static str) -> Self {
        self.usage = usage;
        self
    }

    /// With a longer text for its help.
    #[must_use]
    pub const fn long(mut self, long: &'static str) -> Self {
        self.long = long;
        self
    }

    /// With the mark of an experiment in its help.
    #[must_use]
    pub const fn experimental(mut self) -> Self {
        self.experimental = true;
        self
    }

    /// Corten's own.
    #[must_use]
    pub const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    /// With other names in the same place.
    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// With flags only before the arguments.
    #[must_use]
    pub const fn flags_first(mut self) -> Self {
        self.mixing = Mixing::Before;
        self
    }

    /// Listed elsewhere.
    #[must_use]
    pub const fn category(mut self, category: Category) -> Self {
        self.category = category;
        self
    }

    /// The same command in another place: another name and usage line.
    #[must_use]
    pub const fn named(mut self, name: &'static str, usage: &'static str) -> Self {
        self.name = name;
        self.usage = usage;
        self
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.usage)
    }
}

/// Finds a command by the first words of an argument list.
///
/// Returns the command, how many words name it, and its full path.
pub fn find(
    commands: &'static [Command],
    args: &[String],
) -> Option<(&'static Command, usize, String)> {
    let first = args.first()?;
    let named = |c: &&Command| c.name == first || c.aliases.contains(&first.as_str());
    let command = commands.iter().find(named)?;
    if let Action::Group(inner) = command.action
        && let Some((found, used, path)) = find(inner, &args[1..])
    {
        return Some((found, used + 1, format!("{} {path}", command.name)));
    }
    Some((command, 1, command.name.to_owned()))
}

/// Docker's complaint about a wrong number of arguments; `None` when it is right.
pub fn check_arity(
    program: &str,
    path: &str,
    use_line: &str,
    arity: Arity,
    count: usize,
) -> Option<String> {
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let (says, hint) = match arity {
        Arity::None if count == 0 => return None,
        Arity::Exact(n) if count == n => return None,
        Arity::AtLeast(n) if count >= n => return None,
        Arity::AtMost(n) if count <= n => return None,
        Arity::Range(a, b) if (a..=b).contains(&count) => return None,
        Arity::None => ("accepts no arguments".to_owned(), "Run"),
        Arity::Exact(n) => (format!("requires {n} {}", plural(n)), "Run"),
        Arity::AtLeast(n) => (format!("requires at least {n} {}", plural(n)), "See"),
        // Docker's own slip of the pen.
        Arity::AtMost(n) => (format!("requires at most {n} {}", plural(n)), "SRun"),
        Arity::Range(a, b) => (
            format!("requires at least {a} and at most {b} {}", plural(b)),
            "Run",
        ),
    };
    Some(format!(
        "{program}: '{path}' {says}\n\nUsage:  {use_line}\n\n{hint} '{path} --help' for more information"
    ))
}
