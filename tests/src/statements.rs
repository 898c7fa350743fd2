//! Statements of a hand-driven agency: honest ones, which a test may then spoil.

use crate::raw_agency::{RawAgency, now, random};
use passerelle_agent::seal::{self, ReplyKey};
use passerelle_audit::dsse;
use passerelle_model::{
    bytes::{Bytes, Commitment, Digest, Handle, Nonce},
    canonical,
    commitment::{Field, Opening},
    ids::{AgencyId, CaseId, ConsentId, RequestId},
    permit::Permit,
    statement::{
        Answer, Body, CaseOpening, ConsentTerms, Envelope, Item, PAYLOAD_ANSWER, PAYLOAD_CONTEXT,
        PAYLOAD_TYPE, Request, Statement, VERSION, Withdrawal, WithdrawalScope,
    },
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, Language, LegalBasis, Level, Profile,
        Purpose, WorkerRole,
    },
};
use passerelle_proto::{convert, v1};
use std::collections::BTreeMap;

/// A statement with what belongs to it, not signed yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The statement.
    pub statement: Statement,
    /// Openings of its commitments, those that the broker gets.
    pub openings: Vec<Opening>,
    /// Its payloads.
    pub payloads: BTreeMap<String, Bytes>,
}

/// A fresh commitment to `data`, with its opening.
pub fn commit(field: Field, data: &[u8]) -> (Commitment, Opening) {
    let opening = Opening {
        field,
        random: Nonce(random()),
        data: Bytes(data.to_vec()),
    };
    (opening.commitment(), opening)
}

/// A person whom nobody else in the tests has.
pub fn somebody() -> Handle {
    Handle(random())
}

/// A request with the keys that belong to it.
pub struct Asked {
    /// Its id.
    pub request: RequestId,
    /// Opens the answer.
    pub reply_key: ReplyKey,
    /// The statement.
    pub draft: Draft,
}

impl Draft {
    /// The canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        canonical::to_vec(&self.statement).expect("a statement encodes")
    }

    /// The request in it.
    pub fn request_mut(&mut self) -> &mut Request {
        match &mut self.statement.body {
            Body::Request(request) => request,
            other => panic!("not a request: {other:?}"),
        }
    }

    /// The answer in it.
    pub fn answer_mut(&mut self) -> &mut Answer {
        match &mut self.statement.body {
            Body::Answer(answer) => answer,
            other => panic!("not an answer: {other:?}"),
        }
    }
}

impl RawAgency {
    /// A statement of this agency, made now.
    pub fn draft(&self, body: Body) -> Draft {
        Draft {
            statement: Statement {
                version: VERSION,
                federation: self.federation.clone(),
                agency: self.agency.clone(),
                at: now(),
                body,
            },
            openings: Vec::new(),
            payloads: BTreeMap::new(),
        }
    }

    /// Signs any bytes as a statement.
    pub fn envelope(&self, payload: Vec<u8>) -> v1::Envelope {
        Envelope {
            signature: dsse::sign(&self.signing, PAYLOAD_TYPE, &payload),
            payload: Bytes(payload),
        }
        .into()
    }

    /// Any bytes, signed, as a frame.
    pub fn submit_bytes(&self, payload: Vec<u8>) -> v1::Submit {
        v1::Submit {
            call: 0,
            envelope: Some(self.envelope(payload)),
            openings: Vec::new(),
            payloads: Default::default(),
        }
    }

    /// A statement, signed, as a frame.
    pub fn sign(&self, draft: &Draft) -> v1::Submit {
        v1::Submit {
            openings: convert::openings_to_wire(draft.openings.clone()),
            payloads: convert::payloads_to_wire(draft.payloads.clone()),
            ..self.submit_bytes(draft.bytes())
        }
    }

    /// A consent to share `categories` for a plan, for a year.
    pub fn consent(
        &self,
        subject: &Handle,
        categories: &[Category],
        recipients: &[&AgencyId],
        disclosers: &[&AgencyId],
    ) -> (ConsentId, Draft) {
        let consent = ConsentId::from_random(random());
        let (commitment, opening) = commit(Field::Subject, &subject.0);
        let names = |list: &[&AgencyId]| list.iter().map(|a| (*a).clone()).collect();
        let given_at = now().minus_s(1);
        let terms = ConsentTerms {
            consent: consent.clone(),
            subject: commitment,
            giver: ConsentGiver::Subject,
            capacity: Capacity::Capable,
            categories: categories.to_vec(),
            purposes: vec![Purpose::Plan],
            recipients: names(recipients),
            disclosers: names(disclosers),
            method: ConsentMethod::Written,
            language: Language::French,
            interpreter: false,
            notice_version: 1,
            given_at,
            expires_at: given_at.plus_s(365 * 86_400),
            redisclosure: false,
            evidence: None,
        };
        let mut draft = self.draft(Body::Consent(Box::new(terms)));
        draft.openings.push(opening);
        (consent, draft)
    }

    /// A withdrawal of a whole consent.
    pub fn withdrawal(&self, consent: &ConsentId) -> Draft {
        self.draft(Body::Withdrawal(Withdrawal {
            consent: consent.clone(),
            scope: WithdrawalScope::All,
        }))
    }

    /// A request on consent, for a plan, for one category at the level `known`.
    pub fn request(&self, holder: &RawAgency, subject: &Handle, category: Category) -> Asked {
        let request = RequestId::from_random(random());
        let reply_key = ReplyKey::generate().expect("a key");
        let (subject, opening) = commit(Field::Subject, &subject.0);
        let id = request.as_str().as_bytes();
        let context =
            seal::seal(&holder.sealing.public(), id, b"", b"{}", seal::CONTEXT).expect("seals");
        let body = Request {
            request: request.clone(),
            holder: holder.agency.clone(),
            items: vec![Item {
                category,
                level: Level::Known,
            }],
            purpose: Purpose::Plan,
            basis: LegalBasis::Consent,
            reliance: None,
            case: None,
            emergency: None,
            subject: Some(subject),
            worker: commit(Field::Worker, b"w-1").0,
            role: WorkerRole::Mentor,
            trained: true,
            justification: commit(Field::Justification, b"").0,
            context: Digest::of(&context),
            reply_key: reply_key.public(),
            not_after: now().plus_s(3_600),
        };
        let mut draft = self.draft(Body::Request(Box::new(body)));
        draft.openings.push(opening);
        draft
            .payloads
            .insert(PAYLOAD_CONTEXT.into(), Bytes(context));
        Asked {
            request,
            reply_key,
            draft,
        }
    }

    /// An answer under `permit` that says `content`.
    pub fn answer(&self, permit: &Permit, content: &[u8]) -> Draft {
        let digest = permit.digest().expect("a permit encodes");
        let sealed = seal::seal(
            &permit.reply_key,
            &digest.0,
            b"",
            content,
            seal::SHORT_ANSWER,
        )
        .expect("seals");
        let mut draft = self.draft(Body::Answer(Answer {
            request: permit.request.clone(),
            permit: digest,
            outcome: commit(Field::Outcome, b"released").0,
            sealed: Digest::of(&sealed),
        }));
        draft.payloads.insert(PAYLOAD_ANSWER.into(), Bytes(sealed));
        draft
    }

    /// A case that this agency leads.
    pub fn case(&self, others: &[&AgencyId]) -> (CaseId, Draft) {
        let case = CaseId::from_random(random());
        let agencies = others.iter().map(|a| (*a).clone());
        let body = Body::CaseOpening(CaseOpening {
            case: case.clone(),
            profile: Profile::SituationTable,
            agencies: agencies.chain([self.agency.clone()]).collect(),
        });
        (case, self.draft(body))
    }
}
