//! Properties of the legal packs over arbitrary matters, all of them loaded.

use crate::{
    CedarPdp, Library,
    property_tests::{PDP, matter},
};
use passerelle_model::{
    pdp::{Effect, Matter, Obligation, PolicyDecisionPoint as _, Ruling},
    statement::Item,
    vocabulary::{
        Capacity, Category, EmergencyKind, LegalBasis, Level, Profile, Purpose, Sector, WorkerRole,
    },
};
use proptest::{prelude::*, sample::select};
use std::{collections::BTreeSet, sync::LazyLock};

/// A federation that uses no pack.
static NO_PACK: LazyLock<CedarPdp> =
    LazyLock::new(|| CedarPdp::load_with_packs(&BTreeSet::new()).unwrap());

/// A question to which a pack has an answer: basis, category, requester, holder.
type Question = (LegalBasis, Category, Sector, Sector);

fn question() -> impl Strategy<Value = Question> {
    let any = (
        select(LegalBasis::ALL),
        select(Category::ALL),
        select(Sector::ALL),
        select(Sector::ALL),
    );
    let (school, health) = (Sector::Education, Sector::Health);
    let (social, police) = (Sector::SocialServices, Sector::LawEnforcement);
    let (youth, drugs) = (Category::YouthRecord, Category::SudTreatment);
    prop_oneof![
        2 => any,
        1 => Just((LegalBasis::Ycja125, youth, school, police)),
        1 => Just((LegalBasis::Cfr42s231, drugs, social, health)),
        1 => Just((LegalBasis::Cfr42s251, drugs, health, health)),
        1 => Just((LegalBasis::Rpl115, Category::Attendance, social, school)),
        1 => Just((LegalBasis::Ycja119, youth, social, Sector::Corrections)),
        1 => Just((LegalBasis::Pa82m, Category::Attendance, social, school)),
    ]
}

/// A matter of which packs have much to say: most are one of their questions, some with one part
/// changed.
fn law() -> impl Strategy<Value = Matter> {
    let level = prop_oneof![2 => Just(Level::Known), 1 => select(Level::ALL)];
    (matter(), question(), question(), 0..6_u8, level).prop_map(
        |(mut matter, asked, other, bent, level)| {
            let (basis, category, requester, holder) = match bent {
                0 => (other.0, asked.1, asked.2, asked.3),
                1 => (asked.0, other.1, asked.2, asked.3),
                2 => (asked.0, asked.1, other.2, other.3),
                _ => asked,
            };
            matter.basis = basis;
            matter.item = Item { category, level };
            matter.requester.keys.sector = requester;
            matter.holder.keys.sector = holder;
            for consent in &mut matter.consents {
                consent.terms.categories = vec![category];
            }
            for agreement in &mut matter.agreements {
                for party in &mut agreement.terms.parties {
                    party.basis = basis;
                }
                for line in &mut agreement.terms.lines {
                    line.category = category;
                }
            }
            if basis == LegalBasis::Cfr42s251 {
                (matter.purpose, matter.emergency) =
                    (Purpose::Emergency, Some(EmergencyKind::Medical));
                if bent > 2 {
                    matter.role = WorkerRole::Clinician;
                }
            }
            matter
        },
    )
}

/// The permits among the reasons, with the pack of each.
fn permits<'a>(
    library: &'a Library,
    ruling: &'a Ruling,
) -> impl Iterator<Item = &'a crate::Rule> + 'a {
    let rules = ruling.reasons.iter();
    rules
        .filter_map(|reason| library.rules().get(&reason.rule))
        .filter(|rule| rule.permits)
}

fn by_emergency(ruling: &Ruling) -> bool {
    ruling
        .reasons
        .iter()
        .any(|r| r.rule == "emergency-medical-review" || r.rule.starts_with("emergency-override"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn nothing_that_a_pack_brings_breaks_the_invariants(matter in law()) {
        let ruling = PDP.try_rule(&matter);
        prop_assert!(ruling.is_ok(), "{ruling:?}");
        let ruling = ruling.unwrap();
        if ruling.effect == Effect::Deny {
            prop_assert!(ruling.obligations.is_empty());
            return Ok(());
        }
        let (from, to) = (matter.holder.sector(), matter.requester.sector());
        let (category, basis) = (matter.item.category, matter.basis);
        prop_assert!(!matter.purpose.is_prohibited());
        // By a rule that permits, and a pack's only on the pack's basis.
        prop_assert!(permits(PDP.library(), &ruling).next().is_some());
        for rule in permits(PDP.library(), &ruling) {
            prop_assert!(rule.pack.is_none() || rule.bases.contains(&basis), "{}", rule.id);
        }
        // Without an emergency no pack releases at once what rests on no paper.
        let on_paper = ruling.consent.is_some() || ruling.agreement.is_some();
        let codes = ruling.reasons.iter().any(|r| r.rule == "stage-2-de-identified");
        let looked_at = ruling.effect == Effect::Review;
        prop_assert!(on_paper || codes || looked_at || by_emergency(&ruling));
        // Substance-use treatment never to the police.
        if category == Category::SudTreatment {
            prop_assert!(to != Sector::LawEnforcement);
            prop_assert!(ruling.obligations.contains(&Obligation::NoRedisclosure));
            let medical = [WorkerRole::Nurse, WorkerRole::Clinician].contains(&matter.role);
            prop_assert!(medical || !by_emergency(&ruling));
        }
        if category == Category::YouthRecord {
            prop_assert!(matter.item.level <= Level::Contact);
            let code = basis.code();
            let canadian = ["MFIPPA", "FIPPA", "PHIPA", "CYFSA", "A2.1", "P39.1", "R22.1", "P34.1",
                "FOIPReg", "PA-", "PIPEDA"];
            prop_assert!(!canadian.iter().any(|act| code.starts_with(act)));
            prop_assert!(basis != LegalBasis::Consent);
            if code.starts_with("YCJA") {
                prop_assert!(ruling.effect == Effect::Review);
                let help = [Purpose::Plan, Purpose::Deliver, Purpose::FollowUp];
                prop_assert!(help.contains(&matter.purpose));
                prop_assert!(to != Sector::LawEnforcement);
                let apart = Obligation::Notice("notice-ycja-125".to_owned());
                prop_assert!(ruling.obligations.contains(&apart));
            }
        }
        if [LegalBasis::Rpl115, LegalBasis::Pa82m].contains(&basis) {
            prop_assert!(ruling.effect == Effect::Review && ruling.agreement.is_some());
        }
        if basis == LegalBasis::Ycja125 && !on_paper {
            let holders = [Sector::LawEnforcement, Sector::Corrections];
            prop_assert!(holders.contains(&from) && category == Category::YouthRecord);
        }
        let channel = matter.case.as_ref().is_some_and(|c| c.profile == Profile::ChannelPanel);
        let support = [Purpose::Deliver, Purpose::FollowUp].contains(&matter.purpose);
        if channel && support && !by_emergency(&ruling) {
            let consent = ruling.consent.as_ref();
            let paper = matter.consents.iter().find(|c| Some(&c.terms.consent) == consent);
            prop_assert!(paper.is_some_and(|c| c.terms.capacity != Capacity::MatureMinor));
        }
    }

    #[test]
    fn a_duty_binds_every_disclosure_that_it_speaks_of(matter in law()) {
        let ruling = PDP.rule(&matter);
        for duty in PDP.library().duties() {
            if ruling.effect != Effect::Deny && duty.binds(&matter) {
                for due in &duty.obligations {
                    prop_assert!(ruling.obligations.contains(due), "{}", duty.id);
                }
            }
        }
    }

    #[test]
    fn a_pack_that_is_not_used_permits_nothing(matter in law()) {
        let ruling = NO_PACK.rule(&matter);
        for rule in permits(NO_PACK.library(), &ruling) {
            prop_assert!(rule.pack.is_none() || ruling.effect == Effect::Deny, "{}", rule.id);
        }
        prop_assert!(!by_emergency(&ruling) || ruling.effect == Effect::Deny);
    }
}

/// Without this the properties could hold of nothing.
#[test]
fn the_generator_reaches_what_packs_open() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let strategy = law();
    let mut reached = BTreeSet::new();
    for _ in 0..1_500 {
        let matter = strategy.new_tree(&mut runner).unwrap().current();
        let ruling = PDP.rule(&matter);
        let of_packs = permits(PDP.library(), &ruling).filter(|rule| rule.pack.is_some());
        reached.extend(of_packs.map(|rule| rule.id.clone()));
    }
    let rules = PDP.library().rules().values();
    let all: BTreeSet<_> = rules
        .filter(|rule| rule.permits && rule.pack.is_some())
        .map(|rule| rule.id.clone())
        .collect();
    assert_eq!(reached, all);
}
