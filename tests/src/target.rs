//! The engine that the tests talk to: one private daemon shared by them, or a given socket.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use crate::daemon::Daemon;
use crate::{http, image};

/// The engine under test. The last user of it ends the daemon and audits what it left.
#[derive(Debug)]
pub struct Target {
    socket: PathBuf,
    daemon: Option<Daemon>,
}

static SHARED: Mutex<Weak<Target>> = Mutex::new(Weak::new());

impl Target {
    /// The engine that all running tests of this process share.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(target) = shared.upgrade() {
            return target;
        }
        let target = Arc::new(Self::open());
        *shared = Arc::downgrade(&target);
        target
    }

    fn open() -> Self {
        let (socket, daemon) = match reference_socket() {
            Some(socket) => (socket, None),
            None => {
                let daemon = Daemon::start().unwrap_or_else(|error| panic!("{error:#}"));
                (daemon.socket(), Some(daemon))
            }
        };
        let mut target = Self { socket, daemon };
        if let Err(error) = image::ensure(&target.socket) {
            let log = target.daemon.as_ref().map(Daemon::log_tail).unwrap_or_default();
            panic!("{error:#}; the log:\n{log}");
        }
        if let Some(daemon) = &mut target.daemon {
            daemon.warm_up();
        }
        target
    }

    /// The API socket.
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Our daemon; none when the tests run against another engine.
    pub fn daemon(&self) -> Option<&Daemon> {
        self.daemon.as_ref()
    }

    /// Sends a request; panics when there is no answer.
    #[track_caller]
    pub fn api(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> http::Response {
        match http::request(&self.socket, method, path, body) {
            Ok(answer) => answer,
            Err(error) => {
                let log = self.daemon.as_ref().map(Daemon::log_tail).unwrap_or_default();
                panic!("{method} {path}: {error}; the log:\n{log}")
            }
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let leaks = daemon.retire();
        if leaks.is_empty() {
            return;
        }
        let report = format!("the leak audit found:\n  {}", leaks.join("\n  "));
        // A second panic would end the whole run; the first failure is told anyway.
        if std::thread::panicking() {
            eprintln!("{report}");
        } else {
            panic!("{report}");
        }
    }
}

/// The socket of the engine given by `CORTEN_E2E_AGAINST`.
pub fn reference_socket() -> Option<PathBuf> {
    let address = std::env::var("CORTEN_E2E_AGAINST").ok().filter(|value| !value.is_empty())?;
    Some(address.strip_prefix("unix://").unwrap_or(&address).into())
}
