//! The verification of a log that grows, entry by entry as it comes: for whoever keeps a copy.
//!
//! In scope: what each entry must keep to by itself and by what stands before it. Out of scope: the
//! root and the quorum, which belong to a checkpoint (the caller compares them).

use super::{
    fault::{Fault, FaultCode},
    ledger::Ledger,
    reviews::OverdueReview,
    row,
};
use crate::{dsse, export::ExportRow, note::VerifierKey};
use passerelle_model::{ids::FederationId, statement::PAYLOAD_TYPE, time::Timestamp};

/// A verification that goes on. See the module; memory is that of [`super::verify`].
pub struct Running {
    ledger: Ledger,
    next: u64,
    fault: Option<Fault>,
}

impl Running {
    /// Of the log with this key, from its first entry.
    pub fn new(federation: FederationId, log: &VerifierKey) -> Self {
        Self {
            ledger: Ledger::new(federation, log.to_string()),
            next: 0,
            fault: None,
        }
    }

    /// Index of the entry that comes next: so many were verified.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The first fault. Nothing after it can be verified.
    pub const fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Emergencies whose review is overdue at `now`, the longest first, at most `limit`.
    pub fn overdue_reviews(&self, now: Timestamp, limit: usize) -> Vec<OverdueReview> {
        self.ledger.overdue_reviews(now, limit)
    }

    /// Verifies the next entry.
    ///
    /// # Errors
    /// The first fault, from then on each time.
    pub fn take(&mut self, entry: &[u8]) -> Result<(), Fault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.one(entry).inspect_err(|fault| {
            self.fault = Some(fault.clone());
        })?;
        self.next += 1;
        Ok(())
    }

    fn one(&mut self, entry: &[u8]) -> Result<(), Fault> {
        let index = self.next;
        let row = ExportRow::Entry {
            index,
            entry: entry.to_vec(),
            openings: Vec::new(),
        };
        let parsed = row::check(row, index, &self.ledger.federation)?;
        let taken = self.ledger.take(0, &parsed);
        // A bad signature comes before whatever else is wrong with what it should have signed.
        for job in std::mem::take(&mut self.ledger.jobs) {
            let is_signed = parsed.envelope().is_some_and(|envelope| {
                let (payload, signature) = (&envelope.payload.0, &envelope.signature);
                dsse::verify(&job.key, PAYLOAD_TYPE, payload, signature)
            });
            if !is_signed {
                let message = "the signature is not by the key that the agency had enrolled";
                return Err(Fault::at(index, FaultCode::Signature, message));
            }
        }
        taken
    }
}
