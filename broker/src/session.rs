//! One agency's standing stream: what it says goes to the sequencer, what concerns it comes back.
//!
//! Two tasks: one reads frames (statements, evaluations, cosignatures), one writes witness rounds
//! and notices as they become due. They share a bounded channel to the wire: a slow agent slows
//! itself, nobody else.

use crate::{
    clock,
    error::BrokerError,
    seat::{Asked, Desk, Fault, Seat, reply},
    sequencer,
    services::Broker,
};
use passerelle_model::{decide::Command, error::ErrorCode, ids::AgencyId, store::StoreError};
use passerelle_proto::{convert, v1};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use v1::{agent_frame::Frame as FromAgent, broker_frame::Frame as ToAgent};

/// Frames that may wait for a slow agent.
pub(crate) const OUTBOUND_QUEUE: usize = 64;

/// Statements of one agency that are being sequenced at the same time.
const IN_FLIGHT: usize = 256;

/// How long the first frame may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The wire to one agent.
pub(crate) type Outbound = mpsc::Sender<Result<v1::BrokerFrame, Status>>;

/// One agency's session.
pub(crate) struct Session {
    broker: Arc<Broker>,
    agency: AgencyId,
    outbound: Outbound,
    ended: CancellationToken,
    in_flight: Arc<Semaphore>,
    /// Wakes this session's writer alone, where nothing changed for the others.
    wake: Notify,
}

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

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Agent(code) => Self::Fault(code),
            Fault::Broker(error) => Self::Broker(error),
        }
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
        wake: Notify::new(),
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
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(status)) => return self.broken_off(&status),
            Ok(Ok(Some(_))) | Err(_) => return Err(ErrorCode::Malformed.into()),
        };
        let (seat, welcome) = Seat::begin(self.agency.clone(), self.desk(), &hello, clock::now())?;
        send(&self.outbound, ToAgent::Welcome(welcome)).await?;
        self.broker.sequencer.reachable().set(&self.agency, true);
        let seat = Mutex::new(seat);
        tokio::select! {
            end = self.read(&seat, inbound) => end,
            end = self.write(&seat) => end,
            end = self.offer_waiting() => end,
        }
    }

    /// What is wrong with the agent's stream, if it is the agent that must know.
    fn broken_off(&self, status: &Status) -> Result<(), End> {
        match status.code() {
            // The decoder's word for a message over the limit.
            tonic::Code::OutOfRange => Err(ErrorCode::TooLarge.into()),
            // And for one that is none; a connection that broke has a cause below it.
            tonic::Code::Internal if std::error::Error::source(status).is_none() => {
                Err(ErrorCode::Malformed.into())
            }
            code => {
                tracing::debug!(agency = %self.agency, ?code, "stream ended");
                Ok(())
            }
        }
    }

    fn desk(&self) -> Desk<'_> {
        let broker = &self.broker;
        Desk {
            federation: &broker.federation,
            view: broker.sequencer.view(),
            witnesses: &broker.witnesses,
            notices: &broker.notices,
            allowances: &broker.allowances,
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

    async fn read(
        &self,
        seat: &Mutex<Seat>,
        mut inbound: Streaming<v1::AgentFrame>,
    ) -> Result<(), End> {
        loop {
            let frame = match inbound.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(status) => return self.broken_off(&status),
            };
            let asked = locked(seat).take(self.desk(), frame, clock::now())?;
            match asked {
                Asked::Sequence { call, command } => self.sequence(call, *command).await?,
                Asked::Reply(reply) => send(&self.outbound, ToAgent::Reply(reply)).await?,
                Asked::Evaluate { evaluate, allowed } => self.evaluate(evaluate, allowed).await?,
                Asked::Look => self.wake.notify_one(),
            }
        }
    }

    /// Sequences a statement without holding up the frames behind it. The order of one agency's
    /// statements is kept: they enter the sequencer's queue in the order in which they came.
    async fn sequence(&self, call: u64, command: Command) -> Result<(), End> {
        let place = self
            .in_flight
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Gone)?;
        let pending = self.broker.sequencer.begin(command).await?;
        let outbound = self.outbound.clone();
        tokio::spawn(async move {
            let reply = reply(call, pending.await);
            let _ = send(&outbound, ToAgent::Reply(reply)).await;
            drop(place);
        });
        Ok(())
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
    async fn write(&self, seat: &Mutex<Seat>) -> Result<(), End> {
        let mut changes = self.broker.witnesses.changes();
        loop {
            let round = locked(seat).round(self.desk())?;
            if let Some(round) = round {
                send(&self.outbound, ToAgent::WitnessRound(round)).await?;
            }
            loop {
                let notice = locked(seat).notice(self.desk())?;
                let Some(notice) = notice else { break };
                send(&self.outbound, ToAgent::Notice(notice)).await?;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = self.wake.notified() => {}
            }
        }
    }
}

fn locked(seat: &Mutex<Seat>) -> MutexGuard<'_, Seat> {
    // Held between two awaits of one task only; a panic there ends the session.
    seat.lock().unwrap_or_else(PoisonError::into_inner)
}
