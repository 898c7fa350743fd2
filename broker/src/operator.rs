//! The operator's commands: on the running broker if there is one, else on its directory.

use crate::{
    bundles::{self, BundleStore},
    clock,
    error::BrokerError,
    home::{self, Home},
    ledger::Ledger,
    serve::pdp_with,
    services::{describe, index_of, new_invitation},
};
use hyper_util::rt::TokioIo;
use passerelle_journal::JournalError;
use passerelle_model::{
    decide::Command,
    error::ErrorCode,
    ids::{AgencyId, FederationId},
    panel::Panel,
    vocabulary::Sector,
};
use passerelle_policies::Bundle;
use passerelle_proto::{convert, v1, views};
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

type Client = v1::admin_client::AdminClient<Channel>;

/// Makes a broker in `dir`: keys, certificate authority, configuration, first entry of the log.
pub fn init(dir: &Path, federation: &FederationId, panel: Panel) -> Result<(), BrokerError> {
    home::create(dir, federation)?;
    let home = Home::open(dir)?;
    let keys = home.public_keys()?;
    let shipped = Bundle::shipped(home.config.packs.as_ref());
    BundleStore::new(dir).keep(&shipped.map_err(|e| BrokerError::Bundle(e.to_string()))?)?;
    run_offline(
        dir,
        &Command::Found {
            federation: federation.clone(),
            keys,
            panel,
        },
    )?;
    Ok(())
}

/// An invitation that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// The line to hand over.
    pub token: String,
    /// Milliseconds since the epoch.
    pub expires_at_ms: u64,
    /// Index of its entry.
    pub index: u64,
}

/// Invites an agency. `valid_s` 0 means one day.
pub async fn invite(
    dir: &Path,
    agency: &AgencyId,
    sector: Sector,
    valid_s: u64,
) -> Result<Invited, BrokerError> {
    if let Some(mut client) = running(dir).await {
        let (agency, sector) = (agency.to_string(), sector.to_string());
        let reply = client
            .invite(v1::InviteRequest {
                agency,
                sector,
                valid_s,
            })
            .await;
        let v1::InviteResponse {
            token,
            expires_at_ms,
            index,
        } = reply.map_err(|s| refused(&s))?.into_inner();
        return Ok(Invited {
            token,
            expires_at_ms,
            index,
        });
    }
    let home = Home::open(dir)?;
    let made = new_invitation(agency, sector, valid_s, home.ca.fingerprint()?)?;
    let index = run_offline(dir, &made.command)?;
    Ok(Invited {
        token: made.text,
        expires_at_ms: made.expires_at.0,
        index,
    })
}

/// Shuts an agency out. Returns the entry's index and how many live connections were cut.
pub async fn revoke(dir: &Path, agency: &AgencyId) -> Result<(u64, u32), BrokerError> {
    if let Some(mut client) = running(dir).await {
        let reply = client
            .revoke(v1::RevokeRequest {
                agency: agency.to_string(),
            })
            .await;
        let v1::RevokeResponse {
            index,
            connections_cut,
        } = reply.map_err(|s| refused(&s))?.into_inner();
        return Ok((index, connections_cut));
    }
    Home::open(dir)?;
    Ok((
        run_offline(
            dir,
            &Command::Revoke {
                agency: agency.clone(),
            },
        )?,
        0,
    ))
}

/// A bundle that was proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Digest of its rules.
    pub bundle: String,
    /// Index of its entry.
    pub index: u64,
}

/// Proposes the bundle in this file to the agencies.
///
/// # Errors
/// [`BrokerError::BadBundle`] with everything that is wrong with it; a refusal.
pub async fn propose_bundle(dir: &Path, file: Vec<u8>) -> Result<Proposed, BrokerError> {
    if let Some(client) = running(dir).await {
        let mut client = client.max_encoding_message_size(usize::MAX);
        let reply = client.propose_bundle(v1::ProposeBundleRequest { file });
        let v1::ProposeBundleResponse { bundle, index } = reply
            .await
            .map_err(|status| match convert::code_of(&status) {
                // The reasons are in the words.
                Some(ErrorCode::Malformed) => BrokerError::BadBundle(status.message().to_owned()),
                _ => refused(&status),
            })?
            .into_inner();
        return Ok(Proposed { bundle, index });
    }
    Home::open(dir)?;
    let bundle = bundles::proposed(&BundleStore::new(dir), &file)?;
    let terms = bundle.terms().clone();
    let index = run_offline(dir, &Command::ProposeBundle { terms })?;
    Ok(Proposed {
        bundle: bundle.digest().to_hex(),
        index,
    })
}

/// How the broker in `dir` is, and whether it runs.
pub async fn status(dir: &Path) -> Result<(views::BrokerStatus, bool), BrokerError> {
    if let Some(mut client) = running(dir).await {
        let reply = client.broker_status(v1::BrokerStatusRequest {}).await;
        let document = reply.map_err(|s| refused(&s))?.into_inner();
        let view = serde_json::from_str(&document.json)
            .map_err(|_| BrokerError::Refused(ErrorCode::Malformed))?;
        return Ok((view, true));
    }
    Home::open(dir)?;
    Ok((describe(Ledger::open(dir)?.view())?, false))
}

fn refused(status: &tonic::Status) -> BrokerError {
    BrokerError::Refused(convert::code_of(status).unwrap_or(ErrorCode::Unavailable))
}

async fn running(dir: &Path) -> Option<Client> {
    let socket: PathBuf = Home::admin_socket(dir);
    // The address is not used: the connector knows where to go.
    let endpoint = Endpoint::from_static("http://localhost");
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    endpoint
        .connect_with_connector(connect)
        .await
        .ok()
        .map(Client::new)
}

/// Whether a broker serves this directory.
pub(crate) async fn is_running(dir: &Path) -> bool {
    running(dir).await.is_some()
}

/// The ledger of a directory whose broker does not run.
pub(crate) fn offline_ledger(dir: &Path) -> Result<Ledger, BrokerError> {
    Ledger::open(dir).map_err(|error| match error {
        // Somebody has it open but does not answer: starting or ending.
        BrokerError::Journal(JournalError::InUse { .. }) => {
            BrokerError::Refused(ErrorCode::Unavailable)
        }
        other => other,
    })
}

/// Runs one command on a directory whose broker does not run.
fn run_offline(dir: &Path, command: &Command) -> Result<u64, BrokerError> {
    let mut ledger = offline_ledger(dir)?;
    let pdp = pdp_with(home::read_config(dir)?.packs.as_ref())?;
    let mut batch = ledger.batch(pdp.as_ref());
    let (reply, _) = batch.run(command, clock::now(), home::random()?)?;
    let finished = batch.finish();
    ledger.commit(finished)?;
    index_of(reply)
}
