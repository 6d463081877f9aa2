//! `exec`.

use std::time::Duration;

use tests::{IMAGE, clients, wait_for};

clients! {
    fn exec_prints_both_streams_and_passes_the_code(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let output = case.cmd(&["exec", &name, "sh", "-c", "echo out; echo err >&2; exit 5"]);
        let output = output.exits(5).prints("out");
        assert_eq!(output.stderr.trim(), "err");
    }

    fn exec_is_in_the_container(case) {
        let name = case.name("a");
        let id = case.sleeper(&name);
        let script = "hostname; cat /proc/1/comm; grep -c sleep /proc/1/cmdline";
        let output = case.cmd(&["exec", &name, "sh", "-c", script]).ok();
        assert_eq!(output.lines(), [&id[..12], "sleep", "1"]);
    }

    fn exec_has_the_limits_of_the_container(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let script = "grep -E '^(CapEff|Seccomp):' /proc/self/status";
        let output = case.cmd(&["exec", &name, "sh", "-c", script]).ok();
        output.shows("00000000a80425fb").shows("Seccomp:\t2");
    }

    fn exec_interactive_copies_its_input(case) {
        let name = case.name("a");
        case.sleeper(&name);
        case.cmd_with_input(&["exec", "-i", &name, "cat"], b"over\n").ok().prints("over");
    }

    fn exec_on_a_terminal_is_interactive(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let mut terminal = case.terminal(&["exec", "-it", &name, "sh"]);
        terminal.wait_for("/ # ");
        terminal.types("tty && echo on-$((40 + 2))\r");
        terminal.wait_for("on-42");
        terminal.wait_for("/dev/pts/");
        terminal.types("exit 6\r");
        assert_eq!(terminal.finish(), 6);
    }

    fn exec_env_workdir_and_user(case) {
        let name = case.name("a");
        case.cmd(&["run", "-d", "--name", &name, "-e", "FROM=run", IMAGE, "sleep", "1000"]).ok();
        let script = "echo $FROM $MORE $HOME; pwd; id -un";
        let flags =
            ["exec", "-e", "MORE=exec", "-w", "/tmp", "-u", "user", &name, "sh", "-c", script];
        case.cmd(&flags).ok().prints("run exec /home/user\n/tmp\nuser");
    }

    fn exec_detached_runs_on(case) {
        let name = case.name("a");
        case.sleeper(&name);
        case.cmd(&["exec", "-d", &name, "sh", "-c", "echo done > /tmp/mark"]).ok().prints("");
        wait_for("the command has run", Duration::from_secs(10), || {
            case.cmd(&["exec", &name, "cat", "/tmp/mark"]).stdout == "done\n"
        });
    }

    fn an_empty_home_is_filled_in_once(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let output = case.cmd(&["exec", "-e", "HOME=", &name, "env"]).ok();
        let homes: Vec<&str> =
            output.lines().into_iter().filter(|line| line.starts_with("HOME=")).collect();
        assert_eq!(homes, ["HOME=/root"]);
    }

    fn exec_of_a_missing_program_is_127(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let output = case.cmd(&["exec", &name, "no-such-program"]).exits(127);
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(text.contains("executable file not found in $PATH"), "{output:?}");
    }

    fn exec_of_what_is_no_program_is_126(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let output = case.cmd(&["exec", &name, "/bin/not-executable"]).exits(126);
        let text = format!("{}{}", output.stdout, output.stderr);
        assert!(text.contains("permission denied"), "{output:?}");
    }

    fn exec_in_a_stopped_container_is_refused(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "true"]).ok();
        case.cmd(&["exec", &name, "true"]).exits(1).complains("is not running");
    }

    fn exec_in_a_paused_container_is_refused(case) {
        let name = case.name("a");
        case.sleeper(&name);
        case.cmd(&["pause", &name]).ok();
        case.cmd(&["exec", &name, "true"]).exits(1).complains("is paused");
    }

    fn exec_in_an_unknown_container_is_refused(case) {
        case.cmd(&["exec", "no-such-container", "true"]).exits(1).complains("No such container");
    }

    fn exec_ends_with_its_container(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let client = case.spawn(&["exec", &name, "sh", "-c", "echo ready; sleep 1000"]);
        client.wait_for("ready");
        case.cmd(&["kill", &name]).ok();
        client.finish().exits(137);
    }
}
