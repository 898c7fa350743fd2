//! The one stream to the broker, which this agent opens.
//!
//! In scope: attaching, reconnecting with backoff, timers, frames to those who handle them. Out of
//! scope: what is sent when ([`crate::exchange`]), what frames mean ([`crate::inbound`],
//! [`crate::witness`]).
//!
//! Nothing is lost with the stream: what is to be sent stays in the outbox until the broker has
//! answered for it, and a statement that arrives twice counts once.

use crate::{
    bundles, entropy,
    exchange::{self, Asked, DEADLINE, Exchange, Moment},
    holder::storage,
    inbound::{self, Settlement},
    link::{Evaluation, LinkOwner},
    node::Node,
    postponed, state,
    tls_client::ConnectError,
    witness,
};
use futures_util::{StreamExt as _, TryFutureExt as _, future::BoxFuture, stream::FuturesOrdered};
use passerelle_model::error::ErrorCode;
use passerelle_proto::{
    MAX_MESSAGE_BYTES, convert,
    v1::{self, agent_frame, broker_frame, exchange_client::ExchangeClient},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Frames that may wait to be sent.
const FRAMES: usize = 64;
/// Frames of the broker that may be on their way into the journal: they share durable writes.
const UNDER_WAY: usize = 256;
/// Places among them that statements leave to cosignatures and evaluations.
const RESERVED: usize = 16;
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// How long a stream must have been up for the next pause to be short again: a broker that takes
/// us in and throws us out is not pestered.
const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// Pauses between attempts to get the handles that are missing.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Pause after each lot of near handles: half of what a broker allows by default in the long run is
/// left to people who ask.
const NEAR_PAUSE: Duration = Duration::from_secs(25);
/// Pauses before permits that could not be used are asked for again.
const FIRST_AGAIN: Duration = Duration::from_secs(30);
const LONGEST_AGAIN: Duration = Duration::from_secs(3_600);

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
    let mut stream = Stream {
        node,
        frames,
        started: Instant::now(),
        exchange: Exchange::new(&meta),
        under_way: FuturesOrdered::new(),
        broken: inbound::Broken::default(),
        evaluating: HashMap::new(),
        next_call: 0,
    };
    stream
        .send(exchange::hello(
            &meta,
            node.context.identity.anchors.log.name(),
        ))
        .await?;
    let mut client = ExchangeClient::new(node.channel.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let attached = timeout(DEADLINE, client.attach(ReceiverStream::new(queue))).await;
    let attached = attached.map_err(|_| ErrorCode::Unavailable)?;
    let mut inbound = attached.map_err(|s| remote_code(&s))?.into_inner();
    let first = timeout(DEADLINE, next_frame(&mut inbound)).await;
    exchange::welcome(first.map_err(|_| ErrorCode::Unavailable)??.as_ref())?;
    tracing::info!(
        next_notice = meta.next_notice,
        next_member = meta.next_member,
        "attached to the broker"
    );
    *up_since = Some(Instant::now());
    link.up();
    let completing = AbortOnDrop(tokio::spawn(complete_handles(node.clone())));
    let holding = AbortOnDrop(tokio::spawn(bundles::keep(node.clone())));
    let asking = AbortOnDrop(tokio::spawn(ask_again(node.clone())));
    let ended = stream.pump(&mut inbound, evaluations).await;
    drop((completing, asking, holding));
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
            // Other spellings only once everybody can be found at all.
            match node.complete_near().await {
                Ok(false) => pause = FIRST_RETRY,
                Ok(true) => {
                    tokio::time::sleep(NEAR_PAUSE).await;
                    continue;
                }
                Err(code) => {
                    tracing::info!(%code, pause_ms = pause.as_millis(),
                        "some people can't be found by other spellings yet; tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_RETRY);
                    continue;
                }
            }
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

/// Permits that could not be used for a passing reason are asked for again, after ever longer
/// pauses. By a steady clock: the one that people set may be the very reason.
pub(crate) async fn ask_again(node: Node) {
    let mut pause = FIRST_AGAIN;
    loop {
        tokio::time::sleep(pause).await;
        let waits = postponed::waiting(node.core.view(), 1);
        if waits.is_ok_and(|waits| waits.is_empty()) {
            pause = FIRST_AGAIN;
            continue;
        }
        pause = (pause * 2).min(LONGEST_AGAIN);
        let context = Arc::clone(&node.context);
        let now = node.clock.now();
        let asked = node.core.write(now, move |view| {
            Ok((postponed::ask_again(&context, view, now)?, ()))
        });
        if let Err(code) = asked.await {
            tracing::warn!(%code, "postponed permits could not be asked for again");
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
    /// The steady clock counts from here.
    started: Instant,
    exchange: Exchange,
    /// What the frames so far asked for, in their order, until it is durable.
    under_way: FuturesOrdered<BoxFuture<'static, Result<Done, ErrorCode>>>,
    broken: inbound::Broken,
    evaluating: HashMap<u64, oneshot::Sender<Result<v1::Evaluated, ErrorCode>>>,
    next_call: u64,
}

/// What became durable.
enum Done {
    TakenIn,
    Settled(u64, Settlement),
    Weighed(agent_frame::Frame),
}

impl Stream<'_> {
    async fn send(&mut self, frame: agent_frame::Frame) -> Result<(), ErrorCode> {
        let frame = v1::AgentFrame { frame: Some(frame) };
        let sent = timeout(DEADLINE, self.frames.send(frame)).await;
        let sent = sent.map_err(|_| ErrorCode::Unavailable)?;
        sent.map_err(|_| ErrorCode::Unavailable)
    }

    fn now(&self) -> Moment {
        Moment {
            wall: self.node.clock.now(),
            steady: self.started.elapsed(),
        }
    }

    async fn pump(
        &mut self,
        inbound: &mut Streaming<v1::BrokerFrame>,
        evaluations: &mut mpsc::Receiver<Evaluation>,
    ) -> Result<(), ErrorCode> {
        let mut version = self.node.core.version();
        loop {
            version.mark_unchanged();
            let wake = self.send_outbox().await?.map(|at| self.started + at);
            let due = self.exchange.reply_due().map(|at| self.started + at);
            tokio::select! {
                Some(done) = self.under_way.next() => self.on_done(done?).await?,
                frame = next_frame(inbound), if self.under_way.len() < UNDER_WAY => match frame? {
                    Some(frame) => self.on_frame(frame).await?,
                    None => return self.finish().await,
                },
                changed = version.changed() => changed.map_err(|_| ErrorCode::Storage)?,
                Some(job) = evaluations.recv() => self.on_evaluation(job).await?,
                () = sleep_to(wake) => {}
                () = sleep_to(due) => return Err(ErrorCode::Unavailable),
            }
        }
    }

    /// The broker has closed the stream: what it said until then still counts.
    async fn finish(&mut self) -> Result<(), ErrorCode> {
        while let Some(done) = self.under_way.next().await {
            done?;
        }
        Ok(())
    }

    async fn on_done(&mut self, done: Done) -> Result<(), ErrorCode> {
        match done {
            Done::TakenIn => {}
            Done::Settled(call, settlement) => {
                let now = self.now();
                self.exchange.settled(call, settlement, now);
            }
            Done::Weighed(frame) => self.send(frame).await?,
        }
        Ok(())
    }

    /// Sends what is due and not under way, in order. Returns when to look again.
    async fn send_outbox(&mut self) -> Result<Option<Duration>, ErrorCode> {
        let room = self.frames.capacity().saturating_sub(RESERVED);
        let now = self.now();
        let (view, context) = (self.node.core.view(), &self.node.context);
        let out = self.exchange.outgoing(view, context, now, room)?;
        for frame in out.frames {
            self.send(frame).await?;
        }
        for event in out.lost {
            let written = self.node.core.write(now.wall, |_| Ok((vec![event], ())));
            written.await?;
        }
        for seq in out.fallen {
            let context = Arc::clone(context);
            let held = self.node.core.write(now.wall, move |view| {
                Ok((inbound::hold_back(&context, view, seq, now.wall)?, ()))
            });
            held.await?;
        }
        Ok(out.wake)
    }

    async fn on_frame(&mut self, frame: broker_frame::Frame) -> Result<(), ErrorCode> {
        let call = match &frame {
            broker_frame::Frame::Reply(reply) => reply.call,
            _ => 0,
        };
        match self.exchange.on_frame(frame)? {
            Asked::Settle(settlement) => {
                let settled = inbound::on_settlement(self.node, settlement).await?;
                let done = settled.map_ok(move |()| Done::Settled(call, settlement));
                self.under_way.push_back(Box::pin(done));
                Ok(())
            }
            Asked::Evaluated(evaluated) => {
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
            Asked::TakeIn(notice) => {
                let taken = inbound::on_notice(self.node, notice, &self.broken).await?;
                let done = taken.map_ok(|()| Done::TakenIn);
                self.under_way.push_back(Box::pin(done));
                Ok(())
            }
            Asked::Weigh(round) => {
                let node = self.node;
                let clock = node.clock.as_ref();
                let frame = witness::round(&node.context, &node.core, clock, round).await?;
                self.under_way
                    .push_back(Box::pin(frame.map_ok(Done::Weighed)));
                Ok(())
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
