//! Rows are parsed, taken in and their signatures checked side by side. None of that shows: the
//! outcome is that of one row after the other.

use crate::{
    file::{Row, export_rows, rows},
    story::{file, story},
};
use passerelle_audit::verify::{Fault, FaultCode, Options, Report, verify, verify_with_progress};
use proptest::prelude::*;
use std::{
    io::{self, BufReader, Read},
    sync::OnceLock,
};

fn story_rows() -> &'static [Row] {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    ROWS.get_or_init(|| rows(&story().records))
}

fn with(file: impl Read, threads: usize, chunk_rows: u64) -> Result<Report, Fault> {
    let options = Options {
        threads,
        chunk_rows,
        ..Options::default()
    };
    verify(BufReader::new(file), &options)
}

/// The outcome, which must be the same however the work is cut up.
fn same(file: &[u8]) -> Result<Report, Fault> {
    let in_order = with(file, 1, 1);
    for (threads, chunk_rows) in [(1, 0), (2, 1), (2, 3), (3, 7), (4, 16), (2, 0)] {
        let outcome = with(file, threads, chunk_rows);
        assert_eq!(outcome, in_order, "{threads} threads, {chunk_rows} rows");
    }
    in_order
}

/// Changes a hexadecimal digit of the signature in this entry, if there is one.
fn sign_badly(entry: &mut [u8]) {
    let mark = b"\"signature\":\"";
    let found = entry.windows(mark.len()).position(|part| part == mark);
    if let Some(digit) = found.and_then(|at| entry.get_mut(at + mark.len() + 70)) {
        *digit = if *digit == b'0' { b'1' } else { b'0' };
    }
}

fn has_signature(row: &Row) -> bool {
    let mut entry = row.entry.clone();
    sign_badly(&mut entry);
    entry != row.entry
}

#[test]
fn a_good_log_gets_one_report() {
    let report = same(file()).unwrap();
    assert_eq!(report.size, story_rows().len() as u64);
}

#[test]
fn a_bad_signature_is_named_before_any_later_fault() {
    let signed: Vec<usize> = (0..story_rows().len())
        .filter(|index| has_signature(&story_rows()[*index]))
        .collect();
    assert!(signed.len() > 12);
    for index in signed {
        let mut rows = story_rows().to_vec();
        sign_badly(&mut rows[index].entry);
        // What is wrong later is of each kind: the ledger's, the parser's, the reader's.
        let mut copied = rows.clone();
        let last = rows.len() - 1;
        copied[last].entry = copied[index].entry.clone();
        let mut malformed = rows.clone();
        malformed[last].entry.push(b' ');
        let cut = export_rows(&rows);
        let cut = cut[..cut.len() - 1].to_vec();
        for file in [export_rows(&copied), export_rows(&malformed), cut] {
            let fault = same(&file).unwrap_err();
            if index < last {
                assert_eq!(fault.index, Some(index as u64), "{fault}");
                assert_eq!(fault.code, FaultCode::Signature);
            }
        }
    }
}

#[test]
fn a_bad_signature_by_a_key_that_signed_often_is_named() {
    let good = crate::large::rows(400);
    assert!(same(&export_rows(&good)).is_ok());
    let signed: Vec<usize> = (0..good.len())
        .filter(|index| has_signature(&good[*index]))
        .collect();
    assert!(signed.len() > 200);
    for index in signed.into_iter().rev().step_by(17) {
        let mut rows = good.clone();
        sign_badly(&mut rows[index].entry);
        let fault = same(&export_rows(&rows)).unwrap_err();
        let expected = (Some(index as u64), FaultCode::Signature);
        assert_eq!((fault.index, fault.code), expected);
    }
}

#[test]
fn progress_grows_to_the_size_and_no_further() {
    for (threads, chunk_rows) in [(1, 1), (2, 5), (3, 0)] {
        let options = Options {
            threads,
            chunk_rows,
            ..Options::default()
        };
        let mut steps = Vec::new();
        let mut note = |done, size| steps.push((done, size));
        let report = verify_with_progress(file(), &options, &mut note).unwrap();
        assert_eq!(steps[0], (0, report.size));
        assert_eq!(steps[steps.len() - 1], (report.size, report.size));
        assert!(steps.is_sorted());
    }
}

/// Fails after so many bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the disk is gone")),
            bytes => Ok(bytes),
        }
    }
}

#[test]
fn a_reader_that_fails_hides_no_fault_before_it() {
    let mut rows = story_rows().to_vec();
    let index = rows.iter().position(has_signature).unwrap();
    sign_badly(&mut rows[index].entry);
    let bad = export_rows(&rows);
    for chunk_rows in [1, 2, 0] {
        let half = &file()[..file().len() / 2];
        let fault = with(Failing(half), 2, chunk_rows).unwrap_err();
        assert_eq!(fault.code, FaultCode::Io);
        let fault = with(Failing(&bad[..bad.len() / 2]), 2, chunk_rows).unwrap_err();
        assert_eq!(fault.code, FaultCode::Signature);
    }
}

/// What is done to a row, in a log that is hashed, signed and cosigned consistently all the same.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Signature,
    Byte(u8),
    Hide,
    CopyOver,
    Drop,
    SwapWithNext,
}

fn damage() -> impl Strategy<Value = (prop::sample::Index, Damage)> {
    let damage = prop_oneof![
        3 => Just(Damage::Signature),
        2 => any::<u8>().prop_map(Damage::Byte),
        2 => Just(Damage::Hide),
        1 => Just(Damage::CopyOver),
        1 => Just(Damage::Drop),
        1 => Just(Damage::SwapWithNext),
    ];
    (any::<prop::sample::Index>(), damage)
}

fn apply(rows: &mut Vec<Row>, index: prop::sample::Index, damage: Damage) {
    let at = index.index(rows.len() - 1);
    match damage {
        Damage::Signature => sign_badly(&mut rows[at].entry),
        Damage::Byte(byte) => {
            let place = index.index(rows[at].entry.len());
            rows[at].entry[place] ^= byte;
        }
        Damage::Hide => {
            rows[at].hidden = true;
            rows[at].openings.clear();
        }
        Damage::CopyOver => rows[at] = rows[at + 1].clone(),
        Damage::Drop => drop(rows.remove(at)),
        Damage::SwapWithNext => rows.swap(at, at + 1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_damaged_log_gets_one_outcome(damages in prop::collection::vec(damage(), 1..5)) {
        let mut rows = story_rows().to_vec();
        for (index, damage) in damages {
            apply(&mut rows, index, damage);
        }
        let _ = same(&export_rows(&rows));
    }

    #[test]
    fn a_damaged_file_gets_one_outcome(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
        length: Option<prop::sample::Index>,
    ) {
        let mut bytes = file().to_vec();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len()));
        }
        let _ = same(&bytes);
    }
}
