//! Real packets through network namespaces: a host, containers in its bridges, and a world outside.

mod foreign;
mod isolation;
mod policy;
mod publishing;
mod restoring;
mod world;
