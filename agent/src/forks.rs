//! Proof that the log was rewritten, kept where an auditor finds it.
//!
//! In scope: the newest checkpoints that this witness accepted, and a file for each one that
//! contradicts it. Out of scope: when one is refused ([`crate::witness`]); the format, and what it
//! proves ([`passerelle_audit::fork`]).
//!
//! What was accepted is remembered since the start of the process: a fork that is shown before the
//! first round after a start is refused all the same, and leaves no proof. Nor does one whose
//! consistency proof is wrong in itself: it proves nothing to others.

use passerelle_audit::{
    checkpoint::{SignedCheckpoint, open},
    fork::ForkProof,
    note::VerifierKey,
};
use passerelle_journal::durable_file::write_new;
use passerelle_model::bytes::Digest;
use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The directory, beside the journal.
pub const DIRECTORY: &str = "forks";

/// Most files. One is enough to end a federation's trust in its broker.
const MAX_FILES: usize = 64;

/// Checkpoints that are remembered, the newest.
const REMEMBERED: usize = 256;

/// See the module.
pub struct Forks {
    dir: PathBuf,
    accepted: Mutex<VecDeque<SignedCheckpoint>>,
}

impl Forks {
    /// With its files below the agent's directory `home`. Nothing is made before it is needed.
    pub fn new(home: &Path) -> Self {
        Self {
            dir: home.join(DIRECTORY),
            accepted: Mutex::default(),
        }
    }

    /// Notes what this witness cosigned last.
    pub(crate) fn accepted(&self, checkpoint: &SignedCheckpoint) {
        let mut accepted = self.remembered();
        // The same one again says nothing new.
        if accepted.back().map(SignedCheckpoint::checkpoint) == Some(checkpoint.checkpoint()) {
            return;
        }
        accepted.push_back(checkpoint.clone());
        if accepted.len() > REMEMBERED {
            accepted.pop_front();
        }
    }

    /// What this witness cosigned last.
    pub(crate) fn newest(&self) -> Option<SignedCheckpoint> {
        self.remembered().back().cloned()
    }

    /// What this witness cosigned of this size, if it was of late.
    pub(crate) fn at(&self, size: u64) -> Option<SignedCheckpoint> {
        let accepted = self.remembered();
        let mut newest_first = accepted.iter().rev();
        newest_first
            .find(|c| c.checkpoint().size() == size)
            .cloned()
    }

    fn remembered(&self) -> MutexGuard<'_, VecDeque<SignedCheckpoint>> {
        // Each change is one step.
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the proof that `note`, which came with `hashes`, contradicts what was accepted. `None`
    /// if it is none, or can't be kept.
    pub(crate) fn refused(
        &self,
        log: &VerifierKey,
        note: &str,
        hashes: &[Digest],
    ) -> Option<PathBuf> {
        let accepted = self.newest()?;
        let other = open(note, log).ok()?;
        let same_size = accepted.checkpoint().size() == other.checkpoint().size();
        let hashes = if same_size { &[] } else { hashes };
        let proof = ForkProof::with_hashes(&accepted, &other, log, hashes.to_vec()).ok()?;
        match self.keep(&proof.to_string()) {
            Ok(path) => Some(path),
            Err(error) => {
                tracing::error!(%error, "the proof of a fork can't be kept");
                None
            }
        }
    }

    /// Keeps a proof, once.
    ///
    /// # Errors
    /// The file system; there are enough of them.
    pub(crate) fn keep(&self, proof: &str) -> io::Result<PathBuf> {
        let name: String = Digest::of(proof.as_bytes()).to_hex();
        let path = self
            .dir
            .join(format!("{}.txt", name.get(..16).unwrap_or(&name)));
        if path.exists() {
            return Ok(path);
        }
        if self.count() >= MAX_FILES {
            return Err(io::Error::other("there are enough of them"));
        }
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.dir)?;
        write_new(&path, proof.as_bytes(), 0o600)?;
        Ok(path)
    }

    /// How many proofs there are.
    pub fn count(&self) -> usize {
        // What a crash left of one that was being written has another name.
        let is_whole = |file: &fs::DirEntry| file.path().extension().is_some_and(|e| e == "txt");
        fs::read_dir(&self.dir).map_or(0, |files| files.flatten().filter(is_whole).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{Federation, NOW, agency},
        witness::{answer, weigh},
    };
    use passerelle_audit::fork::Fork;
    use passerelle_model::{
        entry::EntryBody,
        ids::RequestId,
        store::{Memory, Overlay},
    };
    use passerelle_proto::v1::{self, agent_frame::Frame};

    /// A log of so many entries; the first that differ from another's are from `own` on.
    fn log(own: u8, before: u8, size: u8) -> Federation {
        let mut federation = Federation::new();
        for n in 0..size {
            let branch = if n < before { 0 } else { own };
            let request = RequestId::from_random([n.wrapping_add(branch); 16]);
            federation.notice(NOW, EntryBody::Expired { request }, &[]);
        }
        federation
    }

    struct Witness {
        context: crate::context::Context,
        rows: Memory,
        _dir: tempfile::TempDir,
    }

    impl Witness {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self {
                context: Federation::new().context("police", dir.path()),
                rows: Memory::default(),
                _dir: dir,
            }
        }

        /// The status with which a round is refused; 0 if it is cosigned.
        fn is_shown(&mut self, log: &Federation, old_size: u64) -> u32 {
            let round = v1::WitnessRound {
                old_size,
                proof: log.consistency_proof(old_size),
                checkpoint: log.checkpoint(&[]),
            };
            let key = self.context.identity.anchors.log.clone();
            let (events, considered) = weigh(&key, &self.rows, round).unwrap();
            let transaction = crate::event::Transaction { at: NOW, events };
            let mut overlay = Overlay::new(&self.rows);
            crate::apply::apply(&mut overlay, &agency("police"), &transaction).unwrap();
            let writes = overlay.into_writes();
            self.rows.commit(writes);
            match answer(&self.context, considered, NOW).unwrap() {
                Frame::Cosigned(_) => 0,
                Frame::CosignRefused(refused) => refused.status,
                _ => panic!("another frame"),
            }
        }

        fn proofs(&self) -> Vec<Fork> {
            let Ok(files) = fs::read_dir(&self.context.forks.dir) else {
                return Vec::new();
            };
            let texts = files.map(|f| fs::read_to_string(f.unwrap().path()).unwrap());
            let key = &self.context.identity.anchors.log;
            texts
                .map(|text| ForkProof::parse(&text).unwrap().check(key).unwrap())
                .collect()
        }
    }

    #[test]
    fn a_fork_leaves_a_proof_that_the_logs_key_confirms() {
        let mut witness = Witness::new();
        assert_eq!(witness.is_shown(&log(1, 0, 5), 0), 0);
        // Of the same size, then of a longer one; each again and again.
        for _ in 0..2 {
            assert_eq!(witness.is_shown(&log(9, 3, 5), 5), 422);
            assert_eq!(witness.is_shown(&log(9, 3, 11), 5), 422);
        }
        let sizes = witness.proofs().into_iter().map(|fork| {
            let (smaller, larger) = (fork.smaller().size(), fork.larger().size());
            (smaller, larger)
        });
        let mut sizes: Vec<_> = sizes.collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [(5, 5), (5, 11)]);
        assert_eq!(witness.context.forks.count(), 2);
        fs::write(witness.context.forks.dir.join(".tmp1"), b"half").unwrap();
        assert_eq!(witness.context.forks.count(), 2, "what a crash left");
    }

    #[test]
    fn an_honest_log_and_a_wrong_proof_leave_none() {
        let mut witness = Witness::new();
        assert_eq!(witness.is_shown(&log(1, 0, 5), 0), 0);
        let longer = log(1, 0, 9);
        let wrong = v1::WitnessRound {
            old_size: 5,
            proof: vec![vec![7; 32]; 4],
            checkpoint: longer.checkpoint(&[]),
        };
        let key = witness.context.identity.anchors.log.clone();
        let (_, considered) = weigh(&key, &witness.rows, wrong).unwrap();
        let frame = answer(&witness.context, considered, NOW).unwrap();
        assert!(matches!(frame, Frame::CosignRefused(r) if r.status == 422));
        assert_eq!(witness.is_shown(&longer, 5), 0);
        // An old copy is no fork.
        assert_eq!(witness.is_shown(&log(1, 0, 7), 5), 409);
        assert!(witness.proofs().is_empty());
    }

    #[test]
    fn there_are_so_many_proofs_and_no_more() {
        let mut witness = Witness::new();
        assert_eq!(witness.is_shown(&log(1, 0, 5), 0), 0);
        for branch in 2..=u8::try_from(MAX_FILES).unwrap() + 10 {
            assert_eq!(witness.is_shown(&log(branch, 3, 5), 5), 422);
        }
        assert_eq!(witness.proofs().len(), MAX_FILES);
    }
}
