//! A broker's directory: configuration, keys, certificates. All of it is made by [`create`], and
//! read by [`Home::open`].
//!
//! ```text
//! broker.toml          federation, limits, outside witnesses
//! keys/                checkpoint.pem, permit.pem (Ed25519), oprf.key (32 bytes)   mode 0600
//! tls/                 ca.pem (root with key), server.pem (chain), server.key      mode 0600
//! bundles/             the rules in force and proposed, a file each
//! journal/  projection/
//! admin.sock           while it runs
//! ```

use crate::{
    ca::CertificateAuthority,
    clock,
    error::BrokerError,
    oprf::OprfServer,
    outside::{Outside, OutsideConfig},
};
use passerelle_audit::{
    keys::SigningKey,
    note::{Signer, VerifierKey},
};
use passerelle_journal::durable_file::{write_atomically, write_new};
use passerelle_model::{bytes::PublicKey, entry::BrokerKeys, error::ErrorCode, ids::FederationId};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

const CONFIG_FILE: &str = "broker.toml";

/// Life of the broker's TLS certificate: two years. A new one is made at each start.
pub const SERVER_LIFETIME_S: u64 = 2 * 365 * 86_400;

/// Life of an agency's certificate: one year.
pub const AGENCY_LIFETIME_S: u64 = 365 * 86_400;

/// `broker.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The federation's name.
    pub federation: FederationId,
    /// Host names or addresses under which agencies reach the broker, for its certificate.
    #[serde(default = "default_hosts")]
    pub hosts: Vec<String>,
    /// Where to serve the checkpoint and the hashes of the log to anybody, over plain HTTP:
    /// `host:port`. Nowhere unless it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<String>,
    /// The legal packs that the federation uses, by id; all of them unless it is set. The guards of
    /// the others count too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packs: Option<BTreeSet<String>>,
    /// Limits on what one agency may send.
    #[serde(default)]
    pub limits: RateLimits,
    /// Witnesses that are no members, asked once a quorum of the members has cosigned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside_witnesses: Vec<OutsideConfig>,
    /// How many of these must have cosigned before anything is published: below it no permit
    /// leaves. Any will do.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outside_required: usize,
}

const fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn default_hosts() -> Vec<String> {
    ["localhost", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec()
}

/// Limits on what one agency may send: a sustained rate, and how much may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Statements per second.
    pub statements_per_s: u32,
    /// Statements at once.
    pub statements_burst: u32,
    /// Evaluations of the oblivious function per second.
    pub evaluations_per_s: u32,
    /// Evaluations at once.
    pub evaluations_burst: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            statements_per_s: 2_000,
            statements_burst: 4_000,
            // Enough for an import of some thousand people at once, too little to try a province.
            evaluations_per_s: 20,
            evaluations_burst: 5_000,
        }
    }
}

/// An opened directory.
pub struct Home {
    /// Where it is.
    pub dir: PathBuf,
    /// The configuration.
    pub config: Config,
    /// Signs checkpoints, under the origin of the founding: see [`Home::checkpoint_under`].
    pub checkpoint: Signer,
    /// Signs permits.
    pub permit: SigningKey,
    /// Evaluates the oblivious function.
    pub oprf: OprfServer,
    /// Issues certificates.
    pub ca: CertificateAuthority,
}

/// The origin line of a federation's log, and the name of its checkpoint key.
pub fn log_origin(federation: &FederationId) -> String {
    format!("passerelle/{federation}")
}

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], BrokerError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| BrokerError::Random)?;
    Ok(bytes)
}

/// Makes the directory of a new broker. The configuration is written last: a crash before leaves
/// a directory that [`Home::open`] calls not initialised, and that can be removed.
pub fn create(dir: &Path, federation: &FederationId) -> Result<(), BrokerError> {
    if dir.join(CONFIG_FILE).exists() {
        return Err(BrokerError::AlreadyInitialised(dir.to_owned()));
    }
    for sub in ["", "keys", "tls", "journal", "projection"] {
        let path = dir.join(sub);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(BrokerError::file("create", &path))?;
    }
    for name in ["checkpoint", "permit"] {
        let pem = SigningKey::from_seed(&random()?).to_pkcs8_pem()?;
        write_secret(&dir.join(format!("keys/{name}.pem")), pem.as_bytes())?;
    }
    write_secret(
        &dir.join("keys/oprf.key"),
        &OprfServer::generate()?.to_bytes(),
    )?;
    CertificateAuthority::create(federation, clock::now(), random()?)?.save(&dir.join("tls"))?;
    let config = Config {
        federation: federation.clone(),
        hosts: default_hosts(),
        tiles: None,
        packs: None,
        limits: RateLimits::default(),
        outside_witnesses: Vec::new(),
        outside_required: 0,
    };
    let path = dir.join(CONFIG_FILE);
    let text = toml::to_string_pretty(&config).map_err(|e| BrokerError::Config {
        path: path.clone(),
        message: e.to_string(),
    })?;
    write_new(&path, text.as_bytes(), 0o644).map_err(BrokerError::file("write", &path))
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), BrokerError> {
    write_atomically(path, bytes, 0o600).map_err(BrokerError::file("write", path))
}

fn read(path: &Path) -> Result<Vec<u8>, BrokerError> {
    fs::read(path).map_err(BrokerError::file("read", path))
}

fn signing_key(dir: &Path, name: &str) -> Result<SigningKey, BrokerError> {
    let pem = read(&dir.join("keys").join(name))?;
    Ok(SigningKey::from_pkcs8_pem(&String::from_utf8_lossy(&pem))?)
}

/// Reads `broker.toml`.
pub(crate) fn read_config(dir: &Path) -> Result<Config, BrokerError> {
    let path = dir.join(CONFIG_FILE);
    if !path.exists() {
        return Err(BrokerError::NotInitialised(dir.to_owned()));
    }
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    toml::from_str(&text).map_err(|e| BrokerError::Config {
        path,
        message: e.to_string(),
    })
}

impl Home {
    /// Reads a broker's directory.
    pub fn open(dir: &Path) -> Result<Self, BrokerError> {
        let config = read_config(dir)?;
        let signing_key = |name: &str| signing_key(dir, name);
        let checkpoint = Signer::new(
            &log_origin(&config.federation),
            signing_key("checkpoint.pem")?,
        )?;
        Ok(Self {
            checkpoint,
            permit: signing_key("permit.pem")?,
            oprf: OprfServer::from_bytes(&read(&dir.join("keys/oprf.key"))?)?,
            ca: CertificateAuthority::load(&dir.join("tls"), &config.federation)?,
            dir: dir.to_owned(),
            config,
        })
    }

    /// The signer of checkpoints under the origin of this verifier key, which must be of the key
    /// that is here.
    ///
    /// # Errors
    /// It is of another key, or none.
    pub fn checkpoint_under(&self, verifier: &str) -> Result<Signer, BrokerError> {
        let verifier: VerifierKey = verifier.parse()?;
        let signer = Signer::new(verifier.name(), signing_key(&self.dir, "checkpoint.pem")?)?;
        if *signer.verifier_key() == verifier {
            return Ok(signer);
        }
        Err(BrokerError::OtherKey(verifier.to_string()))
    }

    /// The public halves of the broker's keys.
    pub fn public_keys(&self) -> Result<BrokerKeys, BrokerError> {
        let oprf = PublicKey::from_slice(&self.oprf.public_key())
            .ok_or(BrokerError::Refused(ErrorCode::Internal))?;
        Ok(BrokerKeys {
            checkpoint: self.checkpoint.verifier_key().to_string(),
            permit: self.permit.public_key(),
            oprf,
        })
    }

    /// The broker's certificate chain and key, made now. A fresh one at each start: agencies
    /// trust the root and the name in it, not the certificate.
    pub fn server_certificate(&self) -> Result<crate::ca::IssuedServer, BrokerError> {
        let hosts: Vec<&str> = self.config.hosts.iter().map(String::as_str).collect();
        Ok(self
            .ca
            .issue_server(&hosts, clock::now(), SERVER_LIFETIME_S)?)
    }

    /// The outside witnesses in the configuration.
    ///
    /// # Errors
    /// [`BrokerError::Config`].
    pub fn outside(&self) -> Result<Vec<Arc<Outside>>, BrokerError> {
        let (configs, required) = (&self.config.outside_witnesses, self.config.outside_required);
        let parsed = Outside::parse(configs).and_then(|all| Outside::enough(all, required));
        parsed.map_err(|message| BrokerError::Config {
            path: self.dir.join(CONFIG_FILE),
            message,
        })
    }

    /// The socket of the administration.
    pub fn admin_socket(dir: &Path) -> PathBuf {
        dir.join("admin.sock")
    }
}
