//! `login`, `logout` and what keeps the secret: files, helpers, tokens; and who never sees it.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tests::hostile::Tokens;
use tests::registry::{IDENTITY, PASSWORD, USER};
use tests::{Case, Hostile, IMAGE, Output, Registry, api, base64, clients, content};

#[track_caller]
fn config(case: &Case) -> Value {
    let text = std::fs::read(case.dir().join(".docker/config.json")).expect("it is there");
    serde_json::from_slice(&text).expect("JSON")
}

fn set_config(case: &Case, value: &Value) {
    std::fs::write(case.dir().join(".docker/config.json"), value.to_string()).expect("ours");
}

fn encoded() -> String {
    base64(format!("{USER}:{PASSWORD}").as_bytes())
}

#[track_caller]
fn login(case: &Case, host: &str, password: &str) -> Output {
    let args = ["login", "-u", USER, "--password-stdin", host];
    case.cmd_with_input(&args, password.as_bytes())
}

fn registry(case: &Case) -> Registry {
    let registry = Registry::with_password();
    case.owns_images(&registry.address());
    registry
}

/// A registry with tokens.
fn with_tokens(case: &Case) -> Hostile {
    let hostile = case.hostile();
    hostile.require(Tokens {
        realm: format!("http://{}/token", hostile.address()),
        user: USER.into(),
        password: PASSWORD.into(),
        identity: IDENTITY.into(),
        anonymous_pull: false,
    });
    hostile
}

clients! {
    fn with_a_password(case) {
        let registry = registry(case);
        let host = registry.address();
        let reference = registry.reference("e2e/secret:one");
        case.cmd(&["tag", IMAGE, &reference]).ok();
        let output = case.cmd(&["push", &reference]).exits(1);
        assert_eq!(output.stderr.trim(), "no basic auth credentials");
        case.cmd(&["pull", &reference]).exits(1).complains("no basic auth credentials");
        login(case, &host, "wrong").exits(1).complains("401 Unauthorized");
        assert_eq!(config(case)["auths"].as_object().map_or(0, serde_json::Map::len), 0);
        // A file that is there keeps its mode, as with the docker client: a new one is private.
        std::fs::remove_file(case.dir().join(".docker/config.json")).expect("it is there");

        login(case, &host, PASSWORD).ok().shows("Login Succeeded");
        assert_eq!(config(case)["auths"][&host]["auth"], encoded().as_str());
        let meta = std::fs::metadata(case.dir().join(".docker/config.json")).expect("it is there");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        case.cmd(&["push", &reference]).ok().shows("one: digest: sha256:");
        case.cmd(&["rmi", &reference]).ok();
        case.cmd(&["pull", &reference]).ok().shows("Downloaded newer image");
        case.cmd(&["run", "--rm", "--pull", "always", &reference, "echo", "ran"])
            .ok()
            .prints("ran");

        case.cmd(&["logout", &host]).ok().shows(&format!("Removing login credentials for {host}"));
        assert!(config(case)["auths"][&host].is_null());
        case.cmd(&["pull", &reference]).exits(1).complains("no basic auth credentials");
    }

    fn the_password_on_the_command_line_is_warned_of(case) {
        let registry = registry(case);
        case.cmd(&["login", "-u", USER, "-p", PASSWORD, &registry.address()])
            .ok()
            .shows("Login Succeeded")
            .complains("Using --password via the CLI is insecure");
        // What is known already is used again, and said to be good.
        case.cmd(&["login", &registry.address()]).ok().shows("Login Succeeded");
        case.cmd(&["login", "-p", PASSWORD, "--password-stdin", &registry.address()]).exits(1);
        case.cmd(&["login", "--password-stdin", &registry.address()])
            .exits(1)
            .complains("username");
    }

    fn identity_tokens_take_the_place_of_the_password(case) {
        let hostile = with_tokens(case);
        let host = hostile.address();
        let image = content::simple("token");
        hostile.serve("e2e/token", "one", &image.content());
        let reference = hostile.reference("e2e/token:one");
        login(case, &host, "wrong").exits(1).complains("incorrect username or password");
        login(case, &host, PASSWORD).ok().shows("Login Succeeded");
        let kept = config(case)["auths"][&host].clone();
        assert_eq!(kept["identitytoken"], IDENTITY);
        assert_ne!(kept["auth"], encoded().as_str());
        hostile.forget();
        case.cmd(&["pull", &reference]).ok().shows(&image.manifest.digest());
        assert!(hostile.requests().iter().any(|request| request.mentions(IDENTITY)));
        let secret = [PASSWORD.to_owned(), encoded()];
        for request in hostile.requests() {
            assert!(!secret.iter().any(|text| request.mentions(text)), "{request:?}");
        }
        // And a push, for which another scope is needed.
        let target = hostile.reference("e2e/pushed:one");
        case.cmd(&["tag", &reference, &target]).ok();
        case.cmd(&["push", &target]).ok();
        let pushed = hostile.manifest("e2e/pushed", "one").expect("it was pushed");
        assert_eq!(pushed.value()["config"]["digest"], image.id().as_str());
    }

    fn what_is_public_needs_no_account(case) {
        let hostile = case.hostile();
        hostile.require(Tokens {
            realm: format!("http://{}/token", hostile.address()),
            user: USER.into(),
            password: PASSWORD.into(),
            identity: IDENTITY.into(),
            anonymous_pull: true,
        });
        hostile.serve("e2e/public", "one", &content::simple("public").content());
        let reference = hostile.reference("e2e/public:one");
        case.cmd(&["pull", &reference]).ok();
        let output = case.cmd(&["push", &reference]).exits(1);
        let text = output.stderr.to_lowercase();
        assert!(text.contains("unauthorized") || text.contains("denied"), "{output:?}");
    }

    fn a_helper_keeps_the_password(case) {
        for (number, key) in ["credsStore", "credHelpers"].into_iter().enumerate() {
            let registry = registry(case);
            let host = registry.address();
            let reference = registry.reference("e2e/helped:one");
            let dir = helper(case, number);
            let value = if key == "credsStore" {
                json!("e2e")
            } else {
                json!({&host: "e2e"})
            };
            set_config(case, &json!({key: value}));
            let with_path = |args: &[&str], input: &str| {
                let mut command = case.command(args);
                let path = std::env::var("PATH").unwrap_or_default();
                command.env("PATH", format!("{}:{path}", dir.display()));
                let mut spawned = tests::Spawned::start(command);
                spawned.write(input.as_bytes());
                spawned.finish()
            };
            let args = ["login", "-u", USER, "--password-stdin", &host];
            with_path(&args, PASSWORD).ok().shows("Login Succeeded");
            let text = config(case).to_string();
            assert!(!text.contains(PASSWORD) && !text.contains(&encoded()), "{text}");
            let kept = std::fs::read_to_string(dir.join("kept")).expect("the helper was called");
            assert!(kept.contains(PASSWORD) && kept.contains(&host), "{kept}");
            case.cmd(&["tag", IMAGE, &reference]).ok();
            with_path(&["push", &reference], "").ok();
            with_path(&["logout", &host], "").ok();
            assert!(!dir.join("kept").exists());
            with_path(&["pull", &reference], "").exits(1);
        }
    }

    fn a_damaged_config_is_told_of(case) {
        std::fs::write(case.dir().join(".docker/config.json"), "{\"auths\": [").expect("ours");
        let output = case.cmd(&["images", "-q"]);
        assert!(output.stderr.contains("config.json"), "{output:?}");
    }
}

/// A credential helper that keeps one account in a file beside it.
fn helper(case: &Case, number: usize) -> std::path::PathBuf {
    let dir = case.dir().join(format!("helper{number}"));
    std::fs::create_dir(&dir).expect("ours");
    let kept = dir.join("kept").display().to_string();
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat >{kept} ;;\nget) read host; if [ -f {kept} ]; then cat \
         {kept}; else echo 'credentials not found in native keychain'; exit 1; fi ;;\nerase) rm \
         -f {kept} ;;\nlist) echo '{{}}' ;;\nesac\n"
    );
    let path = dir.join("docker-credential-e2e");
    std::fs::write(&path, script)
        .and_then(|()| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)))
        .expect("ours");
    dir
}

api! {
    fn auth_is_checked_with_the_registry(case) {
        let registry = registry(case);
        let ask = |password: &str| {
            let body = json!({
                "username": USER, "password": password, "serveraddress": registry.address(),
            });
            case.api("POST", "/auth", Some(&body))
        };
        let good = ask(PASSWORD);
        assert_eq!(good.status, 200, "{}", good.text());
        assert_eq!(good.json()["Status"], "Login Succeeded");
        let bad = ask("wrong");
        assert!(matches!(bad.status, 401 | 500), "{} {}", bad.status, bad.text());
        assert!(bad.message().contains("401 Unauthorized"), "{}", bad.message());
        let body = json!({"username": USER, "password": "x", "serveraddress": "127.0.0.1:1"});
        assert_eq!(case.api("POST", "/auth", Some(&body)).status, 500);
    }

    fn x_registry_auth_goes_with_one_request(case) {
        let registry = registry(case);
        let reference = registry.reference("e2e/header:one");
        let login = json!({
            "username": USER, "password": PASSWORD, "serveraddress": registry.address(),
        });
        let header = base64(login.to_string().as_bytes()).replace('+', "-").replace('/', "_");
        let ask = |method: &str, path: &str, header: &str| {
            tests::http::Connection::open(case.target().socket())
                .and_then(|mut c| c.exchange(method, path, &[("X-Registry-Auth", header)], b""))
                .expect("an answer")
        };
        case.api(
            "POST",
            &format!("/images/{IMAGE}/tag?repo={}", reference.replace(":one", "&tag=one")),
            None,
        );
        let push = format!("/images/{}/push?tag=one", reference.trim_end_matches(":one"));
        let pushed = ask("POST", &push, &header);
        assert!(!pushed.text().contains("\"error\""), "{}", pushed.text());
        case.api("DELETE", &format!("/images/{reference}"), None);
        let pull = format!("/images/create?fromImage={}", reference.replace(":one", "&tag=one"));
        let refused = ask("POST", &pull, "");
        assert!(
            refused.status == 500 || refused.text().contains("\"error\""),
            "{}",
            refused.text()
        );
        let pulled = ask("POST", &pull, &header);
        assert!(pulled.text().contains("Downloaded newer image"), "{}", pulled.text());
        let told = ask("GET", &format!("/distribution/{reference}/json"), &header);
        assert_eq!(told.status, 200, "{}", told.text());
        let told = ask("GET", &format!("/distribution/{reference}/json"), "");
        assert!(matches!(told.status, 401 | 500), "{} {}", told.status, told.text());
    }
}
