//! What became of an agreement in an exercise, in plain words, in English and French.

use super::{
    script::Exercise,
    words::{agencies, agency, purposes},
};
use passerelle_model::{
    ids::AgencyId,
    statement::{AgreementTerms, Change},
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

/// A party proposes an agreement, and others sign it.
pub(super) fn proposed(
    exercise: &Exercise,
    by: &AgencyId,
    terms: &AgreementTerms,
    signers: &[AgencyId],
    language: Language,
) -> String {
    let (by, what) = (
        agency(exercise, by, language),
        purposes(&terms.purposes, language),
    );
    let others = agencies(exercise, signers, language);
    match (language, signers.is_empty()) {
        (Language::French, true) => format!(
            "{by} propose une entente ({what}); les autres parties ne l’ont pas encore signée."
        ),
        (Language::French, false) => {
            format!("{by} propose une entente ({what}), aussi signée par {others}.")
        }
        (_, true) => {
            format!("{by} proposes an agreement ({what}); the other parties have yet to sign it.")
        }
        (_, false) => {
            format!("{by} proposes an agreement ({what}), signed by {others} too.")
        }
    }
}
