//! The store on a real kernel: archives in, trees and records out. Assumes root.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

#[path = "store/archive.rs"]
mod archive;
#[path = "store/collect.rs"]
mod collect;
#[path = "store/drivers.rs"]
mod drivers;
#[path = "store/foreign.rs"]
mod foreign;
#[path = "store/hostile.rs"]
mod hostile;
#[path = "store/images.rs"]
mod images;
#[path = "store/ingest.rs"]
mod ingest;
#[path = "store/leases.rs"]
mod leases;
#[path = "store/load.rs"]
mod load;
#[path = "store/out.rs"]
mod out;
#[path = "store/pull_faults.rs"]
mod pull_faults;
#[path = "store/pulled.rs"]
mod pulled;
#[path = "store/recovery.rs"]
mod recovery;
#[path = "store/snapshots.rs"]
mod snapshots;
#[path = "store/tarmap.rs"]
mod tarmap;
#[path = "store/unpack.rs"]
mod unpack;
