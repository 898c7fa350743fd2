//! The policy decision point: Cedar schema, rule library, texts.
//!
//! In scope: the federation's rules as data (`library/core`) and the decision over them
//! ([`CedarPdp`]), the holder's own policy ([`LocalPdp`]), the texts of reasons in English and
//! French ([`texts`]), and the rules' test cases as data ([`cases`]).
//! Out of scope: collecting the facts of the matter, enforcing, logging; signatures of bundles;
//! files, clocks, sockets. Text comes in as strings, time as a parameter.
//!
//! Everything fails closed. A bundle with an error or a warning anywhere is refused whole; an
//! error during a decision is a denial (`policy_error`), never a release.

mod candidates;
pub mod cases;
mod cedar;
mod entities;
mod evaluation;
#[cfg(feature = "exercise")]
pub mod exercise;
mod library;
pub mod local;
mod local_cases;
mod memory;
mod pdp;
mod reference;
mod runner;
mod shape;
pub mod texts;
pub mod whatif;

#[cfg(test)]
mod property_tests;

pub use cedar::{LoadError, Problem};
pub use library::{Library, RestsOn, Rule, embedded_files};
pub use local::{LocalMatter, LocalPdp, LocalRuling, RecordFacts, Verdict};
pub use pdp::{CedarPdp, EvaluationError};
