//! The enforcement point of the holder: what must hold before a byte of a fact may be read.
//!
//! In scope, all pure: a notice is in the log ([`check_notice`]), what an agency says in it is
//! signed by that agency, and a permit allows this agency to answer ([`check_permit`]).
//! Out of scope: the agency's own policy ([`crate::holder`]).
//!
//! [`CheckedNotice`] and [`CheckedPermit`] are made here only, so holding one is the proof.
//! The attacks that this stands against, and what stops each: a broker that invents a decision
//! (quorum of witnesses, our own among them); that shows us another log than others (our witness
//! cosigns one history only); that changes what was asked (the requester's signature, compared
//! field by field with the permit); that answers with an old permit (expiry; one answer a
//! request); a requester that asks under another name (its own key over its own name).

use crate::{
    event::{Noticed, Related},
    trust::{Member, Trust},
};
use passerelle_audit::{
    checkpoint::CheckpointError,
    dsse,
    tlog_proof::{TlogProof, TlogProofError},
};
use passerelle_model::{
    bytes::{Bytes, Digest, Handle, Signature},
    canonical,
    commitment::Field,
    entry::{Entry, EntryBody},
    error::ErrorCode,
    ids::AgencyId,
    permit::{PAYLOAD_TYPE as PERMIT_TYPE, Permit},
    records::Agency,
    seeded::{Bug, seeded},
    statement::{
        Body, Envelope, Item, PAYLOAD_CONTEXT, PAYLOAD_TYPE as STATEMENT_TYPE, Request, Verified,
    },
    time::Timestamp,
};
use passerelle_proto::{convert, v1};
use std::collections::BTreeMap;

/// How far the broker's clock may be ahead, in seconds.
pub const CLOCK_SKEW_S: u64 = 300;

/// What is in the log at its place.
#[derive(Clone)]
pub enum Checked {
    /// An entry.
    Entry(Box<CheckedNotice>),
    /// An entry of a type of a later version: without effect here, with its problem.
    Later(Box<Noticed>),
}

/// A log entry whose place in the witnessed log was verified.
#[derive(Clone)]
pub struct CheckedNotice {
    noticed: Noticed,
    entry: Entry,
}

impl CheckedNotice {
    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its index.
    pub fn index(&self) -> u64 {
        self.noticed.index
    }

    /// What goes into the journal.
    pub fn noticed(&self) -> &Noticed {
        &self.noticed
    }

    /// The same, with whether the permit in it must not be kept.
    pub fn with_permit(&self, unusable: bool) -> Noticed {
        Noticed {
            permit_unusable: unusable,
            ..self.noticed.clone()
        }
    }

    /// The same, marked as being without effect.
    pub fn with_problem(&self, code: ErrorCode) -> Noticed {
        Noticed {
            problem: Some(code),
            ..self.noticed.clone()
        }
    }

    /// From the agent's own journal, which has verified notices only.
    pub(crate) fn from_journal(noticed: Noticed) -> Option<Self> {
        let entry = Entry::from_bytes(&noticed.entry.0).ok()?;
        Some(Self { noticed, entry })
    }
}

fn proof_code(error: &TlogProofError) -> ErrorCode {
    match error {
        TlogProofError::NoQuorum { .. } => ErrorCode::NoQuorum,
        TlogProofError::Checkpoint(CheckpointError::OtherOrigin(_)) => ErrorCode::WrongFederation,
        TlogProofError::Malformed
        | TlogProofError::Checkpoint(_)
        | TlogProofError::Cosignature(_)
        | TlogProofError::OtherCheckpoint
        | TlogProofError::Inclusion(_) => ErrorCode::ProofInvalid,
    }
}

/// Checks that the entry of `wire` is in the log at its index, in a tree that a quorum of the
/// members and this agency's own witness have cosigned. Entries for all need the own witness only
/// (see [`crate::trust`]).
///
/// # Errors
/// The broker misbehaved, or too few witnesses are up. Nothing of the notice may be used; it will
/// be sent again.
pub fn check_notice(wire: v1::Notice, trust: &Trust) -> Result<Checked, ErrorCode> {
    let v1::Notice {
        index,
        entry: entry_bytes,
        openings,
        payloads,
        proof,
        permit_signature,
        related,
        membership,
    } = wire;
    let proof = TlogProof::parse(&proof).map_err(|_| ErrorCode::ProofInvalid)?;
    if proof.claimed_index() != index {
        return Err(ErrorCode::ProofInvalid);
    }
    trust
        .believe(
            proof.checkpoint_note(),
            membership || seeded(Bug::EntryWithoutQuorum),
        )
        .and_then(|witnessed| proof.verify_in(&witnessed, &entry_bytes))
        .map_err(|e| proof_code(&e))?;
    let entry = match Entry::from_bytes(&entry_bytes) {
        Ok(entry) => Some(entry),
        // To skip who is a member, or what this version should understand, would be to guess.
        Err(_) if membership || is_known_type(&entry_bytes) => return Err(ErrorCode::Malformed),
        Err(_) => None,
    };
    let is_membership = entry.as_ref().is_some_and(|entry| entry.body.is_for_all());
    if is_membership != membership {
        return Err(ErrorCode::Malformed);
    }
    let problem = entry.is_none().then_some(ErrorCode::UnknownCode);
    let permit_signature = match permit_signature.as_slice() {
        [] => None,
        bytes => Some(Signature::from_slice(bytes).ok_or(ErrorCode::Malformed)?),
    };
    let noticed = Noticed {
        index,
        membership,
        entry: Bytes(entry_bytes),
        openings: convert::openings(openings)?,
        payloads: convert::payloads(payloads),
        permit_signature,
        related: related.map(related_from_wire).transpose()?,
        problem,
        permit_unusable: false,
    };
    Ok(match entry {
        Some(entry) => Checked::Entry(Box::new(CheckedNotice { noticed, entry })),
        None => Checked::Later(Box::new(noticed)),
    })
}

/// Whether the bytes are not those of an entry of a later version: they name a type of this one,
/// or none.
fn is_known_type(entry: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(rename = "@type")]
        kind: String,
    }
    let head: Result<Head, _> = serde_json::from_slice(entry);
    head.map_or(true, |head| EntryBody::CODES.contains(&head.kind.as_str()))
}

fn related_from_wire(wire: v1::Related) -> Result<Related, ErrorCode> {
    let v1::Related {
        envelope,
        openings,
        payloads,
    } = wire;
    Ok(Related {
        envelope: envelope.ok_or(ErrorCode::Malformed)?.try_into()?,
        openings: convert::openings(openings)?,
        payloads: convert::payloads(payloads),
    })
}

/// Checks that `envelope` is a statement of `agency` in this federation, signed by one of its
/// keys. What `is_own` was signed here, as our own journal shows.
fn check_envelope(
    trust: &Trust,
    agency: &AgencyId,
    member: &Member,
    envelope: &Envelope,
    openings: &[passerelle_model::commitment::Opening],
    payloads: &BTreeMap<String, Bytes>,
    is_own: bool,
) -> Result<Verified, ErrorCode> {
    let check = |_: &[u8], signature: &Signature| {
        is_own || {
            let mut keys = member.signing_keys();
            let payload = &envelope.payload.0;
            keys.any(|key| dsse::verify(key, STATEMENT_TYPE, payload, signature))
        }
    };
    envelope.clone().verify(
        &trust.anchors.federation,
        agency,
        check,
        openings.to_vec(),
        payloads.clone(),
    )
}

/// Checks that what an agency says in this entry was said by that agency. Of a statement with a
/// digest that `is_ours` knows the signature is not looked at again: our own journal has it.
///
/// # Errors
/// [`ErrorCode::UnknownAgency`], or that of the signature. The entry is in the log and must have
/// no effect here.
pub fn check_said(
    notice: &CheckedNotice,
    trust: &Trust,
    is_ours: impl Fn(&Digest) -> Result<bool, ErrorCode>,
) -> Result<Option<Verified>, ErrorCode> {
    let EntryBody::Said { agency, envelope } = &notice.entry.body else {
        return Ok(None);
    };
    let is_own = *agency == trust.anchors.agency && is_ours(&envelope.digest())?;
    let member = trust.member(agency).ok_or(ErrorCode::UnknownAgency)?;
    let noticed = &notice.noticed;
    let verified = check_envelope(
        trust,
        agency,
        member,
        envelope,
        &noticed.openings,
        &noticed.payloads,
        is_own,
    )?;
    Ok(Some(verified))
}

/// A permit by which this agency may answer, now. Reading a fact for somebody else needs one.
#[derive(Clone)]
pub struct CheckedPermit {
    permit: Permit,
    digest: Digest,
    request: Request,
    subject: Option<Handle>,
    context: Bytes,
    requester: Agency,
}

impl CheckedPermit {
    /// The permit.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the requester signed.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Who asked, as a member.
    pub fn requester(&self) -> &Agency {
        &self.requester
    }

    /// The person, unless the request is de-identified.
    pub fn subject(&self) -> Option<Handle> {
        self.subject
    }

    /// The requester's context, sealed for this agency.
    pub fn context(&self) -> &Bytes {
        &self.context
    }
}

/// Whether each permitted item was asked for, at this level or a higher one.
fn is_within(permitted: &[Item], asked: &[Item]) -> bool {
    let covers = |p: &Item| {
        let mut asked = asked.iter();
        asked.any(|a| a.category == p.category && p.level <= a.level)
    };
    !permitted.is_empty() && permitted.iter().all(covers)
}

/// Checks that the verified `notice` is an offer on which this agency may answer at `now`.
///
/// # Errors
/// The first thing that does not hold; [`ErrorCode::PermitExpired`] only if all else does.
pub fn check_permit(
    notice: &CheckedNotice,
    trust: &Trust,
    now: Timestamp,
) -> Result<CheckedPermit, ErrorCode> {
    let EntryBody::Offered { permit } = &notice.entry.body else {
        return Err(ErrorCode::PermitMismatch);
    };
    let noticed = &notice.noticed;
    let payload = canonical::to_vec(permit).map_err(|_| ErrorCode::Malformed)?;
    let signature = noticed.permit_signature.ok_or(ErrorCode::BadSignature)?;
    if !dsse::verify(&trust.anchors.permit, PERMIT_TYPE, &payload, &signature) {
        return Err(ErrorCode::BadSignature);
    }
    if permit.holder != trust.anchors.agency {
        return Err(ErrorCode::PermitMismatch);
    }
    let requester = trust
        .active(&permit.requester)
        .ok_or(ErrorCode::UnknownAgency)?;
    let related = noticed.related.as_ref().ok_or(ErrorCode::Malformed)?;
    let verified = check_envelope(
        trust,
        &permit.requester,
        requester,
        &related.envelope,
        &related.openings,
        &related.payloads,
        false,
    )?;
    let Body::Request(request) = &verified.statement().body else {
        return Err(ErrorCode::PermitMismatch);
    };
    check_same(permit, request, &verified)?;
    let subject = match &request.subject {
        None => None,
        Some(commitment) => {
            let opening = verified.opening(Field::Subject, commitment)?;
            let handle = Handle::from_slice(&opening.data.0);
            Some(handle.ok_or(ErrorCode::OpeningMismatch)?)
        }
    };
    let context = verified.payload(PAYLOAD_CONTEXT, &request.context)?.clone();
    if permit.issued_at > now.plus_s(CLOCK_SKEW_S) {
        return Err(ErrorCode::Stale);
    }
    if permit.not_after <= now {
        return Err(ErrorCode::PermitExpired);
    }
    Ok(CheckedPermit {
        digest: Digest::of(&payload),
        permit: (**permit).clone(),
        request: (**request).clone(),
        subject,
        context,
        requester: Agency {
            agency: permit.requester.clone(),
            keys: requester.keys.clone(),
            certificate: requester.certificate.clone(),
            active: requester.active,
            joined: requester.since,
            since: requester.since,
        },
    })
}

/// The permit says of the request nothing but what its requester signed.
fn check_same(permit: &Permit, request: &Request, verified: &Verified) -> Result<(), ErrorCode> {
    let Permit {
        request: id,
        statement,
        requester: _, // its key verified the statement
        holder,
        items,
        purpose,
        basis,
        case,
        reply_key,
        review: _,
        obligations: _,
        decision: _,
        bundle: _,
        issued_at: _,
        not_after,
    } = permit;
    let same = *statement == verified.digest()
        && *id == request.request
        && *holder == request.holder
        && *purpose == request.purpose
        && *basis == request.basis
        && *case == request.case
        && *reply_key == request.reply_key
        && *not_after <= request.not_after
        && is_within(items, &request.items);
    if same {
        Ok(())
    } else {
        Err(ErrorCode::PermitMismatch)
    }
}
