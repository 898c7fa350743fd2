//! A log that goes on under a new origin, from an older copy of the former one (decision 0019).
//!
//! In scope: that the entry fits the tree before it, that keys and names follow each other, that
//! nobody asks before every member has said that nothing of its own is missing, and that what they
//! name is there. Out of scope: what stood in the former log beyond what was carried; its own export
//! is held against this one by the caller (see [`follows`]).

use super::{
    fault::{Fault, FaultCode},
    ledger::{Agency, Ledger, Since, half},
    row::Parsed,
    unreadable,
};
use crate::{
    checkpoint,
    export::{ExportReader, ExportRow},
    merkle::{Frontier, leaf_hash},
    note::VerifierKey,
};
use passerelle_model::{
    entry::{EntryBody, Supersedes, next_origin},
    statement::Resumption,
};
use std::{collections::HashMap, io::BufRead};

/// What the entries so far say of the log's origin.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// The key that they have put in force.
    pub(super) key: String,
    /// Where it went over to another, and how.
    pub(super) entries: Vec<(u64, Supersedes)>,
    /// Who has not gone on since, and since which such entry.
    pub(super) awaited: HashMap<Agency, u64>,
}

/// What is wrong with the form of the entry; `None` if nothing is.
///
/// The key stays and takes the next name: whoever has a former key can't name another as its heir.
pub fn wrong_with(supersedes: &Supersedes) -> Option<&'static str> {
    let Supersedes {
        former,
        key,
        carried,
        newest,
        note,
        members,
    } = supersedes;
    let (Ok(former), Ok(key)) = (former.parse::<VerifierKey>(), key.parse::<VerifierKey>()) else {
        return Some("one of the two keys is no verifier key");
    };
    if key.name() != next_origin(former.name()) || key.kind() != former.kind() {
        return Some("the new origin is not the next one");
    }
    if key.public_key() != former.public_key() {
        return Some("the new origin has another key");
    }
    let same = newest.size == carried.size;
    if newest.size < carried.size || (same && newest.root != carried.root) {
        return Some("the newest checkpoint does not cover what was carried");
    }
    let in_order = members.windows(2).all(|pair| pair.first() < pair.last());
    if members.is_empty() || !in_order {
        return Some("the members are not named in order");
    }
    let signed = note.as_ref().map(|note| checkpoint::open(note, &former));
    match signed {
        None => None,
        Some(Err(_)) => Some("the former log did not sign the note"),
        Some(Ok(signed)) => {
            let signed = signed.checkpoint();
            let fits = signed.size() == newest.size && signed.root() == newest.root;
            (!fits).then_some("the note is of another checkpoint than the newest")
        }
    }
}

impl Ledger {
    /// Whether a log founded under `founding` may be the one that is verified: the same, or one
    /// that had the same key under an earlier origin.
    pub(super) fn may_become(&self, founding: &str) -> bool {
        if founding == self.log_key {
            return true;
        }
        let (Ok(founding), Ok(now)) = (
            founding.parse::<VerifierKey>(),
            self.log_key.parse::<VerifierKey>(),
        ) else {
            return false;
        };
        let generation = now.name().strip_prefix(founding.name());
        let generation = generation.and_then(|rest| rest.strip_prefix('/'));
        let is_later = generation.and_then(|n| n.parse::<u64>().ok());
        founding.public_key() == now.public_key() && is_later.is_some_and(|n| n >= 2)
    }

    /// The log must have gone over to the key under which it is shown.
    pub(super) fn goes_by_its_key(&self) -> Result<(), Fault> {
        let key = &self.origin.key;
        if *key == self.log_key || key.is_empty() || self.is_excused(Since::Ever) {
            return Ok(());
        }
        let message = "the log is shown under a key that its entries do not put in force";
        Err(Fault::whole(FaultCode::Origin, message))
    }

    /// The root that a new origin states, held against the tree before its entry.
    pub(super) fn check_new_origin(&mut self, row: &Parsed) -> Result<(), Fault> {
        let body = row.entry.as_ref().map(|readable| &readable.entry.body);
        let Some(EntryBody::Supersedes(supersedes)) = body else {
            return Ok(());
        };
        let carried = &supersedes.carried;
        if carried.size == self.frontier.size() && carried.root == self.frontier.root() {
            return Ok(());
        }
        let message = "what it says to carry is not what stands before it";
        Err(self.fault(FaultCode::Origin, message))
    }

    pub(super) fn superseded_by(&mut self, supersedes: &Supersedes) -> Result<(), Fault> {
        if let Some(wrong) = wrong_with(supersedes) {
            return Err(self.fault(FaultCode::Origin, wrong));
        }
        let follows = self.origin.key == supersedes.former;
        let message = || "it takes the place of another log than this one".to_owned();
        self.require(follows, Since::Ever, FaultCode::Origin, message)?;
        self.origin.key.clone_from(&supersedes.key);
        self.origin.entries.push((self.index, supersedes.clone()));
        for name in &supersedes.members {
            let agency = self.agency(name);
            self.require_active(agency)?;
        }
        for (agency, member) in (0..).zip(&self.members) {
            if member.active {
                self.origin.awaited.insert(agency, self.index);
            }
        }
        Ok(())
    }

    /// Nobody may ask while a member is awaited.
    pub(super) fn require_recovered(&mut self) -> Result<(), Fault> {
        let mut awaited = self.origin.awaited.keys();
        let late = awaited.find_map(|agency| self.member(*agency).filter(|m| m.active));
        let Some(late) = late.map(|member| member.name.clone()) else {
            return Ok(());
        };
        let message = || format!("asked before `{late}` had gone on under the new origin");
        self.require(false, Since::Ever, FaultCode::Origin, message)
            .map(drop)
    }

    pub(super) fn resumed(&mut self, agency: Agency, said: &Resumption) -> Result<(), Fault> {
        let since = self.origin.awaited.get(&agency).copied();
        let message = || "an agency goes on that was not awaited".to_owned();
        let right = since == Some(said.supersedes);
        self.require(right, Since::Ever, FaultCode::WrongState, message)?;
        let mut awaited = self.origin.awaited.keys();
        // With one that left for good its consents are void, and withdrawals of them can't enter.
        let left = awaited.any(|a| *a != agency && self.member(*a).is_none_or(|m| !m.active));
        let lacking = said.withdrawals.iter();
        let lacking = lacking.copied().any(|d| !self.seen.contains(&half(&d.0)));
        let message = || "a withdrawal that was lost with the former origin is missing".to_owned();
        self.require(left || !lacking, Since::Ever, FaultCode::Origin, message)?;
        if said.complete {
            self.origin.awaited.remove(&agency);
        }
        Ok(())
    }
}

/// Holds the export of a former log against the entry that says what was carried of it: the log
/// signed it, and at the sizes that the entry names it had the roots that the entry names, as far
/// as this export goes.
///
/// # Errors
/// The first thing that does not hold.
pub fn follows(former: impl BufRead, supersedes: &Supersedes) -> Result<(), Fault> {
    let wrong = |message: String| Fault::whole(FaultCode::Origin, message);
    let mut reader = ExportReader::new(former).map_err(|error| unreadable(error, None))?;
    let header = reader.header().clone();
    if header.checkpoint_key != supersedes.former {
        let message = format!("the former log is `{}`", header.checkpoint_key);
        return Err(wrong(message));
    }
    let key: VerifierKey = supersedes
        .former
        .parse()
        .map_err(|error| Fault::whole(FaultCode::Key, format!("the former log's key: {error}")))?;
    let signed = checkpoint::open(&header.checkpoint, &key)
        .map_err(|error| Fault::whole(FaultCode::Checkpoint, error.to_string()))?;
    let size = signed.checkpoint().size();
    if size < supersedes.carried.size {
        return Err(wrong(format!(
            "the former log's export has {size} entries, {} were carried",
            supersedes.carried.size
        )));
    }
    let mut frontier = Frontier::new();
    let mut line = Vec::new();
    loop {
        for head in [&supersedes.carried, &supersedes.newest] {
            if head.size == frontier.size() && head.root != frontier.root() {
                let message = format!("the former log had another root at {} entries", head.size);
                return Err(wrong(message));
            }
        }
        let index = frontier.size();
        let read = reader.next_line(&mut line);
        if !read.map_err(|error| unreadable(error, Some(index)))? {
            break;
        }
        let row = ExportRow::parse(&line);
        let row = row.map_err(|message| Fault::at(index, FaultCode::Row, message))?;
        if row.index() != index {
            return Err(Fault::at(index, FaultCode::Order, "a row is out of place"));
        }
        frontier.push(match row {
            ExportRow::Entry { entry, .. } => leaf_hash(&entry),
            ExportRow::Hidden { leaf_hash, .. } => leaf_hash,
        });
    }
    if frontier.size() == size && frontier.root() == signed.checkpoint().root() {
        return Ok(());
    }
    let message = "the rows of the former log's export are not those that it signed";
    Err(Fault::whole(FaultCode::Root, message))
}
