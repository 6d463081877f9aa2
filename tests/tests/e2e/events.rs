//! `events`.

use tests::{IMAGE, clients};

/// The second after this one, as `--until` takes it.
fn now() -> String {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    (time.expect("after 1970").as_secs() + 1).to_string()
}

clients! {
    fn events_of_a_life_in_order(case) {
        let name = case.name("a");
        let follower = case.spawn(&[
            "events",
            "--filter",
            &format!("container={name}"),
            "--format",
            "{{.Action}}",
        ]);
        // The stream has no greeting, so a life is lived until the first event of one is seen.
        tests::wait_for("the stream stands", std::time::Duration::from_secs(30), || {
            case.cmd(&["create", "--name", &name, IMAGE, "true"]).ok();
            case.cmd(&["rm", &name]).ok();
            follower.stdout().contains("destroy")
        });
        let before = follower.stdout().len();
        case.cmd(&["run", "--name", &name, IMAGE, "true"]).ok();
        case.cmd(&["rm", &name]).ok();
        tests::wait_for("the last event is there", std::time::Duration::from_secs(20), || {
            follower.stdout()[before..].contains("destroy")
        });
        let text = follower.stdout()[before..].to_owned();
        let order: Vec<&str> = text.lines().filter(|line| !line.contains("resize")).collect();
        assert_eq!(order, ["create", "attach", "start", "die", "destroy"]);
    }

    fn events_of_the_past(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", "exit 9"]).exits(9);
        let filter = format!("container={name}");
        let args = ["events", "--since", "5m", "--until", &now(), "--filter", &filter];
        let output = case.cmd(&args).ok();
        let output = output.shows("container create ").shows("container start ");
        let output = output.shows("container die ").shows("exitCode=9");
        let output = output.shows(&format!("image={IMAGE}")).shows(&format!("name={name}"));
        let stamp = output.lines()[0].split(' ').next().expect("a time");
        assert!(stamp.contains('T') && stamp.len() >= 30, "{output:?}");
        let until = now();
        let json = [
            &args[..4],
            &[&until, "--filter", &filter, "--filter", "event=die", "--format", "{{json .}}"],
        ]
        .concat();
        let output = case.cmd(&json).ok();
        let event: serde_json::Value = serde_json::from_str(output.text()).expect("one JSON event");
        assert_eq!(event["Type"], "container");
        assert_eq!(event["Actor"]["Attributes"]["exitCode"], "9");
        assert_eq!(event["scope"], "local");
    }

    fn copies_and_execs_are_told_of(case) {
        let name = case.name("a");
        case.sleeper(&name);
        case.cmd(&["exec", &name, "true"]).ok();
        let into = case.dir().join("copied");
        let into = into.to_str().expect("a path");
        case.cmd(&["cp", &format!("{name}:/etc/passwd"), into]).ok();
        case.cmd(&["cp", into, &format!("{name}:/tmp")]).ok();
        let filter = format!("container={name}");
        let format = "{{.Action}}|";
        let args = [
            "events", "--since", "5m", "--until", &now(), "--filter", &filter, "--format", format,
        ];
        let output = case.cmd(&args).ok().shows("exec_create: true |").shows("exec_start: true |");
        output.shows("archive-path|").shows("extract-to-dir|");
    }
}
