//! The agent's own events: everything that it must not lose. Its journal is the truth, the
//! projection follows.
//!
//! One journal record is one [`Transaction`], so what belongs together is there whole or not at
//! all after a crash. The record's entry has the kinds of the events only; the events themselves
//! are in the sidecar, since most of them are private.
//!
//! No `Debug` here prints content: events hold names, openings and facts.

use crate::{
    deletions::KeepReason,
    facts::{
        csv_import::{ImportedPerson, SourceId},
        sealed::SealedPart,
    },
    near_index::NearHandles,
    rights::{Refusal, record::RightsEvent},
    service_consents::ServiceEvent,
    suspicion::record::CaseEvent,
};
use passerelle_audit::witness::WitnessState;
use passerelle_journal::JournalRecord;
use passerelle_model::{
    binary,
    bytes::{Bytes, Digest, Handle, Signature},
    commitment::Opening,
    error::ErrorCode,
    ids::{AgreementId, ConsentId, RequestId},
    statement::{Envelope, Item},
    time::Timestamp,
    vocabulary::Outcome,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A statement of this agency that has to reach the broker.
#[derive(Clone, Serialize, Deserialize)]
pub struct Stated {
    /// Signed.
    pub envelope: Envelope,
    /// What travels beside it.
    pub openings: Vec<Opening>,
    /// Sealed payloads.
    pub payloads: BTreeMap<String, Bytes>,
    /// Not to be sent earlier.
    pub not_before: Timestamp,
    /// Whether the openings are in the vault, so that erasing the request destroys them.
    pub vault: Option<RequestId>,
    /// What is in the vault, sealed under the key of that request; in the journal only.
    #[serde(default)]
    pub kept: Option<Bytes>,
}

/// A log entry that was sent to this agent and verified.
#[derive(Clone, Serialize, Deserialize)]
pub struct Noticed {
    /// Its index in the log.
    pub index: u64,
    /// Whether it came by the membership cursor.
    pub membership: bool,
    /// Its canonical bytes.
    pub entry: Bytes,
    /// What opens its commitments.
    pub openings: Vec<Opening>,
    /// Sealed payloads.
    pub payloads: BTreeMap<String, Bytes>,
    /// With a permit: the broker's signature over it.
    pub permit_signature: Option<Signature>,
    /// With a permit: what the requester said.
    pub related: Option<Related>,
    /// Why it is in the log but must have no effect here.
    pub problem: Option<ErrorCode>,
    /// With a permit for this agency: whether it is not one that may be kept for later use. Set
    /// before it is journaled; the notice then counts as a step of the request and no more.
    #[serde(default)]
    pub permit_unusable: bool,
}

/// The requester's statement that comes with a permit.
#[derive(Clone, Serialize, Deserialize)]
pub struct Related {
    /// Signed by the requester.
    pub envelope: Envelope,
    /// What travels beside it.
    pub openings: Vec<Opening>,
    /// Sealed payloads.
    pub payloads: BTreeMap<String, Bytes>,
}

/// This agency goes on under a new origin of the log.
#[derive(Clone, Serialize, Deserialize)]
pub struct OriginAccepted {
    /// Digest of the entry `supersedes` that it has accepted.
    pub entry: Digest,
    /// Its index: so many entries of the former log were carried.
    pub index: u64,
    /// Verifier key of the log from here on.
    pub key: String,
    /// What its witness had accepted last of the entries that were carried.
    pub witness: WitnessState,
    /// What it says again.
    pub again: Vec<Stated>,
    /// That this is all.
    pub resumptions: Vec<Stated>,
}

/// What a reviewer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Release what may be released.
    Approve,
    /// Decline.
    Decline,
    /// Say that nothing can be said.
    CannotSay,
}

/// Something that happened here.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A statement was made; it is in the outbox from here on.
    Stated(Box<Stated>),
    /// The broker answered a statement: accepted, or refused with a code.
    Settled {
        /// Place in the outbox.
        seq: u64,
        /// Why it was refused, if it was.
        code: Option<ErrorCode>,
        /// Index of the entry that records it.
        index: Option<u64>,
    },
    /// The witness accepted a larger tree. Durable before the cosignature leaves.
    Witnessed(WitnessState),
    /// A log entry arrived and was verified.
    Noticed(Box<Noticed>),
    /// A permit must not be used.
    PermitRefused {
        /// For which request.
        request: RequestId,
        /// Why.
        code: ErrorCode,
    },
    /// A person here has to decide on a request.
    ReviewAsked {
        /// Which.
        request: RequestId,
        /// Until when.
        review_by: Timestamp,
        /// Whether there is a record.
        record_found: bool,
        /// Whether a person was already asked about the same items: a first approval stands.
        #[serde(default)]
        again: bool,
    },
    /// A person here has decided.
    Reviewed {
        /// Which request.
        request: RequestId,
        /// What.
        verdict: Verdict,
        /// Who.
        worker: String,
        /// What it covers.
        items: Vec<Item>,
        /// Whether a second person has to agree before it counts.
        awaits_second: bool,
        /// What the own record that it is about is found by ([`crate::vault::Index`]), where only
        /// other spellings were found.
        #[serde(default)]
        record: Option<String>,
        /// Of a person's own request that is declined: why, as the person is told.
        #[serde(default)]
        refusal: Option<Refusal>,
    },
    /// An answer was made. Its statement is in the same transaction.
    Answered {
        /// Which request.
        request: RequestId,
        /// By which permit.
        permit: Digest,
        /// What came of it.
        outcome: Outcome,
        /// The ids of the local rules that decided.
        rules: Vec<String>,
        /// Digest of the statement.
        statement: Digest,
    },
    /// An answer to a request of ours was opened and is in order.
    AnswerOpened {
        /// Which request.
        request: RequestId,
        /// What came of it.
        outcome: Outcome,
    },
    /// An answer to a request of ours is not in order.
    AnswerRefused {
        /// Which request.
        request: RequestId,
        /// Why.
        code: ErrorCode,
    },
    /// An answer was shown.
    Viewed {
        /// Which request.
        request: RequestId,
        /// To whom.
        worker: String,
    },
    /// An answer of ours is not sent: what it rested on was withdrawn since it was made.
    HeldBack {
        /// Place in the outbox.
        seq: u64,
    },
    /// An answer is to be destroyed.
    ErasureBegun {
        /// Which request.
        request: RequestId,
    },
    /// An answer was destroyed, its keys and openings before this was written.
    Erased {
        /// Which request.
        request: RequestId,
    },
    /// The oblivious function gave handles, by the name of the match token
    /// ([`crate::vault::Index`]).
    HandlesFound(Vec<(Digest, Handle)>),
    /// The same for other spellings of own people.
    NearFound(Vec<NearHandles>),
    /// Whom a consent or a case is about, as versions that did not seal wrote it.
    Labelled {
        /// Id of the consent or case.
        id: String,
        /// The person.
        handle: Handle,
        /// The name as typed.
        label: String,
    },
    /// Part of an import, as versions that did not seal wrote it. Without effect until its
    /// `ImportCommitted`.
    ImportChunk {
        /// Which import.
        import: String,
        /// Which part, from 0.
        part: u32,
        /// People with their facts.
        people: Vec<ImportedPerson>,
    },
    /// The same, each person sealed.
    ImportSealed {
        /// Which import.
        import: String,
        /// Which part, from 0.
        part: u32,
        /// People with their facts.
        sealed: SealedPart,
    },
    /// All parts of an import are there.
    ImportCommitted {
        /// Which import.
        import: String,
        /// How many parts.
        parts: u32,
    },
    /// Something that a second person here has to look at, or did.
    AuditCase(Box<CaseEvent>),
    /// An answer is kept that was received in a case which ended without a concern.
    KeptAfterCase {
        /// Which request.
        request: RequestId,
        /// Why.
        reason: KeepReason,
        /// Who says so.
        worker: String,
    },
    /// What a person asks about herself: at the door, or kept back by an owner.
    Rights(Box<RightsEvent>),
    /// A consent to a service of this agency.
    ServiceConsent(Box<ServiceEvent>),
    /// What opens the commitment to the evidence of a consent to share: it stays here.
    EvidenceKept {
        /// The consent.
        consent: ConsentId,
        /// Opens it; its data is the SHA-256 of the paper.
        opening: Opening,
    },
    /// The text of an agreement is kept: the one whose digest stands in its terms.
    AgreementKept {
        /// Which.
        agreement: AgreementId,
        /// In canonical form.
        document: Bytes,
    },
    /// A worker wants a proposal of rules endorsed, and a second one has to.
    EndorsementAsked {
        /// Digest of its terms.
        proposal: Digest,
        /// The first worker.
        worker: String,
    },
    /// A new origin of the log was accepted.
    OriginAccepted(Box<OriginAccepted>),
    /// An imported person is to be known here no more.
    PersonForgotten {
        /// The name of the source's id (see [`crate::vault::Index`]), or the id itself, as it stands
        /// in the record.
        source: SourceId,
        /// The name under which imports leave the person out from now on; none, if a record of
        /// another form follows.
        mark: Option<SourceId>,
    },
    /// Whom a consent or a case is about, as known here only.
    NameKept {
        /// Id of the consent or case.
        id: String,
        /// The person.
        handle: Handle,
        /// Part of what its key is found by.
        drawn: Bytes,
        /// The name as typed, sealed.
        sealed: Bytes,
    },
    /// What names belonged to was seen to be over.
    NamesOver {
        /// Ids of consents and cases.
        ids: Vec<String>,
    },
    /// What names belong to is not over after all: it came later.
    NamesNotOver {
        /// Ids of consents and cases.
        ids: Vec<String>,
    },
    /// Names are to be known here no more.
    NamesForgotten {
        /// Ids of consents and cases.
        ids: Vec<String>,
    },
    /// Keys of people who were replaced or forgotten are gone, before this was written.
    KeysDestroyed {
        /// Their names.
        names: Vec<String>,
    },
}

impl Event {
    /// The code of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Stated(_) => "stated",
            Self::Settled { .. } => "settled",
            Self::Witnessed(_) => "witnessed",
            Self::Noticed(_) => "noticed",
            Self::PermitRefused { .. } => "permit_refused",
            Self::ReviewAsked { .. } => "review_asked",
            Self::Reviewed { .. } => "reviewed",
            Self::Answered { .. } => "answered",
            Self::AnswerOpened { .. } => "answer_opened",
            Self::AnswerRefused { .. } => "answer_refused",
            Self::Viewed { .. } => "viewed",
            Self::HeldBack { .. } => "held_back",
            Self::ErasureBegun { .. } => "erasure_begun",
            Self::Erased { .. } => "erased",
            Self::HandlesFound(_) => "handles_found",
            Self::NearFound(_) => "near_found",
            Self::Labelled { .. } => "labelled",
            Self::NameKept { .. } => "name_kept",
            Self::NamesOver { .. } => "names_over",
            Self::NamesForgotten { .. } => "names_forgotten",
            Self::NamesNotOver { .. } => "names_not_over",
            Self::ImportChunk { .. } => "import_chunk",
            Self::ImportSealed { .. } => "import_sealed",
            Self::ImportCommitted { .. } => "import_committed",
            Self::AuditCase(event) => event.kind(),
            Self::KeptAfterCase { .. } => "kept_after_case",
            Self::Rights(event) => event.kind(),
            Self::ServiceConsent(event) => event.kind(),
            Self::EvidenceKept { .. } => "evidence_kept",
            Self::AgreementKept { .. } => "agreement_kept",
            Self::EndorsementAsked { .. } => "endorsement_asked",
            Self::OriginAccepted(_) => "origin_accepted",
            Self::PersonForgotten { .. } => "person_forgotten",
            Self::KeysDestroyed { .. } => "keys_destroyed",
        }
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Event({})", self.kind())
    }
}

/// Events that happen together.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// What.
    pub events: Vec<Event>,
}

/// A journal record that this version can't read. For an operator: nothing is guessed.
#[derive(Debug, thiserror::Error)]
#[error("a journal record is not in the form of this version")]
pub struct NotAnEvent;

#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(rename = "@version")]
    version: u8,
    at: Timestamp,
    events: Vec<String>,
}

const VERSION: u8 = 3;

impl Transaction {
    /// The journal's form.
    ///
    /// # Errors
    /// Does not happen for values of these types; kept so that nothing is lost silently.
    pub fn to_record(&self) -> Result<JournalRecord, NotAnEvent> {
        let events: Vec<_> = self.events.iter().map(|e| e.kind().to_owned()).collect();
        let head = Head {
            version: VERSION,
            at: self.at,
            events,
        };
        Ok(JournalRecord {
            entry: serde_json::to_vec(&head).map_err(|_| NotAnEvent)?,
            sidecar: binary::to_vec(&self.events).map_err(|_| NotAnEvent)?,
        })
    }

    /// Reads the journal's form.
    ///
    /// # Errors
    /// Another version, or damage that its checksum did not see.
    pub fn from_record(record: &JournalRecord) -> Result<Self, NotAnEvent> {
        let head: Head = serde_json::from_slice(&record.entry).map_err(|_| NotAnEvent)?;
        if head.version != VERSION {
            return Err(NotAnEvent);
        }
        let events = binary::from_slice(&record.sidecar).map_err(|_| NotAnEvent)?;
        Ok(Self {
            at: head.at,
            events,
        })
    }
}
