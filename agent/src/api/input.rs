//! What people typed: parsed, or refused in words that say which field and what is known.

use super::refuse;
use crate::{
    config::Worker,
    date::Date,
    node::Node,
    person::Person,
    suspicion::{question, texts},
};
use passerelle_model::{
    error::ErrorCode,
    ids::{AgencyId, InvalidId},
    time::Timestamp,
    vocabulary::UnknownCode,
};
use passerelle_proto::v1;
use std::str::FromStr;
use tonic::Status;

/// A code of a vocabulary.
pub fn code<T: FromStr<Err = UnknownCode>>(field: &str, text: &str) -> Result<T, Status> {
    text.parse()
        .map_err(|e: UnknownCode| refuse(ErrorCode::UnknownCode, format!("`{field}`: {e}")))
}

/// A code that may be left out.
pub fn optional_code<T: FromStr<Err = UnknownCode>>(
    field: &str,
    text: &str,
) -> Result<Option<T>, Status> {
    match text {
        "" => Ok(None),
        text => code(field, text).map(Some),
    }
}

/// Several codes.
pub fn codes<T: FromStr<Err = UnknownCode>>(
    field: &str,
    texts: &[String],
) -> Result<Vec<T>, Status> {
    texts.iter().map(|text| code(field, text)).collect()
}

/// An identifier.
pub fn id<T: FromStr<Err = InvalidId>>(field: &str, text: &str) -> Result<T, Status> {
    text.parse()
        .map_err(|e: InvalidId| refuse(ErrorCode::Malformed, format!("`{field}`: {e}")))
}

/// An identifier that may be left out.
pub fn optional_id<T: FromStr<Err = InvalidId>>(
    field: &str,
    text: &str,
) -> Result<Option<T>, Status> {
    match text {
        "" => Ok(None),
        text => id(field, text).map(Some),
    }
}

/// Several identifiers.
pub fn ids<T: FromStr<Err = InvalidId>>(field: &str, texts: &[String]) -> Result<Vec<T>, Status> {
    texts.iter().map(|text| id(field, text)).collect()
}

/// Members of the federation. Any other name is refused here and goes no further: it may be a
/// person's, in the wrong field, and the broker reads this one.
pub(super) fn members(node: &Node, field: &str, texts: &[String]) -> Result<Vec<AgencyId>, Status> {
    let agencies = ids(field, texts)?;
    are_members(node, field, &agencies)?;
    Ok(agencies)
}

/// As [`members`], for names that are parsed already.
pub(super) fn are_members(node: &Node, field: &str, agencies: &[AgencyId]) -> Result<(), Status> {
    let trust = node.trust().map_err(super::refused)?;
    if agencies.iter().all(|agency| trust.active(agency).is_some()) {
        return Ok(());
    }
    let explanation = ErrorCode::UnknownAgency.explanation();
    Err(refuse(
        ErrorCode::UnknownAgency,
        format!("`{field}`: {explanation}"),
    ))
}

/// A person.
pub fn person(wire: &v1::Person) -> Result<Person, Status> {
    let v1::Person {
        family_name,
        given_name,
        birth_date,
    } = wire;
    let malformed = |e: &dyn std::fmt::Display| refuse(ErrorCode::Malformed, e);
    let date: Date = birth_date
        .parse()
        .map_err(|e| refuse(ErrorCode::Malformed, format!("`birth_date`: {e}")))?;
    Person::new(family_name, given_name, date, None).map_err(|e| malformed(&e))
}

/// The worker with this id, who is not suspended; without an id the only one there is.
pub(super) fn worker(node: &Node, id: &str) -> Result<Worker, Status> {
    let worker = known_worker(node, id)?;
    question::require_active(node.core.view(), &worker.id).map_err(|code| match code {
        ErrorCode::Suspended => refuse(code, texts::SUSPENDED),
        code => super::refused(code),
    })?;
    Ok(worker)
}

fn known_worker(node: &Node, id: &str) -> Result<Worker, Status> {
    let workers = &node.context.config.workers;
    if let ("", [only]) = (id, workers.as_slice()) {
        return Ok(only.clone());
    }
    node.context.config.worker(id).cloned().ok_or_else(|| {
        let known: Vec<_> = workers.iter().map(|w| w.id.as_str()).collect();
        let known = match known.as_slice() {
            [] => "none: add a [[workers]] block to agent.toml".to_owned(),
            known => known.join(", "),
        };
        // The id typed is not repeated: it may be a name in the wrong field.
        refuse(
            ErrorCode::OutOfRange,
            format!("no such worker in agent.toml; known are {known}"),
        )
    })
}

/// `YYYY-MM-DD` (its first instant in UTC) or `YYYY-MM-DDTHH:MM:SSZ`.
pub fn time(field: &str, text: &str) -> Result<Timestamp, Status> {
    parse_time(text).ok_or_else(|| {
        refuse(
            ErrorCode::Malformed,
            format!("`{field}`: expected YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"),
        )
    })
}

pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let (date, clock) = match text.split_once('T') {
        None => (text, "00:00:00"),
        Some((date, clock)) => (date, clock.strip_suffix('Z')?),
    };
    date.parse::<Date>().ok()?;
    let number = |text: &str, least: u64, most: u64| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let value = text.parse().ok().filter(|_| digits)?;
        (least..=most).contains(&value).then_some(value)
    };
    let parts: Vec<_> = clock.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else {
        return None;
    };
    if [hour, minute, second].iter().any(|part| part.len() != 2) {
        return None;
    }
    let second_of_day =
        number(hour, 0, 23)? * 3_600 + number(minute, 0, 59)? * 60 + number(second, 0, 59)?;
    let parts: Vec<_> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return None;
    };
    let days = days_from_civil(
        number(year, 1970, 9_999)?,
        number(month, 1, 12)?,
        number(day, 1, 31)?,
    );
    Some(Timestamp((days * 86_400 + second_of_day) * 1_000))
}

/// A Gregorian date from 1970 on to days since then: years counted from 1 March, so that the leap
/// day is the last of its year.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back_as_they_are_written() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2024-02-29T23:59:59Z",
            "2026-11-21T14:03:09Z",
            "2100-03-01T00:00:00Z",
        ] {
            assert_eq!(parse_time(text).unwrap().to_rfc3339(), text);
        }
        assert_eq!(parse_time("2026-11-21"), parse_time("2026-11-21T00:00:00Z"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-02-30",
            "1969-12-31",
            "2026-11-21T24:00:00Z",
            "2026-11-21T1:00:00Z",
            "2026-11-21T10:00:00",
            "2026-11-21T10:00Z",
            "2026-11-21T+1:00:00Z",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
