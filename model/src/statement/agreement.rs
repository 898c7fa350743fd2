//! What is signed of an information sharing agreement: the terms that decide, the digest of the
//! whole text, and what a party may say of it later.
//!
//! Out of scope: the text itself, which never crosses the broker.

use super::{Endorsement, Signatories};
use crate::{
    bytes::Digest,
    ids::{AgencyId, AgreementId},
    time::Timestamp,
    vocabulary::{AgreementReason, Category, LegalBasis, Level, Purpose},
};
use serde::{Deserialize, Serialize};

/// One line of an agreement: what may go from whom to whom, up to which level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementLine {
    /// Who discloses.
    pub from: AgencyId,
    /// Who receives.
    pub to: AgencyId,
    /// What.
    pub category: Category,
    /// The highest level.
    pub level: Level,
    /// How long the recipient may keep it, in days.
    pub retention_days: u16,
}

/// The basis in law on which one party shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementParty {
    /// The party.
    pub agency: AgencyId,
    /// Its basis.
    pub basis: LegalBasis,
}

/// An information sharing agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementTerms {
    /// Made by the proposing node.
    pub agreement: AgreementId,
    /// Which version of which text this is.
    pub edition: Edition,
    /// Who shares, each on its own basis. At least two; all sign.
    pub parties: Vec<AgreementParty>,
    /// What for.
    pub purposes: Vec<Purpose>,
    /// What may go where.
    pub lines: Vec<AgreementLine>,
    /// In force from.
    pub starts_at: Timestamp,
    /// Due for review.
    pub review_at: Timestamp,
    /// In force until; at this instant it no longer is.
    pub ends_at: Timestamp,
    /// Who signs for a party, where the key of its node is not enough. Left out of the canonical
    /// form if there are none, as before there could be any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatories: Vec<Signatories>,
}

/// A party signs an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementSignature {
    /// Which.
    pub agreement: AgreementId,
    /// Digest of the canonical terms, so that nobody signs what it did not see.
    pub terms: Digest,
    /// Those of the party's signatories, if it has any. Left out of the canonical form otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endorsements: Vec<Endorsement>,
}

/// Which version of an agreement this is, and of which text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition {
    /// 1 for an agreement that follows no other, else one more than that of the one it follows.
    pub version: u16,
    /// The version before. It decides nothing any more once this one is signed by all and has
    /// begun.
    pub supersedes: Option<AgreementId>,
    /// Digest of the whole document, of which the terms are what decides: whoever signs the terms
    /// signs the document. None if the parties keep no more than the terms.
    pub document: Option<Digest>,
}

impl Default for Edition {
    /// A first version without a document.
    fn default() -> Self {
        Self {
            version: 1,
            supersedes: None,
            document: None,
        }
    }
}

/// A party changes whether an agreement may be relied on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementChange {
    /// Which.
    pub agreement: AgreementId,
    /// How.
    pub change: Change,
}

/// What a party may do to an agreement by itself. It takes effect where it is sequenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Nothing rests on it until the same party lifts the suspension.
    Suspend(AgreementReason),
    /// The party's own suspension ends; those of others stand.
    Lift,
    /// Nothing rests on it any more. Before all have signed: it can no longer be signed.
    Terminate(AgreementReason),
}
