//! Requests that wait: for an agency that is away, across a withdrawal or not.

use super::{all, by_rule, consent_to_health, has_answer, released, tell_released};
use crate::demo::{
    cast::{COMMUNITY, HEALTH, POLICE},
    report::Report,
    setup::{self, Consent},
    world::{Question, World},
};
use passerelle_model::{pdp::Effect, request::Status};
use passerelle_proto::views::{Done, RequestView};
use std::time::Duration;

/// Seconds that the clinic is away, from the question on.
const AWAY_S: u64 = 2;

/// How long nothing must come after an agency is back.
const STILL_NOTHING: Duration = Duration::from_secs(2);

fn on_consent<'a>(from: &'a str, to: &'a str, item: &'a [&'a str]) -> Question<'a> {
    Question {
        from,
        to,
        person: "ordinary",
        items: item,
        purpose: "deliver",
        basis: "consent",
        more: &[],
        why: "to plan the week with her",
        wait: Some(15),
    }
}

/// Two have answered, the third is stopped, the recipients are told.
pub(super) async fn withdrawal(world: &mut World, report: &mut Report) -> anyhow::Result<()> {
    report.say("Éloïse consents, at the health centre: three agencies may tell the community");
    report.say("house and the health centre how she is doing. The health centre, which recorded");
    report.say("it, answers at once. The others check first what another agency recorded.");
    let consent = Consent {
        at: HEALTH,
        person: "ordinary",
        categories: &["in_service", "engagement", "contact_dates"],
        recipients: &[COMMUNITY, HEALTH],
        disclosers: &[HEALTH, COMMUNITY, POLICE],
    };
    let consent = setup::consent(world, &consent).await?;
    let (_, first) = world
        .ask(&on_consent(COMMUNITY, HEALTH, &["in_service:involvement"]))
        .await?;
    let second = checked_first(world, report).await?;
    tell_released(
        report,
        &first,
        "the health centre has answered the community house",
    );
    tell_released(
        report,
        &second,
        "the community house has answered the health centre",
    );

    let third = in_flight(world, report, &consent).await?;
    nothing_crosses(world, report, &third).await?;
    recipients_are_told(world, report, &first, &second).await
}

/// The community house did not record the consent: a person there checks it, then it answers.
async fn checked_first(world: &World, report: &mut Report) -> anyhow::Result<RequestView> {
    let question = Question {
        wait: None,
        ..on_consent(HEALTH, COMMUNITY, &["engagement:coded"])
    };
    let (_, view) = world.ask(&question).await?;
    report.decision(&view.decision);
    let request = view.line.request.clone();
    report.check(
        "a consent recorded elsewhere waits for a person at the community house",
        by_rule(&view, "engagement", "consent-covers-review")
            && all(&view, Effect::Review)
            && world.comes_to_inbox(COMMUNITY, &request).await?,
    );
    world.review(COMMUNITY, "approve", &request).await?;
    report.say("The coordinator has asked Éloïse, and approves.");
    world.show_until(HEALTH, &request, has_answer).await
}

/// A request waits for an agency that is down; the consent is withdrawn; the agency comes back.
async fn in_flight(
    world: &mut World,
    report: &mut Report,
    consent: &str,
) -> anyhow::Result<RequestView> {
    world.stop(POLICE).await?;
    report.say("The police node is down. The community house asks it all the same.");
    let question = Question {
        wait: None,
        ..on_consent(COMMUNITY, POLICE, &["contact_dates:coded"])
    };
    let (_, third) = world.ask(&question).await?;
    report.decision(&third.decision);
    report.check(
        "allowed once the police service has checked the consent, and it waits",
        all(&third, Effect::Review) && third.line.status.is_open(),
    );

    let dir = world.dir(COMMUNITY);
    let args = ["agent", "consent", "withdraw", "--dir", &dir, consent];
    let _withdrawn: Done = world.shell.done(&args).await?;
    report.say("Éloïse withdraws her consent. Then the police node comes back.");
    world.start_agent(POLICE).await?;
    Ok(third)
}

/// What waited is stopped, and the agency that is back hears nothing of it.
async fn nothing_crosses(
    world: &World,
    report: &mut Report,
    third: &RequestView,
) -> anyhow::Result<()> {
    let is_stopped = |view: &RequestView| view.line.status == Status::Stopped;
    let third = world
        .show_until(COMMUNITY, &third.line.request, is_stopped)
        .await?;
    report.check(
        "the request that waited is stopped, not shown as unsent",
        is_stopped(&third) && third.stopped.is_some(),
    );
    tokio::time::sleep(STILL_NOTHING).await;
    let request = &third.line.request;
    let has = |kinds: &[String], kind: &str| kinds.iter().any(|k| k == kind);
    let kinds = world
        .entries_about(request, |kinds| has(kinds, "stopped"))
        .await?;
    let inbox = world.inbox(POLICE).await?;
    report.check(
        "the police node gets nothing, and has answered nothing",
        inbox.iter().all(|line| line.request != *request)
            && third.answer.is_none()
            && has(&kinds, "stopped")
            && !has(&kinds, "offered")
            && !has(&kinds, "answer"),
    );
    Ok(())
}

async fn recipients_are_told(
    world: &World,
    report: &mut Report,
    first: &RequestView,
    second: &RequestView,
) -> anyhow::Result<()> {
    let is_recalled = |view: &RequestView| view.answer.as_ref().is_some_and(|a| a.recalled);
    for (agency, view, who) in [
        (COMMUNITY, first, "the community house"),
        (HEALTH, second, "the health centre"),
    ] {
        let view = world
            .show_until(agency, &view.line.request, is_recalled)
            .await?;
        report.check(
            &format!("{who} is told that what it has rests on a consent withdrawn since"),
            is_recalled(&view),
        );
    }
    let (exit, again) = world
        .ask(&on_consent(COMMUNITY, HEALTH, &["in_service:involvement"]))
        .await?;
    report.decision(&again.decision);
    report.check(
        "asking again is denied",
        exit == 1 && by_rule(&again, "in_service", "consent-withdrawn"),
    );
    Ok(())
}

/// A request waits for a clinic, is shown as waiting, is decided again, is answered.
pub(super) async fn offline(world: &mut World, report: &mut Report) -> anyhow::Result<()> {
    consent_to_health(world, "offline").await?;
    world.stop(HEALTH).await?;
    report.say("The health centre's node is down. The community house asks about Jérôme, and");
    report.say(&format!(
        "waits {AWAY_S} seconds for an answer (in the scenario: two days)."
    ));
    let question = Question {
        from: COMMUNITY,
        to: HEALTH,
        person: "offline",
        items: &["in_service:involvement"],
        purpose: "deliver",
        basis: "consent",
        more: &[],
        why: "he asked us to find out",
        wait: Some(AWAY_S),
    };
    let (exit, view) = world.ask(&question).await?;
    let request = view.line.request.clone();
    report.decision(&view.decision);
    report.say(&format!(
        "status: {}",
        crate::cli::status_words(view.line.status)
    ));
    report.check(
        "permitted, kept for the clinic, and nothing came within the two seconds",
        exit == 1 && all(&view, Effect::Permit),
    );
    report.check(
        "it shows as waiting for an agency that is unavailable, never as `no record`",
        matches!(view.line.status, Status::Decided | Status::Queued) && view.answer.is_none(),
    );
    let decided = |kinds: &[String]| kinds.iter().filter(|kind| *kind == "decided").count();
    let before = world
        .entries_about(&request, |kinds| decided(kinds) > 0)
        .await?;
    let before = decided(&before);
    world.start_agent(HEALTH).await?;
    report.say("The node comes back.");
    let view = world.show_until(COMMUNITY, &request, has_answer).await?;
    let after = world
        .entries_about(&request, |kinds| decided(kinds) > before)
        .await?;
    let after = decided(&after);
    report.check(
        "it is decided again on delivery, not replayed",
        before >= 1 && after > before,
    );
    tell_released(report, &view, "then it is answered");
    report.check("it waited, nothing was lost", released(&view).is_some());
    Ok(())
}
