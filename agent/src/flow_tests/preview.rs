//! What one could get, by what the agency itself knows, and who may look. People are synthetic.

use super::{
    suspicion::{office, someone},
    *,
};
use crate::{
    preview::{self, Wanted},
    suspicion::{
        Action,
        question::{self, Candidate, Passage},
        record::{self, Fate},
    },
};
use passerelle_model::{
    pdp::{Effect, PolicyDecisionPoint as _},
    store::Read as _,
};
use passerelle_policies::CedarPdp;
use passerelle_proto::views::{HolderPreview, PreviewItem};
use std::sync::LazyLock;

static PDP: LazyLock<CedarPdp> = LazyLock::new(|| CedarPdp::load_embedded().unwrap());

fn wanted(world: &World, subject: Option<Handle>, edit: impl FnOnce(&mut Question)) -> Wanted {
    let worker = &world.police.context.config.workers[0];
    let mut question = Question {
        subject,
        basis: LegalBasis::Consent,
        purpose: Purpose::Deliver,
        ..question(worker)
    };
    edit(&mut question);
    Wanted {
        question,
        is_named: true,
        holders: vec![agency("clinic"), agency("mentors")],
    }
}

fn looks_ahead(world: &World, wanted: &Wanted) -> Vec<HolderPreview> {
    let view = world.police.core.view();
    preview::preview(&agency("police"), view, &PDP, wanted, NOW).unwrap()
}

fn of(holder: &HolderPreview, category: Category) -> Vec<&PreviewItem> {
    let items = holder.items.iter();
    items.filter(|i| i.item.item.category == category).collect()
}

/// The police hear of the clinic's consent for them, as the broker tells whoever is named.
fn consented(world: &mut World, categories: &[Category]) {
    world.records_for_police("clinic", KNOWN, |terms| {
        terms.categories = categories.to_vec();
        terms.purposes = vec![Purpose::Deliver];
        terms.recipients = vec![agency("police")];
        terms.disclosers = vec![agency("clinic")];
    });
}

#[test]
fn a_consent_that_is_known_here_opens_what_it_covers_and_what_is_missing_is_said() {
    let mut world = office(|_| ());
    consented(&mut world, &[Category::InService]);
    let seen = looks_ahead(&world, &wanted(&world, Some(KNOWN), |_| ()));
    let [clinic, mentors] = seen.as_slice() else {
        panic!("two holders");
    };
    assert_eq!(
        (clinic.holder.as_str(), clinic.sector.as_str()),
        ("clinic", "health")
    );
    let open = of(clinic, Category::InService);
    assert_ne!(open[0].item.item.ruling.effect, Effect::Deny, "{open:?}");
    assert!(open[0].missing.is_empty());
    let words = &open[0].item;
    assert!(words.explained_en.len() > 1 && words.explained_fr.len() > 1);
    // Nothing was consented to of this.
    let [denied] = of(clinic, Category::AppointmentStatus)[..] else {
        panic!("one line");
    };
    assert_eq!(denied.item.item.ruling.effect, Effect::Deny);
    let told = |m: &passerelle_proto::views::MissingView| {
        m.en.contains("consents to") && m.fr.contains("consent à")
    };
    assert!(denied.missing.iter().any(told), "{denied:?}");
    // What a health service has no mentor is asked for.
    assert!(of(mentors, Category::Diagnosis).is_empty());
    assert!(!of(mentors, Category::Engagement).is_empty());
}

#[test]
fn without_a_handle_that_is_known_here_nothing_rests_on_a_consent_and_the_reader_is_told() {
    let mut world = office(|_| ());
    consented(&mut world, &[Category::InService]);
    let wanted = wanted(&world, None, |_| ());
    let seen = looks_ahead(&world, &wanted);
    let open = of(&seen[0], Category::InService);
    assert_eq!(open[0].item.item.ruling.effect, Effect::Deny);
    let codes = |wanted: &Wanted| {
        let limits = preview::limits(wanted, 3, Some(NOW)).into_iter();
        limits.map(|limit| limit.code).collect::<Vec<_>>()
    };
    assert!(codes(&wanted).contains(&"handle_unknown".to_owned()));
    assert!(codes(&wanted).contains(&"holders_left_out".to_owned()));
    let known = Wanted {
        question: Question {
            subject: Some(KNOWN),
            ..wanted.question
        },
        ..wanted
    };
    assert!(!codes(&known).contains(&"handle_unknown".to_owned()));
    for limit in preview::limits(&known, 3, Some(NOW)) {
        assert!(
            !limit.fr.contains(" :") && !limit.fr.contains('\''),
            "{}",
            limit.fr
        );
    }
}

#[test]
fn every_line_is_what_the_decision_point_says_of_the_item_when_it_is_asked_alone() {
    let mut world = office(|_| ());
    consented(
        &mut world,
        &[Category::InService, Category::ClinicianContact],
    );
    for basis in [LegalBasis::Consent, LegalBasis::Gdpr6, LegalBasis::A21s591] {
        let wanted = wanted(&world, Some(KNOWN), |q| q.basis = basis);
        for line in looks_ahead(&world, &wanted)
            .iter()
            .flat_map(|h| h.items.iter().map(|item| (h.holder.clone(), item)))
        {
            let (holder, item) = line;
            let ruled = &item.item.item;
            let mut alone = wanted.clone();
            alone.holders = vec![holder.parse().unwrap()];
            alone.question.items = vec![Item {
                category: ruled.category,
                level: ruled.level,
            }];
            let seen = looks_ahead(&world, &alone);
            assert_eq!(seen[0].items[0].item, item.item);
        }
    }
    assert_eq!(PDP.bundle(), PDP.library().digest());
}

#[test]
fn who_is_no_member_or_a_case_that_is_not_known_here_is_refused() {
    let world = office(|_| ());
    let view = world.police.core.view();
    let seen = |wanted: &Wanted| preview::preview(&agency("police"), view, &PDP, wanted, NOW);
    let mut elsewhere = wanted(&world, None, |_| ());
    elsewhere.holders = vec![agency("elsewhere")];
    assert_eq!(seen(&elsewhere).err(), Some(ErrorCode::UnknownAgency));
    let case = passerelle_model::ids::CaseId::from_random([1; 16]);
    let unknown = wanted(&world, None, |q| q.case = Some(case));
    assert_eq!(seen(&unknown).err(), Some(ErrorCode::UnknownCase));
}

impl World {
    /// As the local interface does it.
    fn peeks(&self, id: &str, person: &Person) -> Result<Passage, ErrorCode> {
        let agent = &self.police;
        let question = question(agent.context.config.worker(id).unwrap());
        let view = agent.core.view();
        let found = question::look(&agent.context, view, &question, Some(person), NOW)?;
        let candidate = Candidate {
            request: RequestId::from_random(crate::entropy::random()?),
            question,
            token: Some(agent.context.vault.index()?.token(person)),
            found,
            stated: None,
        };
        agent.write(NOW, move |context, view| {
            question::pass_preview(context, view, candidate, NOW)
        })
    }
}

#[test]
fn a_look_at_ones_own_record_or_a_namesake_is_refused_and_recorded() {
    for person in [someone("TREMBLAY", "anne"), someone("Roy-Tremblay", "Zoé")] {
        let world = office(|_| ());
        let passage = world.peeks("clerk", &person).unwrap();
        let row = world.one_case();
        // There is nothing to hold.
        assert!(matches!(passage, Passage::Refused(case, _) if case == row.case));
        assert_eq!(
            (row.fate, row.worker.as_deref()),
            (Fate::Refused, Some("clerk"))
        );
        assert!(world.police.outbox().is_empty(), "nothing leaves");
        assert_eq!(
            world.decides("clerk", &row.case, crate::suspicion::Finding::Justified),
            Err(ErrorCode::NotIndependent)
        );
    }
}

#[test]
fn a_look_at_a_stranger_is_shown_journaled_and_alerted_and_nothing_leaves() {
    let world = office(|_| ());
    let rows = |world: &World| world.police.core.view().scan(b"", None, 10_000).unwrap();
    let passage = world.peeks("clerk", &someone("Gagnon", "Paul")).unwrap();
    assert_eq!(passage, Passage::Sent);
    let row = world.one_case();
    assert_eq!(row.fate, Fate::Previewed);
    assert!(row.is_open(), "somebody has to look at it");
    assert_eq!(row.kinds[0].1, Action::Alert);
    assert!(world.police.outbox().is_empty());
    let shows = |text: &[u8]| {
        let rows = rows(&world);
        rows.iter()
            .any(|(_, row)| row.windows(text.len()).any(|w| w == text))
    };
    assert!(!shows(b"Gagnon"));
    // A verdict sends nothing.
    let decided = world.decides("chief", &row.case, crate::suspicion::Finding::Justified);
    assert_eq!(decided, Ok(false));
    assert_eq!(world.one_case().fate, Fate::Previewed);
    assert!(world.police.outbox().is_empty());
}

#[test]
fn looks_count_as_questions_and_whoever_is_suspended_does_not_look() {
    let world = office(|settings| settings.questions_per_hour = 3);
    for _ in 0..3 {
        world.peeks("clerk", &someone("Gagnon", "Paul")).unwrap();
    }
    let (_, passage) = world
        .tries("clerk", &someone("Gagnon", "Paul"), |_| ())
        .unwrap();
    let cases = record::all(world.police.core.view()).unwrap();
    let volume = |row: &record::CaseRow| {
        row.kinds
            .iter()
            .any(|(kind, _)| *kind == crate::suspicion::Kind::Volume)
    };
    assert!(cases.iter().any(volume), "{passage:?}");
    world.police.happens(vec![Event::AuditCase(Box::new(
        record::CaseEvent::Suspended {
            worker: "clerk".into(),
            by: "chief".into(),
        },
    ))]);
    let refused = world.peeks("clerk", &someone("Gagnon", "Paul"));
    assert_eq!(refused.err(), Some(ErrorCode::Suspended));
}
