//! Witness rounds: a signed checkpoint goes to every connected agent, and counts once a quorum
//! has cosigned it.
//!
//! One round at a time: its checkpoint stays until the quorum is met (and so many outside witnesses
//! have cosigned as the operator says must), then the newest takes its
//! place, so that a busy log can't keep a round from ending. The quorum is one of the panel (see
//! [`passerelle_model::panel`]). A cosignature by another member, or one that comes after the
//! quorum, still counts for its own agency: an agent acts only on checkpoints that its own witness
//! has cosigned, and gets the newest one of those.

use crate::{error::BrokerError, ledger::View};
use passerelle_audit::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    cosignature,
    note::{Note, NoteSignature, SignatureType, Signer, VerifierKey, parse_signature_lines},
    witness::quorum,
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::{AgencyId, FederationId, witness_name},
    state,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

mod outside;

/// Rounds whose late cosignatures still count.
const REMEMBERED_ROUNDS: usize = 64;

/// A checkpoint that a quorum has cosigned, with one particular agency among the cosigners, or
/// with all that came so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Entries that it covers.
    pub size: u64,
    /// The note.
    pub note: Arc<Note>,
}

struct Round {
    /// With the cosignatures of the panel.
    signed: SignedCheckpoint,
    /// Cosignatures of members that are not on the panel: each counts for its own agency.
    others: BTreeMap<AgencyId, NoteSignature>,
    cosigners: Vec<AgencyId>,
    /// Who counts: the panel in the last entry that it covers.
    panel: Arc<BTreeSet<AgencyId>>,
    /// Whether a quorum of the panel has cosigned: from then on outside witnesses are asked.
    is_quorate: bool,
    /// The outside witnesses that have cosigned.
    outside: BTreeSet<[u8; 32]>,
    /// Whether it may be published: a quorum, and as many outside witnesses as must be met.
    has_quorum: bool,
}

impl Round {
    fn size(&self) -> u64 {
        self.signed.checkpoint().size()
    }

    /// Whether enough of the panel have cosigned.
    fn is_met(&self) -> bool {
        let on_panel = |a: &&AgencyId| self.panel.contains(*a);
        self.cosigners.iter().filter(on_panel).count() >= quorum(self.panel.len())
    }

    /// Whether this is the moment from which it may be published.
    fn completes(&mut self, outside_required: usize) -> bool {
        let first = !self.has_quorum && self.is_quorate && self.outside.len() >= outside_required;
        self.has_quorum |= first;
        first
    }

    /// The note as `agency` needs it: with its own cosignature.
    fn note_for(&self, agency: &AgencyId) -> Option<Note> {
        let mut note = self.signed.note().clone();
        if let Some(own) = self.others.get(agency) {
            note.add(own.clone()).ok()?;
        }
        Some(note)
    }
}

#[derive(Default)]
struct State {
    members: BTreeMap<AgencyId, VerifierKey>,
    panel: Arc<BTreeSet<AgencyId>>,
    /// Index after the last membership entry that `members` follows from.
    next_member: u64,
    rounds: VecDeque<Round>,
    published: Option<Cosigned>,
    /// The newest checkpoint with a quorum that each agency has itself cosigned.
    own: HashMap<AgencyId, Cosigned>,
    /// Members that say they have cosigned more entries than there are here.
    saw_more: BTreeMap<AgencyId, u64>,
    /// Members whose witness stands within what was signed, and says that it is another log.
    saw_other: BTreeMap<AgencyId, u64>,
    /// The largest size that a witness of this log can have cosigned: what was there when it was
    /// opened, or was signed since.
    signed: u64,
}

/// The rounds of one log.
pub struct Witnesses {
    federation: FederationId,
    signer: Signer,
    view: View,
    /// How many outside witnesses must have cosigned what is published.
    outside_required: usize,
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
        let signed = view.tree().size();
        let witnesses = Self {
            federation,
            signer,
            view,
            outside_required: 0,
            state: Mutex::new(State {
                signed,
                ..State::default()
            }),
            tell,
        };
        witnesses.reload_members()?;
        Ok(witnesses)
    }

    /// Publishes nothing that fewer outside witnesses than these have cosigned.
    #[must_use]
    pub fn requiring_outside(mut self, outside_required: usize) -> Self {
        self.outside_required = outside_required;
        self
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        self.signer.verifier_key().name()
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
        let federation = state::federation(projection)?;
        let seats = federation.map(|f| f.panel).unwrap_or_default();
        let active = agencies.iter().filter(|a| a.active);
        let panel = seats.seats(active.map(|a| (a.since, a.agency.clone())));
        let mut members = BTreeMap::new();
        for agency in agencies.into_iter().filter(|a| a.active) {
            let name = witness_name(&self.federation, &agency.agency);
            let key = VerifierKey::new(&name, SignatureType::CosignatureV1, agency.keys.witness)?;
            members.insert(agency.agency, key);
        }
        state.panel = Arc::new(panel.into_iter().collect());
        let former = std::mem::replace(&mut state.members, members);
        let State {
            members,
            rounds,
            own,
            saw_other,
            ..
        } = &mut *state;
        // With another key an agency is another witness: what the former key cosigned is not its
        // own, and it is asked anew.
        let stays = |a: &AgencyId| members.contains_key(a) && members.get(a) == former.get(a);
        for round in rounds {
            round.cosigners.retain(stays);
            round.others.retain(|agency, _| stays(agency));
        }
        own.retain(|a, _| stays(a));
        saw_other.retain(|a, _| stays(a));
        state.next_member = last.map_or(0, |index| index.saturating_add(1));
        let next_member = state.next_member;
        let covers = |round: &Round| next_member <= round.size();
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
        let newest = state.rounds.back().map_or(0, Round::size);
        if size <= newest {
            return Ok(());
        }
        let origin = self.signer.verifier_key().name();
        let signed = Checkpoint::new(origin, size, root)?.sign(&self.signer)?;
        let panel = state.panel.clone();
        state.signed = size;
        state.rounds.push_back(Round {
            signed,
            others: BTreeMap::new(),
            cosigners: Vec::new(),
            panel,
            is_quorate: false,
            outside: BTreeSet::new(),
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
        let size = round.size();
        if size < from || round.cosigners.contains(agency) {
            return None;
        }
        self.offer_of(from, size, round.signed.note())
    }

    /// The offer of this note to who stands at `from`.
    fn offer_of(&self, from: u64, size: u64, note: &Note) -> Option<Offer> {
        let proof = if from == 0 || from == size {
            Vec::new()
        } else {
            self.view.tree().consistency_proof(from, size).ok()?
        };
        Some(Offer {
            old_size: from,
            proof,
            checkpoint: note.to_string(),
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
            .find(|r| r.size() == size)
            .ok_or(ErrorCode::OutOfRange)?;
        if round.cosigners.contains(agency) {
            return Ok(());
        }
        if round.panel.contains(agency) {
            cosignature::add(&mut round.signed, &key, signature)
                .map_err(|_| ErrorCode::BadSignature)?;
        } else {
            let mut own = round.signed.clone();
            cosignature::add(&mut own, &key, signature.clone())
                .map_err(|_| ErrorCode::BadSignature)?;
            round.others.insert(agency.clone(), signature);
        }
        round.cosigners.push(agency.clone());
        let is_news = !round.is_quorate && round.is_met();
        round.is_quorate |= is_news;
        let first = round.completes(self.outside_required);
        if first {
            state.publish(size);
        } else if round.has_quorum {
            state.publish_late(size, agency);
        }
        state.saw_other.remove(agency);
        drop(state);
        if is_news {
            self.poke();
        }
        Ok(())
    }

    /// The newest checkpoint with a quorum that `agency` has cosigned itself.
    pub fn deliverable(&self, agency: &AgencyId) -> Option<Cosigned> {
        self.state().own.get(agency).cloned()
    }

    /// The newest checkpoint with a quorum.
    pub fn published(&self) -> Option<Cosigned> {
        self.state().published.clone()
    }

    /// The largest size that a witness of this log can have cosigned.
    pub fn signed(&self) -> u64 {
        self.state().signed
    }

    /// How many witnesses count for all, and how many of them make a quorum.
    pub fn counts(&self) -> (usize, usize) {
        let witnesses = self.state().panel.len();
        (witnesses, quorum(witnesses))
    }

    /// Whether `agency` witnesses for all.
    pub fn is_on_panel(&self, agency: &AgencyId) -> bool {
        self.state().panel.contains(agency)
    }

    /// A witness says that it has cosigned a longer log than this one. The length of this one does
    /// not count: an old copy that entered something since is soon as long as what it lost. It is
    /// what was ever signed that a witness can have cosigned.
    ///
    /// Once so many say so that no quorum is left without them, this is an old copy, and nothing
    /// is signed (AUDIT, "On restart the broker refuses to sign"). One member that lies can't
    /// stop the log by this: it could as well not cosign.
    pub fn saw_more(&self, agency: &AgencyId, size: u64) {
        let mut state = self.state();
        let held = state.signed;
        if size <= held {
            state.saw_more.remove(agency);
            return;
        }
        tracing::error!(
            %agency, seen = size, held,
            "a witness says that it has cosigned a longer log: this may be an old copy"
        );
        state.saw_more.insert(agency.clone(), size);
    }

    /// A witness refused a checkpoint, and stands at `known_size`.
    ///
    /// One that stands within this log and says that the checkpoint does not extend what it
    /// cosigned (422 of tlog-witness) doubts as one does that stands beyond it: an old copy that
    /// was started twice has signed as much as the log that it lost.
    pub fn refused(&self, agency: &AgencyId, status: u32, known_size: u64) {
        self.saw_more(agency, known_size);
        let mut state = self.state();
        if status == 422 && (1..=state.signed).contains(&known_size) {
            tracing::error!(
                %agency, seen = known_size,
                "a witness says that it has cosigned another log: this may be an old copy"
            );
            state.saw_other.insert(agency.clone(), known_size);
        }
    }

    /// Whether statements of `agency` must wait: its witness has seen a longer log than this one,
    /// or this is an old copy altogether. What an old copy acknowledged would be lost when the
    /// newer one is back in its place; unanswered, it stays in the agency's outbox. A member that
    /// lies about what it saw holds up itself alone.
    pub fn must_wait(&self, agency: &AgencyId) -> bool {
        let state = self.state();
        let doubts = state.saw_more.contains_key(agency) || state.saw_other.contains_key(agency);
        doubts || state.is_old_copy()
    }

    /// Who saw how much more than there is, if so many did that nothing is signed.
    pub fn rolled_back(&self) -> Option<(AgencyId, u64)> {
        let state = self.state();
        let first = state.doubting().next().map(|(a, s)| (a.clone(), *s));
        first.filter(|_| state.is_old_copy())
    }
}

impl State {
    /// Who saw more than there is, or something else.
    fn doubting(&self) -> impl Iterator<Item = (&AgencyId, &u64)> {
        self.saw_more.iter().chain(&self.saw_other)
    }

    fn is_old_copy(&self) -> bool {
        let doubting: BTreeSet<_> = self.doubting().map(|(agency, _)| agency).collect();
        let doubting = doubting.intersection(&self.panel.iter().collect()).count();
        doubting > 0 && self.panel.len() < quorum(self.panel.len()).saturating_add(doubting)
    }

    /// The round of this size has its quorum: everybody who cosigned it may go by it.
    fn publish(&mut self, size: u64) {
        let Some(round) = self.rounds.iter().find(|r| r.size() == size) else {
            return;
        };
        if self.published.as_ref().is_none_or(|p| p.size <= size) {
            let note = Arc::new(round.signed.note().clone());
            self.published = Some(Cosigned { size, note });
        }
        for agency in round.cosigners.clone() {
            self.publish_for(size, &agency);
        }
    }

    /// One more cosigned a round that had its quorum.
    fn publish_late(&mut self, size: u64, agency: &AgencyId) {
        self.publish_for(size, agency);
        let round = self.rounds.iter().find(|r| r.size() == size);
        if let (Some(round), Some(published)) = (round, &mut self.published)
            && published.size == size
            && round.panel.contains(agency)
        {
            published.note = Arc::new(round.signed.note().clone());
        }
    }

    /// As [`State::publish`], for one that cosigned.
    fn publish_for(&mut self, size: u64, agency: &AgencyId) {
        if self.own.get(agency).is_some_and(|o| o.size >= size) {
            return;
        }
        let mut rounds = self.rounds.iter();
        let note = rounds
            .find(|r| r.size() == size)
            .and_then(|round| round.note_for(agency));
        if let Some(note) = note.map(Arc::new) {
            self.own.insert(agency.clone(), Cosigned { size, note });
        }
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
