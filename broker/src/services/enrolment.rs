//! `Enrolment`: an invitation against a certificate. The only service for peers without one.

use super::{Shared, internal};
use crate::{clock, home::AGENCY_LIFETIME_S};
use passerelle_audit::note::{SignatureType, VerifierKey};
use passerelle_model::{
    bytes::PublicKey,
    decide::{Command, Reply},
    error::ErrorCode,
    state,
    statement::AgencyKeys,
};
use passerelle_proto::{convert, invitation::Invitation, v1};
use tonic::{Request, Response, Status};

/// See the module.
pub struct EnrolmentService(pub Shared);

fn key(bytes: &[u8]) -> Result<PublicKey, Status> {
    PublicKey::from_slice(bytes).ok_or_else(|| convert::status(ErrorCode::Malformed))
}

/// A key with which statements or checkpoints can be verified. One of small order verifies
/// anything; a broker that let it in could not count its witness, nor start again.
fn verifying_key(kind: SignatureType, bytes: &[u8]) -> Result<PublicKey, Status> {
    let key = key(bytes)?;
    match VerifierKey::new("agency", kind, key) {
        Ok(_) => Ok(key),
        Err(_) => Err(convert::status(ErrorCode::Malformed)),
    }
}

impl EnrolmentService {
    /// Sequences the enrolment, and makes the new member a witness before its agent can attach.
    async fn sequence(&self, command: Command) -> Result<u64, Status> {
        let reply = self.0.sequencer.run(command).await;
        let index = match reply.map_err(convert::status)? {
            Reply::Done { index } => index,
            Reply::Refused { code, .. } => return Err(convert::status(code)),
            Reply::Nothing => return Err(convert::status(ErrorCode::Internal)),
        };
        let reloaded = self.0.witnesses.reload_members();
        reloaded.map_err(|e| internal(&e))?;
        Ok(index)
    }
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for EnrolmentService {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let broker = &self.0;
        let v1::EnrolRequest {
            token,
            csr_pem,
            signing_key,
            sealing_key,
            witness_key,
        } = request.into_inner();
        let token = Invitation::token_digest(&token);
        let now = clock::now();
        let projection = broker.sequencer.view().projection.clone();
        let invitation = state::invitation(projection.as_ref(), &token)
            .map_err(|e| internal(&e.into()))?
            .filter(|i| now < i.expires_at)
            .ok_or_else(|| convert::status(ErrorCode::InviteInvalid))?;
        let former = state::agency(projection.as_ref(), &invitation.agency)
            .map_err(|e| internal(&e.into()))?;
        let certificate = broker
            .ca
            .issue_agency(&csr_pem, &invitation.agency, now, AGENCY_LIFETIME_S)
            .map_err(|error| {
                tracing::warn!(%error, "certificate request refused");
                convert::status(error.code())
            })?;
        let command = Command::Enrol {
            agency: invitation.agency.clone(),
            token,
            keys: AgencyKeys {
                sector: invitation.sector,
                signing: verifying_key(SignatureType::Ed25519, &signing_key)?,
                sealing: key(&sealing_key)?,
                witness: verifying_key(SignatureType::CosignatureV1, &witness_key)?,
            },
            certificate: certificate.serial_hex.clone(),
        };
        let index = self.sequence(command).await?;
        let federation = state::federation(projection.as_ref()).map_err(|e| internal(&e.into()))?;
        let panel = federation
            .ok_or_else(|| convert::status(ErrorCode::Internal))?
            .panel;
        let witness_panel = u16::from(panel).into();
        // An agency that enrols again has new keys: its old certificate ends now.
        if let Some(former) = former {
            broker.connections.revoke(&former.certificate);
            broker.sessions.close(&former.agency);
        }
        tracing::info!(agency = %invitation.agency, index, "enrolled");
        let ca_pem = broker
            .ca
            .certificate_pem()
            .map_err(|e| internal(&e.into()))?;
        Ok(Response::new(v1::EnrolResponse {
            agency: invitation.agency.to_string(),
            sector: invitation.sector.to_string(),
            federation: broker.federation.to_string(),
            certificate_pem: certificate.pem,
            ca_pem,
            checkpoint_key: broker.keys.checkpoint.clone(),
            permit_key: broker.keys.permit.0.to_vec(),
            oprf_key: broker.keys.oprf.0.to_vec(),
            index,
            witness_panel,
        }))
    }
}
