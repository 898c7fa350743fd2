//! Log entries: the public half of every event, and the Merkle leaves.
//!
//! Canonical JSON of codes, identifiers and commitments. `@type` and `@version` sort first. The
//! nonce is random, so that the leaf hash of an entry can't be guessed from its likely content.

use crate::{
    binary::{self, BinaryError},
    bundle::BundleTerms,
    bytes::{Bytes, Commitment, Digest, Nonce, PublicKey},
    canonical::{self, CanonicalError},
    commitment::Opening,
    error::ErrorCode,
    ids::{AgencyId, ConsentId, FederationId, RequestId},
    panel::Panel,
    pdp::ItemRuling,
    permit::Permit,
    statement::{AgencyKeys, Envelope},
    time::Timestamp,
    vocabulary::Sector,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most bytes of an entry: the length field of a C2SP entry bundle has 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// The keys of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerKeys {
    /// Verifier key of checkpoints, in the note format.
    pub checkpoint: String,
    /// Ed25519 key of permits.
    pub permit: PublicKey,
    /// Ristretto255 key of the oblivious function.
    pub oprf: PublicKey,
}

/// Why a request was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// The consent relied on was withdrawn.
    Withdrawn(ConsentId),
    /// Deciding again gave a denial.
    DecidedAgain,
    /// One of the two agencies was revoked.
    Revoked(AgencyId),
    /// The log goes on under a new origin: no permit of the former one counts.
    Superseded,
}

/// So many first entries of a log, and the root over them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeHead {
    /// How many entries.
    pub size: u64,
    /// The root over them (RFC 6962).
    pub root: Digest,
}

/// The log goes on under a new origin, from an older copy of it (decision 0019). All entries before
/// this one are those of the former log, at the same indices: its tree is a prefix of the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supersedes {
    /// Verifier key of the former log, in the note format; its name is the former origin.
    pub former: String,
    /// Verifier key from here on. The same public key, under the next origin (see [`next_origin`]).
    pub key: String,
    /// What was kept of the former log: everything before this entry.
    pub carried: TreeHead,
    /// The largest checkpoint of the former log that anybody is known to have cosigned.
    pub newest: TreeHead,
    /// That checkpoint itself, as a signed note, if somebody had it.
    pub note: Option<String>,
    /// Who is a member from here on, by name. Whoever is not named is shut out.
    pub members: Vec<AgencyId>,
}

/// The origin that follows `origin`: `passerelle/estrie`, `passerelle/estrie/2`,
/// `passerelle/estrie/3`. The name of a federation has no slash.
pub fn next_origin(origin: &str) -> String {
    let parsed = origin
        .rsplit_once('/')
        .and_then(|(stem, last)| Some((stem, last.parse::<u64>().ok()?)))
        // One that is the federation's own name, which may be a number.
        .filter(|(stem, generation)| stem.contains('/') && *generation >= 2);
    match parsed {
        Some((stem, generation)) => format!("{stem}/{}", generation.saturating_add(1)),
        None => format!("{origin}/2"),
    }
}

/// What an entry records. Entries that carry a signed statement record what an agency said;
/// the others record what the broker did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryBody {
    /// The log begins.
    Founded {
        /// The federation.
        federation: FederationId,
        /// The keys of its broker.
        keys: BrokerKeys,
        /// The policy bundle in force.
        bundle: Digest,
        /// How many members witness for all.
        panel: Panel,
    },
    /// A policy bundle is in force from here on.
    BundleActivated {
        /// Its digest.
        bundle: Digest,
    },
    /// A policy bundle is proposed: the agencies are to say whether they endorse it.
    BundleProposed {
        /// The bundle, and the place that it takes.
        terms: BundleTerms,
    },
    /// An agency was invited.
    Invited {
        /// Who.
        agency: AgencyId,
        /// As what.
        sector: Sector,
        /// Digest of the one-time token.
        token: Digest,
        /// Until when.
        expires_at: Timestamp,
    },
    /// An agency joined, or joined again with new keys.
    Enrolled {
        /// Who.
        agency: AgencyId,
        /// With which keys.
        keys: AgencyKeys,
        /// Digest of the invitation's token.
        token: Digest,
        /// Serial number of its TLS certificate, hexadecimal.
        certificate: String,
    },
    /// An agency was shut out.
    Revoked {
        /// Who.
        agency: AgencyId,
    },
    /// An agency said something.
    Said {
        /// Who.
        agency: AgencyId,
        /// The signed statement.
        envelope: Envelope,
    },
    /// A statement was refused: it never became part of the state.
    Refused {
        /// From whom.
        agency: AgencyId,
        /// Why.
        code: ErrorCode,
        /// Digest of the payload.
        statement: Digest,
    },
    /// A request was decided, or decided again.
    Decided {
        /// Which.
        request: RequestId,
        /// The rulings, one per item.
        items: Vec<ItemRuling>,
        /// By which bundle.
        bundle: Digest,
    },
    /// A permit was issued.
    Offered {
        /// The permit.
        permit: Box<Permit>,
    },
    /// A request was stopped.
    Stopped {
        /// Which.
        request: RequestId,
        /// Why.
        cause: StopCause,
    },
    /// A recipient of facts was told that the consent they rested on is withdrawn.
    Recalled {
        /// Which request brought the facts.
        request: RequestId,
        /// Which consent.
        consent: ConsentId,
    },
    /// Every request that rested on what was withdrawn has been stopped or recalled.
    WithdrawalCarriedOut {
        /// Of which consent.
        consent: ConsentId,
    },
    /// A request ran out of time.
    Expired {
        /// Which.
        request: RequestId,
    },
    /// Blinded values were evaluated for an agency.
    HandlesEvaluated {
        /// For whom.
        agency: AgencyId,
        /// How many.
        count: u32,
    },
    /// How many entries reached each agency (see [`crate::seal`]).
    Sealed {
        /// The first index that is counted.
        from: u64,
        /// The first that is not.
        until: u64,
        /// Who may open it: how many there were for it.
        counts: BTreeMap<AgencyId, Commitment>,
    },
    /// The log goes on under a new origin.
    Supersedes(Box<Supersedes>),
}

impl EntryBody {
    /// Every code of this version.
    pub const CODES: [&'static str; 17] = [
        "founded",
        "bundle_activated",
        "invited",
        "enrolled",
        "revoked",
        "said",
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
        "supersedes",
    ];

    /// Whether every agency gets it, in the order of the log: who is a member, and by which rules
    /// all of them work. These notices need the agency's own witness only (see `membership` in the
    /// protocol).
    pub fn is_for_all(&self) -> bool {
        match self {
            Self::Founded { .. }
            | Self::BundleActivated { .. }
            | Self::BundleProposed { .. }
            | Self::Enrolled { .. }
            | Self::Revoked { .. }
            | Self::Supersedes(_) => true,
            Self::Said { envelope, .. } => envelope.is_bundle_endorsement(),
            Self::Invited { .. }
            | Self::Refused { .. }
            | Self::Decided { .. }
            | Self::Offered { .. }
            | Self::Stopped { .. }
            | Self::Recalled { .. }
            | Self::WithdrawalCarriedOut { .. }
            | Self::Expired { .. }
            | Self::HandlesEvaluated { .. }
            | Self::Sealed { .. } => false,
        }
    }

    /// The code of the type.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Founded { .. } => "founded",
            Self::BundleActivated { .. } => "bundle_activated",
            Self::Invited { .. } => "invited",
            Self::Enrolled { .. } => "enrolled",
            Self::Revoked { .. } => "revoked",
            Self::Said { .. } => "said",
            Self::Refused { .. } => "refused",
            Self::Decided { .. } => "decided",
            Self::Offered { .. } => "offered",
            Self::Stopped { .. } => "stopped",
            Self::Recalled { .. } => "recalled",
            Self::WithdrawalCarriedOut { .. } => "withdrawal_carried_out",
            Self::Expired { .. } => "expired",
            Self::HandlesEvaluated { .. } => "handles_evaluated",
            Self::Sealed { .. } => "sealed",
            Self::BundleProposed { .. } => "bundle_proposed",
            Self::Supersedes(_) => "supersedes",
        }
    }
}

/// A log entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The type, as [`EntryBody::code`].
    #[serde(rename = "@type")]
    pub kind: String,
    /// Format version, 1.
    #[serde(rename = "@version")]
    pub version: u8,
    /// When it was sequenced, by the broker's clock.
    pub at: Timestamp,
    /// What it records.
    pub body: EntryBody,
    /// Fresh randomness.
    pub nonce: Nonce,
}

impl Entry {
    /// The canonical bytes: the Merkle leaf.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// Parses strictly; the type must be that of the body.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CanonicalError> {
        let entry: Self = canonical::from_slice(bytes)?;
        if entry.kind != entry.body.code() || entry.version != crate::statement::VERSION {
            return Err(CanonicalError::NotCanonical);
        }
        Ok(entry)
    }
}

/// The private half of an event: what opens the commitments of its entry, and sealed payloads.
/// Written together with the entry, erasable later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// The openings.
    pub openings: Vec<Opening>,
    /// Sealed payloads by name; opaque here.
    pub payloads: BTreeMap<String, Bytes>,
}

impl Sidecar {
    /// Encodes for the journal.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BinaryError> {
        binary::to_vec(self)
    }

    /// Decodes; an empty sidecar has no bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BinaryError> {
        if bytes.is_empty() {
            Ok(Self::default())
        } else {
            binary::from_slice(bytes)
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.openings.is_empty() && self.payloads.is_empty()
    }
}

/// An event: both halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Public.
    pub entry: Entry,
    /// Private.
    pub sidecar: Sidecar,
}

#[cfg(test)]
mod tests {
    use super::next_origin;

    #[test]
    fn origins_follow_each_other_whatever_the_federation_is_called() {
        let second = next_origin("passerelle/estrie");
        assert_eq!(second, "passerelle/estrie/2");
        assert_eq!(next_origin(&second), "passerelle/estrie/3");
        assert_eq!(next_origin("passerelle/estrie/9"), "passerelle/estrie/10");
        assert_eq!(next_origin("passerelle/2026"), "passerelle/2026/2");
        assert_eq!(next_origin("passerelle/2026/2"), "passerelle/2026/3");
        assert_eq!(next_origin("log.test"), "log.test/2");
    }
}
