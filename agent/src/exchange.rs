//! The agent's end of the stream, as a state machine: frames and time in, frames out.
//!
//! In scope: hello and welcome, which statements are sent when and again, replies that are due,
//! what a frame asks for. Synchronous, without a clock: [`crate::session`] drives it over a real
//! stream, the simulation over a simulated one.
//! Out of scope: carrying out what a frame asks for ([`crate::inbound`], [`crate::witness`]), when
//! to connect again.

use crate::{
    context::Context,
    event::{Event, Stated},
    ground,
    holder::storage,
    inbound::{Settlement, answer_in, settlement},
    rights::record::restriction_at,
    rules,
    state::{self, Meta},
    vault::VaultError,
};
use passerelle_audit::dsse;
use passerelle_model::{
    commitment::{Field, Opening},
    error::ErrorCode,
    ids::RequestId,
    seeded::{Bug, seeded},
    statement::{Body, PAYLOAD_ANSWER, PAYLOAD_TYPE},
    store::Read,
    time::Timestamp,
    vocabulary::Outcome,
};
use passerelle_proto::{
    PROTOCOL, convert,
    v1::{self, agent_frame, broker_frame},
};
use std::{collections::BTreeMap, time::Duration};

/// Statements that may be under way.
pub const WINDOW: usize = 64;
/// Statements that are noted as waiting for their time: what comes after them waits too.
const MAX_WAITING: usize = 4_096;
/// How long attaching, one frame and one reply may take.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How long to wait before a statement is sent again that met a passing refusal.
pub const RETRY: Duration = Duration::from_secs(1);
/// How long a question or an answer waits before the rules are looked at again.
pub const UNLAWFUL: Duration = Duration::from_secs(5);
/// When to look again for a place on the stream.
pub const CONGESTED: Duration = Duration::from_millis(10);

/// One moment, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the machine's clock, which people may set.
    pub wall: Timestamp,
    /// Since some moment in the past, by a clock that nobody sets.
    pub steady: Duration,
}

/// One stream, from hello to its end.
pub struct Exchange {
    /// Statements before this place in the outbox may be signed by a key that was replaced since.
    sign_before: u64,
    /// Statements that were sent, by place in the outbox, with the time by which a reply is due.
    in_flight: BTreeMap<u64, Duration>,
    /// Place of the last statement that was looked at: the rows of the outbox are large, and none
    /// is read twice without need.
    seen: Option<u64>,
    /// Those up to there that are yet to be sent.
    waiting: BTreeMap<u64, Waiting>,
    paused_until: Option<Duration>,
}

/// A statement that is yet to be sent.
struct Waiting {
    /// Not before this.
    not_before: Timestamp,
    /// Itself, if it was due when its row was read: what is due leaves in a moment, and what is
    /// not would take memory until then.
    stated: Option<Box<Stated>>,
}

/// What is to be sent.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// These, in order.
    pub frames: Vec<agent_frame::Frame>,
    /// To be journaled, one by one: what can't ever be sent.
    pub lost: Vec<Event>,
    /// Places of answers that must not leave any more: see [`crate::inbound::hold_back`].
    pub fallen: Vec<u64>,
    /// When to look again, by the steady clock, whatever happens until then.
    pub wake: Option<Duration>,
}

/// What a frame asks for.
pub enum Asked {
    /// To journal what became of a statement, then [`Exchange::settled`].
    Settle(Settlement),
    /// To take in a notice.
    TakeIn(v1::Notice),
    /// To weigh a checkpoint.
    Weigh(v1::WitnessRound),
    /// To hand on an evaluation.
    Evaluated(v1::Evaluated),
}

/// The first frame, of an agency that follows the log with this origin.
pub fn hello(meta: &Meta, origin: &str) -> agent_frame::Frame {
    let forgets = seeded(Bug::WitnessForgets);
    agent_frame::Frame::Hello(v1::Hello {
        protocol: PROTOCOL,
        next_notice: meta.next_notice,
        next_member: meta.next_member,
        witness_size: if forgets { 0 } else { meta.witness.size },
        origin: origin.to_owned(),
    })
}

/// Checks the first frame that comes back.
///
/// # Errors
/// [`ErrorCode::Malformed`].
pub fn welcome(frame: Option<&broker_frame::Frame>) -> Result<(), ErrorCode> {
    match frame {
        Some(broker_frame::Frame::Welcome(welcome)) if welcome.protocol == PROTOCOL => Ok(()),
        _ => Err(ErrorCode::Malformed),
    }
}

/// The event that settles a statement whose openings are lost: it can never be sent.
fn given_up(seq: u64, request: &RequestId) -> Event {
    tracing::error!(%request, "the secrets of the request are damaged; it is given up");
    Event::Settled {
        seq,
        code: Some(ErrorCode::Storage),
        index: None,
    }
}

impl Exchange {
    /// A stream that begins now. What is stated from here on is signed by the keys in force.
    pub fn new(meta: &Meta) -> Self {
        Self {
            sign_before: meta.next_out,
            in_flight: BTreeMap::new(),
            seen: None,
            waiting: BTreeMap::new(),
            paused_until: None,
        }
    }

    /// What is due and not under way, in order, at most `room` frames.
    ///
    /// # Errors
    /// The store or the vault.
    pub fn outgoing(
        &mut self,
        view: &dyn Read,
        context: &Context,
        now: Moment,
        room: usize,
    ) -> Result<Outgoing, ErrorCode> {
        let mut out = Outgoing::default();
        if self.paused_until.is_some_and(|until| now.steady < until) {
            out.wake = self.paused_until;
            return Ok(out);
        }
        self.paused_until = None;
        self.look(view, now.wall)?;
        let is_due = |(_, waiting): &(&u64, &Waiting)| waiting.not_before <= now.wall;
        let due: Vec<u64> = self.waiting.iter().filter(is_due).map(|w| *w.0).collect();
        let withdrawn_before = state::meta(view).map_err(storage)?.withdrawn_before;
        let rules = rules::rules(view).map_err(storage)?;
        let is_lawful = context.bundles.usable(&rules, now.wall).is_ok();
        for seq in due {
            if self.in_flight.len() >= WINDOW {
                break;
            }
            if out.frames.len() >= room {
                // To wait here for the broker to read, while it waits for us to read, would be
                // for ever.
                out.wake = Some(now.steady.saturating_add(CONGESTED));
                return Ok(out);
            }
            let read = self.waiting.remove(&seq).and_then(|waiting| waiting.stated);
            let stated = match read {
                Some(stated) => Some(*stated),
                None => state::outgoing(view, seq).map_err(storage)?,
            };
            let Some(stated) = stated else {
                continue;
            };
            if seq < withdrawn_before && rests_on_nothing(view, &stated, now.wall)?
                || is_kept_back(view, &stated, now.wall)?
            {
                out.fallen.push(seq);
                continue;
            }
            if !is_lawful && asks_or_answers(&stated) {
                let ms = u64::try_from(UNLAWFUL.as_millis()).unwrap_or(u64::MAX);
                let waiting = Waiting {
                    not_before: Timestamp(now.wall.0.saturating_add(ms)),
                    stated: None,
                };
                self.waiting.insert(seq, waiting);
                continue;
            }
            match submit(view, context, seq < self.sign_before, seq, stated)? {
                Ok(frame) => {
                    out.frames.push(frame);
                    self.in_flight
                        .insert(seq, now.steady.saturating_add(DEADLINE));
                }
                Err(request) => out.lost.push(given_up(seq, &request)),
            }
        }
        let times = self.waiting.values().map(|waiting| waiting.not_before);
        let later = times.filter(|at| *at > now.wall).min();
        out.wake = later.map(|at| {
            let ms = at.0.saturating_sub(now.wall.0);
            now.steady.saturating_add(Duration::from_millis(ms))
        });
        Ok(out)
    }

    /// Notes what is new in the outbox, until as much is due as could be under way.
    fn look(&mut self, view: &dyn Read, now: Timestamp) -> Result<(), ErrorCode> {
        let is_due = |waiting: &&Waiting| waiting.not_before <= now;
        let mut due = self.waiting.values().filter(is_due).count();
        while self.waiting.len() < MAX_WAITING && due < WINDOW {
            let page = state::outbox(view, self.seen, WINDOW).map_err(storage)?;
            if page.is_empty() {
                break;
            }
            for (seq, stated) in page {
                self.seen = Some(seq);
                let not_before = stated.not_before;
                let stated = (not_before <= now).then(|| Box::new(stated));
                due = due.saturating_add(usize::from(stated.is_some()));
                self.waiting.insert(seq, Waiting { not_before, stated });
            }
        }
        Ok(())
    }

    /// When the first reply is due, by the steady clock: without it the stream is given up.
    pub fn reply_due(&self) -> Option<Duration> {
        self.in_flight.values().min().copied()
    }

    /// What a frame after the welcome asks for.
    ///
    /// # Errors
    /// [`ErrorCode::Malformed`]: the stream is given up.
    pub fn on_frame(&mut self, frame: broker_frame::Frame) -> Result<Asked, ErrorCode> {
        Ok(match frame {
            broker_frame::Frame::Welcome(_) => return Err(ErrorCode::Malformed),
            broker_frame::Frame::Reply(reply) => {
                if self.in_flight.remove(&reply.call).is_none() {
                    return Err(ErrorCode::Malformed);
                }
                Asked::Settle(settlement(&reply))
            }
            broker_frame::Frame::Evaluated(evaluated) => Asked::Evaluated(evaluated),
            broker_frame::Frame::Notice(notice) => Asked::TakeIn(notice),
            broker_frame::Frame::WitnessRound(round) => Asked::Weigh(round),
        })
    }

    /// Notes that a settlement was journaled.
    pub fn settled(&mut self, call: u64, settlement: Settlement, now: Moment) {
        if settlement == Settlement::Later {
            self.paused_until = Some(now.steady.saturating_add(RETRY));
            let waiting = Waiting {
                not_before: now.wall,
                stated: None,
            };
            self.waiting.insert(call, waiting);
        }
    }
}

/// Whether a statement is an answer that must not leave any more: what it rested on was withdrawn
/// since it was made.
fn rests_on_nothing(view: &dyn Read, stated: &Stated, now: Timestamp) -> Result<bool, ErrorCode> {
    if !stated.payloads.contains_key(PAYLOAD_ANSWER) || seeded(Bug::LeavesAfterWithdrawal) {
        return Ok(false);
    }
    let Some(answer) = answer_in(stated) else {
        return Ok(false);
    };
    ground::has_fallen(view, &answer.request, now)
}

/// Whether a statement is an answer to a person's own request that tells what somebody here has
/// kept back since it was made.
fn is_kept_back(view: &dyn Read, stated: &Stated, now: Timestamp) -> Result<bool, ErrorCode> {
    if !stated.payloads.contains_key(PAYLOAD_ANSWER) {
        return Ok(false);
    }
    let Some(answer) = answer_in(stated) else {
        return Ok(false);
    };
    let kept_back = restriction_at(view, &answer.request)?;
    if !kept_back.is_some_and(|kept| kept.stands(now)) {
        return Ok(false);
    }
    let row = state::hold(view, &answer.request).map_err(storage)?;
    let given = row.and_then(|row| row.given);
    Ok(given.is_some_and(|given| given.outcome == Outcome::Released))
}

/// Whether a statement waits while there are no rules by which this agent may ask and answer: those
/// in force are not held here or over, or the broker works by others. What takes back, attests that
/// something is destroyed, or gives an agency's word on rules leaves all the same.
fn asks_or_answers(stated: &Stated) -> bool {
    let statement = stated.envelope.unverified_statement();
    statement.is_ok_and(|statement| match statement.body {
        Body::Request(_) | Body::Answer(_) | Body::Renewal(_) => true,
        Body::Receipt(_)
        | Body::Consent(_)
        | Body::Withdrawal(_)
        | Body::Agreement(_)
        | Body::AgreementSignature(_)
        | Body::AgreementChange(_)
        | Body::CaseOpening(_)
        | Body::CaseAdvance(_)
        | Body::BundleEndorsement(_)
        | Body::OverrideReview(_)
        | Body::Resumption(_) => false,
    })
}

/// The frame of a statement, or the request whose openings are lost.
fn submit(
    view: &dyn Read,
    context: &Context,
    sign_again: bool,
    seq: u64,
    mut stated: Stated,
) -> Result<Result<agent_frame::Frame, RequestId>, ErrorCode> {
    // What is said again under a new origin may bear a signature from before a renewal too.
    let is_new_origin = state::meta(view).map_err(storage)?.origin.is_some();
    if (sign_again || is_new_origin) && !seeded(Bug::OldSignature) {
        // The broker takes a statement by the present key only. What waited here while the keys
        // were renewed would be lost, a withdrawal among it. Its digest is that of its payload.
        let payload = &stated.envelope.payload.0;
        let key = &context.identity.keys.signing;
        stated.envelope.signature = dsse::sign(key, PAYLOAD_TYPE, payload);
    }
    let mut openings = stated.openings;
    if let Some(request) = stated.vault {
        let secrets = match context.vault.open(view, &request) {
            Ok(secrets) => secrets,
            Err(VaultError::Damaged) => return Ok(Err(request)),
            Err(error) => return Err(error.into()),
        };
        let kept = secrets.map(|s| s.openings).unwrap_or_default();
        // The broker may know whom it is about; who asks and why is not for it.
        let is_for_broker =
            |o: &Opening| o.field == Field::Subject || seeded(Bug::ContextInTheClear);
        openings.extend(kept.into_iter().filter(is_for_broker));
    }
    Ok(Ok(agent_frame::Frame::Submit(v1::Submit {
        call: seq,
        envelope: Some(stated.envelope.into()),
        openings: convert::openings_to_wire(openings),
        payloads: convert::payloads_to_wire(stated.payloads),
    })))
}
