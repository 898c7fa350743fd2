//! The policy decision point: Cedar schema, rule library, texts.
//!
//! In scope: the federation's rules as data (`library/core`, and `library/packs` for what the law
//! of one jurisdiction adds) and the decision over them ([`CedarPdp`]), the holder's own policy
//! ([`LocalPdp`]), whether the codes of stage 2 say who it is ([`alike`]), the texts of reasons in
//! English and French ([`texts`]), and the rules' test cases as data ([`cases`]).
//! Out of scope: collecting the facts of the matter, enforcing, logging; signatures of bundles;
//! files, clocks, sockets. Text comes in as strings, time as a parameter.
//!
//! Everything fails closed. A bundle with an error or a warning anywhere is refused whole; an
//! error during a decision is a denial (`policy_error`), never a release.

pub mod alike;
#[cfg(feature = "beside")]
pub mod beside;
pub mod bundle;
mod candidates;
pub mod cases;
mod cedar;
mod duties;
mod embedded_packs;
mod entities;
mod evaluation;
#[cfg(feature = "exercise")]
pub mod exercise;
mod library;
pub mod local;
mod local_cases;
mod memory;
mod named_types;
mod nesting;
mod outline;
mod packs;
mod pdp;
mod problem;
mod provable;
mod reference;
mod rule;
mod runner;
mod shape;
pub mod texts;
pub mod whatif;

#[cfg(test)]
mod pack_property_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod property_tests;

pub use bundle::Bundle;
pub use duties::Duty;
pub use library::{Library, embedded_files};
pub use local::{LocalMatter, LocalPdp, LocalRuling, RecordFacts, Verdict};
pub use packs::{Access, Pack, SELECTION, selection};
pub use pdp::{CedarPdp, EvaluationError};
pub use problem::{LoadError, Problem};
pub use provable::{EmergencyReach, INVARIANTS_DIR, SCHEMA_FILE};
pub use rule::{RestsOn, Rule};
