//! Whom this agent believes: the log's key, the broker's permit key, and the members with their
//! keys.
//!
//! Members come from `enrolled` and `revoked` entries of the log. Those are believed if they are
//! in a tree that the log signed and **this agent's own witness** cosigned: a quorum can't be
//! asked for before it is known who the witnesses are. Everything else needs the quorum.
//! Out of scope: k-of-n signatures of members under a change of membership.

use crate::state;
use passerelle_audit::{
    note::{SignatureType, VerifierKey},
    witness,
};
use passerelle_model::{
    bytes::PublicKey,
    ids::{AgencyId, FederationId, witness_name},
    statement::AgencyKeys,
    store::{Read, StoreError},
};
use std::collections::BTreeMap;

/// What enrolment fixed: the trust anchors of one membership.
#[derive(Clone, Debug)]
pub struct Anchors {
    /// The federation.
    pub federation: FederationId,
    /// This agency.
    pub agency: AgencyId,
    /// The log's verifier key.
    pub log: VerifierKey,
    /// The key of permits.
    pub permit: PublicKey,
    /// This agency's own witness.
    pub own_witness: VerifierKey,
}

/// A member.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its keys.
    pub keys: AgencyKeys,
    /// Earlier signing keys.
    pub former: Vec<PublicKey>,
    /// Whether it is a member now.
    pub active: bool,
    /// Certificate serial, hexadecimal.
    pub certificate: String,
    /// Index of the entry by which it joined.
    pub joined: u64,
}

impl Member {
    /// Whether the public key is, or once was, its signing key.
    pub fn signing_keys(&self) -> impl Iterator<Item = &PublicKey> {
        std::iter::once(&self.keys.signing).chain(&self.former)
    }
}

/// Anchors and members at one point of the log.
#[derive(Clone, Debug)]
pub struct Trust {
    /// What enrolment fixed.
    pub anchors: Anchors,
    members: BTreeMap<AgencyId, Member>,
    witnesses: Vec<VerifierKey>,
}

impl Trust {
    /// With these members.
    pub fn new(anchors: Anchors, members: BTreeMap<AgencyId, Member>) -> Self {
        // A key of small order verifies nothing: leaving it out of the keys but in the count
        // makes the quorum harder to reach, never easier.
        let witnesses = members
            .iter()
            .filter(|(_, member)| member.active)
            .filter_map(|(agency, member)| {
                witness_key(&anchors.federation, agency, member.keys.witness)
            })
            .collect();
        Self {
            anchors,
            members,
            witnesses,
        }
    }

    /// With the members that the projection knows.
    ///
    /// # Errors
    /// The store fails.
    pub fn load(anchors: &Anchors, view: &dyn Read) -> Result<Self, StoreError> {
        let members = state::members(view)?
            .into_iter()
            .map(|(agency, row)| {
                let member = Member {
                    keys: row.keys,
                    former: row.former,
                    active: row.active,
                    certificate: row.certificate,
                    joined: row.joined,
                };
                (agency, member)
            })
            .collect();
        Ok(Self::new(anchors.clone(), members))
    }

    /// The member, active or not.
    pub fn member(&self, agency: &AgencyId) -> Option<&Member> {
        self.members.get(agency)
    }

    /// The member if it is one now.
    pub fn active(&self, agency: &AgencyId) -> Option<&Member> {
        self.member(agency).filter(|member| member.active)
    }

    /// The witnesses that count.
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// How many of them must have cosigned.
    pub fn quorum(&self) -> usize {
        let active = self.members.values().filter(|m| m.active).count();
        witness::quorum(active)
    }
}

/// The verifier key of an agency's witness.
pub fn witness_key(
    federation: &FederationId,
    agency: &AgencyId,
    key: PublicKey,
) -> Option<VerifierKey> {
    let name = witness_name(federation, agency);
    VerifierKey::new(&name, SignatureType::CosignatureV1, key).ok()
}
