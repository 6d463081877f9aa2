//! `cni`: a network that CNI programs make, as their configuration says.
//!
//! ```text
//! -o com.corten.cni.conflist=/path/of/net.conflist     a file, or
//! -o com.corten.cni.network=name                       one of the configured directory; without
//!                                                      either, the one with the network's name
//! -o com.corten.cni.args="K=V;K2=V2"                   CNI_ARGS; of endpoints, too
//! ```
//!
//! The programs run with the daemon's rights, are named by the configuration alone and taken from the
//! configured directories. Addresses, routes and names of interfaces are theirs. See the
//! [specification](https://github.com/containernetworking/cni/blob/spec-v1.0.0/SPEC.md).
//!
//! What was added is kept, with its configuration, in `<state>/cni/<network>-<endpoint>.json` until it
//! has been deleted; it is written before the first program runs, so that no crash loses it.

mod config;
mod program;
mod result;
mod state;

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sys::netlink::{Protocol, Socket};

use super::kept::{Kept, Record as _, key};
use super::{
    Addressing, Driver, DriverFailure, DriverNetwork, EndpointPlan, Ethernet, Joined, Traits,
};
use crate::{Endpoint, EndpointId, Error, NetworkSpec, Result, Settings};
use config::List;
use program::Call;
use result::Outcome;
use state::Added;

const CONFLIST: &str = "com.corten.cni.conflist";
const NETWORK: &str = "com.corten.cni.network";
const ARGS: &str = "com.corten.cni.args";
/// Time for one program: some ask a DHCP server.
const PATIENCE: Duration = Duration::from_secs(30);

/// The driver.
#[derive(Debug)]
pub(crate) struct Cni {
    config_dir: Option<PathBuf>,
    bin_dirs: Vec<PathBuf>,
    state: Kept<Added>,
    patience: Duration,
}

impl Cni {
    pub(crate) fn open(settings: &Settings) -> Self {
        Self {
            config_dir: settings.cni_config_dir.clone(),
            bin_dirs: settings.cni_bin_dirs.clone(),
            state: Kept::new(settings.state_dir.join("cni")),
            patience: PATIENCE,
        }
    }

    fn list(&self, spec: &NetworkSpec) -> Result<List> {
        let option = |name: &str| spec.options.get(name).filter(|value| !value.is_empty());
        let found = match (option(CONFLIST), option(NETWORK)) {
            (Some(_), Some(_)) => Err(DriverFailure::Option {
                option: NETWORK.to_owned(),
                what: format!("{CONFLIST} is there, too"),
            }),
            (Some(path), None) => List::read(path.as_ref()),
            (None, name) => {
                let name = name.map_or(spec.name.as_str(), String::as_str);
                List::find(self.config_dir.as_deref(), name)
            }
        };
        Ok(found?)
    }

    /// Runs the programs of a list in order; what the last one answers is the outcome.
    fn add(&self, added: &Added, netns: BorrowedFd<'_>) -> Result<Value> {
        let list = List::parse(&added.list, "(kept)")?;
        let mut last = Value::Null;
        for plugin in &list.plugins {
            let call = self.call("ADD", added, Some(netns));
            let input = list.input(plugin, Some(&last), &added.runtime);
            last = call.run(&plugin.program(&self.bin_dirs)?, &input)?;
        }
        Ok(last)
    }

    /// Runs the programs of a list in reverse; the first failure is told after all have run.
    fn del(&self, added: &Added, netns: Option<BorrowedFd<'_>>) -> Result<()> {
        let list = List::parse(&added.list, "(kept)")?;
        let mut failed = Ok(());
        for plugin in list.plugins.iter().rev() {
            let call = self.call("DEL", added, netns);
            let input = list.input(plugin, added.result.as_ref(), &added.runtime);
            let done = plugin
                .program(&self.bin_dirs)
                .and_then(|program| call.run(&program, &input).map(drop));
            if failed.is_ok() {
                failed = done.map_err(Error::from);
            }
        }
        failed
    }

    fn check_added(&self, added: &Added, netns: BorrowedFd<'_>) -> Result<()> {
        let list = List::parse(&added.list, "(kept)")?;
        if !list.checks() {
            return Ok(());
        }
        for plugin in &list.plugins {
            let call = self.call("CHECK", added, Some(netns));
            let input = list.input(plugin, added.result.as_ref(), &added.runtime);
            call.run(&plugin.program(&self.bin_dirs)?, &input)?;
        }
        Ok(())
    }

    fn call<'a>(
        &'a self,
        command: &'static str,
        added: &'a Added,
        netns: Option<BorrowedFd<'_>>,
    ) -> Call<'a> {
        // A sandbox has no name in the file system; programs are our children and find it here.
        let path =
            |fd: BorrowedFd<'_>| format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
        Call {
            command,
            container: &added.container,
            interface: &added.interface,
            args: &added.args,
            netns: netns.map(path).unwrap_or_default(),
            bin_dirs: &self.bin_dirs,
            patience: self.patience,
        }
    }

    /// Deletes what was added, and only then forgets it.
    fn forget(&self, key: &str, added: &Added, netns: Option<BorrowedFd<'_>>) -> Result<()> {
        let deleted = self.del(added, netns);
        let removed = match netns {
            Some(netns) => delete_interface(netns, &added.interface),
            None => Ok(()),
        };
        deleted?;
        self.state.remove(key)?;
        removed
    }
}

/// What a chain that left its interface behind did not do.
fn delete_interface(netns: BorrowedFd<'_>, name: &str) -> Result<()> {
    sys::netns::with(netns, || {
        let mut socket = Socket::open(Protocol::Route)?;
        match socket.link(name)? {
            Some(link) if !link.kind.is_empty() => {
                socket.execute_one(|m| m.delete_link(link.index))
            }
            _ => Ok(()),
        }
    })
    .map_err(Error::kernel(format!("remove interface {name}")))
}

/// What the endpoint asks of programs that say they can do it.
fn runtime(plan: &EndpointPlan<'_>) -> Value {
    let mut runtime = json!({});
    if let Some(mac) = plan.mac {
        runtime["mac"] = json!(mac);
    }
    let four = plan.ipv4.map(|net| net.to_string());
    let six = plan.ipv6.map(|net| net.to_string());
    let ips: Vec<String> = [four, six].into_iter().flatten().collect();
    if !ips.is_empty() {
        runtime["ips"] = json!(ips);
    }
    runtime
}

impl Driver for Cni {
    fn traits(&self, _network: &NetworkSpec) -> Traits {
        Traits {
            addressing: Addressing::Driver,
            ethernet: Ethernet::Driver,
            publishes: false,
        }
    }

    fn check(&self, spec: &mut NetworkSpec) -> Result<()> {
        let refused = |text: &str| Err(DriverFailure::refused(text).into());
        if spec.ipam.pools.iter().any(|pool| pool.subnet.is_some()) {
            return refused("a CNI network takes its subnets from its configuration");
        }
        if spec.internal {
            return refused(
                "a CNI network leads where its configuration says: it cannot be internal",
            );
        }
        for plugin in &self.list(spec)?.plugins {
            plugin.program(&self.bin_dirs)?;
        }
        Ok(())
    }

    fn create(&self, network: &DriverNetwork) -> Result<()> {
        self.list(&network.spec).map(drop)
    }

    fn restore(&self, _network: &DriverNetwork) -> Result<()> {
        // A configuration that is broken today does not take away yesterday's network.
        Ok(())
    }

    fn remove(&self, network: &DriverNetwork) -> Result<()> {
        self.settle(network, &[]);
        Ok(())
    }

    fn join(
        &self,
        network: &DriverNetwork,
        netns: BorrowedFd<'_>,
        plan: &EndpointPlan<'_>,
    ) -> Result<Joined> {
        let file = key(network, plan.endpoint_id);
        let args = plan.options.get(ARGS).or(network.spec.options.get(ARGS));
        let mut added = Added {
            version: Added::VERSION,
            container: match &plan.container {
                Some(container) => container.to_string(),
                None => plan.endpoint_id.to_string(),
            },
            interface: plan.interface.to_owned(),
            args: args.cloned().unwrap_or_default(),
            runtime: runtime(plan),
            list: self.list(&network.spec)?.document,
            result: None,
        };
        self.state.write(&file, &added)?;
        let outcome = self.add(&added, netns).and_then(|result| {
            let outcome = Outcome::read(&result, plan.interface)?;
            added.result = Some(result);
            self.state.write(&file, &added)?;
            outcome.has(plan.ipv4, plan.ipv6)?;
            outcome.verify(netns, plan.interface)?;
            Ok(outcome.joined(plan.interface))
        });
        if outcome.is_err()
            && let Err(error) = self.forget(&file, &added, Some(netns))
        {
            let error = spec::error::chain(&error);
            tracing::warn!(network = %network.id, error, "a CNI endpoint could not be taken back");
        }
        outcome
    }

    fn leave(
        &self,
        network: &DriverNetwork,
        netns: Option<BorrowedFd<'_>>,
        endpoint: &Endpoint,
    ) -> Result<()> {
        let file = key(network, endpoint.endpoint_id);
        match self.state.read(&file)? {
            Some(added) => self.forget(&file, &added, netns),
            None => Ok(()),
        }
    }

    fn has_gateway(&self, _network: &NetworkSpec) -> bool {
        true
    }

    fn settle(&self, network: &DriverNetwork, live: &[(EndpointId, Option<BorrowedFd<'_>>)]) {
        let living = |name: &str| {
            let of = |(id, _): &&(EndpointId, _)| key(network, *id) == name;
            live.iter().find(of)
        };
        for key in self.state.of(network) {
            let done = match (self.state.read(&key), living(&key)) {
                (Ok(Some(added)), Some((_, Some(netns)))) => self.check_added(&added, *netns),
                (Ok(Some(added)), None) => self.forget(&key, &added, None),
                (Err(error), _) => Err(error),
                (Ok(_), _) => Ok(()),
            };
            if let Err(error) = done {
                let error = spec::error::chain(&error);
                tracing::warn!(network = %network.id, error, "a CNI endpoint is not what it was");
            }
        }
    }
}

#[cfg(test)]
mod tests;
