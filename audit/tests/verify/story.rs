//! One log in which everything happens that can happen, and where.

use crate::{
    file::export,
    world::{World, agency, case_id, request_id},
};
use passerelle_model::{
    bytes::Digest,
    canonical,
    decide::{Command, Reply},
    error::ErrorCode,
    statement::{
        AgreementSignature, Body, CaseAdvance, CaseOpening, ReceiptKind, Reliance, WithdrawalScope,
    },
    vocabulary::{Category, Profile, Stage, Threshold},
};
use std::sync::OnceLock;

fn done(reply: Reply) {
    assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
}

/// Request 1 runs to its end and is recalled, 2 is denied, 3 is stopped by a withdrawal, 4
/// expires, 5 rests on an agreement and is renewed, 6 is stopped by a revocation.
pub(crate) fn story() -> World {
    let mut world = World::new();
    exchange_on_consent(&mut world);
    stops(&mut world);
    exchange_on_agreement(&mut world);
    case(&mut world);
    done(world.consent(4, 4, 0));
    done(world.ask(6, 4, 0, Category::InService));
    done(world.offer(6));
    done(world.run(&Command::CountEvaluations {
        agency: agency(1),
        count: 3,
    }));
    done(world.run(&Command::Revoke { agency: agency(1) }));
    world.enrol(1);
    world.now = world.now.plus_s(86_400);
    done(world.run(&Command::Tick));
    world
}

fn exchange_on_consent(world: &mut World) {
    done(world.consent(1, 1, 0));
    done(world.ask(1, 1, 0, Category::InService));
    done(world.offer(1));
    let refused = world.answer(1, 2);
    assert!(matches!(
        refused,
        Reply::Refused {
            code: ErrorCode::NotAParty,
            ..
        }
    ));
    done(world.answer(1, 1));
    done(world.receive(1, 0, ReceiptKind::Delivered));
    done(world.receive(1, 0, ReceiptKind::Viewed));
    done(world.withdraw(1, WithdrawalScope::Recipient(agency(0))));
    done(world.receive(1, 0, ReceiptKind::Erased));
    done(world.ask(2, 1, 0, Category::InService));
}

fn stops(world: &mut World) {
    done(world.consent(3, 3, 0));
    done(world.ask(3, 3, 0, Category::InService));
    done(world.offer(3));
    done(world.withdraw(3, WithdrawalScope::Category(Category::InService)));
    done(world.ask(4, 3, 0, Category::Mentor));
    world.now = world.now.plus_s(7_300);
    done(world.run(&Command::Tick));
}

fn exchange_on_agreement(world: &mut World) {
    let terms = world.agreement_terms(5);
    let agreement = terms.agreement.clone();
    let digest = canonical::digest(&terms).unwrap();
    done(world.say(0, Body::Agreement(Box::new(terms)), Vec::new(), &[]));
    let signature = AgreementSignature {
        endorsements: Vec::new(),
        agreement: agreement.clone(),
        terms: digest,
    };
    done(world.say(1, Body::AgreementSignature(signature), Vec::new(), &[]));
    let reliance = Some(Reliance::Agreement(agreement));
    done(world.ask_relying(5, 5, 0, Category::AppointmentStatus, reliance));
    world.now = world.now.plus_s(60);
    done(world.offer(5));
    world.now = world.now.plus_s(400);
    done(world.renew(5, 1));
    done(world.answer(5, 1));
    done(world.receive(5, 0, ReceiptKind::Delivered));
}

fn case(world: &mut World) {
    let opening = CaseOpening {
        case: case_id(1),
        profile: Profile::ALL[0],
        agencies: vec![agency(1)],
    };
    done(world.say(0, Body::CaseOpening(opening), Vec::new(), &[]));
    let advance = CaseAdvance {
        case: case_id(1),
        stage: Stage::DeIdentified,
        threshold: Threshold::Pending,
        agencies: Vec::new(),
        plan: Vec::new(),
        subject: None,
        outcome: None,
    };
    done(world.say(0, Body::CaseAdvance(advance), Vec::new(), &[]));
    let refusal = Command::Refuse {
        agency: agency(2),
        code: ErrorCode::BadSignature,
        statement: Digest([9; 32]),
    };
    assert!(matches!(world.run(&refusal), Reply::Refused { .. }));
    assert!(world.row(1).is_some_and(|row| row.request == request_id(1)));
}

/// The story's export, made once.
pub(crate) fn file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| export(&story().records))
}
