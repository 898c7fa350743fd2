//! Which rules are in force, by this agent's own count.
//!
//! In scope: the rows that follow from the notices that every agency gets (the founding, proposals,
//! endorsements, activations, who is a member), all in the order of the log. An activation counts
//! here only if more than half of the members that this agent knows have endorsed it, each in a
//! statement whose signature was checked: what the broker says is in force is noted beside it.
//! Out of scope: the files ([`crate::bundles`]).

use crate::{
    origin,
    state::{self, MAX_ROWS, key},
    verify::CLOCK_SKEW_S,
};
use passerelle_model::{
    binary,
    bundle::{BundleTerms, MAX_PROPOSALS, Proposal},
    bytes::Digest,
    error::ErrorCode,
    ids::AgencyId,
    statement::BundleEndorsement,
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

const RULES: &[u8] = b"rules";
const PROPOSAL: &str = "proposal/";
/// Who here wanted a proposal endorsed, where a second person has to.
const ENDORSING: &str = "endorsing/";

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// By this agent's own count; none before it has heard the log's beginning.
    pub in_force: Option<BundleTerms>,
    /// What the broker put in force last, rightly or not.
    pub claimed: Option<Digest>,
}

impl Rules {
    /// Rules that nobody has changed since the beginning.
    pub const fn founding(bundle: Digest) -> Self {
        Self {
            in_force: Some(BundleTerms::founding(bundle)),
            claimed: Some(bundle),
        }
    }

    /// The rules by which this agent may work at `now`.
    ///
    /// # Errors
    /// [`ErrorCode::BundleNotHeld`] before the log's beginning was heard, before their time and once
    /// they are over;
    /// [`ErrorCode::BundleNotEndorsed`] while the broker works by others than the agencies have
    /// endorsed.
    pub fn lawful(&self, now: Timestamp) -> Result<&BundleTerms, ErrorCode> {
        let terms = self.in_force.as_ref().ok_or(ErrorCode::BundleNotHeld)?;
        if self.claimed != Some(terms.bundle) {
            return Err(ErrorCode::BundleNotEndorsed);
        }
        // A broker whose clock is ahead puts nothing in force here before its time.
        if terms.is_over(now) || terms.not_before > now.plus_s(CLOCK_SKEW_S) {
            return Err(ErrorCode::BundleNotHeld);
        }
        Ok(terms)
    }
}

/// What is in force.
///
/// # Errors
/// The store.
pub fn rules(view: &dyn Read) -> Result<Rules, StoreError> {
    Ok(state::load(view, RULES)?.unwrap_or_default())
}

fn key_of(bundle: &Digest) -> Vec<u8> {
    key::of(PROPOSAL, &bundle.0)
}

/// A bundle that is proposed.
///
/// # Errors
/// The store.
pub fn proposal(view: &dyn Read, bundle: &Digest) -> Result<Option<Proposal>, StoreError> {
    state::load(view, &key_of(bundle))
}

/// The worker of this agency who first wanted to endorse the proposal of this digest, if a second
/// person has to.
///
/// # Errors
/// The store.
pub fn first_to_endorse(view: &dyn Read, proposal: &Digest) -> Result<Option<String>, StoreError> {
    state::load(view, &key::of(ENDORSING, &proposal.0))
}

/// Notes that worker.
pub(crate) fn endorsement_asked(
    view: &mut Overlay<'_>,
    proposal: &Digest,
    worker: &str,
) -> Result<(), StoreError> {
    state::put(view, key::of(ENDORSING, &proposal.0), &worker)
}

/// Forgets a proposal.
fn drop_proposal(view: &mut Overlay<'_>, proposal: &Proposal) {
    view.write(key_of(&proposal.terms.bundle), None);
    view.write(key::of(ENDORSING, &proposal.digest.0), None);
}

/// Every bundle that is proposed.
///
/// # Errors
/// The store.
pub fn proposals(view: &dyn Read) -> Result<Vec<Proposal>, StoreError> {
    let rows = view.scan(PROPOSAL.as_bytes(), None, MAX_ROWS)?;
    let read = |(_, bytes): &(Vec<u8>, Vec<u8>)| {
        let row = binary::from_slice(bytes);
        row.map_err(|_| StoreError("a row is not in the form of this version".to_owned()))
    };
    rows.iter().map(read).collect()
}

/// Those who may endorse: the members that this agent knows.
///
/// # Errors
/// The store.
pub fn endorsers(view: &dyn Read) -> Result<Vec<AgencyId>, StoreError> {
    let members = state::members(view)?.into_iter();
    Ok(members.filter(|(_, m)| m.active).map(|(a, _)| a).collect())
}

/// Forgets all of it: it is heard anew, from the log's beginning.
pub(crate) fn forget(view: &mut Overlay<'_>) -> Result<(), StoreError> {
    view.write(RULES.to_vec(), None);
    origin::clear(view, PROPOSAL.as_bytes())
}

pub(crate) fn founded(view: &mut Overlay<'_>, bundle: &Digest) -> Result<(), StoreError> {
    if rules(view)?.in_force.is_some() {
        return Ok(());
    }
    state::put(view, RULES.to_vec(), &Rules::founding(*bundle))
}

pub(crate) fn proposed(
    view: &mut Overlay<'_>,
    terms: &BundleTerms,
    at: Timestamp,
    index: u64,
) -> Result<(), StoreError> {
    for old in proposals(view)? {
        if old.is_stale(at) {
            drop_proposal(view, &old);
        }
    }
    // What an honest broker would not propose is neither kept nor fetched: else it could fill this
    // agency's disk, or take the endorsements of one that waits by other terms for its rules.
    let waiting = proposals(view)?;
    let in_force = rules(view)?.in_force;
    let follows = in_force.is_some_and(|before| terms.may_follow(&before, at).is_ok());
    let is_known = waiting.iter().any(|p| p.terms.bundle == terms.bundle);
    if !follows || is_known || waiting.len() >= MAX_PROPOSALS {
        tracing::error!(index, bundle = %terms.bundle, "a proposal that can't be one is ignored");
        return Ok(());
    }
    let row = Proposal::new(terms.clone(), at, index);
    let row = row.map_err(|_| StoreError("journaled terms do not encode".to_owned()))?;
    state::put(view, key_of(&terms.bundle), &row)
}

/// Notes an endorsement whose signature was checked. One of other terms counts for nothing, nor
/// does that of an agency that is no member then.
pub(crate) fn endorsed(
    view: &mut Overlay<'_>,
    agency: &AgencyId,
    endorsement: &BundleEndorsement,
) -> Result<(), StoreError> {
    if !state::member(view, agency)?.is_some_and(|member| member.active) {
        return Ok(());
    }
    let row = proposal(view, &endorsement.bundle)?;
    let Some(mut row) = row.filter(|row| row.digest == endorsement.terms) else {
        return Ok(());
    };
    row.endorsed.insert(agency.clone());
    state::put(view, key_of(&endorsement.bundle), &row)
}

/// What an agency that is shut out or has other keys has endorsed counts no more: it has to
/// endorse again, once it is back or under its present keys.
pub(crate) fn forgotten(view: &mut Overlay<'_>, agency: &AgencyId) -> Result<(), StoreError> {
    for mut row in proposals(view)? {
        if row.endorsed.remove(agency) {
            state::put(view, key_of(&row.terms.bundle), &row)?;
        }
    }
    Ok(())
}

/// Counts for itself what the broker has put in force.
pub(crate) fn activated(
    view: &mut Overlay<'_>,
    bundle: &Digest,
    at: Timestamp,
    index: u64,
) -> Result<(), StoreError> {
    let mut row = rules(view)?;
    row.claimed = Some(*bundle);
    if state::members(view)?.is_empty() {
        // Nobody had joined: whoever does accepts what there is.
        row.in_force = Some(BundleTerms::founding(*bundle));
        return state::put(view, RULES.to_vec(), &row);
    }
    let members = endorsers(view)?;
    let proposal = proposal(view, bundle)?;
    let checked = match (&proposal, &row.in_force) {
        (Some(proposal), Some(before)) => proposal.check(before, &members, at),
        // To go back to what is in force changes nothing here.
        (_, Some(before)) if before.bundle == *bundle => Err(ErrorCode::Duplicate),
        _ => Err(ErrorCode::BundleNotEndorsed),
    };
    match (checked, proposal) {
        (Ok(()), Some(proposal)) => {
            row.in_force = Some(proposal.terms);
            for old in proposals(view)? {
                drop_proposal(view, &old);
            }
        }
        (checked, proposal) => tracing::error!(
            index, %bundle,
            code = checked.err().map_or("", ErrorCode::code),
            endorsed = proposal.map_or(0, |p| p.count(&members)),
            members = members.len(),
            "the broker has put rules in force that the agencies have not: nothing is asked or \
             answered under them"
        ),
    }
    state::put(view, RULES.to_vec(), &row)
}
