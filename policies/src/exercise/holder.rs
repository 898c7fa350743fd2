//! What a holder's node does with a permit: the second key.
//!
//! In scope: the holder's own policy on its records, a person's word, permits that ran out
//! meanwhile, the answer. Out of scope: the federation's decision, which the state machine makes.

use super::{
    file::Verdict,
    script::{Question, digest_of},
    world::{PlayError, Told, World, refused},
};
use crate::{
    alike::{Crowd, Details, LEAST_ALIKE, Step, Town},
    local::{self, LocalMatter, RecordFacts},
};
use passerelle_model::{
    bytes::{Bytes, Digest, Nonce},
    commitment::{Field, Opening},
    decide::Reply,
    error::ErrorCode,
    ids::AgencyId,
    pdp::Obligation,
    permit::Permit,
    request::Status,
    state,
    statement::{Answer, Body, Item, PAYLOAD_ANSWER, Renewal},
    vocabulary::{LegalBasis, Level, Outcome},
};
use std::collections::{BTreeMap, BTreeSet};

/// What a person at the holder says.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) verdict: Verdict,
    pub(super) by: &'a str,
    /// Whose record it is about, that the holder writes otherwise.
    pub(super) record: Option<&'a str>,
}

/// What is answered.
struct Answering {
    outcome: Outcome,
    /// With what.
    released: Vec<Item>,
    /// By which of the holder's own rules.
    rules: BTreeSet<String>,
    /// How finely, where nobody is named.
    told: Told,
}

impl Answering {
    const fn silent(outcome: Outcome) -> Self {
        Self {
            outcome,
            released: Vec::new(),
            rules: BTreeSet::new(),
            told: Told::new(),
        }
    }
}

impl World<'_> {
    /// What the holder's node does with its permit, and with a person's word on it.
    pub(super) fn consider(
        &mut self,
        number: usize,
        question: &Question,
        word: Option<Word<'_>>,
    ) -> Result<Reply, PlayError> {
        if self.status(question)? != Some(Status::Offered) {
            return Ok(refused(ErrorCode::WrongState));
        }
        let Some(held) = self.held.get_mut(number) else {
            return Ok(refused(ErrorCode::UnknownRequest));
        };
        let Some(permit) = held.permit.clone() else {
            return Ok(refused(ErrorCode::WrongState));
        };
        if word.is_some() && !held.awaits_person {
            return Ok(refused(ErrorCode::WrongState));
        }
        // As a node asks it: nobody says yes to another spelling without saying whose.
        let record = word.and_then(|w| w.record);
        let approves = word.is_some_and(|w| w.verdict == Verdict::Approve);
        if approves && record != question.found_near.as_deref() {
            return Ok(refused(ErrorCode::OutOfRange));
        }
        let found = question.found.as_deref().or(record);
        let answering = match word.map(|w| (w.verdict, w.by)) {
            Some((Verdict::Decline, _)) => Answering::silent(Outcome::Declined),
            Some((Verdict::CannotSay, _)) => Answering::silent(Outcome::CannotSay),
            Some((Verdict::Approve, by)) => {
                // Two people where a second one must agree, and never the same one twice.
                if !held.approvals.insert(by.to_owned()) {
                    return Ok(refused(ErrorCode::Duplicate));
                }
                let second = permit.obligations.contains(&Obligation::SecondApprover);
                let needed = if second { 2 } else { 1 };
                if held.approvals.len() < needed {
                    return Ok(Reply::Nothing);
                }
                let ruled = self.own_policy(question, &permit, found, true)?;
                ruled.unwrap_or(Answering::silent(Outcome::CannotSay))
            }
            None => {
                let by_node = match self.a_person_looks_first(question, &permit)? {
                    true => None,
                    false => self.own_policy(question, &permit, found, false)?,
                };
                match by_node.filter(|_| !permit.review && !question.near) {
                    Some(ruled) => ruled,
                    None => {
                        if let Some(held) = self.held.get_mut(number) {
                            held.awaits_person = true;
                        }
                        return Ok(Reply::Nothing);
                    }
                }
            }
        };
        self.answer(number, question, answering)
    }

    fn answer(
        &mut self,
        number: usize,
        question: &Question,
        answering: Answering,
    ) -> Result<Reply, PlayError> {
        let outcome = answering.outcome;
        let permit = |world: &Self| world.held.get(number).and_then(|h| h.permit.clone());
        let holder = question.holder().clone();
        let request = question.request.request.clone();
        // A permit lives for minutes and a person takes longer: the node asks for another, and
        // everything is decided again.
        if permit(self).is_some_and(|p| p.not_after <= self.now.timestamp()) {
            let digest = permit(self)
                .map(|p| p.digest())
                .transpose()?
                .unwrap_or(Digest([0; 32]));
            let body = Body::Renewal(Renewal {
                request: request.clone(),
                permit: digest,
            });
            let reply = self.say(&holder, body, None, BTreeMap::new())?;
            if matches!(reply, Reply::Refused { .. })
                || self.status(question)? != Some(Status::Offered)
            {
                return Ok(reply);
            }
        }
        let Some(permit) = permit(self) else {
            return Ok(refused(ErrorCode::WrongState));
        };
        let sealed = format!("exercise answer to {}", question.id).into_bytes();
        let said = Opening {
            field: Field::Outcome,
            random: Nonce(digest_of("outcome", &question.id).0),
            data: Bytes(outcome.code().as_bytes().to_vec()),
        };
        let body = Body::Answer(Answer {
            request,
            permit: permit.digest()?,
            outcome: said.commitment(),
            sealed: Digest::of(&sealed),
        });
        let payloads = BTreeMap::from([(PAYLOAD_ANSWER.to_owned(), Bytes(sealed))]);
        let reply = self.say(&holder, body, None, payloads)?;
        if matches!(reply, Reply::Done { .. }) {
            if let Some(held) = self.held.get_mut(number) {
                held.outcome = Some(outcome);
                held.released = answering.released;
                held.local_rules = answering.rules;
                held.told = answering.told;
                held.awaits_person = false;
            }
            self.receive(question)?;
        }
        Ok(reply)
    }

    fn local_matter(
        &self,
        question: &Question,
        permit: &Permit,
        item: Item,
        record: RecordFacts,
        approved: bool,
    ) -> Result<Option<local::LocalRuling>, PlayError> {
        let requester = state::agency(&self.store, &question.requester)?;
        // Restricted content never goes further than whom to call, as in a node.
        let level = match record.restricted {
            true => item.level.min(Level::Contact),
            false => item.level,
        };
        Ok(requester.map(|requester| {
            self.local.rule(&LocalMatter {
                requester: &requester,
                purpose: permit.purpose,
                emergency: question.request.emergency.is_some(),
                on_consent: permit.basis == LegalBasis::Consent,
                review_approved: approved,
                category: item.category,
                level,
                record: Some(record),
            })
        }))
    }

    /// Whether the holder's own policy wants a person to look for any record that it has in the
    /// category, whoever that is about: else the time that an answer takes would tell.
    fn a_person_looks_first(
        &self,
        question: &Question,
        permit: &Permit,
    ) -> Result<bool, PlayError> {
        for item in &permit.items {
            let facts = self.exercise.facts.iter();
            let facts = facts.filter(|f| f.category == item.category && f.holder == permit.holder);
            for fact in facts {
                let ruling = self.local_matter(question, permit, *item, fact.record, false)?;
                if ruling.is_some_and(|r| r.verdict == local::Verdict::Review) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The holder's own policy on each record that would answer; `None` if a person has to look.
    fn own_policy(
        &self,
        question: &Question,
        permit: &Permit,
        found: Option<&str>,
        approved: bool,
    ) -> Result<Option<Answering>, PlayError> {
        let (mut released, mut rules) = (Vec::new(), BTreeSet::new());
        // Nobody is named: what is told must not name anybody either.
        let table = match (&question.person, found) {
            (None, Some(person)) => Some(self.alike(&permit.holder, person)),
            _ => None,
        };
        let mut verdicts = BTreeSet::new();
        for item in &permit.items {
            let facts = self.exercise.facts.iter().filter(|fact| {
                fact.holder == permit.holder
                    && fact.category == item.category
                    && found == Some(fact.person.as_str())
            });
            for fact in facts {
                let ruling = self.local_matter(question, permit, *item, fact.record, approved)?;
                let Some(ruling) = ruling else { continue };
                if ruling.verdict == local::Verdict::Release && !released.contains(item) {
                    released.push(*item);
                }
                verdicts.insert(ruling.verdict);
                rules.extend(ruling.rules);
            }
        }
        if verdicts.contains(&local::Verdict::Review) && !approved {
            return Ok(None);
        }
        let mut told = Told::new();
        if let Some((step, details)) = table {
            if step == Step::Nothing {
                released.clear();
            }
            let coded = released.iter().filter(|i: &&Item| i.level >= Level::Coded);
            let categories = coded.map(|item| item.category);
            told.extend(categories.map(|c| (c, details.generalised(step, c))));
        }
        let outcome = if !released.is_empty() {
            Outcome::Released
        } else if verdicts.contains(&local::Verdict::Decline)
            && !verdicts.contains(&local::Verdict::CannotSay)
        {
            Outcome::Declined
        } else {
            Outcome::CannotSay
        };
        Ok(Some(Answering {
            outcome,
            released,
            rules,
            told,
        }))
    }

    /// How finely a holder may tell the codes of somebody whom it names to nobody, and these.
    fn alike(&self, holder: &AgencyId, person: &str) -> (Step, Details) {
        let details = |person: &str| {
            let facts = self.exercise.facts.iter();
            let facts = facts.filter(|f| f.holder == *holder && f.person == person);
            let mut details = Details::default();
            for fact in facts {
                if let Some(code) = &fact.code {
                    details.add(fact.category, code);
                }
            }
            details
        };
        let its_own = |name: &&String| {
            let mut facts = self.exercise.facts.iter();
            facts.any(|f| f.holder == *holder && f.person == **name)
        };
        let mut crowd = Crowd::around(&details(person));
        for name in self.exercise.people.keys().filter(its_own) {
            crowd.meet(&details(name));
        }
        let town = Town {
            population: self.exercise.agency(holder).and_then(|a| a.population),
            least: LEAST_ALIKE,
        };
        (crowd.step(&town), details(person))
    }
}
