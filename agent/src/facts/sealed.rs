//! A person as the agent keeps it: name, birth date and facts sealed under a key of their own.
//!
//! In scope: sealing at the import, opening where a permit is answered. Out of scope: the file of
//! keys ([`crate::vault`]), when a key goes ([`crate::import`]).
//!
//! What stands in the journal and the projection opens with the key alone. Once that is destroyed,
//! because a newer import replaced the person, it opens in no copy of either, however old. Beside it
//! stand the names by which the next import and a handle find the person, and those of the flags that
//! occur in a whole part of an import: they say nothing without the vault either
//! ([`crate::vault::Index`]). In the clear stays how many facts there are.

use super::{
    csv_import::{ImportedPerson, SourceId},
    fact::Fact,
};
use crate::{
    entropy,
    state::Weight,
    vault::{Index, Vault, VaultError},
};
use passerelle_model::{
    bytes::{Bytes, Digest, Handle},
    error::ErrorCode,
    store::Read,
    vocabulary::Category,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// How a person is kept.
#[derive(Clone, Serialize, Deserialize)]
pub enum PersonRecord {
    /// In the clear, by a version that did not seal. The next import of a change seals it.
    Plain(Box<ImportedPerson>),
    /// Sealed, under this name in the vault.
    Sealed(String),
}

/// A person with what is held about her or him.
#[derive(Clone, Serialize, Deserialize)]
pub struct PersonRow {
    /// The name of the source's id; the id itself, as versions without such names wrote it.
    pub source_id: SourceId,
    /// How many facts.
    pub facts: u64,
    /// As imported (see the module).
    pub record: PersonRecord,
    /// The name of the match token; its digest, as versions without such names wrote it.
    pub token: Digest,
    /// The subject handle, once known.
    pub handle: Option<Handle>,
}

/// A person in the journal.
#[derive(Clone, Serialize, Deserialize)]
pub struct SealedPerson {
    /// The name of the source's id.
    pub source_id: SourceId,
    /// The name of the match token.
    pub token: Digest,
    /// How many facts.
    pub facts: u64,
    /// Under which name the vault has the key.
    pub name: String,
    /// The person with the facts.
    pub sealed: Bytes,
}

/// Part of an import, sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct SealedPart {
    /// The people, in no telling order.
    pub people: Vec<SealedPerson>,
    /// The flags that occur in it, by category, as versions without names for them wrote it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub weights: BTreeSet<(Category, Weight)>,
    /// The names of the flags that occur in it.
    #[serde(default)]
    pub marks: BTreeSet<Digest>,
    /// The name of the key that made these names.
    #[serde(default)]
    pub check: Option<Digest>,
}

/// Seals part of an import. The keys are durable once the journal is.
///
/// # Errors
/// [`ErrorCode::Storage`]; no randomness.
pub fn seal(vault: &Vault, people: &[ImportedPerson]) -> Result<SealedPart, ErrorCode> {
    let facts = people.iter().flat_map(|person| &person.facts);
    let index = vault.index()?;
    let mark = |fact: &Fact| index.weight(fact.category, Weight::of(fact));
    let marks = facts.map(mark).collect();
    let people = people.iter().map(|person| seal_one(vault, &index, person));
    Ok(SealedPart {
        people: people.collect::<Result<_, _>>()?,
        weights: BTreeSet::new(),
        marks,
        check: Some(index.check()),
    })
}

fn seal_one(
    vault: &Vault,
    index: &Index,
    person: &ImportedPerson,
) -> Result<SealedPerson, ErrorCode> {
    let plain = serde_json::to_vec(person).map_err(|_| ErrorCode::Internal)?;
    let plain = Zeroizing::new(plain);
    let name = format!("person/{}", hex::encode(entropy::random::<16>()?));
    Ok(SealedPerson {
        source_id: index.source(&person.source_id),
        token: index.token(&person.person),
        facts: person.facts.len() as u64,
        sealed: vault.keep_named(&name, &plain)?,
        name,
    })
}

/// Opens a person; `None` once the key is destroyed.
///
/// # Errors
/// It can't be read now, or is damaged.
pub fn open(
    vault: &Vault,
    view: &dyn Read,
    row: &PersonRow,
) -> Result<Option<ImportedPerson>, VaultError> {
    let name = match &row.record {
        PersonRecord::Plain(person) => return Ok(Some((**person).clone())),
        PersonRecord::Sealed(name) => name,
    };
    let Some(plain) = vault.open_named(view, name)? else {
        return Ok(None);
    };
    let person = serde_json::from_slice(&plain).map_err(|_| VaultError::Damaged)?;
    Ok(Some(person))
}

/// Opens those that can be opened. Of one that is damaged nothing can be told: it counts as not
/// there, which discloses nothing, and says so in the agent's log.
///
/// # Errors
/// The storage.
pub fn open_all(
    vault: &Vault,
    view: &dyn Read,
    rows: &[PersonRow],
) -> Result<Vec<ImportedPerson>, ErrorCode> {
    let mut people = Vec::with_capacity(rows.len());
    for row in rows {
        match open(vault, view, row) {
            Ok(person) => people.extend(person),
            Err(VaultError::Damaged) => {
                tracing::error!("a person's record is damaged; import it again");
            }
            Err(disk @ VaultError::Disk) => return Err(disk.into()),
        }
    }
    Ok(people)
}
