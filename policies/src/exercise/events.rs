//! The events of a file as what agencies say.
//!
//! In scope: names into identifiers, times into instants, statements. Out of scope: whether the
//! state machine takes them, which only playing shows.

use super::{
    asked::{expect, found, items, reliance},
    check::{Checker, Opened},
    file::{
        AdvanceEvent, AgreementEvent, AnswerEvent, AskEvent, ConsentEvent, Event as Entry,
        OpenEvent, View, WithdrawEvent,
    },
    moment::Moment,
    script::{Action, Event, OVERSIGHT, PERSON, Party, Question, bytes_of, digest_of, opening_of},
};
use passerelle_model::{
    bytes::{Commitment, Digest, PublicKey},
    canonical,
    error::ErrorCode,
    ids::{AgreementId, CaseId, ConsentId, RequestId},
    statement::{
        AgreementLine, AgreementParty, AgreementSignature, AgreementTerms, Body, CaseAdvance,
        CaseOpening, ConsentTerms, Edition, Request, Withdrawal, WithdrawalScope,
    },
};
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;

/// What stands for the sealed context of a question; nobody opens it here.
pub(super) const CONTEXT: &[u8] = b"exercise";

/// All events, as far as they are sound; what is not is a problem of the checker.
pub(super) fn events(checker: &mut Checker, entries: Vec<Spanned<Entry>>) -> Vec<Event> {
    entries
        .into_iter()
        .filter_map(|entry| event(checker, entry.referenced, entry.value))
        .collect()
}

fn event(checker: &mut Checker, place: Location, mut entry: Entry) -> Option<Event> {
    let Some(at) = entry.at else {
        checker.wrong(place, "an event needs its time `at`");
        return None;
    };
    if checker.now.is_some_and(|now| at < now) {
        checker.wrong(place, format!("`{at}` is before the event above it"));
    }
    checker.now = Some(at);
    let refused = entry
        .refused
        .as_ref()
        .and_then(|code| match code.value.parse::<ErrorCode>() {
            Ok(code) => Some(code),
            Err(error) => {
                checker.wrong(code.referenced, error.to_string());
                None
            }
        });
    let said = entry.say.is_some();
    let then = std::mem::take(&mut entry.then);
    let say = entry.say.clone();
    let mut actions = actions(checker, at, entry);
    if actions.len() > 1 {
        checker.wrong(
            place,
            "an event has one thing that happens; write two events",
        );
    }
    let action = match actions.pop() {
        Some(action) => action?,
        None if said => Action::Nothing,
        None => {
            checker.wrong(
                place,
                "nothing happens in this event, and nothing is told of it",
            );
            return None;
        }
    };
    let then = then
        .into_iter()
        .filter_map(|(name, sees)| {
            let name = Spanned::new(name, sees.referenced, sees.defined);
            let question = checker.question(&name)?;
            Some((question, parties(checker, sees.referenced, &sees.value)))
        })
        .collect();
    Some(Event {
        at,
        say,
        action,
        refused,
        then,
    })
}

/// What happens in an event: one entry for each thing that is there, `None` if it is unsound.
fn actions(checker: &mut Checker, at: Moment, entry: Entry) -> Vec<Option<Action>> {
    let mut found = Vec::new();
    if let Some(event) = entry.consent {
        found.push(consent(checker, at, &event));
    }
    if let Some(event) = entry.withdraw {
        found.push(withdraw(checker, &event));
    }
    if let Some(event) = entry.agreement {
        found.push(agreement(checker, at, &event));
    }
    if let Some(event) = entry.sign {
        let (by, named) = (
            checker.agency(&event.by),
            checker.agreement(&event.agreement),
        );
        let signature = named.and_then(|(agreement, terms)| {
            let terms = canonical::digest(&terms).ok()?;
            Some(Body::AgreementSignature(AgreementSignature {
                endorsements: Vec::new(),
                agreement,
                terms,
            }))
        });
        found.push(by.zip(signature).map(|(by, body)| Action::Say {
            by,
            what: Box::new(body),
            about: None,
        }));
    }
    if let Some(event) = entry.open_case {
        found.push(open(checker, &event));
    }
    if let Some(event) = entry.advance {
        found.push(advance(checker, event));
    }
    if let Some(event) = entry.ask {
        found.push(ask(checker, at, *event));
    }
    if let Some(event) = entry.answer {
        found.push(answer(checker, event));
    }
    if let Some(question) = entry.erase {
        found.push(checker.question(&question).map(Action::Erase));
    }
    if let Some(agency) = entry.away {
        found.push(checker.agency(&agency).map(Action::Away));
    }
    if let Some(agency) = entry.back {
        found.push(checker.agency(&agency).map(Action::Back));
    }
    if let Some(agency) = entry.revoke {
        found.push(checker.agency(&agency).map(Action::Revoke));
    }
    found
}

fn consent(checker: &mut Checker, at: Moment, event: &ConsentEvent) -> Option<Action> {
    let taken = checker.consents.contains_key(&event.id.value);
    let fresh = checker.fresh(&event.id, taken);
    let (by, person) = (checker.agency(&event.by), checker.person(&event.person));
    let recipients = checker.agencies(&event.recipients);
    let disclosers = checker.agencies(&event.disclosers);
    let id = ConsentId::from_random(bytes_of("consent", &event.id.value));
    checker.consents.insert(event.id.value.clone(), id.clone());
    let (by, person) = by.zip(person).filter(|_| fresh)?;
    let given_at = at.timestamp();
    let terms = ConsentTerms {
        consent: id,
        subject: opening_of(&person).commitment(),
        giver: event.giver,
        capacity: event.capacity,
        categories: event.categories.clone(),
        purposes: event.purposes.clone(),
        recipients,
        disclosers,
        method: event.method,
        language: event.language,
        interpreter: false,
        notice_version: 1,
        given_at,
        expires_at: given_at.plus_s(u64::from(event.lasts_days) * 86_400),
        redisclosure: event.redisclosure,
        evidence: None,
    };
    Some(Action::Say {
        by,
        what: Box::new(Body::Consent(Box::new(terms))),
        about: Some(person),
    })
}

fn withdraw(checker: &mut Checker, event: &WithdrawEvent) -> Option<Action> {
    let (consent, by) = (checker.consent(&event.consent), checker.agency(&event.at));
    let scope = match (&event.recipient, event.category) {
        (None, None) => WithdrawalScope::All,
        (None, Some(category)) => WithdrawalScope::Category(category),
        (Some(recipient), None) => WithdrawalScope::Recipient(checker.agency(recipient)?),
        (Some(recipient), Some(_)) => {
            checker.wrong(
                recipient.referenced,
                "name a recipient or a category, not both",
            );
            return None;
        }
    };
    let (consent, by) = consent.zip(by)?;
    Some(Action::Say {
        by,
        what: Box::new(Body::Withdrawal(Withdrawal { consent, scope })),
        about: None,
    })
}

fn agreement(checker: &mut Checker, at: Moment, event: &AgreementEvent) -> Option<Action> {
    let taken = checker.agreements.contains_key(&event.id.value);
    let fresh = checker.fresh(&event.id, taken);
    let by = checker.agency(&event.by);
    let mut parties = Vec::new();
    for (name, basis) in &event.parties {
        let name = Spanned::new(name.clone(), basis.referenced, basis.defined);
        if let Some(agency) = checker.agency(&name) {
            parties.push(AgreementParty {
                agency,
                basis: basis.value,
            });
        }
    }
    let mut lines = Vec::new();
    for line in &event.lines {
        if let (Some(from), Some(to)) = (checker.agency(&line.from), checker.agency(&line.to)) {
            lines.push(AgreementLine {
                from,
                to,
                category: line.category,
                level: line.level,
                retention_days: line.retention_days,
            });
        }
    }
    let terms = AgreementTerms {
        signatories: Vec::new(),
        agreement: AgreementId::from_random(bytes_of("agreement", &event.id.value)),
        edition: Edition::default(),
        parties,
        purposes: event.purposes.clone(),
        lines,
        starts_at: event.starts.unwrap_or(at).timestamp(),
        review_at: event.ends.timestamp(),
        ends_at: event.ends.timestamp(),
    };
    let named = (terms.agreement.clone(), terms.clone());
    checker.agreements.insert(event.id.value.clone(), named);
    let by = by.filter(|_| fresh)?;
    let others = terms.parties.iter().map(|p| p.agency.clone());
    let signers = others.filter(|a| *a != by && !event.unsigned).collect();
    Some(Action::Propose {
        by,
        terms: Box::new(terms),
        signers,
    })
}

fn open(checker: &mut Checker, event: &OpenEvent) -> Option<Action> {
    let taken = checker.cases.contains_key(&event.id.value);
    let fresh = checker.fresh(&event.id, taken);
    let (by, agencies) = (
        checker.agency(&event.by)?,
        checker.agencies(&event.agencies),
    );
    let case = CaseId::from_random(bytes_of("case", &event.id.value));
    let person = match &event.person {
        Some(person) => Some(checker.person(person)?),
        None => None,
    };
    let opened = Opened {
        case: case.clone(),
        lead: by.clone(),
        person,
    };
    checker.cases.insert(event.id.value.clone(), opened);
    let opening = CaseOpening {
        case,
        profile: event.profile,
        agencies,
    };
    fresh.then(|| Action::Say {
        by,
        what: Box::new(Body::CaseOpening(opening)),
        about: None,
    })
}

fn advance(checker: &mut Checker, event: AdvanceEvent) -> Option<Action> {
    let case = checker.case(&event.case);
    let by = match &event.by {
        Some(by) => checker.agency(by),
        None => case.as_ref().map(|c| c.lead.clone()),
    };
    let agencies = checker.agencies(&event.agencies);
    let person = match &event.person {
        Some(person) => Some(checker.person(person)?),
        None => None,
    };
    let (opened, by) = case.zip(by)?;
    let advance = CaseAdvance {
        case: opened.case,
        stage: event.stage,
        threshold: event.threshold,
        agencies,
        plan: event.plan,
        subject: person.as_deref().map(|p| opening_of(p).commitment()),
        outcome: event.outcome,
    };
    Some(Action::Say {
        by,
        what: Box::new(Body::CaseAdvance(advance)),
        about: person,
    })
}

fn answer(checker: &mut Checker, event: AnswerEvent) -> Option<Action> {
    let (question, worker) = (checker.question(&event.question), checker.worker(&event.by));
    let (question, worker) = question.zip(worker)?;
    let holder = checker
        .questions
        .get(question)
        .map(|q| q.holder().clone())?;
    if worker.agency != holder {
        let reason = format!(
            "`{}` does not work at `{holder}`, which is asked",
            event.by.value
        );
        checker.wrong(event.by.referenced, reason);
        return None;
    }
    let record = match &event.record {
        Some(record) => Some(checker.person(record)?),
        None => None,
    };
    Some(Action::Answer {
        question,
        by: event.by.value,
        verdict: event.verdict,
        record,
    })
}

fn ask(checker: &mut Checker, at: Moment, event: AskEvent) -> Option<Action> {
    let taken = checker.questions.iter().any(|q| q.id == event.id.value);
    let fresh = checker.fresh(&event.id, taken);
    let (worker, holder) = (checker.worker(&event.by), checker.agency(&event.to));
    let person = match &event.about {
        Some(person) => Some(checker.person(person)?),
        None => None,
    };
    let case = match &event.case {
        Some(case) => Some(checker.case(case)?),
        None => None,
    };
    let reliance = reliance(checker, &event)?;
    let items = items(checker, &event);
    let expect = expect(checker, &event);
    let sees = event.sees.as_ref();
    let sees = sees.map(|sees| parties(checker, sees.referenced, &sees.value));
    let (worker, holder) = worker.zip(holder).filter(|_| fresh)?;
    let known_to_lead = case.as_ref().filter(|case| case.lead == holder);
    let known_to_lead = known_to_lead.and_then(|case| case.person.clone());
    let (found, found_near) = found(checker, person.as_deref(), &worker.agency, &holder);
    let question = Question {
        found: found.or(known_to_lead),
        near: event.near,
        found_near: found_near.filter(|_| event.near),
        worker: event.by.value.clone(),
        requester: worker.agency,
        request: Request {
            request: RequestId::from_random(bytes_of("question", &event.id.value)),
            holder,
            items,
            purpose: event.purpose,
            basis: event.basis,
            reliance,
            case: case.map(|opened| opened.case),
            emergency: event.emergency,
            subject: person.as_deref().map(|p| opening_of(p).commitment()),
            worker: Commitment(digest_of("worker", &event.by.value).0),
            role: worker.role,
            trained: worker.trained,
            justification: Commitment(digest_of("why", &event.id.value).0),
            context: Digest::of(CONTEXT),
            reply_key: PublicKey(digest_of("key", &event.id.value).0),
            not_after: at.timestamp().plus_s(u64::from(event.lasts_hours) * 3_600),
        },
        id: event.id.value,
        person,
        why: event.why,
        expect,
        sees: sees.unwrap_or_default(),
    };
    checker.questions.push(question);
    Some(Action::Ask(checker.questions.len() - 1))
}

fn parties(
    checker: &mut Checker,
    place: Location,
    sees: &BTreeMap<String, View>,
) -> BTreeMap<Party, View> {
    let mut parties = BTreeMap::new();
    for (name, view) in sees {
        let party = match name.as_str() {
            PERSON => Some(Party::Person),
            OVERSIGHT => Some(Party::Oversight),
            _ => {
                let name = Spanned::new(name.clone(), place, place);
                checker.agency(&name).map(Party::Agency)
            }
        };
        if let Some(party) = party {
            parties.insert(party, *view);
        }
    }
    parties
}
