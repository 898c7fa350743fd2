//! An exercise's file, as far as playing it on real nodes needs it. The form is checked where
//! exercises are played (`passerelle exercise check`); what is not known here is not passed over.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

/// When every exercise begins, in seconds since 1970: 2026-01-05, a Monday, at midnight (UTC).
pub(crate) const BEGIN_S: i64 = 1_767_571_200;
const DAY_S: i64 = 86_400;

#[derive(Debug, Deserialize)]
pub(crate) struct Script {
    pub(crate) agencies: BTreeMap<String, Agency>,
    pub(crate) workers: BTreeMap<String, Worker>,
    pub(crate) people: BTreeMap<String, Person>,
    #[serde(default)]
    pub(crate) facts: Vec<Fact>,
    pub(crate) events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Agency {
    pub(crate) sector: String,
    pub(crate) population: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Worker {
    pub(crate) agency: String,
    pub(crate) role: String,
    #[serde(default = "yes")]
    pub(crate) trained: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
pub(crate) struct Person {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) spelled: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Fact {
    pub(crate) holder: String,
    pub(crate) person: String,
    pub(crate) category: String,
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) record: Record,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Record {
    pub(crate) specially_protected: bool,
    pub(crate) youth_record: bool,
    pub(crate) third_party_at_risk: bool,
    pub(crate) restricted: bool,
    pub(crate) sensitivity: u8,
}

/// What parties see of a question, by party.
pub(crate) type Views = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) at: String,
    #[serde(rename = "say")]
    pub(crate) _say: Option<serde_json::Value>,
    pub(crate) consent: Option<Consent>,
    pub(crate) withdraw: Option<Withdraw>,
    pub(crate) agreement: Option<Agreement>,
    pub(crate) sign: Option<Sign>,
    pub(crate) open_case: Option<OpenCase>,
    pub(crate) advance: Option<Advance>,
    pub(crate) ask: Option<Ask>,
    pub(crate) answer: Option<Answer>,
    pub(crate) erase: Option<String>,
    pub(crate) away: Option<String>,
    pub(crate) back: Option<String>,
    pub(crate) refused: Option<String>,
    #[serde(default)]
    pub(crate) then: BTreeMap<String, Views>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Consent {
    pub(crate) id: String,
    pub(crate) person: String,
    pub(crate) by: String,
    pub(crate) giver: Option<String>,
    pub(crate) capacity: Option<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) purposes: Vec<String>,
    pub(crate) recipients: Vec<String>,
    pub(crate) disclosers: Vec<String>,
    pub(crate) method: Option<String>,
    pub(crate) lasts_days: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Withdraw {
    pub(crate) consent: String,
    pub(crate) at: String,
    pub(crate) recipient: Option<String>,
    pub(crate) category: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    pub(crate) id: String,
    pub(crate) by: String,
    pub(crate) parties: BTreeMap<String, String>,
    pub(crate) purposes: Vec<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) starts: Option<String>,
    pub(crate) ends: String,
    #[serde(default)]
    pub(crate) unsigned: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) category: String,
    pub(crate) level: String,
    pub(crate) retention_days: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sign {
    pub(crate) agreement: String,
    pub(crate) by: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenCase {
    pub(crate) id: String,
    pub(crate) by: String,
    pub(crate) profile: Option<String>,
    pub(crate) agencies: Vec<String>,
    pub(crate) person: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Advance {
    pub(crate) case: String,
    pub(crate) stage: String,
    pub(crate) threshold: Option<String>,
    #[serde(default)]
    pub(crate) agencies: Vec<String>,
    #[serde(default)]
    pub(crate) plan: Vec<String>,
    /// Whoever the lead named when it opened the case: it sends nobody else.
    #[serde(rename = "person")]
    pub(crate) _person: Option<String>,
    pub(crate) outcome: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    pub(crate) id: String,
    pub(crate) by: String,
    pub(crate) to: String,
    pub(crate) about: Option<String>,
    pub(crate) items: Vec<Item>,
    pub(crate) purpose: String,
    pub(crate) basis: String,
    pub(crate) case: Option<String>,
    pub(crate) consent: Option<String>,
    pub(crate) agreement: Option<String>,
    pub(crate) emergency: Option<String>,
    #[serde(default)]
    pub(crate) near: bool,
    pub(crate) lasts_hours: Option<u64>,
    #[serde(rename = "why")]
    pub(crate) _why: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) expect: BTreeMap<String, Expected>,
    #[serde(default)]
    pub(crate) sees: Views,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    pub(crate) category: String,
    pub(crate) level: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) decision: String,
    pub(crate) rules: Option<Vec<String>>,
    pub(crate) obligations: Option<String>,
    pub(crate) said: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub(crate) question: String,
    pub(crate) by: String,
    pub(crate) verdict: String,
    pub(crate) record: Option<String>,
}

/// Reads a file.
pub(crate) fn read(text: &str) -> Result<Script> {
    Ok(serde_saphyr::from_str(text)?)
}

/// `day 2 14:00` or `day 2 14:00:30`, in seconds since 1970.
pub(crate) fn moment(text: &str) -> Result<i64> {
    let rest = text.strip_prefix("day ").context("no day")?;
    let (day, time) = rest.split_once(' ').context("no time")?;
    let mut parts = time.split(':').map(str::parse::<i64>);
    let hours = parts.next().context("no hour")??;
    let minutes = parts.next().context("no minute")??;
    let seconds = parts.next().transpose()?.unwrap_or(0);
    let day: i64 = day.parse()?;
    ensure!(day >= 1, "days count from 1");
    Ok(BEGIN_S + (day - 1) * DAY_S + hours * 3_600 + minutes * 60 + seconds)
}
