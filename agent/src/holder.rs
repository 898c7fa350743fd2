//! The holder's side of an exchange: what happens with a permit.
//!
//! In scope: finding the records, the agency's own policy on each fact, human review, reduction,
//! sealing, one answer a request. Everything is a function of the state, run by the single
//! writer, so two of them never cross.
//! Out of scope: whether the permit is genuine ([`crate::verify`]); sending.
//!
//! From outside all outcomes look the same: one statement type, the outcome a commitment, the
//! sealed answer padded, sent at a time that does not depend on what was found (promise 9).

use crate::{
    apply::outcome_of,
    context::Context,
    entropy,
    event::Event,
    facts::{
        fact::Fact,
        reduce::{ReducedFact, derived_facts, reduce_all},
    },
    seal,
    state::{self, HoldRow, PersonRow},
    trust::Trust,
    verify::{CheckedNotice, CheckedPermit, check_permit},
};
use passerelle_model::{
    bytes::Digest,
    commitment::{Field, Opening},
    entry::EntryBody,
    error::ErrorCode,
    pdp::Obligation,
    permit::Permit,
    records::Agency,
    statement::{Answer, Body, Item, PAYLOAD_ANSWER, Renewal},
    store::{Read, StoreError},
    time::Timestamp,
    vocabulary::{LegalBasis, Level, Outcome},
};
use passerelle_policies::{LocalMatter, RecordFacts, local};
use passerelle_proto::views::AnswerItem;
use serde::{Deserialize, Serialize};

/// What is sealed for the requester.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedAnswer {
    /// What came of it.
    pub outcome: Outcome,
    /// Opens the commitment in the statement.
    pub opening: Opening,
    /// The facts, reduced.
    pub items: Vec<AnswerItem>,
    /// What the recipient must do.
    pub obligations: Vec<Obligation>,
}

/// Storage trouble inside a decision stops it: nothing is released on half a view.
pub(crate) fn storage(_: StoreError) -> ErrorCode {
    ErrorCode::Storage
}

/// What follows from a verified offer. The notice itself is journaled in the same transaction,
/// before these.
///
/// # Errors
/// The store, or no randomness. Nothing is journaled then, and the notice comes again.
pub fn on_offer(
    context: &Context,
    view: &dyn Read,
    notice: &CheckedNotice,
    trust: &Trust,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let EntryBody::Offered { permit } = &notice.entry().body else {
        return Ok(Vec::new());
    };
    if permit.holder != trust.anchors.agency {
        return Ok(Vec::new());
    }
    let row = state::hold(view, &permit.request).map_err(storage)?;
    if let Some(row) = &row
        && (row.given.is_some() || !row.status.is_open())
    {
        // One answer a request: an offer that comes again changes nothing.
        tracing::info!(request = %permit.request, "offer for a request that is answered or over");
        return Ok(Vec::new());
    }
    use_permit(context, view, notice, permit, row.as_ref(), trust, now)
}

pub(crate) fn use_permit(
    context: &Context,
    view: &dyn Read,
    notice: &CheckedNotice,
    permit: &Permit,
    row: Option<&HoldRow>,
    trust: &Trust,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    match check_permit(notice, trust, now) {
        Ok(checked) => proceed(context, view, &checked, row, trust, now),
        Err(ErrorCode::PermitExpired) => renew(context, permit, row, now),
        Err(code) => {
            tracing::warn!(request = %permit.request, index = notice.index(), %code,
                "permit refused: nothing is answered");
            Ok(vec![Event::PermitRefused {
                request: permit.request.clone(),
                code,
            }])
        }
    }
}

/// Asks for an expired permit to be decided again, once.
pub(crate) fn renew(
    context: &Context,
    permit: &Permit,
    row: Option<&HoldRow>,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let digest = permit.digest().map_err(|_| ErrorCode::Internal)?;
    if row.is_some_and(|r| r.renewing == Some(digest)) {
        return Ok(Vec::new());
    }
    let body = Body::Renewal(Renewal {
        request: permit.request.clone(),
        permit: digest,
    });
    Ok(vec![Event::Stated(Box::new(
        context.say(now, body)?.done(),
    ))])
}

/// A permit that may be used now: to a person, or to an answer.
fn proceed(
    context: &Context,
    view: &dyn Read,
    checked: &CheckedPermit,
    row: Option<&HoldRow>,
    trust: &Trust,
    now: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let verdict = row.and_then(|r| r.verdict.as_ref()).filter(|v| {
        // What was decided under an earlier permit holds for no more than it covered.
        !v.awaits_second && checked.permit().items.iter().all(|i| v.items.contains(i))
    });
    if let Some(outcome) = verdict.and_then(|v| outcome_of(v.verdict)) {
        let ruling = Ruling::silent(outcome, "reviewer");
        return answer(context, checked, ruling, now, now);
    }
    let approved = verdict.is_some();
    let records = find_records(view, checked)?;
    let requester = requester(trust, checked)?;
    let ruling = rule(context, checked, &records, &requester, approved, now)?;
    let looks_first =
        checked.permit().review || a_person_looks_first(context, view, checked, &requester)?;
    let Some(ruling) = ruling.filter(|_| approved || !looks_first) else {
        return Ok(vec![Event::ReviewAsked {
            request: checked.permit().request.clone(),
            review_by: now.plus_s(context.config.review_deadline_h.saturating_mul(3_600)),
            record_found: !records.is_empty(),
        }]);
    };
    let delay = if approved {
        0
    } else {
        context.config.answer_delay_ms
    };
    answer(
        context,
        checked,
        ruling,
        now,
        Timestamp(now.0.saturating_add(delay)),
    )
}

fn requester(trust: &Trust, checked: &CheckedPermit) -> Result<Agency, ErrorCode> {
    let agency = checked.permit().requester.clone();
    let member = trust.active(&agency).ok_or(ErrorCode::UnknownAgency)?;
    Ok(Agency {
        agency,
        keys: member.keys.clone(),
        certificate: member.certificate.clone(),
        active: member.active,
        joined: member.joined,
    })
}

/// The records of the person whom the permit is about. Without a person (stage 2 of a table) only
/// the agency that put the case there knows who it is.
fn find_records(view: &dyn Read, checked: &CheckedPermit) -> Result<Vec<PersonRow>, ErrorCode> {
    let handle = match (checked.subject(), &checked.permit().case) {
        (Some(handle), _) => Some(handle),
        (None, Some(case)) => state::label(view, case.as_str())
            .map_err(storage)?
            .map(|label| label.handle),
        (None, None) => None,
    };
    match handle {
        Some(handle) => state::people_by_handle(view, &handle).map_err(storage),
        None => Ok(Vec::new()),
    }
}

/// The facts of these records that the permit is about, and no others.
fn read_facts(checked: &CheckedPermit, records: &[PersonRow], now: Timestamp) -> Vec<Fact> {
    let today = crate::date::Date::of(now);
    let is_permitted = |fact: &Fact| {
        let mut items = checked.permit().items.iter();
        items.any(|item| item.category == fact.category)
    };
    records
        .iter()
        .flat_map(|row| {
            let derived = today.map(|at| derived_facts(&row.record.person, at));
            let own = row.record.facts.iter().cloned();
            own.chain(derived.into_iter().flatten())
        })
        .filter(is_permitted)
        .collect()
}

/// Whether the agency's own policy wants a person to look before such a request is answered, for
/// the weightiest record that there is in the category, whoever it is about.
///
/// If it were for the record that was found, an answer that takes hours would say that there is
/// one, and one that comes at once that there is none (promise 9).
fn a_person_looks_first(
    context: &Context,
    view: &dyn Read,
    checked: &CheckedPermit,
    requester: &Agency,
) -> Result<bool, ErrorCode> {
    for item in &checked.permit().items {
        let Some(wary) = state::wary(view, item.category).map_err(storage)? else {
            continue;
        };
        let record = RecordFacts {
            third_party_at_risk: wary.third_party_at_risk,
            sensitivity: wary.sensitivity,
            ..RecordFacts::default()
        };
        let ruling = rule_record(context, checked, item, item.level, record, requester, false);
        if ruling.verdict == local::Verdict::Review {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What this agency does, with the ids of the local rules that say so.
struct Ruling {
    outcome: Outcome,
    items: Vec<AnswerItem>,
    rules: Vec<String>,
}

impl Ruling {
    fn silent(outcome: Outcome, rule: &str) -> Self {
        Self {
            outcome,
            items: Vec::new(),
            rules: vec![rule.to_owned()],
        }
    }
}

/// The agency's own policy on every fact that would answer; `None` if a person has to look first.
fn rule(
    context: &Context,
    checked: &CheckedPermit,
    records: &[PersonRow],
    requester: &Agency,
    approved: bool,
    now: Timestamp,
) -> Result<Option<Ruling>, ErrorCode> {
    let facts = read_facts(checked, records, now);
    let mut rules = Vec::new();
    let mut verdicts = Vec::new();
    let mut items = Vec::new();
    for item in &checked.permit().items {
        let mut released = Vec::new();
        for fact in facts.iter().filter(|f| f.category == item.category) {
            let ruling = rule_fact(context, checked, item, fact, requester, approved);
            if ruling.verdict == local::Verdict::Release {
                released.push(fact);
            }
            rules.extend(ruling.rules);
            verdicts.push(ruling.verdict);
        }
        let reduced = reduce_all(released, item.category, item.level);
        if !reduced.is_empty() {
            items.push(answer_item(item, &reduced)?);
        }
    }
    rules.sort();
    rules.dedup();
    let has = |verdict| verdicts.contains(&verdict);
    if has(local::Verdict::Review) && !approved {
        return Ok(None);
    }
    let outcome = if !items.is_empty() {
        Outcome::Released
    } else if has(local::Verdict::Decline) && !has(local::Verdict::CannotSay) {
        Outcome::Declined
    } else {
        Outcome::CannotSay
    };
    Ok(Some(Ruling {
        outcome,
        items,
        rules,
    }))
}

fn rule_fact(
    context: &Context,
    checked: &CheckedPermit,
    item: &Item,
    fact: &Fact,
    requester: &Agency,
    approved: bool,
) -> local::LocalRuling {
    // Restricted content is never reduced to more than the contact: the rule is asked about what
    // would leave, so that the contact of the owner may (DATA, rule 22).
    let level = if fact.restricted {
        item.level.min(Level::Contact)
    } else {
        item.level
    };
    let record = RecordFacts {
        specially_protected: fact.specially_protected,
        youth_record: fact.youth_record,
        third_party_at_risk: fact.third_party_at_risk,
        restricted: fact.restricted,
        sensitivity: fact.sensitivity.rank(),
    };
    rule_record(context, checked, item, level, record, requester, approved)
}

fn rule_record(
    context: &Context,
    checked: &CheckedPermit,
    item: &Item,
    level: Level,
    record: RecordFacts,
    requester: &Agency,
    approved: bool,
) -> local::LocalRuling {
    let permit = checked.permit();
    context.policy.rule(&LocalMatter {
        requester,
        purpose: permit.purpose,
        emergency: checked.request().emergency.is_some(),
        on_consent: permit.basis == LegalBasis::Consent,
        review_approved: approved,
        category: item.category,
        level,
        record: Some(record),
    })
}

fn answer_item(item: &Item, reduced: &[ReducedFact]) -> Result<AnswerItem, ErrorCode> {
    let values = reduced.iter().map(serde_json::to_value);
    Ok(AnswerItem {
        category: item.category.code().to_owned(),
        level: item.level.code().to_owned(),
        values: values
            .collect::<Result<_, _>>()
            .map_err(|_| ErrorCode::Internal)?,
    })
}

/// Seals and signs the answer. `send_at` is when it may leave.
fn answer(
    context: &Context,
    checked: &CheckedPermit,
    ruling: Ruling,
    now: Timestamp,
    send_at: Timestamp,
) -> Result<Vec<Event>, ErrorCode> {
    let (ruling, opening, sealed) = match seal_answer(checked, &ruling) {
        Ok((opening, sealed)) => (ruling, opening, sealed),
        Err(ErrorCode::TooLarge) => {
            // More than the largest answer holds: said to nobody, for its size would tell.
            let ruling = Ruling::silent(Outcome::CannotSay, "answer_too_large");
            let (opening, sealed) = seal_answer(checked, &ruling)?;
            (ruling, opening, sealed)
        }
        Err(code) => return Err(code),
    };
    let request = checked.permit().request.clone();
    let body = Body::Answer(Answer {
        request: request.clone(),
        permit: checked.digest(),
        outcome: opening.commitment(),
        sealed: Digest::of(&sealed),
    });
    let stated = context
        .say(now, body)?
        .payload(PAYLOAD_ANSWER, sealed)
        .not_before(send_at)
        .done();
    Ok(vec![
        Event::Answered {
            request,
            permit: checked.digest(),
            outcome: ruling.outcome,
            rules: ruling.rules,
            statement: stated.envelope.digest(),
        },
        Event::Stated(Box::new(stated)),
    ])
}

fn seal_answer(checked: &CheckedPermit, ruling: &Ruling) -> Result<(Opening, Vec<u8>), ErrorCode> {
    let opening = entropy::opening(Field::Outcome, ruling.outcome.code().as_bytes())?;
    let content = serde_json::to_vec(&SealedAnswer {
        outcome: ruling.outcome,
        opening: opening.clone(),
        items: ruling.items.clone(),
        obligations: match ruling.outcome {
            Outcome::Released => checked.permit().obligations.clone(),
            Outcome::Declined | Outcome::CannotSay => Vec::new(),
        },
    });
    let content = zeroize::Zeroizing::new(content.map_err(|_| ErrorCode::Internal)?);
    let permit = checked.permit();
    let sealed = seal::seal(
        &permit.reply_key,
        &checked.digest().0,
        permit.request.as_str().as_bytes(),
        &content,
    )
    .map_err(|error| match error {
        seal::SealError::TooLarge => ErrorCode::TooLarge,
        _ => ErrorCode::Internal,
    })?;
    Ok((opening, sealed))
}
