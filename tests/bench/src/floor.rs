//! What one exchange needs of each primitive, and what that would cost: the floor.
//!
//! The counts follow from the protocol (`docs/ARCHITECTURE.md`, "One exchange, by file"), not from
//! what the product happens to do. What many exchanges share (checkpoints, cosignatures, durable
//! writes) is counted as shared by [`GROUP`] exchanges.

use crate::primitives::{Cost, GROUP, Primitives};
use serde::Serialize;

/// Witnesses.
const WITNESSES: f64 = 4.0;
/// Cosignatures that make a quorum.
const QUORUM: f64 = 3.0;
/// Witness rounds that an exchange waits for: one over the question, one over the answer.
const ROUNDS: f64 = 2.0;
/// Entries: question, decision, permit, answer, receipt.
const ENTRIES: f64 = 5.0;
/// Notices that the two agencies need: decision and answer at the one, permit and receipt at the
/// other.
const NOTICES: f64 = 4.0;
/// Records in the agents' journals: the question; the decision; the answer with its receipt; the
/// permit with the answer to it; the receipt.
const AGENT_RECORDS: f64 = 5.0;
/// Reads of projections, by all: members, consents, requests, trust.
const READS: f64 = 30.0;

/// One line of the account.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Need {
    /// The part of the work.
    pub(crate) part: &'static str,
    /// What.
    pub(crate) what: &'static str,
    /// How many an exchange needs.
    pub(crate) count: f64,
    /// What one costs.
    pub(crate) unit: Cost,
}

impl Need {
    /// Milliseconds of processor for one exchange.
    pub(crate) fn cpu_ms(&self) -> f64 {
        self.count * self.unit.cpu_us / 1e3
    }
}

/// The account. `small` and `large` are one message with a note and one with a sealed payload
/// over a stream, sent and received.
pub(crate) fn needs(p: &Primitives, small: Cost, large: Cost) -> Vec<Need> {
    let shared = ROUNDS / GROUP as f64;
    let need = |part, what, count, unit| Need {
        part,
        what,
        count,
        unit,
    };
    vec![
        // Question, permit, answer, receipt.
        need("signatures", "sign a statement or permit", 4.0, p.sign),
        // Broker: question, answer, receipt. Holder: question, permit, receipt. Asker: answer.
        need("signatures", "verify a statement or permit", 7.0, p.verify),
        need(
            "signatures",
            "witness a checkpoint",
            WITNESSES * shared,
            p.witness,
        ),
        need(
            "signatures",
            "check a cosignature (broker)",
            WITNESSES * shared,
            p.cosignature,
        ),
        // Two agencies read each round: the log's signature and a quorum, own one included.
        need(
            "signatures",
            "check a quorum (agents)",
            2.0 * (1.0 + QUORUM) * shared,
            p.verify,
        ),
        need("sealing", "one-time reply key", 1.0, p.reply_key),
        need("sealing", "seal 8 KiB", 2.0, p.seal),
        need("sealing", "open 8 KiB", 1.0, p.open),
        // When it is asked, when the permit is issued, when the answer comes.
        need("policy", "decide (federation)", 3.0, p.decide),
        need("policy", "decide (holder)", 1.0, p.decide_local),
        need("log", "leaf into the tree", ENTRIES, p.leaf),
        need("log", "root and signed checkpoint", shared, p.checkpoint),
        need("log", "inclusion proof, made", NOTICES, p.prove),
        need("log", "inclusion proof, checked", NOTICES, p.check_path),
        need(
            "log",
            "durable write of a record, shared",
            ENTRIES + AGENT_RECORDS,
            p.append_shared,
        ),
        need("store", "vault file of a question", 1.0, p.file),
        need(
            "store",
            "commit of a record's rows",
            ENTRIES + AGENT_RECORDS,
            p.commit,
        ),
        need("store", "read of a row", READS, p.read),
        need(
            "encoding",
            "entry or statement, encoded",
            ENTRIES + 4.0,
            p.encode,
        ),
        need(
            "encoding",
            "entry or statement, decoded",
            ENTRIES + NOTICES,
            p.decode,
        ),
        // Question in, permit out, answer in, answer out.
        need("wire", "message with a sealed payload", 4.0, large),
        // Receipt in, three replies, decision and receipt out, the rounds, the call of the worker.
        need(
            "wire",
            "message without",
            8.0 + 2.0 * WITNESSES * shared,
            small,
        ),
    ]
}

/// Milliseconds of processor for one exchange.
pub(crate) fn sum_ms(needs: &[Need]) -> f64 {
    needs.iter().map(Need::cpu_ms).sum()
}
