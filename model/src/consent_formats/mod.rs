//! Consent records in the formats of others: HL7 FHIR R4 (4.0.1) Consent, and the consent record of
//! ISO/IEC TS 27560:2023 as JSON-LD with the terms of the W3C Data Privacy Vocabulary (DPV) 2.3.
//!
//! In scope: writing a record, reading one, refusing what a record here can't hold. Out of scope:
//! files, whether a person or an agency is known, whether the consent is recorded already.
//!
//! # Nothing is dropped
//! What is read is written again, and every field of the file must be in what was written. So a
//! field that nobody thought of refuses the file, by construction, and never gets lost. The few
//! fields that say nothing of the consent are named in [`Read::not_kept`].
//!
//! # Deny on doubt
//! In a FHIR Consent a provision without actors speaks of everyone, and a period without an end
//! never ends (IHE Privacy Consent on FHIR). Both are refused, like every state but "given".

mod at;
mod fhir;
mod fhir_read;
mod instant;
mod iso27560;
mod iso27560_read;
mod json;
mod names;
mod same;
#[cfg(test)]
mod tests;

use crate::{
    bytes::{Commitment, Handle},
    ids::{AgencyId, ConsentId, FederationId},
    statement::WithdrawalScope,
    time::Timestamp,
    vocabulary::{Capacity, Category, ConsentGiver, ConsentMethod, Language, Purpose},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Largest file that is read, in bytes: the longest record that can be written takes a fifth.
pub const MAX_FILE_BYTES: usize = 128 * 1024;

/// Most levels of objects and lists in a file; a record has seven.
pub const MAX_DEPTH: usize = 16;

/// Most entries of a list in a file, as in a statement.
const MAX_LIST: usize = 64;

/// Longest text that is not a code, in characters.
const MAX_TEXT: usize = 256;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HL7 FHIR R4 (4.0.1) Consent.
    Fhir,
    /// ISO/IEC TS 27560:2023 consent record, JSON-LD with DPV terms.
    Iso27560,
}

impl Format {
    /// Its name on the command line and in the local interface.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fhir => "fhir",
            Self::Iso27560 => "iso27560",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// No such format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format; known are: fhir, iso27560")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        [Self::Fhir, Self::Iso27560]
            .into_iter()
            .find(|format| format.code() == text)
            .ok_or(UnknownFormat)
    }
}

/// Why a file is refused: where, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {reason}")]
pub struct Refusal {
    /// JSON path, `$` for the document.
    pub path: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Refusal {
    fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

/// What identifies a record or a person: made in this federation, or by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity<T> {
    /// In the federation of the file.
    Own(T),
    /// Elsewhere.
    Other {
        /// Who gave it, as an absolute URI.
        system: String,
        /// What was given.
        value: String,
    },
}

/// A consent as files tell of it: the terms of a statement, with the person and the agency that
/// recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentFile {
    /// In which federation the names of agencies mean something.
    pub federation: FederationId,
    /// Which record.
    pub record: Identity<ConsentId>,
    /// About whom: a pseudonym, never a name.
    pub subject: Identity<Handle>,
    /// The agency that recorded it.
    pub recorded_by: AgencyId,
    /// Who gave it.
    pub giver: ConsentGiver,
    /// With which capacity.
    pub capacity: Capacity,
    /// For which categories.
    pub categories: Vec<Category>,
    /// For which purposes.
    pub purposes: Vec<Purpose>,
    /// Who may receive.
    pub recipients: Vec<AgencyId>,
    /// Who may disclose.
    pub disclosers: Vec<AgencyId>,
    /// How it was given.
    pub method: ConsentMethod,
    /// In which language.
    pub language: Language,
    /// Whether an interpreter helped.
    pub interpreter: bool,
    /// Version of the notice.
    pub notice_version: u32,
    /// When it was given.
    pub given_at: Timestamp,
    /// When it ends: from this instant on it is over.
    pub expires_at: Timestamp,
    /// Whether recipients may pass it on.
    pub redisclosure: bool,
    /// Written evidence, by commitment.
    pub evidence: Option<Commitment>,
}

impl ConsentFile {
    /// The agencies that it names, each once, by name.
    fn agencies(&self) -> Vec<&AgencyId> {
        let named = self.recipients.iter().chain(&self.disclosers);
        let mut all: Vec<_> = named.chain([&self.recorded_by]).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// What has become of a record, for those who read it elsewhere. A record is read back only if
/// nothing has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What was withdrawn.
    pub withdrawn: Vec<WithdrawalScope>,
    /// Whether it is over.
    pub is_expired: bool,
}

impl Standing {
    fn is_withdrawn_whole(&self) -> bool {
        self.withdrawn.contains(&WithdrawalScope::All)
    }
}

/// What ISO/IEC TS 27560 makes mandatory and no record here holds. It comes from a file of the
/// agency and is not read back into the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surroundings {
    /// Whose law applies: ISO 3166 codes of countries or their parts, or `EU`.
    pub jurisdictions: Vec<String>,
    /// Where what is shared is stored, likewise.
    pub storage: Vec<String>,
    /// The agencies that the record names.
    pub party: BTreeMap<AgencyId, Party>,
}

/// An agency as a party of a consent record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// Legal name.
    pub name: String,
    /// Postal address.
    pub address: String,
    /// How to reach whoever answers for privacy there.
    pub contact: String,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The consent.
    pub file: ConsentFile,
    /// What ISO/IEC TS 27560 adds.
    pub surroundings: Option<Surroundings>,
    /// Paths of what says nothing of the consent and is not kept: a server's own ids and dates,
    /// display texts, addresses of agencies.
    pub not_kept: Vec<String>,
}

/// The record as a FHIR R4 Consent.
pub fn to_fhir(file: &ConsentFile, standing: &Standing) -> Value {
    fhir::resource(file, standing)
}

/// The record as a consent record of ISO/IEC TS 27560.
///
/// # Errors
/// `surroundings` lacks an agency that the record names, or has a text or a code that can't be.
pub fn to_iso27560(
    file: &ConsentFile,
    standing: &Standing,
    surroundings: &Surroundings,
) -> Result<Value, Refusal> {
    iso27560_read::check(file, surroundings)?;
    Ok(iso27560::record(file, standing, surroundings))
}

/// Reads a consent in force from a file of `federation`. Without `format`, what the file says of
/// itself counts.
///
/// # Errors
/// Where and why the file is refused.
pub fn read(
    bytes: &[u8],
    format: Option<Format>,
    federation: &FederationId,
) -> Result<Read, Refusal> {
    let value = json::parse(bytes)?;
    let says = if value.get("resourceType").is_some() {
        Some(Format::Fhir)
    } else if value.get("@context").is_some() {
        Some(Format::Iso27560)
    } else {
        None
    };
    match format.or(says) {
        Some(Format::Fhir) => fhir_read::read(value, federation),
        Some(Format::Iso27560) => iso27560_read::read(value, federation),
        None => Err(Refusal::new(
            "$",
            "neither a FHIR resource (`resourceType`) nor JSON-LD (`@context`)",
        )),
    }
}
