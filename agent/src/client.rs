//! The command line's and the portal's way to a running agent: its Unix socket.

use crate::home::{Home, HomeError};
use hyper_util::rt::TokioIo;
use passerelle_proto::{
    MAX_LOCAL_MESSAGE_BYTES,
    v1::{
        audit_cases_client::AuditCasesClient, consents_client::ConsentsClient,
        node_client::NodeClient, rights_client::RightsClient,
    },
};
use std::path::Path;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// Why the agent can't be called.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Nobody listens.
    #[error("the agent is not running in `{0}`; start it with `passerelle agent serve --dir {0}`")]
    NotRunning(String),
}

/// Connects to the agent that runs in `dir`.
///
/// # Errors
/// Not enrolled, or not running.
pub async fn connect(dir: &Path) -> Result<NodeClient<Channel>, ClientError> {
    Ok(NodeClient::new(channel(dir).await?)
        .max_decoding_message_size(MAX_LOCAL_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_LOCAL_MESSAGE_BYTES))
}

/// The same, to its audit cases.
///
/// # Errors
/// As there.
pub async fn audit_cases(dir: &Path) -> Result<AuditCasesClient<Channel>, ClientError> {
    let client = AuditCasesClient::new(channel(dir).await?);
    Ok(client.max_decoding_message_size(MAX_LOCAL_MESSAGE_BYTES))
}

/// The same, to what people ask about themselves.
///
/// # Errors
/// As there.
pub async fn rights(dir: &Path) -> Result<RightsClient<Channel>, ClientError> {
    let client = RightsClient::new(channel(dir).await?);
    Ok(client.max_decoding_message_size(MAX_LOCAL_MESSAGE_BYTES))
}

/// The same, to consents to a service and evidence on paper.
///
/// # Errors
/// As there.
pub async fn consents(dir: &Path) -> Result<ConsentsClient<Channel>, ClientError> {
    let client = ConsentsClient::new(channel(dir).await?);
    Ok(client.max_decoding_message_size(MAX_LOCAL_MESSAGE_BYTES))
}

async fn channel(dir: &Path) -> Result<Channel, ClientError> {
    let home = Home::new(dir);
    let socket = home.socket()?;
    home.membership()?;
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is not used: the socket's path stands for it.
    Endpoint::from_static("http://agent.local")
        .connect_with_connector(connector)
        .await
        .map_err(|_| ClientError::NotRunning(dir.display().to_string()))
}
