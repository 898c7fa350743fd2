//! Agreements: drafted as TOML, proposed, signed by all, shown.

use super::{Reply, document, input, refuse, refused, say};
use crate::{
    agreement_view::{self, agreement_view},
    agreements, entropy,
    event::Event,
    holder::storage,
    isa,
    node::Node,
    state,
};
use passerelle_model::{
    bytes::{Bytes, PublicKey, Signature},
    error::ErrorCode,
    ids::{AgencyId, AgreementId},
    records::Agreement,
    statement::{
        AgreementChange, AgreementLine, AgreementParty, AgreementSignature, AgreementTerms, Body,
        Change, Edition, Endorsement, Signatories,
    },
    vocabulary::{Category, LegalBasis, Level, Purpose},
};
use passerelle_policies::{Library, embedded_files};
use passerelle_proto::{v1, views::AgreementWarning};
use serde::Deserialize;
use tonic::Status;

/// Largest draft, in bytes: its statement has to fit a log entry.
const MAX_DRAFT_BYTES: usize = 32 * 1024;

/// A draft as people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    /// The version that this one is to follow.
    supersedes: Option<AgreementId>,
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
    /// How many of `signatories` must sign, if people do.
    signatures_needed: Option<u16>,
    #[serde(default)]
    signatories: Vec<PublicKey>,
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
    if isa::read::is_whole(&request.draft) {
        return propose_whole(node, &request.draft).await;
    }
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

/// Proposes what a whole document says, and keeps it.
async fn propose_whole(node: &Node, draft: &str) -> Reply {
    let document = whole(draft)?;
    let parties: Vec<_> = document.parties.iter().map(|p| p.agency.clone()).collect();
    input::are_members(node, "agency", &parties)?;
    let edition = edition(node, document.supersedes.clone())?;
    let id = AgreementId::from_random(entropy::random().map_err(refused)?);
    let terms = document
        .terms(id.clone(), edition.version)
        .map_err(|_| refused(ErrorCode::Internal))?;
    let body = Body::Agreement(Box::new(terms));
    let kept = kept(&id, &document)?;
    say(node, id.to_string(), body, Vec::new(), vec![kept]).await
}

fn whole(draft: &str) -> Result<isa::Document, Status> {
    let library = Library::load(&embedded_files()).map_err(|e| {
        tracing::error!(error = %e, "the shipped library does not load");
        refused(ErrorCode::Internal)
    })?;
    isa::read::read(draft, &library).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let reason = format!("the draft: {}", problems.join("; "));
        refuse(ErrorCode::Malformed, reason)
    })
}

fn kept(id: &AgreementId, document: &isa::Document) -> Result<Event, Status> {
    let bytes = document
        .to_bytes()
        .map_err(|_| refused(ErrorCode::Internal))?;
    Ok(Event::AgreementKept {
        agreement: id.clone(),
        document: Bytes(bytes),
    })
}

/// The document behind `terms`, if `draft` is it: the one whose digest was proposed, and from which
/// exactly these terms follow. Nobody signs a text that says other than what will decide.
fn behind(terms: &AgreementTerms, draft: &str) -> Result<Option<isa::Document>, Status> {
    let Some(digest) = terms.edition.document else {
        return match draft {
            "" => Ok(None),
            _ => Err(refuse(
                ErrorCode::PayloadMismatch,
                "this agreement names no document: what is signed is its terms alone",
            )),
        };
    };
    if draft.is_empty() {
        let reason = format!(
            "this agreement has a document: give the file that the proposer sent, the one of \
             digest {digest}"
        );
        return Err(refuse(ErrorCode::PayloadMismatch, reason));
    }
    let document = whole(draft)?;
    let found = document
        .digest()
        .map_err(|_| refused(ErrorCode::Internal))?;
    if found != digest {
        let reason = format!("the file is another text: it has digest {found}, not {digest}");
        return Err(refuse(ErrorCode::PayloadMismatch, reason));
    }
    let version = terms.edition.version;
    let follow = document.terms(terms.agreement.clone(), version);
    if follow.map_err(|_| refused(ErrorCode::Internal))? != *terms {
        return Err(refuse(
            ErrorCode::PayloadMismatch,
            "the terms in the log are not those that the text says: don't sign, and tell the \
             proposer",
        ));
    }
    Ok(Some(document))
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
    let signatories = |party: &PartyDraft| {
        let some = party.signatures_needed.is_some() || !party.signatories.is_empty();
        some.then(|| Signatories {
            agency: party.agency.clone(),
            needed: party.signatures_needed.unwrap_or(0),
            keys: party.signatories.clone(),
        })
    };
    let signatories = draft.parties.iter().filter_map(signatories).collect();
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
    let terms = AgreementTerms {
        signatories,
        agreement: AgreementId::from_random(entropy::random().map_err(refused)?),
        edition: edition(node, draft.supersedes)?,
        parties,
        purposes: draft.purposes,
        lines,
        starts_at,
        review_at,
        ends_at,
    };
    if !terms.has_sound_signatories() {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "`signatories`: each key once, from `agreement keygen`; `signatures_needed` of them",
        ));
    }
    Ok(terms)
}

/// The next version after the one that is named, which must be known here.
fn edition(node: &Node, supersedes: Option<AgreementId>) -> Result<Edition, Status> {
    let Some(earlier) = supersedes else {
        return Ok(Edition::default());
    };
    let row = state::agreement(node.core.view(), &earlier).map_err(|e| refused(storage(e)))?;
    let row = row.ok_or_else(|| {
        refuse(
            ErrorCode::UnknownAgreement,
            format!("`supersedes`: no agreement `{earlier}` is known here"),
        )
    })?;
    if !row.may_be_followed() {
        return Err(refuse(
            ErrorCode::WrongState,
            format!(
                "`supersedes`: `{earlier}` is not signed by all, was terminated, or has a next \
                 version already"
            ),
        ));
    }
    Ok(Edition {
        version: row.terms.edition.version.saturating_add(1),
        supersedes: Some(earlier),
        document: None,
    })
}

pub(super) async fn sign(node: &Node, request: v1::AgreementRef) -> Reply {
    let id: AgreementId = input::id("agreement", &request.agreement)?;
    let row = state::agreement(node.core.view(), &id).map_err(|e| refused(storage(e)))?;
    // Only what was seen here, in a verified entry, can be signed.
    let row = row.ok_or_else(|| refused(ErrorCode::UnknownAgreement))?;
    let kept = match behind(&row.terms, &request.document)? {
        None => Vec::new(),
        Some(document) => vec![kept(&id, &document)?],
    };
    let signature = AgreementSignature {
        agreement: id.clone(),
        terms: row.digest,
        endorsements: endorsements(&request.endorsements)?,
    };
    let anchors = &node.context.identity.anchors;
    let earlier = match &row.terms.edition.supersedes {
        Some(id) => state::agreement(node.core.view(), id).map_err(|e| refused(storage(e)))?,
        None => None,
    };
    // What the broker would refuse anyway is told here, in words.
    row.check_signature(
        &anchors.federation,
        &anchors.agency,
        &signature,
        earlier.as_ref(),
    )
    .map_err(|code| refuse(code, not_signed(code, &row, &anchors.agency)))?;
    let body = Body::AgreementSignature(signature);
    say(node, id.to_string(), body, Vec::new(), kept).await
}

fn endorsements(wire: &[v1::AgreementEndorsement]) -> Result<Vec<Endorsement>, Status> {
    let malformed = |e| refuse(ErrorCode::Malformed, format!("`endorsements`: {e}"));
    let one = |wire: &v1::AgreementEndorsement| {
        Ok(Endorsement {
            key: PublicKey::from_hex(&wire.key).map_err(malformed)?,
            signature: Signature::from_hex(&wire.signature).map_err(malformed)?,
        })
    };
    wire.iter().map(one).collect()
}

fn not_signed(code: ErrorCode, row: &Agreement, me: &AgencyId) -> String {
    let signatories = row.terms.signatories_of(me);
    match (code, signatories) {
        (ErrorCode::SignatoriesMissing, Some(of)) => format!(
            "{} of the {} people who sign for this agency must endorse these terms, and, of a next \
             version, as many as the version before asked for: `agreement endorse`",
            of.needed,
            of.keys.len(),
        ),
        (ErrorCode::BadSignature, _) => {
            "an endorsement is not of these terms, for this agency, by the key that it names"
                .to_owned()
        }
        (ErrorCode::Duplicate, _) => {
            "this agency has signed already, or one key endorses twice".to_owned()
        }
        _ => code.explanation().to_owned(),
    }
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
    let views: Result<Vec<_>, _> = rows
        .into_iter()
        .map(|row| agreement_view(view, row, now))
        .collect();
    let mut views = views.map_err(|e| refused(storage(e)))?;
    if let [one] = views.as_mut_slice()
        && !request.agreement.is_empty()
    {
        let text = agreements::document(view, &one.terms.agreement);
        let text = text.map_err(|e| refused(storage(e)))?;
        one.document = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    }
    document(&views)
}

/// What is soon to be done about the agreements of this agency.
pub(super) fn warnings(node: &Node) -> Result<Vec<AgreementWarning>, ErrorCode> {
    let rows = state::agreements(node.core.view()).map_err(storage)?;
    let now = node.clock.now();
    Ok(rows
        .iter()
        .flat_map(|row| agreement_view::warnings(row, now))
        .collect())
}

pub(super) async fn change(node: &Node, request: v1::ChangeAgreementRequest) -> Reply {
    let agreement: AgreementId = input::id("agreement", &request.agreement)?;
    let row = state::agreement(node.core.view(), &agreement).map_err(|e| refused(storage(e)))?;
    let row = row.ok_or_else(|| refused(ErrorCode::UnknownAgreement))?;
    let change = match request.change.as_str() {
        "suspend" => Change::Suspend(input::code("reason", &request.reason)?),
        "terminate" => Change::Terminate(input::code("reason", &request.reason)?),
        "lift" => Change::Lift,
        _ => {
            let reason = "`change`: expected suspend, lift or terminate";
            return Err(refuse(ErrorCode::UnknownCode, reason));
        }
    };
    // What the broker would refuse anyway is told here, in words.
    row.check(&node.context.identity.membership.agency, change)
        .map_err(|code| refuse(code, not_so(code, change)))?;
    let id = agreement.to_string();
    let body = Body::AgreementChange(AgreementChange { agreement, change });
    say(node, id, body, Vec::new(), Vec::new()).await
}

fn not_so(code: ErrorCode, change: Change) -> &'static str {
    match (code, change) {
        (ErrorCode::WrongState, Change::Suspend(_)) => {
            "it is suspended by this agency already, terminated, or not signed by all"
        }
        (ErrorCode::WrongState, Change::Lift) => {
            "this agency has no suspension of it to lift; others lift their own"
        }
        (ErrorCode::WrongState, Change::Terminate(_)) => "it has been terminated already",
        _ => code.explanation(),
    }
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
