//! The help of commands, byte for byte in Docker's layout.
//!
//! The expected texts are in `testdata/help`, one file a command, for the program name `docker`.

use super::ALL;
use crate::flags::Flag;
use crate::help;
use crate::tree::{Action, Command, find};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn shown(program: &str, name: &str) -> String {
    let words = words(name);
    let (command, used, path) = find(ALL, &words).unwrap();
    assert_eq!(used, words.len(), "{name} is a command");
    help::command(
        program,
        &format!("{program} {path}"),
        command,
        help::DEFAULT_WIDTH,
    )
}

macro_rules! golden {
    ($($name:literal => $file:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../testdata/help/", $file)))),*]
    };
}

#[test]
fn helps() {
    for (name, want) in golden![
        "run" => "run.txt",
        "ps" => "ps.txt",
        "exec" => "exec.txt",
        "stop" => "stop.txt",
        "logs" => "logs.txt",
        "images" => "images.txt",
        "image rm" => "image_rm.txt",
        "image inspect" => "image_inspect.txt",
        "container" => "container.txt",
        "inspect" => "inspect.txt",
        "system df" => "system_df.txt",
        "update" => "update.txt",
        "pull" => "pull.txt",
        "push" => "push.txt",
        "login" => "login.txt",
        "logout" => "logout.txt",
        "search" => "search.txt",
        "save" => "save.txt",
        "load" => "load.txt",
        "import" => "import.txt",
        "commit" => "commit.txt",
        "cp" => "cp.txt",
        "diff" => "diff.txt",
        "network" => "network.txt",
        "network connect" => "network_connect.txt",
        "network create" => "network_create.txt",
        "network disconnect" => "network_disconnect.txt",
        "network inspect" => "network_inspect.txt",
        "network ls" => "network_ls.txt",
        "network prune" => "network_prune.txt",
        "network rm" => "network_rm.txt",
        "port" => "port.txt",
        "create" => "create.txt",
        "volume" => "volume.txt",
        "volume create" => "volume_create.txt",
        "volume inspect" => "volume_inspect.txt",
        "volume ls" => "volume_ls.txt",
        "volume prune" => "volume_prune.txt",
        "volume rm" => "volume_rm.txt",
        "volume update" => "volume_update.txt",
        "container export" => "container_export.txt",
        "history" => "history.txt",
        "image prune" => "image_prune.txt",
        "manifest" => "manifest.txt",
        "manifest inspect" => "manifest_inspect.txt",
        "manifest create" => "manifest_create.txt",
        "manifest annotate" => "manifest_annotate.txt",
        "manifest push" => "manifest_push.txt",
        "manifest rm" => "manifest_rm.txt",
    ] {
        assert_eq!(shown("docker", name), want, "{name}");
    }
}

#[test]
fn the_program_calls_itself_as_it_was_called() {
    let text = shown("corten", "container ls");
    assert!(
        text.starts_with("Usage:  corten container ls [OPTIONS]\n"),
        "{text}"
    );
    assert!(text.contains(
        "\nAliases:\n  corten container ls, corten container list, corten container ps, corten ps\n"
    ));
}

#[test]
fn aliases_find_their_command() {
    for (name, want) in [
        ("container list", "container ls"),
        ("container remove", "container rm"),
        ("image list", "image ls"),
        ("network list", "network ls"),
    ] {
        let words = words(name);
        let (_, used, path) = find(ALL, &words).unwrap();
        assert_eq!((used, path.as_str()), (2, want));
    }
    assert!(find(ALL, &words("nope")).is_none());
    let words = words("container nope");
    assert_eq!(find(ALL, &words).unwrap().1, 1);
}

fn each(commands: &'static [Command], see: &mut dyn FnMut(&'static Command)) {
    for command in commands {
        see(command);
        if let Action::Group(inner) = command.action {
            each(inner, see);
        }
    }
}

#[test]
fn no_command_has_two_flags_of_one_name() {
    each(ALL, &mut |command| {
        let named = |pick: fn(&Flag) -> String| {
            let mut names: Vec<String> = command
                .flags
                .iter()
                .map(pick)
                .filter(|n| n != "\0")
                .collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{command:?}: {names:?}");
        };
        named(|flag| flag.long.to_owned());
        named(|flag| flag.short.to_string());
    });
}

#[test]
fn narrow_terminals_get_narrow_help() {
    let words = words("run");
    let (command, _, _) = find(ALL, &words).unwrap();
    let text = help::command("docker", "docker run", command, 50);
    assert!(
        text.lines()
            .skip(8)
            .all(|line| line.chars().count() <= 50 + 5),
        "{text}"
    );
}
