//! The names that are typed with consents and cases: sealed, and forgotten when their time is over.

use super::{consents::bare, *};
use crate::{forget, names};
use passerelle_model::{
    ids::CaseId,
    statement::{CaseAdvance, CaseOpening, WithdrawalScope},
    store::Read as _,
    vocabulary::{CaseOutcome, Profile, Stage, Threshold},
};

const DAY_S: u64 = 86_400;
const GONE: [&str; 2] = ["names_over", "names_forgotten"];
const NAME: &str = "Zoé Gagnon-Bélanger";

/// A world whose clinic has a name for `id`.
fn keeps(id: &str) -> World {
    let world = bare();
    world.named(id);
    world
}

impl World {
    fn named(&self, id: &str) {
        let id = id.to_owned();
        let write = self.clinic.write(NOW, move |context, _| {
            Ok((vec![names::keep(&context.vault, id, KNOWN, NAME)?], ()))
        });
        write.unwrap();
    }

    fn name_of(&self, id: &str) -> Option<String> {
        let view = self.clinic.core.view();
        let row = state::label(view, id).unwrap()?;
        names::open(&self.clinic.context.vault, view, id, &row)
    }

    /// Two looks: what is over, and what was.
    fn forgets(&self, at: Timestamp) -> Vec<&'static str> {
        [self.looks(at, 0), self.looks(at, 0)].concat()
    }

    /// One look through all names: the kinds of the events that came of it.
    fn looks(&self, at: Timestamp, days: u64) -> Vec<&'static str> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let write = self.clinic.write(at, move |_, view| {
            let (events, next) = names::due(view, None, at, days)?;
            assert!(next.is_none());
            let kinds: Vec<_> = events.iter().map(Event::kind).collect();
            sender.send(kinds).unwrap();
            Ok((events, ()))
        });
        write.unwrap();
        receiver.recv().unwrap()
    }

    fn destroys(&self, at: Timestamp) {
        let write = self.clinic.write(at, |context, view| {
            let (events, more) = forget::destroy_due(&context.vault, view)?;
            assert!(!more);
            Ok((events, ()))
        });
        write.unwrap();
    }

    /// The table moves a case, and the clinic hears of it.
    fn moves(&mut self, body: Body) {
        let envelope = self.states("police", body);
        let notice = self.federation.said(NOW, "police", envelope);
        self.clinic.hears(NOW, notice).unwrap();
    }
}

#[test]
fn a_name_is_shown_and_stands_nowhere_in_the_clear() {
    let world = keeps("c-1");
    assert_eq!(world.name_of("c-1").as_deref(), Some(NAME));
    let mut files = 0;
    let mut dirs = vec![world.clinic.dir.path().to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            for part in ["Gagnon", "langer"] {
                let found = bytes.windows(part.len()).any(|w| w == part.as_bytes());
                assert!(!found, "{part} in {}", path.display());
            }
        }
    }
    assert!(files > 2);
}

#[test]
fn a_name_is_forgotten_its_days_after_what_it_belonged_to_is_over() {
    // Nothing in the log has this id: as if it were over.
    let world = keeps("c-1");
    assert_eq!(world.looks(NOW, 90), ["names_over"]);
    assert_eq!(world.looks(NOW.plus_s(1), 90), [""; 0], "once");
    let end = NOW.plus_s(90 * DAY_S);
    assert_eq!(world.looks(Timestamp(end.0 - 1), 90), [""; 0]);
    assert_eq!(world.name_of("c-1").as_deref(), Some(NAME));
    assert_eq!(world.looks(end, 90), ["names_forgotten"]);
    assert_eq!(world.name_of("c-1"), None);
    let view = world.clinic.core.view();
    assert_eq!(view.scan(b"doomed/", None, 9).unwrap().len(), 1);
    world.destroys(end);
    assert_eq!(view.scan(b"doomed/", None, 9).unwrap().len(), 0);
    assert_eq!(world.forgets(end), [""; 0], "nothing is left of it");
}

#[test]
fn a_name_that_is_said_again_after_it_was_forgotten_has_another_key() {
    let world = keeps("c-1");
    assert_eq!(world.forgets(NOW), GONE);
    world.named("c-1");
    world.destroys(NOW);
    assert_eq!(world.name_of("c-1").as_deref(), Some(NAME));
}

#[test]
fn the_name_with_a_consent_is_kept_until_all_of_it_is_withdrawn_or_it_ends() {
    let mut world = bare();
    let day = NOW.plus_s(DAY_S);
    let consent = world.records("clinic", KNOWN, |_| ());
    let other = world.records("clinic", KNOWN, |_| ());
    for id in [&consent, &other] {
        world.named(id.as_str());
    }
    assert_eq!(world.looks(day, 0), [""; 0]);
    let scope = WithdrawalScope::Category(Category::Name);
    world.withdraws("clinic", &consent, scope);
    assert_eq!(world.looks(day, 0), [""; 0], "a part is left");
    world.withdraws("clinic", &consent, WithdrawalScope::All);
    assert_eq!(world.forgets(day), GONE);
    assert_eq!(world.name_of(consent.as_str()), None);
    assert_eq!(world.name_of(other.as_str()).as_deref(), Some(NAME));
    assert_eq!(world.forgets(NOW.plus_s(365 * DAY_S)), GONE);
    assert_eq!(world.name_of(other.as_str()), None);
}

#[test]
fn the_name_with_a_case_is_kept_until_it_is_closed() {
    let mut world = bare();
    let case = CaseId::from_random([7; 16]);
    let opening = CaseOpening {
        case: case.clone(),
        profile: Profile::SituationTable,
        agencies: vec![agency("police"), agency("clinic")],
    };
    world.moves(Body::CaseOpening(opening));
    world.named(case.as_str());
    let late = NOW.plus_s(400 * DAY_S);
    assert_eq!(world.looks(late, 0), [""; 0]);
    world.moves(Body::CaseAdvance(CaseAdvance {
        case: case.clone(),
        stage: Stage::HomeAgency,
        threshold: Threshold::Rejected,
        agencies: vec![agency("police"), agency("clinic")],
        plan: Vec::new(),
        subject: None,
        outcome: Some(CaseOutcome::ALL[0]),
    }));
    assert_eq!(world.forgets(late), GONE);
    assert_eq!(world.name_of(case.as_str()), None);
}

#[test]
fn a_consent_that_comes_late_keeps_its_name_for_all_its_days_after() {
    let mut world = bare();
    let recorded = world.says_consent("clinic", KNOWN, |_| ());
    world.named(recorded.consent.as_str());
    assert_eq!(
        world.looks(NOW, 90),
        ["names_over"],
        "it is not in the log yet"
    );
    world.enters("clinic", &recorded);
    let late = NOW.plus_s(100 * DAY_S);
    assert_eq!(world.looks(late, 90), ["names_not_over"]);
    world.withdraws("clinic", &recorded.consent, WithdrawalScope::All);
    assert_eq!(world.looks(late, 90), ["names_over"]);
    assert!(world.name_of(recorded.consent.as_str()).is_some());
}
