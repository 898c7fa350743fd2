//! Single steps, each in the state that matters.

use super::*;

pub(super) fn done(reply: Reply) -> u64 {
    match reply {
        Reply::Done { index } => index,
        other => panic!("expected an index, got {other:?}"),
    }
}

pub(super) fn code(reply: Reply) -> ErrorCode {
    match reply {
        Reply::Refused { code, .. } => code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub(super) fn offered_request() -> World {
    let mut world = World::new();
    done(world.consent(1, 0, 0));
    done(world.ask(1, 0, 0, Category::InService));
    done(world.run(&Command::Offer {
        request: RequestId::from_random(id_bytes(1)),
    }));
    world
}

#[test]
fn an_exchange_runs_to_its_end() {
    let mut world = offered_request();
    done(world.answer(1, 1, false));
    for kind in [
        ReceiptKind::Delivered,
        ReceiptKind::Viewed,
        ReceiptKind::Erased,
    ] {
        done(world.receive(1, 0, kind));
    }
    assert_eq!(world.row(1).unwrap().status, crate::request::Status::Erased);
    assert!(
        world
            .store
            .scan(&key_of_open(1), None, 1)
            .unwrap()
            .is_empty()
    );
}

fn key_of_open(holder: u8) -> Vec<u8> {
    state::key::open_by_holder(&agency(holder), "")
}

#[test]
fn withdrawn_consent_stops_an_offered_request_and_refuses_its_answer() {
    let mut world = offered_request();
    done(world.withdraw(1, WithdrawalScope::All));
    assert_eq!(
        world.row(1).unwrap().status,
        crate::request::Status::Stopped
    );
    assert_eq!(code(world.answer(1, 1, false)), ErrorCode::PermitWithdrawn);
}

#[test]
fn withdrawn_consent_recalls_what_was_delivered() {
    let mut world = offered_request();
    done(world.answer(1, 1, false));
    done(world.receive(1, 0, ReceiptKind::Delivered));
    done(world.withdraw(1, WithdrawalScope::Recipient(agency(0))));
    let [.., recalled, carried_out] = world.records.as_slice() else {
        panic!("too few records");
    };
    assert!(matches!(recalled.entry.body, EntryBody::Recalled { .. }));
    let end = &carried_out.entry.body;
    assert!(matches!(end, EntryBody::WithdrawalCarriedOut { .. }));
    world.now = world.now.plus_s(1);
    done(world.withdraw(1, WithdrawalScope::All));
    world.now = world.now.plus_s(1);
    assert_eq!(
        code(world.withdraw(1, WithdrawalScope::All)),
        ErrorCode::WrongState,
        "what is withdrawn wholly can't be withdrawn again"
    );
}

#[test]
fn a_replayed_statement_names_its_first_entry_and_changes_nothing() {
    let mut world = offered_request();
    let first = done(world.answer(1, 1, false));
    let size = world.records.len();
    match world.answer(1, 1, false) {
        Reply::Refused {
            code: ErrorCode::Replayed,
            index,
        } => assert_eq!(index, Some(first)),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.records.len(), size);
}

#[test]
fn another_agency_cannot_answer_and_a_forged_permit_is_refused() {
    let mut world = offered_request();
    assert_eq!(code(world.answer(1, 2, false)), ErrorCode::NotAParty);
    assert_eq!(code(world.answer(1, 1, true)), ErrorCode::PermitMismatch);
    let refused = |r: &&Record| matches!(r.entry.body, EntryBody::Refused { .. });
    assert_eq!(world.records.iter().filter(refused).count(), 2);
}

#[test]
fn an_expired_permit_is_refused_and_renewed_on_request() {
    let mut world = offered_request();
    world.now = world.now.plus_s(PERMIT_LIFE_S);
    assert_eq!(code(world.answer(1, 1, false)), ErrorCode::PermitExpired);
    let permit = world.row(1).unwrap().permit.unwrap().digest;
    let request = RequestId::from_random(id_bytes(1));
    let renewal = crate::statement::Renewal { request, permit };
    done(world.say(1, Body::Renewal(renewal), Vec::new(), &[]));
    assert_ne!(world.row(1).unwrap().permit.unwrap().digest, permit);
    done(world.answer(1, 1, false));
}

#[test]
fn a_consent_that_expires_after_the_offer_stops_the_answer() {
    let mut world = World::new();
    done(world.consent(1, 0, 0));
    world.now = world.now.plus_s(86_400 - 100);
    done(world.ask(1, 0, 0, Category::InService));
    done(world.run(&Command::Offer {
        request: RequestId::from_random(id_bytes(1)),
    }));
    world.now = world.now.plus_s(150);
    assert_eq!(code(world.answer(1, 1, false)), ErrorCode::PermitWithdrawn);
    assert_eq!(
        world.row(1).unwrap().status,
        crate::request::Status::Stopped
    );
}

#[test]
fn late_delivery_is_decided_again() {
    let mut world = World::new();
    done(world.consent(1, 0, 0));
    done(world.ask(1, 0, 0, Category::InService));
    world.now = world.now.plus_s(3_600);
    done(world.run(&Command::Offer {
        request: RequestId::from_random(id_bytes(1)),
    }));
    let decisions = |r: &&Record| matches!(r.entry.body, EntryBody::Decided { .. });
    assert_eq!(world.records.iter().filter(decisions).count(), 2);
}

#[test]
fn openings_that_are_not_the_brokers_business_are_dropped() {
    let mut world = World::new();
    let secret = Opening {
        field: Field::Worker,
        random: Nonce([3; 32]),
        data: Bytes(b"planted worker name".to_vec()),
    };
    done(world.consent(1, 0, 0));
    let terms = match world.records.last().map(|r| r.entry.body.clone()) {
        Some(EntryBody::Said { envelope, .. }) => envelope.unverified_statement().unwrap().body,
        other => panic!("{other:?}"),
    };
    let Body::Consent(mut terms) = terms else {
        panic!("not a consent")
    };
    terms.consent = ConsentId::from_random(id_bytes(2));
    done(world.say(
        1,
        Body::Consent(terms),
        vec![handle_opening(0), secret],
        &[],
    ));
    let openings = &world.records.last().unwrap().sidecar.openings;
    assert!(openings.iter().all(|o| o.field == Field::Subject));
}

#[test]
fn revoking_an_agency_stops_its_open_requests() {
    let mut world = offered_request();
    done(world.run(&Command::Revoke { agency: agency(1) }));
    assert_eq!(
        world.row(1).unwrap().status,
        crate::request::Status::Stopped
    );
    assert_eq!(code(world.answer(1, 1, false)), ErrorCode::Revoked);
}

#[test]
fn an_invitation_works_once_and_not_after_its_end() {
    let mut world = World::new();
    let token = Digest([200; 32]);
    let agency: AgencyId = "ecole-sud".parse().unwrap();
    let key = PublicKey([200; 32]);
    let keys = AgencyKeys {
        sector: Sector::Education,
        signing: key,
        sealing: key,
        witness: key,
    };
    let enrol = Command::Enrol {
        agency: agency.clone(),
        token,
        keys,
        certificate: "aa".into(),
    };
    assert_eq!(code(world.run(&enrol)), ErrorCode::InviteInvalid);
    let expires_at = world.now.plus_s(10);
    let invite = Command::Invite {
        agency,
        sector: Sector::Education,
        token,
        expires_at,
    };
    done(world.run(&invite));
    world.now = world.now.plus_s(10);
    assert_eq!(code(world.run(&enrol)), ErrorCode::InviteInvalid);
    world.now = world.now.minus_s(5);
    done(world.run(&enrol));
    assert_eq!(code(world.run(&enrol)), ErrorCode::InviteInvalid);
}

#[test]
fn no_two_members_share_a_witness_key() {
    let mut world = World::new();
    let token = Digest([200; 32]);
    let agency: AgencyId = "ecole-sud".parse().unwrap();
    let (own, anothers) = (PublicKey([200; 32]), PublicKey([1; 32]));
    done(world.run(&Command::Invite {
        agency: agency.clone(),
        sector: Sector::Education,
        token,
        expires_at: world.now.plus_s(10),
    }));
    let enrol = |witness| Command::Enrol {
        agency: agency.clone(),
        token,
        keys: AgencyKeys {
            sector: Sector::Education,
            signing: own,
            sealing: own,
            witness,
        },
        certificate: "aa".into(),
    };
    assert_eq!(code(world.run(&enrol(anothers))), ErrorCode::Duplicate);
    // The refusal does not use the invitation up.
    done(world.run(&enrol(own)));
}

fn withdraw_all(world: &mut World) -> usize {
    done(world.withdraw(1, WithdrawalScope::All));
    let mut ticks = 0;
    while !matches!(
        world.records.last().unwrap().entry.body,
        EntryBody::WithdrawalCarriedOut { .. }
    ) {
        world.now = world.now.plus_s(1);
        done(world.run(&Command::Tick));
        ticks += 1;
    }
    ticks
}

#[test]
fn a_withdrawal_under_more_requests_than_one_step_takes_is_carried_out_by_the_timer() {
    let mut world = World::new();
    done(world.consent(1, 0, 0));
    for n in 0..600_u16 {
        let mut id = [7; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        done(world.ask_as(id, 0, 0, Category::InService));
    }
    let before = world.records.len();
    assert!(withdraw_all(&mut world) >= 2, "it was one step");
    let stopped = |r: &&Record| matches!(r.entry.body, EntryBody::Stopped { .. });
    assert_eq!(world.records[before..].iter().filter(stopped).count(), 600);
}

#[test]
fn a_request_whose_decision_a_crash_cut_off_is_decided_when_it_is_offered() {
    let mut world = World::new();
    done(world.consent(1, 0, 0));
    done(world.ask(1, 0, 0, Category::InService));
    world.records.pop();
    world.store = random::replay(&world.records);
    let request = RequestId::from_random(id_bytes(1));
    done(world.run(&Command::Offer { request }));
    assert_eq!(
        world.row(1).unwrap().status,
        crate::request::Status::Offered
    );
}

#[test]
fn an_answer_between_a_new_decision_and_its_permit_is_not_the_end_of_the_request() {
    let mut world = offered_request();
    world.now = world.now.plus_s(PERMIT_LIFE_S);
    let request = RequestId::from_random(id_bytes(1));
    let offer = Command::Offer { request };
    done(world.run(&offer));
    // The crash cuts the batch after the decision: the permit that was is over.
    world.records.pop();
    world.store = random::replay(&world.records);
    assert_eq!(code(world.answer(1, 1, false)), ErrorCode::PermitExpired);
    done(world.run(&offer));
    world.now = world.now.plus_s(1);
    done(world.answer(1, 1, false));
}

#[test]
fn a_statement_checked_with_a_key_that_was_replaced_meanwhile_is_refused() {
    let mut world = World::new();
    let body = Body::Withdrawal(Withdrawal {
        consent: ConsentId::from_random(id_bytes(9)),
        scope: WithdrawalScope::All,
    });
    let old = PublicKey([77; 32]);
    assert_eq!(
        code(world.say_with(1, body, Vec::new(), &[], Some(old))),
        ErrorCode::BadSignature
    );
}

#[test]
fn an_agency_comes_back_as_what_it_was_and_by_no_older_invitation() {
    let mut world = World::new();
    let left_over = Digest([201; 32]);
    let expires_at = world.now.plus_s(3_600);
    let invite = |sector, token| Command::Invite {
        agency: agency(0),
        sector,
        token,
        expires_at,
    };
    done(world.run(&invite(Sector::LawEnforcement, left_over)));
    done(world.run(&Command::Revoke { agency: agency(0) }));
    assert!(
        state::invitation(&world.store, &left_over)
            .unwrap()
            .is_none()
    );
    assert_eq!(
        code(world.run(&invite(Sector::Health, Digest([202; 32])))),
        ErrorCode::WrongState
    );
    done(world.run(&invite(Sector::LawEnforcement, Digest([203; 32]))));
}

fn renew(world: &mut World) -> Reply {
    let permit = world.row(1).unwrap().permit.unwrap().digest;
    let request = RequestId::from_random(id_bytes(1));
    let renewal = crate::statement::Renewal { request, permit };
    world.say(1, Body::Renewal(renewal), Vec::new(), &[])
}

#[test]
fn a_holder_whose_clock_is_minutes_fast_gets_another_permit_but_not_for_ever() {
    let mut world = offered_request();
    assert_eq!(code(renew(&mut world)), ErrorCode::WrongState);
    world.now = world.now.plus_s(MIN_RENEWAL_AGE_S - 1);
    assert_eq!(code(renew(&mut world)), ErrorCode::WrongState);
    world.now = world.now.plus_s(1);
    done(renew(&mut world));
    assert_eq!(code(renew(&mut world)), ErrorCode::WrongState);
}
