//! Re-encoders that give, byte for byte, what other programs' gzip writers give.
//!
//! Exists because store and its tests consume it (C), and to be pure (B): no files, no threads.
#![forbid(unsafe_code)]

mod bits;
mod code;
mod description;
mod encoder;
mod go;
mod header;
mod identify;
mod klauspost;
mod package_merge;
mod recipe;
mod symbols;
mod window;
mod zlib;

pub use encoder::Encoder;
pub use identify::{HEAD_SIZE, PREFIX_SIZE, candidates, identify, survivors};
pub use recipe::{GZIP_DEFAULT, Method, Recipe, RecipeError};
