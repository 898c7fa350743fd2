//! The gRPC services, and what they share.

mod admin;
mod enrolment;
mod exchange;
mod log_read;
mod readers;

pub use admin::AdminService;
pub(crate) use admin::{describe, index_of, new_invitation};
pub use enrolment::EnrolmentService;
pub use exchange::ExchangeService;
pub use log_read::LogReadService;
pub use readers::Readers;

use crate::{
    acceptor::{Connections, Peer},
    bundles::BundleStore,
    ca::CertificateAuthority,
    error::BrokerError,
    notices::Notices,
    oprf::OprfServer,
    outside::Outside,
    rate::Allowances,
    sequencer::Sequencer,
    witnesses::Witnesses,
};
use passerelle_model::{
    entry::BrokerKeys,
    error::ErrorCode,
    ids::{AgencyId, FederationId},
    records::Agency,
    state,
    vocabulary::Sector,
};
use passerelle_proto::convert;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

/// A running broker.
pub struct Broker {
    /// The federation.
    pub federation: FederationId,
    /// Public halves of its keys.
    pub keys: BrokerKeys,
    /// The bundles that it holds.
    pub bundles: Arc<BundleStore>,
    /// What each agency may still send.
    pub allowances: Allowances,
    /// The order.
    pub sequencer: Sequencer,
    /// The rounds.
    pub witnesses: Witnesses,
    /// Those who are no members.
    pub outside: Vec<Arc<Outside>>,
    /// What agencies get.
    pub notices: Notices,
    /// The oblivious function.
    pub oprf: OprfServer,
    /// Certificates.
    pub ca: CertificateAuthority,
    /// Live connections, by certificate.
    pub connections: Connections,
    /// Live sessions, by agency.
    pub sessions: Sessions,
    /// Places for reads of the log.
    pub readers: Readers,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

impl Broker {
    /// The member at the other end of a call: by certificate, by the certificate that is its
    /// present one, and still a member.
    pub fn member<T>(&self, request: &Request<T>) -> Result<Agency, Status> {
        let peer = request.extensions().get::<Peer>();
        self.member_of(peer).map_err(convert::status)
    }

    /// As [`Broker::member`], for what is known of the other end.
    pub(crate) fn member_of(&self, peer: Option<&Peer>) -> Result<Agency, ErrorCode> {
        let known = peer.and_then(|peer| peer.agency.as_ref().zip(peer.serial.as_ref()));
        let (agency, serial) = known.ok_or(ErrorCode::Revoked)?;
        let view = self.sequencer.view();
        let member = state::member(view.projection.as_ref(), agency).map_err(|error| {
            tracing::error!(%error, "call failed");
            ErrorCode::Internal
        })?;
        // A certificate that was replaced is as dead as a revoked one.
        let present = member.filter(|member| member.certificate == *serial);
        present.ok_or(ErrorCode::Revoked)
    }
}

/// Logs a failure of ours, and hides it.
pub(crate) fn internal(error: &BrokerError) -> Status {
    tracing::error!(%error, "call failed");
    convert::status(ErrorCode::Internal)
}

/// Whether a sector reads every entry.
pub(crate) const fn reads_all(sector: Sector) -> bool {
    matches!(sector, Sector::Oversight)
}

/// Live sessions: one for each agency, the newest.
#[derive(Default)]
pub struct Sessions {
    live: Mutex<HashMap<AgencyId, (u64, CancellationToken)>>,
    next: std::sync::atomic::AtomicU64,
}

impl Sessions {
    fn live(&self) -> MutexGuard<'_, HashMap<AgencyId, (u64, CancellationToken)>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a session, and ends an older one of the same agency: an agent that lost its network
    /// comes back before the old connection is seen to be dead.
    pub fn begin(&self, agency: &AgencyId, ended: &CancellationToken) -> u64 {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let Some((_, older)) = self.live().insert(agency.clone(), (id, ended.clone())) {
            older.cancel();
        }
        id
    }

    /// Forgets a session. If it was the newest, runs `gone` before another one can begin: what
    /// that one says about the agency comes later, and stays.
    pub fn end(&self, agency: &AgencyId, id: u64, gone: impl FnOnce()) {
        let mut live = self.live();
        if live.get(agency).is_some_and(|(newest, _)| *newest == id) {
            live.remove(agency);
            gone();
        }
    }

    /// Ends the session of an agency.
    pub fn close(&self, agency: &AgencyId) {
        if let Some((_, token)) = self.live().get(agency) {
            token.cancel();
        }
    }

    /// Whether an agency has a session.
    pub fn contains(&self, agency: &AgencyId) -> bool {
        self.live().contains_key(agency)
    }
}

/// Shared by every service.
pub type Shared = Arc<Broker>;
