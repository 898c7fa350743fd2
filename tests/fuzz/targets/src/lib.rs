//! What the fuzz targets do with their input: one function for each format that comes from
//! outside. libFuzzer calls them from `tests/fuzz/fuzz_targets`; `cargo test` replays the corpora
//! and mutations of them (`tests/replay.rs`), without libFuzzer.
//!
//! In scope: properties of parsers and conversions. A target says what must hold of whatever was
//! accepted: it reads back as it is written, it has one spelling where the format says so, it keeps
//! within its caps, and nothing that was signed, sealed or proven passes once it was changed. A
//! broken property is a panic.
//! Out of scope: flows between processes (`tests/adversary`), faults (`tests/simulation`).
//!
//! Most targets take a first byte that says which of several siblings the rest is for; see
//! [`Input`].

mod canonical;
mod certificate;
mod checkpoint;
mod config;
mod consent;
mod csv;
pub mod decide;
mod entry;
mod export;
mod frames;
mod input;
mod journal;
mod keys;
mod note;
mod notice;
mod oprf;
mod policy;
mod proof;
mod sealed;
pub mod seeds;
mod statement;
mod text;
mod tiles;
mod tlog_policy;
pub mod world;

pub use canonical::canonical;
pub use certificate::certificate;
pub use checkpoint::checkpoint;
pub use config::config;
pub use consent::consent;
pub use csv::{csv, mapping};
pub use decide::decide;
pub use entry::entry;
pub use export::export;
pub use frames::frames;
pub use input::Input;
pub use journal::journal;
pub use keys::keys;
pub use note::note;
pub use notice::notice;
pub use oprf::oprf;
pub use policy::policy;
pub use proof::proof;
pub use sealed::sealed;
pub use statement::statement;
pub use text::text;
pub use tiles::tiles;
pub use tlog_policy::tlog_policy;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its binary and of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("canonical", canonical),
    ("certificate", certificate),
    ("checkpoint", checkpoint),
    ("config", config),
    ("consent", consent),
    ("csv", csv),
    ("decide", decide),
    ("entry", entry),
    ("export", export),
    ("frames", frames),
    ("journal", journal),
    ("keys", keys),
    ("mapping", mapping),
    ("note", note),
    ("notice", notice),
    ("oprf", oprf),
    ("policy", policy),
    ("proof", proof),
    ("sealed", sealed),
    ("statement", statement),
    ("text", text),
    ("tiles", tiles),
    ("tlog_policy", tlog_policy),
];
