//! Cases at a table: opened, moved through the stages, closed, shown.

use super::{Reply, document, input, refuse, refused, say};
use crate::{alike, deletions, entropy, holder::storage, names, node::Node, render, state};
use passerelle_model::{
    commitment::{Field, Opening},
    error::ErrorCode,
    ids::CaseId,
    records::Case,
    statement::{Body, CaseAdvance, CaseOpening},
    vocabulary::{CaseRole, Stage},
};
use passerelle_proto::v1;
use tonic::Status;

pub(super) async fn open(node: &Node, request: v1::OpenCaseRequest) -> Reply {
    let profile = input::code("profile", &request.profile)?;
    let me = node.context.identity.anchors.agency.clone();
    let mut agencies = input::members(node, "agency", &request.agencies)?;
    agencies.retain(|agency| *agency != me);
    agencies.insert(0, me);
    let case = CaseId::from_random(entropy::random().map_err(refused)?);
    let mut more = Vec::new();
    if let Some(person) = &request.person {
        // The person stays here until stage 3.
        let person = input::person(person)?;
        let handle = node.handle(&person).await.map_err(refused)?;
        let name = render::full_name(&person);
        let kept = names::keep(&node.context.vault, case.to_string(), handle, &name);
        more.push(kept.map_err(refused)?);
    }
    let id = case.to_string();
    let body = Body::CaseOpening(CaseOpening {
        case,
        profile,
        agencies,
    });
    say(node, id, body, Vec::new(), more).await
}

pub(super) async fn advance(node: &Node, request: v1::AdvanceCaseRequest) -> Reply {
    let id: CaseId = input::id("case", &request.case)?;
    let row = state::case(node.core.view(), &id).map_err(|e| refused(storage(e)))?;
    let row = row.ok_or_else(|| refused(ErrorCode::UnknownCase))?;
    // What is left out stays as it is.
    let stage = input::optional_code("stage", &request.stage)?.unwrap_or(row.stage);
    let threshold = input::optional_code("threshold", &request.threshold)?.unwrap_or(row.threshold);
    let agencies = match request.agencies.as_slice() {
        [] => present(&row),
        named => input::members(node, "agency", named)?,
    };
    let plan = match request.plan.as_slice() {
        [] => row.plan.clone(),
        named => input::codes("plan", named)?,
    };
    let opening = subject(node, &row, stage)?;
    let body = Body::CaseAdvance(CaseAdvance {
        case: id.clone(),
        stage,
        threshold,
        agencies,
        plan,
        subject: opening.as_ref().map(Opening::commitment),
        outcome: input::optional_code("outcome", &request.outcome)?,
    });
    let openings = opening.into_iter().collect();
    say(node, id.to_string(), body, openings, Vec::new()).await
}

fn present(row: &Case) -> Vec<passerelle_model::ids::AgencyId> {
    row.agencies
        .iter()
        .filter(|(_, role)| **role != CaseRole::Out)
        .map(|(agency, _)| agency.clone())
        .collect()
}

/// From stage 3 on the table knows the person, by handle.
fn subject(node: &Node, row: &Case, stage: Stage) -> Result<Option<Opening>, Status> {
    // Said once: the person of a case does not change.
    if stage < Stage::LimitedIdentifiers || row.subject.is_some() {
        return Ok(None);
    }
    let label = state::label(node.core.view(), row.case.as_str());
    let label = label.map_err(|e| refused(storage(e)))?;
    let handle = label.map(|l| l.handle).ok_or_else(|| {
        refuse(
            ErrorCode::WrongState,
            "nobody is named: the case was opened without a person, or at another agency",
        )
    })?;
    let opening = entropy::opening(Field::Subject, &handle.0).map_err(refused)?;
    Ok(Some(opening))
}

pub(super) fn show(node: &Node, request: &v1::ShowCasesRequest) -> Reply {
    let view = node.core.view();
    let failed = |e| refused(storage(e));
    let render = |row| render::case_view(&node.context.vault, view, row).map_err(failed);
    if let Some(id) = input::optional_id::<CaseId>("case", &request.case)? {
        let row = state::case(view, &id).map_err(failed)?;
        let row = row.ok_or_else(|| refused(ErrorCode::UnknownCase))?;
        let names_nobody = row.stage <= Stage::DeIdentified && row.outcome.is_none();
        let mut shown = render(row)?;
        shown.copies = deletions::copies(view, &id).map_err(failed)?;
        if names_nobody {
            let now = node.clock.now();
            // May look at thousands of people: not on a thread that serves others.
            let warned =
                tokio::task::block_in_place(|| alike::warning(&node.context, view, &id, now));
            shown.few_alike = warned.map_err(refused)?;
        }
        return document(&vec![shown]);
    }
    let rows = state::cases(view).map_err(failed)?;
    let views: Result<Vec<_>, _> = rows.into_iter().map(render).collect();
    document(&views?)
}
