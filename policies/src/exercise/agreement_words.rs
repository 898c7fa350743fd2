//! What became of an agreement in an exercise, in plain words, in English and French.

use passerelle_model::{
    statement::Change,
    vocabulary::{Language, labels},
};

/// A party suspends an agreement, lifts its suspension, or ends it.
pub(super) fn changed(by: &str, change: Change, language: Language) -> String {
    let why = |reason| labels::agreement_reason(reason, language);
    match (change, language) {
        (Change::Suspend(reason), Language::French) => {
            format!("{by} suspend l’entente ({}).", why(reason))
        }
        (Change::Suspend(reason), _) => format!("{by} suspends the agreement ({}).", why(reason)),
        (Change::Lift, Language::French) => format!("{by} lève sa suspension de l’entente."),
        (Change::Lift, _) => format!("{by} lifts its suspension of the agreement."),
        (Change::Terminate(reason), Language::French) => {
            format!("{by} résilie l’entente ({}).", why(reason))
        }
        (Change::Terminate(reason), _) => {
            format!("{by} terminates the agreement ({}).", why(reason))
        }
    }
}
