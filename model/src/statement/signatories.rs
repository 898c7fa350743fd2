//! Who signs an agreement for a party: k of n people, each with a key of his or her own.
//!
//! In scope: what the terms say of them, what each signs, whether enough have. One set of functions
//! for the broker, which decides; for every agent, which counts for itself; and for who verifies an
//! export. Out of scope: who they are (an office stands in the text of the agreement, which never
//! crosses the broker), where they keep their keys.

use super::{AgreementParty, AgreementTerms, signed_bytes};
use crate::{
    bytes::{Digest, PublicKey, Signature},
    canonical::{self, CanonicalError},
    error::ErrorCode,
    ids::{AgencyId, AgreementId, FederationId},
};
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// DSSE payload type of what a signatory signs. Another than that of statements: neither passes for
/// the other, whoever holds which key.
pub const ENDORSEMENT_TYPE: &str = "application/vnd.passerelle.agreement-endorsement.v1+json";

/// Most signatories of one party.
pub const MAX_SIGNATORIES: usize = 16;

/// Most signatories of all parties together: what fits an entry beside the lines.
pub const MAX_ALL_SIGNATORIES: usize = 64;

/// Most endorsements in one signature: those of a party by the terms, and by those before.
pub const MAX_ENDORSEMENTS: usize = 2 * MAX_SIGNATORIES;

/// Who signs for one party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signatories {
    /// The party.
    pub agency: AgencyId,
    /// How many of them must sign: 1 to as many as there are.
    pub needed: u16,
    /// Their Ed25519 keys, each once.
    pub keys: Vec<PublicKey>,
}

/// What a signatory signs, as canonical JSON in the encoding of DSSE: this agreement by the digest
/// of its terms, for this party, in this federation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsed {
    /// Where it counts.
    pub federation: FederationId,
    /// For which party.
    pub agency: AgencyId,
    /// Which agreement.
    pub agreement: AgreementId,
    /// Digest of the canonical terms.
    pub terms: Digest,
}

/// The signature of one signatory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// By which key.
    pub key: PublicKey,
    /// Ed25519 over [`Endorsed`].
    pub signature: Signature,
}

impl Endorsed {
    /// The bytes that are signed, without the encoding of DSSE around them.
    ///
    /// # Errors
    /// None that this type can lead to.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// Whether `endorsement` is a signature over this by the key that it names. Strict: see RFC
    /// 8032, section 5.1.7; a key of small order signs nothing.
    pub fn is_signed_by(&self, endorsement: &Endorsement) -> bool {
        let Ok(payload) = self.to_bytes() else {
            return false;
        };
        let signed = signed_bytes(ENDORSEMENT_TYPE, &payload);
        let signature = ed25519_dalek::Signature::from_bytes(&endorsement.signature.0);
        key(&endorsement.key).is_some_and(|key| key.verify_strict(&signed, &signature).is_ok())
    }

    /// Whether these endorsements are enough for each of `rules`: for who signs by the terms, and
    /// for who signed by those before. One by a key that no rule names counts for nothing: a party
    /// that is new does not know who signed before.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`] for more than there can be; [`ErrorCode::Duplicate`] for two by
    /// one key; [`ErrorCode::BadSignature`] if one by a key that is named is none;
    /// [`ErrorCode::SignatoriesMissing`] if there are fewer than needed.
    pub fn check(
        &self,
        rules: &[&Signatories],
        endorsements: &[Endorsement],
    ) -> Result<(), ErrorCode> {
        if endorsements.len() > MAX_ENDORSEMENTS {
            return Err(ErrorCode::OutOfRange);
        }
        let mut by = BTreeSet::new();
        for endorsement in endorsements {
            if !by.insert(endorsement.key) {
                return Err(ErrorCode::Duplicate);
            }
            let is_named = rules
                .iter()
                .any(|rule| rule.keys.contains(&endorsement.key));
            if is_named && !self.is_signed_by(endorsement) {
                return Err(ErrorCode::BadSignature);
            }
        }
        let enough = |rule: &&Signatories| {
            let signed = rule.keys.iter().filter(|key| by.contains(*key)).count();
            signed >= usize::from(rule.needed)
        };
        match rules.iter().all(enough) {
            true => Ok(()),
            false => Err(ErrorCode::SignatoriesMissing),
        }
    }
}

/// Whether somebody can sign with this key: a point of the curve, and not of small order.
pub fn can_sign(by: &PublicKey) -> bool {
    key(by).is_some()
}

fn key(key: &PublicKey) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(&key.0).ok()?;
    (!key.is_weak()).then_some(key)
}

impl AgreementTerms {
    /// Who signs for `agency`; none if its node's own key is enough.
    pub fn signatories_of(&self, agency: &AgencyId) -> Option<&Signatories> {
        self.signatories.iter().find(|s| s.agency == *agency)
    }

    /// Whether what the terms say of signatories can be: of parties, each once; as many needed as
    /// there can be; keys with which one can sign, each for one party and once.
    pub fn has_sound_signatories(&self) -> bool {
        let is_party = |s: &Signatories| {
            let mut parties = self.parties.iter();
            parties.any(|party: &AgreementParty| party.agency == s.agency)
        };
        let is_sound = |s: &Signatories| {
            is_party(s)
                && (1..=s.keys.len()).contains(&usize::from(s.needed))
                && s.keys.len() <= MAX_SIGNATORIES
                && s.keys.iter().all(can_sign)
        };
        let all = &self.signatories;
        let agencies: BTreeSet<_> = all.iter().map(|s| &s.agency).collect();
        let named: usize = all.iter().map(|s| s.keys.len()).sum();
        let keys: BTreeSet<_> = all.iter().flat_map(|s| &s.keys).collect();
        named <= MAX_ALL_SIGNATORIES
            && agencies.len() == all.len()
            && keys.len() == named
            && all.iter().all(is_sound)
    }

    /// Whether every party that had signatories by the terms before, and is one still, has some: or
    /// its node alone could take them away.
    pub fn keeps_signatories_of(&self, earlier: &Self) -> bool {
        let is_party = |agency: &AgencyId| self.parties.iter().any(|p| p.agency == *agency);
        earlier
            .signatories
            .iter()
            .all(|s| !is_party(&s.agency) || self.signatories_of(&s.agency).is_some())
    }
}
