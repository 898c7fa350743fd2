//! What the printed account says, in English and French. Every word has both: a language is an
//! arm of a match, a word a line of a table, so none can be missing.

use super::Outcome;
use passerelle_model::vocabulary::{Category, EmergencyKind, Level, Purpose};

/// A language of the printed account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// English.
    #[default]
    English,
    /// French.
    French,
}

impl Lang {
    /// The language tag (BCP 47).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }
}

macro_rules! words {
    ($($word:ident: $english:literal, $french:literal;)*) => {
        /// A sentence or label of the page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Word { $($word,)* }

        impl Word {
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$word,)*];

            pub(super) const fn say(self, lang: Lang) -> &'static str {
                match (self, lang) {
                    $((Self::$word, Lang::English) => $english,
                      (Self::$word, Lang::French) => $french,)*
                }
            }
        }
    };
}

words! {
    Title: "Accounting of disclosures", "Relevé des communications de renseignements";
    Intro: "Who asked for information about you through this network, who answered, and why. \
        Requests that were refused are listed too.",
        "Qui a demandé des renseignements à votre sujet par ce réseau, qui a répondu, et \
        pourquoi. Les demandes refusées figurent aussi dans la liste.";
    Network: "Network", "Réseau";
    UpTo: "Complete up to", "Complet jusqu’au";
    Nothing: "Nothing up to now", "Rien jusqu’à présent";
    Person: "Pseudonym (beginning)", "Pseudonyme (début)";
    Caption: "Requests and answers, oldest first",
        "Demandes et réponses, de la plus ancienne à la plus récente";
    When: "Date (UTC)", "Date (UTC)";
    Recipient: "Asked and received by", "Demandé et reçu par";
    Source: "Held by", "Détenu par";
    What: "What", "Quoi";
    Why: "Purpose", "But";
    Ground: "Basis", "Fondement";
    Came: "What came of it", "Résultat";
    Proof: "Entry", "Inscription";
    None: "Nothing is recorded.", "Rien n’est inscrit.";
    Unknown: "not known", "inconnu";
    ByConsent: "consent", "consentement";
    ByAgreement: "sharing agreement", "entente de communication";
    LegalBasis: "basis in law", "base légale";
    Emergency: "emergency", "urgence";
    Destroyed: "The recipient confirmed that it has destroyed it.",
        "Le destinataire a confirmé l’avoir détruit.";
    Recalled: "The consent was withdrawn since; the recipient was told.",
        "Le consentement a été retiré depuis; le destinataire en a été avisé.";
    NotGiven: "not given", "non communiqué";
    Others: "Other exchanges in this extract of the log that don’t say about whom they are:",
        "Autres échanges de cet extrait du registre qui ne disent pas qui ils concernent :";
    OthersMean: "Only the agencies concerned can say whether one of them is about you. Ask them.",
        "Seuls les organismes concernés peuvent dire si l’un d’eux vous concerne. \
        Adressez-vous à eux.";
    LeftOut: "The law allows or obliges some entries to be left out for a time. If that has been \
        done, they will be shown later.",
        "La loi permet ou impose que certaines inscriptions soient omises pour un temps. Le cas \
        échéant, elles seront montrées plus tard.";
    HowChecked: "This page was made from a signed log. Root of the log, for those who check it:",
        "Cette page provient d’un registre signé. Racine du registre, pour qui veut vérifier :";
    Entries: "entries", "inscriptions";
}

/// What came of it, as a sentence.
pub(super) const fn outcome(outcome: Outcome, lang: Lang) -> &'static str {
    match (outcome, lang) {
        (Outcome::Open, Lang::English) => "Not settled yet.",
        (Outcome::Open, Lang::French) => "Pas encore réglé.",
        (Outcome::Answered, Lang::English) => {
            "Answered. The answer is sealed: it may have held information, or none."
        }
        (Outcome::Answered, Lang::French) => {
            "Répondu. La réponse est scellée : elle contenait peut-être des renseignements, \
             peut-être aucun."
        }
        (Outcome::Released, Lang::English) => "Answered with information.",
        (Outcome::Released, Lang::French) => "Renseignements communiqués.",
        (Outcome::Declined, Lang::English) => "The holder declined. Nothing was disclosed.",
        (Outcome::Declined, Lang::French) => "Le détenteur a décliné. Rien n’a été communiqué.",
        (Outcome::CannotSay, Lang::English) => "“Cannot say.” Nothing was disclosed.",
        (Outcome::CannotSay, Lang::French) => "« Ne peut le dire. » Rien n’a été communiqué.",
        (Outcome::Denied, Lang::English) => "Refused by the rules. Nothing was disclosed.",
        (Outcome::Denied, Lang::French) => "Refusé par les règles. Rien n’a été communiqué.",
        (Outcome::Stopped, Lang::English) => "Stopped before an answer. Nothing was disclosed.",
        (Outcome::Stopped, Lang::French) => "Arrêté avant la réponse. Rien n’a été communiqué.",
        (Outcome::Expired, Lang::English) => "Not answered in time. Nothing was disclosed.",
        (Outcome::Expired, Lang::French) => "Sans réponse à temps. Rien n’a été communiqué.",
        (Outcome::Refused, Lang::English) => "Not accepted by the network.",
        (Outcome::Refused, Lang::French) => "Non accepté par le réseau.",
    }
}

/// What an answer may be about.
pub(super) const fn category(category: Category, lang: Lang) -> &'static str {
    use Category as C;
    let (english, french) = match category {
        C::Gender => ("gender", "genre"),
        C::AgeBand => ("age band", "tranche d’âge"),
        C::RiskFactors => ("risk factors", "facteurs de risque"),
        C::Name => ("name", "nom"),
        C::ContactDates => (
            "dates of contact with police",
            "dates de contact avec la police",
        ),
        C::SafetyFlag => ("safety flag", "signalement de sécurité"),
        C::CallType => ("types of calls", "types d’appels"),
        C::Charges => ("charges", "accusations"),
        C::YouthRecord => ("youth record", "dossier d’adolescent"),
        C::Intelligence => ("police intelligence", "renseignement policier"),
        C::Location => ("location", "lieu"),
        C::InService => ("whether in service", "suivi en cours ou non"),
        C::AppointmentStatus => (
            "appointments kept or missed",
            "rendez-vous tenus ou manqués",
        ),
        C::ClinicianContact => ("clinician to call", "clinicien à joindre"),
        C::CrisisRisk => ("risk of crisis", "risque de crise"),
        C::Diagnosis => ("diagnosis", "diagnostic"),
        C::Medication => ("medication", "médication"),
        C::SudTreatment => (
            "treatment of a substance-use disorder",
            "traitement d’un trouble lié à l’usage de substances",
        ),
        C::PsychotherapyNotes => ("psychotherapy notes", "notes de psychothérapie"),
        C::Enrolled => ("school enrolment", "inscription scolaire"),
        C::Attendance => ("school attendance", "assiduité scolaire"),
        C::Behaviour => ("behaviour at school", "comportement à l’école"),
        C::EducationRecord => ("education record", "dossier scolaire"),
        C::OpenFile => (
            "open file at social services",
            "dossier ouvert aux services sociaux",
        ),
        C::Placement => ("placement", "placement"),
        C::ProtectionReport => ("protection report", "signalement à la protection"),
        C::TenureRisk => ("housing at risk", "logement menacé"),
        C::Shelter => ("shelter", "hébergement"),
        C::BenefitStatus => ("benefits", "prestations"),
        C::Supervision => ("supervision", "surveillance judiciaire"),
        C::Conditions => ("conditions", "conditions imposées"),
        C::ReleaseDate => ("release date", "date de libération"),
        C::Engagement => ("engagement in a programme", "participation à un programme"),
        C::Mentor => ("mentor", "mentor"),
        C::Concern => ("concern", "préoccupation"),
        C::FamilyContact => ("contact with the family", "contact avec la famille"),
    };
    pick(lang, english, french)
}

/// How far an answer goes.
pub(super) const fn level(level: Level, lang: Lang) -> &'static str {
    let (english, french) = match level {
        Level::Known => ("yes or cannot say", "oui ou ne peut le dire"),
        Level::Contact => ("whom to call", "qui joindre"),
        Level::Involvement => ("since when", "depuis quand"),
        Level::Coded => ("a code or band", "un code ou une tranche"),
        Level::Detail => ("details", "des détails"),
    };
    pick(lang, english, french)
}

/// What for.
pub(super) const fn purpose(purpose: Purpose, lang: Lang) -> &'static str {
    let (english, french) = match purpose {
        Purpose::Screen => (
            "screening of a situation",
            "examen préalable d’une situation",
        ),
        Purpose::Threshold => (
            "deciding whether to act together",
            "décision d’agir ensemble",
        ),
        Purpose::IdentifyInvolved => (
            "finding which agencies are involved",
            "recherche des organismes concernés",
        ),
        Purpose::Plan => (
            "planning an offer of help",
            "planification d’une offre d’aide",
        ),
        Purpose::Deliver => ("delivering help", "prestation d’aide"),
        Purpose::FollowUp => ("follow-up", "suivi"),
        Purpose::Emergency => ("averting harm", "prévention d’un préjudice imminent"),
        Purpose::RightsRequest => ("a person’s own request", "demande de la personne elle-même"),
        Purpose::Audit => ("audit", "vérification"),
        Purpose::Evaluate => ("evaluation of the programme", "évaluation du programme"),
        Purpose::Exercise => (
            "exercise with invented data",
            "exercice avec des données fictives",
        ),
        Purpose::CriminalInvestigation => (
            "criminal investigation (prohibited)",
            "enquête criminelle (interdit)",
        ),
        Purpose::ImmigrationEnforcement => (
            "immigration enforcement (prohibited)",
            "application des lois d’immigration (interdit)",
        ),
        Purpose::Media => ("media (prohibited)", "médias (interdit)"),
    };
    pick(lang, english, french)
}

/// The emergency that was claimed.
pub(super) const fn emergency(kind: EmergencyKind, lang: Lang) -> &'static str {
    let (english, french) = match kind {
        EmergencyKind::SubjectInDanger => ("person in danger", "personne en danger"),
        EmergencyKind::ThreatToOthers => ("threat to somebody", "menace envers quelqu’un"),
        EmergencyKind::Medical => ("medical emergency", "urgence médicale"),
    };
    pick(lang, english, french)
}

const fn pick(lang: Lang, english: &'static str, french: &'static str) -> &'static str {
    match lang {
        Lang::English => english,
        Lang::French => french,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_says_something_in_both_languages() {
        for lang in [Lang::English, Lang::French] {
            for word in Word::ALL {
                assert!(!word.say(lang).trim().is_empty(), "{word:?}");
            }
            let labels = Category::ALL.iter().map(|c| category(*c, lang));
            let mut labels: Vec<_> = labels.collect();
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(
                labels.len(),
                Category::ALL.len(),
                "two categories read alike"
            );
            assert!(Purpose::ALL.iter().all(|p| !purpose(*p, lang).is_empty()));
            assert!(Level::ALL.iter().all(|l| !level(*l, lang).is_empty()));
        }
        let differ = Word::ALL
            .iter()
            .filter(|w| w.say(Lang::English) != w.say(Lang::French));
        assert!(differ.count() + 1 >= Word::ALL.len());
    }
}
