//! Hostile peers below the messages: HTTP/2 that is none, floods, slowness, sizes. Bytes are made
//! by hand, over real mTLS with a member's certificate and without one, against a real broker
//! process; and on an agent's local socket.
//!
//! Every test shows three things beside its own: two other agencies complete an exchange
//! meanwhile, the broker's memory stays within a bound and its file descriptors come back, and
//! nothing in it panicked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod crowds;
mod floods;
mod ground;
mod http2;
mod local;
mod malformed;
mod messages;
mod slow;
