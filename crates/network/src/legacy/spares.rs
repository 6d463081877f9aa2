//! Spare sandboxes: made ahead by one background thread, so that a start need not wait for them.
//!
//! A spare has its address already, so claiming one is taking it off a queue. It is held by a
//! descriptor alone: if the daemon dies, all spares die. The thread never works while a caller makes
//! a sandbox itself, because links are made one at a time in the kernel and the caller would wait
//! for the spare.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::MacAddress;
use crate::legacy::network::Shared;

/// A sandbox that belongs to no container yet.
#[derive(Debug)]
pub(crate) struct Spare {
    pub netns: OwnedFd,
    pub host_interface: String,
    pub address: Ipv4Addr,
    pub mac: MacAddress,
}

/// Starts the thread. It ends when the table says stop.
pub(crate) fn start(shared: Arc<Shared>) -> Option<JoinHandle<()>> {
    let thread = std::thread::Builder::new()
        .name("spare-sandboxes".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || fill(&shared));
    thread
        .inspect_err(|error| tracing::warn!(%error, "no thread for spare sandboxes"))
        .ok()
}

/// Keeps the queue full until told to stop.
fn fill(shared: &Shared) {
    while let Some(address) = next_address(shared) {
        let made = shared
            .restore()
            .and_then(|()| shared.build(address, MacAddress::of(address)));
        let mut table = shared.lock();
        match made {
            Ok(spare) if !table.stop => table.spares.push_back(spare),
            Ok(spare) => {
                table.addresses.free(address);
                drop(table);
                drop(spare);
            }
            Err(error) => {
                let error = spec::error::chain(&error);
                tracing::warn!(error, "could not make a spare sandbox");
                table.addresses.free(address);
                // Callers meet the same obstacle and report it; the next one wakes this thread.
                drop(shared.wake.wait(table));
            }
        }
    }
}

/// Waits until a spare is missing and nobody else is building, and takes an address for it.
fn next_address(shared: &Shared) -> Option<Ipv4Addr> {
    let mut table = shared.lock();
    loop {
        if table.stop {
            return None;
        }
        let missing = table.spares.len() < shared.config.spares;
        if missing
            && shared.building.load(Ordering::SeqCst) == 0
            && let Ok(address) = table.addresses.take()
        {
            return Some(address);
        }
        table = shared
            .wake
            .wait(table)
            .expect("no panic happens while it is held");
    }
}
