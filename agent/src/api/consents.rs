//! Consents: recorded with the person present, withdrawn, shown.

use super::{Reply, document, done, input, refuse, refused, say, service_consents, settle};
use crate::{
    entropy,
    event::Event,
    holder::storage,
    names,
    node::{Node, Settled},
    person::Person,
    render, state,
};
use passerelle_model::{
    bytes::{Commitment, Handle},
    commitment::{Field, Opening},
    error::ErrorCode,
    ids::ConsentId,
    statement::{Body, ConsentTerms, Withdrawal, WithdrawalScope},
    store::StoreError,
    time::Timestamp,
    vocabulary::{Capacity, ConsentGiver},
};
use passerelle_proto::{v1, views::ConsentsEnding};
use tonic::Status;

pub(super) async fn record(node: &Node, request: v1::RecordConsentRequest) -> Reply {
    let person = request.person.as_ref();
    let person = person.ok_or_else(|| refuse(ErrorCode::Malformed, "`person` is missing"))?;
    let person = input::person(person)?;
    let now = node.clock.now();
    for (field, empty) in [
        ("categories", request.categories.is_empty()),
        ("purposes", request.purposes.is_empty()),
        ("recipients", request.recipients.is_empty()),
        ("disclosers", request.disclosers.is_empty()),
    ] {
        if empty {
            return Err(refuse(
                ErrorCode::OutOfRange,
                format!("`{field}` is empty: a consent to nothing in particular is none"),
            ));
        }
    }
    let evidence = match request.evidence.as_str() {
        "" => None,
        text => {
            let digest = service_consents::evidence(text)?;
            Some(entropy::opening(Field::Evidence, &digest.0).map_err(refused)?)
        }
    };
    let terms = ConsentTerms {
        consent: ConsentId::from_random(entropy::random().map_err(refused)?),
        // Replaced once the handle is known: what can be refused is refused first.
        subject: Commitment([0; 32]),
        giver: input::code("giver", &request.giver)?,
        capacity: input::code("capacity", &request.capacity)?,
        categories: input::codes("category", &request.categories)?,
        purposes: input::codes("purpose", &request.purposes)?,
        recipients: input::ids("recipient", &request.recipients)?,
        disclosers: input::ids("discloser", &request.disclosers)?,
        method: input::code("method", &request.method)?,
        language: input::code("language", &request.language)?,
        interpreter: request.interpreter,
        notice_version: request.notice_version,
        given_at: now,
        expires_at: Timestamp(request.expires_at_ms),
        redisclosure: request.redisclosure,
        evidence: evidence.as_ref().map(Opening::commitment),
    };
    may_record(node, &terms, now)?;
    let handle = node.handle(&person).await.map_err(refused)?;
    // What opens it stays here: the log has the commitment, and nobody else a use for the rest.
    let consent = terms.consent.clone();
    let kept = evidence.map(|opening| Event::EvidenceKept { consent, opening });
    let (id, settled) = enter(node, terms, &person, handle, kept).await?;
    document(&done(id.to_string(), &settled))
}

/// What is refused here and goes no further, whether it was typed or read from a file.
pub(super) fn may_record(node: &Node, terms: &ConsentTerms, now: Timestamp) -> Result<(), Status> {
    let out_of_range = |words: &str| Err(refuse(ErrorCode::OutOfRange, words));
    if terms.expires_at <= now {
        return out_of_range("the consent would have ended already");
    }
    if terms.given_at > now {
        return out_of_range("the consent would be given in the future");
    }
    may_give(terms.giver, terms.capacity)?;
    input::are_members(node, "recipient", &terms.recipients)?;
    input::are_members(node, "discloser", &terms.disclosers)
}

/// Who can give a consent, whatever it is to. Nothing could ever rest on another, and somebody
/// would believe that there is a consent.
pub(super) fn may_give(giver: ConsentGiver, capacity: Capacity) -> Result<(), Status> {
    let out_of_range = |words: &str| Err(refuse(ErrorCode::OutOfRange, words));
    match (giver, capacity) {
        (ConsentGiver::Subject, Capacity::Substituted) => out_of_range(
            "`capacity` is substituted, so a parent or a substitute must have given it: say \
             who with `giver`",
        ),
        (ConsentGiver::Parent | ConsentGiver::Substitute, Capacity::Capable)
        | (ConsentGiver::Parent | ConsentGiver::Substitute, Capacity::MatureMinor) => out_of_range(
            "somebody else gives a consent only for a person who can't: `capacity` must be \
                 substituted, or the person gives it",
        ),
        (ConsentGiver::Subject, Capacity::Capable | Capacity::MatureMinor)
        | (ConsentGiver::Parent | ConsentGiver::Substitute, Capacity::Substituted) => Ok(()),
    }
}

/// What opens the evidence of a consent to share, and what stands in the log for it.
pub(super) fn evidence_of(
    node: &Node,
    consent: &str,
) -> Result<Option<(Opening, Commitment)>, Status> {
    let id: ConsentId = input::id("consent", consent)?;
    let failed = |e| refused(storage(e));
    let row = state::consent(node.core.view(), &id).map_err(failed)?;
    let row = row.ok_or_else(|| refused(ErrorCode::UnknownConsent))?;
    let key = state::key::of(state::key::EVIDENCE, id.as_str().as_bytes());
    let opening = state::load::<Opening>(node.core.view(), &key).map_err(failed)?;
    Ok(opening.zip(row.terms.evidence))
}

/// Says the consent, of the person with this handle.
pub(super) async fn enter(
    node: &Node,
    mut terms: ConsentTerms,
    person: &Person,
    handle: Handle,
    more: Option<Event>,
) -> Result<(ConsentId, Settled), Status> {
    let opening = entropy::opening(Field::Subject, &handle.0).map_err(refused)?;
    terms.subject = opening.commitment();
    let consent = terms.consent.clone();
    let name = render::full_name(person);
    let label = names::keep(&node.context.vault, consent.to_string(), handle, &name);
    let label = label.map_err(refused)?;
    let body = Body::Consent(Box::new(terms));
    let events = std::iter::once(label).chain(more).collect();
    let settled = settle(node, body, vec![opening], events).await?;
    Ok((consent, settled))
}

pub(super) async fn withdraw(node: &Node, request: v1::WithdrawConsentRequest) -> Reply {
    let consent: ConsentId = input::id("consent", &request.consent)?;
    let scope = match (request.recipient.as_str(), request.category.as_str()) {
        ("", "") => WithdrawalScope::All,
        (recipient, "") => WithdrawalScope::Recipient(input::id("recipient", recipient)?),
        ("", category) => WithdrawalScope::Category(input::code("category", category)?),
        _ => {
            return Err(refuse(
                ErrorCode::OutOfRange,
                "withdraw for a recipient or for a category, one at a time",
            ));
        }
    };
    let id = consent.to_string();
    say(
        node,
        id,
        Body::Withdrawal(Withdrawal { consent, scope }),
        Vec::new(),
        Vec::new(),
    )
    .await
}

pub(super) fn show(node: &Node, request: &v1::ShowConsentsRequest) -> Reply {
    let view = node.core.view();
    let failed = |e| refused(storage(e));
    let rows = match input::optional_id::<ConsentId>("consent", &request.consent)? {
        Some(id) => {
            let row = state::consent(view, &id).map_err(failed)?;
            vec![row.ok_or_else(|| refused(ErrorCode::UnknownConsent))?]
        }
        None => state::consents(view).map_err(failed)?,
    };
    let now = node.clock.now();
    let views: Result<Vec<_>, _> = rows
        .into_iter()
        .map(|row| render::consent_view(&node.context.vault, view, row, now))
        .collect();
    document(&views.map_err(failed)?)
}

/// How many consents end soon.
pub(super) fn ending(node: &Node) -> Result<ConsentsEnding, StoreError> {
    let now = node.clock.now();
    let mut ending = ConsentsEnding::default();
    for row in state::consents(node.core.view())? {
        let Some(days) = render::days_left(&row, now) else {
            continue;
        };
        for (limit, count) in [
            (7, &mut ending.within_7),
            (30, &mut ending.within_30),
            (60, &mut ending.within_60),
        ] {
            *count = count.saturating_add(u64::from(days < limit));
        }
    }
    Ok(ending)
}
