//! What this agency's own journal knows of agreements: the terms, what became of them and by whom,
//! and the text that was signed.
//!
//! In scope: the rows, and whether an agreement that this agency knows stands in the way of a
//! permit. Out of scope: what people may do ([`crate::api`]), how it is shown ([`crate::render`]).
//!
//! The broker's decision is not believed where the holder knows better. The first record of an
//! agreement counts, its own suspension counts from the moment at which it is said here, and a
//! change of an agreement that came before the agreement keeps it from ever being relied on.

use crate::state::{self, key, load, put};
use passerelle_model::{
    bytes::{Bytes, Digest},
    error::ErrorCode,
    ids::{AgencyId, AgreementId, FederationId},
    permit::Permit,
    records::Agreement,
    statement::{
        AgreementChange, AgreementSignature, AgreementTerms, Change, Item, Reliance, Request,
    },
    store::{Overlay, Read, StoreError},
    time::Timestamp,
    vocabulary::{AgreementReason, AgreementState, LegalBasis},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Agreements by who may tell whom, signed by all or not.
const BY_PAIR: &str = "agreementpair/";
/// What was said of an agreement, in the order of the log.
const TRAIL: &str = "agreementtrail/";
/// Changes that this agency said and that have not come back from the log.
const ON_ITS_WAY: &str = "agreementchanging/";
/// Changes that came before their agreement.
const EARLY: &str = "agreementearly/";
/// The documents.
const DOCUMENT: &str = "agreementtext/";

/// What a party said of an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Proposed it, and by that signed it unless people sign for it.
    Proposed,
    /// Signed it.
    Signed,
    /// Suspended it.
    Suspended(AgreementReason),
    /// Lifted its suspension.
    Lifted,
    /// Ended it.
    Terminated(AgreementReason),
}

impl What {
    /// Its code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Signed => "signed",
            Self::Suspended(_) => "suspended",
            Self::Lifted => "lifted",
            Self::Terminated(_) => "terminated",
        }
    }

    /// The reason that was given.
    pub const fn reason(self) -> Option<AgreementReason> {
        match self {
            Self::Suspended(reason) | Self::Terminated(reason) => Some(reason),
            Self::Proposed | Self::Signed | Self::Lifted => None,
        }
    }
}

/// One step of an agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// Index of the entry.
    pub index: u64,
    /// When it was sequenced.
    pub at: Timestamp,
    /// By whom.
    pub agency: AgencyId,
    /// What.
    pub what: What,
}

/// A change that was said here.
#[derive(Serialize, Deserialize)]
struct OnItsWay {
    change: Change,
    statement: Digest,
}

fn of(table: &str, id: &AgreementId) -> Vec<u8> {
    key::of(table, id.as_str().as_bytes())
}

/// The place of an agreement among those by which `from` may tell `to`; without an id the prefix.
fn by_pair(from: &AgencyId, to: &AgencyId, id: &str) -> Vec<u8> {
    [BY_PAIR, from.as_str(), "/", to.as_str(), "/", id]
        .concat()
        .into_bytes()
}

/// The agreements with a line from `from` to `to`, signed by all or not, in the order of their ids;
/// `None` if there are `most` or more: among those that are not read one may be halted.
///
/// # Errors
/// The store.
pub(crate) fn between(
    view: &dyn Read,
    from: &AgencyId,
    to: &AgencyId,
    most: usize,
) -> Result<Option<Vec<Agreement>>, StoreError> {
    let prefix = by_pair(from, to, "");
    let rows = view.scan(&prefix, None, most)?;
    if rows.len() >= most {
        return Ok(None);
    }
    let mut found = Vec::new();
    for (place, _) in rows {
        let id = place.get(prefix.len()..).unwrap_or_default();
        found.extend(load::<Agreement>(view, &key::of(key::AGREEMENT, id))?);
    }
    Ok(Some(found))
}

/// What was said of an agreement.
///
/// # Errors
/// The store.
pub fn trail(view: &dyn Read, id: &AgreementId) -> Result<Vec<Episode>, StoreError> {
    Ok(load(view, &of(TRAIL, id))?.unwrap_or_default())
}

/// The document of an agreement, in canonical form, if it is kept here.
///
/// # Errors
/// The store.
pub fn document(view: &dyn Read, id: &AgreementId) -> Result<Option<Vec<u8>>, StoreError> {
    view.get(&of(DOCUMENT, id))
}

/// Keeps a document. Whether it is the one that was signed was looked at before.
pub(crate) fn kept(view: &mut Overlay<'_>, id: &AgreementId, document: &Bytes) {
    view.write(of(DOCUMENT, id), Some(document.0.clone()));
}

fn note(
    view: &mut Overlay<'_>,
    id: &AgreementId,
    (index, at): (u64, Timestamp),
    agency: &AgencyId,
    what: What,
) -> Result<(), StoreError> {
    let mut all = trail(view, id)?;
    let agency = agency.clone();
    all.push(Episode {
        index,
        at,
        agency,
        what,
    });
    put(view, of(TRAIL, id), &all)
}

/// A proposal came from the log.
pub(crate) fn proposed(
    view: &mut Overlay<'_>,
    agency: &AgencyId,
    terms: AgreementTerms,
    place: (u64, Timestamp),
) -> Result<(), StoreError> {
    let id = terms.agreement.clone();
    if state::agreement(view, &id)?.is_some() {
        return Ok(());
    }
    let mut row = Agreement::proposed(agency, terms, place.0)
        .map_err(|_| StoreError("journaled terms do not encode".to_owned()))?;
    // An honest log has no change of an agreement before it, and no version that can't follow the
    // one that it names: nothing rests on this one.
    row.course.terminated = match load(view, &of(EARLY, &id))? {
        None if !can_be(view, &row.terms)? => Some(agency.clone()),
        early => early,
    };
    put(view, of(key::AGREEMENT, &id), &row)?;
    for line in &row.terms.lines {
        let place = by_pair(&line.from, &line.to, id.as_str());
        view.write(place, Some(Vec::new()));
    }
    note(view, &id, place, agency, What::Proposed)
}

/// Whether terms are such as an honest broker takes: not in force beside what they should come
/// after, and with signatories as they can be, none of whom was left out.
fn can_be(view: &dyn Read, terms: &AgreementTerms) -> Result<bool, StoreError> {
    if !terms.has_sound_signatories() {
        return Ok(false);
    }
    let earlier = before(view, terms)?;
    Ok(earlier.is_none_or(|earlier| {
        earlier.terms.starts_at <= terms.starts_at && terms.keeps_signatories_of(&earlier.terms)
    }))
}

/// The version before, if it is known here.
fn before(view: &dyn Read, terms: &AgreementTerms) -> Result<Option<Agreement>, StoreError> {
    match &terms.edition.supersedes {
        Some(earlier) => state::agreement(view, earlier),
        None => Ok(None),
    }
}

/// A signature came from the log. Says whether it puts another version in force.
pub(crate) fn signed(
    view: &mut Overlay<'_>,
    federation: &FederationId,
    agency: &AgencyId,
    signature: &AgreementSignature,
    place: (u64, Timestamp),
) -> Result<bool, StoreError> {
    let id = &signature.agreement;
    let Some(mut row) = state::agreement(view, id)? else {
        return Ok(false);
    };
    let earlier = before(view, &row.terms)?;
    // One under other terms than the ones seen here counts for nothing, nor does one without enough
    // of those who sign for the party.
    let checked = row.check_signature(federation, agency, signature, earlier.as_ref());
    if checked.is_err() {
        return Ok(false);
    }
    row.signed.push(agency.clone());
    put(view, of(key::AGREEMENT, id), &row)?;
    note(view, id, place, agency, What::Signed)?;
    if !row.is_signed_by_all() {
        return Ok(false);
    }
    // Read again: a log may have a version that follows itself.
    let Some(mut earlier) = before(view, &row.terms)? else {
        return Ok(false);
    };
    if earlier.course.successor.is_none() {
        earlier.follow(&row);
        put(view, of(key::AGREEMENT, &earlier.terms.agreement), &earlier)?;
    }
    Ok(true)
}

/// Notes a change that is said here.
pub(crate) fn changing(
    view: &mut Overlay<'_>,
    said: &AgreementChange,
    statement: Digest,
) -> Result<(), StoreError> {
    let key = of(ON_ITS_WAY, &said.agreement);
    let mut leaving: Vec<OnItsWay> = load(view, &key)?.unwrap_or_default();
    let change = said.change;
    leaving.push(OnItsWay { change, statement });
    put(view, key, &leaving)
}

/// A change that was said here came back from the log, or was refused.
pub(crate) fn arrived(
    view: &mut Overlay<'_>,
    id: &AgreementId,
    statement: &Digest,
) -> Result<(), StoreError> {
    let key = of(ON_ITS_WAY, id);
    let Some(mut leaving) = load::<Vec<OnItsWay>>(view, &key)? else {
        return Ok(());
    };
    leaving.retain(|c| c.statement != *statement);
    if leaving.is_empty() {
        view.write(key, None);
        return Ok(());
    }
    put(view, key, &leaving)
}

/// A change came from the log, by `statement`.
pub(crate) fn changed(
    view: &mut Overlay<'_>,
    agency: &AgencyId,
    said: &AgreementChange,
    place: (u64, Timestamp),
    statement: &Digest,
) -> Result<(), StoreError> {
    let id = &said.agreement;
    arrived(view, id, statement)?;
    let what = match said.change {
        Change::Suspend(reason) => What::Suspended(reason),
        Change::Lift => What::Lifted,
        Change::Terminate(reason) => What::Terminated(reason),
    };
    let Some(mut row) = state::agreement(view, id)? else {
        return put(view, of(EARLY, id), agency);
    };
    if !row.has_party(agency) {
        return Ok(());
    }
    row.change(agency, said.change);
    put(view, of(key::AGREEMENT, id), &row)?;
    note(view, id, place, agency, what)?;
    if matches!(said.change, Change::Terminate(_)) {
        unfollow(view, &row, place.1)?;
    }
    Ok(())
}

/// `ended` takes the place of no earlier version, if it had not begun. Further back than the one
/// before it stand those whose own next version was ended early too. Goes on only where it changes
/// something, which no version sees twice: a log may have versions that follow in a circle.
fn unfollow(view: &mut Overlay<'_>, ended: &Agreement, at: Timestamp) -> Result<(), StoreError> {
    let mut before = ended.terms.edition.supersedes.clone();
    while let Some(id) = before {
        let Some(mut earlier) = state::agreement(view, &id)? else {
            break;
        };
        let is_changed = earlier.unfollow(ended, at);
        if is_changed {
            put(view, of(key::AGREEMENT, &id), &earlier)?;
        }
        let is_passed_over = is_changed && earlier.course.terminated.is_some();
        before = earlier.terms.edition.supersedes.filter(|_| is_passed_over);
    }
    Ok(())
}

/// Whether it may be relied on at `at`, as far as is known here.
fn carries(view: &dyn Read, row: &Agreement, at: Timestamp) -> Result<bool, StoreError> {
    let leaving: Option<Vec<OnItsWay>> = load(view, &of(ON_ITS_WAY, &row.terms.agreement))?;
    // A suspension of one's own counts at once; that it is lifted, once it is in the log.
    let halts = |c: &OnItsWay| !matches!(c.change, Change::Lift);
    Ok(row.is_in_force(at) && !leaving.iter().flatten().any(halts))
}

/// Why nothing is to be answered under `permit`, as this agency knows its agreements; none if no
/// agreement stands in the way.
///
/// A permit does not name the agreement that carries it, and a law may carry it alone. So without
/// a name a permit falls only if an agreement that would carry it was suspended, ended or replaced
/// by a next version and no other carries it. An emergency needs no agreement.
///
/// # Errors
/// The store.
pub(crate) fn in_the_way(
    view: &dyn Read,
    permit: &Permit,
    request: &Request,
    now: Timestamp,
) -> Result<Option<ErrorCode>, StoreError> {
    // On these a consent carries it, or nothing does.
    let on_consent = matches!(permit.basis, LegalBasis::Consent | LegalBasis::Cfr42s231);
    if request.emergency.is_some() {
        return Ok(None);
    }
    // A slow clock here must not lengthen an agreement's life, and one that began a moment ago
    // must not look as if it were of tomorrow.
    let at = now.max(permit.issued_at);
    match &request.reliance {
        Some(Reliance::Consent(_)) => Ok(None),
        Some(Reliance::Agreement(id)) => {
            let Some(row) = state::agreement(view, id)? else {
                return Ok(Some(ErrorCode::UnknownAgreement));
            };
            let stands = carries(view, &row, at)?;
            Ok((!stands).then_some(ErrorCode::PermitWithdrawn))
        }
        None if request.subject.is_none() || on_consent => Ok(None),
        None => {
            let all = between(view, &permit.holder, &permit.requester, state::MAX_ROWS)?;
            match all {
                Some(all) => none_carries(view, permit, &all, at),
                None => Ok(Some(ErrorCode::PermitWithdrawn)),
            }
        }
    }
}

/// Whether of the agreements in `all` that would carry an item one is out of force and none is in.
fn none_carries(
    view: &dyn Read,
    permit: &Permit,
    all: &[Agreement],
    at: Timestamp,
) -> Result<Option<ErrorCode>, StoreError> {
    for item in &permit.items {
        let mut halted = false;
        let mut carried = false;
        for row in all.iter().filter(|row| covers(row, permit, item)) {
            let stands = carries(view, row, at)?;
            carried |= stands;
            halted |= !stands && (is_halted(view, row)? || is_replaced(view, row, at)?);
        }
        if halted && !carried {
            return Ok(Some(ErrorCode::PermitWithdrawn));
        }
    }
    Ok(None)
}

/// Whether a party took it out of force, or is about to.
fn is_halted(view: &dyn Read, row: &Agreement) -> Result<bool, StoreError> {
    let leaving = view.get(&of(ON_ITS_WAY, &row.terms.agreement))?.is_some();
    let course = &row.course;
    Ok(leaving || course.terminated.is_some() || !course.suspended.is_empty())
}

/// Whether all signed a next version that has begun. Once the time of the last one is over too,
/// nothing is left that it gave way to, and it is over as any other.
fn is_replaced(view: &dyn Read, row: &Agreement, at: Timestamp) -> Result<bool, StoreError> {
    if row.state(at) != AgreementState::Superseded {
        return Ok(false);
    }
    let mut seen = BTreeSet::new();
    let mut version = row.clone();
    while at >= version.terms.ends_at && seen.insert(version.terms.agreement.clone()) {
        let Some(next) = version.course.successor.filter(|next| next.starts_at <= at) else {
            return Ok(false);
        };
        match state::agreement(view, &next.agreement)? {
            Some(next) => version = next,
            None => return Ok(true),
        }
    }
    Ok(at < version.terms.ends_at)
}

/// Whether its terms speak of this.
fn covers(row: &Agreement, permit: &Permit, item: &Item) -> bool {
    let terms = &row.terms;
    let concerned = [&permit.requester, &permit.holder];
    let mut parties = terms.parties.iter();
    let on_basis = parties.any(|p| p.basis == permit.basis && concerned.contains(&&p.agency));
    let mut lines = terms.lines.iter();
    let has_line = lines.any(|line| {
        line.from == permit.holder
            && line.to == permit.requester
            && line.category == item.category
            && line.level >= item.level
    });
    row.is_signed_by_all() && on_basis && has_line && terms.purposes.contains(&permit.purpose)
}

#[cfg(test)]
#[path = "agreements_tests.rs"]
mod tests;
