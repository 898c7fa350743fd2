//! This agency's witness: it cosigns checkpoints, and only such as extend what it cosigned before.
//!
//! The new state is durable before the cosignature is made: a witness that forgot could sign a
//! fork of what it signed.

use crate::{
    clock::Clock,
    context::Context,
    core::{Core, Outcome},
    event::Event,
    holder::storage,
    state,
};
use futures_util::future::BoxFuture;
use passerelle_audit::{
    checkpoint::Checkpoint,
    note::{Note, VerifierKey},
    witness::{Accepted, WitnessError, WitnessState, consider},
};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    seeded::{Bug, seeded},
    store::Read,
    time::Timestamp,
};
use passerelle_proto::v1::{self, agent_frame};
use std::sync::Arc;

/// What a round comes to: accepted, or why not and where this witness stands; and what was offered.
pub struct Considered {
    verdict: Result<Accepted, (WitnessError, u64)>,
    offered: u64,
    /// What contradicts what was cosigned before: the note and the hashes that came with it.
    contradicts: Option<(String, Vec<Digest>)>,
}

/// The reply to one round, which resolves once what it says is durable.
///
/// # Errors
/// The store: then nothing is cosigned, and the agent stops.
pub async fn round(
    context: &Arc<Context>,
    core: &Core,
    clock: &dyn Clock,
    round: v1::WitnessRound,
) -> Result<BoxFuture<'static, Result<agent_frame::Frame, ErrorCode>>, ErrorCode> {
    let now = clock.now();
    let log = context.identity.anchors.log.clone();
    let considered = core
        .begin(now, move |view| weigh(&log, view, round))
        .await?;
    let context = Arc::clone(context);
    Ok(Box::pin(
        async move { answer(&context, considered.await?, now) },
    ))
}

/// Weighs a round against what was cosigned before. The new state is in the events: what is made
/// of the result must wait until they are durable.
///
/// # Errors
/// The store.
pub fn weigh(log: &VerifierKey, view: &dyn Read, round: v1::WitnessRound) -> Outcome<Considered> {
    let v1::WitnessRound {
        old_size,
        proof,
        checkpoint,
    } = round;
    let mut known = state::meta(view).map_err(storage)?.witness;
    if seeded(Bug::WitnessForgets) {
        known = WitnessState::default();
    }
    let offered = offered_size(&checkpoint);
    let proof: Option<Vec<Digest>> = proof.iter().map(|h| Digest::from_slice(h)).collect();
    let considered = match &proof {
        Some(proof) => consider(&known, log, old_size, proof, &checkpoint),
        None => Err(WitnessError::Malformed),
    };
    let contradicts = match &considered {
        Err(WitnessError::BadProof | WitnessError::SameSizeDifferentRoot) => {
            proof.map(|proof| (checkpoint, proof))
        }
        _ => None,
    };
    let events = match &considered {
        Ok(accepted) if accepted.state() != known => vec![Event::Witnessed(accepted.state())],
        Ok(_) | Err(_) => Vec::new(),
    };
    let verdict = considered.map_err(|error| (error, known.size));
    let considered = Considered {
        verdict,
        offered,
        contradicts,
    };
    Ok((events, considered))
}

/// The frame that says what a durable result was.
///
/// # Errors
/// [`ErrorCode::Internal`]: the cosignature can't be made.
pub fn answer(
    context: &Context,
    considered: Considered,
    now: Timestamp,
) -> Result<agent_frame::Frame, ErrorCode> {
    match considered.verdict {
        Ok(accepted) => {
            context.forks.accepted(accepted.checkpoint());
            let line = context.identity.cosigner.cosign(&accepted, now.seconds());
            let line = line.map_err(|_| ErrorCode::Internal)?.to_string();
            Ok(agent_frame::Frame::Cosigned(v1::Cosigned {
                size: accepted.state().size,
                signature: line.trim_end_matches('\n').to_owned(),
            }))
        }
        Err((error, known_size)) => {
            let status = error.http_status();
            if let Some((note, hashes)) = considered.contradicts {
                let log = &context.identity.anchors.log;
                let proof = context.forks.refused(log, &note, &hashes);
                let proof = proof.map(|path| path.display().to_string());
                tracing::error!(
                    known_size,
                    status,
                    proof,
                    "the broker showed a log that was rewritten"
                );
            } else {
                tracing::warn!(known_size, status, "cosignature refused");
            }
            Ok(agent_frame::Frame::CosignRefused(v1::CosignRefused {
                size: considered.offered,
                status: u32::from(status),
                known_size,
            }))
        }
    }
}

/// The size that the broker offered; 0 if its checkpoint does not parse.
fn offered_size(checkpoint: &str) -> u64 {
    let note = Note::parse(checkpoint).ok();
    let checkpoint = note.and_then(|note| Checkpoint::parse(note.text()).ok());
    checkpoint.map_or(0, |checkpoint| checkpoint.size())
}
