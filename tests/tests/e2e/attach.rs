//! `attach`, and the hijacked stream beneath it.

use std::io::Read;

use serde_json::json;
use tests::{IMAGE, api, clients};

clients! {
    fn attach_sees_what_comes_and_gives_the_code(case) {
        let name = case.name("a");
        let script = "read line; echo got-$line; exit 8";
        case.cmd(&["run", "-di", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let mut client = case.spawn(&["attach", &name]);
        // An attachment whose input ends before the output has come may miss it on dockerd.
        client.write(b"word\n");
        client.wait_for("got-word");
        client.finish().exits(8).prints("got-word");
    }

    fn attach_twice_shows_both(case) {
        let name = case.name("a");
        // The ticks tell when an attachment stands.
        let script = "while :; do echo tick; sleep 0.02; done & read line; kill $!; echo got-$line";
        case.cmd(&["run", "-di", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let watcher = case.spawn(&["attach", "--no-stdin", &name]);
        let mut writer = case.spawn(&["attach", &name]);
        watcher.wait_for("tick");
        writer.wait_for("tick");
        writer.write(b"word\n");
        writer.wait_for("got-word");
        writer.finish().ok();
        watcher.finish().ok().shows("got-word");
    }

    fn attach_can_be_left_with_keys(case) {
        let name = case.name("a");
        case.cmd(&["run", "-dit", "--name", &name, IMAGE, "sh"]).ok();
        let mut terminal = case.terminal(&["attach", &name]);
        terminal.types("\r");
        terminal.wait_for("/ # ");
        terminal.types("\u{10}\u{11}");
        terminal.finish();
        assert_eq!(case.inspect(&name)["State"]["Running"], true);
    }

    fn run_can_be_left_with_own_keys(case) {
        let name = case.name("a");
        let mut terminal = case
            .terminal(&["run", "-it", "--detach-keys", "ctrl-x,x", "--name", &name, IMAGE, "sh"]);
        terminal.wait_for("/ # ");
        terminal.types("\u{18}x");
        assert_eq!(terminal.finish(), 0);
        assert_eq!(case.inspect(&name)["State"]["Running"], true);
    }

    fn attach_to_a_stopped_container_is_refused(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "true"]).ok();
        case.cmd(&["attach", &name]).exits(1).complains("cannot attach to a stopped container");
    }
}

api! {
    fn an_attached_stream_is_framed_and_ends(case) {
        let id = case.create(json!({
            "Image": IMAGE, "Cmd": ["sh", "-c", "echo out; echo err >&2"],
            "AttachStdout": true, "AttachStderr": true,
        }));
        let mut connection =
            tests::http::Connection::open(case.target().socket()).expect("it listens");
        let head = format!(
            "POST /containers/{id}/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: e\r\n\
             Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        );
        connection.send(head.as_bytes()).expect("it reads");
        let (status, headers) = connection.read_head().expect("it answers");
        assert_eq!(status, 101);
        let kind = headers.iter().find(|(key, _)| key == "content-type").map(|(_, v)| v.as_str());
        assert_eq!(kind, Some("application/vnd.docker.multiplexed-stream"));
        assert_eq!(case.api("POST", &format!("/containers/{id}/start"), None).status, 204);
        let mut bytes = Vec::new();
        connection.into_stream().read_to_end(&mut bytes).expect("the stream ends");
        let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut rest = bytes.as_slice();
        while let [stream, 0, 0, 0, a, b, c, d, tail @ ..] = rest {
            let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            frames.push((*stream, tail[..size].to_vec()));
            rest = &tail[size..];
        }
        frames.sort();
        assert_eq!(frames, [(1, b"out\n".to_vec()), (2, b"err\n".to_vec())]);
    }
}
