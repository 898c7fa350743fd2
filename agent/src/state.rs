//! The rows of the agent's projection, and typed access to them.
//!
//! In scope: row types, keys, reads. Out of scope: what changes them ([`crate::apply`]). Nothing
//! opened of an answer is ever a row: it is opened again from its sealed form at each look.

pub use crate::facts::sealed::{PersonRecord, PersonRow};
pub(crate) mod key;

use crate::{
    event::{Noticed, Stated, Verdict},
    facts::fact::Fact,
    rights::Refusal,
};
use passerelle_audit::witness::WitnessState;
use passerelle_model::{
    binary,
    bytes::{Bytes, Commitment, Digest, Handle, PublicKey},
    error::ErrorCode,
    ids::{AgencyId, AgreementId, CaseId, ConsentId, RequestId},
    pdp::Obligation,
    records::{Agreement, Case, Consent, Decision},
    request::Status,
    statement::{AgencyKeys, Item, Request},
    store::{Overlay, Read, StoreError},
    time::Timestamp,
    vocabulary::{Category, EmergencyKind, LegalBasis, Outcome, Purpose, WorkerRole},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;

/// Version of the rows; another version on disk means rebuild.
pub const SCHEMA_VERSION: u32 = 9;

/// Most rows that a list shows.
pub const MAX_ROWS: usize = 10_000;

/// Counters and cursors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Lowest log index whose notice is not journaled.
    pub next_notice: u64,
    /// The same for membership notices.
    pub next_member: u64,
    /// When the newest entry was sequenced of which the broker gave notice, by the broker's clock.
    pub heard_at: Option<Timestamp>,
    /// What the witness accepted last.
    pub witness: WitnessState,
    /// The next place in the outbox.
    pub next_out: u64,
    /// Statements in the outbox.
    pub outbox: u64,
    /// Requests that wait for a person here.
    pub reviews: u64,
    /// People in the index.
    pub people: u64,
    /// Facts about them.
    pub facts: u64,
    /// People without a handle.
    pub without_handle: u64,
    /// Notices that came after later ones: the broker had kept them back.
    pub late: u64,
    /// The newest seal: the first index that it does not cover, and when it was made.
    pub sealed: Option<(u64, Timestamp)>,
    /// Statements before this place in the outbox were made before the newest withdrawal that is
    /// known here.
    pub withdrawn_before: u64,
    /// Verifier key of the newest origin of the log that was accepted here; none if the log is that
    /// of the enrolment.
    pub origin: Option<String>,
    /// Index of the entry by which it began: no permit from before counts.
    pub origin_since: u64,
    /// Whether the log has not shown yet that nothing of this agency's own is missing.
    pub resuming: bool,
}

/// A member, from verified membership entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// Its keys.
    pub keys: AgencyKeys,
    /// Signing keys of earlier enrolments: old entries are signed by them.
    pub former: Vec<PublicKey>,
    /// Certificate serial, hexadecimal.
    pub certificate: String,
    /// Whether it is a member now.
    pub active: bool,
    /// Index of the entry since which it has been a member without a break.
    pub since: u64,
}

/// What became of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRow {
    /// Why it was refused, if it was.
    pub code: Option<ErrorCode>,
    /// Index of its entry.
    pub index: Option<u64>,
}

/// One step with its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Index of the entry.
    pub index: u64,
    /// Type of the entry or statement.
    pub what: String,
    /// When, by the broker's clock.
    pub at: Timestamp,
}

/// An answer to a request of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRow {
    /// Index of its entry.
    pub index: u64,
    /// When it was sequenced.
    pub at: Timestamp,
    /// Digest of the permit that it names.
    pub permit: Digest,
    /// Digest of the sealed bytes.
    pub sealed: Digest,
    /// The commitment to its outcome.
    pub outcome: Commitment,
    /// Whether it was opened and found in order.
    pub in_order: bool,
}

/// A request that this agency made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskRow {
    /// What was asked.
    pub request: Request,
    /// Digest of the statement.
    pub statement: Digest,
    /// When it was made.
    pub at: Timestamp,
    /// Where it stands.
    pub status: Status,
    /// The latest decision.
    pub decision: Option<Decision>,
    /// The permits that were issued: index and digest, newest last.
    pub permits: Vec<(u64, Digest)>,
    /// What the holder may have been told to attach, from the newest permit.
    pub obligations: Vec<Obligation>,
    /// The answer.
    pub answer: Option<AnswerRow>,
    /// Why nothing more will come.
    pub stopped: Option<String>,
    /// When the answer was recalled: the consent that it rested on is withdrawn.
    pub recalled: Option<Timestamp>,
    /// Its entries.
    pub trail: Vec<Step>,
}

/// What a reviewer said, and about which items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// What.
    pub verdict: Verdict,
    /// Which items it covers.
    pub items: Vec<Item>,
    /// Who said it.
    pub workers: Vec<String>,
    /// Whether a second person has to agree before it counts.
    pub awaits_second: bool,
    /// The own record that it is about, where only other spellings were found.
    pub record: Option<String>,
    /// Of a person's own request that is declined: why, as the person is told.
    #[serde(default)]
    pub refusal: Option<Refusal>,
}

/// The answer that this agency gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenRow {
    /// By which permit.
    pub permit: Digest,
    /// What came of it.
    pub outcome: Outcome,
    /// Digest of its statement.
    pub statement: Digest,
    /// Whether the broker has sequenced it.
    pub accepted: bool,
}

/// A request that this agency is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRow {
    /// Which.
    pub request: RequestId,
    /// Who asks.
    pub requester: AgencyId,
    /// What the newest permit allows.
    pub items: Vec<Item>,
    /// What for.
    pub purpose: Purpose,
    /// On which basis.
    pub basis: LegalBasis,
    /// In which case.
    pub case: Option<CaseId>,
    /// The emergency that is claimed.
    pub emergency: Option<EmergencyKind>,
    /// What the worker does.
    pub role: Option<WorkerRole>,
    /// When the first permit was sequenced.
    pub at: Timestamp,
    /// Where it stands.
    pub status: Status,
    /// The newest permit.
    pub permit: Digest,
    /// Until when a person here should decide.
    pub review_by: Option<Timestamp>,
    /// Whether there was a record when a person here was asked.
    pub record_found: Option<bool>,
    /// What the person said.
    pub verdict: Option<VerdictRow>,
    /// The answer.
    pub given: Option<GivenRow>,
    /// One that was made before and is not sent any more; the broker may have it nevertheless.
    pub held_back: Option<GivenRow>,
    /// The expired permit for which another decision was asked.
    pub renewing: Option<Digest>,
    /// A permit that could not be used for now: another is to be asked for.
    pub postponed: Option<Digest>,
    /// Why nothing more will happen.
    pub stopped: Option<String>,
    /// Its entries.
    pub trail: Vec<Step>,
}

/// Whom a consent or a case is about, as known here only.
#[derive(Clone, Serialize, Deserialize)]
pub struct LabelRow {
    /// The person.
    pub handle: Handle,
    /// The name as typed, if a version that did not seal wrote it.
    pub label: String,
    /// Else: part of what the key of the sealed name is found by.
    pub drawn: Option<Bytes>,
}

/// The flags of a fact: what the agency's own policy knows of it. All that ever occurred in a
/// category are kept, at most 64: four flags, four sensitivities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Weight {
    /// From a programme whose very name is protected.
    pub specially_protected: bool,
    /// A youth record.
    pub youth_record: bool,
    /// Somebody else could come to harm.
    pub third_party_at_risk: bool,
    /// Restricted to its owner.
    pub restricted: bool,
    /// 0 to 3.
    pub sensitivity: u8,
}

impl Weight {
    /// That of `fact`.
    pub fn of(fact: &Fact) -> Self {
        Self {
            specially_protected: fact.specially_protected,
            youth_record: fact.youth_record,
            third_party_at_risk: fact.third_party_at_risk,
            restricted: fact.restricted,
            sensitivity: fact.sensitivity.rank(),
        }
    }
}

/// The row at `key`.
pub(crate) fn load<T: DeserializeOwned>(
    view: &dyn Read,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = view.get(key)? else {
        return Ok(None);
    };
    decode(&bytes).map(Some)
}

/// A row's value.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    // The parser's message may quote the row.
    binary::from_slice(bytes)
        .map_err(|_| StoreError("a row is not in the form of this version".to_owned()))
}

/// Writes the row at `key`.
pub(crate) fn put<T: Serialize>(
    view: &mut Overlay<'_>,
    key: Vec<u8>,
    row: &T,
) -> Result<(), StoreError> {
    let bytes = binary::to_vec(row).map_err(|_| StoreError("a row can't be encoded".to_owned()))?;
    view.write(key, Some(bytes));
    Ok(())
}

/// All rows of a table, up to [`MAX_ROWS`].
pub(crate) fn table<T: DeserializeOwned>(
    view: &dyn Read,
    prefix: &str,
) -> Result<Vec<T>, StoreError> {
    let rows = view.scan(prefix.as_bytes(), None, MAX_ROWS)?;
    rows.iter().map(|(_, bytes)| decode(bytes)).collect()
}

/// The rows of a table that are wanted, however many it has.
pub(crate) fn table_where<T: DeserializeOwned>(
    view: &dyn Read,
    prefix: &str,
    is_wanted: impl Fn(&T) -> bool,
) -> Result<Vec<T>, StoreError> {
    let (mut wanted, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let rows = view.scan(prefix.as_bytes(), after.as_deref(), MAX_ROWS)?;
        for (_, bytes) in &rows {
            wanted.extend(Some(decode(bytes)?).filter(|row| is_wanted(row)));
        }
        match rows.last() {
            Some((last, _)) if rows.len() == MAX_ROWS => after = Some(last.clone()),
            _ => return Ok(wanted),
        }
    }
}

/// Counters and cursors.
pub fn meta(view: &dyn Read) -> Result<Meta, StoreError> {
    Ok(load(view, key::META)?.unwrap_or_default())
}

/// The member `agency`, active or not.
pub fn member(view: &dyn Read, agency: &AgencyId) -> Result<Option<MemberRow>, StoreError> {
    load(view, &key::of(key::MEMBER, agency.as_str().as_bytes()))
}

/// All members, active or not, by name.
pub fn members(view: &dyn Read) -> Result<Vec<(AgencyId, MemberRow)>, StoreError> {
    let broken = || StoreError("a row is not in the form of this version".to_owned());
    view.scan(key::MEMBER.as_bytes(), None, MAX_ROWS)?
        .iter()
        .map(|(key, bytes)| {
            let name = key.get(key::MEMBER.len()..).unwrap_or_default();
            let name = std::str::from_utf8(name).ok().and_then(|n| n.parse().ok());
            let row = binary::from_slice(bytes).map_err(|_| broken())?;
            Ok((name.ok_or_else(broken)?, row))
        })
        .collect()
}

/// The outbox after place `after`, in order, at most `limit`.
pub fn outbox(
    view: &dyn Read,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, Stated)>, StoreError> {
    let broken = || StoreError("a row is not in the form of this version".to_owned());
    let after = after.map(key::out);
    view.scan(key::OUT.as_bytes(), after.as_deref(), limit)?
        .iter()
        .map(|(key, bytes)| {
            let seq = key.get(key::OUT.len()..).and_then(|b| b.try_into().ok());
            let seq = u64::from_be_bytes(seq.ok_or_else(broken)?);
            Ok((seq, binary::from_slice(bytes).map_err(|_| broken())?))
        })
        .collect()
}

/// The statement at place `seq` of the outbox, unless it is settled.
pub fn outgoing(view: &dyn Read, seq: u64) -> Result<Option<Stated>, StoreError> {
    load(view, &key::out(seq))
}

/// What became of the statement with this digest; `None` while it is in the outbox.
pub fn sent(view: &dyn Read, statement: &Digest) -> Result<Option<SentRow>, StoreError> {
    load(view, &key::of(key::SENT, &statement.0))
}

/// A request of ours.
pub fn ask(view: &dyn Read, request: &RequestId) -> Result<Option<AskRow>, StoreError> {
    load(view, &key::of(key::ASK, request.as_str().as_bytes()))
}

/// All requests of ours.
pub fn asks(view: &dyn Read) -> Result<Vec<AskRow>, StoreError> {
    table(view, key::ASK)
}

/// The sealed answer to a request of ours.
pub fn sealed(view: &dyn Read, request: &RequestId) -> Result<Option<Bytes>, StoreError> {
    let key = key::of(key::SEALED, request.as_str().as_bytes());
    Ok(view.get(&key)?.map(Bytes))
}

/// A request to us.
pub fn hold(view: &dyn Read, request: &RequestId) -> Result<Option<HoldRow>, StoreError> {
    load(view, &key::of(key::HOLD, request.as_str().as_bytes()))
}

/// All requests to us.
pub fn holds(view: &dyn Read) -> Result<Vec<HoldRow>, StoreError> {
    table(view, key::HOLD)
}

/// Those that are wanted, however many there are.
pub(crate) fn holds_where(
    view: &dyn Read,
    is_wanted: impl Fn(&HoldRow) -> bool,
) -> Result<Vec<HoldRow>, StoreError> {
    table_where(view, key::HOLD, is_wanted)
}

/// The newest offer for a request to us, as it was verified.
pub fn offer(view: &dyn Read, request: &RequestId) -> Result<Option<Noticed>, StoreError> {
    load(view, &key::of(key::OFFER, request.as_str().as_bytes()))
}

/// An agreement.
pub fn agreement(view: &dyn Read, id: &AgreementId) -> Result<Option<Agreement>, StoreError> {
    load(view, &key::of(key::AGREEMENT, id.as_str().as_bytes()))
}

/// All agreements.
pub fn agreements(view: &dyn Read) -> Result<Vec<Agreement>, StoreError> {
    table(view, key::AGREEMENT)
}

/// A consent.
pub fn consent(view: &dyn Read, id: &ConsentId) -> Result<Option<Consent>, StoreError> {
    load(view, &key::of(key::CONSENT, id.as_str().as_bytes()))
}

/// All consents.
pub fn consents(view: &dyn Read) -> Result<Vec<Consent>, StoreError> {
    table(view, key::CONSENT)
}

/// A case.
pub fn case(view: &dyn Read, id: &CaseId) -> Result<Option<Case>, StoreError> {
    load(view, &key::of(key::CASE, id.as_str().as_bytes()))
}

/// All cases.
pub fn cases(view: &dyn Read) -> Result<Vec<Case>, StoreError> {
    table(view, key::CASE)
}

/// Whom the consent or case `id` is about, if it was made here.
pub fn label(view: &dyn Read, id: &str) -> Result<Option<LabelRow>, StoreError> {
    load(view, &key::of(key::LABEL, id.as_bytes()))
}

/// The person with the source's id `source`.
pub fn person(view: &dyn Read, source: &str) -> Result<Option<PersonRow>, StoreError> {
    load(view, &key::of(key::PERSON, source.as_bytes()))
}

/// The handle of a match token, if it was ever asked for.
pub fn handle_of(view: &dyn Read, token: &Digest) -> Result<Option<Handle>, StoreError> {
    load(view, &key::of(key::TOKEN, &token.0))
}

/// At most `limit` people whose handle is not known.
pub fn without_handle(view: &dyn Read, limit: usize) -> Result<Vec<PersonRow>, StoreError> {
    let mut people = Vec::new();
    for (key, _) in view.scan(key::NO_HANDLE.as_bytes(), None, limit)? {
        let source = key.get(key::NO_HANDLE.len()..).unwrap_or_default();
        people.extend(load(view, &key::of(key::PERSON, source))?);
    }
    Ok(people)
}

/// The records of the person with this handle; several if the source has her or him twice.
pub fn people_by_handle(view: &dyn Read, handle: &Handle) -> Result<Vec<PersonRow>, StoreError> {
    let prefix = key::by_handle(handle, "");
    let mut people = Vec::new();
    for (key, _) in view.scan(&prefix, None, MAX_ROWS)? {
        let source = key.get(prefix.len()..).unwrap_or_default();
        people.extend(load(view, &key::of(key::PERSON, source))?);
    }
    Ok(people)
}

/// The flags that facts of a category ever had here, as versions without names for them wrote it.
pub fn wary(view: &dyn Read, category: Category) -> Result<BTreeSet<Weight>, StoreError> {
    let seen = load(view, &key::of(key::WARY, category.code().as_bytes()))?;
    Ok(seen.unwrap_or_default())
}
