//! The agent's directory: where what is, who may read it, and what its absence means.
//!
//! ```text
//! agent.toml        settings, for people
//! federation.json   what enrolment said; written last, so its presence means "enrolled"
//! keys/             signing.pem, sealing.key, witness.pem; sealing.former after a renewal
//! renewal/          an enrolment that replaces keys and certificate, until it is carried out
//! tls/              agent.pem (certificate and key), ca.pem, request.pem
//! bundles/          the rules that it holds, a file each
//! vault.keys        one key a request of ours, for what the journal has sealed; erased in place
//! journal/          the truth
//! projection/       derived
//! mirror/           an oversight body's copy of the log: entries, the tree over them, a checkpoint
//! alerts/, forks/   what somebody must look at, and proofs for others
//! agent.sock        the local interface
//! ```

use crate::{
    config::Config,
    entropy,
    seal::SealingKeys,
    trust::{Anchors, witness_key},
};
use passerelle_audit::{cosignature::Cosigner, dsse::SigningKey, note::VerifierKey};
use passerelle_journal::durable_file::{write_atomically, write_new};
use passerelle_model::{
    bytes::{Digest, PublicKey},
    ids::{AgencyId, FederationId, witness_name},
    panel::Panel,
    vocabulary::Sector,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::DirBuilder,
    io,
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _, net::UnixStream},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Longest path of a Unix socket, in bytes, with room for what the systems differ in.
pub const MAX_SOCKET_PATH_BYTES: usize = 100;

/// What is wrong with the directory, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No `federation.json`.
    #[error(
        "`{0}` is not enrolled; run `passerelle agent enrol --dir {0} --broker ADDR --token T` \
         with an invitation from the coordinator"
    )]
    NotEnrolled(String),
    /// There is one, and the invitation is for something else.
    #[error(
        "`{dir}` is already enrolled as `{agency}`; a new invitation for the same agency renews \
         that, another agency needs another directory"
    )]
    AlreadyEnrolled {
        /// The directory.
        dir: String,
        /// As whom.
        agency: String,
    },
    /// Somebody has the journal open.
    #[error("an agent is already running in `{0}`")]
    Running(String),
    /// Sockets have short names.
    #[error(
        "the path `{0}` is too long for a socket (over {MAX_SOCKET_PATH_BYTES} bytes); \
         use a directory with a shorter path"
    )]
    SocketPath(String),
    /// The file system.
    #[error("cannot {action} `{path}`: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file with wrong content.
    #[error("`{path}`: {message}")]
    Content {
        /// Which file.
        path: String,
        /// What is wrong, without quoting secrets.
        message: String,
    },
}

/// What enrolment said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The federation.
    pub federation: FederationId,
    /// This agency.
    pub agency: AgencyId,
    /// Its sector.
    pub sector: Sector,
    /// The log's verifier key.
    pub checkpoint_key: String,
    /// The key of permits.
    pub permit_key: PublicKey,
    /// The key of the oblivious function.
    pub oprf_key: PublicKey,
    /// How many members witness for all: fixed for good when the federation was founded.
    pub panel: Panel,
    /// Digest of the rules that were in force then, as the broker said: who enrols accepts them.
    /// What counts is this agent's own count ([`crate::rules`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// Index of the entry by which it joined.
    pub joined: u64,
}

/// The private keys.
#[derive(Debug)]
pub struct Keys {
    /// Signs statements.
    pub signing: SigningKey,
    /// Opens sealed context.
    pub sealing: SealingKeys,
    /// Those before renewals: older context opens with them.
    pub former_sealing: Vec<SealingKeys>,
    /// Cosigns checkpoints.
    pub witness: SigningKey,
}

/// Who this agent is.
#[derive(Debug)]
pub struct Identity {
    /// What enrolment said.
    pub membership: Membership,
    /// The private keys.
    pub keys: Keys,
    /// The witness under its name.
    pub cosigner: Cosigner,
    /// Whom it believes.
    pub anchors: Anchors,
}

/// The directory.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The directory `dir`, which need not exist yet.
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_path_buf())
    }

    /// Its path.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn shown(&self) -> String {
        self.0.display().to_string()
    }

    /// The socket's path.
    ///
    /// # Errors
    /// [`HomeError::SocketPath`].
    pub fn socket(&self) -> Result<PathBuf, HomeError> {
        let path = self.path("agent.sock");
        if path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH_BYTES {
            return Err(HomeError::SocketPath(path.display().to_string()));
        }
        Ok(path)
    }

    /// Creates the directory and its private parts.
    ///
    /// # Errors
    /// The file system.
    pub fn create(&self) -> Result<(), HomeError> {
        for part in ["", "keys", "tls"] {
            let path = self.path(part);
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(&path).map_err(io_error("create", &path))?;
        }
        Ok(())
    }

    /// Reads a text file.
    ///
    /// # Errors
    /// The file system.
    pub fn read(&self, name: &str) -> Result<Zeroizing<String>, HomeError> {
        let path = self.path(name);
        let text = std::fs::read_to_string(&path).map_err(io_error("read", &path))?;
        Ok(Zeroizing::new(text))
    }

    /// Replaces a file, readable by its owner only.
    ///
    /// # Errors
    /// The file system.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        let path = self.path(name);
        write_atomically(&path, bytes, 0o600).map_err(io_error("write", &path))
    }

    /// What enrolment said.
    ///
    /// # Errors
    /// [`HomeError::NotEnrolled`], or a damaged file.
    pub fn membership(&self) -> Result<Membership, HomeError> {
        if !self.is_enrolled() {
            return Err(HomeError::NotEnrolled(self.shown()));
        }
        let text = self.read("federation.json")?;
        serde_json::from_str(&text).map_err(|e| self.content("federation.json", e))
    }

    /// Whether enrolment was completed here.
    pub fn is_enrolled(&self) -> bool {
        self.path("federation.json").exists()
    }

    /// Checks that nobody serves this directory: who serves it has the keys in memory.
    ///
    /// # Errors
    /// [`HomeError::Running`].
    pub fn require_not_running(&self) -> Result<(), HomeError> {
        match UnixStream::connect(self.socket()?) {
            Ok(_) => Err(HomeError::Running(self.shown())),
            Err(_) => Ok(()),
        }
    }

    /// The settings.
    ///
    /// # Errors
    /// The file system, or a wrong setting.
    pub fn config(&self) -> Result<Config, HomeError> {
        let text = self.read("agent.toml")?;
        Config::from_toml(&text).map_err(|e| self.content("agent.toml", e))
    }

    /// The private keys, made where they are missing: enrolling again after a crash uses the
    /// ones of the first attempt.
    ///
    /// # Errors
    /// The file system, or a damaged file.
    pub fn make_keys(&self) -> Result<Keys, HomeError> {
        for name in ["keys/signing.pem", "keys/witness.pem"] {
            self.make(name, || {
                let seed = Zeroizing::new(entropy::random::<32>().map_err(|e| e.to_string())?);
                let pem = SigningKey::from_seed(&seed).to_pkcs8_pem();
                pem.map(|pem| pem.as_bytes().to_vec())
                    .map_err(|e| e.to_string())
            })?;
        }
        self.make("keys/sealing.key", || {
            let keys = SealingKeys::generate().map_err(|e| e.to_string())?;
            Ok(hex::encode(keys.to_bytes().as_slice()).into_bytes())
        })?;
        self.keys()
    }

    /// Writes a file that must not be replaced, unless it is there.
    pub(crate) fn make(
        &self,
        name: &str,
        content: impl FnOnce() -> Result<Vec<u8>, String>,
    ) -> Result<(), HomeError> {
        let path = self.path(name);
        if path.exists() {
            return Ok(());
        }
        let bytes = Zeroizing::new(content().map_err(|e| self.content(name, e))?);
        write_new(&path, &bytes, 0o600).map_err(io_error("write", &path))
    }

    pub(crate) fn keys(&self) -> Result<Keys, HomeError> {
        let signing = |name: &str| {
            let pem = self.read(name)?;
            SigningKey::from_pkcs8_pem(&pem).map_err(|e| self.content(name, e))
        };
        let sealing = |name: &str, text: &str| {
            let bytes = hex::decode(text.trim()).map(Zeroizing::new);
            let bytes = bytes.map_err(|_| self.content(name, "not hexadecimal"))?;
            SealingKeys::from_bytes(&bytes).map_err(|e| self.content(name, e))
        };
        let (name, former) = ("keys/sealing.key", "keys/sealing.former");
        let mut former_sealing = Vec::new();
        if self.path(former).exists() {
            for line in self.read(former)?.lines() {
                former_sealing.push(sealing(former, line)?);
            }
        }
        Ok(Keys {
            signing: signing("keys/signing.pem")?,
            sealing: sealing(name, &self.read(name)?)?,
            former_sealing,
            witness: signing("keys/witness.pem")?,
        })
    }

    /// Who this agent is.
    ///
    /// # Errors
    /// Not enrolled, or a damaged file.
    pub fn identity(&self) -> Result<Identity, HomeError> {
        let membership = self.membership()?;
        let keys = self.keys()?;
        let wrong = |message: String| self.content("federation.json", message);
        let log: VerifierKey = membership
            .checkpoint_key
            .parse()
            .map_err(|e: passerelle_audit::note::NoteError| wrong(e.to_string()))?;
        let name = witness_name(&membership.federation, &membership.agency);
        let cosigner =
            Cosigner::new(&name, keys.witness.clone()).map_err(|e| wrong(e.to_string()))?;
        let own_witness = witness_key(
            &membership.federation,
            &membership.agency,
            keys.witness.public_key(),
        );
        let anchors = Anchors {
            federation: membership.federation.clone(),
            agency: membership.agency.clone(),
            log,
            permit: membership.permit_key,
            panel: membership.panel,
            own_witness: own_witness.ok_or_else(|| wrong("unusable witness key".to_owned()))?,
        };
        Ok(Identity {
            membership,
            keys,
            cosigner,
            anchors,
        })
    }

    pub(crate) fn content(&self, name: &str, message: impl std::fmt::Display) -> HomeError {
        HomeError::Content {
            path: self.path(name).display().to_string(),
            message: message.to_string(),
        }
    }
}

/// Turns an error of the file system into one that says what was attempted.
pub(crate) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> HomeError + use<> {
    let path = path.display().to_string();
    move |source| HomeError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_and_readable_by_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        home.create().unwrap();
        let first = home.make_keys().unwrap();
        let again = home.make_keys().unwrap();
        assert_eq!(first.signing.public_key(), again.signing.public_key());
        assert_eq!(first.sealing.public(), again.sealing.public());
        assert_ne!(first.signing.public_key(), first.witness.public_key());
        for name in ["keys/signing.pem", "keys/witness.pem", "keys/sealing.key"] {
            let mode = std::fs::metadata(home.path(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_directory_in_use_is_not_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        assert!(home.require_not_running().is_ok());
        let listener = std::os::unix::net::UnixListener::bind(home.socket().unwrap());
        assert!(matches!(
            home.require_not_running(),
            Err(HomeError::Running(_))
        ));
        drop(listener.unwrap());
        assert!(home.require_not_running().is_ok(), "left over from a crash");
    }

    #[test]
    fn errors_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let error = home.identity().unwrap_err().to_string();
        assert!(error.contains("agent enrol"), "{error}");
        let long = Home::new(&dir.path().join("x".repeat(120)));
        assert!(matches!(long.socket(), Err(HomeError::SocketPath(_))));
    }
}
