//! Consents to a service, and evidence on paper.
//!
//! In scope: what may be recorded, showing, withdrawing, erasing; whether a file is the evidence.
//! Out of scope: consents to share (module `consents`): no record here is one, nor the other way
//! round.

use super::{Reply, consents, document, done, input, refuse, refused};
use crate::{
    entropy,
    event::Event,
    holder::storage,
    node::{Node, Settled},
    service_consents::{self as records, Kept, ServiceConsent, ServiceEvent, ServiceRow},
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::ServiceConsentId,
    store::StoreError,
    time::Timestamp,
    vocabulary::{Capacity, ConsentGiver},
};
use passerelle_proto::{
    v1,
    views::{EvidenceCheck, ServiceConsentView},
};
use std::sync::Arc;
use tonic::{Request, Status};

/// What a service may be called, in bytes.
const MAX_SERVICE_BYTES: usize = 200;
/// The longest that one lasts: five years, as a consent to share.
const MAX_LIFE_S: u64 = 5 * 366 * 86_400;

/// The service.
pub struct ConsentsService {
    node: Node,
}

impl ConsentsService {
    /// Of this agent.
    pub const fn new(node: Node) -> Self {
        Self { node }
    }
}

fn failed(error: StoreError) -> Status {
    refused(storage(error))
}

/// SHA-256 of a file, as typed.
pub(super) fn evidence(text: &str) -> Result<Digest, Status> {
    Digest::from_hex(text).map_err(|_| {
        refuse(
            ErrorCode::Malformed,
            "`evidence`: expected the SHA-256 of a file, 64 hexadecimal digits",
        )
    })
}

fn optional_evidence(text: &str) -> Result<Option<Digest>, Status> {
    match text {
        "" => Ok(None),
        text => evidence(text).map(Some),
    }
}

fn service(text: &str) -> Result<String, Status> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_SERVICE_BYTES || text.contains(char::is_control) {
        return Err(refuse(
            ErrorCode::OutOfRange,
            format!("`service` is empty, over {MAX_SERVICE_BYTES} bytes, or of several lines"),
        ));
    }
    Ok(text.to_owned())
}

async fn record(node: &Node, request: v1::RecordServiceConsentRequest) -> Reply {
    let worker = input::worker(node, &request.worker)?;
    let person = request.person.as_ref();
    let person = person.ok_or_else(|| refuse(ErrorCode::Malformed, "`person` is missing"))?;
    let person = input::person(person)?;
    let now = node.clock.now();
    let giver: ConsentGiver = input::code("giver", &request.giver)?;
    let capacity: Capacity = input::code("capacity", &request.capacity)?;
    consents::may_give(giver, capacity)?;
    let expires_at = Timestamp(request.expires_at_ms);
    if expires_at <= now || expires_at > now.plus_s(MAX_LIFE_S) {
        return Err(refuse(
            ErrorCode::OutOfRange,
            "a consent to a service ends within five years, and not in the past",
        ));
    }
    let kept = Kept {
        token: node.context.vault.index().map_err(refused)?.token(&person),
        label: crate::render::full_name(&person),
        service: service(&request.service)?,
        evidence: optional_evidence(&request.evidence)?,
    };
    let consent = ServiceConsentId::from_random(entropy::random().map_err(refused)?);
    let record = ServiceConsent {
        consent: consent.clone(),
        giver,
        capacity,
        method: input::code("method", &request.method)?,
        language: input::code("language", &request.language)?,
        interpreter: request.interpreter,
        given_at: now,
        expires_at,
        worker: worker.id,
    };
    let plain = serde_json::to_vec(&kept).map_err(|_| refused(ErrorCode::Internal))?;
    let plain = zeroize::Zeroizing::new(plain);
    let (context, name) = (Arc::clone(&node.context), consent.clone());
    // May wait for the disk: not on a thread that serves others.
    let sealed =
        tokio::task::spawn_blocking(move || context.vault.keep_named(name.as_str(), &plain)).await;
    let kept = sealed
        .map_err(|_| refused(ErrorCode::Internal))?
        .map_err(refused)?;
    write(node, ServiceEvent::Recorded { record, kept }).await?;
    document(&done(consent.to_string(), &Settled::Logged(None)))
}

async fn write(node: &Node, event: ServiceEvent) -> Result<(), Status> {
    let event = Event::ServiceConsent(Box::new(event));
    let now = node.clock.now();
    let written = node.core.write(now, move |_| Ok((vec![event], ())));
    written.await.map_err(refused)
}

fn load(node: &Node, text: &str) -> Result<ServiceRow, Status> {
    let id: ServiceConsentId = input::id("consent", text)?;
    let row = records::service_consent(node.core.view(), &id).map_err(failed)?;
    row.ok_or_else(|| refused(ErrorCode::UnknownConsent))
}

fn kept(node: &Node, row: &ServiceRow) -> Result<Option<Kept>, Status> {
    let name = row.record.consent.as_str();
    let plain = node.context.vault.open_named(node.core.view(), name);
    let plain = plain.map_err(|error| refused(error.into()))?;
    let Some(plain) = plain else { return Ok(None) };
    let kept = serde_json::from_slice(&plain).map_err(|_| refused(ErrorCode::Storage))?;
    Ok(Some(kept))
}

async fn withdraw(node: &Node, request: v1::ServiceConsentRef) -> Reply {
    let worker = input::worker(node, &request.worker)?;
    let row = load(node, &request.consent)?;
    if row.withdrawn_at.is_some() {
        return Err(refuse(ErrorCode::WrongState, "it is withdrawn already"));
    }
    let consent = row.record.consent;
    let event = ServiceEvent::Withdrawn {
        consent: consent.clone(),
        worker: worker.id,
    };
    write(node, event).await?;
    document(&done(consent.to_string(), &Settled::Logged(None)))
}

async fn erase(node: &Node, request: v1::ServiceConsentRef) -> Reply {
    input::worker(node, &request.worker)?;
    let row = load(node, &request.consent)?;
    if row.status(node.clock.now()) == "active" {
        return Err(refuse(
            ErrorCode::WrongState,
            "it stands; withdraw it first, with the person",
        ));
    }
    let consent = row.record.consent;
    let event = ServiceEvent::Erased {
        consent: consent.clone(),
    };
    write(node, event).await?;
    let (context, name) = (Arc::clone(&node.context), consent.clone());
    let gone =
        tokio::task::spawn_blocking(move || context.vault.destroy_named(name.as_str())).await;
    gone.map_err(|_| refused(ErrorCode::Internal))?
        .map_err(refused)?;
    document(&done(consent.to_string(), &Settled::Logged(None)))
}

fn show(node: &Node, request: &v1::ShowServiceConsentsRequest) -> Reply {
    let now = node.clock.now();
    let mut rows = match request.consent.as_str() {
        "" => records::service_consents(node.core.view()).map_err(failed)?,
        id => vec![load(node, id)?],
    };
    let person = request.person.as_ref().map(input::person).transpose()?;
    let index = node.context.vault.index().map_err(refused)?;
    let token = person.map(|person| index.token(&person));
    rows.sort_by_key(|row| std::cmp::Reverse(row.record.given_at));
    let mut views = Vec::new();
    for row in rows {
        let kept = kept(node, &row)?;
        let offered = kept.as_ref().map(|kept| kept.service.as_str());
        let is_other = !request.service.is_empty() && offered != Some(request.service.trim());
        let status = row.status(now);
        // Of whom an erased one was nobody can say any more.
        let is_of = token.is_none() || kept.as_ref().map(|kept| kept.token) == token;
        if !is_of || is_other || (request.standing && status != "active") {
            continue;
        }
        views.push(view(row.record, row.withdrawn_at, status, kept));
    }
    document(&views)
}

fn view(
    record: ServiceConsent,
    withdrawn_at: Option<Timestamp>,
    status: &str,
    kept: Option<Kept>,
) -> ServiceConsentView {
    let (person, service, evidence) = match kept {
        Some(kept) => (Some(kept.label), Some(kept.service), kept.evidence),
        None => (None, None, None),
    };
    ServiceConsentView {
        consent: record.consent.to_string(),
        kind: "service".to_owned(),
        status: status.to_owned(),
        service,
        person,
        giver: record.giver,
        capacity: record.capacity,
        method: record.method,
        language: record.language,
        interpreter: record.interpreter,
        given_at: record.given_at,
        expires_at: record.expires_at,
        withdrawn_at,
        recorded_by: record.worker,
        has_evidence: evidence.is_some(),
    }
}

fn check(node: &Node, request: &v1::CheckEvidenceRequest) -> Reply {
    let evidence = evidence(&request.evidence)?;
    let none = || {
        refuse(
            ErrorCode::WrongState,
            "no evidence was recorded here for it",
        )
    };
    if request.consent.parse::<ServiceConsentId>().is_ok() {
        let row = load(node, &request.consent)?;
        let recorded = kept(node, &row)?.and_then(|kept| kept.evidence);
        return document(&EvidenceCheck {
            consent: request.consent.clone(),
            is_same: recorded.ok_or_else(none)? == evidence,
            commitment: None,
        });
    }
    let (opening, commitment) = consents::evidence_of(node, &request.consent)?.ok_or_else(none)?;
    document(&EvidenceCheck {
        consent: request.consent.clone(),
        // Of the file, and of what stands in the log: a record that was changed since is not it.
        is_same: opening.data.0 == evidence.0 && opening.opens(&commitment),
        commitment: Some(commitment.to_hex()),
    })
}

#[tonic::async_trait]
impl v1::consents_server::Consents for ConsentsService {
    async fn check_evidence(&self, request: Request<v1::CheckEvidenceRequest>) -> Reply {
        check(&self.node, &request.into_inner())
    }

    async fn record_service_consent(
        &self,
        request: Request<v1::RecordServiceConsentRequest>,
    ) -> Reply {
        record(&self.node, request.into_inner()).await
    }

    async fn withdraw_service_consent(&self, request: Request<v1::ServiceConsentRef>) -> Reply {
        withdraw(&self.node, request.into_inner()).await
    }

    async fn show_service_consents(
        &self,
        request: Request<v1::ShowServiceConsentsRequest>,
    ) -> Reply {
        show(&self.node, &request.into_inner())
    }

    async fn erase_service_consent(&self, request: Request<v1::ServiceConsentRef>) -> Reply {
        erase(&self.node, request.into_inner()).await
    }
}
