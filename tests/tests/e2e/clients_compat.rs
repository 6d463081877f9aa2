//! Requests as other clients send them, without a client program.

use serde_json::json;
use tests::{IMAGE, api};

api! {
    fn create_answers_with_id_and_warnings(case) {
        let id = case.create(json!({"Image": IMAGE}));
        assert_eq!(id.len(), 64);
        let inspect = case.inspect(&id);
        assert_eq!(inspect["State"]["Status"], "created");
        assert_eq!(inspect["State"]["StartedAt"], "0001-01-01T00:00:00Z");
        assert_eq!(inspect["RestartCount"], 0);
        assert_eq!(inspect["Config"]["Image"], IMAGE);
        assert_eq!(inspect["HostConfig"]["RestartPolicy"]["Name"], "no");
    }

    fn exec_over_the_api(case) {
        let id = case.sleeper(&case.name("a"));
        let command = ["sh", "-c", "echo hi; exit 4"];
        let body = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": command});
        let created = case.api("POST", &format!("/containers/{id}/exec"), Some(&body));
        assert_eq!(created.status, 201, "{}", created.text());
        let exec = created.json()["Id"].as_str().expect("an id").to_owned();
        let before = case.api("GET", &format!("/exec/{exec}/json"), None).json();
        assert_eq!(
            (&before["Running"], &before["ExitCode"]),
            (&false.into(), &serde_json::Value::Null)
        );
        let start = json!({"Detach": false, "Tty": false});
        let started = case.api("POST", &format!("/exec/{exec}/start"), Some(&start));
        assert_eq!(started.status, 200, "{}", started.text());
        assert_eq!(started.body, b"\x01\0\0\0\0\0\0\x03hi\n");
        tests::wait_for("its end is known", std::time::Duration::from_secs(10), || {
            case.api("GET", &format!("/exec/{exec}/json"), None).json()["Running"] == false
        });
        let after = case.api("GET", &format!("/exec/{exec}/json"), None).json();
        assert_eq!(after["ExitCode"], 4);
        assert_eq!(after["ContainerID"], id);
        let again = case.api("POST", &format!("/exec/{exec}/start"), Some(&start));
        // The stream is open by then, so a dockerd says it there.
        assert!(matches!(again.status, 200 | 409), "{}", again.status);
        assert!(again.text().contains("has already run"), "{}", again.text());
        assert_eq!(case.api("GET", "/exec/nothing/json", None).status, 404);
    }

    fn logs_over_the_api_are_framed(case) {
        let id = case.create(json!({"Image": IMAGE, "Cmd": ["echo", "hi"]}));
        assert_eq!(case.api("POST", &format!("/containers/{id}/start"), None).status, 204);
        assert_eq!(
            case.api("POST", &format!("/containers/{id}/wait"), None).json()["StatusCode"],
            0
        );
        let logs = case.api("GET", &format!("/containers/{id}/logs?stdout=1"), None);
        assert_eq!(logs.body, b"\x01\0\0\0\0\0\0\x03hi\n");
        let none = case.api("GET", &format!("/containers/{id}/logs"), None);
        assert_eq!(none.status, 400);
        assert!(
            none.message().contains("you must choose at least one stream"),
            "{}",
            none.message()
        );
    }

    fn a_hijacked_attach_without_upgrade(case) {
        let id = case.create(json!({"Image": IMAGE, "Cmd": ["echo", "hi"], "AttachStdout": true}));
        let mut connection =
            tests::http::Connection::open(case.target().socket()).expect("it listens");
        let path = format!("/containers/{id}/attach?stream=1&stdout=1");
        let head = format!("POST {path} HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n");
        connection.send(head.as_bytes()).expect("it reads");
        let (status, headers) = connection.read_head().expect("it answers");
        assert_eq!(status, 200);
        assert_eq!(case.api("POST", &format!("/containers/{id}/start"), None).status, 204);
        // A bare stream at dockerd, chunks at ours: to a client that reads HTTP they are the same.
        let answer = connection.body("POST", status, headers).expect("it ends");
        assert_eq!(answer.body, b"\x01\0\0\0\0\0\0\x03hi\n");
    }

    fn the_networks_are_listed(case) {
        let networks = case.api("GET", "/networks", None).json();
        let mut names: Vec<&str> = networks
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|n| n["Name"].as_str())
            .collect();
        names.sort_unstable();
        for name in ["bridge", "host", "none"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
}
