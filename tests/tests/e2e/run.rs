//! `run` and its flags.

use std::time::Duration;

use tests::{IMAGE, clients, wait_for};

clients! {
    fn run_in_the_foreground_prints_both_streams(case) {
        let name = case.name("a");
        let script = "echo to-stdout; echo to-stderr >&2";
        let args = ["run", "--name", &name, IMAGE, "sh", "-c", script];
        let output = case.cmd(&args).ok().prints("to-stdout");
        assert_eq!(output.stderr.trim(), "to-stderr");
        assert_eq!(case.inspect(&name)["State"]["Status"], "exited");
    }

    fn run_passes_the_exit_code_on(case) {
        case.cmd(&["run", "--rm", IMAGE, "sh", "-c", "exit 42"]).exits(42);
    }

    fn run_prints_all_of_a_large_output(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "seq", "1", "200000"]).ok();
        assert_eq!(output.lines().len(), 200_000);
        assert_eq!(output.lines().last(), Some(&"200000"));
    }

    fn run_detached_prints_the_id(case) {
        let name = case.name("a");
        let output = case.cmd(&["run", "-d", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let id = output.text();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        let state = case.inspect(&name);
        assert_eq!(state["Id"], id);
        assert_eq!(state["State"]["Running"], true);
        assert_eq!(state["Name"], format!("/{name}"));
    }

    fn run_with_rm_leaves_no_container(case) {
        let name = case.name("a");
        case.cmd(&["run", "--rm", "--name", &name, IMAGE, "true"]).ok();
        wait_for("the container is gone", Duration::from_secs(10), || {
            case.api("GET", &format!("/containers/{name}/json"), None).status == 404
        });
    }

    fn run_detached_with_rm_leaves_no_container(case) {
        let name = case.name("a");
        case.cmd(&["run", "-d", "--rm", "--name", &name, IMAGE, "true"]).ok();
        wait_for("the container is gone", Duration::from_secs(10), || {
            case.api("GET", &format!("/containers/{name}/json"), None).status == 404
        });
    }

    fn run_interactive_copies_its_input(case) {
        let output = case.cmd_with_input(&["run", "--rm", "-i", IMAGE, "cat"], b"one\ntwo\n");
        output.ok().prints("one\ntwo");
    }

    fn run_without_interactive_has_no_input(case) {
        case.cmd(&["run", "--rm", IMAGE, "cat"]).ok().prints("");
    }

    fn run_on_a_terminal_is_interactive(case) {
        let mut terminal = case.terminal(&["run", "-it", "--rm", IMAGE, "sh"]);
        terminal.wait_for("/ # ");
        terminal.types("test -t 0 && echo terminal-$((40 + 2))\r");
        terminal.wait_for("terminal-42");
        terminal.types("exit 7\r");
        assert_eq!(terminal.finish(), 7);
    }

    fn run_on_a_terminal_has_its_size_and_follows_it(case) {
        let mut terminal = case.terminal(&["run", "-it", "--rm", IMAGE, "sh"]);
        terminal.wait_for("/ # ");
        // The client tells the size after the start, so the first answer may be an older one.
        wait_for("the first size is there", Duration::from_secs(20), || {
            terminal.types("stty size\r");
            terminal.wait_for("stty size\r\n");
            terminal.screen().contains("24 80")
        });
        terminal.resize(101, 33);
        wait_for("the new size is there", Duration::from_secs(20), || {
            terminal.types("stty size\r");
            terminal.screen().contains("33 101")
        });
        terminal.types("exit\r");
        terminal.finish();
    }

    fn run_on_a_terminal_delivers_control_c(case) {
        let name = case.name("a");
        let mut terminal = case.terminal(&["run", "-it", "--rm", "--name", &name, IMAGE, "sh"]);
        terminal.wait_for("/ # ");
        terminal.types("sleep 1000\r");
        wait_for("it sleeps", Duration::from_secs(20), || {
            case.cmd(&["top", &name]).stdout.contains("sleep 1000")
        });
        terminal.types("\u{3}");
        // The terminal drops what was typed before the signal; it shows when that is done.
        terminal.wait_for("^C");
        terminal.types("echo code-$?\r");
        terminal.wait_for("code-130");
        terminal.types("exit\r");
        terminal.finish();
    }

    fn run_needs_a_terminal_for_tty(case) {
        case.cmd(&["run", "-it", "--rm", IMAGE, "true"]).exits(1).complains("not a TTY");
    }

    fn run_env_sets_variables(case) {
        let args = ["run", "--rm", "-e", "A=1", "-e", "B=two words", "-h", "h", IMAGE, "env"];
        let output = case.cmd(&args).ok().shows("A=1\n").shows("B=two words\n");
        let output = output.shows("HOSTNAME=h\n").shows("HOME=/root\n");
        output.shows("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
    }

    fn run_env_takes_the_value_of_the_caller(case) {
        let mut command =
            case.command(&["run", "--rm", "-e", "GIVEN", "-e", "MISSING", IMAGE, "env"]);
        command.env("GIVEN", "by-the-caller");
        let output = tests::Spawned::start(command).finish().ok();
        output.shows("GIVEN=by-the-caller").hides("MISSING");
    }

    fn run_env_file_sets_variables(case) {
        let file = case.dir().join("env");
        std::fs::write(&file, "# a comment\nA=1\nB=x y\n").expect("the directory is ours");
        let file = file.display().to_string();
        let output = case.cmd(&["run", "--rm", "--env-file", &file, IMAGE, "env"]).ok();
        output.shows("A=1\n").shows("B=x y\n").hides("comment");
    }

    fn run_workdir_is_made(case) {
        let args = ["run", "--rm", "-w", "/made/for/this", IMAGE, "pwd"];
        case.cmd(&args).ok().prints("/made/for/this");
    }

    fn run_user_by_name_has_its_groups(case) {
        let output = case.cmd(&["run", "--rm", "-u", "user", IMAGE, "id"]).ok();
        let output = output.shows("uid=1000(user) gid=1000(user)").shows("10(wheel)");
        output.shows("29(audio)");
    }

    fn run_user_by_name_has_its_home(case) {
        let args = ["run", "--rm", "-u", "user", IMAGE, "sh", "-c", "echo $HOME"];
        case.cmd(&args).ok().prints("/home/user");
    }

    fn run_user_by_number_needs_no_entry(case) {
        let args =
            ["run", "--rm", "-u", "4321:8765", IMAGE, "sh", "-c", "id -u; id -g; echo $HOME"];
        case.cmd(&args).ok().prints("4321\n8765\n/");
    }

    fn run_user_with_group(case) {
        let args = ["run", "--rm", "-u", "user:audio", IMAGE, "id", "-gn"];
        case.cmd(&args).ok().prints("audio");
    }

    fn run_group_add(case) {
        let args = ["run", "--rm", "--group-add", "audio", "--group-add", "777", IMAGE, "id", "-G"];
        let output = case.cmd(&args).ok();
        let groups: Vec<&str> = output.text().split_whitespace().collect();
        assert!(groups.contains(&"29") && groups.contains(&"777"), "{output:?}");
    }

    fn run_unknown_user_is_an_error(case) {
        let output = case.cmd(&["run", "--rm", "-u", "nosuchuser", IMAGE, "true"]);
        assert!((125..=126).contains(&output.code), "{output:?}");
        output.complains("unable to find user nosuchuser");
    }

    fn run_entrypoint_replaces_that_of_the_image(case) {
        let args = ["run", "--rm", "--entrypoint", "/bin/echo", IMAGE, "a", "b c"];
        case.cmd(&args).ok().prints("a b c");
    }

    fn run_init_is_process_one_and_reaps(case) {
        let script = "cat /proc/1/comm; (sleep 0.01 &) ; sleep 0.1; ps -o stat | grep -c ^Z; true";
        let output = case.cmd(&["run", "--rm", "--init", IMAGE, "sh", "-c", script]).ok();
        assert_eq!(output.lines(), ["docker-init", "0"]);
    }

    fn run_init_passes_signals_and_codes(case) {
        let name = case.name("a");
        let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
        case.cmd(&["run", "-d", "--init", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        wait_for("the trap is set", Duration::from_secs(20), || {
            case.cmd(&["logs", &name]).stdout.contains("ready")
        });
        case.cmd(&["stop", &name]).ok();
        assert_eq!(case.inspect(&name)["State"]["ExitCode"], 9);
    }

    fn run_hostname_is_known_inside(case) {
        let script = "hostname; cat /etc/hostname; grep -c ' *web1' /etc/hosts";
        let args = ["run", "--rm", "-h", "web1", IMAGE, "sh", "-c", script];
        case.cmd(&args).ok().prints("web1\nweb1\n1");
    }

    fn run_hostname_defaults_to_the_short_id(case) {
        let name = case.name("a");
        let output = case.cmd(&["run", "--name", &name, IMAGE, "hostname"]).ok();
        let id = case.inspect(&name)["Id"].as_str().expect("an id").to_owned();
        assert_eq!(output.text(), &id[..12]);
    }

    fn run_add_host_is_in_the_hosts_file(case) {
        let args = ["run", "--rm", "--add-host", "db:10.1.2.3", IMAGE, "cat", "/etc/hosts"];
        case.cmd(&args).ok().shows("10.1.2.3\tdb");
    }

    fn run_read_only_refuses_writes(case) {
        let script = "touch /x; echo code $?; touch /dev/shm/x && echo shm";
        let output = case.cmd(&["run", "--rm", "--read-only", IMAGE, "sh", "-c", script]).ok();
        output.prints("code 1\nshm").complains("Read-only file system");
    }

    fn run_tmpfs_is_mounted(case) {
        let script = "grep ' /scratch ' /proc/mounts; touch /scratch/x && echo written";
        let args =
            ["run", "--rm", "--tmpfs", "/scratch:size=1m,mode=1770", IMAGE, "sh", "-c", script];
        let output = case.cmd(&args).ok().shows("tmpfs /scratch tmpfs rw,nosuid,nodev,noexec");
        output.shows("size=1024k").shows("mode=1770").shows("written");
    }

    fn run_label_is_kept(case) {
        let name = case.name("a");
        let args = ["run", "--name", &name, "-l", "tier=front", "-l", "empty", IMAGE, "true"];
        case.cmd(&args).ok();
        let labels = &case.inspect(&name)["Config"]["Labels"];
        assert_eq!(labels["tier"], "front");
        assert_eq!(labels["empty"], "");
    }

    fn run_cidfile_holds_the_id(case) {
        let file = case.dir().join("cid");
        let path = file.display().to_string();
        let output = case.cmd(&["run", "-d", "--cidfile", &path, IMAGE, "true"]).ok();
        assert_eq!(std::fs::read_to_string(file).expect("it is written"), output.text());
    }

    fn run_uses_the_command_of_the_image(case) {
        case.cmd_with_input(&["run", "--rm", "-i", IMAGE], b"echo from-sh\n")
            .ok()
            .prints("from-sh");
    }

    fn run_forwards_signals_to_the_container(case) {
        let name = case.name("a");
        let script = "trap 'echo got-usr1; exit 3' USR1; echo ready; while :; do sleep 0.05; done";
        let client = case.spawn(&["run", "--name", &name, IMAGE, "sh", "-c", script]);
        client.wait_for("ready");
        client.signal(rustix::process::Signal::USR1);
        client.finish().exits(3).shows("got-usr1");
    }
}
