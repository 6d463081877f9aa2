//! The client against registries that behave, misbehave and lie.
//!
//! Each test has its own server on a free port of this machine; nothing else is talked to.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

#[path = "suite/blobs.rs"]
mod blobs;
#[path = "suite/certificates.rs"]
mod certificates;
#[path = "suite/downloads.rs"]
mod downloads;
#[path = "suite/endpoints.rs"]
mod endpoints;
#[path = "suite/fake.rs"]
mod fake;
#[path = "suite/listings.rs"]
mod listings;
#[path = "suite/login.rs"]
mod login;
#[path = "suite/manifests.rs"]
mod manifests;
#[path = "suite/real.rs"]
mod real;
#[path = "suite/redirects.rs"]
mod redirects;
#[path = "suite/tokens.rs"]
mod tokens;
#[path = "suite/uploads.rs"]
mod uploads;
