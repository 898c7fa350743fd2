//! Audit cases, for the agency's privacy officers and supervisors: listed, shown, decided, erased;
//! workers suspended.
//!
//! Nobody else reads them: who is looked at must not see it.

use super::{Reply, document, done, input, refuse, refused};
use crate::{
    holder::storage,
    node::{Node, Settled},
    suspicion::{
        Finding,
        record::{self, CaseRow},
        verdict::{self, Opened, Said, Verdict},
    },
};
use passerelle_model::{
    error::ErrorCode,
    ids::AuditCaseId,
    store::{Read, StoreError},
    time::Timestamp,
};
use passerelle_proto::{
    v1,
    views::{AuditCaseView, AuditReason, Done},
};
use std::sync::Arc;
use tonic::{Request, Status};

/// The service.
pub struct AuditCasesService {
    node: Node,
}

impl AuditCasesService {
    /// Of this agent.
    pub const fn new(node: Node) -> Self {
        Self { node }
    }
}

fn reviewer(node: &Node, id: &str) -> Result<crate::config::Worker, Status> {
    let worker = input::worker(node, id)?;
    verdict::require_reviewer(&worker).map_err(refused)?;
    Ok(worker)
}

fn status(row: &CaseRow, now: Timestamp) -> &'static str {
    if row.decided.is_some() {
        "decided"
    } else if row.is_overdue(now) {
        "overdue"
    } else if row.is_open() {
        "open"
    } else {
        "noted"
    }
}

fn view(node: &Node, row: CaseRow, opened: Option<Opened>) -> Result<AuditCaseView, ErrorCode> {
    let now = node.clock.now();
    let suspended = match &row.worker {
        Some(worker) => record::suspended_by(node.core.view(), worker).map_err(storage)?,
        None => None,
    };
    let mut kinds = row.kinds.clone();
    kinds.sort_by_key(|(kind, action)| (std::cmp::Reverse(*action), *kind));
    let reasons = kinds.into_iter().map(|(kind, action)| AuditReason {
        kind: kind.code().to_owned(),
        action: action.code().to_owned(),
        en: kind.en().to_owned(),
        fr: kind.fr().to_owned(),
    });
    let status = status(&row, now).to_owned();
    let decided = row.decided;
    let (person, about, note) = match opened {
        Some(opened) => (opened.person, opened.about, opened.note),
        None => (None, None, None),
    };
    Ok(AuditCaseView {
        audit_case: row.case.to_string(),
        reasons: reasons.collect(),
        worker: row.worker,
        request: row.request.to_string(),
        at: row.at,
        status,
        question: row.fate.code().to_owned(),
        review_by: row.review_by,
        verdict: decided.as_ref().map(|d| d.finding.code().to_owned()),
        decided_at: decided.as_ref().map(|d| d.at),
        reviewer: decided.map(|d| d.worker),
        suspended: suspended.is_some(),
        erased: row.is_erased,
        person: person.map(|handle| hex::encode(handle.0)),
        about,
        note,
    })
}

/// What waits first, the most urgent on top, however old it is; then the newest.
fn waiting_first(store: &dyn Read) -> Result<Vec<CaseRow>, StoreError> {
    let mut rows = record::open_until(store, Timestamp(u64::MAX))?;
    let others = record::all(store)?.into_iter();
    rows.extend(others.filter(|row| !row.is_open()));
    Ok(rows)
}

fn list(node: &Node, request: &v1::ListAuditCasesRequest) -> Reply {
    let me = reviewer(node, &request.worker)?.id.clone();
    let (store, now) = (node.core.view(), node.clock.now());
    let rows = match (request.overdue, request.open) {
        (true, _) => record::open_until(store, now),
        (false, true) => record::open_until(store, Timestamp(u64::MAX)),
        (false, false) if request.limit > 0 || !request.after.is_empty() => {
            let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
            let limit = if limit == 0 { usize::MAX } else { limit };
            let after = match request.after.as_str() {
                "" => None,
                id => {
                    let id: AuditCaseId = input::id("after", id)?;
                    Some(record::case(store, &id).map_err(refused)?)
                }
            };
            record::page(store, after.as_ref(), limit)
        }
        (false, false) => waiting_first(store),
    };
    let mut rows = rows.map_err(|e| refused(storage(e)))?;
    // Nobody looks at what is said of oneself.
    rows.retain(|row| row.worker.as_deref() != Some(me.as_str()));
    let views: Result<Vec<_>, _> = rows.into_iter().map(|row| view(node, row, None)).collect();
    document(&views.map_err(refused)?)
}

fn show(node: &Node, request: &v1::ShowAuditCaseRequest) -> Reply {
    let worker = reviewer(node, &request.worker)?;
    let id: AuditCaseId = input::id("audit_case", &request.audit_case)?;
    let row = record::case(node.core.view(), &id).map_err(refused)?;
    let store = node.core.view();
    verdict::require_reader(&node.context, store, &row, &worker).map_err(refused)?;
    let opened = verdict::open(&node.context, store, &row).map_err(refused)?;
    document(&view(node, row, Some(opened)).map_err(refused)?)
}

async fn decide(node: &Node, request: v1::DecideAuditCaseRequest) -> Reply {
    let by = reviewer(node, &request.worker)?;
    let case: AuditCaseId = input::id("audit_case", &request.audit_case)?;
    let known = Finding::ALL.iter().copied();
    let finding = known.into_iter().find(|f| f.code() == request.verdict);
    let finding = finding.ok_or_else(|| {
        let known: Vec<_> = Finding::ALL.iter().map(|f| f.code()).collect();
        let known = known.join(", ");
        refuse(
            ErrorCode::UnknownCode,
            format!("unknown verdict; known are: {known}"),
        )
    })?;
    let id = case.to_string();
    let verdict = Verdict {
        case,
        finding,
        by,
        note: request.note,
        suspend: request.suspend,
    };
    let said = verdict::carry_out(node, verdict).await.map_err(refused)?;
    document(&told(node, id, said).await?)
}

/// What became of a verdict that stands: of what it says to the log within the time that a caller
/// waits.
async fn told(node: &Node, id: String, said: Said) -> Result<Done, Status> {
    if let Some(question) = said.released {
        let settled = node.settled(&question).await.map_err(refused)?;
        return Ok(done(id, &settled));
    }
    let Some(review) = said.review else {
        return Ok(done(id, &Settled::Logged(None)));
    };
    match node.settled(&review).await {
        Ok(settled) => Ok(done(id, &settled)),
        // Not a failure of the verdict, which nobody can give again.
        Err(code) => Ok(Done {
            id,
            index: None,
            status: format!("refused by the log ({code})"),
        }),
    }
}

async fn erase(node: &Node, request: v1::EraseAuditCaseRequest) -> Reply {
    let by = reviewer(node, &request.worker)?;
    let case: AuditCaseId = input::id("audit_case", &request.audit_case)?;
    let id = case.to_string();
    verdict::erase_for_good(node, case, by)
        .await
        .map_err(refused)?;
    document(&done(id, &Settled::Logged(None)))
}

async fn suspend(node: &Node, request: v1::SuspendWorkerRequest) -> Reply {
    let by = reviewer(node, &request.worker)?;
    let (context, now) = (Arc::clone(&node.context), node.clock.now());
    let (worker, lift) = (request.suspended.clone(), request.lift);
    let suspended = node.core.write(now, move |view| {
        verdict::suspend(&context, view, &worker, &by, lift)
    });
    suspended.await.map_err(|code| match code {
        // The id typed is not repeated: it may be a name in the wrong field.
        ErrorCode::OutOfRange => refuse(code, "no such worker in agent.toml"),
        code => refused(code),
    })?;
    document(&done(request.suspended, &Settled::Logged(None)))
}

#[tonic::async_trait]
impl v1::audit_cases_server::AuditCases for AuditCasesService {
    async fn list_audit_cases(&self, request: Request<v1::ListAuditCasesRequest>) -> Reply {
        list(&self.node, &request.into_inner())
    }

    async fn show_audit_case(&self, request: Request<v1::ShowAuditCaseRequest>) -> Reply {
        show(&self.node, &request.into_inner())
    }

    async fn decide_audit_case(&self, request: Request<v1::DecideAuditCaseRequest>) -> Reply {
        decide(&self.node, request.into_inner()).await
    }

    async fn erase_audit_case(&self, request: Request<v1::EraseAuditCaseRequest>) -> Reply {
        erase(&self.node, request.into_inner()).await
    }

    async fn suspend_worker(&self, request: Request<v1::SuspendWorkerRequest>) -> Reply {
        suspend(&self.node, request.into_inner()).await
    }
}
