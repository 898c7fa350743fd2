//! Log entries, sidecars, permits, and the agent's own journal records.

use crate::Input;
use passerelle_agent::event::Transaction;
use passerelle_journal::JournalRecord;
use passerelle_model::{
    canonical,
    entry::{Entry, Sidecar},
    permit::Permit,
};

/// An entry, a sidecar, a permit, or a record of an agent's journal.
pub fn entry(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match kind % 4 {
        0 => parse(input.rest()),
        1 => sidecar(input.rest()),
        2 => permit(input.rest()),
        _ => transaction(input),
    }
}

fn parse(bytes: &[u8]) {
    let Ok(entry) = Entry::from_bytes(bytes) else {
        return;
    };
    assert_eq!(entry.to_bytes().unwrap(), bytes, "an entry has one form");
    assert_eq!(entry.kind, entry.body.code());
    assert!(bytes.starts_with(b"{\"@type\":"));
}

fn sidecar(bytes: &[u8]) {
    let Ok(sidecar) = Sidecar::from_bytes(bytes) else {
        return;
    };
    let written = sidecar.to_bytes().unwrap();
    assert_eq!(Sidecar::from_bytes(&written).unwrap(), sidecar);
    for opening in &sidecar.openings {
        let commitment = opening.commitment();
        assert!(opening.opens(&commitment));
        let mut other = opening.clone();
        other.data.0.push(0);
        assert!(!other.opens(&commitment));
    }
}

fn permit(bytes: &[u8]) {
    let Ok(permit) = canonical::from_slice::<Permit>(bytes) else {
        return;
    };
    assert_eq!(canonical::to_vec(&permit).unwrap(), bytes);
    let digest = permit.digest().unwrap();
    assert_eq!(digest, passerelle_model::bytes::Digest::of(bytes));
}

fn transaction(mut input: Input<'_>) {
    let length = usize::from(input.short());
    let record = JournalRecord {
        entry: input.take(length).to_vec(),
        sidecar: input.rest().to_vec(),
    };
    let Ok(read) = Transaction::from_record(&record) else {
        return;
    };
    let written = read.to_record().unwrap();
    let again = Transaction::from_record(&written).unwrap();
    // Events hold what must not be compared or shown in the open; their bytes say the same.
    assert_eq!(again.to_record().unwrap(), written);
    assert_eq!(again.at, read.at);
}
