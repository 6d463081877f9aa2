//! `cargo xtask demo`: a container from nothing, with everything that it takes made here.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use tests::command::{Client, bin_dir, client_command};
use tests::http::Connection;
use tests::tarball::Tarball;
use tests::{Daemon, Spawned};

/// The name under which the example is imported.
const IMAGE: &str = "demo/hello";

/// How many lives are lived to tell the start time.
const LIVES: usize = 20;

fn main() -> Result<()> {
    let begin = Instant::now();
    let mut daemon = Daemon::start()?;
    say(&format!(
        "# a private daemon on {} answers after {}",
        daemon.roots().display(),
        ms(begin.elapsed())
    ));

    let program = std::fs::read(bin_dir().join("hello")).context("examples/hello is not built")?;
    let archive = Tarball::default().file("hello", 0o755, &program).finish();
    say(&format!(
        "# FROM scratch, COPY hello /: an archive of {} kB",
        archive.len() / 1024
    ));
    corten(&daemon, &["import", "--change", r#"CMD ["/hello"]"#, "-", IMAGE], &archive)?;
    corten(&daemon, &["images"], b"")?;
    corten(&daemon, &["run", "--name", "hello", IMAGE], b"")?;
    corten(&daemon, &["logs", "hello"], b"")?;
    corten(&daemon, &["ps", "--all"], b"")?;

    let mut times = Vec::new();
    for _ in 0..LIVES {
        times.push(life(&daemon)?);
    }
    times.sort();
    let (median, best) = (ms(times[LIVES / 2]), ms(times[0]));
    say(&format!(
        "# create + start + wait + remove over the API: {median} (median of {LIVES}, best {best})"
    ));
    let begin = Instant::now();
    corten(&daemon, &["run", "--rm", IMAGE], b"")?;
    say(&format!("# that `corten run --rm`, client and all: {}", ms(begin.elapsed())));

    let leaks = daemon.retire();
    if !leaks.is_empty() {
        bail!("something was left behind and has been removed:\n  {}", leaks.join("\n  "));
    }
    say("# the daemon has ended; no process, mount, link, cgroup or firewall rule is left");
    Ok(())
}

/// Runs our client and shows the command and its output.
fn corten(daemon: &Daemon, args: &[&str], input: &[u8]) -> Result<()> {
    let home = daemon.roots();
    let mut command: Command = client_command(Client::Corten, &daemon.socket(), home);
    command.args(args);
    let mut spawned = Spawned::start(command);
    if !input.is_empty() {
        spawned.write(input);
    }
    let output = spawned.finish();
    say(&format!("$ corten {}", args.join(" ")));
    say(output.stdout.trim_end());
    if output.code != 0 {
        bail!("exit code {}: {}\n{}", output.code, output.stderr, daemon.log_tail());
    }
    Ok(())
}

/// The time from the request to create until the answer that all is removed.
fn life(daemon: &Daemon) -> Result<Duration> {
    let mut connection = Connection::open(&daemon.socket())?;
    let begin = Instant::now();
    let created =
        connection.request("POST", "/containers/create", Some(&json!({"Image": IMAGE})))?;
    let created = created.json();
    let id = created["Id"].as_str().context("create gave no id")?;
    for (method, path) in [
        ("POST", format!("/containers/{id}/start")),
        ("POST", format!("/containers/{id}/wait")),
        ("DELETE", format!("/containers/{id}")),
    ] {
        let answer = connection.request(method, &path, None)?;
        if answer.status >= 400 {
            bail!("{method} {path}: {}", answer.text());
        }
    }
    Ok(begin.elapsed())
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn say(text: &str) {
    // A reader that went away is no reason to stop before the clean-up.
    let _ = writeln!(std::io::stdout(), "{text}");
}
