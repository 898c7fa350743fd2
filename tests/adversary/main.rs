//! Hostile peers against a real broker process. Each test shows that what is wrong gets its code,
//! an entry in the log where one is due, and that nothing crosses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod enrolment;
mod exchange;
mod membership;
mod reads;
mod scene;
mod statements;
mod tiles;
mod wire;
mod witnesses;
