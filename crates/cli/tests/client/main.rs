//! The program as a whole, against a daemon that is played: what it asks for, what it writes, and
//! what it keeps.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod archives;
mod credentials;
mod images;
mod manifests;
mod played;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use played::Daemon;

/// What a run of the program gave.
#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

/// A home of its own: a configuration and helper programs.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Self { dir };
        std::fs::create_dir(home.config()).unwrap();
        std::fs::create_dir(home.path("bin")).unwrap();
        if !config.is_empty() {
            std::fs::write(home.config().join("config.json"), config).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("config")
    }

    fn config_text(&self) -> String {
        std::fs::read_to_string(self.config().join("config.json")).unwrap()
    }

    // A helper that keeps one secret in a file and notes what it was asked.
    fn helper(&self, name: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path("bin").join(format!("docker-credential-{name}"));
        let kept = self.path("kept");
        let script = format!(
            "#!/bin/sh\nin=$(cat)\necho \"$1 $in\" >>{kept}.log\ncase $1 in\n\
             store) echo \"$in\" >{kept} ;;\n\
             get) case $in in\n\
               *broken*) echo 'the vault is shut'; exit 4 ;;\n\
               *token*) echo '{{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"refresh\"}}' ;;\n\
               *) cat {kept} 2>/dev/null || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;\n\
             esac ;;\n\
             erase) rm -f {kept} ;;\nesac\n",
            kept = kept.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn helper_log(&self) -> String {
        std::fs::read_to_string(self.path("kept.log")).unwrap_or_default()
    }

    fn run(&self, daemon: &Daemon, args: &[&str]) -> Ended {
        self.run_with(daemon, args, "", &[])
    }

    fn run_with(
        &self,
        daemon: &Daemon,
        args: &[&str],
        input: &str,
        variables: &[(&str, &str)],
    ) -> Ended {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_corten"))
            .args(args)
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env("DOCKER_CONFIG", self.config())
            .env("DOCKER_HOST", daemon.host())
            .envs(variables.iter().copied())
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that ends early does not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let ended = child.wait_with_output().unwrap();
        Ended {
            code: ended.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&ended.stdout).into_owned(),
            err: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
