//! One sentence for an entry.

use passerelle_model::{
    entry::{Entry, EntryBody},
    error::ErrorCode,
    statement::{Body, Change, ReceiptKind},
};

/// The type of an entry, or of the statement in it, and what it says.
///
/// # Errors
/// [`ErrorCode::Malformed`]: a statement in no form known here.
pub(super) fn describe(entry: &Entry) -> Result<(String, String), ErrorCode> {
    let summary = match &entry.body {
        EntryBody::Founded { federation, .. } => format!("the log of {federation} begins"),
        EntryBody::BundleActivated { bundle } => {
            format!("policy bundle {} is in force", short(&bundle.to_hex()))
        }
        EntryBody::BundleProposed { terms } => format!(
            "policy bundle {} (revision {}) is proposed",
            short(&terms.bundle.to_hex()),
            terms.revision
        ),
        EntryBody::Invited { agency, sector, .. } => format!("{agency} is invited as {sector}"),
        EntryBody::Enrolled { agency, .. } => format!("{agency} joins"),
        EntryBody::Revoked { agency } => format!("{agency} is shut out"),
        EntryBody::Said { agency, envelope } => {
            let statement = envelope.unverified_statement();
            let body = statement.map_err(|_| ErrorCode::Malformed)?.body;
            let (what, sentence) = describe_said(&body);
            return Ok((what.to_owned(), format!("{agency} {sentence}")));
        }
        EntryBody::Refused { agency, code, .. } => {
            format!("a statement of {agency} is refused: {}", code.explanation())
        }
        EntryBody::Decided { request, items, .. } => {
            let items: Vec<_> = items
                .iter()
                .map(|item| {
                    let rules: Vec<_> = item
                        .ruling
                        .reasons
                        .iter()
                        .map(|r| r.rule.as_str())
                        .collect();
                    let effect = format!("{:?}", item.ruling.effect).to_lowercase();
                    let (category, level) = (item.category, item.level);
                    format!("{category}:{level} {effect} ({})", rules.join(", "))
                })
                .collect();
            format!("{request} is decided: {}", items.join("; "))
        }
        EntryBody::Offered { permit } => format!(
            "{} may answer {} on {} until {}",
            permit.holder,
            permit.requester,
            permit.request,
            permit.not_after.to_rfc3339()
        ),
        EntryBody::Stopped { request, .. } => format!("{request} is stopped"),
        EntryBody::Recalled { request, consent } => {
            format!("the consent {consent} under the answer to {request} is withdrawn")
        }
        EntryBody::WithdrawalCarriedOut { consent } => {
            format!("what rested on the withdrawn part of {consent} is stopped or recalled")
        }
        EntryBody::Expired { request } => format!("{request} was not answered in time"),
        EntryBody::HandlesEvaluated { agency, count } => {
            format!("{count} blinded values are evaluated for {agency}")
        }
        EntryBody::Supersedes(it) => format!(
            "the log goes on under a new origin, `{}`, from the first {} entries of the former one",
            it.key.split('+').next().unwrap_or_default(),
            it.carried.size
        ),
        EntryBody::Sealed { from, until, .. } => {
            format!("the entries from {from} to {until} are counted for each agency")
        }
    };
    Ok((entry.body.code().to_owned(), summary))
}

fn describe_said(body: &Body) -> (&'static str, String) {
    match body {
        Body::Request(request) => {
            let items: Vec<_> = request
                .items
                .iter()
                .map(|item| format!("{}:{}", item.category, item.level))
                .collect();
            let asks = format!(
                "asks {} for {} to {} on {} ({})",
                request.holder,
                items.join(", "),
                request.purpose,
                request.basis,
                request.request
            );
            ("request", asks)
        }
        Body::Answer(answer) => ("answer", format!("answers {}", answer.request)),
        Body::Receipt(receipt) => {
            let what = match receipt.kind {
                ReceiptKind::Delivered => "has received",
                ReceiptKind::Viewed => "has looked at",
                ReceiptKind::Erased => "has erased",
            };
            (
                "receipt",
                format!("{what} the answer to {}", receipt.request),
            )
        }
        Body::Renewal(renewal) => (
            "renewal",
            format!("asks for {} to be decided again", renewal.request),
        ),
        Body::Resumption(resumption) => {
            let so_far = if resumption.complete { "" } else { " so far" };
            let goes_on = "goes on under the new origin: nothing of its own is missing";
            ("resumption", format!("{goes_on}{so_far}"))
        }
        Body::OverrideReview(review) => (
            "override_review",
            format!(
                "has reviewed the emergency of {}: {} (a {})",
                review.request, review.finding, review.role
            ),
        ),
        Body::Consent(terms) => ("consent", format!("records the consent {}", terms.consent)),
        Body::Withdrawal(withdrawal) => (
            "withdrawal",
            format!("records a withdrawal of {}", withdrawal.consent),
        ),
        Body::Agreement(terms) => (
            "agreement",
            format!("proposes the agreement {}", terms.agreement),
        ),
        Body::AgreementSignature(signature) => (
            "agreement_signature",
            format!("signs the agreement {}", signature.agreement),
        ),
        Body::AgreementChange(change) => {
            let id = &change.agreement;
            let sentence = match change.change {
                Change::Suspend(reason) => format!("suspends the agreement {id}: {reason}"),
                Change::Lift => format!("lifts its suspension of the agreement {id}"),
                Change::Terminate(reason) => format!("terminates the agreement {id}: {reason}"),
            };
            ("agreement_change", sentence)
        }
        Body::CaseOpening(opening) => ("case_opening", format!("opens {}", opening.case)),
        Body::CaseAdvance(advance) => {
            let closing = advance.outcome.map(|o| format!(", closed: {o}"));
            let sentence = format!(
                "takes {} to {}{}",
                advance.case,
                advance.stage,
                closing.unwrap_or_default()
            );
            ("case_advance", sentence)
        }
        Body::BundleEndorsement(endorsement) => (
            "bundle_endorsement",
            format!(
                "endorses policy bundle {}",
                short(&endorsement.bundle.to_hex())
            ),
        ),
    }
}

fn short(hex: &str) -> &str {
    hex.get(..12).unwrap_or(hex)
}
