//! What can be wrong with an exported log, and what that means to the person who reads it.

use serde::Serialize;
use std::fmt;

macro_rules! fault_codes {
    ($($(#[$meta:meta])* $variant:ident = $code:literal, $meaning:literal;)*) => {
        /// The kind of a fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FaultCode { $($(#[$meta])* $variant,)* }

        impl FaultCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it means, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

fault_codes! {
    /// Not a fault of the log: the file can't be read.
    Io = "io", "the file can't be read; nothing is known about the log";
    /// The first line.
    Header = "header", "the file is not an export of this format";
    /// A key is not a verifier key.
    Key = "key", "the log's key can't be used, so nothing of the log can be believed";
    /// The export names another log key than the one that is trusted.
    OtherLogKey = "other_log_key", "this is another log than the one whose key you trust";
    /// The checkpoint is malformed, of another log, or not signed by it.
    Checkpoint = "checkpoint", "the log did not sign this checkpoint";
    /// A cosignature in the name of a known witness does not verify.
    Cosignature = "cosignature", "somebody forged or damaged a witness's cosignature";
    /// Too few witnesses.
    Quorum = "quorum", "too few witnesses vouch that everybody sees this same log";
    /// A policy of the reader's own.
    Policy = "policy", "the checkpoint does not carry the cosignatures that your policy asks for";
    /// The root over the rows is not that of the checkpoint.
    Root = "root", "an entry was changed, or these are not the entries that the log signed; \
        every entry is well formed, so which one it is can't be said";
    /// A line is not a row.
    Row = "row", "the export is damaged at this line";
    /// A row is missing, repeated or out of place.
    Order = "order", "a row is missing, repeated or out of place from here on";
    /// The file ends early.
    Missing = "missing", "the file ends before the last entry that the checkpoint covers";
    /// The file goes on.
    Trailing = "trailing", "the file goes on after the last entry that the checkpoint covers";
    /// The entry is not canonical.
    Entry = "entry", "no honest log holds such an entry: it is not in the published form";
    /// Entry 0 is not the founding, or there are several.
    Founding = "founding", "the log must begin with its one founding, under its own key";
    /// Time went back.
    Time = "time", "the broker's clock went back by more than five minutes";
    /// A nonce was used twice.
    Nonce = "nonce", "an entry was copied, or the broker's randomness is broken";
    /// The statement in the envelope is not canonical.
    Statement = "statement", "what the agency is said to have signed is not in the published form";
    /// The statement names another agency than the entry.
    OtherAgency = "other_agency", "a statement stands under the name of another agency";
    /// The statement is of another federation.
    OtherFederation = "other_federation", "a statement was made for another federation";
    /// The signature does not verify.
    Signature = "signature", "the agency did not sign this with the key it enrolled";
    /// The agency never enrolled.
    UnknownAgency = "unknown_agency", "nobody of this name had enrolled by then";
    /// The agency was revoked.
    Revoked = "revoked", "the agency had been revoked by then";
    /// The statement is in the log already.
    Replay = "replay", "one statement was sequenced twice";
    /// The statement was too old or from the future.
    Stale = "stale", "the statement's own time is too far from the time at which it was sequenced";
    /// An opening does not open a commitment of its entry.
    Opening = "opening", "what is said to be behind a commitment is not what was committed to";
    /// An identifier was used twice.
    Duplicate = "duplicate", "an identifier stands for two things";
    /// A value is outside its limits.
    Range = "range", "a value is outside the limits that the broker must enforce";
    /// No such request.
    UnknownRequest = "unknown_request", "the entry is about a request that nobody had made";
    /// No such consent.
    UnknownConsent = "unknown_consent", "the entry is about a consent that nobody had recorded";
    /// No such agreement.
    UnknownAgreement = "unknown_agreement", "the entry is about an agreement nobody had proposed";
    /// No such case.
    UnknownCase = "unknown_case", "the entry is about a case that nobody had opened";
    /// The agency is not a party.
    NotAParty = "not_a_party", "the agency had no right to say this";
    /// The state of the request or case does not allow it.
    WrongState = "wrong_state", "the step is out of order";
    /// Answered after the request ended.
    AfterEnd = "after_end", "an answer crossed after its request had ended";
    /// A decision does not fit its request.
    Decision = "decision", "the decision is about something else than what was asked";
    /// A decision names a bundle that is not in force.
    Bundle = "bundle", "the decision was made by rules that were not in force";
    /// Rules were put in force without the agencies.
    Activation = "activation", "rules were put in force that more than half of the members had \
        not endorsed";
    /// A permit does not fit request or decision.
    Permit = "permit", "the permit allows something else than what was asked and decided";
    /// An answer without the permit in force.
    NoPermit = "no_permit", "an answer crossed without the permit in force for it";
    /// An answer after the permit's end.
    PermitExpired = "permit_expired", "an answer crossed after its permit had expired";
    /// The consent relied on was withdrawn, or the agreement taken out of force.
    Withdrawn = "withdrawn", "the consent or agreement that this rests on had been withdrawn";
    /// The consent or agreement relied on does not cover it.
    Ground = "ground", "the consent or agreement that this rests on does not cover it";
    /// The receipt is for another answer.
    Receipt = "receipt", "the receipt is for another answer than the one in the log";
    /// Other terms were signed than proposed.
    Terms = "terms", "a party signed other terms than those proposed";
    /// Too few of the people who sign for a party have signed.
    Signatories = "signatories", "an agreement was signed for a party without enough of the people \
        who sign for it";
    /// An invitation is unknown, used, expired or of another agency.
    Invitation = "invitation", "an agency joined without a valid invitation of its own";
    /// A new origin does not follow from the former log, or not all have gone on under it.
    Origin = "origin", "the log went over to a new origin otherwise than it may: what was lost with \
        the former one may be missing";
    /// A seal does not say what the entries say.
    Seal = "seal", "the number of entries sealed for an agency is not that in the log: the broker \
        would have kept something from it, or made something up";
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for FaultCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}{message}", self.place())]
pub struct Fault {
    /// The index of the entry; none if it is the header, the checkpoint or the log as a whole.
    pub index: Option<u64>,
    /// Of which kind.
    pub code: FaultCode,
    /// What exactly.
    pub message: String,
}

impl Fault {
    /// A fault of the entry at `index`.
    pub fn at(index: u64, code: FaultCode, message: impl Into<String>) -> Self {
        Self {
            index: Some(index),
            code,
            message: message.into(),
        }
    }

    /// A fault of no single entry.
    pub fn whole(code: FaultCode, message: impl Into<String>) -> Self {
        Self {
            index: None,
            code,
            message: message.into(),
        }
    }

    fn place(&self) -> String {
        self.index
            .map_or_else(String::new, |index| format!("entry {index}: "))
    }
}
