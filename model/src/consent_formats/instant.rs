//! Moments as text: RFC 3339 with a zone, to the millisecond. FHIR's `dateTime` and `xsd:dateTime`
//! with all their parts are of this form.

use crate::time::Timestamp;

const DAY_S: i64 = 86_400;

/// In UTC, with milliseconds only if there are some.
pub(super) fn text(at: Timestamp) -> String {
    let whole = at.to_rfc3339();
    match (at.0 % 1_000, whole.strip_suffix('Z')) {
        (0, _) | (_, None) => whole,
        (millis, Some(seconds)) => format!("{seconds}.{millis:03}Z"),
    }
}

/// A date with time and zone from 1970 to 9999. More than three digits of a second are refused:
/// they could not be kept.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_once('T')?;
    let (clock, offset_s) = zone(rest)?;
    let (clock, millis) = match clock.split_once('.') {
        None => (clock, 0),
        Some((clock, fraction)) => {
            let width = u32::try_from(fraction.len()).ok()?;
            let scale = 10_u64.pow(3_u32.checked_sub(width)?);
            let given = number(fraction, fraction.len(), 0, 999)?;
            (clock, given.checked_mul(scale)?)
        }
    };
    let [hour, minute, second] = three(clock, ':')?;
    let [year, month, day] = three(date, '-')?;
    let of_day = number(hour, 2, 0, 23)? * 3_600
        + number(minute, 2, 0, 59)? * 60
        + number(second, 2, 0, 59)?;
    let days = days(
        number(year, 4, 1970, 9_999)?,
        number(month, 2, 1, 12)?,
        number(day, 2, 1, 31)?,
    )?;
    let local = i64::try_from(days).ok()?.checked_mul(DAY_S)?;
    let utc = local.checked_add(i64::try_from(of_day).ok()?)?;
    let utc = u64::try_from(utc.checked_sub(offset_s)?).ok()?;
    Some(Timestamp(utc.checked_mul(1_000)?.checked_add(millis)?))
}

/// What stands before the zone, and how many seconds the zone is ahead of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let at = text.rfind(['+', '-'])?;
    let (clock, zone) = text.split_at_checked(at)?;
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("+", zone) => (1, zone),
        (_, zone) => (-1, zone),
    };
    let (hours, minutes) = zone.split_once(':')?;
    let seconds = number(hours, 2, 0, 14)? * 3_600 + number(minutes, 2, 0, 59)? * 60;
    Some((clock, i64::try_from(seconds).ok()?.checked_mul(sign)?))
}

fn three(text: &str, separator: char) -> Option<[&str; 3]> {
    let mut parts = text.split(separator);
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

fn number(text: &str, width: usize, least: u64, most: u64) -> Option<u64> {
    let is_digits = text.len() == width && text.bytes().all(|b| b.is_ascii_digit());
    let value = text.parse().ok().filter(|_| is_digits)?;
    (least..=most).contains(&value).then_some(value)
}

/// Days since 1970 of a Gregorian date that exists: years counted from 1 March, so that the leap
/// day is the last of its year.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > longest {
        return None;
    }
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468)
}
