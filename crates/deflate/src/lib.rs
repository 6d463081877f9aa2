//! Re-encoders that give, byte for byte, what other programs' gzip writers give.
//!
//! Exists because store and its tests consume it (C), and to be pure (B): no files, no threads.
//! A layer that is kept unpacked can so be pushed or saved as the very file it was pulled as: all
//! that has to be kept of it is a [`Recipe`], which [`survivors`] finds and [`Encoder`] follows.
//!
//! | module | stands for | methods |
//! |---|---|---|
//! | `go` | Go's `compress/gzip`, Go 1.7 to 1.26 | `go-0` to `go-9` |
//! | `klauspost` | the same from Go 1.27 on; klauspost's `compress` from 1.18.2 on | `go127-1` to `-9` |
//! | | klauspost's `compress` 1.15.11 to 1.18.1 (level 4: to 1.17.11) | `klauspost115-1` to `-6` |
//! | | `pgzip` over those two (podman, buildah, skopeo) | `pgzip115-1` to `-6`, `pgzip118-1` to `-6` |
//! | `zlib` | zlib 1.2.11 to 1.3.1 (Python, Java, many more) | `zlib-1` to `-9` |
//! | | GNU gzip | `gnu-1` to `-9` |
//! | | busybox with `GZIP_FAST` 0 and 2 | `busybox-4` to `-9`, `busyboxbig-4` to `-9` |
//! | | pigz with several threads, and with one | `pigz-1` to `-9`, `pigz1-1` to `-9` |
//!
//! `tests/oracles.rs` says how each was checked; `busybox-6` against the layers of busybox's own
//! official images. Where a program's output depends on how its input
//! was cut (by where its window moves), the encoders take the cuts that files, pipes and
//! `io.Copy` give, which divide 32 KiB or fill the window; that other cuts mattered was not seen
//! in layers of hundreds of megabytes, and whoever encodes compares digests anyway.
//!
//! Whatever the input, an encoder holds less than 2 MiB.
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
