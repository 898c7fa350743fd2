//! Error codes: one variant each, which is also metric label, log field and translation key.
//!
//! A denial is no error but a [`Ruling`](crate::pdp::Ruling). These are for what never reaches a
//! decision: malformed, unauthentic, out of order.

use crate::vocabulary::UnknownCode;

/// Whose fault an error is (after rustls): it says who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The other side sent what no honest, current node sends.
    Peer,
    /// The user or program that called asked for what can't be.
    Caller,
    /// Whoever runs the node must act.
    Operator,
    /// A defect here.
    Ours,
}

macro_rules! error_codes {
    ($($(#[$meta:meta])* $variant:ident = $code:literal, $fault:ident, $text:literal;)*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[$meta])* $variant,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Whose fault it is.
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)* }
            }

            /// A sentence for people, which says what to do.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

error_codes! {
    /// Not parseable or not canonical.
    Malformed = "malformed", Peer, "the message is not in the published form";
    /// A code that no vocabulary has.
    UnknownCode = "unknown_code", Caller, "a code is not in the vocabulary; nothing was guessed";
    /// Larger than the limit.
    TooLarge = "too_large", Peer, "the message is larger than the published limit";
    /// Too many in a time.
    RateLimited = "rate_limited", Caller, "too many calls; wait and try again";
    /// Signature does not verify.
    BadSignature = "bad_signature", Peer, "the signature does not verify with the agency's key";
    /// The statement names another agency than the connection.
    WrongAgency = "wrong_agency", Peer, "the statement names another agency than the certificate";
    /// Made for another federation.
    WrongFederation = "wrong_federation", Peer, "the statement was made for another federation";
    /// Already sequenced.
    Replayed = "replayed", Peer, "this statement is already in the log; nothing was done again";
    /// Too old or from the future.
    Stale = "stale", Peer, "the statement's time is more than five minutes off; check the clock";
    /// An opening is missing or does not open its commitment.
    OpeningMismatch = "opening_mismatch", Peer, "an opening does not open its commitment";
    /// A payload is missing or does not have its digest.
    PayloadMismatch = "payload_mismatch", Peer, "a payload does not have the digest that was signed";
    /// No such agency, or not active.
    UnknownAgency = "unknown_agency", Caller, "no active member has this name";
    /// No such request.
    UnknownRequest = "unknown_request", Caller, "no such request";
    /// No such consent.
    UnknownConsent = "unknown_consent", Caller, "no such consent record";
    /// No such agreement.
    UnknownAgreement = "unknown_agreement", Caller, "no such agreement";
    /// No such case.
    UnknownCase = "unknown_case", Caller, "no such case";
    /// No such audit case.
    UnknownAuditCase = "unknown_audit_case", Caller, "no such audit case";
    /// The agency's own rules keep the question from leaving.
    RefusedHere = "refused_here", Caller, "the agency's own rules do not let this question leave";
    /// A second person has to release the question.
    Held = "held", Caller, "the question waits until a second person at the agency releases it";
    /// The worker is suspended.
    Suspended = "suspended", Caller, "this worker is suspended until a second person lifts it";
    /// Who decides is not who may.
    NotIndependent = "not_independent", Caller,
        "somebody else has to decide this: a privacy officer or supervisor who has no part in it";
    /// The id is taken.
    Duplicate = "duplicate", Caller, "the identifier is already in use";
    /// Not a party to it.
    NotAParty = "not_a_party", Caller, "the agency is not a party to this";
    /// Too few of those who sign for a party have signed.
    SignatoriesMissing = "signatories_missing", Caller,
        "fewer of the people who sign for this agency have signed than the agreement asks for";
    /// The state does not allow it.
    WrongState = "wrong_state", Caller, "the present state does not allow this step";
    /// A value is outside its limits.
    OutOfRange = "out_of_range", Caller, "a value is outside its limits";
    /// The permit has expired.
    PermitExpired = "permit_expired", Peer, "the permit has expired; ask for it to be decided again";
    /// The permit is not the one in force for this.
    PermitMismatch = "permit_mismatch", Peer, "the permit is not the one in force for this request";
    /// The permit no longer stands.
    PermitWithdrawn = "permit_withdrawn", Peer, "what the permit rested on no longer stands";
    /// The proof does not verify.
    ProofInvalid = "proof_invalid", Peer, "the proof of inclusion or consistency does not verify";
    /// Too few cosignatures.
    NoQuorum = "no_quorum", Operator, "too few witnesses have cosigned; nothing leaves until they do";
    /// The certificate is revoked.
    Revoked = "revoked", Operator, "the agency's certificate is revoked; enrol again";
    /// The invitation is unknown, used or expired.
    InviteInvalid = "invite_invalid", Operator, "the invitation is unknown, used or expired";
    /// The rules in force are not held here.
    BundleNotHeld = "bundle_not_held", Operator,
        "this node does not hold the rules in force; it neither asks nor answers until it does";
    /// Too few agencies have endorsed the rules.
    BundleNotEndorsed = "bundle_not_endorsed", Operator,
        "more than half of the agencies must endorse these rules before they are in force";
    /// No such proposal.
    UnknownBundle = "unknown_bundle", Caller, "no rules with this digest are proposed or in force";
    /// The log goes on from an older copy, and not every agency has gone on.
    Recovering = "recovering", Operator,
        "the log goes on from an older copy, and not every agency has said yet that nothing of its \
         own is missing; until then nobody asks";
    /// This agent still follows the former origin of the log.
    OriginNotAccepted = "origin_not_accepted", Operator,
        "the log goes on under a new origin, which this agency has not accepted: see `passerelle \
         agent accept-origin --help`";
    /// The other side can't be reached.
    Unavailable = "unavailable", Operator, "the other side can't be reached now";
    /// Storage failed.
    Storage = "storage", Operator, "the disk refused; the node stops rather than guess";
    /// A defect.
    Internal = "internal", Ours, "an internal error; it was logged";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl std::str::FromStr for ErrorCode {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL
            .iter()
            .copied()
            .find(|c| c.code() == text)
            .ok_or_else(|| UnknownCode {
                vocabulary: "error",
                known: Self::ALL
                    .iter()
                    .map(|c| c.code())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
