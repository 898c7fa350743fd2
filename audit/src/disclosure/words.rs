//! What the printed account says, in English and French. Every word has both: a language is an
//! arm of a match, a word a line of a table, so none can be missing.

use super::Outcome;
use passerelle_model::vocabulary::Language;

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

    /// As the vocabularies' labels take it.
    pub(super) const fn language(self) -> Language {
        match self {
            Self::English => Language::English,
            Self::French => Language::French,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_says_something_in_both_languages() {
        for lang in [Lang::English, Lang::French] {
            for word in Word::ALL {
                assert!(!word.say(lang).trim().is_empty(), "{word:?}");
            }
        }
        let differ = Word::ALL
            .iter()
            .filter(|w| w.say(Lang::English) != w.say(Lang::French));
        assert!(differ.count() + 1 >= Word::ALL.len());
    }
}
