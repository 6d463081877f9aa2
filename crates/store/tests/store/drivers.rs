//! What every storage driver must do alike, on real file systems.

#[path = "drivers/choice.rs"]
mod choice;
#[path = "drivers/content.rs"]
mod content;
#[path = "drivers/copied.rs"]
mod copied;
#[path = "drivers/ground.rs"]
mod ground;
#[path = "drivers/remains.rs"]
mod remains;
