//! What Cedar said of a shape, remembered.
//!
//! In scope: answers by shape and order of times, in bounds; finding out whether the policies of a
//! bundle may be remembered so. Out of scope: the answers themselves.
//!
//! An evaluation costs a hundred times what it costs to look one up, and most requests of a day ask
//! what was asked before, of another person by another agency. An answer follows from the action,
//! the shape and the times alone ([`crate::shape`]). If policies do nothing with times but compare
//! them with each other, it follows from the order of the times; if they name no agency, it is the
//! same for all agencies that stand in the same lists ([`crate::outline`]). A bundle that does more,
//! such as arithmetic on a time, a date or an agency in the text of a policy, is not remembered:
//! slower, never wrong.

use crate::{evaluation::Answer, outline::Outline};
use cedar_policy::PolicySet;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most answers that are remembered, at about half a KiB each. When it is full all are forgotten:
/// what is common comes back at once.
const MAX_ANSWERS: usize = 32_768;

/// The attributes that are times.
const TIMES: [&str; 5] = ["at", "given_at", "expires_at", "starts_at", "ends_at"];
/// The operators that only look at the order of what they compare.
const COMPARISONS: [&str; 6] = ["<", "<=", ">", ">=", "==", "!="];

/// See the module.
pub(crate) struct Memory {
    /// Whether the policies see nothing but what an outline tells.
    by_outline: bool,
    answers: Mutex<HashMap<Outline, Answer>>,
}

impl Memory {
    /// An empty memory for these policies.
    pub(crate) fn of(policies: &PolicySet) -> Self {
        Self {
            by_outline: only_sees_outlines(policies),
            answers: Mutex::default(),
        }
    }

    /// One that remembers nothing.
    pub(crate) fn none() -> Self {
        Self {
            by_outline: false,
            answers: Mutex::default(),
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<Outline, Answer>> {
        // Answers go in whole.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything is remembered of these policies.
    pub(crate) const fn is_on(&self) -> bool {
        self.by_outline
    }

    /// What was said, if it was asked before.
    pub(crate) fn recall(&self, question: &Outline) -> Option<Answer> {
        self.answers().get(question).cloned()
    }

    /// Remembers an answer.
    pub(crate) fn note(&self, question: Outline, answer: &Answer) {
        if !self.by_outline {
            return;
        }
        let mut answers = self.answers();
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        answers.insert(question, answer.clone());
    }
}

/// Whether every time in the policies is compared with another time, and nothing else is done with
/// it, and no agency is named. A policy that can't be looked into counts as one that does more.
fn only_sees_outlines(policies: &PolicySet) -> bool {
    policies.policies().all(|policy| {
        let json = policy.to_json();
        json.is_ok_and(|json| is_orderly(&json) && !names_agency(&json))
    })
}

/// Whether an agency stands in the text, in the scope or in a condition.
fn names_agency(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            let is_agency = fields.get("type").is_some_and(|name| name == "Agency");
            is_agency || fields.values().any(names_agency)
        }
        Value::Array(values) => values.iter().any(names_agency),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_orderly(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().all(|(name, value)| {
            let compares_times = COMPARISONS.contains(&name.as_str())
                && ["left", "right"]
                    .iter()
                    .all(|side| value.get(side).is_some_and(is_time));
            let reads_time = name == "." && attribute(value).is_some_and(|a| TIMES.contains(&a));
            // The context as a whole has times in it.
            let reads_all = name == "Var" && value == "context";
            let looks_into = [".", "has"].contains(&name.as_str()) && of_context(value);
            compares_times || !reads_time && !reads_all && (looks_into || is_orderly(value))
        }),
        Value::Array(values) => values.iter().all(is_orderly),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn attribute(access: &Value) -> Option<&str> {
    access.get("attr").and_then(Value::as_str)
}

/// Whether what is looked into is the context itself.
fn of_context(access: &Value) -> bool {
    let var = access.get("left").and_then(|left| left.get("Var"));
    var.is_some_and(|var| var == "context")
}

/// Whether it is a time of the request, of its candidate consent or of its candidate agreement.
fn is_time(value: &Value) -> bool {
    let Some(access) = value.get(".") else {
        return false;
    };
    let of_candidate = || {
        let candidate = access.get("left").and_then(|left| left.get("."));
        candidate.is_some_and(of_context)
    };
    attribute(access).is_some_and(|a| TIMES.contains(&a)) && (of_context(access) || of_candidate())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn orderly(condition: &str) -> bool {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        only_sees_outlines(&PolicySet::from_str(&text).expect("a policy"))
    }

    #[test]
    fn the_shipped_bundle_can_be_remembered() {
        let library = crate::library::Library::load(&crate::library::embedded_files());
        assert!(only_sees_outlines(&library.expect("it loads").policies));
    }

    #[test]
    fn times_that_are_compared_with_each_other_are_orderly() {
        assert!(orderly(
            "context has consent && context.at >= context.consent.expires_at"
        ));
        assert!(orderly(
            "context.consent.given_at == context.agreement.starts_at || !(1 < 2)"
        ));
        assert!(orderly("resource.level <= resource.max_level"));
        assert!(orderly(
            "if context.at < context.agreement.ends_at then true else false"
        ));
    }

    #[test]
    fn a_policy_that_names_an_agency_is_not() {
        for condition in [
            "principal.agency == Agency::\"clinic\"",
            "context has consent && context.consent.recipients.contains(Agency::\"clinic\")",
            "context.agreement.parties == [resource.holder, Agency::\"clinic\"]",
            "{\"a\": Agency::\"clinic\"} == {\"a\": principal.agency}",
        ] {
            assert!(!orderly(condition), "{condition}");
        }
        for scope in [
            "principal in Agency::\"a\"",
            "principal is Worker in Agency::\"a\"",
        ] {
            let text = format!("permit ({scope}, action, resource);");
            assert!(!only_sees_outlines(
                &PolicySet::from_str(&text).expect("a policy")
            ));
        }
        assert!(orderly(
            "principal.agency is Agency && principal.agency != resource.holder"
        ));
    }

    #[test]
    fn whatever_else_is_done_with_a_time_is_not() {
        for condition in [
            "context.at < 1800000000000",
            "1800000000000 < context.at",
            "context.at + 5 < context.consent.expires_at",
            "context.consent.expires_at - context.consent.given_at < 9",
            "context.at * 2 == context.consent.given_at",
            "[context.at].contains(context.consent.given_at)",
            "context.at == resource.level",
            "context == context",
            "[context].contains(context)",
            "{\"a\": context.at} == {\"a\": 5}",
            "principal.trained && context[\"at\"] > 3",
            "(if principal.trained then context.at else 5) < context.consent.given_at",
            "context has consent && context.at < 5",
            "(if 5 < context.at then context.consent else context.consent).given_at < context.at",
        ] {
            assert!(!orderly(condition), "{condition}");
        }
    }
}
