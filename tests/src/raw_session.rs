//! A stream of a hand-driven agency: frames out, replies, notices and witness rounds in.

use crate::{
    raw_agency::{Memory, RawAgency, Witnessing, now},
    wait,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::Signer as _;
use passerelle_audit::{
    checkpoint::Checkpoint,
    cosignature,
    note::Note,
    witness::{Accepted, consider},
};
use passerelle_model::{bytes::Digest, error::ErrorCode};
use passerelle_proto::{MAX_MESSAGE_BYTES, PROTOCOL, convert, v1};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use v1::{agent_frame::Frame as ToBroker, broker_frame::Frame as FromBroker};

/// How a stream ended.
#[derive(Clone, Debug)]
pub struct End {
    /// The error code, if the broker gave one.
    pub code: Option<ErrorCode>,
    /// The status, unless it ended without one.
    pub status: Option<Status>,
}

#[derive(Default)]
struct Inbox {
    replies: HashMap<u64, v1::Reply>,
    evaluated: HashMap<u64, v1::Evaluated>,
    end: Option<End>,
}

/// A live stream. Dropping it closes it.
pub struct Session {
    frames: mpsc::Sender<v1::AgentFrame>,
    inbox: Arc<Mutex<Inbox>>,
    next_call: AtomicU64,
    reader: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A reply, told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Accepted, recorded at this index.
    Done(u64),
    /// Refused with this code; recorded at this index if so.
    Refused(ErrorCode, Option<u64>),
}

impl Said {
    /// The index of what was accepted.
    #[track_caller]
    pub fn index(self) -> u64 {
        match self {
            Self::Done(index) => index,
            Self::Refused(code, _) => panic!("refused: {code}"),
        }
    }

    /// The index of the refusal's entry, which must have this code.
    #[track_caller]
    pub fn refused_as(self, expected: ErrorCode) -> u64 {
        match self {
            Self::Refused(code, Some(index)) if code == expected => index,
            other => panic!("expected `{expected}` with its entry, got {other:?}"),
        }
    }
}

impl RawAgency {
    /// Attaches, from where it was.
    pub async fn attach(&self) -> Result<Session, Status> {
        let hello = {
            let memory = self.memory();
            v1::Hello {
                protocol: PROTOCOL,
                next_notice: memory.next_notice,
                next_member: memory.next_member,
                witness_size: memory.witness.size,
                origin: String::new(),
            }
        };
        self.attach_with(ToBroker::Hello(hello)).await
    }

    /// Attaches with another first frame.
    pub async fn attach_with(&self, first: ToBroker) -> Result<Session, Status> {
        let (frames, queue) = mpsc::channel(64);
        let first = v1::AgentFrame { frame: Some(first) };
        frames
            .send(first)
            .await
            .map_err(|_| Status::internal("closed"))?;
        let mut client = v1::exchange_client::ExchangeClient::new(self.channel().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(16 * MAX_MESSAGE_BYTES);
        let mut inbound = client
            .attach(ReceiverStream::new(queue))
            .await?
            .into_inner();
        match inbound.message().await?.and_then(|f| f.frame) {
            Some(FromBroker::Welcome(welcome)) if welcome.protocol == PROTOCOL => {}
            other => return Err(Status::internal(format!("no welcome but {other:?}"))),
        }
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let reader = tokio::spawn(read(self.clone(), inbound, frames.clone(), inbox.clone()));
        Ok(Session {
            frames,
            inbox,
            next_call: AtomicU64::new(1),
            reader,
        })
    }

    /// Attaches and never reads: what comes back must be held, and the stream with it.
    pub async fn attach_deaf(&self) -> Result<impl Sized, Status> {
        let (frames, queue) = mpsc::channel(64);
        let hello = v1::Hello {
            protocol: PROTOCOL,
            ..Default::default()
        };
        let frame = Some(ToBroker::Hello(hello));
        let sent = frames.send(v1::AgentFrame { frame }).await;
        sent.map_err(|_| Status::internal("closed"))?;
        let mut client = v1::exchange_client::ExchangeClient::new(self.channel().await?);
        let inbound = client.attach(ReceiverStream::new(queue)).await?;
        Ok((frames, client, inbound))
    }

    fn on_round(&self, round: &v1::WitnessRound) -> Option<ToBroker> {
        let size = Note::parse(&round.checkpoint)
            .ok()
            .and_then(|note| Checkpoint::parse(note.text()).ok())
            .map_or(0, |checkpoint| checkpoint.size());
        let mut memory = self.memory();
        let how = memory.witnessing;
        match how {
            Witnessing::Silent => return None,
            Witnessing::Refuse(status, known_size) => {
                return Some(ToBroker::CosignRefused(v1::CosignRefused {
                    size,
                    status,
                    known_size,
                }));
            }
            _ => {}
        }
        let proof: Option<Vec<Digest>> =
            round.proof.iter().map(|h| Digest::from_slice(h)).collect();
        let considered = consider(
            &memory.witness,
            &self.log,
            round.old_size,
            &proof?,
            &round.checkpoint,
        );
        Some(match considered {
            Ok(accepted) => ToBroker::Cosigned(v1::Cosigned {
                size,
                signature: self.cosign(&mut memory, &accepted, how),
            }),
            Err(error) => ToBroker::CosignRefused(v1::CosignRefused {
                size,
                status: u32::from(error.http_status()),
                known_size: memory.witness.size,
            }),
        })
    }

    fn cosign(&self, memory: &mut Memory, accepted: &Accepted, how: Witnessing) -> String {
        let time_s = now().seconds();
        let name = if how == Witnessing::OtherName {
            "somebody-else".parse().expect("a name")
        } else {
            self.agency.clone()
        };
        let line = self.cosigner(&name).cosign(accepted, time_s);
        let line = line.expect("the time is fit").to_string();
        let line = line.trim_end();
        let change = |by: &dyn Fn(&mut Vec<u8>)| {
            let (head, encoded) = line.rsplit_once(' ').expect("three words");
            let mut bytes = STANDARD.decode(encoded).expect("base64");
            by(&mut bytes);
            format!("{head} {}", STANDARD.encode(bytes))
        };
        match how {
            Witnessing::BadSignature => change(&|bytes| bytes[40] ^= 1),
            Witnessing::OtherRoot => change(&|bytes| {
                let honest = accepted.checkpoint().checkpoint();
                let other = Checkpoint::new(honest.origin(), honest.size(), Digest([7; 32]));
                let text = other.expect("a checkpoint").to_string();
                let key = ed25519_dalek::SigningKey::from_bytes(&self.witness_seed);
                let signature = key.sign(&cosignature::message(time_s, &text));
                // Key id (4), time (8), signature (64).
                bytes[12..].copy_from_slice(&signature.to_bytes());
            }),
            _ => {
                if how == Witnessing::Honest {
                    memory.witness = accepted.state();
                    memory.cosigned += 1;
                }
                line.to_owned()
            }
        }
    }
}

async fn read(
    agency: RawAgency,
    mut inbound: tonic::Streaming<v1::BrokerFrame>,
    frames: mpsc::Sender<v1::AgentFrame>,
    inbox: Arc<Mutex<Inbox>>,
) {
    let mut last = [None; 2];
    let end = loop {
        match inbound.message().await {
            Ok(Some(frame)) => match frame.frame {
                Some(FromBroker::Reply(reply)) => {
                    inbox
                        .lock()
                        .expect("whole")
                        .replies
                        .insert(reply.call, reply);
                }
                Some(FromBroker::Evaluated(done)) => {
                    inbox
                        .lock()
                        .expect("whole")
                        .evaluated
                        .insert(done.call, done);
                }
                Some(FromBroker::Notice(notice)) => agency.take_notice(&mut last, notice),
                Some(FromBroker::WitnessRound(round)) => {
                    if let Some(frame) = agency.on_round(&round) {
                        // The stream may be ending; the next loop sees it.
                        let _ = frames.send(v1::AgentFrame { frame: Some(frame) }).await;
                    }
                }
                Some(FromBroker::Welcome(_)) | None => {}
            },
            Ok(None) => {
                break End {
                    code: None,
                    status: None,
                };
            }
            Err(status) => {
                break End {
                    code: convert::code_of(&status),
                    status: Some(status),
                };
            }
        }
    };
    inbox.lock().expect("whole").end = Some(end);
}

impl Session {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("no reader panicked with it")
    }

    /// Sends a frame; false if the stream has ended.
    pub async fn send(&self, frame: ToBroker) -> bool {
        let frame = v1::AgentFrame { frame: Some(frame) };
        self.frames.send(frame).await.is_ok()
    }

    /// How the stream has ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.inbox().end.clone()
    }

    /// Waits for the stream to end.
    pub async fn ended(&self) -> anyhow::Result<End> {
        wait::until("the stream to end", || async { Ok(self.end()) }).await
    }

    fn call(&self) -> u64 {
        self.next_call.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a statement with whatever belongs to it, without waiting; the call's number.
    pub async fn begin(&self, mut submit: v1::Submit) -> u64 {
        let call = self.call();
        submit.call = call;
        self.send(ToBroker::Submit(submit)).await;
        call
    }

    /// Waits for the reply to a call.
    pub async fn reply(&self, call: u64) -> anyhow::Result<Said> {
        let reply = wait::until("a reply", || async {
            let mut inbox = self.inbox();
            match (inbox.replies.remove(&call), &inbox.end) {
                (None, Some(end)) => anyhow::bail!("the stream ended first: {end:?}"),
                (reply, _) => Ok(reply),
            }
        })
        .await?;
        let index = reply.logged.then_some(reply.index);
        Ok(match (reply.code.as_str(), index) {
            ("", Some(index)) => Said::Done(index),
            (code, index) => Said::Refused(code.parse()?, index),
        })
    }

    /// Sends a statement and waits for the reply.
    pub async fn submit(&self, submit: v1::Submit) -> anyhow::Result<Said> {
        let call = self.begin(submit).await;
        self.reply(call).await
    }

    /// Has blinded elements evaluated: the reply, whatever its code.
    pub async fn evaluate(&self, blinded: Vec<Vec<u8>>) -> anyhow::Result<v1::Evaluated> {
        let call = self.call();
        let evaluate = v1::Evaluate { call, blinded };
        self.send(ToBroker::Evaluate(evaluate)).await;
        wait::until("an evaluation", || async {
            let mut inbox = self.inbox();
            match (inbox.evaluated.remove(&call), &inbox.end) {
                (None, Some(end)) => anyhow::bail!("the stream ended first: {end:?}"),
                (done, _) => Ok(done),
            }
        })
        .await
    }
}
