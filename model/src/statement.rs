//! What an agency says, signed. What is signed is what is logged is what is verified.
//!
//! A statement is canonical JSON that holds codes, identifiers and commitments only, in a DSSE
//! envelope. Private fields enter as commitments; their openings travel beside.

mod agreement;
mod resumption;
mod signatories;

pub use agreement::{
    AgreementChange, AgreementLine, AgreementParty, AgreementSignature, AgreementTerms, Change,
    Edition,
};
pub use resumption::{MAX_RESUMED, Resumption};
pub use signatories::{
    ENDORSEMENT_TYPE, Endorsed, Endorsement, MAX_ALL_SIGNATORIES, MAX_ENDORSEMENTS,
    MAX_SIGNATORIES, Signatories, can_sign,
};

use crate::{
    bytes::{Bytes, Commitment, Digest, PublicKey, Signature},
    canonical::{self, CanonicalError},
    commitment::{self, Field, Opening},
    error::ErrorCode,
    ids::{AgencyId, AgreementId, CaseId, ConsentId, FederationId, RequestId},
    time::Timestamp,
    vocabulary::{
        Capacity, CaseOutcome, Category, ConsentGiver, ConsentMethod, EmergencyKind, Language,
        LegalBasis, Level, Profile, Purpose, ReviewFinding, Sector, Stage, Threshold, WorkerRole,
    },
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// DSSE payload type of statements.
pub const PAYLOAD_TYPE: &str = "application/vnd.passerelle.statement.v1+json";

/// Most items that one request may ask for.
pub const MAX_ITEMS: usize = 16;

/// Name of the payload that carries a request's context, sealed for the holder.
pub const PAYLOAD_CONTEXT: &str = "context";

/// Name of the payload that carries an answer, sealed for the requester.
pub const PAYLOAD_ANSWER: &str = "answer";

/// One thing that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Item {
    /// What about.
    pub category: Category,
    /// How far at most.
    pub level: Level,
}

/// What the requester relies on besides the legal basis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reliance {
    /// This consent record.
    Consent(ConsentId),
    /// This agreement.
    Agreement(AgreementId),
}

/// A request for facts about one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Made by the requester's node.
    pub request: RequestId,
    /// Who is asked.
    pub holder: AgencyId,
    /// What is asked.
    pub items: Vec<Item>,
    /// What for.
    pub purpose: Purpose,
    /// On which basis in law.
    pub basis: LegalBasis,
    /// On which consent or agreement; without, any that fits is looked for.
    pub reliance: Option<Reliance>,
    /// In which case.
    pub case: Option<CaseId>,
    /// The emergency that is claimed.
    pub emergency: Option<EmergencyKind>,
    /// The person, by commitment to the handle. Absent at stage 2 of a table.
    pub subject: Option<Commitment>,
    /// The worker, by commitment.
    pub worker: Commitment,
    /// What the worker does.
    pub role: WorkerRole,
    /// Whether the worker's training is current, as the agency states.
    pub trained: bool,
    /// The free text, by commitment; it travels sealed in the context.
    pub justification: Commitment,
    /// Digest of the sealed context (justification, worker, for the holder alone).
    pub context: Digest,
    /// One-time X25519 key to which the answer is sealed.
    pub reply_key: PublicKey,
    /// After this the request is void.
    pub not_after: Timestamp,
}

/// A holder's answer. Whether it releases, declines or cannot say is inside the sealed payload;
/// outside, all look the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which request.
    pub request: RequestId,
    /// Digest of the permit that allows it.
    pub permit: Digest,
    /// What came of it, by commitment.
    pub outcome: Commitment,
    /// Digest of the sealed answer.
    pub sealed: Digest,
}

/// What a receipt attests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// Arrived, opened and kept.
    Delivered,
    /// Shown to a worker.
    Viewed,
    /// Destroyed.
    Erased,
}

/// A requester's receipt for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Which request.
    pub request: RequestId,
    /// What happened.
    pub kind: ReceiptKind,
    /// Digest of the sealed answer.
    pub sealed: Digest,
}

/// A holder asks for an expired permit to be decided again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// Which request.
    pub request: RequestId,
    /// The expired permit.
    pub permit: Digest,
}

/// A consent to share, as recorded by an agency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentTerms {
    /// Made by the recording node.
    pub consent: ConsentId,
    /// The person, by commitment to the handle.
    pub subject: Commitment,
    /// Who gave it.
    pub giver: ConsentGiver,
    /// With which capacity.
    pub capacity: Capacity,
    /// For which categories. Never empty: an empty list is no consent.
    pub categories: Vec<Category>,
    /// For which purposes. Never empty.
    pub purposes: Vec<Purpose>,
    /// Who may receive. Never empty.
    pub recipients: Vec<AgencyId>,
    /// Who may disclose. Never empty.
    pub disclosers: Vec<AgencyId>,
    /// How it was given.
    pub method: ConsentMethod,
    /// In which language.
    pub language: Language,
    /// Whether an interpreter helped.
    pub interpreter: bool,
    /// Version of the notice that was given.
    pub notice_version: u32,
    /// When it was given.
    pub given_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether recipients may pass it on.
    pub redisclosure: bool,
    /// Written evidence, by commitment.
    pub evidence: Option<Commitment>,
}

impl ConsentTerms {
    /// Whether who gave it could: who can decide decides alone, and somebody else speaks only for
    /// a person who can't.
    pub fn has_standing(&self) -> bool {
        (self.giver == ConsentGiver::Subject) != (self.capacity == Capacity::Substituted)
    }
}

/// How much of a consent is withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithdrawalScope {
    /// All of it.
    All,
    /// Sharing with one recipient.
    Recipient(AgencyId),
    /// One category.
    Category(Category),
}

/// A withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Of which consent.
    pub consent: ConsentId,
    /// How much of it.
    pub scope: WithdrawalScope,
}

/// A case is put on the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseOpening {
    /// Made by the opening node.
    pub case: CaseId,
    /// By which mechanism.
    pub profile: Profile,
    /// Which agencies sit at the table, the opening one included.
    pub agencies: Vec<AgencyId>,
}

/// A case moves on, or closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseAdvance {
    /// Which.
    pub case: CaseId,
    /// The stage from now on.
    pub stage: Stage,
    /// What the table agreed of the threshold.
    pub threshold: Threshold,
    /// The agencies needed (stage 3) or named as interveners (stage 4); the others leave.
    pub agencies: Vec<AgencyId>,
    /// The categories that the plan needs (stage 4).
    pub plan: Vec<Category>,
    /// The person, by commitment to the handle, from stage 3 on.
    pub subject: Option<Commitment>,
    /// How it closes, if it does.
    pub outcome: Option<CaseOutcome>,
}

/// An agency endorses a policy bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleEndorsement {
    /// Digest of the rules.
    pub bundle: Digest,
    /// Digest of the terms that were proposed, so that nobody endorses what it did not see.
    pub terms: Digest,
}

/// A second person has looked at an emergency that was claimed (DATA, rule 25). The agency that
/// asked says it once, and the one that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideReview {
    /// The request whose permit wants it.
    pub request: RequestId,
    /// What was found.
    pub finding: ReviewFinding,
    /// Who looked, by commitment. That it is neither who asked nor who approved is for the
    /// agency's node to see to: nobody else knows its workers.
    pub reviewer: Commitment,
    /// What he or she does.
    pub role: WorkerRole,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Asks for facts.
    Request(Box<Request>),
    /// Answers.
    Answer(Answer),
    /// Confirms.
    Receipt(Receipt),
    /// Asks for another decision.
    Renewal(Renewal),
    /// Records a consent.
    Consent(Box<ConsentTerms>),
    /// Withdraws one.
    Withdrawal(Withdrawal),
    /// Proposes an agreement.
    Agreement(Box<AgreementTerms>),
    /// Signs one.
    AgreementSignature(AgreementSignature),
    /// Suspends one, lifts the suspension, or ends one.
    AgreementChange(AgreementChange),
    /// Opens a case.
    CaseOpening(CaseOpening),
    /// Advances or closes one.
    CaseAdvance(CaseAdvance),
    /// Endorses a policy bundle.
    BundleEndorsement(BundleEndorsement),
    /// Says what came of the review of an emergency.
    OverrideReview(OverrideReview),
    /// Goes on under a new origin of the log.
    Resumption(Resumption),
}

/// A statement: who says what when, in which federation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Format version, 1.
    #[serde(rename = "@version")]
    pub version: u8,
    /// Where it counts.
    pub federation: FederationId,
    /// Who says it.
    pub agency: AgencyId,
    /// When, by the agency's clock.
    pub at: Timestamp,
    /// What.
    pub body: Body,
}

/// The present version of statements and entries.
pub const VERSION: u8 = 1;

/// A signed statement whose signature nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The canonical bytes of the statement.
    pub payload: Bytes,
    /// Ed25519 over the DSSE pre-authentication encoding.
    pub signature: Signature,
}

/// A statement whose envelope carries the signature of the agency that it names, with its
/// openings. Only [`Envelope::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    statement: Statement,
    envelope: Envelope,
    digest: Digest,
    openings: Vec<Opening>,
    payloads: BTreeMap<String, Bytes>,
    signed_by: Option<PublicKey>,
}

impl Envelope {
    /// The digest by which a statement is known: of its payload.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.payload.0)
    }

    /// Whether it says that an agency endorses a policy bundle.
    pub fn is_bundle_endorsement(&self) -> bool {
        let statement = self.unverified_statement();
        statement.is_ok_and(|s| matches!(s.body, Body::BundleEndorsement(_)))
    }

    /// Parses the payload without believing it.
    pub fn unverified_statement(&self) -> Result<Statement, CanonicalError> {
        canonical::from_slice(&self.payload.0)
    }

    /// The bytes that the signature is over.
    pub fn signed_bytes(payload: &[u8]) -> Vec<u8> {
        signed_bytes(PAYLOAD_TYPE, payload)
    }

    /// Checks form, version, federation and signature.
    ///
    /// `check` is called with the signed bytes and the signature, and knows the key of `agency`.
    pub fn verify(
        self,
        federation: &FederationId,
        agency: &AgencyId,
        check: impl FnOnce(&[u8], &Signature) -> bool,
        openings: Vec<Opening>,
        payloads: BTreeMap<String, Bytes>,
    ) -> Result<Verified, ErrorCode> {
        // The name first: a statement under another agency's name is told apart from a bad key.
        let statement = self
            .unverified_statement()
            .map_err(|error| classify(&error))?;
        if statement.version != VERSION {
            return Err(ErrorCode::Malformed);
        }
        if statement.agency != *agency {
            return Err(ErrorCode::WrongAgency);
        }
        if !check(&Self::signed_bytes(&self.payload.0), &self.signature) {
            return Err(ErrorCode::BadSignature);
        }
        if statement.federation != *federation {
            return Err(ErrorCode::WrongFederation);
        }
        Ok(Verified {
            digest: self.digest(),
            statement,
            envelope: self,
            openings,
            payloads,
            signed_by: None,
        })
    }
}

/// DSSE v1, pre-authentication encoding.
fn signed_bytes(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

/// An unknown code is the caller's typing error; anything else is a malformed message.
fn classify(error: &CanonicalError) -> ErrorCode {
    match error {
        CanonicalError::Invalid(inner) if inner.to_string().contains("unknown ") => {
            ErrorCode::UnknownCode
        }
        CanonicalError::Invalid(_) | CanonicalError::Float | CanonicalError::NotCanonical => {
            ErrorCode::Malformed
        }
    }
}

impl Verified {
    /// What was said.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The envelope, as it goes into the log.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The digest of the payload.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Notes with which key the signature was checked, so that it can be compared with the one
    /// that is in force when the statement is sequenced.
    #[must_use]
    pub fn with_key(mut self, key: PublicKey) -> Self {
        self.signed_by = Some(key);
        self
    }

    /// The key with which the signature was checked, if noted.
    pub fn signed_by(&self) -> Option<PublicKey> {
        self.signed_by
    }

    /// The openings that came with it; not checked until asked for.
    pub fn openings(&self) -> &[Opening] {
        &self.openings
    }

    /// The payload `name`, if it came and has the digest that the statement names.
    pub fn payload(&self, name: &str, digest: &Digest) -> Result<&Bytes, ErrorCode> {
        self.payloads
            .get(name)
            .filter(|bytes| Digest::of(&bytes.0) == *digest)
            .ok_or(ErrorCode::PayloadMismatch)
    }

    /// The opening of `field`, if it came and opens `commitment`.
    pub fn opening(&self, field: Field, commitment: &Commitment) -> Result<&Opening, ErrorCode> {
        commitment::find(&self.openings, field, commitment).ok_or(ErrorCode::OpeningMismatch)
    }
}

/// How an agency presents itself when it enrols. Signed by nobody: the invitation vouches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgencyKeys {
    /// Sector, as invited.
    pub sector: Sector,
    /// Ed25519 key for statements.
    pub signing: PublicKey,
    /// X25519 key for sealed context.
    pub sealing: PublicKey,
    /// Ed25519 key for cosignatures.
    pub witness: PublicKey,
}
