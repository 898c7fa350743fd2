//! What the two agencies of the small world say, as the statements that production code reads.
//!
//! In scope: the statements, already verified. Out of scope: signatures, sealing (the bytes of the
//! answer are fixed), and when somebody says what (module `exchange`).

use passerelle_model::{
    bytes::{Bytes, Commitment, Digest, Handle, Nonce, PublicKey, Signature},
    canonical,
    commitment::{Field, Opening},
    ids::{AgencyId, ConsentId, FederationId, RequestId},
    statement::{
        Answer, Body, ConsentTerms, Envelope, Item, PAYLOAD_ANSWER, PAYLOAD_CONTEXT, Receipt,
        ReceiptKind, Renewal, Request, Statement, VERSION, Verified, Withdrawal, WithdrawalScope,
    },
    time::Timestamp,
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, Language, LegalBasis, Level, Purpose,
        WorkerRole,
    },
};
use std::collections::BTreeMap;

/// When the story begins.
pub const START: Timestamp = Timestamp(1_800_000_000_000);

/// One step of the clock, in seconds: a permit lives for one step and a half, and after one it is
/// old enough to be renewed.
pub const STEP_S: u64 = 200;

/// The step at which the request runs out of time, where no other is said.
pub const DEADLINE: u8 = 3;

/// The two agencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// Asks, and is where the person withdraws.
    Asker,
    /// Holds the facts.
    Holder,
}

impl Who {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Asker, Self::Holder];

    /// The name.
    pub fn agency(self) -> AgencyId {
        let name = match self {
            Self::Asker => "maison-commune",
            Self::Holder => "sante-centre",
        };
        name.parse().unwrap()
    }
}

/// What can be said. `permit` counts the permits in the log from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stmt {
    /// The asker asks.
    Request,
    /// The asker passes the person's withdrawal on.
    Withdrawal,
    /// The holder answers under a permit.
    Answer {
        /// Which.
        permit: u8,
    },
    /// The holder asks for another permit than this one.
    Renewal {
        /// Which.
        permit: u8,
    },
    /// The asker has it.
    Delivered,
    /// The asker has destroyed it.
    Erased,
}

impl Stmt {
    /// Who says it.
    pub fn by(self) -> Who {
        match self {
            Self::Answer { .. } | Self::Renewal { .. } => Who::Holder,
            Self::Request | Self::Withdrawal | Self::Delivered | Self::Erased => Who::Asker,
        }
    }
}

/// The federation.
pub fn federation() -> FederationId {
    "essai".parse().unwrap()
}

/// The one request.
pub fn request_id() -> RequestId {
    RequestId::from_random([1; 16])
}

/// The one consent.
pub fn consent_id() -> ConsentId {
    ConsentId::from_random([2; 16])
}

/// The instant of a step of the clock.
pub fn instant(step: u8) -> Timestamp {
    START.plus_s(u64::from(step) * STEP_S)
}

fn subject() -> Opening {
    Opening {
        field: Field::Subject,
        random: Nonce([3; 32]),
        data: Bytes(Handle([3; 32]).0.to_vec()),
    }
}

/// The statement that records the consent, by the holder.
pub fn consent() -> Verified {
    let terms = ConsentTerms {
        consent: consent_id(),
        subject: subject().commitment(),
        giver: ConsentGiver::Subject,
        capacity: Capacity::Capable,
        categories: vec![Category::InService],
        purposes: vec![Purpose::Plan],
        recipients: vec![Who::Asker.agency()],
        disclosers: vec![Who::Holder.agency()],
        method: ConsentMethod::Written,
        language: Language::French,
        interpreter: false,
        notice_version: 1,
        given_at: START,
        expires_at: START.plus_s(86_400),
        redisclosure: false,
        evidence: None,
    };
    verified(
        Who::Holder,
        Body::Consent(Box::new(terms)),
        vec![subject()],
        &[],
    )
}

/// `stmt` as the broker gets it. `permits` are the digests of the permits in the log; the request
/// runs out of time at step `deadline` of the clock.
pub fn statement(stmt: Stmt, permits: &[Digest], deadline: u8) -> Verified {
    let request = request_id();
    let sealed: &[u8] = b"sealed answer";
    let receipt = |kind| {
        Body::Receipt(Receipt {
            request: request_id(),
            kind,
            sealed: Digest::of(sealed),
        })
    };
    match stmt {
        Stmt::Request => {
            let payloads: [(&str, &[u8]); 1] = [(PAYLOAD_CONTEXT, b"sealed context")];
            let body = Body::Request(Box::new(asked(deadline)));
            verified(Who::Asker, body, vec![subject()], &payloads)
        }
        Stmt::Withdrawal => {
            let body = Body::Withdrawal(Withdrawal {
                consent: consent_id(),
                scope: WithdrawalScope::All,
            });
            verified(Who::Asker, body, Vec::new(), &[])
        }
        Stmt::Answer { permit } => {
            let body = Body::Answer(Answer {
                request,
                permit: permits[usize::from(permit)],
                outcome: Commitment([5; 32]),
                sealed: Digest::of(sealed),
            });
            verified(Who::Holder, body, Vec::new(), &[(PAYLOAD_ANSWER, sealed)])
        }
        Stmt::Renewal { permit } => {
            let permit = permits[usize::from(permit)];
            let body = Body::Renewal(Renewal { request, permit });
            verified(Who::Holder, body, Vec::new(), &[])
        }
        Stmt::Delivered => verified(Who::Asker, receipt(ReceiptKind::Delivered), Vec::new(), &[]),
        Stmt::Erased => verified(Who::Asker, receipt(ReceiptKind::Erased), Vec::new(), &[]),
    }
}

fn asked(deadline: u8) -> Request {
    Request {
        request: request_id(),
        holder: Who::Holder.agency(),
        items: vec![Item {
            category: Category::InService,
            level: Level::Known,
        }],
        purpose: Purpose::Plan,
        basis: LegalBasis::Consent,
        reliance: None,
        case: None,
        emergency: None,
        subject: Some(subject().commitment()),
        worker: Commitment([9; 32]),
        role: WorkerRole::Mentor,
        trained: true,
        justification: Commitment([8; 32]),
        context: Digest::of(b"sealed context"),
        reply_key: PublicKey([9; 32]),
        not_after: instant(deadline),
    }
}

fn verified(by: Who, body: Body, openings: Vec<Opening>, payloads: &[(&str, &[u8])]) -> Verified {
    let statement = Statement {
        version: VERSION,
        federation: federation(),
        agency: by.agency(),
        at: START,
        body,
    };
    let envelope = Envelope {
        payload: Bytes(canonical::to_vec(&statement).unwrap()),
        signature: Signature([0; 64]),
    };
    let payloads: BTreeMap<_, _> = payloads
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), Bytes(bytes.to_vec())))
        .collect();
    envelope
        .verify(&federation(), &by.agency(), |_, _| true, openings, payloads)
        .unwrap()
}
