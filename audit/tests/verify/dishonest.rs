//! Logs that are hashed, signed and cosigned as they should be, and in which something happened
//! that must not: a dishonest or broken broker with all witnesses asleep.

use crate::{
    file::export,
    story::story,
    world::{World, agency, agreement_id, envelope, find, receipt, request_id, sign, statement},
};
use passerelle_audit::verify::{Fault, FaultCode as Code};
use passerelle_model::{
    bytes::{Digest, Nonce, PublicKey},
    entry::{Entry, EntryBody, Record, StopCause},
    pdp::{Effect, Obligation},
    permit::Permit,
    statement::{Body, Item, ReceiptKind, Statement, VERSION, Withdrawal, WithdrawalScope},
    vocabulary::{Category, Level},
};

pub(crate) fn refused(records: &[Record]) -> Fault {
    let fault = crate::file::check(&export(records)).unwrap_err();
    // Whoever follows the log entry by entry finds the same, but for what comes beside entries.
    let is_beside = [Code::Opening, Code::Seal].contains(&fault.code);
    if fault.index.is_some() && !is_beside {
        assert_eq!(crate::running::first_fault(records), Some(fault.clone()));
    }
    fault
}

pub(crate) fn assert_refused(records: &[Record], index: usize, code: Code) {
    let fault = refused(records);
    assert_eq!(
        (fault.index, fault.code),
        (Some(index as u64), code),
        "{fault}"
    );
}

/// An entry as a dishonest broker would make it, at the time of the one before.
pub(crate) fn forged(records: &[Record], body: EntryBody) -> Record {
    let nonce = Nonce(Digest::of(&records.len().to_be_bytes()).0);
    let at = records.last().unwrap().entry.at;
    let entry = Entry {
        kind: body.code().to_owned(),
        version: VERSION,
        at,
        body,
        nonce,
    };
    Record {
        entry,
        sidecar: Default::default(),
    }
}

pub(crate) fn said(n: u8, envelope: passerelle_model::statement::Envelope) -> EntryBody {
    EntryBody::Said {
        agency: agency(n),
        envelope,
    }
}

/// The records so far, and then this.
pub(crate) fn then(world: &World, body: EntryBody) -> (Vec<Record>, usize) {
    let mut records = world.records.clone();
    records.push(forged(&records, body));
    let last = records.len() - 1;
    (records, last)
}

pub(crate) fn then_says(world: &World, n: u8, body: Body) -> (Vec<Record>, usize) {
    then(world, said(n, envelope(n, n, world.now, body)))
}

pub(crate) fn offered_request() -> World {
    let mut world = World::new();
    world.consent(1, 1, 0);
    world.ask(1, 1, 0, Category::InService);
    world.offer(1);
    world
}

fn is_answer(body: &EntryBody) -> bool {
    is_said(body, |body| matches!(body, Body::Answer(_)))
}

pub(crate) fn is_said(body: &EntryBody, is: impl Fn(&Body) -> bool) -> bool {
    match body {
        EntryBody::Said { envelope, .. } => is(&envelope.unverified_statement().unwrap().body),
        _ => false,
    }
}

/// Changes what agency `n` said at `index`, and signs it with its key.
pub(crate) fn resay(
    records: &mut [Record],
    index: usize,
    n: u8,
    change: impl FnOnce(&mut Statement),
) {
    let mut statement = statement(&records[index]);
    change(&mut statement);
    if let EntryBody::Said { envelope, .. } = &mut records[index].entry.body {
        *envelope = sign(n, &statement);
    }
}

fn change_permit(change: impl FnOnce(&mut Permit)) {
    let mut records = story().records;
    let index = find(&records, 0, |body| {
        matches!(body, EntryBody::Offered { .. })
    });
    if let EntryBody::Offered { permit } = &mut records[index].entry.body {
        change(permit);
    }
    assert_refused(&records, index, Code::Permit);
}

#[test]
fn an_answer_without_its_permit_is_found() {
    let mut records = story().records;
    let offered = find(&records, 0, |body| {
        matches!(body, EntryBody::Offered { .. })
    });
    records.remove(offered);
    let answer = find(&records, 0, is_answer);
    assert_refused(&records, answer, Code::NoPermit);

    // With a permit of its own making.
    let mut records = story().records;
    let answer = find(&records, 0, is_answer);
    resay(&mut records, answer, 1, |statement| {
        if let Body::Answer(answer) = &mut statement.body {
            answer.permit = Digest([1; 32]);
        }
    });
    assert_refused(&records, answer, Code::NoPermit);
}

#[test]
fn an_answer_after_a_withdrawal_is_found_even_if_nothing_was_stopped() {
    for scope in [
        WithdrawalScope::All,
        WithdrawalScope::Recipient(agency(0)),
        WithdrawalScope::Category(Category::InService),
    ] {
        let world = offered_request();
        let consent = crate::world::consent_id(1);
        let withdrawal = Body::Withdrawal(Withdrawal { consent, scope });
        let (mut records, _) = then_says(&world, 1, withdrawal);
        let answer = said(1, envelope(1, 1, world.now, world.answer_body(1)));
        records.push(forged(&records, answer));
        assert_refused(&records, records.len() - 1, Code::Withdrawn);
    }
    // A withdrawal of something else changes nothing.
    let world = offered_request();
    let consent = crate::world::consent_id(1);
    let scope = WithdrawalScope::Recipient(agency(2));
    let (mut records, _) = then_says(&world, 1, Body::Withdrawal(Withdrawal { consent, scope }));
    let answer = said(1, envelope(1, 1, world.now, world.answer_body(1)));
    records.push(forged(&records, answer));
    assert!(crate::file::check(&export(&records)).is_ok());
}

#[test]
fn an_answer_after_the_end_of_its_request_is_found() {
    let mut world = offered_request();
    let answer = world.answer_body(1);
    world.withdraw(1, WithdrawalScope::All);
    let (records, last) = then_says(&world, 1, answer);
    assert_refused(&records, last, Code::AfterEnd);
}

#[test]
fn a_decision_or_permit_that_rests_on_a_withdrawn_consent_is_found() {
    let world = offered_request();
    let decided = world.records[world.records.len() - 2].entry.body.clone();
    let offered = world.records[world.records.len() - 1].entry.body.clone();
    let mut world = world;
    world.withdraw(1, WithdrawalScope::All);
    let carried_out = world.records.pop().unwrap();
    let done = &carried_out.entry.body;
    assert!(matches!(done, EntryBody::WithdrawalCarriedOut { .. }));
    let stopped = world.records.pop().unwrap();
    assert!(matches!(stopped.entry.body, EntryBody::Stopped { .. }));
    for body in [decided, offered] {
        let body = match body {
            EntryBody::Offered { mut permit } => {
                permit.issued_at = world.records.last().unwrap().entry.at;
                EntryBody::Offered { permit }
            }
            other => other,
        };
        let (records, last) = then(&world, body);
        assert_refused(&records, last, Code::Withdrawn);
    }
}

#[test]
fn an_answer_by_an_expired_permit_or_by_another_is_found() {
    let mut world = offered_request();
    let answer = world.answer_body(1);
    world.now = world.now.plus_s(300);
    let (mut records, last) = then_says(&world, 1, answer.clone());
    records[last].entry.at = world.now;
    assert_refused(&records, last, Code::PermitExpired);

    let world = offered_request();
    let (records, last) = then_says(&world, 2, answer);
    assert_refused(&records, last, Code::NotAParty);
}

#[test]
fn an_answer_to_a_revoked_agency_is_found_even_if_nothing_was_stopped() {
    let world = offered_request();
    let (mut records, _) = then(&world, EntryBody::Revoked { agency: agency(0) });
    let answer = said(1, envelope(1, 1, world.now, world.answer_body(1)));
    records.push(forged(&records, answer));
    assert_refused(&records, records.len() - 1, Code::Revoked);
}

#[test]
fn a_second_answer_is_found() {
    let mut world = offered_request();
    let answer = world.answer_body(1);
    world.answer(1, 1);
    world.now = world.now.plus_s(1);
    let (records, last) = then_says(&world, 1, answer);
    assert_refused(&records, last, Code::NoPermit);
}

#[test]
fn statements_that_others_signed_or_that_name_others_are_found() {
    let mut records = story().records;
    let answer = find(&records, 0, is_answer);
    resay(&mut records, answer, 2, |_| {});
    assert_refused(&records, answer, Code::Signature);

    let mut records = story().records;
    if let EntryBody::Said { agency: name, .. } = &mut records[answer].entry.body {
        *name = agency(2);
    }
    assert_refused(&records, answer, Code::OtherAgency);

    let mut records = story().records;
    if let EntryBody::Said { envelope, .. } = &mut records[answer].entry.body {
        envelope.signature.0[10] ^= 1;
    }
    assert_refused(&records, answer, Code::Signature);

    let mut records = story().records;
    resay(&mut records, answer, 1, |s| {
        s.federation = "autre".parse().unwrap()
    });
    assert_refused(&records, answer, Code::OtherFederation);

    let mut records = story().records;
    resay(&mut records, answer, 1, |s| s.at = s.at.plus_s(400));
    assert_refused(&records, answer, Code::Stale);

    let mut records = story().records;
    if let EntryBody::Said { envelope, .. } = &mut records[answer].entry.body {
        envelope.payload.0.push(b' ');
    }
    assert_refused(&records, answer, Code::Statement);
}

#[test]
fn a_bad_signature_before_another_fault_is_named_first() {
    let mut records = story().records;
    let answer = find(&records, 0, is_answer);
    resay(&mut records, answer, 2, |_| {});
    let last = records.len() - 1;
    records[last].entry.nonce = records[0].entry.nonce;
    assert_refused(&records, answer, Code::Signature);
}

#[test]
fn a_statement_that_was_sequenced_twice_is_found() {
    let mut world = offered_request();
    world.answer(1, 1);
    let body = world.records.last().unwrap().entry.body.clone();
    let (records, last) = then(&world, body);
    assert_refused(&records, last, Code::Replay);
}

#[test]
fn permits_that_allow_more_than_was_asked_and_decided_are_found() {
    let item = |category, level| Item { category, level };
    change_permit(|p| p.items.push(item(Category::Mentor, Level::Known)));
    change_permit(|p| p.items = vec![item(Category::InService, Level::Contact)]);
    change_permit(|p| p.items.clear());
    change_permit(|p| p.holder = agency(2));
    change_permit(|p| p.requester = agency(2));
    change_permit(|p| p.reply_key = PublicKey([99; 32]));
    change_permit(|p| p.statement = Digest([9; 32]));
    change_permit(|p| p.decision -= 1);
    change_permit(|p| p.bundle = Digest([9; 32]));
    change_permit(|p| p.not_after = p.not_after.plus_s(1));
    change_permit(|p| p.issued_at = p.issued_at.minus_s(1));
    change_permit(|p| p.obligations.retain(|o| *o != Obligation::NoRedisclosure));
    change_permit(|p| {
        p.obligations
            .retain(|o| !matches!(o, Obligation::RetainDays(_)))
    });
}

#[test]
fn a_permit_that_drops_the_review_is_found() {
    let mut records = story().records;
    let review = |body: &EntryBody| matches!(body, EntryBody::Offered { permit } if permit.review);
    let index = find(&records, 0, review);
    if let EntryBody::Offered { permit } = &mut records[index].entry.body {
        permit.review = false;
    }
    assert_refused(&records, index, Code::Permit);
}

#[test]
fn decisions_that_do_not_fit_are_found() {
    let decided = |body: &EntryBody| matches!(body, EntryBody::Decided { .. });
    let change = |change: &dyn Fn(&mut EntryBody), code| {
        let mut records = story().records;
        let index = find(&records, 0, decided);
        change(&mut records[index].entry.body);
        assert_refused(&records, index, code);
    };
    let items = |body: &mut EntryBody, change: &dyn Fn(&mut passerelle_model::pdp::ItemRuling)| {
        if let EntryBody::Decided { items, .. } = body {
            items.iter_mut().for_each(change);
        }
    };
    change(
        &|b| items(b, &|i| i.category = Category::Mentor),
        Code::Decision,
    );
    change(&|b| items(b, &|i| i.level = Level::Contact), Code::Decision);
    change(&|b| items(b, &|i| i.ruling.reasons.clear()), Code::Decision);
    change(
        &|b| items(b, &|i| i.ruling.consent = Some(crate::world::consent_id(9))),
        Code::UnknownConsent,
    );
    change(
        &|b| items(b, &|i| i.ruling.agreement = Some(agreement_id(9))),
        Code::UnknownAgreement,
    );
    change(
        &|b| {
            if let EntryBody::Decided { bundle, .. } = b {
                *bundle = Digest([8; 32]);
            }
        },
        Code::Bundle,
    );
    change(
        &|b| {
            if let EntryBody::Decided { request, .. } = b {
                *request = request_id(99);
            }
        },
        Code::UnknownRequest,
    );
}

#[test]
fn a_consent_or_agreement_that_does_not_cover_is_found() {
    // The denial of request 2 turned into a permit on a consent for another category.
    let mut world = World::new();
    world.consent(1, 1, 0);
    world.ask(1, 1, 0, Category::AppointmentStatus);
    let mut records = world.records;
    let decided = records.len() - 1;
    let mut permit = |consent, agreement| {
        if let EntryBody::Decided { items, .. } = &mut records[decided].entry.body {
            items[0].ruling.effect = Effect::Permit;
            items[0].ruling.consent = consent;
            items[0].ruling.agreement = agreement;
        }
        records.clone()
    };
    let on_consent = permit(Some(crate::world::consent_id(1)), None);
    assert_refused(&on_consent, decided, Code::Ground);
    // On consent, and on none in particular.
    let on_nothing = permit(None, None);
    assert_refused(&on_nothing, decided, Code::Ground);

    // An agreement that one party has not signed.
    let mut records = story().records;
    let signed = find(&records, 0, |body| {
        is_said(body, |body| matches!(body, Body::AgreementSignature(_)))
    });
    records.remove(signed);
    let asked = signed + 1;
    assert_refused(&records, asked, Code::Ground);
}

#[test]
fn receipts_by_others_out_of_order_or_for_other_answers_are_found() {
    let mut world = offered_request();
    world.answer(1, 1);
    let (records, last) = then_says(&world, 1, receipt(1, ReceiptKind::Delivered));
    assert_refused(&records, last, Code::NotAParty);
    let (records, last) = then_says(&world, 0, receipt(1, ReceiptKind::Viewed));
    assert_refused(&records, last, Code::WrongState);
    let Body::Receipt(mut other) = receipt(1, ReceiptKind::Delivered) else {
        panic!("not a receipt")
    };
    other.sealed = Digest([1; 32]);
    let (records, last) = then_says(&world, 0, Body::Receipt(other));
    assert_refused(&records, last, Code::Receipt);
    let world = offered_request();
    let (records, last) = then_says(&world, 0, receipt(1, ReceiptKind::Delivered));
    assert_refused(&records, last, Code::WrongState);
}

#[test]
fn identifiers_are_used_once() {
    let world = offered_request();
    for index in [world.records.len() - 3, world.records.len() - 4] {
        let mut statement = statement(&world.records[index]);
        statement.at = statement.at.plus_s(1);
        let n = if statement.agency == agency(0) { 0 } else { 1 };
        let (records, last) = then(&world, said(n, sign(n, &statement)));
        assert_refused(&records, last, Code::Duplicate);
    }
}

#[test]
fn requests_end_for_a_reason_and_not_before_their_time() {
    let world = offered_request();
    let (records, last) = then(
        &world,
        EntryBody::Expired {
            request: request_id(1),
        },
    );
    assert_refused(&records, last, Code::WrongState);
    for cause in [
        StopCause::Withdrawn(crate::world::consent_id(1)),
        StopCause::Revoked(agency(0)),
    ] {
        let (records, last) = then(
            &world,
            EntryBody::Stopped {
                request: request_id(1),
                cause,
            },
        );
        assert_refused(&records, last, Code::WrongState);
    }
    let (request, consent) = (request_id(1), crate::world::consent_id(1));
    let (records, last) = then(&world, EntryBody::Recalled { request, consent });
    assert_refused(&records, last, Code::WrongState);
}
