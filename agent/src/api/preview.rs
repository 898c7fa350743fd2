//! What one could get, before anything is asked of anybody.

use super::{Reply, asking, document, input, refuse, refused};
use crate::{
    entropy,
    holder::storage,
    node::Node,
    preview::{self, MAX_HOLDERS, Wanted},
    requester::Question,
    rules, state,
    suspicion::{
        question::{self as suspicion, Candidate, Passage},
        texts,
    },
};
use passerelle_model::{
    error::ErrorCode,
    ids::{AgencyId, RequestId},
    statement::MAX_ITEMS,
    vocabulary::{LegalBasis, Purpose},
};
use passerelle_proto::{
    v1,
    views::{PreviewLimit, PreviewView},
};
use std::sync::Arc;
use tonic::Status;

pub(super) async fn preview(node: &Node, request: v1::PreviewRequest) -> Reply {
    let person = request.person.as_ref().map(input::person).transpose()?;
    let (mut wanted, left_out, supposed) = wanted(node, &request)?;
    let (now, view) = (node.clock.now(), node.core.view());
    let index = node.context.vault.index().map_err(refused)?;
    let token = person.as_ref().map(|person| index.token(person));
    // Only what is known here: to have it evaluated would tell the broker that somebody looks.
    if let Some(person) = &person {
        wanted.question.subject = index.handle_of(view, person).map_err(refused)?;
    }
    let context = Arc::clone(&node.context);
    let found = suspicion::look(&context, view, &wanted.question, person.as_ref(), now);
    let candidate = Candidate {
        request: RequestId::from_random(entropy::random().map_err(refused)?),
        question: wanted.question.clone(),
        token,
        found: found.map_err(refused)?,
        stated: None,
    };
    let passed = node.core.write(now, move |view| {
        suspicion::pass_preview(&context, view, candidate, now)
    });
    // In the journal before anything is shown.
    if let Passage::Held(case, found) | Passage::Refused(case, found) =
        passed.await.map_err(refused)?
    {
        let reason = texts::not_shown(&case, &found);
        return Err(refuse(ErrorCode::RefusedHere, reason));
    }
    let shown = show(node, wanted, left_out, supposed);
    document(&shown.await.map_err(refused)?)
}

/// The document. Evaluates many times: not on a thread that serves others.
async fn show(
    node: &Node,
    wanted: Wanted,
    left_out: usize,
    supposed: Vec<PreviewLimit>,
) -> Result<PreviewView, ErrorCode> {
    let (context, core, now) = (
        Arc::clone(&node.context),
        node.core.clone(),
        node.clock.now(),
    );
    let shown = tokio::task::spawn_blocking(move || {
        let view = core.view();
        let rules = rules::rules(view).map_err(storage)?;
        let terms = rules.lawful(now)?;
        let pdp = context.bundles.decision_point(terms)?;
        let me = &context.identity.anchors.agency;
        let question = &wanted.question;
        let heard_at = state::meta(view).map_err(storage)?.heard_at;
        let mut limits = supposed;
        limits.extend(preview::limits(&wanted, left_out, heard_at));
        Ok(PreviewView {
            at: now,
            worker: question.worker.id.clone(),
            purpose: question.purpose.code().to_owned(),
            basis: question.basis.code().to_owned(),
            case: question.case.as_ref().map(ToString::to_string),
            emergency: question.emergency.map(|e| e.code().to_owned()),
            bundle: terms.bundle,
            holders: preview::preview(me, view, &pdp, &wanted, now)?,
            limits,
        })
    });
    shown.await.map_err(|_| ErrorCode::Internal)?
}

/// What is wanted, how many agencies are left out, and what was supposed.
fn wanted(
    node: &Node,
    request: &v1::PreviewRequest,
) -> Result<(Wanted, usize, Vec<PreviewLimit>), Status> {
    let items = asking::items(&request.items)?;
    if items.len() > MAX_ITEMS {
        return Err(refuse(
            ErrorCode::OutOfRange,
            format!("a request has at most {MAX_ITEMS} items"),
        ));
    }
    let case = input::optional_id("case", &request.case)?;
    if request.person.is_none() && case.is_none() {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "name a person, or a case at stage 2",
        ));
    }
    let (holders, left_out) = holders(node, &request.holders)?;
    let first = holders.first().cloned().ok_or_else(|| {
        refuse(
            ErrorCode::UnknownAgency,
            "no other member is known here yet",
        )
    })?;
    let purpose = input::optional_code("purpose", &request.purpose)?;
    let basis = input::optional_code("basis", &request.basis)?;
    let question = Question {
        subject: None,
        holder: first,
        items,
        purpose: purpose.unwrap_or(Purpose::Plan),
        basis: basis.unwrap_or(LegalBasis::Consent),
        reliance: asking::reliance(&request.consent, &request.agreement)?,
        case,
        emergency: input::optional_code("emergency", &request.emergency)?,
        justification: String::new(),
        worker: input::worker(node, &request.worker)?,
        not_after: node.clock.now(),
        near: None,
    };
    let supposed = preview::supposed(question.purpose, purpose.is_some(), basis.is_some());
    let wanted = Wanted {
        question,
        is_named: request.person.is_some(),
        holders,
    };
    Ok((wanted, left_out, supposed))
}

/// Those that are named, or every other member; with how many are left out.
fn holders(node: &Node, named: &[String]) -> Result<(Vec<AgencyId>, usize), Status> {
    let me = &node.context.identity.anchors.agency;
    let mut holders = input::members(node, "holder", named)?;
    if holders.contains(me) {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "`holder`: this is your own agency",
        ));
    }
    if holders.len() > MAX_HOLDERS {
        return Err(refuse(
            ErrorCode::OutOfRange,
            format!("`holder`: at most {MAX_HOLDERS} at a time"),
        ));
    }
    if named.is_empty() {
        let members = state::members(node.core.view()).map_err(|e| refused(storage(e)))?;
        let others = members.into_iter().filter(|(a, m)| m.active && a != me);
        holders = others.map(|(agency, _)| agency).collect();
    }
    let left_out = holders.len().saturating_sub(MAX_HOLDERS);
    holders.truncate(MAX_HOLDERS);
    Ok((holders, left_out))
}
