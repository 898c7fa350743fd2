//! Running an agent: everything put together, until it is told to stop or its storage fails.

use crate::{
    api::{NodeService, audit_cases::AuditCasesService},
    clock::{Clock, SystemClock},
    context::Context,
    core::{Core, CoreError, Writer},
    csr::TlsIdentity,
    enrol::endpoint,
    erasure,
    home::{Home, HomeError, io_error},
    link::{Evaluation, Evaluator, LinkOwner, link},
    node::Node,
    retention, session, suspicion,
    tls_client::{BrokerConnector, ConnectError},
};
use passerelle_journal::JournalError;
use passerelle_model::error::ErrorCode;
use passerelle_proto::{
    FILE_DESCRIPTORS, MAX_LOCAL_MESSAGE_BYTES,
    v1::{audit_cases_server::AuditCasesServer, node_server::NodeServer},
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
    net::UnixListener,
    sync::{mpsc, watch},
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
    let context = Arc::new(Context::load(&home)?);
    let channel = channel(&home, &context)?;
    let agency = context.identity.anchors.agency.clone();
    let (core, writer) =
        Core::start(dir, agency.clone(), context.vault.clone()).map_err(|error| match error {
            CoreError::Journal(JournalError::InUse { .. }) => {
                HomeError::Running(dir.display().to_string()).into()
            }
            other => ServeError::Core(other),
        })?;
    let (owner, link) = link();
    let (evaluator, evaluations) = Evaluator::new(link.clone());
    let node = Node {
        context,
        core,
        clock,
        link,
        evaluator,
        channel,
    };
    resume(&node).await.map_err(ServeError::Stopped)?;
    // The journal's lock is ours: a socket that is there is left over from a crash.
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).map_err(io_error("bind", &socket))?;
    fs::set_permissions(&socket, Permissions::from_mode(0o600))
        .map_err(io_error("protect", &socket))?;
    tracing::info!(%agency, dir = %dir.display(), "the agent runs");
    let result = run(node, owner, evaluations, listener, shutdown).await;
    let _ = fs::remove_file(&socket);
    stop(writer).await;
    result
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

/// Finishes what a crash left half done.
async fn resume(node: &Node) -> Result<(), ErrorCode> {
    let view = node.core.view();
    node.context.vault.sweep(view)?;
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

async fn run(
    node: Node,
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
    let result = tokio::select! {
        failed = retention::keep(&node) => {
            Err(ServeError::Stopped(failed.err().unwrap_or(ErrorCode::Storage)))
        }
        failed = suspicion::watch::keep(&node) => {
            Err(ServeError::Stopped(failed.err().unwrap_or(ErrorCode::Storage)))
        }
        () = shutdown => Ok(()),
        // An error means that the writer is gone without a word.
        _ = failed.wait_for(|failed| *failed) => Err(ServeError::Stopped(ErrorCode::Storage)),
        // It ends by itself only if it can't go on: an agent without one serves nobody.
        _ = &mut session => Err(ServeError::Stopped(ErrorCode::Storage)),
        ended = &mut server => Err(ServeError::Local(match ended {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        })),
    };
    stop_tx.send_replace(true);
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
    let service = NodeServer::new(NodeService::new(node))
        .max_decoding_message_size(MAX_LOCAL_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_LOCAL_MESSAGE_BYTES);
    Server::builder()
        .concurrency_limit_per_connection(32)
        .add_service(health)
        .add_service(reflection)
        .add_service(audit_cases)
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
