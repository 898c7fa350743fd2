//! Short texts: invitations, dates and their formats, names, identifiers, codes.

use crate::Input;
use passerelle_agent::{
    api::input,
    date::{Date, DateFormat, FIRST_YEAR, LAST_YEAR},
    person::{Sex, normalise_name},
};
use passerelle_model::{
    error::ErrorCode,
    ids::{AgencyId, AgreementId, CaseId, ConsentId, FederationId, RequestId},
    vocabulary::{
        Capacity, CaseOutcome, Category, ConsentGiver, ConsentMethod, EmergencyKind, Language,
        LegalBasis, Level, Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
    },
};
use passerelle_proto::{invitation::Invitation, v1};

/// An invitation, a date, a date in a format, a time, a name, an identifier, a code, a person.
pub fn text(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let Some(text) = input.text() else { return };
    match kind % 7 {
        0 => invitation(text),
        1 => date(text),
        2 => format(text),
        3 => time(text),
        4 => name(text),
        5 => codes(text),
        _ => person(text),
    }
}

fn invitation(text: &str) {
    let Ok(invitation) = Invitation::from_text(text) else {
        return;
    };
    assert_eq!(invitation.to_text(), text.trim(), "one spelling");
    assert!(!format!("{invitation:?}").contains(&text.trim()[6..]));
}

fn date(text: &str) {
    let Ok(date) = text.parse::<Date>() else {
        return;
    };
    assert_eq!(date.to_string(), text, "a date has one spelling");
    assert!((FIRST_YEAR..=LAST_YEAR).contains(&date.year()));
    assert!((1..=4).contains(&date.quarter()));
    assert_eq!(date.years_until(date), Some(0));
}

fn format(text: &str) {
    let (format, dates) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(format) = format.parse::<DateFormat>() else {
        return;
    };
    for line in dates.lines() {
        if let Some(date) = format.parse(line) {
            assert_eq!(date.to_string().parse(), Ok(date));
            assert!(line.bytes().filter(u8::is_ascii_digit).count() <= 8);
        }
    }
}

fn time(text: &str) {
    let Ok(at) = input::time("ends", text) else {
        return;
    };
    let written = at.to_rfc3339();
    assert!(written == text || written == format!("{text}T00:00:00Z"));
}

fn name(text: &str) {
    let normal = normalise_name(text);
    assert_eq!(normalise_name(&normal), normal, "not idempotent");
    assert!(!normal.contains(['|', ' ', '-', '\'']));
    if let Ok(Some(sex)) = Sex::parse(text) {
        assert_eq!(Sex::parse(sex.code()).unwrap(), Some(sex));
    }
}

fn codes(text: &str) {
    macro_rules! one_spelling {
        ($($kind:ty),*) => {$(
            if let Ok(value) = text.parse::<$kind>() {
                assert_eq!(value.to_string(), text);
                let json = serde_json::to_string(&value).unwrap();
                assert_eq!(serde_json::from_str::<$kind>(&json).unwrap(), value);
            }
        )*};
    }
    one_spelling!(
        AgencyId,
        FederationId,
        RequestId,
        CaseId,
        ConsentId,
        AgreementId
    );
    one_spelling!(
        Sector,
        WorkerRole,
        Category,
        Level,
        Purpose,
        LegalBasis,
        EmergencyKind
    );
    one_spelling!(
        Stage,
        Profile,
        Threshold,
        CaseOutcome,
        ConsentGiver,
        ConsentMethod
    );
    one_spelling!(Capacity, Language);
    if let Ok(code) = text.parse::<ErrorCode>() {
        assert_eq!(code.code(), text);
    }
}

fn person(text: &str) {
    let mut lines = text.split('\n').map(str::to_owned);
    let wire = v1::Person {
        family_name: lines.next().unwrap_or_default(),
        given_name: lines.next().unwrap_or_default(),
        birth_date: lines.next().unwrap_or_default(),
    };
    let Ok(person) = input::person(&wire) else {
        return;
    };
    let token = String::from_utf8(person.match_token()).unwrap();
    assert_eq!(token.split('|').count(), 4, "a field in another's place");
    assert!(token.split('|').all(|field| !field.is_empty()));
    let json = serde_json::to_string(&person).unwrap();
    let again: passerelle_agent::person::Person = serde_json::from_str(&json).unwrap();
    assert_eq!(again.match_token(), token.as_bytes());
    assert!(again == person);
}
