//! Import of the agency's own facts: parsed, journaled in parts, committed as one.
//!
//! Nothing is half-imported: the parts have no effect until the record that commits them. A crash
//! before it leaves parts that nothing refers to. Rows that did not change are not written again,
//! unless a version that did not seal them had written them.

use crate::{
    core::Outcome,
    entropy,
    event::Event,
    facts::{
        csv_import::{self, Import, ImportedPerson, SourceId},
        mapping::Mapping,
        sealed,
    },
    forget,
    holder::storage,
    node::Node,
    state::{self, PersonRecord, PersonRow},
    vault::Vault,
};
use passerelle_model::{bytes::Digest, error::ErrorCode, store::Read};
use passerelle_proto::views::{ImportProblem, ImportReport};
use std::sync::Arc;

/// Bytes of JSON in one part: well below what a journal record holds.
const MAX_PART_BYTES: usize = 1024 * 1024;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// The mapping file or the CSV file as a whole.
    #[error("{0}")]
    File(String),
    /// The agent.
    #[error("{}", .0.explanation())]
    Agent(ErrorCode),
}

/// What an import is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Only say what it would do.
    pub dry_run: bool,
    /// Take in people who were forgotten. Without, they are left out: a source that still has them
    /// is imported every night, and nobody would see them come back.
    pub bring_back: bool,
}

/// Imports `csv` by `mapping`, or says what it would do. Handles are asked for
/// at once if the broker is there, else when it is.
///
/// # Errors
/// A file that is refused as a whole; the store.
pub async fn import(
    node: &Node,
    mapping: &str,
    csv: &[u8],
    how: How,
) -> Result<ImportReport, ImportFailure> {
    let How {
        dry_run,
        bring_back,
    } = how;
    // What an earlier one left undone, before there is more of it.
    forget::finish(node).await.map_err(ImportFailure::Agent)?;
    // Seconds for a large file: not on a thread that serves others.
    let (mut report, changed) = tokio::task::block_in_place(|| {
        let refused = |why: String| ImportFailure::File(why);
        let mapping = Mapping::from_toml(mapping).map_err(|e| refused(e.to_string()))?;
        let parsed = csv_import::parse(&mapping, csv).map_err(|e| refused(e.to_string()))?;
        compare(&node.context.vault, node.core.view(), parsed, bring_back)
            .map_err(ImportFailure::Agent)
    })?;
    report.dry_run = dry_run;
    if !dry_run && !changed.is_empty() {
        store(node, changed).await.map_err(ImportFailure::Agent)?;
    }
    if !dry_run && let Err(code) = node.complete_handles().await {
        tracing::info!(%code, "handles follow when the broker is there");
    }
    let meta = state::meta(node.core.view()).map_err(storage);
    report.without_handle = meta.map_err(ImportFailure::Agent)?.without_handle;
    Ok(report)
}

/// A person by the name of the source's id; by the id, as versions without such names wrote it.
fn known(view: &dyn Read, ids: [&SourceId; 2]) -> Result<Option<PersonRow>, ErrorCode> {
    for SourceId(id) in ids {
        if let Some(row) = state::person(view, id).map_err(storage)? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Whether a row says what is kept, and that is sealed. What can't be opened is written again.
fn is_as_before(vault: &Vault, view: &dyn Read, old: &PersonRow, row: &ImportedPerson) -> bool {
    let is_sealed = matches!(old.record, PersonRecord::Sealed(_));
    let known = sealed::open(vault, view, old);
    is_sealed && known.is_ok_and(|known| known.is_some_and(|known| known.digest == row.digest))
}

/// What is new or changed, and the report on all.
fn compare(
    vault: &Vault,
    view: &dyn Read,
    parsed: Import,
    bring_back: bool,
) -> Result<(ImportReport, Vec<ImportedPerson>), ErrorCode> {
    let mut report = ImportReport {
        problems: parsed
            .problems
            .into_iter()
            .map(|p| ImportProblem {
                line: p.line,
                column: p.column,
                message: p.message,
            })
            .collect(),
        ..ImportReport::default()
    };
    if parsed.problems_left_off > 0 {
        report.problems.push(ImportProblem {
            line: 0,
            column: None,
            message: format!(
                "{} further problems are not listed",
                parsed.problems_left_off
            ),
        });
    }
    let mut changed = Vec::new();
    let index = vault.index()?;
    for row in parsed.rows {
        let [name, id] = index.sources(&row.source_id);
        if forget::was_forgotten(view, &name.0)? {
            if !bring_back {
                report.forgotten = report.forgotten.saturating_add(1);
                continue;
            }
            report.brought_back = report.brought_back.saturating_add(1);
        }
        report.people = report.people.saturating_add(1);
        report.facts = report.facts.saturating_add(row.facts.len() as u64);
        match known(view, [&name, &id])? {
            Some(old) if old.source_id == name && is_as_before(vault, view, &old, &row) => {
                report.unchanged = report.unchanged.saturating_add(1);
            }
            Some(_) => {
                report.updated = report.updated.saturating_add(1);
                changed.push(row);
            }
            None => {
                report.added = report.added.saturating_add(1);
                changed.push(row);
            }
        }
    }
    Ok((report, changed))
}

async fn store(node: &Node, people: Vec<ImportedPerson>) -> Result<(), ErrorCode> {
    let import = hex::encode(entropy::random::<16>()?);
    let named = named(&node.context.vault, &people)?;
    let mut parts: u32 = 0;
    for people in split(people)? {
        let (context, import) = (Arc::clone(&node.context), import.clone());
        let now = node.clock.now();
        let write = node.core.write(now, move |_| {
            Ok((vec![part(&context.vault, import, parts, &people)?], ()))
        });
        write.await?;
        parts = parts.checked_add(1).ok_or(ErrorCode::TooLarge)?;
    }
    let now = node.clock.now();
    let write = node
        .core
        .write(now, move |view| commit(view, import, parts, &named));
    write.await?;
    // A crash here leaves keys that open nothing any more: see `forget`.
    forget::finish(node).await
}

/// A part of an import, sealed. What a crash leaves of an import without its end is swept at the
/// next start: nothing keeps its keys.
///
/// # Errors
/// [`ErrorCode::Storage`]; no randomness.
pub(crate) fn part(
    vault: &Vault,
    import: String,
    part: u32,
    people: &[ImportedPerson],
) -> Result<Event, ErrorCode> {
    Ok(Event::ImportSealed {
        import,
        part,
        sealed: sealed::seal(vault, people)?,
    })
}

/// Under what somebody who is imported may be known already: the name, and what versions without
/// names wrote.
#[derive(Clone)]
pub(crate) struct Named {
    sources: [SourceId; 2],
    tokens: [Digest; 2],
}

/// Of each of `people`.
///
/// # Errors
/// [`ErrorCode::Storage`].
pub(crate) fn named(vault: &Vault, people: &[ImportedPerson]) -> Result<Vec<Named>, ErrorCode> {
    let index = vault.index()?;
    let named = people.iter().map(|person| Named {
        sources: index.sources(&person.source_id),
        tokens: index.tokens(&person.person),
    });
    Ok(named.collect())
}

/// The end of an import, and the names of the keys of those whom it replaces: to be destroyed once
/// it is durable.
///
/// # Errors
/// The store.
pub(crate) fn commit(
    view: &dyn Read,
    import: String,
    parts: u32,
    people: &[Named],
) -> Outcome<Vec<String>> {
    let (mut replaced, mut events) = (Vec::new(), Vec::new());
    for Named { sources, tokens } in people {
        let ([name, id], [token, digest]) = (sources, tokens);
        let Some(old) = known(view, [name, id])? else {
            continue;
        };
        if old.source_id == *id {
            // A record by the id itself, of an earlier version: the new one has another key.
            events.push(Event::PersonForgotten {
                source: id.clone(),
                mark: None,
            });
            let handle = old.handle.filter(|_| old.token == *digest);
            // Else nobody would find the person until the broker gives it again.
            events.extend(handle.map(|h| Event::HandlesFound(vec![(*token, h)])));
        }
        if let PersonRecord::Sealed(name) = old.record {
            replaced.push(name);
        }
    }
    events.push(Event::ImportCommitted { import, parts });
    Ok((events, replaced))
}

/// Parts of about [`MAX_PART_BYTES`].
fn split(people: Vec<ImportedPerson>) -> Result<Vec<Vec<ImportedPerson>>, ErrorCode> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut size = 0_usize;
    for person in people {
        let bytes = serde_json::to_vec(&person).map_err(|_| ErrorCode::Internal)?;
        if size.saturating_add(bytes.len()) > MAX_PART_BYTES && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
        size = size.saturating_add(bytes.len());
        part.push(person);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    Ok(parts)
}
