//! The agency's own facts: what they are, how they are imported, how they are reduced.
//!
//! In scope: the fact, CSV import with a mapping file, reduction to answer levels, all pure; the
//! sealed form in which a person is kept ([`sealed`]).
//! Out of scope: where that is kept, who may have them, re-import (the caller compares digests).

pub mod csv_import;
mod csv_rows;
pub mod fact;
pub mod mapping;
pub mod reduce;
pub mod sealed;

#[cfg(test)]
mod csv_import_tests;
#[cfg(test)]
mod shipped_data_tests;
