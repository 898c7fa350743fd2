use super::*;
use crate::isa::endorse::ToSign;
use passerelle_audit::keys::SigningKey;
use passerelle_model::{
    bytes::{Commitment, PublicKey},
    ids::RequestId,
    statement::{AgreementLine, AgreementParty, Edition, Signatories},
    store::Memory,
    vocabulary::{Category, EmergencyKind, Level, Purpose, WorkerRole},
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const SUSPEND: Change = Change::Suspend(AgreementReason::Breach);

fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

fn federation() -> FederationId {
    "nord".parse().unwrap()
}

fn id(n: u8) -> AgreementId {
    AgreementId::from_random([n; 16])
}

fn terms(n: u8, supersedes: Option<u8>) -> AgreementTerms {
    let party = |name| AgreementParty {
        agency: agency(name),
        basis: LegalBasis::Gdpr6,
    };
    AgreementTerms {
        signatories: Vec::new(),
        agreement: id(n),
        edition: Edition {
            supersedes: supersedes.map(id),
            ..Edition::default()
        },
        parties: vec![party("house"), party("clinic")],
        purposes: vec![Purpose::Plan],
        lines: vec![AgreementLine {
            from: agency("clinic"),
            to: agency("house"),
            category: Category::InService,
            level: Level::Known,
            retention_days: 30,
        }],
        starts_at: NOW.minus_s(100),
        review_at: NOW.plus_s(100),
        ends_at: NOW.plus_s(100),
    }
}

/// The clinic's journal, as far as agreements go.
#[derive(Default)]
struct Journal {
    store: Memory,
    next: u64,
}

impl Journal {
    fn with(&mut self, edit: impl FnOnce(&mut Overlay<'_>, (u64, Timestamp))) -> &mut Self {
        self.next += 1;
        let mut overlay = Overlay::new(&self.store);
        edit(&mut overlay, (self.next, NOW));
        let writes = overlay.into_writes();
        self.store.commit(writes);
        self
    }

    fn agreed(&mut self, n: u8, supersedes: Option<u8>) -> &mut Self {
        self.signed(n, terms(n, supersedes))
    }

    /// A version that begins this many seconds from now.
    fn follows(&mut self, n: u8, earlier: u8, starts_s: u64) -> &mut Self {
        let mut terms = terms(n, Some(earlier));
        terms.starts_at = NOW.plus_s(starts_s);
        self.signed(n, terms)
    }

    fn signed(&mut self, n: u8, terms: AgreementTerms) -> &mut Self {
        let signature = AgreementSignature {
            endorsements: Vec::new(),
            agreement: id(n),
            terms: passerelle_model::canonical::digest(&terms).unwrap(),
        };
        self.with(|view, place| proposed(view, &agency("house"), terms, place).unwrap());
        self.with(|view, place| {
            signed(view, &federation(), &agency("clinic"), &signature, place).unwrap();
        })
    }

    fn changed(&mut self, n: u8, by: &str, change: Change) -> &mut Self {
        let said = AgreementChange {
            agreement: id(n),
            change,
        };
        let statement = Digest([n; 32]);
        self.with(|view, place| changed(view, &agency(by), &said, place, &statement).unwrap())
    }

    fn way(&self, reliance: Option<Reliance>, emergency: bool, at: Timestamp) -> Option<ErrorCode> {
        let request = request(reliance, emergency);
        in_the_way(&self.store, &permit(), &request, at).unwrap()
    }
}

fn permit() -> Permit {
    Permit {
        request: RequestId::from_random([1; 16]),
        statement: Digest([1; 32]),
        requester: agency("house"),
        holder: agency("clinic"),
        items: vec![Item {
            category: Category::InService,
            level: Level::Known,
        }],
        purpose: Purpose::Plan,
        basis: LegalBasis::Gdpr6,
        case: None,
        reply_key: PublicKey([1; 32]),
        review: false,
        obligations: Vec::new(),
        decision: 1,
        bundle: Digest([2; 32]),
        issued_at: NOW.minus_s(1),
        not_after: NOW.plus_s(300),
    }
}

fn request(reliance: Option<Reliance>, emergency: bool) -> Request {
    Request {
        request: RequestId::from_random([1; 16]),
        holder: agency("clinic"),
        items: permit().items,
        purpose: Purpose::Plan,
        basis: LegalBasis::Gdpr6,
        reliance,
        case: None,
        emergency: emergency.then_some(EmergencyKind::SubjectInDanger),
        subject: Some(Commitment([1; 32])),
        worker: Commitment([2; 32]),
        role: WorkerRole::Mentor,
        trained: true,
        justification: Commitment([3; 32]),
        context: Digest([4; 32]),
        reply_key: PublicKey([1; 32]),
        not_after: NOW.plus_s(300),
    }
}

fn on(n: u8) -> Option<Reliance> {
    Some(Reliance::Agreement(id(n)))
}

const GONE: Option<ErrorCode> = Some(ErrorCode::PermitWithdrawn);

#[test]
fn what_a_party_halted_stands_in_the_way_named_or_not_until_it_is_lifted() {
    let mut journal = Journal::default();
    journal.agreed(1, None);
    assert_eq!(
        (
            journal.way(on(1), false, NOW),
            journal.way(None, false, NOW)
        ),
        (None, None)
    );
    journal.changed(1, "house", SUSPEND);
    assert_eq!(
        (
            journal.way(on(1), false, NOW),
            journal.way(None, false, NOW)
        ),
        (GONE, GONE)
    );
    assert_eq!(
        journal.way(on(1), true, NOW),
        None,
        "an emergency needs no agreement"
    );
    journal.changed(1, "clinic", Change::Lift);
    assert_eq!(journal.way(on(1), false, NOW), GONE, "each lifts its own");
    journal.changed(1, "house", Change::Lift);
    assert_eq!(journal.way(on(1), false, NOW), None);
    journal.changed(1, "house", Change::Terminate(AgreementReason::Leaving));
    journal.changed(1, "house", Change::Lift);
    assert_eq!(
        (
            journal.way(on(1), false, NOW),
            journal.way(None, false, NOW)
        ),
        (GONE, GONE)
    );
}

#[test]
fn another_agreement_in_force_carries_what_names_none() {
    let mut journal = Journal::default();
    journal
        .agreed(1, None)
        .agreed(2, None)
        .changed(1, "house", SUSPEND);
    assert_eq!(
        (
            journal.way(None, false, NOW),
            journal.way(on(1), false, NOW)
        ),
        (None, GONE)
    );
}

#[test]
fn an_unknown_agreement_one_that_is_over_and_an_old_version_are_not_relied_on() {
    let mut journal = Journal::default();
    assert_eq!(
        journal.way(on(1), false, NOW),
        Some(ErrorCode::UnknownAgreement)
    );
    journal.agreed(1, None);
    assert_eq!(journal.way(on(1), false, NOW.plus_s(100)), GONE);
    // A slow clock here makes no agreement live longer than the broker's permit says.
    assert_eq!(journal.way(on(1), false, NOW.minus_s(1_000)), None);
    journal.agreed(2, Some(1));
    assert_eq!(
        (
            journal.way(on(1), false, NOW),
            journal.way(on(2), false, NOW)
        ),
        (GONE, None)
    );
    // Nobody took it out of force: a law may carry what names none.
    assert_eq!(journal.way(None, false, NOW.plus_s(100)), None);
}

#[test]
fn an_own_suspension_counts_from_the_moment_at_which_it_is_said() {
    let mut journal = Journal::default();
    let said = AgreementChange {
        agreement: id(1),
        change: SUSPEND,
    };
    let statement = Digest([9; 32]);
    journal.agreed(1, None);
    journal.with(|view, _| changing(view, &said, statement).unwrap());
    assert_eq!(
        (
            journal.way(on(1), false, NOW),
            journal.way(None, false, NOW)
        ),
        (GONE, GONE)
    );
    // The log refused it.
    journal.with(|view, _| arrived(view, &id(1), &statement).unwrap());
    assert_eq!(journal.way(on(1), false, NOW), None);
}

#[test]
fn neither_a_second_proposal_nor_the_order_of_the_log_brings_an_agreement_back() {
    let mut journal = Journal::default();
    journal
        .agreed(1, None)
        .changed(1, "house", Change::Terminate(AgreementReason::Breach));
    journal.agreed(1, None);
    assert_eq!(journal.way(on(1), false, NOW), GONE);
    // A change that the broker entered before what it changes.
    journal.changed(2, "house", SUSPEND).agreed(2, None);
    assert_eq!(journal.way(on(2), false, NOW), GONE);
    let steps = trail(&journal.store, &id(1)).unwrap();
    let codes: Vec<_> = steps.iter().map(|s| s.what.code()).collect();
    assert_eq!(codes, ["proposed", "signed", "terminated"]);
}

#[test]
fn who_is_no_party_neither_signs_nor_changes() {
    let mut journal = Journal::default();
    journal.agreed(1, None).changed(1, "elsewhere", SUSPEND);
    assert_eq!(journal.way(on(1), false, NOW), None);
}

#[test]
fn what_follows_a_version_that_was_ended_before_it_began_takes_the_place_of_the_one_before() {
    let mut journal = Journal::default();
    let terminate = Change::Terminate(AgreementReason::Leaving);
    journal.agreed(1, None).follows(2, 1, 10).follows(3, 2, 20);
    journal.changed(2, "house", terminate);
    let way = |journal: &Journal, n: u8, s: u64| journal.way(on(n), false, NOW.plus_s(s));
    assert_eq!(way(&journal, 1, 19), None);
    assert_eq!((way(&journal, 1, 20), way(&journal, 3, 20)), (GONE, None));
    // Once that is ended early too, nothing follows.
    journal.changed(3, "clinic", terminate);
    assert_eq!((way(&journal, 1, 20), way(&journal, 3, 20)), (None, GONE));
}

#[test]
fn versions_that_follow_themselves_or_each_other_come_to_an_end() {
    let mut journal = Journal::default();
    let terminate = Change::Terminate(AgreementReason::Leaving);
    journal
        .follows(1, 1, 10)
        .follows(2, 3, 10)
        .follows(3, 2, 10);
    for n in [1, 2, 3] {
        journal.changed(n, "house", terminate);
        assert_eq!(journal.way(on(n), false, NOW.plus_s(20)), GONE);
    }
}

#[test]
fn nothing_rests_on_a_version_that_begins_before_the_one_that_it_follows() {
    let mut journal = Journal::default();
    journal.agreed(1, None).follows(2, 1, 20).follows(3, 2, 10);
    assert_eq!(journal.way(on(3), false, NOW.plus_s(15)), GONE);
    assert_eq!(journal.way(on(1), false, NOW.plus_s(15)), None);
}

#[test]
fn a_narrower_next_version_is_not_passed_by_with_a_permit_that_names_none() {
    let mut journal = Journal::default();
    let narrower = |n: u8, earlier: u8, ends_s: u64| {
        let mut terms = terms(n, Some(earlier));
        terms.purposes = vec![Purpose::Deliver];
        terms.starts_at = NOW.plus_s(10);
        terms.ends_at = NOW.plus_s(ends_s);
        terms
    };
    journal.agreed(1, None).signed(2, narrower(2, 1, 200));
    let way = |journal: &Journal, s: u64| journal.way(None, false, NOW.plus_s(s));
    assert_eq!((way(&journal, 9), way(&journal, 10)), (None, GONE));
    // For as long as the newest lasts, also past the end that the old one had.
    assert_eq!((way(&journal, 199), way(&journal, 200)), (GONE, None));
    journal.signed(3, narrower(3, 2, 300));
    assert_eq!((way(&journal, 299), way(&journal, 300)), (GONE, None));
}

#[test]
fn what_names_no_agreement_is_declined_where_not_all_can_be_looked_at() {
    let mut journal = Journal::default();
    journal.agreed(1, None);
    let fill = |journal: &mut Journal, from: usize, until: usize| {
        let row = Agreement::proposed(&agency("house"), terms(2, None), 0).unwrap();
        journal.with(|view, _| {
            for n in from..until {
                let place = format!("isa-{n:08}");
                put(view, key::of(key::AGREEMENT, place.as_bytes()), &row).unwrap();
                let between = by_pair(&agency("clinic"), &agency("house"), &place);
                view.write(between, Some(Vec::new()));
            }
        });
    };
    fill(&mut journal, 0, state::MAX_ROWS - 2);
    assert_eq!(journal.way(None, false, NOW), None);
    fill(&mut journal, state::MAX_ROWS, state::MAX_ROWS + 1);
    assert_eq!(journal.way(None, false, NOW), GONE);
    assert_eq!(journal.way(on(1), false, NOW), None, "it is named");
}

/// The terms, with people who sign for the clinic.
fn with_people(mut terms: AgreementTerms, people: &[u8]) -> AgreementTerms {
    terms.signatories = vec![Signatories {
        agency: agency("clinic"),
        needed: 2,
        keys: people.iter().map(|n| person(*n).public_key()).collect(),
    }];
    terms
}

fn person(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

/// The clinic's signature of `terms`, with what these people endorsed of `seen`.
fn signature_by(
    terms: &AgreementTerms,
    seen: &AgreementTerms,
    people: &[u8],
) -> AgreementSignature {
    let to_sign = ToSign {
        federation: federation(),
        agency: agency("clinic"),
        terms: seen.clone(),
    };
    let endorse = |n: &u8| to_sign.sign(&person(*n)).unwrap().into();
    AgreementSignature {
        agreement: terms.agreement.clone(),
        terms: passerelle_model::canonical::digest(terms).unwrap(),
        endorsements: people.iter().map(endorse).collect(),
    }
}

#[test]
fn a_broker_that_takes_a_signature_without_the_people_who_sign_puts_nothing_in_force_here() {
    let mut journal = Journal::default();
    let terms = with_people(terms(1, None), &[1, 2, 3]);
    let proposal = terms.clone();
    journal.with(|view, place| proposed(view, &agency("house"), proposal, place).unwrap());
    let signs = |journal: &mut Journal, signature: &AgreementSignature| {
        journal.with(|view, place| {
            signed(view, &federation(), &agency("clinic"), signature, place).unwrap();
        });
        journal.way(on(1), false, NOW)
    };
    let other = with_people(self::terms(2, None), &[1, 2, 3]);
    for signature in [
        signature_by(&terms, &terms, &[]),
        signature_by(&terms, &terms, &[1]),
        signature_by(&terms, &terms, &[1, 1]),
        signature_by(&terms, &terms, &[1, 9]),
        signature_by(&terms, &other, &[1, 2]),
    ] {
        assert_eq!(signs(&mut journal, &signature), GONE);
    }
    assert_eq!(
        signs(&mut journal, &signature_by(&terms, &terms, &[3, 1])),
        None
    );
    // A version that drops them, or names them as none can be, is none.
    journal.agreed(2, Some(1));
    assert_eq!(journal.way(on(2), false, NOW), GONE);
    assert_eq!(journal.way(on(1), false, NOW), None);
    let mut unsound = with_people(self::terms(3, None), &[1]);
    unsound.signatories[0].needed = 2;
    journal.signed(3, unsound);
    assert_eq!(journal.way(on(3), false, NOW), GONE);
}

/// One step: who proposes which agreement after which, with lines between whom; or a change.
type Random = (u8, u8, [(u8, u8); 2], u8, u8);

fn random_step(journal: &mut Journal, (n, earlier, lines, kind, by): Random) {
    const NAMES: [&str; 3] = ["house", "clinic", "school"];
    let name = |n: u8| NAMES[usize::from(n) % NAMES.len()];
    if kind % 4 == 0 {
        let change = [
            SUSPEND,
            Change::Lift,
            Change::Terminate(AgreementReason::Other),
        ];
        journal.changed(n, name(by), change[usize::from(by) % 3]);
        return;
    }
    let mut terms = terms(n, (earlier < n).then_some(earlier));
    terms.parties.push(AgreementParty {
        agency: agency("school"),
        basis: LegalBasis::Gdpr6,
    });
    terms.lines = lines
        .iter()
        .map(|(from, to)| AgreementLine {
            from: agency(name(*from)),
            to: agency(name(*to)),
            ..terms.lines[0].clone()
        })
        .collect();
    terms.starts_at = NOW.minus_s(50).plus_s(u64::from(kind) * 10);
    journal.signed(n, terms.clone());
    if kind % 4 != 1 {
        let signature = signature_by(&terms, &terms, &[]);
        journal.with(|view, place| {
            signed(view, &federation(), &agency("school"), &signature, place).unwrap();
        });
    }
}

proptest::proptest! {
    #[test]
    fn the_agreements_of_a_pair_are_those_that_a_look_at_all_finds(
        steps in proptest::collection::vec(
            (
                1_u8..9,
                0_u8..9,
                [(0_u8..3, 0_u8..3), (0_u8..3, 0_u8..3)],
                0_u8..12,
                0_u8..9,
            ),
            1..24,
        ),
        after_s in 0_u64..200,
    ) {
        let mut journal = Journal::default();
        for step in steps {
            random_step(&mut journal, step);
        }
        let permit = permit();
        let (from, to) = (&permit.holder, &permit.requester);
        let all = state::agreements(&journal.store).unwrap();
        let mut scanned = all.clone();
        scanned.retain(|row| row.terms.lines.iter().any(|l| l.from == *from && l.to == *to));
        let found = between(&journal.store, from, to, state::MAX_ROWS).unwrap();
        proptest::prop_assert_eq!(found, Some(scanned));
        let at = NOW.plus_s(after_s);
        let by_scan = none_carries(&journal.store, &permit, &all, at).unwrap();
        proptest::prop_assert_eq!(journal.way(None, false, at), by_scan);
    }
}
