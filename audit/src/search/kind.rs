//! Types of entries: those of the broker's own, and for what an agency said those of statements.

use passerelle_model::{entry::EntryBody, statement::Body, vocabulary::UnknownCode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// The type of an entry, or of the statement in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(&'static str);

impl Kind {
    /// Every type.
    pub const ALL: [&'static str; 30] = [
        "founded",
        "bundle_activated",
        "invited",
        "enrolled",
        "revoked",
        "request",
        "answer",
        "receipt",
        "renewal",
        "consent",
        "withdrawal",
        "agreement",
        "agreement_signature",
        "agreement_change",
        "case_opening",
        "case_advance",
        "override_review",
        "refused",
        "decided",
        "offered",
        "stopped",
        "recalled",
        "withdrawal_carried_out",
        "expired",
        "handles_evaluated",
        "sealed",
        "bundle_proposed",
        "bundle_endorsement",
        "supersedes",
        "resumption",
    ];

    /// That of an entry; for what an agency said see [`Kind::said`].
    pub const fn of(body: &EntryBody) -> Self {
        Self(body.code())
    }

    /// That of a statement.
    pub const fn said(body: &Body) -> Self {
        Self(match body {
            Body::Request(_) => "request",
            Body::Answer(_) => "answer",
            Body::Receipt(_) => "receipt",
            Body::Renewal(_) => "renewal",
            Body::Consent(_) => "consent",
            Body::Withdrawal(_) => "withdrawal",
            Body::Agreement(_) => "agreement",
            Body::AgreementSignature(_) => "agreement_signature",
            Body::AgreementChange(_) => "agreement_change",
            Body::CaseOpening(_) => "case_opening",
            Body::CaseAdvance(_) => "case_advance",
            Body::BundleEndorsement(_) => "bundle_endorsement",
            Body::OverrideReview(_) => "override_review",
            Body::Resumption(_) => "resumption",
        })
    }

    /// The code.
    pub const fn code(self) -> &'static str {
        self.0
    }
}

impl FromStr for Kind {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let known = Self::ALL.into_iter().find(|code| *code == text);
        known.map(Self).ok_or_else(|| UnknownCode {
            vocabulary: "entry type",
            known: Self::ALL.join(", "),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_can_be_searched_for_by_its_type() {
        // What an agency said is searched for by what it said.
        for code in EntryBody::CODES.into_iter().filter(|code| *code != "said") {
            assert_eq!(code.parse::<Kind>().map(Kind::code), Ok(code));
        }
    }
}
