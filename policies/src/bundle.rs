//! The bundle as one file: every file of the rules, and a manifest that binds them.
//!
//! A bundle file is canonical JSON: one content has one encoding. The digest that stands in
//! decisions is that of the rules ([`Library::digest`]): it covers the Cedar language and every
//! file, so it is computed here again from the content, never read. The manifest adds the place
//! that the rules take (revision, what they replace, from when, until when), which agencies
//! endorse.
//!
//! In scope: making a bundle file, reading one within bounds, what changes between two.
//! Out of scope: files on a disk; who endorsed it (`passerelle_model::bundle`).

use crate::{
    library::{Library, digest_of, embedded_files, unknown_files},
    packs::{SELECTION, selection},
    pdp::CedarPdp,
    problem::{LoadError, Problem},
    rule::Rule,
};
use passerelle_model::{bundle::BundleTerms, bytes::Digest, canonical, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Largest bundle file, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 4 << 20;

/// Largest file in a bundle, in bytes.
pub const MAX_FILE_BYTES: usize = 512 << 10;

/// Most files in a bundle.
pub const MAX_FILES: usize = 1_024;

/// Longest path in a bundle, in bytes.
pub const MAX_PATH_BYTES: usize = 128;

const FORMAT: &str = "passerelle-bundle";
const VERSION: u8 = 1;

/// Where a problem of the whole file is said to be.
const WHOLE: &str = "bundle";
/// Where a problem of the manifest is said to be.
const MANIFEST: &str = "manifest";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(rename = "@format")]
    format: String,
    #[serde(rename = "@version")]
    version: u8,
    files: BTreeMap<String, String>,
    manifest: Manifest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    cedar_language: String,
    expires_at: Option<Timestamp>,
    /// SHA-256 by path.
    files: BTreeMap<String, Digest>,
    not_before: Timestamp,
    previous: Option<Digest>,
    revision: u64,
}

/// A bundle whose manifest fits its files. Whether the rules in it are sound is for
/// [`Bundle::load`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    terms: BundleTerms,
    language: String,
    files: BTreeMap<String, String>,
}

impl Bundle {
    /// The bundle of these files, in the place that `terms` say; their digest is computed here.
    ///
    /// # Errors
    /// More or larger files than a bundle may have, or files that no bundle has.
    pub fn new(files: BTreeMap<String, String>, place: BundleTerms) -> Result<Self, LoadError> {
        let language = cedar_policy::get_lang_version().to_string();
        let bundle = digest_of(&files, &language).map_err(|e| LoadError::one(WHOLE, e))?;
        let made = Self {
            terms: BundleTerms { bundle, ..place },
            language,
            files,
        };
        let mut problems = made.out_of_bounds();
        problems.extend(unknown_files(&made.files));
        if !problems.is_empty() {
            return Err(LoadError { problems });
        }
        let size = made.to_bytes().map_err(|e| LoadError::one(WHOLE, e))?.len();
        too_large(size)?;
        Ok(made)
    }

    /// The bundle of these files as a federation's first.
    ///
    /// # Errors
    /// As [`Bundle::new`].
    pub fn founding(files: BTreeMap<String, String>) -> Result<Self, LoadError> {
        Self::new(files, BundleTerms::founding(Digest([0; 32])))
    }

    /// The shipped rules as a federation's first, with these legal packs; all without.
    ///
    /// # Errors
    /// As [`Bundle::new`].
    pub fn shipped(packs: Option<&BTreeSet<String>>) -> Result<Self, LoadError> {
        let mut files = embedded_files();
        if let Some(packs) = packs {
            files.insert(SELECTION.to_owned(), selection(packs));
        }
        Self::founding(files)
    }

    /// What agencies endorse: the digest of the rules, and the place that they take.
    pub const fn terms(&self) -> &BundleTerms {
        &self.terms
    }

    /// The digest of the rules, as it stands in decisions.
    pub const fn digest(&self) -> Digest {
        self.terms.bundle
    }

    /// The version of the Cedar language that the rules are written in.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// The files by path.
    pub const fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// The bundle file.
    ///
    /// # Errors
    /// None that a bundle can lead to.
    pub fn to_bytes(&self) -> Result<Vec<u8>, canonical::CanonicalError> {
        canonical::to_vec(&Form {
            format: FORMAT.to_owned(),
            version: VERSION,
            manifest: Manifest {
                cedar_language: self.language.clone(),
                expires_at: self.terms.expires_at,
                files: hashes(&self.files),
                not_before: self.terms.not_before,
                previous: self.terms.previous,
                revision: self.terms.revision,
            },
            files: self.files.clone(),
        })
    }

    /// Reads a bundle file.
    ///
    /// # Errors
    /// Everything that is wrong with it: too large, of another form or version, a file that is
    /// missing, not in the manifest, changed, or not one that a bundle has, a Cedar language that
    /// this program does not read.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        too_large(bytes.len())?;
        let form: Form = serde_json::from_slice(bytes)
            .map_err(|e| LoadError::one(WHOLE, format!("not a bundle file: {}", outline(&e))))?;
        if form.format != FORMAT || form.version != VERSION {
            let reason = format!("not version {VERSION} of a bundle file");
            return Err(LoadError::one(WHOLE, reason));
        }
        let mut problems = compare(&form.manifest.files, &form.files);
        problems.extend(unknown_files(&form.files));
        problems.extend(unreadable(&form.manifest.cedar_language));
        let digest = digest_of(&form.files, &form.manifest.cedar_language)
            .map_err(|e| LoadError::one(WHOLE, e))?;
        let bundle = Self {
            terms: BundleTerms {
                bundle: digest,
                previous: form.manifest.previous,
                revision: form.manifest.revision,
                not_before: form.manifest.not_before,
                expires_at: form.manifest.expires_at,
            },
            language: form.manifest.cedar_language,
            files: form.files,
        };
        problems.extend(bundle.out_of_bounds());
        // Last: the reasons above say more.
        if problems.is_empty() && bundle.to_bytes().ok().as_deref() != Some(bytes) {
            problems.push(Problem::new(WHOLE, "not in canonical form"));
        }
        if problems.is_empty() {
            Ok(bundle)
        } else {
            Err(LoadError { problems })
        }
    }

    /// The decision point over its rules.
    ///
    /// # Errors
    /// The rules do not pass the checks of [`Library::load`].
    pub fn load(&self) -> Result<CedarPdp, LoadError> {
        Library::load_in(&self.files, &self.language).map(CedarPdp::of)
    }

    fn out_of_bounds(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.files.len() > MAX_FILES {
            let reason = format!("more than {MAX_FILES} files");
            problems.push(Problem::new(WHOLE, reason));
        }
        for (path, text) in &self.files {
            if path.len() > MAX_PATH_BYTES {
                let reason = format!("a path of more than {MAX_PATH_BYTES} bytes");
                problems.push(Problem::new(WHOLE, reason));
            } else if text.len() > MAX_FILE_BYTES {
                let reason = format!("larger than {MAX_FILE_BYTES} bytes");
                problems.push(Problem::new(path, reason));
            }
        }
        let terms = &self.terms;
        if terms.expires_at.is_some_and(|end| end <= terms.not_before) {
            problems.push(Problem::new(MANIFEST, "it ends before it begins"));
        }
        problems
    }
}

fn too_large(size: usize) -> Result<(), LoadError> {
    if size > MAX_BUNDLE_BYTES {
        let reason = format!("larger than {MAX_BUNDLE_BYTES} bytes");
        return Err(LoadError::one(WHOLE, reason));
    }
    Ok(())
}

/// Where the parser stopped. Its own words may quote the file.
fn outline(error: &serde_json::Error) -> String {
    format!("line {} column {}", error.line(), error.column())
}

fn hashes(files: &BTreeMap<String, String>) -> BTreeMap<String, Digest> {
    let hash = |(path, text): (&String, &String)| (path.clone(), Digest::of(text.as_bytes()));
    files.iter().map(hash).collect()
}

/// What differs between the manifest and the files.
fn compare(manifest: &BTreeMap<String, Digest>, files: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let present = hashes(files);
    for (path, wanted) in manifest {
        match present.get(path) {
            None => problems.push(Problem::new(path, "missing: the manifest names it")),
            Some(found) if found != wanted => {
                problems.push(Problem::new(
                    path,
                    "changed: not the digest of the manifest",
                ));
            }
            Some(_) => {}
        }
    }
    let unnamed = present.keys().filter(|path| !manifest.contains_key(*path));
    problems.extend(unnamed.map(|path| Problem::new(path, "not in the manifest")));
    problems
}

/// The Cedar language is compatible within a major version, so that a newer program goes on
/// deciding by older rules.
fn unreadable(language: &str) -> Option<Problem> {
    let ours = cedar_policy::get_lang_version().to_string();
    let (Some(theirs), Some(known)) = (version(language), version(&ours)) else {
        let reason = "`cedar_language` is not a version";
        return Some(Problem::new(MANIFEST, reason));
    };
    let readable = theirs.0 == known.0 && theirs <= known;
    let reason = || format!("Cedar language {language}; this program reads {ours}: update it");
    (!readable).then(|| Problem::new(MANIFEST, reason()))
}

fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

/// What changes from one bundle's rules to another's, for who is to endorse it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Rules that come in: id, and whether it permits or forbids. The permits of a legal pack come
    /// in, or go, with the choice of packs.
    pub added: BTreeMap<String, String>,
    /// Rules that go.
    pub removed: BTreeMap<String, String>,
    /// Rules of the same id with another condition, or other annotations.
    pub changed: BTreeMap<String, String>,
    /// Files that differ in any way, those of rules too.
    pub files: BTreeSet<String>,
}

/// What changes from `old` to `new`.
pub fn changes(old: (&Bundle, &Library), new: (&Bundle, &Library)) -> Changes {
    let kind = |rule: &Rule| if rule.permits { "permit" } else { "forbid" }.to_owned();
    let mut changes = Changes::default();
    let (was, stays) = (in_use(old.1), in_use(new.1));
    for (id, rule) in &stays {
        match was.get(id) {
            None => drop(changes.added.insert((*id).clone(), kind(rule))),
            Some(before) if same_rule(old.1, before, new.1, rule) => {}
            Some(_) => drop(changes.changed.insert((*id).clone(), kind(rule))),
        }
    }
    let goes = was.into_iter().filter(|(id, _)| !stays.contains_key(id));
    let goes = goes.map(|(id, rule)| (id.clone(), kind(rule)));
    changes.removed = goes.collect();
    let (before, after) = (hashes(&old.0.files), hashes(&new.0.files));
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = paths
        .into_iter()
        .filter(|p| before.get(*p) != after.get(*p));
    changes.files = differ.cloned().collect();
    changes
}

/// The rules that count: not the permits of legal packs that the federation does not use.
fn in_use(library: &Library) -> BTreeMap<&String, &Rule> {
    let rules = library.rules().iter();
    rules
        .filter(|(id, _)| library.condition_of(id).is_some())
        .collect()
}

fn same_rule(old: &Library, before: &Rule, new: &Library, after: &Rule) -> bool {
    // Where it stands in its file is no change of a rule.
    let place = |rule: &Rule| Rule {
        line: None,
        ..rule.clone()
    };
    place(before) == place(after) && old.condition_of(&before.id) == new.condition_of(&after.id)
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
