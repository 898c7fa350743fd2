//! The ends of a period, as a person writes them: a day or an instant, in UTC.

use crate::disclosure::Date;
use passerelle_model::time::Timestamp;
use std::str::FromStr;

/// Neither a day nor an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SSZ`, in UTC, from 1970 on")]
pub struct InvalidTime;

/// A day or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The instant, or that at which the day begins.
    begins: Timestamp,
    is_day: bool,
}

impl Bound {
    /// The first instant that a period from here on has.
    pub const fn from(self) -> Timestamp {
        self.begins
    }

    /// The first instant that a period until here has no more: who names a day means all of it.
    pub const fn until(self) -> Timestamp {
        match self.is_day {
            true => self.begins.plus_s(86_400),
            false => self.begins,
        }
    }
}

impl FromStr for Bound {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let (day, clock) = match text.split_once('T') {
            None => (text, None),
            Some((day, clock)) => (day, Some(clock)),
        };
        let day: Date = day.parse().map_err(|_| InvalidTime)?;
        let begins = day.begins().ok_or(InvalidTime)?;
        let seconds = clock.map_or(Some(0), second_of_day).ok_or(InvalidTime)?;
        Ok(Self {
            begins: begins.plus_s(seconds),
            is_day: clock.is_none(),
        })
    }
}

/// `HH:MM:SSZ`.
fn second_of_day(clock: &str) -> Option<u64> {
    let parts: Vec<_> = clock.strip_suffix('Z')?.split(':').collect();
    let [hours, minutes, seconds] = parts.as_slice() else {
        return None;
    };
    let number = |text: &str, below: u64| {
        let is_form = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        let number: u64 = text.parse().ok().filter(|_| is_form)?;
        (number < below).then_some(number)
    };
    Some(number(hours, 24)? * 3_600 + number(minutes, 60)? * 60 + number(seconds, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_meant_whole_and_an_instant_to_the_second() {
        let day: Bound = "2026-11-21".parse().unwrap();
        assert_eq!(day.from().to_rfc3339(), "2026-11-21T00:00:00Z");
        assert_eq!(day.until().to_rfc3339(), "2026-11-22T00:00:00Z");
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z"] {
            let instant: Bound = text.parse().unwrap();
            assert_eq!(instant.from().to_rfc3339(), text);
            assert_eq!(instant.until(), instant.from());
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "T",
            "2026-11-31",
            "1969-12-31",
            "0000-01-01",
            "2026-11-21T",
            "2026-11-21T24:00:00Z",
            "2026-11-21T10:60:00Z",
            "2026-11-21T10:00:60Z",
            "2026-11-21T10:00:00",
            "2026-11-21T1:00:00Z",
            "2026-11-21T+1:00:00Z",
            "2026-11-21T10:00Z",
            "yesterday",
        ] {
            assert_eq!(bad.parse::<Bound>(), Err(InvalidTime), "{bad}");
        }
    }
}
