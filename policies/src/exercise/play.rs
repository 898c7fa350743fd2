//! Plays an exercise against bundles, and compares.
//!
//! In scope: the order of events, what each led to, whether it is what the file expects. Out of
//! scope: what an event does (`world`), how the result is shown (`page`).

use super::{
    expect::{compare, refusal, unsaid, unseen},
    file::View,
    holder::Word,
    script::{Action, Event, Exercise, Party, Question},
    views::views,
    world::{PlayError, World, refused},
};
use crate::{
    alike::Generalised,
    library::BUILT_IN,
    local::LocalPdp,
    pdp::CedarPdp,
    whatif::{Remedy, what_is_missing},
};
use passerelle_model::{
    bytes::Digest,
    canonical,
    decide::{Command, Reply},
    entry::{EntryBody, Record, StopCause},
    error::ErrorCode,
    ids::AgencyId,
    pdp::ItemRuling,
    pip::{self, Collected},
    request::Status,
    statement::{AgreementSignature, AgreementTerms, Body, Item, ReceiptKind},
    vocabulary::{Category, Outcome},
};
use std::collections::{BTreeMap, BTreeSet};

/// A bundle to play against, and what it is called.
pub struct Bundle<'a> {
    /// What it is called in the report.
    pub label: String,
    /// Its decision point.
    pub pdp: &'a CedarPdp,
}

/// What came of an exercise under one bundle.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) label: String,
    pub(crate) digest: Digest,
    pub(crate) steps: Vec<Step>,
    pub(crate) questions: Vec<Outturn>,
}

/// What one event led to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// Why it was refused, if it was.
    pub(crate) refused: Option<ErrorCode>,
    /// What happened to which question, in order.
    pub(crate) happened: Vec<(usize, Happened)>,
    /// How that differs from what the file expects.
    pub(crate) failures: Vec<String>,
}

/// Something that happened to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Happened {
    /// Asked and decided.
    Asked,
    /// Decided again.
    DecidedAgain,
    /// The holder has a permit, and a person there must look.
    PutBeforePerson,
    /// An answer crossed.
    Answered,
    /// Stopped, since what it rested on is gone.
    Stopped,
    /// The recipient is told that the consent is withdrawn.
    Recalled,
    /// Not answered in time.
    Expired,
    /// The recipient has erased the answer.
    Erased,
}

/// What came of one question.
#[derive(Clone, Debug)]
pub(crate) struct Outturn {
    /// The rulings when it was asked, beside its items; none if it was refused.
    pub(crate) rulings: Vec<ItemRuling>,
    /// What would make each denied item permitted or reviewed, beside the rulings.
    pub(crate) missing: Vec<Vec<Remedy>>,
    /// The last rulings, where they are not the first.
    pub(crate) later: Option<Vec<ItemRuling>>,
    /// Where it ended.
    pub(crate) status: Option<Status>,
    /// What the holder answered.
    pub(crate) outcome: Option<Outcome>,
    /// What was released.
    pub(crate) released: Vec<Item>,
    /// How finely, where nobody is named.
    pub(crate) told: BTreeMap<Category, Option<Generalised>>,
    /// The holder's own rules that said so.
    pub(crate) local_rules: BTreeSet<String>,
    /// What each party sees when the exercise ends.
    pub(crate) views: BTreeMap<Party, View>,
    /// How the decision differs from what the file expects.
    pub(crate) failures: Vec<String>,
}

/// An exercise with what came of it under each bundle.
pub struct Played<'a> {
    pub(crate) exercise: &'a Exercise,
    pub(crate) bundles: &'a [Bundle<'a>],
    pub(crate) traces: Vec<Trace>,
}

impl Played<'_> {
    /// Whether everything came out as the file expects, under every bundle.
    pub fn as_expected(&self) -> bool {
        self.failures().is_empty()
    }

    /// Everything that did not, with the bundle.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for trace in &self.traces {
            let events = self.exercise.events.iter().zip(&trace.steps);
            for (event, step) in events {
                let told = |f: &String| format!("{}: {}: {f}", trace.label, event.at);
                failures.extend(step.failures.iter().map(told));
            }
            let questions = self.exercise.questions.iter().zip(&trace.questions);
            for (question, outturn) in questions {
                let told = |f: &String| format!("{}: question `{}`: {f}", trace.label, question.id);
                failures.extend(outturn.failures.iter().map(told));
            }
        }
        failures
    }

    /// The ids of the questions that the bundles decide differently.
    pub fn differing(&self) -> Vec<&str> {
        let numbers = self.exercise.questions.iter().enumerate();
        numbers
            .filter(|(n, _)| self.differs(*n))
            .map(|(_, q)| q.id.as_str())
            .collect()
    }

    pub(crate) fn differs(&self, question: usize) -> bool {
        let mut outturns = self.traces.iter().filter_map(|t| t.questions.get(question));
        let Some(first) = outturns.next() else {
            return false;
        };
        // The papers' ids are the same everywhere; what differs is what was decided, and why.
        outturns.any(|other| other.rulings != first.rulings || other.views != first.views)
    }
}

/// Rules that the file expects and that no bundle has, with line and column.
pub fn unknown_rules(exercise: &Exercise, bundles: &[Bundle<'_>]) -> Vec<super::Problem> {
    let known = |rule: &str| {
        let built_in = BUILT_IN.iter().any(|(id, _)| *id == rule);
        built_in
            || bundles
                .iter()
                .any(|b| b.pdp.library().rules().contains_key(rule))
    };
    let unknown = exercise
        .rules_named
        .iter()
        .filter(|(rule, _, _)| !known(rule));
    unknown
        .map(|(rule, line, column)| super::Problem {
            line: *line,
            column: *column,
            reason: format!("no bundle has a rule `{rule}`; `policy check` names the rules"),
        })
        .collect()
}

/// Plays `exercise` against every bundle.
///
/// # Errors
/// A defect of the state machine or of the shipped local policy; never what a file says.
pub fn play<'a>(
    exercise: &'a Exercise,
    bundles: &'a [Bundle<'a>],
    local: &LocalPdp,
) -> Result<Played<'a>, PlayError> {
    let traces = bundles.iter().map(|bundle| trace(exercise, bundle, local));
    Ok(Played {
        exercise,
        bundles,
        traces: traces.collect::<Result<_, _>>()?,
    })
}

fn trace(exercise: &Exercise, bundle: &Bundle<'_>, local: &LocalPdp) -> Result<Trace, PlayError> {
    let mut world = World::new(exercise, bundle.pdp, local)?;
    let mut missing = BTreeMap::new();
    let mut steps = Vec::new();
    let mut decided: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for event in &exercise.events {
        world.now = event.at;
        world.run(&Command::Tick)?;
        let reply = act(&mut world, event)?;
        let mut step = Step {
            refused: match reply {
                Reply::Refused { code, .. } => Some(code),
                Reply::Done { .. } | Reply::Nothing => None,
            },
            happened: happened(&mut world),
            failures: Vec::new(),
        };
        if let Action::Ask(number) = event.action
            && let Some(question) = exercise.questions.get(number)
        {
            missing.insert(number, remedies(&world, question)?);
            let rulings = world.held.get(number).and_then(|h| h.decisions.first());
            let failures = compare(question, rulings.map_or(&[], Vec::as_slice));
            decided.insert(number, failures);
            let seen = views(&world, number, question)?;
            step.failures
                .extend(unseen(question, &question.sees, &seen));
        }
        step.failures.extend(refusal(event.refused, step.refused));
        for (number, expected) in &event.then {
            if let Some(question) = exercise.questions.get(*number) {
                let seen = views(&world, *number, question)?;
                step.failures.extend(unseen(question, expected, &seen));
            }
        }
        steps.push(step);
    }
    let questions = exercise.questions.iter().enumerate();
    let questions = questions.map(|(number, question)| {
        let failures = decided.remove(&number).unwrap_or_default();
        let missing = missing.remove(&number).unwrap_or_default();
        outturn(&world, number, question, missing, failures)
    });
    Ok(Trace {
        label: bundle.label.clone(),
        digest: bundle.pdp.library().digest(),
        questions: questions.collect::<Result<_, _>>()?,
        steps,
    })
}

fn act(world: &mut World<'_>, event: &Event) -> Result<Reply, PlayError> {
    let exercise = world.exercise;
    let question = |number: usize| exercise.questions.get(number);
    match &event.action {
        Action::Nothing => Ok(Reply::Nothing),
        // As a node refuses it: nothing could ever rest on it.
        Action::Say { what, .. } if is_by_nobody_who_could(what) => {
            Ok(refused(ErrorCode::OutOfRange))
        }
        Action::Say { by, what, about } => {
            world.say(by, (**what).clone(), about.as_deref(), BTreeMap::new())
        }
        Action::Propose { by, terms, signers } => propose(world, by, terms, signers),
        Action::Ask(number) => match question(*number) {
            Some(question) => world.ask(*number, question),
            None => Ok(refused(ErrorCode::UnknownRequest)),
        },
        Action::Answer {
            question: number,
            by,
            verdict,
            record,
        } => match question(*number) {
            Some(question) => {
                let word = Word {
                    verdict: *verdict,
                    by,
                    record: record.as_deref(),
                };
                world.consider(*number, question, Some(word))
            }
            None => Ok(refused(ErrorCode::UnknownRequest)),
        },
        Action::Erase(number) => match question(*number) {
            Some(question) => world.receipt(question, ReceiptKind::Erased),
            None => Ok(refused(ErrorCode::UnknownRequest)),
        },
        Action::Away(agency) => {
            world.away.insert(agency.clone());
            Ok(Reply::Nothing)
        }
        Action::Back(agency) => {
            world.away.remove(agency);
            for (number, question) in exercise.questions.iter().enumerate() {
                let concerned = question.holder() == agency || question.requester == *agency;
                if concerned && world.row(question)?.is_some() {
                    world.deliver(number, question)?;
                }
            }
            Ok(Reply::Nothing)
        }
        Action::Revoke(agency) => world.run(&Command::Revoke {
            agency: agency.clone(),
        }),
    }
}

fn is_by_nobody_who_could(what: &Body) -> bool {
    matches!(what, Body::Consent(terms) if !terms.has_standing())
}

fn propose(
    world: &mut World<'_>,
    by: &AgencyId,
    terms: &AgreementTerms,
    signers: &[AgencyId],
) -> Result<Reply, PlayError> {
    let body = Body::Agreement(Box::new(terms.clone()));
    let mut reply = world.say(by, body, None, BTreeMap::new())?;
    for signer in signers {
        if matches!(reply, Reply::Refused { .. }) {
            break;
        }
        let body = Body::AgreementSignature(AgreementSignature {
            endorsements: Vec::new(),
            agreement: terms.agreement.clone(),
            terms: canonical::digest(terms)?,
        });
        reply = world.say(signer, body, None, BTreeMap::new())?;
    }
    Ok(reply)
}

/// What the entries of this step say of questions.
fn happened(world: &mut World<'_>) -> Vec<(usize, Happened)> {
    let records = world.take_fresh();
    let mut happened: Vec<_> = records
        .iter()
        .filter_map(|record| Some((world.question_of(record)?, what(record)?)))
        .collect();
    let mut asked = BTreeSet::new();
    // The decision that comes with the question is told once, as the question.
    happened.retain(|(number, what)| match what {
        Happened::Asked => asked.insert(*number),
        Happened::DecidedAgain => !asked.contains(number),
        _ => true,
    });
    let offered = records
        .iter()
        .filter_map(|record| match &record.entry.body {
            EntryBody::Offered { .. } => world.question_of(record),
            _ => None,
        });
    let waiting = |n: &usize| world.held.get(*n).is_some_and(|h| h.awaits_person);
    let before_person: BTreeSet<_> = offered.filter(waiting).collect();
    happened.extend(
        before_person
            .into_iter()
            .map(|n| (n, Happened::PutBeforePerson)),
    );
    happened.dedup();
    happened
}

fn what(record: &Record) -> Option<Happened> {
    Some(match &record.entry.body {
        EntryBody::Decided { .. } => Happened::DecidedAgain,
        EntryBody::Stopped { cause, .. } => match cause {
            StopCause::Withdrawn(_)
            | StopCause::DecidedAgain
            | StopCause::Revoked(_)
            | StopCause::Superseded => Happened::Stopped,
        },
        EntryBody::Recalled { .. } => Happened::Recalled,
        EntryBody::Expired { .. } => Happened::Expired,
        EntryBody::Said { envelope, .. } => match envelope.unverified_statement().ok()?.body {
            Body::Request(_) => Happened::Asked,
            Body::Answer(_) => Happened::Answered,
            Body::Receipt(receipt) if receipt.kind == ReceiptKind::Erased => Happened::Erased,
            _ => return None,
        },
        _ => return None,
    })
}

/// What would open each item that is denied as things stand at this moment.
fn remedies(world: &World<'_>, question: &Question) -> Result<Vec<Vec<Remedy>>, PlayError> {
    let Some(row) = world.row(question)? else {
        return Ok(Vec::new());
    };
    let of = |item: &Item| {
        let collected = pip::collect(&world.store, &row, *item, world.now.timestamp())?;
        Ok(match collected {
            Collected::Matter(matter) => what_is_missing(world.pdp, &matter),
            Collected::Doubt(_) => Vec::new(),
        })
    };
    question.items().iter().map(of).collect()
}

fn outturn(
    world: &World<'_>,
    number: usize,
    question: &Question,
    missing: Vec<Vec<Remedy>>,
    mut failures: Vec<String>,
) -> Result<Outturn, PlayError> {
    let held = world.held.get(number);
    let decisions = held.map_or(&[][..], |h| h.decisions.as_slice());
    let rulings = decisions.first().cloned().unwrap_or_default();
    failures.extend(unsaid(question, held.map(|h| &h.told)));
    let later = decisions.last().filter(|last| **last != rulings).cloned();
    Ok(Outturn {
        status: world.status(question)?,
        outcome: held.and_then(|h| h.outcome),
        released: held.map(|h| h.released.clone()).unwrap_or_default(),
        told: held.map(|h| h.told.clone()).unwrap_or_default(),
        local_rules: held.map(|h| h.local_rules.clone()).unwrap_or_default(),
        views: views(world, number, question)?,
        rulings,
        missing,
        later,
        failures,
    })
}
