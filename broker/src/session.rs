//! One agency's standing stream: what it says goes to the sequencer, what concerns it comes back.
//!
//! Two tasks: one reads frames (statements, evaluations, cosignatures), one writes witness rounds
//! and notices as they become due. They share a bounded channel to the wire: a slow agent slows
//! itself, nobody else.

use crate::{clock, error::BrokerError, notices::Notices, sequencer, services::Broker};
use passerelle_audit::dsse;
use passerelle_model::{
    decide::{Command, Reply},
    error::ErrorCode,
    ids::AgencyId,
    state,
    statement::Envelope,
    store::StoreError,
    time::Timestamp,
};
use passerelle_proto::{PROTOCOL, convert, v1};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use v1::{agent_frame::Frame as FromAgent, broker_frame::Frame as ToAgent};

/// Frames that may wait for a slow agent.
pub(crate) const OUTBOUND_QUEUE: usize = 64;

/// Statements of one agency that are being sequenced at the same time.
const IN_FLIGHT: usize = 256;

/// Notices read from the mailbox at once.
const MAILBOX_PAGE: usize = 256;

/// How long the first frame may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The wire to one agent.
pub(crate) type Outbound = mpsc::Sender<Result<v1::BrokerFrame, Status>>;

/// One agent's session.
pub(crate) struct Session {
    broker: Arc<Broker>,
    agency: AgencyId,
    outbound: Outbound,
    ended: CancellationToken,
    in_flight: Arc<Semaphore>,
    witness: Mutex<WitnessCursor>,
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

/// How often a witness may say that it stands elsewhere before one checkpoint is given up.
const MAX_CONFLICTS: u32 = 3;

async fn send(outbound: &Outbound, frame: ToAgent) -> Result<(), Gone> {
    let frame = v1::BrokerFrame { frame: Some(frame) };
    outbound.send(Ok(frame)).await.map_err(|_| Gone)
}

/// The agent has gone.
struct Gone;

enum End {
    Gone,
    Fault(ErrorCode),
    Broker(BrokerError),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<ErrorCode> for End {
    fn from(code: ErrorCode) -> Self {
        Self::Fault(code)
    }
}

impl From<BrokerError> for End {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Broker(error.into())
    }
}

/// Runs a session to its end.
pub(crate) async fn run(
    broker: Arc<Broker>,
    agency: AgencyId,
    inbound: Streaming<v1::AgentFrame>,
    outbound: Outbound,
) {
    let session = Session {
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        witness: Mutex::default(),
        ended: broker.shutdown.child_token(),
        broker,
        agency,
        outbound,
    };
    let token = session
        .broker
        .sessions
        .begin(&session.agency, &session.ended);
    tracing::info!(agency = %session.agency, "agent connected");
    let end = tokio::select! {
        end = session.serve(inbound) => end,
        () = session.ended.cancelled() => Err(End::Gone),
    };
    session.ended.cancel();
    session.broker.sessions.end(&session.agency, token, || {
        let reachable = session.broker.sequencer.reachable();
        reachable.set(&session.agency, false);
    });
    let status = match end {
        Ok(()) | Err(End::Gone) => None,
        Err(End::Fault(code)) => Some(code),
        Err(End::Broker(error)) => {
            tracing::error!(agency = %session.agency, %error, "session failed");
            Some(ErrorCode::Internal)
        }
    };
    tracing::info!(
        agency = %session.agency,
        code = status.map_or("", ErrorCode::code),
        "agent disconnected"
    );
    if let Some(code) = status {
        let _ = session.outbound.send(Err(convert::status(code))).await;
    }
}

impl Session {
    async fn serve(&self, mut inbound: Streaming<v1::AgentFrame>) -> Result<(), End> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, inbound.message()).await;
        let hello = match first {
            Ok(Ok(Some(v1::AgentFrame {
                frame: Some(FromAgent::Hello(hello)),
            }))) => hello,
            Ok(Ok(None) | Err(_)) => return Ok(()),
            Ok(Ok(Some(_))) | Err(_) => return Err(ErrorCode::Malformed.into()),
        };
        if hello.protocol != PROTOCOL {
            return Err(ErrorCode::Malformed.into());
        }
        self.broker
            .witnesses
            .saw_more(&self.agency, hello.witness_size);
        self.witness().at = hello.witness_size;
        let time_ms = clock::now().0;
        let welcome = v1::Welcome {
            protocol: PROTOCOL,
            time_ms,
        };
        send(&self.outbound, ToAgent::Welcome(welcome)).await?;
        self.broker.sequencer.reachable().set(&self.agency, true);
        tokio::select! {
            end = self.read(inbound) => end,
            end = self.write(&hello) => end,
            end = self.offer_waiting() => end,
        }
    }

    /// What waited for this agency is decided again and offered.
    async fn offer_waiting(&self) -> Result<(), End> {
        // A request that was decided a moment before this agency could be reached may not be in
        // the projection yet: once a later command is durable, it is.
        self.broker.sequencer.run(Command::Tick).await?;
        let waiting = sequencer::waiting_for(self.broker.sequencer.view(), &self.agency)?;
        for request in waiting {
            self.broker
                .sequencer
                .run(Command::Offer { request })
                .await?;
        }
        std::future::pending().await
    }

    async fn read(&self, mut inbound: Streaming<v1::AgentFrame>) -> Result<(), End> {
        let allowances = &self.broker.allowances;
        loop {
            let frame = match inbound.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                // The decoder's word for a message over the limit.
                Err(status) if status.code() == tonic::Code::OutOfRange => {
                    return Err(ErrorCode::TooLarge.into());
                }
                Err(status) => {
                    tracing::debug!(agency = %self.agency, code = ?status.code(), "stream ended");
                    return Ok(());
                }
            };
            let now = clock::now();
            match frame.frame.ok_or(ErrorCode::Malformed)? {
                FromAgent::Hello(_) => return Err(ErrorCode::Malformed.into()),
                FromAgent::Submit(submit) if allowances.statement(&self.agency, now) => {
                    self.submit(submit).await?;
                }
                FromAgent::Submit(submit) => {
                    let reply = refused(submit.call, ErrorCode::RateLimited, None);
                    send(&self.outbound, ToAgent::Reply(reply)).await?;
                }
                FromAgent::Evaluate(evaluate) => {
                    let count = evaluate.blinded.len() as u64;
                    let allowed = allowances.evaluations(&self.agency, count.max(1), now);
                    self.evaluate(evaluate, allowed).await?;
                }
                FromAgent::Cosigned(cosigned) => {
                    self.expect_answer(cosigned.size, now)?;
                    self.cosigned(&cosigned);
                }
                FromAgent::CosignRefused(refused) => {
                    self.expect_answer(refused.size, now)?;
                    self.cosign_refused(&refused);
                }
            }
        }
    }

    fn witness(&self) -> MutexGuard<'_, WitnessCursor> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer to the round that was offered is free; anything else counts as a statement does,
    /// for every one is looked at and wakes all sessions.
    fn expect_answer(&self, size: u64, now: Timestamp) -> Result<(), End> {
        let asked = self.witness().pending == Some(size);
        if asked || self.broker.allowances.statement(&self.agency, now) {
            Ok(())
        } else {
            Err(ErrorCode::RateLimited.into())
        }
    }

    fn cosigned(&self, cosigned: &v1::Cosigned) {
        let v1::Cosigned { size, signature } = cosigned;
        {
            let mut witness = self.witness();
            witness.at = *size;
            witness.pending = None;
        }
        let taken = self
            .broker
            .witnesses
            .cosigned(&self.agency, *size, signature);
        match taken {
            Ok(()) => {}
            // Its round was given up meanwhile, or is long over: nobody's fault.
            Err(ErrorCode::OutOfRange) => {
                tracing::debug!(agency = %self.agency, size, "cosignature without a round");
            }
            Err(code) => {
                tracing::warn!(agency = %self.agency, size, %code, "cosignature refused");
                self.witness().refused = (*size, MAX_CONFLICTS);
            }
        }
        self.broker.witnesses.poke();
    }

    fn cosign_refused(&self, refused: &v1::CosignRefused) {
        let v1::CosignRefused {
            size,
            status,
            known_size,
        } = *refused;
        tracing::warn!(agency = %self.agency, size, status, known_size, "witness refuses");
        self.broker.witnesses.saw_more(&self.agency, known_size);
        {
            let mut witness = self.witness();
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
        self.broker.witnesses.poke();
    }

    /// Sequences a statement without holding up the frames behind it. The order of one agency's
    /// statements is kept: they enter the sequencer's queue in the order in which they came.
    async fn submit(&self, submit: v1::Submit) -> Result<(), End> {
        let place = self
            .in_flight
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Gone)?;
        let call = submit.call;
        let command = self.command(submit)?;
        let pending = self.broker.sequencer.begin(command).await?;
        let outbound = self.outbound.clone();
        tokio::spawn(async move {
            let reply = match pending.await {
                Ok(Reply::Done { index }) => v1::Reply {
                    call,
                    code: String::new(),
                    index,
                    logged: true,
                },
                Ok(Reply::Refused { code, index }) => refused(call, code, index),
                Ok(Reply::Nothing) => refused(call, ErrorCode::WrongState, None),
                Err(code) => refused(call, code, None),
            };
            let _ = send(&outbound, ToAgent::Reply(reply)).await;
            drop(place);
        });
        Ok(())
    }

    /// The command that a frame asks for: to sequence the statement, or to record its refusal.
    fn command(&self, submit: v1::Submit) -> Result<Command, End> {
        let v1::Submit {
            call: _,
            envelope,
            openings,
            payloads,
        } = submit;
        let envelope = Envelope::try_from(envelope.ok_or(ErrorCode::Malformed)?)?;
        let statement = envelope.digest();
        let projection = self.broker.sequencer.view().projection.clone();
        let member = state::member(projection.as_ref(), &self.agency)?;
        let key = member.ok_or(ErrorCode::Revoked)?.keys.signing;
        let payload_type = passerelle_model::statement::PAYLOAD_TYPE;
        let payload = envelope.payload.0.clone();
        let verified = convert::openings(openings).and_then(|openings| {
            envelope.verify(
                &self.broker.federation,
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

    async fn evaluate(&self, asked: v1::Evaluate, allowed: bool) -> Result<(), End> {
        let v1::Evaluate { call, blinded } = asked;
        let count = u32::try_from(blinded.len()).unwrap_or(u32::MAX);
        let evaluated = if allowed {
            let broker = self.broker.clone();
            let work = move || broker.oprf.evaluate_batch(&blinded);
            let done = tokio::task::spawn_blocking(work).await;
            done.map_err(|_| ErrorCode::Internal)?
                .map_err(|_| ErrorCode::Malformed)
        } else {
            Err(ErrorCode::RateLimited)
        };
        let frame = match evaluated {
            Ok(done) => {
                // Counted in the log before it is answered: no evaluation goes unseen.
                let agency = self.agency.clone();
                let count = Command::CountEvaluations { agency, count };
                self.broker.sequencer.run(count).await?;
                let crate::oprf::Evaluated { elements, proof } = done;
                v1::Evaluated {
                    call,
                    code: String::new(),
                    elements,
                    proof,
                }
            }
            Err(code) => {
                let code = code.code().to_owned();
                v1::Evaluated {
                    call,
                    code,
                    elements: Vec::new(),
                    proof: Vec::new(),
                }
            }
        };
        Ok(send(&self.outbound, ToAgent::Evaluated(frame)).await?)
    }

    /// Sends witness rounds and notices as they become due.
    async fn write(&self, hello: &v1::Hello) -> Result<(), End> {
        let mut changes = self.broker.witnesses.changes();
        let mut cursor = Cursor {
            notice: hello.next_notice,
            member: hello.next_member,
        };
        loop {
            self.offer_round().await?;
            self.deliver(&mut cursor).await?;
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Offers the running round, unless the witness still owes an answer or has given its last.
    async fn offer_round(&self) -> Result<(), End> {
        let (at, refused) = {
            let witness = self.witness();
            if witness.pending.is_some() {
                return Ok(());
            }
            (witness.at, witness.refused)
        };
        let Some(round) = self.broker.witnesses.offer(&self.agency, at) else {
            return Ok(());
        };
        if refused.0 == round.size && refused.1 >= MAX_CONFLICTS {
            return Ok(());
        }
        self.witness().pending = Some(round.size);
        let frame = v1::WitnessRound {
            old_size: round.old_size,
            proof: round.proof.iter().map(|h| h.0.to_vec()).collect(),
            checkpoint: round.checkpoint,
        };
        Ok(send(&self.outbound, ToAgent::WitnessRound(frame)).await?)
    }

    async fn deliver(&self, cursor: &mut Cursor) -> Result<(), End> {
        let Some(cosigned) = self.broker.witnesses.deliverable(&self.agency) else {
            return Ok(());
        };
        let view = self.broker.sequencer.view();
        let notices: &Notices = &self.broker.notices;
        // Membership first: whoever checks a quorum must know who counts.
        loop {
            let state = view.projection.as_ref();
            let page = state::membership(state, cursor.member, MAILBOX_PAGE)?;
            let due: Vec<_> = page.into_iter().filter(|i| *i < cosigned.size).collect();
            let Some(last) = due.last() else { break };
            cursor.member = last.saturating_add(1);
            for index in due {
                let notice = notices.make(&self.agency, index, &cosigned, true)?;
                send(&self.outbound, ToAgent::Notice(notice)).await?;
            }
        }
        loop {
            let state = view.projection.as_ref();
            let page = state::mailbox(state, &self.agency, cursor.notice, MAILBOX_PAGE)?;
            let due: Vec<_> = page.into_iter().filter(|i| *i < cosigned.size).collect();
            let Some(last) = due.last() else {
                return Ok(());
            };
            cursor.notice = last.saturating_add(1);
            for index in due {
                let notice = notices.make(&self.agency, index, &cosigned, false)?;
                send(&self.outbound, ToAgent::Notice(notice)).await?;
            }
        }
    }
}

/// What the agent has already.
struct Cursor {
    notice: u64,
    member: u64,
}

fn refused(call: u64, code: ErrorCode, index: Option<u64>) -> v1::Reply {
    v1::Reply {
        call,
        code: code.code().to_owned(),
        index: index.unwrap_or(0),
        logged: index.is_some(),
    }
}
