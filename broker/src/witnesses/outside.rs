//! What outside witnesses are asked, and what becomes of their cosignatures.
//!
//! In scope: rounds that a quorum of the members has cosigned; nothing here counts towards that.
//! Where the operator says that some of them must be met, a round waits for these before it is
//! published. Out of scope: how they are asked ([`crate::outside`]).

use super::{Offer, Round, Witnesses};
use passerelle_audit::{
    cosignature,
    note::{Note, NoteSignature, VerifierKey},
};
use std::sync::Arc;

impl Witnesses {
    /// How many outside witnesses must have cosigned what is published.
    pub const fn outside_required(&self) -> usize {
        self.outside_required
    }

    /// The size of the newest checkpoint that they are asked about; 0 if there is none.
    pub fn for_outside(&self) -> u64 {
        let state = self.state();
        let newest = state.rounds.iter().rev().find(|r| r.is_quorate);
        newest.map_or(0, Round::size)
    }

    /// The checkpoint that waits for them alone, and how many of them have cosigned it.
    pub fn waits_for_outside(&self) -> Option<(u64, usize)> {
        let state = self.state();
        let round = state.rounds.back()?;
        let waits = round.is_quorate && !round.has_quorum;
        waits.then(|| (round.size(), round.outside.len()))
    }

    /// What a witness that stands at `from` is asked about the cosigned checkpoint of this size:
    /// the note with the log's signature alone. `None` if it is not remembered any more.
    pub fn offer_outside(&self, from: u64, size: u64) -> Option<Offer> {
        let state = self.state();
        let round = state.rounds.iter().find(|r| r.size() == size)?;
        if !round.is_quorate || from > size {
            return None;
        }
        let log = self.signer.verifier_key();
        let note = round.signed.note();
        let own = note.signatures().iter().find(|line| log.claims(line))?;
        let note = Note::new(note.text(), vec![own.clone()]).ok()?;
        drop(state);
        self.offer_of(from, size, &note)
    }

    /// Adds the cosignature of an outside witness to the checkpoint of this size, and to the
    /// published one if that is it. Whether it verifies; `None` if the checkpoint is not
    /// remembered any more.
    pub fn cosigned_outside(
        &self,
        size: u64,
        key: &VerifierKey,
        signature: NoteSignature,
    ) -> Option<bool> {
        let mut state = self.state();
        let mut rounds = state.rounds.iter_mut();
        let round = rounds.find(|r| r.size() == size && r.is_quorate)?;
        if cosignature::add(&mut round.signed, key, signature).is_err() {
            return Some(false);
        }
        round.outside.insert(key.public_key().0);
        let first = round.completes(self.outside_required);
        let note = round.signed.note().clone();
        if first {
            state.publish(size);
            drop(state);
            self.poke();
        } else if let Some(published) = &mut state.published
            && published.size == size
        {
            published.note = Arc::new(note);
        }
        Some(true)
    }
}
