//! What client libraries other than the command line rely on: forms of streams, statuses and texts.

use std::io::{Read, Write};

use serde_json::{Value, json};
use tests::http::Connection;
use tests::{Case, IMAGE, api};

/// Makes an exec that prints a word to its output.
fn exec(case: &Case, container: &str, tty: bool) -> String {
    let body = json!({
        "Cmd": ["echo", "word"], "AttachStdout": true, "AttachStderr": true, "Tty": tty,
    });
    let answer = case.api("POST", &format!("/containers/{container}/exec"), Some(&body));
    answer.json()["Id"].as_str().expect("an id").to_owned()
}

/// Starts an exec on an upgraded connection; returns what the reads up to the end of the
/// head brought, and the rest.
fn start(case: &Case, exec: &str, tty: bool) -> (String, Vec<u8>) {
    let connection = Connection::open(case.target().socket()).expect("it listens");
    let mut reader = connection.into_stream();
    let stream = reader.get_mut();
    let body = json!({"Detach": false, "Tty": tty}).to_string();
    let head = format!(
        "POST /exec/{exec}/start HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    let (mut head, mut chunk) = (Vec::new(), [0; 8192]);
    // The reference sends its head in pieces.
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).expect("an answer");
        assert_ne!(read, 0, "the connection ended within the head");
        head.extend_from_slice(&chunk[..read]);
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("a stream");
    (String::from_utf8_lossy(&head).into_owned(), rest)
}

/// The text of a refusal.
fn refusal(case: &Case, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
    let answer = case.api(method, path, body);
    (answer.status, answer.message())
}

/// A query of one filter.
fn filter(key: &str, value: &str) -> String {
    format!("filters=%7B%22{key}%22%3A%5B%22{value}%22%5D%7D")
}

api! {
    // `curl -g` sends the line as it was typed.
    fn a_query_may_hold_json_as_it_is(case) {
        let name = case.name("a");
        case.sleeper(&name);
        for list in ["[\"NAME\"]", "{\"NAME\":true}"] {
            let path = format!("/containers/json?filters={{\"name\":{}}}", list.replace("NAME", &name));
            let answer = case.api("GET", &path, None);
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.json().as_array().map(Vec::len), Some(1), "{path}");
        }
    }

    fn networks_are_listed_with_a_slash_behind_as_well(case) {
        let answer = case.api("GET", "/networks/", None);
        assert_eq!(answer.status, 200);
        let all = answer.json();
        assert!(all.as_array().is_some_and(|all| all.iter().any(|one| one["Name"] == "bridge")), "{all}");
    }

    // docker-py reads the head with a buffer of its own and the stream without it: what comes
    // together with the head is lost to it.
    fn the_head_of_a_stream_comes_alone(case) {
        let container = case.sleeper(&case.name("a"));
        let mut alone = 0;
        // A reader that gets no processor for that long finds both: on a busy machine some do.
        for _ in 0..20 {
            let (head, rest) = start(case, &exec(case, &container, false), false);
            assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
            let (head, early) = head.split_once("\r\n\r\n").expect("the end of the head");
            let stream = [early.as_bytes(), &rest].concat();
            assert_eq!(stream, b"\x01\0\0\0\0\0\0\x05word\n", "{head}");
            alone += usize::from(early.is_empty());
            if alone == 5 {
                return;
            }
        }
        panic!("of 20 heads only {alone} came alone");
    }

    fn the_start_of_an_exec_decides_on_frames(case) {
        let container = case.sleeper(&case.name("a"));
        let (head, rest) = start(case, &exec(case, &container, true), false);
        assert!(head.contains("application/vnd.docker.multiplexed-stream"), "{head}");
        assert_eq!(rest, b"\x01\0\0\0\0\0\0\x06word\r\n");
        let (head, rest) = start(case, &exec(case, &container, false), true);
        assert!(head.contains("application/vnd.docker.raw-stream"), "{head}");
        assert_eq!(rest, b"word\n");
    }

    fn names_that_no_image_can_have_are_400(case) {
        let upper = (400, "invalid reference format: repository name (library/UP) must be lowercase");
        for (method, path) in [("GET", "/images/UP/json"), ("DELETE", "/images/UP")] {
            let (status, text) = refusal(case, method, path, None);
            assert_eq!((status, text.as_str()), upper);
        }
        let body = json!({"Image": "UP"});
        let (status, text) = refusal(case, "POST", "/containers/create", Some(&body));
        assert_eq!((status, text.as_str()), upper);
    }

    // By this class clients know that they have to fetch the image of the platform.
    fn an_image_of_another_platform_is_not_found(case) {
        let body = json!({"Image": IMAGE});
        let path = "/containers/create?platform=linux/s390x";
        let (status, text) = refusal(case, "POST", path, Some(&body));
        assert_eq!(status, 404, "{text}");
        assert!(text.contains("does not match the specified platform (linux/s390x)"), "{text}");
    }

    fn a_program_that_cannot_be_executed_is_400(case) {
        let id = case.create(json!({"Image": IMAGE, "Cmd": ["/no/such/program"]}));
        let (status, text) = refusal(case, "POST", &format!("/containers/{id}/start"), None);
        assert_eq!(status, 400, "{text}");
        assert!(text.contains("no such file or directory"), "{text}");
    }

    fn filters_are_refused_in_the_same_words(case) {
        let bad = |path: &str, key: &str, value: &str| {
            refusal(case, "GET", &format!("{path}?{}", filter(key, value)), None)
        };
        assert_eq!(bad("/containers/json", "is-task", "x"), (400, "invalid filter 'is-task=[x]'".into()));
        assert_eq!(bad("/images/json", "dangling", "x"), (400, "invalid filter 'dangling=[x]'".into()));
        assert_eq!(bad("/images/json", "before", "nope"), (404, "No such image: nope:latest".into()));
        let code = "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax";
        assert_eq!(bad("/containers/json", "exited", "x"), (400, code.into()));
        // Events take any key.
        let path = format!("/events?until=1&{}", filter("odd", "x"));
        assert_eq!(case.api("GET", &path, None).status, 200);
    }

    fn names_and_signals_are_refused_in_the_same_words(case) {
        let id = case.sleeper(&case.name("a"));
        let post = |path: &str| refusal(case, "POST", &format!("/containers/{id}/{path}"), None);
        let (status, text) = post("rename?name=-x");
        assert_eq!(status, 400);
        assert_eq!(
            text,
            "Error when allocating new name: Invalid container name (/-x), only \
             [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
        let (status, text) = post("kill?signal=99");
        assert_eq!(status, 400);
        assert!(text.ends_with("the linux daemon does not support signal 99"), "{text}");
        let (status, text) = post("resize?h=99999999999&w=1");
        assert_eq!((status, text.as_str()), (400, "invalid resize height \"99999999999\": value out of range"));
    }

    fn options_without_meaning_are_refused(case) {
        for (host, text) in [
            (json!({"Isolation": "hyperv"}), "invalid isolation (hyperv): linux only supports 'default'"),
            (json!({"Annotations": {"": "x"}}), "the empty string is not permitted as an annotation key"),
            (
                json!({"LogConfig": {"Type": "json-file", "Config": {"mode": "odd"}}}),
                "logger: logging mode not supported: odd",
            ),
            (json!({"CpusetCpus": "odd"}), "Invalid value odd for cpuset cpus: invalid format: odd"),
        ] {
            let body = json!({"Image": IMAGE, "HostConfig": host});
            let (status, message) = refusal(case, "POST", "/containers/create", Some(&body));
            assert_eq!(status, 400, "{message}");
            assert!(message.contains(text), "{message}");
        }
    }
}
