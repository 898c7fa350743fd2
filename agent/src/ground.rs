//! Whether a consent stands behind a permit, as the holder itself knows it. The broker's decision
//! is not believed: it runs on a machine that others own.
//!
//! In scope: what is asked on consent must rest on one that this agency heard of in the log, in
//! its recorder's signature, about this person, for this recipient, discloser, category and
//! purpose, in time and not withdrawn. One that was recorded elsewhere needs a person here first
//! (decision 0009); and no agreement that it knows to be out of force may be what carries the
//! permit. Out of scope: other bases, which the holder can't check in the same way; what is known
//! of consents ([`crate::standing`]) and agreements ([`crate::agreements`]).
//!
//! The rules are those of the policy bundle (`consents.cedar`), and the conflict rule of the
//! decision point: a withdrawal defeats every grant recorded before it. A permit of an honest
//! broker passes always, since each consent names its disclosers, and whoever is named hears of it
//! and of its withdrawal, both before the permit.

use crate::{
    agreements,
    event::Noticed,
    holder::storage,
    standing::{self, Standing},
    state::{self, HoldRow, PersonRow},
    verify::CheckedPermit,
};
use passerelle_model::{
    bytes::Handle,
    commitment::{self, Field},
    entry::{Entry, EntryBody},
    error::ErrorCode,
    ids::{ConsentId, RequestId},
    permit::Permit,
    statement::{Body, Item, Reliance, Request},
    store::Read,
    time::Timestamp,
    vocabulary::{LegalBasis, Outcome},
};

/// What stands behind a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Enough for an answer.
    Stands,
    /// Enough once a person here has looked.
    StandsElsewhere,
    /// Nothing is to be answered, and why.
    Missing(ErrorCode),
}

/// What this agency knows to stand behind `checked` at `now`.
///
/// # Errors
/// The store.
pub(crate) fn behind(
    view: &dyn Read,
    checked: &CheckedPermit,
    now: Timestamp,
) -> Result<Ground, ErrorCode> {
    let (permit, request) = (checked.permit(), checked.request());
    of(view, permit, request, checked.subject(), now)
}

/// Whether the person with these records, who is known here under another handle than the permit's,
/// has withdrawn from what it allows and not consented since: of that the broker can't know.
///
/// # Errors
/// The store.
pub(crate) fn has_withdrawn(
    view: &dyn Read,
    permit: &Permit,
    records: &[PersonRow],
) -> Result<bool, ErrorCode> {
    for handle in records.iter().filter_map(|row| row.handle) {
        let Some(all) = standing::consents_of(view, &handle).map_err(storage)? else {
            return Ok(true);
        };
        for item in &permit.items {
            let (recipient, category) = (&permit.requester, item.category);
            let between = |s: &&Standing| {
                let consent = &s.consent;
                consent.is_between(recipient, &permit.holder, category)
            };
            let withdrawn = all.iter().filter(between);
            let withdrawn =
                withdrawn.filter_map(|s| s.consent.withdrawn_since(recipient, category));
            let Some(withdrawn) = withdrawn.max() else {
                continue;
            };
            let given_again = |s: &Standing| {
                s.consent.recorded > withdrawn && !s.consent.is_withdrawn_for(recipient, category)
            };
            if !all.iter().filter(between).any(given_again) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether nothing stands any more behind the release for `request` that waits to be sent. One of
/// which that can't be said has fallen.
///
/// # Errors
/// The store.
pub(crate) fn has_fallen(
    view: &dyn Read,
    request: &RequestId,
    now: Timestamp,
) -> Result<bool, ErrorCode> {
    let row = state::hold(view, request).map_err(storage)?;
    let releases = |row: HoldRow| row.given.is_some_and(|g| g.outcome == Outcome::Released);
    if !row.is_some_and(releases) {
        return Ok(false);
    }
    let offer = state::offer(view, request).map_err(storage)?;
    let Some((permit, asked, subject)) = offer.and_then(claim) else {
        return Ok(true);
    };
    let ground = of(view, &permit, &asked, subject, now)?;
    Ok(matches!(ground, Ground::Missing(_)))
}

/// Whom a request to this agency is about, as its newest offer says.
///
/// # Errors
/// The store.
pub(crate) fn subject_of(
    view: &dyn Read,
    request: &RequestId,
) -> Result<Option<Handle>, ErrorCode> {
    let offer = state::offer(view, request).map_err(storage)?;
    Ok(offer.and_then(claim).and_then(|(_, _, subject)| subject))
}

/// What an offer from the journal, where there are verified ones only, claims: the permit, what was
/// asked, and about whom.
fn claim(offer: Noticed) -> Option<(Permit, Request, Option<Handle>)> {
    let EntryBody::Offered { permit } = Entry::from_bytes(&offer.entry.0).ok()?.body else {
        return None;
    };
    let related = offer.related?;
    let Body::Request(asked) = related.envelope.unverified_statement().ok()?.body else {
        return None;
    };
    let subject = match &asked.subject {
        None => None,
        Some(commitment) => {
            let opening = commitment::find(&related.openings, Field::Subject, commitment)?;
            Some(Handle::from_slice(&opening.data.0)?)
        }
    };
    Some((*permit, *asked, subject))
}

fn of(
    view: &dyn Read,
    permit: &Permit,
    request: &Request,
    subject: Option<Handle>,
    now: Timestamp,
) -> Result<Ground, ErrorCode> {
    let named = match &request.reliance {
        Some(Reliance::Consent(id)) => Some(id),
        Some(Reliance::Agreement(_)) | None => None,
    };
    if permit.basis != LegalBasis::Consent {
        let in_the_way = agreements::in_the_way(view, permit, request, now).map_err(storage)?;
        if let Some(code) = in_the_way {
            return Ok(Ground::Missing(code));
        }
        let is_gone = match named {
            Some(id) => is_gone(view, id, permit, now)?,
            None => false,
        };
        return Ok(match is_gone {
            true => Ground::Missing(ErrorCode::PermitWithdrawn),
            false => Ground::Stands,
        });
    }
    // Without a person nobody can have consented.
    let Some(person) = subject else {
        return Ok(Ground::Missing(ErrorCode::UnknownConsent));
    };
    let Some(all) = standing::consents_of(view, &person).map_err(storage)? else {
        tracing::error!(request = %permit.request, "more consents than can be looked at");
        return Ok(Ground::Missing(ErrorCode::UnknownConsent));
    };
    let mut ground = Ground::Stands;
    for item in &permit.items {
        match behind_item(&all, named, permit, item, now) {
            Ground::Stands => {}
            Ground::StandsElsewhere => ground = Ground::StandsElsewhere,
            missing @ Ground::Missing(_) => return Ok(missing),
        }
    }
    Ok(ground)
}

fn behind_item(
    all: &[Standing],
    named: Option<&ConsentId>,
    permit: &Permit,
    item: &Item,
    now: Timestamp,
) -> Ground {
    let (recipient, category) = (&permit.requester, item.category);
    // A slow clock here must not lengthen a consent's life, and one that was given a moment ago
    // elsewhere must not look as if it were of tomorrow.
    let at = now.max(permit.issued_at);
    let between = |s: &&Standing| s.consent.is_between(recipient, &permit.holder, category);
    let withdrawn_at = all
        .iter()
        .filter(between)
        .filter_map(|s| s.consent.withdrawn_since(recipient, category))
        .max();
    let covers = |s: &&Standing| {
        named.is_none_or(|id| *id == s.consent.terms.consent)
            && between(s)
            && s.consent.terms.purposes.contains(&permit.purpose)
            && s.consent.has_standing()
    };
    let stands = |s: &&Standing| {
        s.consent.is_in_time(at)
            && !s.consent.is_withdrawn_for(recipient, category)
            && withdrawn_at.is_none_or(|index| index < s.consent.recorded)
    };
    let mut missing = ErrorCode::UnknownConsent;
    let mut ground = None;
    for candidate in all.iter().filter(covers) {
        missing = ErrorCode::PermitWithdrawn;
        if stands(&candidate) {
            if candidate.recorded_here {
                return Ground::Stands;
            }
            ground = Some(Ground::StandsElsewhere);
        }
    }
    ground.unwrap_or(Ground::Missing(missing))
}

/// Whether the consent `id`, on which a request relies beside another basis, is known here to be
/// withdrawn, for this requester and an item of the permit, or over.
fn is_gone(
    view: &dyn Read,
    id: &ConsentId,
    permit: &Permit,
    now: Timestamp,
) -> Result<bool, ErrorCode> {
    let id = id.as_str().as_bytes();
    let Some(consent) = standing::consent(view, id).map_err(storage)? else {
        return Ok(false);
    };
    let is_withdrawn = |item: &Item| consent.is_withdrawn_for(&permit.requester, item.category);
    Ok(now >= consent.terms.expires_at || permit.items.iter().any(is_withdrawn))
}
