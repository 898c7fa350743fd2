//! What a broker, a disk or bad timing may do, and what must come of it.

use super::*;
use crate::testing::damage_key;
use passerelle_model::{entry::StopCause, pdp::Obligation};
use passerelle_policies::LocalPdp;

fn item(category: Category, level: Level) -> Item {
    Item { category, level }
}

impl World {
    pub(super) fn police_hear(&mut self, body: EntryBody) {
        let notice = self.federation.notice(NOW, body, &NAMES);
        self.police.hears(NOW, notice).unwrap();
    }

    pub(super) fn clinic_hears(&mut self, body: EntryBody) {
        let notice = self.federation.notice(NOW, body, &NAMES);
        self.clinic.hears(NOW, notice).unwrap();
    }

    /// The offer of `permit`, heard by the clinic at its time of issue.
    pub(super) fn offered(&mut self, stated: &Stated, permit: &Permit) -> Vec<&'static str> {
        let offer = self.offer(stated, permit);
        self.clinic.hears(permit.issued_at, offer).unwrap()
    }

    pub(super) fn kept_offer(&self, request: &RequestId) -> Option<u64> {
        let offer = state::offer(self.clinic.core.view(), request).unwrap();
        offer.map(|noticed| noticed.index)
    }
}

#[test]
fn a_permit_ahead_of_our_clock_is_not_used_yet_and_not_lost() {
    let mut world = world(fact());
    let (stated, _) = world.ask(KNOWN);
    let permit = permit_for("police", &stated.envelope, NOW.plus_s(1_000));
    let offer = world.offer(&stated, &permit);
    assert_eq!(world.clinic.hears(NOW, offer).unwrap(), ["noticed"]);
    let row = world.clinic.holds(&permit.request);
    assert_eq!((row.status, row.stopped), (Status::Offered, None));
    assert_eq!(world.kept_offer(&permit.request), None);
    let events = world.offered(&stated, &permit);
    assert_eq!(events, ["noticed", "answered", "stated"]);
}

#[test]
fn with_too_few_witnesses_for_this_agency_no_permit_is_used() {
    for (least, expected) in [
        (3, vec!["noticed", "answered", "stated"]),
        (4, vec!["noticed"]),
    ] {
        let mut world = world_with(fact(), |context| context.config.min_witnesses = least);
        let (stated, permit) = world.ask(KNOWN);
        assert_eq!(world.offered(&stated, &permit), expected);
        assert_eq!(world.clinic.holds(&permit.request).stopped, None);
    }
}

#[test]
fn an_answer_that_is_sequenced_twice_is_neither_lost_nor_raised_from_the_dead() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    world.offered(&stated, &permit);
    let (_, answer) = world.clinic.outbox().pop().unwrap();
    assert_eq!(
        world.deliver(|_| ()),
        ["noticed", "answer_opened", "stated"]
    );
    let again = |world: &mut World| {
        let mut notice = world
            .federation
            .said(NOW, "clinic", answer.envelope.clone());
        notice.payloads = [("answer".to_owned(), vec![7; 1072])].into();
        assert_eq!(world.police.hears(NOW, notice).unwrap(), ["noticed"]);
    };
    again(&mut world);
    assert_eq!(
        world.opened(&permit.request).unwrap().outcome,
        Outcome::Released
    );
    for body in [
        EntryBody::Expired {
            request: permit.request.clone(),
        },
        EntryBody::Stopped {
            request: permit.request.clone(),
            cause: StopCause::DecidedAgain,
        },
    ] {
        world.police_hear(body);
        let row = world.police.asks(&permit.request);
        assert_eq!((row.status, row.stopped), (Status::Delivered, None));
    }
    world.police.erases(&permit.request).unwrap();
    again(&mut world);
    world.police_hear(EntryBody::Expired {
        request: permit.request.clone(),
    });
    assert_eq!(world.police.asks(&permit.request).status, Status::Erased);
    let sealed = state::sealed(world.police.core.view(), &permit.request);
    assert!(sealed.unwrap().is_none());
}

#[test]
fn an_answer_after_the_end_is_not_taken() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    world.offered(&stated, &permit);
    world.police_hear(EntryBody::Stopped {
        request: permit.request.clone(),
        cause: StopCause::DecidedAgain,
    });
    assert_eq!(world.deliver(|_| ()), ["noticed"]);
    assert_eq!(world.police.asks(&permit.request).status, Status::Stopped);
    assert!(world.opened(&permit.request).is_err());
}

#[test]
fn the_size_of_an_answer_follows_the_permit_and_not_what_was_found() {
    let long = Fact {
        contact: Some("nurse ".repeat(300)),
        ..fact()
    };
    let mut sizes = Vec::new();
    for (subject, level) in [
        (KNOWN, Level::Involvement),
        (UNKNOWN, Level::Involvement),
        (KNOWN, Level::Detail),
        (UNKNOWN, Level::Detail),
    ] {
        let mut world = world(long.clone());
        let (stated, permit) = world.ask_with(subject, |q| {
            q.items = vec![item(Category::InService, level)];
        });
        world.offered(&stated, &permit);
        let (_, answer) = world.clinic.outbox().pop().unwrap();
        sizes.push(answer.payloads["answer"].0.len() - seal::OVERHEAD_BYTES);
    }
    let (short, long) = (seal::SHORT_ANSWER, seal::LONG_ANSWER);
    assert_eq!(sizes, [short, short, long, long]);
}

#[test]
fn what_does_not_fit_its_size_is_not_said() {
    let mut world = world(Fact {
        contact: Some("nurse ".repeat(2_000)),
        ..fact()
    });
    let (stated, permit) = world.ask(KNOWN);
    world.offered(&stated, &permit);
    world.deliver(|_| ());
    let opened = world.opened(&permit.request).unwrap();
    assert_eq!(opened.outcome, Outcome::CannotSay);
}

#[test]
fn an_entry_of_a_later_version_does_not_hold_up_what_follows() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    let text = String::from_utf8(offer.entry).unwrap();
    let later = text.replace("offered", "auctioned").into_bytes();
    let notice = world.federation.notice_of(later, false, &NAMES);
    assert_eq!(world.clinic.hears(NOW, notice).unwrap(), ["noticed"]);
    let events = world.offered(&stated, &permit);
    assert_eq!(events, ["noticed", "answered", "stated"]);
}

#[test]
fn an_offer_that_does_not_hold_never_replaces_one_that_does() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.review = true;
    world.offered(&stated, &permit);
    let kept = world.kept_offer(&permit.request);
    let mut wider = permit.clone();
    wider.items[0].level = Level::Detail;
    assert_eq!(
        world.offered(&stated, &wider),
        ["noticed", "permit_refused"]
    );
    assert_eq!(world.kept_offer(&permit.request), kept);
    assert_eq!(world.clinic.holds(&permit.request).items, permit.items);
}

#[test]
fn an_offer_after_the_answer_changes_nothing() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    world.offered(&stated, &permit);
    world.clinic.settles();
    let (kept, row) = (
        world.kept_offer(&permit.request),
        world.clinic.holds(&permit.request),
    );
    let mut later = permit_for("police", &stated.envelope, NOW.plus_s(1));
    later.items[0].level = Level::Known;
    assert_eq!(world.offered(&stated, &later), ["noticed"]);
    let now = world.clinic.holds(&permit.request);
    assert_eq!(world.kept_offer(&permit.request), kept);
    assert_eq!((now.items, now.permit), (row.items, row.permit));
}

#[test]
fn who_asks_is_not_shown_from_what_was_not_verified() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.items[0].level = Level::Detail;
    world.offered(&stated, &permit);
    let view = world.clinic.core.view();
    let asked = asked_by::open_context(&world.clinic.context, view, &permit.request);
    assert_eq!(asked.err(), Some(ErrorCode::UnknownRequest));
    assert_eq!(world.clinic.holds(&permit.request).role, None);
}

#[test]
fn an_offer_that_comes_again_keeps_the_first_approval_and_the_deadline() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.review = true;
    permit.obligations = vec![Obligation::SecondApprover];
    world.offered(&stated, &permit);
    let request = permit.request.clone();
    let deadline = world.clinic.holds(&request).review_by;
    let approve = |world: &World, worker| {
        let at = NOW.plus_s(60);
        world.clinic.reviews(&request, Verdict::Approve, worker, at)
    };
    approve(&world, "w-1").unwrap();
    permit.issued_at = NOW.plus_s(60);
    assert_eq!(world.offered(&stated, &permit), ["noticed", "review_asked"]);
    assert_eq!(world.clinic.holds(&request).review_by, deadline);
    assert_eq!(approve(&world, "w-1"), Err(ErrorCode::Duplicate));
    // Other items are another question.
    permit.items[0].level = Level::Known;
    assert_eq!(world.offered(&stated, &permit), ["noticed", "review_asked"]);
    assert_ne!(world.clinic.holds(&request).review_by, deadline);
    assert_eq!(approve(&world, "w-1").unwrap(), ["reviewed"]);
    let done = approve(&world, "w-2").unwrap();
    assert_eq!(done, ["reviewed", "answered", "stated"]);
}

#[test]
fn a_renewal_that_asks_for_a_second_approver_gets_one() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.review = true;
    world.offered(&stated, &permit);
    let late = permit.not_after.plus_s(60);
    let request = permit.request.clone();
    let approve = |world: &World, worker| {
        world
            .clinic
            .reviews(&request, Verdict::Approve, worker, late)
    };
    assert_eq!(approve(&world, "w-1").unwrap(), ["reviewed", "stated"]);
    let mut renewed = permit_for("police", &stated.envelope, late);
    renewed.review = true;
    renewed.obligations = vec![Obligation::SecondApprover];
    assert_eq!(
        world.offered(&stated, &renewed),
        ["noticed", "review_asked"]
    );
    assert_eq!(approve(&world, "w-1").unwrap(), ["reviewed"]);
    assert_eq!(approve(&world, "w-1"), Err(ErrorCode::Duplicate));
    let done = approve(&world, "w-2").unwrap();
    assert_eq!(done, ["reviewed", "answered", "stated"]);
}

#[test]
fn a_denial_after_the_permit_stops_the_review() {
    let mut world = world(fact());
    let (stated, mut permit) = world.ask(KNOWN);
    permit.review = true;
    world.offered(&stated, &permit);
    world.clinic_hears(EntryBody::Decided {
        request: permit.request.clone(),
        items: Vec::new(),
        bundle: Digest([0; 32]),
    });
    let row = world.clinic.holds(&permit.request);
    assert_eq!(row.status, Status::Stopped);
    assert_eq!(row.stopped.as_deref(), Some("decided_again"));
    assert_eq!(world.clinic.meta().reviews, 0);
}

#[test]
fn a_request_that_was_stopped_is_not_opened_again_by_a_refused_answer() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    world.offered(&stated, &permit);
    world.clinic_hears(EntryBody::Stopped {
        request: permit.request.clone(),
        cause: StopCause::DecidedAgain,
    });
    let events = world.clinic.is_refused(ErrorCode::PermitExpired, NOW);
    assert_eq!(events, ["settled"], "no renewal of what is over");
    let row = world.clinic.holds(&permit.request);
    assert_eq!((row.status, row.given), (Status::Stopped, None));
    assert_eq!(row.stopped.as_deref(), Some("decided_again"));
}

#[test]
fn a_damaged_key_costs_its_own_request_and_no_other() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    world.offered(&stated, &permit);
    let (other, _) = world.ask(UNKNOWN);
    damage_key(
        &world.police.context,
        world.police.dir.path(),
        &permit.request,
    );
    let vault = &world.police.context.vault;
    let other = other.vault.unwrap();
    let opened = vault.open(world.police.core.view(), &other);
    assert!(opened.unwrap().is_some());
    assert_eq!(world.deliver(|_| ()), ["noticed", "answer_refused"]);
    let row = world.police.asks(&permit.request);
    assert_eq!(row.status, Status::Stopped);
    assert_eq!(row.stopped.as_deref(), Some("storage"));
    let unfinished = erasure::unfinished(world.police.core.view());
    assert!(unfinished.unwrap().is_empty());
}

#[test]
fn a_name_is_reviewed_for_a_stranger_too() {
    for subject in [KNOWN, UNKNOWN] {
        let mut world = world(fact());
        let (stated, permit) = world.ask_with(subject, |q| {
            q.items = vec![item(Category::Name, Level::Detail)];
        });
        assert_eq!(world.offered(&stated, &permit), ["noticed", "review_asked"]);
    }
}

#[test]
fn any_flags_that_ever_occurred_ask_for_a_review_of_everybody() {
    let rule = "@id(\"own-restricted\")\nforbid (principal, action == Action::\"answer\", resource)\n\
                when { resource.restricted && resource.sensitivity < 1 };";
    let light = Fact {
        restricted: true,
        sensitivity: Sensitivity::try_from(0).unwrap(),
        ..fact()
    };
    for subject in [KNOWN, UNKNOWN] {
        let mut world = world_with(light.clone(), |context| {
            context.policy = LocalPdp::load(Some(rule)).unwrap();
        });
        // Weightier records must not hide the light one.
        world.clinic.happens(vec![
            Event::ImportChunk {
                import: "j".into(),
                part: 0,
                people: vec![ImportedPerson {
                    source_id: SourceId("c-2".into()),
                    person: Person::new("Roy", "Noé", "2001-01-01".parse().unwrap(), None).unwrap(),
                    facts: vec![Fact {
                        sensitivity: Sensitivity::try_from(2).unwrap(),
                        ..fact()
                    }],
                    digest: Digest([2; 32]),
                }],
            },
            Event::ImportCommitted {
                import: "j".into(),
                parts: 1,
            },
        ]);
        let (stated, permit) = world.ask_with(subject, |q| q.purpose = Purpose::Plan);
        assert_eq!(world.offered(&stated, &permit), ["noticed", "review_asked"]);
    }
}
