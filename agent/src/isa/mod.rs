//! The document of an information sharing agreement: everything that its parties agree on, of which
//! the terms in the log are the part that decides.
//!
//! In scope: the record, its digest, the terms that follow from it; reading a draft ([`read`]);
//! the readable text ([`mod@print`]). Out of scope: storage and log ([`crate::agreements`]).
//!
//! The document never crosses the broker, which is to see no free text. The parties hand each other
//! the file; each signs terms that hold its digest, and a node signs only after it has found in the
//! file the text of that digest and exactly those terms. The digest is over the canonical form
//! (RFC 8785) of what the file says: comments, order and line endings of the file do not count.

pub mod endorse;
pub mod print;
mod raw;
pub mod read;
#[cfg(test)]
mod tests;

use passerelle_model::{
    bytes::{Digest, PublicKey},
    canonical::{self, CanonicalError},
    ids::{AgencyId, AgreementId},
    statement::{AgreementLine, AgreementParty, AgreementTerms, Edition, Signatories},
    time::Timestamp,
    vocabulary::{Language, LegalBasis, Purpose},
};
use serde::{Deserialize, Serialize};

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: usize = 128 * 1024;

/// A draft with everything in it, and what each part is for.
pub const TEMPLATE: &str = include_str!("template.toml");

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// English.
    pub en: String,
    /// French.
    pub fr: String,
}

impl Text {
    /// French in French, English in any other language.
    pub fn says(&self, language: Language) -> &str {
        match language {
            Language::French => &self.fr,
            _ => &self.en,
        }
    }
}

/// Whether facts are shared once or as needed until the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frequency {
    /// Once.
    OneOff,
    /// As needed.
    Ongoing,
}

/// A party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// As it is called in the federation.
    pub agency: AgencyId,
    /// As it is called in law.
    pub name: Text,
    /// What it does, as far as it matters here.
    pub function: Text,
    /// On which basis it shares.
    pub basis: LegalBasis,
    /// Who signs for it.
    pub signatory: Signatory,
    /// The people who sign with keys of their own, if the key of its node is not enough. Left out
    /// of the canonical form otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signers: Option<Signers>,
}

/// The people of a party of whom so many must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signers {
    /// How many.
    pub needed: u16,
    /// Who can.
    pub people: Vec<Signer>,
}

/// One who signs with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// The office rather than the person.
    pub office: Text,
    /// Ed25519.
    pub key: PublicKey,
}

/// A person who signs for a party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signatory {
    /// The name.
    pub name: String,
    /// The office.
    pub office: Text,
}

/// What the parties agree on in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// What the sharing is for.
    pub purpose: Text,
    /// What a recipient may pass on, and to whom.
    pub onward: Text,
    /// How facts are kept safe.
    pub security: Text,
    /// How they are destroyed when the days of each category are over.
    pub retention: Text,
    /// What the assessment of the impact on privacy found.
    pub assessment: Text,
    /// How a party leaves.
    pub withdrawal: Text,
}

/// Whom to write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// An office rather than a person.
    pub office: Text,
    /// How to reach it.
    pub reach: String,
}

/// The one door for people's rights, and the one for breaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contacts {
    /// For the person concerned: access, correction, withdrawal.
    pub rights: Contact,
    /// For the parties: a breach.
    pub breach: Contact,
}

/// The whole agreement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Its title.
    pub title: Text,
    /// The version that it follows.
    pub supersedes: Option<AgreementId>,
    /// Once or as needed.
    pub frequency: Frequency,
    /// In force from.
    pub starts_at: Timestamp,
    /// Due for review.
    pub review_at: Timestamp,
    /// In force until.
    pub ends_at: Timestamp,
    /// What for.
    pub purposes: Vec<Purpose>,
    /// Who.
    pub parties: Vec<Party>,
    /// What may go where.
    pub lines: Vec<AgreementLine>,
    /// In words.
    pub texts: Texts,
    /// Whom to write to.
    pub contacts: Contacts,
}

impl Document {
    /// The canonical form.
    ///
    /// # Errors
    /// Does not happen for values of this type.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// Reads the canonical form.
    ///
    /// # Errors
    /// It is not one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        canonical::from_slice(bytes)
    }

    /// The digest that the terms hold.
    ///
    /// # Errors
    /// As [`Document::to_bytes`].
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        canonical::digest(self)
    }

    /// The terms that follow from it, as version `version` under this id.
    ///
    /// # Errors
    /// As [`Document::to_bytes`].
    pub fn terms(
        &self,
        agreement: AgreementId,
        version: u16,
    ) -> Result<AgreementTerms, CanonicalError> {
        let party = |party: &Party| AgreementParty {
            agency: party.agency.clone(),
            basis: party.basis,
        };
        let signatories = |party: &Party| {
            let signers = party.signers.as_ref()?;
            Some(Signatories {
                agency: party.agency.clone(),
                needed: signers.needed,
                keys: signers.people.iter().map(|person| person.key).collect(),
            })
        };
        Ok(AgreementTerms {
            signatories: self.parties.iter().filter_map(signatories).collect(),
            agreement,
            edition: Edition {
                version,
                supersedes: self.supersedes.clone(),
                document: Some(self.digest()?),
            },
            parties: self.parties.iter().map(party).collect(),
            purposes: self.purposes.clone(),
            lines: self.lines.clone(),
            starts_at: self.starts_at,
            review_at: self.review_at,
            ends_at: self.ends_at,
        })
    }
}
