//! The domain of Passerelle in the field's words.
//!
//! In scope: vocabulary, identifiers, signed statements, log entries, the records of the
//! projection, the request state machine, and the two pure functions [`decide`](decide::decide)
//! and [`apply`](apply::apply); consent records in the formats of others.
//! Out of scope: clocks, sockets, files, randomness, signatures. Time and entropy arrive as
//! inputs, signatures are checked by a function that the caller hands in.

pub mod apply;
pub mod binary;
pub mod bundle;
pub mod bytes;
pub mod canonical;
pub mod commitment;
pub mod consent_formats;
pub mod decide;
pub mod entry;
pub mod error;
pub mod html;
pub mod ids;
pub mod panel;
pub mod pdp;
pub mod permit;
pub mod pip;
pub mod records;
pub mod request;
pub mod seal;
pub mod seeded;
pub mod state;
pub mod statement;
pub mod store;
pub mod time;
pub mod vocabulary;
