//! The state machine of a request.
//!
//! ```text
//! Submitted -> Decided -> Queued -> Offered -> (HolderReview) -> Released | Declined | CannotSay
//!                 |          |         |                             -> Delivered -> Viewed -> Erased
//!               Denied    Expired | Stopped
//! ```
//! The broker never learns which of `Released`, `Declined`, `CannotSay` it forwards, nor whether a
//! human reviews: it sees [`Status::Answered`], which stands for the three (promise 9). The holder
//! keeps the exact one.

use crate::error::ErrorCode;
use serde::{Deserialize, Serialize};

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Accepted for decision.
    Submitted,
    /// Decided: something is permitted or needs review.
    Decided,
    /// Decided: nothing is permitted. Final.
    Denied,
    /// Waits for the holder to be reachable.
    Queued,
    /// A permit was issued to the holder.
    Offered,
    /// At the holder: a person decides.
    HolderReview,
    /// At the holder: facts left.
    Released,
    /// At the holder: declined.
    Declined,
    /// At the holder: cannot say.
    CannotSay,
    /// At the broker: one of the three above, sealed.
    Answered,
    /// Not answered in time. Final.
    Expired,
    /// Stopped by a withdrawal, an end of the agreement, a revocation. Final.
    Stopped,
    /// The requester has it.
    Delivered,
    /// A worker has seen it.
    Viewed,
    /// The requester has destroyed it. Final.
    Erased,
}

/// What may happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A decision that permits or asks for review.
    Permit,
    /// A decision that denies.
    Deny,
    /// Put in the holder's queue.
    Queue,
    /// A permit leaves for the holder.
    Offer,
    /// The holder's worker is asked.
    AskReviewer,
    /// The holder releases.
    Release,
    /// The holder declines.
    Decline,
    /// The holder cannot say.
    CannotSay,
    /// The broker sequences an answer.
    Answer,
    /// Time is up.
    Expire,
    /// The ground is gone.
    Stop,
    /// Receipt: delivered.
    Deliver,
    /// Receipt: viewed.
    View,
    /// Receipt: erased.
    Erase,
}

impl Status {
    /// The status after `step`, or [`ErrorCode::WrongState`].
    pub const fn after(self, step: Step) -> Result<Self, ErrorCode> {
        use Status as S;
        Ok(match (self, step) {
            (S::Submitted | S::Decided | S::Queued | S::Offered, Step::Permit) => S::Decided,
            (S::Submitted | S::Decided | S::Queued | S::Offered, Step::Deny) => S::Denied,
            (S::Decided, Step::Queue) => S::Queued,
            (S::Queued | S::Offered, Step::Offer) => S::Offered,
            (S::Offered, Step::AskReviewer) => S::HolderReview,
            (S::Offered | S::HolderReview, Step::Release) => S::Released,
            (S::Offered | S::HolderReview, Step::Decline) => S::Declined,
            (S::Offered | S::HolderReview, Step::CannotSay) => S::CannotSay,
            (S::Offered, Step::Answer) => S::Answered,
            (
                S::Submitted | S::Decided | S::Queued | S::Offered | S::HolderReview,
                Step::Expire,
            ) => S::Expired,
            (S::Submitted | S::Decided | S::Queued | S::Offered | S::HolderReview, Step::Stop) => {
                S::Stopped
            }
            (S::Answered, Step::Deliver) => S::Delivered,
            (S::Delivered, Step::View) => S::Viewed,
            (S::Answered | S::Delivered | S::Viewed, Step::Erase) => S::Erased,
            _ => return Err(ErrorCode::WrongState),
        })
    }

    /// Whether an answer may still come.
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Submitted | Self::Decided | Self::Queued | Self::Offered | Self::HolderReview
        )
    }

    /// The code, also a translation key.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Decided => "decided",
            Self::Denied => "denied",
            Self::Queued => "queued",
            Self::Offered => "offered",
            Self::HolderReview => "holder_review",
            Self::Released => "released",
            Self::Declined => "declined",
            Self::CannotSay => "cannot_say",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Stopped => "stopped",
            Self::Delivered => "delivered",
            Self::Viewed => "viewed",
            Self::Erased => "erased",
        }
    }
}
