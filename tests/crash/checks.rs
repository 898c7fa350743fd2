//! What must hold after all crashes.

use crate::{load::Said, watch::Published};
use anyhow::Result;
use passerelle_model::{entry::EntryBody, pdp::Effect};
use passerelle_tests::{export::Export, federation::Federation};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of entries by request, in order.
fn exchanges(export: &Export) -> BTreeMap<String, Vec<(u64, &'static str)>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (index, kind, id) in export.named() {
        all.entry(id).or_default().push((index, kind));
    }
    all.retain(|id, _| id.starts_with("req-"));
    all
}

/// What a client was told is in the log, at that index, once.
pub(crate) fn acknowledged_is_there(export: &Export, said: &Said) {
    let exchanges = exchanges(export);
    for asked in &said.asked {
        let steps = exchanges.get(&asked.request);
        let steps = steps.unwrap_or_else(|| panic!("`{}` is not in the log", asked.request));
        let begun = steps.iter().filter(|(_, kind)| *kind == "request").count();
        assert_eq!(
            begun, 1,
            "`{}` was sent more than once: {steps:?}",
            asked.request
        );
        for (index, what) in &asked.entries {
            let there = steps.iter().find(|(at, _)| at == index);
            assert!(
                there.is_some(),
                "`{what}` at {index} of {} is not it",
                asked.request
            );
        }
    }
    let mut told: BTreeMap<_, usize> = BTreeMap::new();
    for (id, index) in &said.consents {
        *told.entry(id.clone()).or_default() += 1;
        let entries = export.about(id);
        assert!(!entries.is_empty(), "`{id}` is not in the log");
        if let Some(index) = index {
            assert!(
                entries.iter().any(|(at, _)| at == index),
                "`{id}` at {index}: {entries:?}"
            );
        }
    }
    for (id, times) in told {
        let kinds = export.kinds(&id);
        let count = |kind| kinds.iter().filter(|k| **k == kind).count();
        assert_eq!(count("consent"), 1, "{id}: {kinds:?}");
        // A withdrawal whose answer got lost may have happened all the same.
        assert!(
            (times - 1..=1).contains(&count("withdrawal")),
            "{id}, {times}: {kinds:?}"
        );
    }
}

/// Every checkpoint that anybody has seen is one of this very log.
pub(crate) fn tree_is_consistent(export: &Export, published: &Published) {
    let mut sizes = BTreeSet::new();
    for (size, root) in published {
        assert!(sizes.insert(*size), "two roots for size {size}");
        let now = export.tree.root_at(*size);
        assert_eq!(now.ok(), Some(*root), "the log was rewritten below {size}");
    }
}

/// How an exchange stands after its entries.
fn ended(export: &Export, steps: &[(u64, &'static str)]) -> Vec<&'static str> {
    let ends = ["answer", "expired", "stopped"];
    let mut all: Vec<_> = steps.iter().map(|(_, kind)| *kind).collect();
    all.retain(|kind| ends.contains(kind));
    let last = steps.iter().rev().find(|(_, kind)| *kind == "decided");
    let last = last.map(|(index, _)| &export.entries[usize::try_from(*index).unwrap()].body);
    if let Some(EntryBody::Decided { items, .. }) = last
        && items.iter().all(|item| item.ruling.effect == Effect::Deny)
    {
        all.push("denied");
    }
    all
}

/// Answered, denied, stopped or expired: one of them, and once.
pub(crate) fn every_exchange_ended_once(export: &Export) {
    let mut ends = BTreeMap::new();
    for (request, steps) in &exchanges(export) {
        let count = |kind: &str| steps.iter().filter(|(_, k)| *k == kind).count();
        let text = format!("{request}: {steps:?}");
        assert_eq!(count("request"), 1, "{text}");
        assert_eq!(count("answer"), count("delivered"), "{text}");
        let ended = ended(export, steps);
        assert_eq!(ended.len(), 1, "{ended:?}, {text}");
        *ends.entry(ended[0]).or_insert(0) += 1;
    }
    println!("{ends:?}");
    assert!(ends["answer"] >= 20 && ends["denied"] >= 5, "{ends:?}");
    // A permit that was used is one that was offered before.
    for (index, statement) in export.statements() {
        if let passerelle_model::statement::Body::Answer(answer) = statement.body {
            let entries = export.entries[..usize::try_from(index).unwrap()].iter();
            let offered = entries.rev().find_map(|entry| match &entry.body {
                EntryBody::Offered { permit } if permit.request == answer.request => {
                    Some(permit.digest().unwrap())
                }
                _ => None,
            });
            assert_eq!(offered, Some(answer.permit), "answer {index}");
        }
    }
}

/// By the library, and by the program that an auditor runs.
pub(crate) async fn auditor_accepts(
    federation: &Federation,
    exe: &str,
    export: &Export,
) -> Result<()> {
    let report = export.verify()?;
    assert_eq!(report.size, export.entries.len() as u64);
    assert!(report.is_complete(), "{report:?}");
    let file = export.path.to_str().unwrap();
    let output = federation.audit_verify(exe, file).await?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}

/// Crashes are ours alone.
pub(crate) fn nobody_panicked(federation: &mut Federation, agencies: &[&str]) -> Result<()> {
    let mut logs = vec![("broker", federation.broker().log())];
    for agency in agencies {
        logs.push((agency, federation.agent(agency).log()));
    }
    for (name, log) in logs {
        // redb may, inside the guard around it.
        let ours = |line: &&str| line.contains("panicked at") && !line.contains("/redb-");
        let first = log.lines().find(ours);
        assert_eq!(first, None, "{name}");
        let error = log.lines().find(|line| line.contains(" ERROR "));
        assert_eq!(error, None, "{name}");
    }
    Ok(())
}
