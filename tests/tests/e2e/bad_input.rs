//! Bad input over the socket: a clear refusal, nothing made, the daemon alive.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::http::{Connection, Response};
use tests::{Case, IMAGE, api};

/// Sends a body as it is.
fn post(case: &Case, path: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(case.target().socket()).expect("it listens");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    // The answer may come before all of a huge body was read.
    let _ = connection.send(head.as_bytes()).and_then(|()| connection.send(body));
    connection.answer("POST").expect("an answer")
}

/// The names of all containers.
fn containers(case: &Case) -> usize {
    let path = format!(
        "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22{}%22%5D%7D",
        case.label()
    );
    case.api("GET", &path, None).json().as_array().expect("a list").len()
}

/// Sends bytes that are perhaps no HTTP and returns all that comes back.
fn raw(case: &Case, bytes: &[u8]) -> String {
    let mut connection = Connection::open(case.target().socket()).expect("it listens");
    let _ = connection.send(bytes);
    let _ = connection.finish();
    let mut answer = Vec::new();
    let _ = connection.into_stream().read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

api! {
    fn broken_json_is_400_on_every_route(case) {
        let id = case.sleeper(&case.name("a"));
        let routes = [
            "/containers/create".to_owned(),
            format!("/containers/{id}/exec"),
            format!("/containers/{id}/update"),
        ];
        for route in &routes {
            for body in
                ["{", "[]", "\"text\"", "{\"Cmd\": 5}", "{\"Env\": {}}", "{\"Image\": []}", "nul"]
            {
                if route.ends_with("update") && body.starts_with("{\"") {
                    continue;
                }
                // Updating comes with a later issue; what is not there says so.
                let answer = post(case, route, body.as_bytes());
                let known = answer.status == 400
                    || (route.ends_with("update") && matches!(answer.status, 404 | 405 | 501));
                assert!(known, "{route} {body}: {} {}", answer.status, answer.text());
                assert!(!answer.message().is_empty());
            }
        }
        assert_eq!(containers(case), 1);
    }

    fn an_empty_body_is_400(case) {
        let answer = post(case, "/containers/create", b"");
        assert_eq!(answer.status, 400, "{}", answer.text());
    }

    fn bytes_after_the_document_are_400(case) {
        let body = format!("{{\"Image\": \"{IMAGE}\"}} {{\"Image\": \"{IMAGE}\"}}");
        let answer = post(case, "/containers/create", body.as_bytes());
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(
            answer.message().contains("unexpected content after JSON"),
            "{}",
            answer.message()
        );
    }

    fn unknown_fields_are_ignored(case) {
        let id = case.create(
            json!({"Image": IMAGE, "NoSuchField": {"deep": [1]}, "HostConfig": {"Odd": 1}}),
        );
        assert_eq!(case.inspect(&id)["State"]["Status"], "created");
    }

    fn deep_nesting_is_refused(case) {
        let body = format!("{{\"Labels\": {}", "[".repeat(100_000));
        let answer = post(case, "/containers/create", body.as_bytes());
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(case.api("GET", "/_ping", None).status, 200);
    }

    fn a_huge_body_is_refused_soon(case) {
        if case.is_reference() {
            return;
        }
        let begin = Instant::now();
        let mut body = b"{\"Hostname\": \"".to_vec();
        body.resize(64 << 20, b'x');
        body.extend_from_slice(b"\"}");
        let answer = post(case, "/containers/create", &body);
        assert!(matches!(answer.status, 400 | 413), "{} {}", answer.status, answer.text());
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    fn a_wrong_content_type_is_refused(case) {
        let body = format!("{{\"Image\": \"{IMAGE}\"}}");
        let mut connection = Connection::open(case.target().socket()).expect("it listens");
        let head = format!(
            "POST /containers/create HTTP/1.1\r\nHost: e\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.send(head.as_bytes()).expect("it reads");
        let answer = connection.answer("POST").expect("an answer");
        assert!(matches!(answer.status, 400 | 415), "{} {}", answer.status, answer.text());
    }

    fn names_out_of_the_grammar_are_400(case) {
        for name in ["a%2Fb", "..%2F..%2Fetc", "-x", "%C3%A9", "a%20b", "a%00b", "x"] {
            let body = json!({"Image": IMAGE});
            let answer = case.api("POST", &format!("/containers/create?name={name}"), Some(&body));
            assert_eq!(answer.status, 400, "{name}: {}", answer.text());
            // Ours does not even take a NUL into a name.
            let text = answer.message();
            let told = text.contains("Invalid container name") || name.contains("%00");
            assert!(told, "{text}");
        }
        for id in ["..%2F..%2Fetc", "%2e%2e", "a%00b", &"x".repeat(5000)] {
            let answer = case.api("GET", &format!("/containers/{id}/json"), None);
            // A path with dots may also be answered with the path it stands for.
            let refused = matches!(answer.status, 301 | 400 | 404);
            assert!(refused, "{id}: {} {}", answer.status, answer.text());
        }
        assert_eq!(containers(case), 0);
    }

    fn limits_out_of_range_are_400(case) {
        let bad: &[Value] = &[
            json!({"Memory": -5}),
            json!({"Memory": 1_048_576}),
            json!({"Memory": 64 << 20, "MemorySwap": 32 << 20}),
            json!({"MemorySwap": 64 << 20}),
            json!({"NanoCpus": 1_000_000_000_000_u64}),
            json!({"NanoCpus": -1}),
            json!({"CpuQuota": 10}),
            json!({"CpuPeriod": 10}),
            json!({"ShmSize": -1}),
            json!({"OomScoreAdj": 5000}),
            json!({"CapAdd": ["NOPE"]}),
            json!({"SecurityOpt": ["seccomp={bad"]}),
            json!({"SecurityOpt": ["nosuchoption"]}),
            json!({"LogConfig": {"Type": "nosuch"}}),
            json!({"RestartPolicy": {"Name": "odd"}}),
            json!({"NetworkMode": "container:"}),
            json!({"PortBindings": {"99999/tcp": [{"HostPort": "1"}]}}),
            json!({"PortBindings": {"80/foo": [{"HostPort": "1"}]}}),
            json!({"PidMode": "odd"}),
            json!({"IpcMode": "odd"}),
        ];
        let mut wrong = Vec::new();
        for host in bad {
            let label = case.label();
            let label = label.split_once('=').expect("key=value").1;
            let body = json!({"Image": IMAGE, "HostConfig": host, "Labels": {"corten.e2e": label}});
            let answer = case.api("POST", "/containers/create", Some(&body));
            // dockerd finds some of them only at the start; ours finds all of them now.
            let refused = case.is_reference() || matches!(answer.status, 400..=499 | 501);
            if !refused {
                wrong.push(format!("{host}: {} {}", answer.status, answer.text()));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        if !case.is_reference() {
            assert_eq!(containers(case), 0);
        }
    }

    fn numbers_that_do_not_fit_are_400(case) {
        for body in [
            "{\"HostConfig\": {\"Memory\": 9223372036854775808}}",
            "{\"HostConfig\": {\"Memory\": 1.5}}", "{\"HostConfig\": {\"Memory\": \"64m\"}}",
            "{\"HostConfig\": {\"PidsLimit\": 1e30}}",
        ] {
            let answer = post(case, "/containers/create", body.as_bytes());
            assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        }
    }

    fn unknown_ids_are_404_everywhere(case) {
        for (method, path) in [
            ("GET", "/containers/nothing/json"),
            ("POST", "/containers/nothing/start"),
            ("POST", "/containers/nothing/stop"),
            ("POST", "/containers/nothing/kill"),
            ("POST", "/containers/nothing/wait"),
            ("POST", "/containers/nothing/pause"),
            ("POST", "/containers/nothing/rename?name=abc"),
            ("DELETE", "/containers/nothing"),
            ("GET", "/containers/nothing/logs?stdout=1"),
            ("GET", "/containers/nothing/top"),
            ("GET", "/containers/nothing/stats?stream=0"),
            ("POST", "/containers/nothing/attach?stream=1"),
            ("POST", "/containers/nothing/resize?w=1&h=1"),
            ("POST", "/containers/nothing/restart"),
        ] {
            let answer = case.api(method, path, None);
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
            let prefix = if path.ends_with("kill") {
                "cannot kill container: nothing: "
            } else {
                ""
            };
            let expected = format!("{prefix}No such container: nothing");
            // An attachment is refused as plain text by a dockerd.
            assert!(answer.text().contains(&expected), "{method} {path}: {}", answer.text());
        }
        assert_eq!(
            case.api("GET", "/images/no-such-image/json", None).message(),
            "No such image: no-such-image:latest"
        );
        let body = json!({"Image": "no-such-image"});
        let answer = case.api("POST", "/containers/create", Some(&body));
        assert_eq!(
            (answer.status, answer.message().as_str()),
            (404, "No such image: no-such-image:latest")
        );
    }

    fn an_ambiguous_prefix_is_refused(case) {
        // Seventeen ids cannot all begin with another digit.
        let ids: Vec<String> = (0..17).map(|_| case.create(json!({"Image": IMAGE}))).collect();
        let shared = ids.iter().enumerate().find_map(|(index, id)| {
            ids[index + 1..].iter().any(|other| other[..1] == id[..1]).then(|| id[..1].to_owned())
        });
        let answer =
            case.api("GET", &format!("/containers/{}/json", shared.expect("a shared digit")), None);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(
            answer.message().to_lowercase().contains("multiple ids found with provided prefix"),
            "{}",
            answer.message()
        );
    }

    fn wrong_queries_are_400(case) {
        let id = case.create(json!({"Image": IMAGE}));
        for (method, path) in [
            ("GET", "/containers/json?limit=x".to_owned()),
            ("GET", "/containers/json?filters=%7B".to_owned()),
            ("GET", "/containers/json?filters=%7B%22nosuch%22%3A%5B%22x%22%5D%7D".to_owned()),
            ("POST", format!("/containers/{id}/resize?w=x&h=1")),
            ("POST", format!("/containers/{id}/rename")),
            ("GET", "/events?since=abc".to_owned()),
        ] {
            let answer = case.api(method, &path, None);
            // A dockerd answers some of them with 500.
            let refused = answer.status == 400 || (case.is_reference() && answer.status == 500);
            assert!(refused, "{method} {path}: {} {}", answer.status, answer.text());
            assert!(!answer.message().is_empty());
        }
    }

    fn framing_tricks_hide_no_request(case) {
        let id = case.sleeper(&case.name("a"));
        let hidden = format!("DELETE /containers/{id}?force=1 HTTP/1.1\r\nHost: e\r\n\r\n");
        let tricks = [
            format!(
                "POST /containers/create HTTP/1.1\r\nHost: e\r\nContent-Length: 5\r\n\
                 Content-Length: 7\r\n\r\n{hidden}"
            ),
            format!(
                "POST /containers/create HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n\
                 zz\r\n{hidden}"
            ),
            format!(
                "POST /containers/create HTTP/1.1\r\nHost: e\r\nContent-Length: {}\r\n\r\n{hidden}",
                hidden.len()
            ),
            format!(
                "GET /_ping HTTP/1.1\r\nHost: e\r\nX-A: b\r\n\tfolded\r\nContent-Length: x\r\n\
                 \r\n{hidden}"
            ),
            format!("GET /_ping HTTP/1.1\r\nHost : e\r\n\r\n{hidden}"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ];
        for trick in &tricks {
            let answer = raw(case, trick.as_bytes());
            assert!(!answer.contains("panicked"), "{answer}");
            assert_eq!(case.inspect(&id)["State"]["Running"], true, "{trick}");
        }
        let big = format!("GET /_ping HTTP/1.1\r\nHost: e\r\nX: {}\r\n\r\n", "y".repeat(2 << 20));
        let answer = raw(case, big.as_bytes());
        assert!(!answer.starts_with("HTTP/1.1 200"), "{}", &answer[..answer.len().min(200)]);
        let many = format!("GET /_ping HTTP/1.1\r\nHost: e\r\n{}\r\n", "X: y\r\n".repeat(10_000));
        raw(case, many.as_bytes());
        raw(case, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        assert_eq!(case.api("GET", "/_ping", None).status, 200);
    }

    fn idle_and_slow_connections_do_not_delay_others(case) {
        let socket = case.target().socket().clone();
        let mut idle: Vec<Connection> =
            (0..300).map(|_| Connection::open(&socket).expect("it listens")).collect();
        for connection in &mut idle {
            connection.send(b"GET /_ping HT").expect("it reads");
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..50 {
            let begin = Instant::now();
            assert_eq!(case.api("GET", "/_ping", None).status, 200);
            slowest = slowest.max(begin.elapsed());
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }
}
