//! Names of containers in networks, and the process that serves them.

use std::os::fd::BorrowedFd;

use resolver::client::{Client, Settings};
use resolver::names::{NetworkNames, SandboxNames};
use spec::{Classify, ContainerId, WireError};

use crate::config::EngineConfig;
use crate::{Error, Result};

/// Digits of an identity that are a name too.
const SHORT_ID: usize = 12;

/// The name server of this engine's data root; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    client: Client,
}

impl Names {
    /// Finds the name server that an earlier engine left; the first sandbox starts one otherwise.
    pub(crate) fn open(config: &EngineConfig) -> Result<Self> {
        let settings = Settings {
            dir: config.exec_root.clone(),
            program: config.shim_path.clone(),
        };
        let client = Client::open(settings).map_err(|e| failed("find the name server", &e))?;
        Ok(Self { client })
    }

    /// Tells of a network and everybody in it.
    pub(crate) fn set_network(&self, names: NetworkNames) {
        self.client.set_network(names);
    }

    /// Tells that a network is gone.
    pub(crate) fn drop_network(&self, id: &str) {
        self.client.drop_network(id);
    }

    /// Serves names in a sandbox, or changes which.
    ///
    /// # Errors
    ///
    /// The name server cannot be started, or cannot serve there.
    pub(crate) fn set_sandbox(&self, names: SandboxNames, netns: BorrowedFd<'_>) -> Result<()> {
        let set = self.client.set_sandbox(names, netns);
        set.map_err(|e| failed("serve names in the container", &e))
    }

    /// Ends serving names in a sandbox; its network namespace is not held any longer.
    pub(crate) fn drop_sandbox(&self, id: &str) {
        self.client.drop_sandbox(id);
    }

    /// Ends what only an earlier engine has named.
    pub(crate) fn settle(&self) {
        self.client.settle();
    }
}

fn failed(action: &str, error: &resolver::client::Error) -> Error {
    Error::Task {
        what: format!("failed to {action}"),
        source: WireError::from_error(error.kind(), error),
    }
}

/// The names by which a container is found in a network, as Docker's: the first is its own.
pub(crate) fn of_container(
    name: &str,
    aliases: &[String],
    id: &ContainerId,
    hostname: &str,
) -> Vec<String> {
    let id = id.to_string();
    let short = id.get(..SHORT_ID).unwrap_or(&id).to_owned();
    let all = std::iter::once(name.to_owned())
        .chain(aliases.iter().cloned())
        .chain([short, hostname.to_owned()]);
    let mut names = Vec::new();
    for name in all.filter(|name| !name.is_empty()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_once_and_the_containers_own_first() {
        let id: ContainerId = "0123456789abcdef".repeat(4).parse().unwrap();
        let aliases = ["web".to_owned(), "www".to_owned()];
        let names = of_container("web", &aliases, &id, "0123456789ab");
        assert_eq!(names, ["web", "www", "0123456789ab"]);
        let names = of_container("web", &[], &id, "host");
        assert_eq!(names, ["web", "0123456789ab", "host"]);
        assert_eq!(of_container("web", &[], &id, ""), ["web", "0123456789ab"]);
    }
}
