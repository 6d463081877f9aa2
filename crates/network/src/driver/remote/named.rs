//! A network plugin by its name: what is called through it is kept until the plugin has it back.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use plugin::Plugins;
use serde_json::json;

use super::answers::GatewayCheck;
use super::{Plugged, Remote, interface, looked_up, network_options};
use crate::driver::kept::{Kept, Record as _, key};
use crate::driver::{
    Addressing, Driver, DriverFailure, DriverNetwork, EndpointPlan, Ethernet, Joined, Traits,
};
use crate::{Endpoint, EndpointId, NetworkSpec, PortRequest, PublishedPort, Result};

/// A plugin that was named, and may come, go and come back.
#[derive(Debug)]
pub(super) struct Named {
    name: String,
    plugins: Arc<Plugins<Remote>>,
    kept: Arc<Kept<Plugged>>,
}

impl Named {
    pub(super) fn new(name: &str, plugins: Arc<Plugins<Remote>>, kept: Arc<Kept<Plugged>>) -> Self {
        Self {
            name: name.to_owned(),
            plugins,
            kept,
        }
    }

    /// Lets the plugin take an endpoint back, and forgets it once it has given an answer.
    fn take_back(&self, network: &DriverNetwork, endpoint: EndpointId) -> Result<()> {
        let deleted = self.get()?.delete(network, endpoint);
        let answered = match &deleted {
            Ok(()) => true,
            Err(error) => matches!(error, crate::Error::Driver(DriverFailure::Remote { .. })),
        };
        if answered {
            self.kept.remove(&key(network, endpoint))?;
        }
        deleted
    }

    fn get(&self) -> Result<Arc<Remote>> {
        let remote = self.plugins.get(&self.name).map_err(looked_up)?;
        remote.capabilities()?;
        Ok(remote)
    }
}

impl Driver for Named {
    fn traits(&self, _network: &NetworkSpec) -> Traits {
        Traits {
            addressing: Addressing::Pools,
            ethernet: Ethernet::Driver,
            publishes: false,
        }
    }

    fn check(&self, _spec: &mut NetworkSpec) -> Result<()> {
        self.get().map(drop)
    }

    fn create(&self, network: &DriverNetwork) -> Result<()> {
        self.get()?.create(network)
    }

    fn restore(&self, _network: &DriverNetwork) -> Result<()> {
        // The plugin remembers its networks, and may be started after us: it may be a container.
        Ok(())
    }

    fn remove(&self, network: &DriverNetwork) -> Result<()> {
        self.get()?.remove(network)?;
        // Whatever endpoints it had are gone with it.
        for file in self.kept.of(network) {
            self.kept.remove(&file)?;
        }
        Ok(())
    }

    fn join(
        &self,
        network: &DriverNetwork,
        netns: BorrowedFd<'_>,
        plan: &EndpointPlan<'_>,
    ) -> Result<Joined> {
        let remote = self.get()?;
        let file = key(network, plan.endpoint_id);
        let mut plugged = Plugged {
            version: Plugged::VERSION,
            interface: None,
        };
        self.kept.write(&file, &plugged)?;
        let joined = remote
            .join(network, netns, plan)
            .and_then(|(joined, name)| {
                if let Some(name) = name {
                    plugged.interface = Some(name);
                    self.kept.write(&file, &plugged)?;
                    // Only what is known is moved.
                    let name = plugged.interface.as_deref().unwrap_or_default();
                    interface::give(name, plan.interface, netns)?;
                }
                Ok(joined)
            });
        if joined.is_err()
            && let Err(error) = self.take_back(network, plan.endpoint_id)
        {
            let error = spec::error::chain(&error);
            tracing::warn!(
                plugin = self.name,
                error,
                "a network plugin did not take back an endpoint"
            );
        }
        joined
    }

    fn leave(
        &self,
        network: &DriverNetwork,
        netns: Option<BorrowedFd<'_>>,
        endpoint: &Endpoint,
    ) -> Result<()> {
        let id = endpoint.endpoint_id;
        let name = self
            .kept
            .read(&key(network, id))?
            .and_then(|kept| kept.interface);
        let returned = match (netns, name) {
            (Some(netns), Some(name)) => interface::take_back(netns, &endpoint.interface, name),
            _ => Ok(None),
        };
        let left = self.take_back(network, id);
        if let (Ok(Some(name)), Err(_)) = (&returned, &left) {
            // A plugin that is gone, or refuses, does not keep its interface here either.
            interface::discard(name);
        }
        left.and(returned.map(drop))
    }

    fn settle(&self, network: &DriverNetwork, live: &[(EndpointId, Option<BorrowedFd<'_>>)]) {
        for file in self.kept.of(network) {
            if live.iter().any(|(id, _)| key(network, *id) == file) {
                continue;
            }
            let (_, id) = file.split_once('-').unwrap_or_default();
            let Ok(id) = EndpointId::try_from(id.to_owned()) else {
                continue;
            };
            if let Err(error) = self.take_back(network, id) {
                let error = spec::error::chain(&error);
                tracing::warn!(
                    plugin = self.name,
                    error,
                    "a plugin still has a dead endpoint"
                );
                // It may be down: whoever starts the daemon does not wait for it again and again.
                break;
            }
        }
    }

    fn has_gateway(&self, network: &NetworkSpec) -> bool {
        !network.internal
    }

    fn skips_gateways(&self, network: &NetworkSpec) -> Result<(bool, bool)> {
        let remote = self.get()?;
        if !remote.capabilities()?.gw_alloc_checker {
            return Ok((false, false));
        }
        let request = json!({ "Options": network_options(network) });
        let check: GatewayCheck = remote.call("GwAllocCheck", &request)?;
        Ok((check.skip_ipv4, check.skip_ipv6))
    }

    fn program(
        &self,
        network: &DriverNetwork,
        endpoint: &Endpoint,
        ports: &[PortRequest],
    ) -> Result<Vec<PublishedPort>> {
        self.get()?.program(network, endpoint, ports)
    }

    fn revoke(&self, network: &DriverNetwork, endpoint: &Endpoint) -> Result<()> {
        self.get()?.revoke(network, endpoint)
    }
}
