//! Consents: recorded with the person present, withdrawn, shown.

use super::{Reply, document, input, refuse, refused, say};
use crate::{entropy, event::Event, holder::storage, node::Node, render, state};
use passerelle_model::{
    commitment::Field,
    error::ErrorCode,
    ids::ConsentId,
    statement::{Body, ConsentTerms, Withdrawal, WithdrawalScope},
    time::Timestamp,
};
use passerelle_proto::v1;

pub(super) async fn record(node: &Node, request: v1::RecordConsentRequest) -> Reply {
    let person = request.person.as_ref();
    let person = person.ok_or_else(|| refuse(ErrorCode::Malformed, "`person` is missing"))?;
    let person = input::person(person)?;
    let now = node.clock.now();
    let expires_at = Timestamp(request.expires_at_ms);
    if expires_at <= now {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "the consent would have ended already",
        ));
    }
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
    let consent = ConsentId::from_random(entropy::random().map_err(refused)?);
    let mut terms = ConsentTerms {
        consent: consent.clone(),
        // Replaced below, once the handle is known: what can be refused is refused first.
        subject: passerelle_model::bytes::Commitment([0; 32]),
        giver: input::code("giver", &request.giver)?,
        capacity: input::code("capacity", &request.capacity)?,
        categories: input::codes("category", &request.categories)?,
        purposes: input::codes("purpose", &request.purposes)?,
        recipients: input::members(node, "recipient", &request.recipients)?,
        disclosers: input::members(node, "discloser", &request.disclosers)?,
        method: input::code("method", &request.method)?,
        language: input::code("language", &request.language)?,
        interpreter: request.interpreter,
        notice_version: request.notice_version,
        given_at: now,
        expires_at,
        redisclosure: request.redisclosure,
        evidence: None,
    };
    let handle = node.handle(&person).await.map_err(refused)?;
    let opening = entropy::opening(Field::Subject, &handle.0).map_err(refused)?;
    terms.subject = opening.commitment();
    let label = Event::Labelled {
        id: consent.to_string(),
        handle,
        label: render::full_name(&person),
    };
    let body = Body::Consent(Box::new(terms));
    say(node, consent.to_string(), body, vec![opening], vec![label]).await
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
