//! Policy bundles: what is proposed, who endorses it, what is in force.

use super::{corrupt, for_all};
use crate::{
    bundle::{BundleTerms, Proposal},
    bytes::Digest,
    ids::AgencyId,
    state::{self, key},
    statement::BundleEndorsement,
    store::{Overlay, StoreError},
    time::Timestamp,
};

pub(super) fn proposed(
    view: &mut Overlay<'_>,
    index: u64,
    at: Timestamp,
    terms: &BundleTerms,
) -> Result<(), StoreError> {
    for_all(view, index);
    // Those that have waited too long make room.
    for old in state::proposals(view)? {
        if old.is_stale(at) {
            view.write(key::proposal(&old.terms.bundle), None);
        }
    }
    let row = Proposal::new(terms.clone(), at, index).map_err(|_| corrupt("terms"))?;
    state::put(view, key::proposal(&terms.bundle), &row)
}

pub(super) fn endorsed(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    endorsement: &BundleEndorsement,
) -> Result<(), StoreError> {
    for_all(view, index);
    let row = state::proposal(view, &endorsement.bundle)?;
    let mut row = row.ok_or_else(|| corrupt("unknown proposal"))?;
    row.endorsed.insert(agency.clone());
    state::put(view, key::proposal(&endorsement.bundle), &row)
}

pub(super) fn activated(
    view: &mut Overlay<'_>,
    index: u64,
    bundle: &Digest,
) -> Result<(), StoreError> {
    for_all(view, index);
    let mut row = state::federation(view)?.ok_or_else(|| corrupt("not founded"))?;
    let proposal = state::proposal(view, bundle)?;
    // Without one it is what a federation begins with: nobody is a member yet.
    row.terms = proposal.map_or_else(|| BundleTerms::founding(*bundle), |p| p.terms);
    row.bundle = *bundle;
    // The others replace what is no longer in force.
    for old in state::proposals(view)? {
        view.write(key::proposal(&old.terms.bundle), None);
    }
    state::put(view, key::federation(), &row)
}

/// What an agency that is shut out or has other keys has endorsed counts no more: it has to
/// endorse again, once it is back or under its present keys.
pub(super) fn forgotten(view: &mut Overlay<'_>, agency: &AgencyId) -> Result<(), StoreError> {
    for mut row in state::proposals(view)? {
        if row.endorsed.remove(agency) {
            state::put(view, key::proposal(&row.terms.bundle), &row)?;
        }
    }
    Ok(())
}
