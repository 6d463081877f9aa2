//! A daemon of one test's own, with a client towards it: for flags, crashes and disks of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Client, Output, Spawned, client_command};
use crate::daemon::Daemon;
use crate::disk::Disk;
use crate::{http, image, target};

/// The daemon, and a home directory for clients.
#[derive(Debug)]
pub struct Own {
    daemon: Daemon,
    home: TempDir,
    client: Client,
}

impl Own {
    /// Starts one with flags; none where the tests run against another engine.
    pub fn start(client: Client, flags: &[&str]) -> Option<Self> {
        Self::of(client, || Daemon::start_with(flags))
    }

    /// Starts one whose data root is a disk of its own.
    pub fn start_on(client: Client, disk: &Disk, flags: &[&str]) -> Option<Self> {
        Self::of(client, || Daemon::start_on_with(&disk.path(), flags))
    }

    fn of(client: Client, start: impl FnOnce() -> anyhow::Result<Daemon>) -> Option<Self> {
        crate::failure::watch();
        if target::reference_socket().is_some() {
            return None;
        }
        let home = TempDir::with_prefix("ce-home-").expect("a temporary directory can be made");
        let config = home.path().join(".docker");
        std::fs::create_dir(&config)
            .and_then(|()| std::fs::write(config.join("config.json"), "{}"))
            .expect("the home directory is ours");
        Some(Self {
            daemon: start().unwrap_or_else(|error| panic!("{error:#}")),
            home,
            client,
        })
    }

    /// Imports the usual image and takes what there is then as the baseline of the audit.
    pub fn warm_up(&mut self) {
        image::ensure(&self.daemon.socket())
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.daemon.log_tail()));
        self.daemon.warm_up();
    }

    /// The daemon.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// The daemon, to be killed or started again.
    pub fn daemon_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// A directory for files of the test.
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// A command of the client, to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = client_command(self.client, &self.daemon.socket(), self.home.path());
        command.args(args);
        command
    }

    /// Starts a command of the client.
    #[track_caller]
    pub fn spawn(&self, args: &[&str]) -> Spawned {
        Spawned::start(self.command(args))
    }

    /// Runs a command of the client to its end.
    #[track_caller]
    pub fn cmd(&self, args: &[&str]) -> Output {
        self.spawn(args).finish()
    }

    /// Sends a request to the daemon.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> http::Response {
        self.daemon.api(method, path, body)
    }

    /// What the store's directory has under a name.
    pub fn store(&self) -> PathBuf {
        self.daemon.data_root().join("store")
    }

    /// The names of all images.
    #[track_caller]
    pub fn images(&self) -> Vec<String> {
        let list = self.api("GET", "/images/json?all=1", None).json();
        let mut names = Vec::new();
        for image in list.as_array().into_iter().flatten() {
            for key in ["RepoTags", "RepoDigests", "Id"] {
                match &image[key] {
                    Value::String(text) => names.push(text.clone()),
                    Value::Array(all) => {
                        names.extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => {}
                }
            }
        }
        names
    }

    /// Removes every image.
    #[track_caller]
    pub fn remove_images(&self) {
        for name in self.images() {
            // Names go with others of the same image.
            self.api("DELETE", &format!("/images/{name}?force=1"), None);
        }
        assert_eq!(self.images(), Vec::<String>::new());
    }

    /// Ends it in order; panics about what it left. The store is sound then.
    #[track_caller]
    pub fn retire(mut self) {
        let leaks = self.daemon.retire();
        assert!(leaks.is_empty(), "the leak audit found:\n  {}", leaks.join("\n  "));
    }
}
