//! Bundles in temporary directories, and the command line that runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use spec::runtime::Spec;

use super::probe::{MARK, Seen};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A bundle with this test binary as its only program; taken back on drop.
pub struct Bundle {
    pub dir: tempfile::TempDir,
    pub id: String,
    pub spec: Spec,
}

impl Bundle {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        for name in ["bin", "etc", "tmp"] {
            std::fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        std::fs::copy(std::env::current_exe().unwrap(), rootfs.join("bin/probe")).unwrap();
        let passwd = "root:x:0:0::/root:\ndev:x:1000:100::/home/dev:\n4294967296:x:0:0::/:\n";
        std::fs::write(rootfs.join("etc/passwd"), passwd).unwrap();
        std::fs::write(rootfs.join("etc/group"), "root:x:0:\naudio:x:29:dev\n").unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("rt-test-{}-{number}", std::process::id());
        let mut spec = runtime::example_spec();
        let process = spec.process.as_mut().unwrap();
        process.terminal = false;
        process.env.push("PROBE=1".to_owned());
        process.args = probe_command();
        spec.linux.as_mut().unwrap().cgroups_path = format!("/corten-tests/{id}");
        Self { dir, id, spec }
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    pub fn env(&mut self, variable: &str) {
        self.spec
            .process
            .as_mut()
            .unwrap()
            .env
            .push(variable.to_owned());
    }

    pub fn write(&self) {
        let text = serde_json::to_vec(&self.spec).unwrap();
        std::fs::write(self.dir.path().join("config.json"), text).unwrap();
    }

    /// The command line with the states in the temporary directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corten-runtime"));
        command
            .arg("--root")
            .arg(self.dir.path().join("state"))
            .args(args);
        command.current_dir(self.dir.path());
        command
    }

    pub fn call(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the container and returns what its process saw.
    pub fn run(&self) -> Seen {
        self.write();
        seen(&self.call(&["run", &self.id]))
    }

    /// Runs the container, which must fail, and returns the message.
    pub fn fails(&self) -> String {
        self.write();
        let output = self.call(&["run", &self.id]);
        assert!(!output.status.success(), "{output:?}");
        self.assert_nothing_left();
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn status(&self) -> String {
        let output = self.call(&["state", &self.id]);
        let state: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    /// Directories of the container's control group that exist.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let hierarchies = sys::cgroup::Cgroups::detect().unwrap();
        let place = |h: &sys::cgroup::Hierarchy| h.mountpoint.join("corten-tests").join(&self.id);
        hierarchies
            .hierarchies()
            .iter()
            .map(place)
            .filter(|p| p.exists())
            .collect()
    }

    pub fn assert_nothing_left(&self) {
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new());
        assert!(!self.dir.path().join("state").join(&self.id).exists());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(
            !mounts.contains(self.dir.path().to_str().unwrap()),
            "{mounts}"
        );
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // Only what a failed test left; a container that is gone is no error with --force.
        let _ = self.call(&["delete", "--force", &self.id]);
        let parent = sys::cgroup::Cgroups::detect().and_then(|c| c.group("/corten-tests"));
        let _ = parent.map(|group| group.remove_if_empty());
    }
}

/// The command that prints the report.
pub fn probe_command() -> Vec<String> {
    [
        "/bin/probe",
        "--exact",
        "probe::probe",
        "--nocapture",
        "--test-threads=1",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Finds the report in an output.
pub fn seen(output: &Output) -> Seen {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find_map(|line| line.split_once(MARK))
        .map(|(_, json)| json);
    let line = line.unwrap_or_else(|| panic!("no report in {output:?}"));
    serde_json::from_str(line).unwrap()
}

/// Waits until a condition holds, some seconds at most.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !condition() {
        assert!(
            std::time::Instant::now() < deadline,
            "waited too long for: {what}"
        );
        std::thread::yield_now();
    }
}

/// Makes a file below a directory.
pub fn file(dir: &Path, name: &str, content: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}
