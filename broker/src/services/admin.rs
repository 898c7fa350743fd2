//! `Admin`: the operator's commands, on a Unix socket that only the owner of the directory can
//! open; and the same commands on a directory whose broker does not run.

use super::Shared;
use crate::{bundles, clock, error::BrokerError, home, ledger::View, sequencer};
use passerelle_model::{
    bundle::{Proposal, needed},
    bytes::Digest,
    decide::{Command, Reply},
    error::ErrorCode,
    ids::AgencyId,
    state,
    store::Read,
    time::Timestamp,
    vocabulary::Sector,
};
use passerelle_proto::{convert, invitation::Invitation, v1, views};
use tonic::{Request, Response, Status};

/// Life of an invitation unless the operator says otherwise: one day.
pub(super) const INVITATION_LIFETIME_S: u64 = 86_400;

/// Longest life of an invitation: thirty days.
pub(super) const MAX_INVITATION_LIFETIME_S: u64 = 30 * 86_400;

/// See the module.
pub struct AdminService(pub Shared);

/// An invitation with the command that records it.
pub(crate) struct NewInvitation {
    pub(crate) text: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) command: Command,
}

/// Makes an invitation of fresh randomness.
pub(crate) fn new_invitation(
    agency: &AgencyId,
    sector: Sector,
    valid_s: u64,
    ca_fingerprint: Digest,
) -> Result<NewInvitation, BrokerError> {
    if valid_s > MAX_INVITATION_LIFETIME_S {
        return Err(BrokerError::Refused(ErrorCode::OutOfRange));
    }
    let valid_s = if valid_s == 0 {
        INVITATION_LIFETIME_S
    } else {
        valid_s
    };
    let secret: [u8; 32] = home::random()?;
    let expires_at = clock::now().plus_s(valid_s);
    let token = Invitation::token_digest(&secret);
    let command = Command::Invite {
        agency: agency.clone(),
        sector,
        token,
        expires_at,
    };
    let text = Invitation {
        ca_fingerprint,
        secret,
    }
    .to_text();
    Ok(NewInvitation {
        text,
        expires_at,
        command,
    })
}

/// The index of what was done, or why not.
pub(crate) fn index_of(reply: Reply) -> Result<u64, BrokerError> {
    match reply {
        Reply::Done { index } => Ok(index),
        Reply::Refused { code, .. } => Err(BrokerError::Refused(code)),
        Reply::Nothing => Err(BrokerError::Refused(ErrorCode::Internal)),
    }
}

fn status(error: &BrokerError) -> Status {
    match error {
        BrokerError::Refused(code) => convert::status(*code),
        other => super::internal(other),
    }
}

fn agency(text: &str) -> Result<AgencyId, Status> {
    text.parse()
        .map_err(|_| convert::status(ErrorCode::OutOfRange))
}

impl AdminService {
    async fn run(&self, command: Command) -> Result<u64, Status> {
        let reply = self
            .0
            .sequencer
            .run(command)
            .await
            .map_err(convert::status)?;
        index_of(reply).map_err(|e| status(&e))
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for AdminService {
    async fn invite(
        &self,
        request: Request<v1::InviteRequest>,
    ) -> Result<Response<v1::InviteResponse>, Status> {
        let v1::InviteRequest {
            agency: name,
            sector,
            valid_s,
        } = request.into_inner();
        let sector = sector
            .parse()
            .map_err(|_| convert::status(ErrorCode::UnknownCode))?;
        let fingerprint = self
            .0
            .ca
            .fingerprint()
            .map_err(|e| super::internal(&e.into()))?;
        let made = new_invitation(&agency(&name)?, sector, valid_s, fingerprint)
            .map_err(|e| status(&e))?;
        let index = self.run(made.command).await?;
        let expires_at_ms = made.expires_at.0;
        Ok(Response::new(v1::InviteResponse {
            token: made.text,
            expires_at_ms,
            index,
        }))
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeResponse>, Status> {
        let agency = agency(&request.into_inner().agency)?;
        let view = self.0.sequencer.view();
        let former = state::agency(view.projection.as_ref(), &agency)
            .map_err(|e| super::internal(&e.into()))?;
        let index = self
            .run(Command::Revoke {
                agency: agency.clone(),
            })
            .await?;
        // From the entry on its statements are refused; now its connections end as well.
        let cut = former.map_or(0, |a| self.0.connections.revoke(&a.certificate));
        self.0.sessions.close(&agency);
        let connections_cut = u32::try_from(cut).unwrap_or(u32::MAX);
        tracing::info!(%agency, index, connections_cut, "revoked");
        Ok(Response::new(v1::RevokeResponse {
            index,
            connections_cut,
        }))
    }

    async fn propose_bundle(
        &self,
        request: Request<v1::ProposeBundleRequest>,
    ) -> Result<Response<v1::ProposeBundleResponse>, Status> {
        let broker = self.0.clone();
        let file = request.into_inner().file;
        // Loading validates every rule, which takes a while.
        let read = move || bundles::proposed(&broker.bundles, &file);
        let read = tokio::task::spawn_blocking(read).await;
        let bundle = read
            .map_err(|_| convert::status(ErrorCode::Internal))?
            .map_err(|error| match bundles::refusal(&error) {
                Some(code) => {
                    let general = convert::status(code);
                    let (kind, codes) = (general.code(), general.metadata().clone());
                    Status::with_metadata(kind, reasons(&error), codes)
                }
                None => super::internal(&error),
            })?;
        let terms = bundle.terms().clone();
        let index = self.run(Command::ProposeBundle { terms }).await?;
        let bundle = bundle.digest().to_hex();
        tracing::info!(bundle, index, "a bundle is proposed");
        Ok(Response::new(v1::ProposeBundleResponse { bundle, index }))
    }

    async fn broker_status(
        &self,
        _: Request<v1::BrokerStatusRequest>,
    ) -> Result<Response<v1::Document>, Status> {
        let broker = &self.0;
        let (witnesses, quorum) = broker.witnesses.counts();
        let mut view = describe(broker.sequencer.view()).map_err(|e| status(&e))?;
        view.published_size = broker.witnesses.published().map_or(0, |p| p.size);
        view.witnesses = witnesses as u64;
        view.outside_witnesses = broker.outside.iter().map(|w| w.view()).collect();
        view.quorum = quorum as u64;
        view.outside_required = broker.witnesses.outside_required() as u64;
        let waits = broker.witnesses.waits_for_outside();
        view.waits_for_outside = waits.map(|(size, have)| views::OutsideWait {
            size,
            have: have as u64,
        });
        let seen_more = broker.witnesses.rolled_back();
        view.old_copy = seen_more.map(|(agency, size)| views::SeenMore {
            agency: agency.to_string(),
            size,
        });
        for member in &mut view.members {
            let id = agency(&member.agency)?;
            member.connected = broker.sessions.contains(&id);
        }
        let json =
            serde_json::to_string(&view).map_err(|_| convert::status(ErrorCode::Internal))?;
        Ok(Response::new(v1::Document { json }))
    }
}

fn proposals(projection: &dyn Read) -> Result<Vec<views::BundleProposal>, BrokerError> {
    let members = state::endorsers(projection)?;
    let proposals = state::proposals(projection)?.into_iter();
    let view = |p: Proposal| views::BundleProposal {
        endorsed: p.count(&members) as u64,
        needed: needed(members.len()) as u64,
        endorsed_by: p.endorsed.iter().map(ToString::to_string).collect(),
        proposed_at: p.at,
        held: None,
        proposal: Some(p.digest),
        terms: p.terms,
    };
    Ok(proposals.map(view).collect())
}

/// What is wrong with a bundle, no longer than a status may be.
fn reasons(error: &BrokerError) -> String {
    const LONGEST: usize = 4_000;
    let text = match error {
        BrokerError::BadBundle(reasons) => reasons.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The name of a verifier key.
fn origin_of(key: &str) -> &str {
    key.split('+').next().unwrap_or_default()
}

/// Who has not gone on under the present origin, and is a member or not.
fn awaited(projection: &dyn Read, is_member: bool) -> Result<Vec<String>, BrokerError> {
    let mut found = Vec::new();
    for (agency, _) in state::all_awaited(projection)? {
        if state::member(projection, &agency)?.is_some() == is_member {
            found.push(agency.to_string());
        }
    }
    Ok(found)
}

/// What the ledger alone tells of a broker.
pub(crate) fn describe(view: &View) -> Result<views::BrokerStatus, BrokerError> {
    let projection = view.projection.as_ref();
    let federation =
        state::federation(projection)?.ok_or(BrokerError::Refused(ErrorCode::WrongState))?;
    let mut members = Vec::new();
    for agency in state::agencies(projection)? {
        members.push(views::MemberStatus {
            agency: agency.agency.to_string(),
            sector: agency.sector().to_string(),
            active: agency.active,
            connected: false,
            waiting: sequencer::waiting_for(view, &agency.agency)?.len() as u64,
        });
    }
    let active = members.iter().filter(|m| m.active).count();
    let witnesses = active.min(u16::from(federation.panel).into());
    Ok(views::BrokerStatus {
        federation: federation.federation.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log_size: view.journal.len(),
        published_size: 0,
        witnesses: witnesses as u64,
        quorum: passerelle_audit::witness::quorum(witnesses) as u64,
        members,
        bundle: federation.bundle.to_hex(),
        bundle_revision: federation.terms.revision,
        bundle_expires_at: federation.terms.expires_at,
        proposals: proposals(projection)?,
        origin: origin_of(&federation.keys.checkpoint).to_owned(),
        awaited: awaited(projection, true)?,
        unheard: awaited(projection, false)?,
        old_copy: None,
        outside_witnesses: Vec::new(),
        outside_required: 0,
        waits_for_outside: None,
    })
}
