//! One agency's session, as a state machine: what it says in, what is to be done with it and what
//! is due to it out.
//!
//! In scope: hello, the command that a statement asks for, where the agency's witness stands,
//! which notices are due. Synchronous, time is a parameter: module `session` drives it over a
//! real stream, the simulation over a simulated one. Out of scope: sequencing, the stream.

use crate::{
    error::BrokerError,
    home::log_origin,
    ledger::View,
    notices::Notices,
    rate::Allowances,
    witnesses::{Cosigned, Witnesses},
};
use passerelle_audit::dsse;
use passerelle_model::{
    decide::{Command, Reply, lacks_nothing},
    error::ErrorCode,
    ids::{AgencyId, FederationId},
    state,
    statement::{Body, Envelope},
    store::{Read, StoreError},
    time::Timestamp,
};
use passerelle_proto::{PROTOCOL, convert, v1};
use std::collections::VecDeque;
use v1::agent_frame::Frame as FromAgent;

/// Notices read from the mailbox at once.
const MAILBOX_PAGE: usize = 256;

/// How often a witness may say that it stands elsewhere before one checkpoint is given up.
const MAX_CONFLICTS: u32 = 3;

/// What a seat needs of the broker.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The federation.
    pub federation: &'a FederationId,
    /// What is durable.
    pub view: &'a View,
    /// The rounds.
    pub witnesses: &'a Witnesses,
    /// What agencies get.
    pub notices: &'a Notices,
    /// What each agency may still send.
    pub allowances: &'a Allowances,
}

/// One agency's session.
pub struct Seat {
    agency: AgencyId,
    witness: WitnessCursor,
    cursor: Cursor,
    page: Page,
}

/// Where this agency's witness stands. One round at a time is under way with it.
#[derive(Default)]
struct WitnessCursor {
    /// Size that it holds, as far as known.
    at: u64,
    /// Size of the checkpoint that it was offered and has not answered.
    pending: Option<u64>,
    /// Size of a checkpoint that it refused, and how often.
    refused: (u64, u32),
}

/// What the agent has already, or is about to be sent.
struct Cursor {
    notice: u64,
    member: u64,
}

/// Entries that are due, with the checkpoint that proves them.
#[derive(Default)]
struct Page {
    indices: VecDeque<u64>,
    membership: bool,
    cosigned: Option<Cosigned>,
}

/// What a frame asks for.
pub enum Asked {
    /// To run a command and to [`reply`] with what it comes to.
    Sequence {
        /// The agent's number.
        call: u64,
        /// The command.
        command: Box<Command>,
    },
    /// To send this reply.
    Reply(v1::Reply),
    /// To evaluate blinded values, and to count that before the result is sent.
    Evaluate {
        /// The agent's number and the values.
        evaluate: v1::Evaluate,
        /// Whether the agency may have so many now.
        allowed: bool,
    },
    /// To look again whether something is due to this agency.
    Look,
}

/// Why a session ends.
#[derive(Debug)]
pub enum Fault {
    /// The agent misbehaved, or is shut out.
    Agent(ErrorCode),
    /// The broker failed.
    Broker(BrokerError),
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self::Agent(code)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Broker(error.into())
    }
}

/// Whether a statement must wait, unanswered and unlogged, for what other agencies have yet to say
/// again under a new origin of the log. It stays in its agency's outbox.
fn waits_for_others(view: &dyn Read, command: &Command) -> Result<bool, StoreError> {
    let Command::Say(said) = command else {
        return Ok(false);
    };
    let agency = &said.statement().agency;
    match &said.statement().body {
        Body::Request(_) => state::is_recovering(view),
        Body::Resumption(resumption) => Ok(!lacks_nothing(view, agency, resumption)?),
        Body::Withdrawal(withdrawal) => Ok(state::awaited(view, agency)?.is_some()
            && state::consent(view, &withdrawal.consent)?.is_none()
            && state::unheard(view)?.is_empty()),
        _ => Ok(false),
    }
}

impl Seat {
    /// Begins the session of `agency` by its first frame.
    ///
    /// # Errors
    /// [`ErrorCode::Malformed`].
    pub fn begin(
        agency: AgencyId,
        desk: Desk<'_>,
        hello: &v1::Hello,
        now: Timestamp,
    ) -> Result<(Self, v1::Welcome), ErrorCode> {
        if hello.protocol != PROTOCOL {
            return Err(ErrorCode::Malformed);
        }
        // Before anything is believed of where its witness stands: that is another log.
        let origin = desk.witnesses.origin();
        let follows = match hello.origin.as_str() {
            "" => log_origin(desk.federation),
            named => named.to_owned(),
        };
        if follows != origin {
            return Err(ErrorCode::OriginNotAccepted);
        }
        desk.witnesses.saw_more(&agency, hello.witness_size);
        let seat = Self {
            agency,
            witness: WitnessCursor {
                at: hello.witness_size,
                ..WitnessCursor::default()
            },
            cursor: Cursor {
                notice: hello.next_notice,
                member: hello.next_member,
            },
            page: Page::default(),
        };
        let welcome = v1::Welcome {
            protocol: PROTOCOL,
            time_ms: now.0,
        };
        Ok((seat, welcome))
    }

    /// What a frame asks for.
    ///
    /// # Errors
    /// The session ends.
    pub fn take(
        &mut self,
        desk: Desk<'_>,
        frame: v1::AgentFrame,
        now: Timestamp,
    ) -> Result<Asked, Fault> {
        let allowances = desk.allowances;
        match frame.frame.ok_or(ErrorCode::Malformed)? {
            FromAgent::Hello(_) => Err(ErrorCode::Malformed.into()),
            FromAgent::Submit(submit) if desk.witnesses.must_wait(&self.agency) => {
                let waits = refused(submit.call, ErrorCode::NoQuorum, None);
                Ok(Asked::Reply(waits))
            }
            FromAgent::Submit(submit) if allowances.statement(&self.agency, now) => {
                let call = submit.call;
                let command = Box::new(self.command(desk, submit)?);
                if waits_for_others(desk.view.projection.as_ref(), &command)? {
                    let waits = refused(call, ErrorCode::Recovering, None);
                    return Ok(Asked::Reply(waits));
                }
                Ok(Asked::Sequence { call, command })
            }
            FromAgent::Submit(submit) => {
                let limited = refused(submit.call, ErrorCode::RateLimited, None);
                Ok(Asked::Reply(limited))
            }
            FromAgent::Evaluate(evaluate) => {
                let count = evaluate.blinded.len() as u64;
                let allowed = allowances.evaluations(&self.agency, count.max(1), now);
                Ok(Asked::Evaluate { evaluate, allowed })
            }
            FromAgent::Cosigned(cosigned) => {
                self.expect_answer(desk, cosigned.size, now)?;
                self.cosigned(desk, &cosigned);
                Ok(Asked::Look)
            }
            FromAgent::CosignRefused(refused) => {
                self.expect_answer(desk, refused.size, now)?;
                self.cosign_refused(desk, &refused);
                Ok(Asked::Look)
            }
        }
    }

    /// An answer to the round that was offered is free; anything else counts as a statement does,
    /// for every one is looked at.
    fn expect_answer(&self, desk: Desk<'_>, size: u64, now: Timestamp) -> Result<(), ErrorCode> {
        let asked = self.witness.pending == Some(size);
        if asked || desk.allowances.statement(&self.agency, now) {
            Ok(())
        } else {
            Err(ErrorCode::RateLimited)
        }
    }

    fn cosigned(&mut self, desk: Desk<'_>, cosigned: &v1::Cosigned) {
        let v1::Cosigned { size, signature } = cosigned;
        self.witness.at = *size;
        self.witness.pending = None;
        match desk.witnesses.cosigned(&self.agency, *size, signature) {
            Ok(()) => {}
            // Its round was given up meanwhile, or is long over: nobody's fault.
            Err(ErrorCode::OutOfRange) => {
                tracing::debug!(agency = %self.agency, size, "cosignature without a round");
            }
            Err(code) => {
                tracing::warn!(agency = %self.agency, size, %code, "cosignature refused");
                self.witness.refused = (*size, MAX_CONFLICTS);
            }
        }
    }

    fn cosign_refused(&mut self, desk: Desk<'_>, refused: &v1::CosignRefused) {
        let v1::CosignRefused {
            size,
            status,
            known_size,
        } = *refused;
        tracing::warn!(agency = %self.agency, size, status, known_size, "witness refuses");
        desk.witnesses.refused(&self.agency, status, known_size);
        let witness = &mut self.witness;
        // 409 of tlog-witness: it stands elsewhere, so ask again from there. Anything else is
        // its last word on this checkpoint.
        let again = if status == 409 { 1 } else { MAX_CONFLICTS };
        let before = if witness.refused.0 == size {
            witness.refused.1
        } else {
            0
        };
        witness.refused = (size, before.saturating_add(again));
        witness.at = known_size;
        witness.pending = None;
    }

    /// The command that a frame asks for: to sequence the statement, or to record its refusal.
    fn command(&self, desk: Desk<'_>, submit: v1::Submit) -> Result<Command, Fault> {
        let v1::Submit {
            call: _,
            envelope,
            openings,
            payloads,
        } = submit;
        let envelope = Envelope::try_from(envelope.ok_or(ErrorCode::Malformed)?)?;
        let statement = envelope.digest();
        let member = state::member(desk.view.projection.as_ref(), &self.agency)?;
        let key = member.ok_or(ErrorCode::Revoked)?.keys.signing;
        let payload_type = passerelle_model::statement::PAYLOAD_TYPE;
        let payload = envelope.payload.0.clone();
        let verified = convert::openings(openings).and_then(|openings| {
            envelope.verify(
                desk.federation,
                &self.agency,
                |_, signature| dsse::verify(&key, payload_type, &payload, signature),
                openings,
                convert::payloads(payloads),
            )
        });
        Ok(match verified {
            Ok(said) => Command::Say(Box::new(said.with_key(key))),
            Err(code) => Command::Refuse {
                agency: self.agency.clone(),
                code,
                statement,
            },
        })
    }

    /// The running round, unless the witness still owes an answer or has given its last. Who is
    /// not on the panel cosigns when there is something for it: its cosignature serves itself
    /// alone.
    ///
    /// # Errors
    /// The store.
    pub fn round(&mut self, desk: Desk<'_>) -> Result<Option<v1::WitnessRound>, StoreError> {
        if self.witness.pending.is_some() {
            return Ok(None);
        }
        if !desk.witnesses.is_on_panel(&self.agency) && !self.has_mail(desk)? {
            return Ok(None);
        }
        let Some(round) = desk.witnesses.offer(&self.agency, self.witness.at) else {
            return Ok(None);
        };
        let refused = self.witness.refused;
        if refused.0 == round.size && refused.1 >= MAX_CONFLICTS {
            return Ok(None);
        }
        self.witness.pending = Some(round.size);
        Ok(Some(v1::WitnessRound {
            old_size: round.old_size,
            proof: round.proof.iter().map(|h| h.0.to_vec()).collect(),
            checkpoint: round.checkpoint,
        }))
    }

    /// Whether there is a notice that this agency has not got.
    fn has_mail(&self, desk: Desk<'_>) -> Result<bool, StoreError> {
        let state = desk.view.projection.as_ref();
        Ok(!state::membership(state, self.cursor.member, 1)?.is_empty()
            || !state::mailbox(state, &self.agency, self.cursor.notice, 1)?.is_empty())
    }

    /// The next notice that is due.
    ///
    /// # Errors
    /// The storage.
    pub fn notice(&mut self, desk: Desk<'_>) -> Result<Option<v1::Notice>, BrokerError> {
        if self.page.indices.is_empty() {
            self.turn(desk)?;
        }
        let (Some(cosigned), Some(index)) = (&self.page.cosigned, self.page.indices.pop_front())
        else {
            return Ok(None);
        };
        let membership = self.page.membership;
        let notice = desk
            .notices
            .make(&self.agency, index, cosigned, membership)?;
        Ok(Some(notice))
    }

    /// Membership first: whoever checks a quorum must know who counts.
    fn turn(&mut self, desk: Desk<'_>) -> Result<(), StoreError> {
        let Some(cosigned) = desk.witnesses.deliverable(&self.agency) else {
            return Ok(());
        };
        let state = desk.view.projection.as_ref();
        let due = |page: Vec<u64>| -> VecDeque<u64> {
            page.into_iter().filter(|i| *i < cosigned.size).collect()
        };
        let mut indices = due(state::membership(state, self.cursor.member, MAILBOX_PAGE)?);
        let membership = !indices.is_empty();
        if !membership {
            let from = self.cursor.notice;
            indices = due(state::mailbox(state, &self.agency, from, MAILBOX_PAGE)?);
        }
        if let Some(last) = indices.back() {
            let next = last.saturating_add(1);
            match membership {
                true => self.cursor.member = next,
                false => self.cursor.notice = next,
            }
        }
        self.page = Page {
            indices,
            membership,
            cosigned: Some(cosigned),
        };
        Ok(())
    }
}

/// What a statement's command came to, as the agent hears it.
pub fn reply(call: u64, outcome: Result<Reply, ErrorCode>) -> v1::Reply {
    match outcome {
        Ok(Reply::Done { index }) => v1::Reply {
            call,
            code: String::new(),
            index,
            logged: true,
        },
        Ok(Reply::Refused { code, index }) => refused(call, code, index),
        Ok(Reply::Nothing) => refused(call, ErrorCode::WrongState, None),
        Err(code) => refused(call, code, None),
    }
}

fn refused(call: u64, code: ErrorCode, index: Option<u64>) -> v1::Reply {
    v1::Reply {
        call,
        code: code.code().to_owned(),
        index: index.unwrap_or(0),
        logged: index.is_some(),
    }
}
