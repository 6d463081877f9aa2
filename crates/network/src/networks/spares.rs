//! Spare sandboxes: made ahead by one background thread, so that a start need not wait for them.
//!
//! A spare has its addresses already, so claiming one is taking it off a queue. It is held by a
//! descriptor alone: if the daemon dies, all spares die. The thread never works while a caller makes
//! a sandbox itself, because links are made one at a time in the kernel and the caller would wait
//! for the spare. A network of a user's has spares once it was used, until it was not for a while.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use spec::id::NetworkId;

use super::Inner;
use super::sandbox::{Place, Wish};
use super::state::{Held, Member, Spare, State};
use crate::driver::bridge;
use crate::sandbox::{self, Defaults};
use crate::{EndpointRequest, Error, Result};

/// A network of a user's that nobody entered for this long keeps no spares.
const IDLE: Duration = Duration::from_secs(60);

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
        let stop = state.stop;
        match (made, state.net_mut(&id)) {
            (Ok(spare), Ok(net)) if !stop && !net.removing => net.spares.push_back(spare),
            (Ok(spare), net) => {
                if let Ok(net) = net {
                    net.free(&member);
                }
                drop(state);
                inner.forget_spare(&spare);
            }
            (Err(error), net) => {
                let error = spec::error::chain(&error);
                tracing::warn!(error, "could not make a spare sandbox");
                if let Ok(net) = net {
                    net.free(&member);
                }
                // Callers meet the same obstacle and report it; the next one wakes this thread.
                drop(inner.wake.wait(state));
            }
        }
    }
}

fn make(inner: &Inner, place: &Place, member: Member) -> Result<Spare> {
    inner.restore();
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
                let Ok(net) = state.net_mut(&id) else { continue };
                // Never at the cost of another spare.
                let kept = std::mem::take(&mut net.spares);
                let reserved = net.reserve(&EndpointRequest::new(id));
                net.spares = kept;
                if let Ok((member, _)) = reserved {
                    return Some((Place::of(net), member));
                }
            }
        }
        let temporary = state
            .networks
            .values()
            .any(|net| !net.predefined && net.wanted_spares > 0);
        let poisoned = "no panic happens while it is held";
        state = if temporary {
            inner.wake.wait_timeout(state, IDLE).expect(poisoned).0
        } else {
            inner.wake.wait(state).expect(poisoned)
        };
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
        let look = || {
            let mut socket = bridge::route_socket().ok()?;
            socket.link(&spare.endpoint.host_interface).ok()?
        };
        let index = self.drivers.bridge.index_of(&spare.endpoint.network_id);
        look().is_some_and(|link| Some(link.master) == index)
    }
}
