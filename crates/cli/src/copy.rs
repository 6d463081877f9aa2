//! Copying between this machine and a container: what a path means, and archives of files here.
//!
//! The API only packs and unpacks archives. Which directory an archive goes to, and what its
//! topmost entry is called, is decided here by Docker's rules (`plan`), before anything moves.

mod pack;
mod path;
mod plan;
mod progress;
mod unpack;

pub use pack::{Source, pack};
pub use path::{rebased, split};
pub use plan::{Place, Placed, Rename, absolute, place, source, target};
pub use progress::Progress;
pub use unpack::unpack;
