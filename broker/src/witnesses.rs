//! Witness rounds: a signed checkpoint goes to every connected agent, and counts once a quorum
//! has cosigned it.
//!
//! One round at a time: its checkpoint stays until the quorum is met, then the newest takes its
//! place, so that a busy log can't keep a round from ending. A cosignature that comes after the
//! quorum still counts for its own agency: an agent acts only on checkpoints that its own witness
//! has cosigned, and gets the newest one of those.

use crate::{error::BrokerError, ledger::View};
use passerelle_audit::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    cosignature,
    note::{NoteSignature, SignatureType, Signer, VerifierKey, parse_signature_lines},
    witness::quorum,
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::{AgencyId, FederationId, witness_name},
    state,
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Rounds whose late cosignatures still count.
const REMEMBERED_ROUNDS: usize = 64;

/// A checkpoint that a quorum has cosigned, with one particular agency among the cosigners, or
/// with all that came so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Entries that it covers.
    pub size: u64,
    /// The note.
    pub note: Arc<passerelle_audit::note::Note>,
}

struct Round {
    signed: SignedCheckpoint,
    cosigners: Vec<AgencyId>,
    /// The quorum of those who were members in the last entry that it covers.
    needed: usize,
    has_quorum: bool,
}

#[derive(Default)]
struct State {
    members: BTreeMap<AgencyId, VerifierKey>,
    /// Index after the last membership entry that `members` follows from.
    next_member: u64,
    rounds: VecDeque<Round>,
    published: Option<Cosigned>,
    /// The newest checkpoint with a quorum that each agency has itself cosigned.
    own: HashMap<AgencyId, Cosigned>,
    /// Members that say they have cosigned more entries than there are here.
    saw_more: BTreeMap<AgencyId, u64>,
}

/// The rounds of one log.
pub struct Witnesses {
    federation: FederationId,
    signer: Signer,
    view: View,
    state: Mutex<State>,
    tell: watch::Sender<u64>,
}

/// What an agent is asked to cosign.
pub struct Offer {
    /// From this size.
    pub old_size: u64,
    /// The consistency proof.
    pub proof: Vec<Digest>,
    /// The signed checkpoint, as a note.
    pub checkpoint: String,
    /// Its size.
    pub size: u64,
}

impl Witnesses {
    /// The rounds of the log in `view`.
    pub fn new(federation: FederationId, signer: Signer, view: View) -> Result<Self, BrokerError> {
        let (tell, _) = watch::channel(0);
        let witnesses = Self {
            federation,
            signer,
            view,
            state: Mutex::new(State::default()),
            tell,
        };
        witnesses.reload_members()?;
        Ok(witnesses)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever there is something new to offer or to deliver.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.tell.subscribe()
    }

    /// Reads the members again. A round that has no quorum yet is given up: what counts for a
    /// checkpoint is who was a member in the last entry that it covers, so the change needs a
    /// checkpoint that covers it.
    pub fn reload_members(&self) -> Result<(), BrokerError> {
        // Locked before reading: of two that reload at once the one that read last must write last.
        let mut state = self.state();
        let projection = self.view.projection.as_ref();
        // In this order: a change between the two reads is seen again, never missed.
        let last = state::membership(projection, 0, usize::MAX)?
            .last()
            .copied();
        let agencies = state::agencies(projection)?;
        let mut members = BTreeMap::new();
        for agency in agencies.into_iter().filter(|a| a.active) {
            let name = witness_name(&self.federation, &agency.agency);
            let key = VerifierKey::new(&name, SignatureType::CosignatureV1, agency.keys.witness)?;
            members.insert(agency.agency, key);
        }
        let former = std::mem::replace(&mut state.members, members);
        let State {
            members,
            rounds,
            own,
            ..
        } = &mut *state;
        // With another key an agency is another witness: what the former key cosigned is not its
        // own, and it is asked anew.
        let stays = |a: &AgencyId| members.contains_key(a) && members.get(a) == former.get(a);
        for round in rounds {
            round.cosigners.retain(stays);
        }
        own.retain(|a, _| stays(a));
        state.next_member = last.map_or(0, |index| index.saturating_add(1));
        let next_member = state.next_member;
        let covers = |round: &Round| next_member <= round.signed.checkpoint().size();
        if state
            .rounds
            .back()
            .is_some_and(|r| !r.has_quorum && !covers(r))
        {
            state.rounds.pop_back();
        }
        drop(state);
        self.poke();
        Ok(())
    }

    /// Starts a round over the newest entries, if none is running and there is something new.
    pub fn start_round(&self) -> Result<(), BrokerError> {
        let mut state = self.state();
        if state.is_old_copy() || state.rounds.back().is_some_and(|r| !r.has_quorum) {
            return Ok(());
        }
        let (size, root) = {
            let tree = self.view.tree();
            (tree.size(), tree.root())
        };
        // A batch is between the two, or has changed the members since they were read: the
        // progress that it reports brings us here again.
        let projection = self.view.projection.as_ref();
        if projection.watermark() != size
            || !state::membership(projection, state.next_member, 1)?.is_empty()
        {
            return Ok(());
        }
        let newest = state
            .rounds
            .back()
            .map_or(0, |r| r.signed.checkpoint().size());
        if size <= newest {
            return Ok(());
        }
        let origin = self.signer.verifier_key().name();
        let signed = Checkpoint::new(origin, size, root)?.sign(&self.signer)?;
        let needed = quorum(state.members.len());
        state.rounds.push_back(Round {
            signed,
            cosigners: Vec::new(),
            needed,
            has_quorum: false,
        });
        if state.rounds.len() > REMEMBERED_ROUNDS {
            state.rounds.pop_front();
        }
        drop(state);
        self.poke();
        Ok(())
    }

    /// Makes the watchers look again.
    pub fn poke(&self) {
        self.tell.send_modify(|n| *n += 1);
    }

    /// What `agency`, whose witness stands at `from`, should cosign next: the running round or the
    /// last one, unless it has done so.
    pub fn offer(&self, agency: &AgencyId, from: u64) -> Option<Offer> {
        let state = self.state();
        let round = state.rounds.back()?;
        let size = round.signed.checkpoint().size();
        if size < from || round.cosigners.contains(agency) {
            return None;
        }
        let proof = if from == 0 || from == size {
            Vec::new()
        } else {
            self.view.tree().consistency_proof(from, size).ok()?
        };
        Some(Offer {
            old_size: from,
            proof,
            checkpoint: round.signed.note().to_string(),
            size,
        })
    }

    /// Takes a cosignature.
    pub fn cosigned(&self, agency: &AgencyId, size: u64, line: &str) -> Result<(), ErrorCode> {
        let signature = signature_line(line)?;
        let mut state = self.state();
        let key = state
            .members
            .get(agency)
            .cloned()
            .ok_or(ErrorCode::Revoked)?;
        let round = state
            .rounds
            .iter_mut()
            .find(|r| r.signed.checkpoint().size() == size)
            .ok_or(ErrorCode::OutOfRange)?;
        if round.cosigners.contains(agency) {
            return Ok(());
        }
        cosignature::add(&mut round.signed, &key, signature)
            .map_err(|_| ErrorCode::BadSignature)?;
        round.cosigners.push(agency.clone());
        drop(state);
        self.settle();
        Ok(())
    }

    /// Publishes what has a quorum.
    fn settle(&self) {
        let mut state = self.state();
        let State {
            rounds,
            published,
            own,
            ..
        } = &mut *state;
        for round in rounds {
            round.has_quorum |= round.cosigners.len() >= round.needed;
            if !round.has_quorum {
                continue;
            }
            let size = round.signed.checkpoint().size();
            let cosigned = Cosigned {
                size,
                note: Arc::new(round.signed.note().clone()),
            };
            if published.as_ref().is_none_or(|p| p.size <= size) {
                *published = Some(cosigned.clone());
            }
            for agency in &round.cosigners {
                if own.get(agency).is_none_or(|o| o.size < size) {
                    own.insert(agency.clone(), cosigned.clone());
                }
            }
        }
        drop(state);
        self.poke();
    }

    /// The newest checkpoint with a quorum that `agency` has cosigned itself.
    pub fn deliverable(&self, agency: &AgencyId) -> Option<Cosigned> {
        self.state().own.get(agency).cloned()
    }

    /// The newest checkpoint with a quorum.
    pub fn published(&self) -> Option<Cosigned> {
        self.state().published.clone()
    }

    /// How many witnesses there are, and how many of them make a quorum.
    pub fn counts(&self) -> (usize, usize) {
        let members = self.state().members.len();
        (members, quorum(members))
    }

    /// A witness says that it has cosigned a longer log than this one.
    ///
    /// Once so many say so that no quorum is left without them, this is an old copy, and nothing
    /// is signed (AUDIT, "On restart the broker refuses to sign"). One member that lies can't
    /// stop the log by this: it could as well not cosign.
    pub fn saw_more(&self, agency: &AgencyId, size: u64) {
        let held = self.view.tree().size();
        if size <= held {
            self.state().saw_more.remove(agency);
            return;
        }
        tracing::error!(
            %agency, seen = size, held,
            "a witness says that it has cosigned a longer log: this may be an old copy"
        );
        self.state().saw_more.insert(agency.clone(), size);
    }

    /// Who saw how much more than there is, if so many did that nothing is signed.
    pub fn rolled_back(&self) -> Option<(AgencyId, u64)> {
        let state = self.state();
        let first = state.saw_more.iter().next().map(|(a, s)| (a.clone(), *s));
        first.filter(|_| state.is_old_copy())
    }
}

impl State {
    fn is_old_copy(&self) -> bool {
        let doubting = self
            .saw_more
            .keys()
            .filter(|a| self.members.contains_key(a))
            .count();
        doubting > 0 && self.members.len() < quorum(self.members.len()).saturating_add(doubting)
    }
}

fn signature_line(line: &str) -> Result<NoteSignature, ErrorCode> {
    let mut lines =
        parse_signature_lines(&format!("{line}\n")).map_err(|_| ErrorCode::Malformed)?;
    match (lines.pop(), lines.is_empty()) {
        (Some(signature), true) => Ok(signature),
        _ => Err(ErrorCode::Malformed),
    }
}
