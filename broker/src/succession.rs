//! Going on under a new origin, from an older copy of the log (decision 0019).
//!
//! In scope: the entry that says so, made on the directory of a broker that does not run, and the
//! announcement that the agencies accept or not. Out of scope: what the agencies then say again
//! (`passerelle_agent::origin`), and what the log makes of it (`passerelle_model::decide`).

use crate::{
    clock,
    error::BrokerError,
    home::{self, Home},
    ledger::{Ledger, View},
    operator::{is_running, offline_ledger},
    serve::pdp_with,
    services::index_of,
};
use passerelle_audit::{
    announcement::{Announcement, FORMAT},
    checkpoint::{self, Checkpoint},
    note::{Signer, VerifierKey},
    verify::wrong_with,
};
use passerelle_model::{
    bytes::{Bytes, Digest},
    decide::Command,
    entry::{EntryBody, Supersedes, TreeHead, next_origin},
    error::ErrorCode,
    ids::AgencyId,
    state,
};
use std::path::Path;

/// What an agency is known to have cosigned last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newest {
    /// As its agent's status says: size in entries, and root.
    Head(TreeHead),
    /// The signed note.
    Note(String),
}

/// A log that goes on under a new origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succeeded {
    /// The new origin.
    pub origin: String,
    /// The new verifier key.
    pub key: String,
    /// Index of the entry.
    pub index: u64,
    /// What every agency gets.
    pub announcement: String,
}

fn not_so(message: impl Into<String>) -> BrokerError {
    BrokerError::NotSuperseded(message.into())
}

/// Ends the origin of the log in `dir`, and goes on under the next one with these members. The
/// broker must not run.
///
/// # Errors
/// What stands against it. Nothing has changed then.
pub async fn supersede(
    dir: &Path,
    newest: Newest,
    mut members: Vec<AgencyId>,
) -> Result<Succeeded, BrokerError> {
    if is_running(dir).await {
        return Err(BrokerError::Runs);
    }
    let home = Home::open(dir)?;
    let mut ledger = offline_ledger(dir)?;
    members.sort();
    members.dedup();
    let (supersedes, signer) = entry(&home, &ledger, newest, members)?;
    let pdp = pdp_with(home.config.packs.as_ref())?;
    let mut batch = ledger.batch(pdp.as_ref());
    let command = Command::Supersede(Box::new(supersedes));
    let (reply, _) = batch.run(&command, clock::now(), home::random()?)?;
    let finished = batch.finish();
    let index = index_of(reply)?;
    // One durable write: the entry, the requests that it stops, and who is shut out.
    ledger.commit(finished)?;
    announced(ledger.view(), &signer, index)
}

/// The announcement of the newest origin once more.
///
/// # Errors
/// The log has gone over to none.
pub async fn announce(dir: &Path) -> Result<Succeeded, BrokerError> {
    if is_running(dir).await {
        return Err(BrokerError::Runs);
    }
    let home = Home::open(dir)?;
    let ledger = offline_ledger(dir)?;
    let view = ledger.view();
    let federation = state::federation(view.projection.as_ref())?;
    let federation = federation.ok_or(BrokerError::Refused(ErrorCode::WrongState))?;
    let signer = home.checkpoint_under(&federation.keys.checkpoint)?;
    let membership = state::membership(view.projection.as_ref(), 0, usize::MAX)?;
    for index in membership.into_iter().rev() {
        let durable = view.record(index)?;
        let body = durable.map(|durable| durable.record.entry.body.clone());
        if let Some(EntryBody::Supersedes(_)) = body {
            return announced(view, &signer, index);
        }
    }
    Err(not_so("it stands under its first origin"))
}

fn entry(
    home: &Home,
    ledger: &Ledger,
    newest: Newest,
    members: Vec<AgencyId>,
) -> Result<(Supersedes, Signer), BrokerError> {
    let projection = ledger.view().projection.as_ref();
    let federation = state::federation(projection)?;
    let federation = federation.ok_or(BrokerError::Refused(ErrorCode::WrongState))?;
    let former: VerifierKey = federation.keys.checkpoint.parse()?;
    let carried = TreeHead {
        size: ledger.next_index(),
        root: ledger.root(),
    };
    let (newest, note) = head(newest, &former)?;
    if newest.size < carried.size {
        return Err(not_so(format!(
            "{} entries are given as the most that anybody has cosigned, and {} are here: name the \
             newest checkpoint that an agency has cosigned",
            newest.size, carried.size
        )));
    }
    for agency in &members {
        if state::member(projection, agency)?.is_none() {
            return Err(not_so(format!(
                "`{agency}` is no member in this copy: leave it out, and invite it again"
            )));
        }
    }
    let origin = next_origin(former.name());
    let key = VerifierKey::new(&origin, former.kind(), *former.public_key())?;
    let signer = home.checkpoint_under(&key.to_string())?;
    let supersedes = Supersedes {
        former: former.to_string(),
        key: key.to_string(),
        carried,
        newest,
        note,
        members,
    };
    match wrong_with(&supersedes) {
        Some(wrong) => Err(not_so(wrong)),
        None => Ok((supersedes, signer)),
    }
}

/// Size and root, and the note if there is one.
fn head(newest: Newest, former: &VerifierKey) -> Result<(TreeHead, Option<String>), BrokerError> {
    let note = match newest {
        Newest::Head(head) => return Ok((head, None)),
        Newest::Note(note) => note,
    };
    let signed = checkpoint::open(&note, former)?;
    let head = TreeHead {
        size: signed.checkpoint().size(),
        root: signed.checkpoint().root(),
    };
    Ok((head, Some(note)))
}

fn announced(view: &View, signer: &Signer, index: u64) -> Result<Succeeded, BrokerError> {
    let tree = view.tree();
    let size = tree.size();
    let internal = || BrokerError::Refused(ErrorCode::Internal);
    let proof: Vec<Digest> = tree.inclusion_proof(index, size).map_err(|_| internal())?;
    let origin = signer.verifier_key().name().to_owned();
    let checkpoint = Checkpoint::new(&origin, size, tree.root())?.sign(signer)?;
    let raw = view.journal.read(index)?.ok_or_else(internal)?;
    let announcement = Announcement {
        format: FORMAT.to_owned(),
        checkpoint: checkpoint.note().to_string(),
        entry: Bytes(raw.entry),
        proof,
    };
    // What the agencies will say of it is said here first.
    let checked = announcement.check().and_then(|_| announcement.to_text());
    let announcement = checked.map_err(|error| not_so(error.to_string()))?;
    Ok(Succeeded {
        origin,
        key: signer.verifier_key().to_string(),
        index,
        announcement,
    })
}
