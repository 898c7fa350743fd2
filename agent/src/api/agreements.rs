//! Agreements: drafted as TOML, proposed, signed by all, shown.

use super::{Reply, document, input, refuse, refused, say};
use crate::{entropy, holder::storage, node::Node, render, state};
use passerelle_model::{
    error::ErrorCode,
    ids::{AgencyId, AgreementId},
    statement::{AgreementLine, AgreementParty, AgreementSignature, AgreementTerms, Body},
    vocabulary::{Category, LegalBasis, Level, Purpose},
};
use passerelle_proto::v1;
use serde::Deserialize;
use tonic::Status;

/// Largest draft, in bytes: its statement has to fit a log entry.
const MAX_DRAFT_BYTES: usize = 32 * 1024;

/// A draft as people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    purposes: Vec<Purpose>,
    /// From when; without, from now on.
    starts: Option<String>,
    ends: String,
    /// Due for review; without, at the end.
    review: Option<String>,
    parties: Vec<PartyDraft>,
    lines: Vec<LineDraft>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyDraft {
    agency: AgencyId,
    basis: LegalBasis,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineDraft {
    from: AgencyId,
    to: AgencyId,
    category: Category,
    level: Level,
    retention_days: u16,
}

pub(super) async fn propose(node: &Node, request: v1::ProposeAgreementRequest) -> Reply {
    if request.draft.len() > MAX_DRAFT_BYTES {
        return Err(refuse(
            ErrorCode::TooLarge,
            format!("the draft is larger than {MAX_DRAFT_BYTES} bytes"),
        ));
    }
    let draft: Draft = toml::from_str(&request.draft)
        .map_err(|e| refuse(ErrorCode::Malformed, format!("the draft: {e}")))?;
    let terms = terms(node, draft)?;
    let id = terms.agreement.to_string();
    say(
        node,
        id,
        Body::Agreement(Box::new(terms)),
        Vec::new(),
        Vec::new(),
    )
    .await
}

fn terms(node: &Node, draft: Draft) -> Result<AgreementTerms, Status> {
    let ends_at = input::time("ends", &draft.ends)?;
    let starts_at = match &draft.starts {
        Some(text) => input::time("starts", text)?,
        None => node.clock.now(),
    };
    let review_at = match &draft.review {
        Some(text) => input::time("review", text)?,
        None => ends_at,
    };
    if starts_at >= ends_at {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "`ends` is not after `starts`",
        ));
    }
    let parties: Vec<_> = draft
        .parties
        .into_iter()
        .map(|p| AgreementParty {
            agency: p.agency,
            basis: p.basis,
        })
        .collect();
    let lines: Vec<_> = draft
        .lines
        .into_iter()
        .map(|l| AgreementLine {
            from: l.from,
            to: l.to,
            category: l.category,
            level: l.level,
            retention_days: l.retention_days,
        })
        .collect();
    let named = parties.iter().map(|p: &AgreementParty| &p.agency);
    let named = named.chain(lines.iter().flat_map(|l: &AgreementLine| [&l.from, &l.to]));
    input::are_members(node, "agency", &named.cloned().collect::<Vec<_>>())?;
    Ok(AgreementTerms {
        agreement: AgreementId::from_random(entropy::random().map_err(refused)?),
        parties,
        purposes: draft.purposes,
        lines,
        starts_at,
        review_at,
        ends_at,
    })
}

pub(super) async fn sign(node: &Node, request: v1::AgreementRef) -> Reply {
    let id: AgreementId = input::id("agreement", &request.agreement)?;
    let row = state::agreement(node.core.view(), &id).map_err(|e| refused(storage(e)))?;
    // Only what was seen here, in a verified entry, can be signed.
    let row = row.ok_or_else(|| refused(ErrorCode::UnknownAgreement))?;
    let body = Body::AgreementSignature(AgreementSignature {
        agreement: id.clone(),
        terms: row.digest,
    });
    say(node, id.to_string(), body, Vec::new(), Vec::new()).await
}

pub(super) fn show(node: &Node, request: &v1::ShowAgreementsRequest) -> Reply {
    let view = node.core.view();
    let rows = match input::optional_id::<AgreementId>("agreement", &request.agreement)? {
        Some(id) => {
            let row = state::agreement(view, &id).map_err(|e| refused(storage(e)))?;
            vec![row.ok_or_else(|| refused(ErrorCode::UnknownAgreement))?]
        }
        None => state::agreements(view).map_err(|e| refused(storage(e)))?,
    };
    let now = node.clock.now();
    let views: Vec<_> = rows
        .into_iter()
        .map(|row| render::agreement_view(row, now))
        .collect();
    document(&views)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_in_the_documents_is_read() {
        let text = include_str!("../../../docs/examples/agreement.toml");
        let draft: Draft = toml::from_str(text).unwrap();
        assert_eq!((draft.parties.len(), draft.lines.len()), (2, 2));
    }
}
