//! Model checks: every order of events of a small world is tried, not some.
//!
//! In scope: [`exchange`], one request between two agencies, with losses, repetitions, crashes and
//! a withdrawal; [`witness`], when two forks of a log can both gather a quorum.
//! Out of scope: cryptography, the wire, storage, time beyond a few steps of a clock that all
//! share. What each model leaves out is said in its module.
//!
//! The first drives production `decide` and `apply` (module [`broker`]) and models the agents by
//! hand; the second drives production `audit::witness::consider` and models the network by hand.

pub mod beginning;
pub mod broker;
pub mod exchange;
pub mod graph;
pub mod properties;
pub mod said;
pub mod witness;
