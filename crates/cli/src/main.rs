//! `corten`: the client. Behaves as `docker` when called by that name.
//!
//! Reads the arguments into a command of the tree (`tree`, `commands`), runs it on a
//! single-threaded runtime against the API (`app`), and ends with Docker's exit codes (`exit`).
#![forbid(unsafe_code)]

mod app;
mod auth;
mod base64;
mod clock;
mod commands;
mod config;
mod copy;
mod exit;
mod flags;
mod help;
mod note;
mod options;
mod output;
mod output_file;
mod platform;
mod progress;
mod prompt;
mod streams;
mod table;
mod template;
mod terminal;
mod tree;
mod units;
mod zone;

use std::io::Write;
use std::process::ExitCode;

use app::{App, say};
use exit::{ENGINE, Failure};
use flags::{Flag, FlagError, Mixing};
use tree::{Action, Command};

fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let called = args.next().unwrap_or_default();
    let base = called.rsplit('/').next().unwrap_or_default();
    let program = if base == "docker" { "docker" } else { "corten" };
    let args: Vec<String> = args.collect();
    let ended = run(program, &args);
    // A signal that was kept for the container may have left the terminal raw.
    terminal::restore();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                say(&failure.message);
            }
            ExitCode::from(u8::try_from(failure.code & 0xff).unwrap_or(1))
        }
    }
}

const LEVELS: [&str; 8] = [
    "panic", "fatal", "error", "warn", "warning", "info", "debug", "trace",
];

fn run(program: &str, args: &[String]) -> Result<(), Failure> {
    let globals = match flags::parse(&global_flags(), Mixing::Before, args) {
        Ok(globals) => globals,
        Err(FlagError::Help { .. }) => return print(&root_help(program)),
        Err(FlagError::Usage(text)) => {
            return Err(Failure::with_code(
                format!(
                    "{text}\n\nUsage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information"
                ),
                ENGINE,
            ));
        }
    };
    // There is nothing to log here, but a wrong level is a mistake wherever it is made.
    let level = globals.str("log-level").to_lowercase();
    if !level.is_empty() && !LEVELS.contains(&level.as_str()) {
        return Err(Failure::new(format!(
            "Unable to parse logging level: {}",
            globals.str("log-level")
        )));
    }
    if globals.bool("version") {
        return print(&commands::system::version::line(program));
    }
    let words = &globals.args;
    match words.first().map(String::as_str) {
        None => {
            say(root_help(program).trim_end_matches('\n'));
            return Ok(());
        }
        Some("help") => return help_about(program, &words[1..]),
        Some(_) => {}
    }
    let Some((command, used, path)) = tree::find(commands::ALL, words) else {
        return Err(Failure::new(format!(
            "{program}: unknown command: {program} {}\n\nRun '{program} --help' for more information",
            words[0]
        )));
    };
    let path = format!("{program} {path}");
    dispatch(program, command, &path, &words[used..], &globals)
}

fn dispatch(
    program: &str,
    command: &'static Command,
    path: &str,
    args: &[String],
    globals: &flags::Parsed,
) -> Result<(), Failure> {
    let show_help = |text: String| print(&text);
    let help = || help::command(program, path, command, help_width());
    let parsed = match flags::parse(command.flags, command.mixing, args) {
        Ok(parsed) => parsed,
        Err(FlagError::Help { short }) => {
            if short {
                say("Flag shorthand -h has been deprecated, use --help");
            }
            return show_help(help());
        }
        // What is not done yet says so, whatever its arguments.
        Err(FlagError::Usage(_)) if matches!(command.action, Action::NotYet) => {
            return Err(not_yet(path));
        }
        Err(FlagError::Usage(text)) => {
            let usage = match command.action {
                Action::Group(_) => path.to_owned(),
                _ => help::use_line(path, command),
            };
            return Err(Failure::with_code(
                format!("{text}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"),
                ENGINE,
            ));
        }
    };
    let run = match command.action {
        Action::Run(run) => run,
        Action::NotYet => return Err(not_yet(path)),
        Action::Group(_) => {
            return match parsed.args.first() {
                // A group by itself is a mistake: what it would take is told on stderr.
                None => {
                    let gap = if command.experimental { "\n" } else { "" };
                    say(format!("{gap}{}", help()).trim_end_matches('\n'));
                    Ok(())
                }
                Some(word) => Err(Failure::new(format!(
                    "{program}: unknown command: {path} {word}\n\nUsage:  {}\n\nRun '{path} --help' for more information",
                    help::use_line(path, command)
                ))),
            };
        }
    };
    let use_line = help::use_line(path, command);
    if let Some(text) =
        tree::check_arity(program, path, &use_line, command.arity, parsed.args.len())
    {
        return Err(Failure::new(text));
    }
    let app = App::new(program, globals)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(run(&app, parsed));
    // What was written before a failure is shown before it.
    let flushed = app.flush();
    // Streams that nobody waits for any more end with the process.
    runtime.shutdown_background();
    ended.and(flushed)
}

fn not_yet(path: &str) -> Failure {
    Failure::new(format!("{path} is not yet supported by Corten"))
}

fn help_about(program: &str, words: &[String]) -> Result<(), Failure> {
    if words.is_empty() {
        return print(&root_help(program));
    }
    match tree::find(commands::ALL, words) {
        Some((command, used, path)) if used == words.len() => {
            let path = format!("{program} {path}");
            print(&help::command(program, &path, command, help_width()))
        }
        _ => Err(Failure::new(format!(
            "unknown help topic: {}",
            words.join(" ")
        ))),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn root_help(program: &str) -> String {
    let tail = "For more help on how to use Docker, head to https://docs.docker.com/go/guides/";
    help::root(program, commands::ALL, &global_flags(), help_width(), tail)
}

fn help_width() -> usize {
    match terminal::size(std::io::stdin()) {
        Some((width, _)) if width > 1 => usize::from(width),
        _ => help::DEFAULT_WIDTH,
    }
}

// The defaults that help shows depend on the user's home.
fn global_flags() -> Vec<Flag> {
    let directory = config::default_directory();
    let leak = |file: &str| -> &'static str {
        Box::leak(
            directory
                .join(file)
                .to_string_lossy()
                .trim_end_matches('/')
                .into(),
        )
    };
    let list = flags::Kind::List("list", flags::any);
    vec![
        Flag::string("config", '\0', "Location of client config files").default("", leak("")),
        Flag::string(
            "context",
            'c',
            "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set with \"docker context use\")",
        ),
        Flag::bool("debug", 'D', "Enable debug mode"),
        Flag::of("host", 'H', list, "Daemon socket to connect to"),
        Flag::string(
            "log-level",
            'l',
            "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
        )
        .default("info", "info"),
        Flag::bool("tls", '\0', "Use TLS; implied by --tlsverify"),
        Flag::string("tlscacert", '\0', "Trust certs signed only by this CA")
            .default("", leak("ca.pem")),
        Flag::string("tlscert", '\0', "Path to TLS certificate file").default("", leak("cert.pem")),
        Flag::string("tlskey", '\0', "Path to TLS key file").default("", leak("key.pem")),
        Flag::bool("tlsverify", '\0', "Use TLS and verify the remote"),
        Flag::bool("version", 'v', "Print version information and quit"),
    ]
}
