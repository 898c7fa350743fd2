//! Rows as views: what the local interface shows. Pure.

use crate::{
    asked_by::AskContext,
    facts::sealed,
    holder::SealedAnswer,
    names, retention,
    state::{self, AskRow, HoldRow, Step},
    vault::Vault,
};
use passerelle_model::{
    bytes::Handle,
    ids::AgencyId,
    pdp::ItemRuling,
    records::{Case, Consent, Withdrawn},
    statement::{Item, WithdrawalScope},
    store::{Read, StoreError},
    time::Timestamp,
    vocabulary::Language,
};
use passerelle_policies::texts::explain;
use passerelle_proto::views::{
    AnswerView, AskedBy, CaseView, ConsentView, ItemView, RequestLine, RequestView, TrailStep,
};

fn items(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .map(|item| format!("{}:{}", item.category, item.level))
        .collect()
}

fn trail(steps: &[Step]) -> Vec<TrailStep> {
    let step = |step: &Step| TrailStep {
        index: step.index,
        what: step.what.clone(),
        at: step.at,
    };
    steps.iter().map(step).collect()
}

/// A request of ours as one line.
pub fn ask_line(me: &AgencyId, row: &AskRow) -> RequestLine {
    RequestLine {
        request: row.request.request.to_string(),
        requester: me.to_string(),
        holder: row.request.holder.to_string(),
        items: items(&row.request.items),
        purpose: row.request.purpose.code().to_owned(),
        status: row.status,
        at: row.at,
        review_by: None,
    }
}

/// A request to us as one line.
pub fn hold_line(me: &AgencyId, row: &HoldRow) -> RequestLine {
    RequestLine {
        request: row.request.to_string(),
        requester: row.requester.to_string(),
        holder: me.to_string(),
        items: items(&row.items),
        purpose: row.purpose.code().to_owned(),
        status: row.status,
        at: row.at,
        review_by: row.review_by,
    }
}

/// Everything that is known of a request of ours.
pub fn ask_view(me: &AgencyId, row: &AskRow, answer: Option<AnswerView>) -> RequestView {
    let decision = row.decision.as_ref();
    RequestView {
        line: ask_line(me, row),
        basis: row.request.basis.code().to_owned(),
        case: row.request.case.as_ref().map(ToString::to_string),
        emergency: row.request.emergency.map(|e| e.code().to_owned()),
        decision: decision.map_or_else(Vec::new, |d| d.items.iter().map(item_view).collect()),
        decision_index: decision.map(|d| d.index),
        answer,
        asked_by: None,
        stopped: row.stopped.clone(),
        record_found: None,
        near: None,
        near_asked: None,
        few_alike: None,
        trail: trail(&row.trail),
    }
}

/// Everything that is known of a request to us.
pub fn hold_view(me: &AgencyId, row: &HoldRow, asked: Option<AskContext>) -> RequestView {
    RequestView {
        line: hold_line(me, row),
        basis: row.basis.code().to_owned(),
        case: row.case.as_ref().map(ToString::to_string),
        emergency: row.emergency.map(|e| e.code().to_owned()),
        decision: Vec::new(),
        decision_index: None,
        answer: None,
        asked_by: asked.map(|asked| AskedBy {
            worker: asked.worker,
            role: row.role.map_or_else(String::new, |r| r.code().to_owned()),
            justification: asked.justification,
        }),
        stopped: row.stopped.clone(),
        record_found: row.record_found,
        near: None,
        near_asked: None,
        few_alike: None,
        trail: trail(&row.trail),
    }
}

fn item_view(item: &ItemRuling) -> ItemView {
    ItemView {
        item: item.clone(),
        explained_en: explain(&item.ruling, Language::English),
        explained_fr: explain(&item.ruling, Language::French),
    }
}

/// An opened answer.
pub fn answer_view(row: &AskRow, opened: SealedAnswer) -> AnswerView {
    let answer = row.answer.as_ref();
    let erase_by = answer.and_then(|answer| retention::ends(&opened.obligations, answer.at));
    AnswerView {
        outcome: opened.outcome.code().to_owned(),
        items: opened.items,
        obligations: opened.obligations,
        erase_by,
        recalled: row.recalled.is_some(),
    }
}

/// Whole days until a consent ends; none if nothing can rest on it, or not any more.
pub fn days_left(row: &Consent, now: Timestamp) -> Option<u64> {
    let is_whole = |withdrawn: &Withdrawn| withdrawn.scope == WithdrawalScope::All;
    let is_over = now >= row.terms.expires_at || row.withdrawn.iter().any(is_whole);
    let left_s = row.terms.expires_at.seconds().saturating_sub(now.seconds());
    (!is_over).then_some(left_s / 86_400)
}

/// A consent.
///
/// # Errors
/// The store.
pub fn consent_view(
    vault: &Vault,
    view: &dyn Read,
    row: Consent,
    now: Timestamp,
) -> Result<ConsentView, StoreError> {
    let status = if row
        .withdrawn
        .iter()
        .any(|w| w.scope == WithdrawalScope::All)
    {
        "withdrawn"
    } else if now >= row.terms.expires_at {
        "expired"
    } else if row.withdrawn.is_empty() {
        "active"
    } else {
        "partly_withdrawn"
    };
    Ok(ConsentView {
        person: name_of(vault, view, row.terms.consent.as_str(), Some(row.subject))?,
        days_left: days_left(&row, now),
        recorded_by: row.recorded_by.to_string(),
        withdrawn: row.withdrawn.into_iter().map(|w| w.scope).collect(),
        status: status.to_owned(),
        terms: row.terms,
    })
}

/// A case.
///
/// # Errors
/// The store.
pub fn case_view(vault: &Vault, view: &dyn Read, row: Case) -> Result<CaseView, StoreError> {
    let agencies = row.agencies.iter();
    Ok(CaseView {
        person: name_of(vault, view, row.case.as_str(), row.subject)?,
        case: row.case.to_string(),
        lead: row.lead.to_string(),
        profile: row.profile.code().to_owned(),
        stage: row.stage.code().to_owned(),
        threshold: row.threshold.code().to_owned(),
        agencies: agencies
            .map(|(agency, role)| (agency.to_string(), role.code().to_owned()))
            .collect(),
        plan: row.plan.iter().map(|c| c.code().to_owned()).collect(),
        outcome: row.outcome.map(|o| o.code().to_owned()),
        few_alike: None,
        copies: None,
    })
}

/// The person's name, if the consent or case was made here or the person is in the index.
fn name_of(
    vault: &Vault,
    view: &dyn Read,
    id: &str,
    handle: Option<Handle>,
) -> Result<Option<String>, StoreError> {
    if let Some(row) = state::label(view, id)?
        && let Some(name) = names::open(vault, view, id, &row)
    {
        return Ok(Some(name));
    }
    let Some(handle) = handle else {
        return Ok(None);
    };
    let people = state::people_by_handle(view, &handle)?;
    let first = people.first();
    // A name that can't be read is one that is not shown.
    let person = first.and_then(|row| sealed::open(vault, view, row).ok().flatten());
    Ok(person.map(|person| full_name(&person.person)))
}

/// A person's name in the usual order.
pub fn full_name(person: &crate::person::Person) -> String {
    format!("{} {}", person.given_name(), person.family_name())
}
