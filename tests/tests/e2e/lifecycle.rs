//! From create to rm: start, stop, kill, pause, wait, restart, rename, and what is refused.

use std::time::Duration;

use tests::{IMAGE, clients, wait_for};

/// A program that ends itself when asked to, with a code of its own.
const OBEDIENT: &str = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done";

fn obedient(case: &tests::Case, name: &str) {
    case.cmd(&["run", "-d", "--name", name, IMAGE, "sh", "-c", OBEDIENT]).ok();
    wait_for("the trap is set", Duration::from_secs(20), || {
        case.cmd(&["logs", name]).stdout.contains("ready")
    });
}

clients! {
    fn create_then_start(case) {
        let name = case.name("a");
        case.cmd(&["create", "--name", &name, IMAGE, "echo", "hello"]).ok();
        assert_eq!(case.inspect(&name)["State"]["Status"], "created");
        case.cmd(&["start", "-a", &name]).ok().prints("hello");
    }

    fn start_again_after_the_end(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", "echo x >> /n; cat /n"])
            .ok()
            .prints("x");
        case.cmd(&["start", "-a", &name]).ok().prints("x\nx");
    }

    fn start_of_a_running_container_changes_nothing(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let before = case.inspect(&name)["State"]["StartedAt"].clone();
        case.cmd(&["start", &name]).ok().prints(&name);
        assert_eq!(case.inspect(&name)["State"]["StartedAt"], before);
        assert_eq!(case.api("POST", &format!("/containers/{name}/start"), None).status, 304);
    }

    fn stop_asks_first(case) {
        let name = case.name("a");
        obedient(case, &name);
        case.cmd(&["stop", &name]).ok().prints(&name);
        let state = &case.inspect(&name)["State"];
        assert_eq!(state["ExitCode"], 3);
        assert_eq!(state["Running"], false);
        assert_eq!(case.api("POST", &format!("/containers/{name}/stop"), None).status, 304);
    }

    fn stop_kills_after_the_time(case) {
        let name = case.name("a");
        let stubborn = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", stubborn]).ok();
        case.cmd(&["stop", "-t", "1", &name]).ok();
        assert_eq!(case.inspect(&name)["State"]["ExitCode"], 137);
    }

    fn stop_uses_the_signal_of_the_container(case) {
        let name = case.name("a");
        let script = "trap 'exit 4' USR2; echo ready; while :; do sleep 0.02; done";
        let args =
            ["run", "-d", "--stop-signal", "USR2", "--name", &name, IMAGE, "sh", "-c", script];
        case.cmd(&args).ok();
        wait_for("the trap is set", Duration::from_secs(20), || {
            case.cmd(&["logs", &name]).stdout.contains("ready")
        });
        case.cmd(&["stop", &name]).ok();
        assert_eq!(case.inspect(&name)["State"]["ExitCode"], 4);
    }

    fn a_signal_that_is_none_stops_nothing(case) {
        let name = case.name("a");
        case.sleeper(&name);
        case.cmd(&["stop", "-s", "FOO", &name])
            .exits(1)
            .complains(&format!("cannot stop container: {name}: invalid signal: FOO"));
        case.cmd(&["stop", "-s", "FOO", "no-such"]).exits(1).complains("No such container");
    }

    fn kill_ends_it(case) {
        let name = case.name("a");
        case.sleeper(&name);
        case.cmd(&["kill", &name]).ok().prints(&name);
        case.wait_for_status(&name, "exited");
        assert_eq!(case.inspect(&name)["State"]["ExitCode"], 137);
    }

    fn kill_sends_the_signal(case) {
        let name = case.name("a");
        let script = "trap 'echo got-it' HUP; echo ready; while :; do sleep 0.02; done";
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let logged = |text: &str| {
            wait_for(text, Duration::from_secs(20), || {
                case.cmd(&["logs", &name]).stdout.contains(text)
            });
        };
        logged("ready");
        case.cmd(&["kill", "-s", "HUP", &name]).ok();
        logged("got-it");
        assert_eq!(case.inspect(&name)["State"]["Running"], true);
        case.cmd(&["kill", "-s", "SIGKILL", &name]).ok();
        case.wait_for_status(&name, "exited");
    }

    fn kill_with_an_unknown_signal_is_refused(case) {
        let name = case.name("a");
        case.sleeper(&name);
        case.cmd(&["kill", "-s", "NOSUCH", &name]).exits(1).complains("nvalid signal");
    }

    fn kill_of_a_stopped_container_is_refused(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "true"]).ok();
        case.cmd(&["kill", &name]).exits(1).complains("is not running");
    }

    fn pause_stops_the_clock(case) {
        let name = case.name("a");
        let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        case.cmd(&["pause", &name]).ok().prints(&name);
        let state = &case.inspect(&name)["State"];
        assert_eq!((&state["Status"], &state["Paused"]), (&"paused".into(), &true.into()));
        let frozen = case.cmd(&["logs", &name]).stdout;
        assert_eq!(case.cmd(&["logs", &name]).stdout, frozen);
        case.cmd(&["pause", &name]).exits(1).complains("is already paused");
        case.cmd(&["unpause", &name]).ok().prints(&name);
        wait_for("it counts on", Duration::from_secs(10), || {
            case.cmd(&["logs", &name]).stdout.len() > frozen.len()
        });
        case.cmd(&["unpause", &name]).exits(1).complains("is not paused");
    }

    fn a_paused_container_can_be_stopped(case) {
        let name = case.name("a");
        case.sleeper(&name);
        case.cmd(&["pause", &name]).ok();
        case.cmd(&["stop", "-t", "1", &name]).ok();
        assert_eq!(case.inspect(&name)["State"]["Status"], "exited");
    }

    fn wait_prints_the_exit_code(case) {
        let name = case.name("a");
        let script = "read line; exit 12";
        case.cmd(&["run", "-di", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let waiter = case.spawn(&["wait", &name]);
        case.cmd_with_input(&["attach", &name], b"go\n").exits(12);
        waiter.finish().ok().prints("12");
        case.cmd(&["wait", &name]).ok().prints("12");
    }

    fn restart_gives_a_new_start(case) {
        let name = case.name("a");
        obedient(case, &name);
        let before = case.inspect(&name)["State"]["StartedAt"].clone();
        case.cmd(&["restart", "-t", "1", &name]).ok().prints(&name);
        let state = &case.inspect(&name)["State"];
        assert_eq!(state["Running"], true);
        assert_ne!(state["StartedAt"], before);
    }

    fn rename_moves_the_name(case) {
        let (old, new) = (case.name("old"), case.name("new"));
        case.sleeper(&old);
        case.cmd(&["rename", &old, &new]).ok();
        assert_eq!(case.inspect(&new)["Name"], format!("/{new}"));
        case.cmd(&["inspect", &old]).exits(1);
        case.sleeper(&old);
        case.cmd(&["rename", &old, &new]).exits(1).complains("is already in use by container");
    }

    fn rm_refuses_what_runs_and_force_does_not(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let output = case.cmd(&["rm", &name]).exits(1);
        output
            .complains("container is running: stop the container before removing or force remove");
        case.cmd(&["rm", "-f", &name]).ok().prints(&name);
        case.cmd(&["inspect", &name]).exits(1);
    }

    fn rm_of_an_unknown_container(case) {
        case.cmd(&["rm", "no-such-thing"]).exits(1).complains("No such container: no-such-thing");
        case.cmd(&["rm", "-f", "no-such-thing"])
            .ok()
            .complains("No such container: no-such-thing");
    }

    fn a_name_is_used_once(case) {
        let name = case.name("a");
        let id = case.sleeper(&name);
        let output = case.cmd(&["run", "--name", &name, IMAGE, "true"]).exits(125);
        output.complains(&format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{id}\""
        ));
    }

    fn ids_can_be_shortened(case) {
        let id = case.sleeper(&case.name("a"));
        case.cmd(&["inspect", "-f", "{{.Id}}", &id[..12]]).ok().prints(&id);
        case.cmd(&["stop", "-t", "0", &id[..9]]).ok().prints(&id[..9]);
    }

    fn inspect_formats_and_complains(case) {
        let name = case.name("a");
        let id = case.sleeper(&name);
        let format = "{{.Name}} {{.State.Status}} {{len .Config.Cmd}} {{index .Config.Cmd 1}}";
        case.cmd(&["inspect", "-f", format, &name])
            .ok()
            .prints(&format!("/{name} running 2 1000"));
        case.cmd(&["inspect", "-f", "{{json .Config.Cmd}}", &name])
            .ok()
            .prints(r#"["sleep","1000"]"#);
        let whole = case.cmd(&["inspect", &name]).ok();
        let value: serde_json::Value = serde_json::from_str(&whole.stdout).expect("JSON");
        assert_eq!(value[0]["Id"], id);
        assert_eq!(value[0]["Path"], "sleep");
        assert_eq!(value[0]["HostConfig"]["NetworkMode"], "bridge");
        let missing = case.cmd(&["inspect", "nothing-here"]).exits(1).prints("[]");
        assert!(
            missing.stderr.to_lowercase().contains("no such object: nothing-here"),
            "{missing:?}"
        );
    }

    fn several_at_once(case) {
        let names = [case.name("a"), case.name("b"), case.name("c")];
        for name in &names {
            case.sleeper(name);
        }
        let args = ["rm", "-f", &names[0], &names[1], &names[2]];
        let output = case.cmd(&args).ok();
        let mut lines = output.lines();
        lines.sort_unstable();
        assert_eq!(lines, [&names[0], &names[1], &names[2]]);
    }

    fn prune_removes_only_what_has_ended(case) {
        let (ended, running) = (case.name("ended"), case.name("running"));
        let id = case.cmd(&["run", "-d", "--name", &ended, IMAGE, "true"]).ok();
        case.sleeper(&running);
        case.wait_for_status(&ended, "exited");
        let filter = format!("label={}", case.label());
        let output = case.cmd(&["container", "prune", "-f", "--filter", &filter]).ok();
        output.shows(id.text()).shows("Total reclaimed space");
        assert_eq!(case.inspect(&running)["State"]["Running"], true);
        case.cmd(&["inspect", &ended]).exits(1);
    }
}
