//! The story, in steps. Each step asks through the command line, prints what was decided by which
//! rule, and checks that it came out as told.

mod basics;
mod ending;
mod finale;
mod flight;

use super::{
    report::Report,
    setup::{self, Consent, Ground},
    world::World,
};
use anyhow::Context as _;
use passerelle_model::{pdp::Effect, request::Status};
use passerelle_proto::views::{AnswerView, RequestView};

/// Tells the whole story. A step that breaks off does not keep the others from being told.
pub(super) async fn tell(world: &mut World, report: &mut Report, ground: &Ground) {
    type Told = anyhow::Result<()>;
    fn note(report: &mut Report, told: Told) {
        if let Err(error) = told {
            report.broke(&error);
        }
    }
    report.begin(
        "permit",
        "1. A permit: the community house asks the health centre",
    );
    let told = basics::permit(world, report).await;
    note(report, told);
    report.begin(
        "denial",
        "2. A denial: the police ask for a diagnosis (scenario 4)",
    );
    let told = basics::denial(world, report, ground).await;
    note(report, told);
    report.begin(
        "review",
        "3. A review: the police may learn at most that somebody is in service",
    );
    let told = basics::review(world, report, ground).await;
    note(report, told);
    report.begin(
        "cannot_say",
        "4. A protected programme answers as if there were no record",
    );
    let told = basics::cannot_say(world, report, ground).await;
    note(report, told);
    report.begin(
        "emergency",
        "5. An emergency: a life in danger tonight (scenario 3)",
    );
    let told = ending::emergency(world, report).await;
    note(report, told);
    report.begin(
        "withdrawal",
        "6. Consent is withdrawn while a request is in flight (scenario 1)",
    );
    let told = flight::withdrawal(world, report).await;
    note(report, told);
    report.begin("agreement_ends", "7. An agreement ends (scenario 6)");
    let told = ending::agreement_ends(world, report).await;
    note(report, told);
    report.begin("offline", "8. The clinic is offline (scenario 10)");
    let told = flight::offline(world, report).await;
    note(report, told);
    report.begin(
        "audit",
        "9. The oversight body exports the log, and anyone can verify it",
    );
    let told = finale::audit(world, report).await;
    note(report, told);
}

/// Whether every item was decided so.
fn all(view: &RequestView, effect: Effect) -> bool {
    !view.decision.is_empty() && view.decision.iter().all(|i| i.item.ruling.effect == effect)
}

/// Whether this rule is among the reasons for this category.
fn by_rule(view: &RequestView, category: &str, rule: &str) -> bool {
    view.decision
        .iter()
        .filter(|item| item.item.category.code() == category)
        .any(|item| item.item.ruling.reasons.iter().any(|r| r.rule == rule))
}

/// The effect on this category.
fn effect_on(view: &RequestView, category: &str) -> Option<Effect> {
    let mut items = view.decision.iter();
    items
        .find(|item| item.item.category.code() == category)
        .map(|item| item.item.ruling.effect)
}

/// The values of an answer as text.
fn values(answer: &AnswerView) -> String {
    let items = answer.items.iter().map(|item| {
        let values: Vec<_> = item.values.iter().map(crate::cli::plain_value).collect();
        format!("{}: {}", item.category, values.join("; "))
    });
    items.collect::<Vec<_>>().join(" | ")
}

/// The answer, if facts were released.
fn released(view: &RequestView) -> Option<&AnswerView> {
    view.answer
        .as_ref()
        .filter(|answer| answer.outcome == "released" && !answer.items.is_empty())
}

/// Tells what the answer says and checks that facts were released.
fn tell_released(report: &mut Report, view: &RequestView, told: &str) {
    match released(view) {
        Some(answer) => {
            report.say(&format!("answer: {}", values(answer)));
            report.check(told, true);
        }
        None => {
            let outcome = view.answer.as_ref().map(|a| a.outcome.as_str());
            let outcome = outcome.unwrap_or("no answer");
            report.say(&format!(
                "answer: {outcome}, status {}",
                view.line.status.code()
            ));
            report.check(told, false);
        }
    }
}

/// Whether the requester has an answer.
fn has_answer(view: &RequestView) -> bool {
    matches!(view.line.status, Status::Delivered | Status::Viewed) && view.answer.is_some()
}

/// Index of the entry by which a request was decided.
fn decided_at(view: &RequestView) -> anyhow::Result<u64> {
    view.decision_index.context("the decision has no entry")
}

async fn consent_to_health(world: &World, person: &str) -> anyhow::Result<String> {
    use super::cast::{COMMUNITY, HEALTH};
    let consent = Consent {
        at: HEALTH,
        person,
        categories: &["in_service", "appointment_status"],
        recipients: &[COMMUNITY],
        disclosers: &[HEALTH],
    };
    setup::consent(world, &consent).await
}
