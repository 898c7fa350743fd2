//! The one seam between the command line and the crates that do the work.

use super::failure::Failure;
use passerelle_agent::{
    client::{self, ClientError},
    config::Worker,
    enrol::enrol,
    home::{Home, HomeError, Membership},
    origin::{self, Accepted},
    serve::ServeError,
};
use passerelle_broker::{
    BrokerError, Invited,
    succession::{self, Newest, Succeeded},
};
use passerelle_model::{
    error::ErrorCode,
    ids::{AgencyId, FederationId},
    panel::Panel,
    vocabulary::{Sector, WorkerRole},
};
use passerelle_proto::{v1, views::BrokerStatus};
use serde::de::DeserializeOwned;
use std::{net::SocketAddr, path::Path};
use tonic::transport::Channel;

/// A client of an agent's local socket.
pub(crate) type Node = v1::node_client::NodeClient<Channel>;

/// The same, for its audit cases.
pub(crate) type AuditCases = v1::audit_cases_client::AuditCasesClient<Channel>;

/// The same, for what people ask about themselves.
pub(crate) type Rights = v1::rights_client::RightsClient<Channel>;

/// The same, for consents to a service and evidence on paper.
pub(crate) type Consents = v1::consents_client::ConsentsClient<Channel>;

/// The view in a node's reply.
pub(crate) fn document<T: DeserializeOwned>(
    reply: Result<tonic::Response<v1::Document>, tonic::Status>,
) -> Result<T, Failure> {
    Ok(serde_json::from_str(&reply?.into_inner().json)?)
}

/// Connects to the agent that serves `dir`.
pub(crate) async fn connect(dir: &Path) -> Result<Node, Failure> {
    client::connect(dir).await.map_err(|e| client_failure(&e))
}

/// The same, to its audit cases.
pub(crate) async fn audit_cases(dir: &Path) -> Result<AuditCases, Failure> {
    client::audit_cases(dir)
        .await
        .map_err(|e| client_failure(&e))
}

/// The same, to what people ask about themselves.
pub(crate) async fn rights(dir: &Path) -> Result<Rights, Failure> {
    client::rights(dir).await.map_err(|e| client_failure(&e))
}

/// The same, to consents to a service and evidence on paper.
pub(crate) async fn consents(dir: &Path) -> Result<Consents, Failure> {
    client::consents(dir).await.map_err(|e| client_failure(&e))
}

fn client_failure(error: &ClientError) -> Failure {
    let code = match error {
        ClientError::Home(HomeError::NotEnrolled(_)) => ErrorCode::WrongState,
        ClientError::Home(_) => ErrorCode::Storage,
        ClientError::NotRunning(_) => ErrorCode::Unavailable,
    };
    Failure::told(code, error)
}

/// Ids of the agency's workers; none if its settings can't be read.
pub(crate) fn workers(dir: &Path) -> Vec<String> {
    let config = Home::new(dir).config();
    let workers = config.map(|config| config.workers).unwrap_or_default();
    workers.into_iter().map(|worker| worker.id).collect()
}

/// Enrols; workers named here count as trained.
pub(crate) async fn agent_enrol(
    dir: &Path,
    broker: &str,
    token: &str,
    workers: Vec<(String, WorkerRole)>,
) -> Result<Membership, Failure> {
    let workers = workers.into_iter().map(|(id, role)| Worker {
        id,
        role,
        trained: true,
        name: None,
    });
    enrol(dir, broker, token, workers.collect())
        .await
        .map_err(|error| Failure::told(error.code(), &error))
}

/// Serves the agent until a signal.
pub(crate) async fn agent_serve(dir: &Path) -> Result<(), Failure> {
    let shutdown = shutdown()?;
    passerelle_agent::serve::serve(dir, shutdown)
        .await
        .map_err(|error| match error {
            ServeError::Stopped(code) => Failure::coded(code, None),
            ServeError::Home(HomeError::NotEnrolled(_)) => {
                Failure::told(ErrorCode::WrongState, &error)
            }
            other => Failure::failed(other.to_string()),
        })
}

/// Founds a federation.
pub(crate) fn broker_init(
    dir: &Path,
    federation: &FederationId,
    witnesses: Panel,
) -> Result<(), Failure> {
    passerelle_broker::init(dir, federation, witnesses).map_err(broker_failure)
}

/// Serves the broker until a signal.
pub(crate) async fn broker_serve(dir: &Path, listen: SocketAddr) -> Result<(), Failure> {
    let shutdown = shutdown()?;
    let serving = passerelle_broker::start(dir, &listen.to_string())
        .await
        .map_err(broker_failure)?;
    serving.run(shutdown).await.map_err(broker_failure)
}

/// Invites an agency.
pub(crate) async fn broker_invite(
    dir: &Path,
    agency: &AgencyId,
    sector: Sector,
    valid_s: u64,
) -> Result<Invited, Failure> {
    passerelle_broker::invite(dir, agency, sector, valid_s)
        .await
        .map_err(broker_failure)
}

/// Revokes an agency: index of the entry, live connections cut.
pub(crate) async fn broker_revoke(dir: &Path, agency: &AgencyId) -> Result<(u64, u32), Failure> {
    passerelle_broker::revoke(dir, agency)
        .await
        .map_err(broker_failure)
}

/// Proposes the bundle in this file.
pub(crate) async fn broker_propose_bundle(
    dir: &Path,
    file: Vec<u8>,
) -> Result<passerelle_broker::Proposed, Failure> {
    passerelle_broker::propose_bundle(dir, file)
        .await
        .map_err(broker_failure)
}

/// Goes on under a new origin.
pub(crate) async fn broker_supersede(
    dir: &Path,
    newest: Newest,
    members: Vec<AgencyId>,
) -> Result<Succeeded, Failure> {
    let done = succession::supersede(dir, newest, members).await;
    done.map_err(broker_failure)
}

/// The announcement of the present origin.
pub(crate) async fn broker_announce(dir: &Path) -> Result<Succeeded, Failure> {
    succession::announce(dir).await.map_err(broker_failure)
}

/// Accepts a new origin for the agent in `dir`, which must not run.
pub(crate) fn agent_accept_origin(dir: &Path, file: &str) -> Result<Accepted, Failure> {
    origin::accept(dir, file).map_err(|error| Failure::told(error.code(), &error))
}

/// State of the broker, and whether it runs.
pub(crate) async fn broker_status(dir: &Path) -> Result<(BrokerStatus, bool), Failure> {
    passerelle_broker::status(dir).await.map_err(broker_failure)
}

fn broker_failure(error: BrokerError) -> Failure {
    match error {
        BrokerError::Refused(code) => Failure::coded(code, None),
        BrokerError::NotInitialised(_)
        | BrokerError::AlreadyInitialised(_)
        | BrokerError::Runs
        | BrokerError::NotSuperseded(_) => Failure::told(ErrorCode::WrongState, &error),
        BrokerError::BadBundle(_) => Failure::told(ErrorCode::Malformed, &error),
        other => Failure::failed(other.to_string()),
    }
}

/// Resolves at SIGINT or SIGTERM. The handlers are in place when this returns, so that a signal
/// during start is not lost.
pub(crate) fn shutdown() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _received = interrupt.recv() => tracing::info!("interrupted, stopping"),
            _received = terminate.recv() => tracing::info!("told to stop, stopping"),
        }
    })
}
