//! Statements, what a member may say of each kind, and the entries that come of them.

use super::of;
use crate::{
    decide::{Log, PAYLOAD, opening, said},
    world,
};
use passerelle_agent::event::Transaction;
use passerelle_audit::dsse;
use passerelle_model::{
    bytes::{Bytes, Commitment, Digest, PublicKey},
    canonical,
    decide::Command,
    entry::{EntryBody, Sidecar},
    ids::{AgreementId, CaseId, ConsentId, RequestId},
    statement::{
        AgreementLine, AgreementParty, AgreementSignature, AgreementTerms, Answer, Body,
        CaseAdvance, CaseOpening, ConsentTerms, Edition, Envelope, Item, PAYLOAD_TYPE, Receipt,
        ReceiptKind, Reliance, Renewal, Request, Statement, Withdrawal, WithdrawalScope,
    },
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, Language, LegalBasis, Level, Profile,
        Purpose, Stage, Threshold, WorkerRole,
    },
};
use std::collections::BTreeMap;

fn id(number: u8) -> [u8; 16] {
    [number; 16]
}

fn request(reliance: Option<Reliance>, basis: LegalBasis) -> Body {
    Body::Request(Box::new(Request {
        request: RequestId::from_random(id(1)),
        holder: world::member(1),
        items: vec![Item {
            category: Category::InService,
            level: Level::Known,
        }],
        purpose: Purpose::Plan,
        basis,
        reliance,
        case: None,
        emergency: None,
        subject: Some(opening().commitment()),
        worker: Commitment([9; 32]),
        role: WorkerRole::Officer,
        trained: true,
        justification: Commitment([8; 32]),
        context: Digest::of(PAYLOAD),
        reply_key: PublicKey([9; 32]),
        not_after: world::NOW.plus_s(7_200),
    }))
}

fn consent() -> Body {
    Body::Consent(Box::new(ConsentTerms {
        consent: ConsentId::from_random(id(2)),
        subject: opening().commitment(),
        giver: ConsentGiver::Subject,
        capacity: Capacity::Capable,
        categories: vec![Category::InService],
        purposes: vec![Purpose::Plan],
        recipients: vec![world::member(0)],
        disclosers: vec![world::member(1)],
        method: ConsentMethod::Written,
        language: Language::French,
        interpreter: false,
        notice_version: 1,
        given_at: world::NOW,
        expires_at: world::NOW.plus_s(86_400),
        redisclosure: false,
        evidence: None,
    }))
}

fn agreement() -> AgreementTerms {
    let party = |number| AgreementParty {
        agency: world::member(number),
        basis: LegalBasis::Gdpr6,
    };
    AgreementTerms {
        signatories: Vec::new(),
        agreement: AgreementId::from_random(id(3)),
        edition: Edition::default(),
        parties: vec![party(0), party(1)],
        purposes: vec![Purpose::Plan],
        lines: vec![AgreementLine {
            from: world::member(1),
            to: world::member(0),
            category: Category::InService,
            level: Level::Known,
            retention_days: 30,
        }],
        starts_at: world::NOW,
        review_at: world::NOW.plus_s(40_000),
        ends_at: world::NOW.plus_s(80_000),
    }
}

/// Who says what, in order: each list is one story.
fn stories() -> Vec<Vec<(u8, Body)>> {
    let case = CaseId::from_random(id(4));
    let advance = |stage, threshold, subject| {
        Body::CaseAdvance(CaseAdvance {
            case: case.clone(),
            stage,
            threshold,
            agencies: vec![world::member(1)],
            plan: Vec::new(),
            subject,
            outcome: None,
        })
    };
    let withdrawal = Withdrawal {
        consent: ConsentId::from_random(id(2)),
        scope: WithdrawalScope::All,
    };
    let terms = canonical::digest(&agreement()).unwrap();
    let signature = AgreementSignature {
        endorsements: Vec::new(),
        agreement: AgreementId::from_random(id(3)),
        terms,
    };
    let on_consent = Some(Reliance::Consent(ConsentId::from_random(id(2))));
    let on_agreement = Some(Reliance::Agreement(AgreementId::from_random(id(3))));
    let first = RequestId::from_random(id(1));
    let answer = Answer {
        request: first.clone(),
        permit: Digest([0; 32]),
        outcome: Commitment([5; 32]),
        sealed: Digest::of(PAYLOAD),
    };
    let receipt = Receipt {
        request: first.clone(),
        kind: ReceiptKind::Delivered,
        sealed: Digest::of(PAYLOAD),
    };
    let renewal = Renewal {
        request: first,
        permit: Digest([0; 32]),
    };
    vec![
        vec![
            (1, consent()),
            (0, request(on_consent, LegalBasis::Consent)),
            (1, Body::Answer(answer)),
            (0, Body::Receipt(receipt)),
            (1, Body::Renewal(renewal)),
            (1, Body::Withdrawal(withdrawal)),
        ],
        vec![
            (0, Body::Agreement(Box::new(agreement()))),
            (1, Body::AgreementSignature(signature.clone())),
            (0, Body::AgreementSignature(signature)),
            (0, request(on_agreement, LegalBasis::Gdpr6)),
        ],
        vec![
            (
                0,
                Body::CaseOpening(CaseOpening {
                    case: case.clone(),
                    profile: Profile::ALL[0],
                    agencies: vec![world::member(1), world::member(2)],
                }),
            ),
            (0, advance(Stage::ALL[1], Threshold::ALL[0], None)),
            (
                0,
                advance(
                    Stage::LimitedIdentifiers,
                    Threshold::Agreed,
                    Some(opening().commitment()),
                ),
            ),
        ],
        vec![(2, request(None, LegalBasis::Consent))],
    ]
}

pub(super) fn decisions() -> Vec<Vec<u8>> {
    let story = |said: Vec<(u8, Body)>| {
        let parts = said.iter().map(|(from, body)| {
            // A zero byte separates: the members are counted from three.
            [&[from + 3], serde_json::to_vec(body).unwrap().as_slice()].concat()
        });
        parts.collect::<Vec<_>>().join(&0)
    };
    stories().into_iter().map(story).collect()
}

/// The bytes of all statements, signed by those who make them.
pub(super) fn signed() -> Vec<Envelope> {
    let said = stories().into_iter().flatten();
    said.map(|(from, body)| {
        let statement = Statement {
            version: 1,
            federation: world::federation(),
            agency: world::member(from.into()),
            at: world::NOW,
            body,
        };
        let payload = canonical::to_vec(&statement).unwrap();
        let signature = dsse::sign(&world::statement_key(from.into()), PAYLOAD_TYPE, &payload);
        Envelope {
            payload: Bytes(payload),
            signature,
        }
    })
    .collect()
}

pub(super) fn statements() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, envelope) in signed().into_iter().enumerate() {
        seeds.push(of(0, &envelope.payload.0));
        if number % 5 == 0 {
            seeds.push(of(1, canonical::to_vec(&envelope).unwrap()));
        }
    }
    seeds.push(of(2, [&[0, 0, 9, 1, 3, 4][..], b"payload"].concat()));
    seeds.push(of(3, [&[2, 3, 2][..], b"aabbbaabbb"].concat()));
    seeds.push(of(3, [&[4, 3, 1][..], b"a 1 bbba3 bbb"].concat()));
    seeds
}

/// A log in which everything above was said.
pub(super) fn log() -> Log {
    let mut log = Log::new();
    for (from, body) in stories().into_iter().flatten() {
        let asked = matches!(body, Body::Request(_));
        if let Some(command) = said(from.into(), log.now, body) {
            log.run(&command);
        }
        if asked {
            let request = RequestId::from_random(id(1));
            log.run(&Command::Offer { request });
        }
    }
    log
}

pub(super) fn entries() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut kinds = BTreeMap::new();
    for record in log().records {
        if let EntryBody::Offered { permit } = &record.entry.body {
            seeds.push(of(2, canonical::to_vec(permit).unwrap()));
        }
        if !record.sidecar.is_empty() {
            kinds.insert("sidecar", of(1, record.sidecar.to_bytes().unwrap()));
        }
        kinds.insert(
            record.entry.body.code(),
            of(0, record.entry.to_bytes().unwrap()),
        );
    }
    seeds.extend(kinds.into_values());
    seeds.push(of(1, Sidecar::default().to_bytes().unwrap()));
    let transaction = Transaction {
        at: world::NOW,
        events: Vec::new(),
    };
    let record = transaction.to_record().unwrap();
    let length = u16::try_from(record.entry.len()).unwrap().to_be_bytes();
    seeds.push(of(
        3,
        [&length[..], &record.entry, &record.sidecar].concat(),
    ));
    seeds
}
