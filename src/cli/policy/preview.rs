//! `policy preview`: what one could get, and what is missing.
//!
//! In scope: every category of the holder's sector, at the highest level that is allowed; for what
//! is denied, the smallest changes that would open it. Out of scope: what a node holds of a real
//! person; nothing is asked of anybody.

use super::what_if::Situation;
use crate::cli::{
    Global, Lang,
    agent::preview::heading,
    codes,
    failure::{Exit, Failure},
    output,
};
use clap::Args;
use passerelle_model::{
    pdp::{Effect, PolicyDecisionPoint as _, Ruling},
    statement::Item,
    vocabulary::{Category, Level, labels},
};
use passerelle_policies::{
    CedarPdp,
    whatif::{Remedy, is_held, what_is_missing},
};
use std::fmt::Write as _;

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle policy preview --requester police --holder health --purpose plan --basis GDPR-6
  passerelle policy preview --requester community --holder education --purpose plan \\
    --basis consent --consent --lang fr
  passerelle policy preview --requester police --holder health --item diagnosis:coded \\
    --item in_service:known --purpose plan --basis GDPR-6 --stage 2 --untrained --json

Without `--item`: every category that the holder's sector has, at the highest level that is allowed.
`--consent` and `--agreement` stand for one in force that covers exactly what is asked.
Exit code 1: everything would be denied.";

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Preview {
    /// What would be asked, the level as a code or 0 to 4; may be given several times
    #[arg(long = "item", value_name = "CATEGORY:LEVEL", value_parser = codes::item)]
    items: Vec<Item>,
    #[command(flatten)]
    situation: Situation,
}

/// What one could get of one category.
struct Line {
    item: Item,
    ruling: Ruling,
    missing: Vec<Remedy>,
}

impl Preview {
    fn lines(&self, pdp: &CedarPdp) -> Result<Vec<Line>, Failure> {
        let asked = self.items.iter().map(|item| self.line(pdp, *item));
        if !self.items.is_empty() {
            return asked.collect();
        }
        let held = Category::ALL
            .iter()
            .filter(|c| is_held(c.kind(), self.situation.holder()));
        held.map(|category| self.highest(pdp, *category)).collect()
    }

    fn line(&self, pdp: &CedarPdp, item: Item) -> Result<Line, Failure> {
        let matter = self.situation.matter(item)?;
        Ok(Line {
            item,
            ruling: pdp.rule(&matter),
            missing: what_is_missing(pdp, &matter),
        })
    }

    /// The category at the highest level that is not denied; at the lowest if all are.
    fn highest(&self, pdp: &CedarPdp, category: Category) -> Result<Line, Failure> {
        for level in Level::ALL.iter().rev() {
            let item = Item {
                category,
                level: *level,
            };
            let matter = self.situation.matter(item)?;
            let ruling = pdp.rule(&matter);
            if ruling.effect != Effect::Deny {
                return Ok(Line {
                    item,
                    ruling,
                    missing: Vec::new(),
                });
            }
        }
        self.line(
            pdp,
            Item {
                category,
                level: Level::Known,
            },
        )
    }
}

/// Runs the command.
pub(super) fn run(global: Global, pdp: &CedarPdp, preview: &Preview) -> Result<Exit, Failure> {
    let lines = preview.lines(pdp)?;
    let language = global.lang().language();
    let done: Vec<_> = lines
        .iter()
        .map(|line| {
            let missing = line.missing.iter().map(|remedy| {
                serde_json::json!({
                    "remedy": remedy,
                    "words": remedy.words(line.item.category, language),
                })
            });
            serde_json::json!({
                "category": line.item.category,
                "level": line.item.level,
                "ruling": line.ruling,
                "explained": pdp.library().explain(&line.ruling, language),
                "missing": missing.collect::<Vec<_>>(),
            })
        })
        .collect();
    output::print(global, &done, |_| text(pdp, &lines, global.lang()))?;
    let all_denied = lines.iter().all(|l| l.ruling.effect == Effect::Deny);
    Ok(if all_denied {
        Exit::Refused
    } else {
        Exit::Done
    })
}

/// Permitted, reviewed, denied, each under its heading.
fn text(pdp: &CedarPdp, lines: &[Line], lang: Lang) -> String {
    let language = lang.language();
    let mut out = String::new();
    for effect in [Effect::Permit, Effect::Review, Effect::Deny] {
        let of: Vec<_> = lines.iter().filter(|l| l.ruling.effect == effect).collect();
        if of.is_empty() {
            continue;
        }
        // Writing to a string can't fail.
        let _infallible = writeln!(out, "{}", heading(effect, lang));
        for line in of {
            let what = labels::category(line.item.category, language);
            let far = labels::level(line.item.level, language);
            let item = format!("{}:{}", line.item.category, line.item.level);
            let _infallible = writeln!(out, "  {what} ({far}) [{item}]");
            for sentence in pdp.library().explain(&line.ruling, language).iter().skip(1) {
                let _infallible = writeln!(out, "    {sentence}");
            }
            for remedy in &line.missing {
                let words = remedy.words(line.item.category, language);
                let _infallible = writeln!(out, "    + {words}");
            }
        }
        out.push('\n');
    }
    out
}
