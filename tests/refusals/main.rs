//! What is refused or fails says so: by exit code, by error code, by line and column.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod consents;
mod exercises;
mod exits;
mod exports;
mod help;
mod imports;
mod offices;
mod proofs;
mod services;
