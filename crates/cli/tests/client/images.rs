//! `pull`, `push`, `run` of a missing image, `search`, `images --tree`, prune plans.

use super::Home;
use super::played::{Answer, Daemon};

const PULL: &str = concat!(
    "{\"status\":\"Pulling from team/x\",\"id\":\"1\"}\r\n",
    "{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"b0\"}\r\n",
    "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":1,\"total\":2},\"progress\":\"[=>]\",\"id\":\"b0\"}\r\n",
    "{\"status\":\"Pull complete\",\"progressDetail\":{},\"id\":\"b0\"}\r\n",
    "{\"status\":\"Digest: sha256:1c\"}\r\n",
    "{\"status\":\"Status: Downloaded newer image for r.example/team/x:1\"}\r\n",
);
const SHOWN: &str = "1: Pulling from team/x\nb0: Pulling fs layer\nb0: Pull complete\nDigest: sha256:1c\nStatus: Downloaded newer image for r.example/team/x:1\n";

#[test]
fn a_pull_shows_what_is_final_and_the_name() {
    let daemon = Daemon::play(|_, _| Answer::ok(PULL));
    let home = Home::new("");
    let ended = home.run(
        &daemon,
        &["pull", "--platform", "Linux/ARM64", "r.example/team/x:1"],
    );
    assert_eq!(ended.out, format!("{SHOWN}r.example/team/x:1\n"));
    assert_eq!(
        daemon.asked()[0].path,
        "/images/create?fromImage=r.example%2Fteam%2Fx&tag=1&platform=linux%2Farm64"
    );
    let ended = home.run(&daemon, &["pull", "-q", "x"]);
    assert_eq!(ended.out, "docker.io/library/x:latest\n");
    let ended = home.run(&daemon, &["pull", "x"]);
    assert!(
        ended.out.starts_with("Using default tag: latest\n"),
        "{}",
        ended.out
    );
    home.run(&daemon, &["pull", "-a", "x"]);
    assert_eq!(
        daemon.asked().pop().unwrap().path,
        "/images/create?fromImage=docker.io%2Flibrary%2Fx"
    );
    home.run_with(
        &daemon,
        &["pull", "x"],
        "",
        &[("DOCKER_DEFAULT_PLATFORM", "linux/386")],
    );
    assert!(
        daemon
            .asked()
            .pop()
            .unwrap()
            .path
            .ends_with("&platform=linux%2F386")
    );
}

#[test]
fn a_failure_in_the_middle_of_a_pull_is_a_failure() {
    let daemon = Daemon::play(|_, _| {
        Answer::ok(
            "{\"status\":\"Pulling\",\"id\":\"1\"}\n{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\n",
        )
    });
    let ended = Home::new("").run(&daemon, &["pull", "x:1"]);
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (1, "1: Pulling\n", "no space\n")
    );
}

#[test]
fn signed_images_are_refused_before_anything_is_asked() {
    let daemon = Daemon::play(|_, _| Answer::ok("{}"));
    let home = Home::new("");
    for (args, variables) in [
        (&["pull", "--disable-content-trust=false", "x:1"], &[][..]),
        (&["push", "-q", "x:1"], &[("DOCKER_CONTENT_TRUST", "1")][..]),
    ] {
        let ended = home.run_with(&daemon, args, "", variables);
        assert_eq!(ended.code, 1);
        assert!(ended.err.starts_with("content trust"), "{}", ended.err);
    }
    assert!(daemon.asked().is_empty());
}

#[test]
fn run_pulls_what_is_missing_on_stderr() {
    let daemon = Daemon::play(|asked, before| match (asked.path.as_str(), before) {
        (path, 0) if path.starts_with("/containers/create") => {
            Answer::refusal(404, "No such image: r.example/team/x:1")
        }
        (path, _) if path.starts_with("/containers/create") => {
            Answer::of(201, r#"{"Id":"c1","Warnings":[]}"#)
        }
        _ => Answer::ok(PULL),
    });
    let home = Home::new(r#"{"auths": {"r.example": {"auth": "bWU6cA=="}}}"#);
    let ended = home.run(
        &daemon,
        &["create", "--platform", "linux/arm/v7", "r.example/team/x:1"],
    );
    assert_eq!(ended.out, "c1\n");
    assert_eq!(
        ended.err,
        format!("Unable to find image 'r.example/team/x:1' locally\n{SHOWN}")
    );
    let asked = daemon.asked();
    assert_eq!(
        asked[0].path,
        "/containers/create?platform=linux%2Farm%2Fv7"
    );
    assert!(
        asked[1].path.ends_with("&platform=linux%2Farm%2Fv7"),
        "{}",
        asked[1].path
    );
    assert_ne!(asked[1].header("x-registry-auth"), "e30=");
    assert_eq!(asked.len(), 3);
}

#[test]
fn never_pulls_never_and_always_pulls_first() {
    let daemon = Daemon::play(|asked, _| match asked.path.starts_with("/containers") {
        true => Answer::refusal(404, "No such image: x:1"),
        false => Answer::ok(PULL),
    });
    let home = Home::new("");
    let ended = home.run(&daemon, &["create", "--pull", "never", "x:1"]);
    assert_eq!(
        ended.err,
        "Error response from daemon: No such image: x:1\n"
    );
    assert_eq!(daemon.asked().len(), 1);
    let ended = home.run(&daemon, &["create", "--pull", "always", "x:1"]);
    assert!(ended.err.starts_with(SHOWN), "{}", ended.err);
    assert_eq!(daemon.asked()[1].method, "POST");
    let ended = home.run(&daemon, &["create", "--platform", "toaster", "x:1"]);
    assert_eq!(
        ended.err,
        "error parsing specified platform: \"toaster\": unknown operating system or architecture: invalid argument\n"
    );
}

#[test]
fn a_push_shows_layers_and_notes() {
    let daemon = Daemon::play(|_, _| {
        Answer::ok(concat!(
            "{\"status\":\"The push refers to repository [r.example/x]\"}\n",
            "{\"status\":\"Pushed\",\"progressDetail\":{},\"id\":\"0f\"}\n",
            "{\"status\":\"1: digest: sha256:c5 size: 526\"}\n",
            "{\"progressDetail\":{},\"aux\":{\"Tag\":\"1\",\"Digest\":\"sha256:c5\",\"Size\":526}}\n",
            "{\"aux\":{\"manifestPushedInsteadOfIndex\":true,\"originalIndex\":{\"digest\":\"sha256:a\"},\"selectedManifest\":{\"digest\":\"sha256:b\"}}}\n",
        ))
    });
    let home = Home::new("");
    let ended = home.run(&daemon, &["push", "r.example/x:1"]);
    assert_eq!(
        ended.out,
        "The push refers to repository [r.example/x]\n0f: Pushed\n1: digest: sha256:c5 size: 526\n\n Info -> Not all multiplatform-content is present and only the available single-platform image was pushed\n         \x1b[31msha256:a\x1b[0m -> \x1b[32msha256:b\x1b[0m\n"
    );
    assert_eq!(daemon.asked()[0].path, "/images/r.example/x/push?tag=1");
    home.run(&daemon, &["push", "-a", "--platform", "linux/arm64", "x"]);
    assert_eq!(
        daemon.asked()[1].path,
        "/images/docker.io/library/x/push?platform=%7B%22architecture%22%3A%22arm64%22%2C%22os%22%3A%22linux%22%7D"
    );
}

#[test]
fn search_asks_with_its_limits() {
    let daemon = Daemon::play(|_, _| {
        Answer::ok(
            r#"[{"name":"busybox","description":"Small","star_count":3,"is_official":true}]"#,
        )
    });
    let home = Home::new("");
    let args = [
        "search",
        "--limit",
        "5",
        "--filter",
        "stars=2",
        "--format",
        "{{.Name}} {{.IsOfficial}}",
        "busybox",
    ];
    assert_eq!(home.run(&daemon, &args).out, "busybox [OK]\n");
    assert_eq!(
        daemon.asked()[0].path,
        "/images/search?term=busybox&limit=5&filters=%7B%22stars%22%3A%7B%222%22%3Atrue%7D%7D"
    );
}

#[test]
fn a_prune_plan_is_asked_of_our_daemon_alone() {
    let daemon = Daemon::play(|asked, _| match asked.path.as_str() {
        "/version" => Answer::ok(r#"{"Platform":{"Name":"Docker Engine"}}"#),
        _ => Answer::ok("{}"),
    });
    let home = Home::new("");
    let ended = home.run(&daemon, &["image", "prune", "--dry-run"]);
    assert_eq!(ended.code, 1);
    assert_eq!(daemon.asked().len(), 1, "nothing was removed");
    let daemon = Daemon::play(|asked, _| match asked.path.as_str() {
        "/version" => Answer::ok(r#"{"Platform":{"Name":"Corten"}}"#),
        _ => Answer::ok(
            r#"{"ImagesDeleted":[{"Untagged":"x:1"},{"Deleted":"sha256:1"}],"SpaceReclaimed":2000}"#,
        ),
    });
    let ended = home.run(&daemon, &["image", "prune", "-a", "--dry-run"]);
    assert_eq!(
        ended.out,
        "Images that would be removed:\nuntagged: x:1\ndeleted: sha256:1\n\nTotal space that would be reclaimed: 2kB\n"
    );
    assert!(
        daemon.asked()[1].path.ends_with("&dry-run=1"),
        "{}",
        daemon.asked()[1].path
    );
}

#[test]
fn a_wrong_log_level_is_told_before_anything_is_done() {
    let daemon = Daemon::play(|_, _| Answer::ok("[]"));
    let home = Home::new("");
    let ended = home.run(&daemon, &["--log-level", "loud", "images"]);
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (1, "Unable to parse logging level: loud\n")
    );
    assert!(daemon.asked().is_empty());
    assert_eq!(home.run(&daemon, &["-l", "WARN", "images"]).code, 0);
}
