//! What each party sees of a question.
//!
//! In scope: agencies by their mailboxes, as the state machine fills them; the person by what an
//! accounting of disclosures tells; whoever reads the log. Out of scope: how it is shown.

use super::{
    file::View,
    script::{Party, Question},
    world::{Held, PlayError, World},
};
use passerelle_model::{ids::AgencyId, request::Status, state, vocabulary::Outcome};
use std::collections::BTreeMap;

/// What every party of the exercise sees of a question now.
pub(super) fn views(
    world: &World<'_>,
    number: usize,
    question: &Question,
) -> Result<BTreeMap<Party, View>, PlayError> {
    let mut views = BTreeMap::new();
    let agencies = world.exercise.agencies.iter();
    for party in agencies
        .map(|a| Party::Agency(a.id.clone()))
        .chain([Party::Person, Party::Oversight])
    {
        let view = view(world, number, question, &party)?;
        views.insert(party, view);
    }
    Ok(views)
}

fn view(
    world: &World<'_>,
    number: usize,
    question: &Question,
    party: &Party,
) -> Result<View, PlayError> {
    let (Some(row), Some(held)) = (world.row(question)?, world.held.get(number)) else {
        return Ok(View::Nothing);
    };
    Ok(match party {
        Party::Oversight => View::Entry,
        Party::Person if question.person.is_none() => View::Nothing,
        Party::Person => outside(row.status, held),
        Party::Agency(agency) if *agency == question.requester => {
            requester(row.status, held, world.away.contains(agency))
        }
        Party::Agency(agency) if !is_told(world, held, agency)? => View::Nothing,
        Party::Agency(agency) if agency == question.holder() => match row.status {
            Status::Denied => View::Stopped,
            Status::Offered if held.awaits_person => View::Reviews,
            status => outside(status, held),
        },
        Party::Agency(_) => View::Entry,
    })
}

/// Whether the broker brings an agency any entry about the question.
fn is_told(world: &World<'_>, held: &Held, agency: &AgencyId) -> Result<bool, PlayError> {
    for index in &held.entries {
        if state::concerns(&world.store, agency, *index)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where it stands, for whoever does not open the answer.
const fn outside(status: Status, held: &Held) -> View {
    match status {
        Status::Denied => View::Denied,
        Status::Stopped => View::Stopped,
        Status::Expired => View::Expired,
        Status::Erased => View::Erased,
        Status::Submitted
        | Status::Decided
        | Status::Queued
        | Status::Offered
        | Status::HolderReview => View::Waits,
        Status::Released
        | Status::Declined
        | Status::CannotSay
        | Status::Answered
        | Status::Delivered
        | Status::Viewed => match held.recalled {
            true => View::Recalled,
            false => View::Answered,
        },
    }
}

/// What whoever asked sees: it alone opens the answer.
fn requester(status: Status, held: &Held, away: bool) -> View {
    match (outside(status, held), held.outcome) {
        (View::Answered, _) if away => View::Waits,
        (View::Answered, Some(Outcome::Released)) => View::Facts,
        (View::Answered, Some(Outcome::Declined)) => View::Declined,
        (View::Answered, Some(Outcome::CannotSay)) => View::CannotSay,
        (seen, _) => seen,
    }
}
