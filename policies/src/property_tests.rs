//! Properties over arbitrary matters, which no list of cases can reach.

mod conflicts;
mod names;

use crate::{CedarPdp, cases::Input};
use passerelle_model::{
    bytes::Handle,
    ids::{AgencyId, CaseId, ConsentId},
    pdp::{CaseFacts, Effect, Matter, Obligation, PolicyDecisionPoint},
    records::{Consent, Withdrawn},
    statement::{Item, Reliance, WithdrawalScope},
    time::Timestamp,
    vocabulary::{
        Capacity, CaseRole, Category, CategoryKind, ConsentGiver, EmergencyKind, LegalBasis, Level,
        Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
    },
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};
use std::sync::LazyLock;

pub(crate) static PDP: LazyLock<CedarPdp> = LazyLock::new(|| CedarPdp::load_embedded().unwrap());
/// The same without a memory.
static FORGETFUL: LazyLock<CedarPdp> = LazyLock::new(|| CedarPdp::load_forgetful().unwrap());

fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

/// The one that is asked for in half of all cases, so that many consents and agreements cover.
fn mostly<T: Clone + std::fmt::Debug + 'static>(
    likely: T,
    all: &'static [T],
) -> impl Strategy<Value = T> {
    prop_oneof![3 => Just(likely), 1 => select(all)]
}

fn case() -> impl Strategy<Value = CaseFacts> {
    (
        select(Profile::ALL),
        select(Stage::ALL),
        mostly(Threshold::Agreed, Threshold::ALL),
        prop::bool::weighted(0.1),
        mostly(CaseRole::Intervener, CaseRole::ALL),
        mostly(CaseRole::Intervener, CaseRole::ALL),
        subsequence(Category::ALL, 0..Category::ALL.len()),
        prop_oneof![4 => Just(Some(true)), 1 => Just(Some(false)), 1 => Just(None)],
    )
        .prop_map(
            |(profile, stage, threshold, closed, requester, holder, plan, same)| CaseFacts {
                case: CaseId::from_random([1; 16]),
                profile,
                stage,
                threshold,
                closed,
                requester_role: requester,
                holder_role: holder,
                plan,
                same_subject: same,
            },
        )
}

#[derive(Clone, Debug)]
struct Paper {
    category: Option<Category>,
    purpose: Option<Purpose>,
    begins_s: i64,
    ends_s: i64,
    flaw: u8,
    recorded: u64,
    withdrawn: u64,
    giver: ConsentGiver,
    capacity: Capacity,
    level: Level,
}

fn paper() -> impl Strategy<Value = Paper> {
    (
        option::weighted(0.15, select(Category::ALL)),
        option::weighted(0.15, select(Purpose::ALL)),
        prop_oneof![5 => Just(-100_i64), 1 => -1..=1_i64],
        prop_oneof![5 => Just(100_i64), 1 => -1..=1_i64],
        0..10_u8,
        0..4_u64,
        4..8_u64,
        mostly(ConsentGiver::Subject, ConsentGiver::ALL),
        mostly(Capacity::Capable, Capacity::ALL),
        select(Level::ALL),
    )
        .prop_map(
            |(
                category,
                purpose,
                begins,
                ends,
                flaw,
                recorded,
                withdrawn,
                giver,
                capacity,
                level,
            )| Paper {
                category,
                purpose,
                begins_s: begins,
                ends_s: ends,
                flaw,
                // Some grants come after a withdrawal, most before.
                recorded: recorded * 2,
                withdrawn,
                giver,
                capacity,
                level,
            },
        )
}

fn after(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp(at.0.saturating_add_signed(seconds * 1_000))
}

fn withdraw(consent: &mut Consent, scope: WithdrawalScope, index: u64) {
    consent.withdrawn.push(Withdrawn { scope, index });
}

fn add_consents(matter: &mut Matter, papers: &[Paper]) {
    let text = "consents = [{}]";
    let pattern = toml::from_str::<Input>(text).unwrap().matter().unwrap();
    for (paper, number) in papers.iter().zip(1..) {
        let mut consent = pattern.consents[0].clone();
        let terms = &mut consent.terms;
        terms.consent = ConsentId::from_random([number; 16]);
        terms.categories = vec![paper.category.unwrap_or(matter.item.category)];
        terms.purposes = vec![paper.purpose.unwrap_or(matter.purpose)];
        terms.given_at = after(matter.at, paper.begins_s);
        terms.expires_at = after(matter.at, paper.ends_s);
        terms.giver = paper.giver;
        terms.capacity = paper.capacity;
        consent.recorded = paper.recorded;
        match paper.flaw {
            0 => withdraw(&mut consent, WithdrawalScope::All, paper.withdrawn),
            1 => {
                let scope = WithdrawalScope::Recipient(matter.requester.agency.clone());
                withdraw(&mut consent, scope, paper.withdrawn);
            }
            2 => {
                let scope = WithdrawalScope::Category(matter.item.category);
                withdraw(&mut consent, scope, paper.withdrawn);
            }
            3 => terms.recipients = vec![agency("bystander")],
            4 => terms.disclosers = vec![agency("bystander")],
            5 => terms.redisclosure = true,
            6 => consent.recorded_by = agency("requester"),
            _ => {}
        }
        matter.consents.push(consent);
    }
}

fn add_agreements(matter: &mut Matter, papers: &[Paper]) {
    let text = "agreements = [{}]";
    let pattern = toml::from_str::<Input>(text).unwrap().matter().unwrap();
    for paper in papers {
        let mut agreement = pattern.agreements[0].clone();
        let terms = &mut agreement.terms;
        terms.starts_at = after(matter.at, paper.begins_s);
        terms.ends_at = after(matter.at, paper.ends_s);
        terms.purposes = vec![paper.purpose.unwrap_or(matter.purpose)];
        for party in &mut terms.parties {
            party.basis = matter.basis;
        }
        terms.lines[0].category = paper.category.unwrap_or(matter.item.category);
        terms.lines[0].level = paper.level;
        match paper.flaw {
            0 => drop(agreement.signed.pop()),
            1 => terms.lines.clear(),
            2 => drop(terms.parties.pop()),
            3 => terms.parties[1].basis = LegalBasis::Wgs,
            4 => agreement
                .course
                .suspended
                .extend(agreement.signed.last().cloned()),
            5 => agreement.course.terminated = agreement.signed.first().cloned(),
            _ => {}
        }
        matter.agreements.push(agreement);
    }
}

/// Purpose with claim, both right in most matters.
fn purpose() -> impl Strategy<Value = (Purpose, Option<EmergencyKind>)> {
    prop_oneof![
        4 => Just((Purpose::Plan, None)),
        4 => select(EmergencyKind::ALL).prop_map(|kind| (Purpose::Emergency, Some(kind))),
        2 => Just((Purpose::Screen, None)),
        2 => (select(Purpose::ALL), option::of(select(EmergencyKind::ALL))),
    ]
}

fn category() -> impl Strategy<Value = Category> {
    prop_oneof![
        2 => Just(Category::InService),
        1 => Just(Category::Diagnosis),
        1 => Just(Category::SudTreatment),
        1 => Just(Category::Location),
        1 => Just(Category::RiskFactors),
        3 => select(Category::ALL),
    ]
}

fn basis() -> impl Strategy<Value = LegalBasis> {
    prop_oneof![
        4 => Just(LegalBasis::Consent),
        2 => Just(LegalBasis::R221s74),
        1 => Just(LegalBasis::A21s591),
        2 => select(LegalBasis::ALL),
    ]
}

prop_compose! {
    pub(crate) fn matter()(
        sectors in (
            prop_oneof![
                2 => Just(Sector::LawEnforcement), 1 => Just(Sector::SocialServices),
                1 => select(Sector::ALL)
            ],
            mostly(Sector::Health, Sector::ALL),
        ),
        active in (prop::bool::weighted(0.98), prop::bool::weighted(0.98)),
        role in select(WorkerRole::ALL),
        trained in prop::bool::weighted(0.98),
        item in (category(), mostly(Level::Known, Level::ALL)),
        purpose in purpose(),
        basis in basis(),
        identified in prop::bool::weighted(0.85),
        case in option::weighted(0.4, case()),
        consents in vec(paper(), 0..3),
        agreements in vec(paper(), 0..3),
        relies_on in 0..8_u8,
    ) -> Matter {
        let mut matter = Input::default().matter().unwrap();
        matter.requester.keys.sector = sectors.0;
        matter.holder.keys.sector = sectors.1;
        matter.requester.active = active.0;
        matter.holder.active = active.1;
        matter.role = role;
        matter.trained = trained;
        matter.item = Item { category: item.0, level: item.1 };
        (matter.purpose, matter.emergency) = purpose;
        matter.basis = basis;
        matter.identified = identified;
        matter.case = case;
        add_consents(&mut matter, &consents);
        add_agreements(&mut matter, &agreements);
        matter.reliance = match relies_on {
            0 => matter.consents.first().map(|c| Reliance::Consent(c.terms.consent.clone())),
            1 => matter.agreements.first().map(|a| Reliance::Agreement(a.terms.agreement.clone())),
            _ => None,
        };
        matter
    }
}

/// The named consent is on record, given, not expired, not withdrawn, and covers the item.
fn consent_is_active(matter: &Matter, id: &ConsentId) -> bool {
    let (requester, category) = (&matter.requester.agency, matter.item.category);
    let covers = |c: &Consent| {
        c.terms.categories.contains(&category)
            && c.terms.recipients.contains(requester)
            && c.terms.disclosers.contains(&matter.holder.agency)
    };
    matter.consents.iter().any(|c| {
        let later = |other: &Consent| {
            let since = other.withdrawn_since(requester, category);
            covers(other) && since.is_some_and(|index| index >= c.recorded)
        };
        c.terms.consent == *id
            && !matter.consents.iter().any(later)
            && c.terms.given_at <= matter.at
            && matter.at < c.terms.expires_at
            && !c.is_withdrawn_for(requester, category)
            && c.terms.categories.contains(&category)
            && c.terms.purposes.contains(&matter.purpose)
            && c.terms.recipients.contains(requester)
            && c.terms.disclosers.contains(&matter.holder.agency)
    })
}

fn is_health(category: Category) -> bool {
    matches!(
        category.kind(),
        CategoryKind::Health | CategoryKind::SpeciallyProtectedHealth
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_invariants_hold_of_every_matter(matter in matter()) {
        let ruling = PDP.try_rule(&matter);
        prop_assert!(ruling.is_ok(), "{ruling:?}");
        let ruling = ruling.unwrap();
        prop_assert!(!ruling.reasons.is_empty());
        prop_assert_eq!(&ruling, &PDP.rule(&matter), "not as remembered");
        prop_assert_eq!(&ruling, &FORGETFUL.rule(&matter), "not as Cedar says");
        if ruling.effect == Effect::Deny {
            prop_assert!(ruling.obligations.is_empty());
            prop_assert!(ruling.consent.is_none() && ruling.agreement.is_none());
            return Ok(());
        }
        let has_rule = |id: &str| ruling.reasons.iter().any(|r| r.rule == id);
        let at_once = has_rule("emergency-override");
        let medical = has_rule("emergency-medical-review");
        let emergency = at_once || medical || has_rule("emergency-override-review");

        // Whatever the paper says.
        prop_assert!(!matter.purpose.is_prohibited());
        prop_assert!(matter.requester.active && matter.holder.active && matter.trained);
        prop_assert!(matter.requester.sector() != Sector::Oversight);
        prop_assert!(matter.holder.sector() != Sector::Oversight);

        // The paper on which it rests is good.
        if let Some(id) = &ruling.consent {
            prop_assert!(consent_is_active(&matter, id));
        }
        prop_assert!(matter.basis != LegalBasis::Consent || ruling.consent.is_some());
        if let Some(id) = &ruling.consent {
            let paper = matter.consents.iter().find(|c| c.terms.consent == *id).unwrap();
            let here = paper.recorded_by == matter.holder.agency;
            prop_assert!(here || ruling.effect == Effect::Review);
            let alone = paper.terms.giver == ConsentGiver::Subject;
            prop_assert!(alone == (paper.terms.capacity != Capacity::Substituted));
        }
        match &matter.reliance {
            Some(Reliance::Consent(id)) => {
                prop_assert!(ruling.agreement.is_none());
                prop_assert!(ruling.consent.as_ref().is_none_or(|c| c == id));
            }
            Some(Reliance::Agreement(id)) => {
                prop_assert!(ruling.agreement.as_ref().is_none_or(|a| a == id));
                prop_assert!(ruling.consent.is_none() || ruling.agreement.is_some());
            }
            None => {}
        }
        let steps = [Purpose::Screen, Purpose::Threshold, Purpose::IdentifyInvolved];
        prop_assert!(matter.case.is_some() || !steps.contains(&matter.purpose));
        if let Some(id) = &ruling.agreement {
            let good = |a: &passerelle_model::records::Agreement| {
                a.terms.agreement == *id && a.is_in_force(matter.at)
            };
            prop_assert!(matter.agreements.iter().any(good));
        }
        if ruling.consent.is_none() && ruling.agreement.is_none() {
            let by_statute = has_rule("youth-record-contact-review");
            prop_assert!(emergency || by_statute || has_rule("stage-2-de-identified"));
        }

        // Health facts and police.
        let police = matter.requester.sector() == Sector::LawEnforcement;
        if police && is_health(matter.item.category) {
            let known = ruling.effect == Effect::Review && matter.item.level == Level::Known;
            prop_assert!(ruling.consent.is_some() || emergency || known);
        }
        if matter.item.category.kind() == CategoryKind::SpeciallyProtectedHealth {
            prop_assert!(ruling.effect == Effect::Review);
            prop_assert!(ruling.consent.is_some() || medical);
            prop_assert!(!medical || matter.basis == LegalBasis::Cfr42s251);
            prop_assert!(!medical || matter.requester.sector() == Sector::Health);
        }

        // The emergency path is narrow; all else obeys the table.
        if emergency {
            prop_assert!(matter.emergency.is_some() && matter.purpose == Purpose::Emergency);
            prop_assert!(matter.item.category != Category::Diagnosis);
            prop_assert!(matter.item.category != Category::Medication);
            prop_assert!(at_once == (ruling.effect == Effect::Permit));
            if at_once {
                prop_assert!(matter.item.category.kind() == CategoryKind::Police);
            }
            prop_assert!(ruling.obligations.contains(&Obligation::Alert));
            prop_assert!(ruling.obligations.contains(&Obligation::ReviewWithinHours(48)));
        } else if let Some(case) = &matter.case {
            prop_assert!(case.stage != Stage::HomeAgency);
            prop_assert!(!case.closed && case.threshold != Threshold::Rejected);
            if case.stage == Stage::DeIdentified {
                prop_assert!(!matter.identified);
                prop_assert!(matter.item.category.kind() == CategoryKind::DeIdentified);
            } else {
                prop_assert!(case.same_subject == Some(true));
            }
            if case.profile == Profile::ShiftBc {
                prop_assert!(ruling.consent.is_some());
            }
        }
    }

    #[test]
    fn withdrawing_the_consent_that_is_named_undoes_the_decision(matter in matter()) {
        let Some(id) = PDP.rule(&matter).consent else {
            return Ok(());
        };
        let mut after = matter.clone();
        for consent in &mut after.consents {
            if consent.terms.consent == id {
                withdraw(consent, WithdrawalScope::All, 100);
            }
        }
        prop_assert_ne!(PDP.rule(&after).consent, Some(id));
    }

    #[test]
    fn withdrawing_any_consent_defeats_all_that_were_recorded_before(matter in matter()) {
        let mut after = matter.clone();
        let covering = after.consents.iter_mut().find(|c| {
            c.terms.categories.contains(&matter.item.category)
                && c.terms.recipients.contains(&matter.requester.agency)
                && c.terms.disclosers.contains(&matter.holder.agency)
        });
        let Some(consent) = covering else {
            return Ok(());
        };
        withdraw(consent, WithdrawalScope::All, 100);
        prop_assert_eq!(PDP.rule(&after).consent, None);
    }

    #[test]
    fn another_person_at_another_time_in_the_same_order_is_ruled_alike(matter in matter()) {
        let before = PDP.rule(&matter);
        let mut other = matter.clone();
        let later = |at: &mut Timestamp| at.0 = at.0 / 2 * 3 + at.0 % 2 + 77;
        later(&mut other.at);
        for consent in &mut other.consents {
            later(&mut consent.terms.given_at);
            later(&mut consent.terms.expires_at);
            consent.subject = Handle([7; 32]);
        }
        for agreement in &mut other.agreements {
            later(&mut agreement.terms.starts_at);
            later(&mut agreement.terms.ends_at);
        }
        prop_assert_eq!(&PDP.rule(&other), &before, "as remembered");
        prop_assert_eq!(&FORGETFUL.rule(&other), &before, "as Cedar says");
    }

    #[test]
    fn one_time_that_moves_past_another_is_ruled_anew(
        matter in matter(),
        seconds in -400_i64 * 24 * 3600..400 * 24 * 3600,
    ) {
        PDP.rule(&matter);
        let mut other = matter.clone();
        other.at = after(matter.at, seconds);
        prop_assert_eq!(PDP.rule(&other), FORGETFUL.rule(&other));
    }

    #[test]
    fn the_order_of_the_papers_does_not_matter(matter in matter()) {
        let mut turned = matter.clone();
        turned.consents.reverse();
        prop_assert_eq!(PDP.rule(&turned), PDP.rule(&matter));
    }
}

/// The generator reaches what the properties are about; without this they could hold of nothing.
#[test]
fn the_generator_reaches_permits_reviews_consents_and_emergencies() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let strategy = matter();
    let (mut permits, mut reviews, mut consents, mut agreements, mut nothing) = (0, 0, 0, 0, 0);
    for _ in 0..1_500 {
        let m = strategy.new_tree(&mut runner).unwrap().current();
        let ruling = PDP.rule(&m);
        permits += u32::from(ruling.effect == Effect::Permit);
        reviews += u32::from(ruling.effect == Effect::Review);
        consents += u32::from(ruling.consent.is_some());
        agreements += u32::from(ruling.agreement.is_some());
        nothing += u32::from(
            ruling.effect == Effect::Permit
                && ruling.consent.is_none()
                && ruling.agreement.is_none(),
        );
    }
    let reached = [permits, reviews, consents, agreements, nothing];
    println!("permits, reviews, on consent, on agreement, on neither: {reached:?} of 1500");
    assert!(reached.iter().all(|n| *n >= 3), "{reached:?}");
}
