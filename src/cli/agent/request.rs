//! `passerelle agent request`: ask, wait for the decision, and for the answer if told to.

use super::{Place, Worker};
use crate::cli::{
    Global, Lang, backend, codes,
    failure::{Exit, Failure},
    output, render,
};
use clap::Args;
use passerelle_model::{
    ids::{AgencyId, AgreementId, CaseId, ConsentId},
    pdp::Effect,
    request::Status,
    statement::Item,
    vocabulary::{EmergencyKind, LegalBasis, Purpose},
};
use passerelle_proto::{
    v1,
    views::{RequestLine, RequestView},
};
use serde::Serialize;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle agent request --dir /srv/maison-commune --person person.toml \\
    --holder sante-centre --item in_service:known --item appointment_status:3 \\
    --purpose plan --basis consent --justification 'to keep Thursday with her clinic'
  passerelle agent request --dir /srv/police-nord --person person.toml \\
    --holder sante-centre --item location:detail --purpose emergency --basis A2.1-59.1 \\
    --emergency threat_to_others --justification 'threat made tonight' --wait 30
  passerelle agent request --dir /srv/maison-commune --person person.toml \\
    --holder sante-centre --item in_service:known --purpose plan --basis consent --near

Levels: 0 known, 1 contact, 2 involvement, 3 coded, 4 detail.
Exit code 1: every item was denied, the request was stopped or ran out of time, or `--wait` ended
without an answer.";

/// How often to ask the node. It is a local socket, and reads of it are cheap.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    #[command(flatten)]
    place: Place,
    /// TOML file with family_name, given_name, birth_date; left out at stage 2 of a case
    #[arg(long, value_name = "FILE", required_unless_present = "case")]
    person: Option<PathBuf>,
    /// Who is asked
    #[arg(long, value_name = "AGENCY")]
    holder: AgencyId,
    /// What is asked, the level as a code or 0 to 4; repeat for more
    #[arg(
        long = "item",
        value_name = "CATEGORY:LEVEL",
        required = true,
        value_parser = codes::item
    )]
    items: Vec<Item>,
    /// What for
    #[arg(long)]
    purpose: Purpose,
    /// On which basis in law
    #[arg(long)]
    basis: LegalBasis,
    /// Consent relied on [default: any that fits]
    #[arg(long, value_name = "ID", conflicts_with = "agreement")]
    consent: Option<ConsentId>,
    /// Agreement relied on [default: any that fits]
    #[arg(long, value_name = "ID")]
    agreement: Option<AgreementId>,
    /// Case
    #[arg(long, value_name = "ID")]
    case: Option<CaseId>,
    /// Emergency: subject_in_danger, threat_to_others, medical
    #[arg(long, value_name = "REASON")]
    emergency: Option<EmergencyKind>,
    /// Have a person at the holder look for other spellings too: takes as long as that person does
    #[arg(long, requires = "person")]
    near: bool,
    /// Why, in words; only the holder can read it
    #[arg(long, value_name = "TEXT", default_value = "")]
    justification: String,
    #[command(flatten)]
    worker: Worker,
    /// Seconds until the request is void
    #[arg(long, value_name = "SECONDS", default_value_t = 259_200)]
    valid: u64,
    /// Wait for the answer too, at most so long [default: wait for the decision alone]
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

/// Whether waiting longer brings nothing.
const fn is_settled(status: Status) -> bool {
    match status {
        Status::Submitted
        | Status::Decided
        | Status::Queued
        | Status::Offered
        | Status::HolderReview
        // The receipt follows the answer at once; before it nothing can be shown.
        | Status::Answered => false,
        Status::Denied
        | Status::Released
        | Status::Declined
        | Status::CannotSay
        | Status::Expired
        | Status::Stopped
        | Status::Delivered
        | Status::Viewed
        | Status::Erased => true,
    }
}

pub(super) async fn run(global: Global, args: RequestArgs) -> Result<Exit, Failure> {
    let worker = args.worker.name(&args.place.dir);
    let request = v1::AskRequest {
        person: args.person.as_deref().map(codes::person).transpose()?,
        holder: args.holder.to_string(),
        items: args
            .items
            .iter()
            .map(|item| v1::AskItem {
                category: item.category.to_string(),
                level: item.level.to_string(),
            })
            .collect(),
        purpose: args.purpose.to_string(),
        basis: args.basis.to_string(),
        consent: args.consent.map(|id| id.to_string()).unwrap_or_default(),
        agreement: args.agreement.map(|id| id.to_string()).unwrap_or_default(),
        case: args.case.map(|id| id.to_string()).unwrap_or_default(),
        emergency: args.emergency.map(|e| e.to_string()).unwrap_or_default(),
        justification: args.justification,
        worker: worker.clone(),
        valid_s: args.valid,
        near: args.near,
    };
    let mut node = backend::connect(&args.place.dir).await?;
    // The node itself waits a while for the decision.
    let mut view: RequestView = backend::document(node.ask(request).await)?;
    let mut waiting = false;
    if let Some(seconds) = args.wait {
        let wait = Duration::from_secs(seconds);
        view = settle(&mut node, view, &worker, wait).await?;
        waiting = !is_settled(view.line.status);
    }
    let waited = Waited { view, waiting };
    output::print(global, &waited, |waited| text(waited, global.lang()))?;
    Ok(exit(&waited))
}

/// A request, and whether its answer was waited for in vain.
#[derive(Serialize)]
struct Waited {
    #[serde(flatten)]
    view: RequestView,
    /// Left out unless it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waiting: bool,
}

fn text(waited: &Waited, lang: Lang) -> String {
    let mut text = render::request(&waited.view, lang);
    if waited.waiting {
        text.push_str("\nwaiting: no answer came in time; look again with `agent show`\n");
    }
    text
}

/// Waits until the request is settled or time is up, then shows it to the worker.
async fn settle(
    node: &mut backend::Node,
    asked: RequestView,
    worker: &str,
    wait: Duration,
) -> Result<RequestView, Failure> {
    let deadline = Instant::now() + wait;
    let id = asked.line.request.clone();
    let mut status = asked.line.status;
    // The list, for looking at an answer is attested as viewed.
    while !is_settled(status) && Instant::now() < deadline {
        tokio::time::sleep(POLL_INTERVAL).await;
        let reply = node.list_requests(v1::ListRequestsRequest {}).await;
        let lines: Vec<RequestLine> = backend::document(reply)?;
        let line = lines.iter().find(|line| line.request == id);
        status = line.map_or(status, |line| line.status);
    }
    let request = v1::ShowRequest {
        request: id,
        worker: worker.to_owned(),
    };
    backend::document(node.show(request).await)
}

/// Refused if nothing may be answered, nothing will come any more, or nothing came in time.
fn exit(Waited { view, waiting }: &Waited) -> Exit {
    let all_denied = !view.decision.is_empty()
        && view
            .decision
            .iter()
            .all(|item| item.item.ruling.effect == Effect::Deny);
    match view.line.status {
        Status::Denied | Status::Expired | Status::Stopped => Exit::Refused,
        _ if all_denied || *waiting => Exit::Refused,
        _ => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(status: &str, waiting: bool) -> Waited {
        let view = serde_json::json!({
            "request": "req-00112233445566778899aabbccddeeff",
            "requester": "police", "holder": "clinic", "items": [], "purpose": "plan",
            "status": status, "at": 0, "review_by": null, "basis": "consent", "case": null,
            "emergency": null, "decision": [], "decision_index": null, "answer": null,
            "asked_by": null, "stopped": null, "record_found": null, "trail": [],
        });
        Waited {
            view: serde_json::from_value(view).unwrap(),
            waiting,
        }
    }

    #[test]
    fn waiting_in_vain_is_no_success() {
        assert!(matches!(exit(&waited("offered", true)), Exit::Refused));
        assert!(matches!(exit(&waited("offered", false)), Exit::Done));
        assert!(matches!(exit(&waited("stopped", false)), Exit::Refused));
        let said = text(&waited("offered", true), Lang::En);
        assert!(said.contains("\nwaiting: "), "{said}");
        let json = serde_json::to_value(waited("offered", true)).unwrap();
        assert_eq!(
            (&json["waiting"], &json["status"]),
            (&true.into(), &"offered".into())
        );
        let json = serde_json::to_value(waited("delivered", false)).unwrap();
        assert_eq!(json.get("waiting"), None);
    }
}
