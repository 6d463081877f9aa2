//! Crashes of the daemon and of supervisors: what runs goes on, what ended is known, nothing stays.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Daemon, IMAGE, audit, host, image, wait_for};

const SOON: Duration = Duration::from_secs(10);

/// A private daemon with the test image, or none where the engine under test is not ours.
fn daemon() -> Option<Daemon> {
    if tests::target::reference_socket().is_some() {
        return None;
    }
    let mut daemon = Daemon::start().unwrap_or_else(|error| panic!("{error:#}"));
    image::ensure(&daemon.socket())
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log_tail()));
    daemon.warm_up();
    Some(daemon)
}

#[track_caller]
fn run(daemon: &Daemon, mut body: Value) -> String {
    body["Image"] = IMAGE.into();
    let created = daemon.api("POST", "/containers/create", Some(&body));
    assert_eq!(created.status, 201, "{}", created.text());
    let id = created.json()["Id"].as_str().expect("an id").to_owned();
    let started = daemon.api("POST", &format!("/containers/{id}/start"), None);
    assert_eq!(started.status, 204, "{}", started.text());
    id
}

#[track_caller]
fn shell(daemon: &Daemon, script: &str) -> String {
    run(daemon, json!({"Cmd": ["sh", "-c", script]}))
}

#[track_caller]
fn state(daemon: &Daemon, id: &str) -> Value {
    daemon.api("GET", &format!("/containers/{id}/json"), None).json()["State"].clone()
}

/// The output of a container as lines, without the framing.
#[track_caller]
fn log_lines(daemon: &Daemon, id: &str) -> Vec<String> {
    let bytes = daemon.api("GET", &format!("/containers/{id}/logs?stdout=1"), None).body;
    let mut text = Vec::new();
    let mut rest = bytes.as_slice();
    while let [_, 0, 0, 0, a, b, c, d, tail @ ..] = rest {
        let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        text.extend_from_slice(&tail[..size]);
        rest = &tail[size..];
    }
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

#[track_caller]
fn retire(mut daemon: Daemon) {
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
}

#[test]
fn a_running_container_survives_and_loses_no_line() {
    let Some(mut daemon) = daemon() else { return };
    let id = shell(&daemon, "i=0; while :; do i=$((i+1)); echo $i; sleep 0.001; done");
    let pid = state(&daemon, &id)["Pid"].clone();
    for _ in 0..3 {
        let before = log_lines(&daemon, &id).len();
        daemon.crash().unwrap_or_else(|error| panic!("{error:#}"));
        let now = state(&daemon, &id);
        assert_eq!((&now["Running"], &now["Pid"]), (&true.into(), &pid));
        wait_for("it counts on", SOON, || log_lines(&daemon, &id).len() > before + 50);
    }
    let lines = log_lines(&daemon, &id);
    let expected: Vec<String> = (1..=lines.len()).map(|n| n.to_string()).collect();
    assert_eq!(lines, expected);
    retire(daemon);
}

#[test]
fn a_survivor_can_be_stopped_executed_in_and_removed() {
    let Some(mut daemon) = daemon() else { return };
    let id = shell(&daemon, "trap 'exit 7' TERM; while :; do sleep 0.02; done");
    daemon.crash().unwrap_or_else(|error| panic!("{error:#}"));
    let body = json!({"AttachStdout": true, "Cmd": ["echo", "inside"]});
    let exec = daemon.api("POST", &format!("/containers/{id}/exec"), Some(&body)).json();
    let path = format!("/exec/{}/start", exec["Id"].as_str().expect("an id"));
    let output = daemon.api("POST", &path, Some(&json!({"Detach": false})));
    assert!(output.text().contains("inside"), "{}", output.text());
    assert_eq!(daemon.api("POST", &format!("/containers/{id}/stop?t=10"), None).status, 204);
    assert_eq!(state(&daemon, &id)["ExitCode"], 7);
    assert_eq!(daemon.api("POST", &format!("/containers/{id}/start"), None).status, 204);
    assert_eq!(state(&daemon, &id)["Running"], true);
    retire(daemon);
}

#[test]
fn an_exit_while_no_daemon_runs_is_known() {
    let Some(mut daemon) = daemon() else { return };
    let id = shell(&daemon, "sleep 0.3; echo last; exit 23");
    let pid = state(&daemon, &id)["Pid"].as_i64().expect("a pid");
    daemon.kill9();
    let proc = format!("/proc/{pid}");
    wait_for("it has ended", SOON, || !std::path::Path::new(&proc).exists());
    daemon.launch().unwrap_or_else(|error| panic!("{error:#}"));
    let now = state(&daemon, &id);
    assert_eq!((&now["Status"], &now["ExitCode"]), (&"exited".into(), &23.into()));
    assert_ne!(now["FinishedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(log_lines(&daemon, &id), ["last"]);
    retire(daemon);
}

#[test]
fn containers_and_images_are_there_after_an_orderly_restart() {
    let Some(mut daemon) = daemon() else { return };
    let running = shell(&daemon, "sleep 1000");
    let ended = shell(&daemon, "exit 4");
    wait_for("it has ended", SOON, || state(&daemon, &ended)["Status"] == "exited");
    assert!(daemon.stop(), "the daemon ended badly:\n{}", daemon.log_tail());
    daemon.launch().unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(state(&daemon, &running)["Running"], true);
    assert_eq!(state(&daemon, &ended)["ExitCode"], 4);
    assert_eq!(daemon.api("GET", &format!("/images/{IMAGE}/json"), None).status, 200);
    retire(daemon);
}

#[test]
fn a_container_started_with_rm_goes_after_a_crash_too() {
    let Some(mut daemon) = daemon() else { return };
    let id = run(&daemon, json!({"Cmd": ["sleep", "0.3"], "HostConfig": {"AutoRemove": true}}));
    daemon.kill9();
    daemon.launch().unwrap_or_else(|error| panic!("{error:#}"));
    wait_for("it is gone", SOON, || {
        daemon.api("GET", &format!("/containers/{id}/json"), None).status == 404
    });
    retire(daemon);
}

#[test]
fn a_crashed_supervisor_is_an_exit_within_five_seconds() {
    let Some(daemon) = daemon() else { return };
    let (victim, bystander) = (shell(&daemon, "sleep 1000"), shell(&daemon, "sleep 1000"));
    supervisor_of(&daemon, &victim).kill();
    wait_for("the exit is reported", Duration::from_secs(5), || {
        state(&daemon, &victim)["Running"] == false
    });
    assert_eq!(state(&daemon, &victim)["ExitCode"], 137);
    assert_eq!(state(&daemon, &bystander)["Running"], true);
    assert!(host::cgroups_at(&format!("{}/{victim}", daemon.names().cgroup)).is_empty());
    let again = daemon.api("POST", &format!("/containers/{victim}/start"), None);
    assert_eq!(again.status, 204, "{}", again.text());
    assert_eq!(state(&daemon, &victim)["Running"], true);
    retire(daemon);
}

#[test]
fn a_supervisor_that_crashed_while_no_daemon_ran_is_an_exit() {
    let Some(mut daemon) = daemon() else { return };
    let id = shell(&daemon, "sleep 1000");
    let supervisor = supervisor_of(&daemon, &id);
    daemon.kill9();
    supervisor.kill();
    daemon.launch().unwrap_or_else(|error| panic!("{error:#}"));
    wait_for("the exit is reported", Duration::from_secs(5), || {
        state(&daemon, &id)["Running"] == false
    });
    assert_eq!(daemon.api("POST", &format!("/containers/{id}/start"), None).status, 204);
    retire(daemon);
}

#[test]
fn a_crash_of_everything_at_once_is_cleaned_up() {
    let Some(mut daemon) = daemon() else { return };
    let ids: Vec<String> = (0..3).map(|_| shell(&daemon, "sleep 1000")).collect();
    let processes = daemon.processes();
    daemon.kill9();
    processes.iter().for_each(host::Process::kill);
    wait_for("all have ended", SOON, || daemon.processes().is_empty());
    daemon.launch().unwrap_or_else(|error| panic!("{error:#}"));
    for id in &ids {
        wait_for("the exit is reported", Duration::from_secs(5), || {
            state(&daemon, id)["Running"] == false
        });
        let found = audit::settled(|| {
            let cgroups = host::cgroups_at(&format!("{}/{id}", daemon.names().cgroup));
            cgroups.iter().map(|dir| dir.display().to_string()).collect()
        });
        assert!(found.is_empty(), "{found:#?}");
    }
    retire(daemon);
}

#[test]
fn a_crash_of_the_spawner_costs_no_container() {
    let Some(daemon) = daemon() else { return };
    let id = shell(&daemon, "sleep 1000");
    let own = daemon.pid().expect("it runs");
    let supervisor = supervisor_of(&daemon, &id).pid;
    let container = state(&daemon, &id)["Pid"].as_i64().expect("a pid");
    let others = daemon.processes().into_iter().filter(|process| {
        process.pid != own && process.pid != supervisor && i64::from(process.pid) != container
    });
    let spawner = others.min_by_key(|process| process.pid).expect("there is a spawner");
    spawner.kill();
    wait_for("it has ended", SOON, || {
        daemon
            .processes()
            .iter()
            .all(|process| process.pid != spawner.pid || process.state == 'Z')
    });
    assert_eq!(state(&daemon, &id)["Running"], true);
    // The next start makes a new one.
    let mut last = 0;
    wait_for("a container can be started again", SOON, || {
        let created = daemon.api(
            "POST",
            "/containers/create",
            Some(&json!({"Image": IMAGE, "Cmd": ["sleep", "9"]})),
        );
        let next = created.json()["Id"].as_str().expect("an id").to_owned();
        last = daemon.api("POST", &format!("/containers/{next}/start"), None).status;
        last == 204
    });
    assert_eq!(last, 204);
    retire(daemon);
}

/// The supervisor of a container: the process that was forked last and is its parent.
#[track_caller]
fn supervisor_of(daemon: &Daemon, id: &str) -> host::Process {
    let pid = state(daemon, id)["Pid"].as_i64().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent");
    let parent: i32 = parent.parse().expect("a number");
    let all = daemon.processes();
    let found = all.iter().find(|process| process.pid == parent).cloned();
    found.unwrap_or_else(|| panic!("{parent} is none of ours: {all:#?}"))
}
