//! Processes that freeze, disks that fill up, clocks that jump, networks that part, nodes that
//! come back from an old copy, and power that fails: what waits, what refuses, what is there
//! afterwards.
//!
//! What a test needs of the machine beyond a user's rights (loop devices, network namespaces,
//! FUSE, libfaketime) it needs: without, it fails, unless `PASSERELLE_WITHOUT_ROOT=1` is set,
//! which prints what was left out. Random choices come from `PASSERELLE_SEED`, which is printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod clocks;
mod frozen;
mod full_disk;
mod kills;
mod new_origin;
mod outside;
mod outside_required;
mod partitions;
mod power;
mod restored;
mod scene;
mod seeded;
mod two_histories;
