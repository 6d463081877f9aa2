//! Names of servers, entries of the file, and the header. Helpers are tried in `tests/`.

use super::*;

fn config(text: &str, name: &str) -> (Config, std::path::PathBuf) {
    let dir = std::env::temp_dir().join(format!("corten-auth-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.json"), text).unwrap();
    let (config, warning) = Config::load(dir.to_str());
    assert_eq!(warning, None);
    (config, dir)
}

fn user(server: &str) -> Auth {
    Auth {
        username: "user".to_owned(),
        password: "p<ss".to_owned(),
        server: server.to_owned(),
        ..Auth::default()
    }
}

#[test]
fn names_of_servers() {
    for (text, want) in [
        ("https://index.docker.io/v1/", "index.docker.io"),
        ("http://localhost:5000/v2/", "localhost:5000"),
        ("localhost:5000/x", "localhost:5000"),
        ("https://me:word@[::1]:443?x", "[::1]:443"),
        ("quay.io", "quay.io"),
    ] {
        assert_eq!(hostname(text), want, "{text}");
    }
    assert_eq!(
        (key("docker.io"), key("index.docker.io"), key("quay.io")),
        (HUB, HUB, "quay.io")
    );
}

#[test]
fn the_header_is_dockers() {
    assert_eq!(Auth::default().header(), "e30=");
    assert_eq!(
        user("quay.io").json().to_string(),
        r#"{"username":"user","password":"p<ss","serveraddress":"quay.io"}"#
    );
    // Go escapes markup, and the alphabet is that of URLs.
    let header = user("quay.io").header();
    let plain = base64::decode(&header.replace('-', "+").replace('_', "/")).unwrap();
    assert!(String::from_utf8(plain).unwrap().contains(r#""p\u003css""#));
}

#[test]
fn secrets_are_not_shown() {
    let mut auth = user("quay.io");
    auth.identity_token = "tok3n".to_owned();
    let shown = format!("{auth:?}");
    assert!(
        !shown.contains("p<ss") && !shown.contains("tok3n"),
        "{shown}"
    );
}

#[test]
fn entries_of_the_file() {
    let text = r#"{"auths": {"https://old.example/v1/": {"auth": "dXNlcjpw"},
        "tok": {"identitytoken": "t", "email": "a@b"}}, "credsStore": ""}"#;
    let (config, dir) = config(text, "entries");
    let old = store(&config, "old.example").get().auth;
    assert_eq!(
        (old.username.as_str(), old.password.as_str()),
        ("user", "p")
    );
    assert_eq!(old.server, "https://old.example/v1/");
    assert_eq!(store(&config, "tok").get().auth.identity_token, "t");
    assert_eq!(store(&config, "none").get().auth, Auth::default());
    store(&config, "tok").erase().unwrap();
    store(&config, "none").erase().unwrap();
    store(&config, "new").put(&user("new")).unwrap();
    let (after, _) = Config::load(dir.to_str());
    let names: Vec<&String> = after.auths().map(|(name, _)| name).collect();
    assert_eq!(names, ["https://old.example/v1/", "new"]);
    assert_eq!(store(&after, "new").get().auth, user("new"));
    std::fs::remove_dir_all(&dir).unwrap();
}
