//! One test: a client, an engine, names of its own, and the clean-up of what it made.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Client, Output, Spawned, client_command};
use crate::target::Target;
use crate::terminal::Terminal;
use crate::{audit, http};

/// The label that every container of a test carries.
const LABEL: &str = "corten.e2e";

/// What a test works with.
#[derive(Debug)]
pub struct Case {
    client: Client,
    target: Arc<Target>,
    prefix: String,
    home: TempDir,
    /// Beginnings of image names that are this test's.
    images: Mutex<Vec<String>>,
}

impl Case {
    /// Runs a test body, cleans up and audits.
    pub fn run(client: Client, name: &str, body: fn(&Case)) {
        let case = Case::new(client, name);
        body(&case);
        let leaks = case.clean();
        assert!(leaks.is_empty(), "left behind by the test: {leaks:#?}");
        let target = Arc::clone(&case.target);
        drop(case);
        // When this is the last user, the daemon ends here and its audit speaks.
        drop(target);
    }

    fn new(client: Client, name: &str) -> Self {
        crate::failure::watch();
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let short: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).take(24).collect();
        let home = TempDir::with_prefix("ce-home-").expect("a temporary directory can be made");
        let config = home.path().join(".docker");
        std::fs::create_dir(&config)
            .and_then(|()| std::fs::write(config.join("config.json"), "{}"))
            .expect("the home directory is ours");
        Self {
            client,
            target: Target::shared(),
            prefix: format!("{short}{}x{number}", std::process::id()),
            home,
            images: Mutex::default(),
        }
    }

    /// Has every image whose name begins so removed at the end, as `127.0.0.1:4711/`.
    pub fn owns_images(&self, beginning: &str) {
        self.images.lock().expect("no panic while held").push(beginning.to_owned());
    }

    /// An address of this host that is not loopback, so that registries there have to be trusted:
    /// that of the default bridge.
    #[track_caller]
    pub fn gateway(&self) -> String {
        let network = self.api("GET", "/networks/bridge", None).json();
        let gateway = network["IPAM"]["Config"][0]["Gateway"].as_str();
        gateway.expect("the default bridge has an address").to_owned()
    }

    /// Where the engine looks for the certificates of a registry: made by whoever calls this,
    /// and removed with what is returned.
    pub fn certificates(&self, host: &str) -> Certificates {
        let root = match self.target.daemon() {
            Some(daemon) => daemon.certificates().to_path_buf(),
            None => "/etc/docker/certs.d".into(),
        };
        Certificates {
            dir: root.join(host),
        }
    }

    /// A plain registry of the test's own; what comes from it is removed at the end.
    #[track_caller]
    pub fn registry(&self) -> crate::Registry {
        let registry = crate::Registry::plain();
        self.owns_images(&registry.address());
        registry
    }

    /// A hostile registry of the test's own; what comes from it is removed at the end.
    pub fn hostile(&self) -> crate::Hostile {
        let hostile = crate::Hostile::start();
        self.owns_images(&hostile.address());
        hostile
    }

    /// A name that no other test uses.
    pub fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.prefix)
    }

    /// The engine.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// A directory for files of the test.
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// Which client this is.
    pub fn client(&self) -> Client {
        self.client
    }

    /// Whether the engine is a dockerd: what only we promise is not asked of it.
    pub fn is_reference(&self) -> bool {
        self.target.daemon().is_none()
    }

    /// A command of the client, to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = client_command(self.client, self.target.socket(), self.home.path());
        if let Some((verb @ ("run" | "create"), rest)) = args.split_first().map(|(v, r)| (*v, r)) {
            command.arg(verb).arg("--label").arg(self.label()).args(rest);
        } else {
            command.args(args);
        }
        command
    }

    /// Runs a command of the client to its end.
    #[track_caller]
    pub fn cmd(&self, args: &[&str]) -> Output {
        self.spawn(args).finish()
    }

    /// Runs a command of the client with some standard input.
    #[track_caller]
    pub fn cmd_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut spawned = self.spawn(args);
        spawned.write(input);
        spawned.finish()
    }

    /// Starts a command of the client.
    #[track_caller]
    pub fn spawn(&self, args: &[&str]) -> Spawned {
        Spawned::start(self.command(args))
    }

    /// Starts a command of the client on a terminal of 80 columns and 24 rows.
    #[track_caller]
    pub fn terminal(&self, args: &[&str]) -> Terminal {
        Terminal::start(&self.command(args), 80, 24)
    }

    /// Sends a request to the engine.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> http::Response {
        self.target.api(method, path, body)
    }

    /// Creates a container over the API and returns its id; the body gets the label of the test.
    #[track_caller]
    pub fn create(&self, mut body: Value) -> String {
        body["Labels"][LABEL] = Value::from(self.prefix.clone());
        let answer = self.api("POST", "/containers/create", Some(&body));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["Id"].as_str().expect("a new container has an id").to_owned()
    }

    /// Starts a detached container that stays, and returns its full id.
    #[track_caller]
    pub fn sleeper(&self, name: &str) -> String {
        let image = crate::IMAGE;
        let output = self.cmd(&["run", "-d", "--name", name, image, "sleep", "1000"]).ok();
        output.text().to_owned()
    }

    /// What the API says about a container.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        let answer = self.api("GET", &format!("/containers/{name}/json"), None);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until a container has this status.
    #[track_caller]
    pub fn wait_for_status(&self, name: &str, status: &str) {
        crate::wait_for(&format!("{name} is {status}"), Duration::from_secs(30), || {
            self.inspect(name)["State"]["Status"] == status
        });
    }

    /// The label of this test, `key=value`.
    pub fn label(&self) -> String {
        format!("{LABEL}={}", self.prefix)
    }

    /// Removes the containers of this test; returns what is left of them.
    fn clean(&self) -> Vec<String> {
        let filter = format!("%7B%22label%22%3A%5B%22{}%22%5D%7D", self.label());
        let path = format!("/containers/json?all=1&filters={filter}");
        let Ok(list) = http::request(self.target.socket(), "GET", &path, None) else {
            return vec!["the engine does not answer".into()];
        };
        let list = list.json();
        let ids = list.as_array().into_iter().flatten().filter_map(|entry| entry["Id"].as_str());
        let mut left = Vec::new();
        for id in ids {
            let path = format!("/containers/{id}?force=1&v=1");
            match http::request(self.target.socket(), "DELETE", &path, None) {
                Ok(answer) if matches!(answer.status, 204 | 404 | 409) => {}
                Ok(answer) => left.push(format!("{id}: {} {}", answer.status, answer.text())),
                Err(error) => left.push(format!("{id}: {error}")),
            }
            if let Some(daemon) = self.target.daemon() {
                left.extend(audit::settled(|| audit::of_container(daemon, id)));
            }
        }
        left.extend(self.remove_networks());
        left.extend(self.remove_volumes());
        left.extend(self.remove_images());
        left
    }

    /// Removes the networks with a name of this test; returns what is left of them.
    fn remove_networks(&self) -> Vec<String> {
        let filter = format!("%7B%22name%22%3A%5B%22{}%22%5D%7D", self.prefix);
        let path = format!("/networks?filters={filter}");
        let Ok(list) = http::request(self.target.socket(), "GET", &path, None) else {
            return Vec::new();
        };
        let list = list.json();
        let mut left = Vec::new();
        for network in list.as_array().into_iter().flatten() {
            let id = network["Id"].as_str().unwrap_or_default();
            match http::request(self.target.socket(), "DELETE", &format!("/networks/{id}"), None) {
                Ok(answer) if matches!(answer.status, 204 | 404) => {}
                Ok(answer) => left.push(format!("network {}: {}", network["Name"], answer.text())),
                Err(error) => left.push(format!("network {}: {error}", network["Name"])),
            }
        }
        left
    }

    /// Removes the volumes with a name of this test; returns what is left of them.
    fn remove_volumes(&self) -> Vec<String> {
        let filter = format!("%7B%22name%22%3A%5B%22{}%22%5D%7D", self.prefix);
        let path = format!("/volumes?filters={filter}");
        let Ok(list) = http::request(self.target.socket(), "GET", &path, None) else {
            return Vec::new();
        };
        let list = list.json();
        let mut left = Vec::new();
        for volume in list["Volumes"].as_array().into_iter().flatten() {
            let name = volume["Name"].as_str().unwrap_or_default();
            // A protected one would stay; another engine knows no protection.
            let path = format!("/volumes/{name}/unprotect");
            let _ = http::request(self.target.socket(), "POST", &path, None);
            match http::request(self.target.socket(), "DELETE", &format!("/volumes/{name}"), None) {
                Ok(answer) if matches!(answer.status, 204 | 404) => {}
                Ok(answer) => left.push(format!("volume {name}: {}", answer.text())),
                Err(error) => left.push(format!("volume {name}: {error}")),
            }
        }
        left
    }

    /// Removes the images of this test; returns what is left of them.
    fn remove_images(&self) -> Vec<String> {
        let beginnings = self.images.lock().expect("no panic while held").clone();
        if beginnings.is_empty() {
            return Vec::new();
        }
        let names = || {
            let list = http::request(self.target.socket(), "GET", "/images/json?all=1", None);
            let list = list.map(|answer| answer.json()).unwrap_or_default();
            let mut names = Vec::new();
            for image in list.as_array().into_iter().flatten() {
                let tags = image["RepoTags"].as_array().into_iter().flatten();
                let digests = image["RepoDigests"].as_array().into_iter().flatten();
                names.extend(
                    tags.chain(digests).filter_map(|name| name.as_str().map(str::to_owned)),
                );
            }
            names.retain(|name| beginnings.iter().any(|beginning| name.starts_with(beginning)));
            names
        };
        for name in names() {
            // The last tag of an image takes its digests along: those are gone when asked for.
            let path = format!("/images/{name}?force=1");
            let _ = http::request(self.target.socket(), "DELETE", &path, None);
        }
        names().into_iter().map(|name| format!("image {name}")).collect()
    }
}

/// The directory of one registry below `certs.d`. Dropping it removes the directory.
#[derive(Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // It was perhaps never made.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(daemon) = self.target.daemon() {
                eprintln!("the end of the daemon's log:\n{}", daemon.log_tail());
            }
            // The failure that is being told matters more than what it left.
            let _ = self.clean();
        }
    }
}
