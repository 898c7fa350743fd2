//! The fault matrix: every operation of a workload goes wrong in every way, then the machine stops
//! in every way. Afterwards each acknowledged record is there, under its index, once.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use passerelle_journal::{Journal, JournalError, JournalRecord, Options, SegmentJournal};

use crate::disk::{After, Fault, FaultDisk};
use crate::{contents, open, record, scratch, segments};

const OPTIONS: Options = Options { segment_bytes: 400 };

const FAULTS: [Fault; 10] = [
    Fault::FailNotPersist,
    Fault::FailButPersist,
    Fault::Crash(0),
    Fault::Crash(1),
    Fault::Crash(2),
    Fault::Crash(3),
    Fault::Crash(4),
    Fault::Full(0),
    Fault::Full(2),
    Fault::Full(4),
];

const AFTERS: [After; 6] = [
    After::Kill,
    After::Lose,
    After::Random(0x1234_5678_9abc_def0),
    After::Random(0xfedc_ba98_7654_3210),
    After::Random(0x0f1e_2d3c_4b5a_6978),
    After::Random(0x8796_a5b4_c3d2_e1f0),
];

/// What the workload's caller knows.
#[derive(Default, Clone)]
struct Known {
    acknowledged: Vec<JournalRecord>,
    in_flight: Vec<JournalRecord>,
}

fn open_on(disk: &FaultDisk, dir: &Path) -> Result<SegmentJournal, JournalError> {
    SegmentJournal::open_on(Arc::new(disk.clone()), dir, OPTIONS)
}

/// Appends batches of these sizes and notes what was acknowledged.
fn append(
    disk: &FaultDisk,
    dir: &Path,
    sizes: &[usize],
    known: &mut Known,
) -> Result<(), JournalError> {
    let mut journal = open_on(disk, dir)?;
    for size in sizes {
        let first = known.acknowledged.len() as u64;
        known.in_flight = (0..*size as u64)
            .map(|at| record(first + at, 20 + 9 * at as usize))
            .collect();
        if let Err(error) = journal.append(&known.in_flight) {
            let refused = journal.append(&[record(99, 1)]).unwrap_err();
            assert!(
                matches!(refused, JournalError::Poisoned { .. }),
                "{refused}"
            );
            assert!(
                refused.to_string().contains(&error.to_string()),
                "{refused}"
            );
            assert_eq!(contents(&journal), known.acknowledged, "reads go on");
            return Err(error);
        }
        known.acknowledged.append(&mut known.in_flight);
    }
    Ok(())
}

/// Checks the directory after a restart, and that what the check saw survives a power cut.
fn check(disk: &FaultDisk, dir: &Path, known: &Known) {
    let journal = open_on(disk, dir).unwrap();
    let found = contents(&journal);
    let acknowledged = known.acknowledged.len();
    let possible = [known.acknowledged.clone(), known.in_flight.clone()].concat();
    assert!(
        (acknowledged..=possible.len()).contains(&found.len()),
        "{} records",
        found.len()
    );
    assert_eq!(found, possible[..found.len()]);
    for (index, record) in found.iter().enumerate() {
        assert_eq!(journal.read(index as u64).unwrap().as_ref(), Some(record));
    }
    drop(journal);
    disk.restart(After::Lose);
    let mut journal = open_on(disk, dir).unwrap();
    assert_eq!(
        contents(&journal),
        found,
        "what an open showed was not durable"
    );
    assert_eq!(
        journal.append(&[record(500, 3)]).unwrap(),
        found.len() as u64
    );
    drop(journal);
    disk.restart(After::Lose);
    let journal = open_on(disk, dir).unwrap();
    assert_eq!(contents(&journal), [found, vec![record(500, 3)]].concat());
}

/// Runs `workload` with every fault at every operation and every end.
fn matrix(
    prepare: &dyn Fn(&Path) -> Known,
    workload: &dyn Fn(&FaultDisk, &Path, &mut Known) -> Result<(), JournalError>,
) {
    let dir = scratch();
    let disk = FaultDisk::default();
    let mut known = prepare(dir.path());
    workload(&disk, dir.path(), &mut known).unwrap();
    let operations = disk.operations();
    assert!(operations > 8, "{operations}");
    for operation in 0..operations {
        for fault in FAULTS {
            for after in AFTERS {
                let dir = scratch();
                let disk = FaultDisk::default();
                let mut known = prepare(dir.path());
                disk.arm(operation, fault);
                let result = workload(&disk, dir.path(), &mut known);
                println!("operation {operation}, {fault:?}, {after:?}: {result:?}");
                disk.restart(after);
                check(&disk, dir.path(), &known);
            }
        }
    }
}

#[test]
fn every_fault_while_appending_and_starting_segments() {
    matrix(&|_| Known::default(), &|disk, dir, known| {
        append(disk, dir, &[1, 3, 2, 4], known)?;
        assert!(segments(dir).len() > 2);
        append(disk, dir, &[2, 1], known)
    });
}

#[test]
fn every_fault_while_opening_cuts_a_torn_tail() {
    let prepare = |dir: &Path| {
        let mut journal = open(dir, OPTIONS.segment_bytes);
        let records: Vec<_> = (0..9).map(|number| record(number, 20)).collect();
        for record in &records {
            journal.append(std::slice::from_ref(record)).unwrap();
        }
        drop(journal);
        let last = segments(dir).pop().unwrap();
        let mut bytes = std::fs::read(&last).unwrap();
        let torn = bytes[40..90].to_vec();
        bytes.extend(torn);
        std::fs::write(&last, bytes).unwrap();
        Known {
            acknowledged: records,
            in_flight: vec![],
        }
    };
    matrix(&prepare, &|disk, dir, known| append(disk, dir, &[1], known));
}

#[test]
fn a_record_kept_after_a_failed_sync_is_made_durable_before_it_is_shown() {
    let dir = scratch();
    let disk = FaultDisk::default();
    let mut journal = open_on(&disk, dir.path()).unwrap();
    journal.append(&[record(0, 4)]).unwrap();
    // The write succeeds, its sync fails: the kernel now takes the pages for clean.
    disk.arm(1, Fault::FailNotPersist);
    journal.append(&[record(1, 200)]).unwrap_err();
    assert_eq!(journal.len(), 1);
    drop(journal);
    disk.restart(After::Kill);
    let journal = open_on(&disk, dir.path()).unwrap();
    assert_eq!(journal.len(), 2);
    drop(journal);
    disk.restart(After::Lose);
    assert_eq!(
        contents(&open_on(&disk, dir.path()).unwrap()),
        [record(0, 4), record(1, 200)]
    );
}

#[test]
fn readers_go_on_after_the_writer_is_poisoned_and_gone() {
    let dir = scratch();
    let disk = FaultDisk::default();
    let mut journal = open_on(&disk, dir.path()).unwrap();
    let reader = journal.reader();
    journal.append(&[record(0, 4)]).unwrap();
    disk.arm(0, Fault::Full(2));
    journal.append(&[record(1, 4)]).unwrap_err();
    drop(journal);
    assert_eq!(reader.read(0).unwrap(), Some(record(0, 4)));
    assert_eq!(reader.read(1).unwrap(), None);
    let mut visited = 0;
    reader
        .scan(0, &mut |_, _| {
            visited += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(visited, 1);
}
