//! An emergency, and an agreement that ends.

use super::{all, by_rule, effect_on, has_answer, tell_released};
use crate::{
    cli::clock,
    demo::{
        cast::{COMMUNITY, HEALTH, POLICE},
        report::Report,
        setup::{AGREEMENT_BASIS, agree, short_agreement},
        world::{Question, World},
    },
};
use passerelle_model::pdp::{Effect, Obligation};
use std::time::Duration;

/// Seconds that the short agreement lasts: enough to sign it and to ask once.
const AGREEMENT_LASTS_S: u64 = 6;

/// Where she is and how great the danger is, as soon as a nurse on duty agrees; no diagnosis, and a
/// review afterwards.
pub(super) async fn emergency(world: &World, report: &mut Report) -> anyhow::Result<()> {
    report.say("A nurse calls the police: a patient said on the phone that she would end it");
    report.say("tonight. There is no consent and no agreement for this. The officer claims the");
    report.say("emergency under A2.1-59.1 and asks where she is, how great the danger is, and");
    report.say("for the diagnosis. A claim alone opens none of it: a person on duty looks first.");
    let (exit, view) = world
        .ask(&Question {
            from: POLICE,
            to: HEALTH,
            person: "emergency",
            items: &["location:detail", "crisis_risk:coded", "diagnosis:coded"],
            purpose: "emergency",
            basis: "A2.1-59.1",
            more: &["--emergency", "subject_in_danger"],
            why: "life in danger tonight, a car is on its way",
            wait: None,
        })
        .await?;
    report.decision(&view.decision);
    report.check(
        "location and threat need no consent and no agreement, only a nurse on duty",
        exit == 0
            && effect_on(&view, "location") == Some(Effect::Review)
            && effect_on(&view, "crisis_risk") == Some(Effect::Review)
            && by_rule(&view, "location", "emergency-override-review"),
    );
    report.check(
        "the diagnosis is denied: it does not help to find her",
        effect_on(&view, "diagnosis") == Some(Effect::Deny)
            && by_rule(&view, "diagnosis", "emergency-scope"),
    );
    let request = view.line.request.clone();
    report.check(
        "it is in the health centre's inbox at once",
        world.comes_to_inbox(HEALTH, &request).await?,
    );
    world.review(HEALTH, "approve", &request).await?;
    report.say("The nurse on duty knows of the call, and overrides to the police at once.");
    let view = world.show_until(POLICE, &request, has_answer).await?;
    tell_released(report, &view, "the police have the address");
    let answer = view.answer.as_ref();
    report.check(
        "no diagnosis crossed",
        answer.is_some_and(|a| a.items.iter().all(|item| item.category != "diagnosis")),
    );
    let obliged = |wanted: &Obligation| answer.is_some_and(|a| a.obligations.contains(wanted));
    report.check(
        "both privacy officers are alerted, and a review is due within 48 hours",
        obliged(&Obligation::ReviewWithinHours(48)) && obliged(&Obligation::Alert),
    );
    Ok(())
}

/// Permitted while the agreement lasts, denied after; the statutory emergency stays open.
pub(super) async fn agreement_ends(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let now = clock::now();
    let ends_at = now.plus_s(AGREEMENT_LASTS_S);
    let draft = short_agreement(now, ends_at);
    let agreement = agree(world, "short-agreement", &draft, &[POLICE, COMMUNITY]).await?;
    report.say(&format!(
        "An agreement on `engagement` ends at {}.",
        ends_at.to_rfc3339()
    ));
    let more = ["--agreement", agreement.as_str()];
    let question = Question {
        from: POLICE,
        to: COMMUNITY,
        person: "ordinary",
        items: &["engagement:known"],
        purpose: "deliver",
        basis: AGREEMENT_BASIS,
        more: &more,
        why: "to send her to people she knows",
        wait: Some(10),
    };
    let (exit, view) = world.ask(&question).await?;
    report.decision(&view.decision);
    report.check(
        "permitted before it ends",
        exit == 0 && all(&view, Effect::Permit) && by_rule(&view, "engagement", "agreement-covers"),
    );
    let left = ends_at.0.saturating_sub(clock::now().0);
    report.say("... waiting for its end ...");
    tokio::time::sleep(Duration::from_millis(left.saturating_add(300))).await;
    let (exit, view) = world.ask(&question).await?;
    report.decision(&view.decision);
    report.check(
        "denied after its end, by the same question",
        exit == 1
            && all(&view, Effect::Deny)
            && by_rule(&view, "engagement", "agreement-not-in-force"),
    );
    let (exit, view) = world
        .ask(&Question {
            from: COMMUNITY,
            to: POLICE,
            items: &["contact_dates:coded"],
            purpose: "emergency",
            basis: "A2.1-59.1",
            more: &["--emergency", "subject_in_danger"],
            why: "she is missing since noon and it is freezing; when did you last see her?",
            wait: Some(15),
            ..question
        })
        .await?;
    report.decision(&view.decision);
    report.check(
        "an emergency under the statute stays open between the two, at once",
        exit == 0
            && all(&view, Effect::Permit)
            && by_rule(&view, "contact_dates", "emergency-override"),
    );
    tell_released(
        report,
        &view,
        "the community house knows when she was last seen",
    );
    Ok(())
}
