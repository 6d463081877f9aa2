//! `logs`, and the bound of the log files.

use std::time::Duration;

use tests::{IMAGE, api, clients, wait_for};

clients! {
    fn logs_keep_both_streams(case) {
        let name = case.name("a");
        let script = "echo one; echo two >&2; echo three";
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let output = case.cmd(&["logs", &name]).ok().prints("one\nthree");
        assert_eq!(output.stderr, "two\n");
    }

    fn logs_follow_until_the_end(case) {
        let name = case.name("a");
        let script = "echo first; read line; echo last-$line";
        case.cmd(&["run", "-di", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let follower = case.spawn(&["logs", "-f", &name]);
        follower.wait_for("first");
        case.cmd_with_input(&["attach", &name], b"word\n").ok();
        follower.finish().ok().prints("first\nlast-word");
    }

    fn logs_tail(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "seq", "1", "1000"]).ok();
        case.cmd(&["logs", "--tail", "2", &name]).ok().prints("999\n1000");
        case.cmd(&["logs", "--tail", "0", &name]).ok().prints("");
        case.cmd(&["logs", "-n", "5000", &name]).ok().shows("1\n2\n");
        assert_eq!(case.cmd(&["logs", "--tail", "all", &name]).ok().lines().len(), 1000);
    }

    fn logs_timestamps_are_sorted_and_precise(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "seq", "1", "50"]).ok();
        let output = case.cmd(&["logs", "-t", &name]).ok();
        let stamps: Vec<&str> = output.lines().iter().filter_map(|l| l.split(' ').next()).collect();
        assert_eq!(stamps.len(), 50);
        assert!(
            stamps.iter().all(|stamp| stamp.len() == 30 && stamp.ends_with('Z')),
            "{stamps:?}"
        );
        assert!(stamps.is_sorted(), "{stamps:?}");
    }

    fn logs_since_and_until(case) {
        let name = case.name("a");
        let script = "echo early; sleep 0.3; echo late";
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let output = case.cmd(&["logs", "-t", &name]).ok();
        let late = output.lines()[1].split(' ').next().expect("a stamp").to_owned();
        case.cmd(&["logs", "--since", &late, &name]).ok().prints("late");
        let early = output.lines()[0].split(' ').next().expect("a stamp").to_owned();
        case.cmd(&["logs", "--until", &early, &name]).ok().prints("early");
        case.cmd(&["logs", "--since", "1h", &name]).ok().prints("early\nlate");
    }

    fn logs_of_a_line_without_end(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "printf", "no newline"]).ok();
        assert_eq!(case.cmd(&["logs", &name]).ok().stdout, "no newline");
    }

    fn logs_of_a_very_long_line(case) {
        let name = case.name("a");
        let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end";
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let output = case.cmd(&["logs", &name]).ok();
        assert_eq!(output.lines().iter().map(|line| line.len()).collect::<Vec<_>>(), [100_000, 3]);
    }

    fn logs_keep_bytes_that_are_no_text(case) {
        let name = case.name("a");
        case.cmd(&[
            "run", "--name", &name, IMAGE, "printf", "\\033[1m\\t\"quoted\"\\\\ \\302\\265\\n",
        ])
        .ok();
        assert_eq!(case.cmd(&["logs", &name]).ok().stdout, "\u{1b}[1m\t\"quoted\"\\ µ\n");
    }

    fn logs_of_a_terminal_are_one_stream(case) {
        let name = case.name("a");
        case.cmd(&["run", "-dt", "--name", &name, IMAGE, "sh", "-c", "echo a; echo b >&2"]).ok();
        case.wait_for_status(&name, "exited");
        let output = case.cmd(&["logs", &name]).ok();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("a\r\nb\r\n", ""));
    }

    fn logs_of_an_unknown_container(case) {
        case.cmd(&["logs", "no-such"]).exits(1).complains("No such container: no-such");
    }

    fn logs_go_on_after_a_restart(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "echo", "again"]).ok();
        case.cmd(&["start", "-a", &name]).ok();
        case.cmd(&["logs", &name]).ok().prints("again\nagain");
    }

    fn log_files_are_rotated_within_the_bound(case) {
        let name = case.name("a");
        let opts = ["--log-opt", "max-size=20k", "--log-opt", "max-file=3"];
        let run = [&["run", "--name", &name], &opts[..], &[IMAGE, "seq", "1", "20000"]].concat();
        case.cmd(&run).ok();
        let path = case.inspect(&name)["LogPath"].as_str().expect("a path").to_owned();
        let output = case.cmd(&["logs", &name]).ok();
        let numbers: Vec<u32> = output.lines().iter().filter_map(|l| l.parse().ok()).collect();
        assert_eq!(numbers.len(), output.lines().len(), "a line was split");
        assert_eq!(numbers.last(), Some(&20_000));
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a line was lost");
        assert!(numbers.len() < 20_000, "nothing was dropped");
        // dockerd's files may lie in a mount namespace of its own.
        if !case.is_reference() {
            for suffix in ["", ".1", ".2"] {
                let size = std::fs::metadata(format!("{path}{suffix}")).expect("it exists").len();
                assert!(size <= 21_000, "{path}{suffix} has {size} bytes");
            }
            assert!(!std::path::Path::new(&format!("{path}.3")).exists());
        }
    }

    fn a_follower_survives_rotation(case) {
        let name = case.name("a");
        let opts = ["--log-opt", "max-size=20k", "--log-opt", "max-file=2"];
        let script = "read go; for i in $(seq 1 3000); do echo $i; done";
        let run =
            [&["run", "-di", "--name", &name], &opts[..], &[IMAGE, "sh", "-c", script]].concat();
        case.cmd(&run).ok();
        let follower = case.spawn(&["logs", "-f", &name]);
        case.cmd_with_input(&["attach", &name], b"go\n").ok();
        let output = follower.finish().ok();
        assert_eq!(output.lines().last(), Some(&"3000"));
        // dockerd drops lines when the reader is slower than the rotation; ours does not repeat.
        let numbers: Vec<u32> = output.lines().iter().filter_map(|l| l.parse().ok()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "a line was repeated");
    }

    fn a_tag_is_filled_in(case) {
        let name = case.name("a");
        let args =
            ["run", "--log-opt", "tag=of-{{.Name}}", "--name", &name, IMAGE, "echo", "x"];
        case.cmd(&args).ok();
        case.cmd(&["logs", "--details", &name]).ok().prints(&format!("tag=of-{name} x"));
    }

    fn a_log_option_without_effect_is_said(case) {
        let args = ["create", "--name", &case.name("a"), "--log-opt", "compress=true", IMAGE];
        let output = case.cmd(&args).ok();
        // A dockerd compresses.
        let said = output.stderr.contains("compress=true has no effect");
        assert_eq!(said, !case.is_reference(), "{output:?}");
    }

    fn log_driver_none_keeps_nothing(case) {
        let name = case.name("a");
        let args = ["run", "--log-driver", "none", "--name", &name, IMAGE, "echo", "seen"];
        case.cmd(&args).ok().prints("seen");
        case.cmd(&["logs", &name]).exits(1).complains("does not support reading");
    }
}

api! {
    fn log_files_are_bounded_without_asking(case) {
        if case.is_reference() {
            return;
        }
        let name = case.name("a");
        let script = "head -c 60000000 /dev/zero | tr '\\0' 'x' | fold -w 1000";
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        wait_for("it has ended", Duration::from_secs(60), || {
            case.inspect(&name)["State"]["Status"] == "exited"
        });
        let path = case.inspect(&name)["LogPath"].as_str().expect("a path").to_owned();
        let dir = std::path::Path::new(&path).parent().expect("a directory");
        let total: u64 = std::fs::read_dir(dir)
            .expect("it exists")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().contains("json.log"))
            .map(|entry| entry.metadata().map_or(0, |meta| meta.len()))
            .sum();
        assert!(total <= 31_000_000, "{total} bytes of log");
    }

    fn the_log_file_is_json_lines(case) {
        if case.is_reference() {
            return;
        }
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "sh", "-c", "echo a; printf b >&2"]).ok();
        let path = case.inspect(&name)["LogPath"].as_str().expect("a path").to_owned();
        let text = std::fs::read_to_string(path).expect("it can be read");
        let mut lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        lines.sort_by_key(|line| line["stream"].as_str().map(|stream| stream == "stderr"));
        assert_eq!((&lines[0]["log"], &lines[0]["stream"]), (&"a\n".into(), &"stdout".into()));
        assert_eq!((&lines[1]["log"], &lines[1]["stream"]), (&"b".into(), &"stderr".into()));
        assert!(lines.iter().all(|line| line["time"].as_str().is_some_and(|t| t.ends_with('Z'))));
    }
}
