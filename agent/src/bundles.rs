//! The bundles of rules that this agent holds, each a file in its directory.
//!
//! In scope: fetching what is in force or proposed, holding it to its content address, validating
//! its rules before it counts as held, and whether the agent may ask and answer. Out of scope:
//! which one is in force ([`crate::rules`]).
//!
//! ```text
//! bundles/<digest of the terms>.bundle
//! ```
//!
//! The program's own rules are held without a file.

use crate::{
    audit_read::DEADLINE, holder::storage, node::Node, postponed, rules, rules::Rules,
    session::code_of,
};
use passerelle_journal::durable_file::write_atomically;
use passerelle_model::{
    bundle::BundleTerms, bytes::Digest, error::ErrorCode, store::Read, time::Timestamp,
};
use passerelle_policies::{Bundle, CedarPdp, bundle::MAX_BUNDLE_BYTES, embedded_files};
use passerelle_proto::v1::{BundleRequest, log_read_client::LogReadClient};
use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tokio::time::timeout;

/// Pauses between attempts to get a bundle that is missing.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The digest of the program's own rules.
static SHIPPED: LazyLock<Option<Digest>> =
    LazyLock::new(|| Bundle::shipped(None).ok().map(|bundle| bundle.digest()));

/// See the module.
pub struct Bundles {
    dir: PathBuf,
    shipped: Option<Digest>,
    held: RwLock<BTreeSet<Digest>>,
    /// The decision point over the rules that were last asked for.
    loaded: Mutex<Option<(Digest, Arc<CedarPdp>)>>,
}

impl Bundles {
    /// Those in the directory of an agent. A file that is not what its name says is as none: it is
    /// fetched again.
    pub fn open(home: &Path) -> Self {
        let dir = home.join("bundles");
        let mut held = BTreeSet::new();
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match read_file(&path) {
                Some((name, _)) => {
                    held.insert(name);
                }
                None => tracing::warn!(path = %path.display(), "not the bundle that it is named"),
            }
        }
        Self {
            dir,
            shipped: *SHIPPED,
            held: RwLock::new(held),
            loaded: Mutex::new(None),
        }
    }

    /// As if the program brought these rules.
    #[cfg(test)]
    pub(crate) fn with_shipped(home: &Path, shipped: Digest) -> Self {
        Self {
            shipped: Some(shipped),
            ..Self::open(home)
        }
    }

    /// Whether the bundle with these terms is held.
    pub fn holds(&self, terms: &BundleTerms) -> bool {
        let held = || self.held.read().unwrap_or_else(PoisonError::into_inner);
        self.shipped == Some(terms.bundle)
            || terms.digest().is_ok_and(|name| held().contains(&name))
    }

    /// The rules by which this agent may ask and answer at `now`.
    ///
    /// # Errors
    /// As [`Rules::lawful`]; [`ErrorCode::BundleNotHeld`] while it does not hold them.
    pub fn usable(&self, rules: &Rules, now: Timestamp) -> Result<Digest, ErrorCode> {
        let terms = rules.lawful(now)?;
        match self.holds(terms) {
            true => Ok(terms.bundle),
            false => Err(ErrorCode::BundleNotHeld),
        }
    }

    /// The bundle with these terms, if it is held.
    ///
    /// # Errors
    /// [`ErrorCode::BundleNotHeld`].
    pub fn read(&self, terms: &BundleTerms) -> Result<Bundle, ErrorCode> {
        let not_held = ErrorCode::BundleNotHeld;
        let name = terms.digest().map_err(|_| ErrorCode::Internal)?;
        if let Some((_, bundle)) = read_file(&self.path(&name)).filter(|(n, _)| *n == name) {
            return Ok(bundle);
        }
        let bundle = Bundle::new(embedded_files(), terms.clone()).map_err(|_| not_held)?;
        match bundle.digest() == terms.bundle {
            true => Ok(bundle),
            false => Err(not_held),
        }
    }

    /// The decision point over the rules of these terms, the same that the broker decides by. The
    /// first time it takes a while: not on a thread that serves others.
    ///
    /// # Errors
    /// [`ErrorCode::BundleNotHeld`].
    pub fn decision_point(&self, terms: &BundleTerms) -> Result<Arc<CedarPdp>, ErrorCode> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pdp)) = loaded.as_ref().filter(|(of, _)| *of == terms.bundle) {
            return Ok(Arc::clone(pdp));
        }
        let pdp = self.read(terms)?.load();
        let pdp = Arc::new(pdp.map_err(|_| ErrorCode::BundleNotHeld)?);
        *loaded = Some((terms.bundle, Arc::clone(&pdp)));
        Ok(pdp)
    }

    fn path(&self, name: &Digest) -> PathBuf {
        self.dir.join(format!("{name}.bundle"))
    }

    /// Keeps a bundle whose rules were validated, durably, and drops the files that are not among
    /// those `wanted`.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    fn keep(&self, bundle: &Bundle, wanted: &BTreeSet<Digest>) -> Result<(), ErrorCode> {
        let name = bundle.terms().digest().map_err(|_| ErrorCode::Internal)?;
        let bytes = bundle.to_bytes().map_err(|_| ErrorCode::Internal)?;
        let written = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .and_then(|()| write_atomically(&self.path(&name), &bytes, 0o600));
        written.map_err(|error| {
            tracing::error!(%error, dir = %self.dir.display(), "a bundle can't be kept");
            ErrorCode::Storage
        })?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.insert(name);
        held.retain(|name| {
            let stays = wanted.contains(name);
            // One that stays behind costs its room, and is dropped with the next.
            let gone = || fs::remove_file(self.path(name)).is_ok();
            stays || !gone()
        });
        Ok(())
    }
}

/// The bundle in a file, with the name that it must have; none unless it has it.
fn read_file(path: &Path) -> Option<(Digest, Bundle)> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok()?;
    let limit = MAX_BUNDLE_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).ok()?;
    let bundle = Bundle::from_bytes(&bytes).ok()?;
    let name = bundle.terms().digest().ok()?;
    let named = path.file_stem()?.to_str()? == name.to_hex();
    named.then_some((name, bundle))
}

/// What is to be held: first what is in force, then what is proposed.
fn wanted(view: &dyn Read) -> Result<Vec<BundleTerms>, ErrorCode> {
    let in_force = rules::rules(view).map_err(storage)?.in_force;
    let proposed = rules::proposals(view).map_err(storage)?;
    let proposed = proposed.into_iter().map(|proposal| proposal.terms);
    Ok(in_force.into_iter().chain(proposed).collect())
}

/// Fetches what is in force or proposed and not held, as long as the stream is up.
pub(crate) async fn keep(node: Node) {
    let mut version = node.core.version();
    let mut pause = FIRST_RETRY;
    loop {
        version.mark_unchanged();
        let wanted = wanted(node.core.view()).unwrap_or_default();
        let bundles = &node.context.bundles;
        let mut all = true;
        for terms in wanted.iter().filter(|terms| !bundles.holds(terms)) {
            if let Err(code) = fetch(&node, terms, &wanted).await {
                let bundle = terms.bundle;
                tracing::warn!(%bundle, %code, pause_ms = pause.as_millis(),
                    "a bundle of rules is not held yet; tried again");
                all = false;
            }
        }
        if all {
            pause = FIRST_RETRY;
            if version.changed().await.is_err() {
                return;
            }
        } else {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }
}

/// Fetches a bundle, validates and keeps it, and goes on with what waited for it.
async fn fetch(node: &Node, terms: &BundleTerms, wanted: &[BundleTerms]) -> Result<(), ErrorCode> {
    let bytes = download(node, terms).await?;
    let (context, wanted_terms) = (Arc::clone(&node.context), terms.clone());
    let names: Result<BTreeSet<_>, _> = wanted.iter().map(BundleTerms::digest).collect();
    let names = names.map_err(|_| ErrorCode::Internal)?;
    let kept = tokio::task::spawn_blocking(move || {
        let refused = |error: passerelle_policies::LoadError| {
            tracing::error!(%error, "the broker's bundle is refused");
            ErrorCode::Malformed
        };
        let bundle = Bundle::from_bytes(&bytes).map_err(refused)?;
        if *bundle.terms() != wanted_terms {
            return Err(ErrorCode::PayloadMismatch);
        }
        bundle.load().map_err(refused)?;
        context.bundles.keep(&bundle, &names)
    });
    kept.await.map_err(|_| ErrorCode::Internal)??;
    tracing::info!(bundle = %terms.bundle, revision = terms.revision, "a bundle is held");
    let (context, now) = (Arc::clone(&node.context), node.clock.now());
    let asked = node.core.write(now, move |view| {
        Ok((postponed::ask_again(&context, view, now)?, ()))
    });
    asked.await
}

async fn download(node: &Node, terms: &BundleTerms) -> Result<Vec<u8>, ErrorCode> {
    let name = terms.digest().map_err(|_| ErrorCode::Internal)?;
    let mut client = LogReadClient::new(node.channel.clone());
    let request = BundleRequest {
        terms: name.0.to_vec(),
    };
    let stream = timeout(DEADLINE, client.bundle(request)).await;
    let stream = stream.map_err(|_| ErrorCode::Unavailable)?;
    let mut stream = stream.map_err(|s| code_of(&s))?.into_inner();
    let mut bytes = Vec::new();
    loop {
        let part = timeout(DEADLINE, stream.message()).await;
        let part = part.map_err(|_| ErrorCode::Unavailable)?;
        match part.map_err(|s| code_of(&s))? {
            Some(part) => bytes.extend_from_slice(&part.data),
            None => return Ok(bytes),
        }
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(ErrorCode::TooLarge);
        }
    }
}
