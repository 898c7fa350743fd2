//! Rules that are put in force: the endorsements are counted again.

use crate::{
    dishonest::{assert_refused, said, then, then_says},
    file::{check, export},
    world::{World, agency, envelope},
};
use passerelle_audit::verify::FaultCode as Code;
use passerelle_model::{
    bundle::BundleTerms,
    bytes::Digest,
    decide::Command,
    entry::EntryBody,
    statement::{Body, BundleEndorsement},
    time::Timestamp,
};

const NEXT: Digest = Digest([8; 32]);

fn terms() -> BundleTerms {
    BundleTerms {
        bundle: NEXT,
        previous: Some(Digest([7; 32])),
        revision: 1,
        not_before: Timestamp(0),
        expires_at: None,
    }
}

fn endorsement() -> Body {
    Body::BundleEndorsement(BundleEndorsement {
        bundle: NEXT,
        terms: terms().digest().unwrap(),
    })
}

/// Proposed, and endorsed by the first so many of the four members.
fn endorsed_by(members: u8) -> World {
    let mut world = World::new();
    world.run(&Command::ProposeBundle { terms: terms() });
    for n in 0..members {
        world.say(n, endorsement(), Vec::new(), &[]);
    }
    world
}

const ACTIVATED: EntryBody = EntryBody::BundleActivated { bundle: NEXT };

#[test]
fn two_of_four_are_one_too_few_and_three_are_enough() {
    let (records, last) = then(&endorsed_by(2), ACTIVATED);
    assert_refused(&records, last, Code::Activation);
    let (records, _) = then(&endorsed_by(3), ACTIVATED);
    check(&export(&records)).unwrap();
}

#[test]
fn what_nobody_proposed_and_what_a_former_member_endorsed_do_not_count() {
    let (records, last) = then(&World::new(), ACTIVATED);
    assert_refused(&records, last, Code::Activation);
    let mut world = endorsed_by(3);
    for n in [0, 1] {
        world.run(&Command::Revoke { agency: agency(n) });
    }
    let (records, last) = then(&world, ACTIVATED);
    assert_refused(&records, last, Code::Activation);
}

#[test]
fn what_a_member_endorsed_under_former_keys_does_not_count() {
    let mut world = endorsed_by(3);
    world.enrol(0);
    let (records, last) = then(&world, ACTIVATED);
    assert_refused(&records, last, Code::Activation);
    world.say(0, endorsement(), Vec::new(), &[]);
    let (records, _) = then(&world, ACTIVATED);
    check(&export(&records)).unwrap();
}

#[test]
fn an_endorsement_of_other_terms_or_with_anothers_signature_is_found() {
    let world = endorsed_by(1);
    let other = Body::BundleEndorsement(BundleEndorsement {
        bundle: NEXT,
        terms: Digest([9; 32]),
    });
    let (records, last) = then_says(&world, 1, other);
    assert_refused(&records, last, Code::Terms);
    let forged = said(1, envelope(1, 2, world.now, endorsement()));
    let (records, last) = then(&world, forged);
    assert_refused(&records, last, Code::Signature);
}
