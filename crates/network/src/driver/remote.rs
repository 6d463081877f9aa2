//! Network plugins: Docker's remote driver protocol.
//!
//! A plugin makes an interface in the host and names it; it is moved into the sandbox here. See
//! [libnetwork/docs/remote.md](https://github.com/moby/moby/blob/v28.5.2/libnetwork/docs/remote.md).
//!
//! ```text
//! check    GetCapabilities          join    CreateEndpoint, Join          ─┐ undone by Leave and
//!          GwAllocCheck             program ProgramExternalConnectivity,   │ DeleteEndpoint
//! create   CreateNetwork                    EndpointOperInfo               │
//! remove   DeleteNetwork            leave   RevokeExternalConnectivity,   ◄┘
//!                                           Leave, DeleteEndpoint
//! ```
//!
//! `DiscoverNew` and `DiscoverDelete` tell of other nodes of a swarm; without one, there is none.

mod answers;
mod interface;
pub(crate) mod ipam;
mod named;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plugin::{Kind, Plugin, PluginFailure, PluginSettings, Plugins};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::named::Named;
use super::kept::{Kept, Record};
use super::{Driver, DriverFailure, DriverNetwork, EndpointPlan, Joined};
use crate::{
    Endpoint, EndpointId, IpNet, NetworkSpec, PortRequest, PublishedPort, Result, Settings,
};
use answers::{Capabilities, CreatedEndpoint, Info, JoinAnswer, Nothing, published_ports};

/// Label of the user's own options.
const GENERIC: &str = "com.docker.network.generic";
const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";
const INTERNAL: &str = "com.docker.network.internal";
const PORT_MAP: &str = "com.docker.network.portmap";
const EXPOSED_PORTS: &str = "com.docker.network.endpoint.exposedports";

/// Containers wait for these calls, and whoever removes them: a plugin gets less time than for a
/// volume, whose making may take minutes.
fn plugin_settings(settings: &Settings) -> PluginSettings {
    PluginSettings {
        dirs: settings.plugin_dirs.clone(),
        long: Duration::from_secs(30),
        short: Duration::from_secs(10),
        probe: Duration::from_secs(5),
        ..PluginSettings::default()
    }
}

/// The plugins for networks and for addresses.
#[derive(Debug)]
pub(crate) struct Remotes {
    networks: Arc<Plugins<Remote>>,
    endpoints: Arc<Kept<Plugged>>,
    ipams: Arc<Plugins<ipam::Source>>,
    addresses: Arc<Kept<ipam::Given>>,
}

/// An endpoint that a plugin has, until it has taken it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Plugged {
    version: u32,
    /// What its interface was called in the host, where it goes back under its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
}

impl Record for Plugged {
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }
}

impl Remotes {
    pub(crate) fn open(settings: &Settings) -> Self {
        Self::with(&plugin_settings(settings), &settings.state_dir)
    }

    fn with(settings: &PluginSettings, state_dir: &Path) -> Self {
        let dir = state_dir.join("plugins");
        Self {
            networks: Arc::new(Plugins::new(settings.clone())),
            endpoints: Arc::new(Kept::new(dir.join("endpoints"))),
            ipams: Arc::new(Plugins::new(settings.clone())),
            addresses: Arc::new(Kept::new(dir.join("addresses"))),
        }
    }

    /// The driver of a name; whether there is such a plugin turns out when it is first needed.
    pub(crate) fn network(&self, name: &str) -> Arc<dyn Driver> {
        let plugins = Arc::clone(&self.networks);
        Arc::new(Named::new(name, plugins, Arc::clone(&self.endpoints)))
    }

    /// The source of addresses of a name; whether there is such a plugin turns out when it is first
    /// needed.
    pub(crate) fn ipam(&self, name: &str) -> Arc<ipam::Ipam> {
        let plugins = Arc::clone(&self.ipams);
        Arc::new(ipam::Ipam::new(name, plugins, Arc::clone(&self.addresses)))
    }
}

fn looked_up(failure: PluginFailure) -> crate::Error {
    DriverFailure::Plugin(failure.into_cause()).into()
}

/// A network plugin.
#[derive(Debug)]
pub(crate) struct Remote {
    plugin: Plugin,
    capabilities: OnceLock<Capabilities>,
}

impl From<Plugin> for Remote {
    fn from(plugin: Plugin) -> Self {
        Self {
            plugin,
            capabilities: OnceLock::new(),
        }
    }
}

impl Kind for Remote {
    const IMPLEMENTS: &'static str = "NetworkDriver";
    const CALLED: &'static str = "network";

    fn plugin(&self) -> &Plugin {
        &self.plugin
    }
}

/// Calls a method; what the plugin refuses begins with `remote:`, as in Docker.
fn call<T: DeserializeOwned>(
    plugin: &Plugin,
    method: &str,
    request: Option<&Value>,
    limit: Duration,
) -> Result<T> {
    let body = request.map(Value::to_string).unwrap_or_default();
    let answer = plugin
        .exchange(method, body.as_bytes(), limit)
        .map_err(DriverFailure::Plugin)?;
    let refusal: answers::Refusal = plugin::read(method, &answer).map_err(DriverFailure::Plugin)?;
    if let Some(text) = refusal.text() {
        let text = plugin::shortened(text);
        return Err(DriverFailure::Remote { text }.into());
    }
    let answer = plugin::read(method, &answer).map_err(DriverFailure::Plugin)?;
    Ok(answer)
}

/// Tells whether a plugin answered that it does not know a method.
fn is_unknown(error: &crate::Error) -> bool {
    matches!(
        error,
        crate::Error::Driver(DriverFailure::Plugin(failure)) if failure.is_unknown_method()
    )
}

/// Who is meant by a call.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Whom<'a> {
    #[serde(rename = "NetworkID")]
    network: &'a str,
    #[serde(rename = "EndpointID")]
    endpoint: &'a str,
}

impl Remote {
    fn call<T: DeserializeOwned>(&self, verb: &str, request: &Value) -> Result<T> {
        let method = format!("{}.{verb}", Self::IMPLEMENTS);
        let limit = self.plugin.limits().long;
        call(&self.plugin, &method, Some(request), limit)
    }

    /// Calls a method that is about one endpoint and needs no more to be said.
    fn about<T: DeserializeOwned>(
        &self,
        verb: &str,
        network: &DriverNetwork,
        endpoint: EndpointId,
    ) -> Result<T> {
        self.call(verb, &whom(network, endpoint))
    }

    fn capabilities(&self) -> Result<&Capabilities> {
        if let Some(known) = self.capabilities.get() {
            return Ok(known);
        }
        let method = format!("{}.GetCapabilities", Self::IMPLEMENTS);
        let limit = self.plugin.limits().short;
        let told: Capabilities = call(&self.plugin, &method, None, limit)?;
        told.check()?;
        Ok(self.capabilities.get_or_init(|| told))
    }

    fn create(&self, network: &DriverNetwork) -> Result<()> {
        let request = json!({
            "NetworkID": network.id.to_string(),
            "Options": network_options(&network.spec),
            "IPv4Data": ipam_data(network, false),
            "IPv6Data": ipam_data(network, true),
        });
        let made: Result<Nothing> = self.call("CreateNetwork", &request);
        if let Err(crate::Error::Driver(DriverFailure::Plugin(failure))) = &made
            && !failure.is_said()
        {
            // Nobody knows how far it came: it shall not keep what we do not know of.
            let _ = self.remove(network);
        }
        made.map(drop)
    }

    fn remove(&self, network: &DriverNetwork) -> Result<()> {
        let request = json!({ "NetworkID": network.id.to_string() });
        let _: Nothing = self.call("DeleteNetwork", &request)?;
        Ok(())
    }

    /// Makes an endpoint, and tells the name of its interface in the host, if it has one.
    fn join(
        &self,
        network: &DriverNetwork,
        netns: BorrowedFd<'_>,
        plan: &EndpointPlan<'_>,
    ) -> Result<(Joined, Option<String>)> {
        let mut request = whom(network, plan.endpoint_id);
        let text = |value: Option<String>| value.unwrap_or_default();
        let options: Map<String, Value> = endpoint_options(plan.options);
        request["Interface"] = json!({
            "Address": text(plan.ipv4.map(|net| net.to_string())),
            "AddressIPv6": text(plan.ipv6.map(|net| net.to_string())),
            "MacAddress": text(plan.mac.map(|mac| mac.to_string())),
        });
        request["Options"] = options.clone().into();
        let created: CreatedEndpoint = self.call("CreateEndpoint", &request)?;
        let mut joined = created.joined(plan)?;

        let mut request = whom(network, plan.endpoint_id);
        // A sandbox has no name in the file system: plugins of this host find it here.
        let process = std::process::id();
        let number = netns.as_raw_fd();
        request["SandboxKey"] = format!("/proc/{process}/fd/{number}").into();
        request["Options"] = options.into();
        let answer: JoinAnswer = self.call("Join", &request)?;
        answer.complete(&mut joined)?;
        let name = answer.interface().map(str::to_owned);
        if name.is_some() {
            plan.interface.clone_into(&mut joined.inner);
        }
        Ok((joined, name))
    }

    /// Says that a sandbox is gone, and its endpoint with it.
    fn delete(&self, network: &DriverNetwork, endpoint: EndpointId) -> Result<()> {
        let left: Result<Nothing> = self.about("Leave", network, endpoint);
        let deleted: Result<Nothing> = self.about("DeleteEndpoint", network, endpoint);
        // One that was never joined, or left before, may be refused to leave.
        deleted.map(drop).map_err(|error| match left {
            Ok(_) => error,
            Err(first) => first,
        })
    }

    fn program(
        &self,
        network: &DriverNetwork,
        endpoint: &Endpoint,
        ports: &[PortRequest],
    ) -> Result<Vec<PublishedPort>> {
        let mut request = whom(network, endpoint.endpoint_id);
        let mut options = endpoint_options(&endpoint.options);
        let exposed = |port: &PortRequest| json!({ "Proto": port.protocol.number(), "Port": port.container_port });
        options.insert(
            EXPOSED_PORTS.to_owned(),
            ports.iter().map(exposed).collect(),
        );
        options.insert(PORT_MAP.to_owned(), ports.iter().map(binding).collect());
        request["Options"] = options.into();
        match self.call("ProgramExternalConnectivity", &request) {
            // It is not mandatory to know this method.
            Err(error) if is_unknown(&error) => return Ok(Vec::new()),
            told => {
                let _: Nothing = told?;
            }
        }
        let info: Info = self.about("EndpointOperInfo", network, endpoint.endpoint_id)?;
        Ok(published_ports(&info, PORT_MAP))
    }

    fn revoke(&self, network: &DriverNetwork, endpoint: &Endpoint) -> Result<()> {
        match self.about("RevokeExternalConnectivity", network, endpoint.endpoint_id) {
            Err(error) if is_unknown(&error) => Ok(()),
            told => told.map(|Nothing {}| ()),
        }
    }
}

fn whom(network: &DriverNetwork, endpoint: EndpointId) -> Value {
    json!(Whom {
        network: &network.id.to_string(),
        endpoint: &endpoint.to_string(),
    })
}

/// The options of a network under Docker's labels.
fn network_options(spec: &NetworkSpec) -> Value {
    let mut options = json!({
        GENERIC: spec.options,
        ENABLE_IPV4: spec.enable_ipv4,
        ENABLE_IPV6: spec.enable_ipv6,
    });
    if spec.internal {
        options[INTERNAL] = true.into();
    }
    options
}

/// The options of an endpoint: each stands for itself.
fn endpoint_options(options: &BTreeMap<String, String>) -> Map<String, Value> {
    let mut all: Map<String, Value> = options
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    for ports in [EXPOSED_PORTS, PORT_MAP] {
        all.entry(ports).or_insert_with(|| json!([]));
    }
    all
}

/// A published port as Docker's type for it is written.
fn binding(port: &PortRequest) -> Value {
    let (first, last) = port.host_ports.unwrap_or((0, 0));
    json!({
        "Proto": port.protocol.number(),
        "IP": "",
        "Port": port.container_port,
        "HostIP": port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        "HostPort": first,
        "HostPortEnd": last,
    })
}

/// The subnets of a family, with gateways and reserved addresses in CIDR notation.
fn ipam_data(network: &DriverNetwork, v6: bool) -> Vec<Value> {
    let ipam = &network.spec.ipam;
    let space = match ipam.driver.as_str() {
        "" | "default" => "LocalDefault",
        _ => "",
    };
    let pools = ipam.pools.iter().filter_map(|pool| {
        let subnet = pool.subnet.filter(|subnet| subnet.is_ipv6() == v6)?;
        let whole = |address| IpNet::new(address, subnet.prefix()).ok();
        let mut data = json!({ "AddressSpace": space, "Pool": subnet.network() });
        if let Some(gateway) = pool.gateway.and_then(whole) {
            data["Gateway"] = json!(gateway);
        }
        if !pool.aux.is_empty() {
            let aux = pool.aux.iter();
            data["AuxAddresses"] = aux
                .filter_map(|(name, address)| Some((name.clone(), json!(whole(*address)?))))
                .collect::<Map<String, Value>>()
                .into();
        }
        Some(data)
    });
    pools.collect()
}

#[cfg(test)]
mod tests;
