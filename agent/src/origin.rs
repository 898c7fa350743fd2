//! Going on under a new origin of the log, by an act of this agency's operator (decision 0019).
//!
//! In scope: whether an announcement covers what this agency has seen and cosigned, what of its own
//! may have been lost and is said again, and what that does to the projection.
//! Out of scope: the form of the announcement ([`passerelle_audit::announcement`]); what the log
//! makes of it, which is checked like any other entry.
//!
//! From then on this agency's witness follows the new origin alone: it can't cosign the former one
//! any more. Nothing that was asked or permitted under the former one is answered. What withdraws or
//! ends stays withdrawn and ended here, whatever the new log says of it.

use crate::{
    apply::{edit_ask, edit_hold, edit_meta},
    clock::{Clock as _, SystemClock},
    context::Context,
    core::CoreError,
    event::{Event, OriginAccepted, Stated, Transaction},
    home::{Home, HomeError},
    late, mirror, rules, seals, standing,
    state::{self, SentRow, key},
    store::Store,
};
use passerelle_audit::{
    announcement::{Announced, Announcement, AnnouncementError},
    checkpoint,
    note::VerifierKey,
    witness::WitnessState,
};
use passerelle_journal::{JournalError, JournalReader, files::OsDisk};
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::AgencyId,
    request::Status,
    statement::{Body, MAX_RESUMED, Resumption},
    store::{Overlay, Read, StoreError},
};
use std::{io, ops::ControlFlow, path::Path, sync::Arc};

/// Entries `supersedes` that this agency has accepted: what the log must show at that index.
const ACCEPTED: &str = "origin/";

/// Why a new origin is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Journal or projection.
    #[error(transparent)]
    Core(CoreError),
    /// The file.
    #[error(transparent)]
    Announcement(#[from] AnnouncementError),
    /// Another log.
    #[error("this agency follows the log `{follows}`, the announcement takes the place of `{of}`")]
    OtherLog {
        /// What it follows.
        follows: String,
        /// What is superseded.
        of: String,
    },
    /// What was lost is more than it says.
    #[error(
        "the announcement says that nobody has cosigned more than {named} entries, this agency has \
         cosigned {cosigned}: the operator must name that, or more was lost than it says"
    )]
    TooLow {
        /// The newest checkpoint that it names.
        named: u64,
        /// What this witness has cosigned.
        cosigned: u64,
    },
    /// Another history.
    #[error(
        "of {0} entries this agency has cosigned another root than the announcement names: this is \
         another history; tell the oversight body"
    )]
    OtherRoot(u64),
    /// This agency is not a member any more.
    #[error("the announcement does not name this agency as a member: ask for an invitation")]
    NotAMember,
    /// Somebody comes back.
    #[error("the announcement names `{0}` as a member, which was shut out of the federation")]
    Returns(AgencyId),
    /// Writing failed.
    #[error("{why} (code `{0}`)", why = .0.explanation())]
    Failed(ErrorCode),
    /// The mirror can't be put aside.
    #[error("`{path}` can't be put aside: {source}")]
    Mirror {
        /// Where it is.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

impl OriginError {
    /// The code for programs.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Home(_) | Self::Core(_) | Self::Mirror { .. } => ErrorCode::Storage,
            Self::Announcement(_) => ErrorCode::Malformed,
            Self::OtherLog { .. } | Self::TooLow { .. } | Self::NotAMember | Self::Returns(_) => {
                ErrorCode::WrongState
            }
            Self::OtherRoot(_) => ErrorCode::ProofInvalid,
            Self::Failed(code) => *code,
        }
    }
}

/// What was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The origin from here on.
    pub origin: String,
    /// How many entries of the former log were carried.
    pub carried: u64,
    /// How many statements are said again.
    pub again: usize,
    /// Whether it was accepted before: then nothing was done.
    pub before: bool,
}

/// Accepts the new origin that `file` announces, for the agent in `dir`, which must not run. Safe to
/// repeat.
///
/// # Errors
/// What stands against it. Nothing has changed then.
pub fn accept(dir: &Path, file: &str) -> Result<Accepted, OriginError> {
    let announced = Announcement::parse(file)?.check()?;
    let home = Home::new(dir);
    home.require_not_running()?;
    let context = Context::load(&home)?;
    let me = context.identity.anchors.agency.clone();
    let store = Store::open_on(dir, me, context.vault.clone(), Arc::new(OsDisk));
    let mut store = store.map_err(|error| match error {
        CoreError::Journal(JournalError::InUse { .. }) => HomeError::Running(home.shown()).into(),
        other => OriginError::Core(other),
    })?;
    let index = announced.supersedes.carried.size;
    let known = expected(store.view(), index).map_err(failed)?;
    if known == Some(announced.entry) {
        put_mirror_aside(dir, &announced.key)?;
        return Ok(Accepted {
            origin: announced.key.name().to_owned(),
            carried: index,
            again: 0,
            before: true,
        });
    }
    let past = Past::read(store.reader().as_ref()).map_err(OriginError::Core)?;
    check(&context, store.view(), &announced, &past)?;
    let event = event(&context, store.view(), &announced, past)?;
    let again = event.again.len();
    let now = SystemClock.now();
    let accepted = Event::OriginAccepted(Box::new(event));
    let written = store.run(now, |_| Ok((vec![accepted], ())));
    written.map_err(OriginError::Failed)?;
    put_mirror_aside(dir, &announced.key)?;
    Ok(Accepted {
        origin: announced.key.name().to_owned(),
        carried: index,
        again,
        before: false,
    })
}

fn failed(_: StoreError) -> OriginError {
    OriginError::Failed(ErrorCode::Storage)
}

/// What this agency's own journal has that the projection has forgotten.
#[derive(Default)]
struct Past {
    /// What its witness accepted under the origin that it follows, in order.
    witnessed: Vec<WitnessState>,
    /// Its papers, in the order in which it said them.
    papers: Vec<Stated>,
}

impl Past {
    fn read(journal: &dyn JournalReader) -> Result<Self, CoreError> {
        let mut past = Self::default();
        let mut unreadable = None;
        journal.scan(0, &mut |index, record| {
            let Ok(transaction) = Transaction::from_record(&record) else {
                unreadable = Some(index);
                return ControlFlow::Break(());
            };
            for event in transaction.events {
                match event {
                    Event::Witnessed(state) => past.witnessed.push(state),
                    // What it cosigned of an earlier origin, and of entries that this one lacks.
                    Event::OriginAccepted(accepted) => past.witnessed = vec![accepted.witness],
                    Event::Stated(stated) if body(&stated).is_some_and(|b| b.is_paper()) => {
                        past.papers.push(*stated);
                    }
                    _ => {}
                }
            }
            ControlFlow::Continue(())
        })?;
        unreadable.map_or(Ok(past), |index| Err(CoreError::Record(index)))
    }

    /// What was cosigned last of the entries that were carried: the new log must extend that.
    fn within(&self, size: u64) -> WitnessState {
        let states = self.witnessed.iter().filter(|state| state.size <= size);
        states
            .max_by_key(|state| state.size)
            .copied()
            .unwrap_or_default()
    }
}

fn body(stated: &Stated) -> Option<Body> {
    stated.envelope.unverified_statement().ok().map(|s| s.body)
}

fn check(
    context: &Context,
    view: &dyn Read,
    announced: &Announced,
    past: &Past,
) -> Result<(), OriginError> {
    let supersedes = &announced.supersedes;
    let meta = state::meta(view).map_err(failed)?;
    let follows = followed(context, view).map_err(failed)?;
    // Who enrolled again meanwhile has the new key already, and has accepted nothing.
    if follows != announced.former && follows != announced.key {
        return Err(OriginError::OtherLog {
            follows: follows.name().to_owned(),
            of: announced.former.name().to_owned(),
        });
    }
    if meta.witness.size > supersedes.newest.size {
        return Err(OriginError::TooLow {
            named: supersedes.newest.size,
            cosigned: meta.witness.size,
        });
    }
    for head in [&supersedes.carried, &supersedes.newest] {
        let mut cosigned = past.witnessed.iter();
        if cosigned.any(|state| state.size == head.size && state.root != head.root) {
            return Err(OriginError::OtherRoot(head.size));
        }
    }
    let me = &context.identity.anchors.agency;
    // Who had joined after the copy was made has joined again since, by an invitation.
    if !supersedes.members.contains(me) && follows != announced.key {
        return Err(OriginError::NotAMember);
    }
    for agency in &supersedes.members {
        let row = state::member(view, agency).map_err(failed)?;
        if row.is_some_and(|row| !row.active) {
            return Err(OriginError::Returns(agency.clone()));
        }
    }
    Ok(())
}

/// What is said again: each of its own papers that the log had taken after what this witness has
/// cosigned of the carried entries. What was carried all the same is answered as a replay.
fn event(
    context: &Context,
    view: &dyn Read,
    announced: &Announced,
    past: Past,
) -> Result<OriginAccepted, OriginError> {
    let index = announced.supersedes.carried.size;
    let witness = past.within(index);
    let me = &context.identity.anchors.agency;
    let is_awaited = announced.supersedes.members.contains(me);
    let mut again = Vec::new();
    for stated in past.papers {
        // Of who joined again nobody knows whether it comes before what others say again: what it
        // gave is given anew, by people.
        if !is_awaited && !matches!(body(&stated), Some(Body::Withdrawal(_))) {
            continue;
        }
        let sent = state::sent(view, &stated.envelope.digest()).map_err(failed)?;
        let was_taken =
            |sent: SentRow| sent.code.is_none() && sent.index.is_none_or(|at| at >= witness.size);
        if sent.is_some_and(was_taken) {
            again.push(stated);
        }
    }
    let waiting = state::outbox(view, None, usize::MAX).map_err(failed)?;
    let waiting = waiting.iter().map(|(_, stated)| stated);
    let withdraws = |stated: &&Stated| matches!(body(stated), Some(Body::Withdrawal(_)));
    let withdrawals = again.iter().chain(waiting).filter(withdraws);
    let withdrawals: Vec<Digest> = withdrawals.map(|s| s.envelope.digest()).collect();
    let resumptions = match is_awaited {
        true => resumptions(context, index, &withdrawals).map_err(OriginError::Failed)?,
        false => Vec::new(),
    };
    Ok(OriginAccepted {
        entry: announced.entry,
        index,
        key: announced.key.to_string(),
        witness,
        again,
        resumptions,
    })
}

fn resumptions(
    context: &Context,
    supersedes: u64,
    withdrawals: &[Digest],
) -> Result<Vec<Stated>, ErrorCode> {
    let now = SystemClock.now();
    let mut parts: Vec<&[Digest]> = withdrawals.chunks(MAX_RESUMED).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let last = parts.len().saturating_sub(1);
    let say = |(number, part): (usize, &[Digest])| {
        let body = Body::Resumption(Resumption {
            supersedes,
            withdrawals: part.to_vec(),
            complete: number == last,
        });
        Ok(context.say(now, body)?.done())
    };
    parts.into_iter().enumerate().map(say).collect()
}

/// Puts a mirror aside that is of the former log. It stays as it is, for whoever wants to compare.
fn put_mirror_aside(dir: &Path, key: &VerifierKey) -> Result<(), OriginError> {
    let path = dir.join(mirror::DIRECTORY);
    let note = std::fs::read_to_string(path.join(mirror::CHECKPOINT));
    let is_new = note.is_ok_and(|note| checkpoint::open(&note, key).is_ok());
    if is_new || !path.exists() {
        return Ok(());
    }
    let mut number = 1_u32;
    let mut target = dir.join("mirror.1");
    while target.exists() {
        number = number.saturating_add(1);
        target = dir.join(format!("mirror.{number}"));
    }
    std::fs::rename(&path, &target).map_err(|source| OriginError::Mirror {
        path: path.display().to_string(),
        source,
    })
}

/// The key of the log that this agency follows: that of its enrolment, or that of the newest origin
/// that it has accepted.
///
/// # Errors
/// The store.
pub fn followed(context: &Context, view: &dyn Read) -> Result<VerifierKey, StoreError> {
    let enrolled = &context.identity.anchors.log;
    let Some(key) = state::meta(view)?.origin else {
        return Ok(enrolled.clone());
    };
    key.parse()
        .map_err(|_| StoreError("a row is not in the form of this version".to_owned()))
}

fn accepted_at(index: u64) -> Vec<u8> {
    key::of(ACCEPTED, &index.to_be_bytes())
}

/// The entry that the log must show at `index`: that which this agency has accepted there.
///
/// # Errors
/// The store.
pub(crate) fn expected(view: &dyn Read, index: u64) -> Result<Option<Digest>, StoreError> {
    state::load(view, &accepted_at(index))
}

/// This agency's own word that nothing of its own is missing came back from the log.
pub(crate) fn resumed(
    view: &mut Overlay<'_>,
    me: &AgencyId,
    agency: &AgencyId,
) -> Result<(), StoreError> {
    if agency != me {
        return Ok(());
    }
    edit_meta(view, |meta| meta.resuming = false)
}

/// Carries out [`Event::OriginAccepted`].
///
/// # Errors
/// As [`apply`](crate::apply::apply).
pub(crate) fn accepted(
    view: &mut Overlay<'_>,
    accepted: &OriginAccepted,
) -> Result<(), StoreError> {
    let index = accepted.index;
    state::put(view, accepted_at(index), &accepted.entry)?;
    // Who is a member, and by which rules all work, is heard anew, each with a proof by the new key.
    clear(view, key::MEMBER.as_bytes())?;
    rules::forget(view)?;
    late::forget_from(view, index)?;
    seals::forget_from(view, index)?;
    standing::take_back(view, index)?;
    stop_questions(view)?;
    stop_holding(view)?;
    edit_meta(view, |meta| {
        meta.origin = Some(accepted.key.clone());
        meta.origin_since = index;
        meta.resuming = !accepted.resumptions.is_empty();
        meta.witness = accepted.witness;
        meta.next_member = 0;
        meta.next_notice = meta.next_notice.min(index);
        let sealed = meta.sealed.take();
        meta.sealed = sealed.map(|(until, at)| (until.min(index), at));
    })?;
    say_again(view, accepted)
}

/// Removes every row of a table.
pub(crate) fn clear(view: &mut Overlay<'_>, table: &[u8]) -> Result<(), StoreError> {
    for (row, _) in view.scan(table, None, usize::MAX)? {
        view.write(row, None);
    }
    Ok(())
}

const SUPERSEDED: &str = "superseded";

/// What was asked under the former origin gets no answer. What has not left is asked under the new.
fn stop_questions(view: &mut Overlay<'_>) -> Result<(), StoreError> {
    for (_, bytes) in view.scan(key::ASK.as_bytes(), None, usize::MAX)? {
        let row: state::AskRow = state::decode(&bytes)?;
        if row.status.is_open() && state::sent(view, &row.statement)?.is_some() {
            edit_ask(view, &row.request.request, |row| {
                row.status = Status::Stopped;
                row.stopped = Some(SUPERSEDED.to_owned());
            })?;
        }
    }
    Ok(())
}

/// No permit of the former origin is used any more.
fn stop_holding(view: &mut Overlay<'_>) -> Result<(), StoreError> {
    for (_, bytes) in view.scan(key::HOLD.as_bytes(), None, usize::MAX)? {
        let row: state::HoldRow = state::decode(&bytes)?;
        if row.status.is_open() || row.given.as_ref().is_some_and(|given| !given.accepted) {
            edit_hold(view, &row.request, |row| {
                row.status = Status::Stopped;
                row.stopped = Some(SUPERSEDED.to_owned());
                (row.given, row.renewing, row.postponed) = (None, None, None);
            })?;
        }
    }
    Ok(())
}

/// The outbox in its new order: what the log may have lost, what had not left, and that this is all.
/// So a withdrawal that waited comes after the consent that was lost.
fn say_again(view: &mut Overlay<'_>, accepted: &OriginAccepted) -> Result<(), StoreError> {
    let mut waiting = Vec::new();
    for (seq, stated) in state::outbox(view, None, usize::MAX)? {
        view.write(key::out(seq), None);
        if let Some(Body::Answer(_) | Body::Renewal(_)) = body(&stated) {
            // Under a permit that does not count any more.
            let sent = SentRow {
                code: Some(ErrorCode::PermitWithdrawn),
                index: None,
            };
            let digest = stated.envelope.digest();
            state::put(view, key::of(key::SENT, &digest.0), &sent)?;
        } else {
            waiting.push(stated);
        }
    }
    let mut next = state::meta(view)?.next_out;
    let mut count = 0_u64;
    let all = accepted.again.iter().chain(&waiting);
    for stated in all.chain(&accepted.resumptions) {
        state::put(view, key::out(next), stated)?;
        next = next.saturating_add(1);
        count = count.saturating_add(1);
    }
    edit_meta(view, |meta| {
        (meta.next_out, meta.outbox) = (next, count);
        meta.withdrawn_before = next;
    })
}

#[cfg(test)]
mod tests;
