//! `login` and `logout`: what the daemon is asked, and where credentials are kept.

use std::os::unix::fs::PermissionsExt;

use super::Home;
use super::played::{Answer, Daemon};

const WELCOME: &str = r#"{"Status":"Login Succeeded","IdentityToken":""}"#;

// The header of a request, decoded with the system's own tool so that it is not our code that
// reads what our code wrote.
fn decoded(header: &str) -> String {
    let plain = header.replace('-', "+").replace('_', "/");
    let out = std::process::Command::new("sh")
        .args(["-c", "printf %s \"$0\" | base64 -d", &plain])
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_login_is_kept_in_the_file_with_a_warning() {
    let daemon = Daemon::play(|_, _| Answer::ok(WELCOME));
    let home = Home::new("");
    let args = [
        "login",
        "-u",
        "me",
        "--password-stdin",
        "https://reg.example:5000/v2/",
    ];
    let ended = home.run_with(&daemon, &args, "s3cret\r\n", &[]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "Login Succeeded\n"));
    let file = home.config().join("config.json");
    assert_eq!(
        ended.err,
        format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n\n",
            file.display()
        )
    );
    let asked = daemon.asked();
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str()),
        ("POST", "/auth")
    );
    assert_eq!(
        asked[0].body,
        r#"{"username":"me","password":"s3cret","serveraddress":"reg.example:5000"}"#
    );
    assert_eq!(
        home.config_text(),
        "{\n\t\"auths\": {\n\t\t\"reg.example:5000\": {\n\t\t\t\"auth\": \"bWU6czNjcmV0\"\n\t\t}\n\t}\n}"
    );
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_token_is_kept_instead_of_the_password() {
    let daemon =
        Daemon::play(|_, _| Answer::ok(r#"{"Status":"Login Succeeded","IdentityToken":"t0k"}"#));
    let home = Home::new(r#"{"mine": 1}"#);
    let ended = home.run(&daemon, &["login", "-u", "me", "-p", "s3cret", "r.example"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.err,
        "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
    );
    let text = home.config_text();
    assert!(
        text.contains("\"identitytoken\": \"t0k\"") && text.contains("\"mine\": 1"),
        "{text}"
    );
    // base64 of "me:"
    assert!(
        text.contains("\"auth\": \"bWU6\"") && !text.contains("s3cret"),
        "{text}"
    );
}

#[test]
fn a_refused_login_keeps_nothing() {
    let daemon = Daemon::play(|_, _| Answer::refusal(401, "no entry"));
    let home = Home::new("");
    let ended = home.run(&daemon, &["login", "-u", "me", "-p", "x", "r.example"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .err
            .ends_with("Error response from daemon: no entry\n"),
        "{}",
        ended.err
    );
    assert!(super::names_in(&home.config()).is_empty());
}

#[test]
fn kept_credentials_are_tried_first() {
    let daemon = Daemon::play(|_, _| Answer::ok(WELCOME));
    let home = Home::new(r#"{"auths": {"r.example": {"auth": "bWU6czNjcmV0"}}}"#);
    let ended = home.run(&daemon, &["login", "r.example"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "Login Succeeded\n"));
    assert_eq!(
        ended.err,
        "Authenticating with existing credentials... [Username: me]\n\n Info -> To login with a different account, run 'corten logout' followed by 'corten login'\n\n\n"
    );
    let daemon = Daemon::play(|_, _| Answer::refusal(401, "expired"));
    let ended = home.run(&daemon, &["login", "r.example"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.ends_with("Stored credentials invalid or expired\nError: Cannot perform an interactive login from a non TTY device\n"),
        "{}",
        ended.err
    );
}

#[test]
fn helpers_keep_give_and_forget() {
    let daemon = Daemon::play(|asked, _| match asked.path.as_str() {
        "/auth" => Answer::ok(WELCOME),
        _ => Answer::ok("{\"status\":\"done\"}\n"),
    });
    let home = Home::new(r#"{"credHelpers": {"r.example": "fake"}}"#);
    home.helper("fake");
    let args = ["login", "-u", "me", "--password-stdin", "r.example"];
    let ended = home.run_with(&daemon, &args, "s3cret", &[]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let text = home.config_text();
    assert!(
        text.contains("\"r.example\": {}") && !text.contains("auth\""),
        "{text}"
    );
    home.run(&daemon, &["pull", "-q", "r.example/team/x"]);
    let pulled = daemon.asked().pop().unwrap();
    assert_eq!(
        pulled.path,
        "/images/create?fromImage=r.example%2Fteam%2Fx&tag=latest"
    );
    assert_eq!(
        decoded(pulled.header("x-registry-auth")),
        r#"{"username":"me","password":"s3cret","serveraddress":"r.example"}"#
    );
    let ended = home.run(&daemon, &["logout", "r.example"]);
    assert_eq!(
        (ended.out.as_str(), ended.err.as_str()),
        ("Removing login credentials for r.example\n", "")
    );
    let log = home.helper_log();
    assert!(
        log.starts_with("store {\"ServerURL\":\"r.example\",\"Username\":\"me\",\"Secret\":\"s3cret\"}\nget r.example\nerase "),
        "{log}"
    );
    assert!(!home.path("kept").exists());
    assert!(!home.config_text().contains("\"r.example\": {}"));
}

#[test]
fn a_helpers_token_is_an_identity_token() {
    let daemon = Daemon::play(|_, _| Answer::ok("{}"));
    let home = Home::new(r#"{"credsStore": "fake"}"#);
    home.helper("fake");
    home.run(&daemon, &["pull", "-q", "token.example/x:1"]);
    assert_eq!(
        decoded(daemon.asked()[0].header("x-registry-auth")),
        r#"{"serveraddress":"token.example","identitytoken":"refresh"}"#
    );
}

#[test]
fn broken_helpers_are_told_by_run_and_passed_over_by_pull() {
    let daemon = Daemon::play(|asked, _| match asked.path.starts_with("/containers") {
        true => Answer::refusal(404, "No such image: broken.example/x:1"),
        false => Answer::ok("{}"),
    });
    let home = Home::new(r#"{"credsStore": "fake", "credHelpers": {"none.example": "absent"}}"#);
    home.helper("fake");
    assert_eq!(home.run(&daemon, &["pull", "broken.example/x:1"]).code, 0);
    assert_eq!(daemon.asked()[0].header("x-registry-auth"), "e30=");
    // 127 is what Docker makes of the words about the program, whoever misses it.
    for (image, code, why) in [
        (
            "broken.example/x:1",
            125,
            "exit status 4, out: `the vault is shut`",
        ),
        (
            "none.example/x:1",
            127,
            "exec: \"docker-credential-absent\": executable file not found in $PATH, out: ``",
        ),
    ] {
        let ended = home.run(&daemon, &["run", image]);
        assert_eq!(ended.code, code);
        assert_eq!(
            ended.err,
            format!(
                "Unable to find image '{image}' locally\ncorten: error getting credentials - err: {why}\n\nRun 'corten run --help' for more information\n"
            )
        );
    }
}

#[test]
fn the_systems_helper_is_found_where_nothing_is_said() {
    let daemon = Daemon::play(|_, _| Answer::ok(WELCOME));
    let home = Home::new("");
    home.helper("secretservice");
    let ended = home.run(&daemon, &["login", "-u", "me", "-p", "s3cret", "r.example"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(home.path("kept").exists());
    assert_eq!(
        home.config_text(),
        "{\n\t\"auths\": {\n\t\t\"r.example\": {}\n\t},\n\t\"credsStore\": \"secretservice\"\n}"
    );
}

#[test]
fn a_damaged_file_is_warned_of_and_left_alone() {
    let daemon = Daemon::play(|_, _| Answer::ok(WELCOME));
    let home = Home::new("{\"auths\": {");
    let warning = format!(
        "WARNING: Error parsing config file ({}): unexpected EOF\n",
        home.config().join("config.json").display()
    );
    let ended = home.run(&daemon, &["login", "-u", "me", "-p", "x", "r.example"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with(&warning), "{}", ended.err);
    assert!(
        ended
            .err
            .contains("Error saving credentials: parsing config file"),
        "{}",
        ended.err
    );
    assert_eq!(home.config_text(), "{\"auths\": {");
}

#[test]
fn headers_of_the_configuration_go_with_every_request() {
    let daemon = Daemon::play(|_, _| Answer::ok("[]"));
    let home = Home::new(r#"{"HttpHeaders": {"X-Meta-A": "1", "User-Agent": "me"}}"#);
    home.run(&daemon, &["images"]);
    home.run_with(
        &daemon,
        &["images"],
        "",
        &[("DOCKER_CUSTOM_HEADERS", "X-B=2,\"X-C=3,4\"")],
    );
    let asked = daemon.asked();
    assert_eq!(asked[0].header("x-meta-a"), "1");
    assert!(asked[0].header("user-agent").starts_with("Docker-Client/"));
    assert_eq!(
        (
            asked[1].header("x-meta-a"),
            asked[1].header("x-b"),
            asked[1].header("x-c")
        ),
        ("", "2", "3,4")
    );
    let bad = [("DOCKER_CUSTOM_HEADERS", "X")];
    let ended = home.run_with(&daemon, &["images"], "", &bad);
    assert!(
        ended
            .err
            .ends_with("missing \"=\" in key=value pair: 'X'\n"),
        "{}",
        ended.err
    );
}
