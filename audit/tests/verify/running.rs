//! The verification that goes on with the log finds what that of an export finds.

use crate::{
    story::story,
    world::{federation, log_signer},
};
use passerelle_audit::verify::{Fault, Running};
use passerelle_model::entry::Record;

fn running() -> Running {
    Running::new(federation(), log_signer().verifier_key())
}

/// The first fault, entry by entry.
pub(crate) fn first_fault(records: &[Record]) -> Option<Fault> {
    let mut running = running();
    let mut take = |r: &Record| running.take(&r.entry.to_bytes().unwrap());
    records.iter().find_map(|record| take(record).err())
}

#[test]
fn an_honest_log_has_no_fault_however_far_it_went() {
    let mut running = running();
    for (index, record) in story().records.iter().enumerate() {
        running.take(&record.entry.to_bytes().unwrap()).unwrap();
        assert_eq!(running.next(), index as u64 + 1);
    }
    assert_eq!(running.fault(), None);
}

#[test]
fn after_a_fault_nothing_is_verified_any_more() {
    let records = story().records;
    let mut running = running();
    running.take(&records[0].entry.to_bytes().unwrap()).unwrap();
    let fault = running.take(b"{}").unwrap_err();
    assert_eq!(fault.index, Some(1));
    let right = records[1].entry.to_bytes().unwrap();
    assert_eq!(running.take(&right), Err(fault.clone()));
    assert_eq!((running.next(), running.fault()), (1, Some(&fault)));
}
