//! Import of the agency's own facts: parsed, journaled in parts, committed as one.
//!
//! Nothing is half-imported: the parts have no effect until the record that commits them. A crash
//! before it leaves parts that nothing refers to. Rows that did not change are not written again.

use crate::{
    entropy,
    event::Event,
    facts::{
        csv_import::{self, Import, ImportedPerson},
        mapping::Mapping,
    },
    holder::storage,
    node::Node,
    state,
};
use passerelle_model::{error::ErrorCode, store::Read};
use passerelle_proto::views::{ImportProblem, ImportReport};

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

/// Imports `csv` by `mapping`; with `dry_run` only says what it would do. Handles are asked for
/// at once if the broker is there, else when it is.
///
/// # Errors
/// A file that is refused as a whole; the store.
pub async fn import(
    node: &Node,
    mapping: &str,
    csv: &[u8],
    dry_run: bool,
) -> Result<ImportReport, ImportFailure> {
    // Seconds for a large file: not on a thread that serves others.
    let (mut report, changed) = tokio::task::block_in_place(|| {
        let refused = |why: String| ImportFailure::File(why);
        let mapping = Mapping::from_toml(mapping).map_err(|e| refused(e.to_string()))?;
        let parsed = csv_import::parse(&mapping, csv).map_err(|e| refused(e.to_string()))?;
        compare(node.core.view(), parsed).map_err(ImportFailure::Agent)
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

/// What is new or changed, and the report on all.
fn compare(
    view: &dyn Read,
    parsed: Import,
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
    for row in parsed.rows {
        report.people = report.people.saturating_add(1);
        report.facts = report.facts.saturating_add(row.facts.len() as u64);
        match state::person(view, &row.source_id.0).map_err(storage)? {
            Some(old) if old.record.digest == row.digest => {
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
    let mut parts: u32 = 0;
    for people in split(people)? {
        let events = vec![Event::ImportChunk {
            import: import.clone(),
            part: parts,
            people,
        }];
        let now = node.clock.now();
        node.core.write(now, move |_| Ok((events, ()))).await?;
        parts = parts.checked_add(1).ok_or(ErrorCode::TooLarge)?;
    }
    let events = vec![Event::ImportCommitted { import, parts }];
    let now = node.clock.now();
    node.core.write(now, move |_| Ok((events, ()))).await
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
