//! `fork`: two checkpoints that no honest log can both sign.
//!
//! In scope: arguments, the file, what is printed. Out of scope: the proof itself, which is the
//! library's `fork`.

use crate::{FAULT, UNREADABLE, USAGE, VERIFIED, log_key, policies::given};
use clap::Args;
use passerelle_audit::{
    checkpoint::Checkpoint,
    fork::{Fork, ForkError, ForkProof, MAX_FORK_PROOF_BYTES},
    note::VerifierKey,
    tlog_policy::TlogPolicy,
};
use serde_json::json;
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

pub(crate) const EXAMPLES: &str = "\
Examples:
  passerelle-audit fork fork.txt --log-key 'KEY'
  passerelle-audit fork fork.txt --policy policy.txt
      With the key of one of the logs that a policy names.

Exit codes: 0 the fork is proven, 1 it is not, 2 wrong usage, 3 the file can't be read.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// The proof: one text file with two checkpoints.
    file: PathBuf,
    /// The log's key, known from elsewhere, in the form `name+id+key`. The proof names none.
    #[arg(
        long,
        visible_alias = "key",
        value_name = "KEY",
        value_parser = log_key,
        required_unless_present = "policy"
    )]
    log_key: Option<VerifierKey>,
    /// A C2SP tlog-policy file that names the logs it may be of.
    #[arg(long, value_name = "FILE", conflicts_with = "log_key")]
    policy: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What the proof shows, and the exit code.
pub(crate) fn check(arguments: &Arguments) -> (String, u8) {
    let path = arguments.file.display();
    let text = match read_proof(&arguments.file) {
        Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        Err(error) => {
            let message = format!("`{path}` can't be read: {error}");
            return (not_proven(&message, arguments.json), UNREADABLE);
        }
    };
    let logs = match logs(arguments) {
        Ok(logs) => logs,
        Err((message, code)) => return (not_proven(&message, arguments.json), code),
    };
    let outcome = ForkProof::parse(&text).and_then(|proof| confirm(&proof, &logs));
    match outcome {
        Ok(fork) if arguments.json => (format!("{}\n", fork_json(&fork)), VERIFIED),
        Ok(fork) => (fork_text(&fork), VERIFIED),
        Err(error) => (not_proven(&error.to_string(), arguments.json), FAULT),
    }
}

/// The keys of which one must have signed both checkpoints.
fn logs(arguments: &Arguments) -> Result<Vec<VerifierKey>, (String, u8)> {
    let policy = given(arguments.policy.as_deref())?;
    let named = policy.iter().flat_map(TlogPolicy::logs);
    let named = named.map(|log| log.key().clone());
    let logs: Vec<_> = arguments.log_key.iter().cloned().chain(named).collect();
    if logs.is_empty() {
        return Err(("the policy names no log".to_owned(), USAGE));
    }
    Ok(logs)
}

/// The fork under the first key that confirms it, or why the last one does not.
fn confirm(proof: &ForkProof, logs: &[VerifierKey]) -> Result<Fork, ForkError> {
    let mut outcome = Err(ForkError::Malformed);
    for log in logs {
        outcome = proof.check(log);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// At most a byte more than any proof has.
fn read_proof(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MAX_FORK_PROOF_BYTES as u64 + 1;
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn fork_json(fork: &Fork) -> serde_json::Value {
    let line = |c: &Checkpoint| json!({"size": c.size(), "root": c.root()});
    json!({
        "forked": true,
        "log": fork.smaller().origin(),
        "smaller": line(fork.smaller()),
        "larger": line(fork.larger()),
        "root_of_the_larger_at_the_smaller_size": fork.implied_root(),
    })
}

fn fork_text(fork: &Fork) -> String {
    let (smaller, larger) = (fork.smaller(), fork.larger());
    let mut text = format!("log `{}` signed both:\n", smaller.origin());
    for checkpoint in [smaller, larger] {
        let (size, root) = (checkpoint.size(), checkpoint.root());
        text.push_str(&format!("  {size:>12} entries, root {root}\n"));
    }
    if smaller.size() < larger.size() {
        text.push_str(&format!(
            "but under the second, the first {} entries have the root\n  {:>21} {}\n",
            smaller.size(),
            "",
            fork.implied_root()
        ));
    }
    text.push_str(
        "proven: the log forked. It showed somebody other entries than somebody else, or rewrote \
         what it had signed.\n",
    );
    text
}

fn not_proven(why: &str, as_json: bool) -> String {
    if as_json {
        format!("{}\n", json!({"forked": false, "reason": why}))
    } else {
        format!("not proven: {why}\n")
    }
}
