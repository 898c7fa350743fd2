//! Subject handles: every agency wants those of all people, so that it can ask about them.

use crate::world::{Step, World};
use passerelle_agent::{event::Event, handle::Blinding, state};
use passerelle_model::bytes::Digest;
use passerelle_proto::v1::{self, agent_frame};

impl World {
    /// Every agency wants the handles of all people, so that it can ask about them.
    pub(crate) fn ask_for_handles(&mut self, ix: usize) -> Step {
        let people = self.people.clone();
        let Some(up) = self.agencies[ix].up.as_mut() else {
            return Ok(());
        };
        let Some(session) = up.session.as_mut().filter(|s| s.evaluating.is_empty()) else {
            return Ok(());
        };
        let tokens = people.iter().map(|p| p.match_token());
        let is_missing = |token: &Vec<u8>| {
            let known = state::handle_of(up.store.view(), &Digest::of(token));
            known.expect("the projection").is_none()
        };
        let tokens: Vec<_> = tokens.filter(is_missing).collect();
        if tokens.is_empty() {
            return Ok(());
        }
        let (blinding, blinded) = Blinding::blind(&tokens).expect("tokens");
        session.next_call += 1;
        let call = session.next_call;
        let digests = tokens.iter().map(|t| Digest::of(t)).collect();
        session.evaluating.insert(call, (blinding, digests));
        self.agent_says(
            ix,
            agent_frame::Frame::Evaluate(v1::Evaluate { call, blinded }),
        )
    }

    pub(crate) fn take_handles(&mut self, ix: usize, evaluated: &v1::Evaluated) -> Step {
        let Some(session) = self.session(ix) else {
            return Ok(());
        };
        let Some((blinding, tokens)) = session.evaluating.remove(&evaluated.call) else {
            return Ok(());
        };
        if !evaluated.code.is_empty() {
            return Ok(());
        }
        let key = self.broker.keys().oprf;
        let handles = blinding.finalize(&evaluated.elements, &evaluated.proof, &key.0);
        let found = tokens
            .into_iter()
            .zip(handles.expect("the proof"))
            .collect();
        self.agent_runs(ix, |_, _| Ok((vec![Event::HandlesFound(found)], ())))?;
        Ok(())
    }
}
