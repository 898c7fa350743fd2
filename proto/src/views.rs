//! What the local interfaces show, as JSON. The same structs serve the command line (`--json`
//! prints them), the portal, and tests.

mod audit_cases;
mod bundles;
mod papers;
mod preview;
mod requests;
mod rights;
mod services;
mod warnings;

pub use audit_cases::{AuditCaseView, AuditReason};
pub use bundles::{BundleProposal, BundleView, RulesStatus};
pub use papers::{
    AgreementStep, AgreementView, AgreementWarning, ConsentImport, ConsentView, ConsentsEnding,
};
pub use preview::{HolderPreview, MissingView, PreviewItem, PreviewLimit, PreviewView};
pub use requests::{
    AnswerItem, AnswerView, AskedBy, ItemView, RequestLine, RequestView, TrailStep,
};
pub use rights::{
    DirectItem, OwnerAnswer, OwnerProgress, RightsReply, RightsTask, RightsView, Told,
};
pub use services::{EvidenceCheck, ServiceConsentView};
pub use warnings::{Copies, DeletionView, FewAlike, NearRecord};

use passerelle_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// State of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerStatus {
    /// Federation name.
    pub federation: String,
    /// Version of the program.
    pub version: String,
    /// Entries in the log.
    pub log_size: u64,
    /// Size of the newest checkpoint that a quorum has cosigned.
    pub published_size: u64,
    /// Witnesses that exist, and how many must cosign.
    pub witnesses: u64,
    /// The quorum.
    pub quorum: u64,
    /// Members.
    pub members: Vec<MemberStatus>,
    /// Digest of the policy bundle.
    pub bundle: String,
    /// Its revision.
    #[serde(default)]
    pub bundle_revision: u64,
    /// Until when it is in force, if not without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_expires_at: Option<Timestamp>,
    /// Bundles that wait for the agencies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<BundleProposal>,
    /// Origin of the log.
    #[serde(default)]
    pub origin: String,
    /// Members that have not gone on under this origin: until all have nobody asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaited: Vec<String>,
    /// Agencies that left without: consents recorded before count no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<String>,
    /// Set while nothing is signed because witnesses have cosigned a longer log than this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_copy: Option<SeenMore>,
    /// Witnesses that are no members, in the order of the configuration; none while it is down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside_witnesses: Vec<OutsideWitness>,
    /// How many of these must have cosigned what is published; 0: nobody waits for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outside_required: u64,
    /// Set while a checkpoint waits for these alone, and with it every permit in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for_outside: Option<OutsideWait>,
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A checkpoint that a quorum of the members has cosigned, and too few outside witnesses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideWait {
    /// Its entries.
    pub size: u64,
    /// How many outside witnesses have cosigned it.
    pub have: u64,
}

/// A witness that is no member, as the broker sees it since its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideWitness {
    /// The name of its key.
    pub name: String,
    /// Where it is asked.
    pub url: String,
    /// Entries in the newest checkpoint that it cosigned; 0 if none.
    pub size: u64,
    /// When it did, in milliseconds since 1970 by the broker's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosigned_at_ms: Option<u64>,
    /// Why it does not cosign now, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A witness that has cosigned more than the broker's log holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenMore {
    /// Whose witness.
    pub agency: String,
    /// How many entries it has cosigned.
    pub size: u64,
}

/// One member, as its broker sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Name.
    pub agency: String,
    /// Sector.
    pub sector: String,
    /// Whether it is a member now.
    pub active: bool,
    /// Whether its agent is connected.
    pub connected: bool,
    /// Requests that wait for it.
    pub waiting: u64,
}

/// State of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Agency.
    pub agency: String,
    /// Sector.
    pub sector: String,
    /// Federation.
    pub federation: String,
    /// Version of the program.
    pub version: String,
    /// The rules by which it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesStatus>,
    /// Whether the stream to the broker is up.
    pub connected: bool,
    /// Why not, as an error code, when it is down.
    pub last_error: Option<String>,
    /// People in the local index.
    pub people: u64,
    /// Facts held.
    pub facts: u64,
    /// People whose handle is not known yet (the broker was unreachable at import).
    pub without_handle: u64,
    /// People who can't be found by other spellings yet; at most some thousands are counted.
    #[serde(default)]
    pub without_near: u64,
    /// Size of the tree that this witness cosigned last.
    pub witness_size: u64,
    /// The root of that tree, hexadecimal.
    #[serde(default)]
    pub witness_root: String,
    /// Origin of the log that it follows.
    #[serde(default)]
    pub origin: String,
    /// Whether the log, under a new origin, has not shown yet that nothing of this agency's own is
    /// missing.
    #[serde(default)]
    pub resuming: bool,
    /// When the newest entry was sequenced of which the broker gave notice here, by the broker's
    /// clock. If it stays while others hear news, the broker may be keeping something back.
    #[serde(default)]
    pub heard_at: Option<Timestamp>,
    /// Notices that came after later ones: the broker had kept them back.
    #[serde(default)]
    pub late_notices: u64,
    /// When the newest seal was made, which counts the entries that reached this agency. Older than
    /// a day and some hours: the broker keeps seals back.
    #[serde(default)]
    pub sealed_at: Option<Timestamp>,
    /// Seals that say another number of entries than were heard here.
    #[serde(default)]
    pub seal_faults: Vec<SealFault>,
    /// This agency's own copy of the log, if it keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorStatus>,
    /// Alerts that nobody has acknowledged.
    #[serde(default)]
    pub alerts: u64,
    /// Agreements that end soon or are due for review.
    #[serde(default)]
    pub agreement_warnings: Vec<AgreementWarning>,
    /// Proofs that the log was rewritten, in the directory `forks` of the agent.
    #[serde(default)]
    pub fork_proofs: u64,
    /// Statements that wait to be sent.
    pub outbox: u64,
    /// Requests that wait for a reviewer here.
    pub reviews: u64,
    /// Members known, from verified entries.
    pub members: Vec<String>,
    /// Active members that witness, as known here.
    #[serde(default)]
    pub witnesses: u64,
    /// How many of them must have cosigned.
    #[serde(default)]
    pub quorum: u64,
    /// Fewer witnesses than this, and no permit is used here; 0: off.
    #[serde(default)]
    pub min_witnesses: u64,
    /// Audit cases that wait for a second person.
    #[serde(default)]
    pub audit_cases: u64,
    /// Those whose deadline is over.
    #[serde(default)]
    pub audit_cases_overdue: u64,
    /// Answers to look at early, since their case ended without a concern.
    #[serde(default)]
    pub deletions: u64,
    /// Those whose deadline is over.
    #[serde(default)]
    pub deletions_overdue: u64,
    /// Workers who may look at audit cases.
    #[serde(default)]
    pub reviewers: u64,
    /// Workers without a name in the settings: questions about them are not recognised.
    #[serde(default)]
    pub unnamed_workers: u64,
    /// Workers who are suspended.
    #[serde(default)]
    pub suspended: Vec<String>,
    /// Consents that end soon.
    #[serde(default)]
    pub consents_ending: ConsentsEnding,
    /// Whole days until the certificate ends; 0 once it has ended.
    #[serde(default)]
    pub certificate_days_left: Option<u64>,
}

/// A seal that does not fit what was heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealFault {
    /// The first index that it counts.
    pub from: u64,
    /// The first that it does not.
    pub until: u64,
    /// How many entries it says have reached this agency; none if it tells this agency nothing.
    pub sealed: Option<u64>,
    /// How many were heard.
    pub heard: u64,
}

/// Something that somebody must look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertView {
    /// Its number, from 1.
    pub id: u64,
    /// When it was first seen, by the agent's clock.
    pub at: Timestamp,
    /// The stable code.
    pub code: String,
    /// What was seen.
    pub what: String,
    /// What to do about it.
    pub what_to_do: String,
    /// A file that proves it to others.
    pub proof: Option<String>,
    /// When somebody said that it was looked at.
    pub acknowledged_at: Option<Timestamp>,
}

/// How an oversight body's own copy of the log stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// Entries in it, verified.
    pub size: u64,
    /// How many more the newest checkpoint covers that the broker showed.
    pub behind: u64,
    /// How many of them were verified to keep to the rules of the log, since the agent's start.
    #[serde(default)]
    pub checked: u64,
    /// The root of the newest checkpoint that was verified, hexadecimal.
    pub root: Option<String>,
    /// When it last held all that the broker showed, by the agent's clock.
    pub level_at: Option<Timestamp>,
    /// Why it can't be brought up to date, as a code.
    pub trouble: Option<String>,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// People read without a problem.
    pub people: u64,
    /// New.
    pub added: u64,
    /// Changed.
    pub updated: u64,
    /// As before.
    pub unchanged: u64,
    /// Facts of the people read.
    pub facts: u64,
    /// People in the index who can't be found yet: the broker did not give their handles so far.
    #[serde(default)]
    pub without_handle: u64,
    /// Rows of people who were forgotten here, left out.
    #[serde(default)]
    pub forgotten: u64,
    /// Rows of people who were forgotten here, taken in all the same.
    #[serde(default)]
    pub brought_back: u64,
    /// Rows that were left out.
    pub problems: Vec<ImportProblem>,
    /// Whether nothing was written.
    pub dry_run: bool,
}

/// A row that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportProblem {
    /// Line in the file, from 1.
    pub line: u64,
    /// Column name, if one is to blame.
    pub column: Option<String>,
    /// What is wrong, without the cell's content.
    pub message: String,
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseView {
    /// Its id.
    pub case: String,
    /// Who leads.
    pub lead: String,
    /// Profile code.
    pub profile: String,
    /// Stage code.
    pub stage: String,
    /// Threshold code.
    pub threshold: String,
    /// Agencies with their roles.
    pub agencies: std::collections::BTreeMap<String, String>,
    /// Plan categories.
    pub plan: Vec<String>,
    /// Outcome code, if closed.
    pub outcome: Option<String>,
    /// The person, if known here.
    pub person: Option<String>,
    /// At whoever opened it, up to stage 2: that too few people share what is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_alike: Option<FewAlike>,
    /// What became of the facts that this agency gave in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
}

/// A thing that was done and is in the log, or why it was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Id of what was made or changed.
    pub id: String,
    /// Index of its entry, if it is in the log already.
    pub index: Option<u64>,
    /// done, or queued while the broker can't be reached. Of a verdict that stands whatever becomes of
    /// what the log is told of it, also why the log refused that.
    pub status: String,
}

/// Log entries for a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// Size of the tree that the newest cosigned checkpoint covers.
    pub size: u64,
    /// Distinct valid cosignatures on it.
    pub cosignatures: u64,
    /// Whether it was read from this agency's own mirror, not from the broker.
    #[serde(default)]
    pub from_mirror: bool,
    /// The entries.
    pub entries: Vec<AuditLine>,
}

/// One log entry for a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Its index.
    pub index: u64,
    /// The entry, if the reader may read it.
    pub entry: Option<serde_json::Value>,
    /// Type of the entry, or of the statement in it; `sealed` if it may not be read.
    pub what: String,
    /// One sentence.
    pub summary: String,
    /// Leaf hash, hexadecimal.
    pub leaf_hash: String,
}
