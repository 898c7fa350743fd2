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
//!
//! # Candidates
//! Cedar has no quantifiers: code picks a candidate consent and agreement, policies verify them.
//! Sets of candidates are tried from the smallest: none, each consent, each agreement, each pair.
//! So whatever stands in the winning set is needed (without it the item was denied, or only to be
//! reviewed), and the ruling names it. A withdrawal finds every decision that needed the consent.
//! If the request names the consent or the agreement that it relies on, no other is tried.
//!
//! # Conflict of consents
//! Of all consents of the person, relied on or not, a withdrawal defeats every grant to the same
//! recipient, by the same discloser, of the same category that was recorded before the withdrawal,
//! by whichever record. A grant recorded after it stands. What counts is the place in the log, not
//! the date on the paper.

use crate::{
    cedar::{LoadError, uid},
    entities::{AgreementCandidate, ConsentCandidate, Slice, SliceError, Slicer},
    library::{
        AGREEMENT_ABSENT, CONSENT_ABSENT, Library, NO_RULE_PERMITS, POLICY_ERROR, RestsOn,
        embedded_files,
    },
};
use cedar_policy::{Authorizer, Decision, Request};
use passerelle_model::{
    bytes::Digest,
    pdp::{Effect, Matter, Obligation, PolicyDecisionPoint, Reason, Ruling},
    records::{Agreement, Consent},
    statement::{AgreementLine, Reliance},
    vocabulary::LegalBasis,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Most consents, and most agreements, that are tried. The most promising come first.
const MAX_CANDIDATES: usize = 8;

/// Why a matter could not be evaluated. To the requester it is a denial, to the operator an alarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy evaluation failed: {0}")]
pub struct EvaluationError(String);

impl From<SliceError> for EvaluationError {
    fn from(error: SliceError) -> Self {
        Self(error.to_string())
    }
}

/// The decision point: a library, loaded once.
pub struct CedarPdp {
    library: Library,
    authorizer: Authorizer,
}

/// What Cedar says of one action with one set of candidates.
enum Answer {
    Allowed(BTreeSet<String>),
    Denied(BTreeSet<String>),
}

/// One set of candidates.
#[derive(Clone, Copy)]
struct Candidates<'a> {
    consent: Option<ConsentCandidate<'a>>,
    agreement: Option<AgreementCandidate<'a>>,
}

impl PolicyDecisionPoint for CedarPdp {
    fn rule(&self, matter: &Matter) -> Ruling {
        self.try_rule(matter)
            .unwrap_or_else(|_| Ruling::deny(POLICY_ERROR))
    }

    fn bundle(&self) -> Digest {
        self.library.digest()
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

    /// The decision point over a bundle given as its files: contents by path, as in `library/core`.
    ///
    /// # Errors
    /// The bundle does not pass the checks of [`Library::load`].
    pub fn load_dir(files: &BTreeMap<String, String>) -> Result<Self, LoadError> {
        Ok(Self {
            library: Library::load(files)?,
            authorizer: Authorizer::new(),
        })
    }

    /// The library it decides by.
    pub const fn library(&self) -> &Library {
        &self.library
    }

    /// The ruling, or what went wrong, which [`PolicyDecisionPoint::rule`] makes a denial.
    ///
    /// # Errors
    /// The matter does not fit the schema, or a policy failed on it.
    pub fn try_rule(&self, matter: &Matter) -> Result<Ruling, EvaluationError> {
        let slicer = Slicer {
            names: &self.library.names,
            reference: &self.library.reference,
            schema: &self.library.schema,
            matter,
        };
        let (consents, agreements) = (consents(matter), agreements(matter));
        let base = slicer.base()?;
        let mut denials = Vec::new();
        let mut tried = Vec::new();
        // A permit by any set comes before a review by any other, so permits are looked for first.
        for set in candidate_sets(&consents, &agreements) {
            let slice = slicer.slice(&base, set.consent, set.agreement)?;
            let alone = set.consent.is_none() && set.agreement.is_none();
            if alone && matter.emergency.is_some() {
                let against = match self.ask("override", &slice)? {
                    Answer::Allowed(rules) => return self.allow(Effect::Permit, &rules, set),
                    Answer::Denied(rules) => rules,
                };
                match self.ask("override_with_review", &slice)? {
                    Answer::Allowed(rules) => return self.review(&rules, &against, set),
                    Answer::Denied(rules) => denials.push(rules),
                }
            }
            let against = match self.ask("release", &slice)? {
                Answer::Allowed(rules) if self.may_carry(matter, &rules, set) => {
                    return self.allow(Effect::Permit, &rules, set);
                }
                // Not by what the request relies on: it counts as if no rule permitted.
                Answer::Allowed(_) => BTreeSet::new(),
                Answer::Denied(rules) => rules,
            };
            tried.push((set, slice, against));
        }
        for (set, slice, against) in tried {
            match self.ask("release_with_review", &slice)? {
                Answer::Allowed(rules) if self.may_carry(matter, &rules, set) => {
                    return self.review(&rules, &against, set);
                }
                Answer::Allowed(_) => denials.push(BTreeSet::new()),
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
        rules: &BTreeSet<String>,
        against: &BTreeSet<String>,
        set: Candidates<'_>,
    ) -> Result<Ruling, EvaluationError> {
        let mut ruling = self.allow(Effect::Review, rules, set)?;
        ruling.reasons.extend(self.reasons(against));
        Ok(ruling)
    }

    /// Whether these rules rest on what the request relies on, if it names it. Only an agreement
    /// needs a look: a consent may have to stand beside it (rule 8) but must not take its place.
    fn may_carry(&self, matter: &Matter, rules: &BTreeSet<String>, set: Candidates<'_>) -> bool {
        let rests_on_it = |id: &String| {
            let rule = self.library.rules().get(id);
            rule.is_some_and(|r| r.rests_on == RestsOn::Agreement)
        };
        !on_agreement(matter) || set.consent.is_none() || rules.iter().any(rests_on_it)
    }

    /// Asks Cedar. Allowed means that it said so and that nothing at all went wrong.
    fn ask(&self, action: &str, slice: &Slice) -> Result<Answer, EvaluationError> {
        let request = Request::new(
            slice.principal.clone(),
            uid(&self.library.names.action, action),
            slice.resource.clone(),
            slice.context.clone(),
            Some(&self.library.schema),
        )
        .map_err(|e| EvaluationError(e.to_string()))?;
        let response =
            self.authorizer
                .is_authorized(&request, &self.library.policies, &slice.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(EvaluationError(error.to_string()));
        }
        let rules = response
            .diagnostics()
            .reason()
            .map(ToString::to_string)
            .collect();
        Ok(match response.decision() {
            Decision::Allow => Answer::Allowed(rules),
            Decision::Deny => Answer::Denied(rules),
        })
    }

    fn allow(
        &self,
        effect: Effect,
        rules: &BTreeSet<String>,
        set: Candidates<'_>,
    ) -> Result<Ruling, EvaluationError> {
        let mut obligations = BTreeSet::new();
        let mut on_agreement = false;
        for id in rules {
            let rule = self.library.rules().get(id);
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
        denials: &[BTreeSet<String>],
        consents: usize,
        agreements: usize,
    ) -> Ruling {
        let mut always = denials.first().cloned().unwrap_or_default();
        always.retain(|rule| denials.iter().all(|d| d.contains(rule)));
        let mut rules = if always.is_empty() {
            denials.iter().flatten().cloned().collect()
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
                let rule = self.library.rules().get(id);
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
            | Obligation::Alert => kept.push(obligation),
        }
    }
    kept
}

/// Whether the request names an agreement to rely on.
fn on_agreement(matter: &Matter) -> bool {
    matches!(matter.reliance, Some(Reliance::Agreement(_)))
}

/// The sets of candidates, from the smallest.
fn candidate_sets<'a>(
    consents: &[ConsentCandidate<'a>],
    agreements: &[AgreementCandidate<'a>],
) -> Vec<Candidates<'a>> {
    let mut sets = vec![Candidates {
        consent: None,
        agreement: None,
    }];
    sets.extend(consents.iter().map(|c| Candidates {
        consent: Some(*c),
        agreement: None,
    }));
    sets.extend(agreements.iter().map(|a| Candidates {
        consent: None,
        agreement: Some(*a),
    }));
    for consent in consents {
        sets.extend(agreements.iter().map(|agreement| Candidates {
            consent: Some(*consent),
            agreement: Some(*agreement),
        }));
    }
    sets
}

/// The consents that name the requester, of these the one relied on if it is named; the usable
/// first, then the most recent. One that does not name the requester must not show in its reasons
/// either.
fn consents(matter: &Matter) -> Vec<ConsentCandidate<'_>> {
    let mut candidates: Vec<_> = matter
        .consents
        .iter()
        .filter(|c| c.names(&matter.requester.agency))
        .filter(|c| match &matter.reliance {
            Some(Reliance::Consent(named)) => c.terms.consent == *named,
            Some(Reliance::Agreement(_)) | None => true,
        })
        .map(|consent| ConsentCandidate {
            consent,
            withdrawn: is_withdrawn(consent, matter),
        })
        .collect();
    candidates.sort_by_key(|c| {
        let expired = c.consent.terms.expires_at <= matter.at;
        let other = !covers(c.consent, matter);
        let key = Reverse(c.consent.recorded);
        (c.withdrawn, expired, other, key, &c.consent.terms.consent)
    });
    candidates.truncate(MAX_CANDIDATES);
    candidates
}

/// Whether the consent speaks of this recipient, discloser, category and purpose.
fn covers(consent: &Consent, matter: &Matter) -> bool {
    covers_parties(consent, matter) && consent.terms.purposes.contains(&matter.purpose)
}

fn covers_parties(consent: &Consent, matter: &Matter) -> bool {
    consent.terms.recipients.contains(&matter.requester.agency)
        && consent.terms.disclosers.contains(&matter.holder.agency)
        && consent.terms.categories.contains(&matter.item.category)
}

/// The conflict rule (see above), over all consents of the person. Its own withdrawal defeats a
/// consent in any case.
fn is_withdrawn(consent: &Consent, matter: &Matter) -> bool {
    let (recipient, category) = (&matter.requester.agency, matter.item.category);
    matter.consents.iter().any(|other| {
        let Some(withdrawn) = other.withdrawn_since(recipient, category) else {
            return false;
        };
        let same = other.terms.consent == consent.terms.consent;
        same || withdrawn >= consent.recorded && covers_parties(other, matter)
    })
}

/// The agreements of which the requester is a party, of these the one relied on if it is named,
/// none if it is a consent; those in force with a line first.
fn agreements(matter: &Matter) -> Vec<AgreementCandidate<'_>> {
    let mut candidates: Vec<_> = matter
        .agreements
        .iter()
        .filter(|a| a.has_party(&matter.requester.agency))
        .filter(|a| match &matter.reliance {
            Some(Reliance::Agreement(named)) => a.terms.agreement == *named,
            Some(Reliance::Consent(_)) => false,
            None => true,
        })
        .map(|agreement| AgreementCandidate {
            agreement,
            line: line(agreement, matter),
        })
        .collect();
    candidates.sort_by_key(|c| {
        let terms = &c.agreement.terms;
        let out_of_force = !c.agreement.is_in_force(matter.at);
        let key = Reverse(c.agreement.proposed);
        (c.line.is_none(), out_of_force, key, &terms.agreement)
    });
    candidates.truncate(MAX_CANDIDATES);
    candidates
}

/// The line from holder to requester for the category: the widest, of equals the briefest kept.
fn line<'a>(agreement: &'a Agreement, matter: &Matter) -> Option<&'a AgreementLine> {
    agreement
        .terms
        .lines
        .iter()
        .filter(|l| {
            l.from == matter.holder.agency
                && l.to == matter.requester.agency
                && l.category == matter.item.category
        })
        .max_by_key(|l| (l.level, Reverse(l.retention_days)))
}

#[cfg(test)]
#[path = "pdp_tests.rs"]
mod tests;
