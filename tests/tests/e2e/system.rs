//! `version`, `info`, `system df`, and the plain parts of the API.

use serde_json::json;
use tests::{IMAGE, api, clients};

clients! {
    fn version_tells_both_sides(case) {
        case.cmd(&["version"]).ok().shows("Client:").shows("Server:").shows("API version:");
        let output = case.cmd(&["version", "--format", "{{.Server.Os}}"]).ok();
        output.prints("linux");
    }

    fn info_counts(case) {
        case.sleeper(&case.name("a"));
        let output =
            case.cmd(&["info", "--format", "{{.ContainersRunning}} {{.OSType}} {{.Driver}}"]).ok();
        let words: Vec<&str> = output.text().split(' ').collect();
        assert!(words[0].parse::<u32>().is_ok_and(|count| count >= 1), "{output:?}");
        assert_eq!(words[1], "linux");
        case.cmd(&["info"]).ok().shows("Server:").shows("Containers:").shows("Storage Driver:");
    }

    fn info_knows_fields_that_are_not_there(case) {
        let format = "{{json .DefaultAddressPools}} {{.OSType}}";
        case.cmd(&["info", "--format", format]).ok().prints("null linux");
    }

    fn system_df_has_its_rows(case) {
        case.sleeper(&case.name("a"));
        let output = case.cmd(&["system", "df"]).ok().shows("TYPE").shows("RECLAIMABLE");
        let output = output.shows("Images").shows("Containers").shows("Local Volumes");
        assert_eq!(output.lines().len(), 5, "{output:?}");
        case.cmd(&["system", "df", "-v"]).ok().shows("Images space usage").shows(&case.name("a"));
    }
}

api! {
    fn ping_tells_the_version(case) {
        for method in ["GET", "HEAD"] {
            let answer = case.api(method, "/_ping", None);
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("ostype"), Some("linux"));
            assert!(answer.header("api-version").is_some());
            assert_eq!(answer.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
            assert_eq!(answer.text(), if method == "GET" { "OK" } else { "" });
        }
    }

    fn versions_in_the_path(case) {
        assert_eq!(case.api("GET", "/v1.24/version", None).status, 200);
        assert_eq!(case.api("GET", "/v1.43/containers/json", None).status, 200);
        let old = case.api("GET", "/v1.10/version", None);
        assert_eq!(old.status, 400);
        // So old a client would not understand JSON here: the text comes alone.
        assert!(old.text().contains("client version 1.10 is too old"), "{}", old.text());
        let new = case.api("GET", "/v1.99/version", None);
        assert_eq!(new.status, 400);
        assert!(new.message().contains("client version 1.99 is too new"), "{}", new.message());
        let none = case.api("GET", "/no/such/route", None);
        assert_eq!((none.status, none.message().as_str()), (404, "page not found"));
    }

    fn lists_are_lists_even_when_empty(case) {
        let none = case
            .api("GET", "/containers/json?filters=%7B%22name%22%3A%5B%22nothing%22%5D%7D", None);
        assert_eq!(none.text().trim(), "[]");
        let none = case
            .api("GET", "/images/json?filters=%7B%22reference%22%3A%5B%22nothing%22%5D%7D", None);
        assert_eq!(none.text().trim(), "[]");
    }

    fn a_command_may_be_a_string(case) {
        let id = case.create(json!({"Image": IMAGE, "Cmd": "true", "Entrypoint": []}));
        assert_eq!(case.inspect(&id)["Config"]["Cmd"], json!(["true"]));
    }

    fn keys_are_read_without_case(case) {
        let id = case
            .create(json!({"image": IMAGE, "cmd": ["true"], "hostconfig": {"memory": 67_108_864}}));
        assert_eq!(case.inspect(&id)["HostConfig"]["Memory"], 67_108_864);
    }

    fn wait_conditions(case) {
        let id = case.create(json!({"Image": IMAGE, "Cmd": ["sh", "-c", "exit 5"]}));
        // Not running already, so this answers at once.
        let answer =
            case.api("POST", &format!("/containers/{id}/wait?condition=not-running"), None);
        assert_eq!(answer.json()["StatusCode"], 0);
        let socket = case.target().socket().clone();
        let path = format!("/containers/{id}/wait?condition=next-exit");
        let mut waiter = tests::http::Connection::open(&socket).expect("it listens");
        waiter
            .send(
                format!("POST {path} HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n\r\n").as_bytes(),
            )
            .expect("sent");
        // The header comes when the waiting has begun, the body with the exit.
        let (status, _) = waiter.read_head().expect("an answer");
        assert_eq!(status, 200);
        assert_eq!(case.api("POST", &format!("/containers/{id}/start"), None).status, 204);
        let mut body = Vec::new();
        while waiter.read_chunk(&mut body).expect("a body") {}
        assert!(String::from_utf8_lossy(&body).contains("\"StatusCode\":5"));
        let odd = case.api("POST", &format!("/containers/{id}/wait?condition=odd"), None);
        assert_eq!(odd.status, 400);
    }
}
