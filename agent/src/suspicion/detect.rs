//! What is suspicious about a question: pure functions of who asks, about whom, when, how often.
//!
//! In scope: the detectors. Out of scope: where the facts come from and what follows
//! ([`crate::suspicion::question`]).

use super::{
    Action, Kind,
    names::{Alike, alike},
    settings::Settings,
};
use crate::{config::Worker, person::Person};
use passerelle_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A question before it leaves.
pub struct Attempt<'a> {
    /// Who asks.
    pub worker: &'a Worker,
    /// About whom; nobody at stage 2 of a table.
    pub person: Option<&'a Person>,
    /// Whether an emergency is claimed.
    pub is_emergency: bool,
    /// Whether a case is named, or the agency's own records show that it has to do with the person.
    pub has_service: bool,
    /// When.
    pub at: Timestamp,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why, each once, with what is done about it.
    pub kinds: Vec<(Kind, Action)>,
    /// The worker of this agency whom the question is about, if it is one.
    pub about: Option<String>,
    /// Every other worker who by name may be the person or a relative: none of them looks at it as
    /// a second person.
    pub apart: Vec<String>,
}

impl Findings {
    /// The strictest of what is to be done.
    pub fn action(&self) -> Option<Action> {
        self.kinds.iter().map(|(_, action)| *action).max()
    }

    /// The kinds alone.
    pub fn kinds(&self) -> Vec<Kind> {
        self.kinds.iter().map(|(kind, _)| *kind).collect()
    }

    fn add(&mut self, kind: Kind, action: Action) {
        self.kinds.push((kind, action));
    }
}

/// All but the volume, for which [`unusual`] is.
pub fn look(settings: &Settings, workers: &[Worker], attempt: &Attempt<'_>) -> Findings {
    let mut found = Findings::default();
    if let Some(person) = attempt.person {
        let like = |worker: &Worker| {
            let name = worker.name.as_ref();
            name.map_or(Alike::No, |name| alike(name, person))
        };
        match like(attempt.worker) {
            Alike::Person => {
                found.add(Kind::OwnRecord, settings.own_record);
                found.about = Some(attempt.worker.id.clone());
            }
            Alike::Surname => found.add(Kind::SameSurname, settings.same_surname),
            Alike::No => {}
        }
        let others = workers.iter().filter(|w| w.id != attempt.worker.id);
        if let Some(other) = others.into_iter().find(|w| like(w) == Alike::Person) {
            found.add(Kind::CoWorker, settings.co_worker);
            found.about.get_or_insert_with(|| other.id.clone());
        }
        let others = workers.iter().filter(|w| w.id != attempt.worker.id);
        let apart = others.filter(|w| like(w) != Alike::No);
        found.apart = apart.map(|w| w.id.clone()).collect();
        if !attempt.has_service {
            found.add(Kind::NoService, settings.no_service);
        }
    }
    if let Some(hours) = settings.hours.as_ref().filter(|h| !h.cover(attempt.at)) {
        let is_excepted = attempt.is_emergency || hours.on_call.contains(&attempt.worker.id);
        // Excepted, and recorded all the same.
        let excepted = settings.off_hours.min(Action::Note);
        let action = if is_excepted {
            excepted
        } else {
            settings.off_hours
        };
        found.add(Kind::OffHours, action);
    }
    found
}

/// Seconds in a slot of the shortest count.
const SLOT_S: u64 = 600;
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 86_400;
/// Days that say what is usual.
const USUAL_DAYS: u64 = 28;
/// With questions on fewer days than this nothing is usual yet.
const LEAST_DAYS: u64 = 5;
/// Below so many questions in 24 hours nothing is compared with what is usual.
const LEAST_QUESTIONS: u32 = 20;

/// How often a worker asks. Holds some dozens of numbers, whatever happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// By ten minutes.
    slots: Vec<(u64, u32)>,
    /// By hour.
    hours: Vec<(u64, u32)>,
    /// By day.
    days: Vec<(u64, u32)>,
    /// When the last audit case about the volume was raised.
    raised: Option<Timestamp>,
}

impl Pace {
    /// One question more.
    pub fn count(&mut self, at: Timestamp) {
        for (counts, of_s, keep) in [
            (&mut self.slots, SLOT_S, HOUR_S / SLOT_S),
            (&mut self.hours, HOUR_S, DAY_S / HOUR_S),
            (&mut self.days, DAY_S, USUAL_DAYS),
        ] {
            let slot = at.seconds() / of_s;
            match counts.iter_mut().find(|(known, _)| *known == slot) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => counts.push((slot, 1)),
            }
            let newest = counts.iter().map(|(slot, _)| *slot).max().unwrap_or(slot);
            counts.retain(|(slot, _)| slot.saturating_add(keep) >= newest);
        }
    }

    /// An audit case about the volume was raised.
    pub fn raised(&mut self, at: Timestamp) {
        self.raised = Some(at);
    }

    fn since(counts: &[(u64, u32)], first: u64) -> u32 {
        let counts = counts.iter().filter(|(slot, _)| *slot >= first);
        counts.fold(0, |sum: u32, (_, count)| sum.saturating_add(*count))
    }

    /// In the hour before `now`, and up to ten minutes more.
    pub fn last_hour(&self, now: Timestamp) -> u32 {
        let first = (now.seconds() / SLOT_S).saturating_sub(HOUR_S / SLOT_S);
        Self::since(&self.slots, first)
    }

    /// In the 24 hours before `now`, and up to an hour more.
    pub fn last_day(&self, now: Timestamp) -> u32 {
        let first = (now.seconds() / HOUR_S).saturating_sub(DAY_S / HOUR_S);
        Self::since(&self.hours, first)
    }

    /// Questions on a usual day before today, rounded up, if enough days are known.
    pub fn usual_day(&self, now: Timestamp) -> Option<u32> {
        let today = now.seconds() / DAY_S;
        let past = self
            .days
            .iter()
            .filter(|(day, _)| *day < today && day.saturating_add(USUAL_DAYS) >= today);
        let (days, sum) = past.fold((0_u64, 0_u64), |(days, sum), (_, count)| {
            (
                days.saturating_add(1),
                sum.saturating_add(u64::from(*count)),
            )
        });
        let usual = (days >= LEAST_DAYS).then(|| sum.div_ceil(days));
        usual.map(|usual| u32::try_from(usual).unwrap_or(u32::MAX))
    }
}

/// Adds the volume, if one question more is unusual. While it only leads to an alert there is one
/// an hour.
pub fn unusual(settings: &Settings, pace: &Pace, now: Timestamp, found: &mut Findings) {
    let hour = pace.last_hour(now).saturating_add(1);
    let day = pace.last_day(now).saturating_add(1);
    let over_usual = settings.times_usual > 0
        && day > LEAST_QUESTIONS
        && pace
            .usual_day(now)
            .is_some_and(|usual| day > usual.saturating_mul(settings.times_usual));
    let over = hour > settings.questions_per_hour || day > settings.questions_per_day;
    if !over && !over_usual {
        return;
    }
    let action = settings.volume;
    let was_raised = pace
        .raised
        .is_some_and(|at| now < at.plus_s(HOUR_S) && now >= at);
    if action.stops() || !was_raised {
        found.add(Kind::Volume, action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::input::parse_time, suspicion::settings::WorkerName};
    use passerelle_model::vocabulary::WorkerRole;
    use proptest::prelude::*;

    fn worker(id: &str, family: &str, given: &str) -> Worker {
        Worker {
            id: id.to_owned(),
            role: WorkerRole::Officer,
            trained: true,
            name: Some(WorkerName {
                family: family.to_owned(),
                given: given.to_owned(),
                born: None,
                other_family: Vec::new(),
            }),
        }
    }

    fn person(family: &str, given: &str) -> Person {
        Person::new(family, given, "1988-03-09".parse().unwrap(), None).unwrap()
    }

    fn found(
        settings: &Settings,
        person: Option<&Person>,
        edit: impl Fn(&mut Attempt<'_>),
    ) -> Findings {
        let workers = [
            worker("w-1", "Tremblay", "Zoé"),
            worker("w-2", "Gagnon", "Luc"),
        ];
        let mut attempt = Attempt {
            worker: &workers[0],
            person,
            is_emergency: false,
            has_service: true,
            // A Sunday.
            at: parse_time("2026-11-22T12:00:00Z").unwrap(),
        };
        edit(&mut attempt);
        look(settings, &workers, &attempt)
    }

    #[test]
    fn each_kind_is_found_and_the_strictest_action_counts() {
        let settings = Settings::default();
        let none = found(&settings, Some(&person("Roy", "Anne")), |_| ());
        assert_eq!(none, Findings::default());
        let own = found(&settings, Some(&person("TREMBLAY", "zoe")), |_| ());
        assert_eq!(own.kinds(), [Kind::OwnRecord]);
        assert_eq!(own.action(), Some(Action::Block));
        assert_eq!(own.about.as_deref(), Some("w-1"));
        let aunt = found(&settings, Some(&person("Roy-Tremblay", "Anne")), |a| {
            a.has_service = false;
        });
        assert_eq!(aunt.kinds(), [Kind::SameSurname, Kind::NoService]);
        assert_eq!(aunt.action(), Some(Action::Hold));
        let colleague = found(&settings, Some(&person("Gagnon", "Luc")), |_| ());
        assert_eq!(colleague.kinds(), [Kind::CoWorker]);
        assert_eq!(colleague.about.as_deref(), Some("w-2"));
        let nobody = found(&settings, None, |a| a.has_service = false);
        assert_eq!(
            nobody,
            Findings::default(),
            "stage 2 of a table names nobody"
        );
    }

    #[test]
    fn off_hours_are_recorded_even_if_they_are_excused() {
        let hours =
            "days = [\"mon\"]\nfrom = \"08:00\"\nuntil = \"18:00\"\nutc_offset = \"+00:00\"\n";
        let mut settings = Settings {
            hours: Some(toml::from_str(hours).unwrap()),
            off_hours: Action::Hold,
            ..Settings::default()
        };
        let roy = person("Roy", "Anne");
        let off = found(&settings, Some(&roy), |_| ());
        assert_eq!(off.kinds, [(Kind::OffHours, Action::Hold)]);
        let emergency = found(&settings, Some(&roy), |a| a.is_emergency = true);
        assert_eq!(emergency.kinds, [(Kind::OffHours, Action::Note)]);
        settings
            .hours
            .as_mut()
            .unwrap()
            .on_call
            .push("w-1".to_owned());
        let on_call = found(&settings, None, |_| ());
        assert_eq!(on_call.kinds, [(Kind::OffHours, Action::Note)]);
        let monday = parse_time("2026-11-23T12:00:00Z").unwrap();
        assert_eq!(
            found(&settings, None, |a| a.at = monday),
            Findings::default()
        );
    }

    fn volume(settings: &Settings, pace: &Pace, now: Timestamp) -> bool {
        let mut found = Findings::default();
        unusual(settings, pace, now, &mut found);
        found.kinds() == [Kind::Volume]
    }

    #[test]
    fn the_question_above_the_number_of_an_hour_is_unusual() {
        let settings = Settings {
            questions_per_hour: 3,
            ..Settings::default()
        };
        let now = Timestamp(1_795_269_789_000);
        let mut pace = Pace::default();
        for _ in 0..3 {
            assert!(!volume(&settings, &pace, now));
            pace.count(now);
        }
        assert!(volume(&settings, &pace, now));
        assert!(volume(&settings, &pace, now.plus_s(3_600)));
        assert!(!volume(&settings, &pace, now.plus_s(3_600 + 1_200)));
        pace.raised(now);
        assert!(!volume(&settings, &pace, now.plus_s(60)), "once an hour");
        let stops = Settings {
            volume: Action::Block,
            ..settings
        };
        assert!(
            volume(&stops, &pace, now.plus_s(60)),
            "and each, if it stops"
        );
    }

    #[test]
    fn more_than_a_worker_usually_asks_is_unusual() {
        let settings = Settings::default();
        let mut pace = Pace::default();
        let mut now = Timestamp(1_795_269_789_000);
        for _ in 0..6 {
            for _ in 0..4 {
                pace.count(now);
            }
            now = now.plus_s(DAY_S);
        }
        now = now.plus_s(HOUR_S * 2);
        for _ in 0..20 {
            assert!(!volume(&settings, &pace, now));
            pace.count(now);
        }
        assert!(
            volume(&settings, &pace, now),
            "21 on a day, 4 on the others"
        );
        let off = Settings {
            times_usual: 0,
            ..settings
        };
        assert!(!volume(&off, &pace, now));
    }

    proptest! {
        #[test]
        fn no_burst_within_an_hour_is_missed(
            starts in 0_u64..100_000,
            gaps in prop::collection::vec(0_u64..120, 31),
        ) {
            let settings = Settings::default();
            let mut pace = Pace::default();
            let mut now = Timestamp(1_795_000_000_000).plus_s(starts);
            let first = now;
            let mut seen = false;
            for gap in gaps {
                now = now.plus_s(gap);
                seen |= volume(&settings, &pace, now);
                pace.count(now);
            }
            // The 31st question came within the hour.
            prop_assert!(seen || now > first.plus_s(HOUR_S));
        }

        #[test]
        fn a_pace_stays_small(times in prop::collection::vec(0_u64..400 * DAY_S, 0..400)) {
            let mut pace = Pace::default();
            for at in times {
                pace.count(Timestamp(at * 1_000));
            }
            prop_assert!(pace.slots.len() <= 7 && pace.hours.len() <= 25 && pace.days.len() <= 29);
        }
    }
}
