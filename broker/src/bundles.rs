//! The bundles that this broker holds, each a file in its directory.
//!
//! In scope: keeping a bundle file, reading it back and holding it to its content address, the
//! decision point over it. Out of scope: which one is in force, which the log says.
//!
//! ```text
//! bundles/<digest of the terms>.bundle
//! ```

use crate::error::BrokerError;
use passerelle_journal::durable_file::write_atomically;
use passerelle_model::{
    bundle::BundleTerms, bytes::Digest, error::ErrorCode, pdp::PolicyDecisionPoint,
};
use passerelle_policies::{Bundle, bundle::MAX_BUNDLE_BYTES};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// See the module.
pub struct BundleStore {
    dir: PathBuf,
    loaded: Mutex<BTreeMap<Digest, Arc<dyn PolicyDecisionPoint>>>,
}

/// The name under which a bundle is kept: the digest of what agencies endorse, which binds every
/// file.
fn name_of(terms: &BundleTerms) -> Result<Digest, BrokerError> {
    let digest = terms.digest();
    digest.map_err(|e| BrokerError::Bundle(e.to_string()))
}

impl BundleStore {
    /// That of the broker in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.join("bundles"),
            loaded: Mutex::default(),
        }
    }

    fn path(&self, name: &Digest) -> PathBuf {
        self.dir.join(format!("{name}.bundle"))
    }

    /// Where the bundle with these terms is kept, or would be.
    ///
    /// # Errors
    /// None that terms can lead to.
    pub fn path_of(&self, terms: &BundleTerms) -> Result<PathBuf, BrokerError> {
        Ok(self.path(&name_of(terms)?))
    }

    /// Keeps a bundle whose rules were loaded, durably.
    ///
    /// # Errors
    /// The disk.
    pub fn keep(&self, bundle: &Bundle) -> Result<(), BrokerError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(BrokerError::file("create", &self.dir))?;
        let path = self.path_of(bundle.terms())?;
        let bytes = bundle.to_bytes();
        let bytes = bytes.map_err(|e| BrokerError::Bundle(e.to_string()))?;
        write_atomically(&path, &bytes, 0o600).map_err(BrokerError::file("write", &path))
    }

    /// The bundle file with this name, if it is held and is what its name says.
    ///
    /// # Errors
    /// The disk; a file that was changed.
    pub fn read(&self, name: &Digest) -> Result<Option<(Vec<u8>, Bundle)>, BrokerError> {
        let path = self.path(name);
        let file = match fs::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(BrokerError::file("open", &path))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_BUNDLE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(BrokerError::file("read", &path))?;
        let damaged = |what: String| {
            let path = path.display();
            BrokerError::Bundle(format!("`{path}`: {what}; put the right file there"))
        };
        let bundle = Bundle::from_bytes(&bytes).map_err(|e| damaged(e.to_string()))?;
        if name_of(bundle.terms())? != *name {
            return Err(damaged(
                "it is another bundle than its name says".to_owned(),
            ));
        }
        Ok(Some((bytes, bundle)))
    }

    /// The decision point over the bundle with these terms, if it is held.
    ///
    /// # Errors
    /// The disk; a file that was changed; rules that don't load.
    pub fn pdp(
        &self,
        terms: &BundleTerms,
    ) -> Result<Option<Arc<dyn PolicyDecisionPoint>>, BrokerError> {
        let name = name_of(terms)?;
        let known = self.loaded().get(&name).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some((_, bundle)) = self.read(&name)? else {
            return Ok(None);
        };
        let pdp = self.load(&bundle)?;
        Ok(Some(pdp))
    }

    /// Loads a bundle's rules, and remembers them.
    ///
    /// # Errors
    /// Rules that don't load, with file, line and reason.
    pub fn load(&self, bundle: &Bundle) -> Result<Arc<dyn PolicyDecisionPoint>, BrokerError> {
        let pdp = bundle.load();
        let pdp: Arc<dyn PolicyDecisionPoint> =
            Arc::new(pdp.map_err(|e| BrokerError::Bundle(e.to_string()))?);
        let name = name_of(bundle.terms())?;
        self.loaded().insert(name, pdp.clone());
        Ok(pdp)
    }

    /// Forgets the rules of all others: one is in force.
    pub fn only(&self, terms: &BundleTerms) -> Result<(), BrokerError> {
        let name = name_of(terms)?;
        self.loaded().retain(|known, _| *known == name);
        Ok(())
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<dyn PolicyDecisionPoint>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and loads what an operator proposes.
///
/// # Errors
/// Everything that is wrong with it, with file, line and reason.
pub(crate) fn proposed(store: &BundleStore, bytes: &[u8]) -> Result<Bundle, BrokerError> {
    let bundle = Bundle::from_bytes(bytes).map_err(|e| BrokerError::BadBundle(e.to_string()))?;
    store.load(&bundle).map_err(|error| match error {
        BrokerError::Bundle(reason) => BrokerError::BadBundle(reason),
        other => other,
    })?;
    store.keep(&bundle)?;
    Ok(bundle)
}

/// The decision point by which this broker has to decide, and whether the log has to be told of
/// it. `shipped` are the program's own rules. Before anybody has joined they are put in force;
/// afterwards only the agencies can put others in force, so the broker goes on by those that are.
///
/// # Errors
/// The rules in force are not held here.
pub(crate) fn in_force(
    store: &BundleStore,
    shipped: &Bundle,
    terms: &BundleTerms,
    has_members: bool,
) -> Result<Arc<dyn PolicyDecisionPoint>, BrokerError> {
    let is_shipped = shipped.digest() == terms.bundle;
    let may_go_on = is_shipped || has_members;
    if may_go_on && let Some(pdp) = store.pdp(terms)? {
        if !is_shipped {
            tracing::warn!(
                in_force = %terms.bundle,
                shipped = %shipped.digest(),
                "this program brings other rules than those in force, by which it goes on \
                 deciding; the agencies can change that: `passerelle broker bundle --help`"
            );
        }
        return Ok(pdp);
    }
    let bundle = match (is_shipped, has_members) {
        (_, false) => shipped.clone(),
        (true, true) => Bundle::new(shipped.files().clone(), terms.clone())
            .map_err(|e| BrokerError::Bundle(e.to_string()))?,
        (false, true) => {
            return Err(BrokerError::BundleNotHeld {
                bundle: terms.bundle.to_hex(),
                path: store.path_of(terms)?,
            });
        }
    };
    store.keep(&bundle)?;
    store.load(&bundle)
}

/// The code with which a bundle is refused.
pub(crate) const fn refusal(error: &BrokerError) -> Option<ErrorCode> {
    match error {
        BrokerError::BadBundle(_) => Some(ErrorCode::Malformed),
        BrokerError::Refused(code) => Some(*code),
        _ => None,
    }
}
