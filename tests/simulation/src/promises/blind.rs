//! Promise 3 (the broker is blind) and promise 10 (erasure is real): searches for planted bytes.

use super::{Broken, Promise, ensure};
use crate::{ghost::Ghost, ops::Machine, world::World};
use aho_corasick::AhoCorasick;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use passerelle_model::ids::RequestId;

/// As it is, in hexadecimal, in base64 at each alignment.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let mut all = vec![bytes.to_vec(), hex.into_bytes()];
    for skip in 0..3_usize {
        let shifted = [vec![0; skip], bytes.to_vec()].concat();
        let text = STANDARD_NO_PAD.encode(shifted).into_bytes();
        // The first and last characters hold bits of what stands beside.
        let from = [0, 2, 3][skip];
        let until = text.len() - 1;
        all.push(text[from..until].to_vec());
    }
    all
}

/// Finds any of the private words.
pub fn searcher<'a>(words: impl Iterator<Item = &'a [u8]>) -> AhoCorasick {
    let needles: Vec<_> = words.flat_map(forms).collect();
    let built = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(needles);
    built.expect("the needles fit")
}

/// 3. Nothing private in what the broker hears, says or stores, unless sealed.
///
/// # Errors
/// The broken promise.
pub fn the_broker_is_blind(ghost: &Ghost, place: &str, bytes: &[u8]) -> Result<(), Broken> {
    let found = ghost.find(bytes);
    ensure(found.is_none(), Promise::TheBrokerIsBlind, || {
        format!("private words stand in {place}")
    })
}

/// 3. Nothing private on the broker's disk.
///
/// # Errors
/// The broken promise.
pub fn the_brokers_disk_is_blind(world: &World) -> Result<(), Broken> {
    for (path, bytes) in world.disk(Machine::Broker).contents() {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        the_broker_is_blind(&world.ghost, &format!("`{name}` of the broker"), &bytes)?;
    }
    Ok(())
}

/// 10. After an erasure the key is gone from the vault, durably.
///
/// # Errors
/// The broken promise.
pub fn erasure_is_real(world: &World, ix: usize, request: &RequestId) -> Result<(), Broken> {
    let agency = &world.agencies[ix];
    let Some(up) = &agency.up else { return Ok(()) };
    let kept = up.context.vault.key(request);
    ensure(matches!(kept, Ok(None)), Promise::ErasureIsReal, || {
        format!(
            "{} still has the key of an answer that it erased",
            agency.id
        )
    })?;
    let Some(key) = world.ghost.vault_keys.get(request) else {
        return Ok(());
    };
    // Whatever a power cut takes and leaves from here on: the journal does not say yet that it
    // is erased to anybody who was not told.
    let searcher = searcher(std::iter::once(key.as_slice()));
    let disk = world.disk(Machine::Agency(ix));
    let places = disk.contents().into_iter().chain(disk.after_a_cut());
    for (path, bytes) in places {
        ensure(!searcher.is_match(&bytes), Promise::ErasureIsReal, || {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!("an erased key stands in `{name}` of {}", agency.id)
        })?;
    }
    Ok(())
}

/// 10. No key of an erased answer stands anywhere, and the reply keys that they sealed never did.
///
/// # Errors
/// The broken promise.
pub fn erased_keys_are_nowhere(world: &World) -> Result<(), Broken> {
    let ghost = &world.ghost;
    let erased = ghost.erased.iter();
    let erased = erased.filter_map(|(_, request)| ghost.vault_keys.get(request));
    let keys: Vec<_> = erased.chain(ghost.reply_keys.values()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let searcher = searcher(keys.into_iter().map(Vec::as_slice));
    for machine in world.machines() {
        let disk = world.disk(machine);
        for (_, bytes) in disk.contents().into_iter().chain(disk.after_a_cut()) {
            ensure(!searcher.is_match(&bytes), Promise::ErasureIsReal, || {
                format!(
                    "the key of an erased answer stands on the disk of {}",
                    world.name(machine)
                )
            })?;
        }
    }
    Ok(())
}
