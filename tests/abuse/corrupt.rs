//! A broker that lies: production parts, with its own keys from its own directory, a decision
//! point that the test chooses, and a hand on every frame that leaves.

use anyhow::Result;
use passerelle_broker::{
    acceptor::{Acceptor, Limits},
    bundles::BundleStore,
    clock,
    connections::Connections,
    home::Home,
    ledger::Ledger,
    notices::Notices,
    rate::Allowances,
    sequencer,
    services::{Broker, ExchangeService, LogReadService, Readers, Sessions},
    tls::{RevokedSerials, ServerCertificate, server_config},
    witnesses::Witnesses,
};
use passerelle_model::{
    bytes::Digest,
    decide::Command,
    entry::{Entry, EntryBody},
    ids::AgencyId,
    pdp::{Effect, Matter, PolicyDecisionPoint, Reason, Ruling},
};
use passerelle_proto::{
    MAX_MESSAGE_BYTES,
    v1::{
        self, broker_frame::Frame, exchange_server::ExchangeServer, log_read_server::LogReadServer,
    },
};
use passerelle_tests::federation::Federation;
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// What becomes of a frame on its way to an agency: itself, another, several, or none.
pub(crate) type Tamper =
    Arc<dyn Fn(&AgencyId, v1::BrokerFrame) -> Vec<v1::BrokerFrame> + Send + Sync>;

/// Leaves every frame as it is.
pub(crate) fn honest() -> Tamper {
    Arc::new(|_, frame| vec![frame])
}

/// The shipped decision point.
pub(crate) fn lawful() -> Arc<dyn PolicyDecisionPoint> {
    passerelle_broker::serve::embedded_pdp().unwrap()
}

/// Permits everything, and says that the shipped bundle says so.
pub(crate) struct Lawless(Digest);

impl Lawless {
    pub(crate) fn claiming_the_law() -> Arc<dyn PolicyDecisionPoint> {
        Arc::new(Self(lawful().bundle()))
    }
}

impl PolicyDecisionPoint for Lawless {
    fn rule(&self, _: &Matter) -> Ruling {
        Ruling {
            effect: Effect::Permit,
            reasons: vec![Reason {
                rule: "consent-covers".into(),
                source: "GDPR-9".into(),
                text: "consent-covers".into(),
            }],
            obligations: Vec::new(),
            consent: None,
            agreement: None,
        }
    }

    fn bundle(&self) -> Digest {
        self.0
    }
}

/// The entry in a notice.
pub(crate) fn entry_of(frame: &v1::BrokerFrame) -> Option<EntryBody> {
    let Some(Frame::Notice(notice)) = &frame.frame else {
        return None;
    };
    Some(Entry::from_bytes(&notice.entry).ok()?.body)
}

/// Holds frames back until one comes that lets them go, after it.
pub(crate) fn after(
    agency: &'static str,
    held: impl Fn(&EntryBody) -> bool + Send + Sync + 'static,
    lets_go: impl Fn(&EntryBody) -> bool + Send + Sync + 'static,
) -> Tamper {
    let waiting = Mutex::new(Vec::new());
    Arc::new(move |to, frame| {
        let entry = entry_of(&frame);
        let mut waiting = waiting.lock().unwrap();
        if to.as_str() != agency {
            return vec![frame];
        }
        if entry.as_ref().is_some_and(&held) {
            waiting.push(frame);
            return Vec::new();
        }
        let mut out = vec![frame];
        if entry.as_ref().is_some_and(&lets_go) {
            out.append(&mut waiting);
        }
        out
    })
}

struct Tampering {
    inner: ExchangeService,
    tamper: Tamper,
}

#[tonic::async_trait]
impl v1::exchange_server::Exchange for Tampering {
    type AttachStream = ReceiverStream<Result<v1::BrokerFrame, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentFrame>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let agency = self.inner.0.member(&request)?.agency;
        let mut frames = self.inner.attach(request).await?.into_inner();
        let (out, stream) = mpsc::channel(64);
        let tamper = self.tamper.clone();
        tokio::spawn(async move {
            while let Some(frame) = frames.next().await {
                let sent = match frame {
                    Ok(frame) => tamper(&agency, frame).into_iter().map(Ok).collect(),
                    Err(status) => vec![Err(status)],
                };
                for frame in sent {
                    if out.send(frame).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// A corrupt broker that serves. Dropped, it lets go of its directory.
pub(crate) struct Corrupt {
    broker: Arc<Broker>,
    tasks: JoinSet<()>,
    running: Option<sequencer::Running>,
}

impl Corrupt {
    /// Takes the place of a federation's broker: its directory, its keys, its address.
    pub(crate) async fn in_place_of(
        federation: &mut Federation,
        pdp: Arc<dyn PolicyDecisionPoint>,
        tamper: Tamper,
    ) -> Result<Self> {
        federation.broker().kill9()?;
        let (dir, address) = (federation.broker_dir(), federation.address());
        let made = Self::serve(&dir, address, pdp, tamper).await?;
        Ok(made)
    }

    /// Serves the directory at this address.
    pub(crate) async fn serve(
        dir: &Path,
        address: SocketAddr,
        pdp: Arc<dyn PolicyDecisionPoint>,
        tamper: Tamper,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let home = Home::open(dir)?;
        let certificate = home.server_certificate()?;
        let keys = home.public_keys()?;
        let ledger = Ledger::open(dir)?;
        let view = ledger.view().clone();
        let bundles = Arc::new(BundleStore::new(dir));
        let (sequencer, running) = sequencer::start(ledger, pdp, bundles.clone())?;
        let federation = home.config.federation.clone();
        let revoked = RevokedSerials::default();
        let broker = Arc::new(Broker {
            witnesses: Witnesses::new(federation.clone(), home.checkpoint.clone(), view.clone())?,
            notices: Notices::new(view, home.permit.clone()),
            keys,
            bundles,
            allowances: Allowances::new(home.config.limits),
            oprf: home.oprf,
            connections: Connections::new(revoked.clone()),
            sessions: Sessions::default(),
            outside: Vec::new(),
            readers: Readers::default(),
            shutdown: Default::default(),
            sequencer,
            federation,
            ca: home.ca,
        });
        let key = &certificate.key_pem;
        let chain = ServerCertificate::from_pem(certificate.chain_pem.as_bytes(), key)?;
        let root = broker.ca.certificate_pem()?;
        let config = server_config(chain, root.as_bytes(), &broker.federation, &revoked)?;
        let acceptor = Acceptor::new(
            config,
            broker.federation.clone(),
            broker.connections.clone(),
            Limits::default(),
            Arc::new(clock::now),
        );
        let inner = ExchangeService(broker.clone());
        let exchange = ExchangeServer::new(Tampering { inner, tamper })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let reads = LogReadServer::new(LogReadService(broker.clone()));
        let ended = broker.shutdown.clone().cancelled_owned();
        let server = Server::builder()
            .add_service(exchange)
            .add_service(reads)
            .serve_with_incoming_shutdown(acceptor.listen(listener), ended);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = server.await;
        });
        tasks.spawn(rounds(broker.clone()));
        let running = Some(running);
        Ok(Self {
            broker,
            tasks,
            running,
        })
    }

    /// Whether a witness has said that it saw a longer log.
    pub(crate) fn was_rolled_back(&self) -> bool {
        self.broker.witnesses.rolled_back().is_some()
    }

    /// Ends, and waits until the directory is free.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.broker.shutdown.cancel();
        let tasks = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), tasks)
            .await
            .is_err()
        {
            self.tasks.shutdown().await;
        }
        let running = self.running.take();
        let broker = Arc::downgrade(&self.broker);
        drop(self.broker);
        passerelle_tests::wait::until("the sessions to end", || async {
            Ok((broker.strong_count() == 0).then_some(()))
        })
        .await?;
        tokio::task::spawn_blocking(move || running.map(std::thread::JoinHandle::join)).await?;
        Ok(())
    }
}

/// As production does: a round whenever there is something new, and the timer.
async fn rounds(broker: Arc<Broker>) {
    let mut progress = broker.sequencer.progress();
    let mut changes = broker.witnesses.changes();
    let mut timer = tokio::time::interval(Duration::from_secs(1));
    loop {
        broker.witnesses.start_round().unwrap();
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
            _ = timer.tick() => {
                broker.sequencer.run(Command::Tick).await.unwrap();
            }
            () = broker.shutdown.cancelled() => return,
        }
    }
}
