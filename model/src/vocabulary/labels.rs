//! What the codes are called, in English and French, for pages and screens.
//!
//! In scope: a label for each code that people read. Out of scope: sentences; those belong to the
//! rules (crate `passerelle-policies`) or to the page that says them.

use super::{
    AgreementReason, AgreementState, Category, EmergencyKind, Language, Level, Purpose, Sector,
    Stage,
};

/// What an answer may be about.
pub const fn category(category: Category, language: Language) -> &'static str {
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
    pick(language, english, french)
}

/// How far an answer goes.
pub const fn level(level: Level, language: Language) -> &'static str {
    let (english, french) = match level {
        Level::Known => ("yes or cannot say", "oui ou ne peut le dire"),
        Level::Contact => ("whom to call", "qui joindre"),
        Level::Involvement => ("since when", "depuis quand"),
        Level::Coded => ("a code or band", "un code ou une tranche"),
        Level::Detail => ("details", "des détails"),
    };
    pick(language, english, french)
}

/// What for.
pub const fn purpose(purpose: Purpose, language: Language) -> &'static str {
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
    pick(language, english, french)
}

/// The emergency that was claimed.
pub const fn emergency(kind: EmergencyKind, language: Language) -> &'static str {
    let (english, french) = match kind {
        EmergencyKind::SubjectInDanger => ("person in danger", "personne en danger"),
        EmergencyKind::ThreatToOthers => ("threat to somebody", "menace envers quelqu’un"),
        EmergencyKind::Medical => ("medical emergency", "urgence médicale"),
    };
    pick(language, english, french)
}

/// Which part of public life an agency belongs to.
pub const fn sector(sector: Sector, language: Language) -> &'static str {
    let (english, french) = match sector {
        Sector::LawEnforcement => ("police", "police"),
        Sector::Health => ("health care", "santé"),
        Sector::SocialServices => ("social services", "services sociaux"),
        Sector::Education => ("education", "éducation"),
        Sector::HousingIncome => ("housing and income", "logement et revenu"),
        Sector::Corrections => ("corrections", "services correctionnels"),
        Sector::Community => ("community", "milieu communautaire"),
        Sector::Oversight => ("oversight", "surveillance"),
        Sector::Coordination => ("coordination", "coordination"),
    };
    pick(language, english, french)
}

/// A stage of a table.
pub const fn stage(stage: Stage, language: Language) -> &'static str {
    let (english, french) = match stage {
        Stage::HomeAgency => ("stage 1, home agency", "étape 1, organisme d’origine"),
        Stage::DeIdentified => ("stage 2, de-identified", "étape 2, dépersonnalisée"),
        Stage::LimitedIdentifiers => (
            "stage 3, limited identifiers",
            "étape 3, identifiants limités",
        ),
        Stage::Interveners => ("stage 4, interveners", "étape 4, intervenants"),
    };
    pick(language, english, french)
}

/// Why an agreement was suspended or ended.
pub const fn agreement_reason(reason: AgreementReason, language: Language) -> &'static str {
    let (english, french) = match reason {
        AgreementReason::Breach => (
            "a breach, or the suspicion of one",
            "un manquement, avéré ou soupçonné",
        ),
        AgreementReason::Safety => ("somebody’s safety", "la sécurité d’une personne"),
        AgreementReason::LawChanged => ("a change in the law", "une modification du droit"),
        AgreementReason::Review => ("a review", "un réexamen"),
        AgreementReason::Leaving => (
            "the party no longer takes part",
            "la partie cesse de participer",
        ),
        AgreementReason::Other => (
            "another reason, told to the parties outside the log",
            "un autre motif, donné aux parties hors du registre",
        ),
    };
    pick(language, english, french)
}

/// Whether an agreement may be relied on, signatures and dates aside.
pub const fn agreement_state(state: AgreementState, language: Language) -> &'static str {
    let (english, french) = match state {
        AgreementState::Active => ("active", "active"),
        AgreementState::Suspended => ("suspended", "suspendue"),
        AgreementState::Superseded => (
            "superseded by a later version",
            "remplacée par une version ultérieure",
        ),
        AgreementState::Terminated => ("terminated", "résiliée"),
    };
    pick(language, english, french)
}

/// French in French, English in any other language.
const fn pick(language: Language, english: &'static str, french: &'static str) -> &'static str {
    match language {
        Language::French => french,
        Language::English
        | Language::Inuktitut
        | Language::Cree
        | Language::Innu
        | Language::Other => english,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_label_of_its_own_in_both_languages() {
        for language in [Language::English, Language::French] {
            let mut all = [
                Category::ALL
                    .iter()
                    .map(|c| category(*c, language))
                    .collect::<Vec<_>>(),
                Purpose::ALL.iter().map(|p| purpose(*p, language)).collect(),
                Level::ALL.iter().map(|l| level(*l, language)).collect(),
                EmergencyKind::ALL
                    .iter()
                    .map(|e| emergency(*e, language))
                    .collect(),
                Sector::ALL.iter().map(|s| sector(*s, language)).collect(),
                Stage::ALL.iter().map(|s| stage(*s, language)).collect(),
                AgreementReason::ALL
                    .iter()
                    .map(|r| agreement_reason(*r, language))
                    .collect(),
                AgreementState::ALL
                    .iter()
                    .map(|s| agreement_state(*s, language))
                    .collect(),
            ];
            for labels in &mut all {
                let codes = labels.len();
                labels.sort_unstable();
                labels.dedup();
                assert_eq!(labels.len(), codes, "two codes read alike: {labels:?}");
                assert!(labels.iter().all(|label| !label.trim().is_empty()));
            }
        }
    }
}
