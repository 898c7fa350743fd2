//! Daily seals (see [`crate::seal`]).

use super::{Draft, Step, Stop};
use crate::{
    bytes::{Bytes, Commitment, Nonce},
    commitment::{Field, Opening},
    entry::{EntryBody, Sidecar},
    error::ErrorCode,
    ids::AgencyId,
    seal::{self, Counts, MAX_PART_BYTES, MAX_PART_OPENED_BYTES, MAX_SEALED},
    state,
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of an agency's part beside its name: the commitment in hexadecimal, and punctuation.
const PART_OVERHEAD: usize = 72;

/// Seals what is due: once a day by UTC, or when there are as many entries as one seal may cover.
pub(super) fn seal_due(draft: &mut Draft<'_, '_>) -> Step {
    let Some(last) = state::sealed(draft.state)? else {
        return Ok(());
    };
    let next = draft.next_index();
    let open = next.saturating_sub(last.until);
    let another_day = last.at.utc_day() < draft.inputs.now.utc_day();
    if open < MAX_SEALED && !another_day {
        return Ok(());
    }
    let (from, until) = (last.until, next.min(last.until.saturating_add(MAX_SEALED)));
    let members = state::agencies(draft.state)?.into_iter();
    let members: BTreeSet<AgencyId> = members.filter(|a| a.active).map(|a| a.agency).collect();
    let counts = seal::counts(draft.state, &members, from, until)?;
    for part in parts(counts)? {
        push(draft, from, until, &part)?;
    }
    Ok(())
}

/// As many agencies together as fit into one entry and one message; at least one entry, or the day
/// would stay due.
fn parts(counts: BTreeMap<AgencyId, Counts>) -> Step<Vec<BTreeMap<AgencyId, Counts>>> {
    let mut parts = vec![BTreeMap::new()];
    let (mut bytes, mut opened) = (0_usize, 0_usize);
    for (agency, counts) in counts {
        let name = agency.as_str().len().saturating_add(PART_OVERHEAD);
        let opening = counts.to_bytes()?.len().saturating_add(PART_OVERHEAD);
        bytes = bytes.saturating_add(name);
        opened = opened.saturating_add(opening);
        if bytes > MAX_PART_BYTES || opened > MAX_PART_OPENED_BYTES {
            parts.push(BTreeMap::new());
            (bytes, opened) = (name, opening);
        }
        if let Some(part) = parts.last_mut() {
            part.insert(agency, counts);
        }
    }
    // The first agency alone may have been too much for the first part.
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        parts.push(BTreeMap::new());
    }
    Ok(parts)
}

fn push(
    draft: &mut Draft<'_, '_>,
    from: u64,
    until: u64,
    part: &BTreeMap<AgencyId, Counts>,
) -> Step {
    let mut openings = Vec::with_capacity(part.len());
    let mut commitments = BTreeMap::new();
    for (agency, counts) in part {
        let opening = Opening {
            field: Field::Counts,
            random: random(&draft.inputs.seed, agency),
            data: Bytes(counts.to_bytes()?),
        };
        let commitment: Commitment = opening.commitment();
        openings.push(opening);
        commitments.insert(agency.clone(), commitment);
    }
    let body = EntryBody::Sealed {
        from,
        until,
        counts: commitments,
    };
    let sidecar = Sidecar {
        openings,
        payloads: BTreeMap::new(),
    };
    match draft.push(body, sidecar) {
        Ok(_) => Ok(()),
        // The parts are bounded: an entry that is too large is our own fault, not somebody's.
        Err(Stop::Refused(_)) => Err(Stop::Refused(ErrorCode::Internal)),
        Err(stop) => Err(stop),
    }
}

/// The random part of an agency's commitment, from the command's seed as the nonces are.
fn random(seed: &[u8; 32], agency: &AgencyId) -> Nonce {
    let mut hash = Sha256::new();
    hash.update(b"passerelle/v1/seal");
    hash.update(seed);
    hash.update(agency.as_str());
    Nonce(hash.finalize().into())
}
