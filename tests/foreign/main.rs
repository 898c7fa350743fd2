//! A foreign agency, in Python, written from docs/PROTOCOL.md and the .proto files alone: what a
//! stranger can build, and what a stranger who means harm can't do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod honest;
mod malicious;
mod python;
mod scene;
