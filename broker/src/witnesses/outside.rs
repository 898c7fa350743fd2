//! What outside witnesses are asked, and what becomes of their cosignatures.
//!
//! In scope: rounds that have their quorum already; here nothing counts towards one. Out of scope:
//! how they are asked ([`crate::outside`]).

use super::{Offer, Witnesses};
use passerelle_audit::{
    cosignature,
    note::{Note, NoteSignature, VerifierKey},
};
use std::sync::Arc;

impl Witnesses {
    /// What a witness that stands at `from` is asked about the published checkpoint of this size:
    /// the note with the log's signature alone. `None` if it is not remembered any more.
    pub fn offer_outside(&self, from: u64, size: u64) -> Option<Offer> {
        let state = self.state();
        let round = state.rounds.iter().find(|r| r.size() == size)?;
        if !round.has_quorum || from > size {
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
        let round = rounds.find(|r| r.size() == size && r.has_quorum)?;
        if cosignature::add(&mut round.signed, key, signature).is_err() {
            return Some(false);
        }
        let note = round.signed.note().clone();
        if let Some(published) = &mut state.published
            && published.size == size
        {
            published.note = Arc::new(note);
        }
        Some(true)
    }
}
