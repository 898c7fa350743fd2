//! An agreement as the projections of broker and agents hold it.

use crate::{
    bytes::Digest,
    canonical::{self, CanonicalError},
    error::ErrorCode,
    ids::{AgencyId, AgreementId, FederationId},
    statement::{AgreementSignature, AgreementTerms, Change, Endorsed},
    time::Timestamp,
    vocabulary::AgreementState,
};
use serde::{Deserialize, Serialize};

/// An agreement with its signatures, and with what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The terms.
    pub terms: AgreementTerms,
    /// Digest of the canonical terms.
    pub digest: Digest,
    /// Who has signed.
    pub signed: Vec<AgencyId>,
    /// Index of the proposal.
    pub proposed: u64,
    /// What became of it.
    pub course: Course,
}

/// What became of an agreement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// The parties whose suspension stands.
    pub suspended: Vec<AgencyId>,
    /// Who ended it before its time.
    pub terminated: Option<AgencyId>,
    /// The next version, once all have signed that.
    pub successor: Option<Successor>,
}

/// The next version of an agreement, signed by all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Successor {
    /// Which.
    pub agreement: AgreementId,
    /// When it begins.
    pub starts_at: Timestamp,
}

impl Agreement {
    /// An agreement as `agency` proposes it at `index`. The proposal is its own signature, unless
    /// people sign for it: they can't have, for nobody knew the terms before.
    ///
    /// # Errors
    /// The terms do not encode.
    pub fn proposed(
        agency: &AgencyId,
        terms: AgreementTerms,
        index: u64,
    ) -> Result<Self, CanonicalError> {
        Ok(Self {
            digest: canonical::digest(&terms)?,
            signed: match terms.signatories_of(agency) {
                None => vec![agency.clone()],
                Some(_) => Vec::new(),
            },
            terms,
            proposed: index,
            course: Course::default(),
        })
    }

    /// Whether every party has signed.
    pub fn is_signed_by_all(&self) -> bool {
        self.terms
            .parties
            .iter()
            .all(|p| self.signed.contains(&p.agency))
    }

    /// Whether it may be relied on at `at`, signatures and dates aside. Of several reasons why not
    /// the most final.
    pub fn state(&self, at: Timestamp) -> AgreementState {
        let course = &self.course;
        let superseded = |next: &Successor| next.starts_at <= at;
        if course.terminated.is_some() {
            AgreementState::Terminated
        } else if course.successor.as_ref().is_some_and(superseded) {
            AgreementState::Superseded
        } else if !course.suspended.is_empty() {
            AgreementState::Suspended
        } else {
            AgreementState::Active
        }
    }

    /// Whether it is in force: signed by all, begun, not ended, and active.
    pub fn is_in_force(&self, at: Timestamp) -> bool {
        self.is_signed_by_all()
            && self.terms.starts_at <= at
            && at < self.terms.ends_at
            && self.state(at) == AgreementState::Active
    }

    /// Whether `agency` is a party.
    pub fn has_party(&self, agency: &AgencyId) -> bool {
        self.terms.parties.iter().any(|p| p.agency == *agency)
    }

    /// Whether `signature` is one of `agency` that counts: a party that has not signed, these
    /// terms, and enough of its signatories, by these terms and by those of the version before.
    ///
    /// # Errors
    /// [`ErrorCode::NotAParty`], [`ErrorCode::Duplicate`]; [`ErrorCode::PayloadMismatch`] for other
    /// terms; as [`Endorsed::check`].
    pub fn check_signature(
        &self,
        federation: &FederationId,
        agency: &AgencyId,
        signature: &AgreementSignature,
        earlier: Option<&Self>,
    ) -> Result<(), ErrorCode> {
        if !self.has_party(agency) {
            return Err(ErrorCode::NotAParty);
        }
        if self.signed.contains(agency) {
            return Err(ErrorCode::Duplicate);
        }
        // Signed is what was seen: the digest of the whole terms, not only their name.
        if self.digest != signature.terms {
            return Err(ErrorCode::PayloadMismatch);
        }
        let endorsed = Endorsed {
            federation: federation.clone(),
            agency: agency.clone(),
            agreement: self.terms.agreement.clone(),
            terms: self.digest,
        };
        // Those who signed before agree to who signs from now on.
        let own = self.terms.signatories_of(agency);
        let before = earlier.and_then(|earlier| earlier.terms.signatories_of(agency));
        let rules: Vec<_> = own.into_iter().chain(before).collect();
        endorsed.check(&rules, &signature.endorsements)
    }

    /// Whether another version may follow it: it was signed by all, nobody ended it, and no other
    /// version follows it yet. So versions never branch, and none comes back.
    pub fn may_be_followed(&self) -> bool {
        self.is_signed_by_all()
            && self.course.terminated.is_none()
            && self.course.successor.is_none()
    }

    /// Whether `agency` may change it so.
    ///
    /// # Errors
    /// It is no party; there is no suspension of its own to lift, or there is one already; what was
    /// never signed by all can't be suspended, and what has been terminated stays so.
    pub fn check(&self, agency: &AgencyId, change: Change) -> Result<(), ErrorCode> {
        if !self.has_party(agency) {
            return Err(ErrorCode::NotAParty);
        }
        let own = self.course.suspended.contains(agency);
        let fits = match change {
            Change::Suspend(_) => !own && self.is_signed_by_all(),
            Change::Lift => own,
            Change::Terminate(_) => true,
        };
        match fits && self.course.terminated.is_none() {
            true => Ok(()),
            false => Err(ErrorCode::WrongState),
        }
    }

    /// Carries a change out. One that changes nothing, changes nothing.
    pub fn change(&mut self, agency: &AgencyId, change: Change) {
        let course = &mut self.course;
        match change {
            Change::Suspend(_) if !course.suspended.contains(agency) => {
                course.suspended.push(agency.clone());
            }
            Change::Suspend(_) => {}
            Change::Lift => course.suspended.retain(|a| a != agency),
            Change::Terminate(_) => {
                course.terminated.get_or_insert_with(|| agency.clone());
            }
        }
    }

    /// Notes that `next`, signed by all, follows.
    pub fn follow(&mut self, next: &Self) {
        self.course.successor = Some(Successor {
            agreement: next.terms.agreement.clone(),
            starts_at: next.terms.starts_at,
        });
    }

    /// A next version that was ended at `at`, before it began, follows no more: it never decided
    /// anything. What all signed after it still does, or the narrower last word of all would stand
    /// beside a wider older one. Says whether this changed anything.
    pub fn unfollow(&mut self, next: &Self, at: Timestamp) -> bool {
        let id = &next.terms.agreement;
        let ended_early = |s: &Successor| s.agreement == *id && at < s.starts_at;
        let changes = self.course.successor.as_ref().is_some_and(ended_early);
        if changes {
            // What follows itself is of no honest log; whoever goes back from version to version
            // must come to an end all the same.
            let heir = next.course.successor.clone();
            self.course.successor = heir.filter(|heir| heir.agreement != *id);
        }
        changes
    }
}
