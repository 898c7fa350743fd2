//! What a person reads about audit cases, in English and in French.

use super::{Kind, detect::Findings};
use passerelle_model::ids::{AuditCaseId, RequestId};

impl Kind {
    /// One clause, in English.
    pub const fn en(self) -> &'static str {
        match self {
            Self::OwnRecord => "the question is about the worker who asks",
            Self::SameSurname => "the person has a surname in common with the worker",
            Self::CoWorker => "the person works at this agency",
            Self::OffHours => "it is outside the agency's working hours",
            Self::NoService => {
                "the agency has no record, consent or case of the person, and no case is named"
            }
            Self::Volume => "the worker asks unusually many questions",
            Self::EmergencyOverride => "an emergency was claimed",
        }
    }

    /// One clause, in French.
    pub const fn fr(self) -> &'static str {
        match self {
            Self::OwnRecord => "la question porte sur la personne même qui la pose",
            Self::SameSurname => "la personne porte un nom de famille de l’intervenant",
            Self::CoWorker => "la personne travaille dans cet organisme",
            Self::OffHours => "elle est posée hors des heures de travail de l’organisme",
            Self::NoService => {
                "l’organisme n’a ni dossier, ni consentement, ni cas de la personne, et aucun cas \
                 n’est nommé"
            }
            Self::Volume => "l’intervenant pose plus de questions que d’habitude",
            Self::EmergencyOverride => "une urgence a été invoquée",
        }
    }
}

fn joined(found: &Findings, words: fn(Kind) -> &'static str) -> String {
    // What only alerts is not said: whether the agency knows the person is no curious worker's to
    // learn.
    let stopping = found.kinds.iter().filter(|(_, action)| action.stops());
    let words: Vec<_> = stopping.map(|(kind, _)| words(*kind)).collect();
    words.join("; ")
}

/// For the worker whose question is refused: both languages in one line.
pub fn refused(case: &AuditCaseId, found: &Findings) -> String {
    format!(
        "your agency does not let this question leave: {}; audit case `{case}` was opened / \
         votre organisme ne laisse pas partir cette question\u{a0}: {}; le cas d’audit `{case}` \
         a été ouvert",
        joined(found, Kind::en),
        joined(found, Kind::fr),
    )
}

/// For the worker to whom a preview is not shown: both languages in one line.
pub fn not_shown(case: &AuditCaseId, found: &Findings) -> String {
    format!(
        "your agency does not show what could be asked: {}; audit case `{case}` was opened / \
         votre organisme ne montre pas ce qui pourrait être demandé\u{a0}: {}; le cas d’audit \
         `{case}` a été ouvert",
        joined(found, Kind::en),
        joined(found, Kind::fr),
    )
}

/// For the worker whose question is held: both languages in one line.
pub fn held(case: &AuditCaseId, request: &RequestId, found: &Findings) -> String {
    format!(
        "the question waits until a privacy officer or supervisor releases it: {}; audit case \
         `{case}`, request `{request}` / la question attend qu’une personne responsable de la \
         protection de la vie privée ou de la supervision la libère\u{a0}: {}; cas d’audit \
         `{case}`, demande `{request}`",
        joined(found, Kind::en),
        joined(found, Kind::fr),
    )
}

/// For a worker who is suspended: both languages in one line.
pub const SUSPENDED: &str = "this worker is suspended until a privacy officer or supervisor lifts \
     it / cet intervenant est suspendu jusqu’à ce qu’une personne responsable de la protection de \
     la vie privée ou de la supervision lève la suspension";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suspicion::Action;

    #[test]
    fn both_languages_say_why_and_nothing_that_only_alerts() {
        let found = Findings {
            kinds: vec![
                (Kind::OwnRecord, Action::Block),
                (Kind::Volume, Action::Alert),
            ],
            about: None,
            apart: Vec::new(),
        };
        let case = AuditCaseId::from_random([1; 16]);
        let text = refused(&case, &found);
        for (kind, action) in &found.kinds {
            let said = [text.contains(kind.en()), text.contains(kind.fr())];
            assert_eq!(said, [action.stops(); 2], "{text}");
        }
        assert_eq!(text.matches(case.as_str()).count(), 2);
        for kind in Kind::ALL {
            assert!(
                !kind.fr().contains('\''),
                "a typewriter's apostrophe: {}",
                kind.fr()
            );
        }
    }
}
