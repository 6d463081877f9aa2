//! The firewall of a daemon: its tables in memory, every change one atomic batch.
//!
//! Owns the nf_tables tables (one per IP family, see [`table`]), the veth pair of the gate ([`gate`]),
//! accepting rules beside foreign ones that drop what is forwarded ([`foreign`]), and a thread that
//! puts back what others remove ([`monitor`]). Where the kernel can (Linux 6.9), the tables belong to
//! the daemon's connection: no other program changes or flushes them while it lives.
//!
//! Locks: [`Firewall::state`] is held over kernel calls, and no other lock is taken under it.

mod foreign;
mod gate;
mod monitor;
mod rules;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use spec::id::{ContainerId, NetworkId};
use sys::nft::{Batch, Connection, Family, Table};

use crate::{Error, FirewallMode, Protocol, Result, Settings};
pub(crate) use rules::{GatewayMode, Link, Mapping, NetworkRules};
use table::{Frame, Placed};

const FAMILIES: [Family; 2] = [Family::Ip, Family::Ip6];

/// The firewall of one daemon. Belongs to the network namespace of the thread that opened it.
pub(crate) struct Firewall {
    name: String,
    mode: FirewallMode,
    ipv6: bool,
    state: Mutex<State>,
    on_change: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    monitor: Mutex<Option<monitor::Watch>>,
}

/// What there should be, and what is known of what there is.
#[derive(Debug, Default)]
struct State {
    networks: BTreeMap<NetworkId, NetworkRules>,
    mappings: BTreeMap<ContainerId, Vec<Mapping>>,
    links: Vec<Link>,
    /// The kernel has been told; from now on it is told every change.
    started: bool,
    connection: Option<Connection>,
    /// The families whose table is in the kernel.
    written: BTreeSet<Family>,
    /// The kernel can keep others from changing our tables.
    can_own: bool,
    pair: Option<gate::Pair>,
    /// Families in which the kernel cannot duplicate packets, so that there is no gate.
    gateless: BTreeSet<Family>,
    foreign: foreign::Memory,
}

impl fmt::Debug for Firewall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Firewall")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Firewall {
    /// Prepares the firewall in memory; the kernel is left as it is until [`start`](Self::start).
    pub(crate) fn open(settings: &Settings) -> Result<Arc<Self>> {
        let state = State {
            connection: match settings.firewall {
                FirewallMode::Off => None,
                _ => Some(connect()?),
            },
            ..State::default()
        };
        Ok(Arc::new(Self {
            name: settings.nft_table.clone(),
            mode: settings.firewall,
            ipv6: settings.firewall6,
            state: Mutex::new(state),
            on_change: Mutex::new(None),
            monitor: Mutex::new(None),
        }))
    }

    /// Has `f` called when links or tables may have changed; `f` must not hold the firewall.
    pub(crate) fn on_change(&self, f: Box<dyn Fn() + Send + Sync>) {
        *lock(&self.on_change) = Some(Arc::from(f));
    }

    /// Writes everything at once and begins to watch over it. The second call does nothing.
    pub(crate) fn start(self: &Arc<Self>) -> Result<()> {
        let mut state = self.lock();
        if state.started {
            return Ok(());
        }
        if self.mode != FirewallMode::Off {
            self.probe(&mut state)?;
            self.write_all(&mut state)?;
            self.settle_foreign(&mut state);
        }
        state.started = true;
        drop(state);
        if self.mode != FirewallMode::Off {
            *lock(&self.monitor) = monitor::start(self);
        }
        Ok(())
    }

    /// Adds a network or changes it; its bridge need not exist yet.
    pub(crate) fn add_network(&self, rules: NetworkRules) -> Result<()> {
        let mut state = self.lock();
        let id = rules.id;
        let former = state.networks.insert(id, rules.clone());
        if former.as_ref() == Some(&rules) || !self.is_live(&state) {
            return Ok(());
        }
        let outcome = self.change_networks(&mut state, former.as_ref(), Some(&rules));
        if outcome.is_err() {
            match former {
                Some(former) => state.networks.insert(id, former),
                None => state.networks.remove(&id),
            };
        }
        self.settle_foreign(&mut state);
        outcome
    }

    /// Removes a network with all that was published in it.
    pub(crate) fn remove_network(&self, network: &NetworkId) -> Result<()> {
        let mut state = self.lock();
        let Some(former) = state.networks.remove(network) else {
            return Ok(());
        };
        for mappings in state.mappings.values_mut() {
            mappings.retain(|mapping| mapping.network != *network);
        }
        if !self.is_live(&state) {
            return Ok(());
        }
        let outcome = self.change_networks(&mut state, Some(&former), None);
        self.settle_foreign(&mut state);
        outcome
    }

    /// Gives the kernel's settings to a bridge that was made: also after it was made anew.
    pub(crate) fn prepare_bridge(&self, network: &NetworkId) -> Result<()> {
        if self.mode == FirewallMode::Off {
            return Ok(());
        }
        let Some(rules) = self.lock().networks.get(network).cloned() else {
            return Ok(());
        };
        let directory = format!("/proc/sys/net/ipv4/conf/{}", rules.bridge);
        if rules.ipv4.is_none() || !std::fs::exists(&directory).unwrap_or(false) {
            return Ok(());
        }
        let set = |key: &str, value| gate::write(&format!("{directory}/{key}"), value);
        if !rules.internal && rules.gateway_mode4 != GatewayMode::Isolated {
            // Answers to the host's own 127.0.0.1 come in by the bridge.
            set("route_localnet", "1")?;
        }
        // Packets between containers may pass through the host, which is no detour here.
        set("send_redirects", "0")?;
        let apart = if rules.inter_container { "0" } else { "1" };
        set("proxy_arp_pvlan", apart)
    }

    /// Publishes the container's ports, in place of those it had: all or none.
    pub(crate) fn publish(&self, container: &ContainerId, mappings: &[Mapping]) -> Result<()> {
        let mut state = self.lock();
        if let Some(family) = gateless(&state, mappings) {
            return Err(Error::InvalidConfig {
                rule: no_gate(family),
            });
        }
        let before = self.container_elements(&state, container);
        let former = state.mappings.insert(*container, mappings.to_vec());
        let outcome = self.change_elements(&mut state, container, &before);
        if outcome.is_err() {
            match former {
                Some(former) => state.mappings.insert(*container, former),
                None => state.mappings.remove(container),
            };
            return outcome;
        }
        let live = self.is_live(&state);
        drop(state);
        if live {
            forget_flows(mappings);
        }
        Ok(())
    }

    /// Withdraws the ports and links of a container.
    pub(crate) fn withdraw(&self, container: &ContainerId) -> Result<()> {
        let mut state = self.lock();
        let before = self.container_elements(&state, container);
        let mappings = state.mappings.remove(container).unwrap_or_default();
        let of = |link: &Link| link.from.0 == *container || link.to.0 == *container;
        state.links.retain(|link| !of(link));
        let outcome = self.change_elements(&mut state, container, &before);
        drop(state);
        forget_flows(&mappings);
        outcome
    }

    /// Lets containers reach ports of others; ends with either of them.
    pub(crate) fn link(&self, links: &[Link]) -> Result<()> {
        let mut state = self.lock();
        for link in links {
            if state.links.contains(link) {
                continue;
            }
            let before = self.container_elements(&state, &link.from.0);
            state.links.push(*link);
            let outcome = self.change_elements(&mut state, &link.from.0, &before);
            if outcome.is_err() {
                state.links.pop();
                return outcome;
            }
        }
        Ok(())
    }

    /// Takes back what links of one container to another opened.
    pub(crate) fn unlink(&self, from: &ContainerId, to: &ContainerId) -> Result<()> {
        let mut state = self.lock();
        let before = self.container_elements(&state, from);
        let of = |link: &Link| link.from.0 == *from && link.to.0 == *to;
        state.links.retain(|link| !of(link));
        self.change_elements(&mut state, from, &before)
    }

    /// Puts back what is missing; costs little if nothing is.
    pub(crate) fn restore(&self) -> Result<()> {
        let mut state = self.lock();
        if !self.is_live(&state) {
            return Ok(());
        }
        let whole = |pair: &gate::Pair| gate::is_whole(pair);
        let mut missing = state.pair.as_ref().is_some_and(|pair| !whole(pair));
        for family in &state.written {
            let found = sys::nft::has_table(*family, &self.name);
            missing |= !found.map_err(Error::kernel("look for the firewall table"))?;
        }
        if missing {
            tracing::warn!(table = self.name, "firewall is incomplete, making it again");
            self.write_all(&mut state)?;
        }
        self.settle_foreign(&mut state);
        Ok(())
    }

    /// Makes the tables anew, whatever has become of them.
    fn rewrite(&self) -> Result<()> {
        let mut state = self.lock();
        self.write_all(&mut state)
    }

    /// What an operator should know, one text each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let state = self.lock();
        let gateless = state
            .gateless
            .iter()
            .map(|family| format!("WARNING: {}", no_gate(*family)));
        gateless.chain(state.foreign.warnings()).collect()
    }

    /// Ends the thread that watches. Never to be called with a lock that what hangs on
    /// [`on_change`](Self::on_change) may want: it is waited for.
    pub(crate) fn unwatch(&self) {
        let watch = lock(&self.monitor).take();
        if let Some(watch) = watch {
            watch.stop();
        }
    }

    /// Removes everything from the kernel; nobody watches any more.
    pub(crate) fn destroy(&self) -> Result<()> {
        self.unwatch();
        if self.mode == FirewallMode::Off {
            return Ok(());
        }
        let mut state = self.lock();
        state.started = false;
        state.foreign.remove_all(&self.name);
        for family in FAMILIES {
            let table = Table::new(family, self.name.clone());
            let connection = state.connection()?;
            connection
                .delete_table(&table)
                .map_err(Error::kernel("remove the firewall table"))?;
        }
        state.written.clear();
        state.pair = None;
        gate::remove(&self.name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn is_live(&self, state: &State) -> bool {
        state.started && self.mode != FirewallMode::Off
    }

    fn families(&self, state: &State) -> Vec<Family> {
        let has6 = state.networks.values().any(|rules| rules.ipv6.is_some());
        let mut families = vec![Family::Ip];
        if self.ipv6 && has6 {
            families.push(Family::Ip6);
        }
        families
    }

    fn frame<'a>(&'a self, state: &'a State, family: Family) -> Frame<'a> {
        let usable = !state.gateless.contains(&family);
        Frame {
            name: &self.name,
            family,
            mode: self.mode,
            gate: state.pair.as_ref().filter(|_| usable),
        }
    }

    /// Everything that containers have in the sets of a family.
    fn all_elements(&self, state: &State, family: Family) -> BTreeSet<Placed> {
        let containers = state.mappings.keys();
        let mut placed: BTreeSet<Placed> = containers
            .flat_map(|container| self.mapping_elements(state, family, container))
            .collect();
        let frame = self.frame(state, family);
        placed.extend(
            state
                .links
                .iter()
                .flat_map(|link| frame.link_elements(link)),
        );
        placed
    }

    fn mapping_elements(
        &self,
        state: &State,
        family: Family,
        container: &ContainerId,
    ) -> BTreeSet<Placed> {
        let frame = self.frame(state, family);
        let mappings = state.mappings.get(container).into_iter().flatten();
        let elements = mappings.filter_map(|mapping| {
            let rules = state.networks.get(&mapping.network)?;
            Some(frame.mapping_elements(mapping, rules))
        });
        elements.flatten().collect()
    }

    /// What a container has in the sets, by family.
    fn container_elements(
        &self,
        state: &State,
        container: &ContainerId,
    ) -> BTreeMap<Family, BTreeSet<Placed>> {
        let of = |link: &&Link| link.from.0 == *container || link.to.0 == *container;
        let elements = |family| {
            let frame = self.frame(state, family);
            let mut placed = self.mapping_elements(state, family, container);
            let links = state.links.iter().filter(of);
            placed.extend(links.flat_map(|link| frame.link_elements(link)));
            placed
        };
        FAMILIES
            .into_iter()
            .map(|family| (family, elements(family)))
            .collect()
    }

    /// Tells the kernel what changed for a container.
    fn change_elements(
        &self,
        state: &mut State,
        container: &ContainerId,
        before: &BTreeMap<Family, BTreeSet<Placed>>,
    ) -> Result<()> {
        if !self.is_live(state) {
            return Ok(());
        }
        let after = self.container_elements(state, container);
        let mut batch = Batch::new();
        for (family, after) in &after {
            if !state.written.contains(family) {
                continue;
            }
            let table = Table::new(*family, self.name.clone());
            let before = &before[family];
            for (set, elements) in by_set(before.difference(after)) {
                batch.delete_elements(&table, set, &elements);
            }
            for (set, elements) in by_set(after.difference(before)) {
                batch.add_elements(&table, set, &elements);
            }
        }
        self.commit(state, batch)
    }

    /// Tells the kernel that a network came, went or changed.
    fn change_networks(
        &self,
        state: &mut State,
        before: Option<&NetworkRules>,
        after: Option<&NetworkRules>,
    ) -> Result<()> {
        let wanted = self.families(state);
        if wanted.iter().any(|family| !state.written.contains(family))
            || (before.is_some() && after.is_some())
        {
            return self.write_all(state);
        }
        let mut batch = Batch::new();
        for family in &wanted {
            let table = Table::new(*family, self.name.clone());
            let frame = self.frame(state, *family);
            if let Some(rules) = before {
                for (set, elements) in by_set(frame.network_elements(rules).iter()) {
                    batch.delete_elements(&table, set, &elements);
                }
                for chain in frame.network_chains(rules) {
                    batch.flush_chain(&table, &chain.name);
                    batch.delete_chain(&table, &chain.name);
                }
            }
            if let Some(rules) = after {
                for chain in frame.network_chains(rules) {
                    batch.add_chain(&table, &chain);
                    for rule in &chain.rules {
                        batch.add_rule(&table, &chain.name, rule);
                    }
                }
                for (set, elements) in by_set(frame.network_elements(rules).iter()) {
                    batch.add_elements(&table, set, &elements);
                }
            }
        }
        self.commit(state, batch)?;
        Self::keep_tables(state, &self.name, &wanted)
    }

    /// Removes the tables of other families: the last network of theirs has gone.
    fn keep_tables(state: &mut State, name: &str, wanted: &[Family]) -> Result<()> {
        let others: Vec<Family> = state.written.iter().copied().collect();
        for family in others.into_iter().filter(|family| !wanted.contains(family)) {
            let table = Table::new(family, name.to_owned());
            let step = Error::kernel("remove the firewall table");
            state.connection()?.delete_table(&table).map_err(step)?;
            state.written.remove(&family);
        }
        Ok(())
    }

    /// Makes a change; if the kernel has something else than thought, everything is made anew.
    fn commit(&self, state: &mut State, batch: Batch) -> Result<()> {
        let step = Error::kernel("change the firewall table");
        let Err(error) = state.connection()?.commit(batch).map_err(step) else {
            return Ok(());
        };
        tracing::warn!(
            error = spec::error::chain(&error),
            "firewall is not as it was left, making it again"
        );
        self.write_all(state)
    }

    /// Makes the kernel's tables what they should be, in one step.
    fn write_all(&self, state: &mut State) -> Result<()> {
        if self.mode == FirewallMode::Host {
            state.pair = Some(gate::ensure(&self.name)?);
        }
        let wanted = self.families(state);
        let mut batch = Batch::new();
        for family in &wanted {
            let placed = self.all_elements(state, *family);
            let frame = self.frame(state, *family);
            let ruleset = frame.ruleset(state.networks.values(), &placed);
            batch.replace(&ruleset, state.can_own);
        }
        let step = Error::kernel("write the firewall table");
        state.connection()?.commit(batch).map_err(step)?;
        state.written.extend(&wanted);
        Self::keep_tables(state, &self.name, &wanted)
    }

    /// Finds out what the kernel's nf_tables can do.
    fn probe(&self, state: &mut State) -> Result<()> {
        let name = format!("{}-probe", self.name);
        let connection = state.connection()?;
        let can_own = connection.can_own(&Table::new(Family::Ip, name.clone()));
        let mut dup = |family| connection.can_duplicate(&Table::new(family, name.clone()));
        let lacking: Vec<Family> = FAMILIES
            .into_iter()
            .filter(|family| !dup(*family))
            .collect();
        state.can_own = can_own;
        if self.mode == FirewallMode::Host {
            state.gateless = lacking.into_iter().collect();
        }
        Ok(())
    }

    /// Looks at what no netlink group tells of.
    fn look_at_legacy(&self) {
        let mut state = self.lock();
        let State {
            networks, foreign, ..
        } = &mut *state;
        let bridges: Vec<&str> = networks
            .values()
            .map(|rules| rules.bridge.as_str())
            .collect();
        if let Err(error) = foreign.settle_legacy(&self.name, &bridges) {
            tracing::debug!(
                error = spec::error::chain(&error),
                "cannot look at iptables"
            );
        }
    }

    fn is_own(&self, port: u32) -> bool {
        let state = self.lock();
        let own = state.connection.as_ref().map(Connection::port);
        own.and_then(std::result::Result::ok) == Some(port)
    }

    fn has_bridge(&self, name: &str) -> bool {
        self.lock()
            .networks
            .values()
            .any(|rules| rules.bridge == name)
    }

    fn settle_foreign(&self, state: &mut State) {
        let bridges: Vec<&str> = state
            .networks
            .values()
            .map(|rules| rules.bridge.as_str())
            .collect();
        let outcome = state.foreign.settle(&self.name, &bridges);
        if let Err(error) = outcome {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "could not put rules beside foreign ones");
        }
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        self.unwatch();
    }
}

impl State {
    fn connection(&mut self) -> Result<&mut Connection> {
        if self.connection.is_none() {
            self.connection = Some(connect()?);
        }
        Ok(self.connection.as_mut().expect("it was made above"))
    }
}

fn connect() -> Result<Connection> {
    Connection::open().map_err(Error::kernel("connect to nf_tables"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic happens while it is held")
}

fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ip,
        IpAddr::V6(_) => Family::Ip6,
    }
}

/// The family in which ports cannot be published, if there is one.
fn gateless(state: &State, mappings: &[Mapping]) -> Option<Family> {
    let outside = mappings
        .iter()
        .filter(|mapping| !mapping.host.ip().is_loopback());
    let mut families = outside.map(|mapping| family_of(mapping.host.ip()));
    families.find(|family| state.gateless.contains(family))
}

fn no_gate(family: Family) -> String {
    let module = match family {
        Family::Ip6 => "nft_dup_ipv6",
        _ => "nft_dup_ipv4",
    };
    format!(
        "published ports cannot obey the host's input policy: the kernel lacks {module}; set \
         \"firewall\": \"docker\" to publish past that policy"
    )
}

/// Groups elements by their sets.
fn by_set<'a>(
    placed: impl Iterator<Item = &'a Placed>,
) -> BTreeMap<&'static str, Vec<sys::nft::Element>> {
    let mut sets: BTreeMap<&'static str, Vec<sys::nft::Element>> = BTreeMap::new();
    for (set, element) in placed {
        sets.entry(set).or_default().push(element.clone());
    }
    sets
}

/// Makes connection tracking forget UDP flows to these ports: a sender that goes on is then led to
/// the container that has the port now, not to the one that had it.
fn forget_flows(mappings: &[Mapping]) {
    let udp = mappings
        .iter()
        .filter(|mapping| mapping.protocol == Protocol::Udp);
    let hosts: Vec<SocketAddr> = udp.map(|mapping| mapping.host).collect();
    if hosts.is_empty() {
        return;
    }
    if let Err(error) = sys::conntrack::forget_udp(&hosts) {
        let error = spec::error::chain(&error);
        tracing::warn!(error, "could not forget old UDP flows");
    }
}

#[cfg(test)]
mod tests;
