//! A log under test, on which tests say things and the clock stands still.

mod agreements;
mod bundles;
mod origin;
mod random;
mod reviews;
mod seals;
mod steps;

use super::*;
use crate::{
    bytes::{Bytes, Handle, PublicKey, Signature},
    canonical,
    commitment::{Field, Opening},
    ids::{ConsentId, RequestId},
    panel::Panel,
    pdp::{Effect, Matter, Obligation, Reason, Ruling},
    records::RequestRow,
    statement::{
        Answer, ConsentTerms, Envelope, Item, PAYLOAD_ANSWER, PAYLOAD_CONTEXT, Receipt,
        ReceiptKind, Request, Statement, Withdrawal, WithdrawalScope,
    },
    store::{Memory, Read as _},
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, Language, LegalBasis, Level, Purpose,
        WorkerRole,
    },
};
use std::collections::BTreeMap;

/// Permits what an unwithdrawn, unexpired consent of the person covers; denies the rest. Whatever is
/// asked of a mentor wants a review within a day.
struct ConsentOnly(Digest);

impl PolicyDecisionPoint for ConsentOnly {
    fn rule(&self, matter: &Matter) -> Ruling {
        let category = matter.item.category;
        let covering = matter.consents.iter().find(|c| {
            matter.at < c.terms.expires_at
                && c.terms.categories.contains(&category)
                && c.terms.recipients.contains(&matter.requester.agency)
                && !c.is_withdrawn_for(&matter.requester.agency, category)
        });
        match covering {
            Some(consent) => Ruling {
                effect: Effect::Permit,
                reasons: vec![Reason {
                    rule: "consent-covers".into(),
                    source: String::new(),
                    text: "consent-covers".into(),
                }],
                obligations: match category {
                    Category::Mentor => vec![Obligation::ReviewWithinHours(24)],
                    _ => Vec::new(),
                },
                consent: Some(consent.terms.consent.clone()),
                agreement: None,
            },
            None => Ruling::deny("no_rule_permits"),
        }
    }

    fn bundle(&self) -> Digest {
        self.0
    }
}

fn id_bytes(n: u8) -> [u8; 16] {
    [n; 16]
}

fn agency(n: u8) -> AgencyId {
    ["police-nord", "sante-centre", "maison-commune"][usize::from(n % 3)]
        .parse()
        .unwrap()
}

fn handle_opening(person: u8) -> Opening {
    Opening {
        field: Field::Subject,
        random: Nonce([person; 32]),
        data: Bytes(Handle([person; 32]).0.to_vec()),
    }
}

/// A log under test: state, records, and a clock.
struct World {
    store: Memory,
    records: Vec<Record>,
    now: Timestamp,
    seed: u64,
    /// The decision point's bundle.
    bundle: Digest,
    /// What decides in its place, if something does.
    pdp: Option<&'static dyn PolicyDecisionPoint>,
}

impl World {
    fn new() -> Self {
        Self::founded(None)
    }

    fn with_rules(pdp: &'static dyn PolicyDecisionPoint) -> Self {
        Self::founded(Some(pdp))
    }

    fn founded(pdp: Option<&'static dyn PolicyDecisionPoint>) -> Self {
        let mut world = Self {
            pdp,
            store: Memory::default(),
            records: Vec::new(),
            now: Timestamp(1_800_000_000_000),
            seed: 0,
            bundle: Digest([7; 32]),
        };
        let keys = BrokerKeys {
            checkpoint: "test+00000000+AA==".into(),
            permit: PublicKey([1; 32]),
            oprf: PublicKey([2; 32]),
        };
        world.run(&Command::Found {
            federation: "essai".parse().unwrap(),
            keys,
            panel: Panel::default(),
        });
        for n in 0..3 {
            world.enrol(n);
        }
        world
    }

    fn enrol(&mut self, n: u8) {
        let token = Digest([n + 100; 32]);
        let sector = [Sector::LawEnforcement, Sector::Health, Sector::Community][usize::from(n)];
        self.run(&Command::Invite {
            agency: agency(n),
            sector,
            token,
            expires_at: self.now.plus_s(60),
        });
        let key = PublicKey([n; 32]);
        let keys = AgencyKeys {
            sector,
            signing: key,
            sealing: key,
            witness: key,
        };
        let certificate = format!("{n:02x}");
        let reply = self.run(&Command::Enrol {
            agency: agency(n),
            token,
            keys,
            certificate,
        });
        assert!(matches!(reply, Reply::Done { .. }));
    }

    fn run(&mut self, command: &Command) -> Reply {
        self.seed += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        let own = ConsentOnly(self.bundle);
        let inputs = Inputs {
            now: self.now,
            seed,
            next_index: self.records.len() as u64,
            pdp: self.pdp.unwrap_or(&own),
        };
        let mut overlay = Overlay::new(&self.store);
        let decided = decide(&mut overlay, command, &inputs).unwrap();
        let writes = overlay.into_writes();
        self.store.commit(writes);
        for record in &decided.records {
            canonical::tests::assert_canonical(&record.entry);
        }
        self.records.extend(decided.records);
        decided.reply
    }

    fn say(
        &mut self,
        from: u8,
        body: Body,
        openings: Vec<Opening>,
        payloads: &[(&str, &[u8])],
    ) -> Reply {
        self.say_with(from, body, openings, payloads, None)
    }

    fn say_with(
        &mut self,
        from: u8,
        body: Body,
        openings: Vec<Opening>,
        payloads: &[(&str, &[u8])],
        key: Option<PublicKey>,
    ) -> Reply {
        let statement = Statement {
            version: VERSION,
            federation: "essai".parse().unwrap(),
            agency: agency(from),
            at: self.now,
            body,
        };
        canonical::tests::assert_canonical(&statement);
        let payload = Bytes(canonical::to_vec(&statement).unwrap());
        let envelope = Envelope {
            payload,
            signature: Signature([0; 64]),
        };
        let payloads: BTreeMap<_, _> = payloads
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Bytes(v.to_vec())))
            .collect();
        let federation = "essai".parse().unwrap();
        let verified = envelope
            .verify(&federation, &agency(from), |_, _| true, openings, payloads)
            .unwrap();
        let verified = match key {
            Some(key) => verified.with_key(key),
            None => verified,
        };
        self.run(&Command::Say(Box::new(verified)))
    }

    fn consent(&mut self, n: u8, person: u8, recipient: u8) -> Reply {
        let terms = ConsentTerms {
            consent: ConsentId::from_random(id_bytes(n)),
            subject: handle_opening(person).commitment(),
            giver: ConsentGiver::Subject,
            capacity: Capacity::Capable,
            categories: vec![Category::InService, Category::Mentor],
            purposes: vec![Purpose::Plan],
            recipients: vec![agency(recipient)],
            disclosers: vec![agency(recipient + 1), agency(recipient + 2)],
            method: ConsentMethod::Written,
            language: Language::French,
            interpreter: false,
            notice_version: 1,
            given_at: self.now,
            expires_at: self.now.plus_s(86_400),
            redisclosure: false,
            evidence: None,
        };
        self.say(
            1,
            Body::Consent(Box::new(terms)),
            vec![handle_opening(person)],
            &[],
        )
    }

    fn withdraw(&mut self, n: u8, scope: WithdrawalScope) -> Reply {
        let consent = ConsentId::from_random(id_bytes(n));
        self.say(
            1,
            Body::Withdrawal(Withdrawal { consent, scope }),
            Vec::new(),
            &[],
        )
    }

    fn ask(&mut self, n: u8, person: u8, from: u8, category: Category) -> Reply {
        self.ask_as(id_bytes(n), person, from, category)
    }

    fn ask_as(&mut self, id: [u8; 16], person: u8, from: u8, category: Category) -> Reply {
        let request = Request {
            request: RequestId::from_random(id),
            holder: agency(from + 1),
            items: vec![Item {
                category,
                level: Level::Known,
            }],
            purpose: Purpose::Plan,
            basis: LegalBasis::Consent,
            reliance: None,
            case: None,
            emergency: None,
            subject: Some(handle_opening(person).commitment()),
            worker: crate::bytes::Commitment([9; 32]),
            role: WorkerRole::Officer,
            trained: true,
            justification: crate::bytes::Commitment([8; 32]),
            context: Digest::of(b"sealed context"),
            reply_key: PublicKey([9; 32]),
            not_after: self.now.plus_s(7_200),
        };
        let openings = vec![handle_opening(person)];
        let payloads: [(&str, &[u8]); 1] = [(PAYLOAD_CONTEXT, b"sealed context")];
        self.say(from, Body::Request(Box::new(request)), openings, &payloads)
    }

    fn row(&self, n: u8) -> Option<RequestRow> {
        state::request(&self.store, &RequestId::from_random(id_bytes(n))).unwrap()
    }

    /// The holder answers with the permit that it has, or with one that it makes up.
    fn answer(&mut self, n: u8, by: u8, forged: bool) -> Reply {
        let permit = self.row(n).and_then(|r| r.permit).map(|p| p.digest);
        let answer = Answer {
            request: RequestId::from_random(id_bytes(n)),
            permit: permit.filter(|_| !forged).unwrap_or(Digest([0; 32])),
            outcome: crate::bytes::Commitment([5; 32]),
            sealed: Digest::of(b"sealed answer"),
        };
        self.say(
            by,
            Body::Answer(answer),
            Vec::new(),
            &[(PAYLOAD_ANSWER, b"sealed answer")],
        )
    }

    fn receive(&mut self, n: u8, from: u8, kind: ReceiptKind) -> Reply {
        let request = RequestId::from_random(id_bytes(n));
        let receipt = Receipt {
            request,
            kind,
            sealed: Digest::of(b"sealed answer"),
        };
        self.say(from, Body::Receipt(receipt), Vec::new(), &[])
    }
}
