//! All networks of one daemon: opened once, shared by reference.
//!
//! Locks, in the order in which they may be held together: [`Inner::change`] (networks come and go,
//! bridges are put back), [`Inner::turn`] (a link is made), [`Inner::state`] (memory alone: no
//! kernel call is made under it). The drivers' and the firewall's own locks come last.

mod create;
mod endpoint;
mod moving;
mod predefined;
mod recovery;
mod relaying;
mod sandbox;
mod spares;
mod state;

pub use endpoint::check_endpoint_options;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use spec::error::ErrorKind;
use spec::id::{ContainerId, NetworkId};

use crate::driver::bridge::check_name;
use crate::driver::registry::Drivers;
use crate::firewall::Firewall;
use crate::ports::Ports;
use crate::record::{DefaultRecord, NetworkRecord};
use crate::sysfs;
use crate::{
    AddressPool, Created, Description, Endpoint, EndpointDescription, EndpointId, EndpointRequest,
    Error, LiveSandbox, Lost, NetworkSpec, Protocol, PublishedPort, Result, Sandbox,
    SandboxRequest, Settings,
};
use relaying::Relaying;
use state::{Net, State};

/// Spares of a user's network after its first use.
const WANTED_SPARES: usize = 2;
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// All networks of one daemon.
///
/// Dropping it ends the background threads and the spare sandboxes, and leaves bridges, firewall
/// tables and containers as they are, for the next daemon to find.
pub struct Networks {
    inner: Arc<Inner>,
    filler: Mutex<Option<JoinHandle<()>>>,
}

/// What the callers' threads and the background threads have in common.
#[derive(Debug)]
pub(crate) struct Inner {
    settings: Settings,
    /// Where subnets come from: as set, or Docker's defaults and what is kept for when they end.
    pools: Vec<AddressPool>,
    drivers: Drivers,
    firewall: Arc<Firewall>,
    ports: Ports,
    relaying: Relaying,
    /// None where the kernel or somebody's policy gives no sysfs: then netlink is asked.
    links: Option<sysfs::Links>,
    state: Mutex<State>,
    /// Held while networks come and go.
    change: Mutex<()>,
    /// Held while a link is made: the kernel's own lock for links is shared badly, so that eight
    /// callers at once got half as many sandboxes a second as one after the other (430 and 800).
    turn: Mutex<()>,
    /// Signalled when the background thread may have something to do.
    wake: Condvar,
    /// How many callers are making a sandbox themselves: the background thread keeps out of their
    /// way, because the kernel makes links one at a time.
    building: AtomicUsize,
}

impl std::fmt::Debug for Networks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Networks")
            .field("state_dir", &self.inner.settings.state_dir)
            .finish_non_exhaustive()
    }
}

impl Networks {
    /// Reads the records and makes or finds what they describe; the same again after a restart.
    ///
    /// Belongs to the network namespace of the calling thread, as must all further callers.
    pub fn open(settings: Settings) -> Result<Self> {
        for pool in &settings.pools {
            pool.check()?;
        }
        if settings.nft_table.is_empty() || settings.nft_table.contains('\0') {
            let rule = format!("`{}` cannot be the name of a table", settings.nft_table);
            return Err(Error::InvalidConfig { rule });
        }
        if settings.default_bridge.enabled {
            check_name(&settings.default_bridge.name)?;
        }
        let mut default = DefaultRecord::open(&settings.state_dir)?;
        let records = NetworkRecord::load_all(&settings.state_dir)?;
        let firewall = Firewall::open(&settings)?;
        let inner = Arc::new(Inner {
            pools: pools(&settings, &default.id),
            drivers: Drivers::open(&settings, Arc::clone(&firewall)),
            ports: Ports::new(),
            relaying: Relaying::open(&settings)?,
            links: sysfs::Links::open(),
            firewall,
            state: Mutex::new(State::default()),
            change: Mutex::new(()),
            turn: Mutex::new(()),
            wake: Condvar::new(),
            building: AtomicUsize::new(0),
            settings,
        });
        if inner.settings.ip_forward {
            enable_forwarding()?;
        }
        inner.open_records(records);
        inner.open_predefined(&mut default)?;
        let known: Vec<NetworkId> = inner.lock().networks.keys().copied().collect();
        inner.drivers.bridge.sweep(&known)?;
        inner.rejoin_all()?;
        inner.adopt_links()?;
        let weak = Arc::downgrade(&inner);
        inner.firewall.on_change(Box::new(move || {
            if let Some(inner) = weak.upgrade() {
                inner.restore();
            }
        }));
        Ok(Self {
            inner,
            filler: Mutex::new(None),
        })
    }

    /// Creates a network; its record is synced when this returns.
    pub fn create(&self, spec: NetworkSpec) -> Result<Created> {
        self.inner.create(spec)
    }

    /// Removes a network without endpoints.
    pub fn remove(&self, network: &NetworkId) -> Result<()> {
        self.inner.remove(network)
    }

    /// All networks, the predefined ones among them, in order of their ids.
    pub fn list(&self) -> Vec<Description> {
        let state = self.inner.lock();
        state
            .networks
            .values()
            .map(|net| describe(&state, net))
            .collect()
    }

    /// One network.
    pub fn describe(&self, network: &NetworkId) -> Option<Description> {
        let state = self.inner.lock();
        state.networks.get(network).map(|net| describe(&state, net))
    }

    /// The definition of a network as Docker shows it; cheap.
    pub fn spec(&self, network: &NetworkId) -> Option<Arc<NetworkSpec>> {
        let state = self.inner.lock();
        state
            .networks
            .get(network)
            .map(|net| Arc::clone(&net.shown))
    }

    /// Finds a network by its id, its name or the beginning of its id, in this order.
    pub fn find(&self, key: &str) -> Result<NetworkId> {
        let state = self.inner.lock();
        let nets = || state.networks.values();
        if let Ok(id) = key.parse::<NetworkId>()
            && state.networks.contains_key(&id)
        {
            return Ok(id);
        }
        if let Some(net) = nets().find(|net| net.name() == key) {
            return Ok(net.about.id);
        }
        let mut by_prefix = nets()
            .map(|net| net.about.id)
            .filter(|id| !key.is_empty() && id.to_string().starts_with(key));
        match (by_prefix.next(), by_prefix.count()) {
            (Some(one), 0) => Ok(one),
            (Some(_), more) => {
                let count = more + 1;
                let text =
                    format!("network {key} is ambiguous ({count} matches found on ID prefix)");
                Err(Error::refused(ErrorKind::InvalidArgument, text))
            }
            (None, _) => Err(Error::NoSuchNetwork {
                key: key.to_owned(),
            }),
        }
    }

    /// Reserves addresses and ports, and makes the container's namespace with all its interfaces.
    ///
    /// Blocking: some microseconds when a spare sandbox is ready, about 1.5 ms otherwise. All or
    /// nothing. Nobody reaches the ports before [`publish`](Self::publish).
    pub fn open_sandbox(
        &self,
        container: &ContainerId,
        request: &SandboxRequest,
    ) -> Result<Sandbox> {
        self.start_filler();
        self.inner.open_sandbox(container, request)
    }

    /// Makes the ports lead into the container's sandbox; when it returns, they do.
    pub fn publish(&self, container: &ContainerId) -> Result<()> {
        self.inner.publish(container)
    }

    /// Gives a running container a place in another network; gateway and ports move if need be.
    pub fn connect(
        &self,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
        request: &EndpointRequest,
    ) -> Result<Endpoint> {
        self.inner.connect(container, netns, request)
    }

    /// Takes a container out of a network; gateway and ports move to the next network.
    ///
    /// Without its namespace, because it is gone, only addresses, ports and rules are given back.
    pub fn disconnect(
        &self,
        container: &ContainerId,
        network: &NetworkId,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        self.inner.disconnect(container, network, netns)
    }

    /// Gives back addresses and ports; the interfaces go with the last holder of the namespace.
    pub fn close_sandbox(&self, container: &ContainerId) {
        self.inner.close_sandbox(container);
    }

    /// The endpoints and ports of a container as they are now.
    pub fn sandbox(&self, container: &ContainerId) -> Option<(Vec<Endpoint>, Vec<PublishedPort>)> {
        self.inner.endpoints_and_ports(container)
    }

    /// Tells which containers outlived the previous daemon; every other reservation is dropped and
    /// every other interface of ours removed. To be called once after [`open`](Self::open), before
    /// the first sandbox. Returns what could not be taken over.
    pub fn reconcile(&self, live: Vec<LiveSandbox>) -> Vec<Lost> {
        let lost = self.inner.reconcile(live);
        self.start_filler();
        lost
    }

    /// Lets one container reach ports of another where `icc` is off; ends with either of them.
    pub fn allow_link(
        &self,
        from: &ContainerId,
        to: &ContainerId,
        ports: &[(u16, Protocol)],
    ) -> Result<()> {
        self.inner.allow_link(from, to, ports)
    }

    /// Takes back what [`allow_link`](Self::allow_link) allowed one container at another.
    pub fn forbid_link(&self, from: &ContainerId, to: &ContainerId) -> Result<()> {
        self.inner.firewall.unlink(from, to)
    }

    /// What an operator should know, one text each; for the warnings of `docker info`.
    pub fn warnings(&self) -> Vec<String> {
        self.inner.firewall.warnings()
    }

    /// Names what is ours in the host and belongs to nothing known: empty, some milliseconds after
    /// the last sandbox was dropped.
    pub fn strays(&self) -> Result<Vec<String>> {
        self.inner.strays()
    }

    /// Makes bridges again that somebody removed or set down; the firewall's monitor does so by
    /// itself within a second.
    pub fn restore(&self) -> Result<()> {
        self.inner.restore();
        self.inner.firewall.restore()
    }

    /// Removes every bridge and table: an explicit tear-down, with no container left.
    ///
    /// Ends the background thread as well; nothing but dropping should follow.
    pub fn destroy(&self) -> Result<()> {
        self.stop_filler();
        // Before the lock: what the thread is about to do wants it.
        self.inner.firewall.unwatch();
        let _change = self
            .inner
            .change
            .lock()
            .expect("no panic happens while it is held");
        self.inner.firewall.destroy()?;
        let nets: Vec<_> = {
            let state = self.inner.lock();
            let nets = state.networks.values().filter(|net| !net.shown.config_only);
            nets.map(|net| (net.about.clone(), net.driver.clone()))
                .collect()
        };
        for (about, driver) in nets {
            driver.remove(&about)?;
        }
        Ok(())
    }

    fn start_filler(&self) {
        let mut filler = self
            .filler
            .lock()
            .expect("no panic happens while it is held");
        if filler.is_none() {
            *filler = spares::start(Arc::clone(&self.inner));
        }
    }

    fn stop_filler(&self) {
        let take_spares = || {
            let mut state = self.inner.lock();
            state.stop = true;
            let nets = state.networks.values_mut();
            let spares: Vec<_> = nets
                .flat_map(|net| std::mem::take(&mut net.spares))
                .collect();
            drop(state);
            for spare in &spares {
                self.inner.forget_spare(spare);
            }
        };
        take_spares();
        self.inner.wake.notify_all();
        let filler = self
            .filler
            .lock()
            .expect("no panic happens while it is held")
            .take();
        if filler.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread for spare sandboxes had panicked");
        }
        take_spares();
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        self.stop_filler();
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no panic happens while it is held")
    }

    /// Makes or finds the networks of users; one that fails is kept and told of.
    fn open_records(&self, records: BTreeMap<NetworkId, NetworkRecord>) {
        for (id, record) in records {
            let name = record.spec.name.clone();
            let open = || -> Result<Net> {
                let driver = self.drivers.find(&record.spec.driver)?;
                let source = match record.spec.ipam.driver.as_str() {
                    "" | "default" | "null" => None,
                    plugin => Some(self.drivers.remotes.ipam(plugin)),
                };
                self.bring_up(record.clone(), driver, source, |driver, about| {
                    // The others go on, and this one may work later.
                    driver
                        .restore(about)
                        .inspect_err(|error| {
                            let error = spec::error::chain(error);
                            tracing::error!(
                                network = name,
                                error,
                                "a network could not be restored"
                            );
                        })
                        .or(Ok(()))
                })
            };
            match open() {
                Ok(net) => drop(self.lock().networks.insert(id, net)),
                Err(error) => {
                    let error = spec::error::chain(&error);
                    tracing::error!(network = name, error, "a network could not be opened");
                }
            }
        }
    }

    fn open_predefined(&self, record: &mut DefaultRecord) -> Result<()> {
        for name in ["host", "none"] {
            let driver = self
                .drivers
                .find(if name == "host" { "host" } else { "null" })?;
            let net = predefined::plain(name, driver, record.created);
            self.lock().networks.insert(net.about.id, net);
        }
        if !self.settings.default_bridge.enabled {
            return Ok(());
        }
        let own = self.lock().subnets();
        let links = self.drivers.bridge.indexes();
        let driver = self.drivers.find("bridge")?;
        let net = predefined::default_bridge(
            &self.settings,
            record,
            &self.pools,
            (&own, &links),
            driver,
        )?;
        self.lock().networks.insert(net.about.id, net);
        Ok(())
    }
}

/// Docker's defaults end after 31 networks: where the user named none, there are more.
fn pools(settings: &Settings, identity: &NetworkId) -> Vec<AddressPool> {
    let mut pools = settings.pools.clone();
    if pools == AddressPool::defaults() {
        pools.push(AddressPool::further());
    }
    if !pools.iter().any(|pool| pool.base.is_ipv6()) {
        pools.push(predefined::private_pool(identity));
    }
    pools
}

fn describe(state: &State, net: &Net) -> Description {
    let id_of = |container: &ContainerId| -> Option<EndpointId> {
        let held = state.sandboxes.get(container)?;
        let of = |e: &&Endpoint| e.network_id == net.about.id;
        held.endpoints.iter().find(of).map(|e| e.endpoint_id)
    };
    let endpoints = net.members.iter().map(|(container, member)| {
        let derived = || endpoint::id_of(&net.about.id, container, member);
        EndpointDescription {
            container: *container,
            endpoint_id: id_of(container).unwrap_or_else(derived),
            mac: member.mac,
            ipv4: member.ipv4,
            ipv6: member.ipv6,
        }
    });
    Description {
        id: net.about.id,
        spec: (*net.shown).clone(),
        pools: net.about.spec.ipam.pools.clone(),
        created: net.created,
        endpoints: endpoints.collect(),
        status: BTreeMap::new(),
        predefined: net.predefined,
    }
}

/// Lets the host pass packets on, as Docker does; never switches it off again.
fn enable_forwarding() -> Result<()> {
    let path = FORWARDING;
    let value = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    if value.trim() == "0" {
        std::fs::write(path, "1").map_err(Error::file("write", path))?;
        tracing::info!("net.ipv4.ip_forward was off and is now on");
    }
    Ok(())
}
