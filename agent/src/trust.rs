//! Whom this agent believes: the log's key, the broker's permit key, and the members with their
//! keys.
//!
//! Members come from `enrolled` and `revoked` entries of the log. Those are believed if they are
//! in a tree that the log signed and **this agent's own witness** cosigned: a quorum can't be
//! asked for before it is known who the witnesses are. Everything else needs the quorum.
//! Out of scope: k-of-n signatures of members under a change of membership.

use crate::{
    rules::{self, Rules},
    state,
};
use passerelle_audit::{
    note::{Note, SignatureType, VerifierKey},
    tlog_proof::{TlogProofError, Witnessed},
    witness,
};
use passerelle_model::{
    bytes::PublicKey,
    ids::{AgencyId, FederationId, witness_name},
    panel::Panel,
    statement::AgencyKeys,
    store::{Read, StoreError},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
    /// How many members witness for all.
    pub panel: Panel,
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
    /// Index of the entry since which it has been a member without a break.
    pub since: u64,
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
    quorum: usize,
    rules: Rules,
    /// Checkpoints that were believed by these members, the newest last.
    believed: Arc<Mutex<VecDeque<Believed>>>,
}

/// Notices of one round come with one checkpoint, and of two rounds mixed at most.
const REMEMBERED_CHECKPOINTS: usize = 8;

#[derive(Debug)]
struct Believed {
    own_only: bool,
    witnessed: Arc<Witnessed>,
}

impl Trust {
    /// With these members.
    pub fn new(anchors: Anchors, members: BTreeMap<AgencyId, Member>) -> Self {
        let active = members.iter().filter(|(_, member)| member.active);
        let panel = anchors
            .panel
            .seats(active.map(|(agency, member)| (member.since, (agency, member.keys.witness))));
        // A key of small order verifies nothing: leaving it out of the keys but in the count
        // makes the quorum harder to reach, never easier.
        let quorum = witness::quorum(panel.len());
        let witnesses = panel
            .into_iter()
            .filter_map(|(agency, key)| witness_key(&anchors.federation, agency, key))
            .collect();
        Self {
            anchors,
            members,
            witnesses,
            quorum,
            rules: Rules::default(),
            believed: Arc::default(),
        }
    }

    /// With these rules in force.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The rules in force, by this agent's own count.
    pub fn rules(&self) -> &Rules {
        &self.rules
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
                    since: row.since,
                };
                (agency, member)
            })
            .collect();
        Ok(Self::new(anchors.clone(), members).with_rules(rules::rules(view)?))
    }

    /// The member, active or not.
    pub fn member(&self, agency: &AgencyId) -> Option<&Member> {
        self.members.get(agency)
    }

    /// The member if it is one now.
    pub fn active(&self, agency: &AgencyId) -> Option<&Member> {
        self.member(agency).filter(|member| member.active)
    }

    /// The witnesses that count: the panel.
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// The checkpoint in `note`, if the log signed it and this agency's own witness cosigned it,
    /// by the own key whatever the log says of this agency; unless `own_only`, if a quorum of the
    /// panel did besides.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn believe(&self, note: &Note, own_only: bool) -> Result<Arc<Witnessed>, TlogProofError> {
        if let Some(known) = self.known(note, own_only) {
            return Ok(known);
        }
        let Anchors {
            log, own_witness, ..
        } = &self.anchors;
        let own = || Witnessed::verify(note.clone(), log, std::slice::from_ref(own_witness), 1);
        let witnessed = if own_only {
            own()?
        } else {
            let all = Witnessed::verify(note.clone(), log, &self.witnesses, self.quorum)?;
            if !all.is_cosigned_by(own_witness) {
                own()?;
            }
            all
        };
        let witnessed = Arc::new(witnessed);
        let mut believed = self.believed();
        believed.push_back(Believed {
            own_only,
            witnessed: Arc::clone(&witnessed),
        });
        if believed.len() > REMEMBERED_CHECKPOINTS {
            believed.pop_front();
        }
        Ok(witnessed)
    }

    fn known(&self, note: &Note, own_only: bool) -> Option<Arc<Witnessed>> {
        let believed = self.believed();
        let same = |b: &&Believed| b.own_only == own_only && b.witnessed.note() == note;
        let found = believed.iter().rev().find(same);
        found.map(|b| Arc::clone(&b.witnessed))
    }

    fn believed(&self) -> MutexGuard<'_, VecDeque<Believed>> {
        // A panic between the two changes above leaves one checkpoint too many.
        self.believed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of them must have cosigned.
    pub fn quorum(&self) -> usize {
        self.quorum
    }
}

/// The trust of the present members, kept until they change.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Option<(u64, Arc<Trust>)>>);

impl Kept {
    /// As [`Trust::load`], from memory if no membership entry came since.
    ///
    /// # Errors
    /// The store fails.
    pub fn load(&self, anchors: &Anchors, view: &dyn Read) -> Result<Arc<Trust>, StoreError> {
        // Members and rules change by the notices for all alone, and each moves this cursor.
        let version = state::meta(view)?.next_member;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, trust)) = &*kept
            && *of == version
        {
            return Ok(Arc::clone(trust));
        }
        let trust = Arc::new(Trust::load(anchors, view)?);
        *kept = Some((version, Arc::clone(&trust)));
        Ok(trust)
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
