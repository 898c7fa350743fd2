//! What was checked, with counts, for people and for programs.

use super::fault::FaultCode;
use passerelle_model::{bytes::Digest, entry::Supersedes, ids::FederationId, time::Timestamp};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// Most warnings that are kept; all are counted.
pub const MAX_WARNINGS: usize = 100;

/// Where a key came from that something was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The caller gave it, from outside: proves whose log this is.
    Given,
    /// Taken from the export itself: proves that the export is consistent, not whose it is.
    FromExport,
}

impl Trust {
    /// In words.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Given => "the key that you gave",
            Self::FromExport => {
                "the key in the export itself, which proves consistency but not whose log it is"
            }
        }
    }
}

/// One witness of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessLine {
    /// The verifier key, `name+id+key`.
    pub key: String,
    /// When it cosigned, in seconds since 1970 by its own clock; none if it did not.
    pub cosigned_at_s: Option<u64>,
}

/// The cosignatures against one set of witnesses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cosignatures {
    /// Where the witnesses' keys came from.
    pub trust: Trust,
    /// How many witnesses there are.
    pub witnesses: usize,
    /// How many must have cosigned.
    pub needed: usize,
    /// How many have.
    pub found: usize,
    /// Who they are.
    pub keys: Vec<WitnessLine>,
}

/// The policy that the caller gave, which the checkpoint meets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyMet {
    /// The name of its quorum.
    pub quorum: String,
    /// Its witnesses.
    pub witnesses: Vec<WitnessLine>,
}

/// Something that an auditor should look at and that proves no wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The index of the entry.
    pub index: u64,
    /// What.
    pub message: String,
}

/// The outcome of a verification without fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The federation, as the export names it.
    pub federation: FederationId,
    /// The log's name.
    pub origin: String,
    /// How many entries the checkpoint covers.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The log's verifier key.
    pub log_key: String,
    /// Where that key came from.
    pub log_key_trust: Trust,
    /// The quorum of the witnesses that the log itself enrolled, then that of those given.
    pub cosignatures: Vec<Cosignatures>,
    /// The policy that was given, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyMet>,
    /// The time of the first readable entry.
    pub first_at: Option<Timestamp>,
    /// The latest time of a readable entry.
    pub last_at: Option<Timestamp>,
    /// Readable entries by type.
    pub entries: BTreeMap<&'static str, u64>,
    /// Statements by type.
    pub statements: BTreeMap<&'static str, u64>,
    /// Checks made, by kind.
    pub checks: BTreeMap<&'static str, u64>,
    /// Where the log went over to a new origin, and from what: the index of the entry, and itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<(u64, Supersedes)>,
    /// Entries of which only the leaf hash is in the export.
    pub not_readable: u64,
    /// Checks that failed in a way which an entry that is not readable may explain, by the code of
    /// the fault that they would have been.
    pub not_checkable: BTreeMap<&'static str, u64>,
    /// The first [`MAX_WARNINGS`] warnings.
    pub warnings: Vec<Warning>,
    /// How many warnings there were.
    pub warnings_total: u64,
}

impl Report {
    /// Whether everything that can be checked in a log was checked in this one.
    pub fn is_complete(&self) -> bool {
        self.not_readable == 0 && self.not_checkable.is_empty()
    }
}

/// The kinds of checks that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    Agreement,
    AnswerAgainstPermit,
    CanonicalEntry,
    Case,
    Consent,
    DecisionAgainstRequest,
    Enrolment,
    Ground,
    Nonce,
    Opening,
    OverrideReview,
    PermitAgainstDecision,
    ReceiptAgainstAnswer,
    Seal,
    Activation,
    StatementSignature,
    Withdrawal,
}

impl Check {
    const fn code(self) -> &'static str {
        match self {
            Self::Agreement => "agreements_and_their_signatures",
            Self::AnswerAgainstPermit => "answers_against_permits",
            Self::CanonicalEntry => "entries_canonical",
            Self::Case => "case_steps",
            Self::Consent => "consents",
            Self::DecisionAgainstRequest => "decisions_against_requests",
            Self::Enrolment => "enrolments_against_invitations",
            Self::Ground => "consents_and_agreements_relied_on",
            Self::Nonce => "nonces_unique",
            Self::Opening => "openings",
            Self::OverrideReview => "override_reviews",
            Self::PermitAgainstDecision => "permits_against_decisions",
            Self::ReceiptAgainstAnswer => "receipts_against_answers",
            Self::Seal => "seals_counted_again",
            Self::Activation => "bundle_endorsements",
            Self::StatementSignature => "statement_signatures",
            Self::Withdrawal => "withdrawals",
        }
    }
}

/// Counters in the making.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) entries: BTreeMap<&'static str, u64>,
    pub(super) statements: BTreeMap<&'static str, u64>,
    pub(super) checks: BTreeMap<&'static str, u64>,
    pub(super) not_readable: u64,
    pub(super) not_checkable: BTreeMap<&'static str, u64>,
    pub(super) warnings: Vec<Warning>,
    pub(super) warnings_total: u64,
}

impl Tally {
    pub(super) fn checked(&mut self, check: Check, count: u64) {
        *self.checks.entry(check.code()).or_default() += count;
    }

    pub(super) fn excused(&mut self, code: FaultCode) {
        *self.not_checkable.entry(code.code()).or_default() += 1;
    }

    pub(super) fn warn(&mut self, index: u64, message: String) {
        self.warnings_total += 1;
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning { index, message });
        }
    }
}

/// The report for people, in plain words.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "federation {}, log `{}`, {} entries",
            self.federation, self.origin, self.size
        )?;
        if let (Some(first), Some(last)) = (self.first_at, self.last_at) {
            let (first, last) = (first.to_rfc3339(), last.to_rfc3339());
            writeln!(f, "from {first} to {last}")?;
        }
        for (index, supersedes) in &self.origins {
            writeln!(
                f,
                "goes on under a new origin from entry {index}: before it the log was `{}`, of which \
                 {} entries were carried and {} had been cosigned",
                supersedes.former, supersedes.carried.size, supersedes.newest.size
            )?;
        }
        writeln!(f, "checkpoint signed by the log: yes")?;
        writeln!(f, "  against {}", self.log_key_trust.in_words())?;
        for set in &self.cosignatures {
            let whose = match set.trust {
                Trust::Given => "that you gave",
                Trust::FromExport => "that the log itself enrolled",
            };
            writeln!(
                f,
                "cosigned by {} of the {} witnesses {whose} ({} needed)",
                set.found, set.witnesses, set.needed
            )?;
            if set.found < set.needed {
                // Only possible where entries that are not readable may hold other witnesses.
                writeln!(
                    f,
                    "  NOT ENOUGH as far as can be read: others may be shown another log"
                )?;
            }
        }
        if let Some(policy) = &self.policy {
            let (witnesses, quorum) = (&policy.witnesses, &policy.quorum);
            let found = witnesses.iter().filter(|w| w.cosigned_at_s.is_some());
            writeln!(
                f,
                "meets the policy that you gave: yes (quorum `{quorum}`; {} of its {} witnesses)",
                found.count(),
                witnesses.len()
            )?;
        }
        writeln!(f, "root over all rows equals the checkpoint's: yes")?;
        writeln!(f, "checked:")?;
        for (what, count) in &self.checks {
            writeln!(f, "  {count:>9}  {}", what.replace('_', " "))?;
        }
        if self.not_readable > 0 {
            writeln!(f, "not readable in this export: {}", self.not_readable)?;
        }
        for (what, count) in &self.not_checkable {
            writeln!(
                f,
                "  {count:>9}  checks not possible because of that (`{what}`)"
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "look at entry {}: {}", warning.index, warning.message)?;
        }
        if self.warnings_total > self.warnings.len() as u64 {
            writeln!(f, "and {} more to look at", self.warnings_total)?;
        }
        Ok(())
    }
}
