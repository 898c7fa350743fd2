//! `Enrolment`: an invitation against a certificate. The only service for peers without one.
//!
//! An invitation serves once. Whose reply was lost asks again with the same keys, all four of them,
//! and gets the same: the TLS key shows in the serial, which the log holds, so that nobody who
//! found the invitation later gets anything for a key of their own.

use super::{Shared, internal};
use crate::{ca::CaError, clock, error::BrokerError, home::AGENCY_LIFETIME_S};
use passerelle_audit::note::{SignatureType, VerifierKey};
use passerelle_model::{
    bytes::{Digest, PublicKey},
    decide::{Command, Reply},
    entry::EntryBody,
    error::ErrorCode,
    ids::AgencyId,
    records::Invitation as Invited,
    state,
    statement::AgencyKeys,
    vocabulary::Sector,
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

fn refused_request(error: CaError) -> Status {
    tracing::warn!(%error, "certificate request refused");
    convert::status(error.code())
}

fn stored<T, E: Into<BrokerError>>(result: Result<T, E>) -> Result<T, Status> {
    result.map_err(|error| internal(&error.into()))
}

/// What an agency shows to enrol.
struct Shown {
    token: Digest,
    csr_pem: String,
    signing: PublicKey,
    sealing: PublicKey,
    witness: PublicKey,
}

impl TryFrom<v1::EnrolRequest> for Shown {
    type Error = Status;

    fn try_from(wire: v1::EnrolRequest) -> Result<Self, Status> {
        let v1::EnrolRequest {
            token,
            csr_pem,
            signing_key,
            sealing_key,
            witness_key,
        } = wire;
        Ok(Self {
            token: Invitation::token_digest(&token),
            csr_pem,
            signing: verifying_key(SignatureType::Ed25519, &signing_key)?,
            sealing: key(&sealing_key)?,
            witness: verifying_key(SignatureType::CosignatureV1, &witness_key)?,
        })
    }
}

/// A membership with its certificate.
struct Enrolled {
    agency: AgencyId,
    sector: Sector,
    certificate_pem: String,
    index: u64,
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

    async fn first(&self, shown: &Shown, invitation: Invited) -> Result<Enrolled, Status> {
        let broker = &self.0;
        let Invited { agency, sector, .. } = invitation;
        let projection = broker.sequencer.view().projection.clone();
        let former = stored(state::agency(projection.as_ref(), &agency))?;
        let (csr, token) = (&shown.csr_pem, &shown.token);
        let issued = broker
            .ca
            .issue_agency(csr, &agency, token, clock::now(), AGENCY_LIFETIME_S);
        let certificate = issued.map_err(refused_request)?;
        let command = Command::Enrol {
            agency: agency.clone(),
            token: shown.token,
            keys: AgencyKeys {
                sector,
                signing: shown.signing,
                sealing: shown.sealing,
                witness: shown.witness,
            },
            certificate: certificate.serial_hex.clone(),
        };
        let index = self.sequence(command).await?;
        // An agency that enrols again has new keys: its old certificate ends now.
        if let Some(former) = former {
            broker.connections.revoke(&former.certificate);
            broker.sessions.close(&former.agency);
        }
        tracing::info!(%agency, index, "enrolled");
        // Issued from the entry, as for whoever asks again: one serial is one certificate.
        self.again(shown)
    }

    /// The membership that this invitation and these keys have made already, if it is the present
    /// one of its agency.
    fn again(&self, shown: &Shown) -> Result<Enrolled, Status> {
        let invalid = || convert::status(ErrorCode::InviteInvalid);
        let broker = &self.0;
        let view = broker.sequencer.view();
        let members = stored(state::agencies(view.projection.as_ref()))?;
        let member = members.into_iter().find(|a| {
            let keys = &a.keys;
            let theirs = (&keys.signing, &keys.sealing, &keys.witness);
            a.active && theirs == (&shown.signing, &shown.sealing, &shown.witness)
        });
        let member = member.ok_or_else(invalid)?;
        let entry = stored(view.record(member.joined))?.ok_or_else(invalid)?;
        let entry = &entry.record.entry;
        let EntryBody::Enrolled { token, .. } = &entry.body else {
            return Err(invalid());
        };
        if *token != shown.token {
            return Err(invalid());
        }
        let (csr, agency) = (&shown.csr_pem, &member.agency);
        let issued = broker
            .ca
            .issue_agency(csr, agency, token, entry.at, AGENCY_LIFETIME_S);
        let certificate = issued.map_err(refused_request)?;
        if certificate.serial_hex != member.certificate {
            return Err(invalid());
        }
        Ok(Enrolled {
            sector: member.sector(),
            agency: member.agency,
            certificate_pem: certificate.pem,
            index: member.joined,
        })
    }
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for EnrolmentService {
    async fn enrol(
        &self,
        request: Request<v1::EnrolRequest>,
    ) -> Result<Response<v1::EnrolResponse>, Status> {
        let broker = &self.0;
        let request = request.into_inner();
        let token = Invitation::token_digest(&request.token);
        let projection = broker.sequencer.view().projection.clone();
        let now = clock::now();
        let invitation = stored(state::invitation(projection.as_ref(), &token))?;
        let enrolled = match invitation.filter(|i| now < i.expires_at) {
            Some(invitation) => {
                let shown = Shown::try_from(request)?;
                match self.first(&shown, invitation).await {
                    // The same request, twice at once: the other one was first.
                    Err(status) if convert::code_of(&status) == Some(ErrorCode::InviteInvalid) => {
                        self.again(&shown)?
                    }
                    first => first?,
                }
            }
            // Whoever has no invitation hears of nothing else that may be wrong.
            None => {
                let shown = Shown::try_from(request);
                self.again(&shown.map_err(|_| convert::status(ErrorCode::InviteInvalid))?)?
            }
        };
        let federation = stored(state::federation(projection.as_ref()))?;
        let federation = federation.ok_or_else(|| convert::status(ErrorCode::Internal))?;
        Ok(Response::new(v1::EnrolResponse {
            agency: enrolled.agency.to_string(),
            sector: enrolled.sector.to_string(),
            federation: broker.federation.to_string(),
            certificate_pem: enrolled.certificate_pem,
            ca_pem: stored(broker.ca.certificate_pem())?,
            checkpoint_key: broker.keys.checkpoint.clone(),
            permit_key: broker.keys.permit.0.to_vec(),
            oprf_key: broker.keys.oprf.0.to_vec(),
            index: enrolled.index,
            witness_panel: u16::from(federation.panel).into(),
            bundle: federation.bundle.0.to_vec(),
        }))
    }
}
