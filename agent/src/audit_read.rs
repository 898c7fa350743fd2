//! Reading the log from the broker, believing nothing: every row is hashed, and the root over all
//! must be that of a checkpoint which the log signed and a quorum of the members cosigned.
//!
//! In scope: fetching, checking, one sentence an entry, the export file.
//! Out of scope: checking an export later, alone (binary `passerelle-audit`).

use crate::{holder::storage, node::Node, session::code_of, state};
use passerelle_audit::{
    checkpoint,
    cosignature::cosigned_by,
    export::{ExportHeader, ExportRow, write_header, write_row},
    merkle::{Frontier, leaf_hash},
};
use passerelle_model::{
    bytes::Digest,
    commitment::Opening,
    entry::{Entry, EntryBody},
    error::ErrorCode,
    statement::{Body, ReceiptKind},
    vocabulary::Sector,
};
use passerelle_proto::{
    MAX_MESSAGE_BYTES, convert,
    v1::{EntriesRequest, LatestCheckpointRequest, LogRow, log_read_client::LogReadClient},
    views::{AuditLine, AuditPage},
};
use std::time::Duration;
use tokio::time::timeout;

/// How long one reply may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Most bytes of entries held in memory at once.
const MAX_BYTES: usize = 512 * 1024 * 1024;
/// Most entries on a page.
const MAX_PAGE: usize = 1_000;

/// A row, checked.
pub struct Row {
    entry: Option<Vec<u8>>,
    leaf: Digest,
    openings: Vec<Opening>,
}

/// The log up to a checkpoint, checked.
pub struct CheckedLog {
    checkpoint: String,
    cosignatures: usize,
    rows: Vec<Row>,
}

/// Fetches and checks the whole log up to its newest cosigned checkpoint.
///
/// # Errors
/// [`ErrorCode::Unavailable`]; [`ErrorCode::ProofInvalid`] or [`ErrorCode::NoQuorum`] if it is
/// not what the witnesses cosigned.
pub async fn read(node: &Node) -> Result<CheckedLog, ErrorCode> {
    let mut client =
        LogReadClient::new(node.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let latest = timeout(
        DEADLINE,
        client.latest_checkpoint(LatestCheckpointRequest {}),
    );
    let latest = latest.await.map_err(|_| ErrorCode::Unavailable)?;
    let note = latest.map_err(|s| code_of(&s))?.into_inner().checkpoint;
    let trust = node.trust()?;
    let signed = checkpoint::open(&note, &trust.anchors.log);
    let signed = signed.map_err(|_| ErrorCode::ProofInvalid)?;
    let cosigned = cosigned_by(&signed, trust.witnesses()).map_err(|_| ErrorCode::ProofInvalid)?;
    if cosigned.len() < trust.quorum() {
        return Err(ErrorCode::NoQuorum);
    }
    let size = signed.checkpoint().size();
    let meta = state::meta(node.core.view()).map_err(storage)?;
    check_size(size, &meta)?;
    let reads_all = node.context.identity.membership.sector == Sector::Oversight;
    let request = EntriesRequest {
        from: 0,
        until: size,
    };
    let entries = timeout(DEADLINE, client.entries(request)).await;
    let entries = entries.map_err(|_| ErrorCode::Unavailable)?;
    let mut stream = entries.map_err(|s| code_of(&s))?.into_inner();
    let mut rows = Vec::new();
    let mut tree = Frontier::new();
    let mut bytes = 0_usize;
    while tree.size() < size {
        let row = timeout(DEADLINE, stream.message()).await;
        let row = row.map_err(|_| ErrorCode::Unavailable)?;
        let row = row
            .map_err(|s| code_of(&s))?
            .ok_or(ErrorCode::ProofInvalid)?;
        if row.index != tree.size() {
            return Err(ErrorCode::ProofInvalid);
        }
        let row = check_row(row, reads_all)?;
        bytes = bytes.saturating_add(row.entry.as_ref().map_or(64, Vec::len));
        if bytes > MAX_BYTES {
            return Err(ErrorCode::TooLarge);
        }
        tree.push(row.leaf);
        rows.push(row);
    }
    if tree.root() != signed.checkpoint().root() {
        return Err(ErrorCode::ProofInvalid);
    }
    Ok(CheckedLog {
        checkpoint: note,
        cosignatures: cosigned.len(),
        rows,
    })
}

/// Notices may have proved a longer log than the one offered: then it leaves something out.
fn check_size(size: u64, meta: &state::Meta) -> Result<(), ErrorCode> {
    if size < meta.next_notice.max(meta.next_member) {
        return Err(ErrorCode::ProofInvalid);
    }
    Ok(())
}

/// An oversight body may read every entry: one that is hidden from it is a fault.
fn check_row(row: LogRow, reads_all: bool) -> Result<Row, ErrorCode> {
    let LogRow {
        index: _,
        entry,
        leaf_hash: hash,
        openings,
    } = row;
    let (entry, leaf) = match (entry.as_slice(), hash.as_slice()) {
        ([], _) if reads_all => return Err(ErrorCode::ProofInvalid),
        ([], hash) => (None, Digest::from_slice(hash).ok_or(ErrorCode::Malformed)?),
        (bytes, _) => {
            let leaf = leaf_hash(bytes);
            (Some(entry), leaf)
        }
    };
    Ok(Row {
        entry,
        leaf,
        openings: convert::openings(openings)?,
    })
}

/// A page of the log: `from` to `until` (0: the end), or the last so many.
///
/// # Errors
/// [`ErrorCode::Malformed`]: an entry is in the log but in no form known here.
pub fn page(log: &CheckedLog, from: u64, until: u64, last: u32) -> Result<AuditPage, ErrorCode> {
    let size = log.rows.len() as u64;
    let until = if until == 0 { size } else { until.min(size) };
    let from = match last {
        0 => from,
        last => from.max(until.saturating_sub(u64::from(last))),
    };
    let entries = (0_u64..)
        .zip(&log.rows)
        .filter(|(index, _)| (from..until).contains(index))
        .take(MAX_PAGE)
        .map(|(index, row)| line(index, row))
        .collect::<Result<_, _>>()?;
    Ok(AuditPage {
        size,
        cosignatures: log.cosignatures as u64,
        entries,
    })
}

fn line(index: u64, row: &Row) -> Result<AuditLine, ErrorCode> {
    let leaf_hash = row.leaf.to_hex();
    let Some(bytes) = &row.entry else {
        return Ok(AuditLine {
            index,
            entry: None,
            what: "sealed".to_owned(),
            summary: "concerns other agencies".to_owned(),
            leaf_hash,
        });
    };
    let entry = Entry::from_bytes(bytes).map_err(|_| ErrorCode::Malformed)?;
    let (what, summary) = describe(&entry)?;
    Ok(AuditLine {
        index,
        entry: Some(serde_json::from_slice(bytes).map_err(|_| ErrorCode::Malformed)?),
        what,
        summary,
        leaf_hash,
    })
}

fn describe(entry: &Entry) -> Result<(String, String), ErrorCode> {
    let summary = match &entry.body {
        EntryBody::Founded { federation, .. } => format!("the log of {federation} begins"),
        EntryBody::BundleActivated { bundle } => {
            format!("policy bundle {} is in force", short(&bundle.to_hex()))
        }
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
    }
}

fn short(hex: &str) -> &str {
    hex.get(..12).unwrap_or(hex)
}

/// The export file, in the one spelling that an auditor's program reads.
///
/// # Errors
/// [`ErrorCode::Internal`]: it can't be encoded.
pub fn export(node: &Node, log: &CheckedLog) -> Result<Vec<u8>, ErrorCode> {
    let membership = &node.context.identity.membership;
    let header = ExportHeader::new(
        log.checkpoint.clone(),
        membership.checkpoint_key.clone(),
        membership.federation.clone(),
    );
    let mut file = Vec::new();
    write_header(&mut file, &header).map_err(|_| ErrorCode::Internal)?;
    for (index, row) in (0_u64..).zip(&log.rows) {
        let row = match &row.entry {
            Some(entry) => ExportRow::Entry {
                index,
                entry: entry.clone(),
                openings: row.openings.clone(),
            },
            None => ExportRow::Hidden {
                index,
                leaf_hash: row.leaf,
            },
        };
        write_row(&mut file, &row).map_err(|_| ErrorCode::Internal)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_hidden_from_an_oversight_body_is_a_fault() {
        let hidden = || LogRow {
            leaf_hash: vec![1; 32],
            ..LogRow::default()
        };
        assert!(check_row(hidden(), false).is_ok());
        assert_eq!(
            check_row(hidden(), true).err(),
            Some(ErrorCode::ProofInvalid)
        );
        let shown = LogRow {
            entry: b"{}".to_vec(),
            ..LogRow::default()
        };
        assert!(check_row(shown, true).is_ok());
    }

    #[test]
    fn a_log_shorter_than_what_notices_proved_is_refused() {
        let meta = state::Meta {
            next_notice: 5,
            next_member: 7,
            ..state::Meta::default()
        };
        assert_eq!(check_size(6, &meta), Err(ErrorCode::ProofInvalid));
        assert_eq!(check_size(7, &meta), Ok(()));
    }
}
