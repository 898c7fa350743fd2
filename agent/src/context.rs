//! What the agent's decisions need besides the state: who it is, its settings, its own policy.

use crate::{
    alerts::Alerts,
    bundles::Bundles,
    config::Config,
    csr::TlsIdentity,
    forks::Forks,
    home::{Home, HomeError, Identity},
    trust::{Kept, Trust},
    vault::Vault,
};
use passerelle_audit::dsse;
use passerelle_journal::files::{Disk, OsDisk};
use passerelle_model::{
    bytes::Bytes,
    canonical,
    commitment::Opening,
    error::ErrorCode,
    ids::RequestId,
    statement::{Body, Envelope, PAYLOAD_TYPE, Statement, VERSION},
    store::{Read, StoreError},
    time::Timestamp,
};
use passerelle_policies::LocalPdp;
use std::{collections::BTreeMap, sync::Arc};

use crate::event::Stated;

/// Shared, never changed while the agent runs.
pub struct Context {
    /// Who this agent is.
    pub identity: Identity,
    /// Its settings.
    pub config: Config,
    /// The agency's own policy.
    pub policy: LocalPdp,
    /// Keys and openings that can be destroyed.
    pub vault: Vault,
    /// When the certificate ends, if it can be read.
    pub certificate_ends: Option<Timestamp>,
    /// The bundles of rules that it holds.
    pub bundles: Bundles,
    /// Whom it believes, as of the members that it knows.
    pub trust: Kept,
    /// Proofs that the log was rewritten.
    pub forks: Forks,
    /// What somebody must look at.
    pub alerts: Alerts,
}

impl Context {
    /// Loads everything from the directory, and locks its vault against other processes.
    ///
    /// # Errors
    /// [`HomeError::Running`], not enrolled, a damaged file, a wrong setting, a policy that does
    /// not validate.
    pub fn load(home: &Home) -> Result<Self, HomeError> {
        Self::load_on(home, &OsDisk)
    }

    /// As [`Context::load`], with the vault's keys written through `disk`.
    ///
    /// # Errors
    /// As there.
    pub fn load_on(home: &Home, disk: &dyn Disk) -> Result<Self, HomeError> {
        home.finish_renewal()?;
        let identity = home.identity()?;
        let certificate = TlsIdentity::load(&home.path("tls/agent.pem"));
        let config = home.config()?;
        let text = match &config.local_policy {
            // Joined to an absolute path, the directory falls away.
            Some(file) => Some(home.read(&file.to_string_lossy())?),
            None => None,
        };
        let policy = LocalPdp::load(text.as_ref().map(|t| t.as_str())).map_err(|error| {
            let file = config.local_policy.clone().unwrap_or_default();
            home.content(&file.to_string_lossy(), error)
        })?;
        Ok(Self {
            identity,
            config,
            policy,
            vault: Vault::open_on(home, disk)?,
            certificate_ends: certificate.ok().and_then(|c| c.ends()),
            bundles: Bundles::open(&home.path("")),
            trust: Kept::default(),
            forks: Forks::new(&home.path("")),
            alerts: Alerts::new(&home.path("")),
        })
    }

    /// Whom this agency believes, by the members in `view`.
    ///
    /// # Errors
    /// The store fails.
    pub fn trust(&self, view: &dyn Read) -> Result<Arc<Trust>, StoreError> {
        self.trust.load(&self.identity.anchors, view)
    }

    /// Makes and signs a statement of this agency.
    ///
    /// # Errors
    /// [`ErrorCode::Internal`]: it can't be encoded.
    pub fn say(&self, now: Timestamp, body: Body) -> Result<Saying, ErrorCode> {
        let statement = Statement {
            version: VERSION,
            federation: self.identity.anchors.federation.clone(),
            agency: self.identity.anchors.agency.clone(),
            at: now,
            body,
        };
        let payload = canonical::to_vec(&statement).map_err(|_| ErrorCode::Internal)?;
        let signature = dsse::sign(&self.identity.keys.signing, PAYLOAD_TYPE, &payload);
        Ok(Saying(Stated {
            envelope: Envelope {
                payload: Bytes(payload),
                signature,
            },
            openings: Vec::new(),
            payloads: BTreeMap::new(),
            not_before: now,
            vault: None,
            kept: None,
        }))
    }
}

/// A signed statement on its way into the outbox.
pub struct Saying(Stated);

impl Saying {
    /// With what travels beside it.
    #[must_use]
    pub fn opening(mut self, opening: Opening) -> Self {
        self.0.openings.push(opening);
        self
    }

    /// With a sealed payload.
    #[must_use]
    pub fn payload(mut self, name: &str, sealed: Vec<u8>) -> Self {
        self.0.payloads.insert(name.to_owned(), Bytes(sealed));
        self
    }

    /// Not to be sent earlier.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.0.not_before = at;
        self
    }

    /// With what the vault has for this request, as [`Vault::keep`] returned it.
    #[must_use]
    pub fn vault(mut self, request: RequestId, kept: Bytes) -> Self {
        self.0.vault = Some(request);
        self.0.kept = Some(kept);
        self
    }

    /// Done.
    pub fn done(self) -> Stated {
        self.0
    }
}
