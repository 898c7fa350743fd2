//! The file of an exercise, as it is written: YAML, every field named, nothing guessed.
//!
//! In scope: the form. Out of scope: whether the names in it stand for something (`check`).
//!
//! Whatever names something else carries its place in the file, so that an error can say where.

use super::moment::Moment;
use crate::{alike::Generalised, local::RecordFacts};
use passerelle_model::{
    pdp::Effect,
    vocabulary::{
        Capacity, CaseOutcome, Category, ConsentGiver, ConsentMethod, EmergencyKind, Language,
        LegalBasis, Level, Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
    },
};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

/// A name used somewhere, and where.
pub(crate) type Name = Spanned<String>;

/// Words in both languages. Neither may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "RawText")]
pub struct Text {
    /// English.
    pub en: String,
    /// French.
    pub fr: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawText {
    en: String,
    fr: String,
}

/// Longest text, in characters.
const MAX_TEXT_CHARS: usize = 2_000;

impl TryFrom<RawText> for Text {
    type Error = String;

    fn try_from(RawText { en, fr }: RawText) -> Result<Self, String> {
        for (language, words) in [("en", &en), ("fr", &fr)] {
            if words.trim().is_empty() || words.chars().count() > MAX_TEXT_CHARS {
                return Err(format!(
                    "the text in `{language}` is empty or over {MAX_TEXT_CHARS} characters"
                ));
            }
        }
        Ok(Self { en, fr })
    }
}

impl Text {
    /// The words in French, or else in English.
    pub fn say(&self, french: bool) -> &str {
        if french { &self.fr } else { &self.en }
    }
}

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) title: Text,
    pub(crate) about: Option<Text>,
    pub(crate) agencies: BTreeMap<String, Spanned<AgencyEntry>>,
    pub(crate) workers: BTreeMap<String, Spanned<WorkerEntry>>,
    pub(crate) people: BTreeMap<String, Spanned<PersonEntry>>,
    #[serde(default)]
    pub(crate) facts: Vec<FactEntry>,
    pub(crate) events: Vec<Spanned<Event>>,
    #[serde(default)]
    pub(crate) discuss: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgencyEntry {
    pub(crate) sector: Sector,
    pub(crate) name: Text,
    /// How many people live where it works, if it says so.
    pub(crate) population: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerEntry {
    pub(crate) agency: Name,
    pub(crate) role: WorkerRole,
    #[serde(default = "yes")]
    pub(crate) trained: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonEntry {
    pub(crate) name: String,
    /// How an agency writes the name, where it writes it otherwise.
    #[serde(default)]
    pub(crate) spelled: BTreeMap<String, Spanned<String>>,
    pub(crate) about: Option<Text>,
}

/// That an agency has something on record. What exactly is for the table to imagine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FactEntry {
    pub(crate) holder: Name,
    pub(crate) person: Name,
    pub(crate) category: Category,
    /// The code on record, where the exercise is about what codes tell.
    pub(crate) code: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) record: RecordFacts,
}

/// One event: when, what is told of it, and at most one thing that happens.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Event {
    pub(crate) at: Option<Moment>,
    pub(crate) say: Option<Text>,
    pub(crate) consent: Option<ConsentEvent>,
    pub(crate) withdraw: Option<WithdrawEvent>,
    pub(crate) agreement: Option<AgreementEvent>,
    pub(crate) sign: Option<SignEvent>,
    pub(crate) open_case: Option<OpenEvent>,
    pub(crate) advance: Option<AdvanceEvent>,
    pub(crate) ask: Option<Box<AskEvent>>,
    pub(crate) answer: Option<AnswerEvent>,
    pub(crate) erase: Option<Name>,
    pub(crate) away: Option<Name>,
    pub(crate) back: Option<Name>,
    pub(crate) revoke: Option<Name>,
    /// That the state machine refuses this, with this error code.
    pub(crate) refused: Option<Spanned<String>>,
    /// What parties see of earlier questions after this.
    pub(crate) then: BTreeMap<String, Spanned<BTreeMap<String, View>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsentEvent {
    pub(crate) id: Name,
    pub(crate) person: Name,
    pub(crate) by: Name,
    #[serde(default = "by_self")]
    pub(crate) giver: ConsentGiver,
    #[serde(default = "capable")]
    pub(crate) capacity: Capacity,
    pub(crate) categories: Vec<Category>,
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) recipients: Vec<Name>,
    pub(crate) disclosers: Vec<Name>,
    #[serde(default = "written")]
    pub(crate) method: ConsentMethod,
    #[serde(default = "french")]
    pub(crate) language: Language,
    #[serde(default)]
    pub(crate) redisclosure: bool,
    #[serde(default = "half_a_year")]
    pub(crate) lasts_days: u16,
}

const fn by_self() -> ConsentGiver {
    ConsentGiver::Subject
}
const fn capable() -> Capacity {
    Capacity::Capable
}
const fn written() -> ConsentMethod {
    ConsentMethod::Written
}
const fn french() -> Language {
    Language::French
}
const fn half_a_year() -> u16 {
    180
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithdrawEvent {
    pub(crate) consent: Name,
    /// The agency at which the person withdraws.
    pub(crate) at: Name,
    pub(crate) recipient: Option<Name>,
    pub(crate) category: Option<Category>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgreementEvent {
    pub(crate) id: Name,
    pub(crate) by: Name,
    /// Each party with its basis in law.
    pub(crate) parties: BTreeMap<String, Spanned<LegalBasis>>,
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) lines: Vec<LineEntry>,
    /// In force from; at once when absent.
    pub(crate) starts: Option<Moment>,
    pub(crate) ends: Moment,
    /// The others sign at once, unless this says that each will later.
    #[serde(default)]
    pub(crate) unsigned: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineEntry {
    pub(crate) from: Name,
    pub(crate) to: Name,
    pub(crate) category: Category,
    pub(crate) level: Level,
    #[serde(default = "quarter")]
    pub(crate) retention_days: u16,
}

const fn quarter() -> u16 {
    90
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignEvent {
    pub(crate) agreement: Name,
    pub(crate) by: Name,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenEvent {
    pub(crate) id: Name,
    pub(crate) by: Name,
    #[serde(default = "table")]
    pub(crate) profile: Profile,
    pub(crate) agencies: Vec<Name>,
    /// Whom it is about, which until stage 3 only the agency that opens it knows.
    pub(crate) person: Option<Name>,
}

const fn table() -> Profile {
    Profile::SituationTable
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdvanceEvent {
    pub(crate) case: Name,
    /// The lead agency when absent.
    pub(crate) by: Option<Name>,
    pub(crate) stage: Stage,
    #[serde(default = "pending")]
    pub(crate) threshold: Threshold,
    #[serde(default)]
    pub(crate) agencies: Vec<Name>,
    #[serde(default)]
    pub(crate) plan: Vec<Category>,
    pub(crate) person: Option<Name>,
    pub(crate) outcome: Option<CaseOutcome>,
}

const fn pending() -> Threshold {
    Threshold::Pending
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskEvent {
    pub(crate) id: Name,
    pub(crate) by: Name,
    pub(crate) to: Name,
    /// Nobody in particular when absent.
    pub(crate) about: Option<Name>,
    pub(crate) items: Vec<ItemEntry>,
    pub(crate) purpose: Purpose,
    pub(crate) basis: LegalBasis,
    pub(crate) case: Option<Name>,
    pub(crate) consent: Option<Name>,
    pub(crate) agreement: Option<Name>,
    pub(crate) emergency: Option<EmergencyKind>,
    /// Whether a person at the holder looks for other spellings too.
    #[serde(default)]
    pub(crate) near: bool,
    #[serde(default = "week")]
    pub(crate) lasts_hours: u16,
    pub(crate) why: Option<Text>,
    #[serde(default)]
    pub(crate) expect: BTreeMap<Category, Spanned<ExpectEntry>>,
    pub(crate) sees: Option<Spanned<BTreeMap<String, View>>>,
}

const fn week() -> u16 {
    168
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemEntry {
    pub(crate) category: Category,
    pub(crate) level: Level,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectEntry {
    pub(crate) decision: Effect,
    /// All rules, in any order; not compared when absent.
    pub(crate) rules: Option<Vec<String>>,
    /// As in the annotation `@obligation`; not compared when absent.
    pub(crate) obligations: Option<String>,
    /// How finely it is told; not compared when absent.
    pub(crate) said: Option<Said>,
}

/// How finely a code is told that is not to say who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// As it is on record.
    AsRecorded,
    /// A wider band of age.
    WiderBand,
    /// The group of a risk factor.
    Group,
    /// Not at all.
    Withheld,
}

impl From<Option<Generalised>> for Said {
    fn from(how: Option<Generalised>) -> Self {
        match how {
            None => Self::AsRecorded,
            Some(Generalised::WiderBand) => Self::WiderBand,
            Some(Generalised::Group) => Self::Group,
            Some(Generalised::Withheld) => Self::Withheld,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerEvent {
    pub(crate) question: Name,
    pub(crate) by: Name,
    pub(crate) verdict: Verdict,
    /// With `approve`: whose record it is about, that the holder writes otherwise.
    pub(crate) record: Option<Name>,
}

/// What a person at the holder decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Agrees: what the holder's own policy allows leaves.
    Approve,
    /// Declines, and says so.
    Decline,
    /// Neither confirms nor denies.
    CannotSay,
}

/// What one party sees of a question at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum View {
    /// Nothing at all: it is not told that anything was asked.
    Nothing,
    /// That it was denied, with the reasons.
    Denied,
    /// That no answer has come yet.
    Waits,
    /// That a person has to decide whether to answer.
    Reviews,
    /// That an answer crossed; which, is sealed.
    Answered,
    /// The facts that were released.
    Facts,
    /// That the holder declines.
    Declined,
    /// That the holder cannot say: no record, or one that may not be spoken of.
    CannotSay,
    /// That it was stopped: what it rested on is gone.
    Stopped,
    /// That what was received rested on a consent that is now withdrawn.
    Recalled,
    /// That no answer came in time.
    Expired,
    /// That the answer was received and has been erased.
    Erased,
    /// An entry in the log: codes, rule and outcome of the decision, no name and no fact.
    Entry,
}

impl View {
    /// The code, as it stands in files.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Denied => "denied",
            Self::Waits => "waits",
            Self::Reviews => "reviews",
            Self::Answered => "answered",
            Self::Facts => "facts",
            Self::Declined => "declined",
            Self::CannotSay => "cannot_say",
            Self::Stopped => "stopped",
            Self::Recalled => "recalled",
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::Entry => "entry",
        }
    }
}
