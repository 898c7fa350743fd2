//! What agencies agree, what people consent to and withdraw, cases on the table.

use crate::{
    act::{ASKED, LEVELS},
    ops::{CATEGORIES, Machine},
    world::{Step, World},
};
use passerelle_agent::state;
use passerelle_model::{
    bytes::{Bytes, Nonce},
    commitment::{Field, Opening},
    ids::{AgencyId, AgreementId, CaseId, ConsentId},
    statement::{
        AgreementLine, AgreementParty, AgreementSignature, AgreementTerms, Body, CaseAdvance,
        CaseOpening, ConsentTerms, Edition, Withdrawal, WithdrawalScope,
    },
    vocabulary::{
        Capacity, CaseOutcome, ConsentGiver, ConsentMethod, Language, LegalBasis, Profile, Purpose,
        Stage, Threshold,
    },
};

impl World {
    pub(crate) fn agree(
        &mut self,
        proposer: usize,
        other: usize,
        category: usize,
        level: usize,
        life_s: u64,
    ) -> Step {
        let one = self.party(proposer);
        let two = self.other(other, one);
        let ids = [one, two].map(|ix| self.agencies[ix].id.clone());
        let now = self.clock(Machine::Agency(one));
        let id = AgreementId::from_random(self.rng.bytes());
        let line = |from: &AgencyId, to: &AgencyId, category: usize| AgreementLine {
            from: from.clone(),
            to: to.clone(),
            category: ASKED[category % CATEGORIES],
            level: LEVELS[level % LEVELS.len()],
            retention_days: 30,
        };
        let [a, b] = &ids;
        let party = |agency: &AgencyId| AgreementParty {
            agency: agency.clone(),
            basis: LegalBasis::Mfippa32h,
        };
        let lines = [(a, b, 0), (b, a, 0), (a, b, 1), (b, a, 2)];
        let lines = lines.map(|(from, to, more)| line(from, to, category + more));
        let terms = AgreementTerms {
            signatories: Vec::new(),
            agreement: id.clone(),
            edition: Edition::default(),
            parties: vec![party(a), party(b)],
            purposes: vec![Purpose::Plan],
            lines: lines.to_vec(),
            starts_at: now,
            review_at: now.plus_s(life_s),
            ends_at: now.plus_s(life_s),
        };
        let name = self.story.name("g", id.as_str());
        self.tell(format!("{a} proposes {name} to {b} for {life_s} s"));
        self.says(one, Vec::new(), |_, _| Ok(Body::Agreement(Box::new(terms))))?;
        // Mostly signed a little later; else by an operation of its own, or never.
        self.agencies[two].signs_soon |= !level.is_multiple_of(4);
        Ok(())
    }

    pub(crate) fn sign(&mut self, agency: usize) -> Step {
        let ix = self.party(agency);
        self.sign_what_waits(ix)
    }

    /// An agency signs the agreements that wait for it.
    ///
    /// # Errors
    /// A broken promise.
    pub fn sign_what_waits(&mut self, ix: usize) -> Step {
        let Some(up) = &self.agencies[ix].up else {
            return Ok(());
        };
        let me = self.agencies[ix].id.clone();
        let rows = state::agreements(up.store.view()).expect("the projection");
        let waits = |row: &passerelle_model::records::Agreement| {
            row.has_party(&me) && !row.signed.contains(&me)
        };
        let Some(row) = rows.into_iter().find(waits) else {
            return Ok(());
        };
        let name = self.story.of(row.terms.agreement.as_str());
        self.agencies[ix].signs_soon = false;
        self.tell(format!("{me} signs {name}"));
        self.says(ix, Vec::new(), |_, _| {
            Ok(Body::AgreementSignature(AgreementSignature {
                endorsements: Vec::new(),
                agreement: row.terms.agreement,
                terms: row.digest,
            }))
        })
    }

    pub(crate) fn consent(
        &mut self,
        [by, to, from]: [usize; 3],
        person: usize,
        categories: usize,
        life_s: u64,
    ) -> Step {
        let from = self.party(from);
        let to = self.other(to, from);
        let by = if by % 5 == 0 { self.party(by) } else { from };
        let person = person % self.people.len();
        let Some(handle) = self.handle_at(by, person) else {
            return Ok(());
        };
        let now = self.clock(Machine::Agency(by));
        let id = ConsentId::from_random(self.rng.bytes());
        let opening = Opening {
            field: Field::Subject,
            random: Nonce(self.rng.bytes()),
            data: Bytes(handle.0.to_vec()),
        };
        let count = 1 + categories % 3;
        let categories = (0..count).map(|n| ASKED[(categories / 3 + n) % CATEGORIES]);
        let terms = ConsentTerms {
            consent: id.clone(),
            subject: opening.commitment(),
            giver: ConsentGiver::ALL[0],
            capacity: Capacity::ALL[0],
            categories: categories.collect(),
            purposes: vec![Purpose::Plan],
            recipients: vec![self.agencies[to].id.clone()],
            disclosers: vec![self.agencies[from].id.clone()],
            method: ConsentMethod::ALL[0],
            language: Language::ALL[0],
            interpreter: false,
            notice_version: 1,
            given_at: now,
            expires_at: now.plus_s(life_s),
            redisclosure: false,
            evidence: None,
        };
        let name = self.story.name("c", id.as_str());
        let [by_id, to_id, from_id] = [by, to, from].map(|ix| self.agencies[ix].id.clone());
        self.tell(format!(
            "{by_id} records {name}: p{person} lets {from_id} tell {to_id} for {life_s} s"
        ));
        self.consents
            .push((id, person, to, from, terms.categories.clone()));
        self.says(by, vec![opening], |_, _| Ok(Body::Consent(Box::new(terms))))
    }

    pub(crate) fn withdraw(&mut self, by: usize, consent: usize, scope: usize) -> Step {
        if self.consents.is_empty() {
            return Ok(());
        }
        let (id, _, to, from, categories) = self.consents[consent % self.consents.len()].clone();
        let by = if by.is_multiple_of(2) { from } else { to };
        let scope = match scope % 4 {
            0 => WithdrawalScope::Recipient(self.agencies[to].id.clone()),
            1 => WithdrawalScope::Category(categories[0]),
            _ => WithdrawalScope::All,
        };
        let name = self.story.of(id.as_str());
        self.tell(format!(
            "{} withdraws {name}: {scope:?}",
            self.agencies[by].id
        ));
        self.says(by, Vec::new(), |_, _| {
            Ok(Body::Withdrawal(Withdrawal { consent: id, scope }))
        })
    }

    pub(crate) fn open_case(&mut self, agency: usize) -> Step {
        let ix = self.party(agency);
        if self.agencies[ix].up.is_none() {
            return Ok(());
        }
        let case = CaseId::from_random(self.rng.bytes());
        let members = self
            .agencies
            .iter()
            .filter(|a| self.ghost.reading.is_member(&a.id));
        let agencies = members.map(|a| a.id.clone()).collect();
        let name = self.story.name("k", case.as_str());
        self.tell(format!("{} opens {name}", self.agencies[ix].id));
        self.cases.push(case.clone());
        let profile = Profile::SituationTable;
        self.says(ix, Vec::new(), |_, _| {
            Ok(Body::CaseOpening(CaseOpening {
                case,
                profile,
                agencies,
            }))
        })
    }

    pub(crate) fn advance_case(&mut self, agency: usize) -> Step {
        for ix in (0..self.agencies.len()).map(|n| self.any(agency + n)) {
            let Some(up) = &self.agencies[ix].up else {
                continue;
            };
            let me = self.agencies[ix].id.clone();
            let rows = state::cases(up.store.view()).expect("the projection");
            let Some(row) = rows
                .into_iter()
                .find(|c| c.lead == me && c.outcome.is_none())
            else {
                continue;
            };
            let (stage, outcome) = match row.stage {
                Stage::HomeAgency => (Stage::DeIdentified, None),
                Stage::DeIdentified => (Stage::LimitedIdentifiers, None),
                Stage::LimitedIdentifiers => (Stage::Interveners, None),
                Stage::Interveners => (Stage::Interveners, Some(CaseOutcome::ALL[0])),
            };
            let identified = stage >= Stage::LimitedIdentifiers && row.subject.is_none();
            let handle = self.handle_at(ix, 0).filter(|_| identified);
            let opening = handle.map(|handle| Opening {
                field: Field::Subject,
                random: Nonce(self.rng.bytes()),
                data: Bytes(handle.0.to_vec()),
            });
            let name = self.story.of(row.case.as_str());
            self.tell(format!("{me} moves {name} to {stage}"));
            let advance = CaseAdvance {
                case: row.case.clone(),
                stage,
                threshold: Threshold::Agreed,
                agencies: row.present().cloned().collect(),
                plan: ASKED.to_vec(),
                subject: opening.as_ref().map(Opening::commitment),
                outcome,
            };
            let openings = opening.into_iter().collect();
            return self.says(ix, openings, |_, _| Ok(Body::CaseAdvance(advance)));
        }
        Ok(())
    }
}
