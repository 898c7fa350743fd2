//! Carrying out operations: what people do at their agency, and what befalls machines.

use crate::{
    ghost::Planted,
    ops::{Ask, CATEGORIES, Ground, Machine, Op},
    rng::Rng,
    world::{EPOCH_MS, Step, World, word},
};
use passerelle_agent::{
    context::Context,
    erasure,
    event::{Event, Verdict},
    facts::{
        csv_import::{ImportedPerson, SourceId},
        fact::{Fact, Sensitivity},
    },
    requester::{self, Question},
    review, state,
};
use passerelle_model::{
    bytes::{Digest, Handle},
    commitment::Opening,
    decide::Command,
    error::ErrorCode,
    ids::{AgencyId, RequestId},
    request::Status,
    statement::{Body, Item, Reliance},
    store::Read,
    vocabulary::{Category, EmergencyKind, LegalBasis, Level, Purpose, Sector},
};

/// The categories of a story.
pub const ASKED: [Category; CATEGORIES] = [
    Category::InService,
    Category::SafetyFlag,
    Category::OpenFile,
    Category::Diagnosis,
    Category::SudTreatment,
    Category::Concern,
    Category::Attendance,
];
pub(crate) const LEVELS: [Level; 5] = [
    Level::Known,
    Level::Coded,
    Level::Contact,
    Level::Involvement,
    Level::Detail,
];

impl World {
    /// Carries out one operation.
    ///
    /// # Errors
    /// A broken promise.
    pub fn carry_out(&mut self, op: &Op) -> Step {
        match op {
            Op::Import {
                agency,
                person,
                category,
                weight,
            } => self.import(*agency, *person, *category, *weight),
            Op::Enrol { agency } | Op::Rotate { agency } => {
                let ix = self.any(*agency);
                // One that is a member gets new keys; one that was shut out comes back.
                let rotates = matches!(op, Op::Rotate { .. });
                let is_member = self.ghost.reading.is_member(&self.agencies[ix].id);
                if rotates == is_member {
                    self.enrol(ix)
                } else {
                    Ok(())
                }
            }
            Op::Revoke { agency } => self.revoke(*agency),
            Op::Agree {
                proposer,
                other,
                category,
                level,
                life_s,
            } => self.agree(*proposer, *other, *category, *level, *life_s),
            Op::Sign { agency } => self.sign(*agency),
            Op::Consent {
                by,
                person,
                to,
                from,
                categories,
                life_s,
            } => self.consent([*by, *to, *from], *person, *categories, *life_s),
            Op::Withdraw { by, consent, scope } => self.withdraw(*by, *consent, *scope),
            Op::Ask(ask) => self.ask(ask),
            Op::Review {
                agency,
                verdict,
                worker,
            } => self.review(*agency, *verdict, *worker),
            Op::View { agency } => self.view(*agency),
            Op::Erase { agency } => self.erase(*agency),
            Op::OpenCase { agency } => self.open_case(*agency),
            Op::AdvanceCase { agency } => self.advance_case(*agency),
            misfortune => self.befall(misfortune),
        }
    }

    pub(crate) fn any(&self, number: usize) -> usize {
        number % self.agencies.len()
    }

    /// One that may ask and answer: not the oversight body, and mostly one that has joined.
    pub(crate) fn party(&self, number: usize) -> usize {
        let stranger = number.is_multiple_of(19);
        let parties = self
            .agencies
            .iter()
            .filter(|a| a.sector != Sector::Oversight);
        let parties = parties.filter(|a| stranger || a.is_enrolled());
        let parties: Vec<_> = parties.map(|a| a.ix).collect();
        parties[number % parties.len()]
    }

    /// Another than `one`.
    pub(crate) fn other(&self, number: usize, one: usize) -> usize {
        (number..)
            .map(|n| self.party(n))
            .find(|ix| *ix != one)
            .expect("there are two")
    }

    pub(crate) fn machine(&self, machine: Machine) -> Machine {
        match machine {
            Machine::Broker => Machine::Broker,
            Machine::Agency(number) => Machine::Agency(self.any(number)),
        }
    }

    /// Signs a statement at an agency, beside other events; what `body` says of the state first.
    pub(crate) fn says(
        &mut self,
        ix: usize,
        openings: Vec<Opening>,
        body: impl FnOnce(&Context, &dyn Read) -> Result<Body, ErrorCode>,
    ) -> Step {
        let now = self.clock(Machine::Agency(ix));
        self.agent_runs(ix, |context, view| {
            let mut saying = context.say(now, body(context, view)?)?;
            for opening in openings {
                saying = saying.opening(opening);
            }
            Ok((vec![Event::Stated(Box::new(saying.done()))], ()))
        })?;
        self.pump_agent(ix)
    }

    pub(crate) fn handle_at(&self, ix: usize, person: usize) -> Option<Handle> {
        let up = self.agencies[ix].up.as_ref()?;
        let token = Digest::of(&self.people[person].match_token());
        state::handle_of(up.store.view(), &token).expect("the projection")
    }

    fn import(&mut self, agency: usize, person: usize, category: usize, weight: usize) -> Step {
        let ix = self.party(agency);
        let person = person % self.people.len();
        if self.agencies[ix].up.is_none() {
            return Ok(());
        }
        let mut rng = Rng::new(weight as u64 ^ self.now << 20, "words of facts");
        let categories = (0..4).map(|n| ASKED[(category + n) % CATEGORIES]);
        let categories: Vec<_> = categories.collect();
        for category in categories {
            let words = (0..3).map(|_| word(&mut rng, &mut self.ghost)).collect();
            let flag = rng.below(12);
            self.ghost.facts.push(Planted {
                agency: ix,
                person,
                category,
                words,
                specially_protected: flag == 1,
                youth_record: flag == 6,
                third_party_at_risk: flag == 4,
                restricted: flag == 7,
                sensitivity: if flag == 5 { 3 } else { 1 },
            });
        }
        let facts = self.ghost.facts.iter();
        let facts = facts
            .filter(|f| f.agency == ix && f.person == person)
            .map(fact)
            .collect();
        let source_id = SourceId(format!("p-{person}"));
        let record = ImportedPerson {
            digest: Digest::of(format!("{ix} {person} {}", self.now).as_bytes()),
            source_id,
            person: self.people[person].clone(),
            facts,
        };
        let import = format!("i-{}", self.now);
        self.tell(format!(
            "{} imports facts about p{person}",
            self.agencies[ix].id
        ));
        let chunk = Event::ImportChunk {
            import: import.clone(),
            part: 0,
            people: vec![record],
        };
        let done = self.agent_runs(ix, |_, _| Ok((vec![chunk], ())))?;
        if done.is_some() {
            let committed = Event::ImportCommitted { import, parts: 1 };
            self.agent_runs(ix, |_, _| Ok((vec![committed], ())))?;
        }
        self.pump_agent(ix)
    }

    fn revoke(&mut self, agency: usize) -> Step {
        let ix = self.any(agency);
        let members = self
            .ghost
            .reading
            .members
            .values()
            .filter(|(_, active)| *active);
        if members.count() < 4 || self.broker.up.is_none() {
            return Ok(());
        }
        let agency = self.agencies[ix].id.clone();
        self.tell(format!("{agency} is to be shut out"));
        self.operator_runs(Command::Revoke { agency })?;
        self.close_session(ix);
        Ok(())
    }

    fn ask(&mut self, ask: &Ask) -> Step {
        let mut requester = self.party(ask.requester);
        let mut holder = self.other(ask.holder, requester);
        let mut person = ask.person % self.people.len();
        let mut items: Vec<Item> = Vec::new();
        let mut reliance = None;
        let mut add = |category: Category, level: usize| {
            if items.iter().all(|i| i.category != category) {
                items.push(Item {
                    category,
                    level: LEVELS[level % LEVELS.len()],
                });
            }
        };
        let named = match ask.ground {
            Ground::NamedConsent(n) => Some(n),
            Ground::Consent => Some(ask.person),
            _ => None,
        };
        if let Some(n) = named.filter(|_| !self.consents.is_empty()) {
            let (id, who, to, from, categories) = &self.consents[n % self.consents.len()];
            (requester, holder, person) = (*to, *from, *who);
            add(categories[0], ask.items[0].1 % 4);
            if matches!(ask.ground, Ground::NamedConsent(_)) {
                reliance = Some(Reliance::Consent(id.clone()));
            }
        }
        if let Ground::NamedAgreement(n) = ask.ground {
            let known: Vec<_> = self.ghost.reading.agreements.values().collect();
            if !known.is_empty() {
                let terms = &known[n % known.len()].terms;
                let line = &terms.lines[0];
                let place = |id: &AgencyId| self.agencies.iter().position(|a| a.id == *id);
                (requester, holder) = (place(&line.to).unwrap(), place(&line.from).unwrap());
                add(line.category, ask.items[0].1);
                reliance = Some(Reliance::Agreement(terms.agreement.clone()));
            }
        }
        if ask.ground == Ground::Emergency {
            add(Category::SafetyFlag, ask.items[0].1 % 3);
        }
        for (category, level) in &ask.items {
            add(ASKED[category % CATEGORIES], *level);
        }
        self.ask_now(ask, (requester, holder, person), items, reliance)
    }

    fn ask_now(
        &mut self,
        ask: &Ask,
        (requester, holder, person): (usize, usize, usize),
        items: Vec<Item>,
        reliance: Option<Reliance>,
    ) -> Step {
        let Some(handle) = self.handle_at(requester, person) else {
            return Ok(());
        };
        let now = self.clock(Machine::Agency(requester));
        let id = RequestId::from_random(self.rng.bytes());
        let mut words = Rng::new(self.now ^ EPOCH_MS, "justification");
        let justification = word(&mut words, &mut self.ghost);
        let emergency = ask.ground == Ground::Emergency;
        let (purpose, basis) = match ask.ground {
            Ground::Consent | Ground::NamedConsent(_) => (Purpose::Plan, LegalBasis::Consent),
            Ground::Emergency => (Purpose::Emergency, LegalBasis::Mfippa32h),
            Ground::Prohibited => (Purpose::CriminalInvestigation, LegalBasis::Consent),
            Ground::Agreement | Ground::NamedAgreement(_) | Ground::Nothing => {
                (Purpose::Plan, LegalBasis::Mfippa32h)
            }
        };
        let case = ask.in_case.then(|| self.cases.last().cloned()).flatten();
        let [asks, asked] = [requester, holder].map(|ix| self.agencies[ix].id.clone());
        let name = self.story.name("r", id.as_str());
        let shown: Vec<_> = items
            .iter()
            .map(|i| format!("{} {}", i.category, i.level))
            .collect();
        self.tell(format!(
            "{asks} asks {asked} {name}: {} of p{person} on {:?}",
            shown.join(", "),
            ask.ground
        ));
        let request = id.clone();
        let valid_s = ask.valid_s;
        let made = self.agent_runs(requester, move |context, view| {
            let worker = context.config.worker("w-1").expect("a worker").clone();
            let question = Question {
                subject: Some(handle),
                holder: asked,
                items,
                purpose,
                basis,
                reliance,
                case,
                emergency: emergency.then_some(EmergencyKind::SubjectInDanger),
                justification,
                worker,
                not_after: now.plus_s(valid_s),
                near: None,
            };
            let trust = context.trust(view).map_err(|_| ErrorCode::Storage)?;
            let stated = requester::ask_as(context, &trust, &request, question, now)?;
            Ok((vec![Event::Stated(Box::new(stated))], ()))
        })?;
        if matches!(made, Some(Ok(())))
            && let Some(up) = &self.agencies[requester].up
        {
            let secrets = up.context.vault.open(up.store.view(), &id);
            let secrets = secrets.expect("the vault").expect("just asked");
            let key = up.context.vault.key(&id).expect("the vault");
            let key = key.expect("just asked").to_vec();
            self.ghost.vault_keys.insert(id.clone(), key);
            self.ghost.reply_keys.insert(id, secrets.reply_key.0);
        }
        self.pump_agent(requester)
    }

    fn review(&mut self, agency: usize, verdict: usize, worker: usize) -> Step {
        let parties = self.agencies.len();
        for ix in (0..parties).map(|n| self.any(agency + n)) {
            let Some(up) = &self.agencies[ix].up else {
                continue;
            };
            let rows = state::holds(up.store.view()).expect("the projection");
            let mut waiting = rows
                .into_iter()
                .filter(|r| r.status == Status::HolderReview);
            let Some(row) = waiting.next() else { continue };
            let verdict = match verdict % 5 {
                0 => Verdict::Decline,
                1 => Verdict::CannotSay,
                _ => Verdict::Approve,
            };
            let worker = ["w-1", "w-2"][worker % 2];
            let now = self.clock(Machine::Agency(ix));
            let name = self.story.of(row.request.as_str());
            self.tell(format!(
                "{worker} at {} on {name}: {verdict:?}",
                self.agencies[ix].id
            ));
            self.agent_runs(ix, |context, view| {
                let trust = context.trust(view).map_err(|_| ErrorCode::Storage)?;
                let request = &row.request;
                let word = review::Word::new(verdict, worker);
                let events = review::review(context, view, &trust, request, word, now);
                Ok((events?, ()))
            })?;
            return self.pump_agent(ix);
        }
        Ok(())
    }

    fn view(&mut self, agency: usize) -> Step {
        let ix = self.party(agency);
        let Some(up) = &self.agencies[ix].up else {
            return Ok(());
        };
        let rows = state::asks(up.store.view()).expect("the projection");
        let Some(row) = rows.into_iter().find(|r| r.status == Status::Delivered) else {
            return Ok(());
        };
        let now = self.clock(Machine::Agency(ix));
        self.agent_runs(ix, |context, view| {
            Ok((
                requester::viewed(context, view, &row.request.request, "w-1", now)?,
                (),
            ))
        })?;
        self.pump_agent(ix)
    }

    fn erase(&mut self, agency: usize) -> Step {
        let parties = self.agencies.len();
        for ix in (0..parties).map(|n| self.any(agency + n)) {
            let Some(up) = &self.agencies[ix].up else {
                continue;
            };
            let rows = state::asks(up.store.view()).expect("the projection");
            let done = |s: Status| matches!(s, Status::Delivered | Status::Viewed);
            let Some(row) = rows.into_iter().find(|r| done(r.status)) else {
                continue;
            };
            let name = self.story.of(row.request.request.as_str());
            self.tell(format!("{} erases {name}", self.agencies[ix].id));
            self.ghost.erasing.insert(row.request.request.clone());
            let now = self.clock(Machine::Agency(ix));
            let request = &row.request.request;
            self.agent_runs(ix, |_, view| Ok((erasure::begin(view, request)?, ())))?;
            self.agent_runs(ix, |context, view| {
                Ok((erasure::finish(context, view, request, now)?, ()))
            })?;
            return self.pump_agent(ix);
        }
        Ok(())
    }
}

fn fact(planted: &Planted) -> Fact {
    let [contact, code, text] = [0, 1, 2].map(|n| planted.words.get(n).cloned());
    Fact {
        contact,
        code,
        text,
        since: "2020-01-01".parse().ok(),
        specially_protected: planted.specially_protected,
        youth_record: planted.youth_record,
        third_party_at_risk: planted.third_party_at_risk,
        restricted: planted.restricted,
        sensitivity: Sensitivity::try_from(planted.sensitivity).expect("0 to 3"),
        ..Fact::empty(planted.category)
    }
}
