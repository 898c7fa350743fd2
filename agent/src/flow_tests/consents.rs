//! A broker that permits what no consent carries: the holder looks for itself.

use super::*;
use passerelle_model::{
    commitment::{Field, Opening},
    ids::ConsentId,
    statement::{ConsentTerms, Envelope, Reliance, Withdrawal, WithdrawalScope},
    vocabulary::{Capacity, ConsentGiver, ConsentMethod, Language},
};

const RELEASED: &str = "released";
const LOOKED_AT: &str = "a person is asked";
/// No consent is known.
const UNKNOWN_CONSENT: &str = "declined: unknown_consent";
/// One is known, and withdrawn or over.
const GONE: &str = "declined: permit_withdrawn";

/// What came of an offer.
fn came_of(events: &[Event]) -> String {
    events
        .iter()
        .find_map(|event| match event {
            Event::ReviewAsked { .. } => Some(LOOKED_AT.to_owned()),
            Event::Answered {
                outcome: Outcome::Released,
                ..
            } => Some(RELEASED.to_owned()),
            Event::Answered { outcome, rules, .. } => {
                Some(format!("{}: {}", outcome.code(), rules.join(" ")))
            }
            _ => None,
        })
        .expect("something comes of it")
}

fn terms(subject: Handle) -> (ConsentTerms, Opening) {
    let opening = crate::entropy::opening(Field::Subject, &subject.0).unwrap();
    let terms = ConsentTerms {
        consent: ConsentId::from_random(crate::entropy::random().unwrap()),
        subject: opening.commitment(),
        giver: ConsentGiver::Subject,
        capacity: Capacity::Capable,
        categories: vec![Category::InService, Category::Name],
        purposes: vec![Purpose::Screen, Purpose::Plan],
        recipients: vec![agency("police")],
        disclosers: vec![agency("clinic")],
        method: ConsentMethod::Written,
        language: Language::French,
        interpreter: false,
        notice_version: 1,
        given_at: NOW,
        expires_at: NOW.plus_s(365 * 86_400),
        redisclosure: false,
        evidence: None,
    };
    (terms, opening)
}

/// A consent in the log, to be sent to the clinic.
pub(super) struct Recorded {
    pub(super) consent: ConsentId,
    envelope: Envelope,
    opening: Opening,
}

impl World {
    fn agent(&self, who: &str) -> &Agent {
        if who == "clinic" {
            &self.clinic
        } else {
            &self.police
        }
    }

    fn says(&self, who: &str, body: Body) -> Envelope {
        let agent = self.agent(who);
        let stated = agent.context.say(NOW, body).unwrap().done();
        let envelope = stated.envelope.clone();
        agent.happens(vec![Event::Stated(Box::new(stated))]);
        envelope
    }

    pub(super) fn states(&self, who: &str, body: Body) -> Envelope {
        let envelope = self.says(who, body);
        self.agent(who).settles();
        envelope
    }

    pub(super) fn says_consent(
        &self,
        who: &str,
        subject: Handle,
        edit: impl FnOnce(&mut ConsentTerms),
    ) -> Recorded {
        let (mut terms, opening) = terms(subject);
        edit(&mut terms);
        Recorded {
            consent: terms.consent.clone(),
            envelope: self.states(who, Body::Consent(Box::new(terms))),
            opening,
        }
    }

    /// The broker enters a consent, again if it likes, and tells the clinic.
    pub(super) fn enters(&mut self, who: &str, recorded: &Recorded) {
        let envelope = recorded.envelope.clone();
        let mut notice = self.federation.said(NOW, who, envelope);
        let openings = vec![recorded.opening.clone()];
        notice.openings = passerelle_proto::convert::openings_to_wire(openings);
        self.clinic.hears(NOW, notice).unwrap();
    }

    pub(super) fn records(
        &mut self,
        who: &str,
        subject: Handle,
        edit: impl FnOnce(&mut ConsentTerms),
    ) -> ConsentId {
        let recorded = self.says_consent(who, subject, edit);
        self.enters(who, &recorded);
        recorded.consent
    }

    /// The broker enters a consent and tells the police.
    pub(super) fn records_for_police(
        &mut self,
        who: &str,
        subject: Handle,
        edit: impl FnOnce(&mut ConsentTerms),
    ) {
        let recorded = self.says_consent(who, subject, edit);
        let mut notice = self.federation.said(NOW, who, recorded.envelope);
        notice.openings = passerelle_proto::convert::openings_to_wire(vec![recorded.opening]);
        self.police.hears(NOW, notice).unwrap();
    }

    pub(super) fn says_withdrawal(
        &self,
        who: &str,
        consent: &ConsentId,
        scope: WithdrawalScope,
    ) -> Envelope {
        let consent = consent.clone();
        self.states(who, Body::Withdrawal(Withdrawal { consent, scope }))
    }

    /// In the outbox, behind what is there.
    pub(super) fn withdraws_unsent(&self, who: &str, consent: &ConsentId, scope: WithdrawalScope) {
        let consent = consent.clone();
        self.says(who, Body::Withdrawal(Withdrawal { consent, scope }));
    }

    pub(super) fn withdraws(
        &mut self,
        who: &str,
        consent: &ConsentId,
        scope: WithdrawalScope,
    ) -> u64 {
        let envelope = self.says_withdrawal(who, consent, scope);
        let notice = self.federation.said(NOW, who, envelope);
        let index = notice.index;
        self.clinic.hears(NOW, notice).unwrap();
        index
    }

    /// The broker permits, whatever there is; what the clinic makes of it.
    fn permits(&mut self, edit: impl FnOnce(&mut Question)) -> (String, RequestId) {
        let (stated, permit) = self.ask_with(KNOWN, edit);
        (self.offers(&stated, &permit, NOW), permit.request)
    }

    pub(super) fn offers(&mut self, stated: &Stated, permit: &Permit, at: Timestamp) -> String {
        let offer = self.offer(stated, permit);
        let write = self.clinic.write(at, move |context, view| {
            let events = take_in(context, view, offer, at)?;
            let what = came_of(&events);
            Ok((events, what))
        });
        write.unwrap()
    }

    /// The house hears no more than that it was declined.
    fn nothing_crosses(&mut self, request: &RequestId) {
        self.deliver(|_| ());
        let opened = self.opened(request).unwrap();
        assert_eq!(opened.outcome, Outcome::Declined);
        assert!(opened.items.is_empty() && opened.obligations.is_empty());
        assert_eq!(self.clinic.holds(request).status, Status::Declined);
    }

    /// Nothing is released, for this reason.
    fn refuses(&mut self, code: &str, why: &str) {
        let (what, request) = self.permits(|_| ());
        assert_eq!(what, code, "{why}");
        self.nothing_crosses(&request);
    }
}

pub(super) fn bare() -> World {
    world_of(fact(), |_| (), false)
}

#[test]
fn a_permit_without_any_consent_gets_no_answer() {
    bare().refuses(UNKNOWN_CONSENT, "there is none");
}

#[test]
fn a_consent_that_does_not_cover_the_request_carries_nothing() {
    type Edit = fn(&mut ConsentTerms);
    let cases: [(&str, Edit); 6] = [
        ("another recipient", |t| {
            t.recipients = vec![agency("mentors")]
        }),
        ("another discloser", |t| {
            t.disclosers = vec![agency("mentors")]
        }),
        ("another category", |t| t.categories = vec![Category::Name]),
        ("another purpose", |t| t.purposes = vec![Purpose::Plan]),
        ("somebody else gave it", |t| t.giver = ConsentGiver::Parent),
        ("it could not be given", |t| {
            t.capacity = Capacity::Substituted
        }),
    ];
    for (why, edit) in cases {
        let mut world = bare();
        world.records("clinic", KNOWN, edit);
        world.refuses(UNKNOWN_CONSENT, why);
    }
}

#[test]
fn a_consent_of_somebody_else_carries_nothing() {
    let mut world = bare();
    let of_another = world.records("clinic", UNKNOWN, |_| ());
    world.refuses(UNKNOWN_CONSENT, "another person's");
    let (events, _) = world.permits(|q| q.reliance = Some(Reliance::Consent(of_another)));
    assert_eq!(events, UNKNOWN_CONSENT, "named, and still another person's");
}

#[test]
fn a_consent_that_is_over_or_of_the_future_carries_nothing() {
    let mut world = bare();
    world.records("clinic", KNOWN, |t| t.expires_at = NOW);
    world.refuses(GONE, "over");
    let mut world = bare();
    world.records("clinic", KNOWN, |t| t.given_at = NOW.plus_s(1));
    world.refuses(GONE, "of the future");
}

#[test]
fn a_slow_clock_does_not_lengthen_a_consent() {
    let mut world = bare();
    world.records("clinic", KNOWN, |t| t.expires_at = NOW.plus_s(100));
    let (stated, _) = world.ask(KNOWN);
    let permit = permit_for("police", &stated.envelope, NOW.plus_s(200));
    assert_eq!(world.offers(&stated, &permit, NOW), GONE);
}

#[test]
fn only_the_consent_that_the_request_names_carries_it() {
    let mut world = bare();
    let named = world.records("clinic", KNOWN, |t| t.expires_at = NOW);
    world.records("clinic", KNOWN, |_| ());
    let (events, _) = world.permits(|q| q.reliance = Some(Reliance::Consent(named)));
    assert_eq!(events, GONE);
    assert_eq!(world.permits(|_| ()).0, RELEASED);
}

#[test]
fn every_item_needs_a_consent() {
    let mut world = bare();
    world.records("clinic", KNOWN, |t| {
        t.categories = vec![Category::InService]
    });
    let (events, _) = world.permits(|q| {
        q.items.push(Item {
            category: Category::AgeBand,
            level: Level::Known,
        });
    });
    assert_eq!(events, UNKNOWN_CONSENT);
}

#[test]
fn what_was_withdrawn_by_whichever_record_carries_nothing_until_it_is_given_again() {
    let scopes = [
        WithdrawalScope::All,
        WithdrawalScope::Recipient(agency("police")),
        WithdrawalScope::Category(Category::InService),
    ];
    for scope in scopes {
        let mut world = bare();
        let consent = world.records("clinic", KNOWN, |_| ());
        let elsewhere = world.records("police", KNOWN, |_| ());
        assert_eq!(world.permits(|_| ()).0, RELEASED);
        world.clinic.settles();
        let index = world.withdraws("police", &elsewhere, scope);
        let row = state::consent(world.clinic.core.view(), &elsewhere).unwrap();
        assert_eq!(row.unwrap().withdrawn[0].index, index);
        world.refuses(GONE, "withdrawn elsewhere");
        let (events, _) = world.permits(|q| q.reliance = Some(Reliance::Consent(consent)));
        assert_eq!(events, GONE, "another one named");
        world.records("clinic", KNOWN, |_| ());
        assert_eq!(world.permits(|_| ()).0, RELEASED, "given again");
    }
    let mut world = bare();
    let consent = world.records("clinic", KNOWN, |_| ());
    world.withdraws(
        "police",
        &consent,
        WithdrawalScope::Recipient(agency("mentors")),
    );
    assert_eq!(world.permits(|_| ()).0, RELEASED, "of no concern");
}

#[test]
fn a_withdrawal_said_here_counts_though_the_broker_keeps_it_from_the_log() {
    let mut world = bare();
    let consent = world.records("clinic", KNOWN, |_| ());
    let body = Body::Withdrawal(Withdrawal {
        consent: consent.clone(),
        scope: WithdrawalScope::All,
    });
    let stated = world.clinic.context.say(NOW, body).unwrap().done();
    let said = stated.envelope.clone();
    world.clinic.happens(vec![Event::Stated(Box::new(stated))]);
    let (events, _) = world.permits(|_| ());
    assert_eq!(events, GONE, "while it waits to be sent");
    world.clinic.settles();
    world.refuses(GONE, "accepted, and not heard of");
    let notice = world.federation.said(NOW, "clinic", said);
    world.clinic.hears(NOW, notice).unwrap();
    world.refuses(GONE, "heard of");
    world.records("clinic", KNOWN, |_| ());
    assert_eq!(world.permits(|_| ()).0, RELEASED, "given again");
}

#[test]
fn a_withdrawal_that_the_broker_refused_counts_here_until_the_person_consents_again() {
    let mut world = bare();
    let consent = world.records("clinic", KNOWN, |_| ());
    let scope = WithdrawalScope::All;
    let body = Body::Withdrawal(Withdrawal { consent, scope });
    let stated = world.clinic.context.say(NOW, body).unwrap().done();
    world.clinic.happens(vec![Event::Stated(Box::new(stated))]);
    world.clinic.is_refused(ErrorCode::Stale, NOW);
    world.refuses(GONE, "a person withdrew");
    world.records("clinic", KNOWN, |_| ());
    assert_eq!(world.permits(|_| ()).0, RELEASED, "given anew");
}

#[test]
fn a_consent_that_is_entered_again_is_not_given_again() {
    let mut world = bare();
    let recorded = world.says_consent("clinic", KNOWN, |_| ());
    world.enters("clinic", &recorded);
    world.withdraws("police", &recorded.consent, WithdrawalScope::All);
    world.enters("clinic", &recorded);
    world.refuses(GONE, "the first record counts");
}

#[test]
fn a_withdrawal_that_is_entered_before_its_consent_counts() {
    let mut world = bare();
    let recorded = world.says_consent("clinic", KNOWN, |_| ());
    world.withdraws("police", &recorded.consent, WithdrawalScope::All);
    world.enters("clinic", &recorded);
    world.refuses(GONE, "whatever the order");
}

#[test]
fn a_consent_recorded_elsewhere_needs_a_person_here_whatever_the_broker_says() {
    let mut world = bare();
    world.records("police", KNOWN, |_| ());
    let (events, request) = world.permits(|_| ());
    assert_eq!(events, LOOKED_AT);
    let approved = world.clinic.reviews(&request, Verdict::Approve, "w-1", NOW);
    assert_eq!(approved.unwrap(), ["reviewed", "answered", "stated"]);
}

#[test]
fn a_consent_withdrawn_while_somebody_looks_releases_nothing() {
    let mut world = bare();
    let consent = world.records("police", KNOWN, |_| ());
    let (events, request) = world.permits(|_| ());
    assert_eq!(events, LOOKED_AT);
    world.withdraws("police", &consent, WithdrawalScope::All);
    let approved = world.clinic.reviews(&request, Verdict::Approve, "w-1", NOW);
    assert_eq!(approved.unwrap(), ["reviewed", "answered", "stated"]);
    world.nothing_crosses(&request);
}

#[test]
fn a_consent_in_our_name_that_we_did_not_say_counts_as_anybodys() {
    let mut world = bare();
    // As if the broker had entered another key as the clinic's, and signed with it.
    let (terms, opening) = terms(KNOWN);
    let consent = terms.consent.clone();
    let body = Body::Consent(Box::new(terms));
    let said = world.clinic.context.say(NOW, body).unwrap().done();
    let recorded = Recorded {
        consent,
        envelope: said.envelope,
        opening,
    };
    world.enters("clinic", &recorded);
    assert_eq!(world.permits(|_| ()).0, LOOKED_AT);
}

#[test]
fn whether_a_consent_is_missing_does_not_depend_on_whether_there_is_a_record() {
    let mut seen = Vec::new();
    for subject in [KNOWN, UNKNOWN] {
        let mut world = bare();
        let (stated, permit) = world.ask(subject);
        seen.push(world.offers(&stated, &permit, NOW));
        let (_, answer) = world.clinic.outbox().pop().unwrap();
        let sealed = answer.payloads["answer"].0.len();
        seen.push(format!("{sealed} bytes at {:?}", answer.not_before));
    }
    assert_eq!(seen[..2], seen[2..], "and is sent like any other");
    assert_eq!(seen[0], UNKNOWN_CONSENT);
}

#[test]
fn with_more_consents_than_can_be_looked_at_nothing_is_answered() {
    let mut world = bare();
    for _ in 0..=passerelle_model::state::MAX_CANDIDATES {
        world.records("clinic", KNOWN, |_| ());
    }
    world.refuses(UNKNOWN_CONSENT, "one of them might be withdrawn");
}

#[test]
fn nothing_is_released_on_a_consent_known_to_be_withdrawn_or_over() {
    let (far, all) = (NOW.plus_s(1_000), WithdrawalScope::All);
    let other = WithdrawalScope::Recipient(agency("mentors"));
    let category = WithdrawalScope::Category(Category::InService);
    for (ends, scope, is_gone) in [
        (far, None, false),
        (far, Some(other), false),
        (far, Some(all), true),
        (far, Some(category), true),
        (NOW, None, true),
    ] {
        for basis in [LegalBasis::Consent, LegalBasis::Gdpr6] {
            let mut world = world(fact());
            let consent = world.records("police", KNOWN, |t| t.expires_at = ends);
            if let Some(scope) = scope.clone() {
                world.withdraws("police", &consent, scope);
            }
            let (events, request) = world.permits(|q| {
                q.reliance = Some(Reliance::Consent(consent));
                q.basis = basis;
            });
            if is_gone {
                assert_eq!(events, GONE);
                world.nothing_crosses(&request);
            } else if basis == LegalBasis::Consent {
                assert_eq!(events, LOOKED_AT, "it was recorded elsewhere");
            } else {
                assert_eq!(events, RELEASED);
            }
        }
    }
}
