//! A calendar date, for suspensions.

use passerelle_model::time::Timestamp;
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Not a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date: expected `YYYY-MM-DD`")]
pub struct InvalidDate;

/// A date of the Gregorian calendar, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day of this instant.
    ///
    /// # Errors
    /// [`InvalidDate`]: after the year 9999.
    pub fn of(at: Timestamp) -> Result<Self, InvalidDate> {
        let text = at.to_rfc3339();
        text.split_once('T').ok_or(InvalidDate)?.0.parse()
    }

    /// Its first instant; `None` before 1970.
    pub fn begins(self) -> Option<Timestamp> {
        let (year, month, day) = (
            u64::from(self.year),
            u64::from(self.month),
            u64::from(self.day),
        );
        // Years from 1 March on: the leap day is the last of its year.
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year.checked_sub(1)?, month + 9)
        };
        let day_of_year = (153 * month + 2) / 5 + day - 1;
        let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
        let days_since_1970 = days.checked_sub(719_468)?;
        Some(Timestamp::default().plus_s(days_since_1970 * 86_400))
    }
}

const fn days(year: u16, month: u8) -> u8 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 31,
    }
}

impl FromStr for Date {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, InvalidDate> {
        let form = |(at, byte): (usize, u8)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        };
        if text.len() != 10 || !text.bytes().enumerate().all(form) {
            return Err(InvalidDate);
        }
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(InvalidDate);
        let year = part()?.parse().map_err(|_| InvalidDate)?;
        let month = part()?.parse().map_err(|_| InvalidDate)?;
        let day = part()?.parse().map_err(|_| InvalidDate)?;
        if (1..=12).contains(&month) && (1..=days(year, month)).contains(&day) {
            Ok(Self { year, month, day })
        } else {
            Err(InvalidDate)
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_dates_are_dates() {
        for good in ["2024-02-29", "2026-12-31", "2000-02-29"] {
            assert_eq!(good.parse::<Date>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "2026-2-1",
            "2026-13-01",
            "2026-00-10",
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-01-00",
            "+026-01-01",
            "2026/01/01",
            "2026-01-01 ",
            "٢026-01-0",
        ] {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
        let date = Date::of(Timestamp(1_709_164_800_000)).unwrap();
        assert_eq!(date.to_string(), "2024-02-29");
        assert!(date < "2024-03-01".parse().unwrap());
    }
}
