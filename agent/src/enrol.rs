//! Enrolment: a one-time invitation becomes a membership.
//!
//! Everything is written before `federation.json`, which is written last: a crash anywhere leaves
//! a directory in which the same command can be run again, with the same keys and the same
//! certificate request.
//!
//! In a directory that is enrolled already, a new invitation for the same agency gives it new keys
//! and a new certificate. They are prepared beside the old ones and put in place as one; the data
//! stay.

use crate::{
    config::{Config, Worker},
    csr::{self, TlsIdentity},
    home::{Home, HomeError, Membership},
    session::code_of,
    tls_client::{BrokerConnector, ConnectError, EnrolmentConnector, root_has_fingerprint},
};
use passerelle_audit::note::VerifierKey;
use passerelle_model::{
    bytes::{Digest, PublicKey},
    error::ErrorCode,
    ids::AgencyId,
    panel::Panel,
};
use passerelle_proto::{
    invitation::Invitation,
    v1::{EnrolRequest, EnrolResponse, enrolment_client::EnrolmentClient},
};
use std::{path::Path, time::Duration};
use tonic::transport::Endpoint;
use zeroize::Zeroizing;

/// How long the broker may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why the agency is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The invitation is not one.
    #[error("the token is not an invitation: it starts with `pass1.` and is one line")]
    Token,
    /// The address is not one.
    #[error("`{0}` is not an address; expected HOST:PORT")]
    Address(String),
    /// The broker can't be reached, or is not the one of the invitation.
    #[error("{message} (code `{code}`)")]
    Connect {
        /// For people.
        message: String,
        /// The code.
        code: ErrorCode,
    },
    /// The broker refused.
    #[error("the broker refused: {why} (code `{0}`)", why = .0.explanation())]
    Refused(ErrorCode),
    /// The broker's answer can't be used.
    #[error("the broker's answer is not in the published form: {0}")]
    Answer(&'static str),
}

impl EnrolError {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Home(HomeError::AlreadyEnrolled { .. } | HomeError::Running(_)) => {
                ErrorCode::WrongState
            }
            Self::Home(_) => ErrorCode::Storage,
            Self::Token => ErrorCode::InviteInvalid,
            Self::Address(_) => ErrorCode::OutOfRange,
            Self::Connect { code, .. } | Self::Refused(code) => *code,
            Self::Answer(_) => ErrorCode::Malformed,
        }
    }
}

/// Enrols the directory `dir` at the broker with an invitation, or renews its enrolment. `workers` go into a new
/// `agent.toml`; an existing one is kept.
///
/// # Errors
/// What went wrong and what to do. Safe to repeat.
pub async fn enrol(
    dir: &Path,
    broker: &str,
    token: &str,
    workers: Vec<Worker>,
) -> Result<Membership, EnrolError> {
    let invitation = Invitation::from_text(token).map_err(|_| EnrolError::Token)?;
    let home = Home::new(dir);
    home.finish_renewal()?;
    home.require_not_running()?;
    let renews = home.is_enrolled();
    let target = if renews { home.renewal() } else { home.clone() };
    target.create()?;
    let keys = target.make_keys()?;
    let (key_pem, csr_pem) = certificate_request(&target)?;
    let request = EnrolRequest {
        token: invitation.secret.to_vec(),
        csr_pem,
        signing_key: keys.signing.public_key().0.to_vec(),
        sealing_key: keys.sealing.public().0.to_vec(),
        witness_key: keys.witness.public_key().0.to_vec(),
    };
    let response = match call(broker, &invitation, request).await {
        Err(EnrolError::Refused(ErrorCode::InviteInvalid)) if renews => {
            // Most likely the first invitation once more.
            return Err(home.already_enrolled()?.into());
        }
        response => response?,
    };
    let membership = check(&response, &invitation)?;
    if renews && let Err(error) = home.require_same(&membership) {
        // These keys are another membership's now.
        home.drop_renewal()?;
        return Err(error.into());
    }
    let identity = TlsIdentity::new(&response.certificate_pem, key_pem.as_bytes());
    // Also checks that the certificate is for our key.
    BrokerConnector::new(
        &membership.federation,
        response.ca_pem.as_bytes(),
        &identity,
    )
    .map_err(|_| EnrolError::Answer("the certificate does not fit"))?;
    target.write("tls/ca.pem", response.ca_pem.as_bytes())?;
    let path = target.path("tls/agent.pem");
    let saved = identity.save(&path);
    saved.map_err(crate::home::io_error("write", &path))?;
    if !home.path("agent.toml").exists() {
        let config = Config {
            workers,
            ..Config::new(broker)
        };
        home.write("agent.toml", config.to_toml().as_bytes())?;
    }
    let json = serde_json::to_vec_pretty(&membership)
        .map_err(|_| EnrolError::Answer("it can't be written"))?;
    target.write("federation.json", &json)?;
    home.finish_renewal()?;
    Ok(membership)
}

/// The TLS key and the request for its certificate; those of an earlier attempt if there was one.
fn certificate_request(home: &Home) -> Result<(Zeroizing<String>, String), HomeError> {
    const NAME: &str = "tls/request.pem";
    const MARK: &str = "-----BEGIN CERTIFICATE REQUEST";
    home.make(NAME, || {
        // The broker writes the agency's name into the certificate; this one is for people.
        let agency: AgencyId = "new-agency".parse().map_err(|_| "no name".to_owned())?;
        let made = csr::new_key_and_csr(&agency).map_err(|e| e.to_string())?;
        let (key_pem, csr_pem) = made;
        Ok([key_pem.as_slice(), csr_pem.as_bytes()].concat())
    })?;
    let text = home.read(NAME)?;
    let at = text.find(MARK);
    let (key, csr) = at
        .and_then(|at| text.split_at_checked(at))
        .ok_or_else(|| home.content(NAME, "not a key and a request"))?;
    Ok((Zeroizing::new(key.to_owned()), csr.to_owned()))
}

async fn call(
    broker: &str,
    invitation: &Invitation,
    request: EnrolRequest,
) -> Result<EnrolResponse, EnrolError> {
    let connector = EnrolmentConnector::by_fingerprint(invitation.ca_fingerprint)
        .map_err(|e| connect_error(&e))?;
    let channel = endpoint(broker)
        .ok_or_else(|| EnrolError::Address(broker.to_owned()))?
        .connect_with_connector(connector.connector)
        .await
        .map_err(|error| {
            let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(inner) = source {
                if let Some(inner) = inner.downcast_ref::<ConnectError>() {
                    return connect_error(inner);
                }
                source = inner.source();
            }
            EnrolError::Connect {
                message: format!("cannot reach the broker at `{broker}`"),
                code: ErrorCode::Unavailable,
            }
        })?;
    let mut client = EnrolmentClient::new(channel);
    let response = tokio::time::timeout(DEADLINE, client.enrol(request)).await;
    let response = response.map_err(|_| EnrolError::Refused(ErrorCode::Unavailable))?;
    let response = response.map_err(|status| EnrolError::Refused(code_of(&status)))?;
    Ok(response.into_inner())
}

fn connect_error(error: &ConnectError) -> EnrolError {
    EnrolError::Connect {
        message: error.to_string(),
        code: error.code(),
    }
}

/// The endpoint at `HOST:PORT`, with the keepalive that finds a dead path.
pub(crate) fn endpoint(broker: &str) -> Option<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("https://{broker}")).ok()?;
    endpoint.uri().port_u16()?;
    Some(
        endpoint
            .http2_keep_alive_interval(Duration::from_secs(15))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true),
    )
}

fn check(response: &EnrolResponse, invitation: &Invitation) -> Result<Membership, EnrolError> {
    let wrong = EnrolError::Answer;
    if !root_has_fingerprint(response.ca_pem.as_bytes(), &invitation.ca_fingerprint) {
        return Err(wrong("the root is not the one of the invitation"));
    }
    let key: Result<VerifierKey, _> = response.checkpoint_key.parse();
    key.map_err(|_| wrong("the checkpoint key"))?;
    let public = |bytes: &[u8], what| PublicKey::from_slice(bytes).ok_or(wrong(what));
    Ok(Membership {
        federation: response
            .federation
            .parse()
            .map_err(|_| wrong("the federation"))?,
        agency: response.agency.parse().map_err(|_| wrong("the agency"))?,
        sector: response.sector.parse().map_err(|_| wrong("the sector"))?,
        checkpoint_key: response.checkpoint_key.clone(),
        permit_key: public(&response.permit_key, "the permit key")?,
        oprf_key: public(&response.oprf_key, "the key of the oblivious function")?,
        panel: Panel::try_from(response.witness_panel).map_err(|_| wrong("the witness panel"))?,
        bundle: Some(Digest::from_slice(&response.bundle).ok_or(wrong("the policy bundle"))?),
        joined: response.index,
    })
}
