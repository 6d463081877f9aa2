//! Spare sandboxes: made ahead by one background thread, so that a start need not wait for them.
//!
//! A spare has its addresses already, so claiming one is taking it off a queue. It is held by a
//! descriptor alone: if the daemon dies, all spares die. The thread never works while a caller makes
//! a sandbox itself, because links are made one at a time in the kernel and the caller would wait
//! for the spare. A network of a user's has spares once it was used, until it was not for a while.
//!
//! The thread also removes near ends that outlive their container: a connection that its peer does
//! not let go of keeps a namespace for minutes, and with it an interface that would answer for an
//! address that another container may have by then.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use spec::id::NetworkId;

use super::Inner;
use super::endpoint::{Place, Wish};
use super::state::{Held, Member, Spare, State};
use crate::driver::bridge::{self, veth};
use crate::sandbox::{self, Defaults};
use crate::{Endpoint, EndpointRequest, Error, Result};

/// A network of a user's that nobody entered for this long keeps no spares.
const IDLE: Duration = Duration::from_secs(60);
/// Nothing was made: it is tried again after this long, or when somebody wants something.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Most namespaces are gone by then, which costs nobody anything; removing a link takes long.
const PARTING: Duration = Duration::from_millis(300);

/// Starts the thread. It ends when the state says stop.
pub(super) fn start(inner: Arc<Inner>) -> Option<JoinHandle<()>> {
    let thread = std::thread::Builder::new()
        .name("spare-sandboxes".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || keep(&inner));
    thread
        .inspect_err(|error| tracing::warn!(%error, "no thread for spare sandboxes"))
        .ok()
}

/// Keeps the queues full until told to stop.
fn keep(inner: &Inner) {
    while let Some((place, member)) = next(inner) {
        let id = place.about.id;
        let made = make(inner, &place, member);
        let mut state = inner.lock();
        state.making = None;
        let stop = state.stop;
        match (made, state.net_mut(&id)) {
            (Ok(spare), Ok(net)) if !stop && !net.removing => {
                net.spares.push_back(spare);
                drop(state);
                inner.wake.notify_all();
            }
            (Ok(spare), net) => {
                if let Ok(net) = net {
                    net.free(&member);
                }
                drop(state);
                inner.forget_spare(&spare);
            }
            // It was removed meanwhile.
            (Err(_), Err(_)) => {}
            (Err(error), Ok(net)) => {
                net.free(&member);
                if stop || net.removing {
                    continue;
                }
                let error = spec::error::chain(&error);
                tracing::warn!(error, "could not make a spare sandbox");
                // Callers meet the same obstacle and report it; the next one wakes this thread.
                drop(inner.wake.wait_timeout(state, AFTER_FAILURE));
            }
        }
    }
}

fn make(inner: &Inner, place: &Place, member: Member) -> Result<Spare> {
    inner.restore_one(&place.about.id)?;
    let (netns, mut inside) = sandbox::create().map_err(Error::kernel("make a sandbox"))?;
    let request = EndpointRequest::new(place.about.id);
    let prefix = {
        let state = inner.lock();
        state.net(&place.about.id)?.prefix.clone()
    };
    let wish = Wish {
        container: None,
        member,
        interface: Held::default().name_interface(&prefix, None)?,
        request: &request,
    };
    let endpoint = inner.join(place, netns.as_fd(), &mut inside, &wish)?;
    let now = Defaults::of(std::slice::from_ref(&endpoint));
    inside
        .reroute(&Defaults::default(), &now)
        .map_err(Error::kernel("set the default route"))?;
    drop(inside);
    Ok(Spare {
        netns,
        endpoint,
        member,
    })
}

/// Waits until a spare is missing and nobody else is building, and reserves what it needs.
fn next(inner: &Inner) -> Option<(Place, Member)> {
    let mut state = inner.lock();
    loop {
        if state.stop {
            return None;
        }
        let due = take_due(&mut state);
        if !due.is_empty() {
            drop(state);
            remove_left(&due);
            state = inner.lock();
            continue;
        }
        let idle = give_up_idle(&mut state);
        if !idle.is_empty() {
            drop(state);
            for spare in &idle {
                inner.forget_spare(spare);
            }
            drop(idle);
            state = inner.lock();
            continue;
        }
        if inner.building.load(Ordering::SeqCst) == 0 {
            let missing: Vec<NetworkId> = state
                .networks
                .values()
                .filter(|net| net.can_spare() && !net.removing)
                .filter(|net| net.spares.len() < net.wanted_spares)
                .map(|net| net.about.id)
                .collect();
            for id in missing {
                let Ok(net) = state.net_mut(&id) else {
                    continue;
                };
                // Never at the cost of another spare.
                let kept = std::mem::take(&mut net.spares);
                let reserved = net.reserve(&EndpointRequest::new(id));
                net.spares = kept;
                if let Ok((member, _)) = reserved {
                    let place = Place::of(net);
                    state.making = Some(id);
                    return Some((place, member));
                }
            }
        }
        let temporary = state
            .networks
            .values()
            .any(|net| !net.predefined && net.wanted_spares > 0);
        let now = Instant::now();
        let parting = state.parting.front();
        let patience = parting
            .map(|(due, _)| due.saturating_duration_since(now))
            .or_else(|| temporary.then_some(IDLE));
        let poisoned = "no panic happens while it is held";
        state = match patience {
            Some(patience) => inner.wake.wait_timeout(state, patience).expect(poisoned).0,
            None => inner.wake.wait(state).expect(poisoned),
        };
    }
}

/// Takes the near ends that it is time to look at.
fn take_due(state: &mut State) -> Vec<String> {
    let now = Instant::now();
    let due = state.parting.partition_point(|(due, _)| *due <= now);
    state.parting.drain(..due).map(|(_, name)| name).collect()
}

/// Removes near ends that should have gone with their namespaces.
pub(super) fn remove_left(names: &[String]) {
    let Ok(mut socket) = bridge::route_socket() else {
        return;
    };
    for name in names {
        let Ok(Some(link)) = socket.link(name) else {
            continue;
        };
        match socket.execute_one(|m| m.delete_link(link.index)) {
            Ok(()) => tracing::debug!(interface = name, "removed what outlived its container"),
            Err(error) => {
                let error = spec::error::chain(&error);
                tracing::debug!(interface = name, error, "it went by itself");
            }
        }
    }
}

/// Takes the spares of networks that nobody uses.
fn give_up_idle(state: &mut State) -> Vec<Spare> {
    let now = Instant::now();
    let mut given_up = Vec::new();
    for net in state.networks.values_mut() {
        let idle = now.duration_since(net.last_use) >= IDLE;
        if net.predefined || net.wanted_spares == 0 || !idle {
            continue;
        }
        net.wanted_spares = 0;
        for spare in std::mem::take(&mut net.spares) {
            net.free(&spare.member);
            given_up.push(spare);
        }
    }
    given_up
}

impl Inner {
    /// Has a near end looked at that should go with its namespace.
    pub(super) fn see_off(&self, endpoints: &[Endpoint]) {
        let mut state = self.lock();
        let due = Instant::now() + PARTING;
        let bridged = endpoints
            .iter()
            .filter(|endpoint| veth::is_ours(&endpoint.host_interface));
        for endpoint in bridged {
            let name = endpoint.host_interface.clone();
            state.parting.push_back((due, name));
        }
    }

    /// Lets the driver forget a spare that is about to be dropped.
    pub(super) fn forget_spare(&self, spare: &Spare) {
        let place = {
            let state = self.lock();
            state.net(&spare.endpoint.network_id).ok().map(Place::of)
        };
        if let Some(place) = place
            && let Err(error) = place.driver.leave(&place.about, None, &spare.endpoint)
        {
            let error = spec::error::chain(&error);
            tracing::warn!(error, "a spare sandbox was not left in order");
        }
    }

    /// Tells whether the near end of a spare is still in its bridge.
    pub(super) fn is_connected(&self, spare: &Spare) -> bool {
        let name = &spare.endpoint.host_interface;
        let told = self
            .links
            .as_ref()
            .and_then(|links| links.master(name).ok());
        let master = told.unwrap_or_else(|| {
            let mut socket = bridge::route_socket().ok()?;
            Some(socket.link(name).ok()??.master)
        });
        let index = self.drivers.bridge.index_of(&spare.endpoint.network_id);
        master.is_some() && master == index
    }
}
