//! Abuse by those who belong: member agencies, their workers, and the broker itself with its own
//! keys. Each test shows what stops the abuse, or what exposes it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod agreements;
mod broker;
mod corrupt;
mod curiosity;
mod members;
mod offices;
mod preview;
mod rules;
#[path = "../adversary/scene.rs"]
#[allow(dead_code, reason = "shared with the adversary's tests")]
mod scene;
mod workers;
