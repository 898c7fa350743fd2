//! Going on under a new origin of the log: what is said again, and that it is all.

use super::Body;
use crate::bytes::Digest;
use serde::{Deserialize, Serialize};

/// Most withdrawals that one resumption names: what fits an entry.
pub const MAX_RESUMED: usize = 400;

/// An agency goes on under a new origin of the log: everything of its own that it knows of, and
/// that was lost with the former one, it has said again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumption {
    /// Index of the entry `supersedes` that it has accepted.
    pub supersedes: u64,
    /// Digests of its statements that withdraw a consent, of those that may have been lost: each
    /// must be in the log before this one. At most [`MAX_RESUMED`].
    pub withdrawals: Vec<Digest>,
    /// Whether no other resumption with more of them follows.
    pub complete: bool,
}

impl Body {
    /// Whether it is one of an agency's papers: what other things rest on, or what takes such a
    /// thing away. They are said again when a log goes on from an older copy; questions and what
    /// belongs to them are not.
    pub const fn is_paper(&self) -> bool {
        match self {
            Self::Consent(_)
            | Self::Withdrawal(_)
            | Self::Agreement(_)
            | Self::AgreementSignature(_)
            | Self::AgreementChange(_)
            | Self::CaseOpening(_)
            | Self::CaseAdvance(_)
            | Self::OverrideReview(_) => true,
            Self::Request(_)
            | Self::Answer(_)
            | Self::Receipt(_)
            | Self::Renewal(_)
            | Self::BundleEndorsement(_)
            | Self::Resumption(_) => false,
        }
    }
}
