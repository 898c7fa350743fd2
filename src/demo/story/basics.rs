//! Permit, denial, review, cannot say.

use super::{all, by_rule, consent_to_health, decided_at, effect_on, has_answer, tell_released};
use crate::demo::{
    cast::{COMMUNITY, HEALTH, POLICE},
    report::Report,
    setup::{AGREEMENT_BASIS, Ground},
    world::{Question, World},
};
use passerelle_model::{pdp::Effect, request::Status};
use passerelle_proto::views::RequestView;

/// A consent, a question, an answer.
pub(super) async fn permit(world: &World, report: &mut Report) -> anyhow::Result<()> {
    report.say("Noémie consents, on paper, in French, at the health centre, which records it:");
    report.say("the community house may hear whether she is in service and how her");
    report.say("appointments stand.");
    consent_to_health(world, "community-and-health").await?;
    let (exit, view) = world
        .ask(&Question {
            from: COMMUNITY,
            to: HEALTH,
            person: "community-and-health",
            items: &["appointment_status:coded", "in_service:known"],
            purpose: "deliver",
            basis: "consent",
            more: &[],
            why: "to walk with her to the clinic on Thursday",
            wait: Some(15),
        })
        .await?;
    report.decision(&view.decision);
    report.check(
        "permitted, because her consent covers it",
        exit == 0
            && all(&view, Effect::Permit)
            && by_rule(&view, "appointment_status", "consent-covers"),
    );
    tell_released(
        report,
        &view,
        "the answer has arrived, opened by the community house alone",
    );
    let index = decided_at(&view)?;
    report.check(
        &format!("the decision was in the log (entry {index}) before anything left"),
        view.trail.iter().any(|step| step.index > index),
    );
    Ok(())
}

/// The police may not have a diagnosis, whatever an agreement lists.
pub(super) async fn denial(
    world: &World,
    report: &mut Report,
    ground: &Ground,
) -> anyhow::Result<()> {
    report.say(
        "The agreement even lists diagnosis by mistake. The federation's rules stand above it.",
    );
    let (exit, view) = world
        .ask(&Question {
            from: POLICE,
            to: HEALTH,
            person: "diagnosis",
            items: &["diagnosis:coded"],
            purpose: "plan",
            basis: AGREEMENT_BASIS,
            more: &["--agreement", &ground.agreement],
            why: "to know whom we deal with",
            wait: None,
        })
        .await?;
    report.decision(&view.decision);
    report.check(
        "denied: a diagnosis does not go to the police",
        exit == 1 && all(&view, Effect::Deny) && by_rule(&view, "diagnosis", "health-to-police"),
    );
    report.check("the denial is in the log", view.decision_index.is_some());
    report.check(
        "nothing came back, and nothing will",
        view.answer.is_none() && view.line.status == Status::Denied,
    );
    Ok(())
}

fn in_service<'a>(person: &'a str, more: &'a [&'a str]) -> Question<'a> {
    Question {
        from: POLICE,
        to: HEALTH,
        person,
        items: &["in_service:known"],
        purpose: "plan",
        basis: AGREEMENT_BASIS,
        more,
        why: "before we knock at the door, is somebody already with this person?",
        wait: None,
    }
}

/// A person at the holder looks first, and approves.
pub(super) async fn review(
    world: &World,
    report: &mut Report,
    ground: &Ground,
) -> anyhow::Result<()> {
    let more = ["--agreement", ground.agreement.as_str()];
    let (exit, view) = world.ask(&in_service("diagnosis", &more)).await?;
    report.decision(&view.decision);
    report.check(
        "a person at the health centre must look first",
        exit == 0
            && effect_on(&view, "in_service") == Some(Effect::Review)
            && by_rule(&view, "in_service", "agreement-in-service-review"),
    );
    let request = view.line.request.clone();
    report.check(
        "it waits in the health centre's inbox",
        world.comes_to_inbox(HEALTH, &request).await?,
    );
    world.review(HEALTH, "approve", &request).await?;
    report.say("The head nurse approves.");
    let view = world.show_until(POLICE, &request, has_answer).await?;
    tell_released(
        report,
        &view,
        "the police learn that the person is in service, and no more",
    );
    Ok(())
}

/// A person in a protected programme, and one whom the health centre does not know: from outside
/// the two are the same.
pub(super) async fn cannot_say(
    world: &World,
    report: &mut Report,
    ground: &Ground,
) -> anyhow::Result<()> {
    report.say("The police ask about two people. One is in a programme whose very name is");
    report.say("protected; of the other the health centre has no record. The head nurse approves");
    report.say("both: even so, the health centre's own policy says nothing about the first.");
    let more = ["--agreement", ground.agreement.as_str()];
    let mut seen: Vec<(RequestView, Vec<String>)> = Vec::new();
    for person in ["protected-programme", "unknown-to-health"] {
        let (_, view) = world.ask(&in_service(person, &more)).await?;
        let request = view.line.request.clone();
        world.comes_to_inbox(HEALTH, &request).await?;
        world.review(HEALTH, "approve", &request).await?;
        let view = world.show_until(POLICE, &request, has_answer).await?;
        // Receipts: delivered and viewed.
        let receipts = |kinds: &[String]| kinds.iter().filter(|k| *k == "receipt").count() == 2;
        let kinds = world.entries_about(&request, receipts).await?;
        seen.push((view, kinds));
    }
    let outcome = |view: &RequestView| view.answer.as_ref().map(|a| a.outcome.clone());
    for (view, _) in &seen {
        let outcome = outcome(view).unwrap_or_else(|| "no answer".to_owned());
        report.say(&format!("answer: {}", outcome.replace('_', " ")));
    }
    let [(first, first_kinds), (second, second_kinds)] = seen.as_slice() else {
        anyhow::bail!("two requests were made");
    };
    report.check(
        "both are answered with `cannot say`",
        [first, second]
            .iter()
            .all(|view| outcome(view).as_deref() == Some("cannot_say")),
    );
    report.check(
        "neither the answers nor the log tell one from the other",
        first.decision == second.decision
            && first.line.status == second.line.status
            && first.answer == second.answer
            && first_kinds.len() >= 5
            && first_kinds == second_kinds,
    );
    Ok(())
}
