//! What a broker may not enter of agreements: changes by others, versions out of order, and answers
//! on an agreement that is out of force.

use crate::{
    dishonest::{assert_refused, then_says},
    file::{check, export},
    world::{World, agency, agreement_id, federation},
};
use passerelle_audit::{
    dsse::{self, SigningKey},
    verify::FaultCode as Code,
};
use passerelle_model::{
    canonical,
    decide::Reply,
    ids::AgreementId,
    request::Status,
    statement::{
        AgreementChange, AgreementSignature, AgreementTerms, Body, Change, ENDORSEMENT_TYPE,
        Endorsed, Endorsement, Reliance, Signatories,
    },
    vocabulary::{AgreementReason, Category},
};

const SUSPEND: Change = Change::Suspend(AgreementReason::Breach);
const TERMINATE: Change = Change::Terminate(AgreementReason::Leaving);

fn change(n: u8, change: Change) -> Body {
    let agreement = agreement_id(n);
    Body::AgreementChange(AgreementChange { agreement, change })
}

fn signature(terms: &AgreementTerms) -> Body {
    Body::AgreementSignature(AgreementSignature {
        endorsements: Vec::new(),
        agreement: terms.agreement.clone(),
        terms: canonical::digest(terms).unwrap(),
    })
}

fn says(world: &mut World, by: u8, body: Body) {
    let reply = world.say(by, body, Vec::new(), &[]);
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    world.now = world.now.plus_s(1);
}

fn next(world: &World, n: u8, after: u8, version: u16) -> AgreementTerms {
    let mut terms = world.agreement_terms(n);
    terms.edition.version = version;
    terms.edition.supersedes = Some(agreement_id(after));
    terms
}

fn agreed() -> World {
    let mut world = World::new();
    let terms = world.agreement_terms(5);
    says(&mut world, 0, Body::Agreement(Box::new(terms.clone())));
    says(&mut world, 1, signature(&terms));
    world
}

fn offered() -> World {
    let mut world = agreed();
    let reliance = Some(Reliance::Agreement(AgreementId::from_random([5; 16])));
    world.ask_relying(5, 5, 0, Category::AppointmentStatus, reliance);
    world.offer(5);
    world
}

#[test]
fn an_honest_life_of_an_agreement_is_verified() {
    let mut world = offered();
    says(&mut world, 1, change(5, SUSPEND));
    says(&mut world, 0, change(5, SUSPEND));
    says(&mut world, 1, change(5, Change::Lift));
    says(&mut world, 0, change(5, Change::Lift));
    let terms = next(&world, 6, 5, 2);
    says(&mut world, 1, Body::Agreement(Box::new(terms.clone())));
    says(&mut world, 0, signature(&terms));
    says(&mut world, 0, change(6, TERMINATE));
    check(&export(&world.records)).unwrap();
}

#[test]
fn only_parties_change_an_agreement_and_only_as_it_stands() {
    let world = agreed();
    for (by, body, code) in [
        (2, change(5, SUSPEND), Code::NotAParty),
        (2, change(5, TERMINATE), Code::NotAParty),
        (1, change(5, Change::Lift), Code::WrongState),
        (1, change(9, SUSPEND), Code::UnknownAgreement),
    ] {
        let (records, last) = then_says(&world, by, body);
        assert_refused(&records, last, code);
    }
    let mut world = agreed();
    says(&mut world, 1, change(5, TERMINATE));
    let (records, last) = then_says(&world, 0, change(5, SUSPEND));
    assert_refused(&records, last, Code::WrongState);
}

#[test]
fn versions_are_numbered_and_follow_what_stands() {
    let world = agreed();
    for (terms, by, code) in [
        (next(&world, 6, 5, 3), 0, Code::Range),
        (next(&world, 6, 9, 2), 0, Code::UnknownAgreement),
    ] {
        let (records, last) = then_says(&world, by, Body::Agreement(Box::new(terms)));
        assert_refused(&records, last, code);
    }
    let mut world = agreed();
    let (second, rival) = (next(&world, 6, 5, 2), next(&world, 7, 5, 2));
    says(&mut world, 0, Body::Agreement(Box::new(second.clone())));
    says(&mut world, 0, Body::Agreement(Box::new(rival.clone())));
    says(&mut world, 1, signature(&second));
    let (records, last) = then_says(&world, 1, signature(&rival));
    assert_refused(&records, last, Code::WrongState);
    let back = next(&world, 8, 5, 2);
    let (records, last) = then_says(&world, 0, Body::Agreement(Box::new(back)));
    assert_refused(&records, last, Code::WrongState);
}

/// The broker sequences the answer all the same: it left the denial out that is due.
#[test]
fn an_answer_on_an_agreement_that_was_halted_is_found() {
    for halt in [SUSPEND, TERMINATE] {
        let mut world = offered();
        let body = world.answer_body(5);
        says(&mut world, 1, change(5, halt));
        world.records.pop();
        let (records, last) = then_says(&world, 1, body);
        assert_refused(&records, last, Code::Withdrawn);
    }
}

#[test]
fn an_answer_on_the_old_version_is_found_once_the_next_has_begun() {
    let mut world = offered();
    let terms = next(&world, 6, 5, 2);
    says(&mut world, 1, Body::Agreement(Box::new(terms.clone())));
    says(&mut world, 0, signature(&terms));
    let body = world.answer_body(5);
    let (records, last) = then_says(&world, 1, body);
    assert_refused(&records, last, Code::Withdrawn);
}

#[test]
fn a_version_that_begins_before_the_one_that_it_follows_is_found() {
    let world = agreed();
    let mut terms = next(&world, 6, 5, 2);
    let first = world.agreement_terms(5);
    terms.starts_at = first.starts_at.minus_s(1_000_000);
    let (records, last) = then_says(&world, 0, Body::Agreement(Box::new(terms)));
    assert_refused(&records, last, Code::Range);
}

/// A broker that revives what was superseded: the version between was ended before it began.
#[test]
fn an_answer_on_what_a_later_version_replaced_past_one_that_was_ended_early_is_found() {
    let mut world = offered();
    let (mut second, mut third) = (next(&world, 6, 5, 2), next(&world, 7, 6, 3));
    second.starts_at = world.now.plus_s(30);
    third.starts_at = world.now.plus_s(40);
    for terms in [second, third] {
        says(&mut world, 1, Body::Agreement(Box::new(terms.clone())));
        says(&mut world, 0, signature(&terms));
    }
    let body = world.answer_body(5);
    says(&mut world, 1, change(6, TERMINATE));
    let rival = next(&world, 8, 5, 2);
    let (records, last) = then_says(&world, 0, Body::Agreement(Box::new(rival)));
    assert_refused(&records, last, Code::WrongState);
    world.now = world.now.plus_s(40);
    // Something has to happen for the log to have a later time.
    let other = world.agreement_terms(9);
    says(&mut world, 0, Body::Agreement(Box::new(other)));
    let (records, last) = then_says(&world, 1, body);
    assert_refused(&records, last, Code::Withdrawn);
}

fn person(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

/// With people who sign for the agency that did not propose.
fn with_people(mut terms: AgreementTerms, needed: u16, people: &[u8]) -> AgreementTerms {
    terms.signatories = vec![Signatories {
        agency: agency(1),
        needed,
        keys: people.iter().map(|n| person(*n).public_key()).collect(),
    }];
    terms
}

/// The signature of agency 1, with what these people endorsed of `endorsed`.
fn signed_by(terms: &AgreementTerms, endorsed: &AgreementTerms, people: &[u8]) -> Body {
    let endorsed = Endorsed {
        federation: federation(),
        agency: agency(1),
        agreement: endorsed.agreement.clone(),
        terms: canonical::digest(endorsed).unwrap(),
    };
    let payload = endorsed.to_bytes().unwrap();
    let endorse = |n: &u8| Endorsement {
        key: person(*n).public_key(),
        signature: dsse::sign(&person(*n), ENDORSEMENT_TYPE, &payload),
    };
    let Body::AgreementSignature(mut signature) = signature(terms) else {
        unreachable!("it makes one");
    };
    signature.endorsements = people.iter().map(endorse).collect();
    Body::AgreementSignature(signature)
}

#[test]
fn a_signature_without_enough_of_the_people_who_sign_for_a_party_is_found() {
    let mut world = World::new();
    let terms = with_people(world.agreement_terms(5), 2, &[11, 12, 13]);
    let other = with_people(world.agreement_terms(6), 2, &[11, 12, 13]);
    says(&mut world, 0, Body::Agreement(Box::new(terms.clone())));
    for body in [
        signature(&terms),
        signed_by(&terms, &terms, &[11]),
        signed_by(&terms, &terms, &[11, 11]),
        signed_by(&terms, &terms, &[11, 99]),
        signed_by(&terms, &other, &[11, 12]),
    ] {
        let (records, last) = then_says(&world, 1, body);
        assert_refused(&records, last, Code::Signatories);
    }
    says(&mut world, 1, signed_by(&terms, &terms, &[13, 11]));
    check(&export(&world.records)).unwrap();
    // The next version by others: those who signed before sign too.
    let mut second = with_people(next(&world, 7, 5, 2), 1, &[14]);
    says(&mut world, 0, Body::Agreement(Box::new(second.clone())));
    let (records, last) = then_says(&world, 1, signed_by(&second, &second, &[14]));
    assert_refused(&records, last, Code::Signatories);
    second.agreement = agreement_id(8);
    second.signatories.clear();
    let (records, last) = then_says(&world, 0, Body::Agreement(Box::new(second)));
    assert_refused(&records, last, Code::Range);
    let unsound = with_people(world.agreement_terms(9), 3, &[11, 12]);
    let (records, last) = then_says(&world, 0, Body::Agreement(Box::new(unsound)));
    assert_refused(&records, last, Code::Range);
}

#[test]
fn nothing_rests_on_a_proposal_whose_own_people_have_not_signed() {
    let mut world = World::new();
    let terms = with_people(world.agreement_terms(5), 1, &[11]);
    says(&mut world, 1, Body::Agreement(Box::new(terms.clone())));
    says(&mut world, 0, signature(&terms));
    let reliance = Some(Reliance::Agreement(terms.agreement.clone()));
    world.ask_relying(5, 5, 0, Category::AppointmentStatus, reliance.clone());
    check(&export(&world.records)).unwrap();
    assert_eq!(world.row(5).unwrap().status, Status::Denied);
    says(&mut world, 1, signed_by(&terms, &terms, &[11]));
    world.ask_relying(6, 5, 0, Category::AppointmentStatus, reliance);
    check(&export(&world.records)).unwrap();
    assert_ne!(world.row(6).unwrap().status, Status::Denied);
}
