//! Consents in the formats of others: written for whoever may have them, read from files.
//!
//! What is read goes the way of what is typed ([`super::consents`]): the same checks, the same
//! statement. A file never says by itself whom it is about: a worker does, with the person's name,
//! and the file must agree.

use super::{
    Reply,
    consents::{enter, may_record},
    document, done, input, refuse, refused,
};
use crate::{holder::storage, node::Node, standing, state};
use passerelle_model::{
    bytes::{Commitment, Digest, Handle},
    consent_formats::{
        self, ConsentFile, Format, Identity, Refusal, Standing, Surroundings, UnknownFormat,
    },
    error::ErrorCode,
    ids::{ConsentId, FederationId},
    records::Consent,
    statement::ConsentTerms,
    time::Timestamp,
};
use passerelle_proto::{v1, views::ConsentImport};
use serde_json::Value;
use tonic::Status;

fn wrong_file(refusal: &Refusal) -> Status {
    refuse(ErrorCode::Malformed, refusal)
}

fn format(text: &str) -> Result<Format, Status> {
    text.parse()
        .map_err(|e: UnknownFormat| refuse(ErrorCode::UnknownCode, format!("`format`: {e}")))
}

/// One consent, or all that name this agency.
pub(super) fn export(node: &Node, request: &v1::ExportConsentsRequest) -> Reply {
    let view = node.core.view();
    let failed = |e| refused(storage(e));
    let rows = match input::optional_id::<ConsentId>("consent", &request.consent)? {
        Some(id) => {
            let row = state::consent(view, &id).map_err(failed)?;
            vec![row.ok_or_else(|| refused(ErrorCode::UnknownConsent))?]
        }
        None => state::consents(view).map_err(failed)?,
    };
    let surroundings = match format(&request.format)? {
        Format::Fhir => None,
        Format::Iso27560 => Some(surroundings(&request.surroundings)?),
    };
    let (now, federation) = (node.clock.now(), &node.context.identity.anchors.federation);
    let write = |row| -> Result<Value, Status> {
        let (file, standing) = told(row, federation, now);
        match &surroundings {
            None => Ok(consent_formats::to_fhir(&file, &standing)),
            Some(around) => consent_formats::to_iso27560(&file, &standing, around)
                .map_err(|refusal| refuse(ErrorCode::OutOfRange, refusal)),
        }
    };
    let written: Result<Vec<_>, _> = rows.into_iter().map(write).collect();
    document(&written?)
}

fn surroundings(json: &str) -> Result<Surroundings, Status> {
    if json.is_empty() {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "ISO/IEC TS 27560 wants jurisdiction, place of storage, and address of each agency, \
             which no record here holds: give `surroundings`",
        ));
    }
    serde_json::from_str(json).map_err(|_| {
        refuse(
            ErrorCode::Malformed,
            "`surroundings` are not as they should be",
        )
    })
}

/// A row as files tell of it, and what became of it.
fn told(row: Consent, federation: &FederationId, now: Timestamp) -> (ConsentFile, Standing) {
    let Consent {
        terms,
        recorded_by,
        subject,
        withdrawn,
        recorded: _,
    } = row;
    let standing = Standing {
        withdrawn: withdrawn.into_iter().map(|w| w.scope).collect(),
        is_expired: terms.expires_at <= now,
    };
    let file = ConsentFile {
        federation: federation.clone(),
        record: Identity::Own(terms.consent),
        subject: Identity::Own(subject),
        recorded_by,
        giver: terms.giver,
        capacity: terms.capacity,
        categories: terms.categories,
        purposes: terms.purposes,
        recipients: terms.recipients,
        disclosers: terms.disclosers,
        method: terms.method,
        language: terms.language,
        interpreter: terms.interpreter,
        notice_version: terms.notice_version,
        given_at: terms.given_at,
        expires_at: terms.expires_at,
        redisclosure: terms.redisclosure,
        evidence: terms.evidence,
    };
    (file, standing)
}

/// Records the consent in a file, or says what would be recorded.
pub(super) async fn import(node: &Node, request: v1::ImportConsentRequest) -> Reply {
    let person = request.person.as_ref();
    let person = person.ok_or_else(|| refuse(ErrorCode::Malformed, "`person` is missing"))?;
    let person = input::person(person)?;
    let named = match request.format.as_str() {
        "" => None,
        text => Some(format(text)?),
    };
    let anchors = &node.context.identity.anchors;
    let read = consent_formats::read(&request.file, named, &anchors.federation);
    let read = read.map_err(|refusal| wrong_file(&refusal))?;
    let file = read.file;
    if file.recorded_by != anchors.agency {
        // Where a consent was recorded counts: a holder looks at those of others. An import would
        // pass another's record off as one's own.
        return Err(refuse(
            ErrorCode::NotAParty,
            "the file is the record of another agency, which must record it itself",
        ));
    }
    let now = node.clock.now();
    let mut terms = terms(&file);
    may_record(node, &terms, now)?;
    let handle = node.handle(&person).await.map_err(refused)?;
    is_about(&file.subject, handle, &request.subject)?;
    terms.consent = id(&file.record, handle);
    let known = state::consent(node.core.view(), &terms.consent);
    if known.map_err(|e| refused(storage(e)))?.is_some() {
        // Also if it was withdrawn since: a file must not bring it back.
        return Err(refuse(
            ErrorCode::Duplicate,
            format!("it is recorded already, as {}", terms.consent),
        ));
    }
    was_not_taken_back(node, &terms, handle)?;
    let mut report = ConsentImport {
        terms: terms.clone(),
        index: None,
        status: "checked".to_owned(),
        not_kept: read.not_kept,
    };
    if !request.dry_run {
        let (consent, settled) = enter(node, terms, &person, handle, None).await?;
        let done = done(consent.to_string(), &settled);
        (report.index, report.status) = (done.index, done.status);
    }
    document(&report)
}

/// Refuses what the person has withdrawn since, by whichever record. What counts is the place in
/// the log: recorded after the withdrawal, an old paper would come before it. Typed, a consent is of
/// now, and so after any withdrawal; a file may be of years ago.
fn was_not_taken_back(node: &Node, terms: &ConsentTerms, person: Handle) -> Result<(), Status> {
    let known = standing::consents_of(node.core.view(), &person);
    let known = known.map_err(|e| refused(storage(e)))?;
    let overlaps = |other: &Consent| {
        let mut between = terms.recipients.iter().flat_map(|recipient| {
            let disclosers = terms.disclosers.iter();
            disclosers.map(move |discloser| (recipient, discloser))
        });
        between.any(|(recipient, discloser)| {
            terms.categories.iter().any(|category| {
                other.is_between(recipient, discloser, *category)
                    && other.is_withdrawn_for(recipient, *category)
            })
        })
    };
    // More than can be looked through: one of them might be withdrawn.
    let is_clear = known.is_some_and(|all| !all.iter().any(|one| overlaps(&one.consent)));
    if is_clear {
        return Ok(());
    }
    Err(refuse(
        ErrorCode::WrongState,
        "the person has withdrawn a consent to some of this: a file does not say that it was given \
         again since; record it with the person present",
    ))
}

/// The terms, but for the commitment to the person.
fn terms(file: &ConsentFile) -> ConsentTerms {
    ConsentTerms {
        consent: ConsentId::from_random([0; 16]),
        subject: Commitment([0; 32]),
        giver: file.giver,
        capacity: file.capacity,
        categories: file.categories.clone(),
        purposes: file.purposes.clone(),
        recipients: file.recipients.clone(),
        disclosers: file.disclosers.clone(),
        method: file.method,
        language: file.language,
        interpreter: file.interpreter,
        notice_version: file.notice_version,
        given_at: file.given_at,
        expires_at: file.expires_at,
        redisclosure: file.redisclosure,
        evidence: file.evidence,
    }
}

/// The file must be about the person who was named: by handle, or by an identifier that a worker
/// has compared and typed.
fn is_about(subject: &Identity<Handle>, handle: Handle, typed: &str) -> Result<(), Status> {
    let is_same = match subject {
        Identity::Own(given) => *given == handle && (typed.is_empty() || typed == given.to_hex()),
        Identity::Other { .. } if typed.is_empty() => {
            return Err(refuse(
                ErrorCode::OutOfRange,
                "the file tells of the person by an identifier that means nothing here: compare it \
                 with the person's file and give it as `subject`",
            ));
        }
        Identity::Other { value, .. } => value == typed,
    };
    if is_same {
        return Ok(());
    }
    Err(refuse(
        ErrorCode::OutOfRange,
        "the file is about somebody else than the person who was named",
    ))
}

/// One of ours keeps its id. One of somebody else's gets the same id each time, so that it is
/// recorded once and no file brings back what was withdrawn; the handle in it keeps others from
/// finding the id by trying.
fn id(record: &Identity<ConsentId>, handle: Handle) -> ConsentId {
    match record {
        Identity::Own(id) => id.clone(),
        Identity::Other { system, value } => {
            let mut bytes = b"passerelle/v1/imported-consent".to_vec();
            for part in [&handle.0[..], system.as_bytes(), value.as_bytes()] {
                let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(part);
            }
            let Digest(digest) = Digest::of(&bytes);
            let mut short = [0; 16];
            for (short, byte) in short.iter_mut().zip(digest) {
                *short = byte;
            }
            ConsentId::from_random(short)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(system: &str, value: &str) -> Identity<ConsentId> {
        let (system, value) = (system.to_owned(), value.to_owned());
        Identity::Other { system, value }
    }

    #[test]
    fn a_file_of_somebody_elses_gets_one_id_that_depends_on_all_of_it() {
        let (person, another) = (Handle([1; 32]), Handle([2; 32]));
        let record = other("https://chart.example", "4711");
        assert_eq!(id(&record, person), id(&record, person));
        for different in [
            id(&record, another),
            id(&other("https://chart.example4", "711"), person),
            id(&other("https://chart.example", "4712"), person),
        ] {
            assert_ne!(id(&record, person), different);
        }
        let own = ConsentId::from_random([3; 16]);
        assert_eq!(id(&Identity::Own(own.clone()), person), own);
    }

    #[test]
    fn a_file_about_somebody_else_is_refused_however_it_tells() {
        let (person, another) = (Handle([1; 32]), Handle([2; 32]));
        let own = Identity::Own(person);
        assert!(is_about(&own, person, "").is_ok());
        assert!(is_about(&own, person, &person.to_hex()).is_ok());
        assert!(is_about(&own, another, "").is_err());
        assert!(is_about(&own, person, "4711").is_err());
        let (system, value) = ("https://chart.example".to_owned(), "4711".to_owned());
        let other = Identity::Other { system, value };
        assert!(is_about(&other, person, "4711").is_ok());
        assert!(
            is_about(&other, person, "").is_err(),
            "a worker must compare"
        );
        assert!(is_about(&other, person, "4712").is_err());
    }
}
