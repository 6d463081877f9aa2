//! The default bridge network: opened once per daemon, shared by reference.
//!
//! Locks: no kernel call is made and no other lock is taken while [`Shared::table`] is held;
//! [`Shared::turn`] and the handle of the background thread are never held together.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use spec::id::{ContainerId, NetworkId};

use crate::legacy::addresses::{Addresses, Refusal};
use crate::legacy::bridge::{self, Bridge};
use crate::legacy::firewall::Firewall;
use crate::legacy::record::Record;
use crate::legacy::sandbox;
use crate::legacy::settle::{check, enable_forwarding, settle};
use crate::legacy::spares::{self, Spare};
use crate::legacy::describe::{Description, EndpointDescription};
use crate::legacy::{AttachOptions, Endpoint, NetworkConfig};
use crate::{EndpointId, Error, Ipv4Net, MacAddress, Result};

/// Name of the default network.
const NAME: &str = "bridge";
const DEFAULT_MTU: u32 = 1500;

/// The default bridge network of one daemon.
///
/// Dropping it ends the background thread and the spare sandboxes, and leaves bridge, firewall table
/// and containers as they are, for the next daemon to find.
#[derive(Debug)]
pub struct Network {
    shared: Arc<Shared>,
    filler: Mutex<Option<JoinHandle<()>>>,
}

/// What the callers' threads and the background thread have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: NetworkConfig,
    pub record: Record,
    pub bridge: Bridge,
    pub bridge_index: AtomicU32,
    pub firewall: Firewall,
    pub table: Mutex<Table>,
    /// Held while a sandbox is made: the kernel's own lock for links is shared badly, so that eight
    /// callers at once got half as many sandboxes a second as one after the other (430 and 800).
    pub turn: Mutex<()>,
    /// Signalled when the background thread may have something to do.
    pub wake: Condvar,
    /// How many callers are making a sandbox themselves: the background thread keeps out of their
    /// way, because the kernel makes links one at a time.
    pub building: AtomicUsize,
}

/// Who has which address.
#[derive(Debug)]
pub(crate) struct Table {
    pub addresses: Addresses,
    endpoints: BTreeMap<ContainerId, Held>,
    /// Addresses of interfaces that a previous daemon left, until it is known whose they are.
    pub leftovers: Vec<(Ipv4Addr, String)>,
    pub spares: VecDeque<Spare>,
    pub stop: bool,
}

#[derive(Debug, Clone)]
struct Held {
    address: Ipv4Addr,
    mac: MacAddress,
}

impl Network {
    /// Makes or finds the bridge and the firewall table; the same again after a restart.
    ///
    /// Belongs to the network namespace of the calling thread, as must all further callers.
    pub fn open(config: NetworkConfig) -> Result<Self> {
        check(&config)?;
        let mut record = Record::open(&config.state_dir)?;
        let mtu = match config.mtu {
            0 => DEFAULT_MTU,
            mtu => mtu,
        };
        let (bridge, index) = settle(&config, &mut record, mtu)?;
        let address = bridge.address;
        let firewall = Firewall {
            table: config.nft_table.clone(),
            bridge: config.bridge.clone(),
            subnet: address,
            masquerade: config.masquerade,
            inter_container: config.inter_container,
        };
        if config.firewall {
            firewall.apply()?;
        }
        if config.ip_forward {
            enable_forwarding()?;
        }
        let addresses = Addresses::new(address, address.address(), config.fixed_cidr)?;
        let shared = Shared {
            record,
            bridge,
            bridge_index: AtomicU32::new(index),
            firewall,
            table: Mutex::new(Table {
                addresses,
                endpoints: BTreeMap::new(),
                leftovers: Vec::new(),
                spares: VecDeque::new(),
                stop: false,
            }),
            turn: Mutex::new(()),
            wake: Condvar::new(),
            building: AtomicUsize::new(0),
            config,
        };
        shared.adopt_links()?;
        for chain in shared.blockers() {
            tracing::warn!(
                chain,
                "a foreign firewall chain drops forwarded packets by default"
            );
        }
        Ok(Self {
            shared: Arc::new(shared),
            filler: Mutex::new(None),
        })
    }

    /// Id of the network.
    pub fn id(&self) -> NetworkId {
        self.shared.record.id
    }

    /// The subnet, without host bits.
    pub fn subnet(&self) -> Ipv4Net {
        self.shared.bridge.address.network()
    }

    /// The bridge's address, which `host-gateway` stands for.
    pub fn gateway(&self) -> Ipv4Addr {
        self.shared.bridge.address.address()
    }

    /// What an operator should know, one text each; for the warnings of `docker info`.
    pub fn warnings(&self) -> Vec<String> {
        let blockers = self.shared.blockers();
        blockers
            .into_iter()
            .map(|chain| {
                format!(
                    "WARNING: firewall chain `{chain}` drops forwarded packets by default: accept \
                     interface {} there",
                    self.shared.config.bridge
                )
            })
            .collect()
    }

    /// Reserves an address for the container and makes its sandbox.
    ///
    /// Blocking: some microseconds when a spare sandbox is ready, about 1.5 ms otherwise.
    pub fn attach(&self, container: &ContainerId, options: &AttachOptions) -> Result<Endpoint> {
        self.start_filler();
        let shared = &*self.shared;
        if options.address.is_none() && options.mac.is_none() {
            while let Some(spare) = shared.claim(container)? {
                if shared.is_connected(&spare) {
                    shared.wake.notify_all();
                    return Ok(shared.endpoint(container, spare));
                }
                shared.release(container);
            }
        }
        let _building = Building::begin(shared);
        let held = shared.reserve(container, options)?;
        match shared.build(held.address, held.mac) {
            Ok(spare) => Ok(shared.endpoint(container, spare)),
            Err(error) => {
                shared.release(container);
                Err(error)
            }
        }
    }

    /// Makes a sandbox with nothing but `lo` (`--network none`). Blocking, about 0.5 ms.
    pub fn none(&self) -> Result<OwnedFd> {
        sandbox::empty().map_err(Error::kernel("make an empty sandbox"))
    }

    /// Frees the container's address; the interface goes with the last holder of the sandbox.
    pub fn detach(&self, container: &ContainerId) {
        self.shared.release(container);
        self.shared.wake.notify_all();
    }

    /// Tells which containers outlived the previous daemon, and with which addresses; every other
    /// reservation is dropped. To be called once after [`open`](Self::open), before the first
    /// attach. Returns those whose address could not be taken over (outside the subnet, doubled).
    pub fn reconcile(&self, live: &[(ContainerId, Ipv4Addr)]) -> Vec<(ContainerId, Ipv4Addr)> {
        let shared = &*self.shared;
        let mut table = shared.lock();
        for held in std::mem::take(&mut table.endpoints).into_values() {
            table.addresses.free(held.address);
        }
        let mut refused = Vec::new();
        for &(container, address) in live {
            let known = table.leftovers.iter().position(|(a, _)| *a == address);
            let taken = match known {
                Some(index) => {
                    table.leftovers.swap_remove(index);
                    true
                }
                None => table.addresses.take_this(address).is_ok(),
            };
            let mac = MacAddress::of(address);
            if !taken || table.endpoints.contains_key(&container) {
                if taken {
                    table.addresses.free(address);
                }
                refused.push((container, address));
                continue;
            }
            table.endpoints.insert(container, Held { address, mac });
        }
        drop(table);
        shared.sweep();
        self.start_filler();
        refused
    }

    /// The network as `docker network inspect` shows it.
    pub fn describe(&self) -> Description {
        let shared = &*self.shared;
        let subnet = self.subnet();
        let endpoints = shared.lock().endpoints.clone();
        let describe = |(container, held): (ContainerId, Held)| EndpointDescription {
            container,
            endpoint_id: EndpointId::of(&shared.record.id, &container, held.address),
            mac: held.mac,
            address: Ipv4Net::new(held.address, subnet.prefix())
                .expect("the prefix length is that of a network"),
        };
        Description {
            id: shared.record.id,
            name: NAME.to_owned(),
            driver: "bridge".to_owned(),
            created: shared.record.created,
            subnet,
            gateway: self.gateway(),
            options: shared.options(),
            endpoints: endpoints.into_iter().map(describe).collect(),
        }
    }

    /// Names our interfaces in the host that belong to no endpoint, spare or left container: empty,
    /// some milliseconds after the last sandbox was dropped.
    pub fn strays(&self) -> Result<Vec<String>> {
        let links = self.shared.links()?;
        let table = self.shared.lock();
        let known = |address: &Ipv4Addr| {
            table
                .endpoints
                .values()
                .any(|held| held.address == *address)
                || table.spares.iter().any(|spare| spare.address == *address)
        };
        let stray = links.into_iter().filter(|(address, _)| !known(address));
        Ok(stray.map(|(_, link)| link.name).collect())
    }

    /// Removes the bridge and the table: an explicit tear-down, with no container left.
    ///
    /// Ends the background thread as well; nothing but dropping should follow.
    pub fn destroy(&self) -> Result<()> {
        self.stop_filler();
        self.shared.firewall.remove()?;
        let mut socket = bridge::route_socket()?;
        if let Some(link) = self.shared.bridge.find(&mut socket)? {
            let step = Error::kernel(format!("remove bridge {}", link.name));
            socket
                .execute_one(|m| m.delete_link(link.index))
                .map_err(step)?;
        }
        Ok(())
    }

    fn start_filler(&self) {
        if self.shared.config.spares == 0 {
            return;
        }
        let mut filler = self
            .filler
            .lock()
            .expect("no panic happens while it is held");
        if filler.is_none() {
            *filler = spares::start(Arc::clone(&self.shared));
        }
    }

    fn stop_filler(&self) {
        let mut table = self.shared.lock();
        table.stop = true;
        table.spares.clear();
        drop(table);
        self.shared.wake.notify_all();
        let filler = self
            .filler
            .lock()
            .expect("no panic happens while it is held")
            .take();
        if filler.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread for spare sandboxes had panicked");
        }
        self.shared.lock().spares.clear();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop_filler();
    }
}

/// Counts a caller as building for as long as it lives.
struct Building<'a>(&'a Shared);

impl<'a> Building<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.building.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Building<'_> {
    fn drop(&mut self) {
        // Under the lock, so that the background thread cannot miss it between test and wait.
        let _table = self.0.lock();
        self.0.building.fetch_sub(1, Ordering::SeqCst);
        self.0.wake.notify_all();
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table
            .lock()
            .expect("no panic happens while it is held")
    }

    /// Takes a ready sandbox for the container, if there is one.
    fn claim(&self, container: &ContainerId) -> Result<Option<Spare>> {
        let mut table = self.lock();
        self.check_absent(&table, container)?;
        let Some(spare) = table.spares.pop_front() else {
            return Ok(None);
        };
        let held = Held {
            address: spare.address,
            mac: spare.mac,
        };
        table.endpoints.insert(*container, held);
        Ok(Some(spare))
    }

    /// Reserves an address for the container; spare sandboxes give theirs up if need be.
    fn reserve(&self, container: &ContainerId, options: &AttachOptions) -> Result<Held> {
        let mut evicted = None;
        let mut table = self.lock();
        self.check_absent(&table, container)?;
        let mut outcome = match options.address {
            Some(wanted) => {
                let of = |spare: &Spare| spare.address == wanted;
                if let Some(index) = table.spares.iter().position(of) {
                    evicted = table.spares.remove(index);
                    table.addresses.free(wanted);
                }
                table.addresses.take_this(wanted).map(|()| wanted)
            }
            None => table.addresses.take(),
        };
        if outcome == Err(Refusal::Exhausted) {
            evicted = table.spares.pop_back();
            if let Some(spare) = &evicted {
                outcome = Ok(spare.address);
            }
        }
        if outcome == Err(Refusal::Exhausted) || outcome == Err(Refusal::InUse) {
            // Interfaces that a previous daemon left may be gone by now.
            drop(table);
            self.sweep();
            table = self.lock();
            self.check_absent(&table, container)?;
            outcome = match options.address {
                Some(wanted) => table.addresses.take_this(wanted).map(|()| wanted),
                None => table.addresses.take(),
            };
        }
        let address = outcome.map_err(|refusal| self.refusal(refusal, options.address))?;
        let mac = options.mac.unwrap_or_else(|| MacAddress::of(address));
        let held = Held { address, mac };
        table.endpoints.insert(*container, held.clone());
        drop(table);
        drop(evicted);
        Ok(held)
    }

    fn check_absent(&self, table: &Table, container: &ContainerId) -> Result<()> {
        if table.endpoints.contains_key(container) {
            return Err(Error::AlreadyAttached {
                container: container.short(),
                network: NAME.to_owned(),
            });
        }
        Ok(())
    }

    fn refusal(&self, refusal: Refusal, wanted: Option<Ipv4Addr>) -> Error {
        let address = wanted.unwrap_or(Ipv4Addr::UNSPECIFIED).into();
        match refusal {
            Refusal::Exhausted => Error::AddressesExhausted {
                family: "IPv4",
                name: NAME.to_owned(),
                id: self.record.id.to_string(),
            },
            Refusal::InUse => Error::AddressInUse { address },
            Refusal::Outside => Error::AddressOutside { address },
        }
    }

    /// Frees the container's address.
    fn release(&self, container: &ContainerId) {
        let mut table = self.lock();
        if let Some(held) = table.endpoints.remove(container) {
            table.addresses.free(held.address);
        }
    }

    fn endpoint(&self, container: &ContainerId, spare: Spare) -> Endpoint {
        let address = self.bridge.address;
        Endpoint {
            netns: spare.netns,
            interface: sandbox::INTERFACE.to_owned(),
            host_interface: spare.host_interface,
            address: spare.address,
            prefix: address.prefix(),
            gateway: address.address(),
            mac: spare.mac,
            endpoint_id: EndpointId::of(&self.record.id, container, spare.address),
            network_id: self.record.id,
        }
    }

    fn options(&self) -> BTreeMap<String, String> {
        const BRIDGE: &str = "com.docker.network.bridge";
        let config = &self.config;
        BTreeMap::from([
            (format!("{BRIDGE}.default_bridge"), "true".to_owned()),
            (
                format!("{BRIDGE}.enable_icc"),
                config.inter_container.to_string(),
            ),
            (
                format!("{BRIDGE}.enable_ip_masquerade"),
                config.masquerade.to_string(),
            ),
            (format!("{BRIDGE}.host_binding_ipv4"), "0.0.0.0".to_owned()),
            (format!("{BRIDGE}.name"), config.bridge.clone()),
            (
                "com.docker.network.driver.mtu".to_owned(),
                self.bridge.mtu.to_string(),
            ),
        ])
    }
}
