//! Rules: what the agencies have put in force counts, and nothing else.

use super::*;
use crate::{rules, testing::RULES};
use passerelle_model::{bundle::BundleTerms, statement::BundleEndorsement};

const NEXT: Digest = Digest([5; 32]);

fn next() -> BundleTerms {
    BundleTerms {
        bundle: NEXT,
        previous: Some(RULES),
        revision: 1,
        not_before: Timestamp(0),
        expires_at: None,
    }
}

impl World {
    /// Everybody hears of an entry.
    fn all_hear(&mut self, body: EntryBody) {
        let notice = self.federation.notice(NOW, body, &NAMES);
        self.police.hears(NOW, notice.clone()).unwrap();
        self.clinic.hears(NOW, notice).unwrap();
    }

    fn all_hear_of_endorsement(&mut self, by: &str, terms: &BundleTerms, forged: bool) {
        let (of, agency) = (if forged { "police" } else { by }, agency(by));
        let dir = tempfile::tempdir().unwrap();
        let mut context = self.federation.context(of, dir.path());
        context.identity.anchors.agency = agency.clone();
        let body = Body::BundleEndorsement(BundleEndorsement {
            bundle: terms.bundle,
            terms: terms.digest().unwrap(),
        });
        let envelope = context.say(NOW, body).unwrap().done().envelope;
        self.all_hear(EntryBody::Said { agency, envelope });
    }

    fn refuses_to_ask(&self) -> Option<ErrorCode> {
        let view = self.police.core.view();
        let trust = self.police.context.trust(view).unwrap();
        let question = question(&self.police.context.config.workers[0]);
        requester::ask(&self.police.context, &trust, question, NOW).err()
    }

    fn clinic_in_force(&self) -> Digest {
        let rules = rules::rules(self.clinic.core.view()).unwrap();
        rules.in_force.unwrap().bundle
    }
}

#[test]
fn an_activation_that_is_one_endorsement_short_stops_asking_and_answering() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    assert_eq!(world.refuses_to_ask(), None);
    world.all_hear(EntryBody::BundleProposed { terms: next() });
    world.all_hear_of_endorsement("mentors", &next(), false);
    world.all_hear(EntryBody::BundleActivated { bundle: NEXT });
    assert_eq!(world.clinic_in_force(), RULES, "the running bundle stays");
    assert_eq!(world.refuses_to_ask(), Some(ErrorCode::BundleNotEndorsed));
    let under_it = Permit {
        bundle: NEXT,
        ..permit
    };
    assert_eq!(world.offered(&stated, &under_it), ["noticed"], "no answer");
    let row = world.clinic.holds(&under_it.request);
    assert!(row.given.is_none() && row.postponed.is_some(), "it waits");
}

#[test]
fn an_endorsement_in_anothers_name_does_not_count() {
    let mut world = world(fact());
    world.all_hear(EntryBody::BundleProposed { terms: next() });
    world.all_hear_of_endorsement("mentors", &next(), false);
    world.all_hear_of_endorsement("clinic", &next(), true);
    world.all_hear(EntryBody::BundleActivated { bundle: NEXT });
    assert_eq!(world.clinic_in_force(), RULES);
    assert_eq!(world.refuses_to_ask(), Some(ErrorCode::BundleNotEndorsed));
}

#[test]
fn who_was_shut_out_counts_neither_as_a_member_nor_as_one_who_endorsed() {
    let mut world = world(fact());
    world.all_hear(EntryBody::BundleProposed { terms: next() });
    world.all_hear_of_endorsement("mentors", &next(), false);
    world.all_hear(EntryBody::Revoked {
        agency: agency("mentors"),
    });
    world.all_hear_of_endorsement("clinic", &next(), false);
    world.all_hear(EntryBody::BundleActivated { bundle: NEXT });
    assert_eq!(world.clinic_in_force(), RULES, "one of two");
}

#[test]
fn what_a_member_endorsed_under_former_keys_counts_no_more() {
    let mut world = world(fact());
    world.all_hear(EntryBody::BundleProposed { terms: next() });
    world.all_hear_of_endorsement("mentors", &next(), false);
    let keys = world.federation.public_keys("mentors");
    world.all_hear(EntryBody::Enrolled {
        agency: agency("mentors"),
        keys,
        token: Digest([3; 32]),
        certificate: String::new(),
    });
    world.all_hear_of_endorsement("clinic", &next(), false);
    world.all_hear(EntryBody::BundleActivated { bundle: NEXT });
    assert_eq!(world.clinic_in_force(), RULES, "one of three");
}

#[test]
fn a_proposal_that_cannot_follow_or_is_one_too_many_or_takes_anothers_place_is_ignored() {
    let mut world = world(fact());
    world.all_hear(EntryBody::BundleProposed { terms: next() });
    let other_terms = BundleTerms {
        revision: 2,
        ..next()
    };
    world.all_hear(EntryBody::BundleProposed { terms: other_terms });
    let of_another = BundleTerms {
        bundle: Digest([6; 32]),
        previous: Some(NEXT),
        ..next()
    };
    world.all_hear(EntryBody::BundleProposed { terms: of_another });
    let held = rules::proposals(world.clinic.core.view()).unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].terms, next());
    for n in 0..20 {
        let terms = BundleTerms {
            bundle: Digest([100 + n; 32]),
            ..next()
        };
        world.all_hear(EntryBody::BundleProposed { terms });
    }
    let held = rules::proposals(world.clinic.core.view()).unwrap();
    assert_eq!(held.len(), passerelle_model::bundle::MAX_PROPOSALS);
}

#[test]
fn rules_are_not_worked_by_before_their_time_by_the_clock_here() {
    let mut rules = rules::Rules::founding(RULES);
    let skew = crate::verify::CLOCK_SKEW_S;
    let terms = rules.in_force.as_mut().unwrap();
    terms.not_before = NOW.plus_s(skew);
    assert!(rules.lawful(NOW).is_ok());
    let before = rules.lawful(Timestamp(NOW.0 - 1));
    assert_eq!(before.err(), Some(ErrorCode::BundleNotHeld));
}

#[test]
fn rules_that_more_than_half_have_endorsed_are_in_force_and_wait_to_be_held() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    world.all_hear(EntryBody::BundleProposed { terms: next() });
    world.all_hear_of_endorsement("mentors", &next(), false);
    world.all_hear_of_endorsement("clinic", &next(), false);
    world.all_hear(EntryBody::BundleActivated { bundle: NEXT });
    assert_eq!(world.clinic_in_force(), NEXT);
    // Nobody holds the file here.
    assert_eq!(world.refuses_to_ask(), Some(ErrorCode::BundleNotHeld));
    assert_eq!(world.offered(&stated, &permit), ["noticed"]);
    let row = world.clinic.holds(&permit.request);
    assert!(row.given.is_none() && row.postponed.is_some(), "it waits");
}

#[test]
fn a_permit_by_other_rules_than_those_in_force_is_not_used() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let by_others = Permit {
        bundle: NEXT,
        ..permit.clone()
    };
    assert_eq!(world.offered(&stated, &by_others), ["noticed"]);
    let row = world.clinic.holds(&permit.request);
    assert!(row.given.is_none() && row.postponed.is_some(), "it waits");
    // One by the rules in force is.
    let again = world.offered(&stated, &permit);
    assert!(again.len() > 1, "{again:?}");
}

#[test]
fn rules_that_are_over_or_a_lower_revision_are_not_worked_by() {
    let mut world = world(fact());
    let ends = BundleTerms {
        expires_at: Some(NOW.plus_s(60)),
        ..next()
    };
    world.all_hear(EntryBody::BundleProposed {
        terms: ends.clone(),
    });
    world.all_hear_of_endorsement("mentors", &ends, false);
    world.all_hear_of_endorsement("clinic", &ends, false);
    world.all_hear(EntryBody::BundleActivated { bundle: NEXT });
    let rules = rules::rules(world.clinic.core.view()).unwrap();
    assert!(rules.lawful(NOW).is_ok());
    let over = rules.lawful(NOW.plus_s(60));
    assert_eq!(over.err(), Some(ErrorCode::BundleNotHeld));
    let back = BundleTerms {
        bundle: RULES,
        previous: Some(NEXT),
        revision: 1,
        not_before: Timestamp(0),
        expires_at: None,
    };
    world.all_hear(EntryBody::BundleProposed {
        terms: back.clone(),
    });
    world.all_hear_of_endorsement("mentors", &back, false);
    world.all_hear_of_endorsement("clinic", &back, false);
    world.all_hear(EntryBody::BundleActivated { bundle: RULES });
    assert_eq!(world.clinic_in_force(), NEXT, "a rollback");
    assert_eq!(world.refuses_to_ask(), Some(ErrorCode::BundleNotEndorsed));
}

#[test]
fn what_waits_to_leave_while_the_rules_are_unlawful_waits_on_unless_it_takes_back() {
    let mut world = world(fact());
    let consent = world.records("clinic", UNKNOWN, |_| ());
    let (stated, permit) = world.ask(KNOWN);
    assert_eq!(world.offers(&stated, &permit, NOW), "released");
    let question = question(&world.police.context.config.workers[0]);
    let trust = world
        .police
        .context
        .trust(world.police.core.view())
        .unwrap();
    let question = Question {
        subject: Some(KNOWN),
        ..question
    };
    let (_, asked) = requester::ask(&world.police.context, &trust, question, NOW).unwrap();
    world.police.happens(vec![Event::Stated(Box::new(asked))]);
    world.withdraws_unsent(
        "clinic",
        &consent,
        passerelle_model::statement::WithdrawalScope::All,
    );
    let endorses = Body::BundleEndorsement(BundleEndorsement {
        bundle: NEXT,
        terms: next().digest().unwrap(),
    });
    let endorses = world.clinic.context.say(NOW, endorses).unwrap().done();
    world
        .clinic
        .happens(vec![Event::Stated(Box::new(endorses))]);
    // Nobody has endorsed what the broker works by now.
    world.all_hear(EntryBody::BundleProposed { terms: next() });
    world.all_hear(EntryBody::BundleActivated { bundle: NEXT });
    assert_eq!(world.clinic.sends().0, ["withdrawal", "another"]);
    assert_eq!(world.police.sends().0, [""; 0]);
    // Once it works by those in force again, the rest leaves.
    world.all_hear(EntryBody::BundleActivated { bundle: RULES });
    let left = world.clinic.sends().0;
    assert_eq!(left, ["answer", "withdrawal", "another"]);
    assert_eq!(world.police.sends().0, ["another"]);
}

#[test]
fn what_waits_is_looked_at_again_on_the_same_stream_and_holds_nothing_else_up() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    assert_eq!(world.offers(&stated, &permit, NOW), "released");
    world.all_hear(EntryBody::BundleProposed { terms: next() });
    world.all_hear(EntryBody::BundleActivated { bundle: NEXT });
    let mut exchange = crate::exchange::Exchange::new(&world.clinic.meta());
    let mut frames = |world: &World, after_s: u64| {
        let now = crate::exchange::Moment {
            wall: NOW.plus_s(60 + after_s),
            steady: std::time::Duration::from_secs(after_s),
        };
        let view = world.clinic.core.view();
        let out = exchange
            .outgoing(view, &world.clinic.context, now, 64)
            .unwrap();
        (out.frames.len(), out.wake)
    };
    let (sent, wake) = frames(&world, 0);
    assert_eq!((sent, wake), (0, Some(crate::exchange::UNLAWFUL)));
    world.all_hear(EntryBody::BundleActivated { bundle: RULES });
    assert_eq!(frames(&world, 4).0, 0, "not looked at yet");
    assert_eq!(frames(&world, 5).0, 1);
}
