//! The ceiling: the same messages as those of an exchange from one agency through a relay to
//! another and back, over the product's own TLS and streams, without a check and without a log.
//!
//! Asker, relay and holder are processes: this program again, with a hidden command.

use crate::{
    proc,
    stats::{Spread, spread},
};
use anyhow::{Context as _, Result, ensure};
use clap::{Subcommand, ValueEnum};
use passerelle_agent::{
    clock::{Clock as _, SystemClock},
    csr::{TlsIdentity, new_key_and_csr},
    tls_client::BrokerConnector,
};
use passerelle_broker::{
    acceptor::{Acceptor, Connections, Limits},
    ca::CertificateAuthority,
    tls::{RevokedSerials, ServerCertificate, server_config},
};
use passerelle_model::{
    bytes::Digest,
    ids::{AgencyId, FederationId},
};
use passerelle_proto::v1::{
    self, agent_frame, broker_frame,
    exchange_client::ExchangeClient,
    exchange_server::{Exchange, ExchangeServer},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Bytes of a signed statement.
const STATEMENT_BYTES: usize = 1_300;
/// Bytes of a sealed context or answer.
pub(crate) const SEALED_BYTES: usize = 8 * 1024 + 48;
/// Messages that may wait.
const QUEUE: usize = 256;
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(20);
const DAY_S: u64 = 86_400;

/// One process of the relay.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Hidden {
    /// One process of the relay; started by the benchmark
    #[command(hide = true)]
    RelayNode {
        /// Which
        role: Role,
        /// Where the keys are
        dir: PathBuf,
        /// Where the relay listens
        #[arg(long)]
        address: Option<SocketAddr>,
        /// Round trips under way
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        /// Milliseconds that count
        #[arg(long, default_value_t = 1_000)]
        window_ms: u64,
        /// Bytes beside the statement
        #[arg(long, default_value_t = SEALED_BYTES)]
        bytes: usize,
    },
}

/// Who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Takes streams and passes messages on.
    Relay,
    /// Answers.
    Holder,
    /// Asks.
    Asker,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// Round trips under way at any time.
    pub(crate) in_flight: usize,
    /// A second.
    pub(crate) per_second: f64,
    /// From the question to the answer.
    pub(crate) answer_ms: Spread,
    /// Milliseconds of processor for one round trip, all three processes.
    pub(crate) cpu_ms: f64,
}

#[derive(Serialize, Deserialize)]
struct Said {
    round_trips: u64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn federation() -> Result<FederationId> {
    Ok("essai".parse()?)
}

/// Makes the keys of everybody below `dir`.
fn prepare(dir: &Path) -> Result<()> {
    let now = SystemClock.now();
    let ca = CertificateAuthority::create(&federation()?, now, [9; 16])?;
    fs::write(dir.join("root.pem"), ca.certificate_pem()?)?;
    let server = ca.issue_server(&["127.0.0.1"], now, DAY_S)?;
    fs::write(dir.join("server.pem"), &server.chain_pem)?;
    fs::write(dir.join("server.key"), &*server.key_pem)?;
    for name in ["holder", "asker"] {
        let agency: AgencyId = name.parse()?;
        let (key, csr) = new_key_and_csr(&agency)?;
        let issued = ca.issue_agency(&csr, &agency, &Digest([0; 32]), now, DAY_S)?;
        TlsIdentity::new(&issued.pem, &key).save(&dir.join(format!("{name}.pem")))?;
    }
    Ok(())
}

/// Runs one process.
pub(crate) async fn node(hidden: Hidden) -> Result<()> {
    let Hidden::RelayNode {
        role,
        dir,
        address,
        in_flight,
        window_ms,
        bytes,
    } = hidden;
    let address = address.context("no address");
    match role {
        Role::Relay => relay(&dir).await,
        Role::Holder => answer(&dir, address?).await,
        Role::Asker => {
            let window = Duration::from_millis(window_ms);
            ask(&dir, address?, in_flight, window, bytes).await
        }
    }
}

type Outbound = mpsc::Sender<Result<v1::BrokerFrame, Status>>;

/// Passes what the asker says to the holder, and back.
#[derive(Clone, Default)]
struct Relay(Arc<Mutex<HashMap<u64, Outbound>>>);

#[tonic::async_trait]
impl Exchange for Relay {
    type AttachStream = ReceiverStream<Result<v1::BrokerFrame, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentFrame>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (outbound, stream) = mpsc::channel(QUEUE);
        let mut inbound = request.into_inner();
        let all = self.0.clone();
        tokio::spawn(async move {
            let mut me = 0;
            while let Ok(Some(frame)) = inbound.message().await {
                match frame.frame {
                    Some(agent_frame::Frame::Hello(hello)) => {
                        me = hello.next_notice;
                        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                        all.insert(me, outbound.clone());
                    }
                    Some(agent_frame::Frame::Submit(submit)) => {
                        let other = {
                            let all = all.lock().unwrap_or_else(PoisonError::into_inner);
                            all.get(&(1 - me)).cloned()
                        };
                        let Some(other) = other else { continue };
                        let frame = v1::BrokerFrame {
                            frame: Some(broker_frame::Frame::Notice(noticed(submit))),
                        };
                        if other.send(Ok(frame)).await.is_err() {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn noticed(submit: v1::Submit) -> v1::Notice {
    v1::Notice {
        index: submit.call,
        entry: submit.envelope.map(|e| e.payload).unwrap_or_default(),
        payloads: submit.payloads,
        ..v1::Notice::default()
    }
}

async fn relay(dir: &Path) -> Result<()> {
    let revoked = RevokedSerials::default();
    let chain = fs::read(dir.join("server.pem"))?;
    let key = fs::read(dir.join("server.key"))?;
    let root = fs::read(dir.join("root.pem"))?;
    let certificate = ServerCertificate::from_pem(&chain, &key)?;
    let config = server_config(certificate, &root, &federation()?, &revoked)?;
    let connections = Connections::new(revoked);
    let clock = Arc::new(|| SystemClock.now());
    let acceptor = Acceptor::new(config, federation()?, connections, Limits::default(), clock);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Server::builder()
        .add_service(ExchangeServer::new(Relay::default()))
        .serve_with_incoming_shutdown(acceptor.listen(listener), orphaned())
        .await?;
    Ok(())
}

/// Resolves when whoever started this process has gone: the pipe to it closes.
async fn orphaned() {
    let (gone, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = gone.send(());
    });
    let _ = wait.await;
}

struct Stream {
    out: mpsc::Sender<v1::AgentFrame>,
    inbound: Streaming<v1::BrokerFrame>,
}

async fn attach(dir: &Path, name: &str, place: u64, address: SocketAddr) -> Result<Stream> {
    let root = fs::read(dir.join("root.pem"))?;
    let identity = TlsIdentity::load(&dir.join(format!("{name}.pem")))?;
    let connector = BrokerConnector::new(&federation()?, &root, &identity)?;
    let channel = passerelle_tests::raw_agency::channel(address, connector).await?;
    let (out, queue) = mpsc::channel(QUEUE);
    let hello = agent_frame::Frame::Hello(v1::Hello {
        protocol: 1,
        next_notice: place,
        ..v1::Hello::default()
    });
    out.send(v1::AgentFrame { frame: Some(hello) }).await?;
    let mut client = ExchangeClient::new(channel);
    let inbound = client
        .attach(ReceiverStream::new(queue))
        .await?
        .into_inner();
    Ok(Stream { out, inbound })
}

fn message(call: u64, payload: &str, bytes: usize) -> v1::AgentFrame {
    let submit = v1::Submit {
        call,
        envelope: Some(v1::Envelope {
            payload: vec![b'x'; STATEMENT_BYTES],
            signature: vec![b'x'; 64],
        }),
        openings: Vec::new(),
        payloads: HashMap::from([(payload.to_owned(), vec![b'x'; bytes])]),
    };
    v1::AgentFrame {
        frame: Some(agent_frame::Frame::Submit(submit)),
    }
}

async fn answer(dir: &Path, address: SocketAddr) -> Result<()> {
    let Stream { out, mut inbound } = attach(dir, "holder", 0, address).await?;
    println!("attached");
    let serve = async {
        while let Some(frame) = inbound.message().await? {
            if let Some(broker_frame::Frame::Notice(notice)) = frame.frame {
                // As much as was asked with.
                let bytes = notice.payloads.values().map(Vec::len).sum();
                out.send(message(notice.index, "answer", bytes)).await?;
            }
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = serve => done,
        () = orphaned() => Ok(()),
    }
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<()>>>>;

async fn ask(
    dir: &Path,
    address: SocketAddr,
    in_flight: usize,
    window: Duration,
    bytes: usize,
) -> Result<()> {
    let Stream { out, mut inbound } = attach(dir, "asker", 1, address).await?;
    let waiting = Waiting::default();
    let told = waiting.clone();
    tokio::spawn(async move {
        while let Ok(Some(frame)) = inbound.message().await {
            if let Some(broker_frame::Frame::Notice(notice)) = frame.frame {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.remove(&notice.index).map(|tell| tell.send(()));
            }
        }
    });
    let warm_up = Duration::from_millis(500);
    let (from, until) = (Instant::now() + warm_up, Instant::now() + warm_up + window);
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..in_flight as u64 {
        let (out, waiting) = (out.clone(), waiting.clone());
        workers.spawn(async move {
            let (mut took, mut call) = (Vec::new(), worker << 32);
            while Instant::now() < until {
                call += 1;
                let (tell, told) = oneshot::channel();
                let began = Instant::now();
                waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(call, tell);
                out.send(message(call, "context", bytes)).await?;
                tokio::time::timeout(PATIENCE, told).await??;
                if (from..until).contains(&Instant::now()) {
                    took.push(began.elapsed().as_secs_f64() * 1e3);
                }
            }
            anyhow::Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(took) = workers.join_next().await {
        all.extend(took??);
    }
    let spread = spread(all.iter().copied());
    let said = Said {
        round_trips: all.len() as u64,
        seconds: window.as_secs_f64(),
        p50_ms: spread.p50,
        p99_ms: spread.p99,
    };
    println!("{}", serde_json::to_string(&said)?);
    Ok(())
}

fn start(dir: &Path, role: &str, args: &[String]) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .args(["relay-node", role])
        .arg(dir)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?)
}

async fn line(child: &mut Child) -> Result<String> {
    let out = child.stdout.take().context("no output")?;
    let mut lines = BufReader::new(out).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
    line.context("a process of the relay ended")
}

/// Measures the relay at these loads, `window` each.
pub(crate) async fn measure(
    work: &Path,
    loads: &[usize],
    window: Duration,
    bytes: usize,
) -> Result<Vec<Point>> {
    let dir = tempfile::Builder::new().prefix("relay").tempdir_in(work)?;
    prepare(dir.path())?;
    let mut relay = start(dir.path(), "relay", &[])?;
    let address = format!("--address={}", line(&mut relay).await?);
    let mut holder = start(dir.path(), "holder", std::slice::from_ref(&address))?;
    ensure!(
        line(&mut holder).await? == "attached",
        "the holder is not there"
    );
    let mut points = Vec::new();
    for &in_flight in loads {
        eprintln!("relay: {in_flight} in flight, {window:?}");
        let args = [
            address.clone(),
            format!("--in-flight={in_flight}"),
            format!("--window-ms={}", window.as_millis()),
            format!("--bytes={bytes}"),
        ];
        let pids = [relay.id(), holder.id()].map(|id| id.context("a process of the relay ended"));
        let [relay_pid, holder_pid] = pids;
        let (relay_pid, holder_pid) = (relay_pid?, holder_pid?);
        let mut asker = start(dir.path(), "asker", &args)?;
        let asker_pid = asker.id().context("the asker ended")?;
        // In the middle of the run, so that nothing but round trips is counted.
        tokio::time::sleep(Duration::from_millis(800)).await;
        let all = [relay_pid, holder_pid, asker_pid];
        let sum = || all.iter().map(|pid| proc::cpu_s(*pid)).sum::<Result<f64>>();
        let (began, before) = (Instant::now(), sum()?);
        tokio::time::sleep(window.saturating_sub(Duration::from_millis(600))).await;
        let (cpu_s, elapsed) = (sum()? - before, began.elapsed().as_secs_f64());
        let said: Said = serde_json::from_str(&line(&mut asker).await?)?;
        let per_second = said.round_trips as f64 / said.seconds;
        points.push(Point {
            in_flight,
            per_second,
            answer_ms: Spread {
                p50: said.p50_ms,
                p99: said.p99_ms,
            },
            cpu_ms: cpu_s / elapsed / per_second * 1e3,
        });
    }
    Ok(points)
}
