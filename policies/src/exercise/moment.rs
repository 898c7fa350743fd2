//! Time in an exercise: `day 2 14:00`, counted from midnight of its first day.

use passerelle_model::time::Timestamp;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{fmt, str::FromStr};

const DAY_S: u64 = 86_400;

/// Longest exercise, in days: a year and its leap day.
const MAX_DAYS: u64 = 366;

/// When the first day begins: 2026-01-05T00:00:00Z, a Monday. Any instant would do; rules compare
/// times and know no calendar.
const BEGIN: Timestamp = Timestamp(1_767_571_200_000);

/// An instant of the exercise, in seconds from its first midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// As the state machine counts.
    pub(crate) const fn timestamp(self) -> Timestamp {
        BEGIN.plus_s(self.0)
    }

    /// The first midnight, at which the federation is founded.
    pub(crate) const FIRST: Self = Self(0);
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is no time; write `day 2 14:00`, or `day 2 14:00:30`");
        let mut words = text.split(' ');
        let (Some("day"), Some(day), Some(clock), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(form());
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u64>().ok()).flatten()
        };
        let parts: Option<Vec<u64>> = clock.split(':').map(number).collect();
        let (hour, minute, second) = match parts.as_deref() {
            Some([hour, minute]) => (*hour, *minute, 0),
            Some([hour, minute, second]) => (*hour, *minute, *second),
            _ => return Err(form()),
        };
        let day = number(day).ok_or_else(form)?;
        if !(1..=MAX_DAYS).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return Err(format!(
                "`{text}` is out of range: days go from 1 to {MAX_DAYS}, hours from 00 to 23"
            ));
        }
        Ok(Self(
            (day - 1) * DAY_S + hour * 3_600 + minute * 60 + second,
        ))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, second) = (self.0 / DAY_S + 1, self.0 % DAY_S);
        write!(f, "day {day} {:02}:{:02}", second / 3_600, second / 60 % 60)?;
        match second % 60 {
            0 => Ok(()),
            second => write!(f, ":{second:02}"),
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

impl serde::Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_it_is_read() {
        for text in [
            "day 1 00:00",
            "day 2 14:05",
            "day 3 23:59:59",
            "day 366 00:00:01",
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().to_string(), text);
        }
        let later = "day 2 00:01".parse::<Moment>().unwrap().timestamp();
        assert_eq!(later, Moment::FIRST.timestamp().plus_s(86_460));
        assert_eq!(BEGIN.to_rfc3339(), "2026-01-05T00:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "day",
            "day 1",
            "day 0 10:00",
            "day 367 10:00",
            "day 1 24:00",
            "day 1 10:60",
            "day 1 10",
            "day 1 10:00:60",
            "day one 10:00",
            "Day 1 10:00",
            "day 1 10:00 sharp",
            "day -1 10:00",
            "day 1 +1:00",
            "day 1  10:00",
            "day 99999999999999999999 10:00",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
