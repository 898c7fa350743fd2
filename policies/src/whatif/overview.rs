//! What one could get of each category, level by level, and what is missing for more.
//!
//! In scope: which categories an agency can have, the few rulings that say all of one category.
//! Out of scope: where the facts of the matter come from.

use super::{Change, Remedy, what_is_missing};
use passerelle_model::{
    pdp::{Effect, Matter, PolicyDecisionPoint, Ruling},
    statement::Item,
    vocabulary::{Category, CategoryKind, Level, Sector},
};

/// Whether an agency of this sector has facts of this kind. Who somebody is, anybody may hold.
pub const fn is_held(kind: CategoryKind, sector: Sector) -> bool {
    match kind {
        CategoryKind::DeIdentified | CategoryKind::Identifier => true,
        CategoryKind::Police => matches!(sector, Sector::LawEnforcement),
        CategoryKind::Health | CategoryKind::SpeciallyProtectedHealth => {
            matches!(sector, Sector::Health)
        }
        CategoryKind::Education => matches!(sector, Sector::Education),
        CategoryKind::Social => matches!(sector, Sector::SocialServices),
        CategoryKind::HousingIncome => matches!(sector, Sector::HousingIncome),
        CategoryKind::Corrections => matches!(sector, Sector::Corrections),
        CategoryKind::Community => matches!(sector, Sector::Community),
    }
}

/// What would be decided about one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// What would be asked.
    pub item: Item,
    /// What would be decided.
    pub ruling: Ruling,
    /// What would turn a denial; empty for what is not denied.
    pub missing: Vec<Remedy>,
}

/// What would be decided about `item` in the situation of `matter`.
pub fn outlook(pdp: &dyn PolicyDecisionPoint, matter: &Matter, item: Item) -> Outlook {
    let matter = Matter {
        item,
        ..matter.clone()
    };
    Outlook {
        item,
        ruling: pdp.rule(&matter),
        missing: what_is_missing(pdp, &matter),
    }
}

/// All of one category in few lines: the highest level that is permitted, the highest above it that
/// a person at the holder would have to look at, and the lowest above both, which is denied. That
/// less would be allowed is no remedy there: the lines before say it.
pub fn survey(pdp: &dyn PolicyDecisionPoint, matter: &Matter, category: Category) -> Vec<Outlook> {
    let item = |level| Item { category, level };
    let ruled = |level: &Level| {
        let matter = Matter {
            item: item(*level),
            ..matter.clone()
        };
        (*level, pdp.rule(&matter))
    };
    let all: Vec<_> = Level::ALL.iter().map(ruled).collect();
    let highest = |effect: Effect| all.iter().rev().find(|(_, r)| r.effect == effect);
    let permitted = highest(Effect::Permit);
    let above = |level: Level| permitted.is_none_or(|(below, _)| level > *below);
    let reviewed = highest(Effect::Review).filter(|(level, _)| above(*level));
    let open: Vec<_> = permitted.into_iter().chain(reviewed).collect();
    let top = open.iter().map(|(level, _)| *level).max();
    let mut lines: Vec<_> = open
        .iter()
        .map(|(level, ruling)| Outlook {
            item: item(*level),
            ruling: ruling.clone(),
            missing: Vec::new(),
        })
        .collect();
    let denied = all
        .iter()
        .find(|(level, r)| r.effect == Effect::Deny && top.is_none_or(|top| *level > top));
    if let Some((level, _)) = denied {
        let mut line = outlook(pdp, matter, item(*level));
        let lowers = |change: &Change| matches!(change, Change::Level(_));
        line.missing.retain(|r| !r.changes.iter().any(lowers));
        lines.push(line);
    }
    lines
}
