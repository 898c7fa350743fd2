//! What rules, remedies and notices say, in English and French.
//!
//! In scope: the texts of the shipped bundle by key, and rulings in words. Out of scope: the texts
//! of screens and command lines.

use crate::{
    library::{Library, embedded_files},
    problem::{Problem, line_of},
};
use passerelle_model::{
    pdp::{Effect, Obligation, Ruling},
    vocabulary::Language,
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::LazyLock};

/// Longest text, in characters: it must fit where reasons are shown.
const MAX_CHARS: usize = 600;

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// In English.
    pub en: String,
    /// In French, as it is written in Canada.
    pub fr: String,
}

impl Text {
    /// Whether both languages say something, and no more than fits.
    pub(crate) fn is_sound(&self) -> Result<(), String> {
        for (language, words) in [("en", &self.en), ("fr", &self.fr)] {
            if words.trim().is_empty() || words.chars().count() > MAX_CHARS {
                return Err(format!(
                    "in `{language}` is empty or over {MAX_CHARS} characters"
                ));
            }
        }
        Ok(())
    }
}

/// The texts of a bundle.
#[derive(Clone, Debug)]
pub struct Texts(BTreeMap<String, Text>);

impl Texts {
    /// Parses `texts.toml`: a table per key, each with `en` and `fr`.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let texts: BTreeMap<String, Text> =
            toml::from_str(text).map_err(|e| Problem::toml(file, text, &e))?;
        for (key, words) in &texts {
            words.is_sound().map_err(|reason| {
                let line = line_of(text, &format!("[{key}]"));
                Problem::new(file, format!("text `{key}` {reason}")).in_line(line)
            })?;
        }
        Ok(Self(texts))
    }

    /// Adds those of a pack. A key that is taken would change what another rule says.
    pub(crate) fn add(&mut self, file: &str, text: &str) -> Vec<Problem> {
        let more = match Self::parse(file, text) {
            Ok(more) => more,
            Err(problem) => return vec![problem],
        };
        let mut problems = Vec::new();
        for (key, words) in more.0 {
            if self.has(&key) {
                let line = line_of(text, &format!("[{key}]"));
                let taken = Problem::new(file, format!("text `{key}` is there already"));
                problems.push(taken.in_line(line));
            } else {
                self.0.insert(key, words);
            }
        }
        problems
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The text `key`: French in French, English in any other language.
    pub fn text(&self, key: &str, language: Language) -> Option<&str> {
        let text = self.0.get(key)?;
        Some(match language {
            Language::French => &text.fr,
            Language::English
            | Language::Inuktitut
            | Language::Cree
            | Language::Innu
            | Language::Other => &text.en,
        })
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

static EMBEDDED: LazyLock<Option<Library>> =
    LazyLock::new(|| Library::load(&embedded_files()).ok());

/// The text `key` of the shipped bundle: French in French, English in any other language.
pub fn text(key: &str, language: Language) -> Option<&'static str> {
    EMBEDDED.as_ref()?.texts().text(key, language)
}

/// A ruling in words, by the texts of the shipped bundle. See [`Library::explain`].
pub fn explain(ruling: &Ruling, language: Language) -> Vec<String> {
    EMBEDDED
        .as_ref()
        .map(|library| library.explain(ruling, language))
        .unwrap_or_default()
}

impl Library {
    /// A ruling in words: the effect, then a sentence or more for each reason with rule and source
    /// and what can be done, then what it obliges to. A reason without a text shows its key.
    pub fn explain(&self, ruling: &Ruling, language: Language) -> Vec<String> {
        let say = |key: &str| {
            let text = self.texts().text(key, language);
            text.map_or_else(|| key.to_owned(), str::to_owned)
        };
        let effect = match ruling.effect {
            Effect::Permit => "effect-permit",
            Effect::Review => "effect-review",
            Effect::Deny => "effect-deny",
        };
        let mut sentences = vec![say(effect)];
        for reason in &ruling.reasons {
            let mut sentence = format!("{} [{}: {}", say(&reason.text), say("rule"), reason.rule);
            if !reason.source.is_empty() {
                sentence.push_str(&format!("; {}: {}", say("source"), reason.source));
            }
            sentence.push(']');
            sentences.push(sentence);
            if ruling.effect == Effect::Deny
                && let Some(remedy) = self.remedy(&reason.rule)
            {
                sentences.push(say(remedy));
            }
        }
        let obligations = ruling.obligations.iter();
        sentences.extend(obligations.map(|o| self.obligation(o, language)));
        // Two rules may have the same remedy; once is enough.
        let mut seen = std::collections::BTreeSet::new();
        sentences.retain(|s| seen.insert(s.clone()));
        sentences
    }

    /// An obligation in words. A notice or task without a text shows its key.
    pub fn obligation(&self, obligation: &Obligation, language: Language) -> String {
        let say = |key: &str| {
            let text = self.texts().text(key, language);
            text.map_or_else(|| key.to_owned(), str::to_owned)
        };
        match obligation {
            Obligation::RetainDays(days) => {
                say("obligation-retain-days").replace("{n}", &days.to_string())
            }
            Obligation::ReviewWithinHours(hours) => {
                say("obligation-review-within-hours").replace("{n}", &hours.to_string())
            }
            Obligation::NoRedisclosure => say("obligation-no-redisclosure"),
            Obligation::Notice(key) | Obligation::Task(key) => say(key),
            Obligation::SecondApprover => say("obligation-second-approver"),
            Obligation::NotifySubject => say("obligation-notify-subject"),
            Obligation::Alert => say("obligation-alert"),
            Obligation::Mask => say("obligation-mask"),
        }
    }
}

/// Texts that [`Library::explain`] itself uses; a bundle must have them.
pub(crate) const FRAME: &[&str] = &[
    "effect-permit",
    "effect-review",
    "effect-deny",
    "rule",
    "source",
    "obligation-retain-days",
    "obligation-review-within-hours",
    "obligation-no-redisclosure",
    "obligation-second-approver",
    "obligation-notify-subject",
    "obligation-alert",
    "obligation-mask",
];
