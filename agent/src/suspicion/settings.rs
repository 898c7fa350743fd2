//! Settings in `agent.toml`: what is done about what, working hours, how many questions are usual.

use super::{Action, Kind};
use crate::date::Date;
use passerelle_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The section `[suspicion]`. What is left out has the value that fails safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The worker is the person.
    pub own_record: Action,
    /// A surname in common.
    pub same_surname: Action,
    /// The person works here.
    pub co_worker: Action,
    /// Outside working hours.
    pub off_hours: Action,
    /// No record, consent or case of the person here.
    pub no_service: Action,
    /// Too many questions.
    pub volume: Action,
    /// Questions of one worker within an hour that are not unusual. At least 1.
    pub questions_per_hour: u32,
    /// The same for 24 hours.
    pub questions_per_day: u32,
    /// More than so many times the worker's own usual day is unusual, too; 0: not compared.
    pub times_usual: u32,
    /// Within how many hours somebody has to look at an audit case.
    pub review_h: u64,
    /// When people work here. Without: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            own_record: Action::Block,
            same_surname: Action::Hold,
            co_worker: Action::Hold,
            off_hours: Action::Alert,
            no_service: Action::Alert,
            volume: Action::Alert,
            questions_per_hour: 30,
            questions_per_day: 120,
            times_usual: 5,
            review_h: 72,
            hours: None,
        }
    }
}

impl Settings {
    /// What is done about `kind`.
    pub const fn action(&self, kind: Kind) -> Action {
        match kind {
            Kind::OwnRecord => self.own_record,
            Kind::SameSurname => self.same_surname,
            Kind::CoWorker => self.co_worker,
            Kind::OffHours => self.off_hours,
            Kind::NoService => self.no_service,
            Kind::Volume => self.volume,
            // The permit says so; no setting takes it away.
            Kind::EmergencyOverride => Action::Alert,
        }
    }

    /// Checks what the types can't.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn check(&self) -> Result<(), String> {
        if self.questions_per_hour == 0 || self.questions_per_day == 0 {
            return Err("`questions_per_hour` and `questions_per_day` are at least 1".to_owned());
        }
        if !(1..=24 * 90).contains(&self.review_h) {
            return Err("`review_h` of `[suspicion]` is not from 1 to 2160".to_owned());
        }
        if self
            .hours
            .as_ref()
            .is_some_and(|hours| hours.days.is_empty())
        {
            return Err("`days` of `[suspicion.hours]` names no day".to_owned());
        }
        Ok(())
    }
}

/// The name of a worker, so that a question about the worker or a relative is recognised. It stays
/// in this file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerName {
    /// Family name.
    pub family: String,
    /// Given name.
    pub given: String,
    /// Birth date. Without, a person of the same names is taken for the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<Date>,
    /// Former and other family names, also a partner's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_family: Vec<String>,
}

impl WorkerName {
    /// All family names.
    pub fn surnames(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.family)
            .chain(&self.other_family)
            .map(String::as_str)
    }
}

impl fmt::Debug for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerName(..)")
    }
}

/// When people work at the agency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// On which days.
    pub days: Vec<Day>,
    /// From, `HH:MM`.
    pub from: Minute,
    /// Until, `HH:MM`; earlier than `from` if a day's work ends after midnight.
    pub until: Minute,
    /// Of local standard time from UTC, as `-05:00`.
    pub utc_offset: Offset,
    /// When clocks are put an hour forward. Without: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summer_time: Option<SummerTime>,
    /// Workers who are on call at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_call: Vec<String>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

const WEEK: [Day; 7] = [
    Day::Mon,
    Day::Tue,
    Day::Wed,
    Day::Thu,
    Day::Fri,
    Day::Sat,
    Day::Sun,
];

/// By which rule clocks are put forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SummerTime {
    /// From the second Sunday in March to the first in November, at two o'clock local time.
    NorthAmerica,
    /// From the last Sunday in March to the last in October, at one o'clock UTC.
    Europe,
}

/// Minutes since midnight, `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Minute(u16);

/// Minutes east of UTC, `+HH:MM` or `-HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Offset(i16);

fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, most: u16| {
        let is_two = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        let value: u16 = text.parse().ok().filter(|_| is_two)?;
        (value <= most).then_some(value)
    };
    Some(
        number(hour, 24)?
            .saturating_mul(60)
            .saturating_add(number(minute, 59)?),
    )
    .filter(|minutes| *minutes <= 24 * 60)
}

impl TryFrom<String> for Minute {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        minutes(&text)
            .map(Self)
            .ok_or("expected a time of day, HH:MM")
    }
}

impl From<Minute> for String {
    fn from(Minute(minutes): Minute) -> Self {
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl TryFrom<String> for Offset {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const FORM: &str = "expected an offset from UTC, +HH:MM or -HH:MM, of at most 14 hours";
        let (is_west, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').ok_or(FORM)?),
        };
        let minutes = minutes(rest).filter(|m| *m <= 14 * 60).ok_or(FORM)?;
        let minutes = i16::try_from(minutes).map_err(|_| FORM)?;
        Ok(Self(if is_west { -minutes } else { minutes }))
    }
}

impl From<Offset> for String {
    fn from(Offset(minutes): Offset) -> Self {
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.unsigned_abs();
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

const DAY_MIN: i64 = 24 * 60;

impl Hours {
    /// Whether somebody works here at `at`.
    pub fn cover(&self, at: Timestamp) -> bool {
        let utc = i64::try_from(at.seconds() / 60).unwrap_or(i64::MAX / 2);
        let standard = utc.saturating_add(i64::from(self.utc_offset.0));
        let forward = self
            .summer_time
            .is_some_and(|rule| rule.is_on(utc, standard));
        let local = standard.saturating_add(if forward { 60 } else { 0 });
        let (day, minute) = (local.div_euclid(DAY_MIN), local.rem_euclid(DAY_MIN));
        let (from, until) = (i64::from(self.from.0), i64::from(self.until.0));
        if from < until {
            return self.works_on(day) && (from..until).contains(&minute);
        }
        // Past midnight the work is that of the day before.
        (self.works_on(day) && minute >= from)
            || (self.works_on(day.saturating_sub(1)) && minute < until)
    }

    fn works_on(&self, day: i64) -> bool {
        self.days.contains(&weekday(day))
    }
}

/// The weekday of a day since 1970-01-01, which was a Thursday.
fn weekday(day: i64) -> Day {
    let index = usize::try_from(day.saturating_add(3).rem_euclid(7)).unwrap_or(0);
    WEEK.get(index).copied().unwrap_or(Day::Mon)
}

impl SummerTime {
    /// Whether clocks are forward, given minutes since 1970 in UTC and in local standard time.
    fn is_on(self, utc: i64, standard: i64) -> bool {
        let (clock, on, off) = match self {
            // The clock says two in spring before and in autumn after it is put: in standard time
            // two o'clock and one o'clock.
            Self::NorthAmerica => (standard, (3, Sunday::Nth(2), 120), (11, Sunday::Nth(1), 60)),
            Self::Europe => (utc, (3, Sunday::Last, 60), (10, Sunday::Last, 60)),
        };
        let ms = u64::try_from(clock.saturating_mul(60_000)).unwrap_or(0);
        let date = Timestamp(ms).to_rfc3339();
        let field = |range| {
            date.get(range)
                .and_then(|text: &str| text.parse::<i64>().ok())
        };
        let (Some(month), Some(day)) = (field(5..7), field(8..10)) else {
            return false;
        };
        let today = clock.div_euclid(DAY_MIN);
        let minute = clock.rem_euclid(DAY_MIN);
        let change = |(in_month, sunday, at): (i64, Sunday, i64)| {
            let first = today.saturating_sub(day).saturating_add(1);
            let on = sunday.of_month(first);
            month > in_month || (month == in_month && (today, minute) >= (on, at))
        };
        change(on) && !change(off)
    }
}

#[derive(Clone, Copy)]
enum Sunday {
    Nth(i64),
    Last,
}

impl Sunday {
    /// Its day since 1970, in the month (of 31 days, if it is the last) that begins at `first`.
    fn of_month(self, first: i64) -> i64 {
        let to_sunday = |day: i64| {
            let index = WEEK.iter().position(|d| *d == weekday(day)).unwrap_or(0);
            i64::try_from(6_usize.saturating_sub(index)).unwrap_or(0)
        };
        match self {
            Self::Nth(nth) => first
                .saturating_add(to_sunday(first))
                .saturating_add(7 * nth.saturating_sub(1)),
            // March and October have 31 days: the last Sunday is one of the last seven.
            Self::Last => {
                let seventh_last = first.saturating_add(24);
                seventh_last.saturating_add(to_sunday(seventh_last))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::input::parse_time;

    fn settings(text: &str) -> Result<Settings, String> {
        let settings: Settings = toml::from_str(text).map_err(|e| e.to_string())?;
        settings.check().map(|()| settings)
    }

    const HOURS: &str = "[hours]\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\n\
         from = \"08:00\"\nuntil = \"18:00\"\nutc_offset = \"-05:00\"\n";

    fn hours(more: &str) -> Hours {
        settings(&format!("{HOURS}{more}")).unwrap().hours.unwrap()
    }

    fn covers(hours: &Hours, text: &str) -> bool {
        hours.cover(parse_time(text).unwrap())
    }

    #[test]
    fn what_is_left_out_fails_safe() {
        let settings = settings("").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.action(Kind::OwnRecord), Action::Block);
        assert_eq!(settings.action(Kind::SameSurname), Action::Hold);
        assert_eq!(settings.action(Kind::CoWorker), Action::Hold);
        for kind in [Kind::OffHours, Kind::NoService, Kind::Volume] {
            assert_eq!(settings.action(kind), Action::Alert);
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for text in [
            "own_record = \"ignore\"",
            "own_records = \"block\"",
            "questions_per_hour = 0",
            "review_h = 0",
            "review_h = 5000",
            &HOURS.replace("08:00", "8:00"),
            &HOURS.replace("08:00", "24:01"),
            &HOURS.replace("-05:00", "05:00"),
            &HOURS.replace("-05:00", "-15:00"),
            &HOURS.replace("\"mon\"", "\"monday\""),
            &HOURS.replace("\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"", ""),
        ] {
            assert!(settings(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let settings = Settings {
            hours: Some(hours("summer_time = \"europe\"\non_call = [\"w-1\"]\n")),
            ..Settings::default()
        };
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    }

    #[test]
    fn working_hours_are_local_and_end_on_the_minute() {
        let hours = hours("");
        // A Monday.
        assert!(!covers(&hours, "2026-11-23T12:59:59Z"));
        assert!(covers(&hours, "2026-11-23T13:00:00Z"));
        assert!(covers(&hours, "2026-11-23T22:59:59Z"));
        assert!(!covers(&hours, "2026-11-23T23:00:00Z"));
        // Sunday evening here is Monday in UTC.
        assert!(!covers(&hours, "2026-11-23T03:00:00Z"));
        assert!(!covers(&hours, "2026-11-22T15:00:00Z"));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = HOURS.replace("08:00", "22:00").replace("18:00", "06:00");
        let night = settings(&night).unwrap().hours.unwrap();
        // Friday 23:00 and Saturday 05:00 local; Saturday 23:00 is not worked.
        assert!(covers(&night, "2026-11-28T04:00:00Z"));
        assert!(covers(&night, "2026-11-28T10:00:00Z"));
        assert!(!covers(&night, "2026-11-28T11:00:00Z"));
        assert!(!covers(&night, "2026-11-29T04:00:00Z"));
        assert!(!covers(&night, "2026-11-23T04:00:00Z"), "Sunday 23:00");
    }

    #[test]
    fn clocks_go_forward_and_back_on_their_sundays() {
        let rule = SummerTime::NorthAmerica;
        let on = |rule: SummerTime, text: &str, offset: i64| {
            let utc = i64::try_from(parse_time(text).unwrap().seconds() / 60).unwrap();
            rule.is_on(utc, utc + offset)
        };
        // Changes of 2026 and 2027 in Montréal: 8 March, 1 November, 14 March, 7 November.
        for (text, expected) in [
            ("2026-03-08T06:59:00Z", false),
            ("2026-03-08T07:00:00Z", true),
            ("2026-11-01T05:59:00Z", true),
            ("2026-11-01T06:00:00Z", false),
            ("2027-03-14T06:59:00Z", false),
            ("2027-03-14T07:00:00Z", true),
            ("2027-11-07T05:59:00Z", true),
            ("2027-11-07T06:00:00Z", false),
            ("2026-07-01T12:00:00Z", true),
            ("2026-12-31T12:00:00Z", false),
        ] {
            assert_eq!(on(rule, text, -300), expected, "{text}");
        }
        // Europe 2026: 29 March and 25 October.
        for (text, expected) in [
            ("2026-03-29T00:59:00Z", false),
            ("2026-03-29T01:00:00Z", true),
            ("2026-10-25T00:59:00Z", true),
            ("2026-10-25T01:00:00Z", false),
        ] {
            assert_eq!(on(SummerTime::Europe, text, 60), expected, "{text}");
        }
        let summer = hours("summer_time = \"north_america\"\n");
        // In July 08:00 local is 12:00 UTC.
        assert!(covers(&summer, "2026-07-01T12:00:00Z"));
        assert!(!covers(&summer, "2026-07-01T22:00:00Z"));
    }
}
