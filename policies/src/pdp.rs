//! The decision point of the federation.
//!
//! In scope: one ruling per matter, its reasons and obligations. Out of scope: collecting the
//! facts, enforcing the ruling.
//!
//! # Three values
//! PERMIT and REVIEW are two Cedar actions, `release` and `release_with_review`; DENY is neither.
//! The alternative, one action and an annotation on permits that need review, fails open: a
//! misspelt annotation would make a release of a review. Here a permit names one action (the
//! loader sees to it), a misspelt action is refused by validation, and a permit that is lost or
//! never written leaves a denial. Two more actions, `override` and `override_with_review`, are the
//! emergency path: their permits can't open an ordinary release, and the gates of a table, written
//! for the other two, leave them alone. They are tried first when an emergency is claimed, so that
//! what a claim could open always comes with its alert.

use crate::{
    candidates::{Candidates, agreements, candidate_sets, consents, on_agreement},
    cedar::LoadError,
    entities::SliceError,
    evaluation::{Answer, Evaluator, Oracle, Rules},
    library::{
        AGREEMENT_ABSENT, CONSENT_ABSENT, Library, NO_RULE_PERMITS, POLICY_ERROR, embedded_files,
    },
    packs::{SELECTION, selection},
    rule::RestsOn,
};
use passerelle_model::{
    bytes::Digest,
    pdp::{Effect, Matter, Obligation, PolicyDecisionPoint, Reason, Ruling},
    vocabulary::LegalBasis,
};
use std::collections::{BTreeMap, BTreeSet};

/// Why a matter could not be evaluated. To the requester it is a denial, to the operator an alarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy evaluation failed: {0}")]
pub struct EvaluationError(pub(crate) String);

impl From<SliceError> for EvaluationError {
    fn from(error: SliceError) -> Self {
        Self(error.to_string())
    }
}

/// The decision point: a library, loaded once.
pub struct CedarPdp {
    evaluator: Evaluator,
}

impl PolicyDecisionPoint for CedarPdp {
    fn rule(&self, matter: &Matter) -> Ruling {
        self.try_rule(matter)
            .unwrap_or_else(|_| Ruling::deny(POLICY_ERROR))
    }

    fn bundle(&self) -> Digest {
        self.library().digest()
    }
}

impl CedarPdp {
    /// The decision point over the shipped bundle.
    ///
    /// # Errors
    /// The bundle does not pass the checks of [`Library::load`].
    pub fn load_embedded() -> Result<Self, LoadError> {
        Self::load_dir(&embedded_files())
    }

    /// The decision point over the shipped bundle, for a federation that uses these legal packs.
    ///
    /// # Errors
    /// One of the packs is unknown.
    pub fn load_with_packs(packs: &BTreeSet<String>) -> Result<Self, LoadError> {
        let mut files = embedded_files();
        files.insert(SELECTION.to_owned(), selection(packs));
        Self::load_dir(&files)
    }

    /// The decision point over a bundle given as its files: contents by path: those of
    /// `library/core`, and those of `library/packs` below `packs/`.
    ///
    /// # Errors
    /// The bundle does not pass the checks of [`Library::load`].
    pub fn load_dir(files: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        Ok(Self::of(Library::load(files)?))
    }

    /// The decision point over a library.
    pub(crate) fn of(library: Library) -> Self {
        Self {
            evaluator: Evaluator::new(library),
        }
    }

    /// As [`CedarPdp::load_embedded`], asking Cedar each time: the same rulings, slower. For tests
    /// of what is remembered, and to measure an evaluation.
    ///
    /// # Errors
    /// The bundle does not pass the checks of [`Library::load`].
    pub fn load_forgetful() -> Result<Self, LoadError> {
        Ok(Self {
            evaluator: Evaluator::forgetful(Library::load(&embedded_files())?),
        })
    }

    /// The library it decides by.
    pub const fn library(&self) -> &Library {
        self.evaluator.library()
    }

    /// The ruling, or what went wrong, which [`PolicyDecisionPoint::rule`] makes a denial.
    ///
    /// # Errors
    /// The matter does not fit the schema, or a policy failed on it.
    pub fn try_rule(&self, matter: &Matter) -> Result<Ruling, EvaluationError> {
        self.rule_by(matter, &self.evaluator.begin(matter)?)
    }

    /// The ruling by what `evaluation` says of each set of candidates.
    pub(crate) fn rule_by(
        &self,
        matter: &Matter,
        evaluation: &dyn Oracle,
    ) -> Result<Ruling, EvaluationError> {
        let (consents, agreements) = (consents(matter)?, agreements(matter)?);
        let mut denials = Vec::new();
        let mut tried = Vec::new();
        // A permit by any set comes before a review by any other, so permits are looked for first.
        for set in candidate_sets(&consents, &agreements) {
            let alone = set.consent.is_none() && set.agreement.is_none();
            if alone && matter.emergency.is_some() {
                let against = match evaluation.ask("override", set)? {
                    Answer::Allowed(rules) => {
                        return self.allow(matter, Effect::Permit, &rules, set);
                    }
                    Answer::Denied(rules) => rules,
                };
                match evaluation.ask("override_with_review", set)? {
                    Answer::Allowed(rules) => {
                        return self.review(matter, &rules, &against, set);
                    }
                    Answer::Denied(rules) => denials.push(rules),
                }
            }
            let against = match evaluation.ask("release", set)? {
                Answer::Allowed(rules) if self.may_carry(matter, &rules, set) => {
                    return self.allow(matter, Effect::Permit, &rules, set);
                }
                // Not by what the request relies on: it counts as if no rule permitted.
                Answer::Allowed(_) => Rules::default(),
                Answer::Denied(rules) => rules,
            };
            tried.push((set, against));
        }
        for (set, against) in tried {
            match evaluation.ask("release_with_review", set)? {
                Answer::Allowed(rules) if self.may_carry(matter, &rules, set) => {
                    return self.review(matter, &rules, &against, set);
                }
                Answer::Allowed(_) => denials.push(Rules::default()),
                // What stands against a consent is no reason if the request relies on an agreement.
                Answer::Denied(_) if on_agreement(matter) && set.consent.is_some() => {}
                Answer::Denied(rules) => denials.push(rules),
            }
        }
        Ok(self.deny(matter, &denials, consents.len(), agreements.len()))
    }

    /// The review, with why a person has to look where a rule says so.
    fn review(
        &self,
        matter: &Matter,
        rules: &BTreeSet<String>,
        against: &BTreeSet<String>,
        set: Candidates<'_>,
    ) -> Result<Ruling, EvaluationError> {
        let mut ruling = self.allow(matter, Effect::Review, rules, set)?;
        ruling.reasons.extend(self.reasons(against));
        Ok(ruling)
    }

    /// Whether these rules rest on what the request relies on, if it names it. Only an agreement
    /// needs a look: a consent may have to stand beside it (rule 8) but must not take its place.
    fn may_carry(&self, matter: &Matter, rules: &BTreeSet<String>, set: Candidates<'_>) -> bool {
        let rests_on_it = |id: &String| {
            let rule = self.library().rules().get(id);
            rule.is_some_and(|r| r.rests_on == RestsOn::Agreement)
        };
        !on_agreement(matter) || set.consent.is_none() || rules.iter().any(rests_on_it)
    }

    fn allow(
        &self,
        matter: &Matter,
        effect: Effect,
        rules: &BTreeSet<String>,
        set: Candidates<'_>,
    ) -> Result<Ruling, EvaluationError> {
        let mut obligations = BTreeSet::new();
        let mut on_agreement = false;
        for id in rules {
            let rule = self.library().rules().get(id);
            let rule = rule.ok_or_else(|| EvaluationError(format!("rule `{id}` is unknown")))?;
            let named = match rule.rests_on {
                RestsOn::Nothing => true,
                RestsOn::Consent => set.consent.is_some(),
                RestsOn::Agreement => set.agreement.is_some(),
            };
            // Else no withdrawal could find the decision.
            if !named {
                return Err(EvaluationError(format!("rule `{id}` rests on nothing")));
            }
            // Whatever it tests, a permit of a pack opens nothing on a basis that it does not name.
            if rule.pack.is_some() && !rule.bases.contains(&matter.basis) {
                return Err(EvaluationError(format!("rule `{id}` is of another basis")));
            }
            on_agreement |= rule.rests_on == RestsOn::Agreement;
            obligations.extend(rule.obligations.iter().cloned());
        }
        if rules.is_empty() {
            return Err(EvaluationError("allowed by no rule".to_owned()));
        }
        let line = set.agreement.and_then(|a| a.line);
        if let Some(line) = line.filter(|_| on_agreement) {
            obligations.retain(|o| !matches!(o, Obligation::RetainDays(_)));
            obligations.insert(Obligation::RetainDays(line.retention_days));
        }
        let duties = self.library().duties().iter();
        let binding = duties.filter(|duty| duty.binds(matter));
        obligations.extend(binding.flat_map(|duty| duty.obligations.iter().cloned()));
        Ok(Ruling {
            effect,
            reasons: self.reasons(rules),
            obligations: strictest(obligations),
            consent: set.consent.map(|c| c.consent.terms.consent.clone()),
            agreement: set.agreement.map(|a| a.agreement.terms.agreement.clone()),
        })
    }

    /// The denial. A rule that forbids whatever the candidates is the reason; else all that stands
    /// against each; else that nothing permits, with what is missing.
    fn deny(
        &self,
        matter: &Matter,
        denials: &[Rules],
        consents: usize,
        agreements: usize,
    ) -> Ruling {
        let mut always = denials.first().map(|d| (**d).clone()).unwrap_or_default();
        always.retain(|rule| denials.iter().all(|d| d.contains(rule)));
        let mut rules = if always.is_empty() {
            denials.iter().flat_map(|d| d.iter()).cloned().collect()
        } else {
            always
        };
        if rules.is_empty() {
            rules.insert(NO_RULE_PERMITS.to_owned());
            let on_consent = matter.basis == LegalBasis::Consent;
            if on_consent && consents == 0 {
                rules.insert(CONSENT_ABSENT.to_owned());
            }
            if !on_consent && agreements == 0 {
                rules.insert(AGREEMENT_ABSENT.to_owned());
            }
        }
        Ruling {
            effect: Effect::Deny,
            reasons: self.reasons(&rules),
            obligations: Vec::new(),
            consent: None,
            agreement: None,
        }
    }

    fn reasons(&self, rules: &BTreeSet<String>) -> Vec<Reason> {
        rules
            .iter()
            .map(|id| {
                let rule = self.library().rules().get(id);
                Reason {
                    rule: id.clone(),
                    source: rule.map(|r| r.source.clone()).unwrap_or_default(),
                    text: rule.map_or_else(|| id.clone(), |r| r.why.clone()),
                }
            })
            .collect()
    }
}

/// Of several retentions and deadlines the shortest.
fn strictest(obligations: BTreeSet<Obligation>) -> Vec<Obligation> {
    let (mut retain, mut review) = (None, None);
    let mut kept = Vec::new();
    // In ascending order, so that the first is the shortest.
    for obligation in obligations {
        match obligation {
            Obligation::RetainDays(_) if retain.is_some() => {}
            Obligation::ReviewWithinHours(_) if review.is_some() => {}
            Obligation::RetainDays(days) => {
                retain = Some(days);
                kept.push(obligation);
            }
            Obligation::ReviewWithinHours(hours) => {
                review = Some(hours);
                kept.push(obligation);
            }
            Obligation::NoRedisclosure
            | Obligation::Notice(_)
            | Obligation::SecondApprover
            | Obligation::NotifySubject
            | Obligation::Alert
            | Obligation::Task(_)
            | Obligation::Mask => kept.push(obligation),
        }
    }
    kept
}

#[cfg(test)]
#[path = "pdp_tests.rs"]
mod tests;
