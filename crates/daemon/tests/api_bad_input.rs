//! Bad input over a real socket: the API answers 4xx in Docker's words, creates nothing, and lives.
//!
//! The engine is real, on temporary roots; its spawner is a stand-in, since nothing is started.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/harness.rs"]
mod harness;

use harness::{Answer, Daemon};

const JSON: &str = "Content-Type: application/json\r\n";

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{JSON}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
}

fn message(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn wrong_json_is_400_on_every_route_that_takes_json() {
    let daemon = Daemon::start();
    let id = "0".repeat(64);
    for path in [
        "/containers/create".to_owned(),
        format!("/containers/{id}/update"),
        format!("/containers/{id}/exec"),
        format!("/exec/{id}/start"),
    ] {
        for body in [
            "{", "[]", "\"x\"", "{} {}", "{}x", "nonsense", "{\"a\":", "\u{0}",
        ] {
            let answer = daemon.ask(&post(&format!("/v1.51{path}"), body));
            assert_eq!(answer.status, 400, "{path} {body}: {}", message(&answer));
            assert!(!message(&answer).is_empty(), "{path} {body}");
        }
    }
    assert_eq!(daemon.ask(&get("/containers/json?all=1")).body, b"[]\n");
}

#[test]
fn docker_texts_of_reads() {
    let daemon = Daemon::start();
    let foo = "filters=%7B%22foo%22%3A%5B%22a%22%5D%7D";
    for (path, status, want) in [
        ("/nope", 404, "page not found"),
        ("/containers", 404, "page not found"),
        ("/v1.51", 404, "page not found"),
        ("/containers/json/", 404, "page not found"),
        ("/containers/nope/json", 404, "No such container: nope"),
        ("/images/nope/json", 404, "No such image: nope:latest"),
        ("/images/a/b/c/json", 404, "No such image: a/b/c:latest"),
        ("/images/a%2Fb/json", 404, "No such image: a/b:latest"),
        ("/exec/nope/json", 404, "No such exec instance: nope"),
        ("/networks/nope", 404, "network nope not found"),
        ("/volumes/nope", 404, "get nope: no such volume"),
        ("/containers/json?filters=%7Bbad", 400, "invalid filter"),
        (
            &format!("/containers/json?{foo}"),
            400,
            "invalid filter 'foo'",
        ),
        (&format!("/images/json?{foo}"), 400, "invalid filter 'foo'"),
        (
            "/containers/json?limit=x",
            400,
            "strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "/events?since=abc",
            400,
            "strconv.ParseInt: parsing \"abc\": invalid syntax",
        ),
        ("/images/a/b/get", 404, "No such image: a/b"),
        ("/images/get?names=a&names=b", 404, "No such image: a"),
        (
            "/images/UP/get",
            400,
            "invalid reference format: repository name (library/UP) must be lowercase",
        ),
        (
            "/images/get?names=a&platform=%7B%7D",
            400,
            "both OS and Architecture must be provided",
        ),
        (
            "/images/a/json?manifests=1&platform=%7B%22os%22:%22linux%22,%22architecture%22:%22arm%22%7D",
            400,
            "conflicting options: manifests and platform options cannot both be set",
        ),
        (
            "/images/search?term=a&limit=x",
            400,
            "invalid limit specified: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "/images/search?term=a&limit=101",
            400,
            "limit 101 is outside the range of [1, 100]",
        ),
        (
            &format!("/images/search?term=a&{foo}"),
            400,
            "invalid filter 'foo'",
        ),
        (
            "/distribution/UP/json",
            400,
            "invalid reference format: repository name (library/UP) must be lowercase",
        ),
        (
            "/distribution/127.0.0.1:1/a/json",
            500,
            "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (
            &format!("/distribution/{}/json", "a".repeat(64)),
            500,
            "no manifest found for full image ID",
        ),
        ("/containers/nope/export", 404, "No such container: nope"),
        ("/containers/nope/changes", 404, "No such container: nope"),
        (
            "/v1.99/_ping",
            400,
            "client version 1.99 is too new. Maximum supported API version is 1.51",
        ),
    ] {
        let answer = daemon.ask(&get(path));
        assert_eq!(
            (answer.status, message(&answer).as_str()),
            (status, want),
            "{path}"
        );
    }
}

#[test]
fn docker_texts_of_writes() {
    let daemon = Daemon::start();
    let nope = "{\"Image\":\"nope\"}";
    let create = "/containers/create";
    for (path, body, status, want) in [
        (
            create,
            "",
            400,
            "invalid JSON: got EOF while reading request body",
        ),
        (
            create,
            "{}",
            400,
            "config cannot be empty in order to create a container",
        ),
        (create, nope, 404, "No such image: nope:latest"),
        (
            "/containers/create?name=-x",
            nope,
            400,
            "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        (
            "/containers/create?platform=foo/bar/baz/x",
            nope,
            400,
            "\"foo/bar/baz/x\": cannot parse platform specifier: invalid argument",
        ),
        (
            "/containers/nope/exec",
            "{\"Cmd\":[]}",
            400,
            "No exec command specified",
        ),
        (
            "/containers/nope/wait?condition=x",
            "",
            400,
            "invalid condition: \"x\"",
        ),
        (
            "/containers/nope/resize?h=1",
            "",
            400,
            "invalid resize width \"\": invalid syntax",
        ),
        (
            "/containers/nope/rename?name=",
            "",
            400,
            "Neither old nor new names may be empty",
        ),
        (
            "/build",
            "",
            501,
            "POST /build is not yet supported by Corten",
        ),
    ] {
        let answer = daemon.ask(&post(path, body));
        assert_eq!(
            (answer.status, message(&answer).as_str()),
            (status, want),
            "{path} {body}"
        );
    }
}

/// A client that sends head and body apart must get the answer, not a broken pipe.
#[test]
fn refusals_wait_for_the_body() {
    let daemon = Daemon::start();
    for path in [
        "/volumes/create",
        "/nope",
        "/containers/nope/start",
        "/images/create",
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{JSON}Content-Length: 200000\r\n\r\n"
        );
        let answer = daemon.ask_in_pieces(&[head.as_bytes(), &[b'a'; 100_000], &[b'a'; 100_000]]);
        assert!(answer.sent, "{path}");
        assert!(answer.status >= 400, "{path}: {}", answer.status);
    }
}

#[test]
fn content_types_are_checked() {
    let daemon = Daemon::start();
    let with = |header: &str| {
        format!(
            "POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{header}Content-Length: 2\r\n\r\n{{}}"
        )
    };
    let answer = daemon.ask(&with("Content-Type: text/plain\r\n"));
    assert_eq!(answer.status, 400);
    assert_eq!(
        message(&answer),
        "unsupported Content-Type header (text/plain): must be 'application/json'"
    );
    let answer = daemon.ask(&with(""));
    assert_eq!(
        message(&answer),
        "malformed Content-Type header (): mime: no media type"
    );
}

#[test]
fn large_and_deep_bodies_are_refused_quickly() {
    let daemon = Daemon::start();
    let started = std::time::Instant::now();
    let deep = format!(
        "{{\"Labels\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(daemon.ask(&post("/containers/create", &deep)).status, 400);
    let items = vec!["\"a\""; 1_000_000].join(",");
    let many = format!("{{\"Image\":\"x\",\"Cmd\":[{items}]}}");
    assert_eq!(daemon.ask(&post("/containers/create", &many)).status, 413);
    let huge = "x".repeat(64 * 1024 * 1024);
    assert_eq!(daemon.ask(&post("/containers/create", &huge)).status, 413);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    assert_eq!(daemon.ask(&get("/_ping")).body, b"OK");
}

#[test]
fn names_and_ids_out_of_grammar_reach_no_file() {
    let daemon = Daemon::start();
    for name in [
        "a%2F..%2F..%2Fb",
        "%C3%BC-web",
        "a%00b",
        "-lead",
        "a",
        &"n".repeat(256),
        &"n".repeat(5000),
    ] {
        let answer = daemon.ask(&post(
            &format!("/containers/create?name={name}"),
            "{\"Image\":\"nope\"}",
        ));
        assert_eq!(answer.status, 400, "{name}");
    }
    for id in ["..%2f..%2fetc%2fpasswd", "%2e%2e", "%00", "a%00b", "%ff"] {
        let answer = daemon.ask(&get(&format!("/containers/{id}/json")));
        assert!(
            [301, 400, 404].contains(&answer.status),
            "{id}: {}",
            answer.status
        );
    }
}

#[test]
fn ambiguous_framing_is_refused_and_hides_no_second_request() {
    let daemon = Daemon::start();
    let hidden = "DELETE /containers/x?force=1 HTTP/1.1\r\nHost: d\r\n\r\n";
    let both = format!(
        "POST /containers/create HTTP/1.1\r\nHost: d\r\n{JSON}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let two = format!(
        "POST /containers/create HTTP/1.1\r\nHost: d\r\n{JSON}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let chunk = format!(
        "POST /containers/create HTTP/1.1\r\nHost: d\r\n{JSON}Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    );
    let fold =
        "GET /_ping HTTP/1.1\r\nHost: d\r\nX-A: b\r\n c\r\nConnection: close\r\n\r\n".to_owned();
    let hostless = "GET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned();
    for request in [both, two, chunk, fold, hostless] {
        let answer = daemon.ask(&request);
        assert_eq!(answer.status, 400, "{request}");
        assert_eq!(answer.answers, 1, "{request}");
    }
    for greeting in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = daemon.ask_bytes(greeting);
        assert!(
            answer.status == 0 || answer.status >= 400,
            "{}",
            answer.status
        );
    }
    assert_eq!(daemon.ask(&get("/_ping")).status, 200);
}

#[test]
fn large_heads_are_431() {
    let daemon = Daemon::start();
    let long = format!(
        "GET /_ping HTTP/1.1\r\nHost: d\r\nX-A: {}\r\n\r\n",
        "a".repeat(2 * 1024 * 1024)
    );
    assert_eq!(daemon.ask(&long).status, 431);
    let many: String = (0..10_000).map(|n| format!("X-{n}: a\r\n")).collect();
    assert_eq!(
        daemon
            .ask(&format!("GET /_ping HTTP/1.1\r\nHost: d\r\n{many}\r\n"))
            .status,
        431
    );
    assert_eq!(daemon.ask(&get("/_ping")).status, 200);
}

#[test]
fn common_headers_and_old_clients() {
    let daemon = Daemon::start();
    let answer = daemon.ask(&get("/_ping"));
    for header in [
        "Api-Version: 1.51",
        "Docker-Experimental: false",
        "Ostype: linux",
        "Server: Corten/",
        "Content-Type: text/plain; charset=utf-8",
        "Cache-Control: no-cache, no-store, must-revalidate",
        "Swarm: inactive",
    ] {
        assert!(answer.head.contains(header), "{header} in {}", answer.head);
    }
    let head = daemon.ask("HEAD /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let old = daemon.ask(&get("/v1.10/_ping"));
    assert_eq!(old.status, 400);
    assert_eq!(
        String::from_utf8_lossy(&old.body),
        "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version\n"
    );
    assert!(old.head.contains("text/plain"));
    let put = daemon
        .ask("PUT /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        (put.status, message(&put).as_str()),
        (404, "page not found")
    );
    let options =
        daemon.ask("OPTIONS /containers/json HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    assert_eq!(options.status, 200);
    let twice = daemon.ask(&get("/containers//json"));
    assert_eq!(twice.status, 301);
    assert!(twice.head.contains("Location: /containers/json"));
}

#[test]
fn empty_lists_and_nulls_are_dockers() {
    let daemon = Daemon::start();
    for (request, want) in [
        (get("/containers/json?all=1"), "[]\n"),
        (get("/images/json"), "[]\n"),
        (get("/volumes"), "{\"Volumes\":[],\"Warnings\":null}\n"),
        (get("/plugins"), "[]\n"),
        (
            post("/containers/prune", ""),
            "{\"ContainersDeleted\":null,\"SpaceReclaimed\":0}\n",
        ),
        (
            post("/images/prune", ""),
            "{\"ImagesDeleted\":null,\"SpaceReclaimed\":0}\n",
        ),
        (
            post("/volumes/prune", ""),
            "{\"VolumesDeleted\":[],\"SpaceReclaimed\":0}\n",
        ),
        (post("/networks/prune", ""), "{\"NetworksDeleted\":null}\n"),
        (
            post("/build/prune", ""),
            "{\"CachesDeleted\":null,\"SpaceReclaimed\":0}\n",
        ),
        (
            get("/system/df"),
            "{\"LayersSize\":0,\"Images\":[],\"Containers\":[],\"Volumes\":[],\"BuildCache\":[]}\n",
        ),
    ] {
        let answer = daemon.ask(&request);
        assert_eq!(String::from_utf8_lossy(&answer.body), want, "{request}");
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn hostile_archives_are_refused() {
    let daemon = Daemon::start();
    let send = |path: &str, body: &str| {
        daemon.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    for body in ["garbage", "\u{1f}\u{8b}", &"\u{1}".repeat(10_000)] {
        let import = send("/images/create?fromSrc=-&repo=x", body);
        let text = String::from_utf8_lossy(&import.body).into_owned();
        assert!(
            (400..500).contains(&import.status),
            "{}: {text}",
            import.status
        );
        // As Docker, which has sent the head by then.
        let load = send("/images/load", body);
        let line: serde_json::Value = serde_json::from_slice(&load.body).unwrap();
        assert_eq!(load.status, 200, "{line}");
        assert!(load.body.ends_with(b"\r\n"));
        assert_eq!(line["error"], line["errorDetail"]["message"]);
        assert!(!line["error"].as_str().unwrap().is_empty());
    }
    assert_eq!(daemon.ask(&get("/images/json")).body, b"[]\n");
}
