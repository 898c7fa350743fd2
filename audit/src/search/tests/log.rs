//! Logs of made-up entries over few names, so that they refer to each other.

use passerelle_model::{
    bytes::{Bytes, Commitment, Digest, Handle, Nonce, PublicKey, Signature},
    canonical,
    commitment::{Field, Opening},
    entry::{Entry, EntryBody, StopCause},
    error::ErrorCode,
    ids::{AgencyId, CaseId, ConsentId, RequestId},
    pdp::{Effect, ItemRuling, Reason, Ruling},
    statement::{
        Answer, Body, CaseOpening, ConsentTerms, Envelope, Item, Request, Statement, VERSION,
        Withdrawal, WithdrawalScope,
    },
    time::Timestamp,
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, Language, LegalBasis, Level, Profile,
        Purpose, WorkerRole,
    },
};

pub(super) const START: Timestamp = Timestamp(1_800_000_000_000);

pub(super) fn agency(n: u8) -> AgencyId {
    ["police", "clinic", "house"][usize::from(n % 3)]
        .parse()
        .unwrap()
}

pub(super) fn request_id(n: u8) -> RequestId {
    RequestId::from_random([n % 3; 16])
}

pub(super) fn consent_id(n: u8) -> ConsentId {
    ConsentId::from_random([n % 3; 16])
}

pub(super) fn case_id(n: u8) -> CaseId {
    CaseId::from_random([n % 2; 16])
}

pub(super) fn purpose(n: u8) -> Purpose {
    Purpose::ALL[usize::from(n % 3)]
}

pub(super) fn basis(n: u8) -> LegalBasis {
    LegalBasis::ALL[usize::from(n % 2)]
}

pub(super) fn category(n: u8) -> Category {
    Category::ALL[usize::from(n % 4)]
}

pub(super) fn effect(n: u8) -> Effect {
    [Effect::Permit, Effect::Review, Effect::Deny][usize::from(n % 3)]
}

pub(super) fn rule(n: u8) -> String {
    ["consent-covers", "no-rule"][usize::from(n % 2)].to_owned()
}

pub(super) fn handle(n: u8) -> Handle {
    Handle([n % 2; 32])
}

pub(super) fn opening(field: Field, data: &[u8]) -> Opening {
    Opening {
        field,
        random: Nonce([9; 32]),
        data: Bytes(data.to_vec()),
    }
}

/// An entry, what opens it, and whether this reader may see it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) entry: Entry,
    pub(super) openings: Vec<Opening>,
    pub(super) hidden: bool,
}

pub(super) fn said(by: u8, body: Body) -> EntryBody {
    let statement = Statement {
        version: VERSION,
        federation: "nord".parse().unwrap(),
        agency: agency(by),
        at: START,
        body,
    };
    EntryBody::Said {
        agency: agency(by),
        envelope: Envelope {
            payload: Bytes(canonical::to_vec(&statement).unwrap()),
            signature: Signature([0; 64]),
        },
    }
}

pub(super) fn request(n: [u8; 5], subject: &Opening, worker: &Opening) -> Body {
    let item = |n| Item {
        category: category(n),
        level: Level::ALL[usize::from(n % 5)],
    };
    Body::Request(Box::new(Request {
        request: request_id(n[0]),
        holder: agency(n[1]),
        items: vec![item(n[2]), item(n[3])],
        purpose: purpose(n[2]),
        basis: basis(n[3]),
        reliance: None,
        case: (n[4] > 127).then(|| case_id(n[4])),
        emergency: None,
        subject: Some(subject.commitment()),
        worker: worker.commitment(),
        role: WorkerRole::Nurse,
        trained: true,
        justification: Commitment([0; 32]),
        context: Digest([0; 32]),
        reply_key: PublicKey([0; 32]),
        not_after: START,
    }))
}

pub(super) fn consent(n: [u8; 5], subject: &Opening) -> Body {
    Body::Consent(Box::new(ConsentTerms {
        consent: consent_id(n[0]),
        subject: subject.commitment(),
        giver: ConsentGiver::Subject,
        capacity: Capacity::Capable,
        categories: vec![category(n[1])],
        purposes: vec![purpose(n[2])],
        recipients: vec![agency(n[3])],
        disclosers: vec![agency(n[4])],
        method: ConsentMethod::Written,
        language: Language::French,
        interpreter: false,
        notice_version: 1,
        given_at: START,
        expires_at: START.plus_s(60),
        redisclosure: false,
        evidence: None,
    }))
}

pub(super) fn decided(n: [u8; 5]) -> EntryBody {
    let ruling = |n: u8| ItemRuling {
        category: category(n),
        level: Level::Known,
        ruling: Ruling {
            effect: effect(n / 4),
            reasons: vec![Reason {
                rule: rule(n / 16),
                source: String::new(),
                text: String::new(),
            }],
            obligations: Vec::new(),
            consent: (n > 127).then(|| consent_id(n)),
            agreement: None,
        },
    };
    EntryBody::Decided {
        request: request_id(n[0]),
        items: vec![ruling(n[1]), ruling(n[2])],
        bundle: Digest([0; 32]),
    }
}

pub(super) fn row(kind: u8, n: [u8; 5], is_open: bool, hidden: bool, at: u64) -> Row {
    let subject = opening(Field::Subject, &handle(n[1]).0);
    let worker = opening(Field::Worker, [b'w', b'0' + n[2] % 2].as_slice());
    let by = n[3];
    let body = match kind % 10 {
        0 | 1 => said(by, request(n, &subject, &worker)),
        2 => said(by, consent(n, &subject)),
        3 | 4 => decided(n),
        5 => said(
            by,
            Body::Answer(Answer {
                request: request_id(n[0]),
                permit: Digest([0; 32]),
                outcome: Commitment([0; 32]),
                sealed: Digest([0; 32]),
            }),
        ),
        6 => said(
            by,
            Body::Withdrawal(Withdrawal {
                consent: consent_id(n[0]),
                scope: WithdrawalScope::All,
            }),
        ),
        7 => EntryBody::Refused {
            agency: agency(by),
            code: ErrorCode::Stale,
            statement: Digest([0; 32]),
        },
        8 => EntryBody::Stopped {
            request: request_id(n[0]),
            cause: StopCause::DecidedAgain,
        },
        _ => said(
            by,
            Body::CaseOpening(CaseOpening {
                case: case_id(n[0]),
                profile: Profile::ALL[0],
                agencies: vec![agency(n[1])],
            }),
        ),
    };
    let entry = Entry {
        kind: body.code().to_owned(),
        version: VERSION,
        at: START.plus_s(at),
        body,
        nonce: Nonce([0; 32]),
    };
    let openings = match &entry.body {
        EntryBody::Said { envelope, .. } if is_open => {
            match envelope.unverified_statement().unwrap().body {
                Body::Request(_) => vec![subject, worker],
                Body::Consent(_) => vec![subject],
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    };
    Row {
        entry,
        openings,
        hidden,
    }
}
