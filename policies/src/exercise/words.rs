//! What happens in an exercise, in plain words, in English and French.
//!
//! In scope: events, what parties see, prompts for a discussion. Out of scope: reasons of rules,
//! which are texts of the bundle; markup.

use super::{
    agreement_words,
    file::{Verdict, View},
    play::{Happened, Outturn},
    script::{Action, Event, Exercise, Party, Question},
};
use passerelle_model::{
    ids::AgencyId,
    pdp::Effect,
    statement::{Body, ConsentTerms, Item, WithdrawalScope},
    vocabulary::{CaseOutcome, Category, Language, LegalBasis, Purpose, Threshold, labels},
};

/// `english` or `french`.
pub(super) fn pick<'a>(language: Language, english: &'a str, french: &'a str) -> &'a str {
    if language == Language::French {
        french
    } else {
        english
    }
}

/// An agency as the file calls it.
pub(super) fn agency<'a>(exercise: &'a Exercise, id: &'a AgencyId, language: Language) -> &'a str {
    let named = exercise.agency(id);
    named.map_or(id.as_str(), |a| a.name.say(language == Language::French))
}

pub(super) fn agencies<'a>(
    exercise: &Exercise,
    ids: impl IntoIterator<Item = &'a AgencyId>,
    language: Language,
) -> String {
    let names = ids.into_iter().map(|id| agency(exercise, id, language));
    names.collect::<Vec<_>>().join(", ")
}

fn categories(list: &[Category], language: Language) -> String {
    let labels = list.iter().map(|c| labels::category(*c, language));
    labels.collect::<Vec<_>>().join(", ")
}

pub(super) fn purposes(list: &[Purpose], language: Language) -> String {
    let labels = list.iter().map(|p| labels::purpose(*p, language));
    labels.collect::<Vec<_>>().join(", ")
}

/// A person as the file calls her.
pub(super) fn person<'a>(exercise: &'a Exercise, key: &'a str) -> &'a str {
    exercise.people.get(key).map_or(key, |p| p.name.as_str())
}

/// A time: `day 2 14:00`, `jour 2, 14:00`.
pub(super) fn time(event: &Event, language: Language) -> String {
    let text = event.at.to_string();
    match language {
        Language::French => {
            let text = text.replacen("day ", "jour ", 1);
            text.rsplit_once(' ')
                .map_or(text.clone(), |(day, at)| format!("{day}, {at}"))
        }
        _ => text,
    }
}

/// What happens in an event, as one sentence; empty if something is only told.
pub(super) fn event(exercise: &Exercise, event: &Event, language: Language) -> String {
    let say = |english: &str, french: &str| pick(language, english, french).to_owned();
    let name = |id: &AgencyId| agency(exercise, id, language).to_owned();
    let question = |number: &usize| {
        let question = exercise.questions.get(*number);
        question.map_or("", |q| q.id.as_str()).to_owned()
    };
    match &event.action {
        Action::Nothing => String::new(),
        Action::Say { by, what, about } => said(exercise, by, what, about.as_deref(), language),
        Action::Propose { by, terms, signers } => {
            agreement_words::proposed(exercise, by, terms, signers, language)
        }
        Action::Ask(number) => exercise
            .questions
            .get(*number)
            .map(|q| asked(exercise, q, language))
            .unwrap_or_default(),
        Action::Answer {
            question: number,
            by,
            verdict,
            ..
        } => {
            let (id, word) = (question(number), verdict_words(*verdict, language));
            match language {
                Language::French => format!("{by}, chez le détenteur, {word} (question {id})."),
                _ => format!("{by}, at the holder, {word} (question {id})."),
            }
        }
        Action::Erase(number) => {
            let id = question(number);
            match language {
                Language::French => format!("Qui a reçu la réponse à la question {id} l’efface."),
                _ => format!("Whoever received the answer to question {id} erases it."),
            }
        }
        Action::Away(id) => format!(
            "{} {}.",
            name(id),
            say("can’t be reached from here on", "n’est plus joignable")
        ),
        Action::Back(id) => format!(
            "{} {}.",
            name(id),
            say("can be reached again", "est de nouveau joignable")
        ),
        Action::Revoke(id) => format!(
            "{} {}.",
            name(id),
            say(
                "is shut out of the federation",
                "est exclu de la fédération"
            )
        ),
    }
}

fn verdict_words(verdict: Verdict, language: Language) -> &'static str {
    match verdict {
        Verdict::Approve => pick(language, "agrees to answer", "accepte de répondre"),
        Verdict::Decline => pick(language, "declines", "décline"),
        Verdict::CannotSay => pick(
            language,
            "says that nothing can be said",
            "ne peut rien dire",
        ),
    }
}

fn said(
    exercise: &Exercise,
    by: &AgencyId,
    what: &Body,
    about: Option<&str>,
    language: Language,
) -> String {
    let by = agency(exercise, by, language);
    let whom = about.map_or("", |key| person(exercise, key));
    match what {
        Body::Consent(terms) => consent(exercise, by, whom, terms, language),
        Body::Withdrawal(withdrawal) => {
            let scope = match &withdrawal.scope {
                WithdrawalScope::All => pick(language, "all of it", "en entier").to_owned(),
                WithdrawalScope::Recipient(id) => agency(exercise, id, language).to_owned(),
                WithdrawalScope::Category(category) => {
                    labels::category(*category, language).to_owned()
                }
            };
            match language {
                Language::French => format!("Un consentement est retiré auprès de {by} : {scope}."),
                _ => format!("A consent is withdrawn at {by}: {scope}."),
            }
        }
        Body::AgreementSignature(_) => match language {
            Language::French => format!("{by} signe l’entente."),
            _ => format!("{by} signs the agreement."),
        },
        Body::AgreementChange(said) => agreement_words::changed(by, said.change, language),
        Body::CaseOpening(opening) => {
            let others = agencies(exercise, &opening.agencies, language);
            match language {
                Language::French => format!("{by} ouvre un dossier à la table avec {others}."),
                _ => format!("{by} opens a case at the table with {others}."),
            }
        }
        Body::Resumption(_) => match language {
            Language::French => format!("{by} continue sous la nouvelle origine du journal."),
            _ => format!("{by} goes on under the log’s new origin."),
        },
        Body::OverrideReview(_) => match language {
            Language::French => format!("{by} a examiné l’urgence invoquée."),
            _ => format!("{by} has reviewed the emergency."),
        },
        Body::CaseAdvance(advance) => {
            let mut text = match language {
                Language::French => format!(
                    "Le dossier passe à l’{}",
                    labels::stage(advance.stage, language)
                ),
                _ => format!(
                    "The case is now at {}",
                    labels::stage(advance.stage, language)
                ),
            };
            if advance.threshold == Threshold::Agreed {
                text.push_str(pick(
                    language,
                    "; the threshold is agreed",
                    "; le seuil est convenu",
                ));
            }
            if let Some(outcome) = advance.outcome {
                text.push_str(pick(language, "; it is closed: ", "; il est fermé : "));
                text.push_str(closing(outcome, language));
            }
            text.push('.');
            text
        }
        _ => String::new(),
    }
}

const fn closing_words(outcome: CaseOutcome) -> (&'static str, &'static str) {
    match outcome {
        CaseOutcome::LoweredConnected
        | CaseOutcome::LoweredConnectedElsewhere
        | CaseOutcome::LoweredPersonalSupports
        | CaseOutcome::LoweredNoAction => ("the risk is lowered", "le risque a diminué"),
        CaseOutcome::ElevatedInformed
        | CaseOutcome::ElevatedRefused
        | CaseOutcome::ElevatedSystemic => ("the risk is still elevated", "le risque reste élevé"),
        CaseOutcome::RejectedAlreadyConnected => ("already connected", "déjà accompagné"),
        CaseOutcome::RejectedBelowThreshold => ("below the threshold", "sous le seuil"),
        CaseOutcome::RejectedSingleAgency => {
            ("a single agency suffices", "un seul organisme suffit")
        }
        CaseOutcome::RejectedNotExhausted => (
            "own options are not exhausted",
            "moyens propres non épuisés",
        ),
        CaseOutcome::Deceased => ("deceased", "décès"),
        CaseOutcome::Relocated => ("moved away", "déménagement"),
        CaseOutcome::NotLocated => ("not found", "introuvable"),
        CaseOutcome::NewInformation => ("new information", "nouveaux renseignements"),
    }
}

fn closing(outcome: CaseOutcome, language: Language) -> &'static str {
    let (english, french) = closing_words(outcome);
    pick(language, english, french)
}

fn consent(
    exercise: &Exercise,
    by: &str,
    whom: &str,
    terms: &ConsentTerms,
    language: Language,
) -> String {
    let what = categories(&terms.categories, language);
    let why = purposes(&terms.purposes, language);
    let from = agencies(exercise, &terms.disclosers, language);
    let to = agencies(exercise, &terms.recipients, language);
    match language {
        Language::French => format!(
            "{by} consigne le consentement de {whom} : {what}; de {from} à {to}; but : {why}."
        ),
        _ => format!(
            "{by} records the consent of {whom}: {what}; from {from} to {to}; purpose: {why}."
        ),
    }
}

/// An item: `diagnosis (a code or band)`.
pub(super) fn item(item: Item, language: Language) -> String {
    let (what, far) = (
        labels::category(item.category, language),
        labels::level(item.level, language),
    );
    format!("{what} ({far})")
}

/// A question, as one sentence.
pub(super) fn asked(exercise: &Exercise, question: &Question, language: Language) -> String {
    let request = &question.request;
    let (from, to) = (
        agency(exercise, &question.requester, language),
        agency(exercise, question.holder(), language),
    );
    let whom = match &question.person {
        Some(key) => person(exercise, key),
        None => pick(language, "nobody by name", "personne en particulier"),
    };
    let items = question.items().iter().map(|i| item(*i, language));
    let items = items.collect::<Vec<_>>().join(", ");
    let why = labels::purpose(request.purpose, language);
    let basis = match request.basis {
        LegalBasis::Consent => pick(language, "consent", "consentement"),
        LegalBasis::OwnRequest => pick(language, "own request", "demande de la personne"),
        other => other.code(),
    };
    let worker = &question.worker;
    let mut text = match language {
        Language::French => format!(
            "{from} ({worker}) demande à {to}, au sujet de {whom} : {items}. But : {why}. \
             Fondement : {basis}."
        ),
        _ => format!(
            "{from} ({worker}) asks {to} about {whom}: {items}. Purpose: {why}. Basis: {basis}."
        ),
    };
    if let Some(kind) = request.emergency {
        text.push(' ');
        text.push_str(pick(language, "Emergency claimed: ", "Urgence invoquée : "));
        text.push_str(labels::emergency(kind, language));
        text.push('.');
    }
    text
}

/// A decision.
pub(super) fn effect(effect: Effect, language: Language) -> &'static str {
    match effect {
        Effect::Permit => pick(language, "Permit", "Autorisé"),
        Effect::Review => pick(language, "Review", "À examiner"),
        Effect::Deny => pick(language, "Deny", "Refusé"),
    }
}

/// Something that happened to a question.
pub(super) fn happened(what: Happened, language: Language) -> &'static str {
    let (english, french) = match what {
        Happened::Asked => ("asked and decided", "posée et décidée"),
        Happened::DecidedAgain => ("decided again", "décidée de nouveau"),
        Happened::PutBeforePerson => (
            "put before a person at the holder",
            "soumise à une personne chez le détenteur",
        ),
        Happened::Answered => ("answered", "répondue"),
        Happened::Stopped => ("stopped", "arrêtée"),
        Happened::Recalled => (
            "the recipient is told of the withdrawal",
            "le destinataire est avisé du retrait",
        ),
        Happened::Expired => ("not answered in time", "sans réponse à temps"),
        Happened::Erased => ("the answer is erased", "la réponse est effacée"),
    };
    pick(language, english, french)
}

/// A party: an agency by its name, with its part in the question.
pub(super) fn party(
    exercise: &Exercise,
    question: &Question,
    party: &Party,
    language: Language,
) -> String {
    let part = |id: &AgencyId, part: &str| format!("{} ({part})", agency(exercise, id, language));
    match party {
        Party::Agency(id) if *id == question.requester => {
            part(id, pick(language, "asks", "demande"))
        }
        Party::Agency(id) if id == question.holder() => {
            part(id, pick(language, "is asked", "est interrogé"))
        }
        Party::Agency(id) => part(id, pick(language, "another agency", "autre organisme")),
        Party::Person => pick(language, "The person concerned", "La personne concernée").to_owned(),
        Party::Oversight => pick(language, "Who reads the log", "Qui lit le journal").to_owned(),
    }
}

/// What somebody sees, as a sentence.
pub(super) fn view(view: View, language: Language) -> &'static str {
    let (english, french) = match view {
        View::Nothing => (
            "Nothing: is not told that anything was asked.",
            "Rien : ignore qu’une demande a été faite.",
        ),
        View::Denied => (
            "That it was denied, with rule and reason.",
            "Que c’est refusé, avec règle et motif.",
        ),
        View::Waits => (
            "That no answer has come yet.",
            "Qu’aucune réponse n’est encore venue.",
        ),
        View::Reviews => (
            "That a person there has to decide whether to answer.",
            "Qu’une personne doit y décider s’il faut répondre.",
        ),
        View::Answered => (
            "That a sealed answer crossed; not what it says.",
            "Qu’une réponse scellée est passée; non ce qu’elle dit.",
        ),
        View::Facts => (
            "The facts that were released.",
            "Les renseignements communiqués.",
        ),
        View::Declined => ("That the holder declines.", "Que le détenteur décline."),
        View::CannotSay => (
            "That the holder cannot say: no record, or one that may not be spoken of.",
            "Que le détenteur ne peut le dire : aucun dossier, ou un dossier dont on ne peut \
             parler.",
        ),
        View::Stopped => (
            "That it was stopped: what it rested on is gone.",
            "Que c’est arrêté : ce sur quoi elle reposait n’est plus.",
        ),
        View::Recalled => (
            "That what crossed rested on a consent that is now withdrawn.",
            "Que ce qui est passé reposait sur un consentement maintenant retiré.",
        ),
        View::Expired => (
            "That no answer came in time.",
            "Qu’aucune réponse n’est venue à temps.",
        ),
        View::Erased => (
            "That an answer crossed, and that the recipient has erased it.",
            "Qu’une réponse est passée et que le destinataire l’a effacée.",
        ),
        View::Entry => (
            "Entries with codes, decision and rule; no name, no fact.",
            "Des inscriptions : codes, décision et règle; ni nom, ni renseignement.",
        ),
    };
    pick(language, english, french)
}

/// What a mixed group may talk about after such an outcome.
pub(super) fn prompts(outturn: &Outturn, differs: bool, language: Language) -> Vec<&'static str> {
    let mut prompts = Vec::new();
    let has = |wanted: Effect| outturn.rulings.iter().any(|i| i.ruling.effect == wanted);
    let sees = |wanted: View| outturn.views.values().any(|v| *v == wanted);
    let mut add = |english, french| prompts.push(pick(language, english, french));
    if has(Effect::Deny) {
        add(
            "Whoever asked: what would you do now? Whoever holds the record: does this protect \
             what you promised the person?",
            "Qui demande : que feriez-vous maintenant? Qui détient le dossier : cela protège-t-il \
             ce que vous avez promis à la personne?",
        );
    }
    if has(Effect::Review) {
        add(
            "Who at your agency would look at this, at this hour, and what would that person have \
             to know to say yes or no?",
            "Qui, chez vous, examinerait ceci à cette heure, et que lui faudrait-il savoir pour \
             dire oui ou non?",
        );
    }
    if has(Effect::Permit) {
        add(
            "Is this the least that serves the purpose? Would the person be surprised to learn of \
             it?",
            "Est-ce le minimum utile à cette fin? La personne serait-elle étonnée de l’apprendre?",
        );
    }
    if sees(View::CannotSay) {
        add(
            "“Cannot say” may mean that there is nothing. How will you keep from reading more \
             into it?",
            "« Ne peut le dire » peut vouloir dire qu’il n’y a rien. Comment éviter d’y lire \
             davantage?",
        );
    }
    if sees(View::Stopped) || sees(View::Recalled) {
        add(
            "What has the recipient already done with what it knew? Who tells the person what \
             could not be called back?",
            "Qu’a déjà fait le destinataire de ce qu’il savait? Qui dit à la personne ce qui n’a \
             pu être rappelé?",
        );
    }
    if differs {
        add(
            "The bundles decide this differently. Which of the two could you defend before the \
             person, and before your own board?",
            "Les ensembles de règles divergent ici. Lequel pourriez-vous défendre devant la \
             personne, et devant votre direction?",
        );
    }
    prompts
}
