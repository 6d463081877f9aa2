//! Which system calls the filter of a container lets pass, asked about every one of them.
//!
//! `testdata/calls.c` asks without making any call; `testdata/calls.txt` is what it has to say.
#![cfg(target_arch = "x86_64")]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use tests::image::Image;
use tests::{Case, api};

/// The first call that the library of the reference's filter may not know by name.
const NEW: u32 = 457;

/// Calls with their arguments, and what becomes of them; those that pass are not listed.
type Answers = BTreeMap<(String, u32, String), String>;

/// Reads the program's lines, `DOOR CALL[-CALL] [ARGUMENT=VALUE] ANSWER`.
fn answers(text: &str) -> Answers {
    let mut all = Answers::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (argument, answer) = match words[2..] {
            [answer] => ("", answer),
            [argument, answer] => (argument, answer),
            _ => panic!("unexpected line: {line}"),
        };
        let (first, last) = words[1].split_once('-').unwrap_or((words[1], words[1]));
        let number = |text: &str| text.parse::<u32>().expect("a number");
        for call in number(first)..=number(last) {
            all.insert((words[0].to_owned(), call, argument.to_owned()), answer.to_owned());
        }
    }
    all
}

/// Whether Docker answers a call as we do. It leaves open, for older programs or by oversight, what
/// its own notes call dangerous: the x32 convention, 32-bit programs' `socketcall`, AF_ALG, and
/// address families with something in the upper half of the register.
fn is_common((door, call, argument): &(String, u32, String)) -> bool {
    let socket = matches!((door.as_str(), call), ("native", 41) | ("int80", 359));
    let dangerous = ["0=0x26", "0=0x100000026", "0=0xffffffff"].contains(&argument.as_str());
    let stricter = door == "x32" || (door == "int80" && *call == 102) || (socket && dangerous);
    !stricter && !(NEW..1000).contains(call)
}

fn program(case: &Case) -> Vec<u8> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/calls.c");
    let target = case.dir().join("calls");
    let built = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&target).arg(source).output();
    let built = built.expect("a C compiler is installed");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fs::read(target).expect("it was made")
}

#[track_caller]
fn compare(case: &Case, text: &str) {
    let (mut wanted, mut found) =
        (answers(include_str!("../../testdata/calls.txt")), answers(text));
    if case.is_reference() {
        wanted.retain(|call, _| is_common(call));
        found.retain(|call, _| is_common(call));
    }
    let differences: Vec<_> = wanted
        .keys()
        .chain(found.keys())
        .filter(|call| wanted.get(*call) != found.get(*call))
        .map(|call| (call, wanted.get(call), found.get(call)))
        .collect();
    assert!(differences.is_empty(), "call, wanted, found: {differences:#?}");
}

api! {
    fn every_call_is_decided_as_listed(case) {
        let image = Image::with(case, "calls", |tar| tar.file("bin/calls", 0o755, &program(case)));
        let name = case.name("a");
        for flags in [&[][..], &["-u", "1000"], &["--security-opt", "no-new-privileges"]] {
            let args = [&["run", "--rm"], flags, &[image.tag(), "calls"]].concat();
            compare(case, &case.cmd(&args).ok().stdout);
        }
        case.cmd(&["run", "-d", "--name", &name, image.tag(), "sleep", "1000"]).ok();
        for flags in [&[][..], &["-u", "1000"], &["--privileged"]] {
            let args = [&["exec"], flags, &[&name, "calls"]].concat();
            compare(case, &case.cmd(&args).ok().stdout);
        }
        let terminal = case.terminal(&["exec", "-it", &name, "sh", "-c", "calls; echo END"]);
        terminal.wait_for("END");
        compare(case, terminal.screen().trim_end().trim_end_matches("END"));
        terminal.finish();
        case.cmd(&["rm", "-f", &name]).ok();
        for flag in ["--privileged", "--security-opt=seccomp=unconfined"] {
            case.cmd(&["run", "--rm", flag, image.tag(), "calls"]).ok().prints("");
        }
    }
}
