//! The state machine against random sequences of commands, honest and not.

use super::*;
use crate::{
    bytes::{Bytes, Handle, PublicKey, Signature},
    canonical,
    commitment::{Field, Opening},
    ids::{ConsentId, RequestId},
    pdp::{Effect, Matter, Reason, Ruling},
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
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Permits what an unwithdrawn, unexpired consent of the person covers; denies the rest.
struct ConsentOnly;

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
                obligations: Vec::new(),
                consent: Some(consent.terms.consent.clone()),
                agreement: None,
            },
            None => Ruling::deny("no_rule_permits"),
        }
    }

    fn bundle(&self) -> Digest {
        Digest([7; 32])
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
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            store: Memory::default(),
            records: Vec::new(),
            now: Timestamp(1_800_000_000_000),
            seed: 0,
        };
        let keys = BrokerKeys {
            checkpoint: "test+00000000+AA==".into(),
            permit: PublicKey([1; 32]),
            oprf: PublicKey([2; 32]),
        };
        world.run(&Command::Found {
            federation: "essai".parse().unwrap(),
            keys,
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
        let inputs = Inputs {
            now: self.now,
            seed,
            next_index: self.records.len() as u64,
            pdp: &ConsentOnly,
        };
        let mut overlay = Overlay::new(&self.store);
        let decided = decide(&mut overlay, command, &inputs).unwrap();
        let writes = overlay.into_writes();
        self.store.commit(writes);
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
        let statement = Statement {
            version: VERSION,
            federation: "essai".parse().unwrap(),
            agency: agency(from),
            at: self.now,
            body,
        };
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
        let request = Request {
            request: RequestId::from_random(id_bytes(n)),
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
            reply_key: PublicKey([n; 32]),
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

#[derive(Clone, Debug)]
enum Op {
    Consent(u8, u8, u8),
    Withdraw(u8, u8),
    Ask(u8, u8, u8, bool),
    Offer(u8),
    Answer(u8, u8, bool),
    Receive(u8, u8, u8),
    Revoke(u8),
    Wait(u16),
    Tick,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u8..3, 0u8..2, 0u8..3).prop_map(|(n, p, r)| Op::Consent(n, p, r)),
        2 => (0u8..3, 0u8..4).prop_map(|(n, s)| Op::Withdraw(n, s)),
        5 => (0u8..6, 0u8..2, 0u8..3, any::<bool>()).prop_map(|(n, p, f, m)| Op::Ask(n, p, f, m)),
        6 => (0u8..6).prop_map(Op::Offer),
        6 => (0u8..6, 0u8..3, proptest::bool::weighted(0.1))
            .prop_map(|(n, by, forged)| Op::Answer(n, by, forged)),
        2 => (0u8..6, 0u8..3, 0u8..3).prop_map(|(n, f, k)| Op::Receive(n, f, k)),
        1 => (0u8..3).prop_map(Op::Revoke),
        2 => prop_oneof![Just(1u16), Just(15), Just(400), Just(8_000)].prop_map(Op::Wait),
        1 => Just(Op::Tick),
    ]
}

fn carry_out(world: &mut World, op: &Op) {
    // A second passes between commands, so that no two statements are alike by accident.
    world.now = world.now.plus_s(1);
    match op {
        Op::Consent(n, person, recipient) => world.consent(*n, *person, *recipient),
        Op::Withdraw(n, scope) => {
            let scope = match scope {
                0 | 1 => WithdrawalScope::All,
                2 => WithdrawalScope::Category(Category::InService),
                other => WithdrawalScope::Recipient(agency(*other)),
            };
            world.withdraw(*n, scope)
        }
        Op::Ask(n, person, from, mentor) => {
            let category = if *mentor {
                Category::Mentor
            } else {
                Category::InService
            };
            world.ask(*n, *person, *from, category)
        }
        Op::Offer(n) => world.run(&Command::Offer {
            request: RequestId::from_random(id_bytes(*n)),
        }),
        Op::Answer(n, by, forged) => world.answer(*n, *by, *forged),
        Op::Receive(n, from, kind) => {
            let kinds = [
                ReceiptKind::Delivered,
                ReceiptKind::Viewed,
                ReceiptKind::Erased,
            ];
            world.receive(*n, *from, kinds[usize::from(*kind)])
        }
        Op::Revoke(n) => world.run(&Command::Revoke { agency: agency(*n) }),
        Op::Wait(seconds) => {
            world.now = world.now.plus_s(u64::from(*seconds));
            Reply::Nothing
        }
        Op::Tick => world.run(&Command::Tick),
    };
}

/// Reads the log alone, and checks each answer in it.
fn check_log(records: &[Record]) {
    let mut decided: BTreeMap<RequestId, Vec<crate::pdp::ItemRuling>> = BTreeMap::new();
    let mut offered: BTreeMap<RequestId, (Digest, Timestamp)> = BTreeMap::new();
    let mut withdrawn: Vec<(ConsentId, WithdrawalScope)> = Vec::new();
    let mut requesters: BTreeMap<RequestId, AgencyId> = BTreeMap::new();
    let mut answered: Vec<RequestId> = Vec::new();
    let mut revoked: Vec<AgencyId> = Vec::new();
    for record in records {
        match &record.entry.body {
            EntryBody::Decided { request, items, .. } => {
                decided.insert(request.clone(), items.clone());
            }
            EntryBody::Offered { permit } => {
                let allowed = decided[&permit.request].iter();
                assert!(allowed.clone().any(|i| i.ruling.effect != Effect::Deny));
                offered.insert(
                    permit.request.clone(),
                    (permit.digest().unwrap(), permit.not_after),
                );
            }
            EntryBody::Stopped { request, .. } | EntryBody::Expired { request } => {
                offered.remove(request);
            }
            EntryBody::Revoked { agency } => revoked.push(agency.clone()),
            EntryBody::Said { agency, envelope } => {
                assert!(!revoked.contains(agency), "a revoked agency was heard");
                match envelope.unverified_statement().unwrap().body {
                    Body::Request(r) => {
                        requesters.insert(r.request, agency.clone());
                    }
                    Body::Withdrawal(w) => withdrawn.push((w.consent, w.scope)),
                    Body::Answer(answer) => {
                        let (permit, not_after) = offered[&answer.request];
                        assert_eq!(permit, answer.permit, "answered without its permit");
                        assert!(
                            record.entry.at < not_after,
                            "answered with an expired permit"
                        );
                        for item in &decided[&answer.request] {
                            let consent = item.ruling.consent.as_ref().unwrap();
                            let requester = &requesters[&answer.request];
                            assert!(!withdrawn.iter().any(|(id, scope)| {
                                id == consent
                                    && match scope {
                                        WithdrawalScope::All => true,
                                        WithdrawalScope::Recipient(r) => r == requester,
                                        WithdrawalScope::Category(c) => *c == item.category,
                                    }
                            }));
                        }
                        assert!(!answered.contains(&answer.request), "answered twice");
                        answered.push(answer.request);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn replay(records: &[Record]) -> Memory {
    let mut store = Memory::default();
    for (index, record) in records.iter().enumerate() {
        let mut overlay = Overlay::new(&store);
        apply(&mut overlay, index as u64, record).unwrap();
        let writes = overlay.into_writes();
        store.commit(writes);
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_commands_answers_without_permit_nor_after_a_withdrawal(
        ops in proptest::collection::vec(op(), 1..80)
    ) {
        let mut world = World::new();
        for op in &ops {
            carry_out(&mut world, op);
        }
        check_log(&world.records);
        let rebuilt = replay(&world.records);
        prop_assert!(rebuilt.rows().eq(world.store.rows()), "replay gives another state");
        for record in &world.records {
            let bytes = record.entry.to_bytes().unwrap();
            prop_assert_eq!(&Entry::from_bytes(&bytes).unwrap(), &record.entry);
        }
    }
}

fn done(reply: Reply) -> u64 {
    match reply {
        Reply::Done { index } => index,
        other => panic!("expected an index, got {other:?}"),
    }
}

fn code(reply: Reply) -> ErrorCode {
    match reply {
        Reply::Refused { code, .. } => code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn offered_request() -> World {
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
    let done = &carried_out.entry.body;
    assert!(matches!(done, EntryBody::WithdrawalCarriedOut { .. }));
    let again = world.withdraw(1, WithdrawalScope::Category(Category::InService));
    done_or_refused(again);
}

fn done_or_refused(reply: Reply) {
    assert!(!matches!(reply, Reply::Nothing));
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
