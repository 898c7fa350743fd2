//! The one stream to the broker, which this agent opens.
//!
//! In scope: attaching, reconnecting with backoff, sending the outbox in order, deadlines,
//! frames to those who handle them. Out of scope: what they mean ([`crate::inbound`],
//! [`crate::witness`]).
//!
//! Nothing is lost with the stream: what is to be sent stays in the outbox until the broker has
//! answered for it, and a statement that arrives twice counts once.

use crate::{
    entropy,
    event::Event,
    holder::storage,
    inbound,
    link::{Evaluation, LinkOwner},
    node::Node,
    state,
    tls_client::ConnectError,
    vault::VaultError,
    witness,
};
use passerelle_model::{commitment::Field, error::ErrorCode, ids::RequestId};
use passerelle_proto::{
    MAX_MESSAGE_BYTES, PROTOCOL, convert,
    v1::{self, agent_frame, broker_frame, exchange_client::ExchangeClient},
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Frames that may wait to be sent.
const FRAMES: usize = 64;
/// Places among them that statements leave to cosignatures and evaluations.
const RESERVED: usize = 16;
/// When to look again for a place.
const CONGESTED: Duration = Duration::from_millis(10);
/// Statements that may be under way.
const WINDOW: usize = 64;
/// How long attaching, one frame and one reply may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long to wait before a statement is sent again that met a passing refusal.
const RETRY: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// How long a stream must have been up for the next pause to be short again: a broker that takes
/// us in and throws us out is not pestered.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// Pauses between attempts to get the handles that are missing.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Keeps the stream up until `shutdown` becomes true or the writer stops.
pub async fn run(
    node: Node,
    link: LinkOwner,
    mut evaluations: mpsc::Receiver<Evaluation>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut backoff = FIRST_BACKOFF;
    while !*shutdown.borrow_and_update() {
        let mut up_since = None;
        let attached = attach(&node, &link, &mut evaluations, &mut up_since);
        let ended = tokio::select! {
            ended = attached => ended,
            _ = shutdown.changed() => break,
        };
        let code = ended.err();
        link.down(code);
        if node.core.has_failed() {
            // The writer has stopped for good; so does the agent.
            return;
        }
        backoff = pause_after(backoff, up_since.map(|since: Instant| since.elapsed()));
        let pause = jittered(backoff);
        tracing::info!(
            code = code.map_or("closed", ErrorCode::code),
            pause_ms = pause.as_millis(),
            "the stream to the broker is down"
        );
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.changed() => break,
        }
    }
    link.down(None);
}

/// The pause after a stream that was up for so long, if it came up at all.
fn pause_after(backoff: Duration, was_up: Option<Duration>) -> Duration {
    match was_up {
        Some(was_up) if was_up >= SETTLED_AFTER => FIRST_BACKOFF,
        _ => backoff,
    }
}

/// Half to all of `pause`, so that agents that lost the broker together don't return together.
fn jittered(pause: Duration) -> Duration {
    let [byte] = entropy::random::<1>().unwrap_or([128]);
    pause / 2 + pause * u32::from(byte) / 512
}

/// One stream from hello to its end.
async fn attach(
    node: &Node,
    link: &LinkOwner,
    evaluations: &mut mpsc::Receiver<Evaluation>,
    up_since: &mut Option<Instant>,
) -> Result<(), ErrorCode> {
    let meta = state::meta(node.core.view()).map_err(storage)?;
    let (frames, queue) = mpsc::channel(FRAMES);
    let hello = agent_frame::Frame::Hello(v1::Hello {
        protocol: PROTOCOL,
        next_notice: meta.next_notice,
        next_member: meta.next_member,
        witness_size: meta.witness.size,
    });
    let mut stream = Stream {
        node,
        frames,
        in_flight: BTreeMap::new(),
        evaluating: HashMap::new(),
        next_call: 0,
        paused_until: None,
    };
    stream.send(hello).await?;
    let mut client = ExchangeClient::new(node.channel.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let attached = timeout(DEADLINE, client.attach(ReceiverStream::new(queue))).await;
    let attached = attached.map_err(|_| ErrorCode::Unavailable)?;
    let mut inbound = attached.map_err(|s| remote_code(&s))?.into_inner();
    let first = timeout(DEADLINE, next_frame(&mut inbound)).await;
    match first.map_err(|_| ErrorCode::Unavailable)?? {
        Some(broker_frame::Frame::Welcome(welcome)) if welcome.protocol == PROTOCOL => {}
        _ => return Err(ErrorCode::Malformed),
    }
    tracing::info!(
        next_notice = meta.next_notice,
        next_member = meta.next_member,
        "attached to the broker"
    );
    *up_since = Some(Instant::now());
    link.up();
    let completing = AbortOnDrop(tokio::spawn(complete_handles(node.clone())));
    let ended = stream.pump(&mut inbound, evaluations).await;
    drop(completing);
    ended
}

/// People who have no handle get it, as long as the stream is up: those who were imported while
/// the broker was away at once, those of later imports if these gave up.
pub(crate) async fn complete_handles(node: Node) {
    let mut version = node.core.version();
    let mut pause = FIRST_RETRY;
    loop {
        version.mark_unchanged();
        let meta = state::meta(node.core.view());
        if meta.is_ok_and(|meta| meta.without_handle == 0) {
            pause = FIRST_RETRY;
            if version.changed().await.is_err() {
                return;
            }
            continue;
        }
        match node.complete_handles().await {
            Ok(()) => pause = FIRST_RETRY,
            Err(code) => {
                tracing::warn!(%code, pause_ms = pause.as_millis(),
                    "some people have no handle yet; tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_RETRY);
            }
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn next_frame(
    inbound: &mut Streaming<v1::BrokerFrame>,
) -> Result<Option<broker_frame::Frame>, ErrorCode> {
    match inbound.message().await {
        Ok(Some(v1::BrokerFrame { frame })) => frame.ok_or(ErrorCode::Malformed).map(Some),
        Ok(None) => Ok(None),
        Err(status) => Err(remote_code(&status)),
    }
}

/// As [`code_of`], but what ails the broker's disk does not ail ours.
fn remote_code(status: &tonic::Status) -> ErrorCode {
    not_ours(code_of(status))
}

const fn not_ours(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::Storage => ErrorCode::Unavailable,
        code => code,
    }
}

/// The code in a status, or the one that fits what broke below it.
pub(crate) fn code_of(status: &tonic::Status) -> ErrorCode {
    if let Some(code) = convert::code_of(status) {
        return code;
    }
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<ConnectError>() {
            return error.code();
        }
        if let Some(code) = error.downcast_ref::<std::io::Error>().and_then(alert_code) {
            return code;
        }
        source = error.source();
    }
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => ErrorCode::TooLarge,
        tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => ErrorCode::Revoked,
        _ => ErrorCode::Unavailable,
    }
}

/// In TLS 1.3 a broker that refuses the certificate says so after the handshake, as an alert.
fn alert_code(error: &std::io::Error) -> Option<ErrorCode> {
    use rustls::AlertDescription as Alert;
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(
            Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::BadCertificate
            | Alert::AccessDenied,
        ) => Some(ErrorCode::Revoked),
        _ => None,
    }
}

struct Stream<'a> {
    node: &'a Node,
    frames: mpsc::Sender<v1::AgentFrame>,
    /// Statements that were sent, by place in the outbox, with the time by which a reply is due.
    in_flight: BTreeMap<u64, Instant>,
    evaluating: HashMap<u64, oneshot::Sender<Result<v1::Evaluated, ErrorCode>>>,
    next_call: u64,
    paused_until: Option<Instant>,
}

impl Stream<'_> {
    async fn send(&self, frame: agent_frame::Frame) -> Result<(), ErrorCode> {
        let frame = v1::AgentFrame { frame: Some(frame) };
        let sent = timeout(DEADLINE, self.frames.send(frame)).await;
        let sent = sent.map_err(|_| ErrorCode::Unavailable)?;
        sent.map_err(|_| ErrorCode::Unavailable)
    }

    async fn pump(
        &mut self,
        inbound: &mut Streaming<v1::BrokerFrame>,
        evaluations: &mut mpsc::Receiver<Evaluation>,
    ) -> Result<(), ErrorCode> {
        let mut version = self.node.core.version();
        loop {
            version.mark_unchanged();
            let wake = self.send_outbox().await?;
            let due = self.in_flight.values().min().copied();
            tokio::select! {
                frame = next_frame(inbound) => match frame? {
                    Some(frame) => self.on_frame(frame).await?,
                    None => return Ok(()),
                },
                changed = version.changed() => changed.map_err(|_| ErrorCode::Storage)?,
                Some(job) = evaluations.recv() => self.on_evaluation(job).await?,
                () = sleep_to(wake) => {}
                () = sleep_to(due) => return Err(ErrorCode::Unavailable),
            }
        }
    }

    /// Sends what is due and not under way, in order. Returns when to look again.
    async fn send_outbox(&mut self) -> Result<Option<Instant>, ErrorCode> {
        if self
            .paused_until
            .is_some_and(|until| Instant::now() < until)
        {
            return Ok(self.paused_until);
        }
        self.paused_until = None;
        let limit = WINDOW.saturating_add(self.in_flight.len());
        let waiting = state::outbox(self.node.core.view(), None, limit).map_err(storage)?;
        let now = self.node.clock.now();
        let mut wake: Option<Instant> = None;
        for (seq, stated) in waiting {
            if self.in_flight.contains_key(&seq) {
                continue;
            }
            if stated.not_before > now {
                let ms = stated.not_before.0.saturating_sub(now.0);
                let at = Instant::now() + Duration::from_millis(ms);
                wake = Some(wake.map_or(at, |w| w.min(at)));
                continue;
            }
            if self.in_flight.len() >= WINDOW {
                break;
            }
            if self.frames.capacity() <= RESERVED {
                // To wait here for the broker to read, while it waits for us to read, would be
                // for ever.
                return Ok(Some(Instant::now() + CONGESTED));
            }
            let mut openings = stated.openings;
            if let Some(request) = &stated.vault {
                let secrets = match self.node.context.vault.open(request) {
                    Ok(secrets) => secrets,
                    Err(VaultError::Damaged) => {
                        self.give_up(seq, request).await?;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let kept = secrets.map(|s| s.openings).unwrap_or_default();
                // The broker may know whom it is about; who asks and why is not for it.
                openings.extend(kept.into_iter().filter(|o| o.field == Field::Subject));
            }
            let submit = agent_frame::Frame::Submit(v1::Submit {
                call: seq,
                envelope: Some(stated.envelope.into()),
                openings: convert::openings_to_wire(openings),
                payloads: convert::payloads_to_wire(stated.payloads),
            });
            self.send(submit).await?;
            self.in_flight.insert(seq, Instant::now() + DEADLINE);
        }
        Ok(wake)
    }

    /// A statement whose openings are lost is settled here: it can never be sent.
    async fn give_up(&self, seq: u64, request: &RequestId) -> Result<(), ErrorCode> {
        tracing::error!(%request, "the secrets of the request are damaged; it is given up");
        let events = vec![Event::Settled {
            seq,
            code: Some(ErrorCode::Storage),
            index: None,
        }];
        let now = self.node.clock.now();
        self.node.core.write(now, move |_| Ok((events, ()))).await
    }

    async fn on_frame(&mut self, frame: broker_frame::Frame) -> Result<(), ErrorCode> {
        match frame {
            broker_frame::Frame::Welcome(_) => Err(ErrorCode::Malformed),
            broker_frame::Frame::Reply(reply) => {
                let seq = reply.call;
                if !self.in_flight.contains_key(&seq) {
                    return Err(ErrorCode::Malformed);
                }
                if !inbound::on_reply(self.node, reply).await? {
                    self.paused_until = Some(Instant::now() + RETRY);
                }
                self.in_flight.remove(&seq);
                Ok(())
            }
            broker_frame::Frame::Evaluated(evaluated) => {
                if let Some(reply) = self.evaluating.remove(&evaluated.call) {
                    let result = match evaluated.code.as_str() {
                        "" => Ok(evaluated),
                        code => Err(not_ours(code.parse().unwrap_or(ErrorCode::Malformed))),
                    };
                    // Whoever asked may have given up.
                    let _ = reply.send(result);
                }
                Ok(())
            }
            broker_frame::Frame::Notice(notice) => inbound::on_notice(self.node, notice).await,
            broker_frame::Frame::WitnessRound(round) => {
                let node = self.node;
                let clock = node.clock.as_ref();
                let frame = witness::round(&node.context, &node.core, clock, round).await?;
                self.send(frame).await
            }
        }
    }

    async fn on_evaluation(&mut self, job: Evaluation) -> Result<(), ErrorCode> {
        self.next_call = self.next_call.wrapping_add(1);
        self.evaluating.retain(|_, reply| !reply.is_closed());
        self.evaluating.insert(self.next_call, job.reply);
        self.send(agent_frame::Frame::Evaluate(v1::Evaluate {
            call: self.next_call,
            blinded: job.blinded,
        }))
        .await
    }
}

/// Sleeps until then; without a time, for good.
async fn sleep_to(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_that_lasted_makes_the_next_pause_short() {
        let long = Duration::from_secs(16);
        assert_eq!(pause_after(long, None), long);
        assert_eq!(pause_after(long, Some(Duration::from_secs(59))), long);
        assert_eq!(pause_after(long, Some(SETTLED_AFTER)), FIRST_BACKOFF);
    }

    #[test]
    fn a_brokers_storage_trouble_is_not_our_own() {
        let status = convert::status(ErrorCode::Storage);
        assert_eq!(code_of(&status), ErrorCode::Storage);
        assert_eq!(remote_code(&status), ErrorCode::Unavailable);
        let status = convert::status(ErrorCode::Revoked);
        assert_eq!(remote_code(&status), ErrorCode::Revoked);
    }
}
