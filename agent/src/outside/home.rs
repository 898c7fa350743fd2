//! The directory of an outside witness.
//!
//! ```text
//! witness.toml   its name, the keys of the logs that it follows; written last
//! key.pem        its key (Ed25519)                                              mode 0600
//! state/         what it cosigned last, one file a log; LOCK while it runs
//! forks/         proofs that a log was rewritten, for `passerelle-audit fork`
//! ```
//!
//! In scope: making it, adding a log, opening it. Out of scope: what a state is ([`super::page`]).
//!
//! `state/` must never be restored from an older copy: no file can say that it is old. A witness
//! whose directory was lost is retired, its key with it.

use super::{
    OutsideError,
    page::{self, Page},
};
use crate::{
    entropy,
    forks::{DIRECTORY, Forks},
};
use passerelle_audit::{
    cosignature::Cosigner,
    keys::SigningKey,
    note::{SignatureType, VerifierKey},
};
use passerelle_journal::durable_file::{write_atomically, write_new};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

const CONFIG_FILE: &str = "witness.toml";
const KEY_FILE: &str = "key.pem";
const STATES: &str = "state";
const LOCK_FILE: &str = "LOCK";

/// Most logs that one witness follows.
pub const MAX_LOGS: usize = 1024;

/// `witness.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The name under which it cosigns, such as `witness.example/w1`.
    pub name: String,
    /// Verifier keys of the logs, `name+id+key`; each name is the log's origin.
    #[serde(default)]
    pub logs: Vec<String>,
}

/// A witness whose directory is open.
pub struct Witness {
    cosigner: Cosigner,
    pages: BTreeMap<String, Page>,
    _lock: File,
}

/// What an operator sees of one log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// The log's key.
    pub log: String,
    /// Entries in the checkpoint that was cosigned last.
    pub size: u64,
}

/// What an operator sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The key that others trust, `name+id+key`.
    pub key: String,
    /// The logs.
    pub logs: Vec<Followed>,
    /// Proofs of rewritten logs in `forks/`.
    pub forks: usize,
}

/// Makes a witness that follows these logs. Returns its verifier key.
///
/// # Errors
/// A part of one is there already; a name or key is not usable; the file system.
pub fn init(dir: &Path, name: &str, logs: &[VerifierKey]) -> Result<VerifierKey, OutsideError> {
    for file in [CONFIG_FILE, KEY_FILE, STATES] {
        if dir.join(file).exists() {
            return Err(OutsideError::AlreadyInitialised(dir.to_owned()));
        }
    }
    check_logs(logs)?;
    let seed = entropy::random::<32>().map(Zeroizing::new);
    let seed = seed.map_err(|code| OutsideError::Unusable(code.explanation().to_owned()))?;
    let cosigner = cosigner(name, SigningKey::from_seed(&seed))?;
    for path in [dir.to_owned(), dir.join(STATES)] {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&path);
        made.map_err(OutsideError::io("make", &path))?;
    }
    let pem = SigningKey::from_seed(&seed).to_pkcs8_pem();
    let pem = pem.map_err(|error| OutsideError::Unusable(error.to_string()))?;
    let path = dir.join(KEY_FILE);
    write_new(&path, pem.as_bytes(), 0o600).map_err(OutsideError::io("write", &path))?;
    for log in logs {
        page::begin(&dir.join(STATES), log)?;
    }
    let config = Config {
        name: name.to_owned(),
        logs: logs.iter().map(VerifierKey::to_string).collect(),
    };
    let path = dir.join(CONFIG_FILE);
    write_new(&path, written(&path, &config)?.as_bytes(), 0o644)
        .map_err(OutsideError::io("write", &path))?;
    Ok(cosigner.verifier_key().clone())
}

/// Follows one more log: from its beginning, or from where it was followed before.
///
/// # Errors
/// The witness runs, or follows a log of this name already.
pub fn follow(dir: &Path, log: &VerifierKey) -> Result<(), OutsideError> {
    // Read before it says clearly that there is no witness here; what counts is what another command
    // that held the lock has left.
    config(dir)?;
    let _lock = lock(dir)?;
    let mut config = config(dir)?;
    let mut logs = logs_of(dir, &config)?;
    logs.push(log.clone());
    check_logs(&logs)?;
    let states = dir.join(STATES);
    match page::begin(&states, log) {
        // After a crash between the two files, or a log that was followed before: what was cosigned
        // then still counts.
        Err(OutsideError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            page::read(&states, log)?;
        }
        other => other?,
    }
    config.logs.push(log.to_string());
    let path = dir.join(CONFIG_FILE);
    write_atomically(&path, written(&path, &config)?.as_bytes(), 0o644)
        .map_err(OutsideError::io("write", &path))
}

/// The key that others trust.
///
/// # Errors
/// The directory holds no witness.
pub fn key(dir: &Path) -> Result<VerifierKey, OutsideError> {
    Ok(load_key(dir, &config(dir)?)?.verifier_key().clone())
}

/// What it follows and how far it is, also while it runs.
///
/// # Errors
/// The directory holds no witness, or its state is in doubt.
pub fn status(dir: &Path) -> Result<Status, OutsideError> {
    let config = config(dir)?;
    let mut logs = Vec::new();
    for log in logs_of(dir, &config)? {
        let last = page::read(&dir.join(STATES), &log)?;
        logs.push(Followed {
            log: log.to_string(),
            size: last.map_or(0, |signed| signed.checkpoint().size()),
        });
    }
    Ok(Status {
        key: load_key(dir, &config)?.verifier_key().to_string(),
        logs,
        forks: Forks::new(dir).count(),
    })
}

impl Witness {
    /// Opens a directory for this process alone.
    ///
    /// # Errors
    /// [`OutsideError::Doubt`] if it is not certain what was cosigned last of each log.
    pub fn open(dir: &Path) -> Result<Self, OutsideError> {
        config(dir)?;
        let lock = lock(dir)?;
        let config = config(dir)?;
        let cosigner = load_key(dir, &config)?;
        let mut pages = BTreeMap::new();
        for log in logs_of(dir, &config)? {
            let name = log.name().to_owned();
            let page = Page::open(&dir.join(STATES), log, Forks::new(dir))?;
            pages.insert(name, page);
        }
        Ok(Self {
            cosigner,
            pages,
            _lock: lock,
        })
    }

    /// What it remembers of the log of this origin.
    pub fn page(&self, origin: &str) -> Option<&Page> {
        self.pages.get(origin)
    }

    /// Signs for it.
    pub fn cosigner(&self) -> &Cosigner {
        &self.cosigner
    }

    /// How many logs it follows.
    pub fn logs(&self) -> usize {
        self.pages.len()
    }
}

/// Where proofs of forks are.
pub fn forks_dir(dir: &Path) -> PathBuf {
    dir.join(DIRECTORY)
}

fn config(dir: &Path) -> Result<Config, OutsideError> {
    let path = dir.join(CONFIG_FILE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OutsideError::NotInitialised(dir.to_owned()));
        }
        read => read.map_err(OutsideError::io("read", &path))?,
    };
    toml::from_str(&text).map_err(|error| OutsideError::Content {
        path,
        message: error.to_string(),
    })
}

fn written(path: &Path, config: &Config) -> Result<String, OutsideError> {
    toml::to_string_pretty(config).map_err(|error| OutsideError::Content {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

fn logs_of(dir: &Path, config: &Config) -> Result<Vec<VerifierKey>, OutsideError> {
    let content = |message| OutsideError::Content {
        path: dir.join(CONFIG_FILE),
        message,
    };
    let mut logs = Vec::with_capacity(config.logs.len());
    for text in &config.logs {
        let key: Result<VerifierKey, _> = text.parse();
        logs.push(key.map_err(|error| content(format!("`{text}`: {error}")))?);
    }
    check_logs(&logs).map_err(|error| content(error.to_string()))?;
    Ok(logs)
}

fn check_logs(logs: &[VerifierKey]) -> Result<(), OutsideError> {
    let unusable = |message: String| Err(OutsideError::Unusable(message));
    if logs.len() > MAX_LOGS {
        return unusable(format!("more than {MAX_LOGS} logs"));
    }
    let mut origins = BTreeSet::new();
    for log in logs {
        let name = log.name();
        if log.kind() != SignatureType::Ed25519 {
            return unusable(format!("the key of `{name}` is a witness's, not a log's"));
        }
        // The state is one log's: with two keys of one origin it would be either's.
        if !origins.insert(name) {
            return unusable(format!("the log `{name}` is followed already"));
        }
    }
    Ok(())
}

fn cosigner(name: &str, key: SigningKey) -> Result<Cosigner, OutsideError> {
    Cosigner::new(name, key).map_err(|error| OutsideError::Unusable(format!("`{name}`: {error}")))
}

fn load_key(dir: &Path, config: &Config) -> Result<Cosigner, OutsideError> {
    let path = dir.join(KEY_FILE);
    let pem = fs::read_to_string(&path).map(Zeroizing::new);
    let pem = pem.map_err(OutsideError::io("read", &path))?;
    let key = SigningKey::from_pkcs8_pem(&pem).map_err(|error| OutsideError::Content {
        path,
        message: error.to_string(),
    })?;
    cosigner(&config.name, key)
}

/// Held while the process lives: two witnesses with one state would not see each other's.
fn lock(dir: &Path) -> Result<File, OutsideError> {
    let path = dir.join(STATES).join(LOCK_FILE);
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options
        .open(&path)
        .map_err(OutsideError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutsideError::Running(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(OutsideError::io("lock", &path)(error)),
    }
}
