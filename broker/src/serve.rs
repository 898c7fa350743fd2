//! Runs a broker: opens the directory, starts the sequencer, the witness rounds, the timer and
//! the two servers, and ends them in order.

use crate::{
    acceptor::{Acceptor, Connections, Limits},
    bundles::{self, BundleStore},
    clock,
    error::BrokerError,
    home::Home,
    ledger::{Ledger, View},
    notices::Notices,
    outside,
    rate::Allowances,
    sequencer::{self, Running},
    services::{
        AdminService, Broker, EnrolmentService, ExchangeService, LogReadService, Readers, Sessions,
        Shared,
    },
    tiles,
    tls::{RevokedSerials, ServerCertificate, server_config},
    witnesses::Witnesses,
};
use passerelle_audit::note::Signer;
use passerelle_model::{
    decide::Command, entry::BrokerKeys, error::ErrorCode, pdp::PolicyDecisionPoint, state,
};
use passerelle_policies::{Bundle, bundle::MAX_BUNDLE_BYTES};
use passerelle_proto::{FILE_DESCRIPTORS, MAX_MESSAGE_BYTES, v1};
use std::{collections::BTreeSet, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request,
    service::{Routes, interceptor::InterceptedService},
    transport::Server,
};

/// How often due requests are ended.
const TICK: Duration = Duration::from_secs(1);

/// How long open calls may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// Largest request of an enrolment, in bytes: a certificate request has about 500. What a stranger
/// begins to send is kept until it ends, on every stream of every connection: so this bounds what
/// those without a certificate can make the broker hold.
const MAX_ENROL_BYTES: usize = 8 << 10;

/// Largest other unary request, in bytes: two numbers, or the name of a service.
const MAX_SMALL_BYTES: usize = 1 << 10;

/// Most calls at once on one connection. An agent has two or three.
const MAX_STREAMS: u32 = 32;

/// Open files that connections of agencies leave to others: handshakes, connections without a
/// certificate, the journal, the projection, sockets. A journal that can't open its next segment
/// ends the broker.
const RESERVED_FILES: usize =
    crate::acceptor::MAX_HANDSHAKES + crate::acceptor::MAX_ANONYMOUS_CONNECTIONS + 128;

/// HTTP/2 ping interval and patience: a dead agent is noticed within half a minute.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The policy decision point of the embedded library, with all its legal packs.
pub fn embedded_pdp() -> Result<Arc<dyn PolicyDecisionPoint>, BrokerError> {
    pdp_with(None)
}

/// The policy decision point of the embedded library, with the legal packs that the federation
/// uses. Which they are is in the digest of the bundle, so other packs are another bundle, which
/// the agencies have to endorse.
pub(crate) fn pdp_with(
    packs: Option<&BTreeSet<String>>,
) -> Result<Arc<dyn PolicyDecisionPoint>, BrokerError> {
    let pdp = match packs {
        Some(packs) => passerelle_policies::CedarPdp::load_with_packs(packs),
        None => passerelle_policies::CedarPdp::load_embedded(),
    };
    Ok(Arc::new(
        pdp.map_err(|e| BrokerError::Bundle(e.to_string()))?,
    ))
}

/// The decision point to start with, and whether it is to be put in force: that of the program
/// and its configuration as long as nobody has joined, and from then on that of the rules that the
/// log says are in force.
fn rules_for(
    store: &BundleStore,
    packs: Option<&BTreeSet<String>>,
    view: &View,
) -> Result<(Arc<dyn PolicyDecisionPoint>, bool), BrokerError> {
    let shipped = Bundle::shipped(packs).map_err(|e| BrokerError::Bundle(e.to_string()))?;
    let projection = view.projection.as_ref();
    let federation = state::federation(projection)?;
    let federation = federation.ok_or(BrokerError::Refused(ErrorCode::WrongState))?;
    let has_members = !state::agencies(projection)?.is_empty();
    let pdp = bundles::in_force(store, &shipped, &federation.terms, has_members)?;
    let is_new = pdp.bundle() != federation.bundle;
    Ok((pdp, is_new))
}

/// The key of checkpoints under the origin that the log says is in force, and all public keys.
fn keys_in_force(home: &Home, view: &View) -> Result<(Signer, BrokerKeys), BrokerError> {
    let federation = state::federation(view.projection.as_ref())?;
    let federation = federation.ok_or(BrokerError::Refused(ErrorCode::WrongState))?;
    let checkpoint = home.checkpoint_under(&federation.keys.checkpoint)?;
    let keys = BrokerKeys {
        checkpoint: federation.keys.checkpoint,
        ..home.public_keys()?
    };
    Ok((checkpoint, keys))
}

/// A broker that listens.
pub struct Serving {
    /// Where agencies reach it.
    pub address: SocketAddr,
    broker: Shared,
    sequencer: Running,
    servers: tokio::task::JoinSet<Result<(), BrokerError>>,
}

/// Opens the broker in `dir` and listens on `address` (port 0: any free one).
pub async fn start(dir: &Path, address: &str) -> Result<Serving, BrokerError> {
    let home = Home::open(dir)?;
    let listen = |source| BrokerError::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener
        .local_addr()
        .map_err(BrokerError::file("listen on", dir))?;
    let public = match &home.config.tiles {
        Some(address) => Some(listen_for_tiles(address).await?),
        None => None,
    };
    let outside_witnesses = home.outside()?;
    let certificate = home.server_certificate()?;
    let ledger = Ledger::open(dir)?;
    ledger.check_clock(clock::now())?;
    let view = ledger.view().clone();
    let (checkpoint, keys) = keys_in_force(&home, &view)?;
    let former = state::agencies(view.projection.as_ref())?
        .into_iter()
        .filter(|a| !a.active);
    let revoked: RevokedSerials = former.map(|a| a.certificate).collect();
    let bundles = Arc::new(BundleStore::new(dir));
    let (pdp, is_new) = rules_for(&bundles, home.config.packs.as_ref(), &view)?;
    let (sequencer, running) = sequencer::start(ledger, pdp, bundles.clone())?;
    let federation = home.config.federation.clone();
    let witnesses = Witnesses::new(federation.clone(), checkpoint, view.clone())?;
    let broker = Arc::new(Broker {
        witnesses: witnesses.requiring_outside(home.config.outside_required),
        outside: outside_witnesses,
        notices: Notices::new(view, home.permit.clone()),
        keys,
        bundles,
        allowances: Allowances::new(home.config.limits),
        oprf: home.oprf,
        connections: Connections::new(revoked.clone()),
        sessions: Sessions::default(),
        readers: Readers::default(),
        shutdown: CancellationToken::new(),
        sequencer,
        federation,
        ca: home.ca,
    });
    let chain =
        ServerCertificate::from_pem(certificate.chain_pem.as_bytes(), &certificate.key_pem)?;
    let root = broker.ca.certificate_pem()?;
    let config = server_config(chain, root.as_bytes(), &broker.federation, &revoked)?;
    let acceptor = Acceptor::new(
        config,
        broker.federation.clone(),
        broker.connections.clone(),
        connection_limits(),
        Arc::new(clock::now),
    );
    if is_new {
        let activated = broker.sequencer.run(Command::ActivateBundle).await;
        activated.map_err(BrokerError::Refused)?;
    }
    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(serve_agencies(broker.clone(), acceptor.listen(listener)));
    let socket = bind_socket(&Home::admin_socket(dir))?;
    servers.spawn(serve_admin(broker.clone(), socket));
    if let Some(listener) = public {
        servers.spawn(tiles::serve_public(broker.clone(), listener));
    }
    spawn_tasks(&broker, &mut servers);
    tracing::info!(%address, federation = %broker.federation, "broker listens");
    Ok(Serving {
        address,
        broker,
        sequencer: running,
        servers,
    })
}

/// What goes on without anybody asking.
fn spawn_tasks(broker: &Shared, servers: &mut tokio::task::JoinSet<Result<(), BrokerError>>) {
    servers.spawn(run_rounds(broker.clone()));
    for witness in &broker.outside {
        servers.spawn(outside::run(broker.clone(), witness.clone()));
    }
    servers.spawn(run_timer(broker.clone()));
}

async fn listen_for_tiles(address: &str) -> Result<TcpListener, BrokerError> {
    let refused = |source| BrokerError::Listen {
        address: address.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    tracing::info!(%address, "checkpoint and hashes of the log are served to anybody");
    Ok(listener)
}

/// As many connections as there may be open files. The soft limit is raised as far as the system
/// lets it: it often is 1,024, less than a large federation has connections.
fn connection_limits() -> Limits {
    let limits = Limits::default();
    let wanted = limits.agency_connections.saturating_add(RESERVED_FILES);
    let files = open_files(u64::try_from(wanted).unwrap_or(u64::MAX));
    let agency_connections = places_within(files, limits.agency_connections);
    if agency_connections < limits.agency_connections {
        tracing::warn!(
            files,
            agency_connections,
            "few open files are allowed: fewer agencies can connect (see `ulimit -n`)"
        );
    }
    Limits {
        agency_connections,
        ..limits
    }
}

/// How many files may be open, after asking for `wanted`.
fn open_files(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is without limit.
    let before = current.unwrap_or(u64::MAX);
    let target = wanted.min(maximum.unwrap_or(u64::MAX));
    if before >= target {
        return before;
    }
    let raised = Rlimit {
        current: Some(target),
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => target,
        Err(_) => before,
    }
}

/// How many connections of agencies fit among so many files: at least a few, at most `most`.
fn places_within(files: u64, most: usize) -> usize {
    const FEW: usize = 16;
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    files.saturating_sub(RESERVED_FILES).clamp(FEW, most)
}

fn bind_socket(path: &Path) -> Result<UnixListener, BrokerError> {
    // What a killed broker left behind; the journal's lock says that no other one runs.
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(BrokerError::file("remove", path)(e));
        }
        Ok(()) | Err(_) => {}
    }
    // The directory is 0700, so nobody else reaches the socket before its own mode is set.
    let socket = UnixListener::bind(path).map_err(BrokerError::file("listen on", path))?;
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).map_err(BrokerError::file("protect", path))?;
    Ok(socket)
}

impl Serving {
    /// Runs until `shutdown` resolves or a part fails, then ends in order: no new connections,
    /// open calls get some time, the sequencer finishes what it has.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), BrokerError> {
        let mut sequencer = {
            let running = self.sequencer;
            tokio::task::spawn_blocking(move || running.join())
        };
        let mut outcome = Ok(());
        let mut ended = None;
        tokio::select! {
            () = shutdown => tracing::info!("shutting down"),
            // None of them ends by itself: whatever it says, or if it panicked, this is a failure,
            // and a supervisor must hear of it.
            Some(part) = self.servers.join_next() => {
                let failed = Err(BrokerError::Ended("a server task"));
                outcome = part.unwrap_or(Ok(())).and(failed);
            }
            stopped = &mut sequencer => {
                outcome = Err(BrokerError::Ended("the sequencer"));
                ended = Some(stopped);
            }
        }
        self.broker.shutdown.cancel();
        let servers = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, servers).await.is_err() {
            tracing::warn!("open calls did not end in time");
            self.servers.shutdown().await;
        }
        // Dropping the last handles closes the queue, which ends the thread.
        drop(self.broker);
        let stopped = match ended {
            Some(stopped) => Some(stopped),
            None => tokio::time::timeout(DRAIN, sequencer).await.ok(),
        };
        match stopped {
            Some(Ok(Ok(Err(error)))) => {
                tracing::error!(%error, "the sequencer stopped");
                Err(error)
            }
            _ => outcome,
        }
    }
}

async fn serve_agencies(
    broker: Shared,
    incoming: crate::acceptor::Incoming,
) -> Result<(), BrokerError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_serving::<v1::exchange_server::ExchangeServer<ExchangeService>>()
        .await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTORS)
        .build_v1()
        .map_err(|e| BrokerError::Bundle(e.to_string()))?
        .max_decoding_message_size(MAX_SMALL_BYTES);
    let health_service = health_service.max_decoding_message_size(MAX_SMALL_BYTES);
    // For members' developers. Without a certificate there is enrolment and health, nothing else.
    let members = broker.clone();
    let reflection = InterceptedService::new(reflection, move |request: Request<()>| {
        members.member(&request).map(|_| request)
    });
    let exchange = v1::exchange_server::ExchangeServer::new(ExchangeService(broker.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let enrolment = v1::enrolment_server::EnrolmentServer::new(EnrolmentService(broker.clone()))
        .max_decoding_message_size(MAX_ENROL_BYTES);
    let log_read = v1::log_read_server::LogReadServer::new(LogReadService(broker.clone()))
        .max_decoding_message_size(MAX_SMALL_BYTES);
    let shutdown = broker.shutdown.clone().cancelled_owned();
    let files = Routes::from(tiles::for_members(broker));
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .concurrency_limit_per_connection(MAX_STREAMS as usize)
        .max_concurrent_streams(MAX_STREAMS)
        .add_routes(files)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(exchange)
        .add_service(enrolment)
        .add_service(log_read)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await?;
    Ok(())
}

async fn serve_admin(broker: Shared, socket: UnixListener) -> Result<(), BrokerError> {
    let shutdown = broker.shutdown.clone().cancelled_owned();
    Server::builder()
        .add_service(
            v1::admin_server::AdminServer::new(AdminService(broker))
                .max_decoding_message_size(MAX_BUNDLE_BYTES + MAX_SMALL_BYTES),
        )
        .serve_with_incoming_shutdown(UnixListenerStream::new(socket), shutdown)
        .await?;
    Ok(())
}

/// Starts a round whenever there is something new and none is running.
async fn run_rounds(broker: Shared) -> Result<(), BrokerError> {
    let mut progress = broker.sequencer.progress();
    let mut rounds = broker.witnesses.changes();
    let mut membership = progress.borrow_and_update().membership;
    loop {
        broker.witnesses.start_round()?;
        tokio::select! {
            changed = progress.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = progress.borrow_and_update().membership;
                if now != membership {
                    membership = now;
                    broker.witnesses.reload_members()?;
                }
            }
            changed = rounds.changed() => if changed.is_err() { return Ok(()) },
            () = broker.shutdown.cancelled() => return Ok(()),
        }
    }
}

async fn run_timer(broker: Shared) -> Result<(), BrokerError> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                broker.sequencer.run(Command::Tick).await.map_err(BrokerError::Refused)?;
            }
            () = broker.shutdown.cancelled() => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_agencies_leave_files_for_the_journal() {
        assert_eq!(places_within(u64::MAX, 4_096), 4_096);
        assert_eq!(places_within(20_000, 4_096), 4_096);
        let usual = places_within(1_024, 4_096);
        assert_eq!(usual, 1_024 - RESERVED_FILES);
        assert_eq!(places_within(64, 4_096), 16);
    }
}
