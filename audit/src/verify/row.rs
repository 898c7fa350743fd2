//! One row by itself: everything that can be checked without knowing the rest of the log.
//!
//! Pure and independent of all other rows, so that rows are parsed on several threads.

use super::fault::{Fault, FaultCode};
use crate::{export::ExportRow, merkle::leaf_hash};
use passerelle_model::{
    bytes::{Commitment, Digest, PublicKey},
    commitment::{Field, Opening},
    entry::{Entry, EntryBody, MAX_ENTRY_BYTES},
    ids::{AgencyId, FederationId},
    seal::Counts,
    statement::{Body, Envelope, Statement, VERSION},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A row that is right in itself.
pub(super) struct Parsed {
    pub(super) index: u64,
    pub(super) leaf: Digest,
    /// None if the exporter may not read it.
    pub(super) entry: Option<Readable>,
}

/// An entry with what its envelope holds.
pub(super) struct Readable {
    pub(super) entry: Entry,
    pub(super) said: Option<Said>,
    /// How many openings were checked.
    pub(super) openings: u64,
    /// What was opened of a seal.
    pub(super) sealed: BTreeMap<AgencyId, Counts>,
}

/// The statement of a `said` entry; its signature is not checked yet.
pub(super) struct Said {
    pub(super) statement: Statement,
    pub(super) digest: Digest,
}

/// A signature to be checked, of a chunk's entry with this position.
pub(super) struct Job {
    pub(super) position: usize,
    pub(super) index: u64,
    pub(super) key: PublicKey,
    /// Whether an unreadable entry may explain that the signature does not verify.
    pub(super) is_excused: bool,
}

/// Parses the line of the row that must have this index.
pub(super) fn parse(line: &[u8], index: u64, federation: &FederationId) -> Result<Parsed, Fault> {
    let row = ExportRow::parse(line);
    let row = row.map_err(|reason| Fault::at(index, FaultCode::Row, reason))?;
    check(row, index, federation)
}

/// Checks the row that must have this index.
pub(super) fn check(
    row: ExportRow,
    index: u64,
    federation: &FederationId,
) -> Result<Parsed, Fault> {
    let fault = |code, message: String| Fault::at(index, code, message);
    if row.index() != index {
        let message = format!("the row here is of index {}", row.index());
        return Err(fault(FaultCode::Order, message));
    }
    let (bytes, openings) = match row {
        ExportRow::Hidden { leaf_hash, .. } => {
            return Ok(Parsed {
                index,
                leaf: leaf_hash,
                entry: None,
            });
        }
        ExportRow::Entry {
            entry, openings, ..
        } => (entry, openings),
    };
    if bytes.len() > MAX_ENTRY_BYTES {
        let message = format!("longer than {MAX_ENTRY_BYTES} bytes");
        return Err(fault(FaultCode::Entry, message));
    }
    let entry = Entry::from_bytes(&bytes).map_err(|e| fault(FaultCode::Entry, e.to_string()))?;
    let said = match &entry.body {
        EntryBody::Said { agency, envelope } => {
            let said = statement(index, envelope)?;
            let named = &said.statement.agency;
            if named != agency {
                let message = format!("the entry names `{agency}`, its statement `{named}`");
                return Err(fault(FaultCode::OtherAgency, message));
            }
            if said.statement.federation != *federation {
                let message = format!("the statement is of `{}`", said.statement.federation);
                return Err(fault(FaultCode::OtherFederation, message));
            }
            Some(said)
        }
        _ => None,
    };
    check_openings(index, &entry.body, said.as_ref(), &openings)?;
    let sealed = sealed(&entry.body, &openings).map_err(|e| fault(FaultCode::Opening, e))?;
    Ok(Parsed {
        index,
        leaf: leaf_hash(&bytes),
        entry: Some(Readable {
            entry,
            said,
            openings: openings.len() as u64,
            sealed,
        }),
    })
}

fn statement(index: u64, envelope: &Envelope) -> Result<Said, Fault> {
    let fault = |message: String| Fault::at(index, FaultCode::Statement, message);
    let statement = envelope
        .unverified_statement()
        .map_err(|e| fault(e.to_string()))?;
    if statement.version != VERSION {
        return Err(fault(format!("version {} is unknown", statement.version)));
    }
    Ok(Said {
        digest: envelope.digest(),
        statement,
    })
}

/// What is opened of a seal, by agency.
fn sealed(body: &EntryBody, openings: &[Opening]) -> Result<BTreeMap<AgencyId, Counts>, String> {
    let EntryBody::Sealed { counts, .. } = body else {
        return Ok(BTreeMap::new());
    };
    let of_counts = openings.iter().filter(|o| o.field == Field::Counts);
    let by_commitment: HashMap<[u8; 32], &Opening> =
        of_counts.map(|o| (o.commitment().0, o)).collect();
    let mut opened = BTreeMap::new();
    for (agency, commitment) in counts {
        if let Some(opening) = by_commitment.get(&commitment.0) {
            let counts = Counts::from_bytes(&opening.data.0).map_err(|e| e.to_string())?;
            opened.insert(agency.clone(), counts);
        }
    }
    Ok(opened)
}

fn check_openings(
    index: u64,
    body: &EntryBody,
    said: Option<&Said>,
    openings: &[Opening],
) -> Result<(), Fault> {
    if openings.is_empty() {
        return Ok(());
    }
    let committed = committed(body, said.map(|said| &said.statement.body));
    for opening in openings {
        if !committed.contains(&(opening.field, opening.commitment().0)) {
            let message = format!("the opening of {:?} opens nothing here", opening.field);
            return Err(Fault::at(index, FaultCode::Opening, message));
        }
    }
    Ok(())
}

/// Those of `openings` that open a commitment of this entry, one for each: for who keeps what came
/// beside an entry from somebody who may be lying. None of an entry that is not in form.
pub fn opens_something(entry: &[u8], openings: Vec<Opening>) -> Vec<Opening> {
    if openings.is_empty() {
        return openings;
    }
    let Ok(entry) = Entry::from_bytes(entry) else {
        return Vec::new();
    };
    let said = match &entry.body {
        EntryBody::Said { envelope, .. } => envelope.unverified_statement().ok(),
        _ => None,
    };
    let mut committed = committed(&entry.body, said.as_ref().map(|said| &said.body));
    let mut opens = |o: &Opening| committed.remove(&(o.field, o.commitment().0));
    openings.into_iter().filter(|o| opens(o)).collect()
}

/// What an entry commits to.
fn committed(body: &EntryBody, said: Option<&Body>) -> HashSet<(Field, [u8; 32])> {
    let mut all = said.map_or_else(Vec::new, commitments);
    if let EntryBody::Sealed { counts, .. } = body {
        // A seal has as many as there are members.
        all.extend(counts.values().map(|c| (Field::Counts, *c)));
    }
    all.into_iter().map(|(f, c)| (f, c.0)).collect()
}

fn commitments(body: &Body) -> Vec<(Field, Commitment)> {
    let subject = |subject: Option<Commitment>| subject.map(|c| (Field::Subject, c));
    match body {
        Body::Request(request) => subject(request.subject)
            .into_iter()
            .chain([
                (Field::Worker, request.worker),
                (Field::Justification, request.justification),
            ])
            .collect(),
        Body::Answer(answer) => vec![(Field::Outcome, answer.outcome)],
        Body::Consent(terms) => subject(Some(terms.subject))
            .into_iter()
            .chain(terms.evidence.map(|c| (Field::Evidence, c)))
            .collect(),
        Body::CaseAdvance(advance) => subject(advance.subject).into_iter().collect(),
        Body::OverrideReview(review) => vec![(Field::Worker, review.reviewer)],
        Body::Receipt(_)
        | Body::Renewal(_)
        | Body::Withdrawal(_)
        | Body::Agreement(_)
        | Body::AgreementSignature(_)
        | Body::AgreementChange(_)
        | Body::CaseOpening(_)
        | Body::BundleEndorsement(_)
        | Body::Resumption(_) => Vec::new(),
    }
}

impl Parsed {
    /// The signed statement, if this is an entry with one.
    pub(super) fn envelope(&self) -> Option<&Envelope> {
        match &self.entry.as_ref()?.entry.body {
            EntryBody::Said { envelope, .. } => Some(envelope),
            _ => None,
        }
    }
}
