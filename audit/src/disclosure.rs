//! What was disclosed to whom: one row per exchange, out of an exported log, for other programs
//! and for people.
//!
//! In scope: the row ([`Disclosure`]) and the walk that makes rows ([`walk()`]); FHIR, OCSF and CSV
//! ([`convert()`]); the accounting of disclosures about one person ([`account()`], [`page`]).
//! Out of scope: whether the export is the log (verify it first, see [`crate::verify`]), files, and
//! the present time, which is an input.
//!
//! An export says whom an exchange is about only where an opening in it does: that of the request
//! itself, or that of the consent on which the decision rested (the broker compares the two before
//! it decides so). Nothing is guessed from the rest.

mod account;
mod csv;
mod date;
mod fhir;
mod ocsf;
pub mod page;
mod walk;
mod words;

pub use account::{Account, Aside, Query, Suspension, account, person_of};
pub use date::{Date, InvalidDate};
pub use ocsf::OCSF_VERSION;
pub(crate) use walk::handle;
pub use walk::{Walked, walk};
pub use words::Lang;

use crate::export::ExportError;
use passerelle_model::{
    bytes::{Commitment, Digest, Handle},
    ids::{AgencyId, AgreementId, CaseId, ConsentId, FederationId, RequestId},
    pdp::Effect,
    time::Timestamp,
    vocabulary::{Category, EmergencyKind, LegalBasis, Level, Purpose, WorkerRole},
};
use serde::Serialize;
use std::io::{self, BufRead, Write};

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum DisclosureError {
    /// The export can't be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A row is out of order or no entry: the export was not verified.
    #[error("entry {index}: {reason}")]
    Entry {
        /// Index of the entry.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// The rows can't be written.
    #[error("can't be written: {0}")]
    Write(io::Error),
    /// Nobody can be found in this export.
    #[error(
        "this export reveals of nothing whom it is about: that comes with the export of an \
         oversight body, or, for consents that name it, of an agency; have one of them export the \
         log, or name the requests"
    )]
    NoPersons,
    /// The consent that was to name the person is not in the export, or not opened.
    #[error("this export does not reveal whom `{0}` is about")]
    NotOpened(ConsentId),
}

/// Which log the rows are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// The federation.
    pub federation: FederationId,
    /// The log's name: the origin of its checkpoints.
    pub origin: String,
}

/// An entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its index, from zero.
    pub index: u64,
    /// Its Merkle leaf hash (RFC 6962): what stands for it in any proof.
    pub leaf_hash: Digest,
    /// When, in milliseconds since 1970, by the broker's clock.
    pub at: Timestamp,
}

/// What came of an exchange, as far as the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not settled at the end of the export.
    Open,
    /// Answered; whether facts were released is sealed. Counts as a disclosure.
    Answered,
    /// Answered with facts: an opening in the export says so.
    Released,
    /// Answered without facts: an opening in the export says so.
    Declined,
    /// Answered with "cannot say": an opening in the export says so.
    CannotSay,
    /// Decided: nothing is permitted.
    Denied,
    /// Stopped before an answer.
    Stopped,
    /// Not answered in time.
    Expired,
    /// A statement that was refused before it became part of anything.
    Refused,
}

impl Outcome {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered => "answered",
            Self::Released => "released",
            Self::Declined => "declined",
            Self::CannotSay => "cannot_say",
            Self::Denied => "denied",
            Self::Stopped => "stopped",
            Self::Expired => "expired",
            Self::Refused => "refused",
        }
    }

    /// Whether facts crossed, or may have: what is sealed counts as a disclosure.
    pub const fn is_disclosure(self) -> bool {
        matches!(self, Self::Answered | Self::Released)
    }
}

/// One thing that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// What about.
    pub category: Category,
    /// How far at most.
    pub level: Level,
    /// What was decided, if it was.
    pub effect: Option<Effect>,
    /// The rules that determined it.
    pub rules: Vec<String>,
}

/// From what it is known whom an exchange is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// The opening of the request.
    Request,
    /// The opening of the consent on which the decision rested.
    Consent,
}

/// The person, by pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The handle.
    pub handle: Handle,
    /// From what it is known.
    pub known_by: KnownBy,
}

/// The entries of an exchange, as far as they are readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// Asked.
    pub requested: Option<Step>,
    /// Decided; the last, if several times.
    pub decided: Option<Step>,
    /// Permitted; the last, if several times.
    pub offered: Option<Step>,
    /// Answered.
    pub answered: Option<Step>,
    /// The recipient has it.
    pub delivered: Option<Step>,
    /// A worker has seen it.
    pub viewed: Option<Step>,
    /// The recipient has destroyed it.
    pub erased: Option<Step>,
    /// The recipient was told that the consent is withdrawn.
    pub recalled: Option<Step>,
}

/// One exchange, or one refused statement. Fields are absent where the export does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disclosure {
    /// What came of it.
    pub outcome: Outcome,
    /// The entry that says what came of it; of an open exchange the latest.
    pub settled: Step,
    /// The code of the error or of the cause, if it was refused or stopped.
    pub reason: Option<&'static str>,
    /// The request; none for a refused statement.
    pub request: Option<RequestId>,
    /// Who asked, and received. For a refused statement, whose it was.
    pub recipient: Option<AgencyId>,
    /// Who was asked, and disclosed.
    pub source: Option<AgencyId>,
    /// What was asked, and decided.
    pub items: Vec<Asked>,
    /// What for.
    pub purpose: Option<Purpose>,
    /// The basis in law that the recipient stated.
    pub basis: Option<LegalBasis>,
    /// The consents on which the decision rests.
    pub consents: Vec<ConsentId>,
    /// The agreements on which the decision rests.
    pub agreements: Vec<AgreementId>,
    /// In which case.
    pub case: Option<CaseId>,
    /// The emergency that was claimed.
    pub emergency: Option<EmergencyKind>,
    /// What the worker does who asked.
    pub role: Option<WorkerRole>,
    /// The worker, by commitment: the agency can open it.
    pub worker_commitment: Option<Commitment>,
    /// The worker, if opened.
    pub worker: Option<String>,
    /// The person, if known.
    pub person: Option<Person>,
    /// The entries.
    pub steps: Steps,
}

impl Disclosure {
    /// The items that were not denied.
    fn allowed(&self) -> impl Iterator<Item = &Asked> {
        let allowed = |item: &&Asked| !matches!(item.effect, None | Some(Effect::Deny));
        self.items.iter().filter(allowed)
    }

    /// The rules that determined the decision, each once.
    fn rules(&self) -> Vec<&str> {
        let mut rules: Vec<&str> = Vec::new();
        for rule in self.items.iter().flat_map(|item| &item.rules) {
            if !rules.contains(&rule.as_str()) {
                rules.push(rule);
            }
        }
        rules
    }
}

/// A format of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// FHIR R4 AuditEvent, one JSON resource a line (`application/fhir+ndjson`).
    Fhir,
    /// OCSF API Activity (class 6003), one JSON object a line.
    Ocsf,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
}

/// Converts a verified export, streaming.
///
/// Rows come in the order in which exchanges were settled for good; those that go on at the end of
/// the export come last. The caller compares [`Walked::root`] with that of the verification, so
/// that a file that changed in between is noticed.
///
/// # Errors
/// [`DisclosureError`]: the export can't be read, or `out` not be written.
pub fn convert(
    reader: impl BufRead,
    format: Format,
    out: &mut impl Write,
) -> Result<Walked, DisclosureError> {
    if format == Format::Csv {
        out.write_all(csv::header().as_bytes())
            .map_err(DisclosureError::Write)?;
    }
    walk(reader, &mut |log, row| {
        let lines = match format {
            Format::Fhir => ndjson(&fhir::events(log, &row)),
            Format::Ocsf => ndjson(&[ocsf::event(log, &row)]),
            Format::Csv => csv::record(log, &row),
        };
        out.write_all(lines.as_bytes())
            .map_err(DisclosureError::Write)
    })
}

fn ndjson(values: &[serde_json::Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// The code of an effect.
const fn effect_code(effect: Effect) -> &'static str {
    match effect {
        Effect::Permit => "permit",
        Effect::Review => "review",
        Effect::Deny => "deny",
    }
}
