//! Salted commitments: what stands in a public entry in place of a private field.
//!
//! `SHA-256(tag || 32-byte random || u64be length || data)`. The random is fresh for each field,
//! so equal values don't show as equal, and a destroyed opening can't be found again by trying
//! likely values.

use crate::bytes::{Bytes, Commitment};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Which field a commitment stands for. Part of the hash, so that the opening of one field can't
/// pass as that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The subject handle.
    Subject,
    /// The worker's id within the agency.
    Worker,
    /// The requester's free text.
    Justification,
    /// What came of a request: released, declined, cannot say.
    Outcome,
    /// Written evidence of a consent.
    Evidence,
    /// How many entries reached an agency.
    Counts,
}

impl Field {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Subject => b"passerelle/v1/subject",
            Self::Worker => b"passerelle/v1/worker",
            Self::Justification => b"passerelle/v1/justification",
            Self::Outcome => b"passerelle/v1/outcome",
            Self::Evidence => b"passerelle/v1/evidence",
            Self::Counts => b"passerelle/v1/counts",
        }
    }
}

/// What opens a commitment. Private: it travels and lives beside a statement, never in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The field.
    pub field: Field,
    /// The 32 random bytes.
    pub random: crate::bytes::Nonce,
    /// The value.
    pub data: Bytes,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opening({:?})", self.field)
    }
}

impl Opening {
    /// The commitment that this opens.
    pub fn commitment(&self) -> Commitment {
        let mut hash = Sha256::new();
        hash.update(self.field.tag());
        hash.update(self.random.0);
        hash.update((self.data.0.len() as u64).to_be_bytes());
        hash.update(&self.data.0);
        Commitment(hash.finalize().into())
    }

    /// Whether this opens `commitment`.
    pub fn opens(&self, commitment: &Commitment) -> bool {
        self.commitment().0.ct_eq(&commitment.0).into()
    }
}

/// The opening of `field` among `openings`, if it opens `commitment`.
pub fn find<'a>(
    openings: &'a [Opening],
    field: Field,
    commitment: &Commitment,
) -> Option<&'a Opening> {
    openings
        .iter()
        .find(|o| o.field == field && o.opens(commitment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Nonce;

    fn opening(field: Field, random: u8, data: &[u8]) -> Opening {
        Opening {
            field,
            random: Nonce([random; 32]),
            data: Bytes(data.to_vec()),
        }
    }

    #[test]
    fn a_commitment_binds_field_random_and_data() {
        let base = opening(Field::Subject, 1, b"x");
        assert!(base.opens(&base.commitment()));
        for other in [
            opening(Field::Worker, 1, b"x"),
            opening(Field::Subject, 2, b"x"),
            opening(Field::Subject, 1, b"y"),
            opening(Field::Subject, 1, b"x\0"),
        ] {
            assert!(!other.opens(&base.commitment()));
        }
    }
}
