//! Volumes: their life, who uses them, filters and prune, options, crashes; and what Docker lacks.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Case, Client, Daemon, IMAGE, clients, image, wait_for};

/// What the API says about a volume.
#[track_caller]
fn inspect(case: &Case, name: &str) -> Value {
    let answer = case.api("GET", &format!("/volumes/{name}"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Names of the volumes that a container has.
#[track_caller]
fn volumes_of(case: &Case, container: &str) -> Vec<String> {
    let mounts = case.inspect(container)["Mounts"].clone();
    let mounts = mounts.as_array().into_iter().flatten();
    mounts.filter_map(|mount| mount["Name"].as_str().map(str::to_owned)).collect()
}

fn exists(case: &Case, name: &str) -> bool {
    case.api("GET", &format!("/volumes/{name}"), None).status == 200
}

/// A way in which something ends.
type End = (&'static str, fn(&mut Daemon));

clients! {
    fn volume_life(case) {
        let name = case.name("v");
        case.cmd(&["volume", "create", "--label", "a=b", "--label", "c", &name]).ok().prints(&name);
        // Once more is no error.
        case.cmd(&["volume", "create", &name]).ok().prints(&name);
        let found = inspect(case, &name);
        assert_eq!(found["Driver"], "local");
        assert_eq!(found["Scope"], "local");
        assert_eq!(found["Labels"], json!({"a": "b", "c": ""}));
        assert_eq!(found["Options"], Value::Null);
        let place = found["Mountpoint"].as_str().expect("a place");
        assert!(place.ends_with(&format!("/volumes/{name}/_data")), "{place}");
        let shown = case.cmd(&["volume", "inspect", "-f", "{{.Name}} {{.Labels.a}}", &name]).ok();
        shown.prints(&format!("{name} b"));
        let listed = case.cmd(&["volume", "ls", "-q", "--filter", &format!("name={name}")]).ok();
        listed.prints(&name);
        case.cmd(&["volume", "rm", &name]).ok().prints(&name);
        case.cmd(&["volume", "inspect", &name])
            .exits(1)
            .prints("[]")
            .complains(&format!("get {name}: no such volume"));
        case.cmd(&["volume", "rm", &name]).exits(1).complains(&format!("get {name}: no such volume"));
        case.cmd(&["volume", "rm", "-f", &name]).ok().prints(&name);
    }

    fn volume_lists_have_dockers_columns(case) {
        let name = case.name("v");
        case.cmd(&["volume", "create", "--label", "z=1", &name]).ok();
        let filter = format!("name={name}");
        let list = |format: &str| {
            case.cmd(&["volume", "ls", "--filter", &filter, "--format", format]).ok()
        };
        list("table").prints(&format!("DRIVER    VOLUME NAME\nlocal     {name}"));
        list("{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}} {{.Label \"z\"}} {{.Links}} {{.Size}}")
            .prints(&format!("{name} local local z=1 1 N/A N/A"));
        let line = list("json").stdout;
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!((&line["Name"], &line["Group"]), (&json!(name), &json!("N/A")));
        case.cmd(&["volume", "ls", "--format", "{{.Nope}}"])
            .exits(1)
            .complains("can't evaluate field Nope in type *formatter.volumeContext");
    }

    fn data_outlives_containers(case) {
        let name = case.name("v");
        let bind = format!("{name}:/data");
        case.cmd(&["run", "--rm", "-v", &bind, IMAGE, "sh", "-c", "echo kept > /data/f"]).ok();
        case.cmd(&["run", "--rm", "-v", &bind, IMAGE, "cat", "/data/f"]).ok().prints("kept");
        let read_only = format!("{name}:/data:ro");
        case.cmd(&["run", "--rm", "-v", &read_only, IMAGE, "touch", "/data/g"])
            .exits(1)
            .complains("Read-only file system");
    }

    fn anonymous_volumes_go_with_their_container(case) {
        for (how, stays) in [("-v", false), ("-f", true)] {
            let container = case.name(how.trim_start_matches('-'));
            case.cmd(&["create", "--name", &container, "-v", "/data", IMAGE]).ok();
            let volumes = volumes_of(case, &container);
            assert_eq!(volumes.len(), 1);
            assert_eq!(volumes[0].len(), 64);
            case.cmd(&["rm", how, &container]).ok();
            assert_eq!(exists(case, &volumes[0]), stays, "rm {how}");
            case.cmd(&["volume", "rm", "-f", &volumes[0]]).ok();
        }
        let container = case.name("auto");
        let named = case.name("named");
        let bind = format!("{named}:/named");
        let args = ["run", "--rm", "-d", "--name", &container, "-v", "/data", "-v", &bind, IMAGE, "sleep", "1000"];
        case.cmd(&args).ok();
        let mut volumes = volumes_of(case, &container);
        volumes.retain(|name| *name != named);
        assert!(exists(case, &volumes[0]));
        case.cmd(&["kill", &container]).ok();
        wait_for("the anonymous volume is gone", Duration::from_secs(20), || {
            !exists(case, &volumes[0])
        });
        assert!(exists(case, &named), "a volume with a name stays");
    }

    fn volumes_in_use_stay(case) {
        let (name, container) = (case.name("v"), case.name("c"));
        let bind = format!("{name}:/data");
        let id = case.cmd(&["create", "--name", &container, "-v", &bind, IMAGE]).ok();
        let expected = format!("remove {name}: volume is in use - [{}]", id.text());
        case.cmd(&["volume", "rm", &name]).exits(1).complains(&expected);
        let answer = case.api("DELETE", &format!("/volumes/{name}?force=1"), None);
        assert_eq!(answer.status, 409, "{}", answer.text());
        case.cmd(&["rm", &container]).ok();
        case.cmd(&["volume", "rm", &name]).ok();
    }

    fn volume_filters(case) {
        let (used, idle, container) = (case.name("used"), case.name("idle"), case.name("c"));
        let label = format!("only={}", case.name("x"));
        for name in [&used, &idle] {
            case.cmd(&["volume", "create", "--label", &label, name]).ok();
        }
        case.cmd(&["create", "--name", &container, "-v", &format!("{used}:/d"), IMAGE]).ok();
        let own = format!("label={label}");
        let list = |filter: &str| {
            let args = ["volume", "ls", "-q", "--filter", &own, "--filter", filter];
            let mut names: Vec<String> =
                case.cmd(&args).ok().lines().into_iter().map(str::to_owned).collect();
            names.sort();
            names
        };
        let both = [idle.clone(), used.clone()];
        assert_eq!(list("driver=local"), both);
        assert_eq!(list("dangling=true"), [idle.as_str()]);
        assert_eq!(list("dangling=false"), [used.as_str()]);
        assert_eq!(list(&format!("name={idle}")), [idle.as_str()]);
        assert!(list("driver=other").is_empty());
        assert!(list("label=only=nothing").is_empty());
        case.cmd(&["volume", "ls", "--filter", "foo=bar"]).exits(1).complains("invalid filter 'foo'");
        case.cmd(&["volume", "ls", "--filter", "dangling=maybe"])
            .exits(1)
            .complains("invalid filter 'dangling=[maybe]'");
        case.cmd(&["volume", "ls", "--filter", "nothing"])
            .exits(125)
            .complains("bad format of filter (expected name=value)");
    }

    fn volume_prune(case) {
        let label = format!("prune={}", case.name("x"));
        let filter = format!("label={label}");
        let (named, container) = (case.name("named"), case.name("c"));
        case.cmd(&["volume", "create", "--label", &label, &named]).ok();
        let mount = format!("type=volume,dst=/data,volume-label={label}");
        let script = "head -c 5000 /dev/zero > /data/f";
        case.cmd(&["run", "--name", &container, "--mount", &mount, IMAGE, "sh", "-c", script]).ok();
        let anonymous = volumes_of(case, &container).remove(0);
        let prune = |args: &[&str]| {
            let all = [&["volume", "prune", "--filter", &filter], args].concat();
            case.cmd_with_input(&all, b"n\n").ok()
        };
        prune(&["-f"]).prints("Total reclaimed space: 0B");
        case.cmd(&["rm", &container]).ok();
        prune(&[]).shows(
            "WARNING! This will remove anonymous local volumes not used by at least one container.\n\
             Are you sure you want to continue? [y/N]",
        );
        assert!(exists(case, &anonymous));
        let pruned = prune(&["-f"]).shows(&format!("Deleted Volumes:\n{anonymous}\n"));
        pruned.hides("reclaimed space: 0B");
        assert!(exists(case, &named));
        prune(&["-a"]).shows("WARNING! This will remove all local volumes not used");
        prune(&["-af"]).shows(&format!("Deleted Volumes:\n{named}\n"));
        assert!(!exists(case, &named));
        case.cmd(&["volume", "prune", "-a", "--filter", "all=true"])
            .exits(1)
            .complains("conflicting options: cannot specify both --all and --filter all=1");
    }

    fn bad_volumes_are_refused(case) {
        for (args, code, text) in [
            (&["bad name"][..], 1, "create bad name: \"bad name\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"),
            (&["-d", "nope", "xx"], 1, "create xx: error looking up volume plugin nope: plugin \"nope\" not found"),
            (&["-o", "foo=bar", "xx"], 1, "create xx: invalid option: \"foo\""),
            (&["-o", "foo", "xx"], 1, "create xx: invalid option: \"foo\""),
            (&["-o", "device=/x", "xx"], 1, "missing required option: \"type\""),
            (&["--type", "block", "xx"], 1, "This node is not a swarm manager."),
            (&["a", "b"], 1, "requires at most 1 argument"),
            (&["--name", "a", "b"], 1, "conflicting options: cannot specify a volume-name through both --name and as a positional arg"),
            (&["--label", "", "a"], 125, "invalid argument \"\" for \"--label\" flag: invalid label '': empty name"),
        ] {
            let args = [&["volume", "create"], args].concat();
            case.cmd(&args).exits(code).complains(text);
        }
        case.cmd(&["volume", "rm", ""]).exits(1).complains("invalid volume name or ID: value is empty");
        case.cmd(&["volume", "inspect", ""]).exits(1).complains("invalid volume name or ID: value is empty");
        case.cmd(&["volume", "update", "no-such"]).exits(1).complains("no such volume");
        let name = case.name("v");
        case.cmd(&["volume", "create", &name]).ok();
        case.cmd(&["volume", "update", &name]).exits(1).complains("can only update cluster volumes");
    }

    fn local_volumes_can_be_binds_and_tmpfs(case) {
        let dir = case.dir().join("source");
        std::fs::create_dir(&dir).and_then(|()| std::fs::write(dir.join("f"), "there")).expect("ours");
        let (bind, tmpfs) = (case.name("bind"), case.name("tmpfs"));
        let device = format!("device={}", dir.display());
        case.cmd(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, &bind]).ok();
        let script = "cat /d/f; echo new > /d/g";
        case.cmd(&["run", "--rm", "-v", &format!("{bind}:/d"), IMAGE, "sh", "-c", script])
            .ok()
            .prints("there");
        assert_eq!(std::fs::read_to_string(dir.join("g")).expect("written"), "new\n");
        case.cmd(&[
            "volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=64k,uid=1000", &tmpfs,
        ])
        .ok();
        let script = "stat -c %u /d; dd if=/dev/zero of=/d/f bs=100000 count=1";
        case.cmd(&["run", "--rm", "-v", &format!("{tmpfs}:/d"), IMAGE, "sh", "-c", script])
            .exits(1)
            .prints("1000")
            .complains("No space left on device");
        // A tmpfs is empty again when the last container has gone.
        case.cmd(&["run", "--rm", "-v", &format!("{tmpfs}:/d"), IMAGE, "ls", "/d"]).ok().prints("");
        let gone = case.name("gone");
        case.cmd(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/no/such", &gone]).ok();
        case.cmd(&["run", "--rm", "-v", &format!("{gone}:/d"), IMAGE, "true"])
            .exits(127)
            .complains("failed to mount local volume: mount /no/such:")
            .complains(", flags: 0x1000: no such file or directory");
        let odd = case.name("odd");
        case.cmd(&["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=foo=1,ro,nosuid", &odd]).ok();
        case.cmd(&["run", "--rm", "-v", &format!("{odd}:/d"), IMAGE, "true"])
            .exits(125)
            .complains(", flags: 0x3, data: foo=1: invalid argument");
    }

    fn volumes_can_be_renamed_cloned_and_protected(case) {
        if case.is_reference() || case.client() == Client::Docker {
            return;
        }
        let (one, two, three) = (case.name("one"), case.name("two"), case.name("three"));
        let bind = format!("{one}:/d");
        case.cmd(&["run", "--rm", "-v", &bind, IMAGE, "sh", "-c", "echo data > /d/f; chown 7:8 /d/f"]).ok();
        case.cmd(&["volume", "clone", &one, &two]).ok().prints(&two);
        case.cmd(&["run", "--rm", "-v", &format!("{two}:/d"), IMAGE, "sh", "-c", "cat /d/f; stat -c %u:%g /d/f"])
            .ok()
            .prints("data\n7:8");
        case.cmd(&["volume", "rename", &two, &three]).ok();
        assert!(!exists(case, &two) && exists(case, &three));
        case.cmd(&["volume", "rename", &one, &three]).exits(1).complains("already");
        case.cmd(&["volume", "protect", &three]).ok().prints(&three);
        case.cmd(&["volume", "rm", &three]).exits(1).complains("protected");
        let container = case.name("c");
        case.cmd(&["create", "--name", &container, "-v", &bind, IMAGE]).ok();
        case.cmd(&["volume", "rename", &one, &two]).exits(1).complains("in use");
        case.cmd(&["volume", "unprotect", &three]).ok();
        case.cmd(&["volume", "rm", &three]).ok();
        let label = format!("dry={}", case.name("x"));
        let doomed = case.name("doomed");
        case.cmd(&["volume", "create", "--label", &label, &doomed]).ok();
        case.cmd(&["volume", "prune", "-a", "--dry-run", "--filter", &format!("label={label}")])
            .ok()
            .shows(&format!("Volumes that would be removed:\n{doomed}\n"));
        assert!(exists(case, &doomed));
    }

    fn volumes_travel_as_archives(case) {
        if case.is_reference() || case.client() == Client::Docker {
            return;
        }
        let (one, two) = (case.name("one"), case.name("two"));
        let script = "mkdir -m 700 /d/s; echo data > /d/s/f; ln /d/s/f /d/h; chown 7:8 /d/h; chown 9:9 /d";
        case.cmd(&["run", "--rm", "-v", &format!("{one}:/d"), IMAGE, "sh", "-c", script]).ok();
        case.cmd(&["volume", "export", "-o", "v.tar", &one]).ok();
        case.cmd(&["volume", "import", &two, "v.tar"]).ok().prints(&two);
        let script = "cd /d; cat h; stat -c '%n %a %u:%g %h' . s s/f h";
        case.cmd(&["run", "--rm", "-v", &format!("{two}:/d"), IMAGE, "sh", "-c", script])
            .ok()
            .prints("data\n. 755 9:9 3\ns 700 0:0 2\ns/f 644 7:8 2\nh 644 7:8 2");
        case.cmd(&["volume", "import", &two, "v.tar"]).exits(1);
        case.cmd(&["volume", "import", &case.name("three"), "no-such.tar"])
            .exits(1)
            .complains("open no-such.tar: no such file or directory");
        case.cmd_with_input(&["volume", "import", &case.name("four"), "-"], b"no archive").exits(1);
        assert!(!exists(case, &case.name("four")), "nothing is left of a failed import");
        case.cmd(&["volume", "export", "no-such-volume"]).exits(1).complains("no such volume");
    }

    fn volumes_can_be_bounded(case) {
        if case.is_reference() {
            return;
        }
        let name = case.name("v");
        case.cmd(&["volume", "create", "-o", "size=16M", &name]).ok();
        let bind = format!("{name}:/d");
        let script = "dd if=/dev/zero of=/d/f bs=1M count=40";
        case.cmd(&["run", "--rm", "-v", &bind, IMAGE, "sh", "-c", script])
            .exits(1)
            .complains("No space left on device");
        case.cmd(&["run", "--rm", "-v", &bind, IMAGE, "sh", "-c", "rm /d/f; echo room > /d/g; cat /d/g"])
            .ok()
            .prints("room");
        case.cmd(&["volume", "rm", &name]).ok();
        case.cmd(&["volume", "create", "-o", "size=x", &name]).exits(1).complains("invalid size");
    }

    fn bounds_are_told_as_what_is_used(case) {
        if case.is_reference() {
            return;
        }
        let (name, container) = (case.name("v"), case.name("c"));
        case.cmd(&["volume", "create", "-o", "size=64M", &name]).ok();
        let bind = format!("{name}:/d");
        let script = "head -c 3000000 /dev/zero > /d/f; head -c 2000000 /dev/zero > /own; sync";
        let args = ["run", "--name", &container, "--storage-opt", "size=64M", "-v", &bind, IMAGE, "sh", "-c", script];
        case.cmd(&args).ok();
        let all = case.api("GET", "/system/df", None).json();
        let find = |list: &str, is: &dyn Fn(&Value) -> bool| -> Value {
            all[list].as_array().expect("a list").iter().find(|one| is(one)).expect("it is listed").clone()
        };
        let volume = find("Volumes", &|one| one["Name"] == name.as_str());
        let size = volume["UsageData"]["Size"].as_i64().expect("a number");
        assert!((3_000_000..3_500_000).contains(&size), "the data, not the bound: {volume}");
        assert_eq!(volume["UsageData"]["RefCount"], 1);
        assert_eq!(volume["Options"]["size"], "64M");
        let shown = format!("/{container}");
        let own = find("Containers", &|one| one["Names"][0] == shown.as_str());
        let size = own["SizeRw"].as_i64().expect("a number");
        assert!((2_000_000..2_500_000).contains(&size), "the data, not the bound: {own}");
        case.cmd(&["rm", &container]).ok();
    }

    fn sizes_and_links_are_told(case) {
        let (name, container) = (case.name("v"), case.name("c"));
        let bind = format!("{name}:/d");
        let script = "head -c 300000 /dev/zero > /d/f; head -c 200000 /dev/zero > /own";
        case.cmd(&["run", "--name", &container, "-v", &bind, IMAGE, "sh", "-c", script]).ok();
        let all = case.cmd(&["system", "df", "-v"]).ok();
        let line = all.lines().into_iter().find(|line| line.starts_with(&name)).map(str::to_owned);
        let line = line.expect("the volume is listed");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1], "1", "{line}");
        assert!(words[2].starts_with("30") && words[2].ends_with("kB"), "{line}");
        let filter = format!("name={container}");
        let args = ["ps", "-a", "-s", "--filter", &filter, "--format", "{{.Size}}"];
        case.cmd(&args).ok().shows("20").shows("kB (virtual ");
    }
}

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

#[test]
fn data_survives_the_end_of_every_process() {
    let Some(mut daemon) = daemon() else { return };
    let volumes = [("plain", Value::Null), ("sized", json!({"size": "16M"}))];
    for (name, options) in &volumes {
        let body = json!({"Name": name, "DriverOpts": options});
        assert_eq!(daemon.api("POST", "/volumes/create", Some(&body)).status, 201);
    }
    let script = "for d in /plain /sized /anonymous ''; do echo $(cat $d/f 2>/dev/null)x > $d/f; \
        cat $d/f; done; echo written; sleep 1000";
    let binds = ["plain:/plain", "sized:/sized", "/anonymous"];
    let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": {"Binds": binds}});
    let made = daemon.api("POST", "/containers/create?name=one", Some(&body));
    assert_eq!(made.status, 201, "{}", made.text());
    let log = |daemon: &Daemon| {
        let bytes = daemon.api("GET", "/containers/one/logs?stdout=1", None).body;
        // Without the frames' heads, whose last byte may be anything.
        let lines = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<_> =
            lines.lines().map(|line| line.trim_start_matches(|c| c != 'x' && c != 'w')).collect();
        lines.join(" ")
    };
    let mut expected = String::new();
    let ends: [End; 4] = [
        ("nothing ends", |_| {}),
        ("kill -9 of the daemon", |daemon| daemon.crash().expect("it comes again")),
        ("kill -9 of all but the daemon", |daemon| {
            let own = daemon.pid();
            let all = daemon.processes().into_iter().filter(|process| Some(process.pid) != own);
            all.collect::<Vec<_>>().iter().for_each(tests::host::Process::kill);
        }),
        ("an orderly restart", |daemon| {
            assert!(daemon.stop(), "it ends in order");
            daemon.launch().expect("it comes again");
        }),
    ];
    for (count, (what, end)) in ends.iter().enumerate() {
        let _there_or_not = daemon.api("POST", "/containers/one/stop?t=0", None);
        let started = daemon.api("POST", "/containers/one/start", None);
        assert_eq!(started.status, 204, "{what}: {}", started.text());
        expected.push_str(&format!("{} ", "x".repeat(count + 1)).repeat(4));
        expected.push_str("written ");
        wait_for("it has written", Duration::from_secs(20), || {
            log(&daemon) == expected.trim_end()
        });
        end(&mut daemon);
        if what.contains("all but") {
            let ended = || {
                let state = daemon.api("GET", "/containers/one/json", None).json();
                state["State"]["Running"] == false
            };
            wait_for("the end is noticed", Duration::from_secs(20), ended);
        }
    }
    let removed = daemon.api("DELETE", "/containers/one?force=1&v=1", None);
    assert_eq!(removed.status, 204, "{}", removed.text());
    for (name, _) in &volumes {
        assert_eq!(daemon.api("DELETE", &format!("/volumes/{name}"), None).status, 204);
    }
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
}

#[test]
fn mounted_volumes_survive_a_crash_and_go_with_the_last_user() {
    let Some(mut daemon) = daemon() else { return };
    let source = tempfile::tempdir().expect("a directory");
    let device = source.path().display().to_string();
    let options = [
        ("tmpfs", json!({"type": "tmpfs", "device": "tmpfs"})),
        ("bind", json!({"type": "none", "o": "bind", "device": device})),
        ("sized", json!({"size": "16M"})),
        ("plain", Value::Null),
    ];
    for (name, options) in &options {
        let body = json!({"Name": name, "DriverOpts": options});
        let made = daemon.api("POST", "/volumes/create", Some(&body));
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let binds: Vec<String> = options.iter().map(|(name, _)| format!("{name}:/{name}")).collect();
    let script = "for d in tmpfs bind sized plain; do echo 0 > /$d/f; done; \
        while :; do for d in tmpfs bind sized plain; do date > /$d/new && mv /$d/new /$d/f; done; done";
    let body = json!({"Image": IMAGE, "Cmd": ["sh", "-c", script], "HostConfig": {"Binds": binds}});
    let made = daemon.api("POST", "/containers/create", Some(&body)).json();
    let id = made["Id"].as_str().expect("an id").to_owned();
    let started = daemon.api("POST", &format!("/containers/{id}/start"), None);
    assert_eq!(started.status, 204, "{}", started.text());
    for _ in 0..3 {
        daemon.crash().unwrap_or_else(|error| panic!("{error:#}"));
        let state = daemon.api("GET", &format!("/containers/{id}/json"), None).json();
        assert_eq!(state["State"]["Running"], true);
        for (name, _) in &options {
            let refused = daemon.api("DELETE", &format!("/volumes/{name}"), None);
            assert_eq!(refused.status, 409, "{name}: {}", refused.text());
        }
    }
    let stopped = daemon.api("POST", &format!("/containers/{id}/stop?t=0"), None);
    assert_eq!(stopped.status, 204, "{}", stopped.text());
    // A bounded volume may stay mounted for as long as it is there.
    let mounted = || {
        let mut lines = tests::host::mounts_below("self", daemon.roots());
        lines.retain(|line| !line.contains("/sized/"));
        lines
    };
    wait_for("nothing is mounted", Duration::from_secs(20), || mounted().is_empty());
    assert!(source.path().join("f").exists());
    let restarted = daemon.api("POST", &format!("/containers/{id}/start"), None);
    assert_eq!(restarted.status, 204, "{}", restarted.text());
    let removed = daemon.api("DELETE", &format!("/containers/{id}?force=1"), None);
    assert_eq!(removed.status, 204, "{}", removed.text());
    for (name, _) in &options {
        let removed = daemon.api("DELETE", &format!("/volumes/{name}"), None);
        assert_eq!(removed.status, 204, "{name}: {}", removed.text());
    }
    assert!(source.path().join("f").exists(), "what was bound is not ours to remove");
    let leaks = daemon.retire();
    assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
}
