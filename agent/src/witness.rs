//! This agency's witness: it cosigns checkpoints, and only such as extend what it cosigned before.
//!
//! The new state is durable before the cosignature is made: a witness that forgot could sign a
//! fork of what it signed.

use crate::{clock::Clock, context::Context, core::Core, event::Event, holder::storage, state};
use passerelle_audit::{
    checkpoint::Checkpoint,
    note::Note,
    witness::{WitnessError, consider},
};
use passerelle_model::{bytes::Digest, error::ErrorCode};
use passerelle_proto::v1;

/// The reply to one round.
///
/// # Errors
/// The store: then nothing is cosigned, and the agent stops.
pub async fn round(
    context: &Context,
    core: &Core,
    clock: &dyn Clock,
    round: v1::WitnessRound,
) -> Result<v1::agent_frame::Frame, ErrorCode> {
    let v1::WitnessRound {
        old_size,
        proof,
        checkpoint,
    } = round;
    let proof: Option<Vec<Digest>> = proof.iter().map(|h| Digest::from_slice(h)).collect();
    let offered = offered_size(&checkpoint);
    let log = context.identity.anchors.log.clone();
    let now = clock.now();
    let considered = core
        .write(now, move |view| {
            let known = state::meta(view).map_err(storage)?.witness;
            let Some(proof) = proof else {
                return Ok((Vec::new(), Err((WitnessError::Malformed, known.size))));
            };
            Ok(
                match consider(&known, &log, old_size, &proof, &checkpoint) {
                    Ok(accepted) if accepted.state() == known => (Vec::new(), Ok(accepted)),
                    Ok(accepted) => (vec![Event::Witnessed(accepted.state())], Ok(accepted)),
                    Err(error) => (Vec::new(), Err((error, known.size))),
                },
            )
        })
        .await?;
    match considered {
        Ok(accepted) => {
            let line = context.identity.cosigner.cosign(&accepted, now.seconds());
            let line = line.map_err(|_| ErrorCode::Internal)?.to_string();
            Ok(v1::agent_frame::Frame::Cosigned(v1::Cosigned {
                size: accepted.state().size,
                signature: line.trim_end_matches('\n').to_owned(),
            }))
        }
        Err((error, known_size)) => {
            let status = error.http_status();
            if matches!(
                error,
                WitnessError::BadProof | WitnessError::SameSizeDifferentRoot
            ) {
                tracing::error!(
                    known_size,
                    status,
                    "the broker showed a log that was rewritten"
                );
            } else {
                tracing::warn!(known_size, status, "cosignature refused");
            }
            Ok(v1::agent_frame::Frame::CosignRefused(v1::CosignRefused {
                size: offered,
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
