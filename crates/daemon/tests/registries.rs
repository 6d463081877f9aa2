//! Pull, push, login, commit over a real socket where the request or the registry is no good.
//!
//! What a good registry answers is tested end to end; here nobody listens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/harness.rs"]
#[allow(dead_code, reason = "the other test of this crate uses all of it")]
mod harness;

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use harness::{Answer, Daemon};

/// Nothing here takes a tenth of it.
const DEADLINE: Duration = Duration::from_secs(60);

const UPPER: &str = "invalid reference format: repository name (library/UP) must be lowercase";

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn message(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["message"].as_str().unwrap_or_default().to_owned()
}

/// A port of this machine at which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn docker_texts_of_pulls_pushes_and_commits() {
    let daemon = Daemon::start();
    let port = closed_port();
    let refused = format!(
        "Get \"http://127.0.0.1:{port}/v2/\": dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    let digest = format!("sha256:{}", "0".repeat(64));
    for (path, status, want) in [
        ("/images/create?fromImage=UP".to_owned(), 400, UPPER),
        (
            "/images/create?fromImage=a&tag=x:y".to_owned(),
            400,
            "invalid tag format",
        ),
        (
            "/images/create?fromImage=a&tag=sha256:00".to_owned(),
            400,
            "invalid tag format",
        ),
        (
            "/images/create?fromImage=scratch".to_owned(),
            403,
            "'scratch' is a reserved name",
        ),
        (
            "/images/create?fromImage=a&platform=foo".to_owned(),
            400,
            "\"foo\": unknown operating system or architecture: invalid argument",
        ),
        (
            format!("/images/create?fromImage=127.0.0.1:{port}/a&tag=b"),
            500,
            &refused,
        ),
        ("/images/create?fromSrc=-&repo=UP".to_owned(), 400, UPPER),
        (
            format!("/images/create?fromSrc=-&repo=r@{digest}"),
            400,
            "cannot import digest reference",
        ),
        ("/images/UP/push?tag=x".to_owned(), 400, UPPER),
        ("/images/UP/push".to_owned(), 400, UPPER),
        (
            "/images/a/push?tag=x&platform=linux".to_owned(),
            400,
            "failed to parse platform: invalid character 'l' looking for beginning of value",
        ),
        ("/commit?container=nope&repo=UP".to_owned(), 400, UPPER),
        (
            "/commit".to_owned(),
            400,
            "invalid name or ID supplied: \"\"",
        ),
        ("/images/nope/tag?repo=UP".to_owned(), 400, UPPER),
        (
            "/images/nope/tag".to_owned(),
            400,
            "invalid reference format",
        ),
        (
            "/images/nope/tag?repo=sha256".to_owned(),
            400,
            "refusing to create an ambiguous tag using digest algorithm as name",
        ),
        (
            "/commit?container=nope".to_owned(),
            404,
            "No such container: nope",
        ),
    ] {
        let answer = daemon.ask(&post(&path, "", ""));
        assert_eq!(
            (answer.status, message(&answer).as_str()),
            (status, want),
            "{path}"
        );
    }
    let json = "Content-Type: application/json\r\n";
    for body in ["null", "{}"] {
        let answer = daemon.ask(&post("/commit?container=nope", json, body));
        assert_eq!(message(&answer), "No such container: nope", "{body}");
    }
    let answer = daemon.ask(&post("/commit?container=nope", json, "{"));
    assert_eq!(
        (answer.status, &*message(&answer)),
        (400, "invalid JSON: unexpected EOF")
    );
    let answer = daemon.ask(&post(
        "/commit?container=nope",
        "Content-Type: text/plain\r\n",
        "x",
    ));
    assert_eq!(answer.status, 400);
}

#[test]
fn a_push_of_nothing_fails_after_its_first_line() {
    let daemon = Daemon::start();
    for path in ["/images/nope/push", "/images/nope/push?tag=x"] {
        let answer = daemon.ask(&post(path, "", ""));
        let text = "An image does not exist locally with the tag: nope";
        assert_eq!(answer.status, 200);
        assert_eq!(
            String::from_utf8(answer.body).unwrap(),
            format!(
                "{{\"status\":\"The push refers to repository [docker.io/library/nope]\"}}\r\n\
                 {{\"errorDetail\":{{\"message\":\"{text}\"}},\"error\":\"{text}\"}}\r\n"
            )
        );
    }
}

#[test]
fn logins_that_cannot_be() {
    let daemon = Daemon::start();
    let port = closed_port();
    let closed = format!("127.0.0.1:{port}");
    let nobody =
        format!("{{\"username\":\"a\",\"password\":\"secret\",\"serveraddress\":\"{closed}\"}}");
    for (body, status, want) in [
        ("", 500, "EOF".to_owned()),
        ("{", 500, "unexpected EOF".to_owned()),
        (
            "[]",
            500,
            "json: cannot unmarshal array into Go value of type registry.AuthConfig".to_owned(),
        ),
        (
            &nobody,
            500,
            format!("Get \"http://{closed}/v2/\": dial tcp {closed}: connect: connection refused"),
        ),
    ] {
        // Docker's client says JSON, others nothing.
        let answer = daemon.ask(&post("/auth", "", body));
        assert_eq!((answer.status, message(&answer)), (status, want), "{body}");
    }
    let odd = "{\"username\":\"a\",\"password\":\"secret\",\"serveraddress\":\"x y\"}";
    let answer = daemon.ask(&post("/auth", "", odd));
    assert_eq!(answer.status, 400);
    assert!(
        message(&answer).starts_with("unable to parse server address: "),
        "{answer:?}"
    );
}

#[test]
fn credentials_that_cannot_be_read_are_none() {
    let daemon = Daemon::start();
    let port = closed_port();
    for header in ["%%%", "bm9wZQ==", "e30="] {
        let path = format!("/images/create?fromImage=127.0.0.1:{port}/a&tag=b");
        let answer = daemon.ask(&post(&path, &format!("X-Registry-Auth: {header}\r\n"), ""));
        assert_eq!(answer.status, 500, "{header}");
        assert!(
            message(&answer).ends_with("connection refused"),
            "{}",
            message(&answer)
        );
    }
}

/// A registry that never answers is left as soon as the client is gone.
#[test]
fn a_client_that_goes_ends_its_pull() {
    let daemon = Daemon::start();
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = registry.local_addr().unwrap().port();
    for path in [
        format!("/images/create?fromImage=127.0.0.1:{port}/a&tag=b"),
        format!("/images/create?fromImage=127.0.0.1:{port}/a"),
    ] {
        let mut client = daemon.connect();
        client.write_all(post(&path, "", "").as_bytes()).unwrap();
        let (mut asked, _) = registry.accept().unwrap();
        asked.set_read_timeout(Some(DEADLINE)).unwrap();
        drop(client);
        // What came before does not matter; that an end comes does.
        let mut said = Vec::new();
        let ended = asked.read_to_end(&mut said);
        let reset = matches!(&ended, Err(error) if error.kind() == ErrorKind::ConnectionReset);
        assert!(ended.is_ok() || reset, "{path}: {ended:?}");
    }
}
