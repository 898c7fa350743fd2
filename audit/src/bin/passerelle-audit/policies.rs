//! `checkpoint`, and the file behind `--policy`.
//!
//! In scope: reading both files, what is printed. Out of scope: what a policy means, which is the
//! library's `tlog_policy`.

use crate::{FAULT, UNREADABLE, USAGE, VERIFIED};
use clap::Args;
use passerelle_audit::{
    checkpoint::{SignedCheckpoint, open_note},
    cosignature::Cosigned,
    note::{MAX_NOTE_BYTES, Note},
    tlog_policy::{Judgement, MAX_POLICY_BYTES, TlogPolicy},
};
use serde_json::json;
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

pub(crate) const EXAMPLES: &str = "\
Examples:
  passerelle-audit checkpoint checkpoint.txt --policy policy.txt

Exit codes: 0 accepted, 1 not, 2 wrong usage, 3 a file can't be read.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// The checkpoint: a note, as `/checkpoint` of a broker serves it.
    file: PathBuf,
    /// A C2SP tlog-policy file with the log's key.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Reads a policy; or why there is none, and the exit code.
pub(crate) fn given(path: Option<&Path>) -> Result<Option<TlogPolicy>, (String, u8)> {
    path.map(read_policy).transpose()
}

fn read_policy(path: &Path) -> Result<TlogPolicy, (String, u8)> {
    let name = path.display();
    let file = read(path, MAX_POLICY_BYTES)
        .map_err(|error| (format!("`{name}` can't be read: {error}"), UNREADABLE))?;
    TlogPolicy::parse(&file).map_err(|error| (format!("`{name}` is no policy: {error}"), USAGE))
}

/// At most a byte more than there may be.
fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The verdict on a checkpoint, and the exit code.
pub(crate) fn check(arguments: &Arguments) -> (String, u8) {
    match judged(arguments) {
        Ok((policy, signed, judgement)) => {
            let code = if judgement.met { VERIFIED } else { FAULT };
            let text = match arguments.json {
                true => as_json(&policy, &signed, &judgement),
                false => as_text(&policy, &signed, &judgement),
            };
            (text, code)
        }
        Err((message, code)) if arguments.json => {
            let value = json!({"accepted": false, "reason": message});
            (format!("{value}\n"), code)
        }
        Err((message, code)) => (format!("not accepted: {message}\n"), code),
    }
}

fn judged(
    arguments: &Arguments,
) -> Result<(TlogPolicy, SignedCheckpoint, Judgement), (String, u8)> {
    let fault = |message: String| (message, FAULT);
    let policy = read_policy(&arguments.policy)?;
    let name = arguments.file.display();
    let file = read(&arguments.file, MAX_NOTE_BYTES)
        .map_err(|error| (format!("`{name}` can't be read: {error}"), UNREADABLE))?;
    let text = String::from_utf8(file).map_err(|_| fault("not a checkpoint".to_owned()))?;
    let note = Note::parse(&text).map_err(|error| fault(error.to_string()))?;
    if policy.logs().is_empty() {
        return Err(("the policy names no log".to_owned(), USAGE));
    }
    let mut opened = policy
        .logs()
        .iter()
        .map(|log| open_note(note.clone(), log.key()));
    let opened = opened.find_map(Result::ok);
    let none = || fault("none of the logs that the policy names has signed this".to_owned());
    let signed = opened.ok_or_else(none)?;
    let judgement = policy
        .judge(&signed)
        .map_err(|error| fault(error.to_string()))?;
    Ok((policy, signed, judgement))
}

/// Name and time of each witness of the policy.
fn lines<'a>(
    policy: &'a TlogPolicy,
    judgement: &'a Judgement,
) -> impl Iterator<Item = (String, Option<u64>)> + 'a {
    policy.witnesses().iter().map(|witness| {
        let mut cosigned = judgement.cosigned.iter();
        let found = cosigned.find(|c| c.witness() == witness.key());
        (witness.name(), found.map(Cosigned::time_s))
    })
}

fn as_json(policy: &TlogPolicy, signed: &SignedCheckpoint, judgement: &Judgement) -> String {
    let witnesses: Vec<_> = lines(policy, judgement)
        .map(|(name, at)| json!({"name": name, "cosigned_at_s": at}))
        .collect();
    let checkpoint = signed.checkpoint();
    let value = json!({
        "accepted": judgement.met,
        "log": checkpoint.origin(),
        "size": checkpoint.size(),
        "root": checkpoint.root(),
        "quorum": policy.quorum(),
        "witnesses": witnesses,
    });
    format!("{value}\n")
}

fn as_text(policy: &TlogPolicy, signed: &SignedCheckpoint, judgement: &Judgement) -> String {
    let checkpoint = signed.checkpoint();
    let mut text = format!(
        "log `{}`, {} entries, root {}\n",
        checkpoint.origin(),
        checkpoint.size(),
        checkpoint.root()
    );
    for (name, at) in lines(policy, judgement) {
        let said = at.map_or_else(
            || "has not cosigned".to_owned(),
            |at| format!("has cosigned, at {at} s since 1970 by its clock"),
        );
        text.push_str(&format!("  `{name}` {said}\n"));
    }
    let verdict = match judgement.met {
        true => "accepted: the quorum",
        false => "not accepted: not the quorum",
    };
    text.push_str(&format!("{verdict} `{}` of the policy\n", policy.quorum()));
    text
}
