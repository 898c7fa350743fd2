//! What was found, for people.

use super::{Found, FoundItem, Limits, Page};
use passerelle_model::pdp::Effect;

const HEADERS: [&str; 7] = [
    "INDEX",
    "TIME (UTC)",
    "TYPE",
    "AGENCIES",
    "PURPOSE",
    "ITEMS",
    "ABOUT",
];

/// Aligned columns, and below them how many there are.
pub fn table(page: &Page, limits: Limits) -> String {
    let mut out = String::new();
    let rows: Vec<_> = page.entries.iter().map(cells).collect();
    if !rows.is_empty() {
        let all: Vec<_> = std::iter::once(HEADERS.map(str::to_owned))
            .chain(rows)
            .collect();
        let width = |n: usize| {
            let cells = all.iter().filter_map(|row| row.get(n));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..HEADERS.len()).map(width).collect();
        for row in &all {
            let cells = row.iter().zip(&widths);
            let line: String = cells.map(|(cell, w)| format!("{cell:<w$}  ")).collect();
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    out.push_str(&footer(page, limits));
    out
}

fn footer(page: &Page, limits: Limits) -> String {
    let mut out = format!("{} found in {} entries", page.matched, page.size);
    if page.not_readable > 0 {
        out.push_str(&format!(
            "; {} more can't be read here, and may be meant",
            page.not_readable
        ));
    }
    out.push('\n');
    if page.is_cut(limits)
        && let Some(last) = page.entries.last()
    {
        let shown = page.entries.len();
        out.push_str(&format!(
            "{shown} are shown; for those that follow add `--after {}`\n",
            last.index
        ));
    }
    out
}

fn cells(found: &Found) -> [String; 7] {
    let purposes: Vec<_> = found.purposes.iter().map(|p| p.code()).collect();
    let items: Vec<_> = found.items.iter().map(item).collect();
    [
        found.index.to_string(),
        found.at.to_rfc3339(),
        found.kind.to_string(),
        agencies(found),
        purposes.join(", "),
        items.join(", "),
        about(found),
    ]
}

fn agencies(found: &Found) -> String {
    match (&found.requester, &found.holder) {
        (Some(requester), Some(holder)) => format!("{requester} asks {holder}"),
        _ => {
            let others = found
                .agencies
                .iter()
                .filter(|a| found.by.as_ref() != Some(a));
            let all: Vec<_> = found.by.iter().chain(others).map(|a| a.as_str()).collect();
            all.join(", ")
        }
    }
}

fn item(item: &FoundItem) -> String {
    let mut out = item.category.code().to_owned();
    if let Some(level) = item.level {
        out.push_str(&format!(":{level}"));
    }
    if let Some(effect) = item.effect {
        let effect = match effect {
            Effect::Permit => "permit",
            Effect::Review => "review",
            Effect::Deny => "deny",
        };
        out.push_str(&format!(" {effect} ({})", item.rules.join(", ")));
    }
    out
}

fn about(found: &Found) -> String {
    let worker = found.worker.as_ref().map(|w| format!("by {w}"));
    let ids = [
        found.request.as_ref().map(|id| id.as_str()),
        found.case.as_ref().map(|id| id.as_str()),
        found.code.as_deref(),
        worker.as_deref(),
    ];
    let ids = ids.into_iter().flatten();
    let ids = ids.chain(found.consents.iter().map(|id| id.as_str()));
    let ids: Vec<_> = ids
        .chain(found.agreements.iter().map(|id| id.as_str()))
        .collect();
    ids.join(" ")
}
