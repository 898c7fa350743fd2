//! Damage to the file: what an exporter, a disk or an attacker without the log's key can do.

use crate::{
    file::{check, checkpoint, export_rows, rows, write},
    story::{file, story},
    world::{find, log_signer},
};
use passerelle_audit::verify::{Fault, FaultCode};
use passerelle_model::entry::EntryBody;

fn lines() -> Vec<Vec<u8>> {
    file()
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

fn refused(lines: &[Vec<u8>]) -> Fault {
    check(&lines.concat()).unwrap_err()
}

fn at(fault: &Fault) -> (Option<u64>, FaultCode) {
    (fault.index, fault.code)
}

#[test]
fn every_flipped_bit_is_refused() {
    // With no cosignature to spare, so that the loss of any one of them counts too.
    let rows = rows(&story().records);
    let log = log_signer();
    let file = write(
        &rows,
        checkpoint(&rows, &log, &[0, 1, 2]),
        log.verifier_key(),
    );
    assert!(check(&file).is_ok());
    let header = file.iter().position(|byte| *byte == b'\n').unwrap();
    // All of the header, then samples: the step has no factor in common with anything here.
    for position in (0..header).chain((header..file.len()).step_by(53)) {
        let mut bytes = file.clone();
        bytes[position] ^= 1 << (position % 8);
        let line = file[..position]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let fault = check(&bytes).expect_err(&format!("flip at {position}"));
        if let Some(index) = fault.index {
            // A changed entry can show at a later one, never at an earlier one.
            assert!(
                index + 1 >= line as u64,
                "flip in line {}: {fault}",
                line + 1
            );
        }
    }
}

#[test]
fn a_dropped_repeated_or_swapped_row_is_named() {
    let size = lines().len() as u64 - 1;
    for index in [0, 1, 20, size - 2] {
        let line = index as usize + 1;
        let mut dropped = lines();
        dropped.remove(line);
        assert_eq!(at(&refused(&dropped)), (Some(index), FaultCode::Order));
        let mut repeated = lines();
        repeated.insert(line, repeated[line].clone());
        assert_eq!(at(&refused(&repeated)), (Some(index + 1), FaultCode::Order));
        let mut swapped = lines();
        swapped.swap(line, line + 1);
        assert_eq!(at(&refused(&swapped)), (Some(index), FaultCode::Order));
    }
}

#[test]
fn a_file_that_ends_early_or_late_is_refused() {
    let all = lines();
    let size = all.len() as u64 - 1;
    let without_last = &all[..all.len() - 1];
    assert_eq!(
        at(&refused(without_last)),
        (Some(size - 1), FaultCode::Missing)
    );
    assert_eq!(at(&refused(&all[..1])), (Some(0), FaultCode::Missing));
    let torn = &file()[..file().len() - 1];
    assert_eq!(
        at(&check(torn).unwrap_err()),
        (Some(size - 1), FaultCode::Row)
    );
    for garbage in ["\n", "x", "{}\n", " ", "\0"] {
        let long = [file(), garbage.as_bytes()].concat();
        assert_eq!(
            at(&check(&long).unwrap_err()),
            (Some(size), FaultCode::Trailing)
        );
    }
    assert_eq!(at(&check(b"").unwrap_err()), (None, FaultCode::Header));
}

#[test]
fn an_entry_that_is_changed_in_its_randomness_alone_has_another_root() {
    let mut rows = rows(&story().records);
    let note = checkpoint(&rows, &log_signer(), &[0, 1, 2, 3]);
    let refused = find(&story().records, 0, |body| {
        matches!(body, EntryBody::Refused { .. })
    });
    let nonce = rows[refused].entry.len() - 40;
    let digit = &mut rows[refused].entry[nonce];
    *digit = if *digit == b'0' { b'1' } else { b'0' };
    let file = write(&rows, note, log_signer().verifier_key());
    assert_eq!(at(&check(&file).unwrap_err()), (None, FaultCode::Root));
}

#[test]
fn a_leaf_hash_in_place_of_an_entry_must_be_its_own() {
    let mut all = lines();
    let hash = "ab".repeat(32);
    all[21] = format!("{{\"index\":20,\"leaf_hash\":\"{hash}\"}}\n").into_bytes();
    assert_eq!(at(&refused(&all)), (None, FaultCode::Root));
}

#[test]
fn another_logs_checkpoint_and_another_size_are_refused() {
    let rows = rows(&story().records);
    let log = log_signer();
    let shorter = checkpoint(&rows[..rows.len() - 1], &log, &[0, 1, 2, 3]);
    let size = rows.len() as u64;
    let file = write(&rows, shorter, log.verifier_key());
    assert_eq!(
        at(&check(&file).unwrap_err()),
        (Some(size - 1), FaultCode::Trailing)
    );

    let mut other_rows = rows.clone();
    other_rows[0].entry.push(b' ');
    let other = checkpoint(&other_rows, &log, &[0, 1, 2, 3]);
    let file = write(&rows, other, log.verifier_key());
    assert_eq!(at(&check(&file).unwrap_err()), (None, FaultCode::Root));

    // Another log altogether: name and key, its own consistent checkpoint over the same rows.
    let key = passerelle_audit::keys::SigningKey::from_seed(&[201; 32]);
    let stranger = passerelle_audit::note::Signer::new("other.example/log", key).unwrap();
    let note = checkpoint(&rows, &stranger, &[0, 1, 2, 3]);
    let file = write(&rows, note.clone(), stranger.verifier_key());
    assert_eq!(
        at(&check(&file).unwrap_err()),
        (Some(0), FaultCode::Founding)
    );
    let file = write(&rows, note, log.verifier_key());
    assert_eq!(
        at(&check(&file).unwrap_err()),
        (None, FaultCode::Checkpoint)
    );
}

#[test]
fn too_few_cosignatures_and_forged_ones_are_refused() {
    let rows = rows(&story().records);
    let log = log_signer();
    for witnesses in [&[][..], &[0], &[1, 2], &[2, 2]] {
        let file = write(
            &rows,
            checkpoint(&rows, &log, witnesses),
            log.verifier_key(),
        );
        let fault = check(&file).unwrap_err();
        assert_eq!(at(&fault), (None, FaultCode::Quorum), "{witnesses:?}");
    }
    let good = checkpoint(&rows, &log, &[0, 1, 2, 3]);
    // The last line is a cosignature; another digit in its middle is a forgery.
    let middle = good.len() - 40;
    let mut forged = good.into_bytes();
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let file = write(
        &rows,
        String::from_utf8(forged).unwrap(),
        log.verifier_key(),
    );
    assert_eq!(
        at(&check(&file).unwrap_err()),
        (None, FaultCode::Cosignature)
    );
}

#[test]
fn an_opening_that_opens_nothing_is_refused() {
    let good = rows(&story().records);
    let index = good
        .iter()
        .position(|row| !row.openings.is_empty())
        .unwrap();
    for change in 0..4 {
        let mut rows = good.clone();
        let opening = &mut rows[index].openings[0];
        match change {
            0 => opening.data.0[0] ^= 1,
            1 => opening.random.0[0] ^= 1,
            2 => opening.field = passerelle_model::commitment::Field::Worker,
            _ => {
                // The right opening on the wrong entry.
                let opening = rows[index].openings.remove(0);
                rows[0].openings.push(opening);
            }
        }
        let expected = if change == 3 { 0 } else { index as u64 };
        let fault = check(&export_rows(&rows)).unwrap_err();
        assert_eq!(at(&fault), (Some(expected), FaultCode::Opening));
    }
}

#[test]
fn an_entry_in_another_spelling_is_refused() {
    let good = rows(&story().records);
    for change in 0..4 {
        let mut rows = good.clone();
        let text = String::from_utf8(rows[30].entry.clone()).unwrap();
        let text = match change {
            0 => text + " ",
            1 => text.replacen("\"@version\":1", "\"@version\": 1", 1),
            2 => text.replacen("\"@version\":1", "\"@version\":1,\"more\":1", 1),
            _ => text.replacen("\"@version\":1", "\"@version\":2", 1),
        };
        rows[30].entry = text.into_bytes();
        let fault = check(&export_rows(&rows)).unwrap_err();
        assert_eq!(at(&fault), (Some(30), FaultCode::Entry), "change {change}");
    }
}
