//! Exercises: a tabletop scenario played on the real state machine, against one or several bundles.
//!
//! In scope: the file ([`read`]), playing it ([`play()`]), whether what came out is what the file
//! expects, the result for programs ([`json`]) and as
//! a page for people ([`page()`]). Out of scope:
//! files and command lines; anything that speaks to a node. People, facts and agencies are
//! invented; nothing here can reach a federation in service.
//!
//! The rules are never told again here: every question goes through `decide` and `apply` of the
//! model with [`CedarPdp`](crate::CedarPdp), and every holder through its own
//! [`LocalPdp`](crate::LocalPdp).

mod agreement_words;
mod asked;
mod check;
mod events;
mod expect;
mod file;
mod holder;
mod moment;
mod output;
mod page;
mod play;
mod script;
mod views;
mod words;
mod world;

pub use check::{MAX_FILE_BYTES, Problem, read};
pub use file::Text;
pub use output::{json, text};
pub use page::page;
pub use play::{Bundle, Played, play, unknown_rules};
pub use script::Exercise;
pub use world::PlayError;

#[cfg(test)]
mod tests;
