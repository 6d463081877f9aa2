//! `save`, `export`, `commit`: what is asked for, and files that are there whole or not at all.

use super::played::{Answer, Daemon};
use super::{Home, names_in};

#[test]
fn an_archive_goes_to_stdout_or_to_a_file() {
    let daemon = Daemon::play(|_, _| Answer::ok("the archive"));
    let home = Home::new("");
    assert_eq!(home.run(&daemon, &["save", "x:1", "y"]).out, "the archive");
    let args = ["save", "--platform", "linux/arm64", "-o", "out.tar", "x:1"];
    assert_eq!(home.run(&daemon, &args).code, 0);
    assert_eq!(
        std::fs::read_to_string(home.path("out.tar")).unwrap(),
        "the archive"
    );
    let paths: Vec<String> = daemon.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(
        paths,
        [
            "/images/get?names=x%3A1&names=y",
            "/images/get?names=x%3A1&platform=%7B%22architecture%22%3A%22arm64%22%2C%22os%22%3A%22linux%22%7D",
        ]
    );
}

#[test]
fn a_cut_archive_leaves_no_file() {
    let daemon = Daemon::play(|_, _| Answer {
        cut: true,
        ..Answer::ok("half of")
    });
    let home = Home::new("");
    std::fs::write(home.path("old.tar"), "of before").unwrap();
    let ended = home.run(&daemon, &["export", "-o", "old.tar", "c1"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(
        std::fs::read_to_string(home.path("old.tar")).unwrap(),
        "of before"
    );
    let mut names = names_in(home.dir.path());
    names.sort();
    assert_eq!(names, ["bin", "config", "old.tar"]);
}

#[test]
fn nothing_is_written_when_the_daemon_refuses() {
    let daemon = Daemon::play(|_, _| Answer::refusal(404, "No such image: nope:latest"));
    let home = Home::new("");
    let ended = home.run(&daemon, &["save", "-o", "out.tar", "nope"]);
    assert_eq!(
        ended.err,
        "Error response from daemon: No such image: nope:latest\n"
    );
    assert!(!home.path("out.tar").exists());
}

#[test]
fn a_commit_carries_all_it_was_given() {
    let daemon = Daemon::play(|_, _| Answer::of(201, r#"{"Id":"sha256:1"}"#));
    let home = Home::new("");
    let args = [
        "commit", "-a", "me", "-m", "why", "-c", "ENV A=1", "-c", "CMD x", "-p=false", "c1", "x:2",
    ];
    assert_eq!(home.run(&daemon, &args).out, "sha256:1\n");
    assert_eq!(
        daemon.asked()[0].path,
        "/commit?container=c1&repo=docker.io%2Flibrary%2Fx&tag=2&comment=why&author=me&changes=ENV%20A%3D1&changes=CMD%20x&pause=0"
    );
}
