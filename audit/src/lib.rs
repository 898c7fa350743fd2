//! The signed log: Merkle tree, notes, checkpoints, witnesses, proofs, verification.
//!
//! In scope: the public formats of transparency logs (RFC 6962, C2SP), one module each, as pure
//! functions over plain data; what agencies sign ([`dsse`]).
//! Out of scope: clocks, sockets, files, randomness, storage. Time and seeds arrive as inputs.
//!
//! Everything read from outside is refused unless it is in its one spelling and within a named
//! cap. Types named `Signed...`, `Accepted`, `Cosigned` and `Verified...` can only be made by the
//! check that they stand for.

pub mod announcement;
pub mod checkpoint;
pub mod cosignature;
pub mod disclosure;
pub mod dsse;
pub mod export;
pub mod files;
pub mod fork;
pub mod keys;
pub mod merkle;
pub mod note;
pub mod replay;
pub mod report;
pub mod search;
mod text;
pub mod tiles;
pub mod tlog_policy;
pub mod tlog_proof;
pub mod verify;
pub mod witness;
