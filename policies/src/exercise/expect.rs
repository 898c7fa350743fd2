//! Whether what came out is what the file expects.

use super::{
    file::{Said, View},
    script::{Expected, Party, Question},
    world::Told,
};
use passerelle_model::{
    error::ErrorCode,
    pdp::{Effect, ItemRuling, Ruling},
};
use std::collections::{BTreeMap, BTreeSet};

/// How the rulings differ from what is expected of them.
pub(super) fn compare(question: &Question, rulings: &[ItemRuling]) -> Vec<String> {
    let mut failures = Vec::new();
    for (number, expected) in question.expect.iter().enumerate() {
        let Some(expected) = expected else { continue };
        match rulings.get(number) {
            Some(ruled) => {
                let differs = differences(expected, &ruled.ruling);
                failures.extend(
                    differs
                        .into_iter()
                        .map(|d| format!("`{}`: {d}", ruled.category)),
                );
            }
            None => failures.push("was never decided".to_owned()),
        }
    }
    failures
}

fn differences(expected: &Expected, ruling: &Ruling) -> Vec<String> {
    let mut failures = Vec::new();
    let code = |effect: Effect| match effect {
        Effect::Permit => "permit",
        Effect::Review => "review",
        Effect::Deny => "deny",
    };
    if expected.decision != ruling.effect {
        let (wanted, came) = (code(expected.decision), code(ruling.effect));
        failures.push(format!("expected {wanted}, came out as {came}"));
    }
    let rules: BTreeSet<_> = ruling.reasons.iter().map(|r| r.rule.clone()).collect();
    if expected
        .rules
        .as_ref()
        .is_some_and(|wanted| *wanted != rules)
    {
        let list = |rules: &BTreeSet<String>| rules.iter().cloned().collect::<Vec<_>>().join(", ");
        let wanted = expected.rules.as_ref().map(list).unwrap_or_default();
        failures.push(format!(
            "expected rules {wanted}; came out as {}",
            list(&rules)
        ));
    }
    let obligations: BTreeSet<_> = ruling.obligations.iter().cloned().collect();
    if expected
        .obligations
        .as_ref()
        .is_some_and(|wanted| *wanted != obligations)
    {
        let wanted = expected.obligations.as_ref();
        failures.push(format!(
            "expected obligations {wanted:?}, came out as {obligations:?}"
        ));
    }
    failures
}

/// How what was told in the end differs from how finely it should be.
pub(super) fn unsaid(question: &Question, told: Option<&Told>) -> Vec<String> {
    let mut failures = Vec::new();
    for (item, expected) in question.items().iter().zip(&question.expect) {
        let Some(wanted) = expected.as_ref().and_then(|e| e.said) else {
            continue;
        };
        let came = told.and_then(|told| told.get(&item.category));
        let came = came.map(|how| Said::from(*how));
        if came != Some(wanted) {
            failures.push(format!(
                "`{}`: should be told {wanted:?}, was told {came:?}",
                item.category
            ));
        }
    }
    failures
}

/// How what parties see differs from what is expected of it.
pub(super) fn unseen(
    question: &Question,
    expected: &BTreeMap<Party, View>,
    seen: &BTreeMap<Party, View>,
) -> Vec<String> {
    let differs = expected
        .iter()
        .filter(|(party, view)| seen.get(*party) != Some(*view));
    differs
        .map(|(party, view)| {
            let (wanted, came) = (view.code(), seen.get(party).map_or("nothing", |v| v.code()));
            format!(
                "question `{}`: `{party}` should see {wanted}, sees {came}",
                question.id
            )
        })
        .collect()
}

pub(super) fn refusal(expected: Option<ErrorCode>, came: Option<ErrorCode>) -> Option<String> {
    match (expected, came) {
        (None, Some(code)) => Some(format!("refused ({code}): {}", code.explanation())),
        (Some(code), None) => Some(format!("should be refused ({code}), was taken")),
        (Some(wanted), Some(code)) if wanted != code => Some(format!(
            "should be refused ({wanted}), was refused ({code})"
        )),
        _ => None,
    }
}
