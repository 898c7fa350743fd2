//! A log made by the real state machine, with real signatures, checkpoint and cosignatures.

use passerelle_audit::{cosignature::Cosigner, dsse, keys::SigningKey, note::Signer};
use passerelle_model::{
    bytes::{Bytes, Digest, Handle, Nonce, PublicKey},
    canonical,
    commitment::{Field, Opening},
    decide::{Command, Inputs, Reply, decide},
    entry::{BrokerKeys, EntryBody, Record},
    ids::{AgencyId, AgreementId, CaseId, ConsentId, FederationId, RequestId, witness_name},
    panel::Panel,
    pdp::{Effect, Matter, Obligation, PolicyDecisionPoint, Reason, Ruling},
    records::RequestRow,
    state,
    statement::{
        AgencyKeys, AgreementLine, AgreementParty, AgreementTerms, Answer, Body, ConsentTerms,
        Edition, Envelope, Item, PAYLOAD_ANSWER, PAYLOAD_CONTEXT, PAYLOAD_TYPE, Receipt,
        ReceiptKind, Reliance, Renewal, Request, Statement, VERSION, Withdrawal, WithdrawalScope,
    },
    store::{Memory, Overlay},
    time::Timestamp,
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, Language, LegalBasis, Level, Purpose,
        Sector, WorkerRole,
    },
};
use std::collections::BTreeMap;

pub(crate) const AGENCIES: [&str; 4] = [
    "police-nord",
    "sante-centre",
    "maison-commune",
    "surveillance",
];
const ORIGIN: &str = "essai.example/log";
const CONTEXT: &[u8] = b"sealed context";
const SEALED: &[u8] = b"sealed answer";

pub(crate) fn agency(n: u8) -> AgencyId {
    AGENCIES[usize::from(n)].parse().unwrap()
}

pub(crate) fn federation() -> FederationId {
    "essai".parse().unwrap()
}

pub(crate) fn request_id(n: u8) -> RequestId {
    RequestId::from_random([n; 16])
}

pub(crate) fn consent_id(n: u8) -> ConsentId {
    ConsentId::from_random([n; 16])
}

pub(crate) fn agreement_id(n: u8) -> AgreementId {
    AgreementId::from_random([n; 16])
}

pub(crate) fn case_id(n: u8) -> CaseId {
    CaseId::from_random([n; 16])
}

pub(crate) fn signing_key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n + 1; 32])
}

fn witness_key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n + 101; 32])
}

pub(crate) fn log_signer() -> Signer {
    Signer::new(ORIGIN, SigningKey::from_seed(&[200; 32])).unwrap()
}

pub(crate) fn cosigner(n: u8) -> Cosigner {
    Cosigner::new(&witness_name(&federation(), &agency(n)), witness_key(n)).unwrap()
}

pub(crate) fn agency_keys(n: u8) -> AgencyKeys {
    let sectors = [
        Sector::LawEnforcement,
        Sector::Health,
        Sector::Community,
        Sector::Oversight,
    ];
    AgencyKeys {
        sector: sectors[usize::from(n)],
        signing: signing_key(n).public_key(),
        sealing: PublicKey([n; 32]),
        witness: witness_key(n).public_key(),
    }
}

/// Permits on consent, asks for review on an agreement, denies the rest. What is asked of a mentor
/// wants a look by a second person within a day, as an emergency does.
pub(crate) struct TestPdp;

fn allow(effect: Effect, days: u16) -> Ruling {
    Ruling {
        effect,
        reasons: vec![Reason {
            rule: "test-rule".into(),
            source: String::new(),
            text: "test-rule".into(),
        }],
        obligations: vec![Obligation::RetainDays(days), Obligation::NoRedisclosure],
        consent: None,
        agreement: None,
    }
}

impl PolicyDecisionPoint for TestPdp {
    fn rule(&self, matter: &Matter) -> Ruling {
        let category = matter.item.category;
        let (from, to) = (&matter.holder.agency, &matter.requester.agency);
        if !matter.requester.active || !matter.holder.active {
            return Ruling::deny("agency_inactive");
        }
        let consent = matter.consents.iter().find(|c| {
            c.terms.given_at <= matter.at
                && matter.at < c.terms.expires_at
                && c.terms.categories.contains(&category)
                && c.terms.purposes.contains(&matter.purpose)
                && c.terms.recipients.contains(to)
                && c.terms.disclosers.contains(from)
                && !c.is_withdrawn_for(to, category)
        });
        if let Some(consent) = consent {
            let mut ruling = allow(Effect::Permit, 90);
            ruling.consent = Some(consent.terms.consent.clone());
            if category == Category::Mentor {
                let review = Obligation::ReviewWithinHours(24);
                ruling.obligations.push(review);
            }
            return ruling;
        }
        let agreement = matter.agreements.iter().find(|a| {
            let line = |l: &AgreementLine| {
                l.from == *from
                    && l.to == *to
                    && l.category == category
                    && l.level >= matter.item.level
            };
            a.is_in_force(matter.at)
                && a.terms.purposes.contains(&matter.purpose)
                && a.terms.lines.iter().any(line)
        });
        match agreement {
            Some(agreement) => {
                let mut ruling = allow(Effect::Review, 30);
                ruling.agreement = Some(agreement.terms.agreement.clone());
                ruling
            }
            None => Ruling::deny("no_rule_permits"),
        }
    }

    fn bundle(&self) -> Digest {
        Digest([7; 32])
    }
}

pub(crate) fn opening(field: Field, n: u8) -> Opening {
    Opening {
        field,
        random: Nonce([n; 32]),
        data: Bytes(Handle([n; 32]).0.to_vec()),
    }
}

/// State, records and a clock.
pub(crate) struct World {
    store: Memory,
    pub(crate) records: Vec<Record>,
    pub(crate) now: Timestamp,
    seed: u64,
}

impl World {
    /// Founded, with four members: indices 0 to 8.
    pub(crate) fn new() -> Self {
        let mut world = Self {
            store: Memory::default(),
            records: Vec::new(),
            now: Timestamp(1_800_000_000_000),
            seed: 0,
        };
        let keys = BrokerKeys {
            checkpoint: log_signer().verifier_key().to_string(),
            permit: PublicKey([1; 32]),
            oprf: PublicKey([2; 32]),
        };
        let federation = federation();
        world.run(&Command::Found {
            federation,
            keys,
            panel: Panel::default(),
        });
        for n in 0..4 {
            world.enrol(n);
        }
        world
    }

    pub(crate) fn enrol(&mut self, n: u8) {
        self.seed += 1;
        let token = Digest::of(&self.seed.to_be_bytes());
        let keys = agency_keys(n);
        let invite = Command::Invite {
            agency: agency(n),
            sector: keys.sector,
            token,
            expires_at: self.now.plus_s(60),
        };
        self.run(&invite);
        let certificate = format!("{n:02x}");
        let reply = self.run(&Command::Enrol {
            agency: agency(n),
            token,
            keys,
            certificate,
        });
        assert!(matches!(reply, Reply::Done { .. }));
    }

    pub(crate) fn run(&mut self, command: &Command) -> Reply {
        self.seed += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        let next_index = self.records.len() as u64;
        let inputs = Inputs {
            now: self.now,
            seed,
            next_index,
            pdp: &TestPdp,
        };
        let mut overlay = Overlay::new(&self.store);
        let decided = decide(&mut overlay, command, &inputs).unwrap();
        let writes = overlay.into_writes();
        self.store.commit(writes);
        self.records.extend(decided.records);
        decided.reply
    }

    pub(crate) fn say(
        &mut self,
        from: u8,
        body: Body,
        openings: Vec<Opening>,
        payloads: &[(&str, &[u8])],
    ) -> Reply {
        // No two statements are alike by accident.
        self.now = self.now.plus_s(1);
        let envelope = envelope(from, from, self.now, body);
        let payloads: BTreeMap<_, _> = payloads
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Bytes(v.to_vec())))
            .collect();
        let key = signing_key(from).public_key();
        let check = |bytes: &[u8], signature: &_| {
            // The model's encoding and that of this crate must be one.
            assert_eq!(
                bytes,
                dsse::pre_authentication_encoding(PAYLOAD_TYPE, &envelope.payload.0)
            );
            dsse::verify(&key, PAYLOAD_TYPE, &envelope.payload.0, signature)
        };
        let verified = envelope
            .clone()
            .verify(&federation(), &agency(from), check, openings, payloads)
            .unwrap();
        self.run(&Command::Say(Box::new(verified)))
    }

    pub(crate) fn consent(&mut self, n: u8, person: u8, recipient: u8) -> Reply {
        let subject = opening(Field::Subject, person);
        let terms = ConsentTerms {
            consent: consent_id(n),
            subject: subject.commitment(),
            giver: ConsentGiver::Subject,
            capacity: Capacity::Capable,
            categories: vec![Category::InService, Category::Mentor],
            purposes: vec![Purpose::Plan],
            recipients: vec![agency(recipient)],
            disclosers: vec![agency((recipient + 1) % 3), agency((recipient + 2) % 3)],
            method: ConsentMethod::Written,
            language: Language::French,
            interpreter: false,
            notice_version: 1,
            given_at: self.now,
            expires_at: self.now.plus_s(86_400),
            redisclosure: false,
            evidence: Some(opening(Field::Evidence, n).commitment()),
        };
        self.say(1, Body::Consent(Box::new(terms)), vec![subject], &[])
    }

    pub(crate) fn withdraw(&mut self, n: u8, scope: WithdrawalScope) -> Reply {
        let consent = consent_id(n);
        self.say(
            1,
            Body::Withdrawal(Withdrawal { consent, scope }),
            Vec::new(),
            &[],
        )
    }

    pub(crate) fn ask(&mut self, n: u8, person: u8, from: u8, category: Category) -> Reply {
        self.ask_relying(n, person, from, category, None)
    }

    pub(crate) fn ask_relying(
        &mut self,
        n: u8,
        person: u8,
        from: u8,
        category: Category,
        reliance: Option<Reliance>,
    ) -> Reply {
        let subject = opening(Field::Subject, person);
        let request = Request {
            request: request_id(n),
            holder: agency((from + 1) % 3),
            items: vec![Item {
                category,
                level: Level::Known,
            }],
            purpose: Purpose::Plan,
            basis: match &reliance {
                Some(Reliance::Agreement(_)) => LegalBasis::Gdpr6,
                Some(Reliance::Consent(_)) | None => LegalBasis::Consent,
            },
            reliance,
            case: None,
            emergency: None,
            subject: Some(subject.commitment()),
            worker: opening(Field::Worker, n).commitment(),
            role: WorkerRole::Officer,
            trained: true,
            justification: opening(Field::Justification, n).commitment(),
            context: Digest::of(CONTEXT),
            reply_key: PublicKey([n; 32]),
            not_after: self.now.plus_s(7_200),
        };
        let body = Body::Request(Box::new(request));
        self.say(from, body, vec![subject], &[(PAYLOAD_CONTEXT, CONTEXT)])
    }

    pub(crate) fn offer(&mut self, n: u8) -> Reply {
        self.run(&Command::Offer {
            request: request_id(n),
        })
    }

    pub(crate) fn row(&self, n: u8) -> Option<RequestRow> {
        state::request(&self.store, &request_id(n)).unwrap()
    }

    pub(crate) fn permit(&self, n: u8) -> Digest {
        let permit = self.row(n).and_then(|row| row.permit);
        permit.map_or(Digest([0; 32]), |permit| permit.digest)
    }

    pub(crate) fn answer_body(&self, n: u8) -> Body {
        Body::Answer(Answer {
            request: request_id(n),
            permit: self.permit(n),
            outcome: opening(Field::Outcome, n).commitment(),
            sealed: Digest::of(SEALED),
        })
    }

    pub(crate) fn answer(&mut self, n: u8, by: u8) -> Reply {
        let body = self.answer_body(n);
        self.say(by, body, Vec::new(), &[(PAYLOAD_ANSWER, SEALED)])
    }

    pub(crate) fn receive(&mut self, n: u8, from: u8, kind: ReceiptKind) -> Reply {
        self.say(from, receipt(n, kind), Vec::new(), &[])
    }

    pub(crate) fn renew(&mut self, n: u8, by: u8) -> Reply {
        let (request, permit) = (request_id(n), self.permit(n));
        self.say(
            by,
            Body::Renewal(Renewal { request, permit }),
            Vec::new(),
            &[],
        )
    }

    /// Health discloses to the police whether somebody is in service.
    pub(crate) fn agreement_terms(&self, n: u8) -> AgreementTerms {
        let party = |n| AgreementParty {
            agency: agency(n),
            basis: LegalBasis::Gdpr6,
        };
        AgreementTerms {
            signatories: Vec::new(),
            agreement: agreement_id(n),
            edition: Edition::default(),
            parties: vec![party(0), party(1)],
            purposes: vec![Purpose::Plan],
            lines: vec![AgreementLine {
                from: agency(1),
                to: agency(0),
                category: Category::AppointmentStatus,
                level: Level::Contact,
                retention_days: 30,
            }],
            starts_at: self.now,
            review_at: self.now.plus_s(40_000),
            ends_at: self.now.plus_s(80_000),
        }
    }
}

pub(crate) fn receipt(n: u8, kind: ReceiptKind) -> Body {
    let (request, sealed) = (request_id(n), Digest::of(SEALED));
    Body::Receipt(Receipt {
        request,
        kind,
        sealed,
    })
}

/// A statement in the name of one agency, signed by the key of another, or the same.
pub(crate) fn envelope(name: u8, key: u8, at: Timestamp, body: Body) -> Envelope {
    let (federation, agency) = (federation(), agency(name));
    let statement = Statement {
        version: VERSION,
        federation,
        agency,
        at,
        body,
    };
    sign(key, &statement)
}

pub(crate) fn sign(key: u8, statement: &Statement) -> Envelope {
    let payload = canonical::to_vec(statement).unwrap();
    let signature = dsse::sign(&signing_key(key), PAYLOAD_TYPE, &payload);
    Envelope {
        payload: Bytes(payload),
        signature,
    }
}

/// The index of the `nth` entry (from 0) for which `is` holds.
pub(crate) fn find(records: &[Record], nth: usize, is: impl Fn(&EntryBody) -> bool) -> usize {
    let mut found = records
        .iter()
        .enumerate()
        .filter(|(_, r)| is(&r.entry.body));
    found.nth(nth).unwrap().0
}

/// The statement of a `said` entry.
pub(crate) fn statement(record: &Record) -> Statement {
    match &record.entry.body {
        EntryBody::Said { envelope, .. } => envelope.unverified_statement().unwrap(),
        other => panic!("not said: {other:?}"),
    }
}
