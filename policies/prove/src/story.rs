//! A request in words: who asks whom for what, why, in which state, and by which rules.
//!
//! In scope: English and Canadian French. Out of scope: finding the request.

use crate::{
    invariants::Words,
    request::{Concrete, Root},
};
use passerelle_model::vocabulary::Language;
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

type Glossary = BTreeMap<String, BTreeMap<String, Words>>;

/// Empty if it can't be read, which a test would see: codes then stand for themselves.
static GLOSSARY: LazyLock<Glossary> =
    LazyLock::new(|| toml::from_str(include_str!("words.toml")).unwrap_or_default());

/// A request that shows something, with the rules by which it is allowed.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    /// The action that is allowed.
    pub action: String,
    /// The rules that permit it.
    pub rules: BTreeSet<String>,
    /// English, line by line.
    pub en: Vec<String>,
    /// Canadian French, line by line.
    pub fr: Vec<String>,
    /// The request itself, for any Cedar.
    pub request: Concrete,
}

impl Story {
    pub(crate) fn new(request: Concrete, rules: BTreeSet<String>) -> Self {
        let tell = |french| {
            Teller {
                request: &request,
                french,
            }
            .lines(&rules)
        };
        Self {
            action: request.action().to_owned(),
            en: tell(false),
            fr: tell(true),
            rules,
            request,
        }
    }

    /// The lines in this language: French in French, English in any other.
    pub fn lines(&self, language: Language) -> &[String] {
        match language {
            Language::French => &self.fr,
            Language::English
            | Language::Inuktitut
            | Language::Cree
            | Language::Innu
            | Language::Other => &self.en,
        }
    }
}

struct Teller<'a> {
    request: &'a Concrete,
    french: bool,
}

use Root::{Context, Principal, Resource};

impl Teller<'_> {
    fn say(&self, en: &str, fr: &str) -> String {
        if self.french { fr } else { en }.to_owned()
    }

    fn word(&self, kind: &str, code: &str) -> String {
        let words = GLOSSARY.get(kind).and_then(|codes| codes.get(code));
        words.map_or_else(|| format!("`{code}`"), |w| self.say(&w.en, &w.fr))
    }

    fn code(&self, kind: &str, root: Root, path: &[&str]) -> String {
        let code = self.request.code(root, path).unwrap_or_default();
        self.word(kind, &code)
    }

    fn is(&self, root: Root, path: &[&str]) -> bool {
        self.request.flag(root, path) == Some(true)
    }

    fn line(&self, en: &str, fr: &str, what: &[String]) -> String {
        let colon = if self.french { "\u{a0}: " } else { ": " };
        format!("{}{colon}{}", self.say(en, fr), what.join("; "))
    }

    fn lines(&self, rules: &BTreeSet<String>) -> Vec<String> {
        let action = self.word("action", self.request.action());
        let rules: Vec<_> = rules.iter().map(|rule| format!("`{rule}`")).collect();
        let by = self.say("permitted by", "autorisé par");
        vec![
            self.line("Who asks", "Qui demande", &self.asks()),
            self.line("Who is asked", "À qui", &self.asked()),
            self.line("For what", "Quoi", &self.what()),
            self.line("Why", "Pourquoi", &self.why()),
            self.line("Case", "Dossier", &self.case()),
            self.line("Consent", "Consentement", &self.consent()),
            self.line("Agreement", "Entente", &self.agreement()),
            self.line("Emergency", "Urgence", &self.emergency()),
            self.line(
                "What happens",
                "Ce qui arrive",
                &[action, format!("{by} {}", rules.join(", "))],
            ),
        ]
    }

    fn asks(&self) -> Vec<String> {
        let mut told = vec![
            self.code("sector", Principal, &["agency", "sector"]),
            self.code("role", Principal, &["role"]),
            if self.is(Principal, &["trained"]) {
                self.say("training current", "formation à jour")
            } else {
                self.say("training not current", "formation non à jour")
            },
        ];
        if !self.is(Principal, &["agency", "active"]) {
            told.push(self.say("the agency is suspended", "l'organisme est suspendu"));
        }
        told
    }

    fn asked(&self) -> Vec<String> {
        let mut told = vec![self.code("sector", Resource, &["holder", "sector"])];
        if self.request.agency(Principal) == self.request.agency(Resource) {
            told.push(self.say("the same agency", "le même organisme"));
        }
        if !self.is(Resource, &["holder", "active"]) {
            told.push(self.say("the agency is suspended", "l'organisme est suspendu"));
        }
        told
    }

    fn level(&self, path: &[&str]) -> String {
        let level = self.request.number(Resource, path).unwrap_or_default();
        let rank = level.to_string();
        format!("{rank} ({})", self.word("level", &rank))
    }

    fn what(&self) -> Vec<String> {
        let category = self.request.code(Resource, &["category", "code"]);
        let category = category.unwrap_or_default();
        let level = self.say("level", "niveau");
        vec![
            format!("{} (`{category}`)", self.word("category", &category)),
            format!("{level} {}", self.level(&["level"])),
            format!(
                "{} {}",
                self.say("the purpose needs at most", "la finalité demande au plus"),
                self.level(&["max_level"])
            ),
        ]
    }

    fn why(&self) -> Vec<String> {
        let purpose = self.say("purpose", "finalité");
        let basis = self.request.code(Context, &["basis", "code"]);
        let basis = basis.unwrap_or_default();
        vec![
            format!("{purpose} {}", self.code("purpose", Context, &["purpose"])),
            format!("{} `{basis}`", self.say("basis", "fondement")),
            if self.is(Context, &["identified"]) {
                self.say("about a person", "au sujet d'une personne")
            } else {
                self.say(
                    "about nobody in particular",
                    "au sujet de personne en particulier",
                )
            },
        ]
    }

    fn none(&self) -> Vec<String> {
        vec![self.say("none", "aucun")]
    }

    fn case(&self) -> Vec<String> {
        if !self.request.has("case") {
            return self.none();
        }
        let closed = if self.is(Context, &["case", "closed"]) {
            self.say("closed", "fermé")
        } else {
            self.say("open", "ouvert")
        };
        let subject = match (
            self.is(Context, &["case", "subject_known"]),
            self.is(Context, &["case", "same_subject"]),
        ) {
            (true, true) => self.say("about the same person", "au sujet de la même personne"),
            (true, false) => self.say("about another person", "au sujet d'une autre personne"),
            (false, _) => self.say("it names nobody", "il ne nomme personne"),
        };
        let asks = self.say("who asks", "qui demande");
        let asked = self.say("who is asked", "à qui l'on demande");
        let role = |name| self.code("case_role", Context, &["case", name]);
        let colon = if self.french { "\u{a0}:" } else { ":" };
        let asked_for = self.request.at(Resource, &["category", "code"]);
        let planned = if self.holds(&["case", "plan"], asked_for) {
            self.say("in the plan", "au plan")
        } else {
            self.say("not in the plan", "absent du plan")
        };
        vec![
            self.code("profile", Context, &["case", "profile"]),
            self.code("stage", Context, &["case", "stage"]),
            self.code("threshold", Context, &["case", "threshold"]),
            closed,
            format!("{asks}{colon} {}", role("requester_role")),
            format!("{asked}{colon} {}", role("holder_role")),
            subject,
            planned,
        ]
    }

    fn holds(&self, path: &[&str], member: Option<&Value>) -> bool {
        let members = self.request.members(Context, path);
        members.is_some_and(|members| member.is_some_and(|m| members.contains(m)))
    }

    fn period(&self, paper: &str, from: &str, until: &str) -> String {
        let at = self.request.number(Context, &["at"]).unwrap_or_default();
        let time = |name| {
            self.request
                .number(Context, &[paper, name])
                .unwrap_or_default()
        };
        if at < time(from) {
            self.say("not yet in force", "pas encore en vigueur")
        } else if at >= time(until) {
            self.say("ended", "échu")
        } else {
            self.say("in force", "en vigueur")
        }
    }

    /// What of the request a paper leaves out.
    fn covers(&self, wanted: &[(&[&str], Option<Value>, &str, &str)]) -> String {
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(path, member, _, _)| !self.holds(path, member.as_ref()))
            .map(|(_, _, en, fr)| self.say(en, fr))
            .collect();
        if missing.is_empty() {
            self.say("covers the request", "couvre la demande")
        } else {
            let lead = self.say("does not name", "ne nomme pas");
            format!("{lead} {}", missing.join(", "))
        }
    }

    fn consent(&self) -> Vec<String> {
        if !self.request.has("consent") {
            return self.none();
        }
        let own = |root, path: &[&str]| self.request.at(root, path).cloned();
        let covers = self.covers(&[
            (
                &["consent", "categories"],
                own(Resource, &["category", "code"]),
                "the category",
                "la catégorie",
            ),
            (
                &["consent", "purposes"],
                own(Context, &["purpose"]),
                "the purpose",
                "la finalité",
            ),
            (
                &["consent", "recipients"],
                self.request.agency(Principal),
                "the recipient",
                "le destinataire",
            ),
            (
                &["consent", "disclosers"],
                self.request.agency(Resource),
                "the holder",
                "le détenteur",
            ),
        ]);
        let mut told = vec![
            self.code("giver", Context, &["consent", "giver"]),
            self.code("capacity", Context, &["consent", "capacity"]),
            self.period("consent", "given_at", "expires_at"),
            covers,
        ];
        if self.is(Context, &["consent", "withdrawn"]) {
            told.push(self.say("withdrawn", "retiré"));
        }
        if !self.is(Context, &["consent", "recorded_by_holder"]) {
            told.push(self.say(
                "recorded by another agency",
                "consigné par un autre organisme",
            ));
        }
        if self.is(Context, &["consent", "redisclosure"]) {
            told.push(self.say("may be passed on", "peut être communiqué à d'autres"));
        }
        told
    }

    fn agreement(&self) -> Vec<String> {
        if !self.request.has("agreement") {
            return vec![self.say("none", "aucune")];
        }
        let signed = if self.is(Context, &["agreement", "signed_by_all"]) {
            self.say("signed by all", "signée par toutes les parties")
        } else {
            self.say("not signed by all", "non signée par toutes les parties")
        };
        let covers = self.covers(&[
            (
                &["agreement", "purposes"],
                self.request.at(Context, &["purpose"]).cloned(),
                "the purpose",
                "la finalité",
            ),
            (
                &["agreement", "bases"],
                self.request.at(Context, &["basis"]).cloned(),
                "the basis",
                "le fondement",
            ),
            (
                &["agreement", "parties"],
                self.request.agency(Principal),
                "who asks",
                "qui demande",
            ),
            (
                &["agreement", "parties"],
                self.request.agency(Resource),
                "who is asked",
                "à qui l'on demande",
            ),
        ]);
        let line = match self
            .request
            .number(Context, &["agreement", "line", "level"])
        {
            None => self.say("no line for this", "aucune ligne pour cela"),
            Some(level) => {
                let lead = self.say("its line goes to level", "sa ligne va jusqu'au niveau");
                format!("{lead} {level}")
            }
        };
        let period = self.period("agreement", "starts_at", "ends_at");
        let state = self.code("agreement_state", Context, &["agreement", "state"]);
        vec![signed, state, period, covers, line]
    }

    fn emergency(&self) -> Vec<String> {
        if !self.request.has("emergency") {
            return vec![self.say("none claimed", "aucune invoquée")];
        }
        let kind = self.request.at(Context, &["emergency"]);
        let served = if self.holds(&["basis", "emergencies"], kind) {
            self.say(
                "the basis is made for it",
                "le fondement est fait pour elle",
            )
        } else {
            self.say(
                "the basis is not made for it",
                "le fondement n'est pas fait pour elle",
            )
        };
        vec![self.code("emergency", Context, &["emergency"]), served]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_model::vocabulary::{
        AgreementState, Capacity, CaseRole, Category, ConsentGiver, EmergencyKind, Level, Profile,
        Purpose, Sector, Stage, Threshold, WorkerRole,
    };

    #[test]
    fn every_code_of_a_story_has_words_in_both_languages() {
        let glossary: Glossary = toml::from_str(include_str!("words.toml")).unwrap();
        let mut wanted: Vec<(&str, String)> = Vec::new();
        macro_rules! codes {
            ($($kind:literal: $vocabulary:ty),* $(,)?) => {
                $(wanted.extend(<$vocabulary>::ALL.iter().map(|c| ($kind, c.to_string())));)*
            };
        }
        codes! {
            "sector": Sector, "role": WorkerRole, "category": Category, "purpose": Purpose,
            "stage": Stage, "profile": Profile, "threshold": Threshold, "case_role": CaseRole,
            "agreement_state": AgreementState, "giver": ConsentGiver, "capacity": Capacity, "emergency": EmergencyKind,
        }
        wanted.extend(Level::ALL.iter().map(|l| ("level", l.rank().to_string())));
        let actions = [
            "release",
            "release_with_review",
            "override",
            "override_with_review",
        ];
        wanted.extend(actions.map(|action| ("action", action.to_owned())));
        for (kind, code) in wanted {
            let words = glossary[kind].get(&code);
            let words = words.unwrap_or_else(|| panic!("`{kind}` lacks `{code}`"));
            assert!(!words.en.is_empty() && !words.fr.is_empty(), "{code}");
        }
    }
}
