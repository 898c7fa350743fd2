//! Calendar days: birth dates and the dates of facts.
//!
//! In scope: one validated day, its text form, formats in which agencies write it, ages.
//! Out of scope: time of day, time zones, the clock (today is an input).

use passerelle_model::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// The first year that is taken for a date and not for a typing error.
pub const FIRST_YEAR: u16 = 1880;
/// The last year that is taken for a date and not for a typing error.
pub const LAST_YEAR: u16 = 2199;

/// A text or a triple that is no day. The input is not repeated: it may be a birth date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a calendar day written as YYYY-MM-DD, from 1880 to 2199")]
pub struct NotADate;

/// A Gregorian calendar day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day, if it exists and its year is in [`FIRST_YEAR`]..=[`LAST_YEAR`].
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, NotADate> {
        let ok = (FIRST_YEAR..=LAST_YEAR).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day);
        if ok {
            Ok(Self { year, month, day })
        } else {
            Err(NotADate)
        }
    }

    /// The day of `at` in UTC; `None` past [`LAST_YEAR`].
    pub fn of(at: Timestamp) -> Option<Self> {
        at.to_rfc3339().get(..10)?.parse().ok()
    }

    /// The year.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, from 1.
    pub const fn day(self) -> u8 {
        self.day
    }

    /// The quarter, 1 to 4.
    pub const fn quarter(self) -> u8 {
        (self.month - 1) / 3 + 1
    }

    /// Completed years from here to `at`; `None` if `at` is earlier.
    pub fn years_until(self, at: Self) -> Option<u16> {
        if at < self {
            return None;
        }
        let had_birthday = (at.month, at.day) >= (self.month, self.day);
        Some(at.year - self.year - u16::from(!had_birthday))
    }
}

const fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for Date {
    // A birth date identifies; a log line never needs one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Date(..)")
    }
}

impl FromStr for Date {
    type Err = NotADate;
    fn from_str(text: &str) -> Result<Self, NotADate> {
        DateFormat::iso().parse(text).ok_or(NotADate)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// One piece of a [`DateFormat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Year,
    Month,
    Day,
    Literal(char),
}

/// How a source writes days: `YYYY`, `MM`, `DD` and separators, such as `DD/MM/YYYY`. Without `DD`
/// it names a month, and stands for its first day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat {
    pieces: Vec<Piece>,
}

/// A text that is no date format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a date format is made of YYYY and MM, usually DD, each once, and separators - / . or space"
)]
pub struct NotADateFormat;

impl DateFormat {
    /// `YYYY-MM-DD`.
    pub fn iso() -> Self {
        use Piece::{Day, Literal, Month, Year};
        Self {
            pieces: vec![Year, Literal('-'), Month, Literal('-'), Day],
        }
    }

    /// Whether it names a day and not only a month.
    pub fn has_day(&self) -> bool {
        self.pieces.contains(&Piece::Day)
    }

    /// The day that `text` names in this format, if it does.
    pub fn parse(&self, text: &str) -> Option<Date> {
        let (mut year, mut month, mut day) = (0, 0, 1);
        let mut rest = text;
        for piece in &self.pieces {
            match piece {
                Piece::Year => (year, rest) = digits(rest, 4)?,
                Piece::Month => (month, rest) = digits(rest, 2)?,
                Piece::Day => (day, rest) = digits(rest, 2)?,
                Piece::Literal(c) => rest = rest.strip_prefix(*c)?,
            }
        }
        if !rest.is_empty() {
            return None;
        }
        Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
    }
}

fn digits(text: &str, count: usize) -> Option<(u16, &str)> {
    let (head, tail) = text.split_at_checked(count)?;
    let all_digits = head.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| head.parse().ok())?.map(|n| (n, tail))
}

impl FromStr for DateFormat {
    type Err = NotADateFormat;
    fn from_str(text: &str) -> Result<Self, NotADateFormat> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (piece, length) = match first {
                'Y' if rest.starts_with("YYYY") => (Piece::Year, 4),
                'M' if rest.starts_with("MM") => (Piece::Month, 2),
                'D' if rest.starts_with("DD") => (Piece::Day, 2),
                '-' | '/' | '.' | ' ' => (Piece::Literal(first), 1),
                _ => return Err(NotADateFormat),
            };
            if !matches!(piece, Piece::Literal(_)) && pieces.contains(&piece) {
                return Err(NotADateFormat);
            }
            pieces.push(piece);
            rest = rest.get(length..).unwrap_or_default();
        }
        if pieces.contains(&Piece::Year) && pieces.contains(&Piece::Month) {
            Ok(Self { pieces })
        } else {
            Err(NotADateFormat)
        }
    }
}

impl<'de> Deserialize<'de> for DateFormat {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in [
            "2025-02-29",
            "1900-02-29",
            "2025-13-01",
            "2025-00-10",
            "2025-04-31",
            "2025-1-1",
            "25-01-01",
            "2025-01-01 ",
            "+025-01-01",
            "1879-12-31",
            "2025-01-0é",
            "",
        ] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
        assert_eq!(date("2024-02-29").to_string(), "2024-02-29");
        assert_eq!(date("2000-02-29").to_string(), "2000-02-29");
    }

    #[test]
    fn ages_change_on_the_birthday() {
        let born = date("2008-02-29");
        for (at, age) in [
            ("2008-02-29", Some(0)),
            ("2026-02-28", Some(17)),
            ("2026-03-01", Some(18)),
            ("2007-01-01", None),
        ] {
            assert_eq!(born.years_until(date(at)), age, "{at}");
        }
    }

    #[test]
    fn quarters_follow_the_months() {
        let quarter = |month| Date::new(2025, month, 1).unwrap().quarter();
        let all: Vec<_> = (1..=12).map(quarter).collect();
        assert_eq!(all, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
    }

    #[test]
    fn formats_of_sources_are_read() {
        for (format, text) in [
            ("YYYY-MM-DD", "1990-07-04"),
            ("DD/MM/YYYY", "04/07/1990"),
            ("MM.DD.YYYY", "07.04.1990"),
            ("YYYYMMDD", "19900704"),
        ] {
            let format: DateFormat = format.parse().unwrap();
            assert_eq!(format.parse(text), Some(date("1990-07-04")), "{text}");
            assert_eq!(format.parse("04-07-90"), None);
        }
        let month: DateFormat = "YYYY-MM".parse().unwrap();
        assert_eq!(month.parse("1990-07"), Some(date("1990-07-01")));
        assert!(!month.has_day());
        for text in ["", "YYYY", "YY-MM-DD", "YYYY-MM-DD-DD", "DDMM", "YYYY年MM"] {
            assert!(text.parse::<DateFormat>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_day_of_a_point_in_time_is_in_utc() {
        assert_eq!(
            Date::of(Timestamp(951_868_799_999)),
            Some(date("2000-02-29"))
        );
        assert_eq!(Date::of(Timestamp(9_007_199_254_740_991)), None);
    }

    #[test]
    fn debug_output_hides_the_day() {
        assert_eq!(format!("{:?}", date("1990-07-04")), "Date(..)");
    }
}
