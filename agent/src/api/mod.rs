//! The local interface: gRPC on a Unix socket, for the agency's own people and systems.
//!
//! In scope: parsing what was typed, refusing what is not in a vocabulary, calling what does the
//! work, replying with documents ([`passerelle_proto::views`]).
//! Out of scope: who may open the socket (the file's owner).

mod agreements;
mod asking;
pub mod audit_cases;
mod auditing;
mod bundles;
mod cases;
mod consent_files;
mod consents;
mod deletions;
pub mod input;
mod people;
mod preview;
pub mod rights;
pub mod service_consents;

use crate::{
    event::Event,
    holder::storage,
    near_index,
    node::{Node, Settled},
    seals, state,
    suspicion::{record, verdict},
};
use passerelle_model::{error::ErrorCode, statement::Body};
use passerelle_proto::{convert, v1, views};
use serde::Serialize;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// The service.
pub struct NodeService {
    node: Node,
}

type Reply = Result<Response<v1::Document>, Status>;

impl NodeService {
    /// Of this agent.
    pub const fn new(node: Node) -> Self {
        Self { node }
    }
}

/// A refusal with its code, in its general words.
fn refused(code: ErrorCode) -> Status {
    convert::status(code)
}

/// A refusal in words of its own.
fn refuse(code: ErrorCode, message: impl std::fmt::Display) -> Status {
    let general = convert::status(code);
    Status::with_metadata(
        general.code(),
        message.to_string(),
        general.metadata().clone(),
    )
}

fn document<T: Serialize>(view: &T) -> Reply {
    let json = serde_json::to_string(view).map_err(|_| refused(ErrorCode::Internal))?;
    Ok(Response::new(v1::Document { json }))
}

/// Signs `body`, journals it with `more`, and says what became of it.
async fn say(
    node: &Node,
    id: String,
    body: Body,
    openings: Vec<passerelle_model::commitment::Opening>,
    more: Vec<Event>,
) -> Reply {
    let settled = settle(node, body, openings, more).await?;
    document(&done(id, &settled))
}

/// The same, for a reply of another form.
async fn settle(
    node: &Node,
    body: Body,
    openings: Vec<passerelle_model::commitment::Opening>,
    more: Vec<Event>,
) -> Result<Settled, Status> {
    let mut saying = node.context.say(node.clock.now(), body).map_err(refused)?;
    for opening in openings {
        saying = saying.opening(opening);
    }
    node.submit(saying.done(), more).await.map_err(refused)
}

fn done(id: String, settled: &Settled) -> views::Done {
    let (index, status) = match settled {
        Settled::Logged(index) => (*index, "done"),
        Settled::Queued => (None, "queued"),
    };
    views::Done {
        id,
        index,
        status: status.to_owned(),
    }
}

fn status(node: &Node) -> Result<views::AgentStatus, ErrorCode> {
    let meta = state::meta(node.core.view()).map_err(storage)?;
    let members = state::members(node.core.view()).map_err(storage)?;
    let membership = &node.context.identity.membership;
    let link = node.link.state();
    let trust = node.trust()?;
    let workers = &node.context.config.workers;
    let days = node.context.config.deletion_review_days;
    let deletions = crate::deletions::waiting(node.core.view(), days, node.clock.now());
    let deletions = deletions.map_err(storage)?;
    let waiting = record::waiting(node.core.view(), node.clock.now()).map_err(storage)?;
    Ok(views::AgentStatus {
        agency: membership.agency.to_string(),
        sector: membership.sector.code().to_owned(),
        federation: membership.federation.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        connected: link.up,
        last_error: link.last_error.map(|code| code.code().to_owned()),
        people: meta.people,
        facts: meta.facts,
        without_handle: meta.without_handle,
        without_near: near_index::count_without(node.core.view()).map_err(storage)?,
        witness_size: meta.witness.size,
        witness_root: meta.witness.root.to_hex(),
        origin: node.context.identity.anchors.log.name().to_owned(),
        resuming: meta.resuming,
        heard_at: meta.heard_at,
        late_notices: meta.late,
        sealed_at: meta.sealed.map(|(_, at)| at),
        seal_faults: seals::faults(node.core.view()).map_err(storage)?,
        mirror: node.mirror.as_ref().map(|mirror| mirror.status()),
        rules: Some(bundles::status(node)?),
        alerts: node.context.alerts.open() as u64,
        agreement_warnings: agreements::warnings(node)?,
        fork_proofs: node.context.forks.count() as u64,
        outbox: meta.outbox,
        reviews: meta.reviews,
        members: members
            .into_iter()
            .filter(|(_, row)| row.active)
            .map(|(agency, _)| agency.to_string())
            .collect(),
        witnesses: trust.witnesses().len() as u64,
        quorum: trust.quorum() as u64,
        min_witnesses: node.context.config.min_witnesses,
        audit_cases: waiting.0,
        audit_cases_overdue: waiting.1,
        deletions: deletions.0,
        deletions_overdue: deletions.1,
        reviewers: workers.iter().filter(|w| verdict::may_review(w)).count() as u64,
        unnamed_workers: workers.iter().filter(|w| w.name.is_none()).count() as u64,
        suspended: record::suspended(node.core.view()).map_err(storage)?,
        consents_ending: consents::ending(node).map_err(storage)?,
        certificate_days_left: node
            .context
            .certificate_ends
            .map(|ends| ends.0.saturating_sub(node.clock.now().0) / 86_400_000),
    })
}

#[tonic::async_trait]
impl v1::node_server::Node for NodeService {
    type AuditExportStream = ReceiverStream<Result<v1::ExportChunk, Status>>;

    async fn node_status(&self, _: Request<v1::NodeStatusRequest>) -> Reply {
        document(&status(&self.node).map_err(refused)?)
    }

    async fn import_facts(&self, request: Request<v1::ImportFactsRequest>) -> Reply {
        people::import(&self.node, request.into_inner()).await
    }

    async fn forget_person(&self, request: Request<v1::ForgetPersonRequest>) -> Reply {
        people::forget(&self.node, request.into_inner()).await
    }

    async fn propose_agreement(&self, request: Request<v1::ProposeAgreementRequest>) -> Reply {
        agreements::propose(&self.node, request.into_inner()).await
    }

    async fn sign_agreement(&self, request: Request<v1::AgreementRef>) -> Reply {
        agreements::sign(&self.node, request.into_inner()).await
    }

    async fn show_agreements(&self, request: Request<v1::ShowAgreementsRequest>) -> Reply {
        agreements::show(&self.node, &request.into_inner())
    }

    async fn show_bundle(&self, request: Request<v1::ShowBundleRequest>) -> Reply {
        bundles::show(&self.node, request.into_inner()).await
    }

    async fn endorse_bundle(&self, request: Request<v1::BundleRef>) -> Reply {
        bundles::endorse(&self.node, request.into_inner()).await
    }

    async fn change_agreement(&self, request: Request<v1::ChangeAgreementRequest>) -> Reply {
        agreements::change(&self.node, request.into_inner()).await
    }

    async fn record_consent(&self, request: Request<v1::RecordConsentRequest>) -> Reply {
        consents::record(&self.node, request.into_inner()).await
    }

    async fn withdraw_consent(&self, request: Request<v1::WithdrawConsentRequest>) -> Reply {
        consents::withdraw(&self.node, request.into_inner()).await
    }

    async fn show_consents(&self, request: Request<v1::ShowConsentsRequest>) -> Reply {
        consents::show(&self.node, &request.into_inner())
    }

    async fn export_consents(&self, request: Request<v1::ExportConsentsRequest>) -> Reply {
        consent_files::export(&self.node, &request.into_inner())
    }

    async fn import_consent(&self, request: Request<v1::ImportConsentRequest>) -> Reply {
        consent_files::import(&self.node, request.into_inner()).await
    }

    async fn open_case(&self, request: Request<v1::OpenCaseRequest>) -> Reply {
        cases::open(&self.node, request.into_inner()).await
    }

    async fn advance_case(&self, request: Request<v1::AdvanceCaseRequest>) -> Reply {
        cases::advance(&self.node, request.into_inner()).await
    }

    async fn show_cases(&self, request: Request<v1::ShowCasesRequest>) -> Reply {
        cases::show(&self.node, &request.into_inner())
    }

    async fn preview(&self, request: Request<v1::PreviewRequest>) -> Reply {
        preview::preview(&self.node, request.into_inner()).await
    }

    async fn ask(&self, request: Request<v1::AskRequest>) -> Reply {
        asking::ask(&self.node, request.into_inner()).await
    }

    async fn list_requests(&self, _: Request<v1::ListRequestsRequest>) -> Reply {
        asking::list(&self.node)
    }

    async fn inbox(&self, _: Request<v1::InboxRequest>) -> Reply {
        asking::inbox(&self.node)
    }

    async fn show(&self, request: Request<v1::ShowRequest>) -> Reply {
        asking::show(&self.node, request.into_inner()).await
    }

    async fn review(&self, request: Request<v1::ReviewRequest>) -> Reply {
        asking::review(&self.node, request.into_inner()).await
    }

    async fn erase(&self, request: Request<v1::EraseRequest>) -> Reply {
        asking::erase(&self.node, request.into_inner()).await
    }

    async fn list_deletions(&self, _: Request<v1::ListDeletionsRequest>) -> Reply {
        deletions::list(&self.node)
    }

    async fn keep_after_case(&self, request: Request<v1::KeepAfterCaseRequest>) -> Reply {
        deletions::keep(&self.node, request.into_inner()).await
    }

    async fn audit_entries(&self, request: Request<v1::AuditEntriesRequest>) -> Reply {
        auditing::entries(&self.node, request.into_inner()).await
    }

    async fn audit_export(
        &self,
        request: Request<v1::AuditExportRequest>,
    ) -> Result<Response<Self::AuditExportStream>, Status> {
        auditing::export(&self.node, request.into_inner()).await
    }

    async fn audit_alerts(&self, request: Request<v1::AuditAlertsRequest>) -> Reply {
        auditing::alerts(&self.node, &request.into_inner())
    }

    async fn audit_search(&self, request: Request<v1::AuditSearchRequest>) -> Reply {
        auditing::search(&self.node, request.into_inner()).await
    }
}
