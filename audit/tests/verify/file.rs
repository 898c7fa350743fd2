//! The export of a log: hashed, signed and cosigned consistently, whatever its entries say.

use crate::world::{cosigner, federation, log_signer};
use passerelle_audit::{
    checkpoint::Checkpoint,
    cosignature,
    export::{ExportHeader, ExportRow, write_header, write_row},
    merkle::{Tree, leaf_hash},
    note::{Signer, VerifierKey},
    verify::{Fault, Options, Report, verify},
    witness,
};
use passerelle_model::{commitment::Opening, entry::Record};

/// An entry of the log to be exported, as raw as it gets.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) entry: Vec<u8>,
    pub(crate) openings: Vec<Opening>,
    pub(crate) hidden: bool,
}

pub(crate) fn rows(records: &[Record]) -> Vec<Row> {
    let row = |record: &Record| Row {
        entry: record.entry.to_bytes().unwrap(),
        openings: record.sidecar.openings.clone(),
        hidden: false,
    };
    records.iter().map(row).collect()
}

/// The checkpoint note over these rows, cosigned by these members.
pub(crate) fn checkpoint(rows: &[Row], log: &Signer, witnesses: &[u8]) -> String {
    let tree: Tree = rows.iter().map(|row| leaf_hash(&row.entry)).collect();
    let checkpoint = Checkpoint::new(log.verifier_key().name(), tree.size(), tree.root()).unwrap();
    let mut signed = checkpoint.sign(log).unwrap();
    let note = signed.note().to_string();
    for n in witnesses {
        let state = witness::WitnessState::default();
        let accepted = witness::consider(&state, log.verifier_key(), 0, &[], &note).unwrap();
        let line = cosigner(*n).cosign(&accepted, 1_800_000_000).unwrap();
        cosignature::add(&mut signed, cosigner(*n).verifier_key(), line).unwrap();
    }
    signed.note().to_string()
}

pub(crate) fn write(rows: &[Row], checkpoint: String, key: &VerifierKey) -> Vec<u8> {
    let mut out = Vec::new();
    let header = ExportHeader::new(checkpoint, key.to_string(), federation());
    write_header(&mut out, &header).unwrap();
    for (index, row) in rows.iter().enumerate() {
        let index = index as u64;
        let row = if row.hidden {
            ExportRow::Hidden {
                index,
                leaf_hash: leaf_hash(&row.entry),
            }
        } else {
            let (entry, openings) = (row.entry.clone(), row.openings.clone());
            ExportRow::Entry {
                index,
                entry,
                openings,
            }
        };
        write_row(&mut out, &row).unwrap();
    }
    out
}

/// Hashed, signed and cosigned consistently, whatever the rows say.
pub(crate) fn export_rows(rows: &[Row]) -> Vec<u8> {
    let log = log_signer();
    write(
        rows,
        checkpoint(rows, &log, &[0, 1, 2, 3]),
        log.verifier_key(),
    )
}

pub(crate) fn export(records: &[Record]) -> Vec<u8> {
    export_rows(&rows(records))
}

pub(crate) fn check(export: &[u8]) -> Result<Report, Fault> {
    verify(
        export,
        &Options {
            threads: 2,
            ..Options::default()
        },
    )
}
