//! Reviews of emergencies (DATA, rule 25): of each, the agency that asked and the one that holds say
//! once, in time, what a second person found.
//!
//! In scope: who may say it and of what; what is overdue. Out of scope: that the second person is
//! neither who asked nor who approved, which only the agency's own node can know.

use super::{
    fault::{Fault, FaultCode},
    ledger::{Agency, Id, Ledger, Since, id},
    report::Check,
};
use passerelle_model::{ids::AgencyId, statement::OverrideReview, time::Timestamp};

/// A review that a permit wants.
#[derive(Debug)]
pub(super) struct Review {
    /// Until when.
    due: Timestamp,
    /// Index of the permit's entry.
    index: u64,
    /// Of whom.
    parties: [Agency; 2],
    /// By whom it was said.
    by: Vec<Agency>,
}

/// A review that is not in the log though its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverdueReview {
    /// Index of the entry of the permit that wants it.
    pub index: u64,
    /// The request, as `req-...`.
    pub request: String,
    /// Whose second person has to look.
    pub agency: AgencyId,
    /// Until when that had to be.
    pub due: Timestamp,
}

impl std::fmt::Display for OverdueReview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            request,
            agency,
            due,
            ..
        } = self;
        let due = due.to_rfc3339();
        write!(
            f,
            "`{agency}` had to review the emergency `{request}` until {due}, and has not"
        )
    }
}

impl Ledger {
    /// A permit wants a review; only the first one of a request counts.
    pub(super) fn wants_review(&mut self, request: Id, due: Timestamp, parties: [Agency; 2]) {
        let index = self.index;
        self.reviews.entry(request).or_insert_with(|| Review {
            due,
            index,
            parties,
            by: Vec::new(),
        });
    }

    pub(super) fn override_reviewed(
        &mut self,
        agency: Agency,
        said: &OverrideReview,
    ) -> Result<(), Fault> {
        self.tally.checked(Check::OverrideReview, 1);
        if !said.role.is_reviewer() {
            let message = format!("a `{}` does not review emergencies", said.role);
            return Err(self.fault(FaultCode::Range, message));
        }
        let Some(review) = self.reviews.get_mut(&id(said.request.as_str())) else {
            let message = || format!("no permit of `{}` wants a review", said.request);
            self.require(false, Since::Ever, FaultCode::WrongState, message)?;
            return Ok(());
        };
        if !review.parties.contains(&agency) {
            let message = "a review by an agency that neither asked nor holds";
            return Err(self.fault(FaultCode::NotAParty, message));
        }
        if review.by.contains(&agency) {
            let message = format!("`{}` was reviewed by this agency before", said.request);
            return Err(self.fault(FaultCode::Duplicate, message));
        }
        review.by.push(agency);
        Ok(())
    }

    /// What is overdue at `now`, the longest first, at most `limit`. An agency that is shut out can
    /// say nothing more.
    pub(super) fn overdue_reviews(&self, now: Timestamp, limit: usize) -> Vec<OverdueReview> {
        let mut overdue = Vec::new();
        for (request, review) in self.reviews.iter().filter(|(_, r)| r.due <= now) {
            let missing = review.parties.iter().filter(|p| !review.by.contains(p));
            let members = missing.filter_map(|party| self.member(*party));
            overdue.extend(
                members
                    .filter(|member| member.active)
                    .map(|member| OverdueReview {
                        index: review.index,
                        request: format!("req-{request:032x}"),
                        agency: member.name.clone(),
                        due: review.due,
                    }),
            );
        }
        overdue
            .sort_unstable_by(|a, b| (a.due, a.index, &a.agency).cmp(&(b.due, b.index, &b.agency)));
        overdue.truncate(limit);
        overdue
    }

    /// Warns of what is overdue when the log ends, by the log's own time.
    pub(super) fn warn_of_overdue_reviews(&mut self) {
        let Some(end) = self.last_at else { return };
        for overdue in self.overdue_reviews(end, usize::MAX) {
            self.tally.warn(overdue.index, overdue.to_string());
        }
    }
}
