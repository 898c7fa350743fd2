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

/// The rounds' share of one exchange, when a group of them shares each.
const SHARED: f64 = ROUNDS / GROUP as f64;

/// The account. `small` and `large` are one message with a note and one with a sealed payload
/// over a stream, sent and received.
pub(crate) fn needs(p: &Primitives, small: Cost, large: Cost) -> Vec<Need> {
    let mut all = sealed_and_signed(p);
    all.extend(decided_and_kept(p));
    let (streams, rounds) = (8.0, 2.0 * WITNESSES * SHARED);
    all.extend([
        // Question in, permit out, answer in, answer out.
        need("wire", "message with a sealed payload", 4.0, large),
        // Receipt in, three replies, decision and receipt out, the worker's call; the rounds.
        need("wire", "message without", streams + rounds, small),
    ]);
    all
}

const fn need(part: &'static str, what: &'static str, count: f64, unit: Cost) -> Need {
    Need {
        part,
        what,
        count,
        unit,
    }
}

fn sealed_and_signed(p: &Primitives) -> Vec<Need> {
    let (c, log) = (&p.crypto, &p.log);
    let witnesses = WITNESSES * SHARED;
    // Two agencies read each round: the log's signature and a quorum, the own one included.
    let read = 2.0 * (1.0 + QUORUM) * SHARED;
    vec![
        // Question, permit, answer, receipt.
        need("signatures", "sign a statement or permit", 4.0, c.sign),
        // Broker: question, answer, receipt. Holder: question, permit, receipt. Asker: answer.
        need("signatures", "verify a statement or permit", 7.0, c.verify),
        need("signatures", "witness a checkpoint", witnesses, log.witness),
        need(
            "signatures",
            "check a cosignature (broker)",
            witnesses,
            log.cosignature,
        ),
        need("signatures", "check a quorum (agents)", read, c.verify),
        need("sealing", "one-time reply key", 1.0, c.reply_key),
        // The context of the question, and the answer; the former is opened when somebody looks.
        need("sealing", "seal 8 KiB", 2.0, c.seal),
        need("sealing", "open 8 KiB", 1.0, c.open),
    ]
}

fn decided_and_kept(p: &Primitives) -> Vec<Need> {
    let (rules, log, disk) = (&p.rules, &p.log, &p.disk);
    let records = ENTRIES + AGENT_RECORDS;
    // Each entry once, and each statement and permit inside one.
    let encoded = ENTRIES + 4.0;
    vec![
        // When it is asked, which is when the permit is issued if the holder is there, and when
        // the answer comes.
        need("policy", "decide (federation)", 2.0, rules.decide),
        need("policy", "decide (holder)", 1.0, rules.decide_local),
        need("log", "leaf into the tree", ENTRIES, log.leaf),
        need("log", "root and signed checkpoint", SHARED, log.checkpoint),
        need("log", "inclusion proof, made", NOTICES, log.prove),
        need("log", "inclusion proof, checked", NOTICES, log.check_path),
        need(
            "log",
            "durable write of a record, shared",
            records,
            disk.append_shared,
        ),
        need(
            "store",
            "key of a question, its sync shared",
            1.0,
            disk.key_shared,
        ),
        need("store", "commit of a record's rows", records, disk.commit),
        need("store", "read of a row", READS, disk.read),
        need(
            "encoding",
            "entry or statement, encoded",
            encoded,
            rules.encode,
        ),
        need(
            "encoding",
            "entry or statement, decoded",
            ENTRIES + NOTICES,
            rules.decode,
        ),
    ]
}

/// Milliseconds of processor for one exchange.
pub(crate) fn sum_ms(needs: &[Need]) -> f64 {
    needs.iter().map(Need::cpu_ms).sum()
}
