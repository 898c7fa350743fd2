//! Promises about the log as it grows: 2 (deny by default), 5 (withdrawal wins), 6 (replay).

use super::{Broken, Promise, ensure};
use crate::{
    ghost::{Asked, Ghost, Reading},
    world::{World, pdp},
};
use passerelle_model::{
    apply::apply,
    entry::{EntryBody, Record},
    ids::ConsentId,
    pdp::{Effect, ItemRuling, Matter, Ruling},
    pip::{self, Collected},
    state,
    statement::{Body, Reliance},
    store::{Memory, Overlay, Read as _},
    time::Timestamp,
    vocabulary::{LegalBasis, Purpose, Sector},
};

/// Checks one entry against the log before it, and reads it.
///
/// # Errors
/// The broken promise.
pub fn of_an_entry(ghost: &mut Ghost, index: u64, record: &Record) -> Result<(), Broken> {
    let at = record.entry.at;
    match &record.entry.body {
        EntryBody::Decided { request, items, .. } => {
            if let Some(asked) = ghost.reading.requests.get(request) {
                for item in items {
                    doubt_denies(&ghost.reading, asked, item, at, index)?;
                }
            }
            decisions_can_be_replayed(&ghost.replica, index, record)?;
        }
        EntryBody::Said { envelope, .. } => {
            let statement = envelope
                .unverified_statement()
                .expect("a sequenced statement");
            if let Body::Answer(answer) = statement.body {
                let asked = ghost.reading.requests.get(&answer.request);
                let asked = asked.expect("an answer to a request");
                withdrawal_wins(&ghost.reading, asked, index)?;
                members_only(&ghost.reading, asked, index)?;
            }
        }
        EntryBody::WithdrawalCarriedOut { consent } => {
            recipients_are_told(&ghost.reading, consent, index)?;
        }
        _ => {}
    }
    ghost.reading.read(index, record);
    nobody_asks_for_ever(&ghost.reading, index)?;
    let mut overlay = Overlay::new(&ghost.replica);
    apply(&mut overlay, index, record).expect("an entry that the broker applied");
    let writes = overlay.into_writes();
    ghost.replica.commit(writes);
    Ok(())
}

/// 2. What is permitted has reasons, and a ground that a much simpler reading of the log finds.
fn doubt_denies(
    reading: &Reading,
    asked: &Asked,
    item: &ItemRuling,
    at: Timestamp,
    index: u64,
) -> Result<(), Broken> {
    let ruling = &item.ruling;
    ensure(!ruling.reasons.is_empty(), Promise::DenyByDefault, || {
        format!("the decision at {index} has no reason")
    })?;
    if ruling.effect == Effect::Deny {
        return Ok(());
    }
    let has_ground = on_consent(reading, asked, item, at, index)
        || on_agreement(reading, asked, item, at)
        || on_emergency(asked)
        || at_table(reading, asked);
    let request = &asked.request;
    let in_order = reading.is_member(&asked.requester)
        && reading.is_member(&request.holder)
        && reading.sector(&asked.requester) != Some(Sector::Oversight)
        && reading.sector(&request.holder) != Some(Sector::Oversight)
        && !matches!(
            request.purpose,
            Purpose::CriminalInvestigation | Purpose::ImmigrationEnforcement | Purpose::Media
        )
        && request.trained
        && at < request.not_after
        && request
            .items
            .iter()
            .any(|i| i.category == item.category && item.level <= i.level);
    ensure(has_ground && in_order, Promise::DenyByDefault, || {
        format!(
            "entry {index} permits {} to {} on {} without a ground (rules {:?})",
            item.category,
            asked.requester,
            request.basis,
            ruling.reasons.iter().map(|r| &r.rule).collect::<Vec<_>>()
        )
    })
}

fn on_consent(
    reading: &Reading,
    asked: &Asked,
    item: &ItemRuling,
    at: Timestamp,
    index: u64,
) -> bool {
    let request = &asked.request;
    let named = match &request.reliance {
        Some(Reliance::Consent(id)) => Some(id),
        _ => None,
    };
    request.basis == LegalBasis::Consent
        && reading.consents.values().any(|consent| {
            let terms = &consent.terms;
            named.is_none_or(|id| *id == terms.consent)
                && consent.subject.is_some()
                && consent.subject == asked.subject
                && terms.categories.contains(&item.category)
                && terms.purposes.contains(&request.purpose)
                && terms.recipients.contains(&asked.requester)
                && terms.disclosers.contains(&request.holder)
                && terms.given_at <= at
                && at < terms.expires_at
                && !consent.is_withdrawn(&asked.requester, item.category, index)
        })
}

fn on_agreement(reading: &Reading, asked: &Asked, item: &ItemRuling, at: Timestamp) -> bool {
    let request = &asked.request;
    let named = match &request.reliance {
        Some(Reliance::Agreement(id)) => Some(id),
        _ => None,
    };
    reading.agreements.values().any(|agreed| {
        let terms = &agreed.terms;
        named.is_none_or(|id| *id == terms.agreement)
            && terms
                .parties
                .iter()
                .all(|p| agreed.signed.contains(&p.agency))
            && terms.starts_at <= at
            && at < terms.ends_at
            && terms.purposes.contains(&request.purpose)
            && terms.parties.iter().any(|p| p.basis == request.basis)
            && terms.lines.iter().any(|line| {
                line.from == request.holder
                    && line.to == asked.requester
                    && line.category == item.category
                    && item.level <= line.level
            })
    })
}

fn on_emergency(asked: &Asked) -> bool {
    let request = &asked.request;
    request.emergency.is_some() && request.purpose == Purpose::Emergency && asked.subject.is_some()
}

fn at_table(reading: &Reading, asked: &Asked) -> bool {
    let request = &asked.request;
    let seated = request
        .case
        .as_ref()
        .and_then(|case| reading.cases.get(case));
    seated.is_some_and(|s| s.contains(&asked.requester) && s.contains(&request.holder))
        && asked.subject.is_none()
}

/// 5. No answer is sequenced after a withdrawal of what it rests on.
fn withdrawal_wins(reading: &Reading, asked: &Asked, index: u64) -> Result<(), Broken> {
    let (_, items) = asked.decided.clone().unwrap_or_default();
    for item in items.iter().filter(|i| i.ruling.effect != Effect::Deny) {
        let consent = item.ruling.consent.as_ref();
        let consent = consent.and_then(|id| reading.consents.get(id));
        let gone = consent.is_some_and(|c| c.is_withdrawn(&asked.requester, item.category, index));
        ensure(!gone, Promise::WithdrawalWins, || {
            format!("the answer at {index} rests on a consent that was withdrawn before")
        })?;
    }
    Ok(())
}

/// 2. Nothing is answered to or by who is out.
fn members_only(reading: &Reading, asked: &Asked, index: u64) -> Result<(), Broken> {
    let both = reading.is_member(&asked.requester) && reading.is_member(&asked.request.holder);
    ensure(both, Promise::DenyByDefault, || {
        format!("the answer at {index} is between agencies that are not both members")
    })
}

/// Promise 5: once a withdrawal is said to be carried out, nothing that rests on it is open, and everybody
/// who received something was told.
fn recipients_are_told(reading: &Reading, consent: &ConsentId, index: u64) -> Result<(), Broken> {
    let Some(consented) = reading.consents.get(consent) else {
        return Ok(());
    };
    for asked in reading
        .requests
        .values()
        .filter(|a| a.answered.is_some() && !a.erased)
    {
        let withdrawn = asked
            .resting_on(consent)
            .into_iter()
            .any(|category| consented.is_withdrawn(&asked.requester, category, index));
        let told = asked.recalled.contains(consent);
        ensure(told || !withdrawn, Promise::WithdrawalWins, || {
            format!(
                "{} received on a withdrawn consent and is not told",
                asked.requester
            )
        })?;
    }
    Ok(())
}

/// Nobody asks for the same permit again and again: a story is shorter than that.
fn nobody_asks_for_ever(reading: &Reading, index: u64) -> Result<(), Broken> {
    const MOST_RENEWALS: u32 = 40;
    let most = reading.renewals.values().max().copied().unwrap_or(0);
    ensure(most <= MOST_RENEWALS, Promise::NothingIsStuck, || {
        format!("at {index} a permit was asked for again {most} times")
    })
}

/// 6. The decision follows from the log before it.
fn decisions_can_be_replayed(replica: &Memory, index: u64, record: &Record) -> Result<(), Broken> {
    let EntryBody::Decided { request, items, .. } = &record.entry.body else {
        return Ok(());
    };
    let row = state::request(replica, request).expect("the replica");
    let row = row.expect("a decision on a request");
    let first = row.items[0];
    let collected = pip::collect(replica, &row, first, record.entry.at).expect("the replica");
    let again = |item: &passerelle_model::statement::Item| match &collected {
        Collected::Matter(matter) => pdp().rule(&Matter {
            item: *item,
            ..(**matter).clone()
        }),
        Collected::Doubt(reason) => Ruling::deny(reason),
    };
    let same = items.len() == row.items.len()
        && items.iter().zip(&row.items).all(|(logged, item)| {
            logged.category == item.category
                && logged.level == item.level
                && logged.ruling == again(item)
        });
    ensure(same, Promise::DecisionsCanBeReplayed, || {
        format!("the decision at {index} comes out otherwise from the log alone")
    })
}

/// 6. The projection is what the log alone makes of it.
///
/// # Errors
/// The broken promise.
pub fn decisions_can_be_replayed_whole(world: &World) -> Result<(), Broken> {
    let Some(up) = &world.broker.up else {
        return Ok(());
    };
    let rows = up
        .view()
        .projection
        .scan(&[], None, usize::MAX)
        .expect("the projection");
    let rows = rows.iter().map(|(k, v)| (k.as_slice(), v.as_slice()));
    ensure(
        rows.eq(world.ghost.replica.rows()),
        Promise::DecisionsCanBeReplayed,
        || "the projection is not what the log makes of it".to_owned(),
    )
}
