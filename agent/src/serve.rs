//! Running an agent: everything put together, until it is told to stop or its storage fails.

use crate::{
    alerts::AlertCode,
    api::{
        NodeService, audit_cases::AuditCasesService, rights::RightsService,
        service_consents::ConsentsService,
    },
    clock::{Clock, SystemClock},
    compare,
    context::Context,
    core::{Core, CoreError, Writer},
    csr::TlsIdentity,
    deletions,
    enrol::endpoint,
    erasure, forget,
    home::{Home, HomeError, io_error},
    link::{Evaluation, Evaluator, LinkOwner, link},
    mirror::{self, Mirror},
    node::Node,
    origin, retention, rights, session, suspicion,
    tls_client::{BrokerConnector, ConnectError},
};
use passerelle_journal::JournalError;
use passerelle_model::{error::ErrorCode, vocabulary::Sector};
use passerelle_proto::{
    FILE_DESCRIPTORS, MAX_LOCAL_MESSAGE_BYTES,
    v1::{
        audit_cases_server::AuditCasesServer, consents_server::ConsentsServer,
        node_server::NodeServer, rights_server::RightsServer,
    },
};
use std::{
    fs::{self, Permissions},
    future::Future,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Server};

/// How long calls that are under way may take to end at a shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// Why the agent does not run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Journal or projection.
    #[error(transparent)]
    Core(CoreError),
    /// The certificate or the root.
    #[error("{0}; enrol again with a new invitation")]
    Certificate(#[source] ConnectError),
    /// The address in the settings.
    #[error("`broker` in agent.toml is not an address; expected HOST:PORT")]
    Address,
    /// The place where the checkpoint is shown.
    #[error("`checkpoint_listen` in agent.toml: cannot listen on `{address}`: {source}")]
    Listen {
        /// As it was set.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The local interface.
    #[error("the local interface failed: {0}")]
    Local(String),
    /// Storage failed while running. Nothing more was accepted or released.
    #[error("{why} (code `{0}`)", why = .0.explanation())]
    Stopped(ErrorCode),
}

/// Runs the agent in `dir` until `shutdown` is ready.
///
/// # Errors
/// It can't start, or its storage fails.
pub async fn serve(
    dir: &Path,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    serve_with(dir, Arc::new(SystemClock), shutdown).await
}

/// As [`serve`], with this clock.
///
/// # Errors
/// As there.
pub async fn serve_with(
    dir: &Path,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let home = Home::new(dir);
    let socket = home.socket()?;
    let mut context = Context::load(&home)?;
    let channel = channel(&home, &context)?;
    let agency = context.identity.anchors.agency.clone();
    let (core, writer) =
        Core::start(dir, agency.clone(), context.vault.clone()).map_err(|error| match error {
            CoreError::Journal(JournalError::InUse { .. }) => {
                HomeError::Running(dir.display().to_string()).into()
            }
            other => ServeError::Core(other),
        })?;
    // The journal knows which origin was accepted last; the enrolment knows the first.
    let log = origin::followed(&context, core.view());
    context.identity.anchors.log = log.map_err(|error| ServeError::Core(error.into()))?;
    let context = Arc::new(context);
    let mirror = open_mirror(dir, &context, clock.as_ref());
    let (owner, link) = link();
    let (evaluator, evaluations) = Evaluator::new(link.clone());
    let node = Node {
        context,
        core,
        clock,
        link,
        evaluator,
        channel,
        mirror,
    };
    resume(&node).await.map_err(ServeError::Stopped)?;
    let checkpoints = checkpoint_listener(&node.context).await?;
    // The journal's lock is ours: a socket that is there is left over from a crash.
    let listener = bind(&socket)?;
    let files = home.path(mirror::serve::SOCKET);
    let shown = Shown {
        checkpoints,
        own: node.mirror.is_some().then(|| bind(&files)).transpose()?,
    };
    tracing::info!(%agency, dir = %dir.display(), "the agent runs");
    let result = run(node, shown, owner, evaluations, listener, shutdown).await;
    for socket in [&socket, &files] {
        let _ = fs::remove_file(socket);
    }
    stop(writer).await;
    result
}

/// A socket for this user alone, in place of what a crash left.
fn bind(socket: &Path) -> Result<UnixListener, HomeError> {
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).map_err(io_error("bind", socket))?;
    fs::set_permissions(socket, Permissions::from_mode(0o600))
        .map_err(io_error("protect", socket))?;
    Ok(listener)
}

/// Where the log is shown, beside the local interface.
struct Shown {
    /// To anybody: the checkpoint and, of a mirror, the hashes.
    checkpoints: Option<TcpListener>,
    /// The whole mirror, to whoever may open a socket of this user's.
    own: Option<UnixListener>,
}

fn channel(home: &Home, context: &Context) -> Result<Channel, ServeError> {
    let root = home.read("tls/ca.pem")?;
    let path = home.path("tls/agent.pem");
    let identity = TlsIdentity::load(&path).map_err(io_error("read", &path))?;
    let federation = &context.identity.anchors.federation;
    let connector = BrokerConnector::new(federation, root.as_bytes(), &identity)
        .map_err(ServeError::Certificate)?;
    let endpoint = endpoint(&context.config.broker).ok_or(ServeError::Address)?;
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// The copy of the log that an oversight body keeps. An agent whose copy is damaged runs without
/// one: its witness is needed all the same.
fn open_mirror(dir: &Path, context: &Context, clock: &dyn Clock) -> Option<Arc<Mirror>> {
    let identity = &context.identity;
    if identity.membership.sector != Sector::Oversight {
        return None;
    }
    let anchors = &identity.anchors;
    let opened = Mirror::open(dir, &anchors.federation, &anchors.log);
    let opened = opened.inspect_err(|error| {
        let what = format!("the mirror can't be used: {error}");
        let code = AlertCode::MirrorFailed;
        context.alerts.raise(clock.now(), code, &what, None);
    });
    opened.ok().map(Arc::new)
}

/// Finishes what a crash left half done.
async fn resume(node: &Node) -> Result<(), ErrorCode> {
    let view = node.core.view();
    node.context.vault.sweep(view)?;
    forget::finish(node).await?;
    loop {
        let unfinished = erasure::unfinished(view)?;
        if unfinished.is_empty() {
            return Ok(());
        }
        for request in unfinished {
            erasure::carry_out(node, &request).await?;
        }
    }
}

/// What goes on beside the rest and never ends it.
fn background(node: &Node, shown: Shown) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    if let Some(mirror) = node.mirror.clone() {
        let node = node.clone();
        tasks.spawn(async move { mirror::follow::keep(&node, &mirror).await });
    }
    if let (Some(mirror), Some(listener)) = (node.mirror.clone(), shown.own) {
        tasks.spawn(mirror::serve::own(mirror, listener));
    }
    match (shown.checkpoints, node.mirror.clone()) {
        (Some(listener), Some(mirror)) => {
            tasks.spawn(mirror::serve::public(mirror, listener));
        }
        (Some(listener), None) => {
            let node = node.clone();
            tasks.spawn(async move { compare::http::serve(&node, listener).await });
        }
        (None, _) => {}
    }
    if !node.context.config.compare.is_empty() {
        let node = node.clone();
        tasks.spawn(async move { compare::keep(&node).await });
    }
    tasks
}

/// The place where the checkpoint is shown, if it is to be.
async fn checkpoint_listener(context: &Context) -> Result<Option<TcpListener>, ServeError> {
    let Some(address) = &context.config.checkpoint_listen else {
        return Ok(None);
    };
    let bound = TcpListener::bind(address).await;
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (at, listener) = bound.map_err(|source| ServeError::Listen {
        address: address.clone(),
        source,
    })?;
    tracing::info!(%at, "the checkpoint is shown to anybody");
    Ok(Some(listener))
}

async fn run(
    node: Node,
    shown: Shown,
    owner: LinkOwner,
    evaluations: mpsc::Receiver<Evaluation>,
    listener: UnixListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (stop_tx, stop_rx) = watch::channel(false);
    let mut failed = node.core.failed();
    let mut session = tokio::spawn(session::run(
        node.clone(),
        owner,
        evaluations,
        stop_rx.clone(),
    ));
    let mut server = tokio::spawn(local_server(node.clone(), listener, stop_rx));
    let mut tasks = background(&node, shown);
    let result = tokio::select! {
        failed = retention::keep(&node) => {
            Err(ServeError::Stopped(failed.err().unwrap_or(ErrorCode::Storage)))
        }
        failed = deletions::watch(&node) => {
            Err(ServeError::Stopped(failed.err().unwrap_or(ErrorCode::Storage)))
        }
        failed = suspicion::watch::keep(&node) => {
            Err(ServeError::Stopped(failed.err().unwrap_or(ErrorCode::Storage)))
        }
        failed = rights::watch::keep(&node) => {
            Err(ServeError::Stopped(failed.err().unwrap_or(ErrorCode::Storage)))
        }
        () = shutdown => Ok(()),
        // An error means that the writer is gone without a word.
        _ = failed.wait_for(|failed| *failed) => Err(ServeError::Stopped(ErrorCode::Storage)),
        // It ends by itself only if it can't go on: an agent without one serves nobody.
        _ = &mut session => Err(ServeError::Stopped(ErrorCode::Storage)),
        // A copy of the log that nobody brings up to date would look like one without news.
        // One that ends by itself has said why.
        Some(Err(error)) = tasks.join_next(), if !tasks.is_empty() => {
            tracing::error!(%error, "a task in the background has failed");
            Err(ServeError::Stopped(ErrorCode::Internal))
        }
        ended = &mut server => Err(ServeError::Local(match ended {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        })),
    };
    stop_tx.send_replace(true);
    // A step that is under way ends between two writes.
    tasks.shutdown().await;
    if !server.is_finished() && tokio::time::timeout(GRACE, &mut server).await.is_err() {
        server.abort();
    }
    if !session.is_finished() {
        let _ = tokio::time::timeout(GRACE, session).await;
    }
    result
}

async fn local_server(
    node: Node,
    listener: UnixListener,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<NodeServer<NodeService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTORS)
        .build_v1()?;
    let audit_cases = AuditCasesServer::new(AuditCasesService::new(node.clone()))
        .max_encoding_message_size(MAX_LOCAL_MESSAGE_BYTES);
    let rights = RightsServer::new(RightsService::new(node.clone()))
        .max_encoding_message_size(MAX_LOCAL_MESSAGE_BYTES);
    let consents = ConsentsServer::new(ConsentsService::new(node.clone()))
        .max_encoding_message_size(MAX_LOCAL_MESSAGE_BYTES);
    let service = NodeServer::new(NodeService::new(node))
        .max_decoding_message_size(MAX_LOCAL_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_LOCAL_MESSAGE_BYTES);
    Server::builder()
        .concurrency_limit_per_connection(32)
        .add_service(health)
        .add_service(reflection)
        .add_service(audit_cases)
        .add_service(rights)
        .add_service(consents)
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
            // An error means that the one who would say stop is gone: stop.
            let _ = stop.wait_for(|stop| *stop).await;
        })
        .await?;
    Ok(())
}

/// Waits for the writer, which ends when the last handle is dropped.
async fn stop(writer: Writer) {
    let joined = tokio::task::spawn_blocking(move || writer.join());
    if tokio::time::timeout(GRACE, joined).await.is_err() {
        tracing::warn!("the writer is still busy; what it acknowledged is durable");
    }
}
