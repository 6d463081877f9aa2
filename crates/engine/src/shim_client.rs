//! The daemon's side of the conversation with the zygote and the supervisors.
//!
//! ```text
//! Zygote ── Spawn ──► corten-shim zygote (exec'd here, fd 3)
//! Task   ── Call ───► supervisor; replies come in order, events go to the driver's queue
//! ```

mod connection;
mod task;
mod zygote;

pub(crate) use task::{Task, TaskEvent, unexpected};
pub(crate) use zygote::Zygote;
