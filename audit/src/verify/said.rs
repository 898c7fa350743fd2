//! What agencies say: who may say it, and the statements about consents, agreements and cases.

use super::{
    fault::{Fault, FaultCode},
    ledger::{Agreement, Case, Consent, Due, Id, Ledger, Line, Request, Since, id},
    report::Check,
    row::{Job, Said},
};
use crate::search::Kind;
use passerelle_model::{
    canonical,
    decide::{MAX_CLOCK_SKEW_S, MAX_STATEMENT_AGE_S},
    ids::AgencyId,
    request::Status,
    statement::{
        AgreementChange, AgreementSignature, AgreementTerms, Body, CaseAdvance, CaseOpening,
        Change, ConsentTerms, Endorsed, Withdrawal, WithdrawalScope,
    },
    time::Timestamp,
    vocabulary::{Category, Stage},
};
use std::collections::BTreeSet;

impl Ledger {
    pub(super) fn said(&mut self, position: usize, said: &Said) -> Result<(), Fault> {
        let statement = &said.statement;
        let agency = self.agency(&statement.agency);
        if self.require_active(agency)? {
            self.expect_signature(position, agency);
        }
        if !self.first_seen(&said.digest) {
            return Err(self.fault(FaultCode::Replay, "the statement is in the log already"));
        }
        // What may have been lost with a former origin is said again, however old it is.
        let again = self.origin.awaited.contains_key(&agency) && statement.body.is_paper();
        let in_time = statement.at <= self.now.plus_s(MAX_CLOCK_SKEW_S)
            && (again || self.now.minus_s(MAX_STATEMENT_AGE_S) <= statement.at);
        if !in_time {
            let message = format!("the statement's time is {}", statement.at.to_rfc3339());
            return Err(self.fault(FaultCode::Stale, message));
        }
        *self
            .tally
            .statements
            .entry(Kind::said(&statement.body).code())
            .or_default() += 1;
        match &statement.body {
            Body::Request(asked) => {
                self.require_recovered()?;
                self.requested(agency, said.digest, asked)
            }
            Body::Answer(answer) => self.answered(agency, answer),
            Body::Receipt(receipt) => self.received(agency, receipt),
            Body::Renewal(renewal) => self.renewed(agency, renewal),
            Body::Consent(terms) => self.consented(agency, terms),
            Body::Withdrawal(withdrawal) => self.withdrew(agency, withdrawal),
            Body::Agreement(terms) => self.proposed(agency, terms),
            Body::AgreementSignature(signature) => self.signed(agency, signature),
            Body::AgreementChange(change) => self.agreement_changed(agency, change),
            Body::CaseOpening(opening) => self.case_opened(agency, opening),
            Body::CaseAdvance(advance) => self.case_advanced(agency, advance),
            Body::BundleEndorsement(endorsement) => self.bundle_endorsed(agency, endorsement),
            Body::OverrideReview(review) => self.override_reviewed(agency, review),
            Body::Resumption(resumption) => self.resumed(agency, resumption),
        }
    }

    fn expect_signature(&mut self, position: usize, agency: u32) {
        let Some(member) = self.member(agency) else {
            return;
        };
        let Some(keys) = &member.keys else { return };
        let job = Job {
            position,
            index: self.index,
            key: keys.signing,
            // After an unreadable entry the agency may have other keys.
            is_excused: self.is_excused(Since::Index(member.touched)),
        };
        self.jobs.push(job);
    }

    fn consented(&mut self, agency: u32, terms: &ConsentTerms) -> Result<(), Fault> {
        self.tally.checked(Check::Consent, 1);
        let lists = [
            terms.categories.len(),
            terms.purposes.len(),
            terms.recipients.len(),
            terms.disclosers.len(),
        ];
        if lists.contains(&0) || terms.expires_at <= terms.given_at {
            let message = "a consent for nothing, to nobody or of no duration";
            return Err(self.fault(FaultCode::Range, message));
        }
        let consent = Consent {
            recorded_by: agency,
            recipients: self.agencies(&terms.recipients),
            disclosers: self.agencies(&terms.disclosers),
            categories: terms.categories.clone(),
            purposes: terms.purposes.clone(),
            given_at: terms.given_at,
            expires_at: terms.expires_at,
            withdrawn: Vec::new(),
            requests: Vec::new(),
        };
        let key = id(terms.consent.as_str());
        if self.consents.insert(key, consent).is_some() {
            let message = format!("`{}` was recorded before", terms.consent);
            return Err(self.fault(FaultCode::Duplicate, message));
        }
        Ok(())
    }

    fn agencies(&mut self, names: &[AgencyId]) -> Vec<u32> {
        names.iter().map(|name| self.agency(name)).collect()
    }

    fn withdrew(&mut self, agency: u32, withdrawal: &Withdrawal) -> Result<(), Fault> {
        self.tally.checked(Check::Withdrawal, 1);
        let key = id(withdrawal.consent.as_str());
        let Some(consent) = self.consents.get_mut(&key) else {
            let message = || format!("`{}` is unknown", withdrawal.consent);
            self.require(false, Since::Ever, FaultCode::UnknownConsent, message)?;
            return Ok(());
        };
        let named = consent.recorded_by == agency
            || consent.recipients.contains(&agency)
            || consent.disclosers.contains(&agency);
        if !named {
            let message = format!("the agency is not named in `{}`", withdrawal.consent);
            return Err(self.fault(FaultCode::NotAParty, message));
        }
        consent.withdrawn.push(withdrawal.scope.clone());
        let concerned = consent.requests.clone();
        for request in concerned {
            if let Some(due) = self.due_after(&request, key, &withdrawal.scope) {
                self.due.insert(request, due);
            }
        }
        Ok(())
    }

    fn due_after(&self, request: &Id, consent: Id, scope: &WithdrawalScope) -> Option<Due> {
        let row = self.requests.get(request)?;
        let affected = |(category, relied): &(Category, Id)| {
            *relied == consent && self.covers(scope, row, *category)
        };
        if !row.rests_on.iter().any(affected) {
            return None;
        }
        match row.status {
            status if status.is_open() => Some(Due::Stop),
            Status::Answered | Status::Delivered | Status::Viewed => Some(Due::Recall),
            _ => None,
        }
    }

    /// Whether a withdrawal of this scope concerns an item of this category in the request.
    pub(super) fn covers(
        &self,
        scope: &WithdrawalScope,
        row: &Request,
        category: Category,
    ) -> bool {
        match scope {
            WithdrawalScope::All => true,
            WithdrawalScope::Category(withdrawn) => *withdrawn == category,
            WithdrawalScope::Recipient(recipient) => row
                .requester
                .and_then(|requester| self.member(requester))
                .is_some_and(|requester| requester.name == *recipient),
        }
    }

    fn proposed(&mut self, agency: u32, terms: &AgreementTerms) -> Result<(), Fault> {
        self.tally.checked(Check::Agreement, 1);
        let digest = canonical::digest(terms)
            .map_err(|error| self.fault(FaultCode::Statement, error.to_string()))?;
        let names = terms.parties.iter().map(|party| &party.agency);
        let parties: Vec<u32> = names.map(|name| self.agency(name)).collect();
        if parties.len() < 2 || !parties.contains(&agency) {
            let message = "an agreement needs two parties, the proposer among them";
            return Err(self.fault(FaultCode::NotAParty, message));
        }
        if !terms.has_sound_signatories() {
            let message = "the terms name signatories as none can be";
            return Err(self.fault(FaultCode::Range, message));
        }
        let signatories: Vec<_> = terms
            .signatories
            .iter()
            .map(|s| (self.agency(&s.agency), s.clone()))
            .collect();
        let signs_alone = !signatories.iter().any(|(party, _)| *party == agency);
        let mut lines = Vec::with_capacity(terms.lines.len());
        for line in &terms.lines {
            lines.push(Line {
                from: self.agency(&line.from),
                to: self.agency(&line.to),
                category: line.category,
                level: line.level,
            });
        }
        let agreement = Agreement {
            terms: digest,
            parties,
            // The proposal is the proposer's own signature, unless people sign for it.
            signed: if signs_alone {
                vec![agency]
            } else {
                Vec::new()
            },
            signatories,
            purposes: terms.purposes.clone(),
            lines,
            starts_at: terms.starts_at,
            ends_at: terms.ends_at,
            version: terms.edition.version,
            supersedes: terms.edition.supersedes.as_ref().map(|a| id(a.as_str())),
            suspended: Vec::new(),
            terminated: false,
            successor: None,
            touched: self.index,
        };
        self.takes_its_place(agency, &agreement)?;
        let key = id(terms.agreement.as_str());
        if self.agreements.insert(key, agreement).is_some() {
            let message = format!("`{}` was proposed before", terms.agreement);
            return Err(self.fault(FaultCode::Duplicate, message));
        }
        Ok(())
    }

    fn signed(&mut self, agency: u32, signature: &AgreementSignature) -> Result<(), Fault> {
        self.tally.checked(Check::Agreement, 1);
        let index = self.index;
        let Some(agreement) = self.agreements.get_mut(&id(signature.agreement.as_str())) else {
            let message = || format!("`{}` is unknown", signature.agreement);
            self.require(false, Since::Ever, FaultCode::UnknownAgreement, message)?;
            return Ok(());
        };
        let wrong = if !agreement.parties.contains(&agency) {
            Some((FaultCode::NotAParty, "signed by an agency that is no party"))
        } else if agreement.signed.contains(&agency) {
            Some((FaultCode::Duplicate, "signed twice by the same party"))
        } else if agreement.terms != signature.terms {
            Some((
                FaultCode::Terms,
                "the signature is for other terms than were proposed",
            ))
        } else {
            None
        };
        if let Some((code, message)) = wrong {
            return Err(self.fault(code, message));
        }
        self.signed_for(agency, signature)?;
        let Some(agreement) = self.agreements.get_mut(&id(signature.agreement.as_str())) else {
            return Ok(());
        };
        let terminated = agreement.terminated;
        agreement.signed.push(agency);
        agreement.touched = index;
        let complete = agreement
            .parties
            .iter()
            .all(|p| agreement.signed.contains(p));
        let (starts_at, earlier) = (agreement.starts_at, agreement.supersedes);
        if terminated {
            let message = "an agreement was signed after a party had ended it";
            return Err(self.fault(FaultCode::WrongState, message));
        }
        let earlier = earlier.filter(|_| complete);
        let Some(earlier) = earlier.and_then(|key| self.agreements.get_mut(&key)) else {
            return Ok(());
        };
        if earlier.terminated || earlier.successor.is_some() {
            let message = "a version follows one that was ended or has another next version";
            return Err(self.fault(FaultCode::WrongState, message));
        }
        earlier.successor = Some((id(signature.agreement.as_str()), starts_at));
        earlier.touched = index;
        Ok(())
    }

    /// Whether enough of the people who sign for a party have signed, by the terms and by those of
    /// the version before.
    fn signed_for(&mut self, agency: u32, signature: &AgreementSignature) -> Result<(), Fault> {
        let Some(name) = self.member(agency).map(|member| member.name.clone()) else {
            return Ok(());
        };
        let agreement = self.agreements.get(&id(signature.agreement.as_str()));
        let earlier = agreement.and_then(|a| self.agreements.get(&a.supersedes?));
        let both = [agreement, earlier];
        let signs = both.iter().flatten().flat_map(|a| &a.signatories);
        let rules: Vec<_> = signs
            .filter(|(a, _)| *a == agency)
            .map(|(_, s)| s)
            .collect();
        let endorsed = Endorsed {
            federation: self.federation.clone(),
            agency: name,
            agreement: signature.agreement.clone(),
            terms: signature.terms,
        };
        let checked = endorsed.check(&rules, &signature.endorsements);
        checked.map_err(|code| {
            let message = format!("the people who sign for the party have not: {code}");
            self.fault(FaultCode::Signatories, message)
        })
    }

    /// Whether a proposal takes its place after the version that it names.
    fn takes_its_place(&mut self, agency: u32, next: &Agreement) -> Result<(), Fault> {
        let Some(key) = next.supersedes else {
            if next.version == 1 {
                return Ok(());
            }
            let message = "an agreement that follows no other is no first version";
            return Err(self.fault(FaultCode::Range, message));
        };
        let Some(earlier) = self.agreements.get(&key) else {
            let message = || format!("it follows `isa-{key:032x}`, which is unknown");
            self.require(false, Since::Ever, FaultCode::UnknownAgreement, message)?;
            return Ok(());
        };
        let wrong = if earlier.version.checked_add(1) != Some(next.version) {
            Some((
                FaultCode::Range,
                "the number of a version is left out or used again",
            ))
        } else if next.starts_at < earlier.starts_at {
            Some((
                FaultCode::Range,
                "a version begins before the one that it follows",
            ))
        } else if !earlier.parties.contains(&agency) {
            Some((
                FaultCode::NotAParty,
                "a version is proposed by no party of the one before",
            ))
        } else if drops_signatories(next, earlier) {
            Some((
                FaultCode::Range,
                "a version takes the signatories of a party away",
            ))
        } else {
            None
        };
        if let Some((code, message)) = wrong {
            return Err(self.fault(code, message));
        }
        let signed = earlier.parties.iter().all(|p| earlier.signed.contains(p));
        let follows = signed && !earlier.terminated && earlier.successor.is_none();
        let since = Since::Index(earlier.touched);
        let message = || format!("`isa-{key:032x}` can't be followed: it was ended, or is old");
        self.require(follows, since, FaultCode::WrongState, message)?;
        Ok(())
    }

    fn agreement_changed(&mut self, agency: u32, said: &AgreementChange) -> Result<(), Fault> {
        self.tally.checked(Check::Agreement, 1);
        let key = id(said.agreement.as_str());
        let Some(agreement) = self.agreements.get(&key) else {
            let message = || format!("`{}` is unknown", said.agreement);
            self.require(false, Since::Ever, FaultCode::UnknownAgreement, message)?;
            return Ok(());
        };
        if !agreement.parties.contains(&agency) {
            let message = "an agreement is changed by an agency that is no party";
            return Err(self.fault(FaultCode::NotAParty, message));
        }
        let own = agreement.suspended.contains(&agency);
        let signed = agreement
            .parties
            .iter()
            .all(|p| agreement.signed.contains(p));
        let fits = !agreement.terminated
            && match said.change {
                Change::Suspend(_) => !own && signed,
                Change::Lift => own,
                Change::Terminate(_) => true,
            };
        let since = Since::Index(agreement.touched);
        let message = || format!("`{}` can't be changed so as it stands", said.agreement);
        self.require(fits, since, FaultCode::WrongState, message)?;
        let index = self.index;
        let Some(agreement) = self.agreements.get_mut(&key) else {
            return Ok(());
        };
        agreement.touched = index;
        match said.change {
            Change::Suspend(_) => agreement.suspended.push(agency),
            Change::Lift => agreement.suspended.retain(|a| *a != agency),
            Change::Terminate(_) => agreement.terminated = true,
        }
        if agreement.terminated {
            let (before, heir) = (agreement.supersedes, agreement.successor);
            self.unfollow(before, key, heir);
        }
        Ok(())
    }

    /// A version `ended` before it began never took anything's place; what follows it does then.
    /// Further back than the one before it stand those whose own next version was ended early too.
    fn unfollow(&mut self, mut before: Option<Id>, ended: Id, heir: Option<(Id, Timestamp)>) {
        let now = self.now;
        while let Some(earlier) = before.and_then(|key| self.agreements.get_mut(&key)) {
            let next = earlier.successor;
            if !next.is_some_and(|(next, begins)| next == ended && now < begins) {
                return;
            }
            // Whose beginning is not in an export may follow itself: no version is seen twice.
            earlier.successor = heir.filter(|(next, _)| *next != ended);
            before = earlier.supersedes.filter(|_| earlier.terminated);
        }
    }

    fn case_opened(&mut self, agency: u32, opening: &CaseOpening) -> Result<(), Fault> {
        self.tally.checked(Check::Case, 1);
        let mut present: BTreeSet<_> = self.agencies(&opening.agencies).into_iter().collect();
        present.insert(agency);
        let case = Case {
            lead: agency,
            present,
            stage: Stage::HomeAgency,
            closed: false,
            touched: self.index,
        };
        if self.cases.insert(id(opening.case.as_str()), case).is_some() {
            let message = format!("`{}` was opened before", opening.case);
            return Err(self.fault(FaultCode::Duplicate, message));
        }
        Ok(())
    }

    fn case_advanced(&mut self, agency: u32, advance: &CaseAdvance) -> Result<(), Fault> {
        self.tally.checked(Check::Case, 1);
        let key = id(advance.case.as_str());
        let Some(case) = self.cases.get(&key) else {
            let message = || format!("`{}` is unknown", advance.case);
            self.require(false, Since::Ever, FaultCode::UnknownCase, message)?;
            return Ok(());
        };
        if case.lead != agency {
            let message = "a case is moved by an agency that does not lead it";
            return Err(self.fault(FaultCode::NotAParty, message));
        }
        let (from, to) = (case.stage.number(), advance.stage.number());
        let closes = advance.outcome.is_some();
        let in_order = !case.closed && (to == from || (to == from + 1 && !closes));
        let since = Since::Index(case.touched);
        let message = || format!("`{}` can't move from stage {from} to {to}", advance.case);
        self.require(in_order, since, FaultCode::WrongState, message)?;
        let index = self.index;
        if let Some(case) = self.cases.get_mut(&key) {
            case.stage = advance.stage;
            case.closed |= closes;
            case.touched = index;
        }
        Ok(())
    }
}

/// Whether a party that is one still had signatories and has none any more.
fn drops_signatories(next: &Agreement, earlier: &Agreement) -> bool {
    let has = |agreement: &Agreement, party: &u32| {
        let mut signatories = agreement.signatories.iter();
        signatories.any(|(agency, _)| agency == party)
    };
    let mut parties = next.parties.iter();
    parties.any(|party| has(earlier, party) && !has(next, party))
}
