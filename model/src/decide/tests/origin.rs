//! A log that goes on from an older copy, under a new origin.

use super::{
    steps::{code, done, offered_request},
    *,
};
use crate::{
    entry::{Supersedes, TreeHead},
    records::Consent,
    statement::Resumption,
};

fn entry(world: &World, members: &[u8]) -> Supersedes {
    let head = |size| TreeHead {
        size,
        root: Digest([3; 32]),
    };
    let size = world.records.len() as u64;
    let mut members: Vec<_> = members.iter().map(|n| agency(*n)).collect();
    members.sort();
    let federation = state::federation(&world.store).unwrap().unwrap();
    Supersedes {
        former: federation.keys.checkpoint,
        key: "test/2+00000000+AA==".into(),
        carried: head(size),
        newest: head(size + 5),
        note: None,
        members,
    }
}

/// The log goes over to a new origin; the index of the entry that says so.
fn supersede(world: &mut World, members: &[u8]) -> u64 {
    let entry = entry(world, members);
    done(world.run(&Command::Supersede(Box::new(entry))))
}

fn resume(world: &mut World, by: u8, supersedes: u64, withdrawals: Vec<Digest>) -> Reply {
    let body = Body::Resumption(Resumption {
        supersedes,
        withdrawals,
        complete: true,
    });
    world.say(by, body, Vec::new(), &[])
}

fn consent(world: &World, n: u8) -> Option<Consent> {
    state::consent(&world.store, &ConsentId::from_random(id_bytes(n))).unwrap()
}

/// What a request was allowed by the newest decision.
fn is_allowed(world: &World, n: u8) -> bool {
    let decision = world.row(n).unwrap().decision.unwrap();
    decision.allowed().next().is_some()
}

#[test]
fn nobody_asks_before_every_member_has_gone_on() {
    let mut world = World::new();
    done(world.consent(1, 0, 0));
    let index = supersede(&mut world, &[0, 1, 2]);
    for n in [2, 0, 1] {
        assert_eq!(
            code(world.ask(n + 1, 0, 0, Category::InService)),
            ErrorCode::Recovering
        );
        world.now = world.now.plus_s(1);
        done(resume(&mut world, n, index, Vec::new()));
    }
    assert!(!state::is_recovering(&world.store).unwrap());
    world.now = world.now.plus_s(1);
    done(world.ask(9, 0, 0, Category::InService));
    assert!(is_allowed(&world, 9));
    assert_eq!(
        code(resume(&mut world, 0, index, Vec::new())),
        ErrorCode::WrongState,
        "nobody is awaited any more"
    );
}

#[test]
fn a_permit_of_the_former_origin_counts_no_more() {
    let mut world = offered_request();
    let index = supersede(&mut world, &[0, 1, 2]);
    assert_eq!(
        world.row(1).unwrap().status,
        crate::request::Status::Stopped
    );
    assert_eq!(code(world.answer(1, 1, false)), ErrorCode::PermitWithdrawn);
    for n in 0..3 {
        done(resume(&mut world, n, index, Vec::new()));
    }
    world.now = world.now.plus_s(1);
    assert_eq!(code(world.answer(1, 1, false)), ErrorCode::PermitWithdrawn);
}

#[test]
fn a_crash_that_cuts_the_new_origin_short_lets_no_older_request_through() {
    let mut world = offered_request();
    done(world.ask(2, 0, 0, Category::InService));
    let (rows, records) = (world.store.clone(), world.records.len());
    let index = supersede(&mut world, &[0, 1, 2]);
    // Nothing but the first record of the batch was written.
    let cut = world.records.swap_remove(records);
    world.records.truncate(records);
    world.store = rows;
    let mut overlay = Overlay::new(&world.store);
    apply(&mut overlay, index, &cut).unwrap();
    let writes = overlay.into_writes();
    world.store.commit(writes);
    world.records.push(cut);
    for n in [1, 2] {
        let request = RequestId::from_random(id_bytes(n));
        assert_eq!(world.run(&Command::Offer { request }), Reply::Nothing);
    }
    assert_eq!(code(world.answer(1, 1, false)), ErrorCode::Recovering);
    for n in 0..3 {
        done(resume(&mut world, n, index, Vec::new()));
    }
    let request = RequestId::from_random(id_bytes(2));
    done(world.run(&Command::Offer { request }));
}

#[test]
fn an_agency_goes_on_once_the_log_has_its_withdrawals_however_old() {
    let mut world = World::new();
    done(world.consent(1, 0, 0));
    // What the lost entries had: the same statement is said again.
    let mut lost = World::new();
    done(lost.consent(1, 0, 0));
    done(lost.withdraw(1, WithdrawalScope::All));
    let EntryBody::Said { envelope, .. } = &lost.records[lost.records.len() - 2].entry.body else {
        panic!("no statement");
    };
    let digest = envelope.digest();
    let said_at = world.now;
    world.now = world.now.plus_s(MAX_STATEMENT_AGE_S + 86_400);
    let index = supersede(&mut world, &[0, 1, 2]);
    assert_eq!(
        code(resume(&mut world, 1, index, vec![digest])),
        ErrorCode::Recovering
    );
    let now = std::mem::replace(&mut world.now, said_at);
    let verified = {
        let federation = "essai".parse().unwrap();
        let verify = |_: &[u8], _: &Signature| true;
        envelope
            .clone()
            .verify(&federation, &agency(1), verify, Vec::new(), BTreeMap::new())
    };
    world.now = now;
    let again = Command::Say(Box::new(verified.unwrap()));
    done(world.run(&again));
    assert!(!consent(&world, 1).unwrap().withdrawn.is_empty());
    world.now = world.now.plus_s(1);
    done(resume(&mut world, 1, index, vec![digest]));
}

#[test]
fn what_is_said_again_counts_as_before_every_withdrawal_that_is_said_again() {
    let mut world = World::new();
    let index = supersede(&mut world, &[0, 1, 2]);
    done(world.consent(1, 0, 0));
    assert_eq!(consent(&world, 1).unwrap().recorded, index);
    done(resume(&mut world, 1, index, Vec::new()));
    world.now = world.now.plus_s(1);
    let at = done(world.consent(2, 0, 0));
    assert_eq!(consent(&world, 2).unwrap().recorded, at);
}

#[test]
fn a_consent_said_again_opens_nothing_and_one_given_anew_does() {
    let mut world = World::new();
    let index = supersede(&mut world, &[0, 1, 2]);
    // In what was lost somebody may have withdrawn it, who can't say that again.
    done(world.consent(2, 0, 0));
    assert!(!consent(&world, 2).unwrap().withdrawn.is_empty());
    for n in 0..3 {
        world.now = world.now.plus_s(1);
        done(resume(&mut world, n, index, Vec::new()));
    }
    done(world.ask(1, 0, 0, Category::InService));
    assert!(!is_allowed(&world, 1));
    world.now = world.now.plus_s(1);
    done(world.consent(3, 0, 0));
    assert!(consent(&world, 3).unwrap().withdrawn.is_empty());
    world.now = world.now.plus_s(1);
    done(world.ask(2, 0, 0, Category::InService));
    assert!(is_allowed(&world, 2), "the person was asked anew");
}

#[test]
fn nobody_comes_back_by_an_invitation_of_the_copy() {
    let mut world = World::new();
    let index = supersede(&mut world, &[0, 1, 2]);
    let left = world.store.scan(&state::key::invitation_table(), None, 9);
    assert!(left.unwrap().is_empty());
    assert_eq!(state::origin(&world.store).unwrap(), Some(index));
}

#[test]
fn with_an_agency_that_left_unheard_consents_from_before_are_void() {
    let mut world = World::new();
    done(world.consent(1, 0, 0));
    let index = supersede(&mut world, &[0, 1]);
    assert!(state::member(&world.store, &agency(2)).unwrap().is_none());
    // Said again by one that goes on: still from before.
    done(world.consent(2, 0, 0));
    for n in 0..2 {
        // What it names can't be found any more, and withdraws nothing that counts.
        done(resume(&mut world, n, index, vec![Digest([1; 32])]));
    }
    world.now = world.now.plus_s(1);
    done(world.ask(1, 0, 0, Category::InService));
    assert!(!is_allowed(&world, 1));
    // It comes back: what it knows counts, once it has said it.
    world.enrol(2);
    assert_eq!(
        code(world.ask(2, 0, 0, Category::InService)),
        ErrorCode::Recovering
    );
    done(resume(&mut world, 2, index, Vec::new()));
    world.now = world.now.plus_s(1);
    done(world.ask(2, 0, 0, Category::InService));
    assert!(is_allowed(&world, 2));
    let decided = world.row(2).unwrap().decision.unwrap();
    let rests_on: Vec<_> = decided
        .allowed()
        .map(|item| item.ruling.consent.clone())
        .collect();
    let carried = consent(&world, 1).unwrap().terms.consent;
    assert_eq!(
        rests_on,
        [Some(carried)],
        "not on the one that was said again"
    );
}

#[test]
fn an_entry_that_does_not_fit_the_log_is_refused() {
    let mut world = World::new();
    let right = entry(&world, &[0, 1, 2]);
    let head = |size, root| TreeHead {
        size,
        root: Digest([root; 32]),
    };
    let size = right.carried.size;
    let change = |change: &dyn Fn(&mut Supersedes)| {
        let mut changed = right.clone();
        change(&mut changed);
        changed
    };
    for wrong in [
        change(&|e| e.former.push('x')),
        change(&|e| e.key = e.former.clone()),
        change(&|e| e.carried.size -= 1),
        change(&|e| e.newest.size = size - 1),
        change(&|e| e.newest = head(size, 4)),
        change(&|e| e.members.clear()),
        change(&|e| e.members.reverse()),
        change(&|e| e.members.push("zzz-nobody".parse().unwrap())),
    ] {
        let reply = world.run(&Command::Supersede(Box::new(wrong.clone())));
        assert!(matches!(reply, Reply::Refused { .. }), "{wrong:?}");
    }
    done(world.run(&Command::Supersede(Box::new(right.clone()))));
    let reply = world.run(&Command::Supersede(Box::new(right)));
    assert!(matches!(reply, Reply::Refused { .. }), "not twice");
}
