//! What would have to be otherwise, in words, for whoever asks.

use super::{Change, Remedy};
use passerelle_model::{
    pdp::Effect,
    vocabulary::{Category, Language, Stage, labels},
};

impl Change {
    /// A clause that says what would have to be so, about an item of this category.
    pub fn words(&self, category: Category, language: Language) -> String {
        let what = labels::category(category, language);
        let (english, french) = match self {
            Self::Training => (
                "the training of the worker who asks is up to date".to_owned(),
                "la formation de la personne qui demande est à jour".to_owned(),
            ),
            Self::BasisConsent => (
                "the question states consent as its basis".to_owned(),
                "la demande se fonde sur le consentement".to_owned(),
            ),
            Self::NamePerson => (
                "the question names the person".to_owned(),
                "la demande désigne la personne".to_owned(),
            ),
            Self::NameNobody => (
                "the question names nobody".to_owned(),
                "la demande ne désigne personne".to_owned(),
            ),
            Self::NoEmergency => (
                "no emergency is claimed, and the purpose is to plan an offer of help".to_owned(),
                "aucune urgence n’est invoquée, et la demande sert à planifier une offre d’aide"
                    .to_owned(),
            ),
            Self::Level(level) => {
                let level = labels::level(*level, language);
                (
                    format!("it asks no further than “{level}”"),
                    format!("la demande se limite à « {level} »"),
                )
            }
            Self::Consent => (
                format!(
                    "the person consents to “{what}” for this purpose and this recipient, and \
                     the holder records it"
                ),
                format!(
                    "la personne consent à « {what} » à cette fin et pour ce destinataire, et le \
                     détenteur le consigne"
                ),
            ),
            Self::Agreement => (
                format!(
                    "an agreement in force, on the basis stated, lets the holder give “{what}” \
                     to this recipient for this purpose"
                ),
                format!(
                    "une entente en vigueur, sur le fondement invoqué, permet au détenteur de \
                     communiquer « {what} » à ce destinataire à cette fin"
                ),
            ),
            Self::Emergency(kind) => {
                let kind = labels::emergency(*kind, language);
                (
                    format!("there is an emergency ({kind}) and it is claimed"),
                    format!("il y a urgence ({kind}) et elle est invoquée"),
                )
            }
            Self::LeaveCase | Self::CaseOfPerson | Self::Plan | Self::Case(_) | Self::Stage(_) => {
                self.about_case(what, language)
            }
        };
        if language == Language::French {
            french
        } else {
            english
        }
    }

    /// The clauses about a case.
    fn about_case(&self, what: &str, language: Language) -> (String, String) {
        match self {
            Self::LeaveCase => (
                "it is asked outside this case, which is about another person".to_owned(),
                "la demande est faite hors de ce dossier, qui concerne une autre personne"
                    .to_owned(),
            ),
            Self::Plan => (
                format!("the plan of the case needs “{what}”"),
                format!("le plan du dossier exige « {what} »"),
            ),
            Self::Case(stage) => {
                let stage = labels::stage(*stage, language);
                (
                    format!("it is asked in a case at {stage}, in which both agencies take part"),
                    format!(
                        "la demande est faite dans un dossier à l’{stage}, où participent les \
                         deux organismes"
                    ),
                )
            }
            Self::Stage(stage) => {
                let (name, kept) = (labels::stage(*stage, language), kept(*stage, language));
                (
                    format!("the case is at {name}{kept}"),
                    format!("le dossier en est à l’{name}{kept}"),
                )
            }
            _ => (
                "it is asked in the case about this person".to_owned(),
                "la demande est faite dans le dossier de cette personne".to_owned(),
            ),
        }
    }
}

/// What else a stage takes.
const fn kept(stage: Stage, language: Language) -> &'static str {
    let french = matches!(language, Language::French);
    match (stage, french) {
        (Stage::HomeAgency | Stage::DeIdentified, _) => "",
        (Stage::LimitedIdentifiers, false) => ", the threshold agreed, both agencies needed",
        (Stage::LimitedIdentifiers, true) => ", le seuil convenu, les deux organismes requis",
        (Stage::Interveners, false) => ", both agencies named as interveners",
        (Stage::Interveners, true) => ", les deux organismes désignés comme intervenants",
    }
}

impl Remedy {
    /// The remedy as one sentence, about an item of this category.
    pub fn words(&self, category: Category, language: Language) -> String {
        let french = language == Language::French;
        let clauses: Vec<_> = self
            .changes
            .iter()
            .map(|c| c.words(category, language))
            .collect();
        let clauses = clauses.join(if french { "; et si " } else { "; and if " });
        match (self.effect, french) {
            (Effect::Permit, false) => format!("Allowed if {clauses}."),
            (Effect::Permit, true) => format!("Autorisé si {clauses}."),
            (_, false) => format!("Allowed once a person at the holder has agreed, if {clauses}."),
            (_, true) => {
                format!("Autorisé dès qu’une personne du détenteur y consent, si {clauses}.")
            }
        }
    }
}
