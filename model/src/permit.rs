//! The permit: what the broker allows one holder to answer, once, soon.

use crate::{
    bytes::{Digest, PublicKey},
    canonical::{self, CanonicalError},
    ids::{AgencyId, CaseId, RequestId},
    pdp::Obligation,
    statement::Item,
    time::Timestamp,
    vocabulary::{LegalBasis, Purpose},
};
use serde::{Deserialize, Serialize};

/// DSSE payload type of permits.
pub const PAYLOAD_TYPE: &str = "application/vnd.passerelle.permit.v1+json";

/// A permit. It stands whole in its `offered` entry; with the proof of that entry's inclusion and
/// the broker's signature it is what a holder's agent needs to check, alone, that it may answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Which request.
    pub request: RequestId,
    /// Digest of the requester's signed statement.
    pub statement: Digest,
    /// Who asked.
    pub requester: AgencyId,
    /// Who may answer; nobody else.
    pub holder: AgencyId,
    /// What may be answered, each up to its level.
    pub items: Vec<Item>,
    /// What for.
    pub purpose: Purpose,
    /// On which basis.
    pub basis: LegalBasis,
    /// In which case.
    pub case: Option<CaseId>,
    /// To which key the answer must be sealed.
    pub reply_key: PublicKey,
    /// Whether a person at the holder must agree first.
    pub review: bool,
    /// What the recipient must do.
    pub obligations: Vec<Obligation>,
    /// Index of the `decided` entry.
    pub decision: u64,
    /// Digest of the policy bundle.
    pub bundle: Digest,
    /// From when.
    pub issued_at: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

impl Permit {
    /// The digest by which answers name it.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        canonical::digest(self)
    }

    /// Until when each of the two agencies has to have reviewed it, if it wants that; of several
    /// such duties the shortest (DATA, rule 25).
    pub fn review_due(&self) -> Option<Timestamp> {
        let hours = self.obligations.iter().filter_map(|o| match o {
            Obligation::ReviewWithinHours(hours) => Some(u64::from(*hours)),
            _ => None,
        });
        let hours = hours.min()?;
        Some(self.issued_at.plus_s(hours.saturating_mul(3_600)))
    }
}
