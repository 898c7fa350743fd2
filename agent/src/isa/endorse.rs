//! What a person signs who signs an agreement for a party, away from any node.
//!
//! In scope: the two small files that travel, checked on reading; what they have to do with each
//! other. Out of scope: keys in files, and showing the terms ([`super::print`]).

use passerelle_audit::{dsse, keys::SigningKey};
use passerelle_model::{
    bytes::{Digest, PublicKey, Signature},
    canonical,
    error::ErrorCode,
    ids::{AgencyId, AgreementId, FederationId},
    statement::{AgreementTerms, ENDORSEMENT_TYPE, Endorsed, Endorsement},
};
use serde::{Deserialize, Serialize};

/// Largest file, in bytes: terms fit an entry of the log.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// What is to be signed, as a node of the party writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToSign {
    /// Where it counts.
    pub federation: FederationId,
    /// For which party.
    pub agency: AgencyId,
    /// What.
    pub terms: AgreementTerms,
}

/// What was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Which agreement.
    pub agreement: AgreementId,
    /// For which party.
    pub agency: AgencyId,
    /// Digest of the terms.
    pub terms: Digest,
    /// By which key.
    pub key: PublicKey,
    /// Over [`Endorsed`].
    pub signature: Signature,
}

impl ToSign {
    /// What the signature is over.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`]: does not happen for terms that were read.
    pub fn endorsed(&self) -> Result<Endorsed, ErrorCode> {
        Ok(Endorsed {
            federation: self.federation.clone(),
            agency: self.agency.clone(),
            agreement: self.terms.agreement.clone(),
            terms: canonical::digest(&self.terms).map_err(|_| ErrorCode::Internal)?,
        })
    }

    /// Signs it.
    ///
    /// # Errors
    /// As [`ToSign::endorsed`].
    pub fn sign(&self, key: &SigningKey) -> Result<Signed, ErrorCode> {
        let endorsed = self.endorsed()?;
        let payload = endorsed.to_bytes().map_err(|_| ErrorCode::Internal)?;
        Ok(Signed {
            agreement: endorsed.agreement,
            agency: endorsed.agency,
            terms: endorsed.terms,
            key: key.public_key(),
            signature: dsse::sign(key, ENDORSEMENT_TYPE, &payload),
        })
    }
}

impl From<Signed> for Endorsement {
    fn from(signed: Signed) -> Self {
        Self {
            key: signed.key,
            signature: signed.signature,
        }
    }
}
