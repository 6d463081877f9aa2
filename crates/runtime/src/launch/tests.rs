//! Each way in which a program cannot be executed, with real files and the kernel's real answer.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn add(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

/// Executes a file and explains the kernel's refusal.
fn refused(path: &Path) -> String {
    let error = Command::new(path).spawn().expect_err("it must not run");
    let errno = Errno::from_io_error(&error).unwrap();
    spec::error::chain(&explain("prog", path, errno))
}

fn find_error(name: &str, env: &[String]) -> WireError {
    find(name, env).unwrap_err()
}

/// A minimal 64-bit ELF file with one program header that names an interpreter.
fn elf(machine: u16, interpreter: &str) -> Vec<u8> {
    let mut file = vec![0u8; 120];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16] = 2;
    file[18..20].copy_from_slice(&machine.to_le_bytes());
    file[20] = 1;
    file[32] = 64;
    file[52] = 64;
    file[54] = 56;
    file[56] = 1;
    file[64] = 3;
    file[72] = 120;
    let length = u8::try_from(interpreter.len() + 1).unwrap();
    file[96] = length;
    file[104] = length;
    file.extend(interpreter.as_bytes());
    file.push(0);
    file
}

#[test]
fn missing_programs_are_127_with_dockers_words() {
    let error = find_error("/no/such", &[]);
    assert_eq!(error.exit_code, Some(127));
    assert_eq!(
        error.message,
        "exec: \"/no/such\": stat /no/such: no such file or directory"
    );
    let error = find_error("nosuch", &["PATH=/bin:/usr/bin".to_owned()]);
    assert_eq!(error.exit_code, Some(127));
    assert_eq!(
        error.message,
        "exec: \"nosuch\": executable file not found in $PATH"
    );
    assert_eq!(find_error("", &[]).exit_code, Some(127));
}

#[test]
fn directories_and_files_without_permission_are_126() {
    let files = Files::new();
    let plain = files.add("plain", b"x", 0o644);
    let error = find_error(plain.to_str().unwrap(), &[]);
    assert_eq!(error.exit_code, Some(126));
    assert!(
        error.message.ends_with("permission denied"),
        "{}",
        error.message
    );
    let error = find_error("/", &[]);
    assert_eq!(
        (error.exit_code, error.message.as_str()),
        (Some(126), "exec: \"/\": is a directory")
    );
    let path = format!("PATH={}", files.0.path().display());
    let chain = spec::error::chain(&find_error("plain", &[path]));
    assert!(
        chain.contains("not found in $PATH") && chain.contains("no execute permission"),
        "{chain}"
    );
}

#[test]
fn the_last_path_of_the_environment_counts_and_files_are_found() {
    let files = Files::new();
    let tool = files.add("tool", b"#!/bin/sh\n", 0o755);
    let env = [
        "PATH=/nowhere".to_owned(),
        format!("PATH=/x:{}", files.0.path().display()),
    ];
    assert_eq!(
        find("tool", &env).unwrap().to_str().unwrap(),
        tool.to_str().unwrap()
    );
}

#[test]
fn scripts_name_what_they_miss() {
    let files = Files::new();
    let missing = files.add("missing", b"#!/no/interp -x\n", 0o755);
    assert_eq!(
        refused(&missing),
        "exec: \"prog\": no such file or directory: its interpreter `/no/interp` is missing"
    );
    let crlf = files.add("crlf", b"#!/bin/sh\r\necho\r\n", 0o755);
    let text = refused(&crlf);
    assert!(
        text.contains("CRLF") && text.contains("`/bin/sh\\r`"),
        "{text}"
    );
    let empty = files.add("empty", b"#!\n", 0o755);
    assert!(refused(&empty).contains("names no interpreter"));
    let none = files.add("none", b"echo hello\n", 0o755);
    assert!(refused(&none).contains("neither a program nor a script"));
    let nothing = files.add("nothing", b"", 0o755);
    assert!(refused(&nothing).contains("the file is empty"));
    files.add("interp", b"x", 0o644);
    let denied = format!("#!{}\n", files.0.path().join("interp").display());
    let denied = files.add("denied", denied.as_bytes(), 0o755);
    assert!(refused(&denied).contains("cannot be executed"));
}

#[test]
fn programs_name_their_loader_or_machine() {
    let files = Files::new();
    let foreign = files.add("foreign", &elf(183, "/lib/ld"), 0o755);
    let text = refused(&foreign);
    assert!(text.contains("exec format error"), "{text}");
    assert!(
        text.contains("is for ARM 64 (arm64), this machine is x86-64 (amd64)"),
        "{text}"
    );
    let musl = files.add("musl", &elf(62, "/lib/ld-musl-none.so.1"), 0o755);
    let text = refused(&musl);
    assert!(
        text.contains("dynamic loader) `/lib/ld-musl-none.so.1` is missing"),
        "{text}"
    );
    let damaged = files.add("damaged", b"\x7fELF\x02\x01\x01", 0o755);
    assert!(refused(&damaged).contains("exec format error"));
}

#[test]
fn hostile_headers_are_no_trouble() {
    let files = Files::new();
    for byte in 0..120 {
        let mut file = elf(62, "/lib/ld");
        file[byte] = 0xff;
        let path = files.add(&format!("f{byte}"), &file, 0o755);
        let _ = explain("prog", &path, Errno::NOENT);
        let _ = explain("prog", &path, Errno::ACCESS);
    }
}
