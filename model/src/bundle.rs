//! Which bundle of rules is in force, and who has to say so.
//!
//! In scope: what a proposal says of a bundle, how many agencies must endorse it, what an
//! activation needs. One set of functions for the broker, which decides; for every agent, which
//! counts for itself; and for who verifies an export. Out of scope: what is in a bundle
//! (`policies`), fetching and keeping it.

use crate::{
    bytes::Digest,
    canonical::{self, CanonicalError},
    error::ErrorCode,
    ids::AgencyId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most proposals that may wait for endorsements at one time.
pub const MAX_PROPOSALS: usize = 16;

/// Life of a proposal that is not endorsed, in seconds: thirty days.
pub const PROPOSAL_LIFE_S: u64 = 30 * 86_400;

/// How much higher a revision may be than the one before: one at the end of the numbers would be
/// the last.
pub const MAX_REVISION_STEP: u64 = 1_000;

/// How far off the time may be at which rules come into force, in seconds: a year.
pub const MAX_NOTICE_S: u64 = 366 * 86_400;

/// Numbers from here on have no canonical form.
const NUMBER_END: u64 = 1 << 53;

/// What is proposed: the rules by their digest, and the place that they take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleTerms {
    /// Digest of the rules, as it stands in decisions.
    pub bundle: Digest,
    /// The rules that they replace, by digest; none for those that a federation begins with.
    pub previous: Option<Digest>,
    /// Higher than that of every bundle before; 0 for those that a federation begins with.
    pub revision: u64,
    /// In force at the soonest from then on.
    pub not_before: Timestamp,
    /// In force until; at this instant no longer. `None` is without end.
    pub expires_at: Option<Timestamp>,
}

impl BundleTerms {
    /// The terms of the rules that a federation begins with: in force at once, without end.
    pub const fn founding(bundle: Digest) -> Self {
        Self {
            bundle,
            previous: None,
            revision: 0,
            not_before: Timestamp(0),
            expires_at: None,
        }
    }

    /// What an endorsement is given to: nobody signs what it did not see.
    ///
    /// # Errors
    /// None that terms can lead to.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        canonical::digest(self)
    }

    /// Whether they are out of force for good at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether they may follow those in force, at `now`.
    ///
    /// # Errors
    /// [`ErrorCode::Duplicate`] for what is in force already; [`ErrorCode::OutOfRange`] for a
    /// revision that is not higher or far too high, terms that are over or far off; [`ErrorCode::WrongState`] if they
    /// replace others.
    pub fn may_follow(&self, in_force: &Self, now: Timestamp) -> Result<(), ErrorCode> {
        if self.bundle == in_force.bundle {
            return Err(ErrorCode::Duplicate);
        }
        if self.revision <= in_force.revision || self.is_over(now) {
            return Err(ErrorCode::OutOfRange);
        }
        if self.expires_at.is_some_and(|end| end <= self.not_before) {
            return Err(ErrorCode::OutOfRange);
        }
        let highest = in_force.revision.saturating_add(MAX_REVISION_STEP);
        let numbers = [self.revision, self.expires_at.map_or(0, |end| end.0)];
        if self.revision > highest
            || self.not_before > now.plus_s(MAX_NOTICE_S)
            || numbers.iter().any(|number| *number >= NUMBER_END)
        {
            return Err(ErrorCode::OutOfRange);
        }
        if self.previous != Some(in_force.bundle) {
            return Err(ErrorCode::WrongState);
        }
        Ok(())
    }
}

/// A proposal with those who have endorsed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// What is proposed.
    pub terms: BundleTerms,
    /// Digest of the terms.
    pub digest: Digest,
    /// When its entry was sequenced.
    pub at: Timestamp,
    /// Index of its entry.
    pub index: u64,
    /// Who endorsed it. Whether they are members is for the count.
    pub endorsed: BTreeSet<AgencyId>,
}

impl Proposal {
    /// A proposal that nobody has endorsed.
    ///
    /// # Errors
    /// As [`BundleTerms::digest`].
    pub fn new(terms: BundleTerms, at: Timestamp, index: u64) -> Result<Self, CanonicalError> {
        Ok(Self {
            digest: terms.digest()?,
            terms,
            at,
            index,
            endorsed: BTreeSet::new(),
        })
    }

    /// How many of `members` have endorsed it.
    pub fn count<'a>(&self, members: impl IntoIterator<Item = &'a AgencyId>) -> usize {
        let members: BTreeSet<_> = members.into_iter().collect();
        let endorsed = self
            .endorsed
            .iter()
            .filter(|agency| members.contains(agency));
        endorsed.count()
    }

    /// Whether it may be put in force at `now` in place of `in_force`.
    ///
    /// # Errors
    /// As [`BundleTerms::may_follow`]; [`ErrorCode::Stale`] before its time or long after it was
    /// proposed; [`ErrorCode::BundleNotEndorsed`] while too few of `members` have endorsed it.
    pub fn check(
        &self,
        in_force: &BundleTerms,
        members: &[AgencyId],
        now: Timestamp,
    ) -> Result<(), ErrorCode> {
        self.terms.may_follow(in_force, now)?;
        if now < self.terms.not_before || self.is_stale(now) {
            return Err(ErrorCode::Stale);
        }
        if self.count(members) < needed(members.len()) {
            return Err(ErrorCode::BundleNotEndorsed);
        }
        Ok(())
    }

    /// Whether it has waited too long: nobody is surprised by what was endorsed a year ago. One
    /// that is for later waits from then on.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let waits_since = self.at.max(self.terms.not_before);
        waits_since.plus_s(PROPOSAL_LIFE_S) <= now || self.terms.is_over(now)
    }
}

/// How many of so many members must endorse: more than half of them. No setting makes it less.
pub const fn needed(members: usize) -> usize {
    members / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_must_endorse_and_both_of_two() {
        let table = [
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 3),
            (5, 3),
            (16, 9),
            (1_000, 501),
        ];
        for (members, endorsements) in table {
            assert_eq!(needed(members), endorsements, "{members}");
        }
    }

    fn terms(bundle: u8, previous: u8, revision: u64) -> BundleTerms {
        BundleTerms {
            bundle: Digest([bundle; 32]),
            previous: Some(Digest([previous; 32])),
            revision,
            not_before: Timestamp(1_000),
            expires_at: Some(Timestamp(9_000)),
        }
    }

    #[test]
    fn only_a_later_revision_of_what_is_in_force_may_follow_and_not_once_it_is_over() {
        let now = Timestamp(2_000);
        let in_force = terms(1, 0, 7);
        let follows = |terms: &BundleTerms| terms.may_follow(&in_force, now);
        assert_eq!(follows(&terms(2, 1, 8)), Ok(()));
        assert_eq!(follows(&terms(2, 1, 7)), Err(ErrorCode::OutOfRange));
        assert_eq!(follows(&terms(2, 1, 6)), Err(ErrorCode::OutOfRange));
        assert_eq!(follows(&terms(2, 3, 8)), Err(ErrorCode::WrongState));
        assert_eq!(follows(&terms(1, 1, 8)), Err(ErrorCode::Duplicate));
        let over = terms(2, 1, 8).may_follow(&in_force, Timestamp(9_000));
        assert_eq!(over, Err(ErrorCode::OutOfRange));
        assert_eq!(follows(&terms(2, 1, 1_007)), Ok(()));
        assert_eq!(follows(&terms(2, 1, 1_008)), Err(ErrorCode::OutOfRange));
        let far_off = |s: u64| BundleTerms {
            not_before: now.plus_s(s),
            expires_at: None,
            ..terms(2, 1, 8)
        };
        assert_eq!(follows(&far_off(MAX_NOTICE_S)), Ok(()));
        assert_eq!(
            follows(&far_off(MAX_NOTICE_S + 1)),
            Err(ErrorCode::OutOfRange)
        );
        let late = BundleTerms {
            revision: NUMBER_END,
            ..terms(2, 1, 8)
        };
        let at_the_end = BundleTerms {
            revision: NUMBER_END - 1,
            ..terms(1, 0, 7)
        };
        assert_eq!(
            late.may_follow(&at_the_end, now),
            Err(ErrorCode::OutOfRange)
        );
        let endless = BundleTerms {
            expires_at: Some(Timestamp(NUMBER_END)),
            ..terms(2, 1, 8)
        };
        assert_eq!(follows(&endless), Err(ErrorCode::OutOfRange));
        let never = BundleTerms {
            not_before: Timestamp(9_000),
            ..terms(2, 1, 8)
        };
        assert_eq!(follows(&never), Err(ErrorCode::OutOfRange));
    }
}
